/* Synchronous agent calls. */
#include "tier/vm/call.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

static int64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int agent_response(const struct ttrpc_frame *f, struct arena *a, struct pb_bytes *ret_payload, struct err *e)
{
	struct ttrpc_response p;
	int r = pb_decode(&ttrpc_response_desc, a, f->data, f->n, &p, e);
	if (r < 0)
		return err_wrap(e, r, "agent's answer");
	if (p.status && p.status->code)
		return err_set(e, ttrpc_errno_of_code(p.status->code), "%s", p.status->message ? p.status->message : "the agent refuses without a reason");
	*ret_payload = p.payload;
	return 0;
}

int agent_call(struct chan *c, uint32_t stream, const char *method, const struct pb_desc *d, const void *msg, const struct pb_desc *reply_desc, void *reply,
	struct arena *a, int timeout_ms, struct err *e)
{
	int64_t until = now_ms() + timeout_ms;
	int r = ttrpc_put_request(&c->out, stream, 0, AGENT_SERVICE, method, d, msg);
	if (r < 0)
		return err_sys(e, r, "agent: %s", method);
	for (;;) {
		struct ttrpc_frame f;
		while ((r = chan_next(c, &f)) > 0) {
			struct pb_bytes payload;
			if (f.stream != stream || f.type != TTRPC_RESPONSE)
				continue;
			r = agent_response(&f, a, &payload, e);
			return r < 0 || !reply_desc ? r : pb_decode(reply_desc, a, payload.p, payload.n, reply, e);
		}
		if (r < 0 || (r = chan_flush(c)) < 0)
			return err_sys(e, r, "agent: %s", method);
		int64_t left = until - now_ms();
		struct pollfd p = { c->fd, (short)(POLLIN | (chan_pending(c) ? POLLOUT : 0)), 0 };
		r = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (r == 0)
			return err_set(e, ETIMEDOUT, "the agent in the machine does not answer (%s)", method);
		if (r < 0 && errno != EINTR)
			return err_sys(e, errno, "poll");
		if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
			r = chan_fill(c);
			if (r < 0)
				return err_set(e, ECONNRESET, "the machine ended (%s)", method);
		}
	}
}
