/* Handlers, masks, queues, alternate stack, restart, siginfo. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t hits, order[16];
static sigjmp_buf env;
static volatile double keep;
static void count(int s) { order[hits++ & 15] = s; keep = keep * 3 + 1; }
static void info(int s, siginfo_t *si, void *uc)
{
	(void)uc;
	printf("sig %d code %d self %d value %d\n", s, si->si_code, si->si_pid == getpid(), si->si_value.sival_int);
}
static void fault(int s, siginfo_t *si, void *uc)
{
	(void)uc;
	printf("fault %d code %d at low %d\n", s, si->si_code, (long)si->si_addr == 16);
	siglongjmp(env, 1);
}
static void on_stack(int s)
{
	stack_t ss;
	(void)s;
	sigaltstack(NULL, &ss);
	printf("on alternate stack: %d\n", !!(ss.ss_flags & SS_ONSTACK));
}

int main(void)
{
	struct sigaction sa = { .sa_handler = count };
	sigset_t set, old;
	setvbuf(stdout, NULL, _IONBF, 0);
	double x = 1.5;
	sigaction(SIGUSR1, &sa, NULL);
	raise(SIGUSR1);
	printf("hits %d fp %d\n", (int)hits, x * 2 == 3.0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGUSR1);
	raise(SIGUSR1);
	sigpending(&set);
	printf("blocked hits %d pending %d\n", (int)hits, sigismember(&set, SIGUSR1));
	sigprocmask(SIG_SETMASK, &old, NULL);
	printf("after %d\n", (int)hits);
	sigset_t rt;
	sigemptyset(&rt);
	sigaddset(&rt, SIGRTMIN + 1);
	sigprocmask(SIG_BLOCK, &rt, NULL);
	struct sigaction si = { .sa_sigaction = info, .sa_flags = SA_SIGINFO };
	sigaction(SIGRTMIN + 1, &si, NULL);
	for (int i = 0; i < 3; i++)
		sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ .sival_int = i });
	sigprocmask(SIG_UNBLOCK, &rt, NULL);
	struct sigaction sf = { .sa_sigaction = fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &sf, NULL);
	sigaction(SIGBUS, &sf, NULL);
	if (!sigsetjmp(env, 1))
		*(volatile int *)16 = 1;
	void *ro = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!sigsetjmp(env, 1)) {
		*(volatile char *)ro = 1;
	} else {
		printf("recovered\n");
	}
	(void)ro;
	stack_t ss = { .ss_sp = malloc(65536), .ss_size = 65536 };
	sigaltstack(&ss, NULL);
	struct sigaction sk = { .sa_handler = on_stack, .sa_flags = SA_ONSTACK };
	sigaction(SIGUSR2, &sk, NULL);
	raise(SIGUSR2);
	struct itimerval it = { .it_value.tv_usec = 20000 };
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	struct timespec ts = { 5, 0 };
	int r = nanosleep(&ts, &ts);
	printf("nanosleep %d %s left %d\n", r, strerror(errno), ts.tv_sec == 4);
	int fd[2];
	char c;
	if (pipe(fd))
		return 1;
	sa.sa_flags = 0;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	printf("read %zd %s\n", read(fd[0], &c, 1), strerror(errno));
	sa.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &sa, NULL);
	if (!fork()) {
		usleep(100000);
		_exit(write(fd[1], "x", 1) != 1);
	}
	setitimer(ITIMER_REAL, &it, NULL);
	printf("restarted read %zd\n", read(fd[0], &c, 1));
	wait(NULL);
	signal(SIGPIPE, SIG_IGN);
	close(fd[0]);
	printf("write %zd %s\n", write(fd[1], "x", 1), strerror(errno));
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGTERM);
	siginfo_t info2;
	struct timespec zero = { 0, 0 };
	int first = sigtimedwait(&set, &info2, &zero);
	printf("sigtimedwait %d", first);
	printf(" again %d %s\n", first = sigtimedwait(&set, &info2, &zero), strerror(errno));
	printf("bad signal %d %s\n", kill(getpid(), 65), strerror(errno));
	return 0;
}
