/* What a container changed: its upper directory against the layers, read through our own EROFS reader, so that nothing needs to be mounted. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "store/layer.h"
#include "store/lower.h"

struct lower {
	struct erofs *fs; /* top first */
	int *fds;
	size_t n;
};

void lower_close(struct lower *l) {
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		if (l->fds[i] >= 0)
			close(l->fds[i]);
	free(l->fds);
	free(l->fs);
	free(l);
}

int lower_open(struct store *s, const struct layer_row *layers, size_t n, struct lower **ret, struct err *e) {
	struct lower *l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->fs = calloc(n ? n : 1, sizeof(*l->fs));
	l->fds = calloc(n ? n : 1, sizeof(*l->fds));
	int r = l->fs && l->fds ? 0 : err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; r >= 0 && i < n; i++) {
		struct stat st;
		l->fds[i] = store_open_layer(s, layers[n - 1 - i].diffid, ".erofs", e);
		l->n = i + 1;
		if (l->fds[i] < 0)
			r = l->fds[i];
		else if (fstat(l->fds[i], &st) < 0)
			r = err_sys(e, errno, "layer image");
		else
			r = erofs_open(&l->fs[i], layer_pread, &l->fds[i], (uint64_t)st.st_size, e);
	}
	if (r < 0) {
		lower_close(l);
		return r;
	}
	*ret = l;
	return 0;
}

static bool is_whiteout(const struct erofs_inode *in) {
	return S_ISCHR(in->mode) && in->rdev == 0;
}

static bool is_opaque(const struct erofs *fs, const struct erofs_inode *in) {
	char name[EROFS_XATTR_NAME_MAX], value[8];
	uint32_t cookie = 0;
	size_t len;
	int r;
	while ((r = erofs_next_xattr(fs, in, &cookie, name, value, sizeof(value), &len)) > 0 || r == -ERANGE) {
		if (r > 0 && streq(name, "trusted.overlay.opaque"))
			return true;
		if (r == -ERANGE) { /* a long value: skip it without reading */
			r = erofs_next_xattr(fs, in, &cookie, name, NULL, 0, &len);
			if (r <= 0)
				return false;
		}
	}
	return false;
}

enum { FOUND, MISSING, HIDDEN };

static int in_layer(const struct erofs *fs, const char *path, struct erofs_inode *ret) {
	struct erofs_inode in;
	struct erofs_entry en;
	bool opaque = false;
	if (erofs_inode_get(fs, fs->root_nid, &in) < 0)
		return MISSING;
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n) {
			if (!S_ISDIR(in.mode))
				return HIDDEN;
			opaque = opaque || is_opaque(fs, &in);
			if (erofs_lookup(fs, &in, p, n, &en) < 0 || erofs_inode_get(fs, en.nid, &in) < 0)
				return opaque ? HIDDEN : MISSING;
			if (is_whiteout(&in))
				return HIDDEN;
		}
		p += n;
		p += *p == '/';
	}
	*ret = in;
	return FOUND;
}

bool lower_has(const struct lower *l, const char *path, struct erofs_inode *ret) {
	for (size_t i = 0; i < l->n; i++) {
		int k = in_layer(&l->fs[i], path, ret);
		if (k != MISSING)
			return k == FOUND;
	}
	return false;
}

struct diff {
	const struct lower *lower;
	int (*cb)(void *ctx, char kind, const char *path);
	void *ctx;
	struct strbuf path;
};

bool upper_is_opaque(int dirfd) {
	char v;
	return fgetxattr(dirfd, "trusted.overlay.opaque", &v, 1) == 1 ? v == 'y' : fgetxattr(dirfd, "user.overlay.opaque", &v, 1) == 1 && v == 'y';
}

/* Children of an opaque directory that the layers have and the upper one does not: deleted. Only the first layer that has the directory is
 * looked at through lower_has() by name, which is enough to tell what was there. */
