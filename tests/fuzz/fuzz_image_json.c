/* Manifests, indexes and configs as a registry may send them. */
#include <stddef.h>
#include <stdint.h>

#include "store/image.h"
#include "store/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	const char *s = (const char *)data;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	enum manifest_kind kind;
	struct manifest m;
	struct descriptor d;
	struct platform p;
	struct image_config c = { .arena = ARENA_INIT };
	platform_host(&p);
	if (manifest_kind(s, size, "", &kind, &e) >= 0 && manifest_parse(&a, s, size, &m, &e) >= 0)
		for (size_t i = 0; i < m.n_layers; i++)
			if (!digest_valid(m.layers[i].digest))
				__builtin_trap();
	if (index_pick(s, size, &p, &d, &e) >= 0 && !digest_valid(d.digest))
		__builtin_trap();
	if (image_config_parse(s, size, &c, &e) >= 0)
		for (size_t i = 0; i < c.n_layers; i++)
			if (!digest_valid(c.diffids[i]))
				__builtin_trap();
	image_config_free(&c);
	err_clear(&e);
	return 0;
}
