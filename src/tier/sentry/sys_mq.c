/* POSIX message queues: names in one flat space of the sandbox, descriptors that poll, messages by priority. */
#include <errno.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

enum {
	MQ_HARD_MSG = 65536, MQ_HARD_SIZE = 16 << 20,
	MQ_PRIO_MAX_ = 32768,
	MQ_BYTES_MAX = 64 << 20,                       /* all queues together: a loop must not fill the sentry */
};

struct mq_limits mq_limits = { 10, 10, 8192, 8192, 256 };

struct mq_message { struct list node; unsigned prio; size_t size; char data[]; };
struct mq {
	struct list node;     /* named queues */
	struct list every;    /* all queues */
	uint32_t payer;       /* real uid of the maker */
	unsigned refs;
	char *name;
	uint32_t mode, uid, gid;
	long maxmsg, msgsize, count;
	struct list messages; /* highest priority first, oldest first within */
	struct waitq wq;
	struct process *notify; /* registered, NULL: nobody */
	int notify_kind, notify_signo;
	uint64_t notify_value;
	unsigned waiting;     /* receivers that sleep: they come before the notification */
};
static struct list names = LIST_INIT(names), all = LIST_INIT(all);
static unsigned n_names;
static size_t mq_bytes;

struct guest_mq_attr { int64_t flags, maxmsg, msgsize, curmsgs, reserved[4]; };

static void mq_put(struct mq *q)
{
	struct mq_message *m, *n;
	if (--q->refs)
		return;
	list_for_each_safe(m, n, &q->messages, node) {
		list_del(&m->node);
		mq_bytes -= m->size;
		free(m);
	}
	list_del(&q->every);
	free(q->name);
	free(q);
}

static unsigned mq_poll(struct file *f, struct poll_table *pt)
{
	struct mq *q = f->priv;
	poll_wait(pt, &q->wq);
	return (q->count ? POLLIN | POLLRDNORM : 0) | (q->count < q->maxmsg ? POLLOUT | POLLWRNORM : 0);
}

static int mq_flush(struct task *t, struct file *f)
{
	struct mq *q = f->priv;
	if (t && q->notify == t->proc)
		q->notify = NULL;
	return 0;
}

static ssize_t mq_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct mq *q = f->priv;
	char text[80];
	(void)t;
	size_t bytes = 0;
	struct mq_message *m;
	list_for_each(m, &q->messages, node)
		bytes += m->size;
	int n = snprintf(text, sizeof(text), "QSIZE:%-10zu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", bytes, q->notify ? q->notify_kind : 0, q->notify ? q->notify_signo : 0,
		q->notify ? q->notify->pid : 0);
	int64_t at = pos ? *pos : 0;
	if (at >= n)
		return 0;
	ssize_t r = uio_put(u, text + at, (size_t)(n - at) < u->left ? (size_t)(n - at) : u->left);
	if (r > 0 && pos)
		*pos += r;
	return r;
}

static void mq_release(struct file *f) { mq_put(f->priv); }
static const struct file_ops mq_ops = { .read = mq_read, .poll = mq_poll, .flush = mq_flush, .release = mq_release };

static struct mq *find(const char *name)
{
	struct mq *q;
	list_for_each(q, &names, node)
		if (strcmp(q->name, name) == 0)
			return q;
	return NULL;
}

static int get_name(struct task *t, uint64_t addr, char name[256])
{
	ssize_t n = copyin_str(t, name, addr, 256, -ENAMETOOLONG);
	if (n < 0)
		return (int)n;
	/* The C library has taken the leading slash off. */
	if (n == 0)
		return -ENOENT;
	return strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ? -EACCES : 0;
}

/* What RLIMIT_MSGQUEUE counts (getrlimit(2)): messages, their headers and the tree of priorities, 48 bytes each. */
static uint64_t mq_cost(int64_t maxmsg, int64_t msgsize)
{
	return (uint64_t)maxmsg * 48 + (uint64_t)MIN(maxmsg, (int64_t)MQ_PRIO_MAX_) * 48 + (uint64_t)maxmsg * (uint64_t)msgsize;
}

static uint64_t mq_cost_of(uint32_t uid)
{
	const struct mq *q;
	uint64_t n = 0;
	list_for_each(q, &all, every)
		n += q->payer == uid ? mq_cost(q->maxmsg, q->msgsize) : 0;
	return n;
}

