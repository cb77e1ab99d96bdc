/* Push: layers (known there, mounted from another repository, or packed and sent), config, manifest. See push.h. */
#include "store/push.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "store/edit.h"
#include "store/snapshot.h"

enum { IN_BUF = 256 * 1024, UPLOAD_ATTEMPTS = 3 };

/* ---- a layer as gzip ---- */

struct gzip_layer {
	struct layer_tar *tar;
	int image, split;
	struct isal_zstream z;
	uint8_t *level_buf, *in;
	bool eof;
	EVP_MD_CTX *sha;
	uint64_t size;
	char digest[DIGEST_MAX];
};

void gzip_layer_close(struct gzip_layer *g) {
	if (!g)
		return;
	layer_tar_close(g->tar);
	cleanup_close(&g->image);
	cleanup_close(&g->split);
	free(g->level_buf);
	free(g->in);
	EVP_MD_CTX_free(g->sha);
	free(g);
}

int gzip_layer_open(struct store *s, const char *diffid, unsigned level, struct gzip_layer **ret, struct err *e) {
	static const uint32_t level_size[] = { ISAL_DEF_LVL0_DEFAULT, ISAL_DEF_LVL1_DEFAULT, ISAL_DEF_LVL2_DEFAULT, ISAL_DEF_LVL3_DEFAULT };
	struct gzip_layer *g = calloc(1, sizeof(*g));
	if (!g)
		return err_set(e, ENOMEM, "out of memory");
	level = level && level < ARRAY_SIZE(level_size) ? level : 1;
	g->image = g->split = -EBADF;
	isal_deflate_init(&g->z);
	g->z.gzip_flag = IGZIP_GZIP;
	g->z.level = level;
	g->z.level_buf_size = level_size[level];
	g->level_buf = malloc(level_size[level]);
	g->z.level_buf = g->level_buf;
	g->in = malloc(IN_BUF);
	g->sha = EVP_MD_CTX_new();
	int r = g->level_buf && g->in && g->sha && EVP_DigestInit_ex(g->sha, EVP_sha256(), NULL) ? 0 : err_set(e, ENOMEM, "out of memory");
	if (r >= 0)
		r = g->image = store_open_layer(s, diffid, ".erofs", e);
	if (r >= 0)
		r = g->split = store_open_layer(s, diffid, ".split", e);
	if (r >= 0)
		r = layer_tar_open(g->image, g->split, &g->tar, e);
	if (r < 0) {
		gzip_layer_close(g);
		return r;
	}
	*ret = g;
	return 0;
}

ssize_t gzip_layer_read(void *ctx, void *buf, size_t n, struct err *e) {
	struct gzip_layer *g = ctx;
	g->z.next_out = buf;
	g->z.avail_out = (uint32_t)MIN(n, (size_t)1 << 30);
	while (g->z.avail_out && g->z.internal_state.state != ZSTATE_END) {
		if (!g->z.avail_in && !g->eof) {
			ssize_t k = layer_tar_read(g->tar, g->in, IN_BUF, e);
			if (k < 0)
				return k;
			g->z.next_in = g->in;
			g->z.avail_in = (uint32_t)k;
			g->eof = k == 0;
			g->z.end_of_stream = g->eof;
		}
		if (isal_deflate(&g->z) != COMP_OK)
			return err_set(e, EIO, "compression failed");
	}
	size_t out = MIN(n, (size_t)1 << 30) - g->z.avail_out;
	EVP_DigestUpdate(g->sha, buf, out);
	g->size += out;
	return (ssize_t)out;
}

const char *gzip_layer_digest(void *ctx) {
	struct gzip_layer *g = ctx;
	uint8_t raw[EVP_MAX_MD_SIZE];
	unsigned n;
	if (!g->digest[0] && EVP_DigestFinal_ex(g->sha, raw, &n))
		digest_hex_of(raw, g->digest);
	return g->digest;
}

uint64_t gzip_layer_size(const struct gzip_layer *g) {
	return g->size;
}

/* ---- push ---- */

struct push {
	struct store *s;
	struct registry *reg;
	struct http *h;
	const struct push_opts *o;
	struct ref to;
	struct layer_row *layers;
	size_t n, i;
};

/* A blob that was seen for this layer before: somewhere it is already packed. */
struct candidate {
	char digest[DIGEST_MAX], repo[REF_PATH_MAX + 1], type[96];
	uint64_t size;
};

