/* Extended attributes: all twelve calls over the inode's operations. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

enum { XATTR_NAME = 255, XATTR_SIZE = 65536 }; /* include/uapi/linux/limits.h */

/* Where an attribute is: by path (following the last link or not) or by descriptor. */
struct target { struct path path; struct inode *i; };

static int by_path(struct task *t, uint64_t name, bool follow, struct target *ret)
{
	*ret = (struct target){ .path = PATH_NONE };
	int rc = path_user(t, AT_FDCWD, name, follow ? WALK_FOLLOW : 0, &ret->path);
	if (rc == 0)
		ret->i = inode_get(ret->path.d->inode);
	return rc;
}

static int by_fd(struct task *t, uint64_t fd, struct target *ret)
{
	struct file *f = fd_file(t, (int)fd);
	*ret = (struct target){ .path = PATH_NONE };
	if (!f)
		return -EBADF;
	if (f->path.mnt)
		ret->path = path_copy(&f->path);
	ret->i = inode_get(f->inode);
	return 0;
}

static void done(struct target *g)
{
	if (g->i)
		inode_put(g->i);
	path_put(&g->path);
}

static int get_name(struct task *t, uint64_t addr, char name[XATTR_NAME + 1])
{
	ssize_t n = copyin_str(t, name, addr, XATTR_NAME + 1, -ERANGE);
	return n < 0 ? (int)n : n == 0 ? -ERANGE : 0;
}

/* Rules of namespaces (xattr(7)) before the file system is asked. */
static int may(struct task *t, struct inode *i, const char *name, bool write)
{
	if (!strcmp(name, "user.") || !strcmp(name, "trusted.") || !strcmp(name, "security."))
		return -EINVAL;
	if (strncmp(name, "user.", 5) == 0) {
		if (!is_reg(i) && !is_dir(i))
			return write ? -EPERM : -ENODATA;
		if (is_dir(i) && (i->mode & S_ISVTX) && write && !inode_owner_or_cap(t, i))
			return -EPERM;
		return inode_permission(t, i, write ? 2 : 4);
	}
	if (strncmp(name, "trusted.", 8) == 0)
		return capable(t, CAP_SYS_ADMIN) ? 0 : write ? -EPERM : -ENODATA;
	if (strcmp(name, "security.capability") == 0)
		return !write || capable(t, CAP_SETFCAP) ? 0 : -EPERM;
	if (strncmp(name, "security.", 9) == 0)
		return !write || capable(t, CAP_SYS_ADMIN) ? 0 : -EPERM;
	return -EOPNOTSUPP; /* system.posix_acl_*: no ACLs here */
}

static long set(struct task *t, struct target *g, const uint64_t *a)
{
	char name[XATTR_NAME + 1];
	uint64_t size = a[3];
	int flags = (int)a[4];
	long rc;
	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return -EINVAL;
	if ((rc = get_name(t, a[1], name)) < 0)
		return rc;
	if (size > XATTR_SIZE)
		return -E2BIG;
	void *value = malloc(size ? size : 1);
	if (!value)
		return -ENOMEM;
	rc = size && copyin(t, value, a[2], size) < 0 ? -EFAULT : 0;
	if (rc == 0 && g->path.mnt)
		rc = mnt_want_write(&g->path);
	if (rc == 0)
		rc = may(t, g->i, name, true);
	if (rc == 0 && (g->i->inode_flags & (INODE_IMMUTABLE | INODE_APPEND)))
		rc = -EPERM;
	if (rc == 0)
		rc = g->i->ops && g->i->ops->setxattr ? g->i->ops->setxattr(g->i, name, value, size, flags) : -EOPNOTSUPP;
	if (rc == 0)
		inotify_event(NULL, NULL, g->i, 4 /* IN_ATTRIB */, 0);
	free(value);
	return rc;
}

static long get(struct task *t, struct target *g, const uint64_t *a)
{
	char name[XATTR_NAME + 1];
	uint64_t size = MIN(a[3], (uint64_t)XATTR_SIZE);
	long rc = get_name(t, a[1], name);
	if (rc == 0)
		rc = may(t, g->i, name, false);
	if (rc < 0)
		return rc;
	if (!g->i->ops || !g->i->ops->getxattr)
		return -EOPNOTSUPP;
	void *value = malloc(size ? size : 1);
	if (!value)
		return -ENOMEM;
	ssize_t n = g->i->ops->getxattr(g->i, name, value, size);
	if (n > 0 && size && copyout(t, a[2], value, (size_t)n) < 0)
		n = -EFAULT;
	free(value);
	return n;
}

static long list(struct task *t, struct target *g, uint64_t buf, uint64_t size)
{
	size = MIN(size, (uint64_t)XATTR_SIZE);
	if (!g->i->ops || !g->i->ops->listxattr)
		return 0;
	char *names = malloc(XATTR_SIZE), *out = malloc(XATTR_SIZE);
	ssize_t n = names && out ? g->i->ops->listxattr(g->i, names, XATTR_SIZE) : -ENOMEM;
	size_t kept = 0;
	/* trusted. is seen by the privileged only */
	for (ssize_t at = 0; at < n;) {
		size_t len = strnlen(names + at, (size_t)(n - at)) + 1;
		if (strncmp(names + at, "trusted.", 8) != 0 || capable(t, CAP_SYS_ADMIN)) {
			memcpy(out + kept, names + at, len);
			kept += len;
		}
		at += (ssize_t)len;
	}
	long rc = n < 0 ? n : (long)kept;
	if (n >= 0 && size && kept > size)
		rc = -ERANGE;
	else if (n > 0 && size && kept && copyout(t, buf, out, kept) < 0)
		rc = -EFAULT;
	free(names);
	free(out);
	return rc;
}

static long drop(struct task *t, struct target *g, uint64_t name_addr)
{
	char name[XATTR_NAME + 1];
	long rc = get_name(t, name_addr, name);
	if (rc == 0 && g->path.mnt)
		rc = mnt_want_write(&g->path);
	if (rc == 0)
		rc = may(t, g->i, name, true);
	if (rc == 0)
		rc = g->i->ops && g->i->ops->removexattr ? g->i->ops->removexattr(g->i, name) : -EOPNOTSUPP;
	if (rc == 0)
		inotify_event(NULL, NULL, g->i, 4 /* IN_ATTRIB */, 0);
	return rc;
}

#define CALL(name, find, act) \
	long sys_##name(struct task *t, const uint64_t *a) { struct target g; long rc = find; if (rc == 0) rc = act; done(&g); return rc; }
CALL(setxattr, by_path(t, a[0], true, &g), set(t, &g, a))
CALL(lsetxattr, by_path(t, a[0], false, &g), set(t, &g, a))
CALL(fsetxattr, by_fd(t, a[0], &g), set(t, &g, a))
CALL(getxattr, by_path(t, a[0], true, &g), get(t, &g, a))
CALL(lgetxattr, by_path(t, a[0], false, &g), get(t, &g, a))
CALL(fgetxattr, by_fd(t, a[0], &g), get(t, &g, a))
CALL(listxattr, by_path(t, a[0], true, &g), list(t, &g, a[1], a[2]))
CALL(llistxattr, by_path(t, a[0], false, &g), list(t, &g, a[1], a[2]))
CALL(flistxattr, by_fd(t, a[0], &g), list(t, &g, a[1], a[2]))
CALL(removexattr, by_path(t, a[0], true, &g), drop(t, &g, a[1]))
CALL(lremovexattr, by_path(t, a[0], false, &g), drop(t, &g, a[1]))
CALL(fremovexattr, by_fd(t, a[0], &g), drop(t, &g, a[1]))
