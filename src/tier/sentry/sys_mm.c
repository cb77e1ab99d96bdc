/* Memory calls. The guest's gate makes the host call; the book follows. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/vfs/vfs.h"

static bool over_limit(struct task *t, uint64_t more)
{
	uint64_t max = t->proc->rlim[RLIMIT_AS].rlim_cur;
	return max != RLIM_INFINITY && t->mm->total_pages * PAGE_SIZE_ + more > max;
}

#define MAP_KNOWN (MAP_SHARED_VALIDATE | MAP_FIXED | MAP_ANONYMOUS | MAP_32BIT | MAP_GROWSDOWN | MAP_DENYWRITE | MAP_EXECUTABLE | MAP_LOCKED | MAP_NORESERVE | \
	MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | MAP_FIXED_NOREPLACE)

static bool may_lock(const struct task *t, uint64_t more)
{
	return capable(t, CAP_IPC_LOCK) || t->mm->locked_pages * PAGE_SIZE_ + more <= t->proc->rlim[RLIMIT_MEMLOCK].rlim_cur;
}

long sys_mmap(struct task *t, const uint64_t *a)
{
	uint64_t addr = a[0], len = a[1], off = a[5];
	int prot = (int)a[2], flags = (int)a[3], type = flags & 15;
	struct file *f = NULL;
	if (!len || len > gate_layout.task_size || off % PAGE_SIZE_)
		return !len || off % PAGE_SIZE_ ? -EINVAL : -ENOMEM;
	if (type != MAP_SHARED && type != MAP_PRIVATE && type != MAP_SHARED_VALIDATE)
		return -EINVAL;
	if (type == MAP_SHARED_VALIDATE && ((flags & MAP_ANONYMOUS) || flags & ~MAP_KNOWN))
		return flags & MAP_ANONYMOUS ? -EINVAL : -EOPNOTSUPP;
	if ((flags & MAP_GROWSDOWN) && type != MAP_PRIVATE)
		return -EINVAL;
	bool lock = (flags & MAP_LOCKED) || t->mm->mlock_future;
	if (lock && !may_lock(t, PAGE_UP(len)))
		return flags & MAP_LOCKED && !t->proc->rlim[RLIMIT_MEMLOCK].rlim_cur ? -EPERM : -EAGAIN;
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		if (addr % PAGE_SIZE_)
			return -EINVAL;
		if (mm_range_reserved(addr, PAGE_UP(len)) || patch_reserved(t->mm, addr, addr + PAGE_UP(len)))
			return flags & MAP_FIXED_NOREPLACE ? -EEXIST : -ENOMEM;
		if (addr < 65536)
			return -EPERM;
	} else if (mm_range_reserved(addr, PAGE_UP(len))) {
		addr = 0;
	}
	if (over_limit(t, PAGE_UP(len)))
		return -ENOMEM;
	if (flags & MAP_HUGETLB)
		return -ENOMEM; /* as a host without huge pages */
	if (!(flags & MAP_ANONYMOUS)) {
		if (!(f = fd_file(t, (int)a[4])))
			return -EBADF;
		if (off + PAGE_UP(len) < off)
			return -EOVERFLOW;
		if (type == MAP_SHARED_VALIDATE)
			flags = (flags & ~15) | MAP_SHARED;
		file_get(f);
	}
	long r = mm_map(t, addr, len, prot, flags, f, off);
	if (f)
		file_put(f);
	if (lock && (r >= 0 || r < -4095))
		mm_set_locked(t->mm, (uint64_t)r, (uint64_t)r + PAGE_UP(len), true);
	return r;
}

long sys_munmap(struct task *t, const uint64_t *a)
{
	if (a[0] % PAGE_SIZE_ || !a[1] || a[0] > gate_layout.task_size || a[1] > gate_layout.task_size - a[0] || mm_range_reserved(a[0], PAGE_UP(a[1])))
		return -EINVAL;
	return mm_unmap(t, a[0], a[1]);
}

long sys_mprotect(struct task *t, const uint64_t *a)
{
	uint64_t len = PAGE_UP(a[1]);
	if (a[0] % PAGE_SIZE_ || a[2] & ~(uint64_t)(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_GROWSDOWN | PROT_GROWSUP | 8 /* PROT_SEM */))
		return -EINVAL;
	if (!len)
		return 0;
	if (mm_range_reserved(a[0], len) || patch_reserved(t->mm, a[0], a[0] + len))
		return -ENOMEM;
	if ((a[2] & (PROT_GROWSDOWN | PROT_GROWSUP)) == (PROT_GROWSDOWN | PROT_GROWSUP))
		return -EINVAL;
	for (const struct vma *v = mm_find_next(t->mm, a[0]); v && v->start < a[0] + len; v = mm_find_next(t->mm, v->end))
		if (v->file && (v->flags & MAP_SHARED) && (a[2] & PROT_WRITE) && (!v->file->can_write || (!v->may_write && !(v->prot & PROT_WRITE))))
			return -EACCES;
	int rc = mm_lock(t);
	if (rc)
		return rc;
	long r = gate_call(t, SYS_mprotect, a[0], len, a[2] & 7, 0, 0, 0);
	if (r == 0)
		mm_set_prot(t->mm, a[0], a[0] + len, (int)a[2] & 7);
	mm_unlock(t);
	return r;
}

