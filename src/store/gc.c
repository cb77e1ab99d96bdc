/* Garbage: what nothing reaches, and what a crash left. See store.h for the order of writes that makes this enough. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "store/index.h"
#include "sys/fd.h"

/* Removes a tree below dirfd; mounts are not entered (unlinkat of a mount point fails and is reported). */
int store_remove_tree(int dirfd, const char *name) {
	int r = unlinkat(dirfd, name, 0) == 0 || errno == ENOENT ? 0 : -errno;
	if (r != -EISDIR && r != -EPERM && r != -ENOTEMPTY)
		return r;
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = 0;
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d) {
		if (copy >= 0)
			close(copy);
		return -errno;
	}
	for (struct dirent *de; (de = readdir(d));) {
		if (streq(de->d_name, ".") || streq(de->d_name, ".."))
			continue;
		int k = store_remove_tree(fd, de->d_name);
		if (k == -EACCES) { /* a directory without permissions, made by a container of an ordinary user */
			fchmodat(fd, de->d_name, 0700, 0);
			k = store_remove_tree(fd, de->d_name);
		}
		r = r < 0 ? r : k;
	}
	closedir(d);
	if (r < 0)
		return r;
	return unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

static uint64_t file_bytes(int dirfd, const char *name) {
	struct stat st;
	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static const char *const layer_suffix[] = { ".erofs", ".split", ".dir", ".ids" };

static int drop_layer_files(struct store *s, const char *diffid, struct gc_result *res, struct err *e) {
	char name[DIGEST_HEX + 16];
	for (size_t i = 0; i < ARRAY_SIZE(layer_suffix); i++) {
		snprintf(name, sizeof(name), "%s%s", digest_hex(diffid), layer_suffix[i]);
		res->bytes += file_bytes(s->layers, name);
		int r = store_remove_tree(s->layers, name);
		if (r < 0)
			return err_sys(e, r, "remove %s/layers/%s", s->root, name);
	}
	return 0;
}

static const char unreached_layers[] =
	"SELECT diffid FROM layer WHERE NOT EXISTS(SELECT 1 FROM image_layer i WHERE i.diffid = layer.diffid)"
	" AND NOT EXISTS(SELECT 1 FROM lease WHERE what = layer.diffid)";

/* The row goes in a transaction that looks once more; the digest lock keeps a pull of the same layer from writing it meanwhile. */
static int drop_layer(struct store *s, const char *diffid, struct gc_result *res, struct err *e) {
	_cleanup_close_ int lock = store_lock(s, diffid, false, e);
	sqlite3_stmt *st;
	if (lock == -EBUSY) {
		err_clear(e);
		return 0;
	}
	if (lock < 0)
		return lock;
	int r = store_session(s, e); /* a crash between the two steps leaves a dead session, which makes the next command sweep */
	if (r >= 0)
		r = index_begin(s, e);
	if (r < 0)
		return r;
	char sql[400];
	snprintf(sql, sizeof(sql), "DELETE FROM layer WHERE diffid = ? AND diffid IN (%s)", unreached_layers);
	r = index_query(s, &st, e, sql, "s", diffid);
	if (r >= 0)
		r = index_run(s, st, e);
	int gone = sqlite3_changes(s->db);
	if (r >= 0 && gone) {
		r = index_query(s, &st, e, "DELETE FROM blob_link WHERE diffid = ?", "s", diffid);
		if (r >= 0)
			r = index_run(s, st, e);
	}
	r = index_end(s, r, e);
	if (r < 0 || !gone)
		return r;
	res->layers++;
	return drop_layer_files(s, diffid, res, e);
}

static int collect(struct store *s, const char *sql, char ***ret, struct err *e) {
	sqlite3_stmt *st;
	size_t n = 0;
	pthread_mutex_lock(&s->mutex);
	int r = index_query(s, &st, e, sql, "");
	if (r >= 0) {
		while ((r = index_step(s, st, e)) > 0)
			if (strv_push(ret, &n, (const char *)sqlite3_column_text(st, 0)) < 0) {
				r = err_set(e, ENOMEM, "out of memory");
				break;
			}
		sqlite3_finalize(st);
	}
	pthread_mutex_unlock(&s->mutex);
	return r;
}

static bool blob_known(struct store *s, const char *hex, struct err *e) {
	sqlite3_stmt *st;
	char digest[DIGEST_MAX];
	snprintf(digest, sizeof(digest), "sha256:%s", hex);
	int r = index_query(s, &st, e,
			    "SELECT 1 FROM image WHERE id = ?1 OR manifest = ?1 UNION SELECT 1 FROM digest_name WHERE substr(name, -71) = ?1"
			    " UNION SELECT 1 FROM lease WHERE what = ?1", "s", digest);
	if (r < 0)
		return true;
	r = index_step(s, st, e);
	sqlite3_finalize(st);
	return r != 0;
}

static bool plain_hex(const char *s, size_t n) {
	return n == DIGEST_HEX && strspn(s, "0123456789abcdef") >= DIGEST_HEX;
}

/* Blobs that no image names. A pull writes them under a lease (its session row) before the image row: those stay. */
static int sweep_blobs(struct store *s, struct gc_result *res, struct err *e) {
	int copy = openat(s->blobs, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d)
		return err_sys(e, errno, "%s/blobs", s->root);
	int r = 0;
	for (struct dirent *de; r >= 0 && (de = readdir(d));) {
		if (!plain_hex(de->d_name, strlen(de->d_name)))
			continue;
		r = index_begin(s, e); /* the write lock: no image can be added between the look and the unlink */
		if (r < 0)
			break;
		if (!blob_known(s, de->d_name, e)) {
			res->bytes += file_bytes(s->blobs, de->d_name);
			res->blobs++;
			unlinkat(s->blobs, de->d_name, 0);
		}
		r = index_end(s, 0, e);
	}
	closedir(d);
	return r;
}

int store_gc(struct store *s, struct gc_result *ret, struct err *e) {
	struct gc_result res = { 0 };
	char **layers = NULL;
	int r = collect(s, unreached_layers, &layers, e);
	for (size_t i = 0; r >= 0 && layers && layers[i]; i++)
		r = drop_layer(s, layers[i], &res, e);
	strv_free(layers);
	if (r >= 0)
		r = sweep_blobs(s, &res, e);
	if (ret)
		*ret = res;
	return MIN(r, 0);
}

/* ---- after a crash ---- */

static int drop_session(struct store *s, const char *name, struct err *e) {
	sqlite3_stmt *st;
	int r = index_begin(s, e);
	if (r < 0)
		return r;
	r = index_query(s, &st, e, "DELETE FROM lease WHERE session = ?", "s", name);
	if (r >= 0)
		r = index_run(s, st, e);
	return index_end(s, r, e);
}

/* Layer files without a row. The digest lock tells that nobody is about to add the row. */
static int sweep_layers(struct store *s, struct gc_result *res, struct err *e) {
	int copy = openat(s->layers, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d)
		return err_sys(e, errno, "%s/layers", s->root);
	int r = 0;
	for (struct dirent *de; r >= 0 && (de = readdir(d));) {
		const char *dot = strchr(de->d_name, '.');
		char diffid[DIGEST_MAX];
		if (!dot || !plain_hex(de->d_name, (size_t)(dot - de->d_name)))
			continue;
		snprintf(diffid, sizeof(diffid), "sha256:%.64s", de->d_name);
		_cleanup_close_ int lock = store_lock(s, diffid, false, NULL);
		if (lock < 0)
			continue;
		r = index_has_layer(s, diffid, NULL, e);
		if (r == 0) {
			r = drop_layer_files(s, diffid, res, e);
			res->layers++;
		}
	}
	closedir(d);
	return MIN(r, 0);
}

int store_recover(struct store *s, struct gc_result *ret, struct err *e) {
	struct gc_result res = { 0 };
	int copy = openat(s->tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	if (!d)
		return err_sys(e, errno, "%s/tmp", s->root);
	int r = 0;
	for (struct dirent *de; r >= 0 && (de = readdir(d));) {
		bool fresh = str_has_prefix(de->d_name, ".new-");
		if (!fresh && !str_has_prefix(de->d_name, "s-"))
			continue;
		if (fresh) { /* a session being made; its maker is named by its pid */
			int64_t pid = atoll(de->d_name + 5);
			char proc[40];
			snprintf(proc, sizeof(proc), "/proc/%lld", (long long)pid);
			if (access(proc, F_OK) == 0)
				continue;
			r = store_remove_tree(s->tmp, de->d_name);
			continue;
		}
		_cleanup_free_ char *path = NULL;
		if (asprintf(&path, "%s/lock", de->d_name) < 0)
			r = err_set(e, ENOMEM, "out of memory");
		_cleanup_close_ int lock = r < 0 ? -EBADF : openat(s->tmp, path, O_RDWR | O_CLOEXEC);
		if (r < 0 || (lock < 0 && errno != ENOENT) || (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) < 0))
			continue;
		res.sessions++;
		r = drop_session(s, de->d_name, e);
		/* Layers first, the folder last: a crash in here is found again by the folder. */
		if (r >= 0 && res.sessions == 1)
			r = sweep_layers(s, &res, e);
		if (r >= 0)
			r = store_gc(s, &res, e);
		if (r >= 0 && (r = store_remove_tree(s->tmp, de->d_name)) < 0)
			err_sys(e, r, "%s/tmp/%s", s->root, de->d_name);
	}
	closedir(d);
	if (ret)
		*ret = res;
	return MIN(r, 0);
}
