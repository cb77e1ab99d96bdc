/* Futexes: wait queues by (address space, address) or by (file, offset). The word is read under the lock; a waker changes the word first and calls
 * us then, so no wake-up is lost. Read-modify-write of the word is done by the guest's gate (gate_cmpxchg). */
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/vfs/vfs.h"

struct key { const void *object; uint64_t off; };
struct fwait { struct list node; struct key key; struct task *task; uint32_t bitset; bool woken; };
enum { BUCKETS = 256, ROBUST_MAX = 2048 /* ROBUST_LIST_LIMIT: a ring in guest memory must end */ };
static struct list buckets[BUCKETS];

static struct list *bucket(const struct key *k)
{
	uint64_t h = ((uintptr_t)k->object >> 4) * 0x9e3779b97f4a7c15ull ^ k->off >> 2;
	struct list *b = &buckets[(h ^ h >> 32) % BUCKETS];
	if (!b->next)
		list_init(b);
	return b;
}

static int key_of(struct task *t, uint64_t addr, bool private, struct key *k)
{
	if (addr % 4)
		return -EINVAL;
	*k = (struct key){ t->mm, addr };
	if (private)
		return 0;
	const struct vma *v = mm_find(t->mm, addr);
	if (v && (v->flags & MAP_SHARED))
		*k = (struct key){ v->file ? (const void *)v->file->inode : v->shared_id, addr - v->start + v->off };
	return 0;
}

static int wake(const struct key *k, unsigned n, uint32_t bitset)
{
	struct fwait *w, *next;
	int count = 0;
	list_for_each_safe(w, next, bucket(k), node) {
		if ((unsigned)count >= n)
			break;
		if (w->key.object != k->object || w->key.off != k->off || !(w->bitset & bitset))
			continue;
		list_del(&w->node);
		w->woken = true;
		task_wake(w->task);
		count++;
	}
	return count;
}

void futex_wake_addr(struct task *t, uint64_t addr, unsigned n)
{
	struct key k;
	if (key_of(t, addr, false, &k) == 0)
		wake(&k, n, ~0u);
}

static long futex_wait(struct task *t, uint64_t addr, bool private, uint32_t val, uint32_t bitset, int64_t deadline)
{
	struct fwait w = { .task = t, .bitset = bitset };
	uint32_t now;
	int rc = key_of(t, addr, private, &w.key);
	if (!bitset)
		return -EINVAL;
	if (rc)
		return rc;
	if (copyin(t, &now, addr, 4) < 0)
		return -EFAULT;
	if (now != val)
		return -EAGAIN;
	list_add_tail(bucket(&w.key), &w.node);
	while (!w.woken && !rc)
		rc = task_sleep(t, deadline);
	if (w.woken)
		return 0;
	list_del(&w.node);
	return rc;
}

static int requeue(const struct key *from, const struct key *to, unsigned n_wake, unsigned n_move)
{
	struct fwait *w, *next;
	int count = wake(from, n_wake, ~0u);
	unsigned moved = 0;
	list_for_each_safe(w, next, bucket(from), node) {
		if (moved >= n_move)
			break;
		if (w->key.object != from->object || w->key.off != from->off)
			continue;
		list_del(&w->node);
		w->key = *to;
		list_add_tail(bucket(to), &w->node);
		moved++;
	}
	return count + (int)moved;
}

static long wake_op(struct task *t, uint64_t addr1, uint64_t addr2, bool private, unsigned n1, unsigned n2, uint32_t enc)
{
	unsigned op = enc >> 28 & 7, cmp = enc >> 24 & 15;
	int32_t oparg = (int32_t)(enc << 8) >> 20, cmparg = (int32_t)(enc << 20) >> 20;
	struct key k1, k2;
	uint32_t old, seen, next;
	int rc;
	if ((rc = key_of(t, addr1, private, &k1)) < 0 || (rc = key_of(t, addr2, private, &k2)) < 0)
		return rc;
	if (enc >> 31)
		oparg = (int32_t)(1u << (oparg & 31));
	if (copyin(t, &old, addr2, 4) < 0)
		return -EFAULT;
	for (;;) {
		switch (op) {
		case FUTEX_OP_SET: next = (uint32_t)oparg; break;
		case FUTEX_OP_ADD: next = old + (uint32_t)oparg; break;
		case FUTEX_OP_OR: next = old | (uint32_t)oparg; break;
		case FUTEX_OP_ANDN: next = old & ~(uint32_t)oparg; break;
		case FUTEX_OP_XOR: next = old ^ (uint32_t)oparg; break;
		default: return -ENOSYS;
		}
		if ((rc = gate_cmpxchg(t, addr2, old, next, &seen)) < 0)
			return rc;
		if (seen == old)
			break;
		old = seen;
	}
	int32_t v = (int32_t)old;
	bool hit;
	switch (cmp) {
	case FUTEX_OP_CMP_EQ: hit = v == cmparg; break;
	case FUTEX_OP_CMP_NE: hit = v != cmparg; break;
	case FUTEX_OP_CMP_LT: hit = v < cmparg; break;
	case FUTEX_OP_CMP_GE: hit = v >= cmparg; break;
	case FUTEX_OP_CMP_LE: hit = v <= cmparg; break;
	case FUTEX_OP_CMP_GT: hit = v > cmparg; break;
	default: return -ENOSYS;
	}
	int count = wake(&k1, n1, ~0u);
	return hit ? count + wake(&k2, n2, ~0u) : count;
}

