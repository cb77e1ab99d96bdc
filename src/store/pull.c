/* Pull: manifest (by platform) -> config -> layers in parallel -> one transaction that makes the image. See pull.h. */
#include "store/pull.h"

#include <errno.h>
#include <stdio.h>

#include "store/index.h"
#include "store/snapshot.h"

struct pull {
	struct store *s;
	struct registry *reg;
	const struct pull_opts *o;
	struct ref ref;
	struct manifest m;
	struct image_config cfg;
	struct layer_row *rows;
	pthread_mutex_t lock; /* next, failed, progress */
	size_t next;
	int failed;
	struct err err;
	char repo[2 * REF_PATH_MAX + 2];
};

static void tell(struct pull *p, enum pull_event ev, size_t i, uint64_t bytes) {
	if (!p->o->progress.event)
		return;
	pthread_mutex_lock(&p->lock);
	p->o->progress.event(p->o->progress.ctx, ev, i, p->m.n_layers, i < p->m.n_layers ? &p->m.layers[i] : &p->m.config, bytes);
	pthread_mutex_unlock(&p->lock);
}

/* One layer being fetched. */
struct part {
	struct pull *p;
	size_t i;
	struct blob_stream *stream;
};

static ssize_t part_fill(void *ctx, const uint8_t **ret, struct err *e) {
	struct part *t = ctx;
	return blob_stream_next(t->stream, ret, e);
}

static void part_progress(void *ctx, uint64_t bytes, bool done) {
	struct part *t = ctx;
	tell(t->p, done ? PULL_DONE : PULL_BYTES, t->i, bytes);
}

static int part_open(void *ctx, struct layer_source *src, struct err *e) {
	struct part *t = ctx;
	struct descriptor *d = &t->p->m.layers[t->i];
	tell(t->p, PULL_START, t->i, 0);
	*src = (struct layer_source){ .fill = part_fill, .ctx = t, .progress = part_progress, .progress_ctx = t };
	return blob_stream_open(t->p->reg, t->p->ref.path, d->digest, d->size, NULL, &t->stream, e);
}

static void part_close(void *ctx, bool failed) {
	struct part *t = ctx;
	(void)failed;
	blob_stream_close(t->stream);
	t->stream = NULL;
}

static int one_layer(struct pull *p, size_t i, struct err *e) {
	struct part t = { .p = p, .i = i };
	struct descriptor *d = &p->m.layers[i];
	struct layer_input in = { part_open, part_close, &t, d->digest, p->cfg.diffids[i], d->media_type, p->repo };
	int r = store_add_layer(p->s, &in, &p->rows[i], e);
	if (r < 0)
		return err_wrap(e, r, "layer %zu of %zu", i + 1, p->m.n_layers);
	/* A layer that was there may have come from elsewhere: what the manifest of this image says counts here. */
	snprintf(p->rows[i].digest, sizeof(p->rows[i].digest), "%s", d->digest);
	snprintf(p->rows[i].media_type, sizeof(p->rows[i].media_type), "%.95s", d->media_type);
	p->rows[i].blob_size = d->size;
	tell(p, r > 0 ? PULL_HAVE : PULL_DONE, i, d->size);
	if (r > 0) {
		char known[DIGEST_MAX];
		r = index_blob_diffid(p->s, d->digest, known, e);
		if (r == 0)
			r = index_add_blob_link(p->s, d->digest, p->cfg.diffids[i], d->size, d->media_type, p->repo, e);
	}
	return MIN(r, 0);
}

static void *worker(void *ctx) {
	struct pull *p = ctx;
	for (;;) {
		struct err e = ERR_INIT;
		pthread_mutex_lock(&p->lock);
		size_t i = p->next;
		bool stop = p->failed || i >= p->m.n_layers;
		p->next += !stop;
		pthread_mutex_unlock(&p->lock);
		if (stop)
			return NULL;
		int r = one_layer(p, i, &e);
		pthread_mutex_lock(&p->lock);
		if (r < 0 && !p->failed) {
			p->failed = r;
			err_move(&p->err, &e);
		}
		pthread_mutex_unlock(&p->lock);
		err_clear(&e);
	}
}

