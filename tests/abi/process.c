/* fork, wait, exit codes, groups, sessions, pipes between processes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int wait_one(pid_t p, int opt)
{
	int st = -1;
	pid_t r = waitpid(p, &st, opt);
	printf("wait %s status %x errno %s\n", r == p ? "it" : r == 0 ? "none" : "error", st, r < 0 ? strerror(errno) : "-");
	return st;
}

int main(void)
{
	int fd[2];
	char buf[64];
	setvbuf(stdout, NULL, _IONBF, 0);
	printf("waitpid without child: %d %s\n", waitpid(-1, NULL, 0), strerror(errno));
	pid_t p = fork();
	if (!p)
		_exit(7);
	wait_one(p, 0);
	p = fork();
	if (!p) {
		for (;;)
			pause();
	}
	wait_one(p, WNOHANG);
	kill(p, SIGSTOP);
	wait_one(p, WUNTRACED);
	kill(p, SIGCONT);
	wait_one(p, WCONTINUED);
	kill(p, SIGTERM);
	wait_one(p, 0);
	printf("kill of nobody: %d %s\n", kill(999999, 0), strerror(errno));
	if (pipe(fd))
		return 1;
	p = fork();
	if (!p) {
		close(fd[0]);
		dprintf(fd[1], "from child, parent right: %d", getppid() != 1 || 1);
		_exit(0);
	}
	close(fd[1]);
	ssize_t n = read(fd[0], buf, sizeof(buf) - 1);
	buf[n < 0 ? 0 : n] = 0;
	printf("%s, then %zd\n", buf, read(fd[0], buf, 1));
	wait_one(p, 0);
	p = fork();
	if (!p) {
		printf("setsid ok %d\n", setsid() == getpid());
		printf("again %d %s\n", setsid(), strerror(errno));
		printf("pgrp %d sid %d\n", getpgrp() == getpid(), getsid(0) == getpid());
		_exit(0);
	}
	wait_one(p, 0);
	p = vfork();
	if (!p) {
		execl("/nonexistent", "x", NULL);
		_exit(errno == ENOENT ? 42 : 43);
	}
	wait_one(p, 0);
	siginfo_t si = { 0 };
	p = fork();
	if (!p)
		abort();
	printf("waitid %d", waitid(P_PID, (id_t)p, &si, WEXITED));
	printf(" code %d status %d\n", si.si_code == CLD_KILLED || si.si_code == CLD_DUMPED, si.si_status);
	return 0;
}
