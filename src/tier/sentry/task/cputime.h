/* CPU time of guest threads, and alarms on it (CPU-time timers, ITIMER_VIRTUAL and PROF, RLIMIT_CPU). */
#ifndef TIERCE_SENTRY_CPUTIME_H
#define TIERCE_SENTRY_CPUTIME_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "tier/sentry/kernel.h"

/* Nanoseconds that host threads of the guest ran; user: without system time, at tick resolution. */
int64_t task_cpu_ns(struct task *t, bool user);
int64_t process_cpu_ns(struct process *p, bool user);

/* The process or thread behind a CPU clock id (CLOCK_PROCESS_CPUTIME_ID ..., clock_getcpuclockid(3)); -EINVAL. *ret_task: NULL for a process's clock. */
int cpu_clock_of(struct task *t, clockid_t id, struct process **ret, struct task **ret_task);

/* There is no host timer on another process's CPU time: the clock is looked at when the time could be up at the earliest, and less and less often
 * while the process does not run. */
struct cpu_alarm {
	struct ktimer tm;
	int pid, tid; /* tid 0: the whole process */
	bool user, armed;
	int64_t deadline, seen, pause;
	void (*fn)(struct cpu_alarm *a);
};
void cpu_alarm_init(struct cpu_alarm *a, int pid, int tid, bool user, void (*fn)(struct cpu_alarm *));
int64_t cpu_alarm_now(const struct cpu_alarm *a); /* -ESRCH: gone */
void cpu_alarm_set(struct cpu_alarm *a, int64_t deadline);
void cpu_alarm_cancel(struct cpu_alarm *a);

/* RLIMIT_CPU of the process was set, or the process is new. */
void cpu_limit_changed(struct process *p);
void cpu_process_exit(struct process *p);

#endif
