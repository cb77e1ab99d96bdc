/* From a directory to an EROFS image, in one pass over the tree. */
#include "tier/vm/rootwrite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/str.h"
#include "sys/fd.h"
#include "wire/erofs_write.h"

enum {
	DEPTH_MAX = 512,      /* a tree that is nested deeper is refused, since the walk holds a descriptor for each level */
	XATTRS_MAX = 64 << 10, /* the kernel's own bound on a list and on a value (xattr(7)) */
	COPY = 128 << 10,
	BLOCK = 4096,
};

/* A file of several names is stored once: the first name by (device, inode). */
struct seen { dev_t dev; ino_t ino; char *path; };

struct job {
	struct erofs_writer *w;
	int out;
	struct seen *seen; /* open addressing, size a power of two */
	size_t n_seen, cap_seen;
	char path[PATH_MAX];
	struct err *e;
};

/* What was never written reads as zeros. */
static int sink(void *ctx, uint64_t off, const void *data, size_t n)
{
	const struct job *j = ctx;
	const char *p = data;
	while (n) {
		size_t k = MIN(n, (size_t)BLOCK);
		if (p[0] == 0 && memcmp(p, p + 1, k - 1) == 0) {
			p += k;
			off += k;
			n -= k;
			continue;
		}
		for (size_t more; k < n && (more = MIN(n - k, (size_t)BLOCK)) && !(p[k] == 0 && memcmp(p + k, p + k + 1, more - 1) == 0);)
			k += more;
		ssize_t r = pwrite(j->out, p, k, (off_t)off);
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
		p += r;
		off += (uint64_t)r;
		n -= (size_t)r;
	}
	return 0;
}

static struct seen *slot_of(struct job *j, dev_t dev, ino_t ino)
{
	size_t i = (size_t)((uint64_t)ino * 0x9e3779b97f4a7c15u ^ (uint64_t)dev) & (j->cap_seen - 1);
	while (j->seen[i].path && (j->seen[i].dev != dev || j->seen[i].ino != ino))
		i = (i + 1) & (j->cap_seen - 1);
	return &j->seen[i];
}

static int grow(struct job *j)
{
	struct seen *old = j->seen;
	size_t n = j->cap_seen;
	struct seen *v = calloc(n ? n * 2 : 256, sizeof *v);
	if (!v)
		return -ENOMEM;
	j->seen = v;
	j->cap_seen = n ? n * 2 : 256;
	for (size_t i = 0; i < n; i++)
		if (old[i].path)
			*slot_of(j, old[i].dev, old[i].ino) = old[i];
	free(old);
	return 0;
}

/* 1: *ret is an earlier name of the file; 0: this is the first. */
static int earlier_name(struct job *j, const struct stat *st, const char **ret)
{
	if (2 * j->n_seen >= j->cap_seen && grow(j) < 0)
		return -ENOMEM;
	struct seen *s = slot_of(j, st->st_dev, st->st_ino);
	if (s->path) {
		*ret = s->path;
		return 1;
	}
	*s = (struct seen){ st->st_dev, st->st_ino, strdup(j->path) };
	j->n_seen++;
	return s->path ? 0 : -ENOMEM;
}

/* Attributes that overlay and programs in the guest understand. Labels of the host's SELinux and IMA mean nothing there. */
static bool is_kept(const char *name)
{
	if (str_has_prefix(name, "trusted.overlay.")) /* overlay's own: opaque() has what matters */
		return false;
	return str_has_prefix(name, "user.") || str_has_prefix(name, "trusted.") || str_has_prefix(name, "system.posix_acl_") || streq(name, "security.capability");
}

static int read_xattrs(struct arena *a, const char *proc, struct erofs_attr *at)
{
	char *list = arena_alloc(a, XATTRS_MAX);
	ssize_t n = list ? llistxattr(proc, list, XATTRS_MAX) : -1;
	if (n <= 0)
		return !list ? -ENOMEM : n == 0 || errno == EOPNOTSUPP ? 0 : -errno;
	size_t names = 0;
	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(list + i) + 1)
		names++;
	struct tar_xattr *v = arena_array(a, names, struct tar_xattr);
	size_t k = 0;
	for (ssize_t i = 0; v && i < n; i += (ssize_t)strlen(list + i) + 1) {
		ssize_t len = is_kept(list + i) ? lgetxattr(proc, list + i, NULL, 0) : -1;
		char *value = len >= 0 ? arena_alloc(a, (size_t)len + 1) : NULL;
		if (!value || (len = lgetxattr(proc, list + i, value, (size_t)len)) < 0)
			continue; /* gone meanwhile, or not for us */
		v[k++] = (struct tar_xattr){ list + i, value, (size_t)len };
	}
	at->xattrs = v;
	at->n_xattrs = k;
	return v ? 0 : -ENOMEM;
}

/* Exactly the bytes that were announced: a file that shrinks meanwhile is filled up, one that grows is cut. */
static int copy_data(struct job *j, int fd, uint64_t size)
{
	static char buf[COPY];
	while (size) {
		size_t want = MIN(size, (uint64_t)sizeof buf);
		ssize_t n = read(fd, buf, want);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(j->e, errno, "read %s", j->path);
		if (n == 0) {
			memset(buf, 0, want);
			n = (ssize_t)want;
		}
		int r = erofs_file_data(j->w, buf, (size_t)n, j->e);
		if (r < 0)
			return r;
		size -= (uint64_t)n;
	}
	return 0;
}

