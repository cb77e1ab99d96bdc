/*
 * Further processes in a running container. One setns(2) on the pidfd of its first process joins every namespace; the pid namespace counts for
 * children only, so the caller enters it around clone3 and goes back, which saves a fork. An ordinary user may enter it only after the user
 * namespace: then a stage process joins everything and clones with CLONE_PARENT.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/broken.h"
#include "confine/exe.h"
#include "confine/rootfs.h"
#include "confine/sched.h"
#include "confine/userns.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/ns.h"

struct ns_exec {
	struct tier_container *c;
	struct tier_exec_options *o;
	uint64_t join;            /* CLONE_NEW* of the container that are not ours */
	bool stage, late_fork, in_userns, nested, setgroups_denied;
	bool waits;               /* for MSG_GO before execve: two phases, limits from outside, a seccomp listener */
	int root;                 /* no mount namespace of its own: the container's root directory */
	int shared_exe, exe_tree, init_pidfd, cgroup, channel, listener;
	char listener_name[300];
	struct cgroup_join cgroups;
	struct seccomp_filter filter;
	struct landlock_policy landlock;
	struct arena arena;
};

static int user_ns_differs(pid_t pid, bool *ret, struct err *e) {
	char path[64];
	struct stat a, b;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	if (stat(path, &a) < 0 || stat("/proc/self/ns/user", &b) < 0)
		return err_sys(e, errno, "user namespace of the container");
	*ret = a.st_dev != b.st_dev || a.st_ino != b.st_ino;
	return 0;
}

/* newgidmap-less rootless containers have setgroups(2) denied; asked of the process that is inside. */
static bool setgroups_denied(pid_t pid) {
	char path[64];
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	snprintf(path, sizeof(path), "/proc/%d/setgroups", (int)pid);
	return file_read_at(AT_FDCWD, path, &text, 64) == 0 && str_has_prefix(strbuf_str(&text), "deny");
}

static int plan_exec(struct ns_exec *x, struct err *e) {
	const struct oci_spec *s = x->c->spec;
	struct tier_container *c = x->c;
	x->shared_exe = x->exe_tree = x->root = x->cgroup = x->channel = x->listener = -EBADF;
	x->init_pidfd = c->init_pidfd;
	if (c->init_pidfd < 0)
		return err_set(e, ESRCH, "container not running");
	for (size_t i = 0; i < s->n_namespaces; i++)
		x->join |= (uint64_t)(unsigned)s->namespaces[i].flag;
	int r = user_ns_differs(c->init_pid, &x->in_userns, e);
	if (r < 0)
		return r;
	x->join = x->in_userns ? x->join | CLONE_NEWUSER : x->join & ~(uint64_t)CLONE_NEWUSER;
	x->nested = userns_nested();
	x->setgroups_denied = (x->in_userns || x->nested) && setgroups_denied(c->init_pid);
	if (!(x->join & CLONE_NEWNS)) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/%d/root", (int)c->init_pid);
		x->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (x->root < 0)
			return err_sys(e, errno, "open root of the container");
	}
	if ((r = landlock_from_spec(&x->arena, s, &x->landlock, e)) < 0)
		return r;
	if ((r = seccomp_prepare(s, x->o->state_root_fd, &x->filter, e)) < 0 || (r = seccomp_check_start(&x->filter, e)) < 0)
		return err_wrap(e, r, "seccomp");
	if ((r = ns_agent_save(c->state_fd, &x->filter, e)) < 0)
		return r;
	if (c->cgroup && ((r = cgroup_exec_fd(c->cgroup, x->o->cgroup_sub, c->init_pid, &x->cgroup, e)) < 0 ||
			  (r = cgroup_exec_join(c->cgroup, x->o->cgroup_sub, c->init_pid, &x->cgroups, e)) < 0))
		return r;
	x->waits = x->in_userns || x->o->exec_id || (x->filter.present && x->filter.notify);
	x->shared_exe = exe_share(&x->exe_tree);
	if (x->o->exec_id) {
		if (snprintf(x->listener_name, sizeof(x->listener_name), "ns.exec.%s", x->o->exec_id) >= 256)
			return err_set(e, ENAMETOOLONG, "exec id too long");
		x->listener = ns_listen(c->state_fd, x->listener_name, e);
		if (x->listener < 0)
			return x->listener;
	}
	return 0;
}

static void plan_exec_free(struct ns_exec *x) {
	cleanup_close(&x->root);
	cleanup_close(&x->shared_exe);
	cleanup_close(&x->exe_tree);
	cleanup_close(&x->cgroup);
	cleanup_close(&x->channel);
	cleanup_close(&x->listener);
	cgroup_join_close(&x->cgroups);
	seccomp_filter_free(&x->filter);
	arena_free(&x->arena);
}

