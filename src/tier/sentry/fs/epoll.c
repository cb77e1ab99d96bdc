/* epoll: level, edge and one-shot; items watch the wait queues of their file, ready items queue up in the order of their events. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

enum { MAX_DEPTH = 5 /* EP_MAX_NESTS of Linux: nested epolls must not make polling recurse without end */, ITEM_QUEUES = 3 };

struct epoll { struct list items, ready; struct waitq wq; struct file *file; };
struct epitem {
	struct epoll *ep;
	struct list node, ready_node, file_node; /* items of ep; ready list; file->epolls */
	struct file *file;                       /* not referenced: epoll_forget_file() removes us */
	int fd;
	uint32_t events;
	uint64_t data;
	struct waiter w[ITEM_QUEUES];
	unsigned n_w;
};
struct guest_event { uint32_t events; uint64_t data; } __attribute__((packed));
struct item_table { struct poll_table pt; struct epitem *it; };

static const struct file_ops epoll_ops;

static void set_ready(struct epitem *it)
{
	if (list_empty(&it->ready_node))
		list_add_tail(&it->ep->ready, &it->ready_node);
	waitq_wake(&it->ep->wq, POLLIN | POLLRDNORM);
}

static void on_event(struct waiter *w, unsigned events)
{
	struct epitem *it = (struct epitem *)(void *)w->task;
	(void)events;
	if (it->events & ~(uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE))
		set_ready(it);
}

static void watch(struct poll_table *pt, struct waitq *q)
{
	struct epitem *it = container_of(pt, struct item_table, pt)->it;
	if (it->n_w == ITEM_QUEUES)
		return;
	struct waiter *w = &it->w[it->n_w++];
	waiter_init(w, (struct task *)(void *)it);
	w->fn = on_event;
	w->events = (it->events & 0xffff) | POLLERR | POLLHUP;
	waitq_add(q, w);
}

static void unwatch(struct epitem *it)
{
	for (unsigned i = 0; i < it->n_w; i++)
		waitq_del(&it->w[i]);
	it->n_w = 0;
}

static void arm(struct epitem *it)
{
	struct item_table tb = { { watch, 0 }, it };
	unwatch(it);
	unsigned m = file_poll(it->file, &tb.pt);
	if (m & (it->events | EPOLLERR | EPOLLHUP))
		set_ready(it);
}

static void item_free(struct epitem *it)
{
	unwatch(it);
	list_del(&it->node);
	list_del(&it->ready_node);
	list_del(&it->file_node);
	free(it);
}

void epoll_forget_file(struct file *f)
{
	while (!list_empty(&f->epolls))
		item_free(list_first(&f->epolls, struct epitem, file_node));
}

static uint32_t item_mask(struct epitem *it)
{
	struct poll_table pt = { NULL, it->events | EPOLLERR | EPOLLHUP };
	return file_poll(it->file, &pt) & (it->events | EPOLLERR | EPOLLHUP) & 0xffff;
}

static bool active(const struct epitem *it) { return it->events & ~(uint32_t)(EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE); }

static unsigned epoll_poll(struct file *f, struct poll_table *pt)
{
	struct epoll *ep = f->priv;
	struct epitem *it, *n;
	poll_wait(pt, &ep->wq);
	list_for_each_safe(it, n, &ep->ready, ready_node) {
		if (active(it) && item_mask(it))
			return POLLIN | POLLRDNORM;
		list_del(&it->ready_node);
	}
	return 0;
}

static void epoll_release(struct file *f)
{
	struct epoll *ep = f->priv;
	while (!list_empty(&ep->items))
		item_free(list_first(&ep->items, struct epitem, node));
	free(ep);
}

static int epoll_fdinfo(struct file *f, char *buf, size_t size)
{
	struct epitem *it;
	size_t n = 0;
	list_for_each(it, &((struct epoll *)f->priv)->items, node) {
		int k = snprintf(buf + n, size - n, "tfd: %8d events: %8x data: %16llx\n", it->fd, it->events, (unsigned long long)it->data);
		if (k < 0 || (size_t)k >= size - n)
			break;
		n += (size_t)k;
	}
	return (int)n;
}

