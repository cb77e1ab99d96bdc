/* Slots, requests and actions: the sentry's end of the mailboxes. */
#include "tier/sentry/gate/host.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tier/sentry/mm/mm.h"
#include "tier/sentry/task/ns.h"

struct gate_layout gate_layout;

struct retired { struct list node; struct mailbox *mb; unsigned slot; struct arena_mem *arena; };
static struct list retired = LIST_INIT(retired);

/* ---- arenas and slots -------------------------------------------------------------------------------------------- */

struct arena_mem *gate_arena_new(void)
{
	struct arena_mem *a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->refs = 1;
	a->memfd = memfd_create("gate", MFD_CLOEXEC);
	if (a->memfd < 0 || ftruncate(a->memfd, GATE_SLOTS * SLOT_SIZE) < 0) {
		if (a->memfd >= 0)
			close(a->memfd);
		free(a);
		return NULL;
	}
	return a;
}

static void gate_arena_put(struct arena_mem *a)
{
	struct retired *r, *n;
	if (--a->refs)
		return;
	list_for_each_safe(r, n, &retired, node) {
		if (r->arena != a)
			continue;
		list_del(&r->node);
		munmap(r->mb, SLOT_SIZE);
		free(r);
	}
	close(a->memfd);
	free(a);
}

struct mailbox *slot_map(struct arena_mem *a, unsigned slot)
{
	void *p = mmap(NULL, SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, a->memfd, (off_t)(slot * SLOT_SIZE));
	return p == MAP_FAILED ? NULL : p;
}

static void slot_take(struct arena_mem *a, unsigned slot) { a->slot_used[slot / 64] |= 1ull << slot % 64; }

/* A slot of an exited thread may be used again once its host thread is gone (the kernel zeroes ctid then). */
static int slot_alloc(struct arena_mem *a, struct mailbox **ret_mb)
{
	struct retired *r, *n;
	list_for_each_safe(r, n, &retired, node) {
		if (r->arena != a || __atomic_load_n(&r->mb->ctid, __ATOMIC_ACQUIRE))
			continue;
		unsigned slot = r->slot;
		*ret_mb = r->mb;
		list_del(&r->node);
		free(r);
		return (int)slot;
	}
	for (unsigned i = 0; i < GATE_SLOTS / 64; i++) {
		if (~a->slot_used[i] == 0)
			continue;
		unsigned slot = i * 64 + (unsigned)__builtin_ctzll(~a->slot_used[i]);
		if (!(*ret_mb = slot_map(a, slot)))
			return -EAGAIN;
		slot_take(a, slot);
		return (int)slot;
	}
	return -EAGAIN;
}

struct list all_as = LIST_INIT(all_as);

struct host_as *as_new(struct arena_mem *arena)
{
	struct host_as *as = calloc(1, sizeof(*as));
	if (!as)
		return NULL;
	as->refs = 1;
	as->arena = arena;
	list_add(&all_as, &as->node);
	return as;
}

void as_put(struct host_as *as)
{
	if (--as->refs)
		return;
	as_kill(as);
	list_del(&as->node);
	gate_arena_put(as->arena);
	free(as);
}

void as_kill(struct host_as *as)
{
	if (as->pid && !as->gone)
		syscall(SYS_tgkill, as->pid, as->pid, SIGKILL); /* to the leader: the whole process */
}

/* ---- the mailbox ------------------------------------------------------------------------------------------------- */

static long futex(uint32_t *p, int op, uint32_t v)
{
	return syscall(SYS_futex, p, op, v, NULL, NULL, 0);
}

static inline void cpu_relax(void)
{
	__builtin_ia32_pause();
}

static void post_reply(struct mailbox *mb)
{
	if (mb->twin_slow)
		mb->twin_slow = 0;
	__atomic_store_n(&mb->state, MB_REPLY, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&mb->guest_sleeps, __ATOMIC_SEQ_CST))
		futex(&mb->state, FUTEX_WAKE, 1);
}

