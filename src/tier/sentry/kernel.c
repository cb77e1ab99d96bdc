/* The kernel lock, wait queues, sleeping, and host descriptors that become ready. */
#include "tier/sentry/kernel.h"

#include <errno.h>
#include <sched.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tier/sentry/service.h"
#include "tier/sentry/task/task.h"

struct kernel K = { .lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER };

void kernel_lock(void) { pthread_mutex_lock(&K.lock); }
void kernel_unlock(void) { pthread_mutex_unlock(&K.lock); }

void klog(const char *fmt, ...)
{
	char line[512];
	va_list ap;
	if (!K.opt || K.opt->log_fd < 0)
		return;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n > sizeof(line) - 2)
		n = sizeof(line) - 2;
	line[n] = '\n';
	if (write(K.opt->log_fd, line, (size_t)n + 1) < 0)
		return;
}

int64_t now_ns(clockid_t clock)
{
	struct timespec ts;
	/* the vDSO does not answer for the alarm clocks, which show the same time */
	clock_gettime(clock == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : clock == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME : clock, &ts);
	return ts_ns(ts);
}

/* ---- wait queues --------------------------------------------------------------------------------------------------- */

static void wake_task(struct waiter *w, unsigned events)
{
	(void)events;
	task_wake(w->task);
}

void waiter_init(struct waiter *w, struct task *t)
{
	*w = (struct waiter){ .fn = wake_task, .task = t };
	list_init(&w->node);
}

void waitq_add(struct waitq *q, struct waiter *w)
{
	w->q = q;
	list_add_tail(&q->head, &w->node);
}

void waitq_del(struct waiter *w)
{
	list_del(&w->node);
	w->q = NULL;
}

void waitq_wake(struct waitq *q, unsigned events)
{
	struct waiter *w, *n;
	list_for_each_safe(w, n, &q->head, node)
		if (!events || !w->events || (w->events & events))
			w->fn(w, events);
}

void waitq_wake_one(struct waitq *q, unsigned events)
{
	struct waiter *w, *n;
	list_for_each_safe(w, n, &q->head, node) {
		if (events && w->events && !(w->events & events))
			continue;
		w->fn(w, events);
		return;
	}
}

/*
 * Sleepers that a host descriptor may wake: one of them, the leader, waits in epoll_wait() for all, the others on their condition variables. No thread
 * of its own does that: a server's twin is woken by the host directly. Whoever leaves such a sleep and finds no leader rouses a follower,
 * so there is a leader whenever somebody sleeps.
 */
static struct task *leader;
static struct list followers = LIST_INIT(followers);
static unsigned n_watched;
static int wake_fd = -EBADF; /* eventfd in the epoll set: task_wake() of the leader */
static void lead(struct task *t, int timeout_ms);

void task_wake(struct task *t)
{
	t->woken = true;
	if (!t->sleeping)
		return;
	if (t == leader) {
		const uint64_t one = 1;
		if (write(wake_fd, &one, sizeof(one)) < 0)
			return; /* the counter is full: it is readable */
	} else {
		pthread_cond_signal(&t->cond);
	}
}

static void wait_once(struct task *t, int64_t deadline, bool io)
{
	int64_t left = deadline < 0 ? -1 : deadline - now_ns(CLOCK_MONOTONIC);
	if (io && n_watched && !leader && (left < 0 || left >= 1000000)) {
		lead(t, left < 0 ? -1 : (int)MIN(left / 1000000, (int64_t)1000000));
		return;
	}
	if (io)
		list_add_tail(&followers, &t->follower);
	if (deadline < 0) {
		pthread_cond_wait(&t->cond, &K.lock);
	} else {
		struct timespec ts = { deadline / 1000000000, deadline % 1000000000 };
		pthread_cond_timedwait(&t->cond, &K.lock, &ts);
	}
	if (io)
		list_del(&t->follower);
}

static int sleep_until(struct task *t, int64_t deadline, bool killable_only, bool io)
{
	int rc = 0;
	for (;;) {
		if (t->woken) {
			t->woken = false;
			break;
		}
		if (killable_only ? t->dying : signal_pending(t)) {
			rc = -EINTR;
			break;
		}
		if (deadline >= 0 && now_ns(CLOCK_MONOTONIC) >= deadline) {
			rc = -ETIMEDOUT;
			break;
		}
		if (t->mb)
			t->mb->twin_slow = 1; /* the guest need not stay awake for the answer */
		t->sleeping = true;
		wait_once(t, deadline, io);
		t->sleeping = false;
	}
	if (io && !leader && !list_empty(&followers))
		pthread_cond_signal(&list_first(&followers, struct task, follower)->cond);
	return rc;
}