/* ---- priority inheritance: ownership only; the host schedules ---------------------------------------------------------- */

static long lock_pi(struct task *t, uint64_t addr, bool private, int64_t deadline, bool try)
{
	struct fwait w = { .task = t, .bitset = ~0u };
	uint32_t cur = 0, seen;
	int rc = key_of(t, addr, private, &w.key);
	while (!rc) {
		if (copyin(t, &cur, addr, 4) < 0)
			return -EFAULT;
		if ((cur & FUTEX_TID_MASK) == (uint32_t)t->tid)
			return -EDEADLK;
		if (!(cur & FUTEX_TID_MASK)) {
			if ((rc = gate_cmpxchg(t, addr, cur, (uint32_t)t->tid | (cur & (FUTEX_OWNER_DIED | FUTEX_WAITERS)), &seen)) < 0)
				return rc;
			if (seen == cur)
				return 0;
			continue;
		}
		if (!task_by_tid((int)(cur & FUTEX_TID_MASK)))
			return -ESRCH;
		if (try)
			return -EAGAIN;
		if (!(cur & FUTEX_WAITERS)) {
			if ((rc = gate_cmpxchg(t, addr, cur, cur | FUTEX_WAITERS, &seen)) < 0)
				return rc;
			if (seen != cur)
				continue;
		}
		w.woken = false;
		list_add_tail(bucket(&w.key), &w.node);
		while (!w.woken && !rc)
			rc = task_sleep(t, deadline);
		if (!w.woken)
			list_del(&w.node);
		if (rc == -EINTR)
			return w.woken ? -ERESTARTNOINTR : -ERESTARTNOINTR;
	}
	return rc;
}

static long unlock_pi(struct task *t, uint64_t addr, bool private)
{
	struct key k;
	uint32_t cur, seen;
	int rc = key_of(t, addr, private, &k);
	if (rc)
		return rc;
	do {
		if (copyin(t, &cur, addr, 4) < 0)
			return -EFAULT;
		if ((cur & FUTEX_TID_MASK) != (uint32_t)t->tid)
			return -EPERM;
		if ((rc = gate_cmpxchg(t, addr, cur, cur & FUTEX_WAITERS, &seen)) < 0)
			return rc;
	} while (seen != cur);
	if (!wake(&k, 1, ~0u) && (cur & FUTEX_WAITERS) && gate_cmpxchg(t, addr, FUTEX_WAITERS, 0, &seen) < 0)
		return -EFAULT;
	return 0;
}

static int deadline_of(struct task *t, uint64_t ptr, bool relative, bool realtime, int64_t *ret)
{
	struct timespec ts;
	*ret = -1;
	if (!ptr)
		return 0;
	if (copyin(t, &ts, ptr, sizeof(ts)) < 0)
		return -EFAULT;
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= 1000000000)
		return -EINVAL;
	int64_t mono = now_ns(CLOCK_MONOTONIC), ns = ts.tv_sec > 9000000000 ? INT64_MAX / 2 : ts_ns(ts);
	if (relative)
		*ret = mono + ns;
	else
		*ret = realtime ? mono + (ns - now_ns(CLOCK_REALTIME)) : ns;
	if (*ret < 0)
		*ret = 0;
	return 0;
}

static long restart_wait(struct task *t, const uint64_t *a)
{
	long r = futex_wait(t, a[0], a[1], (uint32_t)a[2], (uint32_t)a[3], (int64_t)a[4]);
	return r == -EINTR ? -ERESTART_RESTARTBLOCK : r;
}

