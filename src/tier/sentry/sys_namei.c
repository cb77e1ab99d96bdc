/* Names: directories, links, unlink, rename, working directory, directory reading. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

/* Parent directory and last name of a path in guest memory. */
struct target { struct path dir; char last[256]; bool slash; };
static void target_free(struct target *x) { path_put(&x->dir); }
#define _cleanup_target_ CLEANUP(target_free)

static int target_of(struct task *t, int dirfd, uint64_t name, struct target *x)
{
	char buf[PATH_MAX_];
	_cleanup_path_ struct path start = PATH_NONE;
	int rc = copyin_path(t, buf, name);
	x->dir = (struct path)PATH_NONE;
	if (rc < 0)
		return rc;
	if (!*buf)
		return -ENOENT;
	if ((rc = path_at(t, dirfd, buf, &start)) < 0)
		return rc;
	return path_parent(t, &start, buf, 0, &x->dir, x->last, &x->slash);
}

static bool special(const char *n) { return !*n || strcmp(n, ".") == 0 || strcmp(n, "..") == 0; }

/* Common checks before something is made: not there yet, writable, permitted. */
static int may_create(struct task *t, struct target *x)
{
	struct dentry *d;
	int rc;
	if (special(x->last))
		return -EEXIST;
	if ((rc = dentry_lookup(x->dir.d, x->last, &d)) == 0) {
		dentry_put(d);
		return -EEXIST;
	}
	if (rc != -ENOENT)
		return rc;
	if (x->dir.d->unlinked)
		return -ENOENT;
	if ((rc = mnt_want_write(&x->dir)) < 0)
		return rc;
	return inode_permission(t, x->dir.d->inode, W_OK | X_OK);
}

static int made(struct target *x, struct inode *i, uint32_t extra)
{
	struct dentry *d = dentry_add(x->dir.d, x->last, i);
	if (!d)
		return -ENOMEM;
	dentry_put(d);
	inotify_event(x->dir.d->inode, x->last, NULL, 0x100 | extra, 0);
	return 0;
}

static long do_mkdir(struct task *t, int dirfd, uint64_t name, uint32_t mode)
{
	_cleanup_target_ struct target x = { .dir = PATH_NONE };
	struct inode *i;
	int rc = target_of(t, dirfd, name, &x);
	if (rc || (rc = may_create(t, &x)) < 0)
		return rc;
	const struct inode_ops *ops = x.dir.d->inode->ops;
	if (!ops || !ops->mkdir)
		return -EPERM;
	rc = ops->mkdir(t, x.dir.d->inode, x.last, mode & 01777 & ~t->fs->umask, &i);
	return rc ? rc : made(&x, i, 0x40000000);
}
long sys_mkdir(struct task *t, const uint64_t *a) { return do_mkdir(t, AT_FDCWD, a[0], (uint32_t)a[1]); }
long sys_mkdirat(struct task *t, const uint64_t *a) { return do_mkdir(t, (int)a[0], a[1], (uint32_t)a[2]); }

