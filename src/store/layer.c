/*
 * Layer pipeline: fetch -> (verify blob, decompress) -> (verify tar, parse, write EROFS). The middle step has a thread of its own, so that on
 * two cores inflating and writing overlap; the fetching threads are blobstream's. Buffers between the steps bound the memory.
 */
#include "store/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store/split.h"
#include "sys/fd.h"
#include "wire/erofs_write.h"

enum {
	RING = 5,
	RING_BUF = 256 * 1024,
	WRITEBACK = 8 * 1024 * 1024, /* start writing to disk this often, so that the fsync at the end has little left */
};

struct pipeline {
	const struct layer_source *src;
	struct layer_info *info;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint8_t *buf[RING];
	size_t len[RING];
	unsigned put, got; /* positions, free running */
	bool eof, stop, lent, wrong_digest;
	int failed;
	struct err err;
	EVP_MD_CTX *blob_sha, *tar_sha;
	uint64_t blob_bytes;
	struct split_writer *split;
	int image_fd;
	uint64_t written, flushed;
};

/* ---- decoding thread ---- */

static ssize_t blob_fill(void *ctx, const uint8_t **ret, struct err *e) {
	struct pipeline *p = ctx;
	ssize_t n = p->src->fill(p->src->ctx, ret, e);
	if (n > 0) {
		EVP_DigestUpdate(p->blob_sha, *ret, (size_t)n);
		p->blob_bytes += (uint64_t)n;
		if (p->src->progress)
			p->src->progress(p->src->progress_ctx, p->blob_bytes, false);
	}
	return n;
}

static int finish_digest(EVP_MD_CTX *c, char ret[DIGEST_MAX]) {
	uint8_t raw[EVP_MAX_MD_SIZE];
	unsigned n;
	if (!EVP_DigestFinal_ex(c, raw, &n))
		return -EIO;
	digest_hex_of(raw, ret);
	return 0;
}

/* When anything went wrong, a blob that is not what the manifest says is the cause worth telling: the rest is read for its digest only. */
static void blame_digest(struct pipeline *p, struct err *e) {
	_cleanup_err_ struct err ignored = ERR_INIT;
	const uint8_t *rest;
	ssize_t n;
	if (!p->src->digest)
		return;
	while ((n = blob_fill(p, &rest, &ignored)) > 0)
		;
	if (n < 0 || finish_digest(p->blob_sha, p->info->digest) < 0 || streq(p->src->digest, p->info->digest))
		return;
	err_set(e, EBADMSG, "blob has digest %s, not %s as the manifest says", p->info->digest, p->src->digest);
	p->wrong_digest = true;
}

static int decode(struct pipeline *p, struct decomp *d, struct err *e) {
	uint64_t total = 0;
	for (;;) {
		pthread_mutex_lock(&p->lock);
		while (!p->stop && p->put - p->got == RING)
			pthread_cond_wait(&p->changed, &p->lock);
		bool stop = p->stop;
		pthread_mutex_unlock(&p->lock);
		if (stop)
			return -ECANCELED;
		unsigned i = p->put % RING;
		size_t fill = 0;
		ssize_t n = 0;
		while (fill < RING_BUF && (n = decomp_read(d, p->buf[i] + fill, RING_BUF - fill, e)) > 0)
			fill += (size_t)n;
		if (n < 0)
			return (int)n;
		total += fill;
		if (total > LAYER_MAX_UNPACKED)
			return err_set(e, EFBIG, "layer unpacks to more than %llu GiB (LAYER_MAX_UNPACKED)", (unsigned long long)(LAYER_MAX_UNPACKED >> 30));
		if (total > LAYER_BOMB_FLOOR && total / LAYER_BOMB_RATIO > p->blob_bytes)
			return err_set(e, EFBIG, "layer unpacks to more than %d times its size (LAYER_BOMB_RATIO): a decompression bomb", LAYER_BOMB_RATIO);
		pthread_mutex_lock(&p->lock);
		p->len[i] = fill;
		p->put += fill > 0;
		pthread_cond_broadcast(&p->changed);
		pthread_mutex_unlock(&p->lock);
		if (n == 0 && fill < RING_BUF)
			break;
	}
	/* What follows the compressed stream belongs to the blob and its digest. */
	const uint8_t *rest;
	ssize_t n;
	while ((n = blob_fill(p, &rest, e)) > 0)
		;
	if (n < 0)
		return (int)n;
	p->info->kind = decomp_kind(d);
	p->info->blob_size = p->blob_bytes;
	if (finish_digest(p->blob_sha, p->info->digest) < 0)
		return err_set(e, EIO, "digest failed");
	if (p->src->digest && !streq(p->src->digest, p->info->digest))
		return err_set(e, EBADMSG, "blob has digest %s, not %s as the manifest says", p->info->digest, p->src->digest);
	return 0;
}

