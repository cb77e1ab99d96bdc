/* POSIX timers: timer_create and its family. One signal per timer is queued at a time; what comes meanwhile is overrun (timer_getoverrun(2)). */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/task.h"

struct posix_timer {
	struct list node; /* process.posix_timers */
	struct ktimer tm;
	struct cpu_alarm cpu; /* CPU-time clocks use this one */
	bool on_cpu;
	struct process *proc;
	int id, notify, signo, tid;
	uint64_t value;
	clockid_t clock;
	int64_t interval;
	int32_t overrun, overrun_last;
};

struct guest_sigevent { uint64_t value; int32_t signo, notify, tid, pad[11]; };
_Static_assert(sizeof(struct guest_sigevent) == 64, "struct sigevent of x86-64");
struct guest_itimerspec { int64_t interval_s, interval_ns, value_s, value_ns; };

enum { TIMERS_MAX = 1024 /* per process: what RLIMIT_SIGPENDING bounds in Linux */, NSEC = 1000000000 };

static struct posix_timer *find(struct task *t, uint64_t id)
{
	struct posix_timer *x;
	list_for_each(x, &t->proc->posix_timers, node)
		if ((uint64_t)(unsigned)x->id == (id & 0xffffffffu))
			return x;
	return NULL;
}

static bool queued(const struct sigpending *p, int id)
{
	struct sigqueue *q;
	list_for_each(q, &p->queue, node)
		if (q->info.code == SI_TIMER && q->info.timer.timerid == id)
			return true;
	return false;
}

static int64_t timer_now(const struct posix_timer *x) { return x->on_cpu ? cpu_alarm_now(&x->cpu) : now_ns(CLOCK_MONOTONIC); }
static bool armed(const struct posix_timer *x) { return x->on_cpu ? x->cpu.armed : x->tm.armed; }
static int64_t deadline(const struct posix_timer *x) { return x->on_cpu ? x->cpu.deadline : x->tm.deadline; }
static void arm(struct posix_timer *x, int64_t at)
{
	if (x->on_cpu)
		cpu_alarm_set(&x->cpu, at);
	else
		ktimer_arm(&x->tm, at);
}
static void disarm(struct posix_timer *x)
{
	if (x->on_cpu)
		cpu_alarm_cancel(&x->cpu);
	else
		ktimer_cancel(&x->tm);
}

static void expired(struct posix_timer *x)
{
	int64_t ticks = 1;
	if (x->interval) {
		int64_t late = timer_now(x) - deadline(x);
		ticks += late > 0 ? late / x->interval : 0;
		arm(x, deadline(x) + ticks * x->interval);
	}
	if (x->notify == SIGEV_NONE)
		return;
	struct task *to = x->notify == SIGEV_THREAD_ID ? task_by_tid(x->tid) : NULL;
	struct sigpending *pending = to ? &to->pending : &x->proc->shared_pending;
	if (x->notify == SIGEV_THREAD_ID && !to)
		return;
	if (queued(pending, x->id)) {
		x->overrun = x->overrun > INT32_MAX - ticks ? INT32_MAX : (int32_t)(x->overrun + ticks);
		return;
	}
	x->overrun_last = (int32_t)MIN(x->overrun + ticks - 1, (int64_t)INT32_MAX);
	x->overrun = 0;
	struct guest_siginfo info = { .signo = x->signo, .code = SI_TIMER, .timer = { .timerid = x->id, .overrun = x->overrun_last, .value = x->value } };
	if (to)
		send_signal_task(to, x->signo, &info);
	else
		send_signal_process(x->proc, x->signo, &info);
}

static void fires(struct ktimer *tm) { expired(container_of(tm, struct posix_timer, tm)); }
static void cpu_fires(struct cpu_alarm *a) { expired(container_of(a, struct posix_timer, cpu)); }

