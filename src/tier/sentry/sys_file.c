/* Open files: open, close, read, write, seek, dup, fcntl, truncate. */
#include <errno.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/str.h"
#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/fs/pipe.h"
#include "tier/sentry/fs/async.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

static long do_open(struct task *t, int dirfd, uint64_t name, unsigned flags, uint32_t mode, unsigned resolve)
{
	char path[PATH_MAX_];
	_cleanup_path_ struct path start = PATH_NONE;
	struct file *f;
	int rc = copyin_path(t, path, name);
	if (rc < 0)
		return rc;
	if (!*path)
		return -ENOENT;
	if ((rc = path_at(t, dirfd, path, &start)) < 0 || (rc = file_openat(t, &start, path, flags, mode, resolve, &f)) < 0)
		return rc;
	int fd = fd_give(t, f, flags);
	if (fd >= 0 && f->path.d)
		file_event(&f->path, f->inode, 0x20 /* IN_OPEN */);
	return fd;
}

enum { OPEN_KNOWN = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | O_ASYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW |
	O_NOATIME | O_CLOEXEC | __O_TMPFILE | O_PATH | 04010000 /* O_SYNC bit */ };

long sys_open(struct task *t, const uint64_t *a) { return do_open(t, AT_FDCWD, a[0], (unsigned)a[1] & OPEN_KNOWN, (uint32_t)a[2], 0); }
long sys_openat(struct task *t, const uint64_t *a) { return do_open(t, (int)a[0], a[1], (unsigned)a[2] & OPEN_KNOWN, (uint32_t)a[3], 0); }
long sys_creat(struct task *t, const uint64_t *a) { return do_open(t, AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, (uint32_t)a[1], 0); }

long sys_openat2(struct task *t, const uint64_t *a)
{
	struct open_how how = { 0 };
	unsigned resolve = 0;
	if (a[3] < sizeof(how))
		return -EINVAL;
	if (a[3] > 4096)
		return -E2BIG;
	for (uint64_t at = sizeof(how); at < a[3]; at++) { /* a newer struct is fine as long as what we do not know is zero */
		uint8_t b;
		if (copyin(t, &b, a[2] + at, 1) < 0)
			return -EFAULT;
		if (b)
			return -E2BIG;
	}
	if (copyin(t, &how, a[2], sizeof(how)) < 0)
		return -EFAULT;
	if (how.flags & ~(uint64_t)OPEN_KNOWN || how.resolve & ~0x3full || how.mode & ~07777ull)
		return -EINVAL;
	if (how.mode && !(how.flags & (O_CREAT | __O_TMPFILE)))
		return -EINVAL;
	if ((how.resolve & RESOLVE_BENEATH) && (how.resolve & RESOLVE_IN_ROOT))
		return -EINVAL;
	if ((how.flags & O_PATH) && how.flags & ~(uint64_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))
		return -EINVAL;
	if (how.resolve & RESOLVE_CACHED)
		return -EAGAIN;
	resolve |= how.resolve & RESOLVE_NO_XDEV ? WALK_NO_XDEV : 0;
	resolve |= how.resolve & RESOLVE_NO_MAGICLINKS ? WALK_NO_MAGIC : 0;
	resolve |= how.resolve & RESOLVE_NO_SYMLINKS ? WALK_NO_SYMLINKS : 0;
	resolve |= how.resolve & RESOLVE_BENEATH ? WALK_BENEATH : 0;
	resolve |= how.resolve & RESOLVE_IN_ROOT ? WALK_IN_ROOT : 0;
	return do_open(t, (int)a[0], a[1], (unsigned)how.flags, (uint32_t)how.mode, resolve);
}

long sys_close(struct task *t, const uint64_t *a)
{
	struct file *f = t->mm->filemaps ? fd_file_any(t, (int)a[0]) : NULL;
	if (f) {
		file_get(f);
		filemap_close(t, f);
		file_put(f);
	}
	return fd_close(t, (int)a[0]);
}