static void *decoder(void *ctx) {
	struct pipeline *p = ctx;
	struct err e = ERR_INIT;
	struct decomp *d = decomp_new(blob_fill, p);
	int r = d ? decode(p, d, &e) : err_set(&e, ENOMEM, "out of memory");
	decomp_free(d);
	/* The digest error of decode() itself comes last and needs no second look; a bomb is not read to its end. */
	if (r < 0 && !p->info->digest[0] && r != -EFBIG && r != -ENOMEM)
		blame_digest(p, &e);
	pthread_mutex_lock(&p->lock);
	p->eof = true;
	if (r < 0 && (!p->stop || p->wrong_digest)) {
		r = p->wrong_digest ? -EBADMSG : r;
		p->failed = r;
		err_move(&p->err, &e);
	}
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	err_clear(&e);
	return NULL;
}

/* ---- writing, in the caller's thread ---- */

static ssize_t tar_fill(void *ctx, const uint8_t **ret, struct err *e) {
	struct pipeline *p = ctx;
	ssize_t n = 0;
	pthread_mutex_lock(&p->lock);
	if (p->lent) {
		p->lent = false;
		p->got++;
		pthread_cond_broadcast(&p->changed);
	}
	while (p->put == p->got && !p->eof)
		pthread_cond_wait(&p->changed, &p->lock);
	if (p->put != p->got) {
		*ret = p->buf[p->got % RING];
		n = (ssize_t)p->len[p->got % RING];
		p->lent = true;
	} else if (p->failed) {
		n = p->failed;
		err_set(e, p->failed, "%s", err_msg(&p->err));
	}
	pthread_mutex_unlock(&p->lock);
	if (n > 0) {
		EVP_DigestUpdate(p->tar_sha, *ret, (size_t)n);
		p->info->tar_size += (uint64_t)n;
	}
	return n;
}

static int tar_raw(void *ctx, const void *data, size_t n) {
	struct pipeline *p = ctx;
	return split_raw(p->split, data, n);
}

