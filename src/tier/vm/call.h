/* One request to the agent and its answer, synchronously. */
#ifndef TIERCE_TIER_VM_CALL_H
#define TIERCE_TIER_VM_CALL_H

#include "tier/vm/agent/chan.h"

/* reply_desc may be NULL. Strings of the reply live in the arena, bytes in the channel until the next call. Frames of other streams are dropped, so this
 * is for the time before anything is attached. */
int agent_call(struct chan *c, uint32_t stream, const char *method, const struct pb_desc *d, const void *msg, const struct pb_desc *reply_desc, void *reply,
	struct arena *a, int timeout_ms, struct err *e) MUST_CHECK;
/* Turn a response frame into its payload or the error that it carries. */
int agent_response(const struct ttrpc_frame *f, struct arena *a, struct pb_bytes *ret_payload, struct err *e) MUST_CHECK;

#endif
