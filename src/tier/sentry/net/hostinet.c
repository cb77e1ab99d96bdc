/*
 * Host sockets in the sandbox's network namespace (which is the sentry's): TCP, UDP, ICMP datagrams and route netlink. The host fd never reaches the guest. Every
 * host socket is non-blocking; waiting is done on our wait queue, which the poller wakes.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tier/sentry/net/socket.h"
#include "tier/sentry/task/task.h"

struct hsock {
	int fd;
	struct hostpoll hp;
	bool drained; /* a read found less than it asked for: nothing to read until the host reports an event (the end of the stream included) */
};
enum { READ_EVENTS = POLLIN | POLLRDNORM | POLLRDHUP | POLLPRI };
static const struct sock_ops host_ops;
static struct hsock *hs(struct sock *s) { return s->priv; }

static int wrap(int fd, int domain, int type, int protocol, struct sock **ret)
{
	struct hsock *h = calloc(1, sizeof(*h));
	struct sock *s = h ? sock_new(domain, type, protocol, &host_ops, h) : NULL;
	if (!s) {
		free(h);
		close(fd);
		return -ENOMEM;
	}
	h->fd = fd;
	int rc = hostpoll_add(&h->hp, fd, &s->wq);
	if (rc < 0) {
		close(fd);
		free(h);
		free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int host_socket(struct task *t, int domain, int type, int protocol, struct sock **ret)
{
	if (type == SOCK_RAW && domain != AF_NETLINK && !capable(t, CAP_NET_RAW))
		return -EPERM;
	if (domain == AF_NETLINK && protocol != NETLINK_ROUTE)
		return -EPROTONOSUPPORT;
	int fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	return fd < 0 ? -errno : wrap(fd, domain, type, protocol, ret);
}

static int h_bind(struct task *t, struct sock *s, const struct sockaddr_storage *a, socklen_t len)
{
	uint16_t port = 0;
	if (s->domain == AF_INET && len >= sizeof(struct sockaddr_in))
		port = ntohs(((const struct sockaddr_in *)a)->sin_port);
	else if (s->domain == AF_INET6 && len >= sizeof(struct sockaddr_in6))
		port = ntohs(((const struct sockaddr_in6 *)a)->sin6_port);
	if (port && port < 1024 && !capable(t, CAP_NET_BIND_SERVICE))
		return -EACCES;
	if (s->domain == AF_NETLINK) { /* port ids are the host's: let it choose */
		struct sockaddr_nl nl = { .nl_family = AF_NETLINK, .nl_groups = len >= 12 ? ((const struct sockaddr_nl *)a)->nl_groups : 0 };
		return bind(hs(s)->fd, (struct sockaddr *)&nl, sizeof(nl)) < 0 ? -errno : 0;
	}
	return bind(hs(s)->fd, (const struct sockaddr *)a, len) < 0 ? -errno : 0;
}

static int h_connect(struct task *t, struct sock *s, struct file *f, const struct sockaddr_storage *a, socklen_t len)
{
	int64_t deadline = 0;
	int err = 0, rc;
	socklen_t n = sizeof(err);
	if (connect(hs(s)->fd, (const struct sockaddr *)a, len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	if (f->flags & O_NONBLOCK)
		return -EINPROGRESS;
	for (;;) {
		struct pollfd p = { hs(s)->fd, POLLOUT, 0 };
		if (poll(&p, 1, 0) > 0)
			break;
		if ((rc = sock_wait(t, s, f, 0, true, &deadline)) < 0)
			return rc == -EAGAIN ? -EINPROGRESS : rc;
	}
	if (getsockopt(hs(s)->fd, SOL_SOCKET, SO_ERROR, &err, &n) < 0)
		return -errno;
	return -err;
}

static int h_listen(struct task *t, struct sock *s, int backlog)
{
	(void)t;
	return listen(hs(s)->fd, backlog) < 0 ? -errno : 0;
}

static int h_accept(struct task *t, struct sock *s, struct file *f, struct sock **ret)
{
	int64_t deadline = 0;
	for (;;) {
		int fd = accept4(hs(s)->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), rc;
		if (fd >= 0)
			return wrap(fd, s->domain, s->type, s->protocol, ret);
		if (errno != EAGAIN)
			return -errno;
		if ((rc = sock_wait(t, s, f, 0, false, &deadline)) < 0)
			return rc;
	}
}

static int h_name(struct sock *s, bool peer, struct sockaddr_storage *a, socklen_t *len)
{
	*len = sizeof(*a);
	return (peer ? getpeername : getsockname)(hs(s)->fd, (struct sockaddr *)a, len) < 0 ? -errno : 0;
}

static ssize_t h_send(struct task *t, struct sock *s, struct file *f, struct smsg *m)
{
	char *buf = task_buf(t);
	size_t total = 0;
	int64_t deadline = 0;
	bool stream = s->type == SOCK_STREAM, big = m->u->left > TASK_BUF;
	if (!buf)
		return -ENOMEM;
	if (!stream && big)
		return -EMSGSIZE;
	do {
		ssize_t k = m->u->left ? uio_get(m->u, buf, MIN(m->u->left, (size_t)TASK_BUF)) : 0, n;
		if (k < 0)
			return total ? (ssize_t)total : k;
		struct iovec iov = { buf, (size_t)k };
		struct msghdr mh = { .msg_name = m->name_len ? &m->name : NULL, .msg_namelen = m->name_len, .msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = m->control_len ? m->control : NULL, .msg_controllen = m->control_len };
		while (iov.iov_len || !k) {
			n = sendmsg(hs(s)->fd, &mh, (int)(m->flags & (MSG_OOB | MSG_DONTROUTE | MSG_MORE | MSG_EOR | MSG_CONFIRM | MSG_FASTOPEN)) | MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n >= 0) {
				iov.iov_base = (char *)iov.iov_base + n;
				iov.iov_len -= (size_t)n;
				total += (size_t)n;
				if (!k || !stream)
					break;
				continue;
			}
			if (errno != EAGAIN) {
				uio_back(m->u, iov.iov_len);
				return total ? (ssize_t)total : -errno;
			}
			/* the buffer belongs to the task: nobody else uses it while we sleep */
			int rc = sock_wait(t, s, f, m->flags, true, &deadline);
			if (rc < 0) {
				uio_back(m->u, iov.iov_len);
				return total ? (ssize_t)total : rc;
			}
		}
	} while (stream && m->u->left);
	return (ssize_t)total;
}

static ssize_t h_recv(struct task *t, struct sock *s, struct file *f, struct smsg *m)
{
	char *buf = task_buf(t);
	size_t total = 0;
	int64_t deadline = 0;
	bool stream = s->type == SOCK_STREAM;
	if (!buf)
		return -ENOMEM;
	for (;;) {
		struct iovec iov = { buf, MIN(m->u->left, (size_t)TASK_BUF) };
		struct msghdr mh = { .msg_name = &m->name, .msg_namelen = sizeof(m->name), .msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = m->control_cap ? m->control : NULL, .msg_controllen = m->control_cap };
		ssize_t n = recvmsg(hs(s)->fd, &mh, (int)(m->flags & (MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE)) | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		int err = errno;
		if (stream && !(m->flags & (MSG_PEEK | MSG_OOB)) && !(hs(s)->hp.seen & (POLLRDHUP | POLLHUP | POLLERR)) && (n < 0 ? err == EAGAIN : n && (size_t)n < iov.iov_len)) {
			hs(s)->drained = true; /* under the lock: an event that comes later is seen later */
			hs(s)->hp.seen = 0;
		}
		if (n < 0) {
			if (err != EAGAIN || total)
				return total ? (ssize_t)total : -err;
			int rc = sock_wait(t, s, f, m->flags, false, &deadline);
			if (rc < 0)
				return rc;
			continue;
		}
		m->name_len = mh.msg_namelen;
		m->out_flags = (unsigned)mh.msg_flags & ~(unsigned)MSG_CMSG_CLOEXEC;
		m->control_len = mh.msg_controllen;
		ssize_t k = stream && (m->flags & MSG_TRUNC) ? n : uio_put(m->u, buf, MIN((size_t)n, iov.iov_len));
		if (k < 0)
			return total ? (ssize_t)total : k;
		total += (size_t)MAX(k, stream ? k : n);
		if (!stream || !(m->flags & MSG_WAITALL) || !n || !m->u->left || (m->flags & MSG_PEEK)) {
			/* a large read of a stream takes what is there */
			if (stream && n == TASK_BUF && m->u->left && !(m->flags & (MSG_PEEK | MSG_TRUNC)))
				continue;
			break;
		}
	}
	return (ssize_t)total;
}

static int h_shutdown(struct sock *s, int how)
{
	int rc = shutdown(hs(s)->fd, how) < 0 ? -errno : 0;
	waitq_wake(&s->wq, 0);
	return rc;
}

static int h_setopt(struct task *t, struct sock *s, int level, int name, const void *val, socklen_t len)
{
	if (level == SOL_SOCKET && (name == SO_BINDTODEVICE || name == SO_MARK || name == SO_RCVBUFFORCE || name == SO_SNDBUFFORCE || name == SO_DEBUG) &&
	    !capable(t, CAP_NET_ADMIN))
		return -EPERM;
	if (level == SOL_SOCKET && (name == SO_ATTACH_FILTER || name == SO_ATTACH_BPF || name == SO_ATTACH_REUSEPORT_CBPF || name == SO_ATTACH_REUSEPORT_EBPF))
		return -ENOPROTOOPT; /* programs of the guest do not run in the host kernel */
	if (level == SOL_IP && (name >= 64 && name < 128))
		return -ENOPROTOOPT; /* netfilter tables */
	if (level == SOL_IPV6 && name >= 64 && name < 66)
		return -ENOPROTOOPT;
	return setsockopt(hs(s)->fd, level, name, val, len) < 0 ? -errno : 0;
}

static int h_getopt(struct task *t, struct sock *s, int level, int name, void *val, socklen_t *len)
{
	(void)t;
	if (level == SOL_SOCKET && name == SO_ERROR) {
		int rc = getsockopt(hs(s)->fd, level, name, val, len) < 0 ? -errno : 0;
		return rc;
	}
	return getsockopt(hs(s)->fd, level, name, val, len) < 0 ? -errno : 0;
}

static unsigned h_poll(struct sock *s, struct poll_table *pt)
{
	struct pollfd p = { hs(s)->fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM, 0 };
	if (pt && pt->want && hs(s)->drained && !hs(s)->hp.seen && !(pt->want & ~(unsigned)(READ_EVENTS | POLLERR | POLLHUP) & 0xffff))
		return 0;
	return poll(&p, 1, 0) < 0 ? POLLERR : (unsigned)(unsigned short)p.revents;
}

/* Interface queries of old programs; everything that would change something is refused. */
static long h_ioctl(struct task *t, struct sock *s, unsigned cmd, uint64_t arg)
{
	struct ifreq r;
	int n;
	switch (cmd) {
	case SIOCINQ: /* FIONREAD */
	case SIOCOUTQ:
	case SIOCATMARK:
		if (ioctl(hs(s)->fd, cmd, &n) < 0)
			return -errno;
		return copyout(t, arg, &n, sizeof(n));
	case SIOCGIFCONF: {
		struct { int32_t len, pad; uint64_t buf; } g;
		if (copyin(t, &g, arg, sizeof(g)) < 0)
			return -EFAULT;
		struct ifreq v[64];
		struct ifconf c = { .ifc_len = (int)MIN((size_t)(g.len < 0 ? 0 : g.len), sizeof(v)), .ifc_req = v };
		if (!g.buf) {
			c.ifc_req = NULL;
			c.ifc_len = 0;
		}
		if (ioctl(hs(s)->fd, SIOCGIFCONF, &c) < 0)
			return -errno;
		if (g.buf && copyout(t, g.buf, v, (size_t)c.ifc_len) < 0)
			return -EFAULT;
		g.len = c.ifc_len;
		return copyout(t, arg, &g, sizeof(g));
	}
	case SIOCGIFNAME: case SIOCGIFFLAGS: case SIOCGIFADDR: case SIOCGIFDSTADDR: case SIOCGIFBRDADDR: case SIOCGIFNETMASK: case SIOCGIFMETRIC: case SIOCGIFMTU:
	case SIOCGIFHWADDR: case SIOCGIFINDEX: case SIOCGIFTXQLEN:
		if (copyin(t, &r, arg, sizeof(r)) < 0)
			return -EFAULT;
		if (ioctl(hs(s)->fd, cmd, &r) < 0)
			return -errno;
		return copyout(t, arg, &r, sizeof(r));
	default: return cmd >> 8 == 0x89 ? -EPERM : -ENOTTY;
	}
}

static void h_release(struct sock *s)
{
	hostpoll_del(&hs(s)->hp);
	close(hs(s)->fd);
	free(hs(s));
}

static const struct sock_ops host_ops = { .bind = h_bind, .connect = h_connect, .listen = h_listen, .accept = h_accept, .name = h_name, .send = h_send, .recv = h_recv,
	.shutdown = h_shutdown, .setopt = h_setopt, .getopt = h_getopt, .poll = h_poll, .ioctl = h_ioctl, .release = h_release };
