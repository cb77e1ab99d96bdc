/* eventfd, timerfd, signalfd. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/vfs/vfs.h"

static int wait_on(struct task *t, struct file *f, struct waitq *q)
{
	struct waiter w;
	if (f->flags & O_NONBLOCK)
		return -EAGAIN;
	waiter_init(&w, t);
	waitq_add(q, &w);
	int rc = task_sleep(t, -1);
	waitq_del(&w);
	return rc ? -ERESTARTSYS : 0;
}

/* ---- eventfd ---------------------------------------------------------------------------------------------------------- */

struct eventfd { uint64_t count; bool semaphore; struct waitq wq; };

static ssize_t ev_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct eventfd *e = f->priv;
	(void)pos;
	if (u->left < 8)
		return -EINVAL;
	while (!e->count) {
		int rc = wait_on(t, f, &e->wq);
		if (rc)
			return rc;
	}
	uint64_t v = e->semaphore ? 1 : e->count;
	e->count -= v;
	waitq_wake(&e->wq, POLLOUT | POLLWRNORM);
	return uio_put(u, &v, 8);
}

static ssize_t ev_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct eventfd *e = f->priv;
	uint64_t v;
	(void)pos;
	if (u->left < 8)
		return -EINVAL;
	if (uio_get(u, &v, 8) != 8)
		return -EFAULT;
	if (v == ~0ull)
		return -EINVAL;
	while (v > ~0ull - 1 - e->count) {
		int rc = wait_on(t, f, &e->wq);
		if (rc)
			return rc;
	}
	e->count += v;
	if (v)
		waitq_wake(&e->wq, POLLIN | POLLRDNORM);
	return 8;
}

static unsigned ev_poll(struct file *f, struct poll_table *pt)
{
	struct eventfd *e = f->priv;
	poll_wait(pt, &e->wq);
	return (e->count ? POLLIN | POLLRDNORM : 0) | (e->count < ~0ull - 1 ? POLLOUT | POLLWRNORM : 0);
}

static int ev_info(struct file *f, char *buf, size_t size) { return snprintf(buf, size, "eventfd-count: %16llx\n", (unsigned long long)((struct eventfd *)f->priv)->count); }
static void priv_free(struct file *f) { free(f->priv); }
static const struct file_ops ev_ops = { .read = ev_read, .write = ev_write, .poll = ev_poll, .release = priv_free, .fdinfo = ev_info };

static long make_eventfd(struct task *t, uint32_t count, unsigned flags)
{
	if (flags & ~(unsigned)(EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE))
		return -EINVAL;
	struct eventfd *e = calloc(1, sizeof(*e));
	if (!e)
		return -ENOMEM;
	e->count = count;
	e->semaphore = flags & EFD_SEMAPHORE;
	waitq_init(&e->wq);
	struct file *f = anon_file_new("anon_inode:[eventfd]", &ev_ops, e, O_RDWR | (flags & EFD_NONBLOCK));
	if (!f)
		free(e);
	return fd_give(t, f, flags);
}
long sys_eventfd(struct task *t, const uint64_t *a) { return make_eventfd(t, (uint32_t)a[0], 0); }
long sys_eventfd2(struct task *t, const uint64_t *a) { return make_eventfd(t, (uint32_t)a[0], (unsigned)a[1]); }

/* ---- timerfd ----------------------------------------------------------------------------------------------------------- */

struct timerfd { struct ktimer tm; clockid_t clock; int64_t interval; uint64_t ticks; struct waitq wq; };

static void tfd_fires(struct ktimer *tm)
{
	struct timerfd *x = container_of(tm, struct timerfd, tm);
	x->ticks++;
	if (x->interval) {
		int64_t late = now_ns(CLOCK_MONOTONIC) - tm->deadline, more = late > 0 ? late / x->interval : 0;
		x->ticks += (uint64_t)more;
		ktimer_arm(tm, tm->deadline + (more + 1) * x->interval);
	}
	waitq_wake(&x->wq, POLLIN | POLLRDNORM);
}

