/* System V semaphores and message queues. One IPC namespace: the sandbox. (Shared memory segments are mappings: mm's.)
 *
 * Identifiers are index + generation * MAX, as in Linux, so that a stale id of a removed object is EINVAL and not somebody else's. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/task.h"

enum {
	IPC_MAX = 32000,            /* objects of a kind: Linux's default SEMMNI, MSGMNI */
	SEMMSL_ = 32000, SEMOPM_ = 500, SEMVMX_ = 32767,
	MSGMNB_ = 16384, MSGMAX_ = 8192,
	IPC_BYTES_MAX = 64 << 20,   /* all queued messages of the sandbox together: a loop must not fill the sentry */
};

struct ipc_perm_k { int key; uint32_t uid, gid, cuid, cgid, mode; uint16_t seq; };
struct guest_ipc_perm { int32_t key; uint32_t uid, gid, cuid, cgid; uint16_t mode, pad1, seq, pad2; uint32_t pad3; uint64_t unused1, unused2; };
_Static_assert(sizeof(struct guest_ipc_perm) == 48, "struct ipc64_perm of x86-64");

struct obj { struct ipc_perm_k perm; bool used, dying; unsigned refs; };

/* ---- permission and tables --------------------------------------------------------------------------------------------------- */

static int ipc_permission(const struct task *t, const struct ipc_perm_k *p, unsigned want)
{
	const struct cred *c = t->cred;
	unsigned mode = p->mode;
	if (c->euid == p->uid || c->euid == p->cuid)
		mode >>= 6;
	else if (c->egid == p->gid || c->egid == p->cgid || cred_in_group(c, p->gid) || cred_in_group(c, p->cgid))
		mode >>= 3;
	return (want & ~(mode & 7)) == 0 || capable(t, CAP_IPC_OWNER) ? 0 : -EACCES;
}

static bool owner(const struct task *t, const struct ipc_perm_k *p)
{
	return t->cred->euid == p->uid || t->cred->euid == p->cuid || capable(t, CAP_SYS_ADMIN);
}

struct table { void **v; unsigned n, cap; uint16_t seq; };

static int table_add(struct table *tb, void *o, struct ipc_perm_k *perm)
{
	unsigned i = 0;
	while (i < tb->cap && tb->v[i])
		i++;
	if (i >= IPC_MAX)
		return -ENOSPC;
	if (i == tb->cap) {
		unsigned cap = tb->cap ? tb->cap * 2 : 16;
		void **v = realloc(tb->v, cap * sizeof(*v));
		if (!v)
			return -ENOMEM;
		memset(v + tb->cap, 0, (cap - tb->cap) * sizeof(*v));
		tb->v = v;
		tb->cap = cap;
	}
	tb->v[i] = o;
	tb->n++;
	perm->seq = tb->seq++ & 0x7fff;
	return (int)(perm->seq * (unsigned)IPC_MAX % (unsigned)INT_MAX) + (int)i;
}

static void *table_get(const struct table *tb, int id, struct ipc_perm_k *(*perm)(void *))
{
	if (id < 0)
		return NULL;
	unsigned i = (unsigned)id % IPC_MAX;
	void *o = i < tb->cap ? tb->v[i] : NULL;
	if (!o || (int)(perm(o)->seq * (unsigned)IPC_MAX % (unsigned)INT_MAX) + (int)i != id)
		return NULL;
	return o;
}

static int id_of(const struct table *tb, const void *o, const struct ipc_perm_k *perm)
{
	for (unsigned i = 0; i < tb->cap; i++)
		if (tb->v[i] == o)
			return (int)(perm->seq * (unsigned)IPC_MAX % (unsigned)INT_MAX) + (int)i;
	return -1;
}

static void table_del(struct table *tb, const void *o)
{
	for (unsigned i = 0; i < tb->cap; i++)
		if (tb->v[i] == o) {
			tb->v[i] = NULL;
			tb->n--;
		}
}

