/* Manifests, indexes and configs: bytes to checked structs (OCI image-spec 1.1, docker schema 2). */
#ifndef TIERCE_STORE_IMAGE_H
#define TIERCE_STORE_IMAGE_H

#include "base/arena.h"
#include "store/store.h"

enum {
	CONFIG_MAX = 8 * 1024 * 1024,  /* a config is env, history and diff ids: kilobytes */
	INDEX_ENTRIES_MAX = 1000,      /* platforms and attestations of one index */
	CONFIG_STRINGS_MAX = 10000,    /* env variables, labels ... */
};

struct descriptor {
	char digest[DIGEST_MAX];
	uint64_t size;
	char media_type[128];
};

struct manifest {
	struct descriptor config;
	struct descriptor *layers; /* in the arena */
	size_t n_layers;
};

struct platform {
	char os[32], arch[32], variant[32];
};

/* "linux/arm64/v8", "arm64", "linux/amd64". */
int platform_parse(const char *s, struct platform *ret, struct err *e);
void platform_host(struct platform *ret);

enum manifest_kind { MANIFEST_IMAGE, MANIFEST_INDEX };
/* What a body is, by its own words first, then by the content type it came with. Refuses schema 1 and what is no image. */
int manifest_kind(const char *body, size_t n, const char *content_type, enum manifest_kind *ret, struct err *e);
int manifest_parse(struct arena *a, const char *body, size_t n, struct manifest *ret, struct err *e);
/* The entry of an index that fits the platform. */
int index_pick(const char *body, size_t n, const struct platform *want, struct descriptor *ret, struct err *e);

#endif
