/* Group lists of every size, clocks of every number: calls for which a C library behind the kernel may make calls of its own. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void groups(unsigned n)
{
	gid_t *g = calloc(n + 1, sizeof(*g)), *h = calloc(n + 1, sizeof(*h));
	for (unsigned i = 0; i < n; i++)
		g[i] = (i * 7919u) % 60000u + 1;
	int rc = setgroups(n, g), have = getgroups(0, NULL), got = getgroups((int)n, h), sorted = 1;
	for (int i = 1; i < got; i++)
		sorted &= h[i - 1] <= h[i];
	printf("groups %u: %d, %d %d, sorted %d, first %u\n", n, rc, have, got, sorted, got > 0 ? h[0] : 0);
	free(g);
	free(h);
}

int main(void)
{
	static const unsigned sizes[] = { 3, 0, 0, 1, 0, 255, 256, 257, 5000, 65536, 0, 2 };
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		groups(sizes[i]);
	printf("too many: %d\n", setgroups(65537, NULL) < 0 ? errno : 0);
	fflush(stdout);
	if (fork() == 0) {
		printf("setuid %d\n", setuid(1000));
		printf("setgroups as user: %d\n", setgroups(0, NULL) < 0 ? errno : 0);
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	for (int id = 0; id < 13; id++) {
		struct timespec ts;
		long rc = syscall(SYS_clock_gettime, id, &ts);
		if (id == CLOCK_REALTIME_ALARM || id == CLOCK_BOOTTIME_ALARM)
			continue; /* there are machines without an alarm; being answered is what counts */
		printf("clock %d: %ld\n", id, rc < 0 ? (long)errno : rc);
	}
	int fd = open("/tmp/creds-a", O_CREAT | O_WRONLY | O_TRUNC, 0600);
	close(fd);
	int moved = rename("/tmp/creds-a", "/tmp/creds-b"), gone = access("/tmp/creds-a", F_OK), there = access("/tmp/creds-b", F_OK);
	printf("rename %d %d %d\n", moved, gone, there);
	unlink("/tmp/creds-b");
	return 0;
}
