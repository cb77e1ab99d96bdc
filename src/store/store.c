/* The store's directories, sessions, locks and files. See store.h. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "store/registry.h"
#include "sys/fd.h"
#include "sys/userns.h"

static char *default_root(bool *ret_rootless) {
	char *s = NULL;
	*ret_rootless = is_rootless();
	if (!*ret_rootless)
		return strdup("/var/lib/tierce");
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	if (data && *data == '/')
		return asprintf(&s, "%s/tierce", data) < 0 ? NULL : s;
	if (home && *home == '/')
		return asprintf(&s, "%s/.local/share/tierce", home) < 0 ? NULL : s;
	return NULL;
}

static int mkdir_p(const char *path, mode_t mode) {
	_cleanup_free_ char *p = strdup(path);
	if (!p)
		return -ENOMEM;
	for (char *s = p + 1;; s++) {
		if (*s != '/' && *s)
			continue;
		char c = *s;
		*s = '\0';
		if (mkdir(p, c ? 0755 : mode) < 0 && errno != EEXIST)
			return -errno;
		*s = c;
		if (!c)
			return 0;
	}
}

static int subdir(struct store *s, const char *name, mode_t mode, int *ret, struct err *e) {
	if (mkdirat(s->rootfd, name, mode) < 0 && errno != EEXIST)
		return err_sys(e, errno, "%s/%s", s->root, name);
	*ret = openat(s->rootfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret < 0 ? err_sys(e, errno, "%s/%s", s->root, name) : 0;
}

static int open_dirs(struct store *s, struct err *e) {
	int r = mkdir_p(s->root, 0711);
	if (r < 0)
		return err_sys(e, r, "%s", s->root);
	char *real = realpath(s->root, NULL);
	if (!real)
		return err_sys(e, errno, "%s", s->root);
	free(s->root);
	s->root = real;
	s->rootfd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->rootfd < 0)
		return err_sys(e, errno, "%s", s->root);
	const struct {
		const char *name;
		mode_t mode;
		int *fd;
	} dirs[] = { { "blobs", 0700, &s->blobs }, { "layers", 0700, &s->layers }, { "tmp", 0700, &s->tmp }, { "containers", 0711, &s->containers },
		     { "mnt", 0711, &s->mnt } };
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(dirs); i++)
		r = subdir(s, dirs[i].name, dirs[i].mode, dirs[i].fd, e);
	return r;
}

/* A dead session is a folder in tmp/ whose lock is free. */
static bool dead_session_there(struct store *s) {
	_cleanup_close_ int fd = openat(s->tmp, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	/* One link more than "." and the parent's entry means a session, dead or alive (ext4, xfs, tmpfs; btrfs always says 1: look then). */
	return fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink != 2;
}

int store_open(const char *root, struct store **ret, struct err *e) {
	struct store *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	s->rootfd = s->blobs = s->layers = s->tmp = s->containers = s->mnt = s->session_fd = s->session_lock = -EBADF;
	pthread_mutex_init(&s->mutex, NULL);
	bool rootless;
	s->root = root ? strdup(root) : default_root(&rootless);
	s->rootless = is_rootless();
	int r = s->root ? open_dirs(s, e) : err_set(e, ENOENT, "no place for the store: give --root or set HOME");
	if (r >= 0)
		r = index_open(s, e);
	if (r >= 0 && dead_session_there(s))
		r = store_recover(s, NULL, e);
	if (r < 0) {
		store_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

static void end_session(struct store *s) {
	if (s->session_fd < 0)
		return;
	if (index_begin(s, NULL) >= 0) {
		char sql[160];
		snprintf(sql, sizeof(sql), "DELETE FROM lease WHERE session = '%s'", s->session);
		sqlite3_exec(s->db, sql, NULL, NULL, NULL);
		index_end(s, 0, NULL);
	}
	unlinkat(s->session_fd, "lock", 0);
	unlinkat(s->tmp, s->session, AT_REMOVEDIR);
	close(s->session_lock);
	close(s->session_fd);
	s->session_fd = s->session_lock = -EBADF;
}

void store_close(struct store *s) {
	if (!s)
		return;
	if (s->db)
		end_session(s);
	sqlite3_close(s->db);
	int *fds[] = { &s->rootfd, &s->blobs, &s->layers, &s->tmp, &s->containers, &s->mnt };
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		cleanup_close(fds[i]);
	pthread_mutex_destroy(&s->mutex);
	free(s->root);
	free(s);
}

/* The folder appears under a name that the sweeper passes over and is renamed once its lock is held, so that no sweeper finds it unlocked. */
int store_session(struct store *s, struct err *e) {
	pthread_mutex_lock(&s->mutex);
	int r = 0;
	if (s->session_fd < 0) {
		uint64_t rnd = 0;
		char fresh[80];
		if (getrandom(&rnd, sizeof(rnd), 0) < 0)
			rnd = (uint64_t)getpid();
		snprintf(s->session, sizeof(s->session), "s-%016llx", (unsigned long long)rnd);
		snprintf(fresh, sizeof(fresh), ".new-%d-%s", (int)getpid(), s->session);
		_cleanup_close_ int dir = -EBADF, lock = -EBADF;
		if (mkdirat(s->tmp, fresh, 0700) < 0 || (dir = openat(s->tmp, fresh, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
		    (lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0 ||
		    renameat(s->tmp, fresh, s->tmp, s->session) < 0)
			r = err_sys(e, errno, "%s/tmp", s->root);
		else {
			s->session_fd = TAKE_FD(dir);
			s->session_lock = TAKE_FD(lock);
		}
	}
	pthread_mutex_unlock(&s->mutex);
	return r;
}

int store_tmpfile(struct store *s, char name[64], struct err *e) {
	int r = store_session(s, e);
	if (r < 0)
		return r;
	snprintf(name, 64, "f-%u", __atomic_fetch_add(&s->serial, 1, __ATOMIC_RELAXED));
	int fd = openat(s->session_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(e, errno, "%s/tmp/%s", s->root, name) : fd;
}

int store_commit_file(struct store *s, int fd, const char *tmpname, int dirfd, const char *name, struct err *e) {
	if (fsync(fd) < 0)
		return err_sys(e, errno, "sync %s", name);
	if (renameat(s->session_fd, tmpname, dirfd, name) < 0)
		return err_sys(e, errno, "rename to %s", name);
	if (fsync(dirfd) < 0)
		return err_sys(e, errno, "sync directory of %s", name);
	return 0;
}

int store_put_blob(struct store *s, const char *digest, const void *data, size_t n, struct err *e) {
	char got[DIGEST_MAX], tmp[64];
	struct stat st;
	digest_of(data, n, got);
	if (!streq(got, digest))
		return err_set(e, EBADMSG, "blob has digest %s, not %s", got, digest);
	if (fstatat(s->blobs, digest_hex(digest), &st, 0) == 0 && (uint64_t)st.st_size == n)
		return 0;
	_cleanup_close_ int fd = store_tmpfile(s, tmp, e);
	if (fd < 0)
		return fd;
	int r = fd_write_all(fd, data, n);
	if (r < 0)
		return err_sys(e, r, "write blob %s", digest);
	return store_commit_file(s, fd, tmp, s->blobs, digest_hex(digest), e);
}

int store_get_blob(struct store *s, const char *digest, struct strbuf *ret, struct err *e) {
	char got[DIGEST_MAX];
	if (!digest_valid(digest))
		return err_set(e, EINVAL, "invalid digest %.80s", digest);
	int r = file_read_at(s->blobs, digest_hex(digest), ret, 16 * MANIFEST_MAX);
	if (r < 0)
		return err_sys(e, r, "blob %s", digest);
	digest_of(strbuf_str(ret), ret->len, got);
	if (!streq(got, digest))
		return err_set(e, EUCLEAN, "blob %s is damaged: run tierce system check --repair", digest);
	return 0;
}

int store_open_layer(struct store *s, const char *diffid, const char *suffix, struct err *e) {
	char name[DIGEST_HEX + 16];
	snprintf(name, sizeof(name), "%s%s", digest_hex(diffid), suffix);
	int fd = openat(s->layers, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_sys(e, errno, "layer %s", diffid) : fd;
}

int store_lock(struct store *s, const char *name, bool wait, struct err *e) {
	char d[DIGEST_MAX];
	uint64_t at = 0;
	digest_of(name, strlen(name), d);
	for (unsigned i = 7; i < 7 + 15; i++)
		at = at << 4 | (uint64_t)(d[i] <= '9' ? d[i] - '0' : d[i] - 'a' + 10);
	_cleanup_close_ int fd = openat(s->rootfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "%s/lock", s->root);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)at, .l_len = 1 };
	while (fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EACCES)
			return err_set(e, EBUSY, "%s is in use", name);
		return err_sys(e, errno, "lock %s", name);
	}
	return TAKE_FD(fd);
}
