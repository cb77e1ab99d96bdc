/* ttrpc connection buffers. */
#include "tier/vm/agent/chan.h"

#include <errno.h>
#include <unistd.h>

enum { FILL = 64 << 10 };

void chan_clear(struct chan *c)
{
	strbuf_free(&c->in);
	strbuf_free(&c->out);
	c->in_at = c->out_at = 0;
}

/* Drop the consumed front once it is the larger part. */
static void compact(struct strbuf *b, size_t *at)
{
	if (*at == b->len) {
		strbuf_clear(b);
		*at = 0;
	} else if (*at > b->len / 2) {
		memmove(b->s, b->s + *at, b->len - *at);
		b->len -= *at;
		*at = 0;
	}
}

int chan_fill(struct chan *c)
{
	char buf[FILL];
	compact(&c->in, &c->in_at);
	ssize_t n = read(c->fd, buf, sizeof buf);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	return strbuf_add(&c->in, buf, (size_t)n) < 0 ? -ENOMEM : 1;
}

int chan_next(struct chan *c, struct ttrpc_frame *ret)
{
	size_t used;
	if (c->in_at == c->in.len)
		return 0;
	int r = ttrpc_next(c->in.s + c->in_at, c->in.len - c->in_at, ret, &used);
	if (r > 0)
		c->in_at += used;
	return r;
}

int chan_flush(struct chan *c)
{
	while (c->out_at < c->out.len) {
		ssize_t n = write(c->fd, c->out.s + c->out_at, c->out.len - c->out_at);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? 0 : -errno;
		}
		c->out_at += (size_t)n;
	}
	compact(&c->out, &c->out_at);
	return c->out.failed ? -ENOMEM : 0;
}

int chan_io(struct chan *c, uint32_t stream, enum agent_io_kind kind, const void *data, size_t len, uint64_t n)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct agent_io io = { kind, { data, len }, n };
	int r = pb_encode(&agent_io_desc, &io, &b);
	return r < 0 ? r : ttrpc_put(&c->out, stream, TTRPC_DATA, kind == IO_EXIT ? TTRPC_REMOTE_CLOSED : 0, b.s, b.len);
}
