/* Container file systems: rows, directories, mounts. See snapshot.h. */
#include "store/snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "store/index.h"
#include "store/layer.h"
#include "store/lower.h"
#include "store/mount.h"
#include "store/registry.h"

static int check_id(const char *id, struct err *e) {
	size_t n = strlen(id);
	bool ok = n >= 1 && n <= 128 && id[0] != '.' && id[0] != '-' && id[0] != '_' &&
		id[strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] == '\0';
	return ok ? 0 : err_set(e, EINVAL, "invalid container id '%.130s'", id);
}

char *snapshot_dir(struct store *s, const char *id) {
	char *p = NULL;
	return asprintf(&p, "%s/containers/%s", s->root, id) < 0 ? NULL : p;
}

int snapshot_create(struct store *s, const char *id, const char *image, struct err *e) {
	sqlite3_stmt *st;
	int r = check_id(id, e);
	if (r < 0)
		return r;
	_cleanup_close_ int lock = store_lock(s, id, true, e);
	if (lock < 0)
		return lock;
	r = index_begin(s, e);
	if (r < 0)
		return r;
	r = index_query(s, &st, e, "INSERT OR IGNORE INTO container(id, image, created, mounted) VALUES(?, ?, ?, 0)", "ssi", id, image, (int64_t)time(NULL));
	if (r >= 0)
		r = index_run(s, st, e);
	r = index_end(s, r, e);
	if (r < 0)
		return image ? err_wrap(e, r, "image %.80s", image) : r;
	if (mkdirat(s->containers, id, 0711) < 0 && errno != EEXIST)
		return err_sys(e, errno, "%s/containers/%s", s->root, id);
	return 0;
}

struct mounting {
	struct store *s;
	const char *id;
	char image[DIGEST_MAX];
	struct layer_row *layers;
	size_t n_layers;
	char **lowers; /* top first */
	char *dir;
};

static void mounting_free(struct mounting *m) {
	free(m->layers);
	strv_free(m->lowers);
	free(m->dir);
}

int snapshot_image(struct store *s, const char *id, char image[DIGEST_MAX], struct err *e) {
	sqlite3_stmt *st;
	pthread_mutex_lock(&s->mutex);
	int r = index_query(s, &st, e, "SELECT image FROM container WHERE id = ?", "s", id);
	if (r >= 0) {
		r = index_step(s, st, e);
		if (r > 0)
			index_text(st, 0, image, DIGEST_MAX);
		sqlite3_finalize(st);
	}
	pthread_mutex_unlock(&s->mutex);
	return r == 0 ? err_set(e, ENOENT, "no file system of a container %s", id) : MIN(r, 0);
}

static int load(struct mounting *m, struct err *e) {
	int r = check_id(m->id, e);
	if (r >= 0)
		r = snapshot_image(m->s, m->id, m->image, e);
	if (r >= 0 && m->image[0])
		r = index_image_layers(m->s, m->image, &m->layers, &m->n_layers, e);
	if (r >= 0 && !(m->dir = snapshot_dir(m->s, m->id)))
		r = err_set(e, ENOMEM, "out of memory");
	return r;
}

static int set_mounted(struct store *s, const char *id, bool on, struct err *e) {
	sqlite3_stmt *st;
	int r = index_begin(s, e);
	if (r < 0)
		return r;
	r = index_query(s, &st, e, "UPDATE container SET mounted = ? WHERE id = ?", "is", (int64_t)on, id);
	if (r >= 0)
		r = index_run(s, st, e);
	return index_end(s, r, e);
}

static int lock_mount(struct store *s, const char *diffid, struct err *e) {
	char name[DIGEST_MAX + 8];
	snprintf(name, sizeof(name), "mnt:%s", diffid);
	return store_lock(s, name, true, e);
}

/* Name of the unpacked form below layers/: HEX.dir, or HEX.ids/HASH for shifted owners (the folder is made). */
static int directory_name(struct store *s, const char *diffid, const struct snapshot_ids *ids, char *name, size_t size, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char d[DIGEST_MAX];
	const char *hex = digest_hex(diffid);
	if (!ids) {
		snprintf(name, size, "%s.dir", hex);
		return 0;
	}
	for (size_t i = 0; i < ids->n_uids; i++)
		strbuf_printf(&b, "u%u:%u:%u ", ids->uids[i].inside, ids->uids[i].outside, ids->uids[i].size);
	for (size_t i = 0; i < ids->n_gids; i++)
		strbuf_printf(&b, "g%u:%u:%u ", ids->gids[i].inside, ids->gids[i].outside, ids->gids[i].size);
	if (b.failed)
		return err_set(e, ENOMEM, "out of memory");
	digest_of(b.s, b.len, d);
	snprintf(name, size, "%s.ids", hex);
	if (mkdirat(s->layers, name, 0711) < 0 && errno != EEXIST)
		return err_sys(e, errno, "%s/layers/%s", s->root, name);
	snprintf(name, size, "%s.ids/%.16s", hex, digest_hex(d));
	return 0;
}