struct candidates {
	struct candidate v[8];
	size_t n;
	const char *preferred; /* digest that comes first */
};

static int on_blob(void *ctx, const char *digest, const char *repo, uint64_t size, const char *type) {
	struct candidates *c = ctx;
	if (!*type)
		return 0;
	struct candidate *x = &c->v[c->n];
	snprintf(x->digest, sizeof(x->digest), "%s", digest);
	snprintf(x->repo, sizeof(x->repo), "%s", repo);
	snprintf(x->type, sizeof(x->type), "%s", type);
	x->size = size;
	if (streq(digest, c->preferred)) {
		struct candidate first = c->v[0];
		c->v[0] = *x;
		*x = first;
	}
	return ++c->n == ARRAY_SIZE(c->v);
}

static void tell(struct push *p, enum pull_event ev, uint64_t bytes) {
	struct descriptor d = { .size = p->layers[p->i].blob_size };
	if (!p->o->progress.event)
		return;
	snprintf(d.digest, sizeof(d.digest), "%s", p->layers[p->i].diffid);
	if (!d.size)
		d.size = p->layers[p->i].tar_size;
	p->o->progress.event(p->o->progress.ctx, ev, p->i, p->n, &d, bytes);
}

static int already_there(struct push *p, struct layer_row *l, struct err *e) {
	/* The form that the image's own manifest names comes first, so that its digest stays. */
	struct candidates c = { .preferred = l->digest };
	int r = index_layer_blobs(p->s, l->diffid, p->to.host, on_blob, &c, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c.n; i++) {
		struct candidate *x = &c.v[i];
		r = registry_has_blob(p->reg, p->h, p->to.path, x->digest, e);
		if (r == 0 && x->repo[0] && !streq(x->repo, p->to.path))
			r = registry_mount_blob(p->reg, p->h, p->to.path, x->digest, x->repo, e);
		if (r < 0)
			return r;
		if (r > 0) {
			snprintf(l->digest, sizeof(l->digest), "%s", x->digest);
			snprintf(l->media_type, sizeof(l->media_type), "%s", x->type);
			l->blob_size = x->size;
			return 1;
		}
	}
	return 0;
}

struct sending {
	struct push *p;
	struct gzip_layer *g;
};

static ssize_t send_read(void *ctx, void *buf, size_t n, struct err *e) {
	return gzip_layer_read(((struct sending *)ctx)->g, buf, n, e);
}

static const char *send_digest(void *ctx) {
	return gzip_layer_digest(((struct sending *)ctx)->g);
}

static void send_progress(void *ctx, uint64_t sent) {
	tell(((struct sending *)ctx)->p, PULL_BYTES, sent);
}

static int send_layer(struct push *p, struct layer_row *l, struct err *e) {
	struct sending snd = { .p = p };
	char repo[2 * REF_PATH_MAX + 2];
	int r = gzip_layer_open(p->s, l->diffid, p->o->level, &snd.g, e);
	if (r < 0)
		return r;
	struct blob_source src = { send_read, send_digest, &snd, send_progress };
	r = registry_put_blob(p->reg, p->h, p->to.path, &src, e);
	if (r >= 0) {
		snprintf(l->digest, sizeof(l->digest), "%s", gzip_layer_digest(snd.g));
		snprintf(l->media_type, sizeof(l->media_type), "application/vnd.oci.image.layer.v1.tar+gzip");
		l->blob_size = gzip_layer_size(snd.g);
		snprintf(repo, sizeof(repo), "%s/%s", p->to.host, p->to.path);
		r = index_add_blob_link(p->s, l->digest, l->diffid, l->blob_size, l->media_type, repo, e);
	}
	gzip_layer_close(snd.g);
	return r;
}

static int push_layer(struct push *p, struct layer_row *l, struct err *e) {
	int r = p->o->recompress ? 0 : already_there(p, l, e);
	if (r != 0) {
		if (r > 0)
			tell(p, PULL_HAVE, l->blob_size);
		return MIN(r, 0);
	}
	tell(p, PULL_START, 0);
	/* Some registries (docker's) lose an upload that was cut: then it begins anew, with the same bytes. */
	for (unsigned attempt = 0; attempt < UPLOAD_ATTEMPTS; attempt++) {
		err_clear(e);
		r = send_layer(p, l, e);
		if (r >= 0 || r == -EACCES || r == -ENOMEM || r == -EUCLEAN || r == -EPROTONOSUPPORT)
			break;
	}
	if (r >= 0)
		tell(p, PULL_DONE, l->blob_size);
	return r;
}

