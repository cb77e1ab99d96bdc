/*
 * Archives in, in one pass: small JSON members are kept, everything else is taken for a layer and unpacked as it comes, since what says which
 * members are layers comes last in most archives. Members that turn out to be no layer only matter when an image names them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store/edit.h"
#include "store/lower.h"
#include "store/push.h"
#include "store/snapshot.h"
#include "sys/fd.h"
#include "wire/json.h"

enum {
	JSON_KEPT_MAX = 32 * 1024 * 1024, /* sum of the JSON members that are held in memory */
	MEMBERS_MAX = 20000,
	IN_BUF = 256 * 1024,
};

struct member {
	char *name;
	char *json; /* kept content */
	size_t len;
	char *alias; /* target of a link */
	struct layer_row layer;
	bool is_layer;
	char *why; /* why it is no layer */
};

struct load {
	struct store *s;
	int fd, dir;
	struct decomp *decomp;
	struct tar_reader *tar;
	uint8_t *buf, *peek;
	size_t peek_len;
	bool peeked;
	struct member *m;
	size_t n, kept;
	int (*loaded)(void *ctx, const char *name, const char *id);
	void *ctx;
	unsigned images;
};

static ssize_t file_fill(void *ctx, const uint8_t **ret, struct err *e) {
	struct load *l = ctx;
	ssize_t n;
	do
		n = read(l->fd, l->buf, IN_BUF);
	while (n < 0 && errno == EINTR);
	*ret = l->buf;
	return n < 0 ? err_sys(e, errno, "read archive") : n;
}

static ssize_t outer_fill(void *ctx, const uint8_t **ret, struct err *e) {
	struct load *l = ctx;
	*ret = l->buf + IN_BUF;
	return decomp_read(l->decomp, l->buf + IN_BUF, IN_BUF, e);
}

/* A member as the source of a layer: first what was peeked at. */
static ssize_t member_fill(void *ctx, const uint8_t **ret, struct err *e) {
	struct load *l = ctx;
	if (l->peeked) {
		l->peeked = false;
		*ret = l->peek;
		return (ssize_t)l->peek_len;
	}
	return tar_data(l->tar, ret, e);
}

static int member_open(void *ctx, struct layer_source *src, struct err *e) {
	(void)e;
	*src = (struct layer_source){ .fill = member_fill, .ctx = ctx };
	return 0;
}

static void member_close(void *ctx, bool failed) {
	(void)ctx;
	(void)failed;
}

static struct member *find(struct load *l, const char *name) {
	while (str_has_prefix(name, "./"))
		name += 2;
	for (unsigned hops = 0; hops < 8; hops++) {
		struct member *found = NULL;
		for (size_t i = 0; i < l->n; i++)
			if (streq(l->m[i].name, name))
				found = &l->m[i];
		if (!found || !found->alias)
			return found;
		name = found->alias;
	}
	return NULL;
}

static struct member *member_new(struct load *l, const char *name, struct err *e) {
	if (l->n == MEMBERS_MAX) {
		err_set(e, E2BIG, "archive with more than %d members (MEMBERS_MAX)", MEMBERS_MAX);
		return NULL;
	}
	while (str_has_prefix(name, "./"))
		name += 2;
	struct member *v = reallocarray(l->m, l->n + 1, sizeof(*v));
	char *copy = strdup(name);
	if (v)
		l->m = v;
	if (!v || !copy) {
		free(copy);
		err_set(e, ENOMEM, "out of memory");
		return NULL;
	}
	memset(&v[l->n], 0, sizeof(*v));
	v[l->n].name = copy;
	return &v[l->n++];
}

/* "abc/../def/layer.tar" as old docker writes its links: relative to the member's folder. */
static char *link_target(const char *name, const char *link) {
	char *s = NULL, *slash = strrchr(name, '/');
	size_t dir = slash ? (size_t)(slash - name) : 0;
	while (str_has_prefix(link, "../")) {
		link += 3;
		while (dir && name[dir - 1] != '/')
			dir--;
		dir -= dir > 0;
	}
	return asprintf(&s, "%.*s%s%s", (int)dir, name, dir ? "/" : "", link) < 0 ? NULL : s;
}

