/* Standard streams handed in from outside: pipes, sockets, regular files, terminals of the host. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tier/sentry/fs/hosttty.h"
#include "tier/sentry/fs/hoststat.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

struct host_stream {
	struct waitq wq;
	struct hostpoll hp;
	bool pollable, regular, tty;
	unsigned refs;
};

static struct host_stream *hs(struct file *f) { return f->priv; }

static unsigned ready(struct file *f)
{
	struct pollfd p = { f->host_fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0 };
	if (poll(&p, 1, 0) < 0)
		return POLLERR;
	return (unsigned)p.revents;
}

static unsigned hs_poll(struct file *f, struct poll_table *pt)
{
	if (!hs(f)->pollable)
		return POLLIN | POLLOUT;
	poll_wait(pt, &hs(f)->wq);
	return ready(f);
}

/* The open description is shared with the outside, so O_NONBLOCK must not be set on it: readiness is asked first. */
static int wait_ready(struct task *t, struct file *f, unsigned events)
{
	struct waiter w;
	int rc = 0;
	if (!hs(f)->pollable)
		return 0;
	waiter_init(&w, t);
	waitq_add(&hs(f)->wq, &w);
	while (!(ready(f) & (events | POLLERR | POLLHUP))) {
		if (f->flags & O_NONBLOCK) {
			rc = -EAGAIN;
			break;
		}
		rc = task_sleep_io(t, -1);
		if (rc) {
			rc = -ERESTARTSYS;
			break;
		}
	}
	waitq_del(&w);
	return rc;
}

static ssize_t hs_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	char *buf = task_buf(t);
	if (!buf)
		return -ENOMEM;
	if (!u->left)
		return 0;
	int rc = hs(f)->tty ? hosttty_check(t, f, false) : 0;
	if (rc || (rc = wait_ready(t, f, POLLIN)) < 0)
		return rc;
	/* the file offset is shared with the outside: plain read and write use and move it */
	bool at = pos && pos != &f->pos;
	ssize_t n = at ? pread(f->host_fd, buf, MIN(u->left, (size_t)TASK_BUF), *pos) : read(f->host_fd, buf, MIN(u->left, (size_t)TASK_BUF));
	if (n < 0)
		return errno == EINTR ? -ERESTARTSYS : -errno;
	if (pos)
		*pos += n;
	return n ? uio_put(u, buf, (size_t)n) : 0;
}

static ssize_t hs_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	char *buf = task_buf(t);
	size_t total = 0;
	if (!buf)
		return -ENOMEM;
	int rc = hs(f)->tty ? hosttty_check(t, f, true) : 0;
	if (rc)
		return rc;
	while (u->left) {
		/* a pipe that polls writable takes at least PIPE_BUF bytes without blocking */
		if ((rc = wait_ready(t, f, POLLOUT)) < 0)
			return total ? (ssize_t)total : rc;
		ssize_t k = uio_get(u, buf, MIN(u->left, hs(f)->pollable ? (size_t)4096 : (size_t)TASK_BUF));
		if (k < 0)
			return total ? (ssize_t)total : k;
		ssize_t n = pos && pos != &f->pos ? pwrite(f->host_fd, buf, (size_t)k, *pos) : write(f->host_fd, buf, (size_t)k);
		if (n < 0) {
			uio_back(u, (size_t)k);
			if (total)
				return (ssize_t)total;
			if (errno == EPIPE)
				send_signal_task(t, SIGPIPE, NULL);
			return -errno;
		}
		if (n < k)
			uio_back(u, (size_t)(k - n));
		if (pos)
			*pos += n;
		total += (size_t)n;
		if (n < k && !hs(f)->pollable)
			break;
	}
	return (ssize_t)total;
}