/* ---- inside ------------------------------------------------------------------------------------------------------- */

static NORETURN void die(int channel, struct err *e) {
	ns_send(channel, NS_MSG_ERROR, e->code, err_msg(e), -EBADF);
	_exit(1);
}

static int place(struct ns_exec *x, struct err *e) {
	const struct oci_process *p = x->o->process;
	cleanup_close(&x->exe_tree);
	int r = exe_forget(x->shared_exe, e);
	if (r == 0 && p->cpu_affinity_initial)
		r = cpu_affinity_apply(0, p->cpu_affinity_initial, "initial", e);
	if (r == 0 && (r = cgroup_join_self(&x->cgroups)) < 0)
		err_sys(e, r, "enter cgroup");
	cgroup_join_close(&x->cgroups);
	if (r < 0)
		return r;
	if (p->cpu_affinity_final)
		r = cpu_affinity_apply(0, p->cpu_affinity_final, "final", e);
	else if (!p->cpu_affinity_initial)
		(void)cpu_affinity_reset(0); /* what our caller was bound to is not the container's business: its cpuset decides (runc) */
	return r;
}

static int join(struct ns_exec *x, uint64_t flags, struct err *e) {
	/* The pid namespace has processes that may look at us: nothing of ours may be read or traced (CVE-2016-9962). */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, errno, "clear dumpable");
	if (flags && sys_setns(x->init_pidfd, (int)flags) < 0)
		return errno == ESRCH ? err_set(e, ESRCH, "container not running") : err_sys(e, errno, "join the container's namespaces");
	if (x->root >= 0 && flags != CLONE_NEWUSER && (fchdir(x->root) < 0 || chroot(".") < 0 || chdir("/") < 0))
		return err_sys(e, errno, "chroot");
	return flags & CLONE_NEWUSER ? ns_become_root(x->setgroups_denied, e) : 0;
}

static int terminal(struct ns_exec *x, struct err *e) {
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), master = -EBADF, slave = -EBADF;
	char name[32];
	if (root < 0)
		return err_sys(e, errno, "open /");
	int r = console_open(root, &master, &slave, name, e);
	if (r < 0)
		return r;
	if (x->o->stdio.console_socket >= 0)
		r = console_send(x->o->stdio.console_socket, master, name, e);
	else if ((r = ns_send(x->channel, NS_MSG_TERMINAL, 0, NULL, master)) < 0)
		err_sys(e, r, "hand the terminal over");
	return r < 0 ? r : console_use(slave, x->o->process, e);
}

/* In every namespace of the container. */
static int inside(struct ns_exec *x, struct err *e) {
	const struct oci_process *p = x->o->process;
	const char *groups = oci_annotation(x->c->spec, "run.oci.keep_original_groups");
	int r = 0, proc = -EBADF;
	if (setsid() < 0)
		return err_sys(e, errno, "setsid");
	if (p->terminal && (r = terminal(x, e)) < 0)
		return r;
	if ((p->apparmor_profile || p->selinux_label || p->oom_score_adj.set) && (proc = ns_private_proc(e)) < 0)
		return proc;
	struct ns_final f = { .s = x->c->spec, .p = p, .id = x->c->id, .filter = &x->filter, .landlock = &x->landlock, .proc = proc,
		.in_userns = x->in_userns, .nested = x->nested, .setgroups_denied = x->setgroups_denied, .handover = NS_HANDOVER_NONE, .no_new_keyring = x->o->no_new_keyring, .is_exec = true,
		.late_fork = x->late_fork,
		.keep_groups = groups && streq(groups, "1"), .keep_fds = x->o->stdio.preserve_fds + x->o->stdio.listen_fds };
	if ((r = ns_final_prepare(&f, e)) < 0)
		return r;
	if (x->waits) {
		if ((r = ns_send(x->channel, NS_MSG_READY, 0, NULL, -EBADF)) < 0)
			return err_sys(e, r, "report ready");
		if ((r = ns_wait_start(&x->channel, x->listener, &f.handover, e)) < 0)
			return r;
	}
	f.channel = x->channel;
	return ns_final_exec(&f, e);
}

