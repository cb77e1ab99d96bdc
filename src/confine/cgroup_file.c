/* Reading and writing cgroup files: one value per write(2), small texts, waiting for cgroup.events. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "confine/cgroup_internal.h"
#include "sys/fd.h"

int cgroup_hier_fd(struct cgroup_hier *h)
{
	if (h->fd < 0) {
		int fd = open(h->dir, O_PATH | O_DIRECTORY | O_CLOEXEC); /* enough for *at calls and for CLONE_INTO_CGROUP (clone(2)) */
		if (fd < 0)
			return -errno;
		h->fd = fd;
	}
	return h->fd;
}

int cgroup_write(struct cgroup_hier *h, const char *file, const char *value)
{
	int fd = cgroup_hier_fd(h);
	return fd < 0 ? fd : file_write_at(fd, file, value);
}

int cgroup_write_err(struct cgroup_hier *h, const char *file, const char *value, struct err *e)
{
	int r = cgroup_write(h, file, value);
	return r < 0 ? err_sys(e, r, "write \"%s\" to %s/%s", value, h->dir, file) : 0;
}

ssize_t cgroup_readat(int dirfd, const char *file, char *buf, size_t size)
{
	_cleanup_close_ int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, buf, size - 1); /* seq files hand out up to a page per read */
	if (n < 0)
		return -errno;
	if ((size_t)n < size - 1 && n >= 4000) {
		ssize_t m = fd_read_full(fd, buf + n, size - 1 - (size_t)n);
		if (m > 0)
			n += m;
	}
	while (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = 0;
	return n;
}

ssize_t cgroup_read(struct cgroup_hier *h, const char *file, char *buf, size_t size)
{
	int fd = cgroup_hier_fd(h);
	return fd < 0 ? fd : cgroup_readat(fd, file, buf, size);
}

int cgroup_read_u64(struct cgroup_hier *h, const char *file, uint64_t *ret)
{
	char buf[64];
	ssize_t n = cgroup_read(h, file, buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	if (streq(buf, "max") || streq(buf, "-1")) {
		*ret = UINT64_MAX;
		return 0;
	}
	return parse_u64(buf, ret);
}

bool cgroup_flat_key(const char *text, const char *key, uint64_t *ret)
{
	size_t n = strlen(key);

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL) {
		char *end;
		if (strncmp(p, key, n) != 0 || p[n] != ' ')
			continue;
		errno = 0;
		unsigned long long v = strtoull(p + n + 1, &end, 10);
		if (end == p + n + 1 || errno)
			return false;
		*ret = v;
		return true;
	}
	return false;
}

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int cgroup_wait_event(struct cgroup_hier *h, const char *key, uint64_t value, int timeout_ms)
{
	int dir = cgroup_hier_fd(h);
	if (dir < 0)
		return dir;
	_cleanup_close_ int fd = openat(dir, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int64_t end = now_ms() + timeout_ms;
	for (;;) {
		char buf[128];
		uint64_t v;
		/* Reading arms the notification: POLLPRI comes for every change after it (Documentation/admin-guide/cgroup-v2.rst). */
		ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);
		if (n < 0)
			return -errno;
		buf[n] = 0;
		if (!cgroup_flat_key(buf, key, &v))
			return -ENODATA;
		if (v == value)
			return 0;
		int64_t left = end - now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		struct pollfd p = { .fd = fd, .events = POLLPRI };
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
	}
}
