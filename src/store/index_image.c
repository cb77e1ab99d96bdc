/* The index, images and their names. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <time.h>

#include "store/index.h"

void image_row_clear(struct image_row *r) {
	strv_free(r->names);
	strv_free(r->digests);
	r->names = r->digests = NULL;
}

static int put_name(struct store *s, const char *table, const char *name, const char *id, struct err *e) {
	sqlite3_stmt *st;
	char sql[96];
	snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO %s(name, image) VALUES(?, ?)", table);
	int r = index_query(s, &st, e, sql, "ss", name, id);
	return r < 0 ? r : index_run(s, st, e);
}

int index_add_image(struct store *s, const struct image_add *a, struct err *e) {
	const struct image_row *im = a->image;
	sqlite3_stmt *st;
	int r = index_begin(s, e);
	if (r < 0)
		return r;
	r = index_query(s, &st, e,
			"INSERT INTO image(id, manifest, os, arch, variant, created, pulled, size) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
			" ON CONFLICT(id) DO UPDATE SET manifest = excluded.manifest, pulled = excluded.pulled",
			"sssssiii", im->id, im->manifest, im->os, im->arch, im->variant, im->created, (int64_t)time(NULL), (int64_t)im->size);
	if (r >= 0)
		r = index_run(s, st, e);
	for (size_t i = 0; r >= 0 && i < im->n_layers; i++) {
		const struct layer_row *l = &a->layers[i];
		r = index_query(s, &st, e, "INSERT OR REPLACE INTO image_layer(image, pos, diffid, digest, blob_size, media_type) VALUES(?, ?, ?, ?, ?, ?)",
				"sissis", im->id, (int64_t)i, l->diffid, l->digest, (int64_t)l->blob_size, l->media_type);
		if (r >= 0)
			r = index_run(s, st, e);
	}
	if (r >= 0 && a->name)
		r = put_name(s, "name", a->name, im->id, e);
	if (r >= 0 && a->digest_name)
		r = put_name(s, "digest_name", a->digest_name, im->id, e);
	return index_end(s, r, e);
}

int index_tag(struct store *s, const char *id, const char *name, struct err *e) {
	int r = index_begin(s, e);
	return r < 0 ? r : index_end(s, put_name(s, "name", name, id, e), e);
}

int index_untag(struct store *s, const char *name, struct err *e) {
	sqlite3_stmt *st;
	int r = index_begin(s, e);
	if (r < 0)
		return r;
	r = index_query(s, &st, e, "DELETE FROM name WHERE name = ?", "s", name);
	if (r >= 0)
		r = index_run(s, st, e);
	if (r >= 0)
		r = sqlite3_changes(s->db) > 0;
	return index_end(s, r, e);
}

int index_remove_image(struct store *s, const char *id, bool force, struct err *e) {
	sqlite3_stmt *st;
	char container[136] = "";
	int r = index_begin(s, e);
	if (r < 0)
		return r;
	r = index_query(s, &st, e, "SELECT id FROM container WHERE image = ? LIMIT 1", "s", id);
	if (r >= 0) {
		r = index_step(s, st, e);
		if (r > 0)
			index_text(st, 0, container, sizeof(container));
		sqlite3_finalize(st);
	}
	(void)force; /* a file system in use is never taken away, forced or not: the container is removed first */
	if (r >= 0 && container[0])
		r = err_set(e, EBUSY, "image is used by container %s: remove it first", container);
	if (r >= 0) {
		r = index_query(s, &st, e, "DELETE FROM image WHERE id = ?", "s", id);
		if (r >= 0)
			r = index_run(s, st, e);
	}
	return index_end(s, r, e);
}

static int strings(struct store *s, const char *sql, const char *arg, char ***ret, struct err *e) {
	sqlite3_stmt *st;
	size_t n = 0;
	int r = index_query(s, &st, e, sql, "s", arg);
	if (r < 0)
		return r;
	while ((r = index_step(s, st, e)) > 0)
		if (strv_push(ret, &n, (const char *)sqlite3_column_text(st, 0)) < 0) {
			r = err_set(e, ENOMEM, "out of memory");
			break;
		}
	sqlite3_finalize(st);
	return r;
}