int task_sleep(struct task *t, int64_t deadline_ns) { return sleep_until(t, deadline_ns, false, false); }
int task_sleep_io(struct task *t, int64_t deadline_ns) { return sleep_until(t, deadline_ns, false, true); }
int task_sleep_killable(struct task *t, int64_t deadline_ns) { return sleep_until(t, deadline_ns, true, false); }

/* ---- host descriptors -------------------------------------------------------------------------------------------------- */

/* The epoll data is an index, not a pointer: an event that was fetched before hostpoll_del() must not touch freed memory. */
struct watch { struct hostpoll *hp; uint32_t gen; };
static struct watch *watches;
static unsigned n_watches;
static int epfd = -EBADF; /* made before the filter is */
enum { EVENTS = 32 };

static void dispatch_events(const struct epoll_event *ev, int n)
{
	for (int i = 0; i < n; i++) {
		uint32_t fd = (uint32_t)ev[i].data.u64, gen = (uint32_t)(ev[i].data.u64 >> 32);
		struct hostpoll *hp = fd < n_watches && watches[fd].gen == gen ? watches[fd].hp : NULL;
		if (!hp)
			continue;
		hp->seen |= ev[i].events;
		waitq_wake(hp->wq, ev[i].events);
	}
}

static void lead(struct task *t, int timeout_ms)
{
	struct epoll_event ev[EVENTS];
	leader = t;
	kernel_unlock();
	int n = epoll_wait(epfd, ev, EVENTS, timeout_ms);
	kernel_lock();
	leader = NULL;
	dispatch_events(ev, n);
}

void hostpoll_harvest(void)
{
	struct epoll_event ev[EVENTS];
	int n;
	if (!n_watched)
		return;
	do {
		n = epoll_wait(epfd, ev, EVENTS, 0);
		dispatch_events(ev, n);
	} while (n == EVENTS);
}

int hostpoll_add(struct hostpoll *hp, int fd, struct waitq *wq)
{
	if ((unsigned)fd >= n_watches) {
		unsigned n = ((unsigned)fd + 64) & ~63u;
		struct watch *w = realloc(watches, n * sizeof(*w));
		if (!w)
			return -ENOMEM;
		memset(w + n_watches, 0, (n - n_watches) * sizeof(*w));
		watches = w;
		n_watches = n;
	}
	struct watch *w = &watches[fd];
	w->hp = hp;
	w->gen++;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLERR | EPOLLHUP | EPOLLRDHUP | EPOLLET,
		.data.u64 = (uint64_t)w->gen << 32 | (uint32_t)fd };
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		w->hp = NULL;
		return -errno;
	}
	*hp = (struct hostpoll){ fd, wq, true, 0 };
	if (n_watched++ == 0 && !leader && !list_empty(&followers))
		pthread_cond_signal(&list_first(&followers, struct task, follower)->cond);
	return 0;
}

void hostpoll_del(struct hostpoll *hp)
{
	if (!hp->added)
		return;
	watches[hp->fd].hp = NULL;
	n_watched--;
	watches[hp->fd].gen++;
	epoll_ctl(epfd, EPOLL_CTL_DEL, hp->fd, NULL);
	hp->added = false;
}

/* ---- threads ------------------------------------------------------------------------------------------------------------ */

int thread_make(pthread_t *ret, void *(*fn)(void *), void *arg)
{
	pthread_attr_t a;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, SENTRY_STACK);
	int rc = pthread_create(ret, &a, fn, arg);
	pthread_attr_destroy(&a);
	return rc ? -rc : 0;
}

int service_thread(void *(*fn)(void *), void *arg)
{
	pthread_t th;
	int rc = thread_make(&th, fn, arg);
	if (!rc)
		pthread_detach(th);
	return rc;
}

void kernel_init(void)
{
	ktimer_setup();
	epfd = epoll_create1(EPOLL_CLOEXEC);
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = ~0ull };
	if (epfd < 0 || wake_fd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, wake_fd, &ev) < 0)
		abort();
	K.n_cpus = (unsigned)sysconf(_SC_NPROCESSORS_CONF);
	sched_getaffinity(0, sizeof(K.cpus), &K.cpus);
}
