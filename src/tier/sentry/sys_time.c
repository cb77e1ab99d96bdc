/* Clocks, sleeping, interval timers. */
#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <sys/times.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/task.h"

static struct timespec ns_ts(int64_t ns) { return (struct timespec){ ns / 1000000000, ns % 1000000000 }; }

static int64_t tv_ns(const struct timeval *tv) { return (int64_t)tv->tv_sec * 1000000000 + (int64_t)tv->tv_usec * 1000; }

/* CPU time of a task or process by the clock id encoding of CLOCK_PROCESS_CPUTIME_ID and friends. */
static int cpu_clock(struct task *t, clockid_t id, int64_t *ret)
{
	struct rusage ru;
	int pid = ~(id >> 3);
	bool thread = id & 4;
	if (id == CLOCK_PROCESS_CPUTIME_ID) {
		process_rusage(t->proc, &ru);
	} else if (id == CLOCK_THREAD_CPUTIME_ID) {
		task_rusage(t, &ru);
	} else {
		struct task *o = thread ? (pid ? task_by_tid(pid) : t) : NULL;
		struct process *p = thread ? NULL : pid ? process_by_pid(pid) : t->proc;
		if ((id & 3) == 3 || (thread ? !o || o->proc != t->proc : !p))
			return -EINVAL;
		if (thread)
			task_rusage(o, &ru);
		else
			process_rusage(p, &ru);
	}
	*ret = tv_ns(&ru.ru_utime) + tv_ns(&ru.ru_stime);
	return 0;
}

static int read_clock(struct task *t, clockid_t id, int64_t *ret)
{
	if (id < 0 || id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID)
		return cpu_clock(t, id, ret);
	if (id > CLOCK_TAI || id == 10 /* CLOCK_SGI_CYCLE is gone */)
		return -EINVAL;
	*ret = now_ns(id);
	return 0;
}

long sys_clock_gettime(struct task *t, const uint64_t *a)
{
	int64_t ns;
	int rc = read_clock(t, (clockid_t)a[0], &ns);
	if (rc)
		return rc;
	struct timespec ts = ns_ts(ns);
	return copyout(t, a[1], &ts, sizeof(ts));
}

long sys_clock_getres(struct task *t, const uint64_t *a)
{
	int64_t ns;
	int rc = read_clock(t, (clockid_t)a[0], &ns);
	struct timespec ts = { 0, 1 };
	if (rc)
		return rc;
	if ((clockid_t)a[0] == CLOCK_REALTIME_COARSE || (clockid_t)a[0] == CLOCK_MONOTONIC_COARSE)
		ts.tv_nsec = 4000000; /* a tick at HZ=250 */
	return a[1] ? copyout(t, a[1], &ts, sizeof(ts)) : 0;
}

long sys_gettimeofday(struct task *t, const uint64_t *a)
{
	struct timeval tv;
	int32_t tz[2] = { 0, 0 };
	gettimeofday(&tv, NULL);
	if (a[0] && copyout(t, a[0], &tv, sizeof(tv)) < 0)
		return -EFAULT;
	return a[1] ? copyout(t, a[1], tz, sizeof(tz)) : 0;
}

long sys_time(struct task *t, const uint64_t *a)
{
	int64_t now = time(NULL);
	if (a[0] && copyout(t, a[0], &now, 8) < 0)
		return -EFAULT;
	return now;
}

/* ---- sleeping ---------------------------------------------------------------------------------------------------------- */

static int copyin_ts(struct task *t, uint64_t p, int64_t *ret)
{
	struct timespec ts;
	if (copyin(t, &ts, p, sizeof(ts)) < 0)
		return -EFAULT;
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= 1000000000)
		return -EINVAL;
	*ret = ts.tv_sec > 9000000000 ? INT64_MAX / 2 : ts_ns(ts);
	return 0;
}

static int sleep_to(struct task *t, int64_t deadline)
{
	int rc;
	while ((rc = task_sleep(t, deadline)) == 0)
		;
	return rc == -ETIMEDOUT ? 0 : rc;
}

/* args: deadline (monotonic), remainder pointer */
static long restart_sleep(struct task *t, const uint64_t *a)
{
	int rc = sleep_to(t, (int64_t)a[0]);
	if (rc != -EINTR)
		return rc;
	if (a[1]) {
		int64_t left = (int64_t)a[0] - now_ns(CLOCK_MONOTONIC);
		struct timespec ts = ns_ts(left > 0 ? left : 0);
		if (copyout(t, a[1], &ts, sizeof(ts)) < 0)
			return -EFAULT;
	}
	return -ERESTART_RESTARTBLOCK;
}

static long sleep_for(struct task *t, int64_t ns, uint64_t rem)
{
	t->restart_fn = restart_sleep;
	t->restart_args[0] = (uint64_t)(now_ns(CLOCK_MONOTONIC) + ns);
	t->restart_args[1] = rem;
	return restart_sleep(t, t->restart_args);
}

long sys_nanosleep(struct task *t, const uint64_t *a)
{
	int64_t ns;
	int rc = copyin_ts(t, a[0], &ns);
	return rc ? rc : sleep_for(t, ns, a[1]);
}

