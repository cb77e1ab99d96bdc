/* Verification of the whole store: blobs against their names, layers by restoring their tar and hashing it, images for completeness. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store/index.h"
#include "store/layer.h"
#include "store/snapshot.h"

enum { BUF = 256 * 1024 };

struct check {
	struct store *s;
	bool repair;
	void (*say)(void *ctx, const char *what, bool repaired);
	void *ctx;
	unsigned bad;
	uint8_t *buf;
};

static void report(struct check *c, bool repaired, const char *fmt, ...) PRINTF(3, 4);
static void report(struct check *c, bool repaired, const char *fmt, ...) {
	char text[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->bad++;
	if (c->say)
		c->say(c->ctx, text, repaired);
}

/* 1 good, 0 bad with why filled, negative errno. */
static int layer_good(struct check *c, const char *diffid, struct err *why) {
	_cleanup_close_ int image = store_open_layer(c->s, diffid, ".erofs", why), split = -EBADF;
	struct layer_tar *t = NULL;
	if (image < 0 || (split = store_open_layer(c->s, diffid, ".split", why)) < 0)
		return 0;
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	if (!sha || !EVP_DigestInit_ex(sha, EVP_sha256(), NULL)) {
		EVP_MD_CTX_free(sha);
		return -ENOMEM;
	}
	ssize_t n = layer_tar_open(image, split, &t, why);
	while (n >= 0 && (n = layer_tar_read(t, c->buf, BUF, why)) > 0)
		EVP_DigestUpdate(sha, c->buf, (size_t)n);
	layer_tar_close(t);
	uint8_t raw[EVP_MAX_MD_SIZE];
	char got[DIGEST_MAX] = "";
	if (n == 0 && EVP_DigestFinal_ex(sha, raw, NULL)) {
		digest_hex_of(raw, got);
		if (!streq(got, diffid))
			err_set(why, EUCLEAN, "it restores to %s", got);
	}
	EVP_MD_CTX_free(sha);
	return streq(got, diffid);
}

/* Every image with this layer has to go: its names are told, so that they can be pulled again. */
static int drop_images(struct check *c, const char *sql, const char *arg, struct err *e) {
	char **ids = NULL;
	size_t n = 0;
	sqlite3_stmt *st;
	pthread_mutex_lock(&c->s->mutex);
	int r = index_query(c->s, &st, e, sql, "s", arg);
	if (r >= 0) {
		while ((r = index_step(c->s, st, e)) > 0)
			if (strv_push(&ids, &n, (const char *)sqlite3_column_text(st, 0)) < 0)
				break;
		sqlite3_finalize(st);
	}
	pthread_mutex_unlock(&c->s->mutex);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		struct image_row row;
		struct err busy = ERR_INIT;
		if (index_image(c->s, ids[i], &row, NULL) < 0)
			continue;
		r = index_remove_image(c->s, ids[i], false, &busy);
		const char *name = row.names ? row.names[0] : row.id;
		if (r < 0)
			report(c, false, "image %s is damaged and in use: %s", name, err_msg(&busy));
		else
			report(c, true, "image %s was dropped: pull it again", name);
		err_clear(&busy);
		r = 0;
		image_row_clear(&row);
	}
	strv_free(ids);
	return r;
}

static int forget_layer(struct check *c, const char *diffid, struct err *e) {
	sqlite3_stmt *st;
	int r = drop_images(c, "SELECT DISTINCT image FROM image_layer WHERE diffid = ?", diffid, e);
	if (r < 0)
		return r;
	r = index_begin(c->s, e);
	if (r < 0)
		return r;
	/* Leases of a pull that ended or goes on do not keep damaged bytes. */
	r = index_query(c->s, &st, e, "DELETE FROM lease WHERE what = ?", "s", diffid);
	if (r >= 0)
		r = index_run(c->s, st, e);
	return index_end(c->s, r, e);
}

struct diffids {
	char **v;
	size_t n;
};

static int collect(void *ctx, const struct layer_row *l, unsigned images) {
	struct diffids *d = ctx;
	(void)images;
	return strv_push(&d->v, &d->n, l->diffid);
}