#define IMAGE_COLUMNS "id, manifest, os, arch, variant, created, pulled, size, (SELECT count(*) FROM image_layer WHERE image = id)," \
	" (SELECT count(*) FROM container c WHERE c.image = i.id)"

static int fill_row(struct store *s, sqlite3_stmt *st, struct image_row *r, struct err *e) {
	memset(r, 0, sizeof(*r));
	index_text(st, 0, r->id, sizeof(r->id));
	index_text(st, 1, r->manifest, sizeof(r->manifest));
	index_text(st, 2, r->os, sizeof(r->os));
	index_text(st, 3, r->arch, sizeof(r->arch));
	index_text(st, 4, r->variant, sizeof(r->variant));
	r->created = sqlite3_column_int64(st, 5);
	r->pulled = sqlite3_column_int64(st, 6);
	r->size = (uint64_t)sqlite3_column_int64(st, 7);
	r->n_layers = (size_t)sqlite3_column_int64(st, 8);
	r->containers = (unsigned)sqlite3_column_int64(st, 9);
	int k = strings(s, "SELECT name FROM name WHERE image = ? ORDER BY name", r->id, &r->names, e);
	if (k >= 0)
		k = strings(s, "SELECT name FROM digest_name WHERE image = ? ORDER BY name", r->id, &r->digests, e);
	if (k < 0)
		image_row_clear(r);
	return k;
}

static int one_image(struct store *s, const char *sql, const char *arg, struct image_row *ret, struct err *e) {
	sqlite3_stmt *st;
	int r = index_query(s, &st, e, sql, "s", arg);
	if (r < 0)
		return r;
	r = index_step(s, st, e);
	if (r > 0) {
		int k = fill_row(s, st, ret, e);
		r = k < 0 ? k : 1;
	}
	sqlite3_finalize(st);
	return r;
}

int index_image(struct store *s, const char *id, struct image_row *ret, struct err *e) {
	pthread_mutex_lock(&s->mutex);
	int r = one_image(s, "SELECT " IMAGE_COLUMNS " FROM image i WHERE id = ?", id, ret, e);
	pthread_mutex_unlock(&s->mutex);
	return r == 0 ? err_set(e, ENOENT, "%s: no such image", id) : MIN(r, 0);
}

int index_images(struct store *s, int (*cb)(void *ctx, const struct image_row *r), void *ctx, struct err *e) {
	sqlite3_stmt *st;
	pthread_mutex_lock(&s->mutex);
	int r = index_query(s, &st, e, "SELECT " IMAGE_COLUMNS " FROM image i ORDER BY created DESC, id", "");
	if (r >= 0) {
		while ((r = index_step(s, st, e)) > 0) {
			struct image_row row;
			r = fill_row(s, st, &row, e);
			if (r < 0)
				break;
			r = cb(ctx, &row);
			image_row_clear(&row);
			if (r)
				break;
		}
		sqlite3_finalize(st);
	}
	pthread_mutex_unlock(&s->mutex);
	return r;
}

