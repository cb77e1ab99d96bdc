/* Which cgroup a further process of the container goes to: its own, a sub-cgroup of every hierarchy or of some controllers. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "confine/cgroup_internal.h"
#include "sys/fd.h"

enum { PROC_CGROUP_MAX = 64 << 10 };

/* "cpu,memory:path" -> true when the hierarchy is one of the named controllers. */
static bool names_hier(const char *list, size_t n, const struct cgroup_hier *h)
{
	for (size_t i = 0; i < n;) {
		size_t m = i;
		while (m < n && list[m] != ',')
			m++;
		char name[64];
		snprintf(name, sizeof(name), "%.*s", (int)(m - i), list + i);
		if (h->v2 ? m == i : streq(name, h->names) || (*name && h->controllers & cgroup_controllers_parse(name)))
			return true;
		i = m + 1;
	}
	return n == 0 && h->v2;
}

static bool known_controllers(struct cgroup *cg, const char *list, size_t n)
{
	for (size_t i = 0; i < cg->n; i++)
		if (names_hier(list, n, &cg->h[i]))
			return true;
	return false;
}

static int check_sub(const char *p, size_t n, struct err *e)
{
	for (size_t i = 0; i < n;) {
		size_t m = i;
		while (m < n && p[m] != '/')
			m++;
		if (m - i == 2 && p[i] == '.' && p[i + 1] == '.')
			return err_set(e, EINVAL, "bad sub cgroup path: %.*s is not a sub cgroup path", (int)n, p);
		i = m + 1;
	}
	return 0;
}

/* Directory that the hierarchy's process goes to under sub (one entry a line, the last that fits wins). */
static int pick(struct cgroup *cg, struct cgroup_hier *h, const char *sub, char **ret, struct err *e)
{
	const char *path = NULL;
	size_t path_n = 0;
	int r;

	for (const char *p = sub ? sub : ""; *p;) {
		size_t n = strcspn(p, "\n"), c = 0;
		while (c < n && p[c] != ':' && p[c] != '/')
			c++;
		bool named = c < n && p[c] == ':';
		if (named && !known_controllers(cg, p, c))
			return err_set(e, EINVAL, "cgroup \"%.*s\": unknown controller %.*s", (int)n, p, (int)c, p);
		if (!named || names_hier(p, c, h)) {
			path = named ? p + c + 1 : p;
			path_n = named ? n - c - 1 : n;
		}
		p += n + (p[n] == '\n');
	}
	if (!path) {
		*ret = strdup(h->v2 && cg->join ? cg->join : h->dir);
		return *ret ? 0 : err_sys(e, ENOMEM, "cgroup");
	}
	if ((r = check_sub(path, path_n, e)) < 0)
		return r;
	if (asprintf(ret, "%s/%.*s", h->dir, (int)path_n, path) < 0)
		return *ret = NULL, err_sys(e, ENOMEM, "cgroup");
	struct stat st;
	if (stat(*ret, &st) < 0) {
		r = err_sys(e, errno, "error adding pid to cgroup %s", *ret);
		free(TAKE(*ret));
		return r;
	}
	return 0;
}

/* The v2 cgroup in which init_pid lives, as an absolute directory. */
static char *init_dir(struct cgroup *cg, struct cgroup_hier *h, pid_t pid)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char file[64];
	char *ret = NULL;

	snprintf(file, sizeof(file), "/proc/%d/cgroup", (int)pid);
	if (pid <= 0 || file_read_at(AT_FDCWD, file, &b, PROC_CGROUP_MAX) < 0)
		return NULL;
	const char *p = str_has_prefix(strbuf_str(&b), "0::") ? b.s : strstr(strbuf_str(&b), "\n0::");
	if (!p)
		return NULL;
	p = strchr(p, '/');
	if (!p)
		return NULL;
	/* Only a place below the container's own: a process that moved elsewhere must not pull exec along. */
	size_t n = strcspn(p, "\n"), own = strlen(cg->path);
	if (n < own || memcmp(p, cg->path, own) != 0 || (n > own && p[own] != '/'))
		return NULL;
	if (asprintf(&ret, "%s%.*s", h->dir, (int)(n - own), p + own) < 0)
		return NULL;
	return ret;
}

