/* The default system call profile: allow what ordinary programs use, refuse the rest with EPERM.
 *
 * Groups that need a capability are allowed only when the container holds it: without it the kernel would refuse most of them anyway, and
 * the code behind them stays out of reach. clone3 hides its flags behind a pointer, so it is answered with ENOSYS (programs then use clone, whose
 * flags a filter can see) unless the container may make namespaces. */
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>

#include "engine/specgen.h"

/* One string per letter, names separated by blanks: a list people can review against a manual page. */
static const char *const allowed[] = {
	"accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64",
	"clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat",
	"dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat",
	"exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl",
	"fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex",
	"futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid",
	"getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32",
	"getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch",
	"inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup",
	"io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr",
	"listxattrat llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir",
	"mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend",
	"mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect",
	"open openat openat2 pause pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64",
	"preadv preadv2 prlimit64 process_mrelease process_madvise pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom",
	"recvmmsg recvmmsg_time64 recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending",
	"rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity sched_getattr",
	"sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity",
	"sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64",
	"sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32",
	"setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid",
	"setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64",
	"statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun",
	"timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill",
	"truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev",
	"process_vm_readv process_vm_writev ptrace modify_ldt sync_file_range2 breakpoint cacheflush set_tls arm_fadvise64_64 arm_sync_file_range riscv_flush_icache",
};

struct capability_group { int cap; const char *names; };
static const struct capability_group with_capability[] = {
	{ CAP_DAC_READ_SEARCH, "open_by_handle_at" },
	{ CAP_SYS_ADMIN, "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree perf_event_open quotactl "
	                 "quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare" },
	{ CAP_SYS_BOOT, "reboot" },
	{ CAP_SYS_CHROOT, "chroot" },
	{ CAP_SYS_MODULE, "delete_module finit_module init_module" },
	{ CAP_SYS_PACCT, "acct" },
	{ CAP_SYS_PTRACE, "kcmp" },
	{ CAP_SYS_RAWIO, "iopl ioperm" },
	{ CAP_SYS_TIME, "settimeofday stime clock_settime clock_settime64" },
	{ CAP_SYS_TTY_CONFIG, "vhangup" },
	{ CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node" },
	{ CAP_SYSLOG, "syslog" },
	{ CAP_BPF, "bpf" },
	{ CAP_PERFMON, "perf_event_open" },
};

static bool has(uint64_t caps, int cap) {
	return (caps >> cap & 1) != 0;
}

static void names(struct json_writer *w, const char *list) {
	while (*list) {
		size_t n = strcspn(list, " ");
		jw_string_n(w, list, n);
		list += n + (list[n] == ' ');
	}
}

static void begin(struct json_writer *w, const char *action) {
	jw_object(w);
	jw_kv_string(w, "action", action);
	jw_key(w, "names");
	jw_array(w);
}

static void argument(struct json_writer *w, unsigned index, uint64_t value, uint64_t value_two, const char *op) {
	jw_key(w, "args");
	jw_array(w);
	jw_object(w);
	jw_kv_u64(w, "index", index);
	jw_kv_u64(w, "value", value);
	if (value_two || strcmp(op, "SCMP_CMP_MASKED_EQ") == 0)
		jw_kv_u64(w, "valueTwo", value_two);
	jw_kv_string(w, "op", op);
	jw_object_end(w);
	jw_array_end(w);
}

static void one(struct json_writer *w, const char *name, unsigned index, uint64_t value, uint64_t two, const char *op) {
	begin(w, "SCMP_ACT_ALLOW");
	jw_string(w, name);
	jw_array_end(w);
	argument(w, index, value, two, op);
	jw_object_end(w);
}

enum { FAMILY_VSOCK = 40, NS_FLAGS = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET };

void specgen_default_seccomp(struct json_writer *w, uint64_t caps) {
	jw_object(w);
	jw_kv_string(w, "defaultAction", "SCMP_ACT_ERRNO");
	jw_kv_u64(w, "defaultErrnoRet", EPERM);
	jw_key(w, "architectures");
	jw_array(w);
#if defined(__x86_64__)
	jw_string(w, "SCMP_ARCH_X86_64");
	jw_string(w, "SCMP_ARCH_X86");
	jw_string(w, "SCMP_ARCH_X32");
#elif defined(__aarch64__)
	jw_string(w, "SCMP_ARCH_AARCH64");
	jw_string(w, "SCMP_ARCH_ARM");
#endif
	jw_array_end(w);
	jw_key(w, "syscalls");
	jw_array(w);
	begin(w, "SCMP_ACT_ALLOW");
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		names(w, allowed[i]);
	for (size_t i = 0; i < ARRAY_SIZE(with_capability); i++)
		if (has(caps, with_capability[i].cap))
			names(w, with_capability[i].names);
	jw_array_end(w);
	jw_object_end(w);
	/* vsock reaches the hypervisor and is not namespaced. */
	one(w, "socket", 0, FAMILY_VSOCK, 0, "SCMP_CMP_NE");
	static const uint64_t personalities[] = { 0x0, 0x0008, 0x20000, 0x20008, 0xffffffff };
	for (size_t i = 0; i < ARRAY_SIZE(personalities); i++)
		one(w, "personality", 0, personalities[i], 0, "SCMP_CMP_EQ");
	if (!has(caps, CAP_SYS_ADMIN)) {
		one(w, "clone", 0, NS_FLAGS, 0, "SCMP_CMP_MASKED_EQ");
		begin(w, "SCMP_ACT_ERRNO");
		jw_string(w, "clone3");
		jw_array_end(w);
		jw_kv_u64(w, "errnoRet", ENOSYS);
		jw_object_end(w);
	}
	jw_array_end(w);
	jw_object_end(w);
}
