/* An EROFS image into a plain directory, for hosts that cannot mount it. Names come from our reader and hold no slashes; every step is relative to an
 * open directory and follows no link. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "store/layer.h"
#include "store/snapshot.h"
#include "sys/fd.h"

enum { COPY_BUF = 256 * 1024, DEPTH_MAX = 2048 };

struct first_name {
	uint64_t nid;
	char *path; /* relative to the top */
};

struct extract {
	struct erofs fs;
	int top;
	bool rootless;
	const struct snapshot_ids *ids;
	uint8_t *buf;
	struct first_name *links; /* open addressing by nid: files with several names */
	size_t n_links, size_links;
	struct strbuf path;
};

static struct first_name *link_slot(struct extract *x, uint64_t nid) {
	if (x->n_links * 2 >= x->size_links) {
		size_t size = x->size_links ? x->size_links * 2 : 256;
		struct first_name *v = calloc(size, sizeof(*v));
		if (!v)
			return NULL;
		for (size_t i = 0; i < x->size_links; i++)
			if (x->links[i].path) {
				size_t k = x->links[i].nid * 0x9E3779B1u & (size - 1);
				while (v[k].path)
					k = (k + 1) & (size - 1);
				v[k] = x->links[i];
			}
		free(x->links);
		x->links = v;
		x->size_links = size;
	}
	size_t k = nid * 0x9E3779B1u & (x->size_links - 1);
	while (x->links[k].path && x->links[k].nid != nid)
		k = (k + 1) & (x->size_links - 1);
	return &x->links[k];
}

static dev_t decode_rdev(uint32_t v) {
	return makedev((v & 0xfff00) >> 8, (v & 0xff) | ((v >> 12) & 0xfff00));
}

static int set_xattrs(struct extract *x, const struct erofs_inode *in, int dirfd, const char *name, struct err *e) {
	char key[EROFS_XATTR_NAME_MAX], proc[64];
	uint8_t value[65536];
	uint32_t cookie = 0;
	size_t len;
	int r;
	_cleanup_close_ int fd = in->xattr_len ? openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -EBADF;
	if (!in->xattr_len)
		return 0;
	if (fd < 0)
		return err_sys(e, errno, "%s", strbuf_str(&x->path));
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	while ((r = erofs_next_xattr(&x->fs, in, &cookie, key, value, sizeof(value), &len)) > 0) {
		if (x->rootless && streq(key, "trusted.overlay.opaque"))
			snprintf(key, sizeof(key), "user.overlay.opaque");
		if (setxattr(proc, key, value, len, 0) < 0 && !(x->rootless && (errno == EPERM || errno == EINVAL)) && errno != EOPNOTSUPP)
			return err_sys(e, errno, "%s: set %s", strbuf_str(&x->path), key);
	}
	return r < 0 ? err_sys(e, r, "layer image") : 0;
}

/* Owner, then mode (chown clears set-id bits), xattrs (chown clears capabilities), times last. */
static int set_attrs(struct extract *x, const struct erofs_inode *in, int dirfd, const char *name, struct err *e) {
	bool lnk = S_ISLNK(in->mode);
	uid_t uid = x->ids ? snapshot_id_outside(x->ids->uids, x->ids->n_uids, in->uid) : in->uid;
	gid_t gid = x->ids ? snapshot_id_outside(x->ids->gids, x->ids->n_gids, in->gid) : in->gid;
	/* -1: an id that the container does not have; the file stays with who unpacks it, for nobody inside. */
	if (fchownat(dirfd, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0 && !(x->rootless && (errno == EPERM || errno == EINVAL)))
		return err_sys(e, errno, "%s: change owner", strbuf_str(&x->path));
	if (!lnk && fchmodat(dirfd, name, in->mode & 07777, 0) < 0)
		return err_sys(e, errno, "%s: change mode", strbuf_str(&x->path));
	int r = lnk ? 0 : set_xattrs(x, in, dirfd, name, e);
	struct timespec ts[2] = { { in->mtime, in->mtime_ns }, { in->mtime, in->mtime_ns } };
	if (r >= 0)
		utimensat(dirfd, name, ts, AT_SYMLINK_NOFOLLOW);
	return r;
}

static int copy_file(struct extract *x, const struct erofs_inode *in, int dirfd, const char *name, struct err *e) {
	_cleanup_close_ int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "%s", strbuf_str(&x->path));
	if (ftruncate(fd, (off_t)in->size) < 0)
		return err_sys(e, errno, "%s", strbuf_str(&x->path));
	for (uint64_t at = 0;;) {
		uint64_t off, len;
		int r = erofs_next_data(&x->fs, in, at, &off, &len);
		if (r < 0)
			return err_sys(e, r, "layer image");
		if (!len)
			return 0;
		for (at = off; at < off + len;) {
			ssize_t n = erofs_read(&x->fs, in, at, x->buf, (size_t)MIN((uint64_t)COPY_BUF, off + len - at));
			if (n <= 0)
				return err_sys(e, n ? (int)n : -EUCLEAN, "layer image");
			if (lseek(fd, (off_t)at, SEEK_SET) < 0 || (r = fd_write_all(fd, x->buf, (size_t)n)) < 0)
				return err_sys(e, errno, "%s", strbuf_str(&x->path));
			at += (uint64_t)n;
		}
	}
}

