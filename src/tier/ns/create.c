/* The parent's side of making a container: see ns.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "confine/intelrdt.h"
#include "confine/netdev.h"
#include "confine/rootfs.h"
#include "confine/sched.h"
#include "confine/userns.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/ns.h"

/* clone3 with everything; the v2 cgroup is entered by the same call. *ret_pidfd: of the new process. */
static pid_t spawn(struct ns_create *p, int parent_end, int *ret_pidfd) {
	uint64_t flags = p->stage ? p->new_flags & CLONE_NEWUSER : ns_clone_flags(p);
	int pidfd = -EBADF, cg = p->c->cgroup ? cgroup_fd(p->c->cgroup) : -EBADF;
	struct clone_args a = { .flags = flags | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	if (cg >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)cg;
	}
	pid_t pid = sys_clone3(&a);
	if (pid == 0) {
		close(parent_end);
		if (p->stage)
			ns_stage(p);
		ns_child(p);
	}
	if (pid < 0)
		return -errno;
	*ret_pidfd = pidfd;
	return pid;
}

static void reap(pid_t pid, int *ret_status) {
	int status = 0;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (ret_status)
		*ret_status = status;
}

/* The stage sends the first process' pid and pidfd, then ends. */
static int from_stage(struct ns_create *p, int channel, pid_t *pid, int *pidfd, struct err *e) {
	struct ns_message m;
	int fd = -EBADF;
	int r = ns_recv(channel, &m, &fd, e);
	if (r == 0 && (m.type != NS_MSG_PID || fd < 0 || m.code <= 0))
		r = err_set(e, EPROTO, "unexpected message from the container's process");
	reap(*pid, NULL);
	cleanup_close(pidfd);
	*pid = 0;
	*pidfd = -EBADF;
	if (r < 0) {
		cleanup_close(&fd);
		return r;
	}
	*pid = m.code;
	*pidfd = fd;
	(void)p;
	return 0;
}

static int run_outside_hooks(struct ns_create *p, int channel, struct err *e) {
	static const enum oci_hook_point points[] = { OCI_HOOK_PRESTART, OCI_HOOK_CREATE_RUNTIME };
	for (size_t i = 0; i < ARRAY_SIZE(points); i++)
		if (p->s->hooks[points[i]].n) {
			int r = p->o->run_hooks(p->c, points[i], p->o->arg, e);
			if (r < 0)
				return r;
		}
	int r = ns_send(channel, NS_MSG_GO, 0, NULL, -EBADF);
	return r < 0 ? err_sys(e, r, "let the container's process go on") : 0;
}

/* A network namespace for the child, while it is busy. Returns its fd; the caller is in its own again, or the error is fatal. */
static int make_net(struct err *e) {
	_cleanup_close_ int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), made = -EBADF;
	if (own < 0)
		return err_sys(e, errno, "open own network namespace");
	if (sys_unshare(CLONE_NEWNET) < 0)
		return err_sys(e, errno, "new network namespace");
	int r = netdev_lo_up(e);
	if (r == 0 && (made = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) < 0)
		r = err_sys(e, errno, "open new network namespace");
	if (sys_setns(own, CLONE_NEWNET) < 0)
		r = err_sys(e, errno, "return to own network namespace");
	return r < 0 ? r : TAKE_FD(made);
}

static int give_net(struct ns_create *p, int channel, struct err *e) {
	if (!p->net_outside)
		return 0;
	_cleanup_close_ int net = make_net(e);
	if (net < 0)
		return net;
	int r = ns_send(channel, NS_MSG_NET, 0, NULL, net);
	/* A child that is gone has said why: that message is waiting. */
	return r < 0 && r != -EPIPE ? err_sys(e, r, "send network namespace") : 0;
}

/* What the host's side does once the namespaces are there. */
static int outside(struct ns_create *p, struct err *e) {
	int r = 0;
	if (p->s->n_net_devices) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)p->c->init_pid);
		_cleanup_close_ int net = open(path, O_RDONLY | O_CLOEXEC);
		if (net < 0)
			return err_sys(e, errno, "open %s", path);
		r = netdev_move_all(p->s->net_devices, p->s->n_net_devices, net, e);
	}
	if (r == 0 && p->s->intel_rdt.set)
		r = intelrdt_join(NULL, &p->s->intel_rdt, p->c->id, p->c->init_pid, e);
	return r;
}

int ns_outside_limits(pid_t pid, const struct oci_process *p, struct err *e) {
	char path[64], value[24];
	if (p->oom_score_adj.set) {
		snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
		snprintf(value, sizeof(value), "%lld", (long long)p->oom_score_adj.v);
		int r = file_write_at(AT_FDCWD, path, value);
		if (r < 0 && r != -EACCES && r != -EPERM)
			return err_sys(e, r, "write oom_score_adj");
	}
	return rlimits_apply(pid, p, e);
}