static int make(struct task *t, const char *name, uint32_t mode, uint64_t attr, struct mq **ret)
{
	const struct mq_limits *l = &mq_limits;
	struct guest_mq_attr g = { .maxmsg = MIN(l->msg_default, l->msg_max), .msgsize = MIN(l->msgsize_default, l->msgsize_max) };
	if (attr) {
		bool big = capable(t, CAP_SYS_RESOURCE);
		if (copyin(t, &g, attr, sizeof(g)) < 0)
			return -EFAULT;
		if (g.maxmsg <= 0 || g.msgsize <= 0 || g.maxmsg > (big ? MQ_HARD_MSG : l->msg_max) || g.msgsize > (big ? MQ_HARD_SIZE : l->msgsize_max))
			return -EINVAL;
	}
	uint64_t cost = mq_cost(g.maxmsg, g.msgsize);
	if (cost > t->proc->rlim[RLIMIT_MSGQUEUE].rlim_cur || mq_cost_of(t->cred->uid) > t->proc->rlim[RLIMIT_MSGQUEUE].rlim_cur - cost)
		return -EMFILE;
	if (n_names >= (unsigned)l->queues_max && !capable(t, CAP_SYS_RESOURCE))
		return -ENOSPC;
	struct mq *q = calloc(1, sizeof(*q));
	if (!q || !(q->name = strdup(name))) {
		free(q);
		return -ENOMEM;
	}
	q->refs = 1;
	q->mode = mode & ~t->fs->umask & 0777;
	q->uid = t->cred->fsuid;
	q->gid = t->cred->fsgid;
	q->maxmsg = (long)g.maxmsg;
	q->msgsize = (long)g.msgsize;
	list_init(&q->messages);
	waitq_init(&q->wq);
	q->payer = t->cred->uid;
	list_add_tail(&all, &q->every);
	list_add_tail(&names, &q->node);
	n_names++;
	*ret = q;
	return 0;
}

static int may_open(const struct task *t, const struct mq *q, unsigned flags)
{
	unsigned want = (flags & O_ACCMODE) == O_RDONLY ? 4 : (flags & O_ACCMODE) == O_WRONLY ? 2 : 6, mode = q->mode;
	if (t->cred->fsuid == q->uid)
		mode >>= 6;
	else if (cred_in_group(t->cred, q->gid))
		mode >>= 3;
	return (want & ~(mode & 7)) == 0 || capable(t, CAP_DAC_OVERRIDE) ? 0 : -EACCES;
}

long sys_mq_open(struct task *t, const uint64_t *a)
{
	char name[256];
	unsigned flags = (unsigned)a[1];
	int rc = get_name(t, a[0], name);
	if (rc)
		return rc;
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	struct mq *q = find(name);
	if (q && (flags & O_CREAT) && (flags & O_EXCL))
		return -EEXIST;
	if (!q && !(flags & O_CREAT))
		return -ENOENT;
	rc = q ? may_open(t, q, flags) : make(t, name, (uint32_t)a[2], a[3], &q);
	if (rc)
		return rc;
	struct file *f = anon_file_new("mqueue", &mq_ops, q, flags & (O_ACCMODE | O_NONBLOCK));
	if (!f)
		return -ENOMEM;
	q->refs++;
	f->can_read = (flags & O_ACCMODE) != O_WRONLY;
	f->can_write = (flags & O_ACCMODE) != O_RDONLY;
	return fd_give(t, f, O_CLOEXEC);
}

long sys_mq_unlink(struct task *t, const uint64_t *a)
{
	char name[256];
	int rc = get_name(t, a[0], name);
	struct mq *q = rc ? NULL : find(name);
	if (rc)
		return rc;
	if (!q)
		return -ENOENT;
	if (t->cred->fsuid != q->uid && !capable(t, CAP_FOWNER))
		return -EACCES;
	list_del(&q->node);
	n_names--;
	mq_put(q);
	return 0;
}

static struct file *mq_file(struct task *t, uint64_t fd)
{
	struct file *f = fd_file(t, (int)fd);
	return f && f->ops == &mq_ops ? f : NULL;
}

/* Absolute CLOCK_REALTIME in guest memory -> CLOCK_MONOTONIC deadline, -1 when there is none. */
static int deadline_of(struct task *t, uint64_t addr, int64_t *ret)
{
	struct timespec ts;
	*ret = -1;
	if (!addr)
		return 0;
	if (copyin(t, &ts, addr, sizeof(ts)) < 0)
		return -EFAULT;
	if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= 1000000000)
		return -EINVAL;
	int64_t left = ts_ns(ts) - now_ns(CLOCK_REALTIME);
	*ret = now_ns(CLOCK_MONOTONIC) + (left > 0 ? left : 0);
	return 0;
}

static int mq_sleep(struct task *t, struct mq *q, int64_t deadline)
{
	struct waiter w;
	waiter_init(&w, t);
	waitq_add(&q->wq, &w);
	int rc = task_sleep(t, deadline);
	waitq_del(&w);
	return rc == -ETIMEDOUT ? -ETIMEDOUT : rc ? -ERESTARTSYS : 0;
}

static void notify(struct task *t, struct mq *q)
{
	struct process *p = q->notify;
	if (!p || q->waiting)
		return;
	q->notify = NULL;
	if (q->notify_kind != SIGEV_SIGNAL || p->zombie)
		return;
	struct guest_siginfo si = { .signo = q->notify_signo, .code = SI_MESGQ, .kill = { .pid = t->proc->pid, .uid = t->cred->uid, .value = q->notify_value } };
	send_signal_process(p, q->notify_signo, &si);
}