static NORETURN void exec_child(struct ns_exec *x, int parent_end) {
	struct err e = ERR_INIT;
	int r = 0, pidfd = -EBADF;
	close(parent_end);
	int keep[] = { x->channel, x->listener, x->init_pidfd, x->root, x->o->stdio.console_socket };
	uint64_t flags = x->stage ? x->join : x->join & ~(uint64_t)CLONE_NEWPID;
	/* An ordinary user has the capability for exe_forget() in the container's user namespace only. Still in the host's pid namespace here, it
	 * cannot be seen from inside yet. */
	if (x->stage && (flags & CLONE_NEWUSER)) {
		r = join(x, CLONE_NEWUSER, &e);
		flags &= ~(uint64_t)CLONE_NEWUSER;
	}
	if (r == 0 && (r = place(x, &e)) == 0) {
		ns_close_others(3 + x->o->stdio.preserve_fds + x->o->stdio.listen_fds, keep, ARRAY_SIZE(keep));
		r = join(x, flags, &e);
	}
	if (r < 0)
		die(x->channel, &e);
	if (x->stage && !x->late_fork) {
		struct clone_args a = { .flags = CLONE_PARENT | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd };
		pid_t pid = sys_clone3(&a);
		if (pid < 0) {
			err_sys(&e, errno, "clone");
			die(x->channel, &e);
		}
		if (pid > 0) {
			ns_send(x->channel, NS_MSG_PID, pid, NULL, pidfd);
			_exit(0);
		}
		/* Nothing of ours may overtake the message that names us. */
		if (ns_expect(x->channel, NS_MSG_GO, &e) < 0)
			die(x->channel, &e);
	}
	inside(x, &e);
	die(x->channel, &e);
}

/* ---- outside ------------------------------------------------------------------------------------------------------ */

/* Enter the container's pid namespace for children; *ret_self: the way back. -EPERM: an ordinary user, or root of a user namespace that does not own
 * the pid namespace it runs in (rootless engines): there is no way back (pid_namespaces(7)), a stage is needed. */
static int enter_pidns(struct ns_exec *x, int *ret_self, struct err *e) {
	_cleanup_close_ int self = sys_pidfd_open(getpid(), 0);
	if (self < 0)
		return err_sys(e, errno, "pidfd_open");
	if (sys_setns(self, CLONE_NEWPID) < 0)
		return errno == EPERM ? -EPERM : err_sys(e, errno, "join the own pid namespace");
	if (sys_setns(x->init_pidfd, CLONE_NEWPID) < 0) {
		if (errno == EPERM || errno == EINVAL)
			return -EPERM;
		return errno == ESRCH ? err_set(e, ESRCH, "container not running") : err_sys(e, errno, "join the container's pid namespace");
	}
	*ret_self = TAKE_FD(self);
	return 0;
}

/*
 * A child that is born in the container's pid namespace has the host's root until it has joined the rest. Being undumpable keeps processes inside from
 * following /proc/PID/root or tracing it, but not those with CAP_SYS_PTRACE in the same user namespace (ptrace(2), access mode checking): for
 * containers that may have it, a stage joins everything first, unseen.
 */
static bool may_trace(const struct ns_exec *x) {
	const struct oci_caps *first = &x->c->spec->process.caps, *now = &x->o->process->caps;
	const uint64_t bit = 1ULL << CAP_SYS_PTRACE;
	if (x->in_userns || broken("traced"))
		return false;
	return (first->bounding | first->permitted | now->bounding | now->permitted) & bit;
}

