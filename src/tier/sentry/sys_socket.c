/* Socket calls: decode addresses, messages and options, then the family's operation. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/net/socket.h"
#include "tier/sentry/task/task.h"

#define SOCK_FLAGS ((uint64_t)(SOCK_NONBLOCK | SOCK_CLOEXEC))

static int sock_of(struct task *t, uint64_t fd, struct file **ret_f, struct sock **ret)
{
	struct file *f = fd_file(t, (int)fd);
	if (!f)
		return -EBADF;
	*ret_f = f;
	*ret = file_sock(f);
	return *ret ? 0 : -ENOTSOCK;
}

static int make(struct task *t, int domain, int type, int protocol, struct sock **ret)
{
	if (type < 0 || type > SOCK_PACKET)
		return -EINVAL;
	switch (domain) {
	case AF_UNIX: return unix_socket(t, type, protocol, ret);
	case AF_INET: case AF_INET6: case AF_NETLINK: return host_socket(t, domain, type, protocol, ret);
	default: return -EAFNOSUPPORT;
	}
}

long sys_socket(struct task *t, const uint64_t *a)
{
	struct sock *s;
	if ((a[1] & ~0xfull) & ~SOCK_FLAGS)
		return -EINVAL;
	int rc = make(t, (int)a[0], (int)a[1] & 15, (int)a[2], &s);
	return rc ? rc : fd_give(t, sock_file(t, s, (unsigned)a[1]), (unsigned)a[1]);
}

long sys_socketpair(struct task *t, const uint64_t *a)
{
	struct sock *s[2];
	int fd[2];
	if ((a[1] & ~0xfull) & ~SOCK_FLAGS)
		return -EINVAL;
	if ((int)a[0] != AF_UNIX)
		return (int)a[0] == AF_INET || (int)a[0] == AF_INET6 ? -EOPNOTSUPP : -EAFNOSUPPORT;
	if (a[2] && a[2] != AF_UNIX)
		return -EPROTONOSUPPORT;
	int rc = unix_pair(t, (int)a[1] & 15, s);
	if (rc)
		return rc;
	if ((fd[0] = fd_give(t, sock_file(t, s[0], (unsigned)a[1]), (unsigned)a[1])) < 0)
		return fd[0];
	if ((fd[1] = fd_give(t, sock_file(t, s[1], (unsigned)a[1]), (unsigned)a[1])) < 0 || copyout(t, a[3], fd, sizeof(fd)) < 0) {
		fd_close(t, fd[0]);
		if (fd[1] < 0)
			return fd[1];
		fd_close(t, fd[1]);
		return -EFAULT;
	}
	return 0;
}

static int addr_in(struct task *t, uint64_t p, uint64_t len, struct sockaddr_storage *a)
{
	memset(a, 0, sizeof(*a));
	if ((int)len < 0 || len > sizeof(*a))
		return -EINVAL;
	return copyin(t, a, p, len);
}

/* Address out with the value-result length of the caller. */
static int addr_out(struct task *t, uint64_t p, uint64_t len_p, const struct sockaddr_storage *a, socklen_t len)
{
	int cap;
	if (!p)
		return 0;
	if (copyin(t, &cap, len_p, 4) < 0)
		return -EFAULT;
	if (cap < 0)
		return -EINVAL;
	if (copyout(t, p, a, MIN((socklen_t)cap, len)) < 0 || copyout(t, len_p, &len, 4) < 0)
		return -EFAULT;
	return 0;
}

long sys_bind(struct task *t, const uint64_t *a)
{
	struct file *f;
	struct sock *s;
	struct sockaddr_storage sa;
	int rc = sock_of(t, a[0], &f, &s);
	if (rc || (rc = addr_in(t, a[1], a[2], &sa)) < 0)
		return rc;
	return s->ops->bind(t, s, &sa, (socklen_t)a[2]);
}

long sys_connect(struct task *t, const uint64_t *a)
{
	struct file *f;
	struct sock *s;
	struct sockaddr_storage sa;
	int rc = sock_of(t, a[0], &f, &s);
	if (rc || (rc = addr_in(t, a[1], a[2], &sa)) < 0)
		return rc;
	file_get(f);
	rc = s->ops->connect(t, s, f, &sa, (socklen_t)a[2]);
	file_put(f);
	return rc;
}

long sys_listen(struct task *t, const uint64_t *a)
{
	struct file *f;
	struct sock *s;
	int rc = sock_of(t, a[0], &f, &s);
	return rc ? rc : s->ops->listen(t, s, (int)a[1]);
}