long sys_close_range(struct task *t, const uint64_t *a)
{
	uint64_t first = (uint32_t)a[0], last = (uint32_t)a[1];
	if (first > last || a[2] & ~6ull)
		return -EINVAL;
	if ((a[2] & 2) && t->files->refs > 1) { /* CLOSE_RANGE_UNSHARE */
		struct fdtable *ft = fdtable_dup(t->files);
		if (!ft)
			return -ENOMEM;
		fdtable_put(t, t->files);
		t->files = ft;
	}
	for (uint64_t fd = first; fd <= last && fd < t->files->cap; fd++) {
		if (!t->files->v[fd].f)
			continue;
		if (a[2] & 4)
			t->files->v[fd].cloexec = true;
		else
			fd_close(t, (int)fd);
	}
	return 0;
}

/* ---- transfer ---------------------------------------------------------------------------------------------------------- */

static long transfer(struct task *t, int fd, struct uio *u, bool write, int64_t *at, unsigned rwf)
{
	struct file *f = fd_file(t, fd);
	if (!f)
		return -EBADF;
	if (at && f->stream)
		return -ESPIPE;
	file_get(f);
	unsigned saved = f->flags;
	if (rwf & 8) /* RWF_NOWAIT */
		f->flags |= O_NONBLOCK;
	if (rwf & 16)
		f->flags |= O_APPEND;
	long r = write ? file_write(t, f, u, at ? at : &f->pos) : file_read(t, f, u, at ? at : &f->pos);
	if (rwf & 24)
		f->flags = saved;
	if (write && r > 0 && ((rwf & 6) || (f->flags & O_DSYNC)) && f->ops->fsync)
		f->ops->fsync(f, true);
	file_put(f);
	return r;
}

static long plain(struct task *t, const uint64_t *a, bool write, int64_t *at)
{
	struct uio u;
	if ((ssize_t)a[2] < 0)
		return fd_file(t, (int)a[0]) ? -EINVAL : -EBADF;
	uio_init(&u, t, a[1], a[2]);
	return transfer(t, (int)a[0], &u, write, at, 0);
}

long sys_read(struct task *t, const uint64_t *a) { return plain(t, a, false, NULL); }
long sys_write(struct task *t, const uint64_t *a) { return plain(t, a, true, NULL); }

long sys_pread64(struct task *t, const uint64_t *a)
{
	int64_t at = (int64_t)a[3];
	return at < 0 ? -EINVAL : plain(t, a, false, &at);
}
long sys_pwrite64(struct task *t, const uint64_t *a)
{
	int64_t at = (int64_t)a[3];
	return at < 0 ? -EINVAL : plain(t, a, true, &at);
}

static long vector(struct task *t, const uint64_t *a, bool write, int64_t *at, unsigned rwf)
{
	_cleanup_uio_ struct uio u;
	int rc = uio_import(&u, t, a[1], a[2]);
	if (!fd_file(t, (int)a[0]))
		return -EBADF;
	return rc ? rc : transfer(t, (int)a[0], &u, write, at, rwf);
}

long sys_readv(struct task *t, const uint64_t *a) { return vector(t, a, false, NULL, 0); }
long sys_writev(struct task *t, const uint64_t *a) { return vector(t, a, true, NULL, 0); }
long sys_preadv(struct task *t, const uint64_t *a)
{
	int64_t at = (int64_t)a[3];
	return at < 0 ? -EINVAL : vector(t, a, false, &at, 0);
}
long sys_pwritev(struct task *t, const uint64_t *a)
{
	int64_t at = (int64_t)a[3];
	return at < 0 ? -EINVAL : vector(t, a, true, &at, 0);
}
static size_t vector_len(struct task *t, const uint64_t *a)
{
	_cleanup_uio_ struct uio u = { 0 };
	return uio_import(&u, t, a[1], a[2]) < 0 ? 0 : u.left;
}

static long vector2(struct task *t, const uint64_t *a, bool write)
{
	int64_t at = (int64_t)a[3];
	if (a[5] & ~0x1full && a[2] && vector_len(t, a))
		return -EOPNOTSUPP;
	if (at < -1)
		return -EINVAL;
	return vector(t, a, write, at == -1 ? NULL : &at, (unsigned)a[5]);
}
long sys_preadv2(struct task *t, const uint64_t *a) { return vector2(t, a, false); }
long sys_pwritev2(struct task *t, const uint64_t *a) { return vector2(t, a, true); }