static void perm_init(struct task *t, struct ipc_perm_k *p, int key, unsigned mode)
{
	*p = (struct ipc_perm_k){ key, t->cred->euid, t->cred->egid, t->cred->euid, t->cred->egid, mode & 0777, 0 };
}

static void perm_out(const struct ipc_perm_k *p, struct guest_ipc_perm *g)
{
	*g = (struct guest_ipc_perm){ .key = p->key, .uid = p->uid, .gid = p->gid, .cuid = p->cuid, .cgid = p->cgid, .mode = (uint16_t)p->mode, .seq = p->seq };
}

static int64_t seconds(void) { return now_ns(CLOCK_REALTIME) / 1000000000; }

/* ---- semaphores ------------------------------------------------------------------------------------------------------------------ */

struct sem { int value, pid; unsigned waits_up, waits_zero; };
struct semset { struct ipc_perm_k perm; struct list undos; struct waitq wq; int64_t otime, ctime; unsigned n, refs; bool dead; struct sem s[]; };
/* SEM_UNDO of one process on one set. */
struct undo { struct list at_set; struct process *proc; struct semset *set; int16_t adj[]; };
static struct table sems;
static struct ipc_perm_k *sem_perm(void *o) { return &((struct semset *)o)->perm; }

static void semset_put(struct semset *x)
{
	if (--x->refs == 0)
		free(x);
}

long sys_semget(struct task *t, const uint64_t *a)
{
	int key = (int)a[0], n = (int)a[1], flags = (int)a[2];
	if (n < 0 || n > SEMMSL_)
		return -EINVAL;
	for (unsigned i = 0; key != IPC_PRIVATE && i < sems.cap; i++) {
		struct semset *x = sems.v[i];
		if (!x || x->perm.key != key)
			continue;
		if ((flags & IPC_CREAT) && (flags & IPC_EXCL))
			return -EEXIST;
		if ((unsigned)n > x->n)
			return -EINVAL;
		unsigned mode = ((unsigned)flags >> 6 | (unsigned)flags >> 3 | (unsigned)flags) & 7;
		int rc = ipc_permission(t, &x->perm, mode);
		return rc ? rc : id_of(&sems, x, &x->perm);
	}
	if (key != IPC_PRIVATE && !(flags & IPC_CREAT))
		return -ENOENT;
	if (n == 0)
		return -EINVAL;
	struct semset *x = calloc(1, sizeof(*x) + (size_t)n * sizeof(x->s[0]));
	if (!x)
		return -ENOMEM;
	perm_init(t, &x->perm, key, (unsigned)flags);
	x->n = (unsigned)n;
	x->refs = 1;
	x->ctime = seconds();
	list_init(&x->undos);
	waitq_init(&x->wq);
	int id = table_add(&sems, x, &x->perm);
	if (id < 0)
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
	x->otime = seconds();
	waitq_wake(&x->wq, 0);
	return 0;
}

static long do_semop(struct task *t, int id, uint64_t addr, uint64_t n, int64_t deadline)
{
	struct semset *x = table_get(&sems, id, sem_perm);
	struct sembuf *ops;
	bool changes = false, undoes = false;
	unsigned at;
	if (n == 0 || id < 0)
		return -EINVAL;
	if (n > SEMOPM_)
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
	perm_out(&x->perm, &g.perm);
	return copyout(t, arg, &g, sizeof(g)) < 0 ? -EFAULT : ret;
}