int index_image_layers(struct store *s, const char *id, struct layer_row **ret, size_t *ret_n, struct err *e) {
	sqlite3_stmt *st;
	struct layer_row *v = NULL;
	size_t n = 0;
	pthread_mutex_lock(&s->mutex);
	int r = index_query(s, &st, e,
			    "SELECT i.diffid, i.digest, i.blob_size, l.tar_size, l.image_size, i.media_type FROM image_layer i LEFT JOIN layer l ON"
			    " l.diffid = i.diffid WHERE i.image = ? ORDER BY i.pos", "s", id);
	if (r >= 0) {
		while ((r = index_step(s, st, e)) > 0) {
			struct layer_row *x = reallocarray(v, n + 1, sizeof(*v));
			if (!x) {
				r = err_set(e, ENOMEM, "out of memory");
				break;
			}
			v = x;
			struct layer_row *l = &v[n++];
			memset(l, 0, sizeof(*l));
			index_text(st, 0, l->diffid, sizeof(l->diffid));
			index_text(st, 1, l->digest, sizeof(l->digest));
			l->blob_size = (uint64_t)sqlite3_column_int64(st, 2);
			l->tar_size = (uint64_t)sqlite3_column_int64(st, 3);
			l->image_size = (uint64_t)sqlite3_column_int64(st, 4);
			index_text(st, 5, l->media_type, sizeof(l->media_type));
		}
		sqlite3_finalize(st);
	}
	pthread_mutex_unlock(&s->mutex);
	if (r < 0) {
		free(v);
		return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

static bool is_hex(const char *s) {
	size_t n = strspn(s, "0123456789abcdef");
	return n >= 3 && n <= DIGEST_HEX && s[n] == '\0';
}

static int find_id(struct store *s, const char *hex, struct image_row *ret, struct err *e) {
	char like[DIGEST_MAX + 1];
	sqlite3_stmt *st;
	snprintf(like, sizeof(like), "sha256:%s", hex);
	int r = index_query(s, &st, e, "SELECT count(*) FROM image WHERE substr(id, 1, length(?1)) = ?1", "s", like);
	if (r < 0)
		return r;
	r = index_step(s, st, e);
	int64_t n = r > 0 ? sqlite3_column_int64(st, 0) : 0;
	sqlite3_finalize(st);
	if (r < 0)
		return r;
	if (n > 1)
		return err_set(e, EINVAL, "%s begins the ids of %lld images: give more digits", hex, (long long)n);
	return one_image(s, "SELECT " IMAGE_COLUMNS " FROM image i WHERE substr(id, 1, length(?1)) = ?1", like, ret, e);
}

/* Short names stand for docker.io/library/NAME, but "localhost/NAME" is looked at too, as podman does for images built here. */
static int find_name(struct store *s, const char *what, struct image_row *ret, char *name, struct err *e) {
	struct ref ref;
	int r = ref_parse(what, &ref, NULL);
	if (r < 0)
		return 0;
	if (ref.digest[0]) {
		ref_name(&ref, true, name);
		r = one_image(s, "SELECT " IMAGE_COLUMNS " FROM image i WHERE id = (SELECT image FROM digest_name WHERE name = ?)", name, ret, e);
		return r;
	}
	static const char by_name[] = "SELECT " IMAGE_COLUMNS " FROM image i WHERE id = (SELECT image FROM name WHERE name = ?)";
	ref_name(&ref, false, name);
	r = one_image(s, by_name, name, ret, e);
	if (r == 0 && !strchr(what, '/')) {
		snprintf(name, REF_MAX, "localhost/%s:%s", ref.path + strlen("library/"), ref.tag);
		r = one_image(s, by_name, name, ret, e);
	}
	return r;
}

int index_find(struct store *s, const char *what, struct image_row *ret, char ret_name[REF_MAX], struct err *e) {
	char name[REF_MAX] = "";
	const char *hex = str_has_prefix(what, "sha256:") ? what + 7 : what;
	pthread_mutex_lock(&s->mutex);
	int r = hex != what ? 0 : find_name(s, what, ret, name, e);
	if (r == 0) {
		name[0] = '\0';
		if (is_hex(hex))
			r = find_id(s, hex, ret, e);
	}
	pthread_mutex_unlock(&s->mutex);
	if (r > 0 && ret_name)
		snprintf(ret_name, REF_MAX, "%s", name);
	if (r == 0) {
		struct ref ref;
		r = hex == what ? ref_parse(what, &ref, e) : 0;
		return r < 0 ? r : err_set(e, ENOENT, "%s: no such image (tierce pull brings one)", what);
	}
	return MIN(r, 0);
}