/* The unpacked form of a layer, made at its first use: into a temporary name, then renamed. */
static int layer_directory(struct store *s, const char *diffid, const struct snapshot_ids *ids, struct err *e) {
	char name[DIGEST_HEX + 32], tmp[DIGEST_HEX + 16];
	struct stat st;
	int r = directory_name(s, diffid, ids, name, sizeof(name), e);
	if (r < 0)
		return r;
	if (fstatat(s->layers, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	r = store_session(s, e);
	_cleanup_close_ int image = r < 0 ? -EBADF : store_open_layer(s, diffid, ".erofs", e), dir = -EBADF;
	if (r < 0 || image < 0)
		return MIN(r, image);
	snprintf(tmp, sizeof(tmp), "d-%s", digest_hex(diffid));
	if (mkdirat(s->session_fd, tmp, 0700) < 0 || (dir = openat(s->session_fd, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_sys(e, errno, "unpack layer");
	r = layer_extract(image, dir, s->rootless, ids, e);
	if (r < 0) {
		store_remove_tree(s->session_fd, tmp);
		return r;
	}
	/* Thousands of files: one sync of the file system instead of a sync for each. */
	if (syncfs(dir) < 0 || renameat(s->session_fd, tmp, s->layers, name) < 0)
		return err_sys(e, errno, "unpack layer");
	return fsync(s->layers) < 0 ? err_sys(e, errno, "unpack layer") : 0;
}

/* Unpacked with shifted owners. */
static int shifted_path(struct store *s, const char *diffid, const struct snapshot_ids *ids, char **ret, struct err *e) {
	char name[DIGEST_HEX + 32];
	_cleanup_close_ int lock = lock_mount(s, diffid, e);
	if (lock < 0)
		return lock;
	int r = layer_directory(s, diffid, ids, e);
	if (r == 0)
		r = directory_name(s, diffid, ids, name, sizeof(name), e);
	if (r == 0 && asprintf(ret, "%s/layers/%s", s->root, name) < 0)
		r = err_set(e, ENOMEM, "out of memory");
	return r;
}

/* A layer as a directory: mounted, or unpacked where that cannot be done. */
static int layer_path(struct store *s, const char *diffid, char **ret, struct err *e) {
	char name[DIGEST_HEX + 16];
	const char *hex = digest_hex(diffid);
	_cleanup_close_ int lock = lock_mount(s, diffid, e);
	if (lock < 0)
		return lock;
	int r = 0;
	bool can = !s->mounts_known || s->mounts_erofs;
	if (can && !is_mount_root(s->mnt, hex)) {
		_cleanup_free_ char *target = NULL;
		snprintf(name, sizeof(name), "%s.erofs", hex);
		if (mkdirat(s->mnt, hex, 0700) < 0 && errno != EEXIST)
			return err_sys(e, errno, "%s/mnt/%s", s->root, hex);
		if (asprintf(&target, "%s/mnt/%s", s->root, hex) < 0)
			return err_set(e, ENOMEM, "out of memory");
		r = erofs_mount(s, name, target, e);
		can = r >= 0;
		if (r == -EOPNOTSUPP) {
			unlinkat(s->mnt, hex, AT_REMOVEDIR);
			err_clear(e);
			r = layer_directory(s, diffid, NULL, e);
		}
		if (r < 0)
			return r;
	} else if (!can)
		r = layer_directory(s, diffid, NULL, e);
	if (r < 0)
		return r;
	s->mounts_known = true;
	s->mounts_erofs = can;
	if (asprintf(ret, can ? "%s/mnt/%s" : "%s/layers/%s.dir", s->root, hex) < 0)
		return err_set(e, ENOMEM, "out of memory");
	return 0;
}

/* An idmapped copy of a mount, on ROOT/containers/ID/lower-N until overlayfs has its own copy of it. 1: the file system cannot (then it is unpacked). */
static int idmapped_copy(struct mounting *m, const struct snapshot_ids *ids, size_t k, char **path, struct err *e) {
	char *target = NULL;
	if (asprintf(&target, "%s/lower-%zu", m->dir, k) < 0)
		return err_set(e, ENOMEM, "out of memory");
	int r = mkdir(target, 0700) < 0 && errno != EEXIST ? err_sys(e, errno, "%s", target) : 0;
	if (r == 0)
		r = store_mount_idmapped(*path, ids->userns, target, e);
	if (r < 0) {
		rmdir(target);
		free(target);
		return r == -EINVAL || r == -ENOSYS || r == -EPERM || r == -EOPNOTSUPP ? (err_clear(e), 1) : r;
	}
	free(*path);
	*path = target;
	return 0;
}

/* What idmapped_copy() made, also in an earlier life that was cut short. */
static void drop_copies(struct mounting *m) {
	for (size_t k = 0; k < LAYERS_MAX; k++) {
		_cleanup_free_ char *target = NULL;
		if (asprintf(&target, "%s/lower-%zu", m->dir, k) < 0 || access(target, F_OK) < 0)
			return;
		umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH);
		rmdir(target);
	}
}

static int prepare_lowers(struct mounting *m, const struct snapshot_opts *o, bool readonly, struct err *e) {
	const struct snapshot_ids *ids = o && o->ids && o->ids->n_uids ? o->ids : NULL;
	size_t n = 0;
	int r = 0;
	drop_copies(m);
	for (size_t i = m->n_layers; r >= 0 && i-- > 0;) {
		char *p = NULL;
		int k = 1;
		if (!ids || ids->userns >= 0)
			r = layer_path(m->s, m->layers[i].diffid, &p, e);
		if (r >= 0 && ids && ids->userns >= 0)
			r = k = idmapped_copy(m, ids, n, &p, e);
		if (r >= 0 && ids && k == 1) {
			free(TAKE(p));
			r = shifted_path(m->s, m->layers[i].diffid, ids, &p, e);
		}
		if (r >= 0 && strv_push(&m->lowers, &n, p) < 0)
			r = err_set(e, ENOMEM, "out of memory");
		free(p);
	}
	/* Overlayfs wants at least one lower layer, two where there is no upper one, and none twice. */
	static const char *const fill[] = { "empty", "empty2" };
	for (size_t i = 0; r >= 0 && n < (readonly ? 2u : 1u); i++) {
		_cleanup_free_ char *empty = NULL;
		if (mkdirat(m->s->mnt, fill[i], 0755) < 0 && errno != EEXIST)
			return err_sys(e, errno, "%s/mnt/%s", m->s->root, fill[i]);
		if (asprintf(&empty, "%s/mnt/%s", m->s->root, fill[i]) < 0 || strv_push(&m->lowers, &n, empty) < 0)
			return err_set(e, ENOMEM, "out of memory");
	}
	return r;
}

/* The merged root shows the upper directory's owner and mode: they are taken over from the image's. */
static int prepare_upper(struct mounting *m, struct err *e) {
	struct stat st;
	_cleanup_close_ int dir = openat(m->s->containers, m->id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (dir < 0)
		return err_sys(e, errno, "%s", m->dir);
	bool fresh = mkdirat(dir, "upper", 0755) == 0;
	if ((!fresh && errno != EEXIST) || (mkdirat(dir, "work", 0700) < 0 && errno != EEXIST))
		return err_sys(e, errno, "%s/upper", m->dir);
	/* A volatile mount leaves a mark that forbids the next one (overlayfs.rst, "Volatile mount"): a container that is started again wants it. */
	store_remove_tree(dir, "work/work/incompat");
	if (fresh && m->lowers[0] && stat(m->lowers[0], &st) == 0) {
		if (fchownat(dir, "upper", st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 && !m->s->rootless)
			return err_sys(e, errno, "%s/upper", m->dir);
		if (fchmodat(dir, "upper", st.st_mode & 07777, 0) < 0)
			return err_sys(e, errno, "%s/upper", m->dir);
	}
	return 0;
}

/* ret_fd: detached mount, or -EBADF when the kernel wanted mount(2) and it is on target already. */
static int stack_layers(struct mounting *m, const struct snapshot_opts *o, const char *target, int *ret_fd, struct err *e) {
	unsigned flags = o ? o->flags : 0;
	bool readonly = flags & SNAPSHOT_READONLY;
	_cleanup_free_ char *upper = NULL, *work = NULL;
	int r = set_mounted(m->s, m->id, true, e); /* before the layers are looked at: see release_layers() */
	if (r >= 0)
		r = prepare_lowers(m, o, readonly, e);
	if (r >= 0 && !readonly)
		r = prepare_upper(m, e);
	if (r < 0)
		return r;
	if (asprintf(&upper, "%s/upper", m->dir) < 0 || asprintf(&work, "%s/work", m->dir) < 0)
		return err_set(e, ENOMEM, "out of memory");
	struct overlay ov = { .lowers = m->lowers, .n_lowers = strv_len(m->lowers), .upper = readonly ? NULL : upper, .work = work,
			      .mount_label = o ? o->mount_label : NULL, .userxattr = m->s->rootless, .volatile_upper = flags & SNAPSHOT_VOLATILE };
	*ret_fd = overlay_mount_fd(&ov, e);
	if (*ret_fd >= 0)
		return 0;
	if ((*ret_fd == -EINVAL || *ret_fd == -ENOSYS) && target) {
		struct err first = ERR_INIT;
		err_move(&first, e);
		r = overlay_mount_legacy(&ov, target, NULL);
		if (r < 0)
			err_move(e, &first);
		else
			err_clear(&first);
		*ret_fd = -EBADF;
		return r;
	}
	return *ret_fd;
}

/* Overlayfs holds copies of its own of the layers' mounts. */
static int stack(struct mounting *m, const struct snapshot_opts *o, const char *target, int *ret_fd, struct err *e) {
	int r = stack_layers(m, o, target, ret_fd, e);
	if (o && o->ids && o->ids->n_uids)
		drop_copies(m);
	return r;
}

int snapshot_mount(struct store *s, const char *id, const struct snapshot_opts *o, char **ret_rootfs, struct err *e) {
	struct mounting m = { .s = s, .id = id };
	_cleanup_free_ char *target = NULL;
	_cleanup_close_ int lock = -EBADF, mfd = -EBADF;
	int r = load(&m, e);
	if (r >= 0 && (lock = store_lock(s, id, true, e)) < 0)
		r = lock;
	if (r >= 0 && asprintf(&target, "%s/rootfs", m.dir) < 0) {
		target = NULL;
		r = err_set(e, ENOMEM, "out of memory");
	}
	if (r >= 0 && mkdir(target, 0711) < 0 && errno != EEXIST)
		r = err_sys(e, errno, "%s", target);
	if (r >= 0 && !is_mount_root(AT_FDCWD, target)) {
		r = stack(&m, o, target, &mfd, e);
		if (r >= 0 && mfd >= 0)
			r = store_mount_attach(mfd, target, e);
	}
	mounting_free(&m);
	if (r >= 0)
		*ret_rootfs = TAKE(target);
	return r;
}

int snapshot_mount_fd(struct store *s, const char *id, const struct snapshot_opts *o, int *ret_fd, struct err *e) {
	struct mounting m = { .s = s, .id = id };
	_cleanup_close_ int lock = -EBADF;
	int fd = -EBADF, r = load(&m, e);
	if (r >= 0 && (lock = store_lock(s, id, true, e)) < 0)
		r = lock;
	if (r >= 0)
		r = stack(&m, o, NULL, &fd, e);
	mounting_free(&m);
	if (r >= 0)
		*ret_fd = fd;
	return r;
}

/* Layers that no mounted container uses are unmounted. Who mounts sets its own mark first and takes the layer's lock after; who unmounts clears
 * its mark first and looks under the lock: one of the two sees the other. */
static int release_layers(struct mounting *m, struct err *e) {
	for (size_t i = 0; i < m->n_layers; i++) {
		const char *hex = digest_hex(m->layers[i].diffid);
		_cleanup_close_ int lock = lock_mount(m->s, m->layers[i].diffid, e);
		sqlite3_stmt *st;
		if (lock < 0)
			return lock;
		if (!is_mount_root(m->s->mnt, hex)) {
			unlinkat(m->s->mnt, hex, AT_REMOVEDIR);
			continue;
		}
		pthread_mutex_lock(&m->s->mutex);
		int r = index_query(m->s, &st, e,
				    "SELECT 1 FROM container c JOIN image_layer l ON l.image = c.image WHERE c.mounted = 1 AND l.diffid = ? LIMIT 1", "s",
				    m->layers[i].diffid);
		if (r >= 0) {
			r = index_step(m->s, st, e);
			sqlite3_finalize(st);
		}
		pthread_mutex_unlock(&m->s->mutex);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		_cleanup_free_ char *path = NULL;
		if (asprintf(&path, "%s/mnt/%s", m->s->root, hex) < 0)
			return err_set(e, ENOMEM, "out of memory");
		if (umount2(path, UMOUNT_NOFOLLOW) < 0 && umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) < 0 && errno != EINVAL)
			return err_sys(e, errno, "unmount %s", path);
		unlinkat(m->s->mnt, hex, AT_REMOVEDIR);
	}
	return 0;
}

static int unmount_locked(struct mounting *m, struct err *e) {
	_cleanup_free_ char *target = NULL;
	if (asprintf(&target, "%s/rootfs", m->dir) < 0)
		return err_set(e, ENOMEM, "out of memory");
	/* More than once, should two mounts have been stacked. */
	drop_copies(m);
	for (unsigned i = 0; i < 8 && is_mount_root(AT_FDCWD, target); i++)
		if (umount2(target, UMOUNT_NOFOLLOW) < 0 && umount2(target, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
			return err_sys(e, errno, "unmount %s", target);
	int r = set_mounted(m->s, m->id, false, e);
	return r < 0 ? r : release_layers(m, e);
}

int snapshot_unmount(struct store *s, const char *id, struct err *e) {
	struct mounting m = { .s = s, .id = id };
	_cleanup_close_ int lock = -EBADF;
	int r = load(&m, e);
	if (r >= 0 && (lock = store_lock(s, id, true, e)) < 0)
		r = lock;
	if (r >= 0)
		r = unmount_locked(&m, e);
	mounting_free(&m);
	return r;
}

int snapshot_remove(struct store *s, const char *id, struct err *e) {
	static const char *const parts[] = { "rootfs", "work", "upper" };
	struct mounting m = { .s = s, .id = id };
	sqlite3_stmt *st;
	_cleanup_close_ int lock = -EBADF, dir = -EBADF;
	int r = load(&m, e);
	if (r == -ENOENT) { /* gone, or never there */
		err_clear(e);
		mounting_free(&m);
		return 0;
	}
	if (r >= 0 && (lock = store_lock(s, id, true, e)) < 0)
		r = lock;
	if (r >= 0)
		r = unmount_locked(&m, e);
	if (r >= 0)
		dir = openat(s->containers, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	/* The row goes last: what a crash leaves is removed by the next remove of the same id, or by system prune. */
	for (size_t i = 0; r >= 0 && dir >= 0 && i < ARRAY_SIZE(parts); i++)
		if ((r = store_remove_tree(dir, parts[i])) < 0)
			err_sys(e, r, "remove %s/%s", m.dir, parts[i]);
	if (r >= 0)
		unlinkat(s->containers, id, AT_REMOVEDIR); /* others may keep files in it: then it stays */
	mounting_free(&m);
	if (r >= 0)
		r = index_begin(s, e);
	if (r < 0)
		return r;
	r = index_query(s, &st, e, "DELETE FROM container WHERE id = ?", "s", id);
	if (r >= 0)
		r = index_run(s, st, e);
	return index_end(s, r, e);
}

int snapshot_list(struct store *s, int (*cb)(void *ctx, const struct snapshot_row *r), void *ctx, struct err *e) {
	sqlite3_stmt *st;
	pthread_mutex_lock(&s->mutex);
	int r = index_query(s, &st, e, "SELECT id, image, created FROM container ORDER BY created DESC", "");
	if (r >= 0) {
		while ((r = index_step(s, st, e)) > 0) {
			struct snapshot_row row = { .created = sqlite3_column_int64(st, 2) };
			index_text(st, 0, row.id, sizeof(row.id));
			index_text(st, 1, row.image, sizeof(row.image));
			r = cb(ctx, &row);
			if (r)
				break;
		}
		sqlite3_finalize(st);
	}
	pthread_mutex_unlock(&s->mutex);
	return r;
}

static uint64_t tree_bytes(int parent, const char *name) {
	uint64_t sum = 0;
	struct stat st;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return 0;
	for (struct dirent *de; (de = readdir(d));) {
		if (streq(de->d_name, ".") || streq(de->d_name, "..") || fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			sum += tree_bytes(dirfd(d), de->d_name);
		else if (S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_blocks * 512 / (st.st_nlink ? st.st_nlink : 1);
	}
	closedir(d);
	return sum;
}

int snapshot_usage(struct store *s, const char *id, uint64_t *ret_rw, uint64_t *ret_total, struct err *e) {
	struct mounting m = { .s = s, .id = id };
	_cleanup_free_ char *upper = NULL;
	int r = load(&m, e);
	if (r >= 0 && asprintf(&upper, "%s/upper", id) < 0) {
		upper = NULL;
		r = err_set(e, ENOMEM, "out of memory");
	}
	if (r >= 0) {
		*ret_rw = tree_bytes(s->containers, upper);
		*ret_total = *ret_rw;
		for (size_t i = 0; i < m.n_layers; i++)
			*ret_total += m.layers[i].tar_size;
	}
	mounting_free(&m);
	return r;
}
