/* ttrpc frames and the messages of the agent's service. */
#include <stdlib.h>
#include <string.h>

#include "tier/vm/agent/proto.h"
#include "wire/ttrpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct pb_desc *const all[] = { &ttrpc_request_desc, &ttrpc_response_desc, &agent_create_desc, &agent_exec_desc, &agent_network_desc, &agent_io_desc };
	struct ttrpc_frame f;
	size_t used;
	if (ttrpc_next(data, size, &f, &used) < 0 && size > 1000000)
		abort();
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		struct arena a = ARENA_INIT;
		struct err e = ERR_INIT;
		_Alignas(16) uint8_t msg[512];
		if (pb_decode(all[i], &a, data, size, msg, &e) == 0) {
			struct strbuf out = STRBUF_INIT;
			(void)!pb_encode(all[i], msg, &out);
			strbuf_free(&out);
		}
		err_clear(&e);
		arena_free(&a);
	}
	return 0;
}