static const struct file_ops epoll_ops = { .poll = epoll_poll, .release = epoll_release, .fdinfo = epoll_fdinfo };

static long create(struct task *t, unsigned flags)
{
	struct epoll *ep = calloc(1, sizeof(*ep));
	if (flags & ~(unsigned)EPOLL_CLOEXEC) {
		free(ep);
		return -EINVAL;
	}
	if (!ep)
		return -ENOMEM;
	list_init(&ep->items);
	list_init(&ep->ready);
	waitq_init(&ep->wq);
	ep->file = anon_file_new("anon_inode:[eventpoll]", &epoll_ops, ep, O_RDWR);
	if (!ep->file) {
		free(ep);
		return -ENOMEM;
	}
	return fd_give(t, ep->file, flags);
}

long sys_epoll_create(struct task *t, const uint64_t *a) { return (int)a[0] <= 0 ? -EINVAL : create(t, 0); }
long sys_epoll_create1(struct task *t, const uint64_t *a) { return create(t, (unsigned)a[0]); }

/* Does `from` reach `to`, and how deep is it? */
static int reach(const struct epoll *from, const struct epoll *to, unsigned depth)
{
	struct epitem *it;
	if (from == to || depth > MAX_DEPTH)
		return -ELOOP;
	list_for_each(it, &from->items, node) {
		if (it->file->ops != &epoll_ops)
			continue;
		int rc = reach(it->file->priv, to, depth + 1);
		if (rc)
			return rc;
	}
	return 0;
}

static struct epitem *find(struct epoll *ep, struct file *f, int fd)
{
	struct epitem *it;
	list_for_each(it, &f->epolls, file_node)
		if (it->ep == ep && it->fd == fd)
			return it;
	return NULL;
}

long sys_epoll_ctl(struct task *t, const uint64_t *a)
{
	struct file *ef = fd_file(t, (int)a[0]), *f = fd_file(t, (int)a[2]);
	int op = (int)a[1];
	struct guest_event ev = { 0 };
	if (op != EPOLL_CTL_DEL && copyin(t, &ev, a[3], sizeof(ev)) < 0)
		return -EFAULT;
	if (!ef || !f)
		return -EBADF;
	if (is_reg(f->inode) || is_dir(f->inode))
		return !f->ops || !f->ops->poll ? -EPERM : -EINVAL;
	if (ef == f || ef->ops != &epoll_ops)
		return -EINVAL;
	struct epoll *ep = ef->priv;
	struct epitem *it = find(ep, f, (int)a[2]);
	if ((ev.events & EPOLLEXCLUSIVE) && (op == EPOLL_CTL_MOD || f->ops == &epoll_ops ||
	    ev.events & ~(uint32_t)(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)))
		return -EINVAL;
	switch (op) {
	case EPOLL_CTL_ADD:
		if (it)
			return -EEXIST;
		if (f->ops == &epoll_ops) {
			int rc = reach(f->priv, ep, 1);
			if (rc)
				return rc;
		}
		if (!(it = calloc(1, sizeof(*it))))
			return -ENOMEM;
		*it = (struct epitem){ .ep = ep, .file = f, .fd = (int)a[2], .events = ev.events, .data = ev.data };
		list_add_tail(&ep->items, &it->node);
		list_add_tail(&f->epolls, &it->file_node);
		list_init(&it->ready_node);
		arm(it);
		return 0;
	case EPOLL_CTL_MOD:
		if (!it)
			return -ENOENT;
		if (it->events & EPOLLEXCLUSIVE)
			return -EINVAL;
		it->events = ev.events;
		it->data = ev.data;
		list_del(&it->ready_node);
		arm(it);
		return 0;
	case EPOLL_CTL_DEL:
		if (!it)
			return -ENOENT;
		item_free(it);
		return 0;
	default: return -EINVAL;
	}
}

