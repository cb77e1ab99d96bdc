/*
 * The store: images, layers and containers' file systems below one root directory, safe against crashes and other processes.
 *
 *   ROOT/index.db          SQLite (WAL, synchronous=FULL): what exists
 *   ROOT/blobs/HEX         manifests and configs by digest
 *   ROOT/layers/HEX.erofs  a layer as a file system image, by DiffID; HEX.split restores its tar; HEX.dir/ is the unpacked fallback
 *   ROOT/mnt/HEX           where a layer is mounted while containers use it (shared by all of them)
 *   ROOT/containers/ID     upper/, work/, rootfs/ of a container
 *   ROOT/tmp/SESSION       files being written by one running command, which holds a lock on the folder's "lock" file
 *   ROOT/lock              byte-range locks: one byte per digest
 *
 * A file is complete, synced and renamed into place before the index speaks of it, and the index forgets it before it is unlinked. So what a
 * crash leaves is either a dead session in tmp/ or files that the index does not know; store_open() sweeps both when it finds a dead session.
 *
 * Lock order: digest lock (ROOT/lock) -> store mutex -> SQLite write lock. No digest lock is waited for inside a transaction.
 */
#ifndef TIERCE_STORE_STORE_H
#define TIERCE_STORE_STORE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "store/ref.h"

struct sqlite3;
struct sqlite3_stmt;

struct store {
	char *root;
	int rootfd, blobs, layers, tmp, containers, mnt;
	int session_fd, session_lock; /* own folder in tmp/, -EBADF while none */
	char session[64];
	bool rootless;
	bool mounts_erofs; /* valid when mounts_known */
	bool mounts_known;
	unsigned serial; /* names in the session folder */
	pthread_mutex_t mutex;
	struct sqlite3 *db;
};

/* root NULL: /var/lib/tierce, or $XDG_DATA_HOME/tierce (~/.local/share/tierce) for others than root. Makes what is missing. */
int store_open(const char *root, struct store **ret, struct err *e);
void store_close(struct store *s);

/* ---- locks per digest ---- */
/* Exclusive lock on a name (a digest, a container id): a new descriptor, closed to release. wait false: -EBUSY when taken. */
int store_lock(struct store *s, const char *name, bool wait, struct err *e);

/* ---- files ---- */
/* A session folder for temporary files; made at the first use. */
int store_session(struct store *s, struct err *e);
/* New temporary file in the session folder: an fd; name receives its name. */
int store_tmpfile(struct store *s, char name[64], struct err *e);
/* fsync and rename a temporary file to its place in dirfd; the directory is synced too. */
int store_commit_file(struct store *s, int fd, const char *tmpname, int dirfd, const char *name, struct err *e);
/* Content by digest into blobs/, verified against the digest. */
int store_put_blob(struct store *s, const char *digest, const void *data, size_t n, struct err *e);
int store_get_blob(struct store *s, const char *digest, struct strbuf *ret, struct err *e);
int store_open_layer(struct store *s, const char *diffid, const char *suffix, struct err *e); /* fd of layers/HEX+suffix, read only */

/* ---- index ---- */
enum { LAYERS_MAX = 500 }; /* overlayfs's own limit of lower layers (OVL_MAX_STACK) */

struct layer_row {
	char diffid[DIGEST_MAX], digest[DIGEST_MAX]; /* digest: of the blob that the manifest names */
	uint64_t blob_size, tar_size, image_size;
	char media_type[96];
};

struct image_row {
	char id[DIGEST_MAX];       /* digest of the config */
	char manifest[DIGEST_MAX];
	char os[32], arch[32], variant[32];
	int64_t created, pulled;   /* Unix seconds */
	uint64_t size;             /* sum of tar sizes */
	char **names;              /* "host/path:tag" */
	char **digests;            /* "host/path@sha256:..." */
	size_t n_layers;
	unsigned containers;
};
void image_row_clear(struct image_row *r);

int index_open(struct store *s, struct err *e);
int index_begin(struct store *s, struct err *e);          /* takes the mutex and BEGIN IMMEDIATE */
int index_end(struct store *s, int result, struct err *e); /* COMMIT when result >= 0, else ROLLBACK; returns result or the failure */
int index_has_layer(struct store *s, const char *diffid, struct layer_row *ret, struct err *e); /* 1, 0 */
/* Layer row + lease of the running session, in one transaction. */
int index_add_layer(struct store *s, const struct layer_row *l, const char *repo, struct err *e);
/* Lease on a layer that may be there: 1 when it is (and stays until the session ends). */
int index_lease_layer(struct store *s, const char *diffid, struct layer_row *ret, struct err *e);
/* DiffID of a blob seen before: 1, 0. */
int index_blob_diffid(struct store *s, const char *digest, char ret[DIGEST_MAX], struct err *e);
/* Blobs known for a layer in repositories of a host, for pushing without sending: calls back until it returns non-zero. */
int index_layer_blobs(struct store *s, const char *diffid, const char *host,
		      int (*cb)(void *ctx, const char *digest, const char *repo, uint64_t size, const char *media_type), void *ctx, struct err *e);
int index_add_blob_link(struct store *s, const char *digest, const char *diffid, uint64_t size, const char *media_type, const char *repo, struct err *e);

struct image_add {
	const struct image_row *image;
	const struct layer_row *layers;
	const char *name;   /* tag to point here, or NULL */
	const char *digest_name; /* "host/path@digest" to record, or NULL */
};
int index_add_image(struct store *s, const struct image_add *a, struct err *e);
int index_tag(struct store *s, const char *id, const char *name, struct err *e);
int index_untag(struct store *s, const char *name, struct err *e); /* 1 when it was there */
/* Removes an image with its names; layers and blobs are left to gc. -EBUSY with the container's id while containers use it. */
int index_remove_image(struct store *s, const char *id, bool force, struct err *e);
int index_image(struct store *s, const char *id, struct image_row *ret, struct err *e); /* -ENOENT */
int index_images(struct store *s, int (*cb)(void *ctx, const struct image_row *r), void *ctx, struct err *e);
int index_image_layers(struct store *s, const char *id, struct layer_row **ret, size_t *ret_n, struct err *e); /* bottom first */
int index_layers(struct store *s, int (*cb)(void *ctx, const struct layer_row *l, unsigned images), void *ctx, struct err *e);
/* By name, digest name, full id or unique prefix of one. -ENOENT, -EINVAL (ambiguous). ret_name: the name that matched, or "". */
int index_find(struct store *s, const char *what, struct image_row *ret, char ret_name[REF_MAX], struct err *e);

/* ---- garbage ---- */
struct gc_result {
	uint64_t bytes;
	unsigned layers, blobs, images, sessions;
};
/* Removes layers and blobs that no image, container or lease reaches. */
int store_gc(struct store *s, struct gc_result *ret, struct err *e);
/* After a crash: dead sessions, their leases, files that the index does not know. */
int store_recover(struct store *s, struct gc_result *ret, struct err *e);
/* Verifies every digest; repair drops what is damaged (images become incomplete and are reported by name). Calls back per finding. */
int store_check(struct store *s, bool repair, void (*say)(void *ctx, const char *what, bool repaired), void *ctx, unsigned *ret_bad, struct err *e);

#endif
