/* Open files: making, opening, reading, writing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tier/sentry/fs/async.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

struct super *anon_super;

struct file *file_new(struct inode *i, const struct file_ops *ops, unsigned flags)
{
	struct file *f = calloc(1, sizeof(*f));
	if (!f) {
		inode_put(i);
		return NULL;
	}
	f->refs = 1;
	f->ops = ops;
	f->inode = i;
	f->flags = flags & ~(unsigned)(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC);
	f->noctty = flags & O_NOCTTY;
	f->host_fd = -EBADF;
	f->can_read = (flags & O_ACCMODE) != O_WRONLY && !(flags & O_PATH);
	f->can_write = (flags & O_ACCMODE) != O_RDONLY && !(flags & O_PATH);
	list_init(&f->epolls);
	return f;
}

struct file *file_get(struct file *f)
{
	f->refs++;
	return f;
}

void file_put(struct file *f)
{
	if (!f || --f->refs)
		return;
	f->refs = 1; /* callbacks may take and drop references of their own */
	if (f->opened) {
		f->inode->opens--;
		file_event(&f->path, f->inode, f->can_write ? 8 /* IN_CLOSE_WRITE */ : 0x10 /* IN_CLOSE_NOWRITE */);
	}
	epoll_forget_file(f);
	async_forget(f);
	lease_forget(f);
	dnotify_forget(f);
	locks_release_file(NULL, f);
	if (f->ops && f->ops->release && !(f->flags & O_PATH))
		f->ops->release(f);
	if (f->can_write && f->inode->writers > 0 && is_reg(f->inode))
		f->inode->writers--;
	if (f->deny_write)
		f->inode->writers++;
	if (f->counted)
		f->path.mnt->writers--;
	if (f->host_fd >= 0)
		close(f->host_fd);
	path_put(&f->path);
	mntns_put(f->tree);
	inode_put(f->inode);
	free(f->anon_name);
	free(f);
}

struct inode *anon_inode_new(uint32_t mode)
{
	struct inode *i = inode_new(anon_super, mode, NULL, NULL);
	if (i)
		i->inode_flags |= INODE_ANON;
	return i;
}

struct file *anon_file_new(const char *name, const struct file_ops *ops, void *priv, unsigned flags)
{
	struct inode *i = anon_inode_new(0600);
	struct file *f = i ? file_new(i, ops, flags) : NULL;
	if (!f)
		return NULL;
	f->priv = priv;
	f->stream = true;
	if (!(f->anon_name = strdup(name))) {
		f->ops = NULL;
		file_put(f);
		return NULL;
	}
	return f;
}

static int open_permission(struct task *t, const struct path *p, unsigned flags)
{
	struct inode *i = p->d->inode;
	int mask = 0, rc;
	switch (flags & O_ACCMODE) {
	case O_RDONLY: mask = R_OK; break;
	case O_WRONLY: mask = W_OK; break;
	default: mask = R_OK | W_OK;
	}
	if (flags & O_TRUNC)
		mask |= W_OK;
	if (is_dir(i) && (mask & W_OK))
		return -EISDIR;
	if ((mask & W_OK) && (is_reg(i) || is_dir(i) || is_lnk(i)) && (rc = mnt_want_write(p)) < 0)
		return rc;
	if ((S_ISCHR(i->mode) || S_ISBLK(i->mode)) && ((p->mnt->flags & MS_NODEV) || (p->mnt->sb->flags & SUPER_NODEV)))
		return -EACCES;
	if ((rc = inode_permission(t, i, mask)) < 0)
		return rc;
	if ((flags & O_NOATIME) && !inode_owner_or_cap(t, i))
		return -EPERM;
	if ((i->inode_flags & INODE_APPEND) && (mask & W_OK) && (!(flags & O_APPEND) || (flags & O_TRUNC)))
		return -EPERM;
	return 0;
}