static long do_mknod(struct task *t, int dirfd, uint64_t name, uint32_t mode, uint32_t dev)
{
	_cleanup_target_ struct target x = { .dir = PATH_NONE };
	struct inode *i;
	if (!(mode & S_IFMT))
		mode |= S_IFREG;
	if (S_ISDIR(mode))
		return -EPERM;
	if (!S_ISREG(mode) && !S_ISCHR(mode) && !S_ISBLK(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
		return -EINVAL;
	int rc = target_of(t, dirfd, name, &x);
	if (rc)
		return rc;
	if (x.slash)
		return -ENOENT;
	if ((rc = may_create(t, &x)) < 0)
		return rc;
	if ((S_ISCHR(mode) || S_ISBLK(mode)) && !(S_ISCHR(mode) && !dev) && !capable(t, CAP_MKNOD))
		return -EPERM;
	const struct inode_ops *ops = x.dir.d->inode->ops;
	mode &= ~t->fs->umask | S_IFMT;
	if (!ops || !(S_ISREG(mode) ? (void *)ops->create : (void *)ops->mknod))
		return -EPERM;
	rc = S_ISREG(mode) ? ops->create(t, x.dir.d->inode, x.last, mode, &i) : ops->mknod(t, x.dir.d->inode, x.last, mode, dev, &i);
	return rc ? rc : made(&x, i, 0);
}
long sys_mknod(struct task *t, const uint64_t *a) { return do_mknod(t, AT_FDCWD, a[0], (uint32_t)a[1], (uint32_t)a[2]); }
long sys_mknodat(struct task *t, const uint64_t *a) { return do_mknod(t, (int)a[0], a[1], (uint32_t)a[2], (uint32_t)a[3]); }

static long do_symlink(struct task *t, uint64_t to, int dirfd, uint64_t name)
{
	char text[PATH_MAX_];
	_cleanup_target_ struct target x = { .dir = PATH_NONE };
	struct inode *i;
	int rc = copyin_path(t, text, to);
	if (rc < 0)
		return rc;
	if (!*text)
		return -ENOENT;
	if ((rc = target_of(t, dirfd, name, &x)) < 0)
		return rc;
	if (x.slash)
		return -ENOENT;
	if ((rc = may_create(t, &x)) < 0)
		return rc;
	const struct inode_ops *ops = x.dir.d->inode->ops;
	if (!ops || !ops->symlink)
		return -EPERM;
	rc = ops->symlink(t, x.dir.d->inode, x.last, text, &i);
	return rc ? rc : made(&x, i, 0);
}
long sys_symlink(struct task *t, const uint64_t *a) { return do_symlink(t, a[0], AT_FDCWD, a[1]); }
long sys_symlinkat(struct task *t, const uint64_t *a) { return do_symlink(t, a[0], (int)a[1], a[2]); }

static int path_or_fd(struct task *t, int dirfd, uint64_t name, unsigned walk, struct path *ret)
{
	char c;
	if ((walk & WALK_EMPTY) && (!name || (copyin(t, &c, name, 1) == 0 && !c))) {
		if (dirfd == AT_FDCWD) {
			*ret = path_copy(&t->fs->cwd);
			return 0;
		}
		struct file *f = fd_file_any(t, dirfd);
		if (!f)
			return -EBADF;
		if (!f->path.d)
			return -ENOENT;
		*ret = path_copy(&f->path);
		return 0;
	}
	return path_user(t, dirfd, name, walk, ret);
}

static long do_link(struct task *t, int odir, uint64_t old, int ndir, uint64_t new, int flags)
{
	_cleanup_target_ struct target x = { .dir = PATH_NONE };
	_cleanup_path_ struct path p = PATH_NONE;
	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	int rc = path_or_fd(t, odir, old, (flags & AT_SYMLINK_FOLLOW ? WALK_FOLLOW : 0) | (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0), &p);
	if (rc || (rc = target_of(t, ndir, new, &x)) < 0)
		return rc;
	if (x.slash)
		return -ENOENT;
	if ((rc = may_create(t, &x)) < 0)
		return rc;
	if (p.mnt->sb != x.dir.mnt->sb || p.mnt != x.dir.mnt)
		return -EXDEV;
	struct inode *i = p.d->inode;
	if (is_dir(i) || (i->inode_flags & (INODE_APPEND | INODE_IMMUTABLE)))
		return -EPERM;
	if (p.d->unlinked && i->nlink == 0 && !(flags & AT_EMPTY_PATH) && !(flags & AT_SYMLINK_FOLLOW))
		return -ENOENT;
	const struct inode_ops *ops = x.dir.d->inode->ops;
	if (!ops || !ops->link)
		return -EPERM;
	rc = ops->link(x.dir.d->inode, x.last, i);
	return rc ? rc : made(&x, inode_get(i), 0);
}
long sys_link(struct task *t, const uint64_t *a) { return do_link(t, AT_FDCWD, a[0], AT_FDCWD, a[1], 0); }
long sys_linkat(struct task *t, const uint64_t *a) { return do_link(t, (int)a[0], a[1], (int)a[2], a[3], (int)a[4]); }

static bool empty_dir(struct dentry *d)
{
	struct dentry *k;
	list_for_each(k, &d->children, sibling)
		if (!k->unlinked)
			return false;
	return true;
}

static long do_unlink(struct task *t, int dirfd, uint64_t name, bool dir)
{
	_cleanup_target_ struct target x = { .dir = PATH_NONE };
	struct dentry *d;
	int rc = target_of(t, dirfd, name, &x);
	if (rc)
		return rc;
	if (!*x.last)
		return dir ? -EBUSY : -EISDIR;
	if (strcmp(x.last, ".") == 0)
		return dir ? -EINVAL : -EISDIR;
	if (strcmp(x.last, "..") == 0)
		return dir ? -ENOTEMPTY : -EISDIR;
	if ((rc = dentry_lookup(x.dir.d, x.last, &d)) < 0)
		return rc;
	struct inode *i = d->inode;
	const struct inode_ops *ops = x.dir.d->inode->ops;
	rc = mnt_want_write(&x.dir);
	if (!rc)
		rc = dir_may_delete(t, x.dir.d->inode, i);
	if (!rc && !dir && (is_dir(i) || x.slash))
		rc = is_dir(i) ? -EISDIR : -ENOTDIR;
	if (!rc && dir && !is_dir(i))
		rc = -ENOTDIR;
	if (!rc && d->mounted)
		rc = -EBUSY;
	if (!rc && (i->inode_flags & (INODE_APPEND | INODE_IMMUTABLE)))
		rc = -EPERM;
	if (!rc && dir && d->pinned && !empty_dir(d))
		rc = -ENOTEMPTY;
	if (!rc)
		rc = !ops || !(dir ? ops->rmdir : ops->unlink) ? -EPERM : (dir ? ops->rmdir : ops->unlink)(x.dir.d->inode, x.last, i);
	if (!rc) {
		inode_get(i);
		struct kstat st;
		/* In Linux's order: the object's link count changed, it may be gone, then its name is. A file that is still open is not gone yet in
		 * Linux; here it counts as gone with its last name. */
		if (!dir)
			inotify_event(NULL, NULL, i, 4 /* IN_ATTRIB */, 0);
		if (dir || inode_getattr(i, &st) < 0 || st.nlink == 0)
			inotify_event(NULL, NULL, i, 0x400 /* IN_DELETE_SELF */, 0);
		inotify_event(x.dir.d->inode, x.last, NULL, 0x200 | (dir ? 0x40000000 : 0), 0);
		dentry_drop(d);
		inode_put(i);
	}
	dentry_put(d);
	return rc;
}
long sys_unlink(struct task *t, const uint64_t *a) { return do_unlink(t, AT_FDCWD, a[0], false); }
long sys_rmdir(struct task *t, const uint64_t *a) { return do_unlink(t, AT_FDCWD, a[0], true); }
long sys_unlinkat(struct task *t, const uint64_t *a)
{
	return a[2] & ~(uint64_t)AT_REMOVEDIR ? -EINVAL : do_unlink(t, (int)a[0], a[1], a[2] & AT_REMOVEDIR);
}

static bool is_below(const struct dentry *d, const struct dentry *top)
{
	for (;; d = d->parent) {
		if (d == top)
			return true;
		if (d->parent == d)
			return false;
	}
}

static int check_rename(struct task *t, struct target *o, struct target *n, struct dentry *what, struct dentry *victim, unsigned flags)
{
	int rc;
	if ((rc = dir_may_delete(t, o->dir.d->inode, what->inode)) < 0)
		return rc;
	if (victim) {
		if (flags & RENAME_NOREPLACE)
			return -EEXIST;
		if ((rc = dir_may_delete(t, n->dir.d->inode, victim->inode)) < 0)
			return rc;
		if (is_below(o->dir.d, victim))
			return -ENOTEMPTY;
		if (!(flags & RENAME_EXCHANGE)) {
			if (is_dir(what->inode) && !is_dir(victim->inode))
				return -ENOTDIR;
			if (!is_dir(what->inode) && is_dir(victim->inode))
				return -EISDIR;
			if (is_dir(victim->inode) && victim->pinned && !empty_dir(victim))
				return -ENOTEMPTY;
		}
		if (victim->mounted)
			return -EBUSY;
	} else {
		if (flags & RENAME_EXCHANGE)
			return -ENOENT;
		if ((rc = inode_permission(t, n->dir.d->inode, W_OK | X_OK)) < 0)
			return rc;
	}
	if (is_dir(what->inode) && is_below(n->dir.d, what))
		return -EINVAL;
	if (what->mounted)
		return -EBUSY;
	if (!is_dir(what->inode) && !(flags & RENAME_EXCHANGE) && (o->slash || n->slash))
		return -ENOTDIR;
	if (is_dir(what->inode) && o->dir.d != n->dir.d && (rc = inode_permission(t, what->inode, W_OK)) < 0)
		return rc;
	return 0;
}

static void renamed(struct target *o, struct target *n, struct dentry *what, struct dentry *victim, unsigned flags)
{
	static uint32_t cookie;
	uint32_t dirbit = is_dir(what->inode) ? 0x40000000 : 0;
	cookie++;
	if (flags & RENAME_EXCHANGE) {
		dentry_move(victim, o->dir.d, "\001exchange");
		dentry_move(what, n->dir.d, n->last);
		dentry_move(victim, o->dir.d, o->last);
	} else {
		if (victim)
			dentry_drop(victim);
		dentry_move(what, n->dir.d, n->last);
	}
	inotify_event(o->dir.d->inode, o->last, NULL, 0x40 | dirbit, cookie);
	inotify_event(n->dir.d->inode, n->last, NULL, 0x80 | dirbit, cookie);
	inotify_event(NULL, NULL, what->inode, 0x800 /* IN_MOVE_SELF */, 0);
}

static long do_rename(struct task *t, int odir, uint64_t old, int ndir, uint64_t new, unsigned flags)
{
	_cleanup_target_ struct target o = { .dir = PATH_NONE }, n = { .dir = PATH_NONE };
	struct dentry *what, *victim = NULL;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) || (flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)) == 3)
		return -EINVAL;
	if (flags & RENAME_WHITEOUT)
		return -EINVAL;
	int rc = target_of(t, odir, old, &o);
	if (rc || (rc = target_of(t, ndir, new, &n)) < 0)
		return rc;
	if (o.dir.mnt != n.dir.mnt)
		return -EXDEV;
	if (special(o.last) || special(n.last))
		return (flags & RENAME_NOREPLACE) && special(n.last) ? -EEXIST : -EBUSY;
	if ((rc = mnt_want_write(&o.dir)) < 0)
		return rc;
	if ((rc = dentry_lookup(o.dir.d, o.last, &what)) < 0)
		return rc;
	rc = dentry_lookup(n.dir.d, n.last, &victim);
	if (rc == -ENOENT) {
		rc = 0;
		victim = NULL;
	}
	const struct inode_ops *ops = o.dir.d->inode->ops;
	if (!rc && victim && victim->inode == what->inode && !(flags & (RENAME_EXCHANGE | RENAME_NOREPLACE)))
		goto out; /* two names of one file: nothing happens (POSIX) */
	if (!rc)
		rc = check_rename(t, &o, &n, what, victim, flags);
	if (!rc && n.dir.d->unlinked)
		rc = -ENOENT;
	if (!rc)
		rc = ops && ops->rename ? ops->rename(o.dir.d->inode, o.last, n.dir.d->inode, n.last, what->inode, victim ? victim->inode : NULL, flags) : -EPERM;
	if (!rc)
		renamed(&o, &n, what, victim, flags);
