/* Signals of files: O_ASYNC (SIGIO), and the owner of a file (F_SETOWN, F_SETOWN_EX, F_SETSIG). */
#include "tier/sentry/fs/async.h"

#include <errno.h>
#include <stdlib.h>

#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/task.h"

enum { QUEUES = 3 };
struct async { struct file *file; int fd; unsigned last, n_w; struct waiter w[QUEUES]; };

/* may_send: by the ids of who set the owner (kept with the file), as Linux's sigio_perm(). */
static bool may_send(const struct file *f, const struct process *p)
{
	const struct cred *c = p->leader ? p->leader->cred : NULL;
	return c && (f->owner_euid == 0 || f->owner_euid == c->suid || f->owner_euid == c->uid || f->owner_uid == c->suid || f->owner_uid == c->uid);
}

void file_signal(struct file *f, int fd, int fallback, int code, int band)
{
	struct guest_siginfo si = { .signo = f->owner_sig, .code = code };
	int sig = f->owner_sig ? f->owner_sig : fallback;
	si.poll.band = band;
	si.poll.fd = fd;
	const struct guest_siginfo *info = f->owner_sig ? &si : NULL;
	struct task *t;
	struct process *p, *n;
	struct pgrp *g;
	switch (f->owner_type) {
	case OWNER_TID:
		if ((t = task_by_tid(f->owner)) && may_send(f, t->proc))
			send_signal_task(t, sig, info);
		break;
	case OWNER_PID:
		if ((p = process_by_pid(f->owner)) && may_send(f, p))
			send_signal_process(p, sig, info);
		break;
	case OWNER_PGRP:
		if (!(g = pgrp_by_id(f->owner)))
			break;
		list_for_each_safe(p, n, &g->procs, pgrp_node)
			if (!p->zombie && may_send(f, p))
				send_signal_process(p, sig, info);
	}
}

static void on_event(struct waiter *w, unsigned events)
{
	struct async *a = (struct async *)(void *)w->task;
	unsigned now = a->file->ops->poll(a->file, NULL), in = POLLIN | POLLRDNORM, out = POLLOUT | POLLWRNORM;
	(void)events;
	if ((now & in) && (!events || (events & in)))
		file_signal(a->file, a->fd, SIGIO, POLL_IN, POLLIN | POLLRDNORM);
	else if ((now & (POLLHUP | POLLERR)) && (now & ~a->last & (POLLHUP | POLLERR)))
		file_signal(a->file, a->fd, SIGIO, POLL_IN, POLLIN | POLLRDNORM);
	else if ((now & out) && (!events || (events & out)))
		file_signal(a->file, a->fd, SIGIO, POLL_OUT, POLLOUT | POLLWRNORM);
	a->last = now;
}

struct table { struct poll_table pt; struct async *a; };
static void watch(struct poll_table *pt, struct waitq *q)
{
	struct async *a = container_of(pt, struct table, pt)->a;
	if (a->n_w == QUEUES)
		return;
	struct waiter *w = &a->w[a->n_w++];
	waiter_init(w, (struct task *)(void *)a);
	w->fn = on_event;
	waitq_add(q, w);
}

int async_set(struct file *f, int fd, bool on)
{
	if (!on) {
		async_forget(f);
		return 0;
	}
	if (f->async || !f->ops || !f->ops->poll)
		return 0; /* files that are always ready send nothing */
	struct async *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->file = f;
	a->fd = fd;
	f->async = a;
	struct table t = { { watch }, a };
	a->last = f->ops->poll(f, &t.pt);
	return 0;
}

void async_forget(struct file *f)
{
	struct async *a = f->async;
	if (!a)
		return;
	for (unsigned i = 0; i < a->n_w; i++)
		waitq_del(&a->w[i]);
	f->async = NULL;
	free(a);
}

static void set(struct task *t, struct file *f, int type, int id)
{
	f->owner = id;
	f->owner_type = id ? type : OWNER_NONE;
	f->owner_uid = t->cred->uid;
	f->owner_euid = t->cred->euid;
}

void file_default_owner(struct task *t, struct file *f)
{
	if (f->owner_type == OWNER_NONE)
		set(t, f, OWNER_PID, t->proc->pid);
}

long file_setown(struct task *t, struct file *f, int who)
{
	int id = who < 0 ? -who : who;
	if (who == INT32_MIN)
		return -EINVAL;
	if (id && !(who < 0 ? (void *)pgrp_by_id(id) : (void *)process_by_pid(id)))
		return -ESRCH;
	set(t, f, who < 0 ? OWNER_PGRP : OWNER_PID, id);
	return 0;
}

/* struct f_owner_ex: type F_OWNER_TID 0, _PID 1, _PGRP 2. */
long file_setown_ex(struct task *t, struct file *f, uint64_t arg)
{
	static const int types[] = { OWNER_TID, OWNER_PID, OWNER_PGRP };
	struct { int32_t type, pid; } x;
	if (copyin(t, &x, arg, sizeof(x)) < 0)
		return -EFAULT;
	if (x.type < 0 || x.type > 2)
		return -EINVAL;
	if (x.pid && !(x.type == 0 ? (void *)task_by_tid(x.pid) : x.type == 1 ? (void *)process_by_pid(x.pid) : (void *)pgrp_by_id(x.pid)))
		return -ESRCH;
	set(t, f, types[x.type], x.pid);
	return 0;
}

long file_getown_ex(struct task *t, const struct file *f, uint64_t arg)
{
	struct { int32_t type, pid; } x = { f->owner_type == OWNER_PID ? 1 : f->owner_type == OWNER_PGRP ? 2 : 0, f->owner };
	return copyout(t, arg, &x, sizeof(x));
}