static int open_inode(struct task *t, struct file *f)
{
	struct inode *i = f->inode;
	if (i->sb == anon_super && i->ops && i->ops->open)
		return i->ops->open(t, i, f);
	if (S_ISFIFO(i->mode))
		return fifo_open(t, i, f);
	if (S_ISCHR(i->mode))
		return devices_open(t, i, f);
	if (S_ISBLK(i->mode) || S_ISSOCK(i->mode))
		return -ENXIO;
	if (i->ops && i->ops->open)
		return i->ops->open(t, i, f);
	return f->ops ? 0 : -ENXIO;
}

int file_open(struct task *t, const struct path *p, unsigned flags, bool checked, struct file **ret)
{
	struct inode *i = p->d->inode;
	int rc;
	if ((flags & O_DIRECTORY) && !is_dir(i))
		return -ENOTDIR;
	if (is_lnk(i) && !(flags & O_PATH))
		return -ELOOP;
	if (!(flags & O_PATH) && !checked && (rc = open_permission(t, p, flags)) < 0)
		return rc;
	if (is_reg(i) && !(flags & O_PATH) && (flags & O_ACCMODE) != O_RDONLY && i->writers < 0)
		return -ETXTBSY;
	if (!(flags & O_PATH) && !list_empty(&i->leases) && t && (rc = lease_break(t, i, flags)) < 0)
		return rc;
	struct file *f = file_new(inode_get(i), i->fops, flags);
	if (!f)
		return -ENOMEM;
	f->path = path_copy(p);
	if (flags & O_PATH) {
		*ret = f;
		return 0;
	}
	if ((rc = open_inode(t, f)) < 0) {
		f->ops = NULL;
		f->can_write = false;
		file_put(f);
		return rc;
	}
	f->opened = true;
	i->opens++;
	if (f->can_write && is_reg(i)) {
		i->writers++;
		f->counted = true;
		p->mnt->writers++;
	}
	if ((flags & O_TRUNC) && is_reg(i)) {
		struct iattr a = { .valid = ATTR_SIZE | ATTR_MTIME, .size = 0 };
		clock_gettime(CLOCK_REALTIME, &a.mtime);
		if (i->ops->setattr && (rc = i->ops->setattr(t, i, &a)) < 0) {
			file_put(f);
			return rc;
		}
		inode_drop_privs(t, i);
		file_event(p, i, 2 /* IN_MODIFY */);
	}
	*ret = f;
	return 0;
}

