/* config.json, process and resources documents from arbitrary bytes. */
#include <stddef.h>
#include <stdint.h>

#include "spec/oci.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct json *doc;
	struct oci_spec *s;
	struct oci_process p;
	struct oci_resources r;
	if (json_parse(&a, (const char *)data, size, &doc, &e) < 0)
		return 0;
	if (oci_spec_from_json(&a, doc, &s, &e) < 0 && !*err_msg(&e))
		__builtin_trap();
	(void)!oci_process_from_json(&a, doc, &p, NULL);
	(void)!oci_resources_from_json(&a, doc, &r, NULL);
	return 0;
}