/*
 * Waiting for the guest's next request. Awake first (spin, giving the core away now and then), because a wake across cores costs 15 us here;
 * asleep after that. How long is learnt: the budget doubles when a request came while the twin was awake, halves when it did not. The
 * guest computes then, and a twin that is awake would take its core.
 */
enum { SPIN_MIN = 16, SPIN_MAX = 1024, YIELD_EVERY = 64, GUEST_SPIN = 1024 };

static bool wait_awake(struct task *t, struct mailbox *mb)
{
	unsigned budget = t->spin < SPIN_MIN ? SPIN_MIN : t->spin;
	uint32_t cpu = (uint32_t)sched_getcpu();
	mb->twin_cpu = cpu;
	for (unsigned i = 1; i < budget; i++) {
		if (__atomic_load_n(&mb->state, __ATOMIC_ACQUIRE) == MB_REQUEST) {
			t->spin = MIN(budget * 2, (unsigned)SPIN_MAX);
			return true;
		}
		if (__atomic_load_n(&t->poked, __ATOMIC_ACQUIRE))
			return false;
		if (i % YIELD_EVERY == 0 || __atomic_load_n(&mb->guest_cpu, __ATOMIC_RELAXED) == cpu)
			sched_yield();
		else
			cpu_relax();
	}
	t->spin = budget / 2;
	return false;
}

static int wait_request(struct task *t)
{
	struct mailbox *mb = t->mb;
	int rc = 0;
	kernel_unlock();
	while (!wait_awake(t, mb)) {
		uint32_t s;
		if (__atomic_load_n(&t->poked, __ATOMIC_ACQUIRE)) {
			rc = -EINTR;
			break;
		}
		__atomic_store_n(&mb->twin_sleeps, 1, __ATOMIC_SEQ_CST);
		s = __atomic_load_n(&mb->state, __ATOMIC_SEQ_CST);
		if (s != MB_REQUEST && !__atomic_load_n(&t->poked, __ATOMIC_SEQ_CST))
			futex(&mb->state, FUTEX_WAIT, s);
		__atomic_store_n(&mb->twin_sleeps, 0, __ATOMIC_RELAXED);
	}
	kernel_lock();
	if (t->dying)
		rc = -EINTR;
	return rc;
}

/* A fast call: registers from the mailbox, and what was marshalled. One snapshot, everything bounded. */
static void take_fastcall(struct task *t)
{
	struct mailbox *mb = t->mb;
	struct window *w = &t->window;
	t->fastcall = true;
	t->fast_regs.rip = __atomic_load_n(&mb->rip, __ATOMIC_RELAXED);
	t->fast_regs.rsp = __atomic_load_n(&mb->rsp, __ATOMIC_RELAXED);
	t->regs = &t->fast_regs;
	t->no_bulk = __atomic_load_n(&mb->no_bulk, __ATOMIC_RELAXED);
	w->n_in = MIN((uint32_t)__atomic_load_n(&mb->n_in, __ATOMIC_RELAXED), (uint32_t)GATE_RANGES);
	w->n_out = MIN((uint32_t)__atomic_load_n(&mb->n_out, __ATOMIC_RELAXED), (uint32_t)GATE_RANGES);
	w->used = 0;
	for (unsigned i = 0; i < w->n_in; i++) {
		w->in[i] = mb->in[i];
		if (w->in[i].off > SLOT_WINDOW_SIZE || w->in[i].len > SLOT_WINDOW_SIZE - w->in[i].off)
			w->in[i].len = w->in[i].off = 0;
		w->used = MAX(w->used, w->in[i].off + w->in[i].len);
	}
	for (unsigned i = 0; i < w->n_out; i++)
		w->out[i] = mb->out[i];
	w->used = (w->used + 63) & ~63u;
}

