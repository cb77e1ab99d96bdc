/* inotify: watches hang on inodes, events queue at the instance. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/fs/async.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

enum { QUEUE_MAX = 16384 /* fs.inotify.max_queued_events */, WATCHES_MAX = 65536 /* of one instance */ };

struct event { struct list node; int32_t wd; uint32_t mask, cookie, len; char name[]; };
struct instance {
	struct list events, watches;
	unsigned n_events, n_watches, refs;
	int next_wd;
	struct waitq wq;
};
struct watch { struct list at_inode, at_instance; struct instance *in; struct inode *inode; int wd; uint32_t mask; };

static void instance_put(struct instance *in)
{
	if (--in->refs)
		return;
	free(in);
}

/* Append; an event equal to the last one is dropped (inotify(7)), a full queue gets one overflow event. */
static void queue(struct instance *in, int wd, uint32_t mask, uint32_t cookie, const char *name)
{
	size_t n = name ? strlen(name) + 1 : 0, len = (n + 15) & ~(size_t)15;
	if (!list_empty(&in->events)) {
		struct event *last = list_entry(in->events.prev, struct event, node);
		if (last->wd == wd && last->mask == mask && last->cookie == cookie && (name ? last->len && strcmp(last->name, name) == 0 : !last->len))
			return;
		if (in->n_events >= QUEUE_MAX) {
			if (last->mask == IN_Q_OVERFLOW)
				return;
			wd = -1;
			mask = IN_Q_OVERFLOW;
			cookie = 0;
			len = 0;
		}
	}
	struct event *e = calloc(1, sizeof(*e) + len);
	if (!e)
		return;
	*e = (struct event){ .wd = wd, .mask = mask, .cookie = cookie, .len = (uint32_t)len };
	if (len)
		memcpy(e->name, name, n);
	list_add_tail(&in->events, &e->node);
	in->n_events++;
	waitq_wake(&in->wq, POLLIN | POLLRDNORM);
}

static void watch_free(struct watch *w, bool tell)
{
	struct instance *in = w->in;
	list_del(&w->at_inode);
	list_del(&w->at_instance);
	in->n_watches--;
	if (tell)
		queue(in, w->wd, IN_IGNORED, 0, NULL);
	inode_put(w->inode);
	free(w);
}

static void tell(struct inode *i, const char *name, uint32_t mask, uint32_t cookie)
{
	struct watch *w, *n;
	list_for_each_safe(w, n, &i->watches, at_inode) {
		if (!(w->mask & mask & IN_ALL_EVENTS) && !(mask & IN_DELETE_SELF && w->mask & IN_DELETE_SELF))
			continue;
		queue(w->in, w->wd, mask, cookie, name);
		if (w->mask & IN_ONESHOT)
			watch_free(w, true);
	}
}

/* dir: events of a name in a directory; i: the object itself. An object that is gone takes its watches with it. */
void inotify_event(struct inode *dir, const char *name, struct inode *i, uint32_t mask, uint32_t cookie)
{
	if (dir)
		dnotify_event(dir, mask);
	if (dir && !list_empty(&dir->watches))
		tell(dir, name, mask, cookie);
	if (!i || list_empty(&i->watches))
		return;
	inode_get(i);
	tell(i, NULL, mask | (is_dir(i) && !(mask & (IN_DELETE_SELF | IN_MOVE_SELF)) ? IN_ISDIR : 0), cookie);
	if (mask & IN_DELETE_SELF) {
		struct watch *w, *n;
		list_for_each_safe(w, n, &i->watches, at_inode)
			watch_free(w, true);
	}
	inode_put(i);
}

void file_event(const struct path *p, struct inode *i, uint32_t mask)
{
	const struct dentry *d = p ? p->d : NULL;
	if (d && d->parent != d)
		inotify_event(d->parent->inode, d->name, NULL, mask | (is_dir(i) ? IN_ISDIR : 0), 0);
	inotify_event(NULL, NULL, i, mask, 0);
}

static ssize_t in_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct instance *in = f->priv;
	size_t done = 0;
	(void)pos;
	while (list_empty(&in->events)) {
		struct waiter w;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		waiter_init(&w, t);
		waitq_add(&in->wq, &w);
		int rc = task_sleep(t, -1);
		waitq_del(&w);
		if (rc)
			return -ERESTARTSYS;
	}
	while (!list_empty(&in->events)) {
		struct event *e = list_first(&in->events, struct event, node);
		size_t n = 16 + e->len;
		if (u->left < n)
			return done ? (ssize_t)done : -EINVAL;
		if (uio_put(u, &e->wd, 16) != 16 || (e->len && uio_put(u, e->name, e->len) != (ssize_t)e->len))
			return -EFAULT;
		done += n;
		list_del(&e->node);
		in->n_events--;
		free(e);
	}
	return (ssize_t)done;
}
_Static_assert(offsetof(struct event, name) - offsetof(struct event, wd) == 16, "struct inotify_event is copied from wd on");

