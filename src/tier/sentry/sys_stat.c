/* Attributes: stat family, access, chmod, chown, times, statfs. */
#include <errno.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <unistd.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

/* struct stat of x86-64 */
struct guest_stat {
	uint64_t dev, ino, nlink;
	uint32_t mode, uid, gid, pad;
	uint64_t rdev;
	int64_t size, blksize, blocks;
	struct timespec atime, mtime, ctime;
	int64_t unused[3];
};
_Static_assert(sizeof(struct guest_stat) == 144, "struct stat");

/* Inode and, when there is one, path of (dirfd, name) with AT_EMPTY_PATH semantics. */
struct where { struct path p; struct inode *i; };
static void where_free(struct where *w)
{
	path_put(&w->p);
	inode_put(w->i);
}
#define _cleanup_where_ CLEANUP(where_free)

static int locate(struct task *t, int dirfd, uint64_t name, int flags, struct where *w)
{
	char c = 1;
	*w = (struct where){ PATH_NONE, NULL };
	if ((flags & AT_EMPTY_PATH) && (!name || (copyin(t, &c, name, 1) == 0 && !c))) {
		if (dirfd == AT_FDCWD) {
			w->p = path_copy(&t->fs->cwd);
		} else {
			struct file *f = fd_file_any(t, dirfd);
			if (!f)
				return -EBADF;
			w->p = path_copy(&f->path);
			w->i = inode_get(f->inode);
			return 0;
		}
	} else {
		int rc = path_user(t, dirfd, name, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW, &w->p);
		if (rc)
			return rc;
	}
	w->i = inode_get(w->p.d->inode);
	return 0;
}

static int put_stat(struct task *t, struct inode *i, uint64_t out)
{
	struct kstat k;
	int rc = inode_getattr(i, &k);
	if (rc)
		return rc;
	struct guest_stat s = { .dev = k.dev, .ino = k.ino, .nlink = k.nlink, .mode = k.mode, .uid = uid_shown(t, k.uid), .gid = gid_shown(t, k.gid), .rdev = k.rdev,
		.size = (int64_t)k.size, .blksize = (int64_t)k.blksize, .blocks = (int64_t)k.blocks, .atime = k.atime, .mtime = k.mtime, .ctime = k.ctime };
	return copyout(t, out, &s, sizeof(s));
}

static long do_stat(struct task *t, int dirfd, uint64_t name, uint64_t out, int flags)
{
	_cleanup_where_ struct where w = { PATH_NONE, NULL };
	if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT))
		return -EINVAL;
	int rc = locate(t, dirfd, name, flags, &w);
	return rc ? rc : put_stat(t, w.i, out);
}
long sys_stat(struct task *t, const uint64_t *a) { return do_stat(t, AT_FDCWD, a[0], a[1], 0); }
long sys_lstat(struct task *t, const uint64_t *a) { return do_stat(t, AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW); }
long sys_newfstatat(struct task *t, const uint64_t *a) { return do_stat(t, (int)a[0], a[1], a[2], (int)a[3]); }
long sys_fstat(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file_any(t, (int)a[0]);
	return f ? put_stat(t, f->inode, a[1]) : -EBADF;
}

static struct statx_timestamp sxt(struct timespec ts) { return (struct statx_timestamp){ .tv_sec = ts.tv_sec, .tv_nsec = (uint32_t)ts.tv_nsec }; }

