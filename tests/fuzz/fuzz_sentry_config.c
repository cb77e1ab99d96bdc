/* The configuration records that the runtime hands to a sentry. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "tier/sentry/config.h"

static size_t count(char *const *v) {
	size_t n = 0;
	for (; v && *v; v++)
		n += strlen(*v);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct arena a = ARENA_INIT;
	struct sentry_options o = { 0 };
	/* a copy of its own size, so that reading behind the end is seen */
	char *copy = malloc(size + !size);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (sentry_config_parse(&a, copy, size, &o, NULL) == 0) {
		size_t n = count(o.argv) + count(o.envp) + o.n_groups + o.n_seccomp;
		for (size_t i = 0; i < o.n_mounts; i++)
			n += strlen(o.mounts[i].type) + strlen(o.mounts[i].source) + strlen(o.mounts[i].target) + strlen(o.mounts[i].data);
		for (size_t i = 0; i < o.n_covers; i++)
			n += strlen(o.covers[i].path);
		/* nothing is larger than what it was made from, and there is a program */
		if (n > size || !o.argv || !o.argv[0] || !o.envp || o.n_rlimits > 16)
			__builtin_trap();
	}
	free(copy);
	arena_free(&a);
	return 0;
}
