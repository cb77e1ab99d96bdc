/* User and mount namespace of an ordinary user: see rootless.h. */
#include "cmd/tierce/people/rootless.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "confine/userns.h"
#include "engine/engine.h"
#include "sys/fd.h"
#include "sys/userns.h"

uint32_t rootless_uid(void) {
	uint32_t id = in_user_namespace() ? outer_id("uid_map", geteuid()) : geteuid();
	return id == (uint32_t)-1 ? geteuid() : id;
}

uint32_t rootless_gid(void) {
	uint32_t id = in_user_namespace() ? outer_id("gid_map", getegid()) : getegid();
	return id == (uint32_t)-1 ? getegid() : id;
}

const char *rootless_runtime_dir(struct arena *a, struct err *e) {
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	struct stat st;
	if (xdg && *xdg == '/')
		return arena_strdup(a, xdg);
	const char *dir = arena_printf(a, "/run/user/%u", rootless_uid());
	if (dir && stat(dir, &st) == 0 && st.st_uid == geteuid() && access(dir, W_OK) == 0)
		return dir;
	/* Anybody may make names in /tmp: only a directory that is this user's and closed to others will do. */
	dir = arena_printf(a, "/tmp/tierce-%u", rootless_uid());
	if (!dir || (mkdir(dir, 0700) < 0 && errno != EEXIST) || lstat(dir, &st) < 0) {
		err_sys(e, errno, "make a directory for run-time files");
		return NULL;
	}
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)) {
		err_set(e, -EPERM, "%s belongs to somebody else or is open to others: set XDG_RUNTIME_DIR", dir);
		return NULL;
	}
	return dir;
}

int rootless_range(const char *file, const char *name, uint32_t id, uint32_t *first, uint32_t *count, struct err *e) {
	char line[512], number[16];
	FILE *f = fopen(file, "re");
	int r = -ENOENT;
	snprintf(number, sizeof(number), "%u", id);
	while (r < 0 && f && fgets(line, sizeof(line), f)) {
		char *c1 = strchr(line, ':'), *c2 = c1 ? strchr(c1 + 1, ':') : NULL;
		if (!c2)
			continue;
		*c1 = *c2 = '\0';
		if (!(name && streq(line, name)) && !streq(line, number))
			continue;
		*first = (uint32_t)strtoul(c1 + 1, NULL, 10);
		*count = (uint32_t)strtoul(c2 + 1, NULL, 10);
		r = *count ? 0 : -ENOENT;
	}
	if (f)
		fclose(f);
	const char *who = name ? name : number;
	return r == 0 ? 0 : err_set(e, -ENOENT, "no range for %s in %s (add one: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s)", who, file, who);
}

/* ---- who is inside ---------------------------------------------------------------------------------------------------------- */

static uint64_t start_time(pid_t pid) {
	uint64_t t = 0;
	return proc_start_time(pid, &t, NULL, NULL) < 0 ? 0 : t;
}

