/* Watching for kills by the OOM killer: inotify on memory.events (v2), an eventfd by cgroup.event_control (v1). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#include "confine/cgroup_internal.h"
#include "sys/fd.h"

static int64_t count_of(int fd)
{
	char buf[512];
	uint64_t v;
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);

	if (n < 0)
		return -errno;
	buf[n] = 0;
	return cgroup_flat_key(buf, "oom_kill", &v) ? (int64_t)v : -ENODATA;
}

static const char *events_file(const struct cgroup_hier *h) { return h->v2 ? "memory.events" : "memory.oom_control"; }

int64_t cgroup_oom_count(struct cgroup *cg)
{
	struct cgroup_hier *h = cgroup_active(cg) ? cgroup_hier(cg, CGROUP_MEMORY) : NULL;
	int dir = h ? cgroup_hier_fd(h) : -ENOTSUP;

	if (dir < 0)
		return dir;
	_cleanup_close_ int fd = openat(dir, events_file(h), O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : count_of(fd);
}

void cgroup_oom_close(struct cgroup_oom *w)
{
	cleanup_close(&w->fd);
	cleanup_close(&w->events_fd);
	cleanup_close(&w->populated_fd);
	*w = (struct cgroup_oom)CGROUP_OOM_INIT;
}

static int open_v1(struct cgroup_hier *h, struct cgroup_oom *w, struct err *e)
{
	char text[64];

	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->fd < 0)
		return err_sys(e, errno, "eventfd");
	snprintf(text, sizeof(text), "%d %d", w->fd, w->events_fd);
	return cgroup_write_err(h, "cgroup.event_control", text, e);
}

static int open_v2(struct cgroup_hier *h, struct cgroup_oom *w, struct err *e)
{
	char file[4096];

	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->fd < 0)
		return err_sys(e, errno, "inotify");
	/* kernfs tells changes as IN_MODIFY (cgroup-v2.rst: "generates a file modified event"). */
	for (int i = 0; i < 2; i++) {
		if ((size_t)snprintf(file, sizeof(file), "%s/%s", h->dir, i ? "cgroup.events" : "memory.events") >= sizeof(file))
			return err_sys(e, ENAMETOOLONG, "%s", h->dir);
		if (inotify_add_watch(w->fd, file, IN_MODIFY | IN_DELETE_SELF) < 0)
			return err_sys(e, errno, "watch %s", file);
	}
	return 0;
}

int cgroup_oom_open(struct cgroup *cg, struct cgroup_oom *ret, struct err *e)
{
	struct cgroup_hier *h = cgroup_active(cg) ? cgroup_hier(cg, CGROUP_MEMORY) : NULL;
	struct cgroup_oom w = CGROUP_OOM_INIT;

	if (!h)
		return cgroup_no_controller(CGROUP_MEMORY, "OOM events", e);
	int dir = cgroup_hier_fd(h), r;
	if (dir < 0)
		return err_sys(e, dir, "open %s", h->dir);
	w.events_fd = openat(dir, events_file(h), O_RDONLY | O_CLOEXEC);
	if (w.events_fd < 0)
		return err_sys(e, errno, "open %s/%s", h->dir, events_file(h));
	struct cgroup_hier *v2 = cgroup_v2(cg);
	if (v2) {
		int d = cgroup_hier_fd(v2);
		w.populated_fd = d < 0 ? d : openat(d, "cgroup.events", O_RDONLY | O_CLOEXEC);
	}
	w.v1 = !h->v2;
	r = h->v2 ? open_v2(h, &w, e) : open_v1(h, &w, e);
	if (r < 0) {
		cgroup_oom_close(&w);
		return r;
	}
	int64_t n = count_of(w.events_fd);
	w.seen = n > 0 ? (uint64_t)n : 0;
	*ret = w;
	return 0;
}

static bool is_empty(const struct cgroup_oom *w)
{
	char buf[128];
	uint64_t populated;

	if (w->populated_fd < 0)
		return false;
	ssize_t m = pread(w->populated_fd, buf, sizeof(buf) - 1, 0);
	if (m < 0)
		return true;
	buf[m] = 0;
	return cgroup_flat_key(buf, "populated", &populated) && !populated;
}

int64_t cgroup_oom_read(struct cgroup_oom *w)
{
	char drop[4096];
	bool event = false;

	while (read(w->fd, drop, sizeof(drop)) > 0)
		event = true;
	bool empty = is_empty(w); /* first: a kill that emptied the cgroup is in the count that is read next */
	int64_t n = count_of(w->events_fd);
	if (n == -ENODEV) /* removed; v1 signals the eventfd once more then */
		return -ENODEV;
	int64_t new = n > (int64_t)w->seen ? n - (int64_t)w->seen : 0;
	/* v1 signals before it kills, and once for each time, so that the counter may still be behind (mem_cgroup_oom_notify); before 4.13 there
	 * is no counter at all. The kill is told now and not a second time. */
	if (!new && event && w->v1)
		new = 1;
	w->seen += (uint64_t)new;
	return new ? new : empty ? -ENODEV : 0;
}
