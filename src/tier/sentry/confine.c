/* The sentry's own confinement: namespaces, empty root, capabilities. Its filter is in confine_filter.c. */
#include "tier/sentry/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tier/sentry/kernel.h"
#include "tier/sentry/service.h"
#include "tier/sentry/task/task.h"

/* The process that the caller sees: passes signals on, ends as the sentry ends. */
static void NORETURN watch(pid_t child)
{
	sigset_t all;
	int status;
	sigfillset(&all);
	for (;;) {
		siginfo_t si;
		int sig = sigwaitinfo(&all, &si);
		if (sig == SIGCHLD && waitpid(child, &status, WNOHANG) == child)
			break;
		/* what the terminal sends reaches the sentry by itself: it is in the same foreground group */
		if (sig > 0 && sig != SIGCHLD && si.si_code != SI_KERNEL)
			kill(child, sig);
	}
	/* the container's own end by a signal is an exit code by now: this is the sentry's */
	if (WIFSIGNALED(status))
		dprintf(2, "tierce-sentry: ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

int confine_early(const struct sentry_options *o, struct err *e)
{
	if (!o->confine || o->is_init)
		return 0;
	long pid = syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return err_sys(e, errno, "namespaces of the sentry");
	if (pid > 0)
		watch((pid_t)pid);
	return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? err_sys(e, errno, "PR_SET_PDEATHSIG") : 0;
}

/* A procfs of our own pid namespace that is mounted nowhere. */
int confine_proc(const struct sentry_options *o, struct err *e)
{
	if (!o->confine)
		return open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fs = (int)syscall(SYS_fsopen, "proc", FSOPEN_CLOEXEC);
	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(e, errno, "procfs of the sentry");
	int fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV);
	int rc = errno;
	close(fs);
	return fd < 0 ? err_sys(e, rc, "procfs of the sentry") : fd;
}

/* A copy of the mount tree at path that stays usable once our mount namespace is empty. */
int confine_tree(const struct sentry_options *o, const char *path, struct err *e)
{
	int fd = -1;
	if (o->confine)
		fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (fd < 0)
		fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open %s", path) : fd;
}

static int empty_root(struct err *e)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, errno, "make / private");
	/* /proc exists everywhere; what is on it does not matter in this namespace any more */
	if (mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0,size=4k,nr_inodes=2") < 0)
		return err_sys(e, errno, "empty root");
	if (chdir("/proc") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(e, errno, "pivot into the empty root");
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return err_sys(e, errno, "empty root");
	return 0;
}

/* What a rootfs with files of many owners needs, and ports below 1024 (the guest's own capability is checked before); nothing else stays. */
#define KEEP (1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FOWNER | 1ull << CAP_FSETID | 1ull << CAP_MKNOD | 1ull << CAP_SETFCAP | \
	1ull << CAP_NET_BIND_SERVICE)

static int drop_capabilities(uint64_t keep, struct err *e)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2], have[2];
	if (syscall(SYS_capget, &h, have) < 0)
		return err_sys(e, errno, "capget");
	for (int i = 0; i < 2; i++) {
		uint32_t k = (uint32_t)(keep >> 32 * i) & have[i].permitted;
		d[i] = (struct __user_cap_data_struct){ k, k, 0 };
	}
	for (unsigned c = 0; c < 64; c++)
		if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno == EINVAL)
			break;
	if (syscall(SYS_capset, &h, d) < 0)
		return err_sys(e, errno, "capset");
	return 0;
}

int confine_late(const struct sentry_options *o, struct err *e)
{
	int rc;
	if (!o->confine)
		return 0;
	if ((rc = empty_root(e)) < 0 || (rc = drop_capabilities(KEEP, e)) < 0)
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "no_new_privs");
	return 0;
}

/* ---- signals from outside ------------------------------------------------------------------------------------------- */

static void *signal_main(void *arg)
{
	int fd = (int)(intptr_t)arg;
	for (;;) {
		struct signalfd_siginfo si;
		if (read(fd, &si, sizeof(si)) != sizeof(si))
			continue;
		int sig = (int)si.ssi_signo;
		kernel_lock();
		if (K.init && !hosttty_signal(sig, si.ssi_code == SI_KERNEL)) {
			struct guest_siginfo gi = { .signo = sig, .code = SI_USER };
			send_signal_process(K.init, sig, &gi);
		}
		kernel_unlock();
	}
	return NULL;
}

int confine_signals(struct err *e)
{
	sigset_t set;
	sigfillset(&set);
	sigdelset(&set, SIGCHLD);
	int fd = signalfd(-1, &set, SFD_CLOEXEC);
	int rc = fd < 0 ? -errno : service_thread(signal_main, (void *)(intptr_t)fd);
	return rc < 0 ? err_sys(e, rc, "signal thread") : 0;
}