static long do_accept(struct task *t, const uint64_t *a, unsigned flags)
{
	struct file *f;
	struct sock *s, *n;
	struct sockaddr_storage sa;
	socklen_t len;
	int rc = sock_of(t, a[0], &f, &s);
	if (rc)
		return rc;
	if (flags & ~(unsigned)SOCK_FLAGS)
		return -EINVAL;
	file_get(f);
	rc = s->ops->accept(t, s, f, &n);
	file_put(f);
	if (rc)
		return rc;
	struct file *nf = sock_file(t, n, flags);
	if (!nf)
		return -ENOMEM;
	if (a[1]) {
		if (n->ops->name(n, true, &sa, &len) < 0) {
			sa = (struct sockaddr_storage){ .ss_family = (sa_family_t)n->domain };
			len = 2;
		}
		if ((rc = addr_out(t, a[1], a[2], &sa, len)) < 0) {
			file_put(nf);
			return rc;
		}
	}
	return fd_give(t, nf, flags);
}
long sys_accept(struct task *t, const uint64_t *a) { return do_accept(t, a, 0); }
long sys_accept4(struct task *t, const uint64_t *a) { return do_accept(t, a, (unsigned)a[3]); }

static long do_name(struct task *t, const uint64_t *a, bool peer)
{
	struct file *f;
	struct sock *s;
	struct sockaddr_storage sa;
	socklen_t len;
	int rc = sock_of(t, a[0], &f, &s);
	if (rc || (rc = s->ops->name(s, peer, &sa, &len)) < 0)
		return rc;
	return a[1] ? addr_out(t, a[1], a[2], &sa, len) : -EFAULT;
}
long sys_getsockname(struct task *t, const uint64_t *a) { return do_name(t, a, false); }
long sys_getpeername(struct task *t, const uint64_t *a) { return do_name(t, a, true); }

long sys_shutdown(struct task *t, const uint64_t *a)
{
	struct file *f;
	struct sock *s;
	int rc = sock_of(t, a[0], &f, &s);
	return rc ? rc : s->ops->shutdown(s, (int)a[1]);
}

/* ---- options ---------------------------------------------------------------------------------------------------------- */

static int set_timeo(const void *val, socklen_t len, int64_t *ret)
{
	struct timeval tv;
	if (len < sizeof(tv))
		return -EINVAL;
	memcpy(&tv, val, sizeof(tv));
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	*ret = tv.tv_sec < 0 ? 0 : MIN((int64_t)tv.tv_sec, 4000000000ll) * 1000000000 + tv.tv_usec * 1000;
	return 0;
}

long sys_setsockopt(struct task *t, const uint64_t *a)
{
	struct file *f;
	struct sock *s;
	char val[SOCK_OPT_MAX];
	int rc = sock_of(t, a[0], &f, &s), level = (int)a[1], name = (int)a[2];
	if (rc)
		return rc;
	if ((int)a[4] < 0 || a[4] > sizeof(val))
		return -EINVAL;
	if (copyin(t, val, a[3], a[4]) < 0)
		return -EFAULT;
	if (level == SOL_SOCKET && name == SO_RCVTIMEO)
		return set_timeo(val, (socklen_t)a[4], &s->rcvtimeo);
	if (level == SOL_SOCKET && name == SO_SNDTIMEO)
		return set_timeo(val, (socklen_t)a[4], &s->sndtimeo);
	if (level == SOL_SOCKET && name == SO_PASSCRED) {
		if (a[4] < 4)
			return -EINVAL;
		s->passcred = *(int *)(void *)val;
		return s->domain == AF_UNIX ? 0 : s->ops->setopt(t, s, level, name, val, (socklen_t)a[4]);
	}
	return s->ops->setopt(t, s, level, name, val, (socklen_t)a[4]);
}

