/* Sending images out: to registries, to archives; see pull.h for the way in. */
#ifndef TIERCE_STORE_PUSH_H
#define TIERCE_STORE_PUSH_H

#include "store/pull.h"

struct push_opts {
	struct registry_opts registry;
	struct pull_progress progress;
	unsigned level;         /* of gzip, 1..3; 0: 1 */
	bool recompress;        /* send layers anew even when the registry has them */
	char *ret_digest;       /* DIGEST_MAX bytes for the manifest's digest, or NULL */
};

/* image: what index_find() takes; destination: a reference, NULL for the image's own name. */
int store_push(struct store *s, const char *image, const char *destination, const struct push_opts *o, struct err *e);

/* A layer as a gzip stream, with digests of both sides. */
struct gzip_layer;
int gzip_layer_open(struct store *s, const char *diffid, unsigned level, struct gzip_layer **ret, struct err *e);
ssize_t gzip_layer_read(void *gzip_layer, void *buf, size_t n, struct err *e);
const char *gzip_layer_digest(void *gzip_layer); /* at the end */
uint64_t gzip_layer_size(const struct gzip_layer *g);
void gzip_layer_close(struct gzip_layer *g);

enum archive_format { ARCHIVE_DOCKER, ARCHIVE_OCI, ARCHIVE_OCI_DIR };
/* Writes images into an archive: fd of a file or pipe (dir: a path for ARCHIVE_OCI_DIR). Layers are plain tar, gzip when compress. */
struct save_opts {
	enum archive_format format;
	bool compress;
	const char *dir;
};
int store_save(struct store *s, char *const *images, size_t n, int fd, const struct save_opts *o, struct err *e);
/* Reads an archive of either kind (a file, a pipe, or a folder of an OCI layout), compressed or not. names: called with each image's name or id. */
int store_load(struct store *s, int fd, const char *dir, int (*loaded)(void *ctx, const char *name, const char *id), void *ctx, struct err *e);

#endif