static pid_t spawn(struct ns_exec *x, int parent_end, int *ret_pidfd, struct err *e) {
	_cleanup_close_ int self = -EBADF;
	int pidfd = -EBADF;
	if (x->join & CLONE_NEWPID && may_trace(x)) {
		x->stage = true;
		/* Better still, the stage does everything and makes the child last. Not where the child must exist earlier: to be started later, or to be the
		 * one whose system calls an agent is told about. */
		x->late_fork = !x->waits && !broken("privileged");
	} else if (x->join & CLONE_NEWPID) {
		int r = x->in_userns && geteuid() != 0 ? -EPERM : enter_pidns(x, &self, e);
		if (r < 0 && r != -EPERM)
			return r;
		x->stage = r == -EPERM;
	}
	struct clone_args a = { .flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	if (x->cgroup >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)x->cgroup;
	}
	/* The child is visible in the container at once: it must be born untraceable, and /proc/PID/exe closed, until exe_forget() is through. */
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	pid_t pid = sys_clone3(&a);
	if (pid == 0)
		exec_child(x, parent_end);
	int code = errno;
	if (dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	if (self >= 0 && sys_setns(self, CLONE_NEWPID) < 0 && pid > 0) {
		code = errno;
		sys_pidfd_send_signal(pidfd, SIGKILL);
		waitpid(pid, NULL, 0);
		return err_sys(e, code, "leave the container's pid namespace");
	}
	if (pid < 0)
		return code == ESRCH || code == ENOMEM ? err_sys(e, code, "container not running") : err_sys(e, code, "clone");
	*ret_pidfd = pidfd;
	return pid;
}

static int from_stage(struct ns_exec *x, int channel, pid_t *pid, int *pidfd, struct err *e) {
	struct ns_message m;
	int fd = -EBADF;
	int r = ns_recv(channel, &m, &fd, e);
	if (r == 0 && x->late_fork && m.type == NS_MSG_TERMINAL && fd >= 0) {
		x->o->stdio.terminal = fd;
		fd = -EBADF;
		r = ns_recv(channel, &m, &fd, e);
	}
	if (r == 0 && (m.type != NS_MSG_PID || fd < 0 || m.code <= 0))
		r = err_set(e, EPROTO, "unexpected message from the container's process");
	while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
		;
	cleanup_close(pidfd);
	*pid = r < 0 ? 0 : m.code;
	*pidfd = fd;
	return r;
}

static int to_ready(struct ns_exec *x, int channel, struct err *e) {
	for (;;) {
		struct ns_message m;
		_cleanup_close_ int fd = -EBADF;
		int r = ns_recv(channel, &m, &fd, e);
		if (r < 0 || m.type == NS_MSG_READY)
			return r;
		if (m.type != NS_MSG_TERMINAL)
			return err_set(e, EPROTO, "unexpected message %u from the container's process", m.type);
		x->o->stdio.terminal = TAKE_FD(fd);
	}
}

static int supervise(struct ns_exec *x, int channel, pid_t *pid, int *pidfd, struct err *e) {
	int r = x->stage ? from_stage(x, channel, pid, pidfd, e) : 0;
	if (r == 0 && x->stage && !x->late_fork && (r = ns_send(channel, NS_MSG_GO, 0, NULL, -EBADF)) < 0)
		return err_sys(e, r, "let the container's process go on");
	/* Without root the process waits in its user namespace: not the stage, which has cloned it by now, is the one to move. */
	if (r == 0 && x->c->cgroup)
		r = cgroup_attach(x->c->cgroup, x->o->cgroup_sub, *pid, e);
	if (r < 0)
		return r;
	if (x->waits && (r = to_ready(x, channel, e)) < 0)
		return r;
	if (x->in_userns && (r = ns_outside_limits(*pid, x->o->process, e)) < 0)
		return r;
	if (x->o->stdio.pidfd_socket >= 0 && (r = console_send(x->o->stdio.pidfd_socket, *pidfd, "pidfd", e)) < 0)
		return r;
	if (x->o->exec_id)
		return 0;
	return x->waits ? ns_go(x->c, channel, *pid, *pidfd, &x->o->stdio, e) : ns_watch(x->c, channel, *pid, *pidfd, NULL, &x->o->stdio, e);
}

int ns_op_exec(struct tier_container *c, struct tier_exec_options *o, pid_t *ret_pid, int *ret_pidfd, struct err *e) {
	struct ns_exec x = { .c = c, .o = o, .filter = SECCOMP_FILTER_INIT };
	int pair[2] = { -EBADF, -EBADF }, pidfd = -EBADF;
	pid_t pid = 0;
	int r = plan_exec(&x, e);
	if (r == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		r = err_sys(e, errno, "socketpair");
	if (r == 0) {
		x.channel = pair[1];
		pid = spawn(&x, pair[0], &pidfd, e);
		close(pair[1]);
		x.channel = -EBADF;
		r = pid < 0 ? pid : supervise(&x, pair[0], &pid, &pidfd, e);
		if (r < 0 && pid > 0) {
			sys_pidfd_send_signal(pidfd, SIGKILL);
			waitpid(pid, NULL, 0);
		}
	}
	if (r < 0) {
		if (x.listener >= 0)
			unlinkat(c->state_fd, x.listener_name, 0);
		cleanup_close(&pidfd);
	} else {
		*ret_pid = pid;
		*ret_pidfd = pidfd;
	}
	cleanup_close(&pair[0]);
	plan_exec_free(&x);
	return r < 0 ? err_wrap(e, r, "exec failed: unable to start container process") : 0;
}

int ns_op_exec_start(struct tier_container *c, const char *exec_id, struct err *e) {
	char name[300];
	if (snprintf(name, sizeof(name), "ns.exec.%s", exec_id) >= 256 || strchr(exec_id, '/'))
		return err_set(e, EINVAL, "invalid exec id");
	_cleanup_close_ int channel = ns_connect(c->state_fd, name, e);
	if (channel < 0)
		return channel == -ENOENT ? err_set(e, ENOENT, "exec \"%s\" does not exist", exec_id) : channel;
	/* The pid of a process that another command made: whoever holds the other end of the connection. */
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);
	_cleanup_close_ int pidfd = getsockopt(channel, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 ? sys_pidfd_open(who.pid, 0) : -EBADF;
	int r = ns_go(c, channel, who.pid, pidfd, NULL, e);
	unlinkat(c->state_fd, name, 0);
	return r < 0 ? err_wrap(e, r, "exec failed: unable to start container process") : 0;
}