/* v2 refuses processes in a cgroup that hands controllers to children ("no internal processes"), with EBUSY. */
static bool hands_out(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char buf[512];

	return fd >= 0 && cgroup_readat(fd, "cgroup.subtree_control", buf, sizeof(buf)) > 0;
}

static int pick_v2(struct cgroup *cg, struct cgroup_hier *h, const char *sub, pid_t init_pid, char **ret, struct err *e)
{
	int r = pick(cg, h, sub, ret, e);

	if (r < 0 || sub || init_pid <= 0 || !hands_out(*ret))
		return r;
	char *in = init_dir(cg, h, init_pid);
	if (in) {
		free(*ret);
		*ret = in;
	}
	return 0;
}

int cgroup_exec_fd(struct cgroup *cg, const char *sub, pid_t init_pid, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *dir = NULL;
	struct cgroup_hier *v2 = cgroup_active(cg) ? cgroup_v2(cg) : NULL;
	int r;

	*ret_fd = -EBADF;
	if (!v2 || !cgroup_may_enter(cg))
		return 0;
	if ((r = pick_v2(cg, v2, sub, init_pid, &dir, e)) < 0)
		return r;
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cgroup %s", dir);
	*ret_fd = fd;
	return 0;
}

int cgroup_exec_join(struct cgroup *cg, const char *sub, pid_t init_pid, struct cgroup_join *ret, struct err *e)
{
	struct cgroup_join j = { .n = 0 };
	int r = 0;

	(void)init_pid;
	for (size_t i = 0; cgroup_active(cg) && i < cg->n && r == 0; i++) {
		struct cgroup_hier *h = &cg->h[i];
		if (h->v2)
			continue;
		if (!sub) {
			int d = cgroup_hier_fd(h);
			j.fds[j.n] = d < 0 ? d : openat(d, "tasks", O_WRONLY | O_CLOEXEC);
		} else {
			_cleanup_free_ char *dir = NULL, *file = NULL;
			if ((r = pick(cg, h, sub, &dir, e)) < 0)
				break;
			if (asprintf(&file, "%s/tasks", dir) < 0) {
				file = NULL;
				r = err_sys(e, ENOMEM, "cgroup");
				break;
			}
			j.fds[j.n] = open(file, O_WRONLY | O_CLOEXEC);
		}
		if (j.fds[j.n] < 0)
			r = err_sys(e, errno, "open %s/tasks", h->dir);
		else
			j.n++;
	}
	if (r < 0) {
		cgroup_join_close(&j);
		return r;
	}
	*ret = j;
	return 0;
}

int cgroup_exec_add(struct cgroup *cg, const char *sub, pid_t init_pid, pid_t pid, bool in_v2, struct err *e)
{
	char text[24];
	int r;

	snprintf(text, sizeof(text), "%d", (int)pid);
	for (size_t i = 0; cgroup_active(cg) && i < cg->n; i++) {
		struct cgroup_hier *h = &cg->h[i];
		_cleanup_free_ char *dir = NULL, *file = NULL;
		if (h->v2 && in_v2)
			continue;
		r = h->v2 ? pick_v2(cg, h, sub, init_pid, &dir, e) : pick(cg, h, sub, &dir, e);
		if (r < 0)
			return r;
		if (asprintf(&file, "%s/cgroup.procs", dir) < 0)
			return file = NULL, err_sys(e, ENOMEM, "cgroup");
		r = file_write_at(AT_FDCWD, file, text);
		if (r < 0)
			return err_sys(e, r, "add process %s to cgroup %s", text, dir);
	}
	return 0;
}
