/* Named volumes: directories with a small description, made on first use. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/tierce/people/people.h"
#include "sys/fd.h"

static void write_member(struct json_writer *w, const char *key, const struct json *extra) {
	if (json_get(extra, key)) {
		jw_key(w, key);
		jw_value(w, json_get(extra, key));
	}
}

/* The host's directory behind a volume with options type=bind, NULL: it has one of its own. */
static const char *device_of(struct people *p, const char *path) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct json *doc;
	char file[4200];
	snprintf(file, sizeof(file), "%s/volume.json", path);
	if (file_read_at(AT_FDCWD, file, &text, 65536) < 0 || json_parse(&p->arena, text.s, text.len, &doc, NULL) < 0)
		return NULL;
	return json_str(json_get(doc, "options"), "device", NULL);
}

int volume_ensure(struct people *p, const char *name, bool anonymous, const char *owner, const char **ret_path, struct err *e) {
	return volume_make(p, name, anonymous ? owner : NULL, NULL, ret_path, e);
}

int volume_make(struct people *p, const char *name, const char *owner, const struct json *extra, const char **ret_path, struct err *e) {
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct json_writer w;
	char path[4096];
	if (!name_ok(name))
		return err_set(e, -EINVAL, "invalid volume name \"%.80s\" (letters, digits, then also _ . -)", name);
	snprintf(path, sizeof(path), "%s/volumes/%s", p->data_dir, name);
	*ret_path = arena_printf(&p->arena, "%s/_data", path);
	if (!*ret_path)
		return err_sys(e, -ENOMEM, "make volume");
	if (access(*ret_path, F_OK) == 0) {
		const char *device = device_of(p, path);
		*ret_path = device ? device : *ret_path;
		return 0;
	}
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "make volume %s", name);
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	jw_init(&w, &out, 0);
	jw_object(&w);
	jw_kv_string(&w, "name", name);
	jw_kv_i64(&w, "created", now.tv_sec);
	write_member(&w, "labels", extra);
	write_member(&w, "options", extra);
	jw_kv_bool(&w, "anonymous", owner != NULL);
	if (owner)
		jw_kv_string(&w, "owner", owner);
	jw_object_end(&w);
	_cleanup_close_ int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = jw_finish(&w);
	if (r == 0)
		r = dir < 0 ? -errno : file_replace_at(dir, "volume.json", out.s, out.len, 0600, 0);
	if (r == 0 && mkdirat(dir, "_data", 0755) < 0 && errno != EEXIST)
		r = -errno;
	return r < 0 ? err_sys(e, r, "make volume %s", name) : 0;
}

enum { NFTW_FDS = 64 };
static struct { uint32_t uid, gid; } chown_to; /* nftw(3) passes nothing on */

static bool empty(int dir) {
	int fd = dup(dir);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	bool yes = d != NULL;
	while (d && (ent = readdir(d)))
		if (!streq(ent->d_name, ".") && !streq(ent->d_name, ".."))
			yes = false;
	if (d) {
		rewinddir(d);
		closedir(d);
	}
	return yes;
}

static int copy_file(int from, int to) {
	for (;;) {
		ssize_t n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
			n = sendfile(to, from, NULL, 1 << 30);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* Tree from -> to, no link followed on either side; owner, mode and times kept. */
static int copy_entry(int from, int to, const char *name, struct err *e);

static int copy_dir(int from, int to, struct err *e) {
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	int r = 0;
	if (!d)
		return err_sys(e, errno, "read a directory of the image");
	while (r == 0 && (ent = readdir(d)))
		if (!streq(ent->d_name, ".") && !streq(ent->d_name, ".."))
			r = copy_entry(fd, to, ent->d_name, e);
	closedir(d);
	return r;
}

static int copy_entry(int from, int to, const char *name, struct err *e) {
	struct stat st;
	char link[4096];
	int r = 0;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "read %s", name);
	if (S_ISDIR(st.st_mode)) {
		if (mkdirat(to, name, 0700) < 0 && errno != EEXIST)
			return err_sys(e, errno, "make %s", name);
		_cleanup_close_ int f = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW), t = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		r = f < 0 || t < 0 ? err_sys(e, errno, "open %s", name) : copy_dir(f, t, e);
	} else if (S_ISREG(st.st_mode)) {
		_cleanup_close_ int f = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK),
			t = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		r = f < 0 || t < 0 ? -errno : copy_file(f, t);
		if (r < 0)
			err_sys(e, r, "copy %s", name);
	} else if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlinkat(from, name, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = '\0';
		if (n < 0 || symlinkat(link, to, name) < 0)
			return err_sys(e, errno, "copy %s", name);
	} else if (mknodat(to, name, st.st_mode, st.st_rdev) < 0) {
		return err_sys(e, errno, "copy %s", name);
	}
	if (r < 0)
		return r;
	struct timespec times[2] = { st.st_atim, st.st_mtim };
	if (fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0 && errno != EPERM)
		return err_sys(e, errno, "set the owner of %s", name);
	if (!S_ISLNK(st.st_mode))
		fchmodat(to, name, st.st_mode & 07777, 0);
	utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

void volume_own(const char *path, uint32_t uid, uint32_t gid) {
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0 && empty(fd))
		(void)!fchown(fd, uid, gid);
}

static int chown_one(const char *path, const struct stat *st UNUSED, int type UNUSED, struct FTW *w UNUSED) {
	return lchown(path, chown_to.uid, chown_to.gid) < 0 ? errno : 0;
}

int volume_chown(const char *path, uint32_t uid, uint32_t gid, struct err *e) {
	chown_to.uid = uid;
	chown_to.gid = gid;
	int r = nftw(path, chown_one, NFTW_FDS, FTW_PHYS | FTW_MOUNT);
	return r ? err_sys(e, r < 0 ? errno : r, "change the owner of %s", path) : 0;
}

int volume_copy_up(struct people *p UNUSED, const char *volume_path, const char *rootfs, const char *dest, struct err *e) {
	struct stat st;
	_cleanup_close_ int to = open(volume_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	_cleanup_close_ int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (to < 0 || root < 0)
		return err_sys(e, errno, "open %s", to < 0 ? volume_path : rootfs);
	/* Once: a volume that was emptied later stays empty. */
	_cleanup_close_ int above = openat(to, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool ours = above >= 0 && faccessat(above, "volume.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	if (!empty(to) || (ours && faccessat(above, "used", F_OK, AT_SYMLINK_NOFOLLOW) == 0))
		return 0;
	if (ours) {
		int mark = openat(above, "used", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (mark >= 0)
			close(mark);
	}
	_cleanup_close_ int from = open_in_root(root, dest, O_RDONLY | O_DIRECTORY, 0);
	if (from < 0)
		return 0; /* the image has nothing there */
	int r = copy_dir(from, to, e);
	if (r == 0 && fstat(from, &st) == 0 && (fchown(to, st.st_uid, st.st_gid) == 0 || errno == EPERM))
		fchmod(to, st.st_mode & 07777);
	return r;
}
