/* Streaming decompression of layers: gzip (several members too), zstd (several frames, skippable ones too), or none, told by the first bytes. */
#ifndef TIERCE_STORE_DECOMP_H
#define TIERCE_STORE_DECOMP_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum compression { COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD };

enum {
	/* A frame may ask for a window of up to 2^31 bytes: 2^26 is what zstd -20 uses, more would burst the memory promise. */
	ZSTD_WINDOW_LOG_MAX = 26,
};

/* Lends the next span of compressed bytes; 0 at the end. */
typedef ssize_t (*decomp_fill_fn)(void *ctx, const uint8_t **ret, struct err *e);

struct decomp;
struct decomp *decomp_new(decomp_fill_fn fill, void *ctx);
void decomp_free(struct decomp *d);
/* Fills buf with up to n bytes; 0 at the end of the stream. */
ssize_t decomp_read(struct decomp *d, void *buf, size_t n, struct err *e);
enum compression decomp_kind(const struct decomp *d);

#endif
