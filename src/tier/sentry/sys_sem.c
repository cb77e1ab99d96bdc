/* System V semaphores. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/ipc.h"
#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/exit.h"

struct sem { int value, pid; unsigned waits_up, waits_zero; };
struct semset { struct ipc_perm_k perm; struct list undos; struct waitq wq; int64_t otime, ctime; unsigned n, refs; bool dead; struct sem s[]; };
/* SEM_UNDO of one process on one set. */
struct undo { struct list at_set, all; struct process *proc; struct semset *set; int16_t adj[]; };
static struct ipc_perm_k *sem_at(struct task *t, int id) { return ipc_table_get(&ipc_of(t)->sem, id); }
static struct list all_undos = LIST_INIT(all_undos);

static unsigned sems_total(const struct ipcns *ns)
{
	unsigned n = 0;
	for (unsigned i = 0; i < ns->sem.cap; i++)
		n += ns->sem.v[i] ? container_of(ns->sem.v[i], struct semset, perm)->n : 0;
	return n;
}

static void semset_put(struct semset *x)
{
	if (--x->refs == 0)
		free(x);
}

long sys_semget(struct task *t, const uint64_t *a)
{
	struct ipcns *ns = ipc_of(t);
	int key = (int)a[0], n = (int)a[1], flags = (int)a[2], id;
	struct ipc_perm_k *p;
	if (n < 0 || n > ns->sem_ctls[0])
		return -EINVAL;
	if ((id = ipc_find(t, &ns->sem, key, flags, &p)) < 0 && id != -EACCES)
		return id;
	if (p || id < 0) {
		struct semset *x = p ? container_of(p, struct semset, perm) : NULL;
		return x && (unsigned)n > x->n ? -EINVAL : id;
	}
	if (n == 0)
		return -EINVAL;
	if (sems_total(ns) + (unsigned)n > (unsigned)ns->sem_ctls[1])
		return -ENOSPC;
	struct semset *x = calloc(1, sizeof(*x) + (size_t)n * sizeof(x->s[0]));
	if (!x)
		return -ENOMEM;
	ipc_perm_init(t, &x->perm, key, (unsigned)flags);
	x->n = (unsigned)n;
	x->refs = 1;
	x->ctime = ipc_seconds();
	list_init(&x->undos);
	waitq_init(&x->wq);
	if ((id = ipc_table_add(&ns->sem, &x->perm, (unsigned)ns->sem_ctls[3])) < 0)
		free(x);
	return id;
}

static struct undo *undo_of(struct semset *x, struct process *p, bool make)
{
	struct undo *u;
	list_for_each(u, &x->undos, at_set)
		if (u->proc == p)
			return u;
	u = make ? calloc(1, sizeof(*u) + x->n * sizeof(u->adj[0])) : NULL;
	if (u) {
		u->proc = p;
		u->set = x;
		list_add(&x->undos, &u->at_set);
		list_add(&all_undos, &u->all);
	}
	return u;
}

/* All operations or none. 0 done, 1 must wait (*ret_at: for which), negative errno. */
static int try_ops(struct task *t, struct semset *x, const struct sembuf *ops, unsigned n, struct undo *u, unsigned *ret_at)
{
	unsigned i;
	int rc = 0;
	for (i = 0; i < n; i++) {
		struct sem *s = &x->s[ops[i].sem_num];
		int v = s->value + ops[i].sem_op;
		if (ops[i].sem_op == 0 ? s->value != 0 : v < 0) {
			rc = ops[i].sem_flg & IPC_NOWAIT ? -EAGAIN : 1;
			break;
		}
		if (v > SEMVMX_ || ((ops[i].sem_flg & SEM_UNDO) && (u->adj[ops[i].sem_num] - ops[i].sem_op < -SEMVMX_ - 1 || u->adj[ops[i].sem_num] - ops[i].sem_op > SEMVMX_))) {
			rc = -ERANGE;
			break;
		}
		s->value = v;
		if (ops[i].sem_flg & SEM_UNDO)
			u->adj[ops[i].sem_num] = (int16_t)(u->adj[ops[i].sem_num] - ops[i].sem_op);
	}
	*ret_at = i;
	if (rc) {
		while (i-- > 0) {
			x->s[ops[i].sem_num].value -= ops[i].sem_op;
			if (ops[i].sem_flg & SEM_UNDO)
				u->adj[ops[i].sem_num] = (int16_t)(u->adj[ops[i].sem_num] + ops[i].sem_op);
		}
		return rc;
	}
	for (i = 0; i < n; i++)
		x->s[ops[i].sem_num].pid = t->proc->pid;
	x->otime = ipc_seconds();
	waitq_wake(&x->wq, 0);
	return 0;
}