static int keep_json(struct load *l, struct member *m, uint64_t size, struct err *e) {
	struct strbuf b = STRBUF_INIT;
	const uint8_t *p;
	ssize_t n;
	if (size > JSON_KEPT_MAX - l->kept)
		return err_set(e, EFBIG, "archive with more than %d MiB of JSON (JSON_KEPT_MAX)", JSON_KEPT_MAX >> 20);
	while ((n = member_fill(l, &p, e)) > 0)
		if (strbuf_add(&b, p, (size_t)n) < 0)
			break;
	if (n < 0 || b.failed) {
		strbuf_free(&b);
		return n < 0 ? (int)n : err_set(e, ENOMEM, "out of memory");
	}
	l->kept += b.len;
	m->len = b.len;
	m->json = strbuf_take(&b);
	return m->json ? 0 : err_set(e, ENOMEM, "out of memory");
}

static int add_layer(struct load *l, struct member *m, struct err *e) {
	struct layer_input in = { member_open, member_close, l, NULL, NULL, NULL, "" };
	_cleanup_err_ struct err why = ERR_INIT;
	int r = store_add_layer(l->s, &in, &m->layer, &why);
	/* Full disks and lack of memory end it; anything else says that this is no layer. */
	if (r == -ENOSPC || r == -ENOMEM || r == -EIO || r == -EFBIG || r == -EDQUOT || r == -EXDEV || r == -EPERM)
		return err_set(e, r, "%s: %s", m->name, err_msg(&why));
	if (r < 0)
		m->why = strdup(err_msg(&why));
	m->is_layer = r >= 0;
	return 0;
}

static int on_member(struct load *l, const struct tar_entry *te, struct err *e) {
	struct member *m;
	if (te->type == TAR_SYMLINK || te->type == TAR_HARDLINK) {
		m = member_new(l, te->path, e);
		if (m)
			m->alias = te->type == TAR_HARDLINK ? strdup(te->link) : link_target(m->name, te->link);
		return m ? 0 : -ENOMEM;
	}
	if (te->type != TAR_FILE || te->size == 0)
		return 0;
	m = member_new(l, te->path, e);
	if (!m)
		return e->code;
	uint64_t size = te->size;
	const uint8_t *p;
	ssize_t n = tar_data(l->tar, &p, e);
	if (n <= 0)
		return (int)n;
	l->peek = (uint8_t *)(uintptr_t)p;
	l->peek_len = (size_t)n;
	l->peeked = true;
	bool json = (p[0] == '{' || p[0] == '[') && size <= JSON_KEPT_MAX;
	/* VERSION and the like; a tar of this size has NULs behind its first name. */
	bool text = size < 4 * TAR_BLOCK && p[0] >= ' ' && p[0] < 127 && !memchr(p, 0, (size_t)n);
	return json || text ? keep_json(l, m, size, e) : add_layer(l, m, e);
}

static int read_archive(struct load *l, struct err *e) {
	struct tar_entry te;
	int r;
	l->buf = malloc(2 * IN_BUF);
	l->decomp = decomp_new(file_fill, l);
	l->tar = tar_reader_new(outer_fill, NULL, l);
	if (!l->buf || !l->decomp || !l->tar)
		return err_set(e, ENOMEM, "out of memory");
	while ((r = tar_next(l->tar, &te, e)) > 0)
		if ((r = on_member(l, &te, e)) < 0)
			break;
	return r < 0 ? err_wrap(e, r, "archive") : 0;
}

/* ---- what the members mean ---- */