long sys_getsockopt(struct task *t, const uint64_t *a)
{
	struct file *f;
	struct sock *s;
	char val[SOCK_OPT_MAX] = { 0 };
	int len, rc = sock_of(t, a[0], &f, &s), level = (int)a[1], name = (int)a[2], v;
	if (rc)
		return rc;
	if (copyin(t, &len, a[4], 4) < 0)
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	socklen_t n = MIN((socklen_t)len, (socklen_t)sizeof(val));
	if (level == SOL_SOCKET && (name == SO_TYPE || name == SO_DOMAIN || name == SO_PROTOCOL || (name == SO_PASSCRED && s->domain == AF_UNIX))) {
		v = name == SO_TYPE ? s->type : name == SO_DOMAIN ? s->domain : name == SO_PROTOCOL ? s->protocol : s->passcred;
		if (name == SO_PROTOCOL && !v && s->domain != AF_UNIX)
			v = s->type == SOCK_STREAM ? 6 : s->type == SOCK_DGRAM ? 17 : 0;
		n = MIN(n, (socklen_t)4);
		memcpy(val, &v, n);
	} else if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
		int64_t ns = name == SO_RCVTIMEO ? s->rcvtimeo : s->sndtimeo;
		struct timeval tv = { ns / 1000000000, ns % 1000000000 / 1000 };
		n = MIN(n, (socklen_t)sizeof(tv));
		memcpy(val, &tv, n);
	} else if ((rc = s->ops->getopt(t, s, level, name, val, &n)) < 0) {
		return rc;
	}
	return copyout(t, a[3], val, n) < 0 || copyout(t, a[4], &n, 4) < 0 ? -EFAULT : 0;
}

/* ---- messages ---------------------------------------------------------------------------------------------------------- */

struct guest_msghdr { uint64_t name; uint32_t name_len, pad; uint64_t iov, iov_len, control, control_len; int32_t flags, pad2; };
_Static_assert(sizeof(struct guest_msghdr) == 56, "msghdr");

static long send_one(struct task *t, struct file *f, struct sock *s, struct smsg *m)
{
	file_get(f);
	long r = s->ops->send(t, s, f, m);
	file_put(f);
	if (r == -EPIPE && !(m->flags & MSG_NOSIGNAL) && s->type != SOCK_DGRAM)
		send_signal_task(t, SIGPIPE, NULL);
	return r;
}

long sys_sendto(struct task *t, const uint64_t *a)
{
	struct file *f;
	struct sock *s;
	struct uio u;
	struct smsg m = { .u = &u, .flags = (unsigned)a[3] };
	int rc = sock_of(t, a[0], &f, &s);
	if (rc)
		return rc;
	if (a[4] && (rc = addr_in(t, a[4], a[5], &m.name)) < 0)
		return rc;
	m.name_len = a[4] ? (socklen_t)a[5] : 0;
	uio_init(&u, t, a[1], a[2]);
	return send_one(t, f, s, &m);
}

/* SCM_RIGHTS and SCM_CREDENTIALS of a unix socket's message. */
static int control_in(struct task *t, struct smsg *m, const uint8_t *c, size_t len)
{
	for (size_t at = 0; at + sizeof(struct cmsghdr) <= len;) {
		struct cmsghdr h;
		memcpy(&h, c + at, sizeof(h));
		if (h.cmsg_len < sizeof(h) || h.cmsg_len > len - at)
			return -EINVAL;
		size_t n = h.cmsg_len - sizeof(h);
		if (h.cmsg_level == SOL_SOCKET && h.cmsg_type == SCM_RIGHTS) {
			unsigned k = (unsigned)(n / 4);
			if (m->n_fds + k > SOCK_FDS_MAX)
				return -EINVAL;
			struct file **v = realloc(m->fds, (m->n_fds + k + 1) * sizeof(*v));
			if (!v)
				return -ENOMEM;
			m->fds = v;
			for (unsigned i = 0; i < k; i++) {
				int fd;
				memcpy(&fd, c + at + sizeof(h) + 4 * i, 4);
				struct file *x = fd_file_any(t, fd);
				if (!x)
					return -EBADF;
				m->fds[m->n_fds++] = x;
			}
		} else if (h.cmsg_level == SOL_SOCKET && h.cmsg_type == SCM_CREDENTIALS) {
			const struct cred *k = t->cred;
			if (n < sizeof(m->cred))
				return -EINVAL;
			memcpy(&m->cred, c + at + sizeof(h), sizeof(m->cred));
			if ((m->cred.pid != t->proc->pid && !capable(t, CAP_SYS_ADMIN)) ||
			    (m->cred.uid != k->uid && m->cred.uid != k->euid && m->cred.uid != k->suid && !capable(t, CAP_SETUID)) ||
			    (m->cred.gid != k->gid && m->cred.gid != k->egid && m->cred.gid != k->sgid && !capable(t, CAP_SETGID)))
				return -EPERM;
			m->has_cred = true;
		} else if (h.cmsg_level == SOL_SOCKET) {
			return -EINVAL;
		}
		at += (h.cmsg_len + 7) & ~(size_t)7;
	}
	return 0;
}

