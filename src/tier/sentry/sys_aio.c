/*
 * Native asynchronous I/O (io_setup and its family; libaio, databases). A request is carried out while it is submitted, as Linux does for files that cannot
 * do better; its completion waits in the context. What a program sees differs in timing only.
 */
#include <errno.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

enum { AIO_MAX_NR = 65536 /* fs.aio-max-nr: bounds what all contexts hold */, AIO_EVENTS_MAX = 0x10000000 / sizeof(struct io_event) };

struct done { struct list node; struct io_event ev; };
struct aio_context {
	struct list node;
	struct mm *mm;          /* whose it is; compared, not referenced: aio_mm_gone() */
	uint64_t id;            /* address of a page of the guest's: libaio looks there for a ring that it knows */
	unsigned max, pending, refs;
	bool dead;
	struct list done;
	struct waitq wq;
};
static struct list contexts = LIST_INIT(contexts);
static unsigned aio_nr;

static void put(struct aio_context *c)
{
	struct done *d, *n;
	if (--c->refs)
		return;
	list_for_each_safe(d, n, &c->done, node)
		free(d);
	free(c);
}

static struct aio_context *find(struct task *t, uint64_t id)
{
	struct aio_context *c;
	list_for_each(c, &contexts, node)
		if (c->mm == t->mm && c->id == id)
			return c;
	return NULL;
}

static void end(struct aio_context *c)
{
	list_del(&c->node);
	c->dead = true;
	aio_nr -= c->max;
	waitq_wake(&c->wq, 0);
	put(c);
}

void aio_mm_gone(struct mm *m)
{
	struct aio_context *c, *n;
	list_for_each_safe(c, n, &contexts, node)
		if (c->mm == m)
			end(c);
}

long sys_io_setup(struct task *t, const uint64_t *a)
{
	unsigned n = (unsigned)a[0];
	uint64_t id;
	if (copyin(t, &id, a[1], 8) < 0)
		return -EFAULT;
	if (id || !n || n > AIO_EVENTS_MAX)
		return -EINVAL;
	if (n > AIO_MAX_NR - aio_nr)
		return -EAGAIN;
	struct aio_context *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	long at = mm_map_named(t, 0, PAGE_SIZE_, PROT_READ | PROT_WRITE, 0, "/[aio] (deleted)");
	if (at < 0 && at >= -4095) {
		free(c);
		return at;
	}
	*c = (struct aio_context){ .mm = t->mm, .id = (uint64_t)at, .max = n, .refs = 1 };
	list_init(&c->done);
	waitq_init(&c->wq);
	if (copyout(t, a[1], &c->id, 8) < 0) {
		mm_unmap(t, (uint64_t)at, PAGE_SIZE_);
		free(c);
		return -EFAULT;
	}
	aio_nr += n;
	list_add(&contexts, &c->node);
	return 0;
}

long sys_io_destroy(struct task *t, const uint64_t *a)
{
	struct aio_context *c = find(t, a[0]);
	if (!c)
		return -EINVAL;
	uint64_t id = c->id;
	end(c);
	mm_unmap(t, id, PAGE_SIZE_);
	return 0;
}

/* ---- submitting ----------------------------------------------------------------------------------------------------------- */

static ssize_t transfer(struct task *t, struct file *f, const struct iocb *io, bool write, bool vector)
{
	_cleanup_uio_ struct uio u = { 0 };
	int64_t pos = io->aio_offset;
	int rc = 0;
	if (vector)
		rc = uio_import(&u, t, io->aio_buf, io->aio_nbytes);
	else
		uio_init(&u, t, io->aio_buf, io->aio_nbytes);
	if (rc)
		return rc;
	return write ? file_write(t, f, &u, &pos) : file_read(t, f, &u, &pos);
}

static ssize_t wait_ready(struct task *t, struct file *f, unsigned events)
{
	(void)t;
	return file_poll(f, NULL) & (events | POLLERR | POLLHUP);
}

static long carry_out(struct task *t, struct file *f, const struct iocb *io)
{
	long r;
	switch (io->aio_lio_opcode) {
	case IOCB_CMD_PREAD: r = transfer(t, f, io, false, false); break;
	case IOCB_CMD_PWRITE: r = transfer(t, f, io, true, false); break;
	case IOCB_CMD_PREADV: r = transfer(t, f, io, false, true); break;
	case IOCB_CMD_PWRITEV: r = transfer(t, f, io, true, true); break;
	case IOCB_CMD_POLL: r = wait_ready(t, f, (unsigned)io->aio_buf); break;
	default: r = f->ops->fsync ? f->ops->fsync(f, io->aio_lio_opcode == IOCB_CMD_FDSYNC) : 0; break;
	}
	return r == -ERESTARTSYS || r == -ERESTARTNOHAND ? -EINTR : r;
}