static void note_in(int inside, pid_t pid, bool container) {
	char name[16], text[32];
	uint64_t t = start_time(pid);
	if (!t)
		return;
	snprintf(name, sizeof(name), "%d", (int)pid);
	int n = snprintf(text, sizeof(text), "%llu%s", (unsigned long long)t, container ? "c" : "");
	_cleanup_close_ int fd = openat(inside, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		(void)!fd_write_all(fd, text, (size_t)n);
}

static int open_inside(const char *run_dir) {
	char path[4096];
	snprintf(path, sizeof(path), "%s/inside", run_dir);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void rootless_note(const char *run_dir, pid_t pid, bool container) {
	_cleanup_close_ int inside = open_inside(run_dir);
	if (inside >= 0)
		note_in(inside, pid, container);
}

struct pair { int user, mnt; }; /* mnt -EBADF: a container's, not to be joined */

/* The namespaces of a process, when they are a pair that this user made. */
static int open_pair(pid_t pid, bool container, struct pair *ret) {
	char path[40];
	uid_t owner;
	struct stat a, b;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	_cleanup_close_ int user = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	_cleanup_close_ int mnt = container ? -EBADF : open(path, O_RDONLY | O_CLOEXEC);
	if (user < 0 || (mnt < 0 && !container))
		return -ESRCH;
	if (ioctl(user, NS_GET_OWNER_UID, &owner) < 0 || owner != geteuid())
		return -EPERM;
	/* A container with a user namespace of its own is further in: its parent is the pair's. */
	_cleanup_close_ int parent = ioctl(user, NS_GET_PARENT);
	_cleanup_close_ int own = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
	if (parent < 0 || own < 0 || fstat(parent, &a) < 0 || fstat(own, &b) < 0 || a.st_ino != b.st_ino)
		return -EPERM;
	ret->user = TAKE_FD(user);
	ret->mnt = TAKE_FD(mnt);
	return 0;
}

/* Somebody inside. Entries of processes that are gone are removed. */
static int find_pair(int inside, bool container, struct pair *ret) {
	int copy = openat(inside, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = -ESRCH;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	for (struct dirent *ent; d && r < 0 && (ent = readdir(d));) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		pid_t pid = (pid_t)atoi(ent->d_name);
		if (pid <= 0 || file_read_at(inside, ent->d_name, &text, 64) < 0)
			continue;
		uint64_t t = start_time(pid);
		char *kind;
		if (!t || t != strtoull(strbuf_str(&text), &kind, 10)) {
			unlinkat(inside, ent->d_name, 0);
			continue;
		}
		if ((*kind == 'c') == container)
			r = open_pair(pid, container, ret);
	}
	if (d)
		closedir(d);
	return r;
}

/* ---- making --------------------------------------------------------------------------------------------------------------------- */

static bool in_path(const char *program) {
	char path[512];
	const char *search = getenv("PATH");
	for (const char *p = search ? search : "/usr/bin:/bin"; *p;) {
		size_t n = strcspn(p, ":");
		snprintf(path, sizeof(path), "%.*s/%s", (int)n, p, program);
		if (access(path, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

struct maps { struct oci_id_map uid[2], gid[2]; struct oci_id_maps uids, gids; };

static void own_maps(struct maps *m) {
	const struct passwd *pw = getpwuid(getuid());
	const char *name = pw ? pw->pw_name : NULL;
	uint32_t first, count, gfirst, gcount;
	m->uid[0] = (struct oci_id_map){ 0, geteuid(), 1 };
	m->gid[0] = (struct oci_id_map){ 0, getegid(), 1 };
	m->uids = (struct oci_id_maps){ m->uid, 1 };
	m->gids = (struct oci_id_maps){ m->gid, 1 };
	if (!in_path("newuidmap") || !in_path("newgidmap") || rootless_range("/etc/subuid", name, getuid(), &first, &count, NULL) < 0 ||
		rootless_range("/etc/subgid", name, getuid(), &gfirst, &gcount, NULL) < 0)
		return;
	m->uid[1] = (struct oci_id_map){ 1, first, count };
	m->gid[1] = (struct oci_id_map){ 1, gfirst, gcount };
	m->uids.n = m->gids.n = 2;
}

/* newuidmap(1) wants to be outside of the namespace that it fills: a child that was forked before unshare() writes the maps of its parent. */
static int map_writer(const struct maps *m, int go, int answer) {
	_cleanup_err_ struct err e = ERR_INIT;
	bool denied;
	char c;
	if (read(go, &c, 1) != 1)
		return 0;
	int r = userns_write_maps(getppid(), &m->uids, &m->gids, &denied, &e);
	const char *text = r < 0 ? err_msg(&e) : "";
	(void)!write(answer, r < 0 ? "E" : "K", 1);
	(void)!write(answer, text, strlen(text));
	return 0;
}

/* What the host mounts and unmounts later is seen inside; nothing goes the other way. */
static int own_mounts(struct err *e) {
	return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ? err_sys(e, errno, "separate the mounts of the host") : 0;
}

static int make_pair(struct err *e) {
	struct maps m;
	int go[2], answer[2];
	char text[512];
	own_maps(&m);
	if (pipe2(go, O_CLOEXEC) < 0)
		return err_sys(e, errno, "make a pipe");
	if (pipe2(answer, O_CLOEXEC) < 0) {
		close(go[0]);
		close(go[1]);
		return err_sys(e, errno, "make a pipe");
	}
	pid_t child = fork();
	if (child == 0) {
		close(go[1]);
		_exit(map_writer(&m, go[0], answer[1]));
	}
	int r = child < 0 ? -errno : 0;
	close(go[0]);
	close(answer[1]);
	if (r == 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		r = -errno;
	if (r < 0)
		err_sys(e, r, "make a user namespace (see sysctl user.max_user_namespaces and kernel.unprivileged_userns_clone)");
	else
		(void)!write(go[1], "g", 1);
	close(go[1]);
	ssize_t n = fd_read_full(answer[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(answer[0]);
	while (child > 0 && waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
	if (r == 0 && text[0] != 'K')
		r = err_set(e, -EPERM, "map the ids of a user namespace: %s", n > 0 ? text + 1 : "no answer");
	return r < 0 ? r : own_mounts(e);
}

/* ---- entering --------------------------------------------------------------------------------------------------------------------- */

static int join_pair(struct pair *p, struct err *e) {
	char cwd[4096];
	if (!getcwd(cwd, sizeof(cwd)))
		snprintf(cwd, sizeof(cwd), "/");
	int r = setns(p->user, CLONE_NEWUSER) < 0 || (p->mnt >= 0 ? setns(p->mnt, CLONE_NEWNS) : unshare(CLONE_NEWNS)) < 0 ? -errno : 0;
	bool fresh = p->mnt < 0;
	cleanup_close(&p->user);
	cleanup_close(&p->mnt);
	if (r < 0)
		return err_sys(e, r, "join the user namespace of your other containers");
	if (fresh)
		return own_mounts(e);
	return chdir(cwd) < 0 ? err_sys(e, errno, "%s", cwd) : 0;
}

int rootless_enter(const char *run_dir, struct err *e) {
	char path[4096];
	struct pair p;
	_cleanup_close_ int inside = open_inside(run_dir);
	snprintf(path, sizeof(path), "%s/inside.lock", run_dir);
	_cleanup_close_ int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (inside < 0 || lock < 0)
		return err_sys(e, inside < 0 ? inside : errno, "write below %s", run_dir);
	while (flock(lock, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "lock %s", path);
	bool there = find_pair(inside, false, &p) == 0 || find_pair(inside, true, &p) == 0;
	int r = there ? join_pair(&p, e) : make_pair(e);
	if (r == 0)
		note_in(inside, getpid(), false);
	return r;
}