static int make_node(struct extract *x, const struct erofs_inode *in, int dirfd, const char *name, struct err *e) {
	char target[4097];
	ssize_t n;
	switch (in->mode & S_IFMT) {
	case S_IFREG:
		return copy_file(x, in, dirfd, name, e);
	case S_IFLNK:
		n = erofs_read(&x->fs, in, 0, target, sizeof(target) - 1);
		if (n <= 0)
			return err_sys(e, n ? (int)n : -EUCLEAN, "layer image");
		target[n] = '\0';
		return symlinkat(target, dirfd, name) < 0 ? err_sys(e, errno, "%s", strbuf_str(&x->path)) : 0;
	default:
		if (mknodat(dirfd, name, (in->mode & S_IFMT) | 0600, decode_rdev(in->rdev)) == 0)
			return 0;
		if (x->rootless && errno == EPERM) { /* a device that an ordinary user may not make: an empty file stands for it, as fakeroot does */
			int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
			if (fd >= 0)
				close(fd);
			return fd < 0 ? err_sys(e, errno, "%s", strbuf_str(&x->path)) : 0;
		}
		return err_sys(e, errno, "%s: make node", strbuf_str(&x->path));
	}
}

static int walk(struct extract *x, const struct erofs_inode *dir, int dirfd, unsigned depth, struct err *e);

static int one(struct extract *x, const struct erofs_entry *en, int dirfd, unsigned depth, struct err *e) {
	struct erofs_inode in;
	int r = erofs_inode_get(&x->fs, en->nid, &in);
	if (r < 0)
		return err_sys(e, r, "layer image");
	if (S_ISDIR(in.mode)) {
		if (mkdirat(dirfd, en->name, 0700) < 0)
			return err_sys(e, errno, "%s", strbuf_str(&x->path));
		_cleanup_close_ int sub = openat(dirfd, en->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			return err_sys(e, errno, "%s", strbuf_str(&x->path));
		r = walk(x, &in, sub, depth + 1, e);
		return r < 0 ? r : set_attrs(x, &in, dirfd, en->name, e);
	}
	if (in.nlink > 1) {
		struct first_name *f = link_slot(x, en->nid);
		if (!f)
			return err_set(e, ENOMEM, "out of memory");
		if (f->path)
			return linkat(x->top, f->path, dirfd, en->name, 0) < 0 ? err_sys(e, errno, "%s", strbuf_str(&x->path)) : 0;
		f->nid = en->nid;
		f->path = strdup(strbuf_str(&x->path));
		if (!f->path)
			return err_set(e, ENOMEM, "out of memory");
		x->n_links++;
	}
	r = make_node(x, &in, dirfd, en->name, e);
	return r < 0 ? r : set_attrs(x, &in, dirfd, en->name, e);
}

static int walk(struct extract *x, const struct erofs_inode *dir, int dirfd, unsigned depth, struct err *e) {
	struct erofs_entry en;
	uint64_t cookie = 0;
	int r;
	if (depth > DEPTH_MAX)
		return err_set(e, EUCLEAN, "layer image: directories nested deeper than %d", DEPTH_MAX);
	while ((r = erofs_readdir(&x->fs, dir, &cookie, &en)) > 0) {
		if (streq(en.name, ".") || streq(en.name, ".."))
			continue;
		size_t len = x->path.len;
		strbuf_printf(&x->path, "%s%s", len ? "/" : "", en.name);
		r = x->path.failed ? err_set(e, ENOMEM, "out of memory") : one(x, &en, dirfd, depth, e);
		x->path.len = len;
		if (x->path.s)
			x->path.s[len] = '\0';
		if (r < 0)
			return r;
	}
	return r < 0 ? err_sys(e, r, "layer image") : 0;
}

uint32_t snapshot_id_outside(const struct snapshot_id_range *v, size_t n, uint32_t id) {
	for (size_t i = 0; i < n; i++)
		if (id >= v[i].inside && id - v[i].inside < v[i].size)
			return v[i].outside + (id - v[i].inside);
	return n ? (uint32_t)-1 : id;
}

uint32_t snapshot_id_inside(const struct snapshot_id_range *v, size_t n, uint32_t id) {
	for (size_t i = 0; i < n; i++)
		if (id >= v[i].outside && id - v[i].outside < v[i].size)
			return v[i].inside + (id - v[i].outside);
	return n ? (uint32_t)-1 : id;
}

int layer_extract(int image_fd, int dirfd, bool rootless, const struct snapshot_ids *ids, struct err *e) {
	struct extract x = { .top = dirfd, .rootless = rootless, .ids = ids && ids->n_uids ? ids : NULL };
	struct erofs_inode root;
	struct stat st;
	if (fstat(image_fd, &st) < 0)
		return err_sys(e, errno, "layer image");
	int r = erofs_open(&x.fs, layer_pread, &image_fd, (uint64_t)st.st_size, e);
	if (r < 0)
		return r;
	x.buf = malloc(COPY_BUF);
	r = x.buf ? erofs_inode_get(&x.fs, x.fs.root_nid, &root) : -ENOMEM;
	if (r < 0)
		err_sys(e, r, "layer image");
	else
		r = walk(&x, &root, dirfd, 0, e);
	if (r >= 0)
		r = set_attrs(&x, &root, dirfd, ".", e);
	for (size_t i = 0; i < x.size_links; i++)
		free(x.links[i].path);
	free(x.links);
	free(x.buf);
	strbuf_free(&x.path);
	return r;
}
