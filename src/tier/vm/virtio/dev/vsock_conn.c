/* Connections of virtio-vsock (virtio 1.2, section 5.10.6): each a unix socket of the host, with credit in both directions. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tier/vm/virtio/dev/vsock_priv.h"

static void ready(void *ctx, uint32_t events);

static void watch(struct conn *c, uint32_t events)
{
	const struct virtio_host *h = c->v->d.host;
	if (events == c->watched)
		return;
	if (!events)
		h->unwatch(h->arg, c->fd);
	else if (h->watch(h->arg, c->fd, events, ready, c) < 0)
		events = 0; /* out of watches: this connection hangs, the device goes on */
	c->watched = events;
}

static uint32_t credit(const struct conn *c)
{
	uint32_t away = c->sent - c->guest_taken;
	return away < c->guest_alloc ? c->guest_alloc - away : 0; /* a guest that says it took more than was sent has none */
}

void conn_settle(struct conn *c)
{
	uint32_t events = 0;
	if (c->fd < 0)
		return;
	if (virtio_working(&c->v->d)) {
		if (c->state == CONN_LINE || (c->state == CONN_OPEN && !c->host_done && !c->guest_deaf && !c->readable && credit(c)))
			events |= EPOLLIN;
		if (c->state == CONN_ASKED)
			events |= EPOLLERR; /* to hear of a program that went away; never masked (epoll_ctl(2)) */
		if (c->n)
			events |= EPOLLOUT;
	}
	watch(c, events);
}

void conn_close(struct conn *c)
{
	if (c->fd >= 0) {
		watch(c, 0);
		close(c->fd);
	}
	free(c->buf);
	*c = (struct conn){ .v = c->v, .fd = -EBADF };
	if (virtio_working(&c->v->d))
		vsock_listen(c->v, true); /* there is room again */
}

struct conn *conn_find(struct vsock *v, uint32_t host_port, uint32_t guest_port)
{
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		struct conn *c = &v->conn[i];
		if (c->state >= CONN_ASKED && c->host_port == host_port && c->guest_port == guest_port)
			return c;
	}
	return NULL;
}

static struct conn *conn_new(struct vsock *v, int fd, enum conn_state state)
{
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		struct conn *c = &v->conn[i];
		if (c->state == CONN_FREE) {
			c->fd = fd;
			c->state = state;
			return c;
		}
	}
	return NULL;
}

/* The connection has failed; the guest is told and it ends when that has gone out. */
static void fail(struct conn *c)
{
	if (c->fd >= 0) {
		watch(c, 0);
		close(c->fd);
		c->fd = -EBADF;
	}
	c->n = 0;
	c->readable = false;
	c->host_done = true;
	c->tell = TELL_RESET;
}

/* ---- programs of the host ---- */

void conn_accept(struct vsock *v)
{
	for (;;) {
		int fd = accept4(v->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				vsock_listen(v, false); /* out of descriptors: until one is given back */
			return;
		}
		struct conn *c = conn_new(v, fd, CONN_LINE);
		if (c)
			conn_settle(c);
		else
			close(fd); /* full */
	}
}

/* A port that is not in use towards this port of the guest. */
static uint32_t host_port_new(struct vsock *v, uint32_t guest_port)
{
	do
		v->next_port = v->next_port == UINT32_MAX ? VSOCK_PORT_FIRST : v->next_port + 1;
	while (conn_find(v, v->next_port, guest_port));
	return v->next_port;
}

static void line_done(struct conn *c)
{
	uint32_t port;
	if (!str_has_prefix(c->line, "CONNECT ") || parse_u32(c->line + strlen("CONNECT "), &port) < 0) {
		conn_close(c);
		return;
	}
	c->guest_port = port;
	c->host_port = host_port_new(c->v, port);
	c->state = CONN_ASKED;
	c->tell = TELL_REQUEST;
}

/* "CONNECT P\n", byte by byte: what follows it belongs to the guest. */
static void read_line(struct conn *c)
{
	char b;
	ssize_t n;
	while ((n = recv(c->fd, &b, 1, 0)) == 1 && b != '\n' && c->n_line + 1 < VSOCK_LINE_MAX)
		c->line[c->n_line++] = b;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	c->line[c->n_line] = 0;
	if (n == 1 && b == '\n')
		line_done(c);
	else
		conn_close(c);
}