long sys_lseek(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file(t, (int)a[0]);
	if (!f)
		return -EBADF;
	if ((unsigned)a[2] > SEEK_HOLE)
		return -EINVAL;
	if (f->stream && f->anon_name && str_has_prefix(f->anon_name, "anon_inode:") && !strstr(f->anon_name, "pidfd"))
		return 0; /* noop_llseek() of event descriptors */
	if (f->stream)
		return -ESPIPE;
	return f->ops && f->ops->llseek ? f->ops->llseek(t, f, (int64_t)a[1], (int)a[2]) : generic_llseek(t, f, (int64_t)a[1], (int)a[2]);
}

/* Between two files through the task's buffer. off pointers: guest addresses or 0. */
static long copy_files(struct task *t, struct file *in, struct file *out, int64_t *in_pos, int64_t *out_pos, uint64_t n)
{
	uint64_t total = 0;
	char *buf = malloc(TASK_BUF); /* the ops use the task's own */
	long rc = 0;
	if (!buf)
		return -ENOMEM;
	file_get(in);
	file_get(out);
	while (total < n) {
		struct uio u;
		int64_t *ip = in_pos ? in_pos : &in->pos, before = *ip;
		uio_init_kernel(&u, buf, MIN(n - total, (uint64_t)TASK_BUF));
		ssize_t k = file_read(t, in, &u, ip);
		if (k <= 0) {
			rc = k;
			break;
		}
		uio_init_kernel(&u, buf, (size_t)k);
		ssize_t w = file_write(t, out, &u, out_pos ? out_pos : &out->pos);
		if (w < k && !in->stream)
			*ip = before + MAX(w, (ssize_t)0);
		if (w <= 0) {
			rc = w;
			break;
		}
		total += (uint64_t)w;
		if (w < k)
			break;
	}
	free(buf);
	file_put(in);
	file_put(out);
	return total ? (long)total : rc;
}

long sys_sendfile(struct task *t, const uint64_t *a)
{
	struct file *out = fd_file(t, (int)a[0]), *in = fd_file(t, (int)a[1]);
	int64_t pos;
	if (!in || !out || !in->can_read || !out->can_write)
		return -EBADF;
	if (a[2] && copyin(t, &pos, a[2], 8) < 0)
		return -EFAULT;
	if (in->stream)
		return a[2] ? -ESPIPE : -EINVAL;
	if (is_dir(in->inode) || (out->flags & O_APPEND))
		return -EINVAL;
	if (a[2] && pos < 0)
		return -EINVAL;
	long r = copy_files(t, in, out, a[2] ? &pos : NULL, NULL, MIN(a[3], UIO_MAX_RW));
	if (a[2] && copyout(t, a[2], &pos, 8) < 0)
		return -EFAULT;
	return r;
}

/* ---- descriptors ------------------------------------------------------------------------------------------------------- */

static long dup_from(struct task *t, int fd, int min, bool cloexec)
{
	struct file *f = fd_file_any(t, fd);
	if (!f)
		return -EBADF;
	int n = fd_install(t, f, cloexec, min);
	if (n >= 0)
		file_get(f);
	return n;
}

long sys_dup(struct task *t, const uint64_t *a) { return dup_from(t, (int)a[0], 0, false); }

static long dup_to(struct task *t, int from, int to, bool cloexec)
{
	struct file *f = fd_file_any(t, from);
	if (!f)
		return -EBADF;
	file_get(f);
	int rc = fd_replace(t, to, f, cloexec);
	if (rc < 0)
		file_put(f);
	return rc;
}

long sys_dup2(struct task *t, const uint64_t *a)
{
	if ((int)a[0] == (int)a[1])
		return fd_file_any(t, (int)a[0]) ? (int)a[0] : -EBADF;
	return dup_to(t, (int)a[0], (int)a[1], false);
}

long sys_dup3(struct task *t, const uint64_t *a)
{
	if ((int)a[0] == (int)a[1] || a[2] & ~(uint64_t)O_CLOEXEC)
		return -EINVAL;
	return dup_to(t, (int)a[0], (int)a[1], a[2] & O_CLOEXEC);
}

