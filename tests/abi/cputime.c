/* CPU-time clocks: interval timers, POSIX timers, sleeping on another's clock, RLIMIT_CPU; adjtimex as a reader; priorities and policies. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)
static volatile sig_atomic_t got[65];
static void on(int sig) { got[sig]++; }
static void burn_until(int sig)
{
	time_t end = time(NULL) + 20;
	while (!got[sig] && time(NULL) < end)
		for (volatile int i = 0; i < 100000; i++)
			;
}

static void limits(void)
{
	int st;
	fflush(stdout);
	pid_t c = fork();
	if (c == 0) {
		struct rlimit r = { 1, 2 };
		setrlimit(RLIMIT_CPU, &r);
		burn_until(SIGXCPU);
		printf("SIGXCPU %d\n", got[SIGXCPU] > 0);
		fflush(stdout);
		got[SIGXCPU] = -1000000;
		for (;;)
			;
	}
	waitpid(c, &st, 0);
	printf("then signal %d\n", WIFSIGNALED(st) ? WTERMSIG(st) : 0);
}

int main(void)
{
	struct itimerval it = { { 0, 0 }, { 0, 30000 } }, now;
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec its = { { 0, 0 }, { 0, 30000000 } };
	struct timespec a, b;
	struct timex tx = { 0 };
	timer_t t;
	clockid_t clk;
	int sigs[] = { SIGPROF, SIGVTALRM, SIGUSR1, SIGXCPU };
	for (unsigned i = 0; i < 4; i++)
		signal(sigs[i], on);
	SHOW(setitimer(ITIMER_PROF, &it, NULL));
	SHOW(getitimer(ITIMER_PROF, &now));
	printf("%d\n", now.it_value.tv_usec > 0 && now.it_value.tv_usec <= 40000);
	burn_until(SIGPROF);
	printf("SIGPROF %d\n", got[SIGPROF]);
	SHOW(setitimer(ITIMER_VIRTUAL, &it, NULL));
	burn_until(SIGVTALRM);
	printf("SIGVTALRM %d\n", got[SIGVTALRM]);
	SHOW(timer_create(CLOCK_PROCESS_CPUTIME_ID, &ev, &t));
	SHOW(timer_settime(t, 0, &its, NULL));
	burn_until(SIGUSR1);
	printf("timer %d\n", got[SIGUSR1]);
	SHOW(timer_delete(t));
	got[SIGUSR1] = 0;
	SHOW(timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &t));
	SHOW(timer_settime(t, 0, &its, NULL));
	burn_until(SIGUSR1);
	printf("timer %d\n", got[SIGUSR1]);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (volatile int i = 0; i < 3000000; i++)
		;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	printf("advances %d\n", b.tv_sec > a.tv_sec || b.tv_nsec > a.tv_nsec);
	fflush(stdout);
	pid_t c = fork();
	if (c == 0)
		for (;;)
			;
	SHOW(clock_getcpuclockid(c, &clk));
	struct timespec until = { 0, 20000000 };
	SHOW(clock_nanosleep(clk, TIMER_ABSTIME, &until, NULL));
	SHOW(clock_gettime(clk, &b));
	printf("slept %d\n", b.tv_sec || b.tv_nsec >= 20000000);
	kill(c, SIGKILL);
	waitpid(c, NULL, 0);
	SHOW(clock_gettime(clk, &b));
	SHOW(adjtimex(&tx) >= 0);
	SHOW(tx.tick);
	limits();
	/* what is kept is told again */
	SHOW(nice(5));
	SHOW(getpriority(PRIO_PROCESS, 0));
	SHOW(setpriority(PRIO_PGRP, 0, 7));
	SHOW(getpriority(PRIO_PGRP, 0));
	struct sched_param p = { 0 };
	SHOW(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &p));
	SHOW(sched_getscheduler(0) == (SCHED_BATCH | SCHED_RESET_ON_FORK));
	fflush(stdout);
	if (fork() == 0) {
		SHOW(sched_getscheduler(0));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	return 0;
}