static int check_layers(struct check *c, struct err *e) {
	struct diffids d = { NULL, 0 };
	int r = index_layers(c->s, collect, &d, e);
	for (size_t i = 0; r >= 0 && i < d.n; i++) {
		_cleanup_err_ struct err why = ERR_INIT;
		r = layer_good(c, d.v[i], &why);
		if (r == 0) {
			report(c, c->repair, "layer %s is damaged: %s", d.v[i], err_msg(&why));
			r = c->repair ? forget_layer(c, d.v[i], e) : 0;
		}
	}
	strv_free(d.v);
	return MIN(r, 0);
}

static int check_blobs(struct check *c, struct err *e) {
	int copy = openat(c->s->blobs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d)
		return err_sys(e, errno, "%s/blobs", c->s->root);
	int r = 0;
	for (struct dirent *de; r >= 0 && (de = readdir(d));) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		char digest[DIGEST_MAX];
		if (strlen(de->d_name) != DIGEST_HEX)
			continue;
		snprintf(digest, sizeof(digest), "sha256:%.64s", de->d_name);
		if (!digest_valid(digest) || store_get_blob(c->s, digest, &b, NULL) >= 0)
			continue;
		report(c, c->repair, "blob %s is damaged", digest);
		if (c->repair) {
			r = drop_images(c, "SELECT id FROM image WHERE id = ?1 OR manifest = ?1", digest, e);
			unlinkat(c->s->blobs, de->d_name, 0);
		}
	}
	closedir(d);
	return r;
}

static int check_image(void *ctx, const struct image_row *r) {
	struct diffids *d = ctx;
	return strv_push(&d->v, &d->n, r->id);
}

/* Rows without their files. */
static int check_images(struct check *c, struct err *e) {
	struct diffids d = { NULL, 0 };
	int r = index_images(c->s, check_image, &d, e);
	for (size_t i = 0; r >= 0 && i < d.n; i++) {
		struct image_config cfg = { .arena = ARENA_INIT };
		_cleanup_err_ struct err why = ERR_INIT;
		struct image_row row;
		if (index_image(c->s, d.v[i], &row, NULL) < 0)
			continue;
		_cleanup_strbuf_ struct strbuf m = STRBUF_INIT;
		int k = image_config_load(c->s, row.id, &cfg, &why);
		if (k >= 0)
			k = store_get_blob(c->s, row.manifest, &m, &why);
		if (k >= 0 && cfg.n_layers != row.n_layers)
			k = err_set(&why, EUCLEAN, "%zu of %zu layers", row.n_layers, cfg.n_layers);
		if (k < 0) {
			report(c, c->repair, "image %s: %s", row.names ? row.names[0] : row.id, err_msg(&why));
			if (c->repair)
				r = drop_images(c, "SELECT id FROM image WHERE id = ?", row.id, e);
		}
		image_config_free(&cfg);
		image_row_clear(&row);
	}
	strv_free(d.v);
	return MIN(r, 0);
}

int store_check(struct store *s, bool repair, void (*say)(void *ctx, const char *what, bool repaired), void *ctx, unsigned *ret_bad, struct err *e) {
	struct check c = { .s = s, .repair = repair, .say = say, .ctx = ctx };
	_cleanup_free_ uint8_t *buf = malloc(BUF);
	sqlite3_stmt *st;
	if (!buf)
		return err_set(e, ENOMEM, "out of memory");
	c.buf = buf;
	pthread_mutex_lock(&s->mutex);
	int r = index_query(s, &st, e, "PRAGMA integrity_check(1)", "");
	if (r >= 0) {
		char said[200] = "";
		r = index_step(s, st, e);
		if (r > 0)
			index_text(st, 0, said, sizeof(said));
		sqlite3_finalize(st);
		if (r > 0 && !streq(said, "ok"))
			report(&c, false, "index: %s", said);
	}
	pthread_mutex_unlock(&s->mutex);
	if (r >= 0)
		r = check_layers(&c, e);
	if (r >= 0)
		r = check_blobs(&c, e);
	if (r >= 0)
		r = check_images(&c, e);
	if (r >= 0 && repair)
		r = store_recover(s, NULL, e);
	if (r >= 0 && repair)
		r = store_gc(s, NULL, e);
	*ret_bad = c.bad;
	return MIN(r, 0);
}
