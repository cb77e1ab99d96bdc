/* Decompression: see decomp.h. gzip by isa-l's igzip, zstd by libzstd. */
#include "store/decomp.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include "base/str.h"

struct decomp {
	decomp_fill_fn fill;
	void *ctx;
	const uint8_t *p;
	size_t have;
	bool started, in_eof, member_done, any;
	enum compression kind;
	struct inflate_state *gz;
	ZSTD_DStream *zs;
};

struct decomp *decomp_new(decomp_fill_fn fill, void *ctx) {
	struct decomp *d = calloc(1, sizeof(*d));
	if (d) {
		d->fill = fill;
		d->ctx = ctx;
	}
	return d;
}

void decomp_free(struct decomp *d) {
	if (!d)
		return;
	free(d->gz);
	ZSTD_freeDStream(d->zs);
	free(d);
}

enum compression decomp_kind(const struct decomp *d) {
	return d->kind;
}

static int more(struct decomp *d, struct err *e) {
	while (!d->have && !d->in_eof) {
		ssize_t n = d->fill(d->ctx, &d->p, e);
		if (n < 0)
			return (int)n;
		d->have = (size_t)n;
		d->in_eof = n == 0;
	}
	return 0;
}

static int gzip_begin(struct decomp *d) {
	isal_inflate_init(d->gz);
	d->gz->crc_flag = ISAL_GZIP;
	return 0;
}

/* The magic may be split over spans only in theory; the first span of any source holds more than four bytes unless the blob is smaller. */
static int start(struct decomp *d, struct err *e) {
	int r = more(d, e);
	if (r < 0)
		return r;
	d->started = true;
	const uint8_t *p = d->p;
	if (d->have >= 2 && p[0] == 0x1f && p[1] == 0x8b) {
		d->kind = COMPRESSION_GZIP;
		d->gz = malloc(sizeof(*d->gz));
		if (!d->gz)
			return err_set(e, ENOMEM, "out of memory");
		return gzip_begin(d);
	}
	bool zstd = d->have >= 4 && ((p[0] == 0x28 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd) ||
				     ((p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18));
	if (zstd) {
		d->kind = COMPRESSION_ZSTD;
		d->zs = ZSTD_createDStream();
		if (!d->zs)
			return err_set(e, ENOMEM, "out of memory");
		ZSTD_DCtx_setParameter(d->zs, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX);
	}
	return 0;
}

static ssize_t read_gzip(struct decomp *d, uint8_t *buf, size_t n, struct err *e) {
	for (;;) {
		if (d->gz->block_state == ISAL_BLOCK_FINISH) {
			/* Another member may follow (pigz, eStargz); zero padding may too. */
			for (;;) {
				int r = more(d, e);
				if (r < 0)
					return r;
				if (!d->have)
					return 0;
				if (*d->p != 0)
					break;
				d->p++;
				d->have--;
			}
			if (*d->p != 0x1f)
				return err_set(e, EBADMSG, "gzip: garbage behind the end of the stream");
			gzip_begin(d);
		}
		int r = more(d, e);
		if (r < 0)
			return r;
		if (!d->have)
			return err_set(e, EBADMSG, "gzip: the stream is cut short");
		d->gz->next_in = (uint8_t *)(uintptr_t)d->p;
		d->gz->avail_in = (uint32_t)MIN(d->have, (size_t)1 << 30);
		uint32_t offered = d->gz->avail_in;
		d->gz->next_out = buf;
		d->gz->avail_out = (uint32_t)n;
		r = isal_inflate(d->gz);
		d->p += offered - d->gz->avail_in;
		d->have -= offered - d->gz->avail_in;
		if (r < 0 || r > ISAL_OUT_OVERFLOW)
			return err_set(e, EBADMSG, r == ISAL_INCORRECT_CHECKSUM ? "gzip: wrong checksum" : "gzip: damaged stream");
		if (d->gz->avail_out < n)
			return (ssize_t)(n - d->gz->avail_out);
	}
}

static ssize_t read_zstd(struct decomp *d, uint8_t *buf, size_t n, struct err *e) {
	ZSTD_outBuffer out = { buf, n, 0 };
	for (;;) {
		int r = more(d, e);
		if (r < 0)
			return r;
		ZSTD_inBuffer in = { d->p, d->have, 0 };
		size_t k = ZSTD_decompressStream(d->zs, &out, &in);
		d->p += in.pos;
		d->have -= in.pos;
		if (ZSTD_isError(k))
			return err_set(e, EBADMSG, "zstd: %s", ZSTD_getErrorName(k));
		d->member_done = k == 0;
		if (out.pos)
			return (ssize_t)out.pos;
		if (d->in_eof && !d->have)
			return d->member_done || !d->any ? 0 : err_set(e, EBADMSG, "zstd: the stream is cut short");
		d->any = !d->member_done;
	}
}

ssize_t decomp_read(struct decomp *d, void *buf, size_t n, struct err *e) {
	int r = d->started ? 0 : start(d, e);
	if (r < 0)
		return r;
	switch (d->kind) {
	case COMPRESSION_GZIP:
		return read_gzip(d, buf, n, e);
	case COMPRESSION_ZSTD:
		return read_zstd(d, buf, n, e);
	case COMPRESSION_NONE:
		break;
	}
	r = more(d, e);
	if (r < 0)
		return r;
	size_t k = MIN(n, d->have);
	memcpy(buf, d->p, k);
	d->p += k;
	d->have -= k;
	return (ssize_t)k;
}