static long do_sendmsg(struct task *t, uint64_t fd, uint64_t p, unsigned flags)
{
	struct file *f;
	struct sock *s;
	struct guest_msghdr g;
	_cleanup_uio_ struct uio u = { 0 };
	struct smsg m = { .u = &u, .flags = flags };
	_cleanup_free_ uint8_t *control = NULL;
	int rc = sock_of(t, fd, &f, &s);
	if (rc)
		return rc;
	if (copyin(t, &g, p, sizeof(g)) < 0)
		return -EFAULT;
	if (g.name && (rc = addr_in(t, g.name, MIN(g.name_len, (uint32_t)sizeof(m.name)), &m.name)) < 0)
		return rc;
	m.name_len = g.name ? MIN(g.name_len, (uint32_t)sizeof(m.name)) : 0;
	if (g.iov_len > UIO_MAXIOV_)
		return -EMSGSIZE;
	if ((rc = uio_import(&u, t, g.iov, g.iov_len)) < 0)
		return rc;
	if (g.control_len > SOCK_CONTROL_MAX)
		return -ENOBUFS;
	if (g.control && g.control_len) {
		if (!(control = malloc(g.control_len)))
			return -ENOMEM;
		if (copyin(t, control, g.control, g.control_len) < 0)
			return -EFAULT;
		if (s->domain == AF_UNIX) {
			rc = control_in(t, &m, control, g.control_len);
		} else { /* the host must not see descriptor numbers or credentials of ours */
			for (struct cmsghdr *h = (struct cmsghdr *)(void *)control; g.control_len >= sizeof(*h) && (uint8_t *)h + sizeof(*h) <= control + g.control_len;) {
				if (h->cmsg_level == SOL_SOCKET && (h->cmsg_type == SCM_RIGHTS || h->cmsg_type == SCM_CREDENTIALS))
					return -EINVAL;
				if (h->cmsg_len < sizeof(*h) || h->cmsg_len > g.control_len)
					return -EINVAL;
				h = (struct cmsghdr *)(void *)((uint8_t *)h + ((h->cmsg_len + 7) & ~(size_t)7));
			}
			m.control = control;
			m.control_len = g.control_len;
		}
	}
	struct file **fds = m.fds;
	long r = rc ? rc : send_one(t, f, s, &m);
	free(fds);
	return r;
}
long sys_sendmsg(struct task *t, const uint64_t *a) { return do_sendmsg(t, a[0], a[1], (unsigned)a[2]); }

long sys_sendmmsg(struct task *t, const uint64_t *a)
{
	uint64_t n = MIN((uint64_t)(uint32_t)a[2], (uint64_t)1024);
	for (uint64_t i = 0; i < n; i++) {
		long r = do_sendmsg(t, a[0], a[1] + i * 64, (unsigned)a[3]);
		uint32_t len = (uint32_t)r;
		if (r >= 0 && copyout(t, a[1] + i * 64 + 56, &len, 4) < 0)
			r = -EFAULT;
		if (r < 0)
			return i ? (long)i : r;
	}
	return (long)n;
}

static long recv_one(struct task *t, struct file *f, struct sock *s, struct smsg *m)
{
	file_get(f);
	long r = s->ops->recv(t, s, f, m);
	file_put(f);
	return r;
}

static void drop_fds(struct smsg *m)
{
	for (unsigned i = 0; i < m->n_fds; i++)
		file_put(m->fds[i]);
	free(m->fds);
}

long sys_recvfrom(struct task *t, const uint64_t *a)
{
	struct file *f;
	struct sock *s;
	struct uio u;
	struct smsg m = { .u = &u, .flags = (unsigned)a[3] };
	int rc = sock_of(t, a[0], &f, &s);
	if (rc)
		return rc;
	uio_init(&u, t, a[1], a[2]);
	long r = recv_one(t, f, s, &m);
	drop_fds(&m);
	if (r >= 0 && a[4] && (rc = addr_out(t, a[4], a[5], &m.name, m.name_len)) < 0)
		return rc;
	return r;
}

/* Append one control message; false: it did not fit. */
static bool put_control(uint8_t *c, size_t cap, size_t *at, int type, const void *data, size_t n)
{
	struct cmsghdr h = { .cmsg_len = sizeof(h) + n, .cmsg_level = SOL_SOCKET, .cmsg_type = type };
	if (*at + sizeof(h) + n > cap)
		return false;
	memcpy(c + *at, &h, sizeof(h));
	memcpy(c + *at + sizeof(h), data, n);
	*at = MIN(*at + ((h.cmsg_len + 7) & ~(size_t)7), cap);
	return true;
}

