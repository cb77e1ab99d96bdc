/* Making a container's cgroup in every hierarchy, and putting processes into it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "confine/cgroup_internal.h"
#include "sys/fd.h"

enum { CPUSET_TEXT_MAX = 4096 /* a cpu list of thousands of alternating CPUs */, CPUSET_DEPTH_MAX = 32 /* ends the recursion */ };

/* Fill the file from the parent's; a parent that somebody made and left empty gets its own parent's first. The hierarchy's root is never empty. */
static int cpuset_fill(int fd, const char *file, unsigned depth, char buf[CPUSET_TEXT_MAX])
{
	_cleanup_close_ int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	ssize_t n = up < 0 ? -errno : cgroup_readat(up, file, buf, CPUSET_TEXT_MAX);
	int r = n < 0 ? (int)n : 0;

	if (n == 0)
		r = depth ? cpuset_fill(up, file, depth - 1, buf) : -ELOOP;
	return r < 0 ? r : file_write_at(fd, file, buf);
}

/* A v1 cpuset is born empty and takes no process until it has cpus and mems (Documentation/admin-guide/cgroup-v1/cpusets.rst). */
static int cpuset_inherit(const char *dir, struct err *e)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	_cleanup_close_ int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char buf[CPUSET_TEXT_MAX] = "";

	if (fd < 0)
		return err_sys(e, errno, "open %s", dir);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		int r = cpuset_fill(fd, files[i], CPUSET_DEPTH_MAX, buf);
		if (r < 0)
			return err_sys(e, r, "take over \"%s\" in %s/%s", buf, dir, files[i]);
	}
	return 0;
}

static int dir_is_free(const struct cgroup *cg, const char *dir, struct err *e)
{
	_cleanup_close_ int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char buf[64];
	ssize_t n = fd < 0 ? -errno : cgroup_readat(fd, "cgroup.procs", buf, sizeof(buf));

	if (n == -ENOENT && cgroup_host.fake)
		return 0;
	if (n == -EOPNOTSUPP) /* threaded: its processes are listed further up */
		return 0;
	if (n < 0)
		return err_sys(e, (int)n, "%s", dir);
	if (n && !(cg->helper_pid > 0 && atoi(buf) == cg->helper_pid)) /* the helper holds the scope for us */
		return err_set(e, EEXIST, "container's cgroup is not empty: %s holds process %.*s", dir, (int)strcspn(buf, "\n"), buf);
	/* What is cloned into a frozen cgroup never gets as far as its first instruction. */
	bool frozen = cgroup_readat(fd, "cgroup.freeze", buf, sizeof(buf)) > 0 ? streq(buf, "1") :
		cgroup_readat(fd, "freezer.state", buf, sizeof(buf)) > 0 && !streq(buf, "THAWED");
	return frozen ? err_set(e, EBUSY, "container's cgroup unexpectedly frozen: %s", dir) : 0;
}

/* mkdir -p with what v1 cpuset needs on each level. */
static int make_v1(const struct cgroup *cg, struct cgroup_hier *h, struct err *e)
{
	bool cpuset = h->controllers & 1U << CGROUP_CPUSET;
	int r;

	if (mkdir(h->dir, 0755) == 0) {
		h->made = true;
		return cpuset ? cpuset_inherit(h->dir, e) : 0;
	}
	if (errno == EEXIST)
		return dir_is_free(cg, h->dir, e);
	if (errno != ENOENT)
		return err_sys(e, errno, "mkdir %s", h->dir);
	for (char *p = h->dir + strlen(h->mount) + 1; p; p = strchr(p + 1, '/')) {
		if (*p != '/')
			continue;
		*p = 0;
		bool made = mkdir(h->dir, 0755) == 0;
		r = !made && errno != EEXIST ? err_sys(e, errno, "mkdir %s", h->dir) : made && cpuset ? cpuset_inherit(h->dir, e) : 0;
		*p = '/';
		if (r < 0)
			return r;
	}
	if (mkdir(h->dir, 0755) < 0)
		return errno == EEXIST ? dir_is_free(cg, h->dir, e) : err_sys(e, errno, "mkdir %s", h->dir);
	h->made = true;
	return cpuset ? cpuset_inherit(h->dir, e) : 0;
}

/* ---- v2: controllers from the top down ----------------------------------------------------------------------------- */

static const char *v2_name(unsigned c) { return c == CGROUP_BLKIO ? "io" : cgroup_controller_names[c]; }

