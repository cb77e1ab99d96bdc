/* New image configs from old ones: what commit, import and their --change do to a config. */
#ifndef TIERCE_STORE_EDIT_H
#define TIERCE_STORE_EDIT_H

#include "base/arena.h"
#include "store/image.h"

struct json;

enum { CHANGES_MAX = 1000 };

struct config_edit {
	const struct json *base; /* config document to start from, or NULL */
	char *const *changes;    /* Dockerfile words, NULL-terminated, or NULL */
	const char *author, *message, *created_by;
	const char *diffid;      /* of the layer that is added on top, or NULL */
	const struct platform *platform; /* for a config from nothing */
};

/* The new config document. */
int config_edit(const struct config_edit *ed, struct strbuf *out, struct err *e);
/* An OCI manifest over a config and layers (their digest, size and media type as in the rows). */
int manifest_build(const char *config, size_t config_len, const struct layer_row *layers, size_t n, struct strbuf *out, struct err *e);

#endif