long sys_statx(struct task *t, const uint64_t *a)
{
	_cleanup_where_ struct where w = { PATH_NONE, NULL };
	struct kstat k;
	struct statx s;
	if ((int)a[2] & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE) || ((int)a[2] & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE ||
	    a[3] & STATX__RESERVED)
		return -EINVAL;
	int rc = locate(t, (int)a[0], a[1], (int)a[2], &w);
	if (rc || (rc = inode_getattr(w.i, &k)) < 0)
		return rc;
	memset(&s, 0, sizeof(s));
	s.stx_mask = STATX_BASIC_STATS | (k.btime.tv_sec ? STATX_BTIME : 0) | 0x1000 /* STATX_MNT_ID */;
	s.stx_blksize = (uint32_t)k.blksize;
	s.stx_nlink = (uint32_t)k.nlink;
	s.stx_uid = uid_shown(t, k.uid);
	s.stx_gid = gid_shown(t, k.gid);
	s.stx_mode = (uint16_t)k.mode;
	s.stx_ino = k.ino;
	s.stx_size = k.size;
	s.stx_blocks = k.blocks;
	s.stx_atime = sxt(k.atime);
	s.stx_mtime = sxt(k.mtime);
	s.stx_ctime = sxt(k.ctime);
	s.stx_btime = sxt(k.btime);
	s.stx_rdev_major = major(k.rdev);
	s.stx_rdev_minor = minor(k.rdev);
	s.stx_dev_major = major(k.dev);
	s.stx_dev_minor = minor(k.dev);
	s.stx_attributes_mask = STATX_ATTR_MOUNT_ROOT | STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND;
	if (w.p.mnt) {
		s.stx_mnt_id = (uint64_t)w.p.mnt->id;
		if (w.p.d == w.p.mnt->root)
			s.stx_attributes |= STATX_ATTR_MOUNT_ROOT;
	}
	return copyout(t, a[4], &s, sizeof(s));
}

/* ---- access ------------------------------------------------------------------------------------------------------------- */

static long do_access(struct task *t, int dirfd, uint64_t name, int mode, int flags)
{
	_cleanup_where_ struct where w = { PATH_NONE, NULL };
	struct cred *saved = t->cred, *c = NULL;
	int rc;
	if (mode & ~7 || flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	if (!(flags & AT_EACCESS) && (saved->uid != saved->fsuid || saved->gid != saved->fsgid)) {
		if (!(c = cred_dup(saved)))
			return -ENOMEM;
		c->fsuid = c->uid;
		c->fsgid = c->gid;
		if (!(c->securebits & 4)) /* NO_SETUID_FIXUP */
			c->cap_effective = c->uid != ns_from_uid(c->user, 0) ? 0 : c->cap_permitted;
		t->cred = c;
	}
	rc = locate(t, dirfd, name, flags, &w);
	if (!rc && mode) {
		rc = inode_permission(t, w.i, mode);
		if (!rc && (mode & W_OK) && w.p.mnt && (is_reg(w.i) || is_dir(w.i) || is_lnk(w.i)))
			rc = mnt_want_write(&w.p);
		if (!rc && (mode & X_OK) && is_reg(w.i) && w.p.mnt && (w.p.mnt->flags & MS_NOEXEC))
			rc = -EACCES;
	}
	t->cred = saved;
	cred_put(c);
	return rc;
}
long sys_access(struct task *t, const uint64_t *a) { return do_access(t, AT_FDCWD, a[0], (int)a[1], 0); }
long sys_faccessat(struct task *t, const uint64_t *a) { return do_access(t, (int)a[0], a[1], (int)a[2], 0); }
long sys_faccessat2(struct task *t, const uint64_t *a) { return do_access(t, (int)a[0], a[1], (int)a[2], (int)a[3]); }

/* ---- changes -------------------------------------------------------------------------------------------------------------- */

static long change(struct task *t, struct where *w, struct iattr *a)
{
	int rc = w->p.mnt ? mnt_want_write(&w->p) : 0;
	if (rc)
		return rc;
	rc = inode_setattr(t, w->i, a);
	if (!rc)
		file_event(&w->p, w->i, 4 /* IN_ATTRIB */);
	return rc;
}

static long do_chmod(struct task *t, int dirfd, uint64_t name, uint32_t mode, int flags)
{
	_cleanup_where_ struct where w = { PATH_NONE, NULL };
	struct iattr at = { .valid = ATTR_MODE, .mode = mode & 07777 };
	int rc = locate(t, dirfd, name, flags, &w);
	if (rc)
		return rc;
	return is_lnk(w.i) ? -EOPNOTSUPP : change(t, &w, &at);
}
long sys_chmod(struct task *t, const uint64_t *a) { return do_chmod(t, AT_FDCWD, a[0], (uint32_t)a[1], 0); }
long sys_fchmodat(struct task *t, const uint64_t *a) { return do_chmod(t, (int)a[0], a[1], (uint32_t)a[2], 0); }
long sys_fchmodat2(struct task *t, const uint64_t *a)
{
	return a[3] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) ? -EINVAL : do_chmod(t, (int)a[0], a[1], (uint32_t)a[2], (int)a[3]);
}

