/*
 * Reads by copying from a mapping. A host file that is read often is mapped (private, read-only) in the guest that reads it; a read is then one round trip in
 * which the sentry says where to copy from, and no byte passes through the sentry. The size is asked of the host each time, so ends of files and
 * growth are exact; a page that was cut off meanwhile faults and the call is repeated without the mapping. The guest sees nothing
 * that it could not read: it has the file open for reading.
 *
 * The mappings are in no book: patch_reserved() keeps mmap, munmap and mprotect off them. They go with the close of the file, by age, at exec and exit.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/vfs/vfs.h"

enum {
	MAPS_MAX = 8,
	HOT_READS = 24,             /* before a file is worth a mapping (a dozen calls) */
	SMALL = 2048,               /* reads below go through the window */
	PLAIN_MIN = 32768,          /* read(2) moves the position, which takes a second round trip */
};
#define MAP_LEN_MAX (1ull << 30)   /* of a larger file: the beginning */

struct filemap { struct inode *inode; uint64_t addr, len, used; };
struct filemaps { struct filemap v[MAPS_MAX]; uint64_t clock; };

static struct filemap *find(struct mm *m, const struct inode *i)
{
	for (unsigned k = 0; m->filemaps && k < MAPS_MAX; k++)
		if (m->filemaps->v[k].inode == i && m->filemaps->v[k].addr)
			return &m->filemaps->v[k];
	return NULL;
}

bool filemap_reserved(const struct mm *m, uint64_t start, uint64_t end)
{
	for (unsigned k = 0; m->filemaps && k < MAPS_MAX; k++) {
		const struct filemap *f = &m->filemaps->v[k];
		if (f->addr && start < f->addr + f->len && end > f->addr)
			return true;
	}
	return false;
}

int filemap_dup(struct mm *to, const struct mm *from)
{
	to->filemaps = NULL;
	if (!from->filemaps)
		return 0;
	if (!(to->filemaps = malloc(sizeof(*to->filemaps))))
		return -ENOMEM;
	*to->filemaps = *from->filemaps;
	for (unsigned k = 0; k < MAPS_MAX; k++)
		if (to->filemaps->v[k].inode)
			inode_get(to->filemaps->v[k].inode);
	return 0;
}

void filemap_free(struct mm *m)
{
	for (unsigned k = 0; m->filemaps && k < MAPS_MAX; k++)
		if (m->filemaps->v[k].inode)
			inode_put(m->filemaps->v[k].inode);
	free(m->filemaps);
	m->filemaps = NULL;
}

/* With the map lock. */
static void drop(struct task *t, struct filemap *f)
{
	struct inode *i = f->inode;
	uint64_t addr = f->addr, len = f->len;
	*f = (struct filemap){ 0 };
	if (addr)
		gate_call(t, SYS_munmap, addr, len, 0, 0, 0, 0);
	if (i)
		inode_put(i);
}

void filemap_close(struct task *t, struct file *file)
{
	if (!find(t->mm, file->inode) || mm_lock(t) < 0)
		return;
	struct filemap *f = find(t->mm, file->inode);
	if (f)
		drop(t, f);
	mm_unlock(t);
}

static struct filemap *map(struct task *t, struct file *file, uint64_t size)
{
	struct mm *m = t->mm;
	struct filemap *f = NULL;
	if (!m->filemaps && !(m->filemaps = calloc(1, sizeof(*m->filemaps))))
		return NULL;
	if (mm_lock(t) < 0)
		return NULL;
	for (unsigned k = 0; k < MAPS_MAX; k++)
		if (!f || m->filemaps->v[k].used < f->used)
			f = &m->filemaps->v[k];
	drop(t, f);
	uint64_t len = PAGE_UP(MIN(size, MAP_LEN_MAX));
	long r = gate_mmap_fd(t, 0, len, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, file->host_fd, 0);
	if (r > 0 && !mm_range_reserved((uint64_t)r, len)) {
		*f = (struct filemap){ inode_get(file->inode), (uint64_t)r, len, ++m->filemaps->clock };
	} else {
		f = NULL;
	}
	mm_unlock(t);
	return f;
}

ssize_t filemap_read(struct task *t, struct file *file, struct uio *u, int64_t *pos)
{
	bool plain = pos == &file->pos;
	if (t != current_task || !t->fastcall || t->no_bulk || u->heap || u->left < (plain ? (size_t)PLAIN_MIN : (size_t)SMALL) || (file->flags & O_DIRECT))
		return -EAGAIN;
	struct filemap *f = find(t->mm, file->inode);
	if (!f) {
		file->reads += 1 + (unsigned)MIN(u->left / PLAIN_MIN, (size_t)HOT_READS);
		if (file->reads < HOT_READS)
			return -EAGAIN;
	}
	int64_t size = lseek(file->host_fd, 0, SEEK_END);
	if (size <= *pos)
		return size < 0 ? -EAGAIN : 0;
	if (f && f->len < PAGE_UP(MIN((uint64_t)size, MAP_LEN_MAX)) && (uint64_t)*pos + u->left > f->len) { /* it grew */
		filemap_close(t, file);
		f = NULL;
		file->reads = 0;
		return -EAGAIN;
	}
	if (!f && !(f = map(t, file, (uint64_t)size))) {
		file->reads = 0;
		return -EAGAIN;
	}
	uint64_t end = MIN((uint64_t)size, f->len), n = u->left;
	if ((uint64_t)*pos >= end)
		return -EAGAIN;
	n = MIN(n, end - (uint64_t)*pos);
	if (n < u->left && end != (uint64_t)size)
		return -EAGAIN; /* the rest lies behind the mapping */
	f->used = ++t->mm->filemaps->clock;
	t->bulk_dst = (uint64_t)(uintptr_t)u->one.iov_base + u->done;
	t->bulk_src = f->addr + (uint64_t)*pos;
	t->bulk_len = n;
	if (plain) {
		int rc = gate_flush(t);
		if (rc)
			return rc == -EFAULT ? -EAGAIN : rc;
	}
	*pos += (int64_t)n;
	u->done += n;
	u->left -= n;
	return (ssize_t)n;
}
