/* tmpfs: directories are pinned dentries; file content is a heap buffer while small, a memfd once it is large or mapped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/str.h"
#include "tier/sentry/fs/xattrs.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

enum { HEAP_MAX = 32768 };
struct tmp_super {
	uint64_t max_bytes, used, max_inodes, inodes;
	int spill_fd; /* directory whose disk takes large files; -EBADF: memory */
};
struct tmp_node {
	char *data;           /* file: heap content of inode->size bytes; symlink: target */
	size_t cap;
	int memfd;            /* -EBADF: heap */
	struct xattrs xattrs;
};

static const struct inode_ops dir_ops, file_inode_ops, link_ops, special_ops;
static const struct file_ops tmp_file_ops, tmp_dir_ops;

static struct tmp_node *tn(const struct inode *i) { return i->priv; }

static int make(struct task *t, struct inode *dir, uint32_t mode, uint32_t rdev, struct super *sb, struct inode **ret)
{
	const struct inode_ops *ops = S_ISDIR(mode) ? &dir_ops : S_ISREG(mode) ? &file_inode_ops : S_ISLNK(mode) ? &link_ops : &special_ops;
	struct tmp_super *ts = sb->priv;
	if (ts->max_inodes && ts->inodes >= ts->max_inodes)
		return -ENOSPC;
	struct tmp_node *n = calloc(1, sizeof(*n));
	struct inode *i = n ? inode_new(sb, mode, ops, S_ISDIR(mode) ? &tmp_dir_ops : &tmp_file_ops) : NULL;
	if (!i) {
		free(n);
		return -ENOMEM;
	}
	n->memfd = -EBADF;
	ts->inodes++;
	i->priv = n;
	i->rdev = rdev;
	if (dir && t)
		inode_new_owner(t, dir, &i->mode, &i->uid, &i->gid);
	if (dir) {
		inode_touch(dir, ATTR_MTIME);
		if (S_ISDIR(mode))
			dir->nlink++;
	}
	*ret = i;
	return 0;
}

static void tmp_release(struct inode *i)
{
	struct tmp_node *n = tn(i);
	struct tmp_super *ts = i->sb->priv;
	ts->inodes--;
	if (S_ISREG(i->mode))
		ts->used -= MIN(ts->used, (uint64_t)i->size);
	if (n->memfd >= 0)
		close(n->memfd);
	free(n->data);
	xattrs_free(&n->xattrs);
	free(n);
}

static int tmp_create(struct task *t, struct inode *dir, const char *name, uint32_t mode, struct inode **ret)
{
	(void)name;
	return make(t, dir, mode, 0, dir->sb, ret);
}

static int tmp_mkdir(struct task *t, struct inode *dir, const char *name, uint32_t mode, struct inode **ret)
{
	(void)name;
	return make(t, dir, S_IFDIR | mode, 0, dir->sb, ret);
}

static int tmp_mknod(struct task *t, struct inode *dir, const char *name, uint32_t mode, uint32_t rdev, struct inode **ret)
{
	(void)name;
	return make(t, dir, mode, rdev, dir->sb, ret);
}

static int tmp_symlink(struct task *t, struct inode *dir, const char *name, const char *target, struct inode **ret)
{
	int rc = make(t, dir, S_IFLNK | 0777, 0, dir->sb, ret);
	(void)name;
	if (rc)
		return rc;
	if (!(tn(*ret)->data = strdup(target))) {
		inode_put(*ret);
		return -ENOMEM;
	}
	(*ret)->size = (int64_t)strlen(target);
	return 0;
}

static int tmp_link(struct inode *dir, const char *name, struct inode *target)
{
	(void)name;
	if (target->sb != dir->sb)
		return -EXDEV;
	target->nlink++;
	inode_touch(target, ATTR_MODE);
	inode_touch(dir, ATTR_MTIME);
	return 0;
}

static int tmp_unlink(struct inode *dir, const char *name, struct inode *victim)
{
	(void)name;
	victim->nlink--;
	inode_touch(victim, ATTR_MODE);
	inode_touch(dir, ATTR_MTIME);
	return 0;
}

