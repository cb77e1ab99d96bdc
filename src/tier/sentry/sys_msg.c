/* System V message queues. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/ipc.h"
#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/exit.h"

struct message { struct list node; int64_t type; size_t size; char data[]; };
struct queue { struct ipc_perm_k perm; struct list messages; struct waitq rd, wr; size_t bytes, limit; unsigned n, refs; bool dead; int64_t stime, rtime, ctime; int lspid, lrpid; };
static size_t all_bytes;
static struct queue *queue_at(struct task *t, int id)
{
	struct ipc_perm_k *p = ipc_table_get(&ipc_of(t)->msg, id);
	return p ? container_of(p, struct queue, perm) : NULL;
}

static void queue_put(struct queue *q)
{
	if (--q->refs == 0)
		free(q);
}

long sys_msgget(struct task *t, const uint64_t *a)
{
	struct ipcns *ns = ipc_of(t);
	struct ipc_perm_k *p;
	int id = ipc_find(t, &ns->msg, (int)a[0], (int)a[1], &p);
	if (id < 0 || p)
		return id;
	struct queue *q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	ipc_perm_init(t, &q->perm, (int)a[0], (unsigned)a[1]);
	q->refs = 1;
	q->limit = (size_t)ns->msg_mnb;
	q->ctime = ipc_seconds();
	list_init(&q->messages);
	waitq_init(&q->rd);
	waitq_init(&q->wr);
	if ((id = ipc_table_add(&ns->msg, &q->perm, (unsigned)ns->msg_mni)) < 0)
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
	struct queue *q = queue_at(t, (int)a[0]);
	int64_t type;
	if (a[2] > (uint64_t)ipc_of(t)->msg_max || (int64_t)a[2] < 0 || (int)a[0] < 0)
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
	q->stime = ipc_seconds();
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
	struct queue *q = queue_at(t, (int)a[0]);
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
	q->rtime = ipc_seconds();
	free(m);
	waitq_wake(&q->wr, 0);
	return (long)n;
}

struct guest_msqid_ds { struct guest_ipc_perm perm; int64_t stime, rtime, ctime; uint64_t cbytes, qnum, qbytes; int32_t lspid, lrpid; uint64_t pad[2]; };
struct guest_msginfo { int32_t msgpool, msgmap, msgmax, msgmnb, msgmni, msgssz, msgtql; uint16_t msgseg, pad; };

static long msg_stat(struct task *t, struct queue *q, uint64_t arg, long ret)
{
	struct guest_msqid_ds g = { .stime = q->stime, .rtime = q->rtime, .ctime = q->ctime, .cbytes = q->bytes, .qnum = q->n, .qbytes = q->limit, .lspid = q->lspid, .lrpid = q->lrpid };
	ipc_perm_out(t, &q->perm, &g.perm);
	return copyout(t, arg, &g, sizeof(g)) < 0 ? -EFAULT : ret;
}

static void msg_remove(struct ipcns *ns, struct queue *q)
{
	struct message *m, *n;
	list_for_each_safe(m, n, &q->messages, node) {
		list_del(&m->node);
		all_bytes -= m->size;
		free(m);
	}
	q->dead = true;
	ipc_table_del(&ns->msg, &q->perm);
	waitq_wake(&q->rd, 0);
	waitq_wake(&q->wr, 0);
	queue_put(q);
}

long sys_msgctl(struct task *t, const uint64_t *a)
{
	int cmd = (int)a[1] & ~0x100;
	if ((int)a[0] < 0)
		return -EINVAL;
	struct ipcns *ns = ipc_of(t);
	if (cmd == IPC_INFO || cmd == MSG_INFO) {
		struct guest_msginfo g = { .msgpool = ns->msg_mni * ns->msg_mnb / 1024, .msgmap = ns->msg_mnb, .msgmax = ns->msg_max, .msgmnb = ns->msg_mnb,
			.msgmni = ns->msg_mni, .msgssz = 16, .msgtql = ns->msg_mnb, .msgseg = 0xffff };
		if (cmd == MSG_INFO) {
			g.msgpool = (int32_t)ns->msg.n;
			g.msgmap = g.msgtql = 0;
			for (unsigned i = 0; i < ns->msg.cap; i++) {
				const struct queue *x = ns->msg.v[i] ? container_of(ns->msg.v[i], struct queue, perm) : NULL;
				g.msgmap += x ? (int32_t)x->n : 0;
				g.msgtql += x ? (int32_t)x->bytes : 0;
			}
		}
		return copyout(t, a[2], &g, sizeof(g)) < 0 ? -EFAULT : ipc_table_top(&ns->msg);
	}
	bool by_index = cmd == MSG_STAT || cmd == 13 /* MSG_STAT_ANY */;
	struct ipc_perm_k *perm = by_index ? ipc_table_at(&ns->msg, (int)a[0]) : ipc_table_get(&ns->msg, (int)a[0]);
	struct queue *q = perm ? container_of(perm, struct queue, perm) : NULL;
	if (!q)
		return -EINVAL;
	switch (cmd) {
	case IPC_STAT: case MSG_STAT: {
		int rc = ipc_permission(t, &q->perm, 4);
		return rc ? rc : msg_stat(t, q, a[2], by_index ? q->perm.id : 0);
	}
	case 13:
		return msg_stat(t, q, a[2], q->perm.id);
	case IPC_SET: {
		struct guest_msqid_ds g;
		if (copyin(t, &g, a[2], sizeof(g)) < 0)
			return -EFAULT;
		if (g.qbytes > (uint64_t)ns->msg_mnb && !capable(t, CAP_SYS_RESOURCE))
			return -EPERM;
		int rc = ipc_perm_set(t, &q->perm, &g.perm);
		if (rc)
			return rc;
		q->limit = g.qbytes;
		q->ctime = ipc_seconds();
		waitq_wake(&q->wr, 0);
		return 0;
	}
	case IPC_RMID:
		if (!ipc_owner(t, &q->perm))
			return -EPERM;
		msg_remove(ns, q);
		return 0;
	default:
		return -EINVAL;
	}
}

void msg_table_free(struct ipcns *n)
{
	for (unsigned i = 0; i < n->msg.cap; i++)
		if (n->msg.v[i])
			msg_remove(n, container_of(n->msg.v[i], struct queue, perm));
}

int msg_list(struct task *t, struct strbuf *b)
{
	const struct ipc_table *tb = &ipc_of(t)->msg;
	strbuf_puts(b, "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n");
	for (unsigned i = 0; i < tb->cap; i++) {
		const struct queue *q = tb->v[i] ? container_of(tb->v[i], struct queue, perm) : NULL;
		if (q)
			strbuf_printf(b, "%10d %10d  %4o  %10lu %10u %5d %5d %5u %5u %5u %5u %10llu %10llu %10llu\n", q->perm.key, q->perm.id, q->perm.mode, q->bytes,
				q->n, q->lspid, q->lrpid, uid_shown(t, q->perm.uid), gid_shown(t, q->perm.gid), uid_shown(t, q->perm.cuid), gid_shown(t, q->perm.cgid),
				(unsigned long long)q->stime, (unsigned long long)q->rtime, (unsigned long long)q->ctime);
	}
	return b->failed ? -ENOMEM : 0;
}