/* What the gate is to copy when it gets the answer. */
static void post_copies(struct task *t)
{
	struct mailbox *mb = t->mb;
	mb->n_copy = t->window.n_copy;
	if (t->bulk_len) {
		mb->bulk_dst = t->bulk_dst;
		mb->bulk_src = t->bulk_src;
		mb->bulk_len = t->bulk_len;
		mb->n_copy |= GATE_BULK;
		t->bulk_len = 0;
	}
}

static void no_window(struct task *t)
{
	t->window.n_in = t->window.n_out = t->window.n_copy = 0;
}

int gate_wait(struct task *t)
{
	int rc = wait_request(t);
	t->in_guest = false;
	t->entries++;
	t->fastcall = false;
	no_window(t);
	if (rc)
		return rc;
	if (__atomic_load_n(&t->mb->kind, __ATOMIC_RELAXED) == MB_FASTCALL) {
		take_fastcall(t);
		return 0;
	}
	uint64_t uc = __atomic_load_n(&t->mb->uc, __ATOMIC_RELAXED), off = uc - t->slot_va;
	if (off < SLOT_STACK || off > SLOT_STACK_END - sizeof(struct gate_uc) || off % 8) {
		klog("task %d: frame outside of its slot, killed", t->tid);
		process_kill(t->proc, SIGKILL);
		return -EINTR;
	}
	t->uc = (struct gate_uc *)(void *)((char *)t->mb + off);
	t->regs = &t->uc->regs;
	return 0;
}

void gate_publish(struct task *t)
{
	struct mailbox *mb = t->mb;
	/* a trace shows every call, a filter of the guest judges every call */
	bool valid = !K.opt->strace && !t->seccomp && !t->seccomp_mode;
	if (t->published == t->cred && t->published_tid == t->tid && mb->ids_valid == valid)
		return;
	mb->pid = (uint32_t)t->proc->pid;
	mb->tid = (uint32_t)t->tid;
	mb->uid = uid_shown(t, t->cred->uid);
	mb->euid = uid_shown(t, t->cred->euid);
	mb->gid = gid_shown(t, t->cred->gid);
	mb->egid = gid_shown(t, t->cred->egid);
	mb->ids_valid = valid;
	t->published = t->cred;
	t->published_tid = t->tid;
}

/* What the gate answers by itself changed without new credentials (a filter, an id map): it asks again. */
void gate_unpublish(struct task *t)
{
	t->published = NULL;
	if (t->mb)
		__atomic_store_n(&t->mb->ids_valid, 0, __ATOMIC_SEQ_CST);
}

static void resume(struct task *t, uint32_t action)
{
	gate_publish(t);
	t->in_guest = true;
	post_copies(t);
	t->mb->action = action;
	post_reply(t->mb);
}

void gate_resume(struct task *t)
{
	resume(t, MB_RESUME);
}

void gate_return(struct task *t, long ret)
{
	t->mb->ret = ret;
	resume(t, MB_RETURN);
}

static long act(struct task *t)
{
	post_reply(t->mb);
	int rc = wait_request(t);
	if (rc)
		return rc;
	if (t->mb->kind != MB_RESULT) {
		klog("task %d: gate answered out of turn, killed", t->tid);
		if (t->proc)
			process_kill(t->proc, SIGKILL);
		return -EINTR;
	}
	return 0;
}

int gate_frame(struct task *t, long ret)
{
	t->mb->ret = ret;
	post_copies(t);
	t->mb->action = MB_TRAP;
	post_reply(t->mb);
	int rc = gate_wait(t);
	if (!rc && __atomic_load_n(&t->mb->kind, __ATOMIC_RELAXED) != MB_FRAME) {
		klog("task %d: no frame, killed", t->tid);
		process_kill(t->proc, SIGKILL);
		rc = -EINTR;
	}
	return rc;
}

int gate_flush(struct task *t)
{
	post_copies(t);
	t->mb->action = MB_COPY;
	long rc = act(t);
	t->window.n_copy = 0;
	return rc ? (int)rc : __atomic_load_n(&t->mb->result, __ATOMIC_RELAXED) ? -EFAULT : 0;
}

