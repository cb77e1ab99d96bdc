/* poll and select. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

/* Waiters of one call: one per queue that the polled files name. */
enum { CHUNK = 64 };
struct chunk { struct chunk *next; unsigned n; struct waiter w[CHUNK]; };
struct ptable { struct poll_table pt; struct task *t; struct chunk *first; bool failed; };

static void add(struct poll_table *pt, struct waitq *q)
{
	struct ptable *p = container_of(pt, struct ptable, pt);
	if (!p->first || p->first->n == CHUNK) {
		struct chunk *c = malloc(sizeof(*c));
		if (!c) {
			p->failed = true;
			return;
		}
		c->next = p->first;
		c->n = 0;
		p->first = c;
	}
	struct waiter *w = &p->first->w[p->first->n++];
	waiter_init(w, p->t);
	waitq_add(q, w);
}

static void table_free(struct ptable *p)
{
	while (p->first) {
		struct chunk *c = p->first;
		for (unsigned i = 0; i < c->n; i++)
			waitq_del(&c->w[i]);
		p->first = c->next;
		free(c);
	}
}

static void hold(struct task *t, struct pollfd *fds, unsigned n, struct file **files)
{
	for (unsigned i = 0; i < n; i++) {
		struct file *f = fds[i].fd >= 0 ? fd_file(t, fds[i].fd) : NULL;
		files[i] = f ? file_get(f) : NULL;
	}
}

static int scan(struct pollfd *fds, struct file **files, unsigned n, struct poll_table *pt)
{
	int ready = 0;
	for (unsigned i = 0; i < n; i++) {
		fds[i].revents = 0;
		if (fds[i].fd < 0)
			continue;
		unsigned m = files[i] ? file_poll(files[i], pt) & ((unsigned)(unsigned short)fds[i].events | POLLERR | POLLHUP) : POLLNVAL;
		fds[i].revents = (short)m;
		ready += m != 0;
	}
	return ready;
}

/* The number of ready entries, 0 at the deadline, -EINTR. */
static long do_poll(struct task *t, struct pollfd *fds, unsigned n, int64_t deadline)
{
	struct ptable p = { .pt = { add }, .t = t };
	struct file **files = calloc(n ? n : 1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	hold(t, fds, n, files);
	long r = scan(fds, files, n, deadline == 0 ? NULL : &p.pt);
	if (p.failed)
		r = -ENOMEM;
	while (!r && deadline) {
		int rc = task_sleep_io(t, deadline);
		r = scan(fds, files, n, NULL);
		if (r || rc == -ETIMEDOUT)
			break;
		if (rc)
			r = rc;
	}
	table_free(&p);
	for (unsigned i = 0; i < n; i++)
		file_put(files[i]);
	free(files);
	return r;
}

static int fetch(struct task *t, uint64_t p, uint64_t n, struct pollfd **ret)
{
	if (n > t->proc->rlim[RLIMIT_NOFILE].rlim_cur)
		return -EINVAL;
	*ret = calloc(n ? n : 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	if (copyin(t, *ret, p, n * sizeof(**ret)) < 0 && n) {
		free(*ret);
		return -EFAULT;
	}
	return 0;
}

static int give_back(struct task *t, uint64_t p, const struct pollfd *fds, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) /* only revents: the rest stays the guest's */
		if (copyout(t, p + i * sizeof(*fds) + offsetof(struct pollfd, revents), &fds[i].revents, sizeof(fds[i].revents)) < 0)
			return -EFAULT;
	return 0;
}

static long poll_user(struct task *t, uint64_t p, uint64_t n, int64_t deadline)
{
	struct pollfd *fds;
	int rc = fetch(t, p, n, &fds);
	if (rc)
		return rc;
	long r = do_poll(t, fds, (unsigned)n, deadline);
	if (r >= 0 && give_back(t, p, fds, n) < 0)
		r = -EFAULT;
	free(fds);
	return r;
}

static long restart_poll(struct task *t, const uint64_t *a)
{
	long r = poll_user(t, a[0], a[1], (int64_t)a[2]);
	return r == -EINTR ? -ERESTART_RESTARTBLOCK : r;
}

long sys_poll(struct task *t, const uint64_t *a)
{
	int ms = (int)a[2];
	t->restart_fn = restart_poll;
	t->restart_args[0] = a[0];
	t->restart_args[1] = (uint32_t)a[1];
	t->restart_args[2] = (uint64_t)(ms < 0 ? -1 : ms == 0 ? 0 : now_ns(CLOCK_MONOTONIC) + ms * 1000000ll);
	return restart_poll(t, t->restart_args);
}

static int timeout_of(struct task *t, uint64_t p, int64_t *ret)
{
	struct timespec ts;
	*ret = -1;
	if (!p)
		return 0;
	if (copyin(t, &ts, p, sizeof(ts)) < 0)
		return -EFAULT;
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= 1000000000)
		return -EINVAL;
	int64_t ns = ts.tv_sec > 4000000000 ? INT64_MAX / 4 : ts_ns(ts);
	*ret = ns ? now_ns(CLOCK_MONOTONIC) + ns : 0;
	return 0;
}

static void put_left(struct task *t, uint64_t p, int64_t deadline)
{
	if (!p || deadline < 0)
		return;
	int64_t left = deadline ? MAX(deadline - now_ns(CLOCK_MONOTONIC), 0) : 0;
	struct timespec ts = { left / 1000000000, left % 1000000000 };
	if (copyout(t, p, &ts, sizeof(ts)) < 0)
		return; /* read-only memory: Linux keeps silent too */
}

