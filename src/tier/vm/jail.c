/* Jail of a hypervisor. */
#include "tier/vm/jail.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "confine/caps.h"
#include "sys/kernel.h"

#define STAGE "/tmp" /* the new root is mounted there, in a mount namespace of our own */
enum { UID_BASE = 0x7f000000, UID_SPAN = 0x00ffff00, PATHS_MAX = 48 };

uint32_t jail_uid(void)
{
	uint32_t r = 0;
	(void)!getrandom(&r, sizeof r, 0);
	return UID_BASE + r % UID_SPAN;
}

/* Parents of STAGE + path, and a mount point of the right kind at its end. */
static int make_point(const char *path, bool dir, struct err *e)
{
	char p[PATH_MAX];
	if ((size_t)snprintf(p, sizeof p, STAGE "%s", path) >= sizeof p)
		return err_set(e, ENAMETOOLONG, "jail: %s", path);
	for (char *s = p + sizeof STAGE; *s; s++) {
		if (*s != '/')
			continue;
		*s = 0;
		if (mkdir(p, 0755) < 0 && errno != EEXIST)
			return err_sys(e, errno, "jail: mkdir %s", p);
		*s = '/';
	}
	if (dir ? mkdir(p, 0755) < 0 && errno != EEXIST : mknod(p, S_IFREG | 0444, 0) < 0 && errno != EEXIST)
		return err_sys(e, errno, "jail: %s", p);
	return 0;
}

/* Detached copies are taken while the host's tree is still in sight. */
static int take(const struct jail_path *p, int *ret_fd, bool *ret_dir, char link[PATH_MAX], struct err *e)
{
	struct stat st;
	*ret_fd = -EBADF;
	link[0] = 0;
	if (lstat(p->path, &st) < 0)
		return p->optional ? 0 : err_sys(e, errno, "jail: %s", p->path);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlink(p->path, link, PATH_MAX - 1);
		link[n > 0 ? n : 0] = 0;
		return 0;
	}
	*ret_dir = S_ISDIR(st.st_mode);
	_cleanup_close_ int fd = sys_open_tree(AT_FDCWD, p->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_NO_AUTOMOUNT);
	struct mount_attr a = { .attr_set = MOUNT_ATTR_NOSUID | (p->writable ? 0 : MOUNT_ATTR_RDONLY) };
	if (fd < 0 || sys_mount_setattr(fd, "", AT_EMPTY_PATH, &a) < 0)
		return err_sys(e, errno, "jail: copy mount of %s", p->path);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int put(const struct jail_path *p, int fd, bool dir, const char *link, struct err *e)
{
	char to[PATH_MAX];
	snprintf(to, sizeof to, STAGE "%s", p->path);
	if (link[0]) {
		char parent[PATH_MAX];
		snprintf(parent, sizeof parent, "%s", p->path);
		int r = strrchr(parent, '/') == parent ? 0 : make_point(p->path, true, e);
		if (r < 0)
			return r;
		rmdir(to);
		return symlink(link, to) < 0 && errno != EEXIST ? err_sys(e, errno, "jail: link %s", to) : 0;
	}
	if (fd < 0)
		return 0;
	int r = make_point(p->path, dir, e);
	if (r < 0)
		return r;
	return sys_move_mount(fd, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? err_sys(e, errno, "jail: mount %s", to) : 0;
}

static int new_root(const struct jail *j, struct err *e)
{
	static char links[PATHS_MAX][PATH_MAX];
	int fds[PATHS_MAX], r = 0;
	bool dirs[PATHS_MAX];
	if (j->n_paths > PATHS_MAX)
		return err_set(e, E2BIG, "jail: too many paths");
	if (sys_mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, errno, "jail: private mounts");
	for (size_t i = 0; i < j->n_paths; i++)
		if ((r = take(&j->paths[i], &fds[i], &dirs[i], links[i], e)) < 0)
			return r; /* the process ends; nobody needs the descriptors closed */
	if (sys_mount("jail", STAGE, "tmpfs", MS_NOSUID, "mode=0755,size=1m") < 0)
		return err_sys(e, errno, "jail: tmpfs");
	for (size_t i = 0; i < j->n_paths; i++) {
		r = put(&j->paths[i], fds[i], dirs[i], links[i], e);
		if (fds[i] >= 0)
			close(fds[i]);
		if (r < 0)
			return r;
	}
	if (j->proc && (mkdir(STAGE "/proc", 0555) < 0 || sys_mount("proc", STAGE "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0))
		return err_sys(e, errno, "jail: procfs");
	if (chdir(STAGE) < 0 || sys_pivot_root(".", ".") < 0 || sys_umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(e, errno, "jail: pivot");
	return sys_mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID, NULL) < 0 ? err_sys(e, errno, "jail: read-only root") : 0;
}

static int limits(const struct jail *j, struct err *e)
{
	const struct { int which; rlim_t most; } rows[] = { { RLIMIT_CORE, 0 }, { RLIMIT_NOFILE, j->max_files ? j->max_files : 256 }, { RLIMIT_FSIZE, j->may_write_files ? RLIM_INFINITY : 0 },
		{ RLIMIT_MEMLOCK, 0 }, { RLIMIT_MSGQUEUE, 0 } };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct rlimit l;
		if (getrlimit((unsigned)rows[i].which, &l) < 0)
			return err_sys(e, errno, "jail: limits");
		l.rlim_max = MIN(l.rlim_max, rows[i].most);
		l.rlim_cur = l.rlim_max;
		if (setrlimit((unsigned)rows[i].which, &l) < 0)
			return err_sys(e, errno, "jail: limits");
	}
	return 0;
}

int jail_enter(const struct jail *j, struct err *e)
{
	gid_t groups[16];
	int r = new_root(j, e);
	if (r >= 0)
		r = limits(j, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < j->n_groups && i < ARRAY_SIZE(groups); i++)
		groups[i] = j->groups[i];
	r = caps_drop_bounding(j->keep_caps, e);
	if (r < 0)
		return r;
	if (setgroups(MIN(j->n_groups, ARRAY_SIZE(groups)), groups) < 0 || setresgid(j->gid, j->gid, j->gid) < 0 || setresuid(j->uid, j->uid, j->uid) < 0)
		return err_sys(e, errno, "jail: user %u", j->uid);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "jail: no_new_privs");
	return j->keep_caps ? caps_set(j->keep_caps, j->keep_caps, 0, 0, e) : caps_drop_all(e);
}