long sys_timer_create(struct task *t, const uint64_t *a)
{
	struct guest_sigevent ev = { .signo = SIGALRM, .notify = SIGEV_SIGNAL };
	clockid_t clock = (clockid_t)a[0];
	int n = 0;
	struct posix_timer *x;
	bool on_cpu = clock < 0 || clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
	struct process *cpu_proc = NULL;
	struct task *cpu_task = NULL;
	if (on_cpu) {
		int rc = cpu_clock_of(t, clock, &cpu_proc, &cpu_task);
		if (rc)
			return rc;
	} else if (clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM) {
		if (!capable(t, CAP_WAKE_ALARM))
			return -EPERM;
		clock = clock == CLOCK_REALTIME_ALARM ? CLOCK_REALTIME : CLOCK_BOOTTIME;
	} else if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME && clock != CLOCK_TAI) {
		return clock > CLOCK_TAI || clock == 10 ? -EINVAL : -EOPNOTSUPP;
	}
	if (a[1] && copyin(t, &ev, a[1], sizeof(ev)) < 0)
		return -EFAULT;
	if (ev.notify != SIGEV_SIGNAL && ev.notify != SIGEV_NONE && ev.notify != SIGEV_THREAD && ev.notify != SIGEV_THREAD_ID)
		return -EINVAL;
	if (ev.notify != SIGEV_NONE && (ev.signo < 1 || ev.signo > NSIG_))
		return -EINVAL;
	if (ev.notify == SIGEV_THREAD_ID) {
		struct task *to = task_by_tid(ev.tid);
		if (!to || to->proc != t->proc)
			return -EINVAL;
	}
	list_for_each(x, &t->proc->posix_timers, node)
		if (++n >= TIMERS_MAX)
			return -EAGAIN;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -EAGAIN;
	*x = (struct posix_timer){ .proc = t->proc, .id = t->proc->next_timer_id++, .notify = ev.notify, .signo = ev.signo, .tid = ev.tid, .value = ev.value, .clock = clock };
	if (!a[1])
		x->value = (uint64_t)(unsigned)x->id;
	ktimer_init(&x->tm, fires);
	x->on_cpu = on_cpu;
	if (on_cpu)
		cpu_alarm_init(&x->cpu, cpu_proc->pid, cpu_task ? cpu_task->tid : 0, false, cpu_fires);
	list_init(&x->node);
	if (copyout(t, a[2], &x->id, sizeof(x->id)) < 0) {
		free(x);
		return -EFAULT;
	}
	list_add_tail(&t->proc->posix_timers, &x->node);
	return 0;
}

static void read_timer(const struct posix_timer *x, struct guest_itimerspec *s)
{
	int64_t left = 0;
	if (armed(x)) {
		left = deadline(x) - timer_now(x);
		/* armed and due: one nanosecond is left, zero would say disarmed (timer_gettime(2)) */
		left = left > 0 ? left : 1;
	}
	*s = (struct guest_itimerspec){ x->interval / NSEC, x->interval % NSEC, left / NSEC, left % NSEC };
}

static int to_ns(int64_t s, int64_t ns, int64_t *ret)
{
	if (s < 0 || ns < 0 || ns >= NSEC)
		return -EINVAL;
	*ret = ts_ns((struct timespec){ s, ns });
	return 0;
}

long sys_timer_settime(struct task *t, const uint64_t *a)
{
	struct guest_itimerspec new, old;
	struct posix_timer *x = find(t, a[0]);
	int64_t value, interval;
	if (copyin(t, &new, a[2], sizeof(new)) < 0)
		return -EFAULT;
	if (to_ns(new.value_s, new.value_ns, &value) < 0 || to_ns(new.interval_s, new.interval_ns, &interval) < 0 || !x)
		return -EINVAL;
	read_timer(x, &old);
	disarm(x);
	x->overrun = x->overrun_last = 0;
	x->interval = 0;
	if (value) {
		int64_t now = timer_now(x);
		if (a[1] & TIMER_ABSTIME) {
			int64_t left = value - (x->on_cpu ? now : now_ns(x->clock));
			value = left > 0 ? left : 0;
		}
		x->interval = interval;
		arm(x, value > INT64_MAX / 2 - now ? INT64_MAX / 2 : now + value);
	}
	return a[3] && copyout(t, a[3], &old, sizeof(old)) < 0 ? -EFAULT : 0;
}

long sys_timer_gettime(struct task *t, const uint64_t *a)
{
	struct posix_timer *x = find(t, a[0]);
	struct guest_itimerspec s;
	if (!x)
		return -EINVAL;
	read_timer(x, &s);
	return copyout(t, a[1], &s, sizeof(s));
}

long sys_timer_getoverrun(struct task *t, const uint64_t *a)
{
	struct posix_timer *x = find(t, a[0]);
	return x ? x->overrun_last : -EINVAL;
}

static void destroy(struct posix_timer *x)
{
	disarm(x);
	list_del(&x->node);
	free(x);
}

long sys_timer_delete(struct task *t, const uint64_t *a)
{
	struct posix_timer *x = find(t, a[0]);
	if (!x)
		return -EINVAL;
	destroy(x);
	return 0;
}

void posix_timers_drop(struct process *p)
{
	struct posix_timer *x, *n;
	list_for_each_safe(x, n, &p->posix_timers, node)
		destroy(x);
}
