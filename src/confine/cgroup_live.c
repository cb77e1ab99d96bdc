/* A live container's cgroup: freezing, signalling, listing processes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "confine/cgroup_internal.h"
#include "sys/fd.h"

enum {
	FREEZE_TIMEOUT_MS = 10000,
	V1_FREEZE_TRIES = 500,   /* v1 has no notification for freezer.state: one look every 2 to 20 ms */
	KILL_ROUNDS = 200,       /* a fork storm that outruns this many frozen sweeps is reported, not chased for ever */
	PROCS_MAX = 64 << 20,    /* text of cgroup.procs: 4 million processes */
	DEPTH_MAX = 128,         /* nesting inside the container: recursion bound */
};

static void nap(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static struct cgroup_hier *freezer_v1(struct cgroup *cg)
{
	for (size_t i = 0; i < cg->n; i++)
		if (!cg->h[i].v2 && cg->h[i].controllers & 1U << CGROUP_FREEZER)
			return &cg->h[i];
	return NULL;
}

/* v2's freezer is there on hybrid hosts too and leaves no process half frozen, so it comes first. */
static struct cgroup_hier *freezer(struct cgroup *cg, bool *ret_v2)
{
	struct cgroup_hier *h = cgroup_v2(cg);
	int fd = h ? cgroup_hier_fd(h) : -1;

	if (fd >= 0 && faccessat(fd, "cgroup.freeze", F_OK, 0) == 0) {
		*ret_v2 = true;
		return h;
	}
	*ret_v2 = false;
	return freezer_v1(cg);
}

static int freeze_v1(struct cgroup_hier *h, bool frozen, struct err *e)
{
	const char *want = frozen ? "FROZEN" : "THAWED";
	char buf[32];
	int r;

	for (int i = 0; i < V1_FREEZE_TRIES; i++) {
		/* A task that was caught between states stays FREEZING until the state is written again; thawing in between lets it move on
		 * (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst). */
		if (frozen && i % 50 == 49) {
			(void)cgroup_write(h, "freezer.state", "THAWED");
			nap(10);
		}
		if ((r = cgroup_write_err(h, "freezer.state", want, e)) < 0)
			return r;
		ssize_t n = cgroup_read(h, "freezer.state", buf, sizeof(buf));
		if (n < 0)
			return err_sys(e, (int)n, "read %s/freezer.state", h->dir);
		if (streq(buf, want))
			return 0;
		nap(i < 10 ? 2 : 20);
	}
	if (frozen)
		(void)cgroup_write(h, "freezer.state", "THAWED");
	return err_set(e, EBUSY, "cgroup %s does not become %s", h->dir, want);
}

int cgroup_freeze(struct cgroup *cg, bool frozen, struct err *e)
{
	bool v2;
	struct cgroup_hier *h = cgroup_active(cg) ? freezer(cg, &v2) : NULL;
	int r;

	if (!h)
		return err_set(e, ENOTSUP, "no cgroup freezer for this container (needs the v1 freezer controller or cgroup v2 of Linux 5.2)");
	if (!v2)
		return freeze_v1(h, frozen, e);
	/* Thawed means by both: somebody else, or we where v2's file could not be seen, may have used the other one. */
	struct cgroup_hier *old = frozen ? NULL : freezer_v1(cg);
	if (old && (r = freeze_v1(old, false, e)) < 0)
		return r;
	if ((r = cgroup_write_err(h, "cgroup.freeze", frozen ? "1" : "0", e)) < 0)
		return r;
	r = cgroup_wait_event(h, "frozen", frozen, FREEZE_TIMEOUT_MS);
	if (r == 0)
		return 0;
	if (frozen)
		(void)cgroup_write(h, "cgroup.freeze", "0");
	return err_sys(e, r, "%s cgroup %s", frozen ? "freeze" : "thaw", h->dir);
}

int cgroup_frozen(struct cgroup *cg)
{
	char buf[128];
	uint64_t v = 0;

	if (!cgroup_active(cg))
		return 0;
	struct cgroup_hier *v2 = cgroup_v2(cg);
	if (v2) {
		/* cgroup.events has "frozen" since 5.2; it tells what is, cgroup.freeze what was asked */
		ssize_t n = cgroup_read(v2, "cgroup.events", buf, sizeof(buf));
		if (n == -ENOENT || n == -ENODEV)
			return 0;
		if (n > 0 && cgroup_flat_key(buf, "frozen", &v) && (v || cg->mode == CGROUP_MODE_V2))
			return v == 1;
	}
	for (size_t i = 0; i < cg->n; i++) {
		if (cg->h[i].v2 || !(cg->h[i].controllers & 1U << CGROUP_FREEZER))
			continue;
		ssize_t n = cgroup_read(&cg->h[i], "freezer.state", buf, sizeof(buf));
		return n == -ENOENT || n == -ENODEV ? 0 : n < 0 ? (int)n : streq(buf, "FROZEN") || streq(buf, "FREEZING");
	}
	return 0;
}

/* ---- lists of processes ------------------------------------------------------------------------------------------------ */

struct pids { pid_t *v; size_t n, cap; };

static int add_pids(struct pids *l, const char *text)
{
	while (*text) {
		char *end;
		long pid = strtol(text, &end, 10);
		if (end == text)
			break;
		text = end + (*end == '\n');
		if (pid <= 0)
			continue; /* 0: of a pid namespace that is not ours */
		if (l->n == l->cap) {
			size_t cap = l->cap ? l->cap * 2 : 16;
			pid_t *v = reallocarray(l->v, cap, sizeof(*v));
			if (!v)
				return -ENOMEM;
			l->v = v;
			l->cap = cap;
		}
		l->v[l->n++] = (pid_t)pid;
	}
	return 0;
}

static int walk(int dirfd, const char *name, unsigned depth, struct pids *l)
{
	struct strbuf b = STRBUF_INIT;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r;

	if (fd < 0)
		return errno == ENOENT || errno == ENODEV ? 0 : -errno;
	r = file_read_at(fd, "cgroup.procs", &b, PROCS_MAX);
	if (r == -EOPNOTSUPP) /* a threaded cgroup: its processes are in the domain above (cgroup-v2.rst, "Threads") */
		r = 0;
	else if (r == -ENODEV || r == -ENOENT)
		r = 0; /* removed meanwhile */
	else if (r >= 0)
		r = add_pids(l, strbuf_str(&b));
	strbuf_free(&b);
	/* A cgroup directory's link count is 2 plus its children's, as with any directory. */
	struct stat st;
	if (r < 0 || (fstat(fd, &st) == 0 && st.st_nlink <= 2 && !cgroup_host.fake)) {
		cleanup_close(&fd);
		return r;
	}
	DIR *d = fdopendir(fd);
	if (!d) {
		cleanup_close(&fd);
		return -ENOMEM;
	}
	for (struct dirent *de; r >= 0 && (de = readdir(d));)
		if (de->d_type == DT_DIR && de->d_name[0] != '.')
			r = depth == 0 ? -ELOOP : walk(fd, de->d_name, depth - 1, l);
	closedir(d);
	return r;
}

static int by_pid(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
	return x < y ? -1 : x > y;
}

/* The hierarchy that is asked for pids: v2 where it is, else one that holds every process. */
static struct cgroup_hier *pid_hier(struct cgroup *cg)
{
	static const enum cgroup_controller order[] = { CGROUP_PIDS, CGROUP_FREEZER, CGROUP_DEVICES, CGROUP_CPUACCT, CGROUP_CPU };
	struct cgroup_hier *h = cgroup_v2(cg);

	for (size_t i = 0; !h && i < ARRAY_SIZE(order); i++)
		h = cgroup_hier(cg, order[i]);
	return h ? h : cg->n ? &cg->h[0] : NULL;
}

int cgroup_pids(struct cgroup *cg, pid_t **ret, size_t *ret_n, struct err *e)
{
	struct cgroup_hier *h = cgroup_active(cg) ? pid_hier(cg) : NULL;
	struct pids l = { 0 };
	size_t n = 0;

	*ret = NULL;
	*ret_n = 0;
	if (!h)
		return 0;
	int r = walk(AT_FDCWD, h->dir, DEPTH_MAX, &l);
	if (r < 0) {
		free(l.v);
		return err_sys(e, r, "list processes of cgroup %s", h->dir);
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_pid);
	for (size_t i = 0; i < l.n; i++)
		if (i == 0 || l.v[i] != l.v[i - 1])
			l.v[n++] = l.v[i];
	*ret = l.v;
	*ret_n = n;
	return 0;
}

int cgroup_populated(struct cgroup *cg)
{
	struct cgroup_hier *h = cgroup_active(cg) ? pid_hier(cg) : NULL;
	_cleanup_free_ pid_t *pids = NULL;
	size_t n;
	char buf[128];
	uint64_t v;

	if (!h)
		return 0;
	if (h->v2) {
		ssize_t m = cgroup_read(h, "cgroup.events", buf, sizeof(buf));
		if (m == -ENOENT || m == -ENODEV)
			return 0;
		if (m >= 0 && cgroup_flat_key(buf, "populated", &v))
			return v != 0;
	}
	int r = cgroup_pids(cg, &pids, &n, NULL);
	return r < 0 ? r : n > 0;
}

/* ---- signals ----------------------------------------------------------------------------------------------------------- */

static int signal_all(struct cgroup *cg, int sig, int *count, struct err *e)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t n;
	int r = cgroup_pids(cg, &pids, &n, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (kill(pids[i], sig) == 0)
			++*count;
		else if (errno != ESRCH)
			return err_sys(e, errno, "signal process %d", (int)pids[i]);
	}
	return (int)n;
}