long sys_brk(struct task *t, const uint64_t *a)
{
	struct mm *m = t->mm;
	uint64_t want = a[0], top;
	if (want < m->brk_start)
		return (long)m->brk;
	uint64_t limit = t->proc->rlim[RLIMIT_DATA].rlim_cur;
	if (limit != RLIM_INFINITY && want - m->brk_start > limit)
		return (long)m->brk;
	int rc = mm_lock(t);
	if (rc)
		return (long)m->brk;
	top = PAGE_UP(want);
	long r = 0;
	if (top > m->brk_mapped) {
		if (over_limit(t, top - m->brk_mapped))
			r = -ENOMEM;
		else
			r = gate_call(t, SYS_mmap, m->brk_mapped, top - m->brk_mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);
		if (r == (long)m->brk_mapped) {
			mm_insert(m, m->brk_mapped, top, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, NULL, 0, "[heap]");
			r = 0;
		} else if (r >= 0) {
			r = -ENOMEM;
		}
	} else if (top < m->brk_mapped) {
		r = gate_call(t, SYS_munmap, top, m->brk_mapped - top, 0, 0, 0, 0);
		if (!r)
			mm_remove(m, top, m->brk_mapped);
	}
	if (!r) {
		m->brk = want;
		m->brk_mapped = top;
	}
	mm_unlock(t);
	return (long)m->brk;
}

long sys_mremap(struct task *t, const uint64_t *a)
{
	uint64_t old = a[0], old_len = PAGE_UP(a[1]), new_len = PAGE_UP(a[2]), flags = a[3], to = a[4];
	if (old % PAGE_SIZE_ || flags & ~7ull || !new_len || ((flags & MREMAP_FIXED) && !(flags & MREMAP_MAYMOVE)))
		return -EINVAL;
	if (mm_range_reserved(old, MAX(old_len, (uint64_t)1)) || ((flags & MREMAP_FIXED) && mm_range_reserved(to, new_len)))
		return -EINVAL;
	const struct vma *v = mm_find(t->mm, old);
	if (!v)
		return -EFAULT;
	if (new_len > old_len && over_limit(t, new_len - old_len))
		return -ENOMEM;
	int rc = mm_lock(t);
	if (rc)
		return rc;
	if ((flags & MREMAP_FIXED) && patch_reserved(t->mm, to, to + new_len)) {
		mm_unlock(t);
		return -ENOMEM;
	}
	long r = patch_undo(t, old, old + old_len);
	if (!r)
		r = gate_call(t, SYS_mremap, old, old_len, new_len, flags, to, 0);
	v = mm_find(t->mm, old);
	if (v && (r >= 0 || r < -4095)) {
		struct vma c = *v;
		uint64_t at = (uint64_t)r, off = c.off + (old - c.start);
		if (c.file)
			file_get(c.file);
		if (at != old || new_len < old_len)
			mm_remove(t->mm, at == old ? old + new_len : old, old + old_len);
		if (flags & 4 /* MREMAP_DONTUNMAP */)
			mm_insert(t->mm, old, old + old_len, c.prot, c.flags, c.file, off, c.name);
		mm_insert(t->mm, at, at + new_len, c.prot, c.flags, c.file, off, c.name);
		if (c.shared_id) {
			struct vma *n = mm_find(t->mm, at);
			if (n)
				n->shared_id = c.shared_id, n->off = off;
		}
		if (c.file)
			file_put(c.file);
	}
	mm_unlock(t);
	return r;
}

/* A hole in the file behind a shared mapping. */
static long remove_pages(struct task *t, uint64_t at, uint64_t len)
{
	const struct vma *v = mm_find(t->mm, at);
	if (!v || at + len > v->end)
		return -ENOMEM;
	if (v->locked || !v->file || !(v->flags & MAP_SHARED))
		return -EINVAL;
	if (!(v->prot & PROT_WRITE))
		return -EACCES;
	struct file *f = file_get(v->file);
	long r = f->ops->fallocate ? f->ops->fallocate(t, f, 3 /* PUNCH_HOLE | KEEP_SIZE */, (int64_t)(v->off + (at - v->start)), (int64_t)len) : -EOPNOTSUPP;
	file_put(f);
	return r;
}

