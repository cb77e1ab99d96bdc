/* The child until it is in its namespaces: directly, or through a stage process. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "confine/exe.h"
#include "confine/userns.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/ns.h"

static NORETURN void die(struct ns_create *p, struct err *e) {
	ns_send(p->channel, NS_MSG_ERROR, e->code, err_msg(e), -EBADF);
	_exit(1);
}

int ns_become_root(bool setgroups_denied, struct err *e) {
	/* All capabilities are there since clone3; what is missing is an id of the namespace. */
	if (!setgroups_denied && syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM)
		return err_sys(e, errno, "setgroups");
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 && errno != EINVAL)
		return err_sys(e, errno, "setgid");
	if (syscall(SYS_setresuid, 0, 0, 0) < 0 && errno != EINVAL)
		return err_sys(e, errno, "setuid");
	return 0;
}

static int wait_maps(struct ns_create *p, struct err *e) {
	struct ns_message m;
	int r = ns_recv(p->channel, &m, NULL, e);
	if (r == 0 && m.type != NS_MSG_GO)
		r = err_set(e, EPROTO, "unexpected message");
	if (r < 0)
		return r;
	p->setgroups_denied = m.code;
	return ns_become_root(p->setgroups_denied, e);
}

/* First things: the host's program out of reach, our place in the cgroups. */
static int settle(struct ns_create *p, struct err *e) {
	cleanup_close(&p->exe_tree);
	int r = exe_forget(p->shared_exe, e);
	if (r == 0 && (r = cgroup_join_self(&p->cgroups)) < 0)
		err_sys(e, r, "enter cgroup");
	cgroup_join_close(&p->cgroups);
	/* A process that waits inside must not be taken over by whoever shares its pid namespace (CVE-2016-9962). In a user namespace the kernel has
	 * cleared the flag already, and it must not be set before the maps are written: /proc/PID would belong to root. */
	if (r == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		r = err_sys(e, errno, "clear dumpable");
	return r;
}

static int join_all(struct ns_create *p, struct err *e) {
	for (size_t i = 0; i < p->n_joins; i++) {
		const struct ns_join *j = &p->joins[i];
		if (sys_setns(j->fd, j->flag) < 0)
			return err_sys(e, errno, "join %s namespace", oci_namespace_name(j->flag));
		if (j->flag == CLONE_NEWUSER) {
			int r = ns_become_root(false, e);
			if (r < 0)
				return r;
		}
	}
	if (p->rootfs < 0) {
		p->rootfs = open(p->c->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (p->rootfs < 0)
			return err_sys(e, errno, "open rootfs %s in the joined mount namespace", p->c->rootfs);
	}
	return 0;
}

/* Namespaces that clone3 must not make: the cgroup namespace's root is the cgroup of the moment, and copy_cgroup_ns() runs before the child moves into
 * its own; the root directory of an ipc namespace's mqueue belongs to whoever makes it, and before the maps are written that is nobody. */
static int late_namespaces(struct ns_create *p, struct err *e) {
	uint64_t flags = p->new_flags & ns_late_flags(p->new_flags);
	if (flags && sys_unshare(flags) < 0)
		return err_sys(e, errno, "new cgroup or ipc namespace");
	return 0;
}

static int time_offsets(const struct oci_spec *s, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	for (size_t i = 0; i < s->n_time_offsets; i++)
		strbuf_printf(&text, "%d %lld %u\n", s->time_offsets[i].clock, (long long)s->time_offsets[i].secs, s->time_offsets[i].nanosecs);
	if (text.failed)
		return err_set(e, ENOMEM, "out of memory");
	/* In a user namespace the change of ids has made the file root's. The stage is not visible in the container: no harm until settle(). */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	int r = file_write_at(AT_FDCWD, "/proc/self/timens_offsets", strbuf_str(&text));
	return r < 0 ? err_sys(e, r, "write time namespace offsets") : 0;
}

void ns_child(struct ns_create *p) {
	_cleanup_err_ struct err e = ERR_INIT;
	int r = 0;
	if (p->new_flags & CLONE_NEWUSER)
		r = wait_maps(p, &e);
	if (r == 0 && (r = settle(p, &e)) == 0 && (r = join_all(p, &e)) == 0)
		r = late_namespaces(p, &e);
	if (r < 0)
		die(p, &e);
	ns_init(p);
}

/*
 * The stage is in the new user namespace already, or joins one; what is entered here by setns(2) is inherited by the first process, the rest it gets by
 * clone3. CLONE_PARENT makes it our parent's child, which our pid numbers suit, since the stage itself stays in the pid namespace of the parent.
 */
void ns_stage(struct ns_create *p) {
	_cleanup_err_ struct err e = ERR_INIT;
	int r = 0, pidfd = -EBADF;
	if (p->new_flags & CLONE_NEWUSER)
		r = wait_maps(p, &e);
	/* /proc of the host is used for the last time below: the offsets. Not before the joins, which may give the capability for it. */
	if (r == 0 && (p->new_flags & CLONE_NEWTIME) && p->s->n_time_offsets) {
		if (sys_unshare(CLONE_NEWTIME) < 0)
			r = err_sys(&e, errno, "new time namespace");
		else
			r = time_offsets(p->s, &e);
		p->new_flags &= ~(uint64_t)CLONE_NEWTIME;
	}
	if (r == 0 && (r = settle(p, &e)) == 0)
		r = join_all(p, &e);
	if (r < 0)
		die(p, &e);
	struct clone_args a = { .flags = (ns_clone_flags(p) & ~(uint64_t)CLONE_NEWUSER) | CLONE_PARENT | CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)&pidfd };
	pid_t pid = sys_clone3(&a);
	if (pid == 0) {
		r = ns_expect(p->channel, NS_MSG_GO, &e);
		if (r == 0)
			r = late_namespaces(p, &e);
		if (r < 0)
			die(p, &e);
		ns_init(p);
	}
	if (pid < 0) {
		err_sys(&e, errno, "clone the container's process");
		die(p, &e);
	}
	ns_send(p->channel, NS_MSG_PID, pid, NULL, pidfd);
	_exit(0);
}