/* One level. All at once; when the kernel refuses one of them (busy, absent), each by itself: what stays missing is reported by the limit that needs it. */
static int enable_level(const char *dir, uint32_t want)
{
	_cleanup_free_ char *file = NULL;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char have[512];
	int r;

	if (asprintf(&file, "%s/cgroup.subtree_control", dir) < 0)
		return file = NULL, -ENOMEM;
	ssize_t n = cgroup_readat(AT_FDCWD, file, have, sizeof(have));
	if (n < 0)
		return (int)n;
	want &= ~cgroup_controllers_parse(have);
	if (!want)
		return 0;
	for (unsigned c = 0; c < CGROUP_CONTROLLERS; c++)
		if (want & 1U << c)
			strbuf_printf(&b, "%s+%s", b.len ? " " : "", v2_name(c));
	if (b.failed)
		return -ENOMEM;
	r = file_write_at(AT_FDCWD, file, strbuf_str(&b));
	if (r == 0 || r == -EACCES || r == -EPERM || r == -EROFS)
		return r;
	for (unsigned c = 0; c < CGROUP_CONTROLLERS; c++)
		if (want & 1U << c) {
			char one[32];
			snprintf(one, sizeof(one), "+%s", v2_name(c));
			int q = file_write_at(AT_FDCWD, file, one);
			r = q < 0 ? q : r;
		}
	return r;
}

int cgroup_enable_v2(struct cgroup *cg, struct cgroup_hier *h, uint32_t want)
{
	static const uint32_t real = 1U << CGROUP_CPU | 1U << CGROUP_CPUSET | 1U << CGROUP_MEMORY | 1U << CGROUP_BLKIO | 1U << CGROUP_PIDS |
		1U << CGROUP_HUGETLB | 1U << CGROUP_RDMA | 1U << CGROUP_MISC;
	char have[512];
	int r = 0, fd;

	want &= real & h->controllers;
	if (!want)
		return 0;
	/* Engines mostly prepared the parents: then one read tells that all is there. */
	if ((fd = cgroup_hier_fd(h)) >= 0 && cgroup_readat(fd, "cgroup.controllers", have, sizeof(have)) >= 0)
		want &= ~cgroup_controllers_parse(have);
	if (!want)
		return 0;
	size_t root = strlen(h->dir) - strlen(cg->path); /* length of the mount point */
	for (char *p = h->dir + root; p; p = strchr(p + 1, '/')) {
		*p = 0;
		int q = enable_level(h->dir, want);
		*p = '/';
		r = q < 0 && q != -ENOENT ? q : r;
	}
	return r;
}