static int temp_mask(struct task *t, uint64_t p, uint64_t size)
{
	uint64_t set;
	if (!p)
		return 0;
	if (size != 8)
		return -EINVAL;
	if (copyin(t, &set, p, 8) < 0)
		return -EFAULT;
	t->saved_mask = t->blocked;
	t->restore_mask = true;
	task_set_mask(t, set);
	return 0;
}

static long end_mask(struct task *t, long r)
{
	if (r == -EINTR)
		return -ERESTARTNOHAND;
	if (t->restore_mask) {
		t->restore_mask = false;
		t->blocked = t->saved_mask;
	}
	return r;
}

long sys_ppoll(struct task *t, const uint64_t *a)
{
	int64_t deadline;
	int rc = timeout_of(t, a[2], &deadline);
	if (rc || (rc = temp_mask(t, a[3], a[4])) < 0)
		return rc;
	long r = poll_user(t, a[0], (uint32_t)a[1], deadline);
	put_left(t, a[2], deadline);
	return end_mask(t, r);
}

/* ---- select ------------------------------------------------------------------------------------------------------------------ */

enum { FDSET_MAX = 65536 };

static long do_select(struct task *t, int n, const uint64_t sets[3], int64_t deadline)
{
	if (n < 0)
		return -EINVAL;
	if ((unsigned)n > t->files->cap)
		n = (int)t->files->cap;
	if (n > FDSET_MAX)
		n = FDSET_MAX;
	size_t bytes = ((size_t)n + 63) / 64 * 8;
	uint64_t *bits = calloc(6, bytes ? bytes : 8);
	struct pollfd *fds = calloc(n ? (size_t)n : 1, sizeof(*fds));
	static const short want[3] = { POLLRDNORM | POLLRDBAND | POLLIN, POLLWRBAND | POLLWRNORM | POLLOUT, POLLPRI };
	static const short got[3] = { POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR, POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR, POLLPRI };
	unsigned k = 0;
	long r = bits && fds ? 0 : -ENOMEM;
	size_t words = bytes / 8;
	for (unsigned s = 0; s < 3 && !r; s++)
		if (sets[s] && copyin(t, bits + s * words, sets[s], bytes) < 0 && bytes)
			r = -EFAULT;
	for (int fd = 0; fd < n && !r; fd++) {
		short ev = 0;
		for (unsigned s = 0; s < 3; s++)
			if (bits[s * words + (size_t)fd / 64] >> fd % 64 & 1)
				ev |= want[s];
		if (!ev)
			continue;
		if (!fd_file(t, fd))
			r = -EBADF;
		fds[k++] = (struct pollfd){ fd, ev, 0 };
	}
	if (!r)
		r = do_poll(t, fds, k, deadline);
	if (r >= 0) {
		r = 0;
		for (unsigned i = 0; i < k; i++)
			for (unsigned s = 0; s < 3; s++)
				if ((bits[s * words + (size_t)fds[i].fd / 64] >> fds[i].fd % 64 & 1) && (fds[i].revents & got[s])) {
					bits[(3 + s) * words + (size_t)fds[i].fd / 64] |= 1ull << fds[i].fd % 64;
					r++;
				}
		for (unsigned s = 0; s < 3; s++)
			if (sets[s] && bytes && copyout(t, sets[s], bits + (3 + s) * words, bytes) < 0)
				r = -EFAULT;
	}
	free(bits);
	free(fds);
	return r;
}

long sys_select(struct task *t, const uint64_t *a)
{
	int64_t deadline = -1;
	struct { int64_t sec, usec; } tv;
	if (a[4]) {
		if (copyin(t, &tv, a[4], sizeof(tv)) < 0)
			return -EFAULT;
		if (tv.sec < 0 || tv.usec < 0)
			return -EINVAL;
		int64_t ns = tv.sec > 4000000000 || tv.usec > 4000000000000000 ? INT64_MAX / 4 : tv.sec * 1000000000 + tv.usec * 1000;
		deadline = ns ? now_ns(CLOCK_MONOTONIC) + ns : 0;
	}
	long r = do_select(t, (int)a[0], a + 1, deadline);
	if (a[4] && deadline >= 0) {
		int64_t left = deadline ? MAX(deadline - now_ns(CLOCK_MONOTONIC), 0) : 0;
		tv.sec = left / 1000000000;
		tv.usec = left % 1000000000 / 1000;
		if (copyout(t, a[4], &tv, sizeof(tv)) < 0)
			return r;
	}
	return r == -EINTR ? -ERESTARTNOHAND : r;
}

long sys_pselect6(struct task *t, const uint64_t *a)
{
	int64_t deadline;
	struct { uint64_t p, size; } sig = { 0, 0 };
	int rc = timeout_of(t, a[4], &deadline);
	if (rc)
		return rc;
	if (a[5] && copyin(t, &sig, a[5], sizeof(sig)) < 0)
		return -EFAULT;
	if ((rc = temp_mask(t, sig.p, sig.size)) < 0)
		return rc;
	long r = do_select(t, (int)a[0], a + 1, deadline);
	put_left(t, a[4], deadline);
	return end_mask(t, r);
}
