/* What a container needs, decided and checked before any process exists. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdio.h>
#include <sys/stat.h>

#include "confine/exe.h"
#include "confine/rootfs.h"
#include "confine/userns.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/ns.h"

/* Order of joining: the user namespace gives the capabilities for the others; the mount namespace comes last, since paths change with it. */
static const int kinds[NS_KINDS] = { CLONE_NEWUSER, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWCGROUP, CLONE_NEWNS };

static int same_as_own(int fd, int flag, bool *ret) {
	static const struct { int flag; const char *path; } own[] = {
		{ CLONE_NEWUSER, "/proc/self/ns/user" }, { CLONE_NEWIPC, "/proc/self/ns/ipc" }, { CLONE_NEWUTS, "/proc/self/ns/uts" },
		{ CLONE_NEWNET, "/proc/self/ns/net" }, { CLONE_NEWPID, "/proc/self/ns/pid" }, { CLONE_NEWTIME, "/proc/self/ns/time" },
		{ CLONE_NEWCGROUP, "/proc/self/ns/cgroup" }, { CLONE_NEWNS, "/proc/self/ns/mnt" },
	};
	struct stat a, b;
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (own[i].flag == flag) {
			if (fstat(fd, &a) < 0 || stat(own[i].path, &b) < 0)
				return -errno;
			*ret = a.st_dev == b.st_dev && a.st_ino == b.st_ino;
			return 0;
		}
	return -EINVAL;
}

/* An ordinary user without subordinate ids had to give setgroups(2) up to map the own group (user_namespaces(7)). */
static bool setgroups_off(void) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	return file_read_at(AT_FDCWD, "/proc/self/setgroups", &b, 64) == 0 && str_has_prefix(strbuf_str(&b), "deny");
}