static long set_flags(struct task *t, struct file *f, int fd, unsigned arg)
{
	const unsigned settable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_ASYNC;
	unsigned old = f->flags;
	if ((arg & O_NOATIME) && !(old & O_NOATIME) && !inode_owner_or_cap(t, f->inode))
		return -EPERM;
	if ((f->inode->inode_flags & INODE_APPEND) && !(arg & O_APPEND))
		return -EPERM;
	f->flags = (old & ~settable) | (arg & settable);
	if ((old ^ arg) & O_ASYNC) {
		int rc = async_set(f, fd, arg & O_ASYNC);
		if (rc)
			return rc;
	}
	if (f->ops && f->ops->flags_changed)
		return f->ops->flags_changed(f, old);
	return 0;
}

/* Has anybody a shared mapping of the file that is or can become writable? */
static bool mapped_writable(const struct inode *i)
{
	for (struct process *p = process_next(0); p; p = process_next(p->pid)) {
		const struct mm *m = p->leader ? p->leader->mm : NULL;
		for (unsigned k = 0; m && k < m->n; k++)
			if (m->v[k].file && m->v[k].file->inode == i && (m->v[k].flags & MAP_SHARED) && m->v[k].file->can_write && (m->v[k].may_write || (m->v[k].prot & PROT_WRITE)))
				return true;
	}
	return false;
}

static long seals(struct file *f, unsigned cmd, unsigned arg)
{
	struct inode *i = f->inode;
	if (!(i->inode_flags & INODE_MEMFD))
		return -EINVAL;
	if (cmd == 1034) /* F_GET_SEALS */
		return i->seals;
	if (!f->can_write)
		return -EPERM;
	if (arg & ~0x3fu)
		return -EINVAL;
	if (i->seals & F_SEAL_SEAL)
		return -EPERM;
	if ((arg & F_SEAL_WRITE) && mapped_writable(i))
		return -EBUSY;
	i->seals |= arg;
	return 0;
}

long sys_fcntl(struct task *t, const uint64_t *a)
{
	int fd = (int)a[0];
	unsigned cmd = (unsigned)a[1];
	struct file *f = fd_file_any(t, fd);
	if (!f)
		return -EBADF;
	if ((f->flags & O_PATH) && cmd != F_DUPFD && cmd != F_DUPFD_CLOEXEC && cmd != F_GETFD && cmd != F_SETFD && cmd != F_GETFL)
		return -EBADF;
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		if ((int)a[2] < 0 || (uint64_t)(uint32_t)a[2] >= t->proc->rlim[RLIMIT_NOFILE].rlim_cur)
			return -EINVAL;
		return dup_from(t, fd, (int)a[2], cmd == F_DUPFD_CLOEXEC);
	case F_GETFD: return t->files->v[fd].cloexec ? FD_CLOEXEC : 0;
	case F_SETFD:
		t->files->v[fd].cloexec = a[2] & FD_CLOEXEC;
		return 0;
	case F_GETFL: return (long)((f->flags | (f->opened || is_reg(f->inode) ? 0100000 /* O_LARGEFILE */ : 0)) & ~(unsigned)O_NOCTTY);
	case F_SETFL: return set_flags(t, f, fd, (unsigned)a[2]);
	case F_GETPIPE_SZ: return file_pipe(f) ? (long)file_pipe(f)->size : -EBADF;
	case F_SETPIPE_SZ: return file_pipe(f) ? pipe_set_size(f, a[2], capable(t, CAP_SYS_RESOURCE)) : -EBADF;
	case F_GETOWN: return f->owner_type == OWNER_PGRP ? -f->owner : f->owner_type == OWNER_PID ? f->owner : 0;
	case F_SETOWN: return file_setown(t, f, (int)a[2]);
	case 15: return file_setown_ex(t, f, a[2]); /* F_SETOWN_EX */
	case 16: return file_getown_ex(t, f, a[2]); /* F_GETOWN_EX */
	case F_GETSIG: return f->owner_sig;
	case F_SETSIG:
		if ((int)a[2] < 0 || (int)a[2] > NSIG_)
			return -EINVAL;
		f->owner_sig = (int)a[2];
		return 0;
	case 1033: /* F_ADD_SEALS */
	case 1034: return seals(f, cmd, (unsigned)a[2]);
	case F_GETLK: case F_SETLK: case F_SETLKW:
	case 36: case 37: case 38: return fcntl_lock(t, f, cmd, a[2]); /* F_OFD_GETLK ... */
	case F_GETLEASE: return lease_get(f);
	case F_SETLEASE: return lease_set(t, f, fd, (int)a[2]);
	case F_NOTIFY: return dnotify_set(t, f, fd, (uint32_t)a[2]);
	default: return -EINVAL;
	}
}

