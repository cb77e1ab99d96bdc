/* The last steps before the user's program, common to a container's first process and to exec. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/broken.h"
#include "confine/caps.h"
#include "confine/lsm.h"
#include "confine/sched.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/ns.h"

enum { FDS_MAX = 65536 }; /* for kernels without close_range(2): more than any engine passes */

int ns_private_proc(struct err *e) {
	int fd = mount_new_fs("proc", "proc", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, e);
	if (fd != -EPERM && fd != -EACCES)
		return fd;
	/* A user namespace may mount procfs only where one without covers is visible (mount_too_revealing()): then the one that is there, of which every
	 * open checks the file system and refuses to cross mounts (lsm.h). */
	err_clear(e);
	struct statfs fs;
	struct stat st;
	_cleanup_close_ int there = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (there < 0 || fstatfs(there, &fs) < 0 || fstat(there, &st) < 0)
		return err_sys(e, errno, "open /proc");
	if (fs.f_type != PROC_SUPER_MAGIC || st.st_ino != 1)
		return err_set(e, EPERM, "/proc of the container is not the root of a procfs");
	return TAKE_FD(there);
}

void ns_reset_signals(void) {
	/* A runtime that was started with SIGPIPE or SIGCHLD ignored must not hand that on: execve(2) keeps ignored signals. */
	sigset_t none;
	/* The system call itself: the C library's function refuses 32 and 33, which it keeps for threads, and those are inherited like all others. */
	static const char dfl[152]; /* struct sigaction of any architecture, all zero: SIG_DFL, no flags, empty mask */
	for (int i = 1; i < 65; i++)
		if (i != SIGKILL && i != SIGSTOP)
			syscall(SYS_rt_sigaction, i, dfl, NULL, (size_t)8);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void ns_close_others(unsigned first, int *keep, size_t n) {
	for (size_t i = 1; i < n; i++)
		for (size_t j = i; j > 0 && keep[j - 1] > keep[j]; j--) {
			int t = keep[j];
			keep[j] = keep[j - 1];
			keep[j - 1] = t;
		}
	for (size_t i = 0; i < n; i++) {
		if (keep[i] < (int)first)
			continue;
		if ((unsigned)keep[i] > first)
			syscall(SYS_close_range, first, (unsigned)keep[i] - 1, 0);
		first = (unsigned)keep[i] + 1;
	}
	syscall(SYS_close_range, first, ~0U, 0);
}

static int make_env(struct ns_final *f, struct err *e) {
	size_t n = f->p->env.n, at = n;
	f->env = calloc(n + 2, sizeof(*f->env));
	if (!f->env)
		return err_set(e, ENOMEM, "out of memory");
	if (n)
		memcpy(f->env, f->p->env.v, n * sizeof(*f->env));
	const char *now = ns_env(&f->p->env, "HOME");
	if (now && *now)
		return 0;
	for (size_t i = 0; i < n; i++)
		if (str_has_prefix(f->env[i], "HOME="))
			at = i;
	_cleanup_free_ char *home = ns_home(f->p->user.uid);
	if (asprintf(&f->env[at], "HOME=%s", home ? home : "/") < 0)
		return err_set(e, ENOMEM, "out of memory");
	return 0;
}

int ns_final_prepare(struct ns_final *f, struct err *e) {
	const char *cwd = f->p->cwd && *f->p->cwd ? f->p->cwd : "/";
	if (!f->p->args.n)
		return err_set(e, EINVAL, "process.args must not be empty");
	int r = ns_find_program(f->p->args.v[0], ns_env(&f->p->env, "PATH"), cwd, &f->file, e);
	return r < 0 ? r : make_env(f, e);
}

/* The working directory must lie below the root: the fd of a directory outside of it that somebody smuggled in (CVE-2024-21626) shows as
 * "(unreachable)..." in getcwd(2). */
static int enter_cwd(const char *cwd, struct err *e) {
	char buf[4096 + 16];
	if (chdir(cwd) < 0)
		return err_sys(e, errno, "chdir to cwd (\"%s\") set in config.json failed", cwd);
	if (broken("cwd"))
		return 0;
	long n = syscall(SYS_getcwd, buf, sizeof(buf));
	if (n < 0 && errno != ENOENT && errno != ERANGE)
		return err_sys(e, errno, "getcwd");
	if (n < 0 || buf[0] != '/')
		return err_set(e, EPERM, "current working directory is outside of container mount namespace root -- possible container breakout detected");
	return 0;
}

/* Files that we were given are the container's: a process with another uid could otherwise not open /dev/stdout again. Pipes, ttys and files of our
 * caller; the null device is everybody's and stays (runc, fixStdioPermissions). */
static int own_stdio(uint32_t uid, struct err *e) {
	struct stat st;
	for (int i = 0; i < 3; i++) {
		if (fstat(i, &st) < 0)
			continue;
		if (st.st_uid == uid || (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)))
			continue;
		if (fchown(i, uid, (gid_t)-1) < 0 && errno != EINVAL && errno != EPERM && errno != EROFS && errno != ENOSYS)
			return err_sys(e, errno, "chown of fd %d", i);
	}
	return 0;
}

/*
 * Descriptors are closed, not merely marked for it: execve(2) resolves the program's path before it closes anything, and a path such as
 * /proc/self/fd/7/../../usr/bin/x (an image may name it as its entry point) would run, and so expose, a file of the host (CVE-2024-21626, third variant).
 * What stays is the channel, a socket, which leads nowhere.
 */