/* Hand the files that a delegatee may write over (Documentation/admin-guide/cgroup-v2.rst, "Model of Delegation"; the kernel lists them). */
static void delegate_files(const struct cgroup *cg, const char *dir)
{
	static const char fallback[] = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\nmemory.oom.group\nmemory.reclaim";
	_cleanup_close_ int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char list[2048];

	if (fd < 0)
		return;
	if (cgroup_readat(AT_FDCWD, "/sys/kernel/cgroup/delegate", list, sizeof(list)) <= 0)
		memcpy(list, fallback, sizeof(fallback));
	if (fchownat(fd, "", cg->owner_uid, cg->owner_gid, AT_EMPTY_PATH) < 0)
		return; /* rootless: it is ours already */
	char *save = NULL;
	for (char *f = strtok_r(list, "\n", &save); f; f = strtok_r(NULL, "\n", &save))
		if (!strchr(f, '/') && fchownat(fd, f, cg->owner_uid, cg->owner_gid, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* of a controller that is not enabled */
}

static int make_v2(struct cgroup *cg, struct cgroup_hier *h, struct err *e)
{
	int r;

	h->made = mkdir(h->dir, 0755) == 0;
	if (!h->made) {
		if (errno == ENOENT) {
			for (char *p = strchr(h->dir + strlen(h->mount) + 1, '/'); p; p = strchr(p + 1, '/')) {
				*p = 0;
				r = mkdir(h->dir, 0755) < 0 && errno != EEXIST ? err_sys(e, errno, "mkdir %s", h->dir) : 0;
				*p = '/';
				if (r < 0)
					return r;
			}
			h->made = mkdir(h->dir, 0755) == 0;
			errno = h->made ? 0 : errno;
		}
		if (errno == EEXIST) {
			if ((r = dir_is_free(cg, h->dir, e)) < 0)
				return r;
		} else if (errno) {
			return err_sys(e, errno, "mkdir %s", h->dir);
		}
	}
	/* A pure v2 host gets all controllers, as with the other runtimes: statistics and delegation need them. On a hybrid host v2 has the
	 * odd ones only, which cost something and are seldom asked for. Errors show when a limit is written. */
	(void)cgroup_enable_v2(cg, h, cg->mode == CGROUP_MODE_V2 ? h->controllers : cg->want);
	if (cg->join) {
		if (mkdir(cg->join, 0755) < 0 && errno != EEXIST)
			return err_sys(e, errno, "mkdir %s", cg->join);
		(void)enable_level(h->dir, h->controllers & ~(1U << CGROUP_DEVICES | 1U << CGROUP_FREEZER | 1U << CGROUP_CPUACCT | 1U << CGROUP_PERF_EVENT));
	}
	if (cg->chown)
		delegate_files(cg, cg->join ? cg->join : h->dir);
	return 0;
}

static void drop_hier(struct cgroup *cg, size_t i)
{
	struct cgroup_hier *h = &cg->h[i];
	free(h->names);
	free(h->mount);
	free(h->self);
	free(h->dir);
	cleanup_close(&h->fd);
	memmove(h, h + 1, (--cg->n - i) * sizeof(*h));
	cg->h[cg->n] = (struct cgroup_hier){ .fd = -EBADF };
}

/* What was there before stays: it may be somebody else's. */
static void unmake(struct cgroup *cg)
{
	for (size_t i = 0; i < cg->n; i++) {
		if (!cg->h[i].made)
			continue;
		if (cg->h[i].v2 && cg->join)
			(void)rmdir(cg->join);
		(void)rmdir(cg->h[i].dir);
		cg->h[i].made = false;
	}
	cgroup_systemd_release(cg);
	if (cg->manager == CGROUP_MANAGER_SYSTEMD)
		(void)cgroup_systemd_stop(cg, NULL);
}

int cgroup_create(struct cgroup *cg, struct err *e)
{
	int r;

	if (!cgroup_active(cg))
		return 0;
	if (cg->manager == CGROUP_MANAGER_SYSTEMD && (r = cgroup_systemd_start(cg, e)) < 0)
		return r;
	for (size_t i = 0; i < cg->n; i++) {
		struct cgroup_hier *h = &cg->h[i];
		_cleanup_err_ struct err why = ERR_INIT;
		if (h->v2 && cg->rootless && cg->manager == CGROUP_MANAGER_CGROUPFS && !cgroup_may_enter(cg)) {
			drop_hier(cg, i--); /* could be made, but nobody could be put inside */
			continue;
		}
		r = h->v2 ? make_v2(cg, h, &why) : make_v1(cg, h, &why);
		/* Without root a hierarchy that is not delegated to us is left alone; limits that need it fail by name later. */
		if ((r == -EACCES || r == -EPERM || r == -EROFS) && cg->rootless) {
			drop_hier(cg, i--);
			continue;
		}
		if (r < 0) {
			unmake(cg);
			err_move(e, &why);
			return err_wrap(e, r, "create cgroup");
		}
	}
	if (!cg->n)
		cg->active = false;
	return 0;
}

/* ---- processes inside ------------------------------------------------------------------------------------------------ */

int cgroup_fd(struct cgroup *cg)
{
	struct cgroup_hier *v2 = cgroup_active(cg) ? cgroup_v2(cg) : NULL;

	if (!v2 || !cgroup_may_enter(cg))
		return -EBADF;
	if (cg->join) {
		if (cg->join_fd < 0)
			cg->join_fd = open(cg->join, O_PATH | O_DIRECTORY | O_CLOEXEC);
		return cg->join_fd < 0 ? -EBADF : cg->join_fd;
	}
	int fd = cgroup_hier_fd(v2);
	return fd < 0 ? -EBADF : fd;
}

void cgroup_join_close(struct cgroup_join *j)
{
	for (size_t i = 0; i < j->n; i++)
		cleanup_close(&j->fds[i]);
	j->n = 0;
}

int cgroup_join_self(const struct cgroup_join *j)
{
	for (size_t i = 0; i < j->n; i++)
		if (write(j->fds[i], "0", 1) < 0)
			return -errno;
	return 0;
}

int cgroup_join_open(struct cgroup *cg, struct cgroup_join *ret, struct err *e)
{
	return cgroup_exec_join(cg, NULL, 0, ret, e);
}

int cgroup_add(struct cgroup *cg, pid_t pid, bool in_v2, struct err *e)
{
	return cgroup_exec_add(cg, NULL, 0, pid, in_v2, e);
}

int cgroup_ready(struct cgroup *cg, struct err *e)
{
	(void)e;
	cgroup_systemd_release(cg);
	return 0;
}