long gate_call(struct task *t, long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5)
{
	struct mailbox *mb = t->mb;
	if (t->dying)
		return -EINTR;
	mb->call_nr = (uint64_t)nr;
	mb->call[0] = a0;
	mb->call[1] = a1;
	mb->call[2] = a2;
	mb->call[3] = a3;
	mb->call[4] = a4;
	mb->call[5] = a5;
	mb->action = MB_CALL;
	long rc = act(t);
	return rc ? rc : (long)__atomic_load_n(&mb->result, __ATOMIC_RELAXED);
}

long gate_mmap_fd(struct task *t, uint64_t addr, uint64_t len, int prot, int flags, int host_fd, uint64_t off)
{
	uint64_t args[6] = { addr, len, (uint64_t)prot, (uint64_t)flags, 0, off };
	struct grant *g = grant_new(t, GRANT_MMAP, host_fd, args);
	if (!g)
		return -ENOMEM;
	uint64_t cookie = grant_cookie(g);
	long r = gate_call(t, SYS_mmap, addr, len, (uint64_t)prot, (uint64_t)flags, cookie, off);
	grant_drop(g);
	gate_call(t, SYS_close, (uint32_t)cookie, 0, 0, 0, 0, 0);
	return r;
}

int gate_set_fs(struct task *t, uint64_t base)
{
	if (!gate_layout.fsgsbase)
		return (int)gate_call(t, SYS_arch_prctl, 0x1002 /* ARCH_SET_FS */, base, 0, 0, 0, 0);
	t->mb->call[0] = base;
	t->mb->action = MB_SETFS;
	return (int)act(t);
}

int gate_cmpxchg(struct task *t, uint64_t addr, uint32_t expected, uint32_t new_value, uint32_t *old)
{
	if (t->dying)
		return -EINTR;
	t->mb->call[0] = addr;
	t->mb->call[1] = expected;
	t->mb->call[2] = new_value;
	t->mb->action = MB_CMPXCHG;
	long rc = act(t);
	if (rc)
		return (int)rc;
	if (__atomic_load_n(&t->mb->result2, __ATOMIC_RELAXED))
		return -EFAULT;
	*old = (uint32_t)__atomic_load_n(&t->mb->result, __ATOMIC_RELAXED);
	return 0;
}

void gate_kick(struct task *t)
{
	if (t->as && t->as->pid && !t->as->gone && t->host_tid)
		syscall(SYS_tgkill, t->as->pid, t->host_tid, GATE_KICK);
}

void gate_poke(struct task *t)
{
	__atomic_store_n(&t->poked, true, __ATOMIC_SEQ_CST);
	if (t->mb) {
		__atomic_store_n(&t->mb->state, MB_POKED, __ATOMIC_SEQ_CST);
		futex(&t->mb->state, FUTEX_WAKE, 2);
	}
	task_wake(t);
}

/* ---- new threads and processes ----------------------------------------------------------------------------------- */

/* What the gate finds in its mailbox from the first instruction on. Without wrgsbase no site is patched. */
static void mailbox_init(struct mailbox *mb, uint64_t slot_va)
{
	memset(mb, 0, sizeof(*mb));
	mb->self = slot_va;
	mb->table = gate_layout.base + GATE_TABLE;
	mb->entry = gate_layout.fsgsbase ? gate_layout.fast : 0;
	mb->spin = GUEST_SPIN;
}

