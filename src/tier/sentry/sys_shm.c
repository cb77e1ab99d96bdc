/* System V shared memory: a segment is a file in memory; attachments are shared mappings of it. */
#include <errno.h>
#include <linux/shm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/ipc.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/task/exit.h"

#define HUGE_SHIFT_MASK 0xfc000000
enum { SHM_RDONLY_ = 010000, SHM_RND_ = 020000, SHM_REMAP_ = 040000, SHM_EXEC_ = 0100000, SHM_HUGETLB_ = 04000, SHM_NORESERVE_ = 010000, SHM_DEST_ = 01000,
	SHM_LOCKED_ = 02000 };

struct shm_segment {
	struct ipc_perm_k perm;
	struct ipcns *ns;      /* not referenced: a namespace outlives its table; NULL once it is gone */
	struct file *file;
	uint64_t size;
	unsigned attached;     /* mappings, counted as Linux counts them: a split mapping counts twice */
	int cpid, lpid;
	int64_t atime, dtime, ctime;
};

static struct shm_segment *segment_at(struct task *t, int id)
{
	struct ipc_perm_k *p = ipc_table_get(&ipc_of(t)->shm, id);
	return p ? container_of(p, struct shm_segment, perm) : NULL;
}

static void destroy(struct shm_segment *s)
{
	if (s->ns) {
		ipc_table_del(&s->ns->shm, &s->perm);
		s->ns->shm_pages -= PAGE_UP(s->size) / PAGE_SIZE_;
	}
	file_put(s->file);
	free(s);
}

/* One more, one less mapping (mm.c). */
void shm_attached(struct shm_segment *s)
{
	s->attached++;
	s->atime = ipc_seconds();
	s->lpid = current_task ? current_task->proc->pid : s->lpid;
}

void shm_detached(struct shm_segment *s)
{
	s->attached--;
	s->dtime = ipc_seconds();
	s->lpid = current_task ? current_task->proc->pid : s->lpid;
	if (!s->attached && (s->perm.mode & SHM_DEST_))
		destroy(s);
}

static int make_segment(struct task *t, int key, uint64_t size, int flags)
{
	struct ipcns *ns = ipc_of(t);
	if (size < 1 || size > ns->shm_max || PAGE_UP(size) < size)
		return -EINVAL;
	if (ns->shm_pages + PAGE_UP(size) / PAGE_SIZE_ > ns->shm_all)
		return -ENOSPC;
	if (flags & SHM_HUGETLB_)
		return capable(t, CAP_IPC_LOCK) ? -ENOMEM : -EPERM; /* no huge pages are reserved here */
	if (ns->shm.n >= (unsigned)ns->shm_mni)
		return -ENOSPC;
	struct shm_segment *s = calloc(1, sizeof(*s));
	struct file *f = NULL;
	struct inode *i = s ? tmpfs_memfd("SYSV", &f) : NULL;
	struct iattr at = { .valid = ATTR_SIZE, .size = (int64_t)PAGE_UP(size) };
	char label[32];
	int rc = !i ? -ENOMEM : (int64_t)size < 0 ? -ENOMEM : i->ops->setattr(t, i, &at);
	if (rc < 0) {
		file_put(f);
		free(s);
		return rc == -EFBIG || rc == -EINVAL ? -ENOMEM : rc;
	}
	snprintf(label, sizeof(label), "/SYSV%08x (deleted)", (unsigned)key);
	f->anon_name = strdup(label);
	*s = (struct shm_segment){ .ns = ns, .file = f, .size = size, .cpid = t->proc->pid, .ctime = ipc_seconds() };
	ipc_perm_init(t, &s->perm, key, (unsigned)flags);
	int id = ipc_table_add(&ns->shm, &s->perm, (unsigned)ns->shm_mni);
	if (id < 0) {
		s->ns = NULL;
		destroy(s);
		return id;
	}
	i->ino = (uint64_t)id;
	ns->shm_pages += PAGE_UP(size) / PAGE_SIZE_;
	return id;
}

long sys_shmget(struct task *t, const uint64_t *a)
{
	struct ipc_perm_k *p;
	int id = ipc_find(t, &ipc_of(t)->shm, (int)a[0], (int)a[2], &p);
	if (p && a[1] > container_of(p, struct shm_segment, perm)->size)
		return -EINVAL;
	return id < 0 || p ? id : make_segment(t, (int)a[0], a[1], (int)a[2]);
}