static unsigned in_poll(struct file *f, struct poll_table *pt)
{
	struct instance *in = f->priv;
	poll_wait(pt, &in->wq);
	return list_empty(&in->events) ? 0 : POLLIN | POLLRDNORM;
}

static long in_ioctl(struct task *t, struct file *f, unsigned cmd, uint64_t arg)
{
	struct instance *in = f->priv;
	struct event *e;
	int n = 0;
	if (cmd != FIONREAD)
		return -ENOTTY;
	list_for_each(e, &in->events, node)
		n += 16 + (int)e->len;
	return copyout(t, arg, &n, sizeof(n));
}

static void in_release(struct file *f)
{
	struct instance *in = f->priv;
	struct watch *w, *nw;
	struct event *e, *ne;
	list_for_each_safe(w, nw, &in->watches, at_instance)
		watch_free(w, false);
	list_for_each_safe(e, ne, &in->events, node) {
		list_del(&e->node);
		free(e);
	}
	instance_put(in);
}

static const struct file_ops inotify_ops = { .read = in_read, .poll = in_poll, .ioctl = in_ioctl, .release = in_release };

static long make(struct task *t, unsigned flags)
{
	if (flags & ~(unsigned)(IN_NONBLOCK | IN_CLOEXEC))
		return -EINVAL;
	struct instance *in = calloc(1, sizeof(*in));
	if (!in)
		return -ENOMEM;
	in->refs = 1;
	in->next_wd = 1;
	list_init(&in->events);
	list_init(&in->watches);
	waitq_init(&in->wq);
	struct file *f = anon_file_new("anon_inode:inotify", &inotify_ops, in, O_RDONLY | (flags & IN_NONBLOCK));
	if (!f)
		free(in);
	return fd_give(t, f, flags);
}
long sys_inotify_init(struct task *t, const uint64_t *a) { (void)a; return make(t, 0); }
long sys_inotify_init1(struct task *t, const uint64_t *a) { return make(t, (unsigned)a[0]); }

static struct instance *instance_of(struct task *t, uint64_t fd, long *err)
{
	struct file *f = fd_file(t, (int)fd);
	*err = !f ? -EBADF : -EINVAL;
	return f && f->ops == &inotify_ops ? f->priv : NULL;
}

long sys_inotify_add_watch(struct task *t, const uint64_t *a)
{
	uint32_t mask = (uint32_t)a[2];
	_cleanup_path_ struct path p = PATH_NONE;
	struct watch *w;
	long err;
	if (!(mask & (IN_ALL_EVENTS | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_ADD | IN_ONESHOT | IN_MASK_CREATE)))
		return -EINVAL;
	struct instance *in = instance_of(t, a[0], &err);
	if (!in)
		return err;
	if ((mask & IN_MASK_ADD) && (mask & IN_MASK_CREATE))
		return -EINVAL;
	int rc = path_user(t, AT_FDCWD, a[1], (mask & IN_DONT_FOLLOW ? 0 : WALK_FOLLOW) | (mask & IN_ONLYDIR ? WALK_DIRECTORY : 0), &p);
	if (rc)
		return rc;
	struct inode *i = p.d->inode;
	rc = inode_permission(t, i, 4);
	if (rc)
		return rc;
	/* The walk may have slept: look again. */
	in = instance_of(t, a[0], &err);
	if (!in)
		return err;
	list_for_each(w, &i->watches, at_inode)
		if (w->in == in) {
			if (mask & IN_MASK_CREATE)
				return -EEXIST;
			w->mask = mask & IN_MASK_ADD ? w->mask | mask : mask;
			return w->wd;
		}
	if (in->n_watches >= WATCHES_MAX)
		return -ENOSPC;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	*w = (struct watch){ .in = in, .inode = inode_get(i), .wd = in->next_wd++, .mask = mask };
	list_add_tail(&i->watches, &w->at_inode);
	list_add_tail(&in->watches, &w->at_instance);
	in->n_watches++;
	return w->wd;
}

long sys_inotify_rm_watch(struct task *t, const uint64_t *a)
{
	long err;
	struct watch *w, *n;
	struct instance *in = instance_of(t, a[0], &err);
	if (!in)
		return err;
	list_for_each_safe(w, n, &in->watches, at_instance)
		if (w->wd == (int)a[1]) {
			watch_free(w, true);
			return 0;
		}
	return -EINVAL;
}