static int all_layers(struct pull *p, struct err *e) {
	pthread_t th[16];
	unsigned n = p->o->parallel ? MIN(p->o->parallel, 16u) : PULL_PARALLEL, started = 0;
	p->rows = calloc(MAX(p->m.n_layers, (size_t)1), sizeof(*p->rows));
	if (!p->rows)
		return err_set(e, ENOMEM, "out of memory");
	for (unsigned i = 1; i < n && i < p->m.n_layers; i++)
		started += pthread_create(&th[started], NULL, worker, p) == 0;
	worker(p);
	for (unsigned i = 0; i < started; i++)
		pthread_join(th[i], NULL);
	if (p->failed)
		return err_set(e, p->failed, "%s", err_msg(&p->err));
	return 0;
}

/* Index -> manifest of the platform; the digest that the name resolved to stays the image's digest name, as docker and podman have it. */
static int resolve(struct pull *p, struct http *h, struct manifest_blob *m, char asked[DIGEST_MAX], struct err *e) {
	const char *reference = p->ref.digest[0] ? p->ref.digest : p->ref.tag;
	enum manifest_kind kind;
	struct platform want;
	int r = registry_get_manifest(p->reg, h, p->ref.path, reference, m, e);
	if (r < 0)
		return r;
	memcpy(asked, m->digest, DIGEST_MAX);
	platform_host(&want);
	if (p->o->platform && (r = platform_parse(p->o->platform, &want, e)) < 0)
		return r;
	for (unsigned depth = 0;; depth++) {
		r = manifest_kind(strbuf_str(&m->body), m->body.len, m->media_type, &kind, e);
		if (r < 0 || kind == MANIFEST_IMAGE)
			return r;
		struct descriptor d;
		if (depth == 3)
			return err_set(e, ELOOP, "indexes of indexes, more than 3 deep");
		r = index_pick(strbuf_str(&m->body), m->body.len, &want, &d, e);
		if (r < 0)
			return r;
		manifest_blob_free(m);
		r = registry_get_manifest(p->reg, h, p->ref.path, d.digest, m, e);
		if (r < 0)
			return r;
	}
}

static int fetch_image(struct pull *p, struct http *h, struct arena *a, struct manifest_blob *m, struct strbuf *config, char ret_id[DIGEST_MAX],
		       struct err *e) {
	char asked[DIGEST_MAX], name[REF_MAX], digest_name[REF_MAX];
	int r = resolve(p, h, m, asked, e);
	if (r >= 0)
		r = manifest_parse(a, strbuf_str(&m->body), m->body.len, &p->m, e);
	if (r >= 0)
		r = registry_get_blob(p->reg, h, p->ref.path, p->m.config.digest, CONFIG_MAX, config, e);
	if (r >= 0)
		r = image_config_parse(strbuf_str(config), config->len, &p->cfg, e);
	if (r < 0)
		return r;
	if (p->cfg.n_layers != p->m.n_layers)
		return err_set(e, EBADMSG, "the config speaks of %zu layers, the manifest of %zu", p->cfg.n_layers, p->m.n_layers);
	tell(p, PULL_RESOLVED, p->m.n_layers, 0);
	r = all_layers(p, e);
	if (r < 0)
		return r;
	struct ref by_digest = p->ref;
	memcpy(by_digest.digest, asked, DIGEST_MAX);
	ref_name(&by_digest, true, digest_name);
	return store_add_image(p->s, config->s, config->len, m->body.s, m->body.len, p->rows, p->m.n_layers,
			       p->ref.tag[0] ? ref_name(&p->ref, false, name) : NULL, digest_name, ret_id, e);
}

int store_pull(struct store *s, const char *reference, const struct pull_opts *o, char ret_id[DIGEST_MAX], struct err *e) {
	struct pull p = { .s = s, .o = o, .cfg = { .arena = ARENA_INIT } };
	struct manifest_blob m = { .body = STRBUF_INIT };
	_cleanup_strbuf_ struct strbuf config = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	int r = ref_parse(reference, &p.ref, e);
	if (r < 0)
		return r;
	snprintf(p.repo, sizeof(p.repo), "%s/%s", p.ref.host, p.ref.path);
	pthread_mutex_init(&p.lock, NULL);
	r = registry_open(&o->registry, p.ref.host, &p.reg, e);
	struct http *h = r < 0 ? NULL : http_new();
	if (r >= 0)
		r = h ? fetch_image(&p, h, &a, &m, &config, ret_id, e) : err_set(e, ENOMEM, "out of memory");
	http_free(h);
	registry_close(p.reg);
	manifest_blob_free(&m);
	image_config_free(&p.cfg);
	err_clear(&p.err);
	free(p.rows);
	pthread_mutex_destroy(&p.lock);
	return MIN(r, 0);
}