out:
	dentry_put(what);
	if (victim)
		dentry_put(victim);
	return rc;
}
long sys_rename(struct task *t, const uint64_t *a) { return do_rename(t, AT_FDCWD, a[0], AT_FDCWD, a[1], 0); }
long sys_renameat(struct task *t, const uint64_t *a) { return do_rename(t, (int)a[0], a[1], (int)a[2], a[3], 0); }
long sys_renameat2(struct task *t, const uint64_t *a) { return do_rename(t, (int)a[0], a[1], (int)a[2], a[3], (unsigned)a[4]); }

static long do_readlink(struct task *t, int dirfd, uint64_t name, uint64_t buf, int size)
{
	char text[PATH_MAX_];
	_cleanup_path_ struct path p = PATH_NONE;
	if (size <= 0)
		return -EINVAL;
	int rc = path_or_fd(t, dirfd, name, WALK_EMPTY, &p);
	if (rc)
		return rc;
	struct inode *i = p.d->inode;
	char c;
	if (!is_lnk(i))
		return copyin(t, &c, name, 1) == 0 && !c ? -ENOENT : -EINVAL; /* "" means a descriptor of a link itself */
	ssize_t n = i->ops && i->ops->readlink ? i->ops->readlink(t, i, text, sizeof(text)) : -EINVAL;
	if (n < 0)
		return n;
	n = MIN(n, (ssize_t)size);
	return copyout(t, buf, text, (size_t)n) < 0 ? -EFAULT : n;
}
long sys_readlink(struct task *t, const uint64_t *a)
{
	char c;
	if (copyin(t, &c, a[0], 1) == 0 && !c)
		return -ENOENT;
	return do_readlink(t, AT_FDCWD, a[0], a[1], (int)a[2]);
}
long sys_readlinkat(struct task *t, const uint64_t *a) { return do_readlink(t, (int)a[0], a[1], a[2], (int)a[3]); }