/* What is wrong with a request is the call's answer; what goes wrong with the I/O is its event's. */
static int check(struct task *t, const struct iocb *io, struct file **ret_file, struct file **ret_event)
{
	struct file *f = fd_file(t, (int)io->aio_fildes), *e = NULL;
	if (io->aio_reserved2 || (int64_t)io->aio_nbytes < 0)
		return -EINVAL;
	if (!f)
		return -EBADF;
	if (io->aio_flags & IOCB_FLAG_RESFD && (!(e = fd_file(t, (int)io->aio_resfd)) || !e->anon_name || strcmp(e->anon_name, "anon_inode:[eventfd]")))
		return e ? -EINVAL : -EBADF;
	if (io->aio_rw_flags)
		return -EOPNOTSUPP;
	switch (io->aio_lio_opcode) {
	case IOCB_CMD_PREAD: case IOCB_CMD_PREADV:
		if (!f->can_read)
			return -EBADF;
		if (!f->ops || !f->ops->read)
			return -EINVAL;
		break;
	case IOCB_CMD_PWRITE: case IOCB_CMD_PWRITEV:
		if (!f->can_write)
			return -EBADF;
		if (!f->ops || !f->ops->write)
			return -EINVAL;
		break;
	case IOCB_CMD_FSYNC: case IOCB_CMD_FDSYNC:
		if (io->aio_buf || io->aio_offset || io->aio_nbytes || !f->ops)
			return -EINVAL;
		break;
	case IOCB_CMD_POLL: /* only what is ready already: the others would have to wait here */
		if (io->aio_buf >> 16 || io->aio_offset || io->aio_nbytes)
			return -EINVAL;
		if (!wait_ready(t, f, (unsigned)io->aio_buf))
			return -EAGAIN;
		break;
	default: return -EINVAL;
	}
	*ret_file = f;
	*ret_event = e;
	return 0;
}

static void signal_event(struct task *t, struct file *e)
{
	uint64_t one = 1;
	struct uio u;
	uio_init_kernel(&u, &one, 8);
	if (e->ops->write(t, e, &u, NULL) < 0)
		klog("aio: an event counter is full");
}

static int submit_one(struct task *t, struct aio_context *c, uint64_t addr)
{
	struct iocb io;
	struct file *f = NULL, *e = NULL;
	if (copyin(t, &io, addr, sizeof(io)) < 0)
		return -EFAULT;
	int rc = check(t, &io, &f, &e);
	if (rc)
		return rc;
	if (c->pending >= c->max)
		return -EAGAIN;
	struct done *d = malloc(sizeof(*d));
	if (!d)
		return -EAGAIN;
	c->pending++;
	file_get(f);
	if (e)
		file_get(e);
	d->ev = (struct io_event){ .data = io.aio_data, .obj = addr, .res = carry_out(t, f, &io) };
	list_add_tail(&c->done, &d->node);
	if (e) {
		signal_event(t, e);
		file_put(e);
	}
	file_put(f);
	waitq_wake(&c->wq, 0);
	return 0;
}

long sys_io_submit(struct task *t, const uint64_t *a)
{
	struct aio_context *c = find(t, a[0]);
	long n = (long)a[1], i;
	int rc = 0;
	if (n < 0 || !c)
		return -EINVAL;
	c->refs++;
	for (i = 0; i < n && !rc && !c->dead; i++) {
		uint64_t p;
		rc = copyin(t, &p, a[2] + 8 * (uint64_t)i, 8) < 0 ? -EFAULT : submit_one(t, c, p);
	}
	put(c);
	return rc ? (i > 1 ? i - 1 : rc) : i;
}

/* Everything is done when it is submitted: there is nothing to cancel. */
long sys_io_cancel(struct task *t, const uint64_t *a)
{
	uint32_t key;
	if (copyin(t, &key, a[1] + 8, 4) < 0)
		return -EFAULT;
	return -EINVAL;
}

/* ---- collecting --------------------------------------------------------------------------------------------------------------- */

static long collect(struct task *t, const uint64_t *a, int64_t deadline)
{
	struct aio_context *c = find(t, a[0]);
	long min = (long)a[1], max = (long)a[2], n = 0;
	if (!c || min < 0 || max < min)
		return -EINVAL;
	c->refs++;
	int rc = 0;
	while (!rc) {
		while (n < max && !list_empty(&c->done)) {
			struct done *d = list_first(&c->done, struct done, node);
			if (copyout(t, a[3] + (uint64_t)n * sizeof(d->ev), &d->ev, sizeof(d->ev)) < 0) {
				rc = -EFAULT;
				break;
			}
			list_del(&d->node);
			free(d);
			c->pending--;
			n++;
		}
		if (rc || n >= min || c->dead)
			break;
		struct waiter w;
		waiter_init(&w, t);
		waitq_add(&c->wq, &w);
		rc = task_sleep(t, deadline);
		waitq_del(&w);
	}
	put(c);
	return n ? n : rc == -ETIMEDOUT ? 0 : rc;
}

static int deadline_of(struct task *t, uint64_t p, int64_t *ret)
{
	struct timespec ts;
	*ret = -1;
	if (!p)
		return 0;
	if (copyin(t, &ts, p, sizeof(ts)) < 0)
		return -EFAULT;
	if (ts.tv_sec < 0 || (uint64_t)ts.tv_nsec >= 1000000000)
		return -EINVAL;
	*ret = now_ns(CLOCK_MONOTONIC) + (ts.tv_sec > 1000000000 ? INT64_MAX / 4 : ts_ns(ts));
	return 0;
}

long sys_io_getevents(struct task *t, const uint64_t *a)
{
	int64_t deadline;
	int rc = deadline_of(t, a[4], &deadline);
	return rc ? rc : collect(t, a, deadline);
}

long sys_io_pgetevents(struct task *t, const uint64_t *a)
{
	struct { uint64_t mask, size; } s = { 0, 0 };
	uint64_t mask;
	int64_t deadline;
	int rc = deadline_of(t, a[4], &deadline);
	if (rc)
		return rc;
	if (a[5] && copyin(t, &s, a[5], sizeof(s)) < 0)
		return -EFAULT;
	if (s.mask) {
		if (s.size != 8)
			return -EINVAL;
		if (copyin(t, &mask, s.mask, 8) < 0)
			return -EFAULT;
		t->saved_mask = t->blocked;
		task_set_mask(t, mask);
	}
	long r = collect(t, a, deadline);
	if (s.mask) {
		if (r == -EINTR)
			t->restore_mask = true; /* after the handler that the mask let through */
		else
			t->blocked = t->saved_mask;
	}
	return r;
}
