/* Unit properties from annotations: "Name=GVariant text". */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "confine/cgroup_property.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	char *text = malloc(size + 1), *eq;
	const char *name;
	struct cgroup_value *v;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	eq = strchr(text, '=');
	if (eq) {
		*eq = 0;
		if (cgroup_property_parse(&a, text, eq + 1, &name, &v, &e) == 0 && (!name[0] || !v->sig[0] || strlen(v->sig) >= CGROUP_SIG_MAX))
			abort();
	}
	free(text);
	return 0;
}