static int add_file(struct job *j, int dir, const char *name, const struct stat *st, const struct erofs_attr *at)
{
	const char *first;
	int r = st->st_nlink > 1 ? earlier_name(j, st, &first) : 0;
	if (r > 0)
		return erofs_add_hardlink(j->w, j->path, first, j->e);
	if (r < 0)
		return err_sys(j->e, r, "root image");
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(j->e, errno, "open %s", j->path);
	uint64_t nid;
	r = erofs_add_file(j->w, j->path, at, (uint64_t)st->st_size, NULL, 0, &nid, j->e);
	return r < 0 ? r : copy_data(j, fd, (uint64_t)st->st_size);
}

static bool opaque(const char *proc)
{
	char v[2];
	return lgetxattr(proc, "trusted.overlay.opaque", v, sizeof v) == 1 && v[0] == 'y';
}

/* j->path ends with the name: the directory is what stands before it. */
static int add_whiteout(struct job *j, const char *name)
{
	char dir[PATH_MAX];
	size_t n = strlen(j->path) - strlen(name);
	snprintf(dir, sizeof dir, "%.*s", (int)(n ? n - 1 : 0), j->path);
	return erofs_add_whiteout(j->w, dir, name, j->e);
}

static int walk(struct job *j, int dir, size_t len, unsigned depth);

static int add_entry(struct job *j, int dir, const char *name, size_t len, unsigned depth)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	char proc[PATH_MAX], target[PATH_MAX];
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(j->e, errno, "%s", j->path);
	struct erofs_attr at = { .mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid, .major = major(st.st_rdev), .minor = minor(st.st_rdev), .mtime = st.st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st.st_mtim.tv_nsec };
	snprintf(proc, sizeof proc, "/proc/self/fd/%d/%s", dir, name);
	int r = read_xattrs(&a, proc, &at);
	if (r < 0)
		return err_sys(j->e, r, "attributes of %s", j->path);
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR: {
		int sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			return err_sys(j->e, errno, "open %s", j->path);
		r = erofs_add_dir(j->w, j->path, &at, j->e);
		if (r >= 0 && opaque(proc))
			r = erofs_set_opaque(j->w, j->path, j->e);
		if (r >= 0)
			return walk(j, sub, len, depth + 1);
		close(sub);
		return r;
	}
	case S_IFREG:
		return add_file(j, dir, name, &st, &at);
	case S_IFLNK: {
		ssize_t n = readlinkat(dir, name, target, sizeof target - 1);
		if (n < 0)
			return err_sys(j->e, errno, "%s", j->path);
		target[n] = 0;
		return erofs_add_symlink(j->w, j->path, &at, target, j->e);
	}
	case S_IFCHR:
		if (st.st_rdev == 0)
			return add_whiteout(j, name);
		return erofs_add_special(j->w, j->path, &at, TAR_CHAR, j->e);
	case S_IFBLK:
		return erofs_add_special(j->w, j->path, &at, TAR_BLOCKDEV, j->e);
	case S_IFIFO:
		return erofs_add_special(j->w, j->path, &at, TAR_FIFO, j->e);
	default:
		return 0; /* a socket has nobody behind it in another machine */
	}
}

/* Takes dir. j->path holds `len` bytes of its path. */
static int walk(struct job *j, int dir, size_t len, unsigned depth)
{
	DIR *d = fdopendir(dir);
	if (!d || depth > DEPTH_MAX) {
		int r = err_set(j->e, d ? ELOOP : errno, d ? "root filesystem: nested deeper than %d" : "root filesystem", DEPTH_MAX);
		if (d)
			closedir(d);
		else
			close(dir);
		return r;
	}
	int r = 0;
	for (struct dirent *ent; r >= 0 && (ent = readdir(d));) {
		if (streq(ent->d_name, ".") || streq(ent->d_name, ".."))
			continue;
		int n = snprintf(j->path + len, sizeof j->path - len, "%s%s", len ? "/" : "", ent->d_name);
		if (n < 0 || (size_t)n >= sizeof j->path - len)
			r = err_set(j->e, ENAMETOOLONG, "root filesystem: a path is longer than %d bytes", PATH_MAX);
		else
			r = add_entry(j, dir, ent->d_name, len + (size_t)n, depth);
	}
	closedir(d);
	j->path[len] = 0;
	return r;
}

int rootwrite(const char *rootfs, int out, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct job *j = calloc(1, sizeof *j);
	uint8_t uuid[16];
	struct stat st;
	int fd = open(rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	if (!j || fd < 0 || fstat(fd, &st) < 0 || getrandom(uuid, sizeof uuid, 0) != sizeof uuid) {
		r = err_sys(e, errno, "root filesystem %s", rootfs);
		free(j);
		if (fd >= 0)
			close(fd);
		return r;
	}
	*j = (struct job){ .out = out, .e = e };
	struct erofs_attr at = { .mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid, .mtime = st.st_mtim.tv_sec, .mtime_ns = (uint32_t)st.st_mtim.tv_nsec };
	struct erofs_result result;
	j->w = erofs_writer_new(sink, j);
	r = j->w ? read_xattrs(&a, rootfs, &at) : -ENOMEM;
	if (r < 0)
		r = err_sys(e, r, "root image");
	if (r >= 0)
		r = erofs_add_dir(j->w, "/", &at, e);
	if (r >= 0)
		r = walk(j, fd, 0, 0);
	else
		close(fd);
	if (r >= 0)
		r = erofs_writer_finish(j->w, uuid, &result, e);
	if (r >= 0 && ftruncate(out, (off_t)result.size) < 0)
		r = err_sys(e, errno, "root image");
	if (j->w)
		erofs_writer_free(j->w);
	for (size_t i = 0; i < j->cap_seen; i++)
		free(j->seen[i].path);
	free(j->seen);
	free(j);
	return r;
}