/* ---- working directory and root ----------------------------------------------------------------------------------------- */

static long set_cwd(struct task *t, struct path *p)
{
	int rc = inode_permission(t, p->d->inode, X_OK);
	if (!is_dir(p->d->inode))
		return -ENOTDIR;
	if (rc)
		return rc;
	path_put(&t->fs->cwd);
	t->fs->cwd = path_copy(p);
	return 0;
}

long sys_chdir(struct task *t, const uint64_t *a)
{
	_cleanup_path_ struct path p = PATH_NONE;
	int rc = path_user(t, AT_FDCWD, a[0], WALK_FOLLOW | WALK_DIRECTORY, &p);
	return rc ? rc : set_cwd(t, &p);
}

long sys_fchdir(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file_any(t, (int)a[0]);
	if (!f)
		return -EBADF;
	if (!f->path.d)
		return -ENOTDIR;
	return set_cwd(t, &f->path);
}

long sys_chroot(struct task *t, const uint64_t *a)
{
	_cleanup_path_ struct path p = PATH_NONE;
	int rc = path_user(t, AT_FDCWD, a[0], WALK_FOLLOW | WALK_DIRECTORY, &p);
	if (rc || (rc = inode_permission(t, p.d->inode, X_OK)) < 0)
		return rc;
	if (!ns_capable_here(t, CAP_SYS_CHROOT))
		return -EPERM;
	path_put(&t->fs->root);
	t->fs->root = path_copy(&p);
	return 0;
}

