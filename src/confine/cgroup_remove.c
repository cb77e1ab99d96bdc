/* Removing a container's cgroup with everything below it, waiting for the last process without polling where the kernel tells. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "confine/cgroup_internal.h"

enum {
	WAIT_MS = 10000,   /* how long a killed process may take to go (core dumps, NFS) before -EBUSY */
	ROUNDS = 40,
	DEPTH_MAX = 128,
};

/* rmdir of a tree, children first; needs no list when there are none. */
static int remove_tree(int dirfd, const char *name, unsigned depth)
{
	int r = 0;

	if (unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY && errno != ENOTEMPTY)
		return -errno;
	if (!depth)
		return -ELOOP;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	DIR *d = fdopendir(fd);
	if (!d) {
		cleanup_close(&fd);
		return -ENOMEM;
	}
	for (struct dirent *de; (de = readdir(d));)
		if (de->d_type == DT_DIR && de->d_name[0] != '.') {
			int q = remove_tree(fd, de->d_name, depth - 1);
			r = q < 0 ? q : r;
		}
	closedir(d);
	if (r < 0)
		return r;
	return unlinkat(dirfd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

/* Wait for one process of a v1-only cgroup to end. */
static void wait_one(struct cgroup *cg, int timeout_ms)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t n;

	if (cgroup_pids(cg, &pids, &n, NULL) == 0 && n) {
		_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pids[0], 0);
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (fd >= 0 && poll(&p, 1, timeout_ms) >= 0)
			return;
	}
	/* Nobody is listed, yet busy: the css is still being taken down, which takes an RCU grace period. */
	nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

static int remove_hier(struct cgroup *cg, struct cgroup_hier *h, struct err *e)
{
	struct cgroup_hier *v2 = cgroup_v2(cg);
	int r = remove_tree(AT_FDCWD, h->dir, DEPTH_MAX);

	for (int i = 0; r == -EBUSY && i < ROUNDS; i++) {
		if (v2 && i == 0 && cgroup_wait_event(v2, "populated", 0, WAIT_MS) == -ETIMEDOUT)
			break;
		if (!v2 || i > 0)
			wait_one(cg, WAIT_MS / ROUNDS);
		r = remove_tree(AT_FDCWD, h->dir, DEPTH_MAX);
	}
	if (r == 0)
		return 0;
	if (r != -EBUSY)
		return err_sys(e, r, "remove cgroup %s", h->dir);
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;
	(void)cgroup_pids(cg, &pids, &n, NULL);
	return n ? err_set(e, EBUSY, "remove cgroup %s: process %d is still inside", h->dir, (int)pids[0]) : err_sys(e, r, "remove cgroup %s", h->dir);
}

int cgroup_remove(struct cgroup *cg, struct err *e)
{
	_cleanup_err_ struct err first = ERR_INIT;
	int ret = 0, r;

	if (!cgroup_active(cg))
		return 0;
	cgroup_systemd_release(cg);
	if (cg->manager == CGROUP_MANAGER_SYSTEMD && (r = cgroup_systemd_stop(cg, &first)) < 0)
		ret = r;
	/* v2 last: it tells when the processes are gone. One failure does not keep the others. */
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < cg->n; i++) {
			struct cgroup_hier *h = &cg->h[i];
			if (h->v2 != (pass == 1))
				continue;
			_cleanup_err_ struct err why = ERR_INIT;
			r = remove_hier(cg, h, &why);
			cleanup_close(&h->fd);
			h->fd = -EBADF;
			if (r < 0 && ret == 0) {
				ret = r;
				err_move(&first, &why);
			}
		}
	/* With a subgroup the scope's own directory is one up; hierarchies that systemd does not manage keep it. */
	for (size_t i = 0; cg->unit && i < cg->n; i++) {
		char *at = strstr(cg->h[i].dir, cg->unit), *end = at ? at + strlen(cg->unit) : NULL;
		if (end && *end == '/') {
			*end = 0;
			(void)remove_tree(AT_FDCWD, cg->h[i].dir, 1);
			*end = '/';
		}
	}
	cleanup_close(&cg->join_fd);
	cg->join_fd = -EBADF;
	if (ret < 0)
		err_move(e, &first);
	return ret;
}