long sys_ioctl(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file(t, (int)a[0]);
	unsigned cmd = (unsigned)a[1];
	int v;
	if (!f)
		return -EBADF;
	switch (cmd) {
	case FIOCLEX: t->files->v[(int)a[0]].cloexec = true; return 0;
	case FIONCLEX: t->files->v[(int)a[0]].cloexec = false; return 0;
	case FIONBIO:
	case FIOASYNC: {
		unsigned bit = cmd == FIONBIO ? O_NONBLOCK : O_ASYNC;
		if (copyin(t, &v, a[2], 4) < 0)
			return -EFAULT;
		return set_flags(t, f, (int)a[0], v ? f->flags | bit : f->flags & ~bit);
	}
	case FIONREAD:
		if (is_reg(f->inode) && !f->stream) {
			struct kstat st;
			int rc = inode_getattr(f->inode, &st);
			v = rc ? 0 : (int)MAX((int64_t)st.size - f->pos, 0);
			return rc ? rc : copyout(t, a[2], &v, 4);
		}
	}
	if (!f->ops || !f->ops->ioctl)
		return -ENOTTY;
	file_get(f);
	long r = f->ops->ioctl(t, f, cmd, a[2]);
	file_put(f);
	return r;
}

static long do_pipe(struct task *t, uint64_t out, unsigned flags)
{
	struct file *f[2];
	int fd[2];
	if (flags & ~(unsigned)(O_CLOEXEC | O_NONBLOCK | O_DIRECT))
		return -EINVAL;
	int rc = pipe_create(t, f, flags);
	if (rc)
		return rc;
	if ((fd[0] = fd_give(t, f[0], flags)) < 0) {
		file_put(f[1]);
		return fd[0];
	}
	if ((fd[1] = fd_give(t, f[1], flags)) < 0) {
		fd_close(t, fd[0]);
		return fd[1];
	}
	if (copyout(t, out, fd, sizeof(fd)) < 0) {
		fd_close(t, fd[0]);
		fd_close(t, fd[1]);
		return -EFAULT;
	}
	return 0;
}
long sys_pipe(struct task *t, const uint64_t *a) { return do_pipe(t, a[0], 0); }
long sys_pipe2(struct task *t, const uint64_t *a) { return do_pipe(t, a[0], (unsigned)a[1]); }

/* ---- size and sync ------------------------------------------------------------------------------------------------------ */

static long set_size(struct task *t, const struct path *p, struct inode *i, int64_t size)
{
	struct iattr a = { .valid = ATTR_SIZE, .size = size };
	uint64_t limit = t->proc->rlim[RLIMIT_FSIZE].rlim_cur;
	if (size < 0)
		return -EINVAL;
	if (limit != RLIM_INFINITY && (uint64_t)size > limit) {
		send_signal_task(t, SIGXFSZ, NULL);
		return -EFBIG;
	}
	int rc = i->ops && i->ops->setattr ? i->ops->setattr(t, i, &a) : -EINVAL;
	if (!rc) {
		inode_drop_privs(t, i);
		file_event(p, i, 2 /* IN_MODIFY */);
	}
	return rc;
}

long sys_truncate(struct task *t, const uint64_t *a)
{
	_cleanup_path_ struct path p = PATH_NONE;
	if ((int64_t)a[1] < 0)
		return -EINVAL;
	int rc = path_user(t, AT_FDCWD, a[0], WALK_FOLLOW, &p);
	if (rc)
		return rc;
	if (is_dir(p.d->inode))
		return -EISDIR;
	if (!is_reg(p.d->inode))
		return -EINVAL;
	if ((rc = mnt_want_write(&p)) < 0 || (rc = inode_permission(t, p.d->inode, 2)) < 0)
		return rc;
	if (p.d->inode->writers < 0)
		return -ETXTBSY;
	if ((rc = lease_break(t, p.d->inode, O_WRONLY)) < 0)
		return rc;
	return set_size(t, &p, p.d->inode, (int64_t)a[1]);
}

