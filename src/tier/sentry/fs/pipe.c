/* Pipes and FIFOs: a ring of bytes, readers, writers. */
#include "tier/sentry/fs/pipe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tier/sentry/task/task.h"

enum { PIPE_DEFAULT = 65536, PIPE_ATOMIC = 4096 };
static const struct file_ops pipe_ops;

static struct pipe *pipe_make(void)
{
	struct pipe *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->size = PIPE_DEFAULT;
	p->packets.next = p->packets.prev = &p->packets;
	waitq_init(&p->rd);
	waitq_init(&p->wr);
	return p;
}

static void pipe_free(struct pipe *p)
{
	struct packet_len *k, *n;
	list_for_each_safe(k, n, &p->packets, node)
		free(k);
	free(p->buf);
	free(p);
}

static int ensure(struct pipe *p)
{
	if (!p->buf)
		p->buf = malloc(p->size);
	return p->buf ? 0 : -ENOMEM;
}

static struct pipe *pp(struct file *f) { return f->priv; }

static void changed(struct pipe *p, bool readable)
{
	if (readable)
		waitq_wake(&p->rd, POLLIN | POLLRDNORM);
	else
		waitq_wake(&p->wr, POLLOUT | POLLWRNORM);
}

static ssize_t pipe_wait(struct task *t, struct file *f, struct waitq *q)
{
	struct waiter w;
	(void)f;
	waiter_init(&w, t);
	waitq_add(q, &w);
	int rc = task_sleep(t, -1);
	waitq_del(&w);
	return rc == -EINTR ? -ERESTARTSYS : 0;
}

static size_t take(struct pipe *p, struct uio *u, size_t n, ssize_t *err)
{
	size_t total = 0;
	while (n) {
		size_t k = MIN(n, p->size - p->head);
		ssize_t m = uio_put(u, p->buf + p->head, k);
		if (m <= 0) {
			*err = m;
			break;
		}
		p->head = (p->head + (size_t)m) % p->size;
		p->used -= (size_t)m;
		total += (size_t)m;
		n -= (size_t)m;
		if ((size_t)m < k)
			break;
	}
	return total;
}

static ssize_t pipe_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct pipe *p = pp(f);
	ssize_t err = 0;
	(void)pos;
	if (!u->left)
		return 0;
	while (!p->used) {
		if (!p->writers && !(p->fifo && p->wait_writer))
			return 0;
		if (f->flags & O_NONBLOCK)
			return -EAGAIN;
		ssize_t rc = pipe_wait(t, f, &p->rd);
		if (rc)
			return rc;
	}
	size_t n = MIN(u->left, p->used);
	if (!list_empty(&p->packets)) { /* O_DIRECT: one packet per read, its rest is dropped */
		struct packet_len *k = list_first(&p->packets, struct packet_len, node);
		size_t len = k->len, got;
		got = take(p, u, MIN(u->left, len), &err);
		p->head = (p->head + (len - got)) % p->size;
		p->used -= len - got;
		list_del(&k->node);
		free(k);
		changed(p, false);
		return (ssize_t)got;
	}
	n = take(p, u, n, &err);
	if (!n)
		return err;
	changed(p, false);
	if (p->used)
		changed(p, true);
	return (ssize_t)n;
}

static ssize_t put(struct pipe *p, struct uio *u, size_t n)
{
	size_t total = 0;
	while (n) {
		size_t tail = (p->head + p->used) % p->size;
		size_t k = MIN(n, p->size - tail);
		ssize_t m = uio_get(u, p->buf + tail, k);
		if (m <= 0)
			return total ? (ssize_t)total : m;
		p->used += (size_t)m;
		total += (size_t)m;
		n -= (size_t)m;
		if ((size_t)m < k)
			break;
	}
	return (ssize_t)total;
}

static ssize_t pipe_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct pipe *p = pp(f);
	size_t total = 0;
	(void)pos;
	if (!u->left)
		return 0;
	if (ensure(p) < 0)
		return -ENOMEM;
	while (u->left) {
		if (!p->readers) {
			if (t && !total)
				send_signal_task(t, SIGPIPE, NULL);
			return total ? (ssize_t)total : -EPIPE;
		}
		size_t room = p->size - p->used;
		bool packet = f->flags & O_DIRECT;
		size_t need = total == 0 && u->left <= PIPE_ATOMIC ? u->left : packet ? MIN(u->left, (size_t)PIPE_ATOMIC) : 1;
		if (room >= need) {
			struct packet_len *k = NULL;
			if (packet && !(k = malloc(sizeof(*k))))
				return -ENOMEM;
			ssize_t n = put(p, u, packet ? MIN(u->left, (size_t)PIPE_ATOMIC) : MIN(u->left, room));
			if (n < 0) {
				free(k);
				return total ? (ssize_t)total : n;
			}
			if (k) {
				k->len = (size_t)n;
				list_add_tail(&p->packets, &k->node);
			}
			total += (size_t)n;
			changed(p, true);
			continue;
		}
		if (f->flags & O_NONBLOCK)
			return total ? (ssize_t)total : -EAGAIN;
		ssize_t rc = pipe_wait(t, f, &p->wr);
		if (rc)
			return total ? (ssize_t)total : rc;
	}
	if (p->used < p->size)
		changed(p, false);
	return (ssize_t)total;
}

