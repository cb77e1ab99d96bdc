/* Data between descriptors inside the kernel: splice, tee, vmsplice, copy_file_range, and the advice calls beside them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/fs/pipe.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

enum { CHUNK = 65536, SPLICE_ALL = 15 /* MOVE|NONBLOCK|MORE|GIFT */, SPLICE_NONBLOCK = 2 };

/* A file that shares its offset with the outside (standard streams) moves that too. */
static void set_pos(struct task *t, struct file *f, int64_t pos)
{
	if (f->ops->llseek && f->inode->sb == anon_super)
		f->ops->llseek(t, f, pos, SEEK_SET);
	else
		f->pos = pos;
}

/* Sleep until the pipe has bytes (or no writer). 0, or what the call answers. */
static long pipe_readable(struct task *t, struct file *f, struct pipe *p, bool nonblock)
{
	while (!p->used) {
		struct waiter w;
		if (!p->writers)
			return 1; /* end of file */
		if (nonblock || (f->flags & O_NONBLOCK))
			return -EAGAIN;
		waiter_init(&w, t);
		waitq_add(&p->rd, &w);
		int rc = task_sleep_io(t, -1);
		waitq_del(&w);
		if (rc)
			return -ERESTARTSYS;
	}
	return 0;
}

static long pipe_writable(struct task *t, struct file *f, struct pipe *p, bool nonblock)
{
	for (;;) {
		struct waiter w;
		if (!p->readers)
			return -EPIPE;
		if (p->used < p->size)
			return 0;
		if (nonblock || (f->flags & O_NONBLOCK))
			return -EAGAIN;
		waiter_init(&w, t);
		waitq_add(&p->wr, &w);
		int rc = task_sleep_io(t, -1);
		waitq_del(&w);
		if (rc)
			return -ERESTARTSYS;
	}
}

static size_t room(const struct pipe *p) { return p->size - p->used; }
/* What one step may move: what is left, a buffer, and what fits into the pipe. */
static size_t step(size_t left, const struct pipe *into)
{
	size_t n = left < (size_t)CHUNK ? left : (size_t)CHUNK;
	return n < room(into) ? n : room(into);
}

/* Look at the first n bytes of a pipe without taking them. */
static size_t peek(const struct pipe *p, char *buf, size_t n)
{
	n = MIN(n, p->used);
	size_t first = MIN(n, p->size - p->head);
	if (n)
		memcpy(buf, p->buf + p->head, first);
	if (n > first)
		memcpy(buf + first, p->buf, n - first);
	return n;
}

static void taken(struct pipe *p, size_t n)
{
	p->head = (p->head + n) % p->size;
	p->used -= n;
	waitq_wake(&p->wr, POLLOUT | POLLWRNORM);
}

/* Write n bytes of buf; only what was written is taken from the source, so that a failure loses nothing. */
static ssize_t write_buf(struct task *t, struct file *f, char *buf, size_t n, int64_t *pos)
{
	struct uio u;
	uio_init_kernel(&u, buf, n);
	return file_write(t, f, &u, pos);
}

static ssize_t read_buf(struct task *t, struct file *f, char *buf, size_t n, int64_t *pos)
{
	struct uio u;
	uio_init_kernel(&u, buf, n);
	return file_read(t, f, &u, pos);
}

static long from_pipe(struct task *t, struct file *in, struct pipe *ip, struct file *out, int64_t *pos, size_t len, bool nonblock)
{
	char *buf = task_buf(t);
	size_t done = 0;
	if (!buf)
		return -ENOMEM;
	while (done < len) {
		long rc = done && !ip->used ? 1 : pipe_readable(t, in, ip, nonblock);
		if (rc)
			return done ? (long)done : rc > 0 ? 0 : rc;
		/* Other readers of the pipe may run while the write sleeps: the bytes are taken first and counted as moved. */
		size_t n = peek(ip, buf, MIN(len - done, (size_t)CHUNK));
		struct pipe *op = file_pipe(out);
		if (op) {
			rc = pipe_writable(t, out, op, nonblock);
			if (rc)
				return done ? (long)done : rc;
			n = peek(ip, buf, step(len - done, op));
		}
		taken(ip, n);
		ssize_t w = write_buf(t, out, buf, n, pos);
		if (w < 0)
			return done ? (long)done : w;
		done += (size_t)w;
		if ((size_t)w < n)
			break;
	}
	return (long)done;
}