long sys_futex(struct task *t, const uint64_t *a)
{
	unsigned op = (unsigned)a[1] & FUTEX_CMD_MASK;
	bool private = a[1] & FUTEX_PRIVATE_FLAG, realtime = a[1] & FUTEX_CLOCK_REALTIME;
	uint32_t val = (uint32_t)a[2], val3 = (uint32_t)a[5];
	struct key k, k2;
	int64_t deadline = -1;
	int rc;
	if (realtime && op != FUTEX_WAIT_BITSET && op != FUTEX_WAIT && op != FUTEX_LOCK_PI2 && op != FUTEX_WAIT_REQUEUE_PI)
		return -ENOSYS;
	switch (op) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET:
		if ((rc = deadline_of(t, a[3], op == FUTEX_WAIT, realtime, &deadline)) < 0)
			return rc;
		long r = futex_wait(t, a[0], private, val, op == FUTEX_WAIT ? ~0u : val3, deadline);
		if (r != -EINTR)
			return r;
		if (deadline < 0)
			return -ERESTARTSYS;
		t->restart_fn = restart_wait;
		t->restart_args[0] = a[0];
		t->restart_args[1] = private;
		t->restart_args[2] = val;
		t->restart_args[3] = op == FUTEX_WAIT ? ~0u : val3;
		t->restart_args[4] = (uint64_t)deadline;
		return -ERESTART_RESTARTBLOCK;
	case FUTEX_WAKE:
	case FUTEX_WAKE_BITSET:
		if (op == FUTEX_WAKE_BITSET && !val3)
			return -EINVAL;
		if ((rc = key_of(t, a[0], private, &k)) < 0)
			return rc;
		return wake(&k, (int)val < 0 ? ~0u : val ? val : 1, op == FUTEX_WAKE ? ~0u : val3);
	case FUTEX_REQUEUE:
	case FUTEX_CMP_REQUEUE:
		if ((int)val < 0 || (int)a[3] < 0)
			return -EINVAL;
		if ((rc = key_of(t, a[0], private, &k)) < 0 || (rc = key_of(t, a[4], private, &k2)) < 0)
			return rc;
		if (op == FUTEX_CMP_REQUEUE) {
			uint32_t now;
			if (copyin(t, &now, a[0], 4) < 0)
				return -EFAULT;
			if (now != val3)
				return -EAGAIN;
		}
		return requeue(&k, &k2, val, (unsigned)a[3]);
	case FUTEX_WAKE_OP: return wake_op(t, a[0], a[4], private, val, (unsigned)a[3], val3);
	case FUTEX_LOCK_PI:
	case FUTEX_LOCK_PI2:
		if ((rc = deadline_of(t, a[3], false, op == FUTEX_LOCK_PI || realtime, &deadline)) < 0)
			return rc;
		return lock_pi(t, a[0], private, deadline, false);
	case FUTEX_TRYLOCK_PI: return lock_pi(t, a[0], private, -1, true);
	case FUTEX_UNLOCK_PI: return unlock_pi(t, a[0], private);
	default: return -ENOSYS;
	}
}

/* ---- thread exit ------------------------------------------------------------------------------------------------------- */

static void robust_death(struct task *t, uint64_t addr, bool pi, bool pending)
{
	uint32_t v, seen;
	if (addr % 4)
		return;
	for (;;) {
		if (copyin(t, &v, addr, 4) < 0)
			return;
		if (pending && !pi && !v) {
			futex_wake_addr(t, addr, 1);
			return;
		}
		if ((v & FUTEX_TID_MASK) != (uint32_t)t->tid)
			return;
		/* the owner is at its end: nobody else changes the owner part; waiters may set their bit, hence the loop */
		uint32_t next = (v & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
		seen = v;
		if (copyin(t, &seen, addr, 4) < 0 || seen != v)
			continue;
		if (copyout(t, addr, &next, 4) < 0)
			return;
		break;
	}
	if (v & FUTEX_WAITERS)
		futex_wake_addr(t, addr, 1);
}

void futex_exit(struct task *t)
{
	struct { uint64_t next; int64_t offset; uint64_t pending; } head;
	if (t->robust_list && copyin(t, &head, t->robust_list, sizeof(head)) == 0) {
		uint64_t e = head.next;
		uint64_t pend = head.pending & ~1ull;
		for (unsigned n = 0; n < ROBUST_MAX && (e & ~1ull) != t->robust_list; n++) {
			uint64_t next, entry = e & ~1ull;
			if (copyin(t, &next, entry, 8) < 0)
				break;
			if (entry != pend)
				robust_death(t, entry + (uint64_t)head.offset, e & 1, false);
			e = next;
		}
		if (pend)
			robust_death(t, pend + (uint64_t)head.offset, head.pending & 1, true);
	}
	if (t->clear_child_tid && t->mm->refs > 1) {
		uint32_t zero = 0;
		if (copyout(t, t->clear_child_tid, &zero, 4) == 0)
			futex_wake_addr(t, t->clear_child_tid, 1);
	}
}
