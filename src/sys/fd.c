/* File descriptors: see fd.h. */
#include "sys/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/broken.h"

int fd_write_all(int fd, const void *data, size_t n) {
	const char *p = data;
	while (n) {
		ssize_t w = write(fd, p, n);
		if (w < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

ssize_t fd_read_full(int fd, void *buf, size_t n) {
	size_t got = 0;
	while (got < n) {
		ssize_t r = read(fd, (char *)buf + got, n - got);
		if (r < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

int fd_read_rest(int fd, struct strbuf *out, size_t max) {
	char buf[16 * 1024];
	for (;;) {
		ssize_t r = read(fd, buf, sizeof(buf));
		if (r < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (r == 0)
			return strbuf_add(out, "", 0);
		if ((size_t)r > max || out->len > max - (size_t)r)
			return -EFBIG;
		int e = strbuf_add(out, buf, (size_t)r);
		if (e < 0)
			return e;
	}
}

int file_read_at(int dirfd, const char *path, struct strbuf *out, size_t max) {
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	return fd_read_rest(fd, out, max);
}

int file_write_at(int dirfd, const char *path, const char *value) {
	_cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	size_t n = strlen(value);
	ssize_t w;
	do
		w = write(fd, value, n);
	while (w < 0 && errno == EINTR);
	if (w < 0)
		return -errno;
	return (size_t)w == n ? 0 : -EIO;
}

int file_replace_at(int dirfd, const char *name, const void *data, size_t n, mode_t mode, int durable) {
	char tmp[NAME_MAX + 1];
	if (snprintf(tmp, sizeof(tmp), ".%s.%d", name, (int)getpid()) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	_cleanup_close_ int fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	int r = fd_write_all(fd, data, n);
	if (r == 0 && durable && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(dirfd, tmp, 0);
	return r;
}

int file_overwrite_at(int dirfd, const char *name, const void *data, size_t n, mode_t mode) {
	struct stat st;
	_cleanup_close_ int fd = n <= FILE_OVERWRITE_MAX ? openat(dirfd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -EBADF;
	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size == (off_t)n && pwrite(fd, data, n, 0) == (ssize_t)n)
		return 0;
	return file_replace_at(dirfd, name, data, n, mode, 0);
}

/* Component walk for kernels without openat2 (Linux < 5.6; retire with them). Symbolic links are expanded by hand against the
 * root, ".." never climbs above it, and no step follows a link, so a racing rename cannot lead outside. */
enum { WALK_MAX_LINKS = 40 }; /* as the kernel's MAXSYMLINKS: a loop of links must end */

static int walk(int rootfd, const char *path, int flags, mode_t mode) {
	int stack[PATH_MAX / 2], depth = 0, links = 0, r = -ENOENT;
	_cleanup_free_ char *rest = strdup(path);
	if (!rest)
		return -ENOMEM;
	stack[0] = fcntl(rootfd, F_DUPFD_CLOEXEC, 3);
	if (stack[0] < 0)
		return -errno;
	for (;;) {
		char *p = rest + strspn(rest, "/");
		size_t n = strcspn(p, "/");
		if (n == 0) {
			char buf[32];
			r = openat(AT_FDCWD, fd_proc_path(stack[depth], buf), flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW));
			r = r < 0 ? -errno : r;
			break;
		}
		char name[NAME_MAX + 1];
		if (n > NAME_MAX) {
			r = -ENAMETOOLONG;
			break;
		}
		memcpy(name, p, n);
		name[n] = '\0';
		bool last = p[n + strspn(p + n, "/")] == '\0';
		memmove(rest, p + n, strlen(p + n) + 1);
		if (streq(name, "."))
			continue;
		if (streq(name, "..")) {
			if (depth > 0)
				close(stack[depth--]);
			continue;
		}
		struct stat st;
		int fd = openat(stack[depth], name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && last && (flags & O_CREAT)) {
			r = openat(stack[depth], name, flags | O_NOFOLLOW | O_EXCL, mode);
			r = r < 0 ? -errno : r;
			break;
		}
		if (fd < 0 || fstat(fd, &st) < 0) {
			r = -errno;
			break;
		}
		if (S_ISLNK(st.st_mode) && !(last && (flags & O_NOFOLLOW))) {
			char target[PATH_MAX];
			ssize_t t = readlinkat(fd, "", target, sizeof(target) - 1);
			close(fd);
			if (t < 0 || ++links > WALK_MAX_LINKS) {
				r = t < 0 ? -errno : -ELOOP;
				break;
			}
			target[t] = '\0';
			char *joined;
			if (asprintf(&joined, "%s/%s", target, rest) < 0) {
				r = -ENOMEM;
				break;
			}
			free(rest);
			rest = joined;
			if (target[0] == '/')
				while (depth > 0)
					close(stack[depth--]);
			continue;
		}
		if (last) {
			if (flags & O_PATH) {
				r = (flags & O_DIRECTORY) && !S_ISDIR(st.st_mode) ? -ENOTDIR : fd;
				if (r < 0)
					close(fd);
				break;
			}
			if (S_ISLNK(st.st_mode) || ((flags & O_EXCL) && (flags & O_CREAT))) {
				close(fd);
				r = S_ISLNK(st.st_mode) ? -ELOOP : -EEXIST;
				break;
			}
			char buf[32];
			r = openat(AT_FDCWD, fd_proc_path(fd, buf), flags & ~(O_CREAT | O_NOFOLLOW));
			r = r < 0 ? -errno : r;
			close(fd);
			break;
		}
		if (!S_ISDIR(st.st_mode) || depth + 1 >= (int)ARRAY_SIZE(stack)) {
			close(fd);
			r = S_ISDIR(st.st_mode) ? -ENAMETOOLONG : -ENOTDIR;
			break;
		}
		stack[++depth] = fd;
	}
	while (depth >= 0)
		close(stack[depth--]);
	return r;
}

int open_in_root(int rootfd, const char *path, int flags, mode_t mode) {
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	if (!*path)
		path = ".";
	if (broken("in-root")) { /* as runtimes did it: the links of the image are followed from our own root */
		path += strspn(path, "/");
		int fd = openat(rootfd, *path ? path : ".", flags | O_CLOEXEC, mode);
		return fd < 0 ? -errno : fd;
	}
	/* A storm of renames can make every try fail; 128 is what keeps a hostile one from looping us for ever. */
	for (int i = 0; i < 128; i++) {
		int fd = (int)syscall(SYS_openat2, rootfd, path, &how, sizeof(how));
		if (fd >= 0)
			return fd;
		if (errno == ENOSYS || errno == EPERM)
			return walk(rootfd, path, flags | O_CLOEXEC, mode);
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

int mkdir_p_in_root(int rootfd, const char *path, mode_t mode) {
	int fd = open_in_root(rootfd, path, O_PATH | O_DIRECTORY, 0);
	if (fd >= 0 || fd != -ENOENT)
		return fd;
	_cleanup_close_ int at = fcntl(rootfd, F_DUPFD_CLOEXEC, 3);
	if (at < 0)
		return -errno;
	/* Make one missing component at a time; each prefix is resolved anew in the root, so links and ".." keep their meaning. */
	_cleanup_free_ char *prefix = strdup(path);
	if (!prefix)
		return -ENOMEM;
	for (char *p = prefix + strspn(prefix, "/");;) {
		char *end = p + strcspn(p, "/"), saved = *end;
		*end = '\0';
		if (*p) {
			int next = open_in_root(rootfd, prefix, O_PATH | O_DIRECTORY, 0);
			if (next == -ENOENT) {
				if (streq(p, "..") || streq(p, "."))
					return -ENOENT;
				if (mkdirat(at, p, mode) < 0 && errno != EEXIST)
					return -errno;
				/* No link may be followed here: what was just made is a directory, or somebody raced us. */
				next = openat(at, p, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
				if (next < 0)
					return -errno;
			} else if (next < 0) {
				return next;
			}
			close(at);
			at = next;
		}
		if (!saved)
			break;
		*end = saved;
		p = end + strspn(end, "/");
	}
	return TAKE_FD(at);
}

char *fd_proc_path(int fd, char buf[32]) {
	snprintf(buf, 32, "/proc/self/fd/%d", fd);
	return buf;
}

int cloexec_from(unsigned first) {
	if (syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return 0;
	if (errno != ENOSYS && errno != EINVAL && errno != EPERM)
		return -errno;
	/* Before Linux 5.11. */
	DIR *d = opendir("/proc/self/fd");
	if (!d)
		return -errno;
	struct dirent *ent;
	while ((ent = readdir(d))) {
		uint32_t fd;
		if (parse_u32(ent->d_name, &fd) == 0 && fd >= first && (int)fd != dirfd(d))
			fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	}
	closedir(d);
	return 0;
}