static long hs_ioctl(struct task *t, struct file *f, unsigned cmd, uint64_t arg)
{
	if (hs(f)->tty)
		return hosttty_ioctl(t, f, cmd, arg);
	if (cmd == FIONREAD) {
		int n = 0;
		if (ioctl(f->host_fd, FIONREAD, &n) < 0)
			return -errno;
		return copyout(t, arg, &n, sizeof(n));
	}
	return -ENOTTY;
}

static int hs_mmap_fd(struct file *f, int prot, int flags)
{
	(void)prot, (void)flags;
	return hs(f)->regular ? f->host_fd : -ENODEV;
}

static int64_t hs_llseek(struct task *t, struct file *f, int64_t off, int whence)
{
	(void)t;
	off_t r = lseek(f->host_fd, off, whence);
	return r < 0 ? -errno : (f->pos = r);
}

static void hs_release(struct file *f)
{
	if (hs(f)->pollable)
		hostpoll_del(&hs(f)->hp);
	free(hs(f));
}

static const struct file_ops hs_ops = { .read = hs_read, .write = hs_write, .poll = hs_poll, .ioctl = hs_ioctl, .mmap_fd = hs_mmap_fd,
	.llseek = hs_llseek, .release = hs_release };

/* Another open file on the same host stream: /dev/tty, /dev/stdout, /proc/self/fd/1. */
static int share(int fd, struct file *f)
{
	struct host_stream *s = calloc(1, sizeof(*s));
	int copy = s ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	if (copy < 0) {
		free(s);
		return -ENOMEM;
	}
	waitq_init(&s->wq);
	s->regular = is_reg(f->inode);
	s->tty = isatty(copy);
	f->ops = &hs_ops;
	f->priv = s;
	f->host_fd = copy;
	f->stream = !s->regular;
	s->pollable = hostpoll_add(&s->hp, copy, &s->wq) == 0;
	return 0;
}

int hosttty_reopen(struct file *host, struct file *f) { return share(host->host_fd, f); }

static int hs_open(struct task *t, struct inode *i, struct file *f)
{
	(void)t;
	return share((int)(intptr_t)i->priv, f);
}

static int hs_getattr(struct inode *i, struct kstat *k)
{
	struct stat st;
	int fd = (int)(intptr_t)i->priv;
	if (host_stat(fd, "", &st) < 0)
		return -errno;
	stat_to_kstat(&st, k);
	k->uid = i->uid;
	k->gid = i->gid;
	k->dev = i->sb->dev;
	return 0;
}
static const struct inode_ops hs_inode_ops = { .getattr = hs_getattr, .open = hs_open };

struct file *hostfile_new(int fd, unsigned flags, const char *name)
{
	struct stat st;
	char label[48];
	struct host_stream *s = calloc(1, sizeof(*s));
	if (!s || host_stat(fd, "", &st) < 0) {
		free(s);
		return NULL;
	}
	struct inode *i = inode_new(anon_super, st.st_mode, &hs_inode_ops, NULL);
	struct file *f = i ? file_new(i, &hs_ops, flags) : NULL;
	if (!f) {
		free(s);
		return NULL;
	}
	i->priv = (void *)(intptr_t)fd;
	i->mode = st.st_mode;
	i->rdev = (uint32_t)st.st_rdev;
	waitq_init(&s->wq);
	s->regular = S_ISREG(st.st_mode);
	s->tty = isatty(fd);
	f->priv = s;
	f->host_fd = fd;
	f->stream = !s->regular;
	s->pollable = hostpoll_add(&s->hp, fd, &s->wq) == 0;
	snprintf(label, sizeof(label), "%s:[%llu]", name, (unsigned long long)i->ino);
	f->anon_name = strdup(s->tty ? "/dev/console" : label);
	if (s->regular)
		f->pos = lseek(fd, 0, SEEK_CUR);
	return f;
}

bool file_is_hosttty(const struct file *f) { return f->ops == &hs_ops && ((const struct host_stream *)f->priv)->tty; }
struct waitq *hosttty_waitq(struct file *f) { return &hs(f)->wq; }