/* One try to create: -EAGAIN when the last component is a symlink whose target is now in name, relative to *start. */
static int create(struct task *t, struct path *start, char name[PATH_MAX_], unsigned flags, uint32_t mode, unsigned resolve, struct file **ret)
{
	char last[256];
	bool slash;
	_cleanup_path_ struct path dir = PATH_NONE;
	struct dentry *d;
	int rc = path_parent(t, start, name, resolve, &dir, last, &slash);
	if (rc)
		return rc;
	if (slash || !*last || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		return -EISDIR;
	rc = dentry_lookup(dir.d, last, &d);
	if (rc == 0) {
		_cleanup_path_ struct path p = { mount_get(dir.mnt), d };
		if (flags & O_EXCL)
			return -EEXIST;
		if (is_lnk(d->inode) && !(flags & O_NOFOLLOW)) {
			ssize_t n = d->inode->ops->readlink(t, d->inode, name, PATH_MAX_ - 1);
			if (n < 0)
				return (int)n;
			name[n] = 0;
			path_put(start);
			*start = path_copy(&dir);
			return -EAGAIN;
		}
		path_enter_mounts(&p);
		if (is_dir(p.d->inode))
			return -EISDIR;
		return file_open(t, &p, flags, false, ret);
	}
	if (rc != -ENOENT)
		return rc;
	if ((rc = inode_permission(t, dir.d->inode, W_OK | X_OK)) < 0 || (rc = mnt_want_write(&dir)) < 0)
		return rc;
	struct inode *i;
	if (!dir.d->inode->ops->create || dir.d->unlinked)
		return dir.d->unlinked ? -ENOENT : -EACCES;
	rc = dir.d->inode->ops->create(t, dir.d->inode, last, S_IFREG | (mode & 07777 & ~t->fs->umask), &i);
	if (rc)
		return rc;
	if (!(d = dentry_add(dir.d, last, i)))
		return -ENOMEM;
	_cleanup_path_ struct path p = { mount_get(dir.mnt), d };
	inotify_event(dir.d->inode, last, NULL, 0x100 /* IN_CREATE */, 0);
	return file_open(t, &p, flags & ~(unsigned)O_TRUNC, true, ret);
}

static int open_tmpfile(struct task *t, const struct path *start, const char *name, unsigned flags, uint32_t mode, unsigned resolve, struct file **ret)
{
	_cleanup_path_ struct path dir = PATH_NONE;
	struct inode *i;
	int rc = path_walk(t, start, name, resolve | WALK_FOLLOW | WALK_DIRECTORY, &dir);
	if (rc)
		return rc;
	if ((rc = inode_permission(t, dir.d->inode, W_OK | X_OK)) < 0 || (rc = mnt_want_write(&dir)) < 0)
		return rc;
	if (!dir.d->inode->ops->tmpfile)
		return -EOPNOTSUPP;
	if ((rc = dir.d->inode->ops->tmpfile(t, dir.d->inode, S_IFREG | (mode & 07777 & ~t->fs->umask), &i)) < 0)
		return rc;
	char label[32];
	snprintf(label, sizeof(label), "#%llu", (unsigned long long)i->ino);
	struct dentry *d = dentry_root(dir.d->sb, i);
	if (!d)
		return -ENOMEM;
	free(d->name);
	d->name = strdup(label);
	d->parent = dentry_get(dir.d);
	d->unlinked = true;
	_cleanup_path_ struct path p = { mount_get(dir.mnt), d };
	if ((rc = file_open(t, &p, flags & ~(unsigned)(O_DIRECTORY | O_TMPFILE), true, ret)) == 0)
		(*ret)->flags |= flags & O_TMPFILE;
	return rc;
}

int file_openat(struct task *t, const struct path *start_in, const char *name_in, unsigned flags, uint32_t mode, unsigned resolve, struct file **ret)
{
	_cleanup_path_ struct path p = PATH_NONE, start = path_copy(start_in);
	char name[PATH_MAX_];
	unsigned links = 0;
	int rc;
	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	if ((flags & O_TMPFILE & ~O_DIRECTORY) && ((flags & O_TMPFILE) != O_TMPFILE || (flags & O_CREAT) || (flags & O_ACCMODE) == O_RDONLY))
		return -EINVAL;
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return open_tmpfile(t, &start, name_in, flags, mode, resolve, ret);
	if (flags & O_CREAT) {
		if (strlen(name_in) >= sizeof(name))
			return -ENAMETOOLONG;
		strcpy(name, name_in);
		if (!*name)
			return -ENOENT;
		if (flags & O_DIRECTORY)
			return -EINVAL;
		while ((rc = create(t, &start, name, flags, mode, resolve, ret)) == -EAGAIN)
			if (++links > SYMLINKS_MAX)
				return -ELOOP;
		return rc;
	}
	unsigned walk = resolve | (flags & O_NOFOLLOW ? 0 : WALK_FOLLOW) | (flags & O_DIRECTORY ? WALK_DIRECTORY : 0);
	if ((rc = path_walk(t, &start, name_in, walk, &p)) < 0)
		return rc;
	return file_open(t, &p, flags, false, ret);
}

/* ---- transfer ---------------------------------------------------------------------------------------------------------- */

ssize_t file_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	if (!f->can_read)
		return -EBADF;
	if (is_dir(f->inode))
		return -EISDIR;
	if (!f->ops || !f->ops->read)
		return -EINVAL;
	ssize_t r = f->ops->read(t, f, u, f->stream ? NULL : pos);
	if (r > 0)
		file_event(&f->path, f->inode, 1 /* IN_ACCESS */);
	return r;
}

