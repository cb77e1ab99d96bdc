/* The container's first process: from fresh namespaces to the user's program. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/broken.h"
#include "confine/netdev.h"
#include "confine/rootfs.h"
#include "confine/userns.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/ns.h"

static bool is_dev(const struct oci_mount *m) {
	size_t n = strlen(m->destination);
	while (n > 1 && m->destination[n - 1] == '/')
		n--;
	return n == 4 && memcmp(m->destination, "/dev", 4) == 0 && m->type && streq(m->type, "tmpfs") && !m->bind;
}

/* Join the network namespace that the parent made meanwhile. Idempotent. */
static int join_net(struct ns_create *p, struct err *e) {
	struct ns_message m;
	_cleanup_close_ int net = -EBADF;
	if (!p->net_outside)
		return 0;
	int r = ns_recv(p->channel, &m, &net, e);
	if (r == 0 && (m.type != NS_MSG_NET || net < 0))
		r = err_set(e, EPROTO, "unexpected message");
	if (r == 0 && sys_setns(net, CLONE_NEWNET) < 0)
		r = err_sys(e, errno, "join network namespace");
	/* Devices are moved, and RDT groups joined, from outside: only then is somebody waiting for this. */
	if (r == 0 && (p->s->n_net_devices || p->s->intel_rdt.set)) {
		if ((r = ns_send(p->channel, NS_MSG_NET, 0, NULL, -EBADF)) < 0)
			return err_sys(e, r, "report network namespace");
		r = ns_expect(p->channel, NS_MSG_GO, e);
	}
	if (r == 0)
		p->net_outside = false;
	return r;
}

/* File systems whose superblock does not depend on the network namespace of the one who mounts. */
static bool knows_no_net(const struct oci_mount *m) {
	static const char *const types[] = { "proc", "tmpfs", "devpts", "mqueue" };
	if (mount_is_bind(m) || m->remount || !m->type)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (streq(m->type, types[i]))
			return true;
	return false;
}

