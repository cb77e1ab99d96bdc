/* The cgroup file systems inside a container. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>

#include "base/broken.h"
#include "confine/cgroup.h"
#include "confine/mount.h"
#include "sys/fd.h"
#include "sys/kernel.h"

static int row_tree(const struct cgroup_mount *row, unsigned attr, struct err *e) {
	/*
	 * Where the container's own cgroup directory is known, binding it shows the same tree as a fresh mount from inside a cgroup namespace (the
	 * root of the namespace is that directory, cgroup_namespaces(7)), in two calls in place of five, and works in a user namespace too.
	 */
	const char *bind = streq(row->fstype, "bind") ? row->source : row->fallback;
	if (bind) {
		_cleanup_close_ int t = sys_open_tree(AT_FDCWD, bind, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		struct mount_attr a = { .attr_set = attr };
		if (t >= 0 && sys_mount_setattr(t, "", AT_EMPTY_PATH, &a) == 0)
			return TAKE_FD(t);
		if (streq(row->fstype, "bind"))
			return err_sys(e, errno, "bind %s", bind);
	}
	return mount_new_fs(row->fstype, row->fstype, row->data, attr, e);
}

static int attach_row(struct mount_ctx *c, const struct cgroup_mount *row, unsigned attr, int *top, const struct oci_mount *m, struct err *e) {
	bool is_top = row->name[0] == '\0';
	if (row->link) {
		if (symlinkat(row->link, *top, row->name) < 0 && errno != EEXIST)
			return err_sys(e, errno, "symlink %s", row->name);
		return 0;
	}
	/* The tmpfs that holds the hierarchies is filled first and turned read-only afterwards. */
	bool holder = is_top && streq(row->fstype, "tmpfs");
	_cleanup_close_ int tree = row_tree(row, holder ? attr & ~(unsigned)MOUNT_ATTR_RDONLY : attr, e);
	if (tree < 0)
		return err_wrap(e, tree, "%s", row->name);
	_cleanup_close_ int dest = -EBADF;
	if (is_top) {
		dest = mount_destination(c->root, m->destination, true, m->ext & OCI_MOUNT_DEST_NOFOLLOW, e);
		if (dest < 0)
			return dest;
		int r = mount_check_proc(c->root, dest, m, -EBADF, e);
		if (r < 0)
			return r;
	} else {
		if (mkdirat(*top, row->name, 0755) < 0 && errno != EEXIST)
			return err_sys(e, errno, "mkdir %s", row->name);
		dest = openat(*top, row->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dest < 0)
			return err_sys(e, errno, "open %s", row->name);
	}
	int r = mount_attach(tree, dest, e);
	if (r == 0 && is_top)
		*top = TAKE_FD(tree);
	return r;
}

int mount_cgroups(struct mount_ctx *c, const struct oci_mount *m, struct err *e) {
	_cleanup_free_ struct cgroup_mount *rows = NULL;
	_cleanup_close_ int top = -EBADF;
	size_t n = 0;
	if (!c->cgroup || !cgroup_active(c->cgroup)) {
		/* No cgroup of our own (manager disabled, rootless without delegation): the host's tree, read-only (CVE-2023-25809). */
		_cleanup_close_ int t = sys_open_tree(AT_FDCWD, "/sys/fs/cgroup", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		struct mount_attr a = { .attr_set = m->attr_set | (broken("cgroup-ro") ? 0 : MOUNT_ATTR_RDONLY) };
		if (t < 0)
			return errno == ENOENT ? 0 : err_sys(e, errno, "bind /sys/fs/cgroup");
		if (sys_mount_setattr(t, "", AT_EMPTY_PATH | AT_RECURSIVE, &a) < 0)
			return err_sys(e, errno, "bind /sys/fs/cgroup read-only");
		_cleanup_close_ int dest = mount_destination(c->root, m->destination, true, m->ext & OCI_MOUNT_DEST_NOFOLLOW, e);
		if (dest < 0)
			return dest;
		int r = mount_check_proc(c->root, dest, m, -EBADF, e);
		return r < 0 ? r : mount_attach(t, dest, e);
	}
	int r = cgroup_mounts(c->cgroup, c->cgroup_ns, &rows, &n, e);
	if (r < 0)
		return r;
	unsigned attr = (unsigned)m->attr_set;
	for (size_t i = 0; i < n; i++) {
		r = attach_row(c, &rows[i], attr, &top, m, e);
		if (r < 0)
			return r;
	}
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	if (top >= 0 && (attr & MOUNT_ATTR_RDONLY) && sys_mount_setattr(top, "", AT_EMPTY_PATH, &ro) < 0)
		return err_sys(e, errno, "read-only");
	if (top >= 0 && m->propagation) {
		struct mount_attr p = { .propagation = m->propagation & (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE) };
		if (sys_mount_setattr(top, "", AT_EMPTY_PATH | (m->propagation & MS_REC ? AT_RECURSIVE : 0), &p) < 0)
			return err_sys(e, errno, "set propagation");
	}
	return 0;
}
