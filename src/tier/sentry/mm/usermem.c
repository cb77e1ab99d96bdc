/*
 * Guest memory: through the window where the gate of the running call marshalled the range (a guest may change the window while we read, as it may its
 * memory; nobody else's data is in it), through process_vm_readv/writev else.
 */
#include "tier/sentry/mm/usermem.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/gate/host.h"

enum { CHUNK_IOV = 16 };

static int pid_of(struct task *t)
{
	return t->as && !t->as->gone ? t->as->pid : 0;
}

static ssize_t vm(struct task *t, void *local, uint64_t remote, size_t n, bool write)
{
	int pid = pid_of(t);
	if (!pid)
		return -EFAULT;
	if (n > SSIZE_MAX || remote + n < remote)
		return -EFAULT;
	struct iovec l = { local, n }, r = { (void *)(uintptr_t)remote, n };
	ssize_t k = write ? process_vm_writev(pid, &l, 1, &r, 1, 0) : process_vm_readv(pid, &l, 1, &r, 1, 0);
	return k < 0 ? -EFAULT : k;
}

static char *window_of(struct task *t) { return (char *)t->mb + SLOT_WINDOW; }

/* Marshalled input from src on: its length (n at most) and place; 0: none. */
static size_t window_in(struct task *t, uint64_t src, size_t n, const char **ret)
{
	const struct window *w = &t->window;
	if (t != current_task)
		return 0;
	for (unsigned i = 0; i < w->n_in; i++) {
		uint64_t at = src - w->in[i].addr;
		if (at >= w->in[i].len)
			continue;
		*ret = window_of(t) + w->in[i].off + at;
		return MIN(n, (size_t)(w->in[i].len - at));
	}
	return 0;
}

void *window_out(struct task *t, uint64_t dst, size_t *n)
{
	const struct window *w = &t->window;
	if (t != current_task)
		return NULL;
	for (unsigned i = 0; i < w->n_out; i++) {
		uint64_t at = dst - w->out[i].addr;
		if (at >= w->out[i].len)
			continue;
		size_t room = w->n_copy < GATE_RANGES ? SLOT_WINDOW_SIZE - w->used : 0;
		size_t there = MIN(*n, (size_t)(w->out[i].len - at));
		*n = MIN(there, room);
		return *n ? window_of(t) + w->used : NULL;
	}
	return NULL;
}

void window_commit(struct task *t, uint64_t dst, size_t n)
{
	struct window *w = &t->window;
	t->mb->copy[w->n_copy++] = (struct gate_range){ dst, (uint32_t)n, w->used };
	w->used = (w->used + (uint32_t)n + 15) & ~15u;
	if (w->used > SLOT_WINDOW_SIZE)
		w->used = SLOT_WINDOW_SIZE;
}

ssize_t copyin_some(struct task *t, void *dst, uint64_t src, size_t n)
{
	const char *p;
	size_t k = t->window.n_in ? window_in(t, src, n, &p) : 0;
	if (k)
		memcpy(dst, p, k);
	if (k == n)
		return (ssize_t)n;
	ssize_t r = vm(t, (char *)dst + k, src + k, n - k, false);
	return r < 0 ? k ? (ssize_t)k : r : (ssize_t)k + r;
}

ssize_t copyout_some(struct task *t, uint64_t dst, const void *src, size_t n)
{
	size_t k = n;
	void *p = t->window.n_out ? window_out(t, dst, &k) : NULL;
	if (!p)
		return n ? vm(t, (void *)(uintptr_t)src, dst, n, true) : 0;
	memcpy(p, src, k);
	window_commit(t, dst, k);
	if (k == n)
		return (ssize_t)n;
	ssize_t r = vm(t, (char *)(uintptr_t)src + k, dst + k, n - k, true);
	return r < 0 ? (ssize_t)k : (ssize_t)k + r;
}

int copyin(struct task *t, void *dst, uint64_t src, size_t n)
{
	ssize_t k = copyin_some(t, dst, src, n);
	return k == (ssize_t)n ? 0 : -EFAULT;
}

int copyout(struct task *t, uint64_t dst, const void *src, size_t n)
{
	ssize_t k = copyout_some(t, dst, src, n);
	return k == (ssize_t)n ? 0 : -EFAULT;
}

ssize_t copyin_str(struct task *t, char *dst, uint64_t src, size_t size, int too_long)
{
	size_t have = 0;
	const char *p;
	size_t in_window = t->window.n_in ? window_in(t, src, size, &p) : 0;
	if (in_window) {
		memcpy(dst, p, in_window);
		const char *nul = memchr(dst, 0, in_window);
		if (nul)
			return nul - dst;
	}
	while (have < size) {
		/* up to the end of a page (most strings are short: first step 256 bytes) */
		size_t step = 4096 - (src + have) % 4096;
		if (step > size - have)
			step = size - have;
		if (have == 0 && step > 256)
			step = 256;
		ssize_t k = copyin_some(t, dst + have, src + have, step);
		if (k <= 0)
			return -EFAULT;
		const char *nul = memchr(dst + have, 0, (size_t)k);
		if (nul)
			return nul - dst;
		have += (size_t)k;
	}
	return too_long;
}

int copyin_path(struct task *t, char dst[4096], uint64_t src)
{
	ssize_t n = copyin_str(t, dst, src, 4096, -ENAMETOOLONG);
	return n < 0 ? (int)n : 0;
}