long sys_clock_nanosleep(struct task *t, const uint64_t *a)
{
	clockid_t id = (clockid_t)a[0];
	int64_t ns, now;
	if (id == CLOCK_THREAD_CPUTIME_ID || (id >= 0 && id != CLOCK_REALTIME && id != CLOCK_MONOTONIC && id != CLOCK_BOOTTIME && id != CLOCK_TAI &&
	    id != CLOCK_PROCESS_CPUTIME_ID && id != CLOCK_REALTIME_ALARM && id != CLOCK_BOOTTIME_ALARM))
		return id >= 0 && id <= CLOCK_TAI && id != 10 && id != CLOCK_THREAD_CPUTIME_ID ? -EOPNOTSUPP : -EINVAL;
	int rc = copyin_ts(t, a[2], &ns);
	if (rc)
		return rc;
	if ((rc = read_clock(t, id, &now)) < 0)
		return rc;
	if (!((int)a[1] & TIMER_ABSTIME))
		return sleep_for(t, ns, a[3]);
	if (ns <= now)
		return 0;
	/* the realtime clock may be set while we sleep: look again at least once a minute */
	for (;;) {
		int64_t step = MIN(ns - now, 60000000000ll);
		rc = sleep_to(t, now_ns(CLOCK_MONOTONIC) + step);
		if (rc)
			return -ERESTARTNOHAND;
		if ((rc = read_clock(t, id, &now)) < 0 || now >= ns)
			return rc;
	}
}

/* ---- interval timers ------------------------------------------------------------------------------------------------------ */

static void real_fires(struct ktimer *tm)
{
	struct itimer *it = container_of(tm, struct itimer, timer);
	struct process *p = it->proc;
	int64_t now = now_ns(CLOCK_MONOTONIC);
	send_signal_process(p, SIGALRM, NULL);
	it->deadline = 0;
	if (it->interval) {
		it->deadline = tm->deadline + it->interval * (1 + (now - tm->deadline) / it->interval);
		ktimer_arm(tm, it->deadline);
	}
}

static struct itimerval real_value(struct process *p)
{
	int64_t left = p->itimer_real.deadline ? p->itimer_real.deadline - now_ns(CLOCK_MONOTONIC) : 0;
	if (p->itimer_real.deadline && left < 1000)
		left = 1000;
	return (struct itimerval){ { p->itimer_real.interval / 1000000000, p->itimer_real.interval % 1000000000 / 1000 },
		{ left / 1000000000, left % 1000000000 / 1000 } };
}

static void real_set(struct process *p, int64_t value, int64_t interval)
{
	struct itimer *it = &p->itimer_real;
	if (!it->timer.fn)
		ktimer_init(&it->timer, real_fires);
	it->proc = p;
	ktimer_cancel(&it->timer);
	it->interval = value ? interval : 0;
	it->deadline = value ? now_ns(CLOCK_MONOTONIC) + value : 0;
	if (value)
		ktimer_arm(&it->timer, it->deadline);
}

long sys_alarm(struct task *t, const uint64_t *a)
{
	struct itimerval old = real_value(t->proc);
	real_set(t->proc, (int64_t)(uint32_t)a[0] * 1000000000, 0);
	return old.it_value.tv_sec + (old.it_value.tv_usec >= 500000 || (!old.it_value.tv_sec && old.it_value.tv_usec));
}

long sys_getitimer(struct task *t, const uint64_t *a)
{
	struct itimerval v = { 0 };
	if ((int)a[0] < 0 || (int)a[0] > 2)
		return -EINVAL;
	if ((int)a[0] == ITIMER_REAL)
		v = real_value(t->proc);
	return copyout(t, a[1], &v, sizeof(v));
}

long sys_setitimer(struct task *t, const uint64_t *a)
{
	struct itimerval v = { 0 }, old = { 0 };
	if ((int)a[0] < 0 || (int)a[0] > 2)
		return -EINVAL;
	if (a[1] && copyin(t, &v, a[1], sizeof(v)) < 0)
		return -EFAULT;
	if (v.it_value.tv_sec < 0 || v.it_interval.tv_sec < 0 || (uint64_t)v.it_value.tv_usec >= 1000000 || (uint64_t)v.it_interval.tv_usec >= 1000000)
		return -EINVAL;
	if ((int)a[0] == ITIMER_REAL) {
		old = real_value(t->proc);
		real_set(t->proc, tv_ns(&v.it_value), tv_ns(&v.it_interval));
	}
	return a[2] ? copyout(t, a[2], &old, sizeof(old)) : 0;
}

/* ---- usage ---------------------------------------------------------------------------------------------------------------- */

long sys_times(struct task *t, const uint64_t *a)
{
	struct rusage ru;
	struct tms m;
	process_rusage(t->proc, &ru);
	m.tms_utime = tv_ns(&ru.ru_utime) / 10000000;
	m.tms_stime = tv_ns(&ru.ru_stime) / 10000000;
	m.tms_cutime = tv_ns(&t->proc->ru_children.ru_utime) / 10000000;
	m.tms_cstime = tv_ns(&t->proc->ru_children.ru_stime) / 10000000;
	if (a[0] && copyout(t, a[0], &m, sizeof(m)) < 0)
		return -EFAULT;
	return now_ns(CLOCK_BOOTTIME) / 10000000;
}

long sys_getrusage(struct task *t, const uint64_t *a)
{
	struct rusage ru;
	switch ((int)a[0]) {
	case RUSAGE_SELF: process_rusage(t->proc, &ru); break;
	case RUSAGE_CHILDREN: ru = t->proc->ru_children; break;
	case RUSAGE_THREAD: task_rusage(t, &ru); break;
	default: return -EINVAL;
	}
	return copyout(t, a[1], &ru, sizeof(ru));
}
