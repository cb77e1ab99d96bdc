/* Copy of a directory tree by descriptors (tmpcopyup). Links are copied, never followed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "confine/mount.h"
#include "sys/fd.h"

enum { COPY_MAX_DEPTH = 256 }; /* a tree made to exhaust our stack or descriptors stops here */

static int copy_dir(int from, int to, int depth, struct err *e);

/* tmpfs takes trusted.* and security.*; user.* since 6.6: what it refuses is left out. */
static void copy_xattrs(int from, int to) {
	char names[4096], value[4096];
	ssize_t n = flistxattr(from, names, sizeof(names));
	for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
		ssize_t v = fgetxattr(from, p, value, sizeof(value));
		if (v >= 0 && fsetxattr(to, p, value, (size_t)v, 0) < 0)
			continue;
	}
}

static int copy_meta(int from, int to, const struct stat *st) {
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	if (fchown(to, st->st_uid, st->st_gid) < 0 && errno != EPERM && errno != EINVAL)
		return -errno;
	copy_xattrs(from, to);
	if (fchmod(to, st->st_mode & 07777) < 0)
		return -errno;
	futimens(to, times);
	return 0;
}

static int copy_file(int dirfrom, int dirto, const char *name, const struct stat *st) {
	_cleanup_close_ int in = openat(dirfrom, name, O_RDONLY | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (in < 0)
		return -errno;
	_cleanup_close_ int out = openat(dirto, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return -errno;
	for (;;) {
		ssize_t n = sendfile(out, in, NULL, 1 << 20);
		if (n == 0)
			return copy_meta(in, out, st);
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int copy_one(int from, int to, const char *name, int depth, struct err *e) {
	struct stat st;
	char target[PATH_MAX];
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "stat %s", name);
	int r = 0;
	if (S_ISDIR(st.st_mode)) {
		_cleanup_close_ int a = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (a < 0 || (mkdirat(to, name, 0700) < 0 && errno != EEXIST))
			return err_sys(e, errno, "copy directory %s", name);
		_cleanup_close_ int b = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (b < 0)
			return err_sys(e, errno, "copy directory %s", name);
		r = copy_dir(a, b, depth + 1, e);
		return r < 0 ? r : copy_meta(a, b, &st);
	}
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);
		if (n < 0)
			return err_sys(e, errno, "read link %s", name);
		target[n] = '\0';
		if (symlinkat(target, to, name) < 0)
			return err_sys(e, errno, "symlink %s", name);
		if (fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != EPERM && errno != EINVAL)
			return err_sys(e, errno, "chown %s", name);
		return 0;
	}
	if (S_ISREG(st.st_mode))
		r = copy_file(from, to, name, &st);
	else if (!S_ISSOCK(st.st_mode) && mknodat(to, name, st.st_mode, st.st_rdev) < 0)
		r = errno == EPERM ? 0 : -errno;
	return r < 0 ? err_sys(e, r, "copy %s", name) : 0;
}

static int copy_dir(int from, int to, int depth, struct err *e) {
	if (depth > COPY_MAX_DEPTH)
		return err_set(e, ELOOP, "directory tree too deep");
	int dup = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dup < 0 ? NULL : fdopendir(dup);
	if (!d)
		return err_sys(e, errno, "read directory");
	int r = 0;
	struct dirent *ent;
	while (r == 0 && (ent = readdir(d)))
		if (!streq(ent->d_name, ".") && !streq(ent->d_name, ".."))
			r = copy_one(from, to, ent->d_name, depth, e);
	closedir(d);
	return r;
}

int copy_tree(int from, int to, struct err *e) {
	struct stat st;
	_cleanup_close_ int a = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), b = openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a < 0 || b < 0 || fstat(a, &st) < 0)
		return err_sys(e, errno, "open directory");
	int r = copy_dir(a, b, 0, e);
	if (r < 0)
		return r;
	if (fchown(b, st.st_uid, st.st_gid) < 0 && errno != EPERM && errno != EINVAL)
		return err_sys(e, errno, "chown");
	return 0;
}
