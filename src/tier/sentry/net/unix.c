/* Unix sockets: stream, datagram, seqpacket; names in the file system and abstract ones; descriptors and credentials passed along. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>

#include "base/str.h"
#include "tier/sentry/net/unix.h"
#include "tier/sentry/task/task.h"

enum { RCVBUF = 212992, PACKET_OVERHEAD = 256, BACKLOG_MAX = 4096, FLIGHT_MAX = 16384 /* descriptors in flight in all queues */ };
static unsigned in_flight;
static struct list every = LIST_INIT(every);

static const struct sock_ops unix_ops;
struct unix_sock *unix_of(struct sock *s) { return s->priv; }

struct sock_cred unix_cred(const struct task *t) { return (struct sock_cred){ t->proc->pid, t->cred->euid, t->cred->egid }; }

struct unix_sock *unix_new(struct task *t, int type)
{
	struct unix_sock *u = calloc(1, sizeof(*u));
	if (!u)
		return NULL;
	*u = (struct unix_sock){ .refs = 1, .type = type, .cred = unix_cred(t) };
	list_init(&u->queue);
	list_init(&u->backlog);
	list_init(&u->pending_node);
	list_init(&u->abstract);
	waitq_init(&u->own_wq);
	u->wq = &u->own_wq;
	list_add_tail(&every, &u->every);
	return u;
}

void packet_free(struct packet *p)
{
	for (unsigned i = 0; i < p->n_fds; i++)
		file_put(p->fds[i]);
	in_flight -= p->n_fds;
	free(p->fds);
	free(p);
}

void unix_put(struct unix_sock *u)
{
	if (!u || --u->refs)
		return;
	list_del(&u->every);
	free(u);
}

/* /proc/net/unix (proc(5)). An abstract name begins with '@'; further NULs in it are shown so too. */
int unix_list(struct strbuf *b)
{
	struct unix_sock *u;
	strbuf_puts(b, "Num       RefCount Protocol Flags    Type St Inode Path\n");
	list_for_each(u, &every, every) {
		unsigned state = u->connected ? 3 /* SS_CONNECTED */ : 1;
		uint64_t ino = u->s ? u->s->ino : 0;
		size_t n = u->name_len > offsetof(struct sockaddr_un, sun_path) ? u->name_len - offsetof(struct sockaddr_un, sun_path) : 0;
		strbuf_printf(b, "%016x: %08X %08X %08X %04X %02X %5llu", 0, u->refs + 1, 0, u->listening ? 0x10000 : 0, u->type, state, (unsigned long long)ino);
		if (n)
			strbuf_putc(b, ' ');
		bool path = n && u->name.sun_path[0];
		for (size_t i = 0; i < n && !(path && !u->name.sun_path[i]); i++)
			strbuf_putc(b, u->name.sun_path[i] ? u->name.sun_path[i] : '@');
		strbuf_putc(b, '\n');
	}
	return b->failed ? -ENOMEM : 0;
}

void unix_wake(struct unix_sock *u, unsigned ev) { waitq_wake(u->wq, ev); }

struct sock *unix_attach(struct unix_sock *u)
{
	struct sock *s = sock_new(AF_UNIX, u->type, 0, &unix_ops, u);
	if (!s)
		return NULL;
	u->s = s;
	u->wq = &s->wq;
	return s;
}

int unix_socket(struct task *t, int type, int protocol, struct sock **ret)
{
	if (protocol && protocol != AF_UNIX)
		return -EPROTONOSUPPORT;
	if (type == SOCK_RAW)
		type = SOCK_DGRAM;
	if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
		return -ESOCKTNOSUPPORT;
	struct unix_sock *u = unix_new(t, type);
	if (!u || !(*ret = unix_attach(u))) {
		free(u);
		return -ENOMEM;
	}
	return 0;
}

void unix_join(struct unix_sock *a, struct unix_sock *b)
{
	a->peer = b;
	b->refs++;
	b->peer = a;
	a->refs++;
	a->connected = b->connected = true;
}

int unix_pair(struct task *t, int type, struct sock *ret[2])
{
	int rc = unix_socket(t, type, 0, &ret[0]);
	if (rc || (rc = unix_socket(t, type, 0, &ret[1])) < 0)
		return rc;
	unix_join(unix_of(ret[0]), unix_of(ret[1]));
	return 0;
}

