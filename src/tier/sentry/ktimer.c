/* Timers: a heap by deadline and the thread that waits for the first. */
#include <errno.h>
#include <stdlib.h>

#include "tier/sentry/kernel.h"
#include "tier/sentry/service.h"

/* Between two rounds the lock is free for at least this long: timers of a nanosecond would keep everybody else from it. What is late is counted as overrun. */
enum { ROUND_GAP_NS = 50000 };

static struct ktimer **heap;
static unsigned n_heap, cap_heap;
static pthread_cond_t timer_cond;
static bool timer_thread;

static void place(unsigned i, struct ktimer *tm)
{
	heap[i] = tm;
	tm->index = i;
}

static void sift_up(unsigned i, struct ktimer *tm)
{
	while (i && heap[(i - 1) / 2]->deadline > tm->deadline) {
		place(i, heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(i, tm);
}

static void sift_down(unsigned i, struct ktimer *tm)
{
	for (unsigned c; (c = 2 * i + 1) < n_heap; i = c) {
		c += c + 1 < n_heap && heap[c + 1]->deadline < heap[c]->deadline;
		if (heap[c]->deadline >= tm->deadline)
			break;
		place(i, heap[c]);
	}
	place(i, tm);
}

void ktimer_init(struct ktimer *tm, void (*fn)(struct ktimer *))
{
	*tm = (struct ktimer){ .fn = fn };
}

void ktimer_cancel(struct ktimer *tm)
{
	if (!tm->armed)
		return;
	tm->armed = false;
	struct ktimer *last = heap[--n_heap];
	if (last == tm)
		return;
	if (tm->index && heap[(tm->index - 1) / 2]->deadline > last->deadline)
		sift_up(tm->index, last);
	else
		sift_down(tm->index, last);
}

static void sleep_till(int64_t deadline)
{
	struct timespec ts = { deadline / 1000000000, deadline % 1000000000 };
	pthread_cond_timedwait(&timer_cond, &K.lock, &ts);
}

static void *timer_main(void *arg)
{
	int64_t next_round = 0;
	(void)arg;
	kernel_lock();
	for (;;) {
		if (!n_heap) {
			pthread_cond_wait(&timer_cond, &K.lock);
			continue;
		}
		int64_t now = now_ns(CLOCK_MONOTONIC), due = MAX(heap[0]->deadline, next_round);
		if (due > now) {
			sleep_till(due);
			continue;
		}
		/* a timer that arms itself again does so for a time after `now` */
		while (n_heap && heap[0]->deadline <= now) {
			struct ktimer *tm = heap[0];
			ktimer_cancel(tm);
			tm->fn(tm);
		}
		next_round = now_ns(CLOCK_MONOTONIC) + ROUND_GAP_NS;
	}
	return NULL;
}

void ktimer_arm(struct ktimer *tm, int64_t deadline)
{
	ktimer_cancel(tm);
	if (!timer_thread) { /* made on first use: a sandbox without timers does without its stack */
		if (service_thread(timer_main, NULL) < 0)
			return;
		timer_thread = true;
	}
	if (n_heap == cap_heap) {
		unsigned cap = cap_heap ? cap_heap * 2 : 16;
		struct ktimer **h = realloc(heap, cap * sizeof(*h));
		if (!h)
			return;
		heap = h;
		cap_heap = cap;
	}
	tm->deadline = deadline;
	tm->armed = true;
	sift_up(n_heap++, tm);
	if (heap[0] == tm)
		pthread_cond_signal(&timer_cond);
}

void ktimer_setup(void)
{
	pthread_condattr_t a;
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&timer_cond, &a);
	pthread_condattr_destroy(&a);
}
