/* tierce-init: pid 1 for `run --init`: starts the command, forwards signals to it, reaps whatever becomes an orphan, ends as the command ended. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int start(char **argv, const sigset_t *old, pid_t *ret) {
	*ret = fork();
	if (*ret != 0)
		return *ret < 0 ? -errno : 0;
	sigprocmask(SIG_SETMASK, old, NULL);
	/* A group of its own, in the foreground of the terminal if there is one: job control works as without us. */
	setpgid(0, 0);
	signal(SIGTTOU, SIG_IGN);
	tcsetpgrp(0, getpid());
	signal(SIGTTOU, SIG_DFL);
	execvp(argv[0], argv);
	int r = errno;
	dprintf(2, "tierce-init: exec %s: %s\n", argv[0], strerror(r));
	_exit(r == ENOENT ? 127 : 126);
}

int main(int argc, char **argv) {
	sigset_t all, old;
	pid_t child;
	int skip = argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1;
	if (argc <= skip) {
		dprintf(2, "usage: tierce-init [--] COMMAND [ARG...]\n");
		return 125;
	}
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	if (start(argv + skip, &old, &child) < 0) {
		dprintf(2, "tierce-init: fork: %s\n", strerror(errno));
		return 125;
	}
	for (;;) {
		int sig = sigwaitinfo(&all, NULL);
		if (sig < 0)
			continue;
		if (sig != SIGCHLD) {
			kill(child, sig);
			continue;
		}
		int status;
		pid_t pid;
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
}