static long to_pipe(struct task *t, struct file *in, int64_t *pos, struct file *out, struct pipe *op, size_t len, bool nonblock)
{
	char *buf = task_buf(t);
	size_t done = 0;
	if (!buf)
		return -ENOMEM;
	while (done < len) {
		long rc = pipe_writable(t, out, op, nonblock || done);
		if (rc)
			return done ? (long)done : rc;
		ssize_t n = read_buf(t, in, buf, step(len - done, op), pos);
		if (n <= 0)
			return done ? (long)done : n;
		ssize_t w = write_buf(t, out, buf, (size_t)n, NULL);
		if (w < 0)
			return done ? (long)done : w;
		done += (size_t)w;
		if (in->stream || w < n)
			break;
	}
	return (long)done;
}

static int offset_in(struct task *t, struct file *f, uint64_t addr, int64_t *pos)
{
	if (!addr)
		return 0;
	if (f->stream)
		return -ESPIPE;
	if (copyin(t, pos, addr, 8) < 0)
		return -EFAULT;
	return *pos < 0 ? -EINVAL : 0;
}

long sys_splice(struct task *t, const uint64_t *a)
{
	struct file *in = fd_file(t, (int)a[0]), *out = fd_file(t, (int)a[2]);
	int64_t ipos = 0, opos = 0;
	size_t len = MIN(a[4], UIO_MAX_RW);
	bool nonblock = a[5] & SPLICE_NONBLOCK;
	if (a[5] & ~(uint64_t)SPLICE_ALL)
		return -EINVAL;
	if (!len)
		return 0;
	if (!in || !out || !in->can_read || !out->can_write)
		return -EBADF;
	struct pipe *ip = file_pipe(in), *op = file_pipe(out);
	if ((ip && a[1]) || (op && a[3]))
		return -ESPIPE;
	if ((!ip && !op) || ip == op || (out->flags & O_APPEND))
		return -EINVAL;
	long rc = offset_in(t, in, a[1], &ipos);
	if (rc == 0)
		rc = offset_in(t, out, a[3], &opos);
	if (rc)
		return rc;
	file_get(in);
	file_get(out);
	if (ip)
		rc = from_pipe(t, in, ip, out, a[3] ? &opos : out->stream ? NULL : &out->pos, len, nonblock);
	else
		rc = to_pipe(t, in, a[1] ? &ipos : in->stream ? NULL : &in->pos, out, op, len, nonblock);
	if (rc >= 0 && ((a[1] && copyout(t, a[1], &ipos, 8) < 0) || (a[3] && copyout(t, a[3], &opos, 8) < 0)))
		rc = -EFAULT;
	file_put(in);
	file_put(out);
	return rc;
}

long sys_tee(struct task *t, const uint64_t *a)
{
	struct file *in = fd_file(t, (int)a[0]), *out = fd_file(t, (int)a[1]);
	bool nonblock = a[3] & SPLICE_NONBLOCK;
	if (a[3] & ~(uint64_t)SPLICE_ALL)
		return -EINVAL;
	if (!a[2])
		return 0;
	if (!in || !out || !in->can_read || !out->can_write)
		return -EBADF;
	struct pipe *ip = file_pipe(in), *op = file_pipe(out);
	char *buf = task_buf(t);
	if (!ip || !op || ip == op)
		return -EINVAL;
	if (!buf)
		return -ENOMEM;
	file_get(in);
	file_get(out);
	long rc = pipe_readable(t, in, ip, nonblock);
	if (rc == 0)
		rc = pipe_writable(t, out, op, nonblock);
	if (rc == 0) {
		size_t n = peek(ip, buf, step(a[2], op));
		rc = write_buf(t, out, buf, n, NULL);
	} else if (rc > 0) {
		rc = 0;
	}
	file_put(in);
	file_put(out);
	return rc;
}