static struct json *member_json(struct load *l, struct arena *a, const char *name, size_t *ret_len, const char **ret_text, struct err *e) {
	struct json *j = NULL;
	struct member *m = find(l, name);
	if (!m || !m->json) {
		err_set(e, EBADMSG, "archive: %.200s is missing", name);
		return NULL;
	}
	if (json_parse(a, m->json, m->len, &j, e) < 0) {
		err_wrap(e, -EBADMSG, "archive: %.200s", name);
		return NULL;
	}
	if (ret_len)
		*ret_len = m->len;
	if (ret_text)
		*ret_text = m->json;
	return j;
}

/* Layers of an image against the config's diff ids. */
static int check_layers(const char *config, size_t len, const struct layer_row *rows, size_t n, struct err *e) {
	struct image_config cfg = { .arena = ARENA_INIT };
	int r = image_config_parse(config, len, &cfg, e);
	if (r >= 0 && cfg.n_layers != n)
		r = err_set(e, EBADMSG, "archive: the config speaks of %zu layers, the manifest of %zu", cfg.n_layers, n);
	for (size_t i = 0; r >= 0 && i < n; i++)
		if (!streq(cfg.diffids[i], rows[i].diffid))
			r = err_set(e, EBADMSG, "archive: layer %zu unpacks to %s, not %s as the config says", i + 1, rows[i].diffid, cfg.diffids[i]);
	image_config_free(&cfg);
	return r;
}

static int layer_member(struct load *l, const char *name, struct layer_row *ret, struct err *e) {
	struct member *m = find(l, name);
	if (!m)
		return err_set(e, EBADMSG, "archive: layer %.200s is missing", name);
	if (!m->is_layer)
		return err_set(e, EBADMSG, "archive: %.200s is no layer: %s", name, m->why ? m->why : "it is JSON");
	*ret = m->layer;
	return 0;
}

static int finish_image(struct load *l, const char *config, size_t config_len, const char *manifest, size_t manifest_len, struct layer_row *rows, size_t n,
			const struct json *names, struct err *e) {
	_cleanup_strbuf_ struct strbuf built = STRBUF_INIT;
	char id[DIGEST_MAX], name[REF_MAX];
	unsigned named = 0;
	int r = check_layers(config, config_len, rows, n, e);
	if (r >= 0 && !manifest) {
		r = manifest_build(config, config_len, rows, n, &built, e);
		manifest = built.s;
		manifest_len = built.len;
	}
	for (const struct json *m = names && names->type == JSON_STRING ? names : json_first(names); r >= 0 && m; m = names->type == JSON_STRING ? NULL : m->next) {
		struct ref ref;
		if (m->type != JSON_STRING || ref_parse(m->text, &ref, e) < 0)
			return err_wrap(e, -EBADMSG, "archive: name of an image");
		ref_name(&ref, false, name);
		r = store_add_image(l->s, config, config_len, manifest, manifest_len, rows, n, name, NULL, id, e);
		if (r >= 0)
			r = l->loaded(l->ctx, name, id);
		named++;
	}
	if (r >= 0 && !named) {
		r = store_add_image(l->s, config, config_len, manifest, manifest_len, rows, n, NULL, NULL, id, e);
		if (r >= 0)
			r = l->loaded(l->ctx, NULL, id);
	}
	l->images++;
	return r;
}

static int docker_image(struct load *l, const struct json *j, struct err *e) {
	struct json *layers = json_get(j, "Layers");
	struct member *config = find(l, json_str(j, "Config", ""));
	if (!config || !config->json)
		return err_set(e, EBADMSG, "archive: the config %.100s is missing", json_str(j, "Config", ""));
	if (!layers || layers->type != JSON_ARRAY || layers->len > LAYERS_MAX)
		return err_set(e, EBADMSG, "archive: no list of at most %d layers", LAYERS_MAX);
	struct layer_row *rows = calloc(layers->len + 1, sizeof(*rows));
	size_t n = 0;
	int r = rows ? 0 : err_set(e, ENOMEM, "out of memory");
	for (struct json *m = json_first(layers); r >= 0 && m; m = m->next)
		r = m->type == JSON_STRING ? layer_member(l, m->text, &rows[n++], e) : err_set(e, EBADMSG, "archive: malformed manifest.json");
	if (r >= 0)
		r = finish_image(l, config->json, config->len, NULL, 0, rows, n, json_get(j, "RepoTags"), e);
	free(rows);
	return r;
}

