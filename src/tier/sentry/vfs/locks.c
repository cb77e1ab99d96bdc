/* File locks: flock(2), and fcntl(2)'s record locks by process (POSIX) and by open file (OFD). They hang on the inode.
 *
 * Owners: a POSIX lock belongs to the descriptor table (as in Linux: threads and CLONE_FILES children share it), flock and OFD locks to the
 * open file. The three kinds: flock never conflicts with the others; POSIX and OFD conflict with each other. */
#include <errno.h>
#include <stdlib.h>
#include <sys/file.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

enum lock_kind { LOCK_FLOCK, LOCK_POSIX, LOCK_OFD };
struct file_lock {
	struct list node;   /* inode->locks; POSIX and OFD sorted by owner, then start */
	enum lock_kind kind;
	bool write;
	const void *owner;
	int pid;            /* F_GETLK; -1 for OFD */
	int64_t start, end; /* inclusive end */
};

/* Who waits for whom among POSIX lock owners, for EDEADLK. */
struct blocked { struct list node; const void *owner, *by; };
static struct list waiting = LIST_INIT(waiting);
enum { DEADLOCK_DEPTH = 64 /* as Linux's walk is bounded: a longer chain is not called a deadlock */, LOCKS_MAX = 4096 /* per inode */ };

static bool same_class(enum lock_kind a, enum lock_kind b) { return (a == LOCK_FLOCK) == (b == LOCK_FLOCK); }

static struct file_lock *conflict(struct inode *i, const struct file_lock *want)
{
	struct file_lock *l;
	list_for_each(l, &i->locks, node)
		if (same_class(l->kind, want->kind) && l->owner != want->owner && (l->write || want->write) && l->start <= want->end && want->start <= l->end)
			return l;
	return NULL;
}

static bool deadlock(const void *me, const void *by)
{
	for (int depth = 0; depth < DEADLOCK_DEPTH; depth++) {
		struct blocked *b, *hit = NULL;
		if (by == me)
			return true;
		list_for_each(b, &waiting, node)
			if (b->owner == by)
				hit = b;
		if (!hit)
			return false;
		by = hit->by;
	}
	return false;
}

/* Wait until nothing conflicts. 0, -EAGAIN (not asked to wait), -EDEADLK, -ERESTARTSYS. */
static int settle(struct task *t, struct inode *i, const struct file_lock *want, bool wait)
{
	struct file_lock *c;
	while ((c = conflict(i, want))) {
		struct blocked me = { .owner = want->owner, .by = c->owner };
		struct waiter w;
		if (!wait)
			return -EAGAIN;
		if (want->kind == LOCK_POSIX && c->kind == LOCK_POSIX && deadlock(want->owner, c->owner))
			return -EDEADLK;
		waiter_init(&w, t);
		waitq_add(&i->lock_wait, &w);
		list_add(&waiting, &me.node);
		int rc = task_sleep(t, -1);
		list_del(&me.node);
		waitq_del(&w);
		if (rc)
			return -ERESTARTSYS;
	}
	return 0;
}

static struct file_lock *lock_new(const struct file_lock *from)
{
	struct file_lock *l = malloc(sizeof(*l));
	if (l) {
		*l = *from;
		list_init(&l->node);
	}
	return l;
}

static void lock_free(struct file_lock *l)
{
	list_del(&l->node);
	free(l);
}

/* ---- record locks ------------------------------------------------------------------------------------------------------ */

/* Take the owner's locks out of [start, end]; what sticks out at either side stays. spare: an entry for a split, used or freed. */
static void carve(struct inode *i, const struct file_lock *r, struct file_lock **spare)
{
	struct file_lock *l, *n;
	list_for_each_safe(l, n, &i->locks, node) {
		if (l->kind != r->kind || l->owner != r->owner || l->end < r->start || l->start > r->end)
			continue;
		if (l->start < r->start && l->end > r->end) {
			struct file_lock *right = *spare;
			*spare = NULL;
			*right = *l;
			right->start = r->end + 1;
			l->end = r->start - 1;
			list_add(&l->node, &right->node);
		} else if (l->start < r->start) {
			l->end = r->start - 1;
		} else if (l->end > r->end) {
			l->start = r->end + 1;
		} else {
			lock_free(l);
		}
	}
}

/* Neighbours of the same owner and type become one. */
static void merge(struct inode *i, struct file_lock *l)
{
	struct file_lock *o, *n;
	list_for_each_safe(o, n, &i->locks, node) {
		if (o == l || o->kind != l->kind || o->owner != l->owner || o->write != l->write)
			continue;
		bool left = o->end != INT64_MAX && o->end + 1 == l->start, right = l->end != INT64_MAX && l->end + 1 == o->start;
		if (!left && !right)
			continue;
		l->start = MIN(l->start, o->start);
		l->end = MAX(l->end, o->end);
		lock_free(o);
	}
}

static int set_record(struct task *t, struct inode *i, const struct file_lock *want, bool unlock, bool wait)
{
	int count = 0;
	struct file_lock *l;
	int rc = unlock ? 0 : settle(t, i, want, wait);
	if (rc)
		return rc;
	list_for_each(l, &i->locks, node)
		count++;
	struct file_lock *spare = lock_new(want), *mine = unlock ? NULL : lock_new(want);
	if (!spare || (!unlock && !mine) || (!unlock && count >= LOCKS_MAX)) {
		free(spare);
		free(mine);
		return -ENOLCK;
	}
	carve(i, want, &spare);
	free(spare);
	if (mine) {
		list_add_tail(&i->locks, &mine->node);
		merge(i, mine);
	}
	/* A write lock that became a read lock, or a range that became free. */
	waitq_wake(&i->lock_wait, 0);
	return 0;
}

