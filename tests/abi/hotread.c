/* Files that are read often: ends, growth, truncation, overwriting, closing, forks and bad pointers while they are hot. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { K = 1024, SIZE = 300 * K };
static char a[SIZE], b[SIZE], path[] = "/tmp/hotread-XXXXXX";

static void fill(char *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (char)(i * 7 + i / 4096 * 13 + seed);
}

static long heat(int fd, int times)
{
	long bad = 0;
	for (int i = 0; i < times; i++) {
		off_t at = (off_t)(i * 5003 % (SIZE - 8192));
		bad += pread(fd, b, 8192, at) != 8192 || memcmp(a + at, b, 8192) != 0;
	}
	return bad;
}

static long whole(int fd)
{
	size_t n = 0;
	ssize_t k;
	lseek(fd, 0, SEEK_SET);
	memset(b, 0, sizeof(b));
	while ((k = read(fd, b + n, sizeof(b) - n)) > 0)
		n += (size_t)k;
	return k < 0 ? -1 : (long)n;
}

int main(void)
{
	int fd = mkstemp(path);
	setvbuf(stdout, NULL, _IONBF, 0);
	fill(a, SIZE, 1);
	write(fd, a, SIZE);
	printf("hot: %ld wrong\n", heat(fd, 200));
	for (int i = 0; i < 10; i++)
		if (whole(fd) != SIZE || memcmp(a, b, SIZE))
			printf("whole file differs\n");
	printf("position %ld\n", (long)lseek(fd, 0, SEEK_CUR));
	printf("at the end: %zd, over the end: %zd, behind: %zd\n", pread(fd, b, 4096, SIZE), pread(fd, b, 8192, SIZE - 5000), pread(fd, b, 4096, 10 * SIZE));
	printf("bad pointer: %zd %d\n", pread(fd, (void *)16, 8192, 0), errno);
	char *ro = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	printf("read-only buffer: %zd %d\n", pread(fd, ro, 8192, 0), errno);
	lseek(fd, 100, SEEK_SET);
	printf("read into it: %zd %d, ", read(fd, ro, 65536), errno);
	printf("position %ld\n", (long)lseek(fd, 0, SEEK_CUR));
	fill(a + 5000, 10000, 9);
	pwrite(fd, a + 5000, 10000, 5000);
	printf("overwritten: %ld wrong\n", heat(fd, 100));
	int other = open(path, O_RDWR), copy = dup(fd);
	ftruncate(other, 50000);
	printf("truncated: %zd %zd %zd\n", pread(fd, b, 8192, 45000), pread(copy, b, 8192, 60000), pread(fd, b, 8192, 49000));
	printf("whole: %ld %d\n", whole(fd), memcmp(a, b, 50000));
	pwrite(other, a + 50000, SIZE - 50000, 50000);
	printf("grown: %ld wrong\n", heat(fd, 100));
	pid_t p = fork();
	if (!p) {
		long bad = heat(fd, 100);
		ftruncate(fd, 4096);
		_exit(bad != 0 || pread(fd, b, 8192, 0) != 4096);
	}
	int st;
	waitpid(p, &st, 0);
	printf("child: %d, then %zd\n", st, pread(fd, b, 8192, 0));
	pwrite(fd, a, SIZE, 0);
	heat(fd, 100);
	unlink(path);
	printf("unlinked: %ld wrong\n", heat(fd, 50));
	close(other);
	close(copy);
	close(fd);
	printf("closed: %zd %d\n", pread(fd, b, 8192, 0), errno);
	int again = open("/proc/self/exe", O_RDONLY);
	char c[4096];
	printf("another file under the number: %d %zd %d\n", again == fd, pread(again, c, 4096, 0), memcmp(c, "\177ELF", 4));
	dup2(open("/dev/null", O_RDONLY), again);
	printf("replaced: %zd\n", pread(again, c, 4096, 0));
	return 0;
}