long sys_mq_timedsend(struct task *t, const uint64_t *a)
{
	struct file *f = mq_file(t, a[0]);
	int64_t deadline;
	if (a[3] >= MQ_PRIO_MAX_)
		return -EINVAL;
	long rc = deadline_of(t, a[4], &deadline);
	if (rc)
		return rc;
	if (!f || !f->can_write)
		return -EBADF;
	struct mq *q = f->priv;
	if (a[2] > (uint64_t)q->msgsize)
		return -EMSGSIZE;
	struct mq_message *m = malloc(sizeof(*m) + a[2]), *o;
	if (!m)
		return -ENOMEM;
	m->prio = (unsigned)a[3];
	m->size = a[2];
	if (a[2] && copyin(t, m->data, a[1], a[2]) < 0)
		rc = -EFAULT;
	file_get(f);
	while (rc == 0 && (q->count >= q->maxmsg || mq_bytes + m->size > MQ_BYTES_MAX))
		rc = f->flags & O_NONBLOCK ? -EAGAIN : mq_sleep(t, q, deadline);
	if (rc == 0) {
		struct list *before = &q->messages;
		list_for_each(o, &q->messages, node)
			if (o->prio < m->prio) {
				before = &o->node;
				break;
			}
		list_insert(&m->node, before->prev, before);
		mq_bytes += m->size;
		if (q->count++ == 0)
			notify(t, q);
		waitq_wake(&q->wq, POLLIN | POLLRDNORM);
	} else {
		free(m);
	}
	file_put(f);
	return rc;
}

long sys_mq_timedreceive(struct task *t, const uint64_t *a)
{
	struct file *f = mq_file(t, a[0]);
	int64_t deadline;
	long rc = deadline_of(t, a[4], &deadline);
	if (rc)
		return rc;
	if (!f || !f->can_read)
		return -EBADF;
	struct mq *q = f->priv;
	if (a[2] < (uint64_t)q->msgsize)
		return -EMSGSIZE;
	file_get(f);
	while (rc == 0 && !q->count) {
		if (f->flags & O_NONBLOCK) {
			rc = -EAGAIN;
			break;
		}
		q->waiting++;
		rc = mq_sleep(t, q, deadline);
		q->waiting--;
	}
	if (rc == 0) {
		struct mq_message *m = list_first(&q->messages, struct mq_message, node);
		list_del(&m->node);
		q->count--;
		mq_bytes -= m->size;
		rc = (long)m->size;
		if ((m->size && copyout(t, a[1], m->data, m->size) < 0) || (a[3] && copyout(t, a[3], &m->prio, 4) < 0))
			rc = -EFAULT;
		free(m);
		waitq_wake(&q->wq, POLLOUT | POLLWRNORM);
	}
	file_put(f);
	return rc;
}

long sys_mq_notify(struct task *t, const uint64_t *a)
{
	struct { uint64_t value; int32_t signo, notify; int32_t rest[12]; } ev;
	struct file *f = mq_file(t, a[0]);
	if (a[1] && copyin(t, &ev, a[1], sizeof(ev)) < 0)
		return -EFAULT;
	if (a[1] && ev.notify != SIGEV_NONE && ev.notify != SIGEV_SIGNAL)
		return ev.notify == SIGEV_THREAD ? -ENOSYS : -EINVAL;
	if (a[1] && ev.notify == SIGEV_SIGNAL && (ev.signo < 1 || ev.signo > NSIG_))
		return -EINVAL;
	if (!f)
		return -EBADF;
	struct mq *q = f->priv;
	if (!a[1]) {
		if (q->notify == t->proc)
			q->notify = NULL;
		return 0;
	}
	if (q->notify)
		return -EBUSY;
	q->notify = t->proc;
	q->notify_kind = ev.notify;
	q->notify_signo = ev.signo;
	q->notify_value = ev.value;
	return 0;
}

long sys_mq_getsetattr(struct task *t, const uint64_t *a)
{
	struct guest_mq_attr g;
	struct file *f = mq_file(t, a[0]);
	if (a[1] && copyin(t, &g, a[1], sizeof(g)) < 0)
		return -EFAULT;
	if (a[1] && g.flags & ~(int64_t)O_NONBLOCK)
		return -EINVAL;
	if (!f)
		return -EBADF;
	struct mq *q = f->priv;
	struct guest_mq_attr old = { .flags = f->flags & O_NONBLOCK, .maxmsg = q->maxmsg, .msgsize = q->msgsize, .curmsgs = q->count };
	if (a[1])
		f->flags = (f->flags & ~(unsigned)O_NONBLOCK) | ((unsigned)g.flags & O_NONBLOCK);
	return a[2] ? copyout(t, a[2], &old, sizeof(old)) : 0;
}

/* A process is gone: its registrations with it. */
void mq_process_exit(struct process *p)
{
	struct mq *q;
	list_for_each(q, &names, node)
		if (q->notify == p)
			q->notify = NULL;
}
