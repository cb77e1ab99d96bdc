/* readonlyPaths and maskedPaths: see rootfs.h. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <stdio.h>

#include "base/broken.h"
#include "confine/mount.h"
#include "confine/rootfs.h"
#include "sys/fd.h"
#include "sys/kernel.h"

int mask_readonly(int root, const struct oci_strings *paths, struct err *e) {
	/* The recursive read-only copy needs one call more than MS_BIND|MS_REMOUNT but no second lookup, and keeps the flags that are there. */
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	for (size_t i = 0; i < paths->n; i++) {
		_cleanup_close_ int dest = open_in_root(root, paths->v[i], O_PATH, 0);
		if (dest == -ENOENT || dest == -ENOTDIR)
			continue;
		if (dest < 0)
			return err_sys(e, dest, "readonly path %s", paths->v[i]);
		_cleanup_close_ int tree = sys_open_tree(dest, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		if (tree < 0 || sys_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &ro) < 0)
			return err_sys(e, errno, "readonly path %s", paths->v[i]);
		int r = mount_attach(tree, dest, e);
		if (r < 0)
			return err_wrap(e, r, "readonly path %s", paths->v[i]);
	}
	return 0;
}

/* The null device, and nothing that merely has its name (CVE-2025-31133). */
static int open_null(int root, struct err *e) {
	struct stat st;
	if (broken("mask-null"))
		return open_in_root(root, "dev/null", O_PATH, 0);
	_cleanup_close_ int fd = open_in_root(root, "dev/null", O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return err_sys(e, fd, "open /dev/null");
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "stat /dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(e, EPERM, "/dev/null of the container is not the null device");
	return TAKE_FD(fd);
}

static int mask_one(int dest, int source, struct err *e) {
	_cleanup_close_ int tree = sys_open_tree(source, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return err_sys(e, errno, "clone mask");
	return mount_attach(tree, dest, e);
}

int mask_paths(int root, const struct oci_strings *paths, const char *label, struct err *e) {
	_cleanup_close_ int null = -EBADF, dir = -EBADF;
	for (size_t i = 0; i < paths->n; i++) {
		struct stat st;
		_cleanup_close_ int dest = open_in_root(root, paths->v[i], O_PATH, 0);
		if (dest == -ENOENT || dest == -ENOTDIR)
			continue;
		if (dest < 0 || fstat(dest, &st) < 0)
			return err_sys(e, dest < 0 ? dest : errno, "masked path %s", paths->v[i]);
		int r;
		if (!S_ISDIR(st.st_mode)) {
			if (null < 0)
				null = open_null(root, e);
			r = null < 0 ? null : mask_one(dest, null, e);
		} else if (dir < 0) {
			/* One empty tmpfs serves every directory: a superblock costs more than a clone of its mount. */
			_cleanup_strbuf_ struct strbuf data = STRBUF_INIT;
			strbuf_puts(&data, "nr_blocks=1,nr_inodes=1");
			if (label)
				strbuf_printf(&data, ",context=\"%s\"", label);
			dir = mount_new_fs("tmpfs", "tmpfs", strbuf_str(&data), MOUNT_ATTR_RDONLY, e);
			r = dir < 0 ? dir : mount_attach(dir, dest, e);
		} else {
			r = mask_one(dest, dir, e);
		}
		if (r < 0)
			return err_wrap(e, r, "masked path %s", paths->v[i]);
	}
	return 0;
}