bool conn_from_guest(struct vsock *v, const struct virtio_vsock_hdr *h)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	if (!*v->path || conn_find(v, h->dst_port, h->src_port))
		return false;
	int n = snprintf(a.sun_path, sizeof a.sun_path, "%s_%u", v->path, h->dst_port);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || n < 0 || (size_t)n >= sizeof a.sun_path || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		return false; /* unix sockets connect at once or not at all (EAGAIN: full) */
	struct conn *c = conn_new(v, fd, CONN_OPEN);
	if (!c)
		return false;
	TAKE_FD(fd);
	c->host_port = h->dst_port;
	c->guest_port = h->src_port;
	c->guest_alloc = h->buf_alloc;
	c->guest_taken = h->fwd_cnt;
	c->tell = TELL_RESPONSE;
	return true;
}

/* ---- bytes of the guest ---- */

/* All is written: pass on that the guest is done. */
static void pass_end(struct conn *c)
{
	if (!c->guest_done || c->n)
		return;
	if (c->guest_deaf)
		fail(c); /* done in both directions: RST ends it (5.10.6.4) */
	else if (c->fd >= 0)
		shutdown(c->fd, SHUT_WR);
}

/* The guest learns what it may send before it runs dry. */
static void passed(struct conn *c, uint32_t n)
{
	c->passed += n;
	if (VSOCK_BUFFER - (c->received - c->announced) < VSOCK_BUFFER / 2)
		c->tell |= TELL_CREDIT;
}

static void drain(struct conn *c)
{
	while (c->n) {
		struct iovec v[2] = { { c->buf + c->at, MIN(c->n, VSOCK_BUFFER - c->at) }, { c->buf, 0 } };
		v[1].iov_len = c->n - v[0].iov_len;
		struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
		ssize_t k = sendmsg(c->fd, &m, MSG_NOSIGNAL);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN)
			return;
		if (k < 0) {
			fail(c);
			return;
		}
		c->at = (c->at + (uint32_t)k) % VSOCK_BUFFER;
		c->n -= (uint32_t)k;
		passed(c, (uint32_t)k);
	}
	pass_end(c);
}

static void keep(struct conn *c, const struct virtq_chain *chain, uint32_t from, uint32_t len)
{
	if (!c->buf)
		c->buf = malloc(VSOCK_BUFFER);
	if (!c->buf) {
		fail(c);
		return;
	}
	uint32_t at = (c->at + c->n) % VSOCK_BUFFER, first = MIN(len, VSOCK_BUFFER - at);
	iov_read(CHAIN_OUT(chain), from, c->buf + at, first);
	iov_read(CHAIN_OUT(chain), from + first, c->buf, len - first);
	c->n += len;
}

static void take_bytes(struct conn *c, const struct virtio_vsock_hdr *h, const struct virtq_chain *chain)
{
	struct iovec v[VIRTQ_CHAIN_MAX];
	uint32_t done = 0;
	if (c->guest_done || h->len > VSOCK_BUFFER - c->n) {
		fail(c); /* more than it had credit for */
		return;
	}
	c->received += h->len;
	while (!c->n && done < h->len) {
		struct msghdr m = { .msg_iov = v, .msg_iovlen = iov_slice(CHAIN_OUT(chain), sizeof *h + done, h->len - done, v) };
		ssize_t k = sendmsg(c->fd, &m, MSG_NOSIGNAL);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN)
			break;
		if (k < 0) {
			fail(c);
			return;
		}
		done += (uint32_t)k;
		passed(c, (uint32_t)k);
	}
	if (done < h->len)
		keep(c, chain, (uint32_t)sizeof *h + done, h->len - done);
}

static bool say_ok(struct conn *c)
{
	char line[VSOCK_LINE_MAX];
	int n = snprintf(line, sizeof line, "OK %u\n", c->host_port);
	return send(c->fd, line, (size_t)n, MSG_NOSIGNAL) == n; /* the first bytes: they fit */
}