struct guest_flock { int16_t type, whence; int32_t pad0; int64_t start, len; int32_t pid, pad1; };
_Static_assert(sizeof(struct guest_flock) == 32, "struct flock of x86-64");

static int range(struct file *f, const struct guest_flock *g, struct file_lock *l)
{
	struct kstat st;
	int64_t base = 0;
	if (g->whence == SEEK_CUR) {
		base = f->pos;
	} else if (g->whence == SEEK_END) {
		int rc = inode_getattr(f->inode, &st);
		if (rc)
			return rc;
		base = (int64_t)st.size;
	} else if (g->whence != SEEK_SET) {
		return -EINVAL;
	}
	if (__builtin_add_overflow(base, g->start, &l->start))
		return -EOVERFLOW;
	if (l->start < 0)
		return -EINVAL;
	if (g->len > 0) {
		if (__builtin_add_overflow(l->start, g->len - 1, &l->end))
			return -EOVERFLOW;
	} else if (g->len < 0) {
		l->end = l->start - 1;
		l->start += g->len;
		if (l->start < 0)
			return -EINVAL;
	} else {
		l->end = INT64_MAX;
	}
	return 0;
}

static long get_lock(struct task *t, struct file *f, struct guest_flock *g, struct file_lock *want, uint64_t arg)
{
	struct file_lock *c;
	want->write = g->type == F_WRLCK;
	c = conflict(f->inode, want);
	if (c) {
		*g = (struct guest_flock){ .type = c->write ? F_WRLCK : F_RDLCK, .whence = SEEK_SET, .start = c->start,
			.len = c->end == INT64_MAX ? 0 : c->end - c->start + 1, .pid = c->kind == LOCK_OFD ? -1 : c->pid };
	} else {
		g->type = F_UNLCK;
	}
	return copyout(t, arg, g, sizeof(*g));
}

long fcntl_lock(struct task *t, struct file *f, unsigned cmd, uint64_t arg)
{
	struct guest_flock g;
	struct file_lock want = { .pid = t->proc->pid };
	bool ofd = cmd == F_OFD_GETLK || cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW;
	if (copyin(t, &g, arg, sizeof(g)) < 0)
		return -EFAULT;
	if (g.type != F_RDLCK && g.type != F_WRLCK && g.type != F_UNLCK)
		return -EINVAL;
	if (ofd && g.pid != 0)
		return -EINVAL;
	want.kind = ofd ? LOCK_OFD : LOCK_POSIX;
	want.owner = ofd ? (const void *)f : (const void *)t->files;
	int rc = range(f, &g, &want);
	if (rc)
		return rc;
	if (cmd == F_GETLK || cmd == F_OFD_GETLK)
		return g.type == F_UNLCK ? -EINVAL : get_lock(t, f, &g, &want, arg);
	if ((g.type == F_RDLCK && !f->can_read) || (g.type == F_WRLCK && !f->can_write))
		return -EBADF;
	want.write = g.type == F_WRLCK;
	file_get(f);
	long r = set_record(t, f->inode, &want, g.type == F_UNLCK, cmd == F_SETLKW || cmd == F_OFD_SETLKW);
	file_put(f);
	return r;
}

/* ---- flock ---------------------------------------------------------------------------------------------------------------- */

static bool drop_flock(struct inode *i, const struct file *f)
{
	struct file_lock *l, *n;
	bool had = false;
	list_for_each_safe(l, n, &i->locks, node)
		if (l->kind == LOCK_FLOCK && l->owner == f) {
			lock_free(l);
			had = true;
		}
	if (had)
		waitq_wake(&i->lock_wait, 0);
	return had;
}

long sys_flock(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file(t, (int)a[0]);
	int op = (int)a[1] & ~LOCK_NB;
	if (!f)
		return -EBADF;
	if ((int)a[1] & 32 /* LOCK_MAND: taken and ignored since 5.5 */)
		return 0;
	if (op != LOCK_SH && op != LOCK_EX && op != LOCK_UN)
		return -EINVAL;
	if (op == LOCK_UN) {
		drop_flock(f->inode, f);
		return 0;
	}
	struct file_lock want = { .kind = LOCK_FLOCK, .write = op == LOCK_EX, .owner = f, .pid = t->proc->pid, .end = INT64_MAX }, *l;
	list_for_each(l, &f->inode->locks, node)
		if (l->kind == LOCK_FLOCK && l->owner == f && l->write == want.write)
			return 0;
	file_get(f);
	struct file_lock *mine = lock_new(&want);
	/* A change of type gives the old lock up first (flock(2): "not guaranteed to be atomic"). */
	drop_flock(f->inode, f);
	int rc = mine ? settle(t, f->inode, &want, !((int)a[1] & LOCK_NB)) : -ENOMEM;
	if (rc == 0) {
		list_add_tail(&f->inode->locks, &mine->node);
		mine = NULL;
	}
	free(mine);
	file_put(f);
	return rc;
}

/* ---- release ---------------------------------------------------------------------------------------------------------------- */

static void release(struct inode *i, enum lock_kind kind, const void *owner)
{
	struct file_lock *l, *n;
	bool had = false;
	if (list_empty(&i->locks))
		return;
	list_for_each_safe(l, n, &i->locks, node)
		if (l->kind == kind && l->owner == owner) {
			lock_free(l);
			had = true;
		}
	if (had)
		waitq_wake(&i->lock_wait, 0);
}

void locks_release_file(struct task *t, struct file *f)
{
	(void)t;
	release(f->inode, LOCK_FLOCK, f);
	release(f->inode, LOCK_OFD, f);
}

void locks_release_owner(struct task *t, struct inode *i)
{
	if (t)
		release(i, LOCK_POSIX, t->files);
}
