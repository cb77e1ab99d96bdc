/* Hot call sites: registers, red zone and vectors across a call, threads and signals inside, fork and vfork, bad pointers, restarts, jumps into the middle. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* One site each; `bare` is the address of a `syscall` instruction that is called with rax already set. */
__asm__(
	".text\n"
	"site_getppid: mov $110, %eax\n syscall\n ret\n"
	"site_getpid: mov $39, %eax\n syscall\n ret\n"
	"site_read: mov $0, %eax\n syscall\n ret\n"
	"site_write: mov $1, %rax\n bare: syscall\n ret\n"
	"site_any: mov %rdi, %rax\n mov %rsi, %rdi\n mov %rdx, %rsi\n mov %rcx, %rdx\n mov %r8, %r10\n mov %r9, %r8\n mov 8(%rsp), %r9\n syscall\n ret\n"
	"call_bare: mov $110, %eax\n jmp bare\n"
	/* sums of what must survive: rdi, rsi, rdx, r8, r9, r10, rbx, rbp, r12-r15, xmm0, xmm15, 128 bytes below rsp */
	"site_all:\n push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
	"mov $1, %edi\n mov $2, %esi\n mov $4, %edx\n mov $8, %r8d\n mov $16, %r9d\n mov $32, %r10d\n mov $64, %ebx\n mov $128, %ebp\n"
	"mov $256, %r12d\n mov $512, %r13d\n mov $1024, %r14d\n mov $2048, %r15d\n movq %r15, %xmm0\n movq %r14, %xmm15\n"
	"movq $4096, -128(%rsp)\n movq $8192, -8(%rsp)\n"
	"mov $110, %eax\n syscall\n"
	"xor %eax, %eax\n add %rdi, %rax\n add %rsi, %rax\n add %rdx, %rax\n add %r8, %rax\n add %r9, %rax\n add %r10, %rax\n add %rbx, %rax\n"
	"add %rbp, %rax\n add %r12, %rax\n add %r13, %rax\n add %r14, %rax\n add %r15, %rax\n movq %xmm0, %rcx\n add %rcx, %rax\n movq %xmm15, %rcx\n"
	"add %rcx, %rax\n add -128(%rsp), %rax\n add -8(%rsp), %rax\n"
	"pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n");
long site_getppid(void), site_getpid(void), call_bare(void), site_all(void);
long site_read(int, void *, size_t), site_write(int, const void *, size_t), site_any(long nr, ...);

enum { ALL = 4095 /* registers */ + 2048 + 1024 /* vectors */ + 4096 + 8192 /* red zone */ };

static volatile int ticks;
static volatile sig_atomic_t stop;
static void tick(int s) { (void)s; ticks++; }
static void on_alarm(int s, siginfo_t *si, void *uc) { (void)s, (void)si, (void)uc; ticks++; site_getppid(); }

static void *many(void *arg)
{
	long bad = 0, ppid = getppid(), pid = getpid();
	(void)arg;
	for (int i = 0; i < 2000; i++) {
		bad += site_getppid() != ppid;
		bad += site_getpid() != pid;
		bad += site_all() != ALL;
	}
	return (void *)bad;
}

static void threads(void)
{
	pthread_t t[8];
	long bad = 0;
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, many, NULL);
	for (int i = 0; i < 8; i++) {
		void *r;
		pthread_join(t[i], &r);
		bad += (long)r;
	}
	printf("threads: %ld wrong\n", bad);
}

static void under_timer(void)
{
	struct sigaction sa = { .sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct itimerval it = { { 0, 500 }, { 0, 500 } }, off = { { 0, 0 }, { 0, 0 } };
	long bad = 0, ppid = getppid();
	int p[2];
	char c;
	pipe(p);
	ticks = 0;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	for (long i = 0; i < 5000 || ticks < 20; i++) {
		c = (char)i;
		bad += site_write(p[1], &c, 1) != 1;
		c++;
		bad += site_read(p[0], &c, 1) != 1 || c != (char)i;
		bad += site_getppid() != ppid;
		bad += site_all() != ALL;
	}
	setitimer(ITIMER_REAL, &off, NULL);
	printf("timer: %ld wrong\n", bad);
	close(p[0]);
	close(p[1]);
}

static void restarts(void)
{
	struct sigaction sa = { .sa_handler = tick };
	struct itimerval once = { { 0, 0 }, { 0, 20000 } };
	int p[2];
	char c = 'x';
	pipe(p);
	sigaction(SIGALRM, &sa, NULL);
	ticks = 0;
	setitimer(ITIMER_REAL, &once, NULL);
	long r = site_read(p[0], &c, 1);
	printf("interrupted: %ld ticks %d\n", r, ticks);
	sa.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &sa, NULL);
	ticks = 0;
	pid_t child = fork();
	if (!child) {
		usleep(100000);
		_exit(site_write(p[1], "r", 1) != 1);
	}
	setitimer(ITIMER_REAL, &once, NULL);
	r = site_read(p[0], &c, 1);
	printf("restarted: %ld %c ticks %d\n", r, c, ticks);
	waitpid(child, NULL, 0);
	signal(SIGPIPE, tick);
	close(p[0]);
	ticks = 0;
	r = site_write(p[1], &c, 1);
	printf("no reader: %ld ticks %d\n", r, ticks);
	close(p[1]);
}