long sys_getcwd(struct task *t, const uint64_t *a)
{
	char buf[PATH_MAX_];
	if (t->fs->cwd.d->unlinked)
		return -ENOENT;
	int n = path_name(&t->fs->cwd, &t->fs->root, buf, sizeof(buf));
	if (n < 0)
		return n;
	if ((uint64_t)n + 1 > a[1])
		return -ERANGE;
	return copyout(t, a[0], buf, (size_t)n + 1) < 0 ? -EFAULT : n + 1;
}

long sys_umask(struct task *t, const uint64_t *a)
{
	uint32_t old = t->fs->umask;
	t->fs->umask = (uint32_t)a[0] & 0777;
	return old;
}

/* ---- getdents ------------------------------------------------------------------------------------------------------------- */

struct out { struct dirctx c; uint8_t *buf; size_t size, used; bool old, too_small; };

static int emit(struct dirctx *c, const char *name, size_t len, uint64_t ino, unsigned type, int64_t next)
{
	struct out *o = container_of(c, struct out, c);
	size_t head = o->old ? 18 : 19, need = (head + len + (o->old ? 2 : 1) + 7) & ~(size_t)7;
	if (need > o->size - o->used) {
		o->too_small = !o->used;
		return 1;
	}
	uint8_t *p = o->buf + o->used;
	uint16_t reclen = (uint16_t)need;
	memset(p, 0, need);
	memcpy(p, &ino, 8);
	memcpy(p + 8, &next, 8);
	memcpy(p + 16, &reclen, 2);
	if (o->old)
		p[need - 1] = (uint8_t)type;
	else
		p[18] = (uint8_t)type;
	memcpy(p + head, name, len);
	o->used += need;
	return 0;
}

static long do_getdents(struct task *t, const uint64_t *a, bool old)
{
	struct file *f = fd_file(t, (int)a[0]);
	struct out o = { .c = { emit }, .size = MIN((uint64_t)(uint32_t)a[2], (uint64_t)65536), .old = old };
	if (!f)
		return -EBADF;
	if (!is_dir(f->inode) || !f->ops || !f->ops->readdir)
		return -ENOTDIR;
	if (f->path.d->unlinked)
		return -ENOENT;
	if (!(o.buf = malloc(o.size ? o.size : 1)))
		return -ENOMEM;
	int rc = f->ops->readdir(t, f, &o.c);
	long r = rc ? rc : o.too_small ? -EINVAL : (long)o.used;
	if (r > 0 && copyout(t, a[1], o.buf, o.used) < 0)
		r = -EFAULT;
	free(o.buf);
	return r;
}
long sys_getdents(struct task *t, const uint64_t *a) { return do_getdents(t, a, true); }
long sys_getdents64(struct task *t, const uint64_t *a) { return do_getdents(t, a, false); }