int cgroup_kill(struct cgroup *cg, int sig, int *ret_count, struct err *e)
{
	struct cgroup_hier *v2 = cgroup_active(cg) ? cgroup_v2(cg) : NULL;
	int count = 0, r;

	if (ret_count)
		*ret_count = 0;
	if (!cgroup_active(cg))
		return 0;
	if (v2 && sig == SIGKILL) { /* Linux 5.14; kills a frozen cgroup too */
		r = cgroup_write(v2, "cgroup.kill", "1");
		if (r == 0 || r == -ENODEV) {
			if (ret_count)
				*ret_count = r == 0 ? -1 : 0;
			return 0;
		}
	}
	/* Frozen, the list is complete: nobody forks while it is read. */
	bool was = cgroup_frozen(cg) > 0;
	bool froze = !was && cgroup_freeze(cg, true, NULL) == 0;
	if (sig != SIGKILL) {
		r = signal_all(cg, sig, &count, e);
	} else {
		r = signal_all(cg, sig, &count, e);
		if (froze || was)
			(void)cgroup_freeze(cg, false, NULL);
		froze = false;
		for (int i = 0; r > 0 && i < KILL_ROUNDS; i++) {
			int again = 0;
			nap(i < 20 ? 1 : 10);
			r = signal_all(cg, sig, &again, e);
		}
		if (r > 0)
			r = err_set(e, EBUSY, "%d processes of cgroup %s do not end", r, cg->path);
	}
	if (froze)
		(void)cgroup_freeze(cg, false, NULL);
	if (ret_count)
		*ret_count = count;
	return r < 0 ? r : 0;
}