static int tmp_rmdir(struct inode *dir, const char *name, struct inode *victim)
{
	(void)name; /* emptiness was checked by the vfs on the dentry */
	victim->nlink = 0;
	dir->nlink--;
	inode_touch(dir, ATTR_MTIME);
	return 0;
}

static int tmp_rename(struct inode *od, const char *on, struct inode *nd, const char *nn, struct inode *what, struct inode *victim, unsigned flags)
{
	(void)on;
	(void)nn;
	if (victim && !(flags & 2 /* RENAME_EXCHANGE */)) {
		victim->nlink -= is_dir(victim) ? 2 : 1;
		if (is_dir(victim))
			nd->nlink--;
	}
	if (is_dir(what) && od != nd && !(flags & 2)) {
		od->nlink--;
		nd->nlink++;
	}
	inode_touch(od, ATTR_MTIME);
	inode_touch(nd, ATTR_MTIME);
	inode_touch(what, ATTR_MODE);
	return 0;
}

static int tmp_tmpfile(struct task *t, struct inode *dir, uint32_t mode, struct inode **ret)
{
	int rc = make(t, NULL, mode, 0, dir->sb, ret);
	if (rc)
		return rc;
	inode_new_owner(t, dir, &(*ret)->mode, &(*ret)->uid, &(*ret)->gid);
	(*ret)->nlink = 0;
	return 0;
}

static ssize_t tmp_readlink(struct task *t, struct inode *i, char *buf, size_t size)
{
	(void)t;
	size_t n = MIN((size_t)i->size, size);
	memcpy(buf, tn(i)->data, n);
	return (ssize_t)n;
}

/* ---- content ----------------------------------------------------------------------------------------------------------- */

static int to_memfd(struct inode *i)
{
	struct tmp_node *n = tn(i);
	if (n->memfd >= 0)
		return 0;
	const struct tmp_super *ts = i->sb->priv;
	int fd = ts->spill_fd >= 0 ? openat(ts->spill_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : memfd_create("tmpfs", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, i->size) < 0 || (i->size && pwrite(fd, n->data, (size_t)i->size, 0) != i->size)) {
		close(fd);
		return -ENOSPC;
	}
	n->memfd = fd;
	free(n->data);
	n->data = NULL;
	n->cap = 0;
	return 0;
}

static int resize(struct inode *i, int64_t size)
{
	struct tmp_node *n = tn(i);
	struct tmp_super *ts = i->sb->priv;
	if (size > i->size && ts && ts->max_bytes && ts->used + (uint64_t)(size - i->size) > ts->max_bytes)
		return -ENOSPC;
	if (n->memfd < 0 && size > HEAP_MAX) {
		int rc = to_memfd(i);
		if (rc)
			return rc;
	}
	if (n->memfd >= 0) {
		if (ftruncate(n->memfd, size) < 0)
			return -errno;
	} else {
		if ((size_t)size > n->cap) {
			size_t cap = MAX((size_t)256, n->cap * 2);
			while (cap < (size_t)size)
				cap *= 2;
			char *p = realloc(n->data, cap);
			if (!p)
				return -ENOMEM;
			n->data = p;
			n->cap = cap;
		}
		if (size > i->size)
			memset(n->data + i->size, 0, (size_t)(size - i->size));
	}
	if (ts)
		ts->used = ts->used + (uint64_t)size - (uint64_t)i->size;
	i->size = size;
	return 0;
}

static int tmp_setattr(struct task *t, struct inode *i, const struct iattr *a)
{
	(void)t;
	if (a->valid & ATTR_SIZE) {
		if (((i->seals & F_SEAL_SHRINK) && a->size < i->size) || ((i->seals & F_SEAL_GROW) && a->size > i->size))
			return -EPERM;
		int rc = resize(i, a->size);
		if (rc)
			return rc;
		inode_touch(i, ATTR_MTIME);
	}
	if (a->valid & ATTR_MODE)
		i->mode = (i->mode & S_IFMT) | (a->mode & 07777);
	if (a->valid & ATTR_UID)
		i->uid = a->uid;
	if (a->valid & ATTR_GID)
		i->gid = a->gid;
	if (a->valid & ATTR_ATIME)
		i->atime = a->atime;
	if (a->valid & ATTR_MTIME)
		i->mtime = a->mtime;
	inode_touch(i, ATTR_MODE);
	return 0;
}

