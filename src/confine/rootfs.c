/* Entering the root file system: see rootfs.h. */
#include "confine/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <stdio.h>

#include "sys/fd.h"
#include "sys/kernel.h"

int rootfs_isolate(unsigned long propagation, struct err *e) {
	if (sys_mount(NULL, "/", NULL, propagation ? propagation | MS_REC : MS_SLAVE | MS_REC, NULL) < 0)
		return err_sys(e, errno, "set propagation of /");
	return 0;
}

/* Root directory of the mount that fd lies in, by walking up until the mount changes. */
static int mount_root(int fd) {
	struct statx here, up;
	_cleanup_close_ int at = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (at < 0 || statx(at, "", AT_EMPTY_PATH, STATX_MNT_ID | STATX_INO, &here) < 0)
		return -errno;
	for (;;) {
		_cleanup_close_ int next = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (next < 0 || statx(next, "", AT_EMPTY_PATH, STATX_MNT_ID | STATX_INO, &up) < 0)
			return -errno;
		if (up.stx_mnt_id != here.stx_mnt_id || up.stx_ino == here.stx_ino)
			return TAKE_FD(at);
		here = up;
		close(at);
		at = TAKE_FD(next);
	}
}

int rootfs_bind(const char *path, int same, int tree, bool shared, struct err *e) {
	struct stat a, b;
	struct mount_attr priv = { .propagation = MS_PRIVATE };
	char link[32];
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), own = -EBADF;
	if (fd < 0 && (errno != EACCES || tree < 0))
		return err_sys(e, errno, "open rootfs %s", path);
	if (fd < 0) {
		own = fcntl(tree, F_DUPFD_CLOEXEC, 3);
		fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	} else {
		if (same >= 0 && (fstat(fd, &a) < 0 || fstat(same, &b) < 0 || a.st_dev != b.st_dev || a.st_ino != b.st_ino))
			return err_set(e, ESTALE, "rootfs %s changed under us", path);
		own = sys_open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	}
	if (own < 0 || fd < 0)
		return err_sys(e, errno, "clone rootfs mount");
	/* A shared parent would carry the attachment to the host (rootfsPropagation rshared), and pivot_root(2) wants the parent of the new
	 * root not to be shared: the copy is private from the start, and so is the mount it lies on. */
	if (sys_mount_setattr(own, "", AT_EMPTY_PATH, &priv) < 0)
		return err_sys(e, errno, "rootfs mount private");
	if (shared) {
		_cleanup_close_ int top = mount_root(fd);
		if (top < 0 || sys_mount(NULL, fd_proc_path(top, link), NULL, MS_PRIVATE, NULL) < 0)
			return err_sys(e, top < 0 ? top : errno, "parent mount of rootfs private");
	}
	if (sys_move_mount(own, "", fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(e, errno, "attach rootfs");
	return TAKE_FD(own);
}

int rootfs_pivot(int root, struct err *e) {
	/* pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, whence it is taken off. */
	_cleanup_close_ int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (old < 0)
		return err_sys(e, errno, "open /");
	if (fchdir(root) < 0)
		return err_sys(e, errno, "fchdir to rootfs");
	if (sys_pivot_root(".", ".") < 0)
		return err_sys(e, errno, "pivot_root");
	if (fchdir(old) < 0)
		return err_sys(e, errno, "fchdir to old root");
	/* Nothing that happens to the old tree from here on may reach the host; slave and not private, so that the umount is not held up by
	 * references from the host's side (runc, "rprivate" gave EBUSY with devicemapper). */
	if (sys_mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_sys(e, errno, "old root slave");
	if (sys_umount2(".", MNT_DETACH) < 0)
		return err_sys(e, errno, "detach old root");
	if (chdir("/") < 0)
		return err_sys(e, errno, "chdir /");
	return 0;
}

/* Full views of procfs and sysfs that stay reachable below a mere chroot would undo the masks (runc, msMoveRoot). */
static int drop_host_views(const char *root_path) {
	_cleanup_strbuf_ struct strbuf info = STRBUF_INIT;
	int r = file_read_at(AT_FDCWD, "/proc/self/mountinfo", &info, 16 << 20);
	if (r < 0)
		return r;
	size_t n = strlen(root_path);
	char *save = NULL;
	for (char *line = strtok_r(info.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char path[4096], *dash = strstr(line, " - ");
		if (!dash || sscanf(line, "%*s %*s %*s %*s %4095s", path) != 1)
			continue;
		if (!str_has_prefix(dash + 3, "proc ") && !str_has_prefix(dash + 3, "sysfs "))
			continue;
		if (strncmp(path, root_path, n) == 0 && (path[n] == '/' || !path[n]))
			continue;
		sys_mount(NULL, path, NULL, MS_SLAVE | MS_REC, NULL);
		if (sys_umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != EPERM && errno != ENOENT)
			return -errno;
		/* Cannot be unmounted (locked, user namespace): covered instead. */
		if (errno == EPERM || errno == EINVAL)
			sys_mount("tmpfs", path, "tmpfs", 0, "size=0,nr_inodes=1");
	}
	return 0;
}

int rootfs_move(int root, struct err *e) {
	char link[32], path[4096];
	ssize_t n = readlink(fd_proc_path(root, link), path, sizeof(path) - 1);
	if (n < 0)
		return err_sys(e, errno, "path of rootfs");
	path[n] = '\0';
	int r = drop_host_views(path);
	if (r < 0)
		return err_sys(e, r, "hide the host's procfs and sysfs");
	if (fchdir(root) < 0 || sys_mount(".", "/", NULL, MS_MOVE, NULL) < 0)
		return err_sys(e, errno, "move rootfs to /");
	if (chroot(".") < 0 || chdir("/") < 0)
		return err_sys(e, errno, "chroot");
	return 0;
}

int rootfs_propagation(unsigned long propagation, struct err *e) {
	if (propagation && sys_mount(NULL, "/", NULL, propagation, NULL) < 0)
		return err_sys(e, errno, "set rootfs propagation");
	return 0;
}

int rootfs_readonly(struct err *e) {
	struct mount_attr a = { .attr_set = MOUNT_ATTR_RDONLY };
	if (sys_mount_setattr(AT_FDCWD, "/", 0, &a) < 0)
		return err_sys(e, errno, "remount rootfs read-only");
	return 0;
}