static bool drops_locked(struct task *t, uint64_t at, uint64_t len, int advice)
{
	if (advice != MADV_DONTNEED && advice != MADV_FREE && advice != MADV_COLD && advice != MADV_PAGEOUT)
		return false;
	for (const struct vma *v = mm_find_next(t->mm, at); v && v->start < at + len; v = mm_find_next(t->mm, v->end))
		if (v->locked)
			return true;
	return false;
}

long sys_madvise(struct task *t, const uint64_t *a)
{
	uint64_t len = PAGE_UP(a[1]);
	if (a[0] % PAGE_SIZE_ || (a[1] && !len))
		return -EINVAL;
	switch ((int)a[2]) {
	case MADV_NORMAL: case MADV_RANDOM: case MADV_SEQUENTIAL: case MADV_DONTDUMP: case MADV_DODUMP: case MADV_MERGEABLE: case MADV_UNMERGEABLE:
		return !len || mm_find(t->mm, a[0]) ? 0 : -ENOMEM;
	case MADV_DONTNEED: case MADV_FREE: case MADV_WILLNEED: case MADV_HUGEPAGE: case MADV_NOHUGEPAGE: case MADV_DONTFORK: case MADV_DOFORK:
	case MADV_WIPEONFORK: case MADV_KEEPONFORK: case MADV_COLD: case MADV_PAGEOUT: case MADV_POPULATE_READ: case MADV_POPULATE_WRITE:
		if (!len)
			return 0;
		if (mm_range_reserved(a[0], len))
			return -EINVAL;
		if (patch_reserved(t->mm, a[0], a[0] + len))
			return -ENOMEM; /* there is a hole, as far as the guest knows */
		if (drops_locked(t, a[0], len, (int)a[2]))
			return -EINVAL;
		return gate_call(t, SYS_madvise, a[0], len, a[2], 0, 0, 0);
	case MADV_REMOVE: return remove_pages(t, a[0], len);
	default: return -EINVAL;
	}
}

long sys_msync(struct task *t, const uint64_t *a)
{
	uint64_t at = a[0], end = a[0] + PAGE_UP(a[1]);
	long rc = 0;
	if (at % PAGE_SIZE_ || (int)a[2] & ~7 || (a[2] & (MS_ASYNC | MS_SYNC)) == (MS_ASYNC | MS_SYNC))
		return -EINVAL;
	if (end < at)
		return -ENOMEM;
	while (at < end) {
		const struct vma *v = mm_find_next(t->mm, at);
		if (!v || v->start >= end)
			return -ENOMEM;
		if (v->start > at) /* holes are passed over, and told of at the end */
			rc = -ENOMEM;
		if ((a[2] & MS_INVALIDATE) && v->locked)
			return -EBUSY;
		at = v->end;
		if ((a[2] & MS_SYNC) && v->file && (v->flags & MAP_SHARED) && v->file->ops && v->file->ops->fsync) {
			int r = v->file->ops->fsync(v->file, true);
			if (r)
				return r;
		}
	}
	return rc;
}

/* Bit 63 of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst): present. */
static void anonymous_residency(const struct task *t, uint64_t addr, uint8_t *vec, size_t pages)
{
	uint64_t map[512];
	char path[32];
	snprintf(path, sizeof(path), "%d/pagemap", t->as->pid);
	int fd = openat(K.proc_fd, path, O_RDONLY | O_CLOEXEC);
	memset(vec, 0, pages);
	for (size_t i = 0; fd >= 0 && i < pages;) {
		size_t n = MIN(pages - i, ARRAY_SIZE(map));
		ssize_t r = pread(fd, map, n * 8, (off_t)((addr / PAGE_SIZE_ + i) * 8));
		if (r <= 0)
			break;
		for (ssize_t k = 0; k < r / 8; k++)
			vec[i++] = map[k] >> 63 & 1;
	}
	if (fd >= 0)
		close(fd);
}

long sys_mincore(struct task *t, const uint64_t *a)
{
	uint64_t at = a[0], len = PAGE_UP(a[1]), end = at + len;
	uint8_t vec[1024];
	if (at % PAGE_SIZE_)
		return -EINVAL;
	if (a[1] > gate_layout.task_size || end < at || end > gate_layout.task_size)
		return -ENOMEM;
	for (uint64_t out = a[2]; at < end;) {
		const struct vma *v = mm_find(t->mm, at);
		if (!v)
			return -ENOMEM;
		uint64_t stop = MIN(v->end, end);
		size_t n = (size_t)MIN((stop - at) / PAGE_SIZE_, (uint64_t)sizeof(vec));
		if (v->file)
			memset(vec, 1, n); /* pages of files are the page cache's: what is mapped can be had at once */
		else
			anonymous_residency(t, at, vec, n);
		if (copyout(t, out, vec, n) < 0)
			return -EFAULT;
		out += n;
		at += n * PAGE_SIZE_;
	}
	return 0;
}