static ssize_t tmp_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct inode *i = f->inode;
	struct tmp_node *n = tn(i);
	size_t total = 0;
	if (*pos >= i->size)
		return 0;
	size_t want = MIN(u->left, (size_t)(i->size - *pos));
	if (n->memfd < 0) {
		ssize_t k = uio_put(u, n->data + *pos, want);
		if (k > 0)
			*pos += k;
		file_accessed(f);
		return k;
	}
	char local[4096];
	char *buf = t ? task_buf(t) : local;
	size_t step = t ? (size_t)TASK_BUF : sizeof(local);
	if (!buf)
		return -ENOMEM;
	while (total < want) {
		ssize_t k = pread(n->memfd, buf, MIN(want - total, step), *pos);
		if (k <= 0)
			break;
		ssize_t m = uio_put(u, buf, (size_t)k);
		if (m < 0)
			return total ? (ssize_t)total : m;
		*pos += m;
		total += (size_t)m;
		if (m < k)
			break;
	}
	file_accessed(f);
	return (ssize_t)total;
}

static ssize_t tmp_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct inode *i = f->inode;
	struct tmp_node *n = tn(i);
	size_t total = 0;
	char *buf = task_buf(t);
	if (!buf)
		return -ENOMEM;
	if (i->seals & (F_SEAL_WRITE | 0x10 /* F_SEAL_FUTURE_WRITE */))
		return -EPERM;
	if (f->flags & O_APPEND)
		*pos = i->size;
	while (u->left) {
		ssize_t k = uio_get(u, buf, MIN(u->left, (size_t)TASK_BUF));
		if (k < 0)
			return total ? (ssize_t)total : k;
		int64_t end;
		if (__builtin_add_overflow(*pos, (int64_t)k, &end))
			return -EFBIG;
		if (end > i->size) {
			int rc = i->seals & F_SEAL_GROW ? -EPERM : resize(i, end);
			if (rc)
				return total ? (ssize_t)total : rc;
		}
		if (n->memfd >= 0) {
			if (pwrite(n->memfd, buf, (size_t)k, *pos) != k)
				return total ? (ssize_t)total : -ENOSPC;
		} else {
			memcpy(n->data + *pos, buf, (size_t)k);
		}
		*pos = end;
		total += (size_t)k;
		if (k < TASK_BUF)
			break;
	}
	inode_touch(i, ATTR_MTIME);
	return (ssize_t)total;
}

static int tmp_mmap_fd(struct file *f, int prot, int flags)
{
	struct inode *i = f->inode;
	if ((i->seals & (F_SEAL_WRITE | 0x10)) && (flags & MAP_SHARED) && (prot & PROT_WRITE))
		return -EPERM;
	int rc = to_memfd(i);
	return rc ? rc : tn(i)->memfd;
}

static long tmp_fallocate(struct task *t, struct file *f, int mode, int64_t off, int64_t len)
{
	struct inode *i = f->inode;
	(void)t;
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if ((mode & FALLOC_FL_PUNCH_HOLE) && (i->seals & F_SEAL_WRITE))
		return -EPERM;
	int rc = to_memfd(i);
	if (rc)
		return rc;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && off + len > i->size) {
		if (i->seals & F_SEAL_GROW)
			return -EPERM;
		if ((rc = resize(i, off + len)) < 0)
			return rc;
	}
	if (!(mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)))
		return 0; /* sparse by design: pages come when they are written */
	int64_t end = MIN(off + len, i->size);
	if (end > off && fallocate(tn(i)->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, end - off) < 0)
		return -errno;
	inode_touch(i, ATTR_MTIME);
	return 0;
}

static int64_t tmp_llseek(struct task *t, struct file *f, int64_t off, int whence)
{
	if ((whence != SEEK_DATA && whence != SEEK_HOLE) || tn(f->inode)->memfd < 0)
		return generic_llseek(t, f, off, whence);
	off_t r = lseek(tn(f->inode)->memfd, off, whence);
	return r < 0 ? -errno : (f->pos = r);
}

