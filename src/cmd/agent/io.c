/* Streams of one process: pipes or a pty on one side, Io messages with windows on the other. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cmd/agent/agent.h"

enum { CTL_HIGH = 512 << 10 /* stop reading processes while this much waits for the host */ };

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -EBADF;
}

void proc_fds_close(struct proc_fds *f)
{
	for (unsigned i = 0; i < 3; i++)
		drop(&f->child[i]);
	drop(&f->console[0]);
	drop(&f->console[1]);
}

void proc_free(struct proc *p)
{
	if (p->terminal) {
		drop(&p->in);
	} else {
		drop(&p->in);
		drop(&p->out);
		drop(&p->err);
	}
	drop(&p->pidfd);
	strbuf_free(&p->in_buf);
	arena_free(&p->arena);
	free(p->exec_id);
	free(p);
}

int proc_open(struct proc *p, bool terminal, struct proc_fds *ret, struct err *e)
{
	struct proc_fds f = { { -EBADF, -EBADF, -EBADF }, { -EBADF, -EBADF } };
	int *ours[3] = { &p->in, &p->out, &p->err };
	p->terminal = terminal;
	if (terminal) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f.console) < 0)
			return err_sys(e, errno, "socketpair");
		for (unsigned i = 0; i < 3; i++)
			f.child[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		*ret = f;
		return 0;
	}
	for (unsigned i = 0; i < 3; i++) {
		int v[2];
		if (pipe2(v, O_CLOEXEC) < 0) {
			int r = err_sys(e, errno, "pipe");
			proc_fds_close(&f);
			return r;
		}
		f.child[i] = v[i != 0];
		*ours[i] = v[i == 0];
		fcntl(*ours[i], F_SETFL, O_NONBLOCK);
	}
	*ret = f;
	return 0;
}

static int receive_fd(int sock)
{
	char byte[4096]; /* the name of the pty comes with it */
	union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } c;
	struct iovec iov = { byte, sizeof byte };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof c };
	ssize_t n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *h = n < 0 ? NULL : CMSG_FIRSTHDR(&m);
	int fd;
	if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(sizeof(int)))
		return n < 0 ? -errno : -EPROTO;
	memcpy(&fd, CMSG_DATA(h), sizeof fd);
	return fd;
}

int proc_opened(struct proc *p, struct proc_fds *f, uint64_t width, uint64_t height, struct err *e)
{
	int r = 0;
	if (p->terminal) {
		int fd = receive_fd(f->console[0]);
		if (fd < 0) {
			r = err_sys(e, fd, "no terminal came from the container");
		} else {
			fcntl(fd, F_SETFL, O_NONBLOCK);
			p->in = p->out = fd;
			if (width && height)
				r = proc_resize(p, width, height, e);
		}
	}
	proc_fds_close(f);
	return r;
}

int proc_resize(struct proc *p, uint64_t width, uint64_t height, struct err *e)
{
	struct winsize w = { .ws_row = (unsigned short)height, .ws_col = (unsigned short)width };
	if (!p->terminal)
		return err_set(e, ENOTTY, "the process has no terminal");
	if (width > UINT16_MAX || height > UINT16_MAX)
		return err_set(e, ERANGE, "terminal size out of range");
	return p->in >= 0 && ioctl(p->in, TIOCSWINSZ, &w) < 0 ? err_sys(e, errno, "resize") : 0;
}

unsigned proc_poll(struct agent *a, struct proc *p, struct pollfd *ret)
{
	unsigned n = 0;
	bool room = chan_pending(&a->ctl) < CTL_HIGH;
	if (!p->stream)
		return 0;
	if (p->in >= 0 && p->in_at < p->in_buf.len)
		ret[n++] = (struct pollfd){ p->in, POLLOUT, 0 };
	if (p->out >= 0 && room && p->unacked_out < AGENT_WINDOW)
		ret[n++] = (struct pollfd){ p->out, POLLIN, 0 };
	if (p->err >= 0 && room && p->unacked_err < AGENT_WINDOW)
		ret[n++] = (struct pollfd){ p->err, POLLIN, 0 };
	return n;
}

/* Move what the process wrote; false at the end of the stream. A pty without slave says EIO. */
static bool pump_out(struct agent *a, struct proc *p, int fd, enum agent_io_kind kind, uint64_t *unacked)
{
	char buf[AGENT_CHUNK];
	while (*unacked < AGENT_WINDOW && chan_pending(&a->ctl) < CTL_HIGH) {
		ssize_t n = read(fd, buf, sizeof buf);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0)
			return false;
		*unacked += (uint64_t)n;
		chan_io(&a->ctl, p->stream, kind, buf, (size_t)n, 0);
	}
	return true;
}

static void pump_in(struct agent *a, struct proc *p)
{
	size_t done = 0;
	while (p->in_at < p->in_buf.len) {
		ssize_t n = write(p->in, p->in_buf.s + p->in_at, p->in_buf.len - p->in_at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) /* nobody reads any more: swallow */
			n = (ssize_t)(p->in_buf.len - p->in_at);
		p->in_at += (size_t)n;
		done += (size_t)n;
	}
	if (done)
		chan_io(&a->ctl, p->stream, IO_ACK_IN, NULL, 0, done);
	if (p->in_at == p->in_buf.len) {
		strbuf_clear(&p->in_buf);
		p->in_at = 0;
		if (p->in_eof && !p->terminal)
			drop(&p->in);
		else if (p->in_eof) {
			(void)!write(p->in, "\x04", 1); /* a terminal's end of file is ^D */
			p->in_eof = false;
		}
	}
}

void proc_pump(struct agent *a, struct proc *p)
{
	if (!p->stream)
		return;
	if (p->in >= 0 && (p->in_at < p->in_buf.len || p->in_eof))
		pump_in(a, p);
	if (p->err >= 0 && !pump_out(a, p, p->err, IO_STDERR, &p->unacked_err))
		drop(&p->err);
	if (p->out >= 0 && !pump_out(a, p, p->out, IO_STDOUT, &p->unacked_out)) {
		if (p->terminal)
			p->in = -EBADF;
		drop(&p->out);
	}
	/* What a dead process left in its pipes goes first; a full window delays the news until the host has caught up. */
	bool stalled = (p->out >= 0 && p->unacked_out >= AGENT_WINDOW) || (p->err >= 0 && p->unacked_err >= AGENT_WINDOW) || chan_pending(&a->ctl) >= CTL_HIGH;
	if (p->exited && !p->exit_sent && !stalled) {
		if (!p->exec_id)
			guest_oom(a, p->guest);
		chan_io(&a->ctl, p->stream, IO_EXIT, NULL, 0, (uint64_t)(unsigned)p->status);
		p->exit_sent = true;
	}
}

static void sub(uint64_t *v, uint64_t n)
{
	*v -= MIN(*v, n);
}

void proc_io(struct agent *a, struct proc *p, const struct agent_io *io)
{
	(void)a;
	switch (io->kind) {
	case IO_STDIN:
		if (!io->data.n)
			p->in_eof = true;
		else if (p->in >= 0 && p->in_buf.len - p->in_at + io->data.n <= 2 * AGENT_WINDOW)
			strbuf_add(&p->in_buf, io->data.p, io->data.n);
		break;
	case IO_ACK_OUT:
		sub(&p->unacked_out, io->n);
		break;
	case IO_ACK_ERR:
		sub(&p->unacked_err, io->n);
		break;
	case IO_HANGUP: /* closing the master sends SIGHUP to the session */
		if (p->terminal) {
			drop(&p->in);
			p->out = -EBADF;
		}
		break;
	default:
		break;
	}
}
