/* File leases (fcntl(2), "Leases") and directory notification (F_NOTIFY): both tell the owner of a file by a signal. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>

#include "tier/sentry/fs/async.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

enum { BREAK_SECONDS = 45 /* /proc/sys/fs/lease-break-time: a holder that does not answer loses the lease */ };

struct lease { struct list node; struct file *file; int fd, type, target; int64_t deadline; /* of a break, 0: none under way */ };

static struct lease *of(const struct file *f)
{
	struct lease *l;
	list_for_each(l, &f->inode->leases, node)
		if (l->file == f)
			return l;
	return NULL;
}

static void drop(struct inode *i, struct lease *l)
{
	list_del(&l->node);
	free(l);
	waitq_wake(&i->lock_wait, 0);
}

int lease_get(const struct file *f)
{
	const struct lease *l = of(f);
	return !l ? F_UNLCK : l->deadline ? l->target : l->type;
}

long lease_set(struct task *t, struct file *f, int fd, int type)
{
	struct inode *i = f->inode;
	struct lease *l = of(f), *o;
	struct kstat st;
	if (inode_getattr(i, &st) == 0 && t->cred->fsuid != st.uid && !capable(t, CAP_LEASE))
		return -EACCES;
	if (!is_reg(i))
		return -EINVAL;
	if (type == F_UNLCK) {
		if (!l)
			return -EAGAIN;
		drop(i, l);
		return 0;
	}
	if (type != F_RDLCK && type != F_WRLCK)
		return -EINVAL;
	if (type == F_RDLCK ? i->writers > 0 : i->opens > 1)
		return -EAGAIN;
	list_for_each(o, &i->leases, node)
		if (o != l && (type == F_WRLCK || o->type == F_WRLCK || o->deadline))
			return -EAGAIN;
	if (l && l->deadline && type != l->target)
		return -EAGAIN; /* it is being broken: no upgrade */
	if (!l && !(l = calloc(1, sizeof(*l))))
		return -ENOMEM;
	if (!l->file)
		list_add_tail(&i->leases, &l->node);
	l->file = f;
	l->fd = fd;
	l->type = type;
	l->deadline = 0;
	file_default_owner(t, f);
	waitq_wake(&i->lock_wait, 0);
	return 0;
}

static struct lease *conflict(struct inode *i, bool write)
{
	struct lease *l;
	list_for_each(l, &i->leases, node)
		if (write || l->type == F_WRLCK)
			return l;
	return NULL;
}

int lease_break(struct task *t, struct inode *i, unsigned flags)
{
	bool write = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	struct lease *l;
	while (!list_empty(&i->leases) && (l = conflict(i, write))) {
		int64_t now = now_ns(CLOCK_MONOTONIC);
		if (!l->deadline) {
			l->target = write ? F_UNLCK : F_RDLCK;
			l->deadline = now + BREAK_SECONDS * 1000000000ll;
			file_signal(l->file, l->fd, SIGIO, POLL_MSG, POLLIN | POLLRDNORM | POLLMSG);
		} else if (write) {
			l->target = F_UNLCK;
		}
		if (flags & O_NONBLOCK)
			return -EAGAIN;
		if (now >= l->deadline) {
			if (l->target == F_UNLCK) {
				drop(i, l);
			} else {
				l->type = F_RDLCK;
				l->deadline = 0;
			}
			continue;
		}
		struct waiter w;
		waiter_init(&w, t);
		waitq_add(&i->lock_wait, &w);
		int rc = task_sleep(t, l->deadline);
		waitq_del(&w);
		if (rc == -EINTR)
			return -ERESTARTSYS;
	}
	return 0;
}

void lease_forget(struct file *f)
{
	struct lease *l = list_empty(&f->inode->leases) ? NULL : of(f);
	if (l)
		drop(f->inode, l);
}

/* ---- directory notification ---------------------------------------------------------------------------------------------- */

struct dnotify { struct list node; struct file *file; struct inode *dir; int fd; uint64_t mask; };
static struct list marks = LIST_INIT(marks);

static struct dnotify *mark_of(const struct file *f)
{
	struct dnotify *d;
	list_for_each(d, &marks, node)
		if (d->file == f)
			return d;
	return NULL;
}

void dnotify_forget(struct file *f)
{
	struct dnotify *d = list_empty(&marks) ? NULL : mark_of(f);
	if (!d)
		return;
	list_del(&d->node);
	free(d);
}

long dnotify_set(struct task *t, struct file *f, int fd, uint64_t mask)
{
	struct dnotify *d = mark_of(f);
	if (!(mask & ~(uint64_t)DN_MULTISHOT)) {
		dnotify_forget(f);
		return 0;
	}
	if (!is_dir(f->inode))
		return -ENOTDIR;
	if (!d && !(d = calloc(1, sizeof(*d))))
		return -ENOMEM;
	if (!d->file)
		list_add_tail(&marks, &d->node);
	d->file = f;
	d->dir = f->inode;
	d->fd = fd;
	d->mask |= mask;
	file_default_owner(t, f);
	return 0;
}

void dnotify_event(struct inode *dir, uint32_t mask)
{
	static const struct { uint32_t in; uint64_t dn; } map[] = { { IN_ACCESS, DN_ACCESS }, { IN_MODIFY, DN_MODIFY }, { IN_CREATE | IN_MOVED_TO, DN_CREATE },
		{ IN_DELETE | IN_MOVED_FROM, DN_DELETE }, { IN_MOVED_TO | IN_MOVED_FROM, DN_RENAME }, { IN_ATTRIB, DN_ATTRIB } };
	struct dnotify *d, *n;
	uint64_t hit = 0;
	if (list_empty(&marks))
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(map); i++)
		hit |= mask & map[i].in ? map[i].dn : 0;
	list_for_each_safe(d, n, &marks, node) {
		if (d->dir != dir || !(d->mask & hit))
			continue;
		file_signal(d->file, d->fd, SIGIO, POLL_MSG, POLLIN | POLLRDNORM | POLLMSG);
		if (!(d->mask & DN_MULTISHOT)) {
			list_del(&d->node);
			free(d);
		}
	}
}