static int blob_json(struct load *l, const char *digest, const char **ret, size_t *ret_len, struct err *e) {
	char name[128], got[DIGEST_MAX];
	snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(digest));
	struct member *m = find(l, name);
	if (!m || !m->json)
		return err_set(e, EBADMSG, "archive: blob %s is missing", digest);
	digest_of(m->json, m->len, got);
	if (!streq(got, digest))
		return err_set(e, EBADMSG, "archive: blob %s has digest %s", digest, got);
	*ret = m->json;
	*ret_len = m->len;
	return 0;
}

static int oci_manifest(struct load *l, const struct descriptor *d, const struct json *name, unsigned depth, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	enum manifest_kind kind;
	const char *body, *config;
	size_t len, config_len;
	int r = blob_json(l, d->digest, &body, &len, e);
	if (r >= 0)
		r = manifest_kind(body, len, d->media_type, &kind, e);
	if (r < 0)
		return r;
	if (kind == MANIFEST_INDEX) {
		struct descriptor pick;
		struct platform host;
		platform_host(&host);
		if (depth > 3)
			return err_set(e, ELOOP, "archive: indexes of indexes, more than 3 deep");
		r = index_pick(body, len, &host, &pick, e);
		return r < 0 ? r : oci_manifest(l, &pick, name, depth + 1, e);
	}
	struct manifest m;
	r = manifest_parse(&a, body, len, &m, e);
	if (r >= 0)
		r = blob_json(l, m.config.digest, &config, &config_len, e);
	if (r < 0)
		return r;
	struct layer_row *rows = calloc(m.n_layers + 1, sizeof(*rows));
	if (!rows)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; r >= 0 && i < m.n_layers; i++) {
		char file[128];
		snprintf(file, sizeof(file), "blobs/sha256/%s", digest_hex(m.layers[i].digest));
		r = layer_member(l, file, &rows[i], e);
		if (r >= 0 && !streq(rows[i].digest, m.layers[i].digest))
			r = err_set(e, EBADMSG, "archive: blob %s has digest %s", m.layers[i].digest, rows[i].digest);
	}
	if (r >= 0)
		r = finish_image(l, config, config_len, body, len, rows, m.n_layers, name, e);
	free(rows);
	return r;
}

/* A full name, if the layout gives one; "latest" alone is a tag without a name. */
static const struct json *layout_name(const struct json *entry) {
	struct json *an = json_get(entry, "annotations"), *n = json_get(an, "io.containerd.image.name");
	if (!n)
		n = json_get(an, "org.opencontainers.image.ref.name");
	return n && n->type == JSON_STRING && (strchr(n->text, '/') || strchr(n->text, ':')) ? n : NULL;
}

static int interpret(struct load *l, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	int r = 0;
	if (find(l, "manifest.json")) {
		struct json *j = member_json(l, &a, "manifest.json", NULL, NULL, e);
		if (!j)
			return -EBADMSG;
		for (struct json *m = json_first(j); r >= 0 && m; m = m->next)
			r = docker_image(l, m, e);
	} else if (find(l, "index.json")) {
		struct json *j = member_json(l, &a, "index.json", NULL, NULL, e);
		if (!j)
			return -EBADMSG;
		for (struct json *m = json_first(json_get(j, "manifests")); r >= 0 && m; m = m->next) {
			struct descriptor d = { .size = 0 };
			const char *digest = json_str(m, "digest", "");
			if (!digest_valid(digest))
				return err_set(e, EBADMSG, "archive: index.json names the invalid digest '%.80s'", digest);
			snprintf(d.digest, sizeof(d.digest), "%s", digest);
			snprintf(d.media_type, sizeof(d.media_type), "%.120s", json_str(m, "mediaType", ""));
			r = oci_manifest(l, &d, layout_name(m), 0, e);
		}
	} else
		return err_set(e, EBADMSG, "neither a docker archive (manifest.json) nor an OCI layout (index.json)");
	if (r >= 0 && !l->images)
		r = err_set(e, EBADMSG, "the archive holds no image");
	return r;
}