/* Memory is never paged out by us; locking is accounting (RLIMIT_MEMLOCK) only. */
static long lock_range(struct task *t, uint64_t start, uint64_t len, bool lock)
{
	uint64_t at = PAGE_DOWN(start), end = PAGE_UP(start + len), add = 0;
	if (end < at)
		return -EINVAL;
	for (uint64_t x = at; x < end;) {
		const struct vma *v = mm_find(t->mm, x);
		if (!v)
			return -ENOMEM;
		if (!v->locked)
			add += MIN(v->end, end) - x;
		x = v->end;
	}
	uint64_t max = t->proc->rlim[RLIMIT_MEMLOCK].rlim_cur;
	if (lock && !capable(t, CAP_IPC_LOCK)) {
		if (!max)
			return -EPERM;
		if (t->mm->locked_pages * PAGE_SIZE_ + add > max)
			return -ENOMEM;
	}
	return mm_set_locked(t->mm, at, end, lock);
}

long sys_mlock(struct task *t, const uint64_t *a) { return lock_range(t, a[0], a[1], true); }
long sys_munlock(struct task *t, const uint64_t *a) { return lock_range(t, a[0], a[1], false); }
long sys_mlockall(struct task *t, const uint64_t *a)
{
	if (!a[0] || a[0] & ~7ull || a[0] == 4)
		return -EINVAL;
	if (!capable(t, CAP_IPC_LOCK) && !t->proc->rlim[RLIMIT_MEMLOCK].rlim_cur)
		return -EPERM;
	if ((a[0] & 1) && !capable(t, CAP_IPC_LOCK) && t->mm->total_pages * PAGE_SIZE_ > t->proc->rlim[RLIMIT_MEMLOCK].rlim_cur)
		return -ENOMEM;
	t->mm->mlock_future = a[0] & 2;
	return a[0] & 1 ? mm_set_locked(t->mm, 0, gate_layout.task_size, true) : 0;
}
long sys_munlockall(struct task *t, const uint64_t *a)
{
	(void)a;
	t->mm->mlock_future = 0;
	return mm_set_locked(t->mm, 0, gate_layout.task_size, false);
}

long sys_memfd_create(struct task *t, const uint64_t *a)
{
	char name[250], label[270];
	struct file *f;
	ssize_t n = copyin_str(t, name, a[0], sizeof(name), -EINVAL);
	if (a[1] & ~(uint64_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | 8 | 16))
		return -EINVAL;
	if (n < 0)
		return n;
	if (a[1] & MFD_HUGETLB)
		return -EINVAL;
	struct inode *i = tmpfs_memfd(name, &f);
	if (!i)
		return -ENOMEM;
	i->seals = a[1] & MFD_ALLOW_SEALING ? 0 : F_SEAL_SEAL;
	if (a[1] & 8) { /* MFD_NOEXEC_SEAL */
		i->mode &= ~0111u;
		i->seals = 0x20 /* F_SEAL_EXEC */;
	}
	i->uid = t->cred->fsuid;
	i->gid = t->cred->fsgid;
	snprintf(label, sizeof(label), "/memfd:%s (deleted)", name);
	f->anon_name = strdup(label);
	return fd_give(t, f, a[1] & MFD_CLOEXEC ? O_CLOEXEC : 0);
}

/* Deprecated since 3.16 and emulated by Linux too: the same file, mapped anew at another offset. */
long sys_remap_file_pages(struct task *t, const uint64_t *a)
{
	uint64_t start = PAGE_DOWN(a[0]), size = PAGE_DOWN(a[1]), off = a[3] * PAGE_SIZE_;
	const struct vma *v = mm_find(t->mm, start);
	if (a[2] || !size || start + size <= start || off / PAGE_SIZE_ != a[3] || off + size < off)
		return -EINVAL;
	if (!v || !v->file || v->shm || !(v->flags & MAP_SHARED) || start + size > v->end)
		return -EINVAL;
	struct file *f = file_get(v->file);
	long r = mm_map(t, start, size, v->prot, MAP_SHARED | MAP_FIXED, f, off);
	file_put(f);
	return r < 0 && r >= -4095 ? r : 0;
}