int zero_user(struct task *t, uint64_t dst, size_t n)
{
	static const char zeros[4096];
	while (n) {
		size_t k = MIN(n, sizeof(zeros));
		int rc = copyout(t, dst, zeros, k);
		if (rc)
			return rc;
		dst += k;
		n -= k;
	}
	return 0;
}

/* ---- uio ----------------------------------------------------------------------------------------------------------- */

void uio_init(struct uio *u, struct task *t, uint64_t addr, size_t n)
{
	*u = (struct uio){ .t = t, .n_iov = 1, .left = MIN((uint64_t)n, UIO_MAX_RW), .one = { (void *)(uintptr_t)addr, n } };
	u->one.iov_len = u->left;
	u->iov = NULL;
}

void uio_init_kernel(struct uio *u, void *p, size_t n)
{
	uio_init(u, NULL, (uintptr_t)p, n);
}

int uio_import(struct uio *u, struct task *t, uint64_t iov, uint64_t count)
{
	*u = (struct uio){ .t = t };
	if (count > UIO_MAXIOV_)
		return -EINVAL;
	if (!count)
		return 0;
	struct iovec *v = calloc(count, sizeof(*v));
	if (!v)
		return -ENOMEM;
	if (copyin(t, v, iov, count * sizeof(*v)) < 0) {
		free(v);
		return -EFAULT;
	}
	uint64_t total = 0;
	for (uint64_t i = 0; i < count; i++) {
		if ((ssize_t)v[i].iov_len < 0) {
			free(v);
			return -EINVAL;
		}
		if (v[i].iov_len > UIO_MAX_RW - total)
			v[i].iov_len = UIO_MAX_RW - total;
		total += v[i].iov_len;
	}
	u->heap = u->iov = v;
	u->n_iov = count;
	u->left = total;
	return 0;
}

void uio_free(struct uio *u)
{
	free(u->heap);
	u->heap = NULL;
}

/* Position `done` in the vector: index and offset. */
static struct iovec *seek(struct uio *u, size_t *off)
{
	struct iovec *v = u->heap ? u->heap : &u->one;
	size_t d = u->done;
	while (d >= v->iov_len && d) {
		d -= v->iov_len;
		v++;
	}
	while (!v->iov_len && u->left)
		v++;
	*off = d;
	return v;
}

enum op { PUT, GET };
static ssize_t move(struct uio *u, char *p, size_t n, enum op op)
{
	size_t total = 0, off;
	n = MIN(n, u->left);
	while (total < n) {
		struct iovec *v = seek(u, &off);
		size_t k = MIN(n - total, v->iov_len - off);
		uint64_t addr = (uint64_t)(uintptr_t)v->iov_base + off;
		ssize_t m = (ssize_t)k;
		if (u->t)
			m = op == PUT ? copyout_some(u->t, addr, p + total, k) : copyin_some(u->t, p + total, addr, k);
		else if (op == PUT)
			memcpy((void *)(uintptr_t)addr, p + total, k);
		else
			memcpy(p + total, (void *)(uintptr_t)addr, k);
		if (m <= 0)
			break;
		u->done += (size_t)m;
		u->left -= (size_t)m;
		total += (size_t)m;
		if ((size_t)m < k)
			break;
	}
	return total || !n ? (ssize_t)total : -EFAULT;
}

ssize_t uio_put(struct uio *u, const void *src, size_t n) { return move(u, (char *)(uintptr_t)src, n, PUT); }
ssize_t uio_get(struct uio *u, void *dst, size_t n) { return move(u, dst, n, GET); }

/* Page-aligned in the window: direct I/O of the host asks for that. */
void *uio_room(struct uio *u, size_t want, size_t *n)
{
	size_t off;
	if (!u->t || !u->t->window.n_out || !u->left)
		return NULL;
	const struct iovec *v = seek(u, &off);
	*n = MIN(want, v->iov_len - off);
	u->t->window.used = (u->t->window.used + 4095) & ~4095u;
	return window_out(u->t, (uint64_t)(uintptr_t)v->iov_base + off, n);
}

void uio_filled(struct uio *u, size_t n)
{
	size_t off;
	if (!n)
		return;
	const struct iovec *v = seek(u, &off);
	window_commit(u->t, (uint64_t)(uintptr_t)v->iov_base + off, n);
	u->done += n;
	u->left -= n;
}

const void *uio_input(struct uio *u, size_t want, size_t *n)
{
	size_t off;
	const char *p = NULL;
	if (!u->t || !u->t->window.n_in || !u->left)
		return NULL;
	const struct iovec *v = seek(u, &off);
	size_t k = MIN(want, v->iov_len - off);
	*n = window_in(u->t, (uint64_t)(uintptr_t)v->iov_base + off, k, &p);
	return p;
}

void uio_skip(struct uio *u, size_t n)
{
	u->done += n;
	u->left -= n;
}

ssize_t uio_zero(struct uio *u, size_t n)
{
	static const char zeros[4096];
	size_t total = 0;
	while (total < n) {
		ssize_t k = uio_put(u, zeros, MIN(n - total, sizeof(zeros)));
		if (k <= 0)
			return total ? (ssize_t)total : k;
		total += (size_t)k;
	}
	return (ssize_t)total;
}

void uio_back(struct uio *u, size_t n)
{
	u->done -= n;
	u->left += n;
}
