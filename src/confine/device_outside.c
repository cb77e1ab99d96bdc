/* Device nodes for a user namespace, made where mknod(2) is allowed: see rootfs.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "confine/mount.h"
#include "confine/rootfs.h"
#include "sys/fd.h"
#include "sys/kernel.h"

/* A mount that is attached nowhere cannot be cloned in part before Linux 6.15 (__do_loopback()), so the tmpfs that holds the nodes needs a place: a mount
 * namespace of a process that ends with the call. It shares the descriptor table, in which the clones stay. */
struct shared { int code; char text[240]; int fd[]; };

static bool to_host(const struct oci_id_maps *maps, uint64_t id, uint32_t *ret) {
	for (size_t i = 0; i < maps->n; i++)
		if (id >= maps->v[i].container_id && id - maps->v[i].container_id < maps->v[i].size) {
			*ret = maps->v[i].host_id + (uint32_t)(id - maps->v[i].container_id);
			return true;
		}
	return false;
}

static int make_one(int top, size_t i, const struct oci_device *d, const struct oci_id_maps *uids, const struct oci_id_maps *gids, struct err *e) {
	char name[24];
	uint32_t uid = 0, gid = 0;
	mode_t mode = (mode_t)(d->file_mode.set ? d->file_mode.v : 0666) & 07777, type = d->type == 'b' ? S_IFBLK : d->type == 'p' ? S_IFIFO : S_IFCHR;
	if (!to_host(uids, d->uid.v, &uid) || !to_host(gids, d->gid.v, &gid))
		return err_set(e, EINVAL, "device %s: its owner has no id in the user namespace", d->path);
	snprintf(name, sizeof(name), "%zu", i);
	if (mknodat(top, name, type | mode, d->type == 'p' ? 0 : makedev((unsigned)d->major, (unsigned)d->minor)) < 0)
		return err_sys(e, errno, "mknod %s", d->path);
	if (fchownat(top, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "chown device %s", d->path);
	int fd = sys_open_tree(top, name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "clone device %s", d->path) : fd;
}

static int make_all(const char *at, const struct oci_device *devs, size_t n, const struct oci_id_maps *uids, const struct oci_id_maps *gids, int *ret, struct err *e) {
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, errno, "private mounts");
	_cleanup_close_ int top = mount_new_fs("tmpfs", "tmpfs", "mode=0700", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, e);
	if (top < 0)
		return top;
	if (sys_move_mount(top, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(e, errno, "mount a tmpfs for devices");
	umask(0);
	for (size_t i = 0; i < n; i++) {
		int fd = make_one(top, i, &devs[i], uids, gids, e);
		if (fd < 0)
			return fd;
		ret[i] = fd;
	}
	return 0;
}

int devices_outside(const char *at, const struct oci_device *devs, size_t n, const struct oci_id_maps *uids, const struct oci_id_maps *gids, int *ret, struct err *e) {
	size_t size = sizeof(struct shared) + n * sizeof(int);
	struct shared *s = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return err_sys(e, errno, "mmap");
	for (size_t i = 0; i < n; i++)
		s->fd[i] = -EBADF;
	s->code = -ESRCH;
	struct clone_args a = { .flags = CLONE_NEWNS | CLONE_FILES, .exit_signal = SIGCHLD };
	pid_t pid = sys_clone3(&a);
	if (pid == 0) {
		struct err mine = ERR_INIT;
		s->code = make_all(at, devs, n, uids, gids, s->fd, &mine);
		if (s->code < 0)
			snprintf(s->text, sizeof(s->text), "%s", err_msg(&mine));
		_exit(0);
	}
	int r = pid < 0 ? err_sys(e, errno, "clone") : 0;
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (r == 0 && s->code < 0)
		r = err_set(e, -s->code, "%s", s->text[0] ? s->text : "the process that makes devices was killed");
	for (size_t i = 0; i < n; i++) {
		ret[i] = s->fd[i];
		if (r < 0) {
			cleanup_close(&ret[i]);
			ret[i] = -EBADF;
		}
	}
	munmap(s, size);
	return r;
}