static ssize_t tfd_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct timerfd *x = f->priv;
	(void)pos;
	if (u->left < 8)
		return -EINVAL;
	while (!x->ticks) {
		int rc = wait_on(t, f, &x->wq);
		if (rc)
			return rc;
	}
	uint64_t v = x->ticks;
	x->ticks = 0;
	return uio_put(u, &v, 8);
}
static unsigned tfd_poll(struct file *f, struct poll_table *pt)
{
	struct timerfd *x = f->priv;
	poll_wait(pt, &x->wq);
	return x->ticks ? POLLIN | POLLRDNORM : 0;
}
static void tfd_release(struct file *f)
{
	struct timerfd *x = f->priv;
	ktimer_cancel(&x->tm);
	free(x);
}
static const struct file_ops tfd_ops = { .read = tfd_read, .poll = tfd_poll, .release = tfd_release };

long sys_timerfd_create(struct task *t, const uint64_t *a)
{
	clockid_t c = (clockid_t)a[0];
	if (a[1] & ~(uint64_t)(TFD_CLOEXEC | TFD_NONBLOCK) || (c != CLOCK_MONOTONIC && c != CLOCK_REALTIME && c != CLOCK_BOOTTIME && c != CLOCK_REALTIME_ALARM && c != CLOCK_BOOTTIME_ALARM))
		return -EINVAL;
	if ((c == CLOCK_REALTIME_ALARM || c == CLOCK_BOOTTIME_ALARM) && !capable(t, CAP_WAKE_ALARM))
		return -EPERM;
	struct timerfd *x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	ktimer_init(&x->tm, tfd_fires);
	waitq_init(&x->wq);
	x->clock = c == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : c == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME : c;
	struct file *f = anon_file_new("anon_inode:[timerfd]", &tfd_ops, x, O_RDWR | (a[1] & TFD_NONBLOCK));
	if (!f)
		free(x);
	return fd_give(t, f, (unsigned)a[1]);
}

static struct timerfd *tfd_of(struct task *t, uint64_t fd, int *rc)
{
	struct file *f = fd_file(t, (int)fd);
	*rc = f ? -EINVAL : -EBADF;
	return f && f->ops == &tfd_ops ? f->priv : NULL;
}

static struct itimerspec tfd_value(struct timerfd *x)
{
	int64_t left = x->tm.armed ? MAX(x->tm.deadline - now_ns(CLOCK_MONOTONIC), 1) : 0;
	return (struct itimerspec){ { x->interval / 1000000000, x->interval % 1000000000 }, { left / 1000000000, left % 1000000000 } };
}

static bool good(const struct timespec *ts) { return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < 1000000000; }

long sys_timerfd_settime(struct task *t, const uint64_t *a)
{
	struct itimerspec n, old;
	int rc;
	if (copyin(t, &n, a[2], sizeof(n)) < 0)
		return -EFAULT;
	if (a[1] & ~3ull || !good(&n.it_value) || !good(&n.it_interval))
		return -EINVAL;
	struct timerfd *x = tfd_of(t, a[0], &rc);
	if (!x)
		return rc;
	old = tfd_value(x);
	ktimer_cancel(&x->tm);
	x->ticks = 0;
	x->interval = ts_ns(n.it_interval);
	int64_t v = n.it_value.tv_sec > 4000000000 ? INT64_MAX / 4 : ts_ns(n.it_value);
	if (v) {
		int64_t mono = now_ns(CLOCK_MONOTONIC);
		ktimer_arm(&x->tm, a[1] & TFD_TIMER_ABSTIME ? mono + (v - now_ns(x->clock)) : mono + v);
	}
	return a[3] ? copyout(t, a[3], &old, sizeof(old)) : 0;
}

long sys_timerfd_gettime(struct task *t, const uint64_t *a)
{
	int rc;
	struct timerfd *x = tfd_of(t, a[0], &rc);
	if (!x)
		return rc;
	struct itimerspec v = tfd_value(x);
	return copyout(t, a[1], &v, sizeof(v));
}

/* ---- signalfd ---------------------------------------------------------------------------------------------------------- */

struct sigfd { uint64_t set; };