static int make_mounts(struct ns_create *p, struct mount_ctx *ctx, bool *ret_dev_readonly, struct err *e) {
	for (size_t i = 0; i < p->s->n_mounts; i++) {
		struct oci_mount m = p->s->mounts[i];
		/* A read-only /dev is filled first. */
		if (is_dev(&m) && (m.attr_set & MOUNT_ATTR_RDONLY)) {
			m.attr_set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
			m.flags_set &= ~(unsigned long)MS_RDONLY;
			*ret_dev_readonly = true;
		}
		int r = knows_no_net(&m) ? 0 : join_net(p, e);
		if (r == 0)
			r = mount_entry(ctx, &m, p->sources ? &p->sources[i] : NULL, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_dev(struct ns_create *p, struct mount_ctx *ctx, struct err *e) {
	if (!(p->own & CLONE_NEWNS) || !devices_wanted(p->s))
		return 0;
	int r = devices_create(ctx->root, p->s->devices, p->s->n_devices, p->in_userns, p->device_trees, e);
	return r < 0 ? r : devices_links(ctx->root, e);
}

static int dev_readonly(int root, struct err *e) {
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	_cleanup_close_ int dev = open_in_root(root, "dev", O_PATH | O_DIRECTORY, 0);
	if (dev < 0 || sys_mount_setattr(dev, "", AT_EMPTY_PATH, &ro) < 0)
		return err_sys(e, dev < 0 ? dev : errno, "remount /dev read-only");
	return 0;
}

/* Terminal of the container's own devpts; the master goes to whoever holds the console socket, or back to our parent. */
static int make_terminal(struct ns_create *p, int root, int *ret_slave, struct err *e) {
	_cleanup_close_ int master = -EBADF, slave = -EBADF;
	char name[32];
	int r = console_open(root, &master, &slave, name, e);
	if (r < 0)
		return r;
	if ((p->own & CLONE_NEWNS) && (r = console_bind(root, slave, e)) < 0)
		return r;
	if (p->o->stdio.console_socket >= 0)
		r = console_send(p->o->stdio.console_socket, master, name, e);
	else if ((r = ns_send(p->channel, NS_MSG_TERMINAL, 0, NULL, master)) < 0)
		err_sys(e, r, "hand the terminal over");
	if (r == 0)
		*ret_slave = TAKE_FD(slave);
	return r;
}

static int names(const struct oci_spec *s, struct err *e) {
	if (s->hostname && sethostname(s->hostname, strlen(s->hostname)) < 0)
		return err_sys(e, errno, "sethostname");
	if (s->domainname && setdomainname(s->domainname, strlen(s->domainname)) < 0)
		return err_sys(e, errno, "setdomainname");
	return 0;
}

static int hooks(struct ns_create *p, struct err *e) {
	if (p->hooks_outside) {
		int r = ns_send(p->channel, NS_MSG_MOUNTED, 0, NULL, -EBADF);
		if (r < 0)
			return err_sys(e, r, "report mounts");
		if ((r = ns_expect(p->channel, NS_MSG_GO, e)) < 0)
			return r;
	}
	if (p->o->run_hooks && p->s->hooks[OCI_HOOK_CREATE_CONTAINER].n)
		return p->o->run_hooks(p->c, OCI_HOOK_CREATE_CONTAINER, p->o->arg, e);
	return 0;
}

static int enter(struct ns_create *p, int root, struct err *e) {
	if (!(p->own & CLONE_NEWNS)) {
		if (fchdir(root) < 0 || chroot(".") < 0 || chdir("/") < 0)
			return err_sys(e, errno, "chroot");
		return 0;
	}
	int r = p->o->no_pivot ? rootfs_move(root, e) : rootfs_pivot(root, e);
	return r < 0 ? r : rootfs_propagation(p->s->rootfs_propagation, e);
}

static int restrict_paths(struct ns_create *p, struct mount_ctx *ctx, struct err *e) {
	_cleanup_close_ int private = -EBADF;
	int r = 0, proc = ctx->proc;
	if (p->s->sysctl.n) {
		if (proc < 0)
			proc = private = ns_private_proc(e);
		if (proc < 0)
			return proc;
		r = sysctl_apply(proc, &p->s->sysctl, e);
	}
	if (r == 0 && (p->own & CLONE_NEWNS) && p->s->root_readonly)
		r = rootfs_readonly(e);
	if (r == 0)
		r = mask_readonly(ctx->root, &p->s->readonly_paths, e);
	if (r == 0)
		r = mask_paths(ctx->root, &p->s->masked_paths, ctx->label, e);
	return r;
}

static int build(struct ns_create *p, struct mount_ctx *ctx, int *ret_slave, struct err *e) {
	const struct oci_spec *s = p->s;
	bool readonly_dev = false;
	int r = 0;
	if ((p->new_flags & CLONE_NEWNET) && !p->net_outside && (r = netdev_lo_up(e)) < 0)
		return r;
	if (p->own & CLONE_NEWNS) {
		if ((r = rootfs_isolate(s->rootfs_propagation, e)) < 0)
			return r;
		ctx->root = rootfs_bind(p->c->rootfs, p->rootfs, p->rootfs_tree, s->rootfs_propagation & MS_SHARED, e);
	} else {
		ctx->root = fcntl(p->rootfs, F_DUPFD_CLOEXEC, 3);
	}
	if (ctx->root < 0)
		return ctx->root;
	if ((r = make_mounts(p, ctx, &readonly_dev, e)) < 0 || (r = make_dev(p, ctx, e)) < 0)
		return r;
	if ((r = join_net(p, e)) < 0 || (r = names(s, e)) < 0)
		return r;
	if (s->process.cwd && !streq(s->process.cwd, "/")) {
		/* An engine may name a directory that the image does not have (runc makes it too). */
		int cwd = mkdir_p_in_root(ctx->root, s->process.cwd, 0755);
		if (cwd < 0 && cwd != -EROFS && cwd != -EACCES && cwd != -EPERM)
			return err_sys(e, cwd, "create working directory %s", s->process.cwd);
		cleanup_close(&cwd);
	}
	if (s->process.terminal && (r = make_terminal(p, ctx->root, ret_slave, e)) < 0)
		return r;
	/* Last: devices and the console are made in it. */
	if (readonly_dev && (r = dev_readonly(ctx->root, e)) < 0)
		return r;
	if ((r = hooks(p, e)) < 0)
		return r;
	if ((r = enter(p, ctx->root, e)) < 0)
		return r;
	return restrict_paths(p, ctx, e);
}

static int run(struct ns_create *p, struct err *e) {
	const struct oci_spec *s = p->s;
	struct mount_ctx ctx = { .root = -EBADF, .proc = -EBADF, .bundle = p->c->bundle, .in_userns = p->in_userns || p->nested,
		.cgroup_ns = p->own & CLONE_NEWCGROUP, .cgroup = p->c->cgroup, .label = s->mount_label,
		.label_type = oci_annotation(s, "run.oci.mount_context_type"), .uid_maps = &s->uid_mappings, .gid_maps = &s->gid_mappings };
	int slave = -EBADF;
	if (setsid() < 0)
		return err_sys(e, errno, "setsid");
	mode_t mask = umask(022);
	int r = build(p, &ctx, &slave, e);
	umask(mask);
	if (r < 0)
		return r;
	if (slave >= 0 && (r = console_use(slave, &s->process, e)) < 0)
		return r;
	cleanup_close(&slave);
	if (ctx.proc < 0 && (ctx.proc = ns_private_proc(e)) < 0)
		return ctx.proc;
	const char *groups = oci_annotation(s, "run.oci.keep_original_groups");
	struct ns_final f = { .s = s, .p = &s->process, .id = p->c->id, .filter = &p->filter, .landlock = &p->landlock, .proc = ctx.proc,
		.in_userns = p->in_userns, .nested = p->nested, .setgroups_denied = p->setgroups_denied, .handover = NS_HANDOVER_NONE, .no_new_keyring = p->o->no_new_keyring,
		.keep_groups = groups && streq(groups, "1"), .keep_fds = p->o->stdio.preserve_fds + p->o->stdio.listen_fds };
	if ((r = ns_final_prepare(&f, e)) < 0)
		return r;
	/* The wait may last for days: nothing of our parent's stays open in it, above all not the lock on the state directory, which ends with the last
	 * copy of its descriptor. */
	int keep[] = { p->channel, p->listener, ctx.proc };
	if (!broken("fds"))
		ns_close_others(3 + f.keep_fds, keep, ARRAY_SIZE(keep));
	if ((r = ns_send(p->channel, NS_MSG_READY, 0, NULL, -EBADF)) < 0)
		return err_sys(e, r, "report ready");
	if ((r = ns_wait_start(&p->channel, p->listener, &f.handover, e)) < 0)
		return r;
	if (p->o->run_hooks && s->hooks[OCI_HOOK_START_CONTAINER].n && (r = p->o->run_hooks(p->c, OCI_HOOK_START_CONTAINER, p->o->arg, e)) < 0)
		return r;
	f.channel = p->channel;
	return ns_final_exec(&f, e);
}

void ns_init(struct ns_create *p) {
	struct err e = ERR_INIT;
	run(p, &e);
	ns_send(p->channel, NS_MSG_ERROR, e.code, err_msg(&e), -EBADF);
	_exit(1);
}
