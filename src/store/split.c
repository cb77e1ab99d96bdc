/* Tar recipes: see split.h. Records: 'R' u32 length, bytes; 'F' u64 nid, u64 offset, u64 length (one per extent). Little endian. */
#include "store/split.h"

#include <errno.h>
#include <unistd.h>
#include <zstd.h>

#include "sys/fd.h"
#include "wire/erofs.h"

enum { BUF = 128 * 1024, RAW_MAX = 64 * 1024 };

struct split_writer {
	int fd;
	ZSTD_CCtx *z;
	uint8_t raw[RAW_MAX]; /* collected raw bytes, so that records are long */
	size_t raw_len;
	uint8_t out[BUF];
};

struct split_writer *split_writer_new(int fd) {
	struct split_writer *w = calloc(1, sizeof(*w));
	if (!w || !(w->z = ZSTD_createCCtx())) {
		free(w);
		return NULL;
	}
	w->fd = fd;
	ZSTD_CCtx_setParameter(w->z, ZSTD_c_compressionLevel, 1);
	ZSTD_CCtx_setParameter(w->z, ZSTD_c_checksumFlag, 1);
	return w;
}

void split_writer_free(struct split_writer *w) {
	if (!w)
		return;
	ZSTD_freeCCtx(w->z);
	free(w);
}

static int put(struct split_writer *w, const void *data, size_t n, ZSTD_EndDirective end) {
	ZSTD_inBuffer in = { data, n, 0 };
	size_t left;
	do {
		ZSTD_outBuffer out = { w->out, sizeof(w->out), 0 };
		left = ZSTD_compressStream2(w->z, &out, &in, end);
		if (ZSTD_isError(left))
			return -EIO;
		int r = out.pos ? fd_write_all(w->fd, w->out, out.pos) : 0;
		if (r < 0)
			return r;
	} while (in.pos < in.size || (end == ZSTD_e_end && left));
	return 0;
}

static int flush_raw(struct split_writer *w) {
	uint8_t h[5] = { 'R' };
	if (!w->raw_len)
		return 0;
	put32(h + 1, (uint32_t)w->raw_len);
	int r = put(w, h, sizeof(h), ZSTD_e_continue);
	if (r >= 0)
		r = put(w, w->raw, w->raw_len, ZSTD_e_continue);
	w->raw_len = 0;
	return r;
}

int split_raw(struct split_writer *w, const void *data, size_t n) {
	const uint8_t *p = data;
	while (n) {
		size_t k = MIN(n, RAW_MAX - w->raw_len);
		memcpy(w->raw + w->raw_len, p, k);
		w->raw_len += k;
		p += k;
		n -= k;
		int r = w->raw_len == RAW_MAX ? flush_raw(w) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int split_file(struct split_writer *w, uint64_t nid, uint64_t len, const struct tar_extent *ext, size_t n_ext) {
	struct tar_extent all = { 0, len };
	int r = flush_raw(w);
	if (!ext) {
		ext = &all;
		n_ext = len ? 1 : 0;
	}
	for (size_t i = 0; r >= 0 && i < n_ext; i++) {
		uint8_t h[25] = { 'F' };
		if (!ext[i].len)
			continue;
		put64(h + 1, nid);
		put64(h + 9, ext[i].off);
		put64(h + 17, ext[i].len);
		r = put(w, h, sizeof(h), ZSTD_e_continue);
	}
	return r;
}

int split_finish(struct split_writer *w) {
	int r = flush_raw(w);
	return r < 0 ? r : put(w, "E", 1, ZSTD_e_end);
}

struct split_reader {
	int fd;
	off_t at;
	ZSTD_DCtx *z;
	uint8_t in[BUF];
	size_t in_pos, in_len;
};

struct split_reader *split_reader_new(int fd) {
	struct split_reader *r = calloc(1, sizeof(*r));
	if (!r || !(r->z = ZSTD_createDCtx())) {
		free(r);
		return NULL;
	}
	r->fd = fd;
	return r;
}

void split_reader_free(struct split_reader *r) {
	if (!r)
		return;
	ZSTD_freeDCtx(r->z);
	free(r);
}

ssize_t split_read(struct split_reader *r, void *buf, size_t n, struct err *e) {
	ZSTD_outBuffer out = { buf, n, 0 };
	while (out.pos < n) {
		if (r->in_pos == r->in_len) {
			ssize_t k = pread(r->fd, r->in, sizeof(r->in), r->at);
			if (k < 0)
				return err_sys(e, errno, "read tar recipe");
			if (k == 0)
				return err_set(e, EUCLEAN, "tar recipe is cut short");
			r->at += k;
			r->in_pos = 0;
			r->in_len = (size_t)k;
		}
		ZSTD_inBuffer in = { r->in, r->in_len, r->in_pos };
		size_t k = ZSTD_decompressStream(r->z, &out, &in);
		r->in_pos = in.pos;
		if (ZSTD_isError(k))
			return err_set(e, EUCLEAN, "tar recipe is damaged: %s", ZSTD_getErrorName(k));
	}
	return (ssize_t)n;
}

int split_next(struct split_reader *r, uint64_t *ret_nid, uint64_t *ret_off, uint64_t *ret_len, struct err *e) {
	uint8_t h[25];
	ssize_t k = split_read(r, h, 1, e);
	if (k < 0)
		return (int)k;
	switch (h[0]) {
	case 'E':
		return SPLIT_END;
	case 'R':
		k = split_read(r, h + 1, 4, e);
		if (k < 0)
			return (int)k;
		*ret_len = get32(h + 1);
		return SPLIT_RAW;
	case 'F':
		k = split_read(r, h + 1, 24, e);
		if (k < 0)
			return (int)k;
		*ret_nid = get64(h + 1);
		*ret_off = get64(h + 9);
		*ret_len = get64(h + 17);
		return SPLIT_FILE;
	default:
		return err_set(e, EUCLEAN, "tar recipe is damaged");
	}
}
