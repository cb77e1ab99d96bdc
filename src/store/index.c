/* The index: what exists, in SQLite. One connection a process, used under the store's mutex. See store.h. */
#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "store/index.h"

enum { SCHEMA = 1, BUSY_MS = 60000 };

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS image(id TEXT PRIMARY KEY, manifest TEXT NOT NULL, os TEXT, arch TEXT, variant TEXT, created INTEGER, pulled INTEGER,"
	" size INTEGER) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS name(name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES image(id) ON DELETE CASCADE) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS name_image ON name(image);"
	"CREATE TABLE IF NOT EXISTS digest_name(name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES image(id) ON DELETE CASCADE) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS digest_name_image ON digest_name(image);"
	"CREATE TABLE IF NOT EXISTS layer(diffid TEXT PRIMARY KEY, tar_size INTEGER, image_size INTEGER) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS image_layer(image TEXT NOT NULL REFERENCES image(id) ON DELETE CASCADE, pos INTEGER, diffid TEXT NOT NULL"
	" REFERENCES layer(diffid), digest TEXT, blob_size INTEGER, media_type TEXT, PRIMARY KEY(image, pos)) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS image_layer_diffid ON image_layer(diffid);"
	"CREATE TABLE IF NOT EXISTS blob_link(digest TEXT, repo TEXT, diffid TEXT NOT NULL, size INTEGER, media_type TEXT,"
	" PRIMARY KEY(digest, repo)) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS blob_link_diffid ON blob_link(diffid);"
	"CREATE TABLE IF NOT EXISTS lease(session TEXT, what TEXT, PRIMARY KEY(session, what)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS container(id TEXT PRIMARY KEY, image TEXT REFERENCES image(id), created INTEGER, mounted INTEGER DEFAULT 0) WITHOUT ROWID;";

int index_error(struct store *s, struct err *e) {
	int code = sqlite3_extended_errcode(s->db);
	int r = EIO;
	switch (code & 0xff) {
	case SQLITE_FULL: r = ENOSPC; break;
	case SQLITE_BUSY: r = EBUSY; break;
	case SQLITE_NOMEM: r = ENOMEM; break;
	case SQLITE_CORRUPT: case SQLITE_NOTADB: r = EUCLEAN; break;
	case SQLITE_READONLY: r = EROFS; break;
	default: break;
	}
	return err_set(e, r, "index of %s: %s", s->root, sqlite3_errmsg(s->db));
}

int index_exec(struct store *s, const char *sql, struct err *e) {
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : index_error(s, e);
}

int index_open(struct store *s, struct err *e) {
	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%s/index.db", s->root) < 0)
		return err_set(e, ENOMEM, "out of memory");
	mode_t old = umask(077);
	int k = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
	if (k == SQLITE_OK) {
		sqlite3_busy_timeout(s->db, BUSY_MS);
		sqlite3_extended_result_codes(s->db, 1);
		k = sqlite3_exec(s->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;", NULL, NULL, NULL);
	}
	umask(old);
	if (k != SQLITE_OK)
		return index_error(s, e);
	sqlite3_stmt *st = NULL;
	int64_t version = -1;
	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
		version = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	if (version == SCHEMA)
		return 0;
	if (version > SCHEMA)
		return err_set(e, EPROTO, "%s was written by a newer tierce (index version %lld)", s->root, (long long)version);
	int r = index_exec(s, "BEGIN IMMEDIATE", e);
	if (r >= 0)
		r = index_exec(s, schema, e);
	if (r >= 0)
		r = index_exec(s, "PRAGMA user_version=1; COMMIT", e);
	return r;
}

int index_begin(struct store *s, struct err *e) {
	pthread_mutex_lock(&s->mutex);
	int r = index_exec(s, "BEGIN IMMEDIATE", e);
	if (r < 0)
		pthread_mutex_unlock(&s->mutex);
	return r;
}

int index_end(struct store *s, int result, struct err *e) {
	int r = result;
	if (result >= 0) {
		if (index_exec(s, "COMMIT", e) < 0) {
			r = e && e->code ? e->code : -EIO;
			sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
		}
	} else
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	pthread_mutex_unlock(&s->mutex);
	return r;
}

/* Arguments by letters: s text (NULL allowed), i int64. */
int index_query(struct store *s, sqlite3_stmt **ret, struct err *e, const char *sql, const char *types, ...) {
	sqlite3_stmt *st = NULL;
	va_list ap;
	if (sqlite3_prepare_v2(s->db, sql, -1, &st, NULL) != SQLITE_OK)
		return index_error(s, e);
	va_start(ap, types);
	for (int i = 0; types[i]; i++) {
		if (types[i] == 's') {
			const char *v = va_arg(ap, const char *);
			sqlite3_bind_text(st, i + 1, v, -1, SQLITE_TRANSIENT);
		} else
			sqlite3_bind_int64(st, i + 1, va_arg(ap, int64_t));
	}
	va_end(ap);
	*ret = st;
	return 0;
}

/* 1 row, 0 done, negative errno. */
int index_step(struct store *s, sqlite3_stmt *st, struct err *e) {
	int k = sqlite3_step(st);
	return k == SQLITE_ROW ? 1 : k == SQLITE_DONE ? 0 : index_error(s, e);
}

int index_run(struct store *s, sqlite3_stmt *st, struct err *e) {
	int r = index_step(s, st, e);
	sqlite3_finalize(st);
	return MIN(r, 0);
}

void index_text(sqlite3_stmt *st, int col, char *to, size_t size) {
	const char *v = (const char *)sqlite3_column_text(st, col);
	snprintf(to, size, "%s", v ? v : "");
}

/* ---- layers ---- */

static int get_layer(struct store *s, const char *diffid, struct layer_row *ret, struct err *e) {
	sqlite3_stmt *st;
	int r = index_query(s, &st, e, "SELECT tar_size, image_size FROM layer WHERE diffid = ?", "s", diffid);
	if (r < 0)
		return r;
	r = index_step(s, st, e);
	if (r > 0 && ret) {
		memset(ret, 0, sizeof(*ret));
		snprintf(ret->diffid, sizeof(ret->diffid), "%s", diffid);
		ret->tar_size = (uint64_t)sqlite3_column_int64(st, 0);
		ret->image_size = (uint64_t)sqlite3_column_int64(st, 1);
	}
	sqlite3_finalize(st);
	return r;
}

int index_has_layer(struct store *s, const char *diffid, struct layer_row *ret, struct err *e) {
	pthread_mutex_lock(&s->mutex);
	int r = get_layer(s, diffid, ret, e);
	pthread_mutex_unlock(&s->mutex);
	return r;
}

static int put_lease(struct store *s, const char *what, struct err *e) {
	sqlite3_stmt *st;
	int r = index_query(s, &st, e, "INSERT OR IGNORE INTO lease VALUES(?, ?)", "ss", s->session, what);
	return r < 0 ? r : index_run(s, st, e);
}

int index_lease_layer(struct store *s, const char *diffid, struct layer_row *ret, struct err *e) {
	int r = store_session(s, e);
	if (r < 0)
		return r;
	/* Reading first: most often the layer is not there and nothing needs to be written. */
	r = index_has_layer(s, diffid, ret, e);
	if (r <= 0)
		return r;
	r = index_begin(s, e);
	if (r < 0)
		return r;
	r = get_layer(s, diffid, ret, e);
	if (r > 0) {
		int k = put_lease(s, diffid, e);
		r = k < 0 ? k : r;
	}
	return index_end(s, r, e);
}

static int put_link(struct store *s, const char *digest, const char *diffid, uint64_t size, const char *type, const char *repo, struct err *e) {
	sqlite3_stmt *st;
	if (!digest[0])
		return 0;
	int r = index_query(s, &st, e, "INSERT OR REPLACE INTO blob_link(digest, repo, diffid, size, media_type) VALUES(?, ?, ?, ?, ?)", "sssis", digest,
			    repo ? repo : "", diffid, (int64_t)size, type);
	return r < 0 ? r : index_run(s, st, e);
}

int index_add_layer(struct store *s, const struct layer_row *l, const char *repo, struct err *e) {
	sqlite3_stmt *st;
	int r = store_session(s, e);
	if (r >= 0)
		r = index_begin(s, e);
	if (r < 0)
		return r;
	r = index_query(s, &st, e, "INSERT OR REPLACE INTO layer(diffid, tar_size, image_size) VALUES(?, ?, ?)", "sii", l->diffid, (int64_t)l->tar_size,
			(int64_t)l->image_size);
	if (r >= 0)
		r = index_run(s, st, e);
	if (r >= 0)
		r = put_link(s, l->digest, l->diffid, l->blob_size, l->media_type, repo, e);
	if (r >= 0)
		r = put_lease(s, l->diffid, e);
	return index_end(s, r, e);
}

int index_add_blob_link(struct store *s, const char *digest, const char *diffid, uint64_t size, const char *media_type, const char *repo, struct err *e) {
	int r = index_begin(s, e);
	return r < 0 ? r : index_end(s, put_link(s, digest, diffid, size, media_type, repo, e), e);
}

int index_blob_diffid(struct store *s, const char *digest, char ret[DIGEST_MAX], struct err *e) {
	sqlite3_stmt *st;
	pthread_mutex_lock(&s->mutex);
	int r = index_query(s, &st, e, "SELECT diffid FROM blob_link WHERE digest = ? LIMIT 1", "s", digest);
	if (r >= 0) {
		r = index_step(s, st, e);
		if (r > 0)
			index_text(st, 0, ret, DIGEST_MAX);
		sqlite3_finalize(st);
	}
	pthread_mutex_unlock(&s->mutex);
	return r;
}

int index_layer_blobs(struct store *s, const char *diffid, const char *host,
		      int (*cb)(void *ctx, const char *digest, const char *repo, uint64_t size, const char *media_type), void *ctx, struct err *e) {
	sqlite3_stmt *st;
	char like[REF_PATH_MAX + 4], digest[DIGEST_MAX], repo[2 * REF_PATH_MAX + 2], type[96];
	snprintf(like, sizeof(like), "%s/", host);
	pthread_mutex_lock(&s->mutex);
	int r = index_query(s, &st, e, "SELECT digest, repo, size, media_type FROM blob_link WHERE diffid = ?1 ORDER BY substr(repo, 1, length(?2)) <> ?2", "ss",
			    diffid, like);
	if (r >= 0) {
		while ((r = index_step(s, st, e)) > 0) {
			index_text(st, 0, digest, sizeof(digest));
			index_text(st, 1, repo, sizeof(repo));
			index_text(st, 3, type, sizeof(type));
			r = cb(ctx, digest, str_has_prefix(repo, like) ? repo + strlen(like) : "", (uint64_t)sqlite3_column_int64(st, 2), type);
			if (r)
				break;
		}
		sqlite3_finalize(st);
	}
	pthread_mutex_unlock(&s->mutex);
	return r;
}

int index_layers(struct store *s, int (*cb)(void *ctx, const struct layer_row *l, unsigned images), void *ctx, struct err *e) {
	sqlite3_stmt *st;
	pthread_mutex_lock(&s->mutex);
	int r = index_query(s, &st, e, "SELECT diffid, tar_size, image_size, (SELECT count(*) FROM image_layer i WHERE i.diffid = l.diffid) FROM layer l", "");
	if (r >= 0) {
		while ((r = index_step(s, st, e)) > 0) {
			struct layer_row l = { .tar_size = (uint64_t)sqlite3_column_int64(st, 1), .image_size = (uint64_t)sqlite3_column_int64(st, 2) };
			index_text(st, 0, l.diffid, sizeof(l.diffid));
			r = cb(ctx, &l, (unsigned)sqlite3_column_int(st, 3));
			if (r)
				break;
		}
		sqlite3_finalize(st);
	}
	pthread_mutex_unlock(&s->mutex);
	return r;
}

int index_lease(struct store *s, const char *what, struct err *e) {
	int r = store_session(s, e);
	if (r >= 0)
		r = index_begin(s, e);
	return r < 0 ? r : index_end(s, put_lease(s, what, e), e);
}
