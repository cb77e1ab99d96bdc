/*
 * One measured loop inside a container: bench-work NAME N [FILE] prints "ns-per-round" to stdout. Runs natively, under ns and behind the sentry.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *file;
static int fd;
static char *buf;
static volatile uint64_t sink;

static void open_file(int flags)
{
	fd = open(file, flags);
	if (fd < 0 || posix_memalign((void **)&buf, 4096, 1 << 20)) {
		perror(file);
		exit(1);
	}
	memset(buf, 1, 1 << 20);
}

static void do_getpid(long n) { while (n--) syscall(SYS_getpid); }
static void do_getppid(long n) { while (n--) getppid(); }
static void do_pread(long n)
{
	struct stat st;
	uint64_t x = 88172645463325252ull;
	fstat(fd, &st);
	uint64_t blocks = (uint64_t)st.st_size / 4096;
	while (n--) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		if (pread(fd, buf, 4096, (off_t)(x % blocks * 4096)) != 4096)
			exit(2);
	}
}
static void do_seq(long n)
{
	while (n--) {
		ssize_t k = read(fd, buf, 1 << 20);
		if (k < 0)
			exit(2);
		if (k < 1 << 20)
			lseek(fd, 0, SEEK_SET);
	}
}
static void do_write(long n) { while (n--) if (pwrite(fd, buf, 4096, n % 64 * 4096) != 4096) exit(2); }
static void do_stat(long n) { struct stat st; while (n--) stat(file, &st); }
static void do_open(long n)
{
	while (n--) {
		int f = open(file, O_RDONLY);
		close(f);
	}
}
static void do_pipe(long n)
{
	int p[2];
	char c = 0;
	if (pipe(p))
		exit(2);
	while (n--)
		if (write(p[1], &c, 1) != 1 || read(p[0], &c, 1) != 1)
			exit(2);
}
static void do_fork(long n)
{
	while (n--) {
		pid_t p = fork();
		if (!p)
			_exit(0);
		waitpid(p, NULL, 0);
	}
}
static void do_exec(long n)
{
	while (n--) {
		pid_t p = fork();
		if (!p) {
			execl("/proc/self/exe", "bench-work", "none", "0", NULL);
			_exit(1);
		}
		int st;
		waitpid(p, &st, 0);
		if (st)
			exit(2);
	}
}
static void do_fault(long n)
{
	while (n > 0) {
		char *p = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		madvise(p, 4 << 20, MADV_NOHUGEPAGE);
		for (long i = 0; i < 1024; i++)
			p[i * 4096] = 1;
		munmap(p, 4 << 20);
		n -= 1024;
	}
}
static void do_compute(long n)
{
	uint64_t x = 1;
	while (n--)
		for (int i = 0; i < 1000; i++)
			x = x * 6364136223846793005ull + 1442695040888963407ull;
	sink = x;
}
static void do_mmap(long n) { while (n--) munmap(mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 65536); }
static void do_none(long n) { (void)n; }

static const struct work { const char *name; void (*fn)(long); int open_flags; } works[] = {
	{ "getpid", do_getpid, -1 }, { "getppid", do_getppid, -1 }, { "pread", do_pread, O_RDONLY }, { "direct", do_pread, O_RDONLY | O_DIRECT },
	{ "seq", do_seq, O_RDONLY }, { "write", do_write, O_RDWR }, { "stat", do_stat, -1 }, { "open", do_open, -1 }, { "pipe", do_pipe, -1 },
	{ "fork", do_fork, -1 }, { "exec", do_exec, -1 }, { "fault", do_fault, -1 }, { "compute", do_compute, -1 }, { "mmap", do_mmap, -1 },
	{ "none", do_none, -1 },
};

int main(int argc, char **argv)
{
	if (argc < 3)
		return 1;
	file = argc > 3 ? argv[3] : "/bench-file";
	for (unsigned i = 0; i < sizeof(works) / sizeof(*works); i++) {
		struct timespec a, b;
		long n = atol(argv[2]);
		if (strcmp(works[i].name, argv[1]))
			continue;
		if (works[i].open_flags >= 0)
			open_file(works[i].open_flags);
		works[i].fn(n / 10);
		clock_gettime(CLOCK_MONOTONIC, &a);
		works[i].fn(n);
		clock_gettime(CLOCK_MONOTONIC, &b);
		if (n)
			printf("%.1f\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)n);
		return 0;
	}
	return 1;
}