/* One pass over what is ready now. */
static long collect(struct task *t, struct epoll *ep, uint64_t out, int max)
{
	struct list todo;
	long n = 0;
	if (list_empty(&ep->ready))
		return 0;
	list_init(&todo);
	while (!list_empty(&ep->ready)) {
		struct list *l = ep->ready.next;
		list_del(l);
		list_add_tail(&todo, l);
	}
	while (!list_empty(&todo)) {
		struct epitem *it = list_first(&todo, struct epitem, ready_node);
		list_del(&it->ready_node);
		if (n == max || n < 0) {
			list_add_tail(&ep->ready, &it->ready_node);
			continue;
		}
		uint32_t m = active(it) ? item_mask(it) : 0;
		if (!m)
			continue;
		struct guest_event ev = { m, it->data };
		if (copyout(t, out + (uint64_t)n * sizeof(ev), &ev, sizeof(ev)) < 0) {
			list_add_tail(&ep->ready, &it->ready_node);
			if (!n)
				n = -EFAULT;
			continue;
		}
		n++;
		if (it->events & EPOLLONESHOT)
			it->events &= EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE;
		else if (!(it->events & EPOLLET))
			list_add_tail(&ep->ready, &it->ready_node);
	}
	return n;
}

static long do_wait(struct task *t, int fd, uint64_t out, int max, int64_t deadline)
{
	struct file *f = fd_file(t, fd);
	struct waiter w;
	long n;
	if (max <= 0 || max > 0x7fffffff / 12)
		return -EINVAL;
	if (!f)
		return -EBADF;
	if (f->ops != &epoll_ops)
		return -EINVAL;
	struct epoll *ep = f->priv;
	file_get(f);
	waiter_init(&w, t);
	waitq_add(&ep->wq, &w);
	hostpoll_harvest();
	while (!(n = collect(t, ep, out, max)) && deadline) {
		int rc = task_sleep_io(t, deadline);
		if (rc == -ETIMEDOUT) {
			n = collect(t, ep, out, max);
			break;
		}
		if (rc) {
			n = rc;
			break;
		}
	}
	waitq_del(&w);
	file_put(f);
	return n;
}

static int64_t ms_deadline(int ms) { return ms < 0 ? -1 : ms ? now_ns(CLOCK_MONOTONIC) + ms * 1000000ll : 0; }

long sys_epoll_wait(struct task *t, const uint64_t *a) { return do_wait(t, (int)a[0], a[1], (int)a[2], ms_deadline((int)a[3])); }

static long masked(struct task *t, const uint64_t *a, int64_t deadline)
{
	uint64_t set;
	if (a[4]) {
		if (a[5] != 8)
			return -EINVAL;
		if (copyin(t, &set, a[4], 8) < 0)
			return -EFAULT;
		t->saved_mask = t->blocked;
		t->restore_mask = true;
		task_set_mask(t, set);
	}
	long r = do_wait(t, (int)a[0], a[1], (int)a[2], deadline);
	if (t->restore_mask && r != -EINTR) {
		t->restore_mask = false;
		t->blocked = t->saved_mask;
	}
	return r;
}
long sys_epoll_pwait(struct task *t, const uint64_t *a) { return masked(t, a, ms_deadline((int)a[3])); }
long sys_epoll_pwait2(struct task *t, const uint64_t *a)
{
	struct timespec ts;
	int64_t deadline = -1;
	if (a[3]) {
		if (copyin(t, &ts, a[3], sizeof(ts)) < 0)
			return -EFAULT;
		if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= 1000000000)
			return -EINVAL;
		deadline = ts.tv_sec || ts.tv_nsec ? now_ns(CLOCK_MONOTONIC) + MIN((int64_t)ts.tv_sec, 4000000000ll) * 1000000000 + ts.tv_nsec : 0;
	}
	return masked(t, a, deadline);
}
