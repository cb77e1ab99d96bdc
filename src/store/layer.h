/* Layers: from a compressed tar stream to an EROFS image in one pipeline, and back to the very same tar bytes. */
#ifndef TIERCE_STORE_LAYER_H
#define TIERCE_STORE_LAYER_H

#include "store/decomp.h"
#include "store/registry.h"
#include "wire/erofs_read.h"
#include "wire/tar.h"

/* Limits against hostile layers. */
#define LAYER_MAX_UNPACKED ((uint64_t)256 << 30) /* tar bytes of one layer: stops a bomb that unpacks for hours */
#define LAYER_BOMB_FLOOR ((uint64_t)1 << 30)     /* below this no ratio is looked at */
enum { LAYER_BOMB_RATIO = 400 };                 /* unpacked : packed; real layers stay below 50, gzip reaches 1032, zstd 10^4 */

struct layer_source {
	/* Lends spans of the blob as it is stored (compressed or not). */
	ssize_t (*fill)(void *ctx, const uint8_t **ret, struct err *e);
	void *ctx;
	const char *digest; /* expected of the blob, or NULL */
	const char *diffid; /* expected of the tar, or NULL */
	void (*progress)(void *ctx, uint64_t blob_bytes, bool done); /* may be NULL; from the decoding thread */
	void *progress_ctx;
};

struct layer_info {
	char digest[DIGEST_MAX], diffid[DIGEST_MAX];
	uint64_t blob_size, tar_size, image_size, apparent, entries, implied_dirs;
	enum compression kind;
};

/* Writes the EROFS image to image_fd and the recipe that restores the tar to split_fd (both empty regular files). */
int layer_unpack(const struct layer_source *src, int image_fd, int split_fd, struct layer_info *ret, struct err *e);

/* The tar again, byte for byte: read from an image and its recipe. */
struct layer_tar;
int layer_tar_open(int image_fd, int split_fd, struct layer_tar **ret, struct err *e);
ssize_t layer_tar_read(struct layer_tar *t, void *buf, size_t n, struct err *e);
void layer_tar_close(struct layer_tar *t);

/* EROFS reader over a file descriptor (ctx is an int *). */
int layer_pread(void *ctx, uint64_t off, void *buf, size_t n);
/* Unpacks an image into an existing empty directory, for hosts that cannot mount it. rootless: no devices, ownership as far as it goes, overlay marks as
 * user.* attributes. */
struct snapshot_ids;
int layer_extract(int image_fd, int dirfd, bool rootless, const struct snapshot_ids *ids, struct err *e);

#endif