static int image_write(void *ctx, uint64_t off, const void *data, size_t n) {
	struct pipeline *p = ctx;
	const uint8_t *d = data;
	while (n) {
		ssize_t k = pwrite(p->image_fd, d, n, (off_t)off);
		if (k < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		d += k;
		off += (uint64_t)k;
		n -= (size_t)k;
		p->written += (uint64_t)k;
	}
	if (p->written - p->flushed >= WRITEBACK) {
		sync_file_range(p->image_fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		p->flushed = p->written;
	}
	return 0;
}

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"

/* AUFS whiteouts as the image-spec has them. 1 when the entry was one. */
static int whiteout(struct erofs_writer *w, const struct tar_entry *te, struct err *e) {
	size_t n = strlen(te->path);
	while (n && te->path[n - 1] == '/')
		n--;
	size_t begin = n;
	while (begin && te->path[begin - 1] != '/')
		begin--;
	if (n - begin < strlen(WHITEOUT) || strncmp(te->path + begin, WHITEOUT, strlen(WHITEOUT)) != 0)
		return 0;
	char dir[TAR_MAX_PATH], name[TAR_MAX_PATH];
	snprintf(dir, sizeof(dir), "%.*s", (int)begin, te->path);
	snprintf(name, sizeof(name), "%.*s", (int)(n - begin), te->path + begin);
	int r = 0;
	if (streq(name, OPAQUE))
		r = erofs_set_opaque(w, dir, e);
	else if (!str_has_prefix(name, WHITEOUT WHITEOUT)) /* others of the kind are AUFS's own housekeeping */
		r = erofs_add_whiteout(w, dir, name + strlen(WHITEOUT), e);
	return r < 0 ? r : 1;
}

static int add_file(struct pipeline *p, struct erofs_writer *w, struct tar_reader *t, const struct tar_entry *te, const struct erofs_attr *a,
		    struct err *e) {
	uint64_t nid;
	const uint8_t *span;
	ssize_t n;
	int r = erofs_add_file(w, te->path, a, te->size, te->sparse ? te->extents : NULL, te->n_extents, &nid, e);
	if (r >= 0)
		r = split_file(p->split, nid, te->stored, te->sparse ? te->extents : NULL, te->n_extents);
	while (r >= 0 && (n = tar_data(t, &span, e)) != 0)
		r = n < 0 ? (int)n : erofs_file_data(w, span, (size_t)n, e);
	return r;
}

static int add_entry(struct pipeline *p, struct erofs_writer *w, struct tar_reader *t, const struct tar_entry *te, struct err *e) {
	const struct erofs_attr a = { te->mode, te->uid, te->gid, te->major, te->minor, te->mtime, te->mtime_ns, te->xattrs, te->n_xattrs };
	int r = whiteout(w, te, e);
	if (r != 0)
		return r;
	switch (te->type) {
	case TAR_DIR:
		return erofs_add_dir(w, te->path, &a, e);
	case TAR_FILE:
		return add_file(p, w, t, te, &a, e);
	case TAR_SYMLINK:
		return erofs_add_symlink(w, te->path, &a, te->link, e);
	case TAR_HARDLINK:
		return erofs_add_hardlink(w, te->path, te->link, e);
	case TAR_CHAR:
	case TAR_BLOCKDEV:
	case TAR_FIFO:
		return erofs_add_special(w, te->path, &a, te->type, e);
	}
	return 0;
}

static int write_image(struct pipeline *p, struct err *e) {
	struct tar_reader *t = tar_reader_new(tar_fill, tar_raw, p);
	struct erofs_writer *w = erofs_writer_new(image_write, p);
	struct tar_entry te;
	struct erofs_result res;
	int r = t && w ? 1 : err_set(e, ENOMEM, "out of memory");
	while (r > 0) {
		r = tar_next(t, &te, e);
		if (r <= 0)
			break;
		r = add_entry(p, w, t, &te, e);
		p->info->entries++;
		r = r < 0 ? r : 1;
	}
	if (r >= 0 && finish_digest(p->tar_sha, p->info->diffid) < 0)
		r = err_set(e, EIO, "digest failed");
	if (r >= 0 && p->src->diffid && !streq(p->src->diffid, p->info->diffid))
		r = err_set(e, EBADMSG, "layer unpacks to %s, not %s as the image's config says", p->info->diffid, p->src->diffid);
	if (r >= 0) {
		uint8_t uuid[16]; /* reproducible: from the content */
		for (size_t i = 0; i < sizeof(uuid); i++)
			sscanf(p->info->diffid + 7 + 2 * i, "%2hhx", &uuid[i]);
		r = erofs_writer_finish(w, uuid, &res, e);
	}
	if (r >= 0 && (r = split_finish(p->split)) < 0)
		err_sys(e, r, "write tar recipe");
	if (r >= 0 && ftruncate(p->image_fd, (off_t)res.size) < 0)
		r = err_sys(e, errno, "extend layer image");
	if (r >= 0) {
		p->info->image_size = res.size;
		p->info->apparent = res.apparent;
		p->info->implied_dirs = res.implied_dirs;
	}
	tar_reader_free(t);
	erofs_writer_free(w);
	return r;
}

static int pipeline_init(struct pipeline *p, int split_fd) {
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	for (unsigned i = 0; i < RING; i++)
		if (!(p->buf[i] = malloc(RING_BUF)))
			return -ENOMEM;
	p->blob_sha = EVP_MD_CTX_new();
	p->tar_sha = EVP_MD_CTX_new();
	p->split = split_writer_new(split_fd);
	if (!p->blob_sha || !p->tar_sha || !p->split || !EVP_DigestInit_ex(p->blob_sha, EVP_sha256(), NULL) ||
	    !EVP_DigestInit_ex(p->tar_sha, EVP_sha256(), NULL))
		return -ENOMEM;
	return 0;
}

static void pipeline_free(struct pipeline *p) {
	for (unsigned i = 0; i < RING; i++)
		free(p->buf[i]);
	EVP_MD_CTX_free(p->blob_sha);
	EVP_MD_CTX_free(p->tar_sha);
	split_writer_free(p->split);
	err_clear(&p->err);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->changed);
}

int layer_unpack(const struct layer_source *src, int image_fd, int split_fd, struct layer_info *ret, struct err *e) {
	struct layer_info info = { .tar_size = 0 };
	struct pipeline p = { .src = src, .info = &info, .image_fd = image_fd };
	pthread_t th;
	int r = pipeline_init(&p, split_fd);
	if (r < 0)
		err_set(e, ENOMEM, "out of memory");
	else if (pthread_create(&th, NULL, decoder, &p) != 0)
		r = err_set(e, EAGAIN, "no thread for unpacking");
	else {
		r = write_image(&p, e);
		pthread_mutex_lock(&p.lock);
		p.stop = r < 0;
		pthread_cond_broadcast(&p.changed);
		pthread_mutex_unlock(&p.lock);
		pthread_join(th, NULL);
		if (p.failed && (r >= 0 || p.wrong_digest)) { /* the blob's digest is known last */
			r = p.failed;
			err_set(e, r, "%s", err_msg(&p.err));
		}
	}
	pipeline_free(&p);
	if (r >= 0)
		*ret = info;
	return MIN(r, 0);
}