static int tmp_fsync(struct file *f, bool datasync)
{
	(void)f;
	(void)datasync;
	return 0;
}

static ssize_t tmp_getxattr(struct inode *i, const char *name, void *buf, size_t size) { return xattrs_get(&tn(i)->xattrs, name, buf, size); }
static int tmp_setxattr(struct inode *i, const char *name, const void *buf, size_t size, int flags)
{
	return xattrs_set(&tn(i)->xattrs, name, buf, size, flags);
}
static ssize_t tmp_listxattr(struct inode *i, char *buf, size_t size) { return xattrs_list(&tn(i)->xattrs, buf, size); }
static int tmp_removexattr(struct inode *i, const char *name) { return xattrs_remove(&tn(i)->xattrs, name); }

#define COMMON .setattr = tmp_setattr, .release = tmp_release, .getxattr = tmp_getxattr, .setxattr = tmp_setxattr, .listxattr = tmp_listxattr, \
	.removexattr = tmp_removexattr
static const struct inode_ops dir_ops = { .create = tmp_create, .mkdir = tmp_mkdir, .mknod = tmp_mknod, .symlink = tmp_symlink, .link = tmp_link,
	.unlink = tmp_unlink, .rmdir = tmp_rmdir, .rename = tmp_rename, .tmpfile = tmp_tmpfile, COMMON };
static const struct inode_ops file_inode_ops = { COMMON };
static const struct inode_ops link_ops = { .readlink = tmp_readlink, COMMON };
static const struct inode_ops special_ops = { COMMON };
static const struct file_ops tmp_file_ops = { .read = tmp_read, .write = tmp_write, .mmap_fd = tmp_mmap_fd, .fallocate = tmp_fallocate,
	.llseek = tmp_llseek, .fsync = tmp_fsync };
static const struct file_ops tmp_dir_ops = { .readdir = simple_readdir, .fsync = tmp_fsync };

static int tmp_statfs(struct super *sb, struct statfs *st)
{
	const struct tmp_super *ts = sb->priv;
	uint64_t max = ts->max_bytes ? ts->max_bytes : 1ull << 34, used = ts->used + ts->inodes * 4096;
	*st = (struct statfs){ .f_type = 0x01021994, .f_bsize = 4096, .f_blocks = max / 4096, .f_bfree = (max - MIN(max, used)) / 4096,
		.f_bavail = (max - MIN(max, used)) / 4096, .f_files = ts->max_inodes ? ts->max_inodes : 1 << 20,
		.f_ffree = (ts->max_inodes ? ts->max_inodes : 1 << 20) - MIN(ts->inodes, ts->max_inodes ? ts->max_inodes : 1 << 20), .f_namelen = 255, .f_frsize = 4096 };
	return 0;
}

static void tmp_destroy(struct super *sb)
{
	struct tmp_super *ts = sb->priv;
	if (ts->spill_fd >= 0)
		close(ts->spill_fd);
	free(ts);
}

void tmpfs_spill(struct super *sb, int dir_fd) { ((struct tmp_super *)sb->priv)->spill_fd = dir_fd; }
struct tmp_options { uint64_t max_bytes, max_inodes; uint32_t mode, uid, gid; };

/* "10m", "50%" (of memory); -EINVAL. */
static int parse_size(const char *s, uint64_t *ret)
{
	char *end;
	uint64_t v = strtoull(s, &end, 10);
	if (end == s)
		return -EINVAL;
	if (*end == '%') {
		v = v * (uint64_t)sysconf(_SC_PHYS_PAGES) / 100 * 4096;
		end++;
	}
	int unit = *end | 32;
	unsigned shift = unit == 'g' ? 30 : unit == 'm' ? 20 : unit == 'k' ? 10 : 0;
	if (shift)
		end++;
	*ret = v << shift;
	return *end ? -EINVAL : 0;
}

static int parse_id(const char *s, int base, uint32_t *ret)
{
	char *end;
	unsigned long v = strtoul(s, &end, base);
	*ret = (uint32_t)v;
	return end == s || *end || v > UINT32_MAX ? -EINVAL : 0;
}