/* Give child the slot and a copy of t's frame; rax and the stack are the caller's business. */
int gate_prepare(struct task *t, struct task *child, int kind)
{
	struct arena_mem *arena = t->as->arena;
	int slot;
	if (kind == GATE_FORK) {
		if (!(arena = gate_arena_new()))
			return -ENOMEM;
		slot = (int)t->slot;
		slot_take(arena, t->slot);
		child->mb = slot_map(arena, t->slot);
		if (!child->mb || !(child->as = as_new(arena))) {
			if (child->mb)
				munmap(child->mb, SLOT_SIZE);
			child->mb = NULL;
			gate_arena_put(arena);
			return -ENOMEM;
		}
	} else {
		slot = slot_alloc(arena, &child->mb);
		if (slot < 0)
			return slot;
		if (kind == GATE_THREAD) {
			child->as = t->as;
			t->as->refs++;
		} else {
			arena->refs++;
			if (!(child->as = as_new(arena))) {
				arena->refs--;
				return -ENOMEM;
			}
		}
	}
	child->slot = (unsigned)slot;
	child->slot_va = gate_layout.arena + child->slot * SLOT_SIZE;
	uint64_t off = (uint64_t)((char *)t->uc - (char *)t->mb);
	mailbox_init(child->mb, child->slot_va);
	memcpy((char *)child->mb + off - 8, (char *)t->mb + off - 8, SLOT_STACK_END - off + 8);
	child->uc = (struct gate_uc *)(void *)((char *)child->mb + off);
	child->regs = &child->uc->regs;
	child->uc->regs.fpstate += child->slot_va - t->slot_va;
	child->mb->uc = child->slot_va + off;
	child->mb->ctid = 1;
	return 0;
}

/* Undo gate_prepare() when no host thread was made. */
void gate_unprepare(struct task *child)
{
	if (child->mb)
		child->mb->ctid = 0;
	gate_release(child);
}

int gate_clone(struct task *t, struct task *child, int kind, uint64_t tls, bool set_tls)
{
	static const uint64_t flags[] = {
		[GATE_FORK] = CLONE_PARENT,
		[GATE_VFORK] = CLONE_PARENT | CLONE_VM | CLONE_CHILD_CLEARTID,
		[GATE_THREAD] = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID,
	};
	struct mailbox *mb = t->mb;
	struct grant *g = grant_new(child, kind == GATE_THREAD ? GRANT_THREAD : kind == GATE_VFORK ? GRANT_VFORK : GRANT_FORK,
		kind == GATE_FORK ? child->as->arena->memfd : -EBADF, NULL);
	if (!g)
		return -EAGAIN;
	child->mb->hello_fd = grant_cookie(g);
	child->mb->hello_fork = kind == GATE_FORK;
	uint64_t uc = child->mb->uc;
	mb->call[0] = flags[kind] | (set_tls ? CLONE_SETTLS : 0);
	mb->call[1] = (uc - 512) & ~15ull;
	mb->call[2] = kind == GATE_FORK ? grant_cookie(g) : 0;
	mb->call[3] = kind == GATE_FORK ? 0 : child->slot_va + offsetof(struct mailbox, ctid);
	mb->call[4] = tls;
	mb->call[5] = gate_layout.arena;
	mb->action = MB_CLONE;
	child->grant = g;
	long r = act(t);
	if (!r)
		r = (long)__atomic_load_n(&mb->result, __ATOMIC_RELAXED);
	if (r < 0) {
		child->grant = NULL;
		grant_drop(g);
	}
	return r < 0 ? (int)r : 0;
}

void gate_exit_thread(struct task *t)
{
	t->mb->call_nr = SYS_exit;
	t->mb->call[0] = 0;
	t->mb->action = MB_CALL;
	post_reply(t->mb);
}

/* The twin is done with the slot. It is reused only after the host thread has left it. */
void gate_release(struct task *t)
{
	if (t->mb && t->as) {
		struct retired *r = calloc(1, sizeof(*r));
		if (r && t->as->arena->refs) {
			r->mb = t->mb;
			r->slot = t->slot;
			r->arena = t->as->arena;
			list_add_tail(&retired, &r->node);
		} else {
			munmap(t->mb, SLOT_SIZE);
			free(r);
		}
	}
	t->mb = NULL;
	t->regs = NULL;
	t->uc = NULL;
	if (t->as)
		as_put(t->as);
	t->as = NULL;
}