static int serve(struct ns_create *p, int channel, struct err *e) {
	for (;;) {
		struct ns_message m;
		_cleanup_close_ int fd = -EBADF;
		int r = ns_recv(channel, &m, &fd, e);
		if (r < 0)
			return r;
		switch (m.type) {
		case NS_MSG_TERMINAL:
			p->o->stdio.terminal = TAKE_FD(fd);
			break;
		case NS_MSG_NET: /* the child is in it */
			r = outside(p, e);
			if (r == 0 && (r = ns_send(channel, NS_MSG_GO, 0, NULL, -EBADF)) < 0)
				err_sys(e, r, "let the container's process go on");
			break;
		case NS_MSG_MOUNTED:
			r = run_outside_hooks(p, channel, e);
			break;
		case NS_MSG_READY:
			return p->in_userns ? ns_outside_limits(p->c->init_pid, &p->s->process, e) : 0;
		default:
			r = err_set(e, EPROTO, "unexpected message %u from the container's process", m.type);
		}
		if (r < 0)
			return r;
	}
}

static int build(struct ns_create *p, int channel, pid_t *pid, int *pidfd, struct err *e) {
	int r = p->c->cgroup ? cgroup_attach(p->c->cgroup, NULL, *pid, e) : 0;
	if (r == 0 && p->new_flags & CLONE_NEWUSER) {
		r = userns_write_maps(*pid, &p->s->uid_mappings, &p->s->gid_mappings, &p->setgroups_denied, e);
		if (r == 0 && (r = ns_send(channel, NS_MSG_GO, p->setgroups_denied, NULL, -EBADF)) < 0)
			err_sys(e, r, "let the container's process go on");
	}
	if (r == 0 && p->stage)
		r = from_stage(p, channel, pid, pidfd, e);
	if (r < 0)
		return r;
	p->c->init_pid = *pid;
	p->c->init_pidfd = *pidfd;
	if ((r = give_net(p, channel, e)) < 0)
		return r;
	if (p->o->created && (r = p->o->created(p->c, p->o->arg, e)) < 0)
		return r;
	if (!p->net_outside && (r = outside(p, e)) < 0)
		return r;
	if ((p->stage && (r = ns_send(channel, NS_MSG_GO, 0, NULL, -EBADF)) < 0))
		return r;
	if (p->exe_tree >= 0)
		close(p->exe_tree); /* while the child mounts */
	p->exe_tree = -EBADF;
	if ((r = serve(p, channel, e)) < 0)
		return r;
	if (p->o->stdio.pidfd_socket >= 0)
		r = console_send(p->o->stdio.pidfd_socket, *pidfd, "pidfd", e);
	return r;
}

/* How a process that gave no reason ended: an out-of-memory kill is the common one. */
static void explain_death(pid_t pid, struct err *e) {
	int status;
	reap(pid, &status);
	if (e && e->code == -ECONNRESET && WIFSIGNALED(status))
		err_set(e, ECONNRESET, "the container's process was killed by signal %d%s", WTERMSIG(status),
			WTERMSIG(status) == SIGKILL ? " (out of memory in its cgroup?)" : "");
}

int ns_op_create(struct tier_container *c, struct tier_create_options *o, struct err *e) {
	struct ns_create p = { .c = c, .o = o, .s = c->spec, .filter = SECCOMP_FILTER_INIT };
	int pair[2] = { -EBADF, -EBADF }, pidfd = -EBADF;
	pid_t pid = 0;
	c->start_fd = -EBADF;
	int r = ns_plan(&p, e);
	if (r == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		r = err_sys(e, errno, "socketpair");
	if (r == 0) {
		p.channel = pair[1];
		pid = spawn(&p, pair[0], &pidfd);
		if (pid < 0)
			r = err_sys(e, pid, "clone the container's process");
		close(pair[1]);
		p.channel = -EBADF;
	}
	if (r == 0) {
		r = build(&p, pair[0], &pid, &pidfd, e);
		if (r < 0 && pid > 0) {
			sys_pidfd_send_signal(pidfd, SIGKILL);
			explain_death(pid, e);
		}
	}
	if (r == 0 && o->start_follows) {
		c->start_fd = pair[0];
		pair[0] = -EBADF;
	} else if (r < 0) {
		if (p.listener >= 0)
			unlinkat(c->state_fd, "ns.start", 0);
		cleanup_close(&pidfd);
		c->init_pid = 0;
		c->init_pidfd = -EBADF;
	}
	cleanup_close(&pair[0]);
	ns_plan_free(&p);
	return r < 0 ? err_wrap(e, r, "unable to start container process") : 0;
}