struct memory {
	const char *data, *digest;
	size_t len, at;
};

static ssize_t memory_read(void *ctx, void *buf, size_t n, struct err *e) {
	struct memory *m = ctx;
	(void)e;
	n = MIN(n, m->len - m->at);
	memcpy(buf, m->data + m->at, n);
	m->at += n;
	return (ssize_t)n;
}

static const char *memory_digest(void *ctx) {
	return ((struct memory *)ctx)->digest;
}

static int push_config(struct push *p, const char *id, const struct strbuf *config, struct err *e) {
	struct memory m = { strbuf_str(config), id, config->len, 0 };
	struct blob_source src = { memory_read, memory_digest, &m, NULL };
	int r = registry_has_blob(p->reg, p->h, p->to.path, id, e);
	return r ? MIN(r, 0) : registry_put_blob(p->reg, p->h, p->to.path, &src, e);
}

/* The image's own manifest when every layer went out as it names it, so that the digest stays; else a new one over what was sent. */
static int push_manifest(struct push *p, const struct image_row *row, const struct strbuf *config, struct err *e) {
	_cleanup_strbuf_ struct strbuf old = STRBUF_INIT, fresh = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct manifest m;
	char digest[DIGEST_MAX];
	int r = store_get_blob(p->s, row->manifest, &old, e);
	if (r >= 0)
		r = manifest_parse(&a, strbuf_str(&old), old.len, &m, e);
	if (r < 0)
		return r;
	bool same = m.n_layers == p->n;
	for (size_t i = 0; same && i < p->n; i++)
		same = streq(m.layers[i].digest, p->layers[i].digest);
	const struct strbuf *body = &old;
	const char *type = streq(m.config.media_type, "application/vnd.docker.container.image.v1+json")
		? "application/vnd.docker.distribution.manifest.v2+json" : "application/vnd.oci.image.manifest.v1+json";
	if (!same) {
		for (size_t i = 0; i < p->n; i++) /* mixed families are refused by registries: all in the words of OCI */
			if (str_has_suffix(p->layers[i].media_type, "tar.gzip"))
				snprintf(p->layers[i].media_type, sizeof(p->layers[i].media_type), "application/vnd.oci.image.layer.v1.tar+gzip");
			else if (str_has_suffix(p->layers[i].media_type, "diff.tar"))
				snprintf(p->layers[i].media_type, sizeof(p->layers[i].media_type), "application/vnd.oci.image.layer.v1.tar");
		r = manifest_build(config->s, config->len, p->layers, p->n, &fresh, e);
		if (r < 0)
			return r;
		body = &fresh;
		type = "application/vnd.oci.image.manifest.v1+json";
	}
	digest_of(body->s, body->len, digest);
	r = registry_put_manifest(p->reg, p->h, p->to.path, p->to.tag[0] ? p->to.tag : digest, type, body->s, body->len, e);
	if (r >= 0 && p->o->ret_digest)
		memcpy(p->o->ret_digest, digest, DIGEST_MAX);
	return r;
}

int store_push(struct store *s, const char *image, const char *destination, const struct push_opts *o, struct err *e) {
	struct push p = { .s = s, .o = o };
	struct image_row row;
	char name[REF_MAX];
	_cleanup_strbuf_ struct strbuf config = STRBUF_INIT;
	int r = index_find(s, image, &row, name, e);
	if (r < 0)
		return r;
	if (!destination && !name[0])
		r = err_set(e, EINVAL, "%s: push to where? give a destination", image);
	if (r >= 0)
		r = ref_parse(destination ? destination : name, &p.to, e);
	if (r >= 0)
		r = store_get_blob(s, row.id, &config, e);
	if (r >= 0)
		r = index_image_layers(s, row.id, &p.layers, &p.n, e);
	if (r >= 0)
		r = registry_open(&o->registry, p.to.host, &p.reg, e);
	if (r >= 0 && !(p.h = http_new()))
		r = err_set(e, ENOMEM, "out of memory");
	for (p.i = 0; r >= 0 && p.i < p.n; p.i++)
		r = push_layer(&p, &p.layers[p.i], e);
	if (r >= 0)
		r = push_config(&p, row.id, &config, e);
	if (r >= 0)
		r = push_manifest(&p, &row, &config, e);
	http_free(p.h);
	registry_close(p.reg);
	free(p.layers);
	image_row_clear(&row);
	return MIN(r, 0);
}