static void pointers(void)
{
	char *m = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), c[8192];
	int p[2];
	pipe(p);
	mprotect(m + 4096, 4096, PROT_NONE);
	memset(m, 'a', 4096);
	printf("write from nowhere: %ld\n", site_write(p[1], NULL, 5));
	printf("write from PROT_NONE: %ld\n", site_write(p[1], m + 4096, 5));
	site_write(p[1], "hello", 5);
	printf("read to nowhere: %ld\n", site_read(p[0], (void *)8, 5));
	printf("read to PROT_NONE: %ld\n", site_read(p[0], m + 4096, 5));
	printf("still there: %ld\n", site_read(p[0], m + 8192, 64));
	printf("%.5s\n", m + 8192);
	printf("read to read-only: ");
	site_write(p[1], "again", 5);
	mprotect(m + 8192, 4096, PROT_READ);
	printf("%ld", site_read(p[0], m + 8192, 5));
	printf(", then %ld\n", site_read(p[0], c, 64));
	printf("bad call numbers: %ld %ld\n", site_any(100000, 0, 0, 0, 0, 0, 0), site_any(-1, 0, 0, 0, 0, 0, 0));
	struct iovec v[3] = { { m, 3 }, { NULL, 0 }, { m + 5, 4 } }, w[2] = { { c, 2 }, { c + 10, 100 } };
	for (int i = 0; i < 30; i++) {
		long n = site_any(SYS_writev, p[1], v, 3, 0, 0, 0), k = site_any(SYS_readv, p[0], w, 2, 0, 0, 0);
		if (n != 7 || k != 7 || memcmp(c, "aa", 2) || memcmp(c + 10, "aaaaa", 5))
			printf("vectors wrong: %ld %ld\n", n, k);
	}
	close(p[0]);
	close(p[1]);
	munmap(m, 3 * 4096);
}

static void sizes(void)
{
	static char a[300000], b[300000];
	char name[] = "/tmp/patched-XXXXXX";
	int fd = mkstemp(name);
	for (unsigned i = 0; i < sizeof(a); i++)
		a[i] = (char)(i * 31 + i / 4096);
	unlink(name);
	for (int round = 0; round < 20; round++)
		for (unsigned n = 1; n < sizeof(a); n = n * 3 + 1) {
			memset(b, 0, n);
			lseek(fd, 0, SEEK_SET);
			long w = site_write(fd, a, n);
			lseek(fd, 0, SEEK_SET);
			long r = site_read(fd, b, n);
			if (w != n || r != n || memcmp(a, b, n))
				printf("size %u: %ld %ld %d\n", n, w, r, memcmp(a, b, n));
		}
	printf("sizes done\n");
	close(fd);
}

static void *forker(void *arg)
{
	long bad = 0;
	(void)arg;
	for (int i = 0; i < 20; i++) {
		pid_t me = getpid(), p = fork();
		if (!p)
			_exit(site_getppid() != me || site_getpid() == me || site_all() != ALL);
		int st;
		waitpid(p, &st, 0);
		bad += st != 0;
	}
	return (void *)bad;
}

static void forks(void)
{
	pthread_t t[4];
	long bad = 0;
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, i < 2 ? forker : many, NULL);
	for (int i = 0; i < 4; i++) {
		void *r;
		pthread_join(t[i], &r);
		bad += (long)r;
	}
	for (int i = 0; i < 20; i++) {
		int st;
		pid_t p = vfork();
		if (!p)
			_exit(site_getpid() == site_getppid() ? 1 : 7);
		waitpid(p, &st, 0);
		bad += WEXITSTATUS(st) != 7;
	}
	printf("forks: %ld wrong\n", bad);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (argc > 1) {
		long bad = 0;
		for (int i = 0; i < 40; i++)
			bad += site_getppid() != getppid();
		printf("after exec: %ld wrong\n", bad);
		return 0;
	}
	long bad = 0;
	for (int i = 0; i < 100; i++) {
		bad += site_all() != ALL;
		bad += call_bare() != getppid();
	}
	printf("one thread: %ld wrong\n", bad);
	sizes();
	pointers();
	under_timer();
	threads();
	forks();
	restarts();
	execl("/proc/self/exe", "patched", "again", NULL);
	return 1;
}