/* ---- data ------------------------------------------------------------------------------------------------------------------ */

static struct packet *packet_make(struct task *t, struct smsg *m, size_t n)
{
	struct packet *p = malloc(sizeof(*p) + n);
	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	list_init(&p->node);
	p->cred = m->has_cred ? m->cred : (struct sock_cred){ t->proc->pid, t->cred->uid, t->cred->gid };
	p->len = n;
	if (m->n_fds && (p->fds = calloc(m->n_fds, sizeof(*p->fds)))) {
		for (unsigned i = 0; i < m->n_fds; i++)
			p->fds[i] = file_get(m->fds[i]);
		p->n_fds = m->n_fds;
		in_flight += m->n_fds;
	}
	return p;
}

static ssize_t u_send(struct task *t, struct sock *s, struct file *f, struct smsg *m)
{
	struct unix_sock *u = unix_of(s), *to;
	size_t total = 0;
	int64_t deadline = 0;
	int rc;
	if (m->flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (in_flight + m->n_fds > FLIGHT_MAX)
		return -ETOOMANYREFS;
	if (u->type != SOCK_DGRAM && m->name_len)
		return u->connected ? -EISCONN : -EOPNOTSUPP;
	if (u->type != SOCK_STREAM && m->u->left > RCVBUF)
		return -EMSGSIZE;
	do {
		to = u->peer;
		if (m->name_len && (rc = unix_find(t, &m->name, m->name_len, u->type, &to)) < 0)
			return rc;
		if (u->wr_shut)
			return total ? (ssize_t)total : -EPIPE;
		if (!to)
			return total ? (ssize_t)total : u->peer_closed && u->type != SOCK_DGRAM ? -EPIPE : u->peer_closed ? -ECONNREFUSED : -ENOTCONN;
		if (to->rd_shut || (!to->s && u->type == SOCK_DGRAM))
			return total ? (ssize_t)total : u->type == SOCK_DGRAM && !to->s ? -ECONNREFUSED : -EPIPE;
		if (u->type == SOCK_DGRAM && to->peer && to->connected && to->peer != u && m->name_len)
			return -EPERM; /* it is connected to somebody else */
		size_t room = to->queued < RCVBUF ? RCVBUF - to->queued : 0, want = m->u->left;
		if (u->type == SOCK_STREAM)
			want = MIN(want, room < 32768 ? room : (size_t)32768);
		if (room < (u->type == SOCK_STREAM ? 1 : MIN(want + PACKET_OVERHEAD, (size_t)RCVBUF)) && to->queued) {
			rc = sock_wait(t, to->s ? to->s : s, f, m->flags, true, &deadline);
			if (rc < 0)
				return total ? (ssize_t)total : rc;
			continue;
		}
		struct packet *p = packet_make(t, m, want);
		if (!p)
			return total ? (ssize_t)total : -ENOMEM;
		ssize_t k = want ? uio_get(m->u, p->data, want) : 0;
		if (k < 0 || (u->type != SOCK_STREAM && (size_t)k < want)) {
			packet_free(p);
			return total ? (ssize_t)total : -EFAULT;
		}
		p->len = (size_t)k;
		p->from_len = u->name_len;
		p->from = u->name;
		m->n_fds = 0; /* go with the first part */
		if (!k && u->type == SOCK_STREAM && !p->n_fds) {
			packet_free(p);
			return (ssize_t)total;
		}
		list_add_tail(&to->queue, &p->node);
		to->queued += p->len + (u->type == SOCK_STREAM ? 0 : PACKET_OVERHEAD);
		total += (size_t)k;
		unix_wake(to, POLLIN | POLLRDNORM);
	} while (u->type == SOCK_STREAM && m->u->left);
	return (ssize_t)total;
}

static void take_extras(struct unix_sock *u, struct packet *p, struct smsg *m, bool peek)
{
	m->cred = p->cred;
	m->has_cred = true;
	m->give_cred = u->s->passcred;
	m->name = (struct sockaddr_storage){ .ss_family = AF_UNIX };
	m->name_len = 0;
	if (p->from_len) {
		memcpy(&m->name, &p->from, p->from_len);
		m->name_len = p->from_len;
	}
	if (!p->n_fds)
		return;
	if (peek) {
		if (!(m->fds = calloc(p->n_fds, sizeof(*m->fds))))
			return;
		for (unsigned i = 0; i < p->n_fds; i++)
			m->fds[i] = file_get(p->fds[i]);
	} else {
		m->fds = p->fds;
		p->fds = NULL;
		in_flight -= p->n_fds;
	}
	m->n_fds = p->n_fds;
	if (!peek)
		p->n_fds = 0;
}

static void consumed(struct unix_sock *u, struct packet *p)
{
	u->queued -= u->type == SOCK_STREAM ? 0 : p->len + PACKET_OVERHEAD;
	list_del(&p->node);
	packet_free(p);
}

static void tell_writers(struct unix_sock *u)
{
	unix_wake(u, POLLOUT | POLLWRNORM); /* senders wait on the receiver's queue */
	if (u->peer)
		unix_wake(u->peer, POLLOUT | POLLWRNORM);
}

static ssize_t recv_stream(struct unix_sock *u, struct smsg *m)
{
	struct packet *p, *n;
	size_t total = 0;
	bool peek = m->flags & MSG_PEEK, first = true;
	list_for_each_safe(p, n, &u->queue, node) {
		if (!m->u->left)
			break;
		if (!first && (p->n_fds || (u->s->passcred && memcmp(&p->cred, &m->cred, sizeof(p->cred)))))
			break; /* descriptors and senders are not mixed in one receive */
		bool had_fds = p->n_fds;
		if (first)
			take_extras(u, p, m, peek);
		first = false;
		ssize_t k = uio_put(m->u, p->data + p->off, MIN(m->u->left, p->len - p->off));
		if (k < 0)
			return total ? (ssize_t)total : k;
		total += (size_t)k;
		if (peek)
			continue;
		p->off += (size_t)k;
		u->queued -= (size_t)k;
		if (p->off < p->len)
			break;
		consumed(u, p);
		if (had_fds)
			break;
	}
	return (ssize_t)total;
}

static ssize_t u_recv(struct task *t, struct sock *s, struct file *f, struct smsg *m)
{
	struct unix_sock *u = unix_of(s);
	int64_t deadline = 0;
	size_t total = 0;
	if (m->flags & MSG_OOB)
		return unix_of(s)->type == SOCK_STREAM ? -EINVAL : -EOPNOTSUPP;
	if (u->type != SOCK_DGRAM && (!u->connected || u->listening))
		return u->type == SOCK_STREAM ? -EINVAL : -ENOTCONN;
	if (u->type == SOCK_STREAM && !m->u->left)
		return 0;
	for (;;) {
		while (list_empty(&u->queue)) {
			if (u->error) {
				int rc = -u->error;
				u->error = 0;
				return total ? (ssize_t)total : rc;
			}
			if (u->rd_shut || (u->type != SOCK_DGRAM && (u->peer_closed || !u->peer || u->peer->wr_shut)))
				return (ssize_t)total;
			int rc = sock_wait(t, s, f, m->flags, false, &deadline);
			if (rc)
				return total ? (ssize_t)total : rc;
		}
		if (u->type != SOCK_STREAM) {
			struct packet *p = list_first(&u->queue, struct packet, node);
			bool peek = m->flags & MSG_PEEK;
			size_t n = MIN(p->len, m->u->left), len = p->len;
			ssize_t k = n ? uio_put(m->u, p->data, n) : 0;
			if (k < 0)
				return k;
			take_extras(u, p, m, peek);
			if (n < len)
				m->out_flags |= MSG_TRUNC;
			if (u->type == SOCK_SEQPACKET)
				m->out_flags |= MSG_EOR;
			if (!peek) {
				consumed(u, p);
				tell_writers(u);
			}
			return m->flags & MSG_TRUNC ? (ssize_t)len : k;
		}
		ssize_t k = recv_stream(u, m);
		if (k < 0)
			return total ? (ssize_t)total : k;
		if (!(m->flags & MSG_PEEK))
			tell_writers(u);
		total += (size_t)k;
		if (!(m->flags & MSG_WAITALL) || !m->u->left || (m->flags & MSG_PEEK) || m->n_fds)
			return (ssize_t)total;
	}
}

static int u_shutdown(struct sock *s, int how)
{
	struct unix_sock *u = unix_of(s);
	if (how < 0 || how > 2)
		return -EINVAL;
	if (!u->connected && !u->listening)
		return -ENOTCONN;
	if (how != SHUT_WR)
		u->rd_shut = true;
	if (how != SHUT_RD)
		u->wr_shut = true;
	unix_wake(u, 0);
	if (u->peer && u->type != SOCK_DGRAM) {
		if (how != SHUT_WR)
			u->peer->wr_shut = true;
		if (how != SHUT_RD)
			u->peer->rd_shut = u->peer->rd_shut; /* it sees our wr_shut once its queue is empty */
		unix_wake(u->peer, 0);
	}
	return 0;
}

static unsigned u_poll(struct sock *s, struct poll_table *pt)
{
	const struct unix_sock *u = unix_of(s);
	unsigned m = 0;
	bool closed = u->type != SOCK_DGRAM && u->connected && (!u->peer || u->peer_closed);
	if (u->listening)
		return list_empty(&u->backlog) ? 0 : POLLIN | POLLRDNORM;
	if (u->peer && pt)
		poll_wait(pt, u->peer->wq);
	if (!list_empty(&u->queue) || u->rd_shut || closed || (u->type != SOCK_DGRAM && u->peer && u->peer->wr_shut))
		m |= POLLIN | POLLRDNORM;
	if (u->rd_shut || closed || (u->type != SOCK_DGRAM && u->peer && u->peer->wr_shut))
		m |= POLLRDHUP;
	if (closed || (u->rd_shut && u->wr_shut) || (u->type != SOCK_DGRAM && !u->connected) || (u->peer && u->peer->wr_shut && u->wr_shut))
		m |= POLLHUP;
	if (u->error)
		m |= POLLERR;
	if (u->type == SOCK_DGRAM ? !u->peer || u->peer->queued < RCVBUF : !u->connected || !u->peer || u->peer->queued < RCVBUF / 4 * 3)
		m |= POLLOUT | POLLWRNORM;
	return m;
}

static int u_setopt(struct task *t, struct sock *s, int level, int name, const void *val, socklen_t len)
{
	struct unix_sock *u = unix_of(s);
	int v = len >= 4 ? *(const int *)val : 0;
	if (level != SOL_SOCKET)
		return -EOPNOTSUPP;
	if (len < sizeof(int))
		return -EINVAL;
	switch (name) {
	case SO_SNDBUFFORCE: case SO_RCVBUFFORCE:
		if (!capable(t, CAP_NET_ADMIN))
			return -EPERM;
		__attribute__((fallthrough));
	case SO_SNDBUF: case SO_RCVBUF: { /* socket(7): doubled; net.core.[rw]mem_max and the minimum that Linux takes */
		bool snd = name == SO_SNDBUF || name == SO_SNDBUFFORCE, force = name == SO_SNDBUFFORCE || name == SO_RCVBUFFORCE;
		unsigned n = force ? (unsigned)(v < 0 ? 0 : v) : MIN((unsigned)v, (unsigned)RCVBUF);
		n = n > INT32_MAX / 2 ? INT32_MAX / 2 : n;
		*(snd ? &u->sndbuf : &u->rcvbuf) = MAX((int)n * 2, snd ? 4608 : 2304);
		return 0;
	}
	case SO_REUSEADDR: u->flags = v ? u->flags | UNIX_REUSE : u->flags & ~UNIX_REUSE; return 0;
	case SO_KEEPALIVE: u->flags = v ? u->flags | UNIX_KEEP : u->flags & ~UNIX_KEEP; return 0;
	case SO_LINGER:
		if (len < 8)
			return -EINVAL;
		memcpy(u->linger, val, 8);
		return 0;
	case SO_PRIORITY: case SO_BROADCAST: case SO_TIMESTAMP: case SO_OOBINLINE: case SO_PASSSEC: case SO_REUSEPORT:
		return 0; /* nothing that a unix socket would do differently */
	default:
		return -ENOPROTOOPT;
	}
}

static int u_getopt(struct task *t, struct sock *s, int level, int name, void *val, socklen_t *len)
{
	const struct unix_sock *u = unix_of(s);
	int v;
	(void)t;
	if (level != SOL_SOCKET)
		return -EOPNOTSUPP;
	switch (name) {
	case SO_PEERCRED: {
		struct sock_cred c = u->peer ? u->peer->cred : (struct sock_cred){ 0, (uint32_t)-1, (uint32_t)-1 };
		*len = MIN(*len, (socklen_t)sizeof(c));
		memcpy(val, &c, *len);
		return 0;
	}
	case SO_ERROR: v = u->error; unix_of(s)->error = 0; break;
	case SO_SNDBUF: v = u->sndbuf ? u->sndbuf : RCVBUF; break;
	case SO_RCVBUF: v = u->rcvbuf ? u->rcvbuf : RCVBUF; break;
	case SO_ACCEPTCONN: v = u->listening; break;
	case SO_REUSEADDR: v = !!(u->flags & UNIX_REUSE); break;
	case SO_KEEPALIVE: v = !!(u->flags & UNIX_KEEP); break;
	case SO_PRIORITY: case SO_BROADCAST: case SO_OOBINLINE: v = 0; break;
	case SO_LINGER:
		*len = MIN(*len, 8u);
		memcpy(val, u->linger, *len);
		return 0;
	default: return -ENOPROTOOPT;
	}
	*len = MIN(*len, (socklen_t)4);
	memcpy(val, &v, *len);
	return 0;
}

/* Names and indexes of interfaces are asked through any socket: if_nametoindex(3) uses one of these. */
static long interface_query(struct task *t, unsigned cmd, uint64_t arg)
{
	struct sock *h;
	int rc = host_socket(t, AF_INET, SOCK_DGRAM, 0, &h);
	if (rc)
		return rc;
	long r = h->ops->ioctl(t, h, cmd, arg);
	h->ops->release(h);
	free(h);
	return r;
}

static long u_ioctl(struct task *t, struct sock *s, unsigned cmd, uint64_t arg)
{
	const struct unix_sock *u = unix_of(s);
	const struct packet *p;
	int n = 0;
	if (cmd == TIOCOUTQ)
		n = u->peer ? (int)u->peer->queued : 0;
	else if (cmd >> 8 == 0x89)
		return interface_query(t, cmd, arg);
	else if (cmd != FIONREAD)
		return -ENOTTY;
	else
		list_for_each(p, &u->queue, node) {
			n += (int)(p->len - p->off);
			if (u->type != SOCK_STREAM)
				break;
		}
	return copyout(t, arg, &n, sizeof(n));
}

/* The queues go; peers see the end, connections that nobody accepted are refused. */
static void close_end(struct unix_sock *u)
{
	struct unix_sock *peer = u->peer;
	struct packet *p, *n;
	bool unread = !list_empty(&u->queue);
	u->s = NULL;
	u->wq = &u->own_wq;
	list_for_each_safe(p, n, &u->queue, node)
		consumed(u, p);
	u->queued = 0;
	if (peer && peer->peer == u) {
		peer->peer_closed = true;
		if (unread && u->type == SOCK_STREAM)
			peer->error = ECONNRESET;
		if (u->type != SOCK_DGRAM || peer->type == SOCK_DGRAM) {
			unix_disconnect(peer);
			unix_wake(peer, 0);
		}
	}
	unix_disconnect(u);
}

static void u_release(struct sock *s)
{
	struct unix_sock *u = unix_of(s), *e, *n;
	list_for_each_safe(e, n, &u->backlog, pending_node) {
		list_del(&e->pending_node);
		close_end(e);
		unix_put(e);
	}
	list_del(&u->abstract);
	if (u->inode) {
		u->inode->sock = NULL;
		inode_put(u->inode);
		u->inode = NULL;
	}
	waitq_wake(&s->wq, 0);
	close_end(u);
	unix_put(u);
}

static const struct sock_ops unix_ops = { .bind = u_bind, .connect = u_connect, .listen = u_listen, .accept = u_accept, .name = u_name, .send = u_send, .recv = u_recv,
	.shutdown = u_shutdown, .setopt = u_setopt, .getopt = u_getopt, .poll = u_poll, .ioctl = u_ioctl, .release = u_release };
