/*
 * Host directories: the container's rootfs and bind-mounted volumes. Every inode is an O_PATH fd that the sentry opened component by component below
 * the root (O_NOFOLLOW: a symlink is never followed by the host). Device nodes are never opened on the host; they name the sentry's own
 * devices. FIFOs and sockets are the sentry's own objects that hang on the inode.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tier/sentry/fs/hostfs.h"
#include "tier/sentry/fs/hoststat.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/task/task.h"

struct host_inode {
	int fd;               /* O_PATH */
	dev_t dev;
	ino_t ino;
	struct list hash;
	struct inode *inode;
	int mmap_fd[2];       /* read-only, read-write: opened on first use, shared by all mappings */
};
enum { BUCKETS = 1024 };
struct host_super { struct list buckets[BUCKETS]; bool readonly; };

static const struct inode_ops host_inode_ops;
static const struct file_ops host_file_ops, host_dir_ops;

static struct host_inode *hi(const struct inode *i) { return i->priv; }
int hostfs_fd(const struct inode *i) { return i->ops == &host_inode_ops ? hi(i)->fd : -EBADF; }

static int reopen(struct inode *i, int flags)
{
	char name[16];
	snprintf(name, sizeof(name), "%d", hi(i)->fd);
	int fd = openat(K.proc_self_fd, name, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void fill(struct inode *i, const struct stat *st)
{
	i->mode = st->st_mode;
	i->uid = st->st_uid;
	i->gid = st->st_gid;
	i->rdev = (uint32_t)st->st_rdev;
	i->nlink = (uint32_t)st->st_nlink;
	i->size = st->st_size;
	i->ino = st->st_ino;
}

/* Inode for an O_PATH fd (taken): the one that is there for this file, or a new one. */
static int host_get(struct super *sb, int fd, struct inode **ret)
{
	struct host_super *hs = sb->priv;
	struct host_inode *h;
	struct stat st;
	if (host_stat(fd, "", &st) < 0) {
		int rc = -errno;
		close(fd);
		return rc;
	}
	struct list *b = &hs->buckets[(st.st_ino ^ st.st_dev) % BUCKETS];
	list_for_each(h, b, hash) {
		if (h->ino != st.st_ino || h->dev != st.st_dev)
			continue;
		close(fd);
		fill(h->inode, &st);
		*ret = inode_get(h->inode);
		return 0;
	}
	h = calloc(1, sizeof(*h));
	struct inode *i = h ? inode_new(sb, st.st_mode, &host_inode_ops, S_ISDIR(st.st_mode) ? &host_dir_ops : &host_file_ops) : NULL;
	if (!i) {
		free(h);
		close(fd);
		return -ENOMEM;
	}
	*h = (struct host_inode){ .fd = fd, .dev = st.st_dev, .ino = st.st_ino, .inode = i, .mmap_fd = { -EBADF, -EBADF } };
	i->priv = h;
	fill(i, &st);
	list_add(b, &h->hash);
	*ret = i;
	return 0;
}

static void host_release(struct inode *i)
{
	struct host_inode *h = hi(i);
	list_del(&h->hash);
	for (unsigned n = 0; n < 2; n++)
		if (h->mmap_fd[n] >= 0)
			close(h->mmap_fd[n]);
	close(h->fd);
	free(h);
}

static int host_lookup(struct inode *dir, const char *name, struct inode **ret)
{
	int fd = openat(hi(dir)->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : host_get(dir->sb, fd, ret);
}

static bool host_revalidate(struct inode *dir, const char *name, struct inode *i)
{
	struct stat st;
	if (host_stat(hi(dir)->fd, name, &st) < 0 || st.st_ino != hi(i)->ino || st.st_dev != hi(i)->dev)
		return false;
	fill(i, &st);
	return true;
}

static int own(struct task *t, struct inode *dir, uint32_t mode, struct inode **ret, int fd)
{
	uint32_t uid, gid, m = mode;
	inode_new_owner(t, dir, &m, &uid, &gid);
	int rc = host_get(dir->sb, fd, ret);
	if (rc)
		return rc;
	if (((*ret)->uid != uid || (*ret)->gid != gid) && fchownat(fd, "", uid, gid, AT_EMPTY_PATH) == 0) {
		(*ret)->uid = uid;
		(*ret)->gid = gid;
	}
	if (!S_ISLNK(m)) { /* chown and the host's umask may have taken bits away */
		struct stat st = { .st_mode = m };
		char name[16];
		snprintf(name, sizeof(name), "%d", hi(*ret)->fd);
		if (host_stat(hi(*ret)->fd, "", &st) == 0 && (st.st_mode & 07777) != (m & 07777) && fchmodat(K.proc_self_fd, name, m & 07777, 0) == 0)
			st.st_mode = (st.st_mode & S_IFMT) | (m & 07777);
		(*ret)->mode = st.st_mode;
	}
	return 0;
}

static int opened(struct task *t, struct inode *dir, const char *name, uint32_t mode, struct inode **ret)
{
	int fd = openat(hi(dir)->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : own(t, dir, mode, ret, fd);
}

static int host_create(struct task *t, struct inode *dir, const char *name, uint32_t mode, struct inode **ret)
{
	int fd = openat(hi(dir)->fd, name, O_CREAT | O_EXCL | O_RDONLY | O_NOFOLLOW | O_CLOEXEC, mode & 0777);
	if (fd < 0)
		return -errno;
	close(fd);
	return opened(t, dir, name, mode, ret);
}

static int host_mkdir(struct task *t, struct inode *dir, const char *name, uint32_t mode, struct inode **ret)
{
	if (mkdirat(hi(dir)->fd, name, mode & 07777) < 0)
		return -errno;
	return opened(t, dir, name, S_IFDIR | mode, ret);
}

static int host_mknod(struct task *t, struct inode *dir, const char *name, uint32_t mode, uint32_t rdev, struct inode **ret)
{
	if (mknodat(hi(dir)->fd, name, mode, rdev) < 0)
		return -errno;
	return opened(t, dir, name, mode, ret);
}

static int host_symlink(struct task *t, struct inode *dir, const char *name, const char *target, struct inode **ret)
{
	if (symlinkat(target, hi(dir)->fd, name) < 0)
		return -errno;
	return opened(t, dir, name, S_IFLNK | 0777, ret);
}

static int host_link(struct inode *dir, const char *name, struct inode *target)
{
	char self[16];
	if (target->ops != &host_inode_ops)
		return -EXDEV;
	snprintf(self, sizeof(self), "%d", hi(target)->fd);
	/* through the magic link: AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH */
	return linkat(K.proc_self_fd, self, hi(dir)->fd, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int host_unlink(struct inode *dir, const char *name, struct inode *victim)
{
	(void)victim;
	return unlinkat(hi(dir)->fd, name, 0) < 0 ? -errno : 0;
}

static int host_rmdir(struct inode *dir, const char *name, struct inode *victim)
{
	(void)victim;
	return unlinkat(hi(dir)->fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int host_rename(struct inode *od, const char *on, struct inode *nd, const char *nn, struct inode *what, struct inode *victim, unsigned flags)
{
	(void)what;
	(void)victim;
	/* the C library's renameat2() without flags makes another call, which the filter does not know */
	return syscall(SYS_renameat2, hi(od)->fd, on, hi(nd)->fd, nn, flags) < 0 ? -errno : 0;
}

static int host_tmpfile(struct task *t, struct inode *dir, uint32_t mode, struct inode **ret)
{
	char name[16];
	snprintf(name, sizeof(name), "%d", hi(dir)->fd);
	int fd = openat(K.proc_self_fd, name, O_TMPFILE | O_RDWR | O_CLOEXEC, mode & 0777);
	if (fd < 0)
		return -errno;
	return own(t, dir, mode, ret, fd);
}

static ssize_t host_readlink(struct task *t, struct inode *i, char *buf, size_t size)
{
	(void)t;
	ssize_t n = readlinkat(hi(i)->fd, "", buf, size);
	return n < 0 ? -errno : n;
}

static int host_getattr(struct inode *i, struct kstat *k)
{
	struct statx sx;
	if (statx(hi(i)->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &sx) < 0)
		return -errno;
	*k = (struct kstat){ .ino = sx.stx_ino, .nlink = sx.stx_nlink, .size = sx.stx_size, .blocks = sx.stx_blocks, .blksize = sx.stx_blksize,
		.dev = i->sb->dev, .mode = sx.stx_mode, .uid = sx.stx_uid, .gid = sx.stx_gid,
		.rdev = (uint32_t)(sx.stx_rdev_major << 8 | (sx.stx_rdev_minor & 0xff) | (sx.stx_rdev_minor & ~0xffu) << 12),
		.atime = { sx.stx_atime.tv_sec, sx.stx_atime.tv_nsec }, .mtime = { sx.stx_mtime.tv_sec, sx.stx_mtime.tv_nsec },
		.ctime = { sx.stx_ctime.tv_sec, sx.stx_ctime.tv_nsec }, .btime = { sx.stx_btime.tv_sec, sx.stx_btime.tv_nsec } };
	return 0;
}

static int host_setattr(struct task *t, struct inode *i, const struct iattr *a)
{
	char name[16];
	(void)t;
	snprintf(name, sizeof(name), "%d", hi(i)->fd);
	if ((a->valid & (ATTR_UID | ATTR_GID)) &&
	    fchownat(hi(i)->fd, "", a->valid & ATTR_UID ? a->uid : (uid_t)-1, a->valid & ATTR_GID ? a->gid : (gid_t)-1, AT_EMPTY_PATH) < 0)
		return -errno;
	if ((a->valid & ATTR_MODE) && fchmodat(K.proc_self_fd, name, a->mode & 07777, 0) < 0)
		return -errno;
	if (a->valid & ATTR_SIZE) {
		int fd = reopen(i, O_WRONLY | O_NONBLOCK);
		if (fd < 0)
			return fd;
		int rc = ftruncate(fd, a->size) < 0 ? -errno : 0;
		close(fd);
		if (rc)
			return rc;
	}
	if (a->valid & (ATTR_ATIME | ATTR_MTIME)) {
		struct timespec ts[2] = { a->atime, a->mtime };
		if (!(a->valid & ATTR_ATIME))
			ts[0].tv_nsec = UTIME_OMIT;
		if (!(a->valid & ATTR_MTIME))
			ts[1].tv_nsec = UTIME_OMIT;
		if (utimensat(hi(i)->fd, "", ts, AT_EMPTY_PATH) < 0 && utimensat(K.proc_self_fd, name, ts, 0) < 0)
			return -errno;
	}
	if (a->valid & ATTR_MODE)
		i->mode = (i->mode & S_IFMT) | (a->mode & 07777);
	if (a->valid & ATTR_UID)
		i->uid = a->uid;
	if (a->valid & ATTR_GID)
		i->gid = a->gid;
	return 0;
}


/* xattrs need a readable fd or a path; symlinks and special files have none that we offer. */
static int xattr_fd(struct inode *i)
{
	return is_reg(i) || is_dir(i) ? reopen(i, O_RDONLY | O_NONBLOCK | (is_dir(i) ? O_DIRECTORY : 0)) : -EOPNOTSUPP;
}

static ssize_t host_getxattr(struct inode *i, const char *name, void *buf, size_t size)
{
	int fd = xattr_fd(i);
	if (fd < 0)
		return fd == -EOPNOTSUPP ? -ENODATA : fd;
	ssize_t n = fgetxattr(fd, name, buf, size);
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

static int host_setxattr(struct inode *i, const char *name, const void *buf, size_t size, int flags)
{
	int fd = xattr_fd(i);
	if (fd < 0)
		return fd == -EOPNOTSUPP ? -EPERM : fd;
	int rc = fsetxattr(fd, name, buf, size, flags) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static ssize_t host_listxattr(struct inode *i, char *buf, size_t size)
{
	int fd = xattr_fd(i);
	if (fd < 0)
		return fd == -EOPNOTSUPP ? 0 : fd;
	ssize_t n = flistxattr(fd, buf, size);
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

static int host_removexattr(struct inode *i, const char *name)
{
	int fd = xattr_fd(i);
	if (fd < 0)
		return fd == -EOPNOTSUPP ? -EPERM : fd;
	int rc = fremovexattr(fd, name) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

static int host_open(struct task *t, struct inode *i, struct file *f)
{
	int flags = (int)(f->flags & (O_ACCMODE | O_APPEND | O_DIRECT | O_SYNC | O_DSYNC | O_NOATIME)) | O_NONBLOCK | O_NOCTTY;
	(void)t;
	if (is_dir(i))
		flags = O_RDONLY | O_DIRECTORY;
	int fd = reopen(i, flags);
	if (fd == -EPERM && (flags & O_NOATIME))
		fd = reopen(i, flags & ~O_NOATIME);
	if (fd < 0)
		return fd;
	f->host_fd = fd;
	return 0;
}

static const struct inode_ops host_inode_ops = {
	.lookup = host_lookup, .create = host_create, .mkdir = host_mkdir, .mknod = host_mknod, .symlink = host_symlink, .link = host_link,
	.unlink = host_unlink, .rmdir = host_rmdir, .rename = host_rename, .tmpfile = host_tmpfile, .readlink = host_readlink,
	.getattr = host_getattr, .setattr = host_setattr, .open = host_open, .getxattr = host_getxattr, .setxattr = host_setxattr,
	.listxattr = host_listxattr, .removexattr = host_removexattr, .release = host_release,
};

static int host_statfs(struct super *sb, struct statfs *st)
{
	return fstatfs(hi(sb->root)->fd, st) < 0 ? -errno : 0;
}

static void host_destroy(struct super *sb) { free(sb->priv); }

static const struct super_ops host_super_ops = { .revalidate = host_revalidate, .statfs = host_statfs, .destroy = host_destroy };

struct super *hostfs_mount(int fd, bool readonly)
{
	struct super *sb = super_new("host", &host_super_ops, SUPER_REVALIDATE | (readonly ? SUPER_RDONLY : 0));
	struct host_super *hs = calloc(1, sizeof(*hs));
	if (!sb || !hs)
		return NULL;
	for (unsigned i = 0; i < BUCKETS; i++)
		list_init(&hs->buckets[i]);
	sb->priv = hs;
	if (host_get(sb, fd, &sb->root) < 0 || !(sb->root_dentry = dentry_root(sb, inode_get(sb->root))))
		return NULL;
	return sb;
}

/* ---- files ------------------------------------------------------------------------------------------------------------- */

static ssize_t host_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	size_t total = 0;
	if (!u->t) { /* into the sentry itself */
		ssize_t n = pread(f->host_fd, (char *)u->one.iov_base + u->done, u->left, *pos);
		if (n < 0)
			return -errno;
		*pos += n;
		return n;
	}
	ssize_t mapped = filemap_read(t, f, u, pos);
	if (mapped != -EAGAIN)
		return mapped;
	char *buf = task_buf(t);
	if (!buf)
		return -ENOMEM;
	while (u->left) {
		size_t want = MIN(u->left, (size_t)TASK_BUF), room = 0;
		int64_t at = *pos;
		char *direct = uio_room(u, want, &room);
		if (direct)
			want = room;
		file_get(f);
		kernel_unlock();
		ssize_t n = pread(f->host_fd, direct ? direct : buf, want, at);
		int err = errno;
		kernel_lock();
		file_put(f);
		if (n <= 0) {
			if (n < 0 && !total)
				return -err;
			break;
		}
		ssize_t k = n;
		if (direct)
			uio_filled(u, (size_t)n);
		else
			k = uio_put(u, buf, (size_t)n);
		if (k < 0)
			return total ? (ssize_t)total : k;
		*pos += k;
		total += (size_t)k;
		if (k < n || (size_t)n < want || t->dying)
			break;
	}
	return (ssize_t)total;
}

static ssize_t host_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	size_t total = 0;
	char *buf = task_buf(t);
	if (!buf)
		return -ENOMEM;
	while (u->left) {
		size_t want = MIN(u->left, (size_t)TASK_BUF);
		ssize_t k = uio_get(u, buf, want);
		if (k < 0)
			return total ? (ssize_t)total : k;
		bool append = f->flags & O_APPEND;
		int64_t at = *pos;
		file_get(f);
		kernel_unlock();
		ssize_t n = pwrite(f->host_fd, buf, (size_t)k, at); /* O_APPEND is set on the host fd too: Linux then appends whatever the offset */
		int err = errno;
		if (append && n > 0) {
			struct stat st;
			at = host_stat(f->host_fd, "", &st) == 0 ? st.st_size - n : at;
		}
		kernel_lock();
		file_put(f);
		if (n < 0) {
			uio_back(u, (size_t)k);
			return total ? (ssize_t)total : -err;
		}
		if (n < k)
			uio_back(u, (size_t)(k - n));
		*pos = at + n;
		total += (size_t)n;
		if (n < k || (size_t)k < want || t->dying)
			break;
	}
	return (ssize_t)total;
}

static int64_t host_llseek(struct task *t, struct file *f, int64_t off, int whence)
{
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return generic_llseek(t, f, off, whence);
	off_t r = lseek(f->host_fd, off, whence);
	if (r < 0)
		return -errno;
	return f->pos = r;
}

static int host_fsync(struct file *f, bool datasync)
{
	(void)datasync;
	file_get(f);
	kernel_unlock();
	int rc = fsync(f->host_fd) < 0 ? -errno : 0;
	kernel_lock();
	file_put(f);
	return rc;
}

static long host_fallocate(struct task *t, struct file *f, int mode, int64_t off, int64_t len)
{
	(void)t;
	return fallocate(f->host_fd, mode, off, len) < 0 ? -errno : 0;
}

static int host_flags_changed(struct file *f, unsigned old)
{
	(void)old;
	return fcntl(f->host_fd, F_SETFL, (int)(f->flags & (O_APPEND | O_DIRECT | O_NOATIME)) | O_NONBLOCK) < 0 ? -errno : 0;
}

static int host_mmap_fd(struct file *f, int prot, int flags)
{
	(void)prot;
	(void)flags;
	return f->host_fd;
}

static const struct file_ops host_file_ops = { .read = host_read, .write = host_write, .llseek = host_llseek, .fsync = host_fsync,
	.fallocate = host_fallocate, .mmap_fd = host_mmap_fd, .flags_changed = host_flags_changed };

struct linux_dirent64_ { uint64_t ino; int64_t off; uint16_t reclen; uint8_t type; char name[]; };

static int host_readdir(struct task *t, struct file *f, struct dirctx *c)
{
	char *buf = task_buf(t);
	if (!buf)
		return -ENOMEM;
	if (lseek(f->host_fd, f->pos, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		long n = syscall(SYS_getdents64, f->host_fd, buf, 32768);
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		for (long at = 0; at < n;) {
			struct linux_dirent64_ *d = (struct linux_dirent64_ *)(void *)(buf + at);
			if (c->emit(c, d->name, strlen(d->name), d->ino, d->type, d->off))
				return 0;
			f->pos = d->off;
			at += d->reclen;
		}
	}
}

static int64_t host_dir_llseek(struct task *t, struct file *f, int64_t off, int whence)
{
	(void)t;
	off_t r = lseek(f->host_fd, whence == SEEK_CUR ? f->pos + off : off, whence == SEEK_CUR ? SEEK_SET : whence);
	return r < 0 ? -errno : (f->pos = r);
}

static const struct file_ops host_dir_ops = { .readdir = host_readdir, .fsync = host_fsync, .llseek = host_dir_llseek };