long sys_vmsplice(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file(t, (int)a[0]);
	_cleanup_uio_ struct uio u = { 0 };
	if (a[3] & ~(uint64_t)SPLICE_ALL)
		return -EINVAL;
	if (!f)
		return -EBADF;
	if (!file_pipe(f))
		return -EBADF;
	int rc = uio_import(&u, t, a[1], a[2]);
	if (rc)
		return rc;
	if (!u.left)
		return 0;
	file_get(f);
	unsigned flags = f->flags;
	if (a[3] & SPLICE_NONBLOCK)
		f->flags |= O_NONBLOCK;
	ssize_t n = f->can_write ? file_write(t, f, &u, NULL) : file_read(t, f, &u, NULL);
	f->flags = flags;
	file_put(f);
	return n;
}

long sys_copy_file_range(struct task *t, const uint64_t *a)
{
	struct file *in = fd_file(t, (int)a[0]), *out = fd_file(t, (int)a[2]);
	char *buf = task_buf(t);
	size_t len = MIN(a[4], UIO_MAX_RW), done = 0;
	if (a[5])
		return -EINVAL;
	if (!in || !out)
		return -EBADF;
	if (is_dir(in->inode) || is_dir(out->inode))
		return -EISDIR;
	if (!is_reg(in->inode) || !is_reg(out->inode))
		return -EINVAL;
	if (!in->can_read || !out->can_write || (out->flags & O_APPEND))
		return -EBADF;
	if (!buf)
		return -ENOMEM;
	int64_t ipos = in->pos, opos = out->pos;
	long rc = offset_in(t, in, a[1], &ipos);
	if (rc == 0)
		rc = offset_in(t, out, a[3], &opos);
	if (rc)
		return rc;
	if (in->inode == out->inode && ipos < opos + (int64_t)len && opos < ipos + (int64_t)len)
		return -EINVAL;
	file_get(in);
	file_get(out);
	while (done < len) {
		ssize_t n = read_buf(t, in, buf, MIN(len - done, (size_t)CHUNK), &ipos);
		if (n <= 0) {
			rc = n;
			break;
		}
		ssize_t w = write_buf(t, out, buf, (size_t)n, &opos);
		if (w < n)
			ipos -= n - (w > 0 ? w : 0);
		if (w <= 0) {
			rc = w;
			break;
		}
		done += (size_t)w;
	}
	if (done)
		rc = (long)done;
	if (rc >= 0) {
		if (!a[1])
			set_pos(t, in, ipos);
		else if (copyout(t, a[1], &ipos, 8) < 0)
			rc = -EFAULT;
		if (!a[3])
			set_pos(t, out, opos);
		else if (copyout(t, a[3], &opos, 8) < 0)
			rc = -EFAULT;
	}
	file_put(in);
	file_put(out);
	return rc;
}

long sys_readahead(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file(t, (int)a[0]);
	if (!f || !f->can_read)
		return -EBADF;
	return is_reg(f->inode) ? 0 : -EINVAL; /* advice: the host's page cache reads ahead by itself */
}

long sys_sync_file_range(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file(t, (int)a[0]);
	int64_t off = (int64_t)a[1], n = (int64_t)a[2], end;
	if (a[3] & ~7ull || off < 0 || n < 0 || __builtin_add_overflow(off, n, &end))
		return -EINVAL;
	if (!f)
		return -EBADF;
	if (!is_reg(f->inode) && !is_dir(f->inode) && !is_lnk(f->inode))
		return -ESPIPE;
	return f->ops->fsync ? f->ops->fsync(f, true) : 0;
}