static int parse_data(const char *data, struct tmp_options *p)
{
	_cleanup_free_ char *copy = strdup(data ? data : "");
	char *save = NULL;
	uint64_t blocks;
	int rc = copy ? 0 : -ENOMEM;
	for (char *o = copy ? strtok_r(copy, ",", &save) : NULL; o && !rc; o = strtok_r(NULL, ",", &save)) {
		if (str_has_prefix(o, "size="))
			rc = parse_size(o + 5, &p->max_bytes);
		else if (str_has_prefix(o, "nr_blocks=")) {
			rc = parse_size(o + 10, &blocks);
			p->max_bytes = blocks * 4096;
		} else if (str_has_prefix(o, "nr_inodes="))
			rc = parse_size(o + 10, &p->max_inodes);
		else if (str_has_prefix(o, "mode=")) {
			rc = parse_id(o + 5, 8, &p->mode);
			p->mode &= 07777;
		} else if (str_has_prefix(o, "uid="))
			rc = parse_id(o + 4, 10, &p->uid);
		else if (str_has_prefix(o, "gid="))
			rc = parse_id(o + 4, 10, &p->gid);
		else if (!str_has_prefix(o, "huge=") && !str_has_prefix(o, "mpol=") && strcmp(o, "inode32") && strcmp(o, "inode64") && strcmp(o, "seclabel"))
			rc = -EINVAL;
	}
	return rc;
}

int tmpfs_reconfigure(struct super *sb, const char *data)
{
	struct tmp_super *ts = sb->priv;
	struct tmp_options o = { .max_bytes = ts->max_bytes, .max_inodes = ts->max_inodes };
	int rc = parse_data(data, &o);
	if (rc)
		return rc;
	if ((o.max_bytes && o.max_bytes < ts->used) || (o.max_inodes && o.max_inodes < ts->inodes))
		return -EINVAL;
	ts->max_bytes = o.max_bytes;
	ts->max_inodes = o.max_inodes;
	return 0;
}

static int tmp_show_options(struct super *sb, char *buf, size_t size)
{
	const struct tmp_super *ts = sb->priv;
	int n = 0;
	*buf = 0;
	if (ts->max_bytes)
		n += snprintf(buf, size, ",size=%lluk", (unsigned long long)ts->max_bytes / 1024);
	if (ts->max_inodes)
		n += snprintf(buf + n, size - (size_t)n, ",nr_inodes=%llu", (unsigned long long)ts->max_inodes);
	if ((sb->root->mode & 07777) != 01777)
		n += snprintf(buf + n, size - (size_t)n, ",mode=%o", sb->root->mode & 07777);
	return n;
}
static const struct super_ops tmp_super_ops = { .statfs = tmp_statfs, .destroy = tmp_destroy, .show_options = tmp_show_options };

struct super *tmpfs_mount(const char *data, int *rc)
{
	struct tmp_super *ts = calloc(1, sizeof(*ts));
	struct super *sb = super_new("tmpfs", &tmp_super_ops, SUPER_PINNED);
	struct tmp_options o = { .mode = 01777 };
	*rc = -ENOMEM;
	if (!ts || !sb || (*rc = parse_data(data, &o)) < 0) {
		free(ts);
		free(sb);
		return NULL;
	}
	*ts = (struct tmp_super){ .max_bytes = o.max_bytes, .max_inodes = o.max_inodes, .spill_fd = -EBADF };
	sb->priv = ts;
	if ((*rc = make(NULL, NULL, S_IFDIR | o.mode, 0, sb, &sb->root)) < 0)
		return NULL;
	sb->root->uid = o.uid;
	sb->root->gid = o.gid;
	if (!(sb->root_dentry = dentry_root(sb, inode_get(sb->root))))
		return NULL;
	return sb;
}

struct inode *tmpfs_memfd(const char *name, struct file **ret)
{
	static struct super *sb;
	struct inode *i;
	int rc;
	(void)name;
	if (!sb && !(sb = tmpfs_mount("", &rc)))
		return NULL;
	if (make(NULL, NULL, S_IFREG | 0777, 0, sb, &i) < 0)
		return NULL;
	i->nlink = 0;
	i->inode_flags |= INODE_MEMFD;
	if (!(*ret = file_new(i, &tmp_file_ops, O_RDWR)))
		return NULL;
	return i;
}
