/* Commit: a container's upper directory as a tar stream (whiteouts in the image-spec's words), which goes the way of every layer. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "store/edit.h"
#include "store/lower.h"
#include "store/pull.h"
#include "store/tarstream.h"
#include "wire/json.h"
#include "sys/fd.h"

enum { XATTR_LIST_MAX = 65536, READ_BUF = 256 * 1024 };

struct name_of {
	dev_t dev;
	ino_t ino;
	char *path;
};

struct upper_tar {
	int root;
	const struct snapshot_ids *ids; /* NULL: owners are as they are */
	int out; /* pipe to the unpacking side */
	struct strbuf path, header;
	struct name_of *links;
	size_t n_links;
	uint8_t *buf;
};

static int put(struct upper_tar *t, const void *p, size_t n) {
	return fd_write_all(t->out, p, n);
}

static int put_header(struct upper_tar *t, const struct tar_entry *te) {
	strbuf_clear(&t->header);
	int r = tar_put_header(&t->header, te);
	return r < 0 ? r : put(t, t->header.s, t->header.len);
}

static void free_xattrs(struct tar_xattr *x, size_t n) {
	for (size_t i = 0; i < n; i++) {
		free(x[i].name);
		free(x[i].value);
	}
	free(x);
}

/* Attributes of an image: not overlayfs's own, not the host's labels. */
static int get_xattrs(const char *proc, struct tar_xattr **ret, size_t *ret_n) {
	_cleanup_free_ char *list = malloc(XATTR_LIST_MAX);
	struct tar_xattr *x = NULL;
	size_t n = 0;
	ssize_t len = list ? listxattr(proc, list, XATTR_LIST_MAX) : -1;
	*ret = NULL;
	*ret_n = 0;
	if (len <= 0)
		return 0;
	for (char *name = list; name < list + len; name += strlen(name) + 1) {
		if (str_has_prefix(name, "trusted.overlay.") || str_has_prefix(name, "user.overlay.") || streq(name, "security.selinux"))
			continue;
		_cleanup_free_ char *value = malloc(65537);
		ssize_t k = value ? getxattr(proc, name, value, 65536) : -1;
		if (k < 0)
			continue;
		struct tar_xattr *y = reallocarray(x, n + 1, sizeof(*x));
		char *copy = strdup(name);
		if (!y || !copy) {
			free(copy);
			free_xattrs(y ? y : x, n);
			return -ENOMEM;
		}
		x = y;
		x[n++] = (struct tar_xattr){ copy, TAKE(value), (size_t)k };
	}
	*ret = x;
	*ret_n = n;
	return 0;
}

static int put_content(struct upper_tar *t, int fd, uint64_t size) {
	static const uint8_t zero[TAR_BLOCK];
	for (uint64_t left = size; left;) {
		ssize_t n = read(fd, t->buf, (size_t)MIN(left, (uint64_t)READ_BUF));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) { /* it shrank while we read: the header is out, zeros keep the archive whole */
			n = (ssize_t)MIN(left, (uint64_t)READ_BUF);
			memset(t->buf, 0, (size_t)n);
		}
		int r = put(t, t->buf, (size_t)n);
		if (r < 0)
			return r;
		left -= (uint64_t)n;
	}
	return put(t, zero, tar_padding(size));
}

static int put_whiteout(struct upper_tar *t, const char *dir, size_t dirlen, const char *name) {
	char path[TAR_MAX_PATH + 8];
	snprintf(path, sizeof(path), "%.*s%s.wh.%s", (int)dirlen, dir, dirlen ? "/" : "", name);
	struct tar_entry te = { .type = TAR_FILE, .path = path, .link = "", .mode = 0600 };
	return put_header(t, &te);
}

/* The name under which an inode with several was sent first; NULL when this is the first. */
static const char *first_name(struct upper_tar *t, const struct stat *st, int *ret_err) {
	for (size_t i = 0; i < t->n_links; i++)
		if (t->links[i].dev == st->st_dev && t->links[i].ino == st->st_ino)
			return t->links[i].path;
	struct name_of *x = reallocarray(t->links, t->n_links + 1, sizeof(*x));
	char *p = strdup(strbuf_str(&t->path));
	if (!x || !p) {
		free(p);
		*ret_err = -ENOMEM;
		return NULL;
	}
	t->links = x;
	x[t->n_links++] = (struct name_of){ st->st_dev, st->st_ino, p };
	return NULL;
}

