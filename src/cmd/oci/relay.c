/* The foreground of run and exec: terminal, signals, readiness, and the exit status of the process. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>

#include "cmd/oci/cli.h"
#include "sys/fd.h"

struct relay {
	struct foreground *f;
	struct termios saved;
	bool raw, stdin_open, master_open, had_terminal;
	char pending[4096]; /* read from stdin, not yet taken by the pty: its line discipline holds as much and a blocking write could hang us */
	size_t at, len;
	int status;
	bool ended;
};

static void all_signals(sigset_t *s) {
	static const int left[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS, SIGPIPE, SIGSTOP, SIGKILL };
	sigfillset(s);
	for (size_t i = 0; i < ARRAY_SIZE(left); i++)
		sigdelset(s, left[i]);
}

void foreground_prepare(bool subreaper) {
	sigset_t s;
	all_signals(&s);
	sigprocmask(SIG_BLOCK, &s, NULL);
	signal(SIGPIPE, SIG_IGN); /* a reader of our output that goes away must not keep us from tidying up */
	if (subreaper)
		(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static void resize(const struct relay *r) {
	struct winsize w;
	if (r->f->terminal >= 0 && ioctl(0, TIOCGWINSZ, &w) == 0)
		(void)ioctl(r->f->terminal, TIOCSWINSZ, &w);
}

static void terminal_begin(struct relay *r) {
	struct termios t;
	if (r->f->terminal < 0)
		return;
	r->master_open = r->stdin_open = true;
	(void)fcntl(r->f->terminal, F_SETFL, fcntl(r->f->terminal, F_GETFL) | O_NONBLOCK);
	if (isatty(0) && tcgetattr(0, &r->saved) == 0) {
		t = r->saved;
		cfmakeraw(&t);
		t.c_oflag |= OPOST; /* messages of ours stay readable; the pty has done its own output processing */
		r->raw = tcsetattr(0, TCSANOW, &t) == 0;
		resize(r);
	} else if (r->f->width && r->f->height) {
		struct winsize w = { .ws_col = (unsigned short)r->f->width, .ws_row = (unsigned short)r->f->height };
		(void)ioctl(r->f->terminal, TIOCSWINSZ, &w);
	}
}

static void from_master(struct relay *r) {
	char buf[16384];
	ssize_t n = read(r->f->terminal, buf, sizeof(buf));
	if (n > 0) {
		if (fd_write_all(1, buf, (size_t)n) < 0) {
			/* Nobody looks any more: hang up, else the program would block on a terminal that is never read. */
			r->master_open = false;
			close(r->f->terminal);
			r->f->terminal = -EBADF;
		}
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		r->master_open = false; /* EIO: the last slave was closed */
}

static void from_stdin(struct relay *r) {
	ssize_t n = read(0, r->pending, sizeof(r->pending));
	if (n > 0) {
		r->at = 0;
		r->len = (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		r->stdin_open = false;
}

static void to_master(struct relay *r) {
	ssize_t n = write(r->f->terminal, r->pending + r->at, r->len);
	if (n > 0) {
		r->at += (size_t)n;
		r->len -= (size_t)n;
	} else if (errno != EAGAIN && errno != EINTR)
		r->len = 0;
}

/* All children that ended: ours, and as subreaper the orphans of the container's host side. */
static void reap(struct relay *r) {
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == r->f->pid) {
			r->ended = true;
			r->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		}
}

static void on_signal(struct relay *r, int fd) {
	struct signalfd_siginfo si;
	if (read(fd, &si, sizeof(si)) != sizeof(si))
		return;
	int sig = (int)si.ssi_signo;
	switch (sig) {
	case SIGCHLD: reap(r); return;
	case SIGWINCH: resize(r); return;
	case SIGURG: return; /* Go programs send it to themselves for preemption; engines written in Go pass it on */
	case SIGTSTP: case SIGTTIN: case SIGTTOU: case SIGCONT:
		if (r->had_terminal)
			return;
		break;
	default: break;
	}
	if (!r->f->forward_signals)
		return;
	(void)kill(r->f->pid, sig); /* not reaped yet: the pid is still its own */
}

static int loop(struct relay *r, int sfd, struct err *e) {
	while (!r->ended) {
		struct pollfd p[4] = {
			{ sfd, POLLIN, 0 },
			{ r->master_open ? r->f->terminal : -1, (short)(POLLIN | (r->len ? POLLOUT : 0)), 0 },
			{ r->stdin_open && r->master_open && !r->len ? 0 : -1, POLLIN, 0 },
			{ r->f->notify_fd, POLLIN, 0 },
		};
		if (poll(p, ARRAY_SIZE(p), -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, errno, "poll");
		}
		if (p[1].revents & POLLOUT && r->len)
			to_master(r);
		if (p[1].revents & (POLLIN | POLLHUP | POLLERR))
			from_master(r);
		if (p[2].revents)
			from_stdin(r);
		if (p[3].revents && notify_forward(r->f->notify_fd, r->f->pid) != 0) {
			close(r->f->notify_fd);
			r->f->notify_fd = -EBADF;
		}
		if (p[0].revents)
			on_signal(r, sfd);
	}
	return 0;
}

int foreground_wait(struct foreground *f, struct err *e) {
	struct relay r = { .f = f };
	r.had_terminal = f->terminal >= 0;
	sigset_t s;
	all_signals(&s);
	_cleanup_close_ int sfd = signalfd(-1, &s, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sfd < 0)
		return err_sys(e, errno, "signalfd");
	terminal_begin(&r);
	reap(&r); /* it may have ended before the signal was blocked */
	int rc = loop(&r, sfd, e);
	/* What the last process wrote is still in the pty; a background process may hold the slave open, so only what is there is taken. */
	while (rc == 0 && r.master_open) {
		struct pollfd p = { f->terminal, POLLIN, 0 };
		if (poll(&p, 1, 0) <= 0 || !(p.revents & POLLIN))
			break;
		from_master(&r);
	}
	if (r.raw)
		(void)tcsetattr(0, TCSANOW, &r.saved);
	return rc < 0 ? rc : r.status;
}