static long do_semop(struct task *t, int id, uint64_t addr, uint64_t n, int64_t deadline)
{
	struct ipc_perm_k *perm = sem_at(t, id);
	struct semset *x = perm ? container_of(perm, struct semset, perm) : NULL;
	struct sembuf *ops;
	bool changes = false, undoes = false;
	unsigned at;
	if (n == 0 || id < 0)
		return -EINVAL;
	if (n > (uint64_t)ipc_of(t)->sem_ctls[2])
		return -E2BIG;
	ops = malloc(n * sizeof(*ops));
	if (!ops)
		return -ENOMEM;
	long rc = copyin(t, ops, addr, n * sizeof(*ops)) < 0 ? -EFAULT : !x ? -EINVAL : 0;
	for (uint64_t i = 0; rc == 0 && i < n; i++) {
		changes |= ops[i].sem_op != 0;
		undoes |= (ops[i].sem_flg & SEM_UNDO) != 0;
		if (ops[i].sem_num >= x->n)
			rc = -EFBIG;
	}
	if (rc == 0)
		rc = ipc_permission(t, &x->perm, changes ? 2 : 4);
	if (rc) {
		free(ops);
		return rc;
	}
	x->refs++;
	for (;;) {
		struct undo *u = undoes ? undo_of(x, t->proc, true) : NULL;
		struct waiter w;
		if (undoes && !u) {
			rc = -ENOMEM;
			break;
		}
		rc = try_ops(t, x, ops, (unsigned)n, u, &at);
		if (rc <= 0)
			break;
		unsigned *count = ops[at].sem_op ? &x->s[ops[at].sem_num].waits_up : &x->s[ops[at].sem_num].waits_zero;
		(*count)++;
		waiter_init(&w, t);
		waitq_add(&x->wq, &w);
		int k = task_sleep(t, deadline);
		waitq_del(&w);
		(*count)--;
		if (x->dead) {
			rc = -EIDRM;
			break;
		}
		if (k) {
			rc = k == -ETIMEDOUT ? -EAGAIN : -EINTR; /* never restarted: signal(7) */
			break;
		}
	}
	semset_put(x);
	free(ops);
	return rc;
}

long sys_semop(struct task *t, const uint64_t *a) { return do_semop(t, (int)a[0], a[1], (unsigned)a[2], -1); }

long sys_semtimedop(struct task *t, const uint64_t *a)
{
	struct timespec ts;
	if (!a[3])
		return do_semop(t, (int)a[0], a[1], (unsigned)a[2], -1);
	if (copyin(t, &ts, a[3], sizeof(ts)) < 0)
		return -EFAULT;
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= 1000000000)
		return -EINVAL;
	return do_semop(t, (int)a[0], a[1], (unsigned)a[2], now_ns(CLOCK_MONOTONIC) + ts_ns(ts));
}

struct guest_semid_ds { struct guest_ipc_perm perm; int64_t otime, pad1, ctime, pad2; uint64_t nsems, pad3, pad4; };
struct guest_seminfo { int32_t semmap, semmni, semmns, semmnu, semmsl, semopm, semume, semusz, semvmx, semaem; };

static long sem_stat(struct task *t, struct semset *x, uint64_t arg, long ret)
{
	struct guest_semid_ds g = { .otime = x->otime, .ctime = x->ctime, .nsems = x->n };
	ipc_perm_out(t, &x->perm, &g.perm);
	return copyout(t, arg, &g, sizeof(g)) < 0 ? -EFAULT : ret;
}

static void sem_remove(struct ipcns *ns, struct semset *x)
{
	struct undo *u, *n;
	list_for_each_safe(u, n, &x->undos, at_set) {
		list_del(&u->at_set);
		list_del(&u->all);
		free(u);
	}
	x->dead = true;
	ipc_table_del(&ns->sem, &x->perm);
	waitq_wake(&x->wq, 0);
	semset_put(x);
}

static void forget_undo(struct semset *x, int which)
{
	struct undo *u;
	list_for_each(u, &x->undos, at_set)
		for (unsigned i = 0; i < x->n; i++)
			if (which < 0 || (unsigned)which == i)
				u->adj[i] = 0;
}

static long sem_all(struct task *t, struct semset *x, uint64_t arg, bool set)
{
	uint16_t *v = malloc(x->n * sizeof(*v));
	long rc = 0;
	if (!v)
		return -ENOMEM;
	if (set && copyin(t, v, arg, x->n * sizeof(*v)) < 0)
		rc = -EFAULT;
	for (unsigned i = 0; rc == 0 && i < x->n; i++) {
		if (!set)
			v[i] = (uint16_t)x->s[i].value;
		else if (v[i] > SEMVMX_)
			rc = -ERANGE;
	}
	if (rc == 0 && !set)
		rc = copyout(t, arg, v, x->n * sizeof(*v));
	for (unsigned i = 0; rc == 0 && set && i < x->n; i++) {
		x->s[i].value = v[i];
		x->s[i].pid = t->proc->pid;
	}
	if (rc == 0 && set) {
		forget_undo(x, -1);
		x->ctime = ipc_seconds();
		waitq_wake(&x->wq, 0);
	}
	free(v);
	return rc;
}