long sys_shmat(struct task *t, const uint64_t *a)
{
	struct shm_segment *s;
	uint64_t addr = a[1];
	int flags = (int)a[2], prot = PROT_READ, map = MAP_SHARED;
	unsigned want = 4;
	if ((int)a[0] < 0)
		return -EINVAL;
	if (addr) {
		if (addr % PAGE_SIZE_) { /* SHMLBA is the page size */
			if (!(flags & SHM_RND_))
				return -EINVAL;
			addr = PAGE_DOWN(addr);
			if (!addr && (flags & SHM_REMAP_))
				return -EINVAL;
		}
		map |= MAP_FIXED;
	} else if (flags & SHM_REMAP_) {
		return -EINVAL;
	}
	if (!(flags & SHM_RDONLY_)) {
		prot |= PROT_WRITE;
		want |= 2;
	}
	if (flags & SHM_EXEC_) {
		prot |= PROT_EXEC;
		want |= 1;
	}
	if (!(s = segment_at(t, (int)a[0])))
		return -EINVAL;
	int rc = ipc_permission(t, &s->perm, want);
	if (rc)
		return rc;
	uint64_t len = PAGE_UP(s->size);
	if ((map & MAP_FIXED) && !(flags & SHM_REMAP_)) {
		const struct vma *v = mm_find_next(t->mm, addr);
		if (addr + len < addr || mm_range_reserved(addr, len) || (v && v->start < addr + len))
			return -EINVAL;
	}
	if ((map & MAP_FIXED) && (mm_range_reserved(addr, len) || addr < 65536))
		return addr < 65536 ? -EPERM : -EINVAL;
	uint64_t max = t->proc->rlim[RLIMIT_AS].rlim_cur;
	if (max != RLIM_INFINITY && t->mm->total_pages * PAGE_SIZE_ + len > max)
		return -ENOMEM;
	s->attached++; /* against its removal while the guest maps */
	long r = mm_map(t, addr, len, prot, map, s->file, 0);
	if (r >= 0 || r < -4095) {
		struct vma *v = mm_find(t->mm, (uint64_t)r);
		if (v && v->file == s->file && v->start == (uint64_t)r) {
			v->shm = s;
			shm_attached(s);
		}
	}
	if (!--s->attached && (s->perm.mode & SHM_DEST_))
		destroy(s);
	return r;
}

long sys_shmdt(struct task *t, const uint64_t *a)
{
	uint64_t addr = a[0], at = addr;
	const struct vma *v;
	if (addr % PAGE_SIZE_)
		return -EINVAL;
	/* the first piece tells the segment; further pieces of the same attachment go with it */
	while ((v = mm_find_next(t->mm, at)) && !(v->shm && v->start - addr == v->off))
		at = v->end;
	if (!v)
		return -EINVAL;
	struct shm_segment *s = v->shm;
	uint64_t end = addr + PAGE_UP(s->size);
	s->attached++;
	long rc = 0;
	while (rc == 0 && (v = mm_find_next(t->mm, at)) && v->start < end) {
		at = v->end;
		if (v->shm == s && v->start - addr == v->off)
			rc = mm_unmap(t, v->start, v->end - v->start);
	}
	if (!--s->attached && (s->perm.mode & SHM_DEST_))
		destroy(s);
	return rc;
}

/* ---- shmctl ------------------------------------------------------------------------------------------------------------ */

struct guest_shmid_ds { struct guest_ipc_perm perm; uint64_t size; int64_t atime, dtime, ctime; int32_t cpid, lpid; uint64_t nattch, pad[2]; };
_Static_assert(sizeof(struct guest_shmid_ds) == 112, "struct shmid64_ds of x86-64");
struct guest_shminfo { uint64_t shmmax, shmmin, shmmni, shmseg, shmall, pad[4]; };
struct guest_shm_info { int32_t used_ids, pad; uint64_t tot, rss, swp, swap_attempts, swap_successes; };

static uint64_t rss_pages(const struct shm_segment *s)
{
	struct kstat st;
	return inode_getattr(s->file->inode, &st) == 0 ? (st.blocks * 512 + PAGE_SIZE_ - 1) / PAGE_SIZE_ : 0;
}

static long put_stat(struct task *t, const struct shm_segment *s, uint64_t arg, long ret)
{
	struct guest_shmid_ds g = { .size = s->size, .atime = s->atime, .dtime = s->dtime, .ctime = s->ctime, .cpid = s->cpid, .lpid = s->lpid, .nattch = s->attached };
	ipc_perm_out(t, &s->perm, &g.perm);
	return copyout(t, arg, &g, sizeof(g)) < 0 ? -EFAULT : ret;
}

