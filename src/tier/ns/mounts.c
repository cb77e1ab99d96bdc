/* Mounts of a running container, attached and detached from outside ("mounts add|remove"). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "confine/userns.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/ns.h"

struct work {
	struct tier_container *c;
	const struct oci_mount *m;
	size_t n;
	bool remove;
};

/*
 * Only the mount namespace is entered: the helper stays in the host's pid namespace, where the container cannot see it, and keeps the host's
 * capabilities. Binds are cloned before, by the host's paths; everything after is resolved by descriptor below the container's root.
 */
static int add(const struct work *w, struct err *e) {
	const struct oci_spec *s = w->c->spec;
	struct mount_ctx ctx = { .bundle = w->c->bundle, .root = -EBADF, .proc = -EBADF, .label = s ? s->mount_label : NULL, .in_userns = userns_nested(),
		.uid_maps = s ? &s->uid_mappings : NULL, .gid_maps = s ? &s->gid_mappings : NULL };
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct mount_source *sources = arena_array(&a, w->n, struct mount_source);
	if (!sources)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < w->n; i++) {
		sources[i] = (struct mount_source)MOUNT_SOURCE_NONE;
		int r = mount_prepare_idmap(&ctx, &w->m[i], &sources[i], e);
		if (r == 0)
			r = mount_prepare_tree(&ctx, &w->m[i], &sources[i], e);
		if (r < 0)
			return err_wrap(e, r, "mount %s", w->m[i].destination);
	}
	if (sys_setns(w->c->init_pidfd, CLONE_NEWNS) < 0)
		return err_sys(e, errno, "join the container's mount namespace");
	ctx.root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ctx.root < 0)
		return err_sys(e, errno, "open the container's root");
	for (size_t i = 0; i < w->n; i++) {
		int r = mount_entry(&ctx, &w->m[i], &sources[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int remove_one(int root, int proc, const struct oci_mount *m, struct err *e) {
	char link[64];
	_cleanup_close_ int dest = open_in_root(root, m->destination, O_PATH | O_NOFOLLOW, 0);
	if (dest < 0)
		return err_sys(e, dest, "unmount %s", m->destination);
	/* umount2(2) has no form for descriptors: the link of our own procfs, opened before the container's file system was entered. */
	snprintf(link, sizeof(link), "self/fd/%d", dest);
	if (fchdir(proc) < 0 || sys_umount2(link, MNT_DETACH) < 0)
		return err_sys(e, errno, "unmount %s", m->destination);
	return 0;
}

static int detach(const struct work *w, struct err *e) {
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return err_sys(e, errno, "open /proc");
	if (sys_setns(w->c->init_pidfd, CLONE_NEWNS) < 0)
		return err_sys(e, errno, "join the container's mount namespace");
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, errno, "open the container's root");
	for (size_t i = 0; i < w->n; i++) {
		int r = remove_one(root, proc, &w->m[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int in_helper(const struct work *w, struct err *e) {
	int pair[2];
	struct ns_message m;
	if (w->c->init_pidfd < 0)
		return err_set(e, ESRCH, "container not running");
	if (w->c->spec && !oci_namespace(w->c->spec, CLONE_NEWNS))
		return err_set(e, ENOTSUP, "the container has no mount namespace of its own");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "socketpair");
	struct clone_args a = { .exit_signal = SIGCHLD };
	pid_t pid = sys_clone3(&a);
	if (pid == 0) {
		struct err inner = ERR_INIT;
		close(pair[0]);
		umask(022);
		int r = w->remove ? detach(w, &inner) : add(w, &inner);
		ns_send(pair[1], r < 0 ? NS_MSG_ERROR : NS_MSG_READY, r, r < 0 ? err_msg(&inner) : NULL, -EBADF);
		_exit(r < 0);
	}
	int r = pid < 0 ? err_sys(e, errno, "clone") : 0;
	close(pair[1]);
	if (r == 0)
		r = ns_recv(pair[0], &m, NULL, e);
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}

int ns_op_mounts_add(struct tier_container *c, const struct oci_mount *m, size_t n, struct err *e) {
	const struct work w = { c, m, n, false };
	return in_helper(&w, e);
}

int ns_op_mounts_remove(struct tier_container *c, const struct oci_mount *m, size_t n, struct err *e) {
	const struct work w = { c, m, n, true };
	return in_helper(&w, e);
}