static int walk(struct upper_tar *t, int dirfd, struct err *e);

/* An owner that the container does not have is nobody. */
static uint32_t inside(const struct upper_tar *t, uint32_t id, bool group) {
	enum { NOBODY = 65534 };
	if (!t->ids || !t->ids->n_uids)
		return id;
	uint32_t r = group ? snapshot_id_inside(t->ids->gids, t->ids->n_gids, id) : snapshot_id_inside(t->ids->uids, t->ids->n_uids, id);
	return r == (uint32_t)-1 ? NOBODY : r;
}

static int put_entry(struct upper_tar *t, int dirfd, const char *name, const struct stat *st, struct err *e) {
	static const struct {
		mode_t mode;
		enum tar_type type;
	} types[] = { { S_IFREG, TAR_FILE }, { S_IFDIR, TAR_DIR }, { S_IFLNK, TAR_SYMLINK }, { S_IFCHR, TAR_CHAR }, { S_IFBLK, TAR_BLOCKDEV }, { S_IFIFO, TAR_FIFO } };
	struct tar_entry te = { .link = "", .mode = st->st_mode & 07777, .uid = inside(t, st->st_uid, false), .gid = inside(t, st->st_gid, true), .mtime = st->st_mtim.tv_sec,
				.mtime_ns = (uint32_t)st->st_mtim.tv_nsec };
	char proc[64], link[TAR_MAX_PATH], dirname[TAR_MAX_PATH + 2];
	struct tar_xattr *x = NULL;
	size_t n_x = 0;
	bool known = false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if ((st->st_mode & S_IFMT) == types[i].mode) {
			te.type = types[i].type;
			known = true;
		}
	if (!known) /* sockets mean nothing in an image */
		return 0;
	te.path = strbuf_str(&t->path);
	int r = 0;
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
		const char *first = first_name(t, st, &r);
		if (first) {
			te.type = TAR_HARDLINK;
			te.link = first;
			return put_header(t, &te);
		}
	}
	_cleanup_close_ int path_fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), fd = -EBADF;
	if (path_fd < 0)
		return err_sys(e, errno, "%s", te.path);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", path_fd);
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlinkat(path_fd, "", link, sizeof(link) - 1);
		if (n < 0)
			return err_sys(e, errno, "%s", te.path);
		link[n] = '\0';
		te.link = link;
	} else
		r = get_xattrs(proc, &x, &n_x);
	te.xattrs = x;
	te.n_xattrs = n_x;
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		te.major = major(st->st_rdev);
		te.minor = minor(st->st_rdev);
	}
	if (S_ISDIR(st->st_mode)) {
		snprintf(dirname, sizeof(dirname), "%s/", te.path);
		te.path = dirname;
	}
	if (S_ISREG(st->st_mode)) {
		te.size = (uint64_t)st->st_size;
		fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			r = err_sys(e, errno, "%s", te.path);
	}
	if (r >= 0)
		r = put_header(t, &te);
	if (r >= 0 && fd >= 0)
		r = put_content(t, fd, te.size);
	free_xattrs(x, n_x);
	return r;
}

static int one(struct upper_tar *t, int dirfd, const char *name, struct err *e) {
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "%s", strbuf_str(&t->path));
	if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0)) {
		const char *slash = strrchr(strbuf_str(&t->path), '/');
		return put_whiteout(t, strbuf_str(&t->path), slash ? (size_t)(slash - strbuf_str(&t->path)) : 0, name);
	}
	int r = put_entry(t, dirfd, name, &st, e);
	if (r < 0 || !S_ISDIR(st.st_mode))
		return r;
	_cleanup_close_ int sub = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (sub < 0)
		return err_sys(e, errno, "%s", strbuf_str(&t->path));
	if (upper_is_opaque(sub))
		r = put_whiteout(t, strbuf_str(&t->path), t->path.len, ".wh..opq");
	return r < 0 ? r : walk(t, sub, e);
}