static int deleted_below(struct diff *d, int upper, struct err *e) {
	for (size_t i = 0; i < d->lower->n; i++) {
		struct erofs_inode dir, in;
		struct erofs_entry en;
		uint64_t cookie = 0;
		struct stat st;
		if (in_layer(&d->lower->fs[i], strbuf_str(&d->path) + 1, &dir) != FOUND || !S_ISDIR(dir.mode))
			continue;
		while (erofs_readdir(&d->lower->fs[i], &dir, &cookie, &en) > 0) {
			if (streq(en.name, ".") || streq(en.name, "..") || fstatat(upper, en.name, &st, AT_SYMLINK_NOFOLLOW) == 0)
				continue;
			size_t len = d->path.len;
			strbuf_printf(&d->path, "/%s", en.name);
			/* Reported by the topmost layer that shows it. */
			bool first = lower_has(d->lower, strbuf_str(&d->path) + 1, &in);
			for (size_t k = 0; first && k < i; k++)
				first = in_layer(&d->lower->fs[k], strbuf_str(&d->path) + 1, &in) != FOUND;
			int r = first ? d->cb(d->ctx, 'D', strbuf_str(&d->path)) : 0;
			d->path.len = len;
			d->path.s[len] = '\0';
			if (r < 0)
				return err_sys(e, r, "diff");
		}
	}
	return 0;
}

static int by_name(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of a directory, sorted, so that output and layers do not depend on the file system's order. */
int sorted_names(int dirfd, char ***ret, struct err *e) {
	size_t n = 0;
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	*ret = NULL;
	if (!d)
		return err_sys(e, errno, "read directory");
	for (struct dirent *de; (de = readdir(d));)
		if (!streq(de->d_name, ".") && !streq(de->d_name, "..") && strv_push(ret, &n, de->d_name) < 0) {
			closedir(d);
			strv_free(*ret);
			return err_set(e, ENOMEM, "out of memory");
		}
	closedir(d);
	if (n)
		qsort(*ret, n, sizeof(**ret), by_name);
	return 0;
}

static int walk(struct diff *d, int dirfd, struct err *e);

static int one(struct diff *d, int dirfd, const char *name, struct err *e) {
	struct stat st;
	struct erofs_inode in;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "%s", strbuf_str(&d->path));
	bool there = lower_has(d->lower, strbuf_str(&d->path) + 1, &in);
	bool gone = S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
	int r = d->cb(d->ctx, gone ? 'D' : there ? 'C' : 'A', strbuf_str(&d->path));
	if (r < 0 || !S_ISDIR(st.st_mode))
		return r < 0 ? err_sys(e, r, "diff") : 0;
	_cleanup_close_ int sub = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (sub < 0)
		return err_sys(e, errno, "%s", strbuf_str(&d->path));
	if (there && upper_is_opaque(sub) && (r = deleted_below(d, sub, e)) < 0)
		return r;
	return walk(d, sub, e);
}

static int walk(struct diff *d, int dirfd, struct err *e) {
	char **names;
	int r = sorted_names(dirfd, &names, e);
	for (char **n = names; r >= 0 && n && *n; n++) {
		size_t len = d->path.len;
		strbuf_printf(&d->path, "/%s", *n);
		r = d->path.failed ? err_set(e, ENOMEM, "out of memory") : one(d, dirfd, *n, e);
		d->path.len = len;
		d->path.s[len] = '\0';
	}
	strv_free(names);
	return r;
}

int snapshot_diff(struct store *s, const char *id, int (*cb)(void *ctx, char kind, const char *path), void *ctx, struct err *e) {
	char image[DIGEST_MAX];
	struct layer_row *layers = NULL;
	size_t n = 0;
	struct diff d = { .cb = cb, .ctx = ctx };
	struct lower *l = NULL;
	_cleanup_free_ char *dir = snapshot_dir(s, id), *upper = NULL;
	int r = snapshot_image(s, id, image, e);
	if (r >= 0 && image[0])
		r = index_image_layers(s, image, &layers, &n, e);
	if (r >= 0)
		r = lower_open(s, layers, n, &l, e);
	free(layers);
	if (r >= 0 && (!dir || asprintf(&upper, "%s/upper", dir) < 0)) {
		upper = NULL;
		r = err_set(e, ENOMEM, "out of memory");
	}
	_cleanup_close_ int fd = r < 0 ? -EBADF : open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (r >= 0 && fd >= 0) { /* never mounted: nothing changed */
		d.lower = l;
		r = walk(&d, fd, e);
	}
	strbuf_free(&d.path);
	lower_close(l);
	return MIN(r, 0);
}