static void control_out(struct task *t, struct smsg *m, unsigned flags, uint8_t *c, size_t cap, size_t *len)
{
	int fds[SOCK_FDS_MAX];
	unsigned n = 0, fit = cap > *len + sizeof(struct cmsghdr) ? (unsigned)((cap - *len - sizeof(struct cmsghdr)) / 4) : 0;
	if (m->give_cred && !put_control(c, cap, len, SCM_CREDENTIALS, &m->cred, sizeof(m->cred)))
		m->out_flags |= MSG_CTRUNC;
	if (!m->n_fds)
		return;
	fit = cap > *len + sizeof(struct cmsghdr) ? (unsigned)((cap - *len - sizeof(struct cmsghdr)) / 4) : 0;
	for (; n < m->n_fds && n < fit; n++) {
		int fd = fd_install(t, m->fds[n], flags & MSG_CMSG_CLOEXEC, 0);
		if (fd < 0)
			break;
		file_get(m->fds[n]);
		fds[n] = fd;
	}
	if (n < m->n_fds)
		m->out_flags |= MSG_CTRUNC;
	if (n)
		put_control(c, cap, len, SCM_RIGHTS, fds, 4 * n);
}

static long do_recvmsg(struct task *t, uint64_t fd, uint64_t p, unsigned flags)
{
	struct file *f;
	struct sock *s;
	struct guest_msghdr g;
	_cleanup_uio_ struct uio u = { 0 };
	struct smsg m = { .u = &u, .flags = flags };
	int rc = sock_of(t, fd, &f, &s);
	if (rc)
		return rc;
	if (copyin(t, &g, p, sizeof(g)) < 0)
		return -EFAULT;
	if (g.iov_len > UIO_MAXIOV_)
		return -EMSGSIZE;
	if ((rc = uio_import(&u, t, g.iov, g.iov_len)) < 0)
		return rc;
	size_t cap = g.control ? MIN(g.control_len, (uint64_t)SOCK_CONTROL_MAX) : 0, len = 0;
	_cleanup_free_ uint8_t *control = calloc(1, cap + 64);
	if (!control)
		return -ENOMEM;
	if (s->domain != AF_UNIX) {
		m.control = control;
		m.control_cap = cap;
	}
	long r = recv_one(t, f, s, &m);
	if (r < 0) {
		drop_fds(&m);
		return r;
	}
	if (s->domain == AF_UNIX)
		control_out(t, &m, flags, control, cap, &len);
	else
		len = m.control_len;
	drop_fds(&m);
	if (g.name && copyout(t, g.name, &m.name, MIN(g.name_len, m.name_len)) < 0)
		return -EFAULT;
	g.name_len = m.name_len;
	g.control_len = len;
	g.flags = (int32_t)(m.out_flags | (flags & MSG_CMSG_CLOEXEC));
	if (len && copyout(t, g.control, control, len) < 0)
		return -EFAULT;
	if ((g.name && copyout(t, p + 8, &g.name_len, 4) < 0) || copyout(t, p + 40, &g.control_len, 8) < 0 || copyout(t, p + 48, &g.flags, 4) < 0)
		return -EFAULT;
	return r;
}
long sys_recvmsg(struct task *t, const uint64_t *a) { return do_recvmsg(t, a[0], a[1], (unsigned)a[2]); }

long sys_recvmmsg(struct task *t, const uint64_t *a)
{
	uint64_t n = MIN((uint64_t)(uint32_t)a[2], (uint64_t)1024);
	struct timespec ts;
	int64_t deadline = -1;
	if (a[4]) {
		if (copyin(t, &ts, a[4], sizeof(ts)) < 0)
			return -EFAULT;
		if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= 1000000000)
			return -EINVAL;
		deadline = now_ns(CLOCK_MONOTONIC) + MIN((int64_t)ts.tv_sec, 4000000000ll) * 1000000000 + ts.tv_nsec;
	}
	for (uint64_t i = 0; i < n; i++) {
		unsigned flags = (unsigned)a[3] & ~(unsigned)MSG_WAITFORONE;
		if (i && (a[3] & MSG_WAITFORONE))
			flags |= MSG_DONTWAIT;
		long r = do_recvmsg(t, a[0], a[1] + i * 64, flags);
		uint32_t len = (uint32_t)r;
		if (r >= 0 && copyout(t, a[1] + i * 64 + 56, &len, 4) < 0)
			r = -EFAULT;
		if (r < 0)
			return i ? (long)i : r;
		if (deadline >= 0 && now_ns(CLOCK_MONOTONIC) >= deadline)
			return (long)i + 1;
	}
	return (long)n;
}
