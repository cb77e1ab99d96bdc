/* seccomp: strict mode, filters and their answers, order, threads, refusals. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)
#define ARRAY(f) { .len = sizeof(f) / sizeof(f[0]), .filter = f }
#define NR BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))

static int on_call(int nr, unsigned action)
{
	struct sock_filter f[] = { NR, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1), BPF_STMT(BPF_RET | BPF_K, action), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog p = ARRAY(f);
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p);
}

static void in_child(const char *name, void (*fn)(void))
{
	int st;
	fflush(stdout);
	pid_t c = fork();
	if (c == 0) {
		fn();
		fflush(stdout);
		_exit(3);
	}
	waitpid(c, &st, 0);
	if (WIFSIGNALED(st))
		printf("%s: signal %d\n", name, WTERMSIG(st));
	else
		printf("%s: exit %d\n", name, WEXITSTATUS(st));
}

static void strict_ok(void) { prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); syscall(SYS_write, 1, "strict\n", 7); syscall(SYS_exit, 5); }
static void strict_bad(void) { prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT); syscall(SYS_getpid); syscall(SYS_exit, 5); }
static void kill_process(void) { on_call(SYS_getppid, SECCOMP_RET_KILL_PROCESS); getppid(); }
static void kill_thread(void) { on_call(SYS_getppid, SECCOMP_RET_KILL_THREAD); getppid(); }
static void no_tracer(void) { on_call(SYS_getppid, SECCOMP_RET_TRACE | 5); SHOW(syscall(SYS_getppid)); }
static void log_it(void) { on_call(SYS_getppid, SECCOMP_RET_LOG); SHOW(syscall(SYS_getppid) > 0); }
static void strange(void) { on_call(SYS_getppid, 0x12340000); getppid(); }
static void errnos(void)
{
	SHOW(on_call(SYS_getppid, SECCOMP_RET_ERRNO | EOWNERDEAD));
	SHOW(syscall(SYS_getppid));
	SHOW(on_call(SYS_getppid, SECCOMP_RET_ERRNO | 0));
	SHOW(syscall(SYS_getppid)); /* same action: the older filter's data or the newer's? */
	SHOW(on_call(SYS_getuid, SECCOMP_RET_ERRNO | 5000));
	errno = 0;
	SHOW(syscall(SYS_getuid));
	SHOW(prctl(PR_GET_SECCOMP));
	SHOW(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	if (fork() == 0) { /* inherited, also over exec */
		SHOW(syscall(SYS_getuid));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

static volatile int got_nr, got_errno, got_code, got_arch;
static void on_sys(int sig, siginfo_t *si, void *uc)
{
	(void)sig, (void)uc;
	got_nr = si->si_syscall;
	got_errno = si->si_errno;
	got_code = si->si_code;
	got_arch = si->si_arch == AUDIT_ARCH_X86_64;
}
static void trapped(void)
{
	struct sigaction sa = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };
	sigaction(SIGSYS, &sa, NULL);
	on_call(SYS_getppid, SECCOMP_RET_TRAP | 77);
	SHOW(syscall(SYS_getppid) == SYS_getppid);
	printf("nr %d errno %d code %d arch %d\n", got_nr == SYS_getppid, got_errno, got_code, got_arch);
}
static void trapped_default(void) { on_call(SYS_getppid, SECCOMP_RET_TRAP); getppid(); }
static void arguments(void)
{
	struct sock_filter f[] = { NR, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_lseek, 0, 7),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])), BPF_STMT(BPF_ST, 3), BPF_STMT(BPF_LD | BPF_IMM, 1),
		BPF_STMT(BPF_LDX | BPF_MEM, 3), BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0), BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO), BPF_STMT(BPF_RET | BPF_A, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog p = ARRAY(f);
	SHOW(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p));
	SHOW(lseek(0, EBADF - 1, SEEK_SET));
	SHOW(lseek(0, ENOTDIR - 1, SEEK_SET));
}

/* A call site that was used often before the filter came, and a call that may be answered without the kernel's help. */
static long hot(long nr) { return syscall(nr); }
static void after_use(void)
{
	struct sigaction sa = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };
	for (int i = 0; i < 200; i++) {
		hot(SYS_getppid);
		hot(SYS_getpid);
	}
	on_call(SYS_getpid, SECCOMP_RET_ERRNO | EXDEV);
	for (int i = 0; i < 3; i++)
		SHOW(hot(SYS_getpid));
	sigaction(SIGSYS, &sa, NULL);
	on_call(SYS_getppid, SECCOMP_RET_TRAP | 9);
	got_nr = 0;
	SHOW(hot(SYS_getppid) == SYS_getppid);
	printf("nr %d errno %d\n", got_nr == SYS_getppid, got_errno);
	on_call(SYS_getuid, SECCOMP_RET_KILL_PROCESS);
	hot(SYS_getuid);
}

static int go;
static void *other(void *p)
{
	(void)p;
	while (!__atomic_load_n(&go, __ATOMIC_SEQ_CST))
		usleep(1000);
	return (void *)(long)(syscall(SYS_getuid) < 0 ? errno : 0);
}
static void tsync(void)
{
	struct sock_filter f[] = { NR, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getuid, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) };
	struct sock_fprog p = ARRAY(f);
	pthread_t th;
	void *r;
	pthread_create(&th, NULL, other, NULL);
	SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &p));
	__atomic_store_n(&go, 1, __ATOMIC_SEQ_CST);
	pthread_join(th, &r);
	printf("other thread: %s\n", strerrorname_np((int)(long)r));
}
static void refusals(void)
{
	struct sock_filter ok[] = { BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW) }, no_ret[] = { NR }, odd[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 3), ok[0] },
		far[] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, sizeof(struct seccomp_data)), ok[0] }, jump[] = { BPF_STMT(BPF_JMP | BPF_JA, 5), ok[0] },
		scratch[] = { BPF_STMT(BPF_LD | BPF_MEM, 0), ok[0] }, div[] = { BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), ok[0] }, half[] = { BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), ok[0] };
	struct sock_fprog p[] = { ARRAY(no_ret), ARRAY(odd), ARRAY(far), ARRAY(jump), ARRAY(scratch), ARRAY(div), ARRAY(half), { 0, ok }, { 5000, ok }, { 1, (void *)8 } }, good = ARRAY(ok);
	for (unsigned i = 0; i < sizeof(p) / sizeof(p[0]); i++)
		SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p[i]));
	SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0x8000, &good));
	SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, 8));
	SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, 0));
	SHOW(syscall(SYS_seccomp, 99, 0, 0));
	unsigned act = SECCOMP_RET_TRAP, bad = 0x12340000;
	SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &act));
	SHOW(syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &bad));
	SHOW(prctl(PR_GET_SECCOMP));
	setgid(65534);
	setuid(65534);
	SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &good));
	SHOW(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	SHOW(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &good));
}

int main(void)
{
	in_child("refusals", refusals);
	in_child("strict", strict_ok);
	in_child("strict, other call", strict_bad);
	in_child("kill process", kill_process);
	in_child("kill thread", kill_thread);
	in_child("no tracer", no_tracer);
	in_child("log", log_it);
	in_child("unknown action", strange);
	in_child("errno", errnos);
	in_child("trap", trapped);
	in_child("trap, no handler", trapped_default);
	in_child("arguments", arguments);
	in_child("hot call site", after_use);
	in_child("tsync", tsync);
	return 0;
}