void conn_packet(struct conn *c, const struct virtio_vsock_hdr *h, const struct virtq_chain *chain)
{
	c->guest_alloc = h->buf_alloc;
	c->guest_taken = h->fwd_cnt;
	if (h->op == VIRTIO_VSOCK_OP_RST) {
		conn_close(c);
		return;
	}
	if (c->tell & TELL_RESET)
		return;
	switch (c->state == CONN_OPEN || h->op == VIRTIO_VSOCK_OP_RESPONSE ? h->op : VIRTIO_VSOCK_OP_INVALID) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		if (c->state != CONN_ASKED || c->tell & TELL_REQUEST || !say_ok(c))
			fail(c);
		else
			c->state = CONN_OPEN;
		break;
	case VIRTIO_VSOCK_OP_RW: take_bytes(c, h, chain); break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE: break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST: c->tell |= TELL_CREDIT; break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		c->guest_deaf |= (h->flags & VIRTIO_VSOCK_SHUTDOWN_RCV) != 0;
		c->guest_done |= (h->flags & VIRTIO_VSOCK_SHUTDOWN_SEND) != 0;
		pass_end(c);
		break;
	default: fail(c); break;
	}
	conn_settle(c);
}

/* ---- packets to the guest ---- */

bool conn_wants(const struct conn *c)
{
	return c->tell || (c->state == CONN_OPEN && c->readable && !c->host_done && !c->guest_deaf && credit(c));
}

static void head(struct conn *c, struct virtio_vsock_hdr *h, uint16_t op, uint32_t flags, uint32_t len)
{
	*h = (struct virtio_vsock_hdr){ .src_cid = 2 /* the host */, .dst_cid = c->v->config.guest_cid, .src_port = c->host_port, .dst_port = c->guest_port, .len = len,
		.type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .flags = flags, .buf_alloc = VSOCK_BUFFER, .fwd_cnt = c->passed };
	c->announced = c->passed;
	c->tell &= ~(uint32_t)TELL_CREDIT; /* every packet carries it */
}

static const struct { uint32_t tell; uint16_t op; } words[] = {
	{ TELL_REQUEST, VIRTIO_VSOCK_OP_REQUEST }, { TELL_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE }, { TELL_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
	{ TELL_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE }, { TELL_ASK_CREDIT, VIRTIO_VSOCK_OP_CREDIT_REQUEST }, { TELL_RESET, VIRTIO_VSOCK_OP_RST },
};

static size_t fill_bytes(struct conn *c, struct virtio_vsock_hdr *h, const struct virtq_chain *chain)
{
	struct iovec v[VIRTQ_CHAIN_MAX];
	uint32_t max = MIN(credit(c), chain->in_len - (uint32_t)sizeof *h);
	max = MIN(max, (uint32_t)VSOCK_PACKET_MAX);
	struct msghdr m = { .msg_iov = v, .msg_iovlen = iov_slice(CHAIN_IN(chain), sizeof *h, max, v) };
	ssize_t k = max ? recvmsg(c->fd, &m, 0) : -1;
	if (k > 0) {
		c->sent += (uint32_t)k;
		head(c, h, VIRTIO_VSOCK_OP_RW, 0, (uint32_t)k);
		if (!credit(c))
			c->tell |= TELL_ASK_CREDIT;
		return sizeof *h + (size_t)k;
	}
	c->readable = false;
	if (k < 0 && max && errno != EAGAIN && errno != EINTR)
		fail(c);
	else if (k == 0) {
		struct pollfd p = { .fd = c->fd };
		c->host_done = true;
		c->tell |= TELL_SHUTDOWN;
		/* Closed, not only shut down: it will not read any more either. */
		c->shutdown = VIRTIO_VSOCK_SHUTDOWN_SEND | (poll(&p, 1, 0) == 1 && p.revents & POLLHUP && !c->guest_done ? VIRTIO_VSOCK_SHUTDOWN_RCV : 0U);
	}
	return 0;
}

size_t conn_fill(struct conn *c, struct virtio_vsock_hdr *h, const struct virtq_chain *chain)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!(c->tell & words[i].tell))
			continue;
		head(c, h, words[i].op, words[i].tell == TELL_SHUTDOWN ? c->shutdown : 0, 0);
		c->tell &= ~words[i].tell;
		if (words[i].tell == TELL_RESET)
			conn_close(c);
		return sizeof *h;
	}
	return fill_bytes(c, h, chain);
}

static void ready(void *ctx, uint32_t events)
{
	struct conn *c = ctx;
	struct vsock *v = c->v;
	virtio_lock(&v->d);
	if (c->watched && virtio_working(&v->d)) {
		if (c->state == CONN_LINE)
			read_line(c);
		else if (c->state == CONN_ASKED) {
			if (events & (EPOLLHUP | EPOLLERR))
				fail(c);
		} else {
			if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP) && c->n)
				drain(c);
			c->readable = c->fd >= 0;
		}
		conn_settle(c);
		vsock_send(v);
	}
	virtio_unlock(&v->d);
}
