/* Root images. The key covers names and inode metadata with ctime, which nobody can set back, not the files' bytes. */
#include "tier/vm/rootimg.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/str.h"
#include "sys/fd.h"
#include "tier/vm/boot/assets.h"
#include "tier/vm/rootwrite.h"

enum { DEPTH_MAX = 512 };

struct walk { struct key k; size_t n; dev_t dev; struct err *e; };

/* Directory order is the file system's own and stays the same while nothing changes; a reordered directory only costs a rebuild. */
static int walk(struct walk *w, int dirfd, unsigned depth)
{
	if (depth > DEPTH_MAX)
		return err_set(w->e, ELOOP, "root filesystem: nested deeper than %d", DEPTH_MAX);
	DIR *d = fdopendir(dirfd);
	if (!d) {
		close(dirfd);
		return err_sys(w->e, errno, "root filesystem");
	}
	int r = 0;
	for (struct dirent *ent; r >= 0 && (ent = readdir(d));) {
		struct stat st;
		if (streq(ent->d_name, ".") || streq(ent->d_name, ".."))
			continue;
		if (fstatat(dirfd, ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			r = errno == ENOENT ? 0 : err_sys(w->e, errno, "root filesystem: %s", ent->d_name);
			continue;
		}
		if (++w->n > ROOTIMG_ENTRIES_MAX)
			r = err_set(w->e, E2BIG, "root filesystem: more than %d entries", ROOTIMG_ENTRIES_MAX);
		key_add_str(&w->k, ent->d_name);
		const uint64_t v[] = { st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_rdev, (uint64_t)st.st_size,
			(uint64_t)st.st_ctim.tv_sec, (uint64_t)st.st_ctim.tv_nsec, (uint64_t)st.st_mtim.tv_sec };
		key_add(&w->k, v, sizeof v);
		if (r >= 0 && S_ISDIR(st.st_mode)) {
			int sub = openat(dirfd, ent->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			r = sub < 0 ? err_sys(w->e, errno, "root filesystem: open %s", ent->d_name) : walk(w, sub, depth + 1);
			key_add_u64(&w->k, 0);
		}
	}
	closedir(d);
	return r;
}

static int tree_key(const char *rootfs, char text[KEY_TEXT], struct err *e)
{
	struct walk w = { .e = e };
	struct stat st;
	int fd = open(rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int r = err_sys(e, errno, "root filesystem %s", rootfs);
		if (fd >= 0)
			close(fd);
		return r;
	}
	key_init(&w.k);
	key_add_u64(&w.k, st.st_dev);
	key_add_u64(&w.k, st.st_ino);
	key_add_u64(&w.k, st.st_mode);
	int r = walk(&w, fd, 0);
	if (r >= 0)
		key_text(&w.k, text);
	return r;
}

/* Keep the newest; a machine that runs from a removed image holds it open. */
static void bound(const char *cache, const char *keep)
{
	_cleanup_free_ char *pattern = NULL;
	glob_t g;
	if (asprintf(&pattern, "%s/root-*.erofs", cache) < 0 || glob(pattern, 0, NULL, &g) != 0)
		return;
	for (size_t extra = g.gl_pathc; extra > ROOTIMG_KEEP; extra--) {
		struct stat st;
		struct timespec oldest = { INT64_MAX, 0 };
		const char *which = NULL;
		for (size_t i = 0; i < g.gl_pathc; i++)
			if (stat(g.gl_pathv[i], &st) == 0 && !streq(g.gl_pathv[i], keep) && (st.st_mtim.tv_sec < oldest.tv_sec ||
				(st.st_mtim.tv_sec == oldest.tv_sec && st.st_mtim.tv_nsec < oldest.tv_nsec))) {
				oldest = st.st_mtim;
				which = g.gl_pathv[i];
			}
		if (!which || unlink(which) < 0)
			break;
	}
	globfree(&g);
}

int rootimg_get(const char *cache, const char *rootfs, char **ret, struct err *e)
{
	_cleanup_free_ char *path = NULL, *tmp = NULL;
	char key[KEY_TEXT];
	int r = tree_key(rootfs, key, e);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/root-%s.erofs", cache, key) < 0 || asprintf(&tmp, "%s/root-%s.tmp", cache, key) < 0)
		return -ENOMEM;
	if (access(path, R_OK) == 0) {
		utimensat(AT_FDCWD, path, NULL, 0);
		*ret = TAKE(path);
		return 0;
	}
	_cleanup_close_ int lock = cache_lock(cache, "root", e);
	if (lock < 0)
		return lock;
	if (access(path, R_OK) < 0) {
		unlink(tmp);
		_cleanup_close_ int fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		r = fd < 0 ? err_sys(e, errno, "create %s", tmp) : rootwrite(rootfs, fd, e);
		if (r < 0) {
			unlink(tmp);
			return err_wrap(e, r, "root image of %s", rootfs);
		}
		chmod(tmp, 0644); /* the cache directory is root's alone; the jailed hypervisor reads the file by a bind mount */
		if (rename(tmp, path) < 0)
			return err_sys(e, errno, "rename to %s", path);
		bound(cache, path);
	}
	*ret = TAKE(path);
	return 0;
}