/* ---- a folder with an OCI layout: written as the tar that it could be, read as one ---- */

static int folder_file(int dir, const char *name, int out, struct err *e) {
	_cleanup_strbuf_ struct strbuf h = STRBUF_INIT;
	static const uint8_t zero[TAR_BLOCK];
	struct stat st;
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "%s", name);
	if (!S_ISREG(st.st_mode))
		return 0;
	struct tar_entry te = { .type = TAR_FILE, .path = name, .link = "", .mode = 0444, .size = (uint64_t)st.st_size };
	char buf[65536];
	int r = tar_put_header(&h, &te);
	if (r >= 0)
		r = fd_write_all(out, h.s, h.len);
	for (uint64_t left = te.size; r >= 0 && left;) {
		ssize_t n = fd_read_full(fd, buf, (size_t)MIN(left, (uint64_t)sizeof(buf)));
		r = n > 0 ? fd_write_all(out, buf, (size_t)n) : -EIO;
		left -= n > 0 ? (uint64_t)n : 0;
	}
	if (r >= 0)
		r = fd_write_all(out, zero, tar_padding(te.size));
	return r < 0 ? err_sys(e, r, "%s", name) : 0;
}

struct folder {
	int dir, out, result;
	struct err err;
};

static void *folder_writer(void *ctx) {
	struct folder *f = ctx;
	static const uint8_t end[2 * TAR_BLOCK];
	char **names = NULL;
	_cleanup_close_ int blobs = openat(f->dir, "blobs/sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = blobs < 0 ? err_sys(&f->err, errno, "blobs/sha256") : sorted_names(blobs, &names, &f->err);
	for (char **n = names; r >= 0 && n && *n; n++) {
		char path[300];
		snprintf(path, sizeof(path), "blobs/sha256/%.250s", *n);
		r = folder_file(f->dir, path, f->out, &f->err);
	}
	strv_free(names);
	if (r >= 0)
		r = folder_file(f->dir, "index.json", f->out, &f->err);
	if (r >= 0)
		r = fd_write_all(f->out, end, sizeof(end));
	f->result = r;
	close(f->out);
	return NULL;
}

static void load_free(struct load *l) {
	for (size_t i = 0; i < l->n; i++) {
		free(l->m[i].name);
		free(l->m[i].json);
		free(l->m[i].alias);
		free(l->m[i].why);
	}
	free(l->m);
	tar_reader_free(l->tar);
	decomp_free(l->decomp);
	free(l->buf);
}

int store_load(struct store *s, int fd, const char *dir, int (*loaded)(void *ctx, const char *name, const char *id), void *ctx, struct err *e) {
	struct load l = { .s = s, .fd = fd, .loaded = loaded, .ctx = ctx };
	struct folder f = { .dir = -EBADF };
	pthread_t th;
	int p[2], r = 0;
	if (dir) {
		f.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (f.dir < 0)
			return err_sys(e, errno, "%s", dir);
		if (pipe2(p, O_CLOEXEC) < 0 || (f.out = p[1], pthread_create(&th, NULL, folder_writer, &f)) != 0) {
			close(f.dir);
			return err_sys(e, EAGAIN, "%s", dir);
		}
		l.fd = p[0];
	}
	r = read_archive(&l, e);
	if (dir) {
		close(p[0]);
		pthread_join(th, NULL);
		if (f.result < 0 && (r >= 0 || f.result != -EPIPE))
			r = err_set(e, f.result, "%s: %s", dir, err_msg(&f.err));
		err_clear(&f.err);
		close(f.dir);
	}
	if (r >= 0)
		r = interpret(&l, e);
	load_free(&l);
	return r;
}
