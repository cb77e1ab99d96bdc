/* Kubernetes' files: YAML to the tree that everything else reads. */
#include "cmd/tierce/people/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct json_writer w;
	struct json *j;
	if (yaml_parse(&a, (const char *)data, size, &j, &e) < 0)
		return 0;
	if (j->type != JSON_ARRAY)
		__builtin_trap();
	/* What came out can be written: no depth, no bytes that the writer does not know. */
	jw_init(&w, &out, 0);
	jw_value(&w, j);
	return 0;
}
