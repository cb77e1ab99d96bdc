/*
 * File systems of containers: an image's layers under a writable one. What the engine's callers and the command for people use:
 *
 *   store_open(NULL, &s, e);
 *   index_find(s, "nginx", &row, name, e);              an image by reference or id (pull.h brings it when it is missing)
 *   image_config_load(s, row.id, &cfg, e);              entrypoint, cmd, env, user ...
 *   snapshot_create(s, id, row.id, e);                  rows and directories of the container; idempotent
 *   snapshot_mount(s, id, &opts, &path, e);             path is the rootfs; mounting twice is harmless
 *   ... run ...
 *   snapshot_unmount(s, id, e);
 *   snapshot_remove(s, id, e);
 *
 * Layers are mounted once under ROOT/mnt and shared; the last container that uses one unmounts it. After a crash or a reboot nothing has to
 * be done: mount checks what is there, unmount and remove finish what was begun.
 */
#ifndef TIERCE_STORE_SNAPSHOT_H
#define TIERCE_STORE_SNAPSHOT_H

#include "base/arena.h"
#include "store/store.h"

struct json;

struct image_config {
	struct arena arena; /* owns all below */
	const char *id, *manifest;
	const char *os, *arch, *variant, *author, *created;
	const char *user, *workdir, *stop_signal;
	char **env, **entrypoint, **cmd, **volumes, **exposed_ports, **shell, **onbuild; /* NULL-terminated, may be NULL */
	char **label_keys, **label_values;
	/* healthcheck: NULL test when there is none */
	char **health_test; /* {"CMD", ...}, {"CMD-SHELL", "..."} or {"NONE"} */
	int64_t health_interval_ns, health_timeout_ns, health_start_period_ns, health_retries;
	char **diffids;
	size_t n_layers;
	const struct json *raw; /* the whole config document */
};

/* Parses config bytes, with the limits of a hostile image. arena of ret must be ARENA_INIT; freed by image_config_free in every case. */
int image_config_parse(const char *data, size_t n, struct image_config *ret, struct err *e);
int image_config_load(struct store *s, const char *id, struct image_config *ret, struct err *e);
void image_config_free(struct image_config *c);

enum snapshot_flags {
	SNAPSHOT_READONLY = 1, /* no upper layer: the image itself */
	SNAPSHOT_VOLATILE = 2, /* the upper layer need not survive a power cut: no syncs (for --rm) */
};

/* A container in a user namespace: its root and others own the image's files by the ids that stand for them outside. */
struct snapshot_id_range { uint32_t inside, outside, size; };
struct snapshot_ids {
	const struct snapshot_id_range *uids, *gids; /* n_uids 0: nothing is shifted */
	size_t n_uids, n_gids;
	int userns; /* a user namespace with these maps, for idmapped mounts; -EBADF: layers are unpacked once more with shifted owners */
};
uint32_t snapshot_id_outside(const struct snapshot_id_range *v, size_t n, uint32_t id); /* (uint32_t)-1: not mapped */
uint32_t snapshot_id_inside(const struct snapshot_id_range *v, size_t n, uint32_t id);

struct snapshot_opts {
	unsigned flags;
	const char *mount_label; /* SELinux context= or NULL */
	const struct snapshot_ids *ids; /* NULL: none */
};

/* id: [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 128 bytes. image NULL: an empty file system. */
int snapshot_create(struct store *s, const char *id, const char *image, struct err *e);
/* ret_rootfs: absolute path (caller frees). */
int snapshot_mount(struct store *s, const char *id, const struct snapshot_opts *o, char **ret_rootfs, struct err *e);
/* The same as a detached mount: nothing appears in any mount table; the fd is for move_mount(2). Lower layers are still under ROOT/mnt. */
int snapshot_mount_fd(struct store *s, const char *id, const struct snapshot_opts *o, int *ret_fd, struct err *e);
int snapshot_unmount(struct store *s, const char *id, struct err *e);
int snapshot_remove(struct store *s, const char *id, struct err *e);
/* Directory of the container (ROOT/containers/ID), for files that live and die with it (resolv.conf, logs). Caller frees. */
char *snapshot_dir(struct store *s, const char *id);
/* Bytes of the writable layer, and of it with the image. */
int snapshot_usage(struct store *s, const char *id, uint64_t *ret_rw, uint64_t *ret_total, struct err *e);

struct snapshot_row {
	char id[136], image[DIGEST_MAX];
	int64_t created;
};
int snapshot_list(struct store *s, int (*cb)(void *ctx, const struct snapshot_row *r), void *ctx, struct err *e);

/* Changes against the image: kind 'A', 'C' or 'D' and an absolute path; parents of changes are 'C', as docker says it. */
int snapshot_diff(struct store *s, const char *id, int (*cb)(void *ctx, char kind, const char *path), void *ctx, struct err *e);

/* A new image from a container: its upper layer becomes a layer. */
struct commit_opts {
	const char *name;     /* "host/path:tag" or NULL */
	const char *author, *message;
	const struct snapshot_ids *ids; /* how the container's files are shifted; NULL: they are not */
	char *const *changes; /* Dockerfile words: "CMD ...", "ENV k=v", "LABEL k=v", "USER u", "WORKDIR d", "EXPOSE p", "ENTRYPOINT ...", "STOPSIGNAL s", "VOLUME v" */
};
int snapshot_commit(struct store *s, const char *id, const struct commit_opts *o, char ret_image[DIGEST_MAX], struct err *e);

#endif
