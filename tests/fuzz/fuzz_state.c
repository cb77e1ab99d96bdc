/* The state file: decoding arbitrary bytes, and what was decoded encodes to something that decodes to the same. */
#include <assert.h>

#include "engine/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct arena a = ARENA_INIT, b = ARENA_INIT;
	struct err e = ERR_INIT;
	struct ctr_record r, again;
	struct strbuf out = STRBUF_INIT;
	/* The checksum is put right, so that mutations get behind it. */
	uint8_t *copy = malloc(size ? size : 1);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	ctr_record_fix_checksum(copy, size);
	if (ctr_record_decode(&a, copy, size, &r, &e) == 0) {
		assert(ctr_record_encode(&r, &out) == 0);
		assert(ctr_record_decode(&b, out.s, out.len, &again, &e) == 0);
		assert(again.init_pid == r.init_pid && again.annotations.n == r.annotations.n && streq(again.id, r.id) && again.status == r.status);
	} else
		assert(err_msg(&e)[0]);
	strbuf_free(&out);
	err_clear(&e);
	arena_free(&a);
	arena_free(&b);
	free(copy);
	return 0;
}