static long put_info(struct task *t, int cmd, uint64_t arg)
{
	const struct ipcns *ns = ipc_of(t);
	if (cmd == IPC_INFO) {
		struct guest_shminfo g = { .shmmax = ns->shm_max, .shmmin = 1, .shmmni = (uint64_t)ns->shm_mni, .shmseg = (uint64_t)ns->shm_mni, .shmall = ns->shm_all };
		return copyout(t, arg, &g, sizeof(g)) < 0 ? -EFAULT : ipc_table_top(&ns->shm);
	}
	struct guest_shm_info g = { .used_ids = (int32_t)ns->shm.n, .tot = ns->shm_pages };
	for (unsigned i = 0; i < ns->shm.cap; i++)
		g.rss += ns->shm.v[i] ? rss_pages(container_of(ns->shm.v[i], struct shm_segment, perm)) : 0;
	return copyout(t, arg, &g, sizeof(g)) < 0 ? -EFAULT : ipc_table_top(&ns->shm);
}

static long set_lock(struct task *t, struct shm_segment *s, bool lock)
{
	if (!ns_capable(t, ipc_of(t)->user, CAP_IPC_LOCK)) {
		if (t->cred->euid != s->perm.uid && t->cred->euid != s->perm.cuid)
			return -EPERM;
		if (lock && !t->proc->rlim[RLIMIT_MEMLOCK].rlim_cur)
			return -EPERM;
	}
	s->perm.mode = lock ? s->perm.mode | SHM_LOCKED_ : s->perm.mode & ~(unsigned)SHM_LOCKED_;
	return 0;
}

long sys_shmctl(struct task *t, const uint64_t *a)
{
	int cmd = (int)a[1] & ~0x100 /* IPC_64 */;
	if ((int)a[0] < 0 || cmd < 0)
		return -EINVAL;
	if (cmd == IPC_INFO || cmd == SHM_INFO)
		return put_info(t, cmd, a[2]);
	bool by_index = cmd == SHM_STAT || cmd == SHM_STAT_ANY;
	struct ipc_perm_k *p = by_index ? ipc_table_at(&ipc_of(t)->shm, (int)a[0]) : ipc_table_get(&ipc_of(t)->shm, (int)a[0]);
	struct shm_segment *s = p ? container_of(p, struct shm_segment, perm) : NULL;
	struct guest_shmid_ds g;
	long rc;
	switch (cmd) {
	case IPC_STAT: case SHM_STAT: case SHM_STAT_ANY:
		if (!s)
			return -EINVAL;
		rc = cmd == SHM_STAT_ANY ? 0 : ipc_permission(t, &s->perm, 4);
		return rc ? rc : put_stat(t, s, a[2], by_index ? s->perm.id : 0);
	case IPC_SET:
		if (copyin(t, &g, a[2], sizeof(g)) < 0)
			return -EFAULT;
		rc = s ? ipc_perm_set(t, &s->perm, &g.perm) : -EINVAL;
		if (!rc)
			s->ctime = ipc_seconds();
		return rc;
	case IPC_RMID:
		if (!s)
			return -EINVAL;
		if (!ipc_owner(t, &s->perm))
			return -EPERM;
		if (!s->attached) {
			destroy(s);
		} else {
			s->perm.mode |= SHM_DEST_;
			s->perm.key = IPC_PRIVATE; /* not found by key any more */
		}
		return 0;
	case SHM_LOCK: case SHM_UNLOCK:
		return s ? set_lock(t, s, cmd == SHM_LOCK) : -EINVAL;
	default:
		return -EINVAL;
	}
}

void shm_table_free(struct ipcns *n)
{
	for (unsigned i = 0; i < n->shm.cap; i++) {
		struct shm_segment *s = n->shm.v[i] ? container_of(n->shm.v[i], struct shm_segment, perm) : NULL;
		if (!s)
			continue;
		n->shm.v[i] = NULL;
		s->ns = NULL;
		s->perm.mode |= SHM_DEST_;
		if (!s->attached)
			destroy(s);
	}
}

int shm_list(struct task *t, struct strbuf *b)
{
	const struct ipc_table *tb = &ipc_of(t)->shm;
	strbuf_puts(b, "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime"
		"                   rss                  swap\n");
	for (unsigned i = 0; i < tb->cap; i++) {
		const struct shm_segment *s = tb->v[i] ? container_of(tb->v[i], struct shm_segment, perm) : NULL;
		if (s)
			strbuf_printf(b, "%10d %10d  %4o %21llu %5d %5d  %5u %5u %5u %5u %5u %10llu %10llu %10llu %21llu %21llu\n", s->perm.key, s->perm.id, s->perm.mode,
				(unsigned long long)s->size, s->cpid, s->lpid, s->attached, uid_shown(t, s->perm.uid), gid_shown(t, s->perm.gid), uid_shown(t, s->perm.cuid),
				gid_shown(t, s->perm.cgid), (unsigned long long)s->atime, (unsigned long long)s->dtime, (unsigned long long)s->ctime,
				(unsigned long long)rss_pages(s) * PAGE_SIZE_, 0ull);
	}
	return b->failed ? -ENOMEM : 0;
}
