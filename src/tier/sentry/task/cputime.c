/* CPU time of guest threads, and alarms on it. */
#include "tier/sentry/task/cputime.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tier/sentry/gate/host.h"

enum { ALARM_MIN = 1000000, ALARM_MAX = 100000000 /* ns between looks: precision, and what an idle process may cost */ };

static int64_t rusage_ns(const struct rusage *ru, bool user)
{
	int64_t u = (int64_t)ru->ru_utime.tv_sec * 1000000000 + (int64_t)ru->ru_utime.tv_usec * 1000;
	return user ? u : u + (int64_t)ru->ru_stime.tv_sec * 1000000000 + (int64_t)ru->ru_stime.tv_usec * 1000;
}

/* First field of /proc/PID/task/TID/schedstat (Documentation/scheduler/sched-stats.rst): nanoseconds on a processor. */
static int64_t schedstat(const struct task *t)
{
	char path[64], buf[96];
	if (!t->as || !t->as->pid || t->as->gone || !t->host_tid)
		return -1;
	snprintf(path, sizeof(path), "%d/task/%d/schedstat", t->as->pid, t->host_tid);
	int fd = openat(K.proc_fd, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	buf[n] = 0;
	return strtoll(buf, NULL, 10);
}

int64_t task_cpu_ns(struct task *t, bool user)
{
	struct rusage ru;
	int64_t ns = user ? -1 : schedstat(t);
	if (ns > 0)
		return ns;
	task_rusage(t, &ru);
	return rusage_ns(&ru, user);
}

int64_t process_cpu_ns(struct process *p, bool user)
{
	int64_t ns = user ? rusage_ns(&p->ru_dead_threads, true) : p->cpu_dead_ns;
	struct task *t;
	list_for_each(t, &p->threads, thread_node)
		ns += task_cpu_ns(t, user);
	return ns;
}

int cpu_clock_of(struct task *t, clockid_t id, struct process **ret, struct task **ret_task)
{
	bool thread = id == CLOCK_THREAD_CPUTIME_ID || (id < 0 && id & 4);
	int pid = id < 0 ? ~(id >> 3) : 0;
	if (id < 0 && (id & 3) == 3)
		return -EINVAL;
	struct task *o = thread ? (pid ? task_by_tid(pid) : t) : NULL;
	struct process *p = thread ? (o ? o->proc : NULL) : pid ? process_by_pid(pid) : t->proc;
	if (!p || (thread && p != t->proc))
		return -EINVAL;
	*ret = p;
	*ret_task = o;
	return 0;
}

/* ---- alarms ------------------------------------------------------------------------------------------------------------- */

int64_t cpu_alarm_now(const struct cpu_alarm *a)
{
	struct process *p = process_by_pid(a->pid);
	struct task *t = a->tid ? task_by_tid(a->tid) : NULL;
	if (!p || p->zombie || (a->tid && (!t || t->proc != p)))
		return -ESRCH;
	return t ? task_cpu_ns(t, a->user) : process_cpu_ns(p, a->user);
}

static void look_again(struct cpu_alarm *a, int64_t now)
{
	const struct process *p = process_by_pid(a->pid);
	int64_t wait = (a->deadline - now) / (a->tid || !p || !p->n_threads ? 1 : (int64_t)p->n_threads);
	a->pause = now > a->seen ? ALARM_MIN : MIN(a->pause * 2, (int64_t)ALARM_MAX);
	a->seen = now;
	ktimer_arm(&a->tm, now_ns(CLOCK_MONOTONIC) + MAX(wait, a->pause));
}

static void alarm_fires(struct ktimer *tm)
{
	struct cpu_alarm *a = container_of(tm, struct cpu_alarm, tm);
	int64_t now = cpu_alarm_now(a);
	if (now < 0) {
		a->armed = false;
		return;
	}
	if (now < a->deadline) {
		look_again(a, now);
		return;
	}
	a->armed = false;
	a->fn(a);
}

void cpu_alarm_init(struct cpu_alarm *a, int pid, int tid, bool user, void (*fn)(struct cpu_alarm *))
{
	*a = (struct cpu_alarm){ .pid = pid, .tid = tid, .user = user, .pause = ALARM_MIN, .fn = fn };
	ktimer_init(&a->tm, alarm_fires);
}

void cpu_alarm_set(struct cpu_alarm *a, int64_t deadline)
{
	ktimer_cancel(&a->tm);
	a->deadline = deadline;
	a->armed = true;
	a->pause = ALARM_MIN;
	look_again(a, MAX(cpu_alarm_now(a), (int64_t)0));
}

void cpu_alarm_cancel(struct cpu_alarm *a)
{
	if (a->fn)
		ktimer_cancel(&a->tm);
	a->armed = false;
}

/* ---- RLIMIT_CPU --------------------------------------------------------------------------------------------------------- */

static void limit_reached(struct cpu_alarm *a)
{
	struct process *p = process_by_pid(a->pid);
	int64_t s = process_cpu_ns(p, false) / 1000000000;
	if ((rlim_t)s >= p->rlim[RLIMIT_CPU].rlim_max) {
		send_signal_process(p, SIGKILL, NULL);
		return;
	}
	send_signal_process(p, SIGXCPU, NULL);
	if (p->zombie || p->exiting)
		return;
	cpu_alarm_set(a, (s + 1) * 1000000000); /* and every second more, as Linux does by raising the soft limit */
}

void cpu_limit_changed(struct process *p)
{
	rlim_t s = p->rlim[RLIMIT_CPU].rlim_cur;
	if (s == RLIM_INFINITY) {
		if (p->cpu_limit)
			cpu_alarm_cancel(p->cpu_limit);
		return;
	}
	if (!p->cpu_limit) {
		if (!(p->cpu_limit = malloc(sizeof(*p->cpu_limit))))
			return;
		cpu_alarm_init(p->cpu_limit, p->pid, 0, false, limit_reached);
	}
	cpu_alarm_set(p->cpu_limit, s > 9000000000 ? INT64_MAX / 2 : (int64_t)(s ? s : 1) * 1000000000);
}

void cpu_process_exit(struct process *p)
{
	if (p->cpu_limit)
		cpu_alarm_cancel(p->cpu_limit);
	free(p->cpu_limit);
	p->cpu_limit = NULL;
	for (unsigned i = 0; i < 2; i++)
		cpu_alarm_cancel(&p->itimer_cpu[i].alarm);
}