static unsigned pipe_poll(struct file *f, struct poll_table *pt)
{
	struct pipe *p = pp(f);
	unsigned m = 0;
	if (f->can_read) {
		poll_wait(pt, &p->rd);
		if (p->used)
			m |= POLLIN | POLLRDNORM;
		if (!p->writers && !(p->fifo && p->wait_writer))
			m |= POLLHUP;
	}
	if (f->can_write) {
		poll_wait(pt, &p->wr);
		if (p->size - p->used >= PIPE_ATOMIC)
			m |= POLLOUT | POLLWRNORM;
		if (!p->readers)
			m |= POLLERR;
	}
	return m;
}

static long pipe_ioctl(struct task *t, struct file *f, unsigned cmd, uint64_t arg)
{
	if (cmd == FIONREAD) {
		int n = (int)pp(f)->used;
		return copyout(t, arg, &n, sizeof(n));
	}
	return -ENOTTY;
}

static void pipe_release(struct file *f)
{
	struct pipe *p = pp(f);
	if (f->can_read && --p->readers == 0)
		waitq_wake(&p->wr, 0);
	if (f->can_write && --p->writers == 0)
		waitq_wake(&p->rd, 0);
	if (p->readers || p->writers || p->opening)
		return;
	if (p->fifo)
		p->fifo->pipe = NULL;
	pipe_free(p);
}

static const struct file_ops pipe_ops = { .read = pipe_read, .write = pipe_write, .poll = pipe_poll, .ioctl = pipe_ioctl, .release = pipe_release };

struct pipe *file_pipe(struct file *f) { return f->ops == &pipe_ops ? f->priv : NULL; }

long pipe_set_size(struct file *f, uint64_t size, bool privileged)
{
	struct pipe *p = pp(f);
	uint64_t n = 4096;
	while (n < size && n < (1u << 31))
		n *= 2;
	if (size > (1u << 31))
		return -EINVAL;
	if (n > PIPE_MAX && !privileged)
		return -EPERM;
	if (n < p->used)
		return -EBUSY;
	char *nb = malloc(n);
	if (!nb)
		return -ENOMEM;
	for (size_t i = 0; i < p->used; i++)
		nb[i] = p->buf[(p->head + i) % p->size];
	free(p->buf);
	p->buf = nb;
	p->head = 0;
	p->size = n;
	changed(p, false);
	return (long)n;
}

int pipe_create(struct task *t, struct file *ret[2], unsigned flags)
{
	struct pipe *p = pipe_make();
	char name[40];
	(void)t;
	if (!p)
		return -ENOMEM;
	struct inode *i = anon_inode_new(S_IFIFO | 0600);
	if (!i) {
		pipe_free(p);
		return -ENOMEM;
	}
	i->uid = t->cred->fsuid;
	i->gid = t->cred->fsgid;
	snprintf(name, sizeof(name), "pipe:[%llu]", (unsigned long long)i->ino);
	p->readers = p->writers = 1;
	inode_get(i);
	ret[0] = file_new(i, &pipe_ops, O_RDONLY | (flags & (O_NONBLOCK | O_DIRECT)));
	ret[1] = file_new(i, &pipe_ops, O_WRONLY | (flags & (O_NONBLOCK | O_DIRECT)));
	for (unsigned n = 0; n < 2; n++) {
		if (!ret[n])
			return -ENOMEM;
		ret[n]->priv = p;
		ret[n]->stream = true;
		ret[n]->anon_name = strdup(name);
	}
	return 0;
}

int fifo_open(struct task *t, struct inode *i, struct file *f)
{
	struct pipe *p = i->pipe;
	if (!p) {
		if (!(p = pipe_make()))
			return -ENOMEM;
		p->fifo = i;
		p->wait_writer = false;
		i->pipe = p;
	}
	bool rd = f->can_read, wr = f->can_write;
	if (wr && !rd && (f->flags & O_NONBLOCK) && !p->readers) {
		if (!p->writers && !p->opening) {
			i->pipe = NULL;
			pipe_free(p);
		}
		return -ENXIO;
	}
	p->readers += rd;
	p->writers += wr;
	p->r_opens += rd;
	p->w_opens += wr;
	waitq_wake(&p->rd, 0);
	waitq_wake(&p->wr, 0);
	f->ops = &pipe_ops;
	f->priv = p;
	f->stream = true;
	if (rd != wr && !(f->flags & O_NONBLOCK)) { /* wait for the other side: an open counts even if it closed meanwhile */
		uint64_t seen = rd ? p->w_opens : p->r_opens;
		int rc = 0;
		p->opening++;
		while (!rc && (rd ? !p->writers && p->w_opens == seen : !p->readers && p->r_opens == seen))
			rc = (int)pipe_wait(t, f, rd ? &p->rd : &p->wr);
		p->opening--;
		if (rc) {
			pipe_release(f);
			return rc;
		}
	}
	return 0;
}
