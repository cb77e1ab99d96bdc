/* Bringing images in: from registries; what load and import share of it. */
#ifndef TIERCE_STORE_PULL_H
#define TIERCE_STORE_PULL_H

#include "store/image.h"
#include "store/layer.h"
#include "store/registry.h"
#include "store/store.h"

enum {
	PULL_PARALLEL = 3, /* layers at once; each holds about 6 MB beside the common page pool */
};

/* What happens to each layer, for progress: called from several threads, one call at a time. */
enum pull_event { PULL_RESOLVED, PULL_HAVE, PULL_START, PULL_BYTES, PULL_DONE };
struct pull_progress {
	void (*event)(void *ctx, enum pull_event ev, size_t layer, size_t n_layers, const struct descriptor *d, uint64_t bytes);
	void *ctx;
};

struct pull_opts {
	struct registry_opts registry;
	const char *platform; /* NULL: this machine's */
	unsigned parallel;    /* 0: PULL_PARALLEL */
	struct pull_progress progress;
};

/* ret_id: the image's id. The name asked for points to it afterwards. */
int store_pull(struct store *s, const char *reference, const struct pull_opts *o, char ret_id[DIGEST_MAX], struct err *e);

/* Unpacks a layer into the store unless it is there: digest lock, pipeline, rename, index row, lease. open is called only when bytes are
 * needed; it gives the source, close ends it. diffid NULL when it is not known (import). 1: it was there. */
struct layer_input {
	int (*open)(void *ctx, struct layer_source *src, struct err *e);
	void (*close)(void *ctx, bool failed);
	void *ctx;
	const char *digest, *diffid, *media_type, *repo;
};
int store_add_layer(struct store *s, const struct layer_input *in, struct layer_row *ret, struct err *e);
/* Config and manifest blobs plus the rows. config_digest and manifest_digest are computed when given empty. */
int store_add_image(struct store *s, const char *config, size_t config_len, const char *manifest, size_t manifest_len, const struct layer_row *layers,
		    size_t n_layers, const char *name, const char *digest_name, char ret_id[DIGEST_MAX], struct err *e);
/* RFC 3339 to Unix seconds; 0 when it is none. */
int64_t parse_rfc3339(const char *s);

#endif