static int of_fd(struct task *t, int fd, struct where *w)
{
	struct file *f = fd_file(t, fd);
	*w = (struct where){ PATH_NONE, NULL };
	if (!f)
		return -EBADF;
	w->p = path_copy(&f->path);
	w->i = inode_get(f->inode);
	return 0;
}

long sys_fchmod(struct task *t, const uint64_t *a)
{
	_cleanup_where_ struct where w = { PATH_NONE, NULL };
	struct iattr at = { .valid = ATTR_MODE, .mode = (uint32_t)a[1] & 07777 };
	int rc = of_fd(t, (int)a[0], &w);
	return rc ? rc : change(t, &w, &at);
}

/* -EINVAL: an id that the caller's namespace does not map. */
static int owner_attr(const struct task *t, uint64_t uid, uint64_t gid, struct iattr *at)
{
	*at = (struct iattr){ .uid = ns_from_uid(t->cred->user, (uint32_t)uid), .gid = ns_from_gid(t->cred->user, (uint32_t)gid) };
	if ((uint32_t)uid != NO_ID)
		at->valid |= ATTR_UID;
	if ((uint32_t)gid != NO_ID)
		at->valid |= ATTR_GID;
	return (at->valid & ATTR_UID && at->uid == NO_ID) || (at->valid & ATTR_GID && at->gid == NO_ID) ? -EINVAL : 0;
}

static long do_chown(struct task *t, int dirfd, uint64_t name, uint64_t uid, uint64_t gid, int flags)
{
	_cleanup_where_ struct where w = { PATH_NONE, NULL };
	struct iattr at;
	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	int rc = locate(t, dirfd, name, flags, &w);
	if (!rc)
		rc = owner_attr(t, uid, gid, &at);
	return rc ? rc : change(t, &w, &at);
}
long sys_chown(struct task *t, const uint64_t *a) { return do_chown(t, AT_FDCWD, a[0], a[1], a[2], 0); }
long sys_lchown(struct task *t, const uint64_t *a) { return do_chown(t, AT_FDCWD, a[0], a[1], a[2], AT_SYMLINK_NOFOLLOW); }
long sys_fchownat(struct task *t, const uint64_t *a) { return do_chown(t, (int)a[0], a[1], a[2], a[3], (int)a[4]); }
long sys_fchown(struct task *t, const uint64_t *a)
{
	_cleanup_where_ struct where w = { PATH_NONE, NULL };
	struct iattr at;
	int rc = of_fd(t, (int)a[0], &w);
	if (!rc)
		rc = owner_attr(t, a[1], a[2], &at);
	return rc ? rc : change(t, &w, &at);
}

/* times: NULL means now; UTIME_NOW and UTIME_OMIT per entry. */
static long set_times(struct task *t, struct where *w, const struct timespec ts[2])
{
	struct iattr at = { 0 };
	struct timespec now;
	bool both_now = !ts || (ts[0].tv_nsec == UTIME_NOW && ts[1].tv_nsec == UTIME_NOW);
	int rc;
	clock_gettime(CLOCK_REALTIME, &now);
	if (ts && ts[0].tv_nsec == UTIME_OMIT && ts[1].tv_nsec == UTIME_OMIT)
		return 0;
	if (!ts || ts[0].tv_nsec != UTIME_OMIT) {
		at.valid |= ATTR_ATIME;
		at.atime = !ts || ts[0].tv_nsec == UTIME_NOW ? now : ts[0];
	}
	if (!ts || ts[1].tv_nsec != UTIME_OMIT) {
		at.valid |= ATTR_MTIME;
		at.mtime = !ts || ts[1].tv_nsec == UTIME_NOW ? now : ts[1];
	}
	if (w->p.mnt && (rc = mnt_want_write(&w->p)) < 0)
		return rc;
	if (!inode_owner_or_cap(t, w->i)) {
		if (!both_now)
			return -EPERM;
		if ((rc = inode_permission(t, w->i, W_OK)) < 0)
			return rc;
	}
	return change(t, w, &at);
}