long sys_semctl(struct task *t, const uint64_t *a)
{
	int cmd = (int)a[2] & ~0x100 /* IPC_64 */, num = (int)a[1];
	if ((int)a[0] < 0)
		return -EINVAL;
	struct ipcns *ns = ipc_of(t);
	if (cmd == IPC_INFO || cmd == SEM_INFO) {
		const int *c = ns->sem_ctls;
		struct guest_seminfo g = { .semmap = c[1], .semmni = c[3], .semmns = c[1], .semmnu = c[1], .semmsl = c[0], .semopm = c[2], .semume = c[2],
			.semusz = cmd == SEM_INFO ? (int32_t)ns->sem.n : 20, .semvmx = SEMVMX_, .semaem = cmd == SEM_INFO ? (int32_t)sems_total(ns) : SEMVMX_ };
		return copyout(t, a[3], &g, sizeof(g)) < 0 ? -EFAULT : ipc_table_top(&ns->sem);
	}
	if (cmd == SETVAL && ((int)a[3] < 0 || (int)a[3] > SEMVMX_))
		return -ERANGE;
	bool by_index = cmd == SEM_STAT || cmd == 20 /* SEM_STAT_ANY */;
	struct ipc_perm_k *perm = by_index ? ipc_table_at(&ns->sem, (int)a[0]) : sem_at(t, (int)a[0]);
	struct semset *x = perm ? container_of(perm, struct semset, perm) : NULL;
	if (!x)
		return -EINVAL;
	long rc = 0;
	switch (cmd) {
	case IPC_STAT: case SEM_STAT:
		rc = ipc_permission(t, &x->perm, 4);
		return rc ? rc : sem_stat(t, x, a[3], by_index ? x->perm.id : 0);
	case 20:
		return sem_stat(t, x, a[3], x->perm.id);
	case IPC_SET: {
		struct guest_semid_ds g;
		if (copyin(t, &g, a[3], sizeof(g)) < 0)
			return -EFAULT;
		if ((rc = ipc_perm_set(t, &x->perm, &g.perm)) == 0)
			x->ctime = ipc_seconds();
		return rc;
	}
	case IPC_RMID:
		if (!ipc_owner(t, &x->perm))
			return -EPERM;
		sem_remove(ns, x);
		return 0;
	case GETALL: case SETALL:
		rc = ipc_permission(t, &x->perm, cmd == SETALL ? 2 : 4);
		return rc ? rc : sem_all(t, x, a[3], cmd == SETALL);
	case GETVAL: case GETPID: case GETNCNT: case GETZCNT: case SETVAL:
		break;
	default:
		return -EINVAL;
	}
	if (num < 0 || (unsigned)num >= x->n)
		return -EINVAL;
	rc = ipc_permission(t, &x->perm, cmd == SETVAL ? 2 : 4);
	if (rc)
		return rc;
	struct sem *s = &x->s[num];
	if (cmd == GETVAL)
		return s->value;
	if (cmd == GETPID)
		return s->pid;
	if (cmd == GETNCNT)
		return s->waits_up;
	if (cmd == GETZCNT)
		return s->waits_zero;
	s->value = (int)a[3];
	s->pid = t->proc->pid;
	forget_undo(x, num);
	x->ctime = ipc_seconds();
	waitq_wake(&x->wq, 0);
	return 0;
}

/* ---- exit, unshare, listing ------------------------------------------------------------------------------------------------- */

/* SEM_UNDO of a process is carried out: at its end, and when it leaves the namespace. */
static void undo_process(struct process *p)
{
	struct undo *u, *next;
	list_for_each_safe(u, next, &all_undos, all) {
		struct semset *x = u->set;
		if (u->proc != p)
			continue;
		for (unsigned k = 0; k < x->n; k++) {
			int v = x->s[k].value + u->adj[k];
			if (u->adj[k]) {
				x->s[k].value = v < 0 ? 0 : v > SEMVMX_ ? SEMVMX_ : v;
				x->s[k].pid = p->pid;
			}
		}
		list_del(&u->at_set);
		list_del(&u->all);
		free(u);
		waitq_wake(&x->wq, 0);
	}
}

void ipc_task_exit(struct task *t, bool last)
{
	if (last)
		undo_process(t->proc);
}

void sem_undo_now(struct task *t) { undo_process(t->proc); }

void sem_table_free(struct ipcns *n)
{
	for (unsigned i = 0; i < n->sem.cap; i++)
		if (n->sem.v[i])
			sem_remove(n, container_of(n->sem.v[i], struct semset, perm));
}

int sem_list(struct task *t, struct strbuf *b)
{
	const struct ipc_table *tb = &ipc_of(t)->sem;
	strbuf_puts(b, "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n");
	for (unsigned i = 0; i < tb->cap; i++) {
		const struct semset *x = tb->v[i] ? container_of(tb->v[i], struct semset, perm) : NULL;
		if (x)
			strbuf_printf(b, "%10d %10d  %4o %10u %5u %5u %5u %5u %10llu %10llu\n", x->perm.key, x->perm.id, x->perm.mode, x->n,
				uid_shown(t, x->perm.uid), gid_shown(t, x->perm.gid), uid_shown(t, x->perm.cuid), gid_shown(t, x->perm.cgid),
				(unsigned long long)x->otime, (unsigned long long)x->ctime);
	}
	return b->failed ? -ENOMEM : 0;
}