static int close_own(const struct ns_final *f, struct err *e) {
	unsigned first = 3 + f->keep_fds;
	int channel = f->channel, r;
	if (broken("fds"))
		return cloexec_from(first);
	if (channel >= 0 && (unsigned)channel > first && syscall(SYS_close_range, first, (unsigned)channel - 1, 0) < 0 && errno != ENOSYS && errno != EPERM)
		return err_sys(e, errno, "close descriptors");
	if (syscall(SYS_close_range, channel >= (int)first ? (unsigned)channel + 1 : first, ~0U, 0) == 0)
		return 0;
	if (errno != ENOSYS && errno != EPERM)
		return err_sys(e, errno, "close descriptors");
	/* Before Linux 5.9: whatever can be open, one by one. */
	struct rlimit l = { 0, 0 };
	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur == RLIM_INFINITY || l.rlim_cur > FDS_MAX)
		l.rlim_cur = FDS_MAX;
	for (unsigned fd = first; fd < l.rlim_cur; fd++)
		if ((int)fd != channel)
			close((int)fd);
	r = cloexec_from(first);
	return r < 0 ? err_sys(e, r, "close-on-exec") : 0;
}

static int load_filter(struct ns_final *f, struct err *e) {
	int fd = seccomp_load(f->filter, e);
	if (fd >= 0 && f->filter->notify)
		ns_handover_offer(&f->handover, fd);
	return fd < 0 ? fd : 0;
}

static int identity(struct ns_final *f, bool early, struct err *e) {
	uint32_t flags = (f->is_exec ? CREDS_EXEC : 0) | (f->keep_groups || f->setgroups_denied ? CREDS_KEEP_GROUPS : 0);
	int r = 0;
	if (f->landlock && f->landlock->present)
		r = landlock_apply(f->landlock, e);
	if (r == 0 && early)
		r = load_filter(f, e);
	/* A further process whose document names no capabilities has the container's (runc). */
	struct oci_process p = *f->p;
	if (f->is_exec && !p.caps.set)
		p.caps = f->s->process.caps;
	return r < 0 ? r : creds_apply(&p, flags, e);
}

/*
 * The process that the container will see is born here, with nothing but the container's own rights: one with CAP_SYS_PTRACE inside can trace it and finds
 * only its equal. clone(2) and not clone3(2), which profiles refuse. The terminal goes along by hand, since a session does not pass to a child of another
 * session: the leader lets go of it first (SIGHUP is its own, ignored).
 */
static int late_fork(struct ns_final *f, struct err *e) {
	int pidfd = -EBADF;
	if (f->p->terminal) {
		signal(SIGHUP, SIG_IGN);
		if (ioctl(0, TIOCNOTTY) < 0)
			return err_sys(e, errno, "release terminal");
		signal(SIGHUP, SIG_DFL);
	}
	/* Flags, stack and where the pidfd goes are the first three arguments on every architecture that we build for. */
	long pid = syscall(SYS_clone, CLONE_PARENT | CLONE_PIDFD, NULL, &pidfd, NULL, NULL);
	if (pid < 0)
		return err_sys(e, errno, "clone");
	if (pid > 0) {
		ns_send(f->channel, NS_MSG_PID, (int)pid, NULL, pidfd);
		_exit(0);
	}
	if (setsid() < 0)
		return err_sys(e, errno, "setsid");
	if (f->p->terminal && ioctl(0, TIOCSCTTY, 0) < 0)
		return err_sys(e, errno, "set controlling terminal");
	return 0;
}

int ns_final_exec(struct ns_final *f, struct err *e) {
	const struct oci_process *p = f->p;
	const char *cwd = p->cwd && *p->cwd ? p->cwd : "/";
	const struct process_attrs attrs = { .proc_fd = f->proc, .in_userns = f->in_userns || f->nested, .no_new_keyring = f->no_new_keyring, .keyring_id = f->id };
	bool early = f->filter->present && seccomp_early(p);
	/* In a user namespace oom_score_adj was written from outside (ns_outside_limits). */
	struct oci_process mine = *p;
	mine.oom_score_adj.set = p->oom_score_adj.set && !f->in_userns;
	int r = process_attrs_apply(f->s, &mine, &attrs, e);
	if (r == 0)
		r = lsm_apply_exec(f->proc, p->apparmor_profile, p->selinux_label, e);
	if (r == 0)
		r = own_stdio(p->user.uid, e);
	/* As root of the container first: a directory that only root may enter is no reason to fail when the user may not (runc). */
	struct err cwd_err = ERR_INIT;
	int in_cwd = r == 0 ? enter_cwd(cwd, &cwd_err) : 0;
	if (r == 0 && in_cwd < 0 && in_cwd != -EACCES && in_cwd != -EPERM)
		r = in_cwd, err_move(e, &cwd_err);
	err_clear(&cwd_err);
	if (r == 0 && !f->in_userns)
		r = rlimits_apply(0, p, e);
	if (r == 0)
		r = no_new_privs_apply(p, e);
	if (r < 0)
		return r;
	ns_reset_signals();
	if ((r = close_own(f, e)) < 0 || (r = identity(f, early, e)) < 0)
		return r;
	if (f->late_fork && (r = late_fork(f, e)) < 0)
		return r;
	if (in_cwd < 0 && (r = enter_cwd(cwd, e)) < 0)
		return r;
	if (f->filter->present && !early && f->filter->notify && f->in_userns)
		r = dumpable_set(true, e); /* pidfd_getfd(2) by an ordinary user */
	if (r == 0 && f->filter->present && !early)
		r = load_filter(f, e);
	if (r < 0)
		return r;
	execve(f->file, p->args.v, f->env);
	return err_sys(e, errno, "exec %s", f->file);
}