static void sem_remove(struct semset *x)
{
	struct undo *u, *n;
	list_for_each_safe(u, n, &x->undos, at_set) {
		list_del(&u->at_set);
		free(u);
	}
	x->dead = true;
	table_del(&sems, x);
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
		x->ctime = seconds();
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
	if (cmd == IPC_INFO || cmd == SEM_INFO) {
		struct guest_seminfo g = { .semmap = SEMMSL_, .semmni = IPC_MAX, .semmns = 1024000000, .semmnu = 1024000000, .semmsl = SEMMSL_, .semopm = SEMOPM_, .semume = SEMOPM_,
			.semusz = cmd == SEM_INFO ? (int32_t)sems.n : 20, .semvmx = SEMVMX_, .semaem = SEMVMX_ };
		int top = 0;
		for (unsigned i = 0; i < sems.cap; i++)
			if (sems.v[i])
				top = (int)i;
		return copyout(t, a[3], &g, sizeof(g)) < 0 ? -EFAULT : top;
	}
	bool by_index = cmd == SEM_STAT || cmd == 20 /* SEM_STAT_ANY */;
	struct semset *x = by_index ? ((unsigned)a[0] < sems.cap ? sems.v[a[0]] : NULL) : table_get(&sems, (int)a[0], sem_perm);
	if (!x)
		return -EINVAL;
	long rc = 0;
	switch (cmd) {
	case IPC_STAT: case SEM_STAT:
		rc = ipc_permission(t, &x->perm, 4);
		return rc ? rc : sem_stat(t, x, a[3], by_index ? id_of(&sems, x, &x->perm) : 0);
	case 20:
		return sem_stat(t, x, a[3], id_of(&sems, x, &x->perm));
	case IPC_SET: {
		struct guest_semid_ds g;
		if (copyin(t, &g, a[3], sizeof(g)) < 0)
			return -EFAULT;
		if (!owner(t, &x->perm))
			return -EPERM;
		x->perm.uid = g.perm.uid;
		x->perm.gid = g.perm.gid;
		x->perm.mode = g.perm.mode & 0777;
		x->ctime = seconds();
		return 0;
	}
	case IPC_RMID:
		if (!owner(t, &x->perm))
			return -EPERM;
		sem_remove(x);
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
	if ((int)a[3] < 0 || (int)a[3] > SEMVMX_)
		return -ERANGE;
	s->value = (int)a[3];
	s->pid = t->proc->pid;
	forget_undo(x, num);
	x->ctime = seconds();
	waitq_wake(&x->wq, 0);
	return 0;
}

/* ---- message queues ---------------------------------------------------------------------------------------------------------------- */

struct message { struct list node; int64_t type; size_t size; char data[]; };
struct queue { struct ipc_perm_k perm; struct list messages; struct waitq rd, wr; size_t bytes, limit; unsigned n, refs; bool dead; int64_t stime, rtime, ctime; int lspid, lrpid; };
static struct table queues;
static size_t all_bytes;
static struct ipc_perm_k *queue_perm(void *o) { return &((struct queue *)o)->perm; }

static void queue_put(struct queue *q)
{
	if (--q->refs == 0)
		free(q);
}

long sys_msgget(struct task *t, const uint64_t *a)
{
	int key = (int)a[0], flags = (int)a[1];
	for (unsigned i = 0; key != IPC_PRIVATE && i < queues.cap; i++) {
		struct queue *q = queues.v[i];
		if (!q || q->perm.key != key)
			continue;
		if ((flags & IPC_CREAT) && (flags & IPC_EXCL))
			return -EEXIST;
		int rc = ipc_permission(t, &q->perm, ((unsigned)flags >> 6 | (unsigned)flags >> 3 | (unsigned)flags) & 7);
		return rc ? rc : id_of(&queues, q, &q->perm);
	}
	if (key != IPC_PRIVATE && !(flags & IPC_CREAT))
		return -ENOENT;
	struct queue *q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	perm_init(t, &q->perm, key, (unsigned)flags);
	q->refs = 1;
	q->limit = MSGMNB_;
	q->ctime = seconds();
	list_init(&q->messages);
	waitq_init(&q->rd);
	waitq_init(&q->wr);
	int id = table_add(&queues, q, &q->perm);
	if (id < 0)
		free(q);
	return id;
}

/* Sleep on a queue: 0 look again, or what the call answers. */
static int queue_sleep(struct task *t, struct queue *q, struct waitq *wq)
{
	struct waiter w;
	q->refs++;
	waiter_init(&w, t);
	waitq_add(wq, &w);
	int rc = task_sleep(t, -1);
	waitq_del(&w);
	if (q->dead)
		rc = -EIDRM;
	else if (rc)
		rc = -ERESTARTNOHAND;
	queue_put(q);
	return rc;
}

long sys_msgsnd(struct task *t, const uint64_t *a)
{
	struct queue *q = table_get(&queues, (int)a[0], queue_perm);
	int64_t type;
	if (a[2] > MSGMAX_ || (int64_t)a[2] < 0 || (int)a[0] < 0)
		return -EINVAL;
	if (copyin(t, &type, a[1], 8) < 0)
		return -EFAULT;
	if (type < 1 || !q)
		return -EINVAL;
	struct message *m = malloc(sizeof(*m) + a[2]);
	if (!m)
		return -ENOMEM;
	m->type = type;
	m->size = a[2];
	long rc = a[2] && copyin(t, m->data, a[1] + 8, a[2]) < 0 ? -EFAULT : ipc_permission(t, &q->perm, 2);
	while (rc == 0 && (q->bytes + m->size > q->limit || q->n >= q->limit || all_bytes + m->size > IPC_BYTES_MAX))
		rc = (int)a[3] & IPC_NOWAIT ? -EAGAIN : queue_sleep(t, q, &q->wr);
	if (rc) {
		free(m);
		return rc;
	}
	list_add_tail(&q->messages, &m->node);
	q->bytes += m->size;
	all_bytes += m->size;
	q->n++;
	q->lspid = t->proc->pid;
	q->stime = seconds();
	waitq_wake(&q->rd, 0);
	return 0;
}

static struct message *choose(struct queue *q, int64_t type, int flags)
{
	struct message *m, *best = NULL;
	int64_t i = 0;
	list_for_each(m, &q->messages, node) {
		if (flags & MSG_COPY) {
			if (i++ == type)
				return m;
			continue;
		}
		if (type == 0 || (type > 0 && ((flags & MSG_EXCEPT) ? m->type != type : m->type == type)))
			return m;
		if (type < 0 && m->type <= (type == INT64_MIN ? INT64_MAX : -type) && (!best || m->type < best->type))
			best = m;
	}
	return best;
}

long sys_msgrcv(struct task *t, const uint64_t *a)
{
	struct queue *q = table_get(&queues, (int)a[0], queue_perm);
	int64_t type = (int64_t)a[3];
	int flags = (int)a[4];
	struct message *m = NULL;
	if ((int64_t)a[2] < 0 || (int)a[0] < 0 || !q)
		return -EINVAL;
	if ((flags & MSG_COPY) && (!(flags & IPC_NOWAIT) || (flags & MSG_EXCEPT)))
		return -EINVAL;
	long rc = ipc_permission(t, &q->perm, 4);
	while (rc == 0 && !(m = choose(q, type, flags)))
		rc = flags & IPC_NOWAIT ? -ENOMSG : queue_sleep(t, q, &q->rd);
	if (rc)
		return rc;
	if (m->size > a[2] && !(flags & MSG_NOERROR))
		return -E2BIG;
	size_t n = m->size < a[2] ? m->size : a[2];
	if (copyout(t, a[1], &m->type, 8) < 0 || (n && copyout(t, a[1] + 8, m->data, n) < 0))
		return -EFAULT;
	if (flags & MSG_COPY)
		return (long)n;
	list_del(&m->node);
	q->bytes -= m->size;
	all_bytes -= m->size;
	q->n--;
	q->lrpid = t->proc->pid;
	q->rtime = seconds();
	free(m);
	waitq_wake(&q->wr, 0);
	return (long)n;
}

struct guest_msqid_ds { struct guest_ipc_perm perm; int64_t stime, rtime, ctime; uint64_t cbytes, qnum, qbytes; int32_t lspid, lrpid; uint64_t pad[2]; };
struct guest_msginfo { int32_t msgpool, msgmap, msgmax, msgmnb, msgmni, msgssz, msgtql; uint16_t msgseg, pad; };

static long msg_stat(struct task *t, struct queue *q, uint64_t arg, long ret)
{
	struct guest_msqid_ds g = { .stime = q->stime, .rtime = q->rtime, .ctime = q->ctime, .cbytes = q->bytes, .qnum = q->n, .qbytes = q->limit, .lspid = q->lspid, .lrpid = q->lrpid };
	perm_out(&q->perm, &g.perm);
	return copyout(t, arg, &g, sizeof(g)) < 0 ? -EFAULT : ret;
}

static void msg_remove(struct queue *q)
{
	struct message *m, *n;
	list_for_each_safe(m, n, &q->messages, node) {
		list_del(&m->node);
		all_bytes -= m->size;
		free(m);
	}
	q->dead = true;
	table_del(&queues, q);
	waitq_wake(&q->rd, 0);
	waitq_wake(&q->wr, 0);
	queue_put(q);
}

long sys_msgctl(struct task *t, const uint64_t *a)
{
	int cmd = (int)a[1] & ~0x100;
	if ((int)a[0] < 0)
		return -EINVAL;
	if (cmd == IPC_INFO || cmd == MSG_INFO) {
		struct guest_msginfo g = { .msgpool = cmd == MSG_INFO ? (int32_t)queues.n : 1024, .msgmap = MSGMNB_, .msgmax = MSGMAX_, .msgmnb = MSGMNB_, .msgmni = IPC_MAX, .msgssz = 16, .msgtql = MSGMNB_,
			.msgseg = 0xffff };
		int top = 0;
		for (unsigned i = 0; i < queues.cap; i++)
			if (queues.v[i])
				top = (int)i;
		return copyout(t, a[2], &g, sizeof(g)) < 0 ? -EFAULT : top;
	}
	bool by_index = cmd == MSG_STAT || cmd == 13 /* MSG_STAT_ANY */;
	struct queue *q = by_index ? ((unsigned)a[0] < queues.cap ? queues.v[a[0]] : NULL) : table_get(&queues, (int)a[0], queue_perm);
	if (!q)
		return -EINVAL;
	switch (cmd) {
	case IPC_STAT: case MSG_STAT: {
		int rc = ipc_permission(t, &q->perm, 4);
		return rc ? rc : msg_stat(t, q, a[2], by_index ? id_of(&queues, q, &q->perm) : 0);
	}
	case 13:
		return msg_stat(t, q, a[2], id_of(&queues, q, &q->perm));
	case IPC_SET: {
		struct guest_msqid_ds g;
		if (copyin(t, &g, a[2], sizeof(g)) < 0)
			return -EFAULT;
		if (!owner(t, &q->perm) || (g.qbytes > MSGMNB_ && !capable(t, CAP_SYS_RESOURCE)))
			return -EPERM;
		q->perm.uid = g.perm.uid;
		q->perm.gid = g.perm.gid;
		q->perm.mode = g.perm.mode & 0777;
		q->limit = g.qbytes;
		q->ctime = seconds();
		waitq_wake(&q->wr, 0);
		return 0;
	}
	case IPC_RMID:
		if (!owner(t, &q->perm))
			return -EPERM;
		msg_remove(q);
		return 0;
	default:
		return -EINVAL;
	}
}

/* ---- exit -------------------------------------------------------------------------------------------------------------------------------- */

void ipc_task_exit(struct task *t, bool last)
{
	if (!last)
		return;
	for (unsigned i = 0; i < sems.cap; i++) {
		struct semset *x = sems.v[i];
		struct undo *u = x ? undo_of(x, t->proc, false) : NULL;
		if (!u)
			continue;
		for (unsigned k = 0; k < x->n; k++) {
			int v = x->s[k].value + u->adj[k];
			if (u->adj[k]) {
				x->s[k].value = v < 0 ? 0 : v > SEMVMX_ ? SEMVMX_ : v;
				x->s[k].pid = t->proc->pid;
			}
		}
		list_del(&u->at_set);
		free(u);
		waitq_wake(&x->wq, 0);
	}
}