long sys_ftruncate(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file(t, (int)a[0]);
	if ((int64_t)a[1] < 0)
		return -EINVAL;
	if (!f)
		return -EBADF;
	if (!f->can_write || !is_reg(f->inode))
		return -EINVAL;
	return set_size(t, &f->path, f->inode, (int64_t)a[1]);
}

/* Which modes go together: vfs_fallocate() of Linux. */
static int fallocate_mode(int mode)
{
	enum { KEEP = FALLOC_FL_KEEP_SIZE, PUNCH = FALLOC_FL_PUNCH_HOLE, ZERO = FALLOC_FL_ZERO_RANGE, COLLAPSE = FALLOC_FL_COLLAPSE_RANGE, INSERT = FALLOC_FL_INSERT_RANGE,
		UNSHARE = FALLOC_FL_UNSHARE_RANGE };
	if (mode & ~(KEEP | PUNCH | ZERO | COLLAPSE | INSERT | UNSHARE) || (mode & (PUNCH | ZERO)) == (PUNCH | ZERO) || ((mode & PUNCH) && !(mode & KEEP)))
		return -EOPNOTSUPP;
	if (((mode & COLLAPSE) && mode != COLLAPSE) || ((mode & INSERT) && mode != INSERT) || ((mode & UNSHARE) && mode & ~(UNSHARE | KEEP)))
		return -EINVAL;
	return 0;
}

long sys_fallocate(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file(t, (int)a[0]);
	int64_t off = (int64_t)a[2], len = (int64_t)a[3], end;
	int mode = (int)a[1], rc;
	if (!f)
		return -EBADF;
	if (off < 0 || len <= 0)
		return -EINVAL;
	if ((rc = fallocate_mode(mode)) < 0)
		return rc;
	if (!f->can_write)
		return -EBADF;
	if (S_ISFIFO(f->inode->mode))
		return -ESPIPE;
	if (is_dir(f->inode))
		return -EISDIR;
	if (!is_reg(f->inode))
		return -ENODEV;
	if (__builtin_add_overflow(off, len, &end))
		return -EFBIG;
	uint64_t limit = t->proc->rlim[RLIMIT_FSIZE].rlim_cur;
	if (!(mode & FALLOC_FL_KEEP_SIZE) && limit != RLIM_INFINITY && (uint64_t)end > limit) {
		send_signal_task(t, SIGXFSZ, NULL);
		return -EFBIG;
	}
	long r = f->ops && f->ops->fallocate ? f->ops->fallocate(t, f, mode, off, len) : -EOPNOTSUPP;
	if (!r)
		file_event(&f->path, f->inode, 2 /* IN_MODIFY */);
	return r;
}

static long sync_file(struct task *t, int fd, bool data)
{
	struct file *f = fd_file(t, fd);
	if (!f)
		return -EBADF;
	return f->ops && f->ops->fsync ? f->ops->fsync(f, data) : -EINVAL;
}
long sys_fsync(struct task *t, const uint64_t *a) { return sync_file(t, (int)a[0], false); }
long sys_fdatasync(struct task *t, const uint64_t *a) { return sync_file(t, (int)a[0], true); }
long sys_sync(struct task *t, const uint64_t *a) { (void)t, (void)a; return 0; } /* fsync is the promise; other containers' disks are not ours to flush */
long sys_syncfs(struct task *t, const uint64_t *a) { return fd_file(t, (int)a[0]) ? 0 : -EBADF; }

long sys_fadvise64(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file(t, (int)a[0]);
	if (!f)
		return -EBADF;
	if (f->stream && S_ISFIFO(f->inode->mode))
		return -ESPIPE;
	return (int64_t)a[2] < 0 || (unsigned)a[3] > 5 ? -EINVAL : 0;
}
