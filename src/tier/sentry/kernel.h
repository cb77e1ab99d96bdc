/* The one kernel object, its lock, wait queues, logging. */
#ifndef TIERCE_SENTRY_KERNEL_H
#define TIERCE_SENTRY_KERNEL_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/macro.h"
#include "tier/sentry/list.h"
#include "tier/sentry/sentry.h"

struct task;
struct process;
struct inode;

/* Results that only the call path sees (include/linux/errno.h of the kernel, same numbers). */
enum { ERESTARTSYS = 512, ERESTARTNOINTR = 513, ERESTARTNOHAND = 514, ERESTART_RESTARTBLOCK = 516 };

struct utsname_data { char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65]; };

struct kernel {
	pthread_mutex_t lock;
	const struct sentry_options *opt;
	struct process *init;
	struct utsname_data uts;
	int64_t boot_ns;            /* host CLOCK_BOOTTIME at start; our uptime counts from it */
	uint64_t n_processes, n_tasks;
	uint32_t pids_limit;        /* of tasks; 0: none. The host's cgroup counts our own threads too and is wider */
	uint64_t forks;             /* since start, /proc/stat */
	int proc_self_fd;           /* O_PATH of the host's /proc/self/fd for reopening */
	int proc_fd;                /* the host's procfs of our pid namespace */
	uint64_t counts[512];       /* calls by number */
	uint64_t failures[512];     /* of them: answered with an error */
	uint64_t unknown;           /* numbers outside of the table */
	cpu_set_t cpus;             /* that the sentry may run on, at start */
	unsigned n_cpus;
	bool shutting_down;
	int exit_status;            /* wait status of init once it is gone */
	pthread_cond_t done;
};
extern struct kernel K;

void kernel_lock(void);
void kernel_unlock(void);

/* One line to the log fd; never guest-controlled formats. */
void klog(const char *fmt, ...) PRINTF(1, 2);

/* ---- wait queues (under the lock) -------------------------------------------------------------------------------- */

struct waitq { struct list head; };
struct waiter {
	struct list node;
	void (*fn)(struct waiter *w, unsigned events); /* called under the lock by waitq_wake(); may remove itself */
	struct task *task;
	unsigned events; /* POLL* of interest; 0: any */
	struct waitq *q;
};
static inline void waitq_init(struct waitq *q) { list_init(&q->head); }
void waiter_init(struct waiter *w, struct task *t);   /* fn wakes the task */
void waitq_add(struct waitq *q, struct waiter *w);
void waitq_del(struct waiter *w);                     /* idempotent */
void waitq_wake(struct waitq *q, unsigned events);    /* everyone whose events intersect (events 0: everyone) */
void waitq_wake_one(struct waitq *q, unsigned events); /* the first in the queue */

/* Sleep until woken, a signal is pending (-EINTR), or now >= deadline on CLOCK_MONOTONIC (-ETIMEDOUT; deadline < 0: none). */
int task_sleep(struct task *t, int64_t deadline_ns) MUST_CHECK;
/* The same, for sleeps that a host descriptor may end (struct hostpoll): the sleeper may be the one who waits for all of them. */
int task_sleep_io(struct task *t, int64_t deadline_ns) MUST_CHECK;
/* The same as task_sleep(), interrupted only by death. */
int task_sleep_killable(struct task *t, int64_t deadline_ns) MUST_CHECK;
void task_wake(struct task *t);

/* ---- time -------------------------------------------------------------------------------------------------------- */
int64_t now_ns(clockid_t clock);
/* Nanoseconds of a time that a guest may have given: saturates at about 73 years, so that a sum of three does not overflow. */
static inline int64_t ts_ns(struct timespec ts)
{
	if (ts.tv_sec > INT64_MAX / 4000000000 - 1)
		return INT64_MAX / 4;
	if (ts.tv_sec < INT64_MIN / 4000000000 + 1)
		return INT64_MIN / 4;
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Timers run fn on the timer thread under the lock at `deadline` (CLOCK_MONOTONIC ns). */
struct ktimer {
	unsigned index;             /* in the heap, while armed */
	int64_t deadline;
	void (*fn)(struct ktimer *tm);
	bool armed;
};
void ktimer_init(struct ktimer *tm, void (*fn)(struct ktimer *));
void ktimer_arm(struct ktimer *tm, int64_t deadline);
void ktimer_cancel(struct ktimer *tm);
void ktimer_setup(void); /* once, by kernel_init() */

/* ---- host fds that become ready ---------------------------------------------------------------------------------- */
struct hostpoll { int fd; struct waitq *wq; bool added; unsigned seen; /* events since the owner cleared them */ };
/* Edge-triggered watch: wakes wq with the events. -EPERM when the fd cannot be polled (regular files). */
int hostpoll_add(struct hostpoll *hp, int fd, struct waitq *wq);
void hostpoll_del(struct hostpoll *hp);
/* Take what has happened until now, without waiting: before a look at wait queues that does not sleep. */
void hostpoll_harvest(void);

#endif
