/* Names of the OCI specification and of Linux, and their numbers. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <strings.h>
#include <sys/resource.h>

#include "base/str.h"
#include "spec/oci.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* Index = number in linux/capability.h. */
static const char *const capability_names[] = {
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
	"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};

int oci_capability_number(const char *name) {
	for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++)
		if (strcasecmp(capability_names[i], name) == 0)
			return (int)i;
	return -EINVAL;
}

const char *oci_capability_name(unsigned number) {
	return number < ARRAY_SIZE(capability_names) ? capability_names[number] : NULL;
}

struct name_number { const char *name; int number; };

static const struct name_number rlimits[] = {
	{ "RLIMIT_AS", RLIMIT_AS }, { "RLIMIT_CORE", RLIMIT_CORE }, { "RLIMIT_CPU", RLIMIT_CPU }, { "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE }, { "RLIMIT_LOCKS", RLIMIT_LOCKS }, { "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK }, { "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE }, { "RLIMIT_NOFILE", RLIMIT_NOFILE }, { "RLIMIT_NPROC", RLIMIT_NPROC }, { "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO }, { "RLIMIT_RTTIME", RLIMIT_RTTIME }, { "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING }, { "RLIMIT_STACK", RLIMIT_STACK },
};

static const struct name_number namespaces[] = {
	{ "user", CLONE_NEWUSER }, { "cgroup", CLONE_NEWCGROUP }, { "ipc", CLONE_NEWIPC }, { "mount", CLONE_NEWNS }, { "network", CLONE_NEWNET },
	{ "pid", CLONE_NEWPID }, { "time", CLONE_NEWTIME }, { "uts", CLONE_NEWUTS },
};

static const struct name_number signals[] = {
	{ "HUP", SIGHUP }, { "INT", SIGINT }, { "QUIT", SIGQUIT }, { "ILL", SIGILL }, { "TRAP", SIGTRAP }, { "ABRT", SIGABRT }, { "IOT", SIGABRT },
	{ "BUS", SIGBUS }, { "FPE", SIGFPE }, { "KILL", SIGKILL }, { "USR1", SIGUSR1 }, { "SEGV", SIGSEGV }, { "USR2", SIGUSR2 }, { "PIPE", SIGPIPE },
	{ "ALRM", SIGALRM }, { "TERM", SIGTERM }, { "STKFLT", SIGSTKFLT }, { "CHLD", SIGCHLD }, { "CLD", SIGCHLD }, { "CONT", SIGCONT }, { "STOP", SIGSTOP },
	{ "TSTP", SIGTSTP }, { "TTIN", SIGTTIN }, { "TTOU", SIGTTOU }, { "URG", SIGURG }, { "XCPU", SIGXCPU }, { "XFSZ", SIGXFSZ }, { "VTALRM", SIGVTALRM },
	{ "PROF", SIGPROF }, { "WINCH", SIGWINCH }, { "IO", SIGIO }, { "POLL", SIGIO }, { "PWR", SIGPWR }, { "SYS", SIGSYS }, { "UNUSED", SIGSYS },
};

static int lookup(const struct name_number *t, size_t n, const char *name) {
	for (size_t i = 0; i < n; i++)
		if (strcasecmp(t[i].name, name) == 0)
			return t[i].number;
	return -EINVAL;
}

int oci_rlimit_number(const char *name) {
	return lookup(rlimits, ARRAY_SIZE(rlimits), name);
}

int oci_namespace_flag(const char *name) {
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		if (streq(namespaces[i].name, name))
			return namespaces[i].number;
	return -EINVAL;
}

const char *oci_namespace_name(int flag) {
	for (size_t i = 0; i < ARRAY_SIZE(namespaces); i++)
		if (namespaces[i].number == flag)
			return namespaces[i].name;
	return NULL;
}

enum {
	/* The kernel's own range: signal(7). glibc's SIGRTMIN is 34, and users mean that one by RTMIN. */
	KERNEL_SIGMAX = 64, USER_RTMIN = 34,
};

int oci_signal_number(const char *name) {
	uint32_t v;
	if (parse_u32(name, &v) == 0)
		return v >= 1 && v <= KERNEL_SIGMAX ? (int)v : -EINVAL;
	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	if (strncasecmp(name, "RTMIN", 5) == 0 || strncasecmp(name, "RTMAX", 5) == 0) {
		bool min = (name[3] | 32) == 'i';
		if (!name[5])
			return min ? USER_RTMIN : KERNEL_SIGMAX;
		if (name[5] != (min ? '+' : '-') || parse_u32(name + 6, &v) < 0 || v > KERNEL_SIGMAX - USER_RTMIN)
			return -EINVAL;
		return min ? USER_RTMIN + (int)v : KERNEL_SIGMAX - (int)v;
	}
	return lookup(signals, ARRAY_SIZE(signals), name);
}

const char *const oci_hook_point_names[OCI_HOOK_POINTS] = {
	[OCI_HOOK_PRESTART] = "prestart", [OCI_HOOK_CREATE_RUNTIME] = "createRuntime", [OCI_HOOK_CREATE_CONTAINER] = "createContainer",
	[OCI_HOOK_START_CONTAINER] = "startContainer", [OCI_HOOK_POSTSTART] = "poststart", [OCI_HOOK_POSTSTOP] = "poststop",
};
