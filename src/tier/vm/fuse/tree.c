/* FUSE operations on names and attributes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tier/vm/fuse/internal.h"

static const struct stat root_stat = { .st_mode = S_IFDIR | 0755, .st_nlink = 2, .st_ino = 1, .st_blksize = 4096 };

/* The root holds the shares by number. */
static struct node *share_by_name(struct fuse_server *s, const char *name)
{
	uint32_t v;
	if (parse_u32(name, &v) < 0 || v >= s->n_shares || (name[0] == '0' && name[1]))
		return NULL;
	return node_get(s, s->share_node[v]);
}

static int status(const struct node *n, struct stat *st)
{
	return fstatat(n->fd, "", st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* One step down, and its reply. */
static int step(struct req *r, struct node *dir, const char *name)
{
	struct node *n;
	struct stat st;
	bool readonly = dir->readonly;
	int fd = openat(dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int x = fd < 0 ? -errno : node_ref(r->s, fd, readonly, &n, &st);
	return x < 0 ? x : reply_entry(r, n, &st);
}

int op_lookup(struct req *r)
{
	const char *name = req_name(r);
	struct stat st;
	if (!name)
		return -EINVAL;
	if (r->h.nodeid == FUSE_ROOT_ID) {
		struct node *n = share_by_name(r->s, name);
		int x = n ? status(n, &st) : -ENOENT;
		if (x < 0)
			return x;
		n->nlookup++;
		return reply_entry(r, n, &st);
	}
	struct node *dir = node_get(r->s, r->h.nodeid);
	if (!dir || dir->type != S_IFDIR)
		return dir ? -ENOTDIR : -ESTALE;
	return step(r, dir, name);
}

int op_getattr(struct req *r)
{
	struct stat st;
	if (r->h.nodeid == FUSE_ROOT_ID)
		return reply_attr(r, &root_stat);
	struct node *n = node_get(r->s, r->h.nodeid);
	int x = n ? status(n, &st) : -ESTALE;
	return x < 0 ? x : reply_attr(r, &st);
}

static int set_times(const char *path, const struct fuse_setattr_in *in)
{
	struct timespec t[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
	if (in->valid & FATTR_ATIME)
		t[0] = (struct timespec){ (time_t)in->atime, in->valid & FATTR_ATIME_NOW ? UTIME_NOW : (long)in->atimensec };
	if (in->valid & FATTR_MTIME)
		t[1] = (struct timespec){ (time_t)in->mtime, in->valid & FATTR_MTIME_NOW ? UTIME_NOW : (long)in->mtimensec };
	return utimensat(AT_FDCWD, path, t, 0) < 0 ? -errno : 0;
}

static int truncate_node(struct node *n, uint64_t size)
{
	int fd = n->type == S_IFREG ? node_open(n, O_WRONLY) : -EINVAL;
	if (fd < 0)
		return fd;
	int x = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
	close(fd);
	return x;
}

int op_setattr(struct req *r)
{
	struct fuse_setattr_in in;
	const void *p = req_arg(r, sizeof in);
	struct node *n = node_get(r->s, r->h.nodeid);
	char path[32];
	int x = 0;
	if (!p || !n)
		return p ? (r->h.nodeid == FUSE_ROOT_ID ? -EPERM : -ESTALE) : -EINVAL;
	if (n->readonly)
		return -EROFS;
	memcpy(&in, p, sizeof in);
	snprintf(path, sizeof path, "/proc/self/fd/%d", n->fd);
	bool link = n->type == S_IFLNK;
	if (in.valid & (FATTR_UID | FATTR_GID))
		x = fchownat(n->fd, "", in.valid & FATTR_UID ? in.uid : (uid_t)-1, in.valid & FATTR_GID ? in.gid : (gid_t)-1, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	if (!x && in.valid & FATTR_MODE) /* after chown, which clears set-id bits */
		x = link ? -EOPNOTSUPP : fchmodat(AT_FDCWD, path, in.mode & 07777, 0) < 0 ? -errno : 0;
	if (!x && in.valid & FATTR_SIZE)
		x = in.size > INT64_MAX ? -EFBIG : truncate_node(n, in.size);
	if (!x && in.valid & (FATTR_ATIME | FATTR_MTIME))
		x = link ? 0 : set_times(path, &in);
	return x < 0 ? x : op_getattr(r);
}

int op_readlink(struct req *r)
{
	char buf[PATH_MAX];
	struct node *n = node_get(r->s, r->h.nodeid);
	if (!n || n->type != S_IFLNK)
		return n ? -EINVAL : -ESTALE;
	ssize_t k = readlinkat(n->fd, "", buf, sizeof buf);
	return k < 0 ? -errno : reply_add(r, buf, (size_t)k);
}

int op_symlink(struct req *r)
{
	struct node *dir;
	const char *name = req_name(r), *target = (const char *)r->arg;
	int x = dir_for_change(r, r->h.nodeid, &dir);
	if (x < 0)
		return x;
	if (!name || !r->n || r->arg[r->n - 1] || strlen(target) >= PATH_MAX)
		return -EINVAL;
	switch_user(&r->h);
	x = symlinkat(target, dir->fd, name) < 0 ? -errno : 0;
	switch_back();
	return x < 0 ? x : step(r, dir, name);
}

int op_mknod(struct req *r)
{
	struct fuse_mknod_in in;
	const void *p = req_arg(r, sizeof in);
	const char *name = p ? req_name(r) : NULL;
	struct node *dir;
	int x = dir_for_change(r, r->h.nodeid, &dir);
	if (x < 0)
		return x;
	if (!name)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	mode_t type = in.mode & S_IFMT;
	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return -EPERM; /* a device node that the guest makes would be one for the host's processes */
	switch_user(&r->h);
	x = mknodat(dir->fd, name, in.mode & (S_IFMT | 07777), 0) < 0 ? -errno : 0;
	switch_back();
	return x < 0 ? x : step(r, dir, name);
}

int op_mkdir(struct req *r)
{
	struct fuse_mkdir_in in;
	const void *p = req_arg(r, sizeof in);
	const char *name = p ? req_name(r) : NULL;
	struct node *dir;
	int x = dir_for_change(r, r->h.nodeid, &dir);
	if (x < 0)
		return x;
	if (!name)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	switch_user(&r->h);
	x = mkdirat(dir->fd, name, in.mode & 07777) < 0 ? -errno : 0;
	switch_back();
	return x < 0 ? x : step(r, dir, name);
}

static int remove_name(struct req *r, int flags)
{
	const char *name = req_name(r);
	struct node *dir;
	int x = dir_for_change(r, r->h.nodeid, &dir);
	if (x < 0)
		return x;
	if (!name)
		return -EINVAL;
	return unlinkat(dir->fd, name, flags) < 0 ? -errno : 0;
}

int op_unlink(struct req *r) { return remove_name(r, 0); }
int op_rmdir(struct req *r) { return remove_name(r, AT_REMOVEDIR); }

static int rename_to(struct req *r, uint64_t newdir, unsigned flags)
{
	const char *from = req_name(r), *to = from ? req_name(r) : NULL;
	struct node *a, *b;
	int x = dir_for_change(r, r->h.nodeid, &a);
	if (x >= 0)
		x = dir_for_change(r, newdir, &b);
	if (x < 0)
		return x;
	if (!to || flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) /* RENAME_WHITEOUT would make a device node */
		return -EINVAL;
	return syscall(SYS_renameat2, a->fd, from, b->fd, to, flags) < 0 ? -errno : 0;
}

int op_rename(struct req *r)
{
	struct fuse_rename_in in;
	const void *p = req_arg(r, sizeof in);
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	return rename_to(r, in.newdir, 0);
}

int op_rename2(struct req *r)
{
	struct fuse_rename2_in in;
	const void *p = req_arg(r, sizeof in);
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	return rename_to(r, in.newdir, in.flags);
}

int op_link(struct req *r)
{
	struct fuse_link_in in;
	const void *p = req_arg(r, sizeof in);
	const char *name = p ? req_name(r) : NULL;
	struct node *dir, *n;
	int x = dir_for_change(r, r->h.nodeid, &dir);
	if (x < 0)
		return x;
	if (!name)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	n = node_get(r->s, in.oldnodeid);
	if (!n || n->readonly)
		return n ? -EROFS : -ESTALE;
	if (linkat(n->fd, "", dir->fd, name, AT_EMPTY_PATH) < 0) {
		char path[32];
		snprintf(path, sizeof path, "/proc/self/fd/%d", n->fd);
		if (n->type == S_IFLNK || linkat(AT_FDCWD, path, dir->fd, name, AT_SYMLINK_FOLLOW) < 0)
			return -errno;
	}
	return step(r, dir, name);
}

int op_statfs(struct req *r)
{
	struct fuse_statfs_out o = { .st = { .bsize = 4096, .namelen = NAME_MAX, .frsize = 4096 } };
	struct node *n = node_get(r->s, r->h.nodeid);
	struct statvfs v;
	if (n && fstatvfs(n->fd, &v) == 0)
		o.st = (struct fuse_kstatfs){ .blocks = v.f_blocks, .bfree = v.f_bfree, .bavail = v.f_bavail, .files = v.f_files, .ffree = v.f_ffree,
			.bsize = (uint32_t)v.f_bsize, .namelen = (uint32_t)v.f_namemax, .frsize = (uint32_t)v.f_frsize };
	return reply_add(r, &o, sizeof o);
}

/* ---- extended attributes: user.* and POSIX ACLs; the host's security and trusted ones are none of the guest's business ---- */

static bool xattr_allowed(const char *name)
{
	return str_has_prefix(name, "user.") || streq(name, "system.posix_acl_access") || streq(name, "system.posix_acl_default");
}

static int xattr_path(struct req *r, char path[32], bool change)
{
	struct node *n = node_get(r->s, r->h.nodeid);
	if (!n)
		return -ESTALE;
	if (n->type != S_IFREG && n->type != S_IFDIR)
		return -EOPNOTSUPP;
	if (change && n->readonly)
		return -EROFS;
	snprintf(path, 32, "/proc/self/fd/%d", n->fd);
	return 0;
}

int op_setxattr(struct req *r)
{
	struct fuse_setxattr_in in;
	const void *p = req_arg(r, FUSE_COMPAT_SETXATTR_IN_SIZE);
	const char *name = p ? req_name(r) : NULL;
	char path[32];
	int x = xattr_path(r, path, true);
	if (x < 0)
		return x;
	if (!name)
		return -EINVAL;
	memcpy(&in, p, FUSE_COMPAT_SETXATTR_IN_SIZE);
	if (in.size > r->n || !xattr_allowed(name))
		return in.size > r->n ? -EINVAL : -EOPNOTSUPP;
	return setxattr(path, name, r->arg, in.size, (int)in.flags & (XATTR_CREATE | XATTR_REPLACE)) < 0 ? -errno : 0;
}

static int xattr_reply(struct req *r, const char *path, const char *name, uint32_t size)
{
	char buf[65536];
	ssize_t n = name ? getxattr(path, name, buf, sizeof buf) : listxattr(path, buf, sizeof buf);
	if (n < 0)
		return -errno;
	if (!name) { /* only those that may be asked for */
		size_t o = 0;
		for (size_t i = 0, k; i < (size_t)n; i += k) {
			k = strlen(buf + i) + 1;
			if (!xattr_allowed(buf + i))
				continue;
			memmove(buf + o, buf + i, k);
			o += k;
		}
		n = (ssize_t)o;
	}
	if (!size) {
		struct fuse_getxattr_out o = { .size = (uint32_t)n };
		return reply_add(r, &o, sizeof o);
	}
	return (size_t)n > size ? -ERANGE : reply_add(r, buf, (size_t)n);
}

int op_getxattr(struct req *r)
{
	struct fuse_getxattr_in in;
	const void *p = req_arg(r, sizeof in);
	const char *name = p ? req_name(r) : NULL;
	char path[32];
	int x = xattr_path(r, path, false);
	if (x < 0 || !name)
		return x < 0 ? x : -EINVAL;
	memcpy(&in, p, sizeof in);
	return xattr_allowed(name) ? xattr_reply(r, path, name, in.size) : -EOPNOTSUPP;
}

int op_listxattr(struct req *r)
{
	struct fuse_getxattr_in in;
	const void *p = req_arg(r, sizeof in);
	char path[32];
	int x = xattr_path(r, path, false);
	if (x < 0 || !p)
		return x < 0 ? x : -EINVAL;
	memcpy(&in, p, sizeof in);
	return xattr_reply(r, path, NULL, in.size);
}

int op_removexattr(struct req *r)
{
	const char *name = req_name(r);
	char path[32];
	int x = xattr_path(r, path, true);
	if (x < 0 || !name)
		return x < 0 ? x : -EINVAL;
	return !xattr_allowed(name) ? -EOPNOTSUPP : removexattr(path, name) < 0 ? -errno : 0;
}
