/* attack NAME [SEED]: prints "NAME: stands" when the attack is over and the kernel still works; exit 0. */
#include "attack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t state = 88172645463325252ull;
uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}
void rnd_seed(uint64_t s)
{
	state = s * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
	for (int i = 0; i < 8; i++)
		rnd();
}

void quiet(void)
{
	int fd = open("/dev/null", O_RDWR);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
}

bool trial(void (*fn)(unsigned), unsigned arg, unsigned ms)
{
	int status;
	pid_t pid = fork();
	if (pid < 0)
		return false;
	if (pid == 0) {
		setpgid(0, 0);
		quiet();
		rnd_seed(arg + 1);
		fn(arg);
		_exit(0);
	}
	setpgid(pid, pid);
	/* a call like any other, so that a guest's own timers cannot be what saves it */
	for (unsigned waited = 0;; waited += 2) {
		pid_t r = waitpid(pid, &status, WNOHANG);
		if (r == pid)
			break;
		if (r < 0)
			return false;
		if (waited >= ms) {
			kill(pid, SIGKILL);
			if (waitpid(pid, &status, 0) != pid)
				return false;
			break;
		}
		usleep(2000);
	}
	kill(-pid, SIGKILL); /* what it left behind */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return true;
}

static void *thread(void *p) { return (char *)p + 1; }

bool kernel_stands(void)
{
	pthread_t th;
	void *r = NULL;
	int p[2], status = -1, fd;
	char c = 0, path[] = "/tmp/standsXXXXXX";
	struct stat st;
	pid_t pid = fork();
	if (pid == 0)
		_exit(7);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 7)
		return fprintf(stderr, "no process: %s\n", strerror(errno)), false;
	if (pthread_create(&th, NULL, thread, (void *)41) || pthread_join(th, &r) || r != (void *)42)
		return fprintf(stderr, "no thread\n"), false;
	if (pipe(p) < 0 || write(p[1], "x", 1) != 1 || read(p[0], &c, 1) != 1 || c != 'x')
		return fprintf(stderr, "no pipe: %s\n", strerror(errno)), false;
	close(p[0]);
	close(p[1]);
	if ((fd = mkstemp(path)) < 0 || write(fd, "1234", 4) != 4 || fstat(fd, &st) < 0 || st.st_size != 4 || unlink(path) < 0)
		return fprintf(stderr, "no file: %s\n", strerror(errno)), false;
	close(fd);
	return true;
}

static const struct { const char *name; int (*fn)(unsigned); } attacks[] = { { "gate", attack_gate }, { "scribble", attack_scribble }, { "race", attack_race },
	{ "bounds", attack_bounds }, { "storm", attack_storm }, { "exhaust", attack_exhaust }, { "elf", attack_elf } };

int main(int argc, char **argv)
{
	unsigned seed = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : 1;
	if (argc > 1 && strcmp(argv[1], "true") == 0)
		return 0;
	for (size_t i = 0; argc > 1 && i < sizeof(attacks) / sizeof(*attacks); i++) {
		if (strcmp(attacks[i].name, argv[1]))
			continue;
		rnd_seed(seed);
		signal(SIGPIPE, SIG_IGN);
		if (attacks[i].fn(seed) || !kernel_stands()) {
			printf("%s: FAILED\n", argv[1]);
			return 1;
		}
		printf("%s: stands\n", argv[1]);
		return 0;
	}
	return 2;
}
