/* The book of mappings and the operations that change host and book together. */
#include "tier/sentry/mm/mm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tier/sentry/gate/host.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/vfs/vfs.h"

enum { MAX_MAP_COUNT = 65530 /* vm.max_map_count: bounds the book */ };

struct mm *mm_new(void)
{
	struct mm *m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->refs = 1;
	m->dumpable = true;
	waitq_init(&m->map_wait);
	return m;
}

static void vma_drop(struct vma *v)
{
	if (v->shm)
		shm_detached(v->shm);
	if (v->file)
		file_put(v->file);
}

struct mm *mm_dup(struct mm *m)
{
	struct mm *n = mm_new();
	if (!n)
		return NULL;
	struct waitq wq = n->map_wait;
	*n = *m;
	n->refs = 1;
	n->map_owner = NULL;
	n->map_wait = wq;
	if (patch_dup(n, m) < 0 || filemap_dup(n, m) < 0) {
		patch_free(n);
		free(n);
		return NULL;
	}
	waitq_init(&n->map_wait);
	n->cap = n->n = m->n;
	n->locked_pages = 0;
	n->mlock_future = 0;
	n->exe = m->exe ? file_get(m->exe) : NULL;
	n->exe_path = m->exe_path ? strdup(m->exe_path) : NULL;
	n->v = calloc(m->n + 1, sizeof(*n->v));
	if (!n->v) {
		n->n = 0;
		mm_put(n);
		return NULL;
	}
	for (unsigned i = 0; i < m->n; i++) {
		n->v[i] = m->v[i];
		n->v[i].locked = false;
		if (n->v[i].file)
			file_get(n->v[i].file);
		if (n->v[i].shm)
			shm_attached(n->v[i].shm);
	}
	return n;
}

void mm_put(struct mm *m)
{
	if (--m->refs)
		return;
	for (unsigned i = 0; i < m->n; i++)
		vma_drop(&m->v[i]);
	free(m->v);
	aio_mm_gone(m);
	patch_free(m);
	filemap_free(m);
	if (m->exe)
		file_put(m->exe);
	free(m->exe_path);
	free(m);
}

int mm_lock(struct task *t)
{
	struct waiter w;
	int rc = 0;
	waiter_init(&w, t);
	waitq_add(&t->mm->map_wait, &w);
	while (t->mm->map_owner && !rc)
		rc = task_sleep_killable(t, -1);
	waitq_del(&w);
	if (!rc)
		t->mm->map_owner = t;
	return rc;
}

void mm_unlock(struct task *t)
{
	t->mm->map_owner = NULL;
	waitq_wake_one(&t->mm->map_wait, 0);
}

