/* The socket file. */
#include "tier/sentry/net/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/task/task.h"

static const struct file_ops sock_ops;

struct sock *file_sock(struct file *f) { return f->ops == &sock_ops ? f->priv : NULL; }

struct sock *sock_new(int domain, int type, int protocol, const struct sock_ops *ops, void *priv)
{
	struct sock *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	*s = (struct sock){ .ops = ops, .domain = domain, .type = type, .protocol = protocol, .priv = priv };
	waitq_init(&s->wq);
	return s;
}

struct file *sock_file(struct task *t, struct sock *s, unsigned flags)
{
	char name[40];
	struct inode *i = anon_inode_new(S_IFSOCK | 0777);
	struct file *f = i ? file_new(i, &sock_ops, O_RDWR | (flags & O_NONBLOCK)) : NULL;
	if (!f) {
		s->ops->release(s);
		free(s);
		return NULL;
	}
	s->ino = i->ino;
	i->uid = t->cred->fsuid;
	i->gid = t->cred->fsgid;
	snprintf(name, sizeof(name), "socket:[%llu]", (unsigned long long)i->ino);
	f->anon_name = strdup(name);
	f->stream = true;
	f->priv = s;
	return f;
}

int sock_wait(struct task *t, struct sock *s, struct file *f, unsigned msg_flags, bool send, int64_t *deadline)
{
	struct waiter w;
	int64_t timeo = send ? s->sndtimeo : s->rcvtimeo;
	if ((f->flags & O_NONBLOCK) || (msg_flags & MSG_DONTWAIT))
		return -EAGAIN;
	if (timeo && !*deadline)
		*deadline = now_ns(CLOCK_MONOTONIC) + timeo;
	waiter_init(&w, t);
	waitq_add(&s->wq, &w);
	int rc = task_sleep_io(t, *deadline ? *deadline : -1);
	waitq_del(&w);
	if (rc == -ETIMEDOUT)
		return -EAGAIN;
	return rc ? (timeo ? -EINTR : -ERESTARTSYS) : 0;
}

static ssize_t sock_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct sock *s = f->priv;
	struct smsg m = { .u = u };
	(void)pos;
	ssize_t r = s->ops->recv(t, s, f, &m);
	for (unsigned i = 0; i < m.n_fds; i++) /* read() drops what came along */
		file_put(m.fds[i]);
	free(m.fds);
	return r;
}

static ssize_t sock_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct sock *s = f->priv;
	struct smsg m = { .u = u };
	(void)pos;
	ssize_t r = s->ops->send(t, s, f, &m);
	if (r == -EPIPE)
		send_signal_task(t, SIGPIPE, NULL);
	return r;
}

static unsigned sock_poll(struct file *f, struct poll_table *pt)
{
	struct sock *s = f->priv;
	poll_wait(pt, &s->wq);
	return s->ops->poll(s, pt);
}

static long sock_ioctl(struct task *t, struct file *f, unsigned cmd, uint64_t arg)
{
	struct sock *s = f->priv;
	return s->ops->ioctl ? s->ops->ioctl(t, s, cmd, arg) : -ENOTTY;
}

static void sock_release(struct file *f)
{
	struct sock *s = f->priv;
	s->ops->release(s);
	free(s);
}

static const struct file_ops sock_ops = { .read = sock_read, .write = sock_write, .poll = sock_poll, .ioctl = sock_ioctl, .release = sock_release };
