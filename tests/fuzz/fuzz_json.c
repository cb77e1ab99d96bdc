/* JSON: what parses is written, and what was written parses again and is written as the same bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int write_tree(const struct json *j, struct strbuf *out)
{
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_value(&w, j);
	return jw_finish(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf once = STRBUF_INIT, twice = STRBUF_INIT;
	struct json *j = NULL, *k = NULL;

	if (json_parse(&a, (const char *)data, size, &j, &e) < 0) {
		if (e.code >= 0 || !*err_msg(&e))
			abort();
		return 0;
	}
	if (write_tree(j, &once) < 0)
		abort();
	if (json_parse(&a, strbuf_str(&once), once.len, &k, &e) < 0 || write_tree(k, &twice) < 0)
		abort();
	if (once.len != twice.len || memcmp(strbuf_str(&once), strbuf_str(&twice), once.len) != 0)
		abort();
	return 0;
}