static bool bad_ns(const struct timespec *ts)
{
	return (ts->tv_nsec < 0 || ts->tv_nsec >= 1000000000) && ts->tv_nsec != UTIME_NOW && ts->tv_nsec != UTIME_OMIT;
}

long sys_utimensat(struct task *t, const uint64_t *a)
{
	_cleanup_where_ struct where w = { PATH_NONE, NULL };
	struct timespec ts[2];
	int rc;
	if (a[2] && copyin(t, ts, a[2], sizeof(ts)) < 0)
		return -EFAULT;
	if (a[2] && (bad_ns(&ts[0]) || bad_ns(&ts[1])))
		return -EINVAL;
	if ((int)a[3] & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	rc = !a[1] && (int)a[0] != AT_FDCWD ? of_fd(t, (int)a[0], &w) : locate(t, (int)a[0], a[1], (int)a[3], &w);
	return rc ? rc : set_times(t, &w, a[2] ? ts : NULL);
}

static long times_usec(struct task *t, int dirfd, uint64_t name, uint64_t p)
{
	_cleanup_where_ struct where w = { PATH_NONE, NULL };
	struct timeval tv[2];
	struct timespec ts[2];
	if (p && copyin(t, tv, p, sizeof(tv)) < 0)
		return -EFAULT;
	for (unsigned i = 0; p && i < 2; i++) {
		if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000)
			return -EINVAL;
		ts[i] = (struct timespec){ tv[i].tv_sec, tv[i].tv_usec * 1000 };
	}
	int rc = !name ? of_fd(t, dirfd, &w) : locate(t, dirfd, name, 0, &w);
	return rc ? rc : set_times(t, &w, p ? ts : NULL);
}
long sys_utimes(struct task *t, const uint64_t *a) { return times_usec(t, AT_FDCWD, a[0], a[1]); }
long sys_futimesat(struct task *t, const uint64_t *a) { return times_usec(t, (int)a[0], a[1], a[2]); }
long sys_utime(struct task *t, const uint64_t *a)
{
	_cleanup_where_ struct where w = { PATH_NONE, NULL };
	int64_t v[2];
	if (a[1] && copyin(t, v, a[1], sizeof(v)) < 0)
		return -EFAULT;
	struct timespec ts[2] = { { a[1] ? v[0] : 0, 0 }, { a[1] ? v[1] : 0, 0 } };
	int rc = locate(t, AT_FDCWD, a[0], 0, &w);
	return rc ? rc : set_times(t, &w, a[1] ? ts : NULL);
}

/* ---- statfs ----------------------------------------------------------------------------------------------------------------- */

static long put_statfs(struct task *t, struct super *sb, const struct mount *m, uint64_t out)
{
	struct statfs st = { .f_type = 0x9fa0, .f_bsize = 4096, .f_namelen = 255, .f_frsize = 4096 };
	int rc = sb && sb->ops && sb->ops->statfs ? sb->ops->statfs(sb, &st) : 0;
	if (rc)
		return rc;
	st.f_flags = 0x20; /* ST_VALID */
	if (m)
		st.f_flags |= (m->flags & MS_RDONLY ? 1 : 0) | (m->flags & MS_NOSUID ? 2 : 0) | (m->flags & MS_NODEV ? 4 : 0) | (m->flags & MS_NOEXEC ? 8 : 0) | (m->flags & MS_NOATIME ? 0x400 : 0) |
			(m->flags & MS_NODIRATIME ? 0x800 : 0) | (m->flags & MS_RELATIME ? 0x1000 : 0) | (m->flags & 256 /* MS_NOSYMFOLLOW */ ? 0x2000 : 0);
	return copyout(t, out, &st, sizeof(st));
}
long sys_statfs(struct task *t, const uint64_t *a)
{
	_cleanup_path_ struct path p = PATH_NONE;
	int rc = path_user(t, AT_FDCWD, a[0], WALK_FOLLOW, &p);
	return rc ? rc : put_statfs(t, p.mnt->sb, p.mnt, a[1]);
}
long sys_fstatfs(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file_any(t, (int)a[0]);
	return f ? put_statfs(t, f->inode->sb, f->path.mnt, a[1]) : -EBADF;
}
