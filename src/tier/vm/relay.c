/* Stream relay. The caller's descriptors are shared with others, so they are never made non-blocking (relay_write). */
#include "tier/vm/relay.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { AGENT_HIGH = 512 << 10 };

int64_t relay_now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -EBADF;
}

struct relay *relay_new(const char *id, const char *exec_id, const int fds[3], bool terminal)
{
	struct relay *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	if (!(r->id = strdup(id)) || (exec_id && !(r->exec_id = strdup(exec_id)))) {
		free(r->id);
		free(r);
		return NULL;
	}
	memcpy(r->fds, fds, sizeof r->fds);
	r->terminal = terminal;
	return r;
}

void relay_free(struct relay *r)
{
	for (unsigned i = 0; i < 3; i++) {
		drop(&r->fds[i]);
		strbuf_free(&r->buf[i]);
	}
	free(r->id);
	free(r->exec_id);
	free(r);
}

unsigned relay_poll(struct relay *r, const struct chan *agent, struct pollfd *ret)
{
	unsigned n = 0;
	if (!r->stream)
		return 0;
	if (r->fds[0] >= 0 && !r->exited && r->unacked_in < AGENT_WINDOW && chan_pending(agent) < AGENT_HIGH)
		ret[n++] = (struct pollfd){ r->fds[0], POLLIN, 0 };
	for (unsigned i = 1; i < 3; i++)
		if (r->fds[i] >= 0 && r->at[i] < r->buf[i].len)
			ret[n++] = (struct pollfd){ r->fds[i], POLLOUT, 0 };
	return n;
}

static void pump_in(struct relay *r, struct chan *agent)
{
	char buf[AGENT_CHUNK];
	ssize_t n = read(r->fds[0], buf, sizeof buf);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		chan_io(agent, r->stream, r->terminal ? IO_HANGUP : IO_STDIN, NULL, 0, 0);
		drop(&r->fds[0]);
		return;
	}
	r->unacked_in += (uint64_t)n;
	chan_io(agent, r->stream, IO_STDIN, buf, (size_t)n, 0);
}

/* What poll said before may be stale: standard output and error are often one pipe, and the first write filled it. */
ssize_t relay_write(int fd, const void *p, size_t n)
{
	struct iovec v = { (void *)(uintptr_t)p, n };
	struct stat st;
	struct pollfd row = { fd, POLLOUT, 0 };
	ssize_t r = pwritev2(fd, &v, 1, -1, RWF_NOWAIT);
	if (r >= 0 || (errno != EOPNOTSUPP && errno != EAGAIN))
		return r;
	if (errno == EAGAIN && fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
		return -1;
	if (poll(&row, 1, 0) != 1) {
		errno = EAGAIN;
		return -1;
	}
	return write(fd, p, n);
}

static void pump_out(struct relay *r, struct chan *agent, unsigned i)
{
	size_t left = r->buf[i].len - r->at[i];
	ssize_t n = relay_write(r->fds[i], r->buf[i].s + r->at[i], MIN(left, (size_t)PIPE_BUF));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	size_t done = n < 0 ? left : (size_t)n; /* nobody reads: the guest's process goes on as if somebody did */
	r->at[i] += done;
	chan_io(agent, r->stream, i == 1 ? IO_ACK_OUT : IO_ACK_ERR, NULL, 0, done);
	if (r->at[i] == r->buf[i].len) {
		strbuf_clear(&r->buf[i]);
		r->at[i] = 0;
	}
}

void relay_pump(struct relay *r, struct chan *agent, const struct pollfd *rows, unsigned n)
{
	for (unsigned k = 0; k < n; k++) {
		if (!rows[k].revents)
			continue;
		if (rows[k].events == POLLIN) {
			if (rows[k].fd == r->fds[0])
				pump_in(r, agent);
			continue;
		}
		for (unsigned i = 1; i < 3; i++)
			if (rows[k].fd == r->fds[i] && r->at[i] < r->buf[i].len) {
				pump_out(r, agent, i);
				break;
			}
	}
}

void relay_io(struct relay *r, const struct agent_io *io)
{
	switch (io->kind) {
	case IO_STDOUT:
	case IO_STDERR:
		/* the agent keeps to its window; one that does not loses what is beyond */
		if (r->buf[io->kind - 1].len - r->at[io->kind - 1] + io->data.n <= 2 * AGENT_WINDOW && io->data.n)
			strbuf_add(&r->buf[io->kind - 1], io->data.p, io->data.n);
		break;
	case IO_ACK_IN:
		r->unacked_in -= MIN(r->unacked_in, io->n);
		break;
	case IO_EXIT:
		r->exited = true;
		r->status = (int)io->n;
		r->exit_ms = relay_now_ms();
		break;
	case IO_OOM:
		r->oom_kills = io->n;
		break;
	default:
		break;
	}
}

bool relay_done(const struct relay *r)
{
	bool empty = r->at[1] == r->buf[1].len && r->at[2] == r->buf[2].len;
	return r->exited && (empty || relay_now_ms() - r->exit_ms > RELAY_STUCK_MS);
}