static int plan_namespaces(struct ns_create *p, struct err *e) {
	bool fork_needed = false;
	for (size_t i = 0; i < NS_KINDS; i++) {
		const struct oci_namespace *ns = oci_namespace(p->s, kinds[i]);
		if (!ns)
			continue;
		if (!ns->path || !*ns->path) {
			p->new_flags |= (uint64_t)(unsigned)kinds[i];
			p->own |= (uint64_t)(unsigned)kinds[i];
			continue;
		}
		_cleanup_close_ int fd = open(ns->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		bool host = false;
		if (fd < 0)
			return err_sys(e, errno, "open namespace %s at %s", oci_namespace_name(kinds[i]), ns->path);
		int r = same_as_own(fd, kinds[i], &host);
		if (r < 0)
			return err_sys(e, r, "namespace %s", ns->path);
		if (host)
			continue; /* setns(2) into the own user namespace is an error; the others would be no-ops */
		p->joins[p->n_joins++] = (struct ns_join){ kinds[i], TAKE_FD(fd) };
		p->own |= (uint64_t)(unsigned)kinds[i];
		fork_needed = fork_needed || kinds[i] == CLONE_NEWUSER || kinds[i] == CLONE_NEWPID;
	}
	p->in_userns = p->own & CLONE_NEWUSER;
	p->nested = userns_nested();
	p->setgroups_denied = p->nested && setgroups_off();
	p->stage = fork_needed || ((p->new_flags & CLONE_NEWTIME) && p->s->n_time_offsets);
	/* Nested: the way back is barred, since our own network namespace belongs to the user namespace outside (setns(2)). */
	p->net_outside = (p->new_flags & CLONE_NEWNET) && !p->in_userns && !p->stage && !p->nested;
	return 0;
}

/* What runc's and crun's validators refuse, in their words where engines may look. */
static int plan_check(const struct ns_create *p, struct err *e) {
	const struct oci_spec *s = p->s;
	if (!s->has_process || !s->process.args.n)
		return err_set(e, EINVAL, "process.args must not be empty");
	if (!(p->own & CLONE_NEWNS)) {
		if (s->masked_paths.n || s->readonly_paths.n)
			return err_set(e, EINVAL, "unable to restrict sys entries without a private MNT namespace");
		if (s->n_mounts)
			return err_set(e, EINVAL, "mounts need a mount namespace in linux.namespaces");
	}
	if ((s->hostname || s->domainname) && !(p->own & CLONE_NEWUTS))
		return err_set(e, EINVAL, "unable to set hostname without a private UTS namespace");
	if (s->n_time_offsets && !(p->new_flags & CLONE_NEWTIME))
		return err_set(e, EINVAL, "time offsets need a new time namespace in linux.namespaces");
	if ((p->new_flags & CLONE_NEWUSER) && (!s->uid_mappings.n || !s->gid_mappings.n))
		return err_set(e, EINVAL, "user namespaces enabled, but no %s mappings provided", s->uid_mappings.n ? "gid" : "uid");
	if (!(p->own & CLONE_NEWUSER) && (s->uid_mappings.n || s->gid_mappings.n))
		return err_set(e, EINVAL, "user namespace mappings specified, but user namespace isn't enabled in the config");
	if (s->n_net_devices && !(p->own & CLONE_NEWNET))
		return err_set(e, EINVAL, "unable to move network devices without a private NET namespace");
	return sysctl_check(&s->sysctl, (unsigned long)p->own, s->domainname != NULL, e);
}

static int plan_rootfs(struct ns_create *p, struct err *e) {
	for (size_t i = 0; i < p->n_joins; i++)
		if (p->joins[i].flag == CLONE_NEWNS)
			return 0; /* the path means something in that namespace only */
	p->rootfs = open(p->c->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->rootfs < 0)
		return err_sys(e, errno, "open rootfs %s", p->c->rootfs);
	return 0;
}

/* With a user namespace the child may lack what the host's root has: search permission on the way to a source, the right to make an idmapped
 * mount. A parent without that right itself (rootless) leaves it to the child. Namespaces for idmaps are always made here: their maps are written
 * through /proc/PID, and the host's /proc has other numbers than the child. */
static int plan_source(struct ns_create *p, const struct mount_ctx *ctx, size_t i, bool open_all, struct err *e) {
	const struct oci_mount *m = &p->s->mounts[i];
	int r = mount_prepare_idmap(ctx, m, &p->sources[i], e);
	if (r == 0 && (open_all || mount_is_idmapped(m))) {
		r = mount_prepare_tree(ctx, m, &p->sources[i], e);
		if (r == -EPERM) {
			err_clear(e);
			r = 0;
		}
	}
	return r < 0 ? err_wrap(e, r, "error mounting \"%s\" to rootfs at \"%s\"", m->source ? m->source : "", m->destination) : 0;
}

static int plan_sources(struct ns_create *p, struct err *e) {
	bool open_all = p->in_userns && geteuid() == 0, needed = open_all;
	if (!(p->new_flags & CLONE_NEWNS))
		return 0;
	for (size_t i = 0; i < p->s->n_mounts; i++)
		needed = needed || mount_is_idmapped(&p->s->mounts[i]);
	if (!needed)
		return 0;
	if (open_all)
		p->rootfs_tree = sys_open_tree(p->rootfs, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	p->sources = arena_array(&p->arena, p->s->n_mounts, struct mount_source);
	if (!p->sources)
		return err_set(e, ENOMEM, "out of memory");
	const struct mount_ctx ctx = { .bundle = p->c->bundle, .in_userns = p->nested, .root = -EBADF, .proc = -EBADF,
		.uid_maps = &p->s->uid_mappings, .gid_maps = &p->s->gid_mappings };
	for (size_t i = 0; i < p->s->n_mounts; i++)
		p->sources[i] = (struct mount_source)MOUNT_SOURCE_NONE;
	for (size_t i = 0; i < p->s->n_mounts; i++) {
		int r = plan_source(p, &ctx, i, open_all, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Without the right to make nodes (rootless) the host's own are bound by name. */
static int plan_devices(struct ns_create *p, struct err *e) {
	if (!(p->new_flags & CLONE_NEWUSER) || !(p->new_flags & CLONE_NEWNS) || p->nested || geteuid() != 0 || !p->s->n_devices || !devices_wanted(p->s))
		return 0;
	int *trees = arena_array(&p->arena, p->s->n_devices, int);
	if (!trees)
		return err_set(e, ENOMEM, "out of memory");
	int r = devices_outside(p->c->state_dir, p->s->devices, p->s->n_devices, &p->s->uid_mappings, &p->s->gid_mappings, trees, e);
	if (r == -EPERM) {
		err_clear(e);
		return 0;
	}
	if (r == 0)
		p->device_trees = trees;
	return r;
}

int ns_plan(struct ns_create *p, struct err *e) {
	p->shared_exe = p->exe_tree = p->rootfs_tree = p->rootfs = p->channel = p->listener = -EBADF;
	p->hooks_outside = p->o->run_hooks && (p->s->hooks[OCI_HOOK_PRESTART].n || p->s->hooks[OCI_HOOK_CREATE_RUNTIME].n);
	if (!exe_can_forget()) {
		/* The program must then run from a sealed copy, which main() arranged (exe_reexec). */
		int r = exe_forget(-EBADF, e);
		if (r < 0)
			return r;
	}
	int r = plan_namespaces(p, e);
	if (r < 0 || (r = plan_check(p, e)) < 0 || (r = plan_rootfs(p, e)) < 0)
		return r;
	if ((r = landlock_from_spec(&p->arena, p->s, &p->landlock, e)) < 0 || (r = landlock_check(&p->landlock, e)) < 0)
		return r;
	if ((r = seccomp_prepare(p->s, p->o->state_root_fd, &p->filter, e)) < 0 || (r = seccomp_check_start(&p->filter, e)) < 0)
		return err_wrap(e, r, "seccomp");
	if ((r = ns_agent_save(p->c->state_fd, &p->filter, e)) < 0 || (r = plan_sources(p, e)) < 0 || (r = plan_devices(p, e)) < 0)
		return r;
	p->shared_exe = exe_share(&p->exe_tree);
	if (p->c->cgroup && (r = cgroup_join_open(p->c->cgroup, &p->cgroups, e)) < 0)
		return r;
	if (!p->o->start_follows)
		p->listener = ns_listen(p->c->state_fd, "ns.start", e);
	return p->listener < 0 && !p->o->start_follows ? p->listener : 0;
}

void ns_plan_free(struct ns_create *p) {
	for (size_t i = 0; i < p->n_joins; i++)
		close(p->joins[i].fd);
	for (size_t i = 0; p->sources && i < p->s->n_mounts; i++)
		mount_source_close(&p->sources[i]);
	for (size_t i = 0; p->device_trees && i < p->s->n_devices; i++)
		cleanup_close(&p->device_trees[i]);
	cleanup_close(&p->rootfs);
	cleanup_close(&p->rootfs_tree);
	cleanup_close(&p->shared_exe);
	cleanup_close(&p->exe_tree);
	cleanup_close(&p->channel);
	cleanup_close(&p->listener);
	cgroup_join_close(&p->cgroups);
	seccomp_filter_free(&p->filter);
	arena_free(&p->arena);
}
