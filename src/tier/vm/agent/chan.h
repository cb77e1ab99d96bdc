/* A ttrpc connection over a non-blocking descriptor: buffers on both sides of the frame codec. Used by the agent and by the host. */
#ifndef TIERCE_TIER_VM_AGENT_CHAN_H
#define TIERCE_TIER_VM_AGENT_CHAN_H

#include <stdbool.h>

#include "tier/vm/agent/proto.h"
#include "wire/ttrpc.h"

struct chan {
	int fd;
	struct strbuf in, out;
	size_t in_at, out_at; /* consumed, sent */
};
#define CHAN_INIT { -EBADF, STRBUF_INIT, STRBUF_INIT, 0, 0 }
void chan_clear(struct chan *c); /* buffers only; the fd is its owner's */

/* Read what is there. 1: something came, 0: nothing now, -ECONNRESET: the peer is gone, other negative errno. */
int chan_fill(struct chan *c) MUST_CHECK;
/* Next frame of what was read: as ttrpc_next(). Data stay valid until the next chan_fill(). */
int chan_next(struct chan *c, struct ttrpc_frame *ret) MUST_CHECK;
/* Send what fits. 0 or negative errno. */
int chan_flush(struct chan *c) MUST_CHECK;
static inline size_t chan_pending(const struct chan *c) { return c->out.len - c->out_at; }
/* Queue one Io message as a data frame. */
int chan_io(struct chan *c, uint32_t stream, enum agent_io_kind kind, const void *data, size_t len, uint64_t n);

#endif