ssize_t file_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	if (!f->can_write)
		return -EBADF;
	if (!f->ops || !f->ops->write)
		return -EINVAL;
	if (t && is_reg(f->inode) && !f->stream && u->left) {
		uint64_t limit = t->proc->rlim[RLIMIT_FSIZE].rlim_cur;
		struct kstat st;
		int64_t at = *pos;
		if (limit != RLIM_INFINITY && (f->flags & O_APPEND) && inode_getattr(f->inode, &st) == 0)
			at = (int64_t)st.size;
		if (limit != RLIM_INFINITY) {
			if ((uint64_t)at >= limit) {
				send_signal_task(t, SIGXFSZ, NULL);
				return -EFBIG;
			}
			u->left = MIN((uint64_t)u->left, limit - (uint64_t)at);
		}
	}
	ssize_t r = f->ops->write(t, f, u, f->stream ? NULL : pos);
	if (r > 0) {
		inode_drop_privs(t, f->inode);
		file_event(&f->path, f->inode, 2 /* IN_MODIFY */);
	}
	return r;
}

ssize_t file_pread_kernel(struct task *t, struct file *f, void *buf, size_t n, int64_t off)
{
	struct uio u;
	uio_init_kernel(&u, buf, n);
	return f->ops && f->ops->read ? f->ops->read(t, f, &u, &off) : -EINVAL;
}

unsigned file_poll(struct file *f, struct poll_table *pt)
{
	if (!f->ops || !f->ops->poll)
		return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
	return f->ops->poll(f, pt);
}

int file_mmap_fd(struct file *f, int prot, int flags)
{
	if (!f->can_read)
		return -EACCES;
	if ((flags & MAP_SHARED) && (prot & PROT_WRITE) && !f->can_write)
		return -EACCES;
	if (f->path.mnt && (f->path.mnt->flags & MS_NOEXEC) && (prot & PROT_EXEC))
		return -EPERM;
	return f->ops && f->ops->mmap_fd ? f->ops->mmap_fd(f, prot, flags) : -ENODEV;
}

int64_t generic_llseek(struct task *t, struct file *f, int64_t off, int whence)
{
	struct kstat st;
	int rc;
	(void)t;
	switch (whence) {
	case SEEK_SET: break;
	case SEEK_CUR:
		if (__builtin_add_overflow(off, f->pos, &off))
			return -EINVAL;
		break;
	case SEEK_END:
	case SEEK_DATA:
	case SEEK_HOLE:
		if ((rc = inode_getattr(f->inode, &st)) < 0)
			return rc;
		if (whence == SEEK_END) {
			if (__builtin_add_overflow(off, (int64_t)st.size, &off))
				return -EINVAL;
			break;
		}
		if (off < 0 || off >= (int64_t)st.size)
			return -ENXIO;
		if (whence == SEEK_HOLE)
			off = (int64_t)st.size;
		break;
	default: return -EINVAL;
	}
	if (off < 0)
		return -EINVAL;
	return f->pos = off;
}

int file_anon_path(const struct file *f, struct path *ret)
{
	static struct mntns *ns;
	static struct mount *m;
	if (!m) {
		struct inode *root = inode_new(anon_super, S_IFDIR | 0500, NULL, NULL);
		struct dentry *d = root ? dentry_root(anon_super, root) : NULL;
		if (!(ns = mntns_new(&init_userns)) || !d || mntns_attach(ns, anon_super, d, NULL, 0, "anon", &m) < 0)
			return -ENOMEM;
		m->ns = NULL;
	}
	struct dentry *d = dentry_root(anon_super, inode_get(f->inode));
	if (!d)
		return -ENOMEM;
	*ret = (struct path){ mount_get(m), d };
	return 0;
}