void signalfd_notify(struct process *p) { waitq_wake(&p->signalfd_wait, POLLIN | POLLRDNORM); }

static void fill(struct signalfd_siginfo *o, const struct guest_siginfo *si)
{
	memset(o, 0, sizeof(*o));
	o->ssi_signo = (uint32_t)si->signo;
	o->ssi_errno = si->err;
	o->ssi_code = si->code;
	o->ssi_pid = (uint32_t)si->kill.pid;
	o->ssi_uid = si->kill.uid;
	if (si->signo == SIGCHLD) {
		o->ssi_status = si->chld.status;
		o->ssi_utime = (uint64_t)si->chld.utime;
		o->ssi_stime = (uint64_t)si->chld.stime;
	} else if (si->code == SI_TIMER) {
		o->ssi_tid = (uint32_t)si->timer.timerid;
		o->ssi_overrun = (uint32_t)si->timer.overrun;
		o->ssi_int = (int32_t)si->timer.value;
		o->ssi_ptr = si->timer.value;
	} else if (si->signo == SIGSEGV || si->signo == SIGBUS || si->signo == SIGFPE || si->signo == SIGILL) {
		o->ssi_addr = si->fault.addr;
	} else {
		o->ssi_int = (int32_t)si->kill.value;
		o->ssi_ptr = si->kill.value;
	}
}

static ssize_t sfd_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	const struct sigfd *s = f->priv;
	ssize_t total = 0;
	(void)pos;
	if (u->left < sizeof(struct signalfd_siginfo))
		return -EINVAL;
	while (u->left >= sizeof(struct signalfd_siginfo)) {
		struct guest_siginfo si;
		struct signalfd_siginfo out;
		if (!signal_dequeue(t, s->set, &si)) {
			if (total)
				break;
			int rc = wait_on(t, f, &t->proc->signalfd_wait);
			if (rc)
				return rc;
			continue;
		}
		fill(&out, &si);
		if (uio_put(u, &out, sizeof(out)) != sizeof(out))
			return total ? total : -EFAULT;
		total += (ssize_t)sizeof(out);
	}
	return total;
}

static unsigned sfd_poll(struct file *f, struct poll_table *pt)
{
	const struct sigfd *s = f->priv;
	if (!current_task)
		return 0;
	poll_wait(pt, &current_task->proc->signalfd_wait);
	return signal_pending_set(current_task) & s->set ? POLLIN | POLLRDNORM : 0;
}
static int sfd_info(struct file *f, char *buf, size_t size) { return snprintf(buf, size, "sigmask:\t%016llx\n", (unsigned long long)((struct sigfd *)f->priv)->set); }
static const struct file_ops sfd_ops = { .read = sfd_read, .poll = sfd_poll, .release = priv_free, .fdinfo = sfd_info };

static long do_signalfd(struct task *t, int fd, uint64_t mask, uint64_t size, unsigned flags)
{
	uint64_t set;
	if (size != 8 || flags & ~(unsigned)(SFD_CLOEXEC | SFD_NONBLOCK))
		return -EINVAL;
	if (copyin(t, &set, mask, 8) < 0)
		return -EFAULT;
	set &= ~SIG_UNBLOCKABLE;
	if (fd != -1) {
		struct file *f = fd_file(t, fd);
		if (!f)
			return -EBADF;
		if (f->ops != &sfd_ops)
			return -EINVAL;
		((struct sigfd *)f->priv)->set = set;
		signalfd_notify(t->proc);
		return fd;
	}
	struct sigfd *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->set = set;
	struct file *f = anon_file_new("anon_inode:[signalfd]", &sfd_ops, s, O_RDWR | (flags & SFD_NONBLOCK));
	if (!f)
		free(s);
	return fd_give(t, f, flags);
}
long sys_signalfd(struct task *t, const uint64_t *a) { return do_signalfd(t, (int)a[0], a[1], a[2], 0); }
long sys_signalfd4(struct task *t, const uint64_t *a) { return do_signalfd(t, (int)a[0], a[1], a[2], (unsigned)a[3]); }
