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

static int cpu_clock(struct task *t, clockid_t id, int64_t *ret)
{
	struct process *p;
	struct task *o;
	int rc = cpu_clock_of(t, id, &p, &o);
	if (!rc)
		*ret = o ? task_cpu_ns(o, false) : process_cpu_ns(p, false);
	return rc;
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

struct cpu_sleep { struct cpu_alarm alarm; struct task *task; };
static void cpu_slept(struct cpu_alarm *a) { task_wake(container_of(a, struct cpu_sleep, alarm)->task); }

/* Until a CPU clock shows `until`. The remainder is written when rem is given; not restarted then, as the clock runs on. */
static long cpu_sleep(struct task *t, clockid_t id, int64_t until, uint64_t rem)
{
	struct cpu_sleep s = { .task = t };
	struct process *p;
	struct task *o;
	int rc = cpu_clock_of(t, id, &p, &o);
	if (rc)
		return rc;
	if (o == t)
		return -EINVAL; /* one's own CPU time does not pass while one sleeps */
	cpu_alarm_init(&s.alarm, p->pid, o ? o->tid : 0, false, cpu_slept);
	cpu_alarm_set(&s.alarm, until);
	while (!rc && s.alarm.armed)
		rc = task_sleep(t, -1);
	int64_t left = rc ? until - cpu_alarm_now(&s.alarm) : 0;
	cpu_alarm_cancel(&s.alarm);
	if (!rc || left <= 0)
		return 0;
	struct timespec ts = ns_ts(left);
	if (rem && copyout(t, rem, &ts, sizeof(ts)) < 0)
		return -EFAULT;
	return rem ? -EINTR : -ERESTARTNOHAND;
}

long sys_clock_nanosleep(struct task *t, const uint64_t *a)
{
	clockid_t id = (clockid_t)a[0];
	int64_t ns, now;
	if (id == CLOCK_THREAD_CPUTIME_ID || (id >= 0 && id != CLOCK_REALTIME && id != CLOCK_MONOTONIC && id != CLOCK_BOOTTIME && id != CLOCK_TAI &&
	    id != CLOCK_PROCESS_CPUTIME_ID && id != CLOCK_REALTIME_ALARM && id != CLOCK_BOOTTIME_ALARM))
		return id >= 0 && id <= CLOCK_TAI && id != 10 ? -EOPNOTSUPP : -EINVAL;
	int rc = copyin_ts(t, a[2], &ns);
	if (rc)
		return rc;
	if ((rc = read_clock(t, id, &now)) < 0)
		return rc;
	if (id < 0 || id == CLOCK_PROCESS_CPUTIME_ID)
		return cpu_sleep(t, id, (int)a[1] & TIMER_ABSTIME ? ns : now + ns, (int)a[1] & TIMER_ABSTIME ? 0 : a[3]);
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

static void cpu_fires(struct cpu_alarm *a)
{
	struct process *p = process_by_pid(a->pid);
	unsigned i = a == &p->itimer_cpu[1].alarm;
	int64_t interval = p->itimer_cpu[i].interval;
	send_signal_process(p, i ? SIGPROF : SIGVTALRM, NULL);
	if (interval && !p->exiting)
		cpu_alarm_set(a, a->deadline + interval * (1 + (cpu_alarm_now(a) - a->deadline) / interval));
}

static struct itimerval cpu_value(struct process *p, int which)
{
	const struct cpu_alarm *a = &p->itimer_cpu[which - 1].alarm;
	int64_t interval = p->itimer_cpu[which - 1].interval, left = a->armed ? a->deadline - cpu_alarm_now(a) : 0;
	if (a->armed && left < 1000)
		left = 1000;
	return (struct itimerval){ { interval / 1000000000, interval % 1000000000 / 1000 }, { left / 1000000000, left % 1000000000 / 1000 } };
}

static void cpu_set(struct process *p, int which, int64_t value, int64_t interval)
{
	struct cpu_alarm *a = &p->itimer_cpu[which - 1].alarm;
	cpu_alarm_cancel(a);
	p->itimer_cpu[which - 1].interval = value ? interval : 0;
	if (!value)
		return;
	cpu_alarm_init(a, p->pid, 0, which == ITIMER_VIRTUAL, cpu_fires);
	cpu_alarm_set(a, cpu_alarm_now(a) + value);
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
	v = (int)a[0] == ITIMER_REAL ? real_value(t->proc) : cpu_value(t->proc, (int)a[0]);
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
	} else {
		old = cpu_value(t->proc, (int)a[0]);
		cpu_set(t->proc, (int)a[0], tv_ns(&v.it_value), tv_ns(&v.it_interval));
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

/* ---- reading the clock's discipline ------------------------------------------------------------------------------------------ */

struct guest_timex { uint32_t modes, pad; int64_t offset, freq, maxerror, esterror; int32_t status, pad2; int64_t constant, precision, tolerance, sec, usec, tick,
	ppsfreq, jitter; int32_t shift, pad3; int64_t stabil, jitcnt, calcnt, errcnt, stbcnt; int32_t tai, pad4[11]; };
_Static_assert(sizeof(struct guest_timex) == 208, "struct timex of x86-64");

/* Everybody may read; setting needs CAP_SYS_TIME over the host, which nobody has here. The clock is the host's: what it is steered by is not told. */
static long read_timex(struct task *t, uint64_t p)
{
	struct guest_timex x;
	struct timeval tv;
	if (copyin(t, &x, p, sizeof(x)) < 0)
		return -EFAULT;
	if (x.modes && x.modes != 0xa001 /* ADJ_OFFSET_SS_READ */)
		return -EPERM;
	gettimeofday(&tv, NULL);
	x = (struct guest_timex){ .modes = x.modes, .maxerror = 16000000, .esterror = 16000000, .status = 0x40 /* STA_UNSYNC */, .constant = 7, .precision = 1,
		.tolerance = 32768000, .sec = tv.tv_sec, .usec = tv.tv_usec, .tick = 10000 };
	return copyout(t, p, &x, sizeof(x)) < 0 ? -EFAULT : 5; /* TIME_ERROR: not synchronised */
}

long sys_adjtimex(struct task *t, const uint64_t *a) { return read_timex(t, a[0]); }
long sys_clock_adjtime(struct task *t, const uint64_t *a)
{
	clockid_t id = (clockid_t)a[0];
	return id == CLOCK_REALTIME ? read_timex(t, a[1]) : id > CLOCK_TAI || id < 0 ? -EINVAL : -EOPNOTSUPP;
}

static long refuse_set(struct task *t, bool bad)
{
	(void)t;
	return bad ? -EINVAL : -EPERM;
}

long sys_clock_settime(struct task *t, const uint64_t *a)
{
	struct timespec ts;
	if ((clockid_t)a[0] != CLOCK_REALTIME)
		return -EINVAL;
	if (copyin(t, &ts, a[1], sizeof(ts)) < 0)
		return -EFAULT;
	return refuse_set(t, ts.tv_sec < 0 || (uint64_t)ts.tv_nsec >= 1000000000);
}

long sys_settimeofday(struct task *t, const uint64_t *a)
{
	struct timeval tv = { 0 };
	int32_t tz[2];
	if ((a[0] && copyin(t, &tv, a[0], sizeof(tv)) < 0) || (a[1] && copyin(t, tz, a[1], sizeof(tz)) < 0))
		return -EFAULT;
	return refuse_set(t, tv.tv_sec < 0 || (uint64_t)tv.tv_usec >= 1000000);
}