static int walk(struct upper_tar *t, int dirfd, struct err *e) {
	char **names;
	int r = sorted_names(dirfd, &names, e);
	for (char **n = names; r >= 0 && n && *n; n++) {
		size_t len = t->path.len;
		strbuf_printf(&t->path, "%s%s", len ? "/" : "", *n);
		r = t->path.failed ? -ENOMEM : one(t, dirfd, *n, e);
		t->path.len = len;
		t->path.s[len] = '\0';
	}
	strv_free(names);
	return r;
}

struct upper_ref { int dir; const struct snapshot_ids *ids; };

/* Producer of a tarstream: the archive of the directory *ctx. */
static int upper_write(void *ctx, int out, struct err *e) {
	static const uint8_t end[2 * TAR_BLOCK];
	struct upper_tar t = { .root = ((struct upper_ref *)ctx)->dir, .ids = ((struct upper_ref *)ctx)->ids, .out = out };
	t.buf = malloc(READ_BUF);
	int r = t.buf ? walk(&t, t.root, e) : err_set(e, ENOMEM, "out of memory");
	if (r >= 0)
		r = put(&t, end, sizeof(end));
	for (size_t i = 0; i < t.n_links; i++)
		free(t.links[i].path);
	free(t.links);
	free(t.buf);
	strbuf_free(&t.path);
	strbuf_free(&t.header);
	return r < 0 && !(e && e->code) ? err_sys(e, r, "read the container's changes") : r;
}

static int add_upper(struct store *s, int dir, const struct snapshot_ids *ids, struct layer_row *ret, struct err *e) {
	struct upper_ref upper = { dir, ids };
	struct tarstream ts = { .write = upper_write, .ctx = &upper };
	struct layer_input in = { tarstream_open, tarstream_close, &ts, NULL, NULL, NULL, NULL };
	int r = store_add_layer(s, &in, ret, e);
	return MIN(r, 0);
}

int snapshot_commit(struct store *s, const char *id, const struct commit_opts *o, char ret_image[DIGEST_MAX], struct err *e) {
	char image[DIGEST_MAX];
	struct image_config cfg = { .arena = ARENA_INIT };
	struct layer_row *layers = NULL, *all = NULL, top;
	size_t n = 0;
	_cleanup_strbuf_ struct strbuf config = STRBUF_INIT, manifest = STRBUF_INIT;
	_cleanup_free_ char *dir = snapshot_dir(s, id), *upper = NULL;
	int r = snapshot_image(s, id, image, e);
	if (r >= 0 && image[0] && (r = image_config_load(s, image, &cfg, e)) >= 0)
		r = index_image_layers(s, image, &layers, &n, e);
	if (r >= 0 && (!dir || asprintf(&upper, "%s/upper", dir) < 0 || !(all = calloc(n + 1, sizeof(*all))))) {
		upper = NULL;
		r = err_set(e, ENOMEM, "out of memory");
	}
	_cleanup_close_ int fd = r < 0 ? -EBADF : open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (r >= 0 && fd < 0)
		r = err_sys(e, errno, "%s", upper);
	if (r >= 0)
		r = add_upper(s, fd, o->ids, &top, e);
	if (r >= 0) {
		struct config_edit ed = { .base = cfg.raw, .changes = o->changes, .author = o->author, .message = o->message, .created_by = "tierce commit",
					  .diffid = top.diffid };
		memcpy(all, layers, n * sizeof(*all));
		all[n] = top;
		r = config_edit(&ed, &config, e);
	}
	if (r >= 0)
		r = manifest_build(config.s, config.len, all, n + 1, &manifest, e);
	if (r >= 0)
		r = store_add_image(s, config.s, config.len, manifest.s, manifest.len, all, n + 1, o->name, NULL, ret_image, e);
	image_config_free(&cfg);
	free(layers);
	free(all);
	return MIN(r, 0);
}