static unsigned lower(const struct mm *m, uint64_t addr) /* first index with end > addr */
{
	unsigned lo = 0, hi = m->n;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		if (m->v[mid].end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

struct vma *mm_find_next(struct mm *m, uint64_t addr)
{
	unsigned i = lower(m, addr);
	return i < m->n ? &m->v[i] : NULL;
}

struct vma *mm_find(struct mm *m, uint64_t addr)
{
	struct vma *v = mm_find_next(m, addr);
	return v && v->start <= addr ? v : NULL;
}

static int make_room(struct mm *m, unsigned at, unsigned n)
{
	if (m->n + n > m->cap) {
		unsigned cap = m->cap ? m->cap * 2 : 32;
		struct vma *v = realloc(m->v, cap * sizeof(*v));
		if (!v)
			return -ENOMEM;
		m->v = v;
		m->cap = cap;
	}
	memmove(m->v + at + n, m->v + at, (m->n - at) * sizeof(*m->v));
	m->n += n;
	return 0;
}

/* Make addr a boundary. */
static int split(struct mm *m, uint64_t addr)
{
	unsigned i = lower(m, addr);
	if (i >= m->n || m->v[i].start >= addr)
		return 0;
	if (make_room(m, i, 1) < 0)
		return -ENOMEM;
	struct vma *a = &m->v[i], *b = &m->v[i + 1];
	*a = *b;
	a->end = addr;
	b->start = addr;
	b->off += addr - a->start;
	if (b->file)
		file_get(b->file);
	if (b->shm)
		shm_attached(b->shm);
	return 0;
}

void mm_remove(struct mm *m, uint64_t start, uint64_t end)
{
	if (m->patches)
		patch_drop(m, start, end);
	if (split(m, start) < 0 || split(m, end) < 0)
		return;
	unsigned i = lower(m, start), j = i;
	for (; j < m->n && m->v[j].start < end; j++) {
		m->total_pages -= (m->v[j].end - m->v[j].start) / PAGE_SIZE_;
		if (m->v[j].locked)
			m->locked_pages -= (m->v[j].end - m->v[j].start) / PAGE_SIZE_;
		vma_drop(&m->v[j]);
	}
	if (j > i)
		memmove(m->v + i, m->v + j, (m->n - j) * sizeof(*m->v));
	m->n -= j - i;
}

static bool mergeable(const struct vma *a, const struct vma *b)
{
	return a->end == b->start && a->prot == b->prot && a->flags == b->flags && a->file == b->file && a->name == b->name && a->shm == b->shm &&
		!a->shm && a->shared_id == b->shared_id && a->locked == b->locked && (!a->file || a->off + (a->end - a->start) == b->off);
}

static void merge_at(struct mm *m, unsigned i) /* i with i + 1 */
{
	if (i + 1 >= m->n || !mergeable(&m->v[i], &m->v[i + 1]))
		return;
	m->v[i].end = m->v[i + 1].end;
	vma_drop(&m->v[i + 1]);
	memmove(m->v + i + 1, m->v + i + 2, (m->n - i - 2) * sizeof(*m->v));
	m->n--;
}

static uint64_t next_shared;

int mm_insert(struct mm *m, uint64_t start, uint64_t end, int prot, int flags, struct file *file, uint64_t off, const char *name)
{
	mm_remove(m, start, end);
	unsigned i = lower(m, start);
	if (m->n >= MAX_MAP_COUNT || make_room(m, i, 1) < 0)
		return -ENOMEM;
	m->v[i] = (struct vma){ start, end, off, prot, flags & (MAP_SHARED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE), file, name, false, NULL, NULL };
	if ((flags & MAP_SHARED) && !file)
		m->v[i].shared_id = (const void *)(uintptr_t)(++next_shared << 4);
	m->v[i].may_write = file && (flags & MAP_SHARED) && !(file->inode->seals & 0x18 /* F_SEAL_WRITE, F_SEAL_FUTURE_WRITE */);
	if (file)
		file_get(file);
	m->total_pages += (end - start) / PAGE_SIZE_;
	merge_at(m, i);
	if (i)
		merge_at(m, i - 1);
	return 0;
}

void mm_set_prot(struct mm *m, uint64_t start, uint64_t end, int prot)
{
	if (split(m, start) < 0 || split(m, end) < 0)
		return;
	unsigned i = lower(m, start), first = i;
	for (; i < m->n && m->v[i].start < end; i++)
		m->v[i].prot = prot;
	for (; i > first; i--)
		merge_at(m, i - 1);
	if (first)
		merge_at(m, first - 1);
}

bool mm_range_reserved(uint64_t start, uint64_t len)
{
	const struct gate_layout *g = &gate_layout;
	uint64_t end = start + len;
	return end < start || end > g->task_size || (start < g->end && end > g->base) || (start < g->vdso_hi && end > g->vdso_lo);
}

/* ---- host and book ---------------------------------------------------------------------------------------------------- */

static long map_locked(struct task *t, uint64_t addr, uint64_t len, int prot, int flags, struct file *f, uint64_t off, const char *name)
{
	long r;
	if (f && !(flags & MAP_ANONYMOUS)) {
		int fd = file_mmap_fd(f, prot, flags); /* borrowed */
		if (fd < 0)
			return fd;
		r = gate_mmap_fd(t, addr, len, prot, flags & ~MAP_LOCKED, fd, off);
	} else {
		r = gate_call(t, SYS_mmap, addr, len, (uint64_t)prot, (uint64_t)(flags & ~(MAP_LOCKED | MAP_GROWSDOWN)), (uint64_t)-1, 0);
		f = NULL;
	}
	if (r < 0 && r > -4096)
		return r;
	int rc = mm_insert(t->mm, (uint64_t)r, (uint64_t)r + len, prot, flags, f, f ? off : 0, name);
	return rc < 0 ? rc : r;
}

long mm_map(struct task *t, uint64_t addr, uint64_t len, int prot, int flags, struct file *f, uint64_t off)
{
	int rc = mm_lock(t);
	if (rc)
		return rc;
	long r = map_locked(t, addr, PAGE_UP(len), prot, flags, f, off, NULL);
	mm_unlock(t);
	return r;
}

long mm_map_named(struct task *t, uint64_t addr, uint64_t len, int prot, int flags, const char *name)
{
	int rc = mm_lock(t);
	if (rc)
		return rc;
	long r = map_locked(t, addr, PAGE_UP(len), prot, flags | MAP_ANONYMOUS | MAP_PRIVATE, NULL, 0, name);
	mm_unlock(t);
	return r;
}

long mm_unmap(struct task *t, uint64_t addr, uint64_t len)
{
	int rc = mm_lock(t);
	if (rc)
		return rc;
	len = PAGE_UP(len);
	long r = 0;
	if (!patch_reserved(t->mm, addr, addr + len)) {
		r = gate_call(t, SYS_munmap, addr, len, 0, 0, 0, 0);
	} else { /* what is mapped goes, page by page of the book; trampolines in between stay */
		const struct vma *v;
		for (uint64_t at = addr; !r && (v = mm_find_next(t->mm, at)) && v->start < addr + len;) {
			uint64_t from = MAX(at, v->start), to = MIN(addr + len, v->end);
			at = to;
			r = gate_call(t, SYS_munmap, from, to - from, 0, 0, 0, 0);
		}
	}
	if (r == 0)
		mm_remove(t->mm, addr, addr + len);
	mm_unlock(t);
	return r;
}

int mm_clear(struct task *t)
{
	const struct gate_layout *g = &gate_layout;
	uint64_t keep[2][2] = { { g->base, g->end }, { g->vdso_lo, g->vdso_hi } }, at = 0;
	if (g->vdso_lo < g->base) {
		keep[0][0] = g->vdso_lo;
		keep[0][1] = g->vdso_hi;
		keep[1][0] = g->base;
		keep[1][1] = g->end;
	}
	for (unsigned i = 0; i <= 2; i++) {
		uint64_t end = i < 2 ? keep[i][0] : g->task_size;
		if (i < 2 && keep[i][0] == keep[i][1])
			continue;
		if (end > at) {
			long r = gate_call(t, SYS_munmap, at, end - at, 0, 0, 0, 0);
			if (r < 0)
				return (int)r;
		}
		at = i < 2 ? keep[i][1] : end;
	}
	return 0;
}

long mm_set_locked(struct mm *m, uint64_t start, uint64_t end, bool locked)
{
	if (split(m, start) < 0 || split(m, end) < 0)
		return -ENOMEM;
	for (unsigned i = lower(m, start); i < m->n && m->v[i].start < end; i++) {
		uint64_t pages = (m->v[i].end - m->v[i].start) / PAGE_SIZE_;
		if (locked && !m->v[i].locked)
			m->locked_pages += pages;
		if (!locked && m->v[i].locked)
			m->locked_pages -= pages;
		m->v[i].locked = locked;
	}
	return 0;
}
