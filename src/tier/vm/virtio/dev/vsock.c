/* virtio-vsock (virtio 1.2, section 5.10) with a host side of our own: packets, queues and life. Connections are in vsock_conn.c. */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tier/vm/virtio/dev/vsock_priv.h"

_Static_assert(sizeof(struct virtio_vsock_hdr) == 44, "virtio 1.2, 5.10.6");
enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT, CID_HOST = 2, CID_GUEST_MIN = 3 };

static struct vsock *vsock_of(struct virtio_device *d) { return (struct vsock *)d; }

/* The next one that has something to say, beginning behind the last. */
static struct conn *next_wanting(struct vsock *v)
{
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
		struct conn *c = &v->conn[(v->turn + i) % VSOCK_CONNECTIONS_MAX];
		if (conn_wants(c)) {
			v->turn = (v->turn + i + 1) % VSOCK_CONNECTIONS_MAX;
			return c;
		}
	}
	return NULL;
}

static size_t fill_reset(struct vsock *v, struct virtio_vsock_hdr *h)
{
	v->n_resets--;
	*h = (struct virtio_vsock_hdr){ .src_cid = CID_HOST, .dst_cid = v->config.guest_cid, .src_port = v->resets[v->n_resets].host_port,
		.dst_port = v->resets[v->n_resets].guest_port, .type = VIRTIO_VSOCK_TYPE_STREAM, .op = VIRTIO_VSOCK_OP_RST };
	return sizeof *h;
}

void vsock_send(struct vsock *v)
{
	struct virtq_chain chain;
	struct conn *c = NULL;
	while ((v->n_resets || (c = next_wanting(v))) && virtio_pop(&v->d, QUEUE_RX, &chain)) {
		struct virtio_vsock_hdr h;
		if (chain.in_len <= sizeof h) { /* without room for a byte data would never get through */
			virtio_fault(&v->d, "queue %d: receive buffer of %u bytes", QUEUE_RX, chain.in_len);
			break;
		}
		size_t n = v->n_resets ? fill_reset(v, &h) : conn_fill(c, &h, &chain);
		if (!n) { /* the socket had nothing after all */
			virtq_unpop(&v->d.queue[QUEUE_RX]);
			conn_settle(c);
			continue;
		}
		iov_write(CHAIN_IN(&chain), 0, &h, sizeof h);
		virtio_push(&v->d, QUEUE_RX, chain.head, (uint32_t)n);
		if (c)
			conn_settle(c);
	}
	virtio_signal(&v->d, QUEUE_RX);
}

static void refuse(struct vsock *v, const struct virtio_vsock_hdr *h)
{
	if (h->op == VIRTIO_VSOCK_OP_RST || v->n_resets == VSOCK_RESETS_MAX)
		return;
	v->resets[v->n_resets].host_port = h->dst_port;
	v->resets[v->n_resets++].guest_port = h->src_port;
}

static void packet(struct vsock *v, const struct virtio_vsock_hdr *h, const struct virtq_chain *chain)
{
	if (h->src_cid != v->config.guest_cid || h->dst_cid != CID_HOST)
		return; /* somebody else's: dropped (5.10.6.2) */
	struct conn *c = h->type == VIRTIO_VSOCK_TYPE_STREAM ? conn_find(v, h->dst_port, h->src_port) : NULL;
	if (c)
		conn_packet(c, h, chain);
	else if (h->type != VIRTIO_VSOCK_TYPE_STREAM || h->op != VIRTIO_VSOCK_OP_REQUEST || !conn_from_guest(v, h))
		refuse(v, h);
}

static void take_packets(struct vsock *v)
{
	struct virtq_chain chain;
	while (virtio_pop(&v->d, QUEUE_TX, &chain)) {
		struct virtio_vsock_hdr h;
		if (iov_read(CHAIN_OUT(&chain), 0, &h, sizeof h) != sizeof h || h.len > chain.out_len - sizeof h || h.len > VSOCK_PACKET_MAX) {
			virtio_fault(&v->d, "queue %d: packet of %u bytes that says otherwise", QUEUE_TX, chain.out_len);
			break;
		}
		packet(v, &h, &chain);
		virtio_push(&v->d, QUEUE_TX, chain.head, 0);
	}
	virtio_signal(&v->d, QUEUE_TX);
	vsock_send(v);
}

static void send_event(struct vsock *v)
{
	struct virtq_chain chain;
	struct virtio_vsock_event ev = { VIRTIO_VSOCK_EVENT_TRANSPORT_RESET };
	if (!v->reset_event || !virtio_pop(&v->d, QUEUE_EVENT, &chain))
		return;
	virtio_push(&v->d, QUEUE_EVENT, chain.head, (uint32_t)iov_write(CHAIN_IN(&chain), 0, &ev, sizeof ev));
	v->reset_event = false;
	virtio_signal(&v->d, QUEUE_EVENT);
}

static void kick(struct virtio_device *d, unsigned queue)
{
	struct vsock *v = vsock_of(d);
	if (queue == QUEUE_TX)
		take_packets(v);
	else if (queue == QUEUE_RX)
		vsock_send(v);
	else
		send_event(v);
}

static void listener_ready(void *ctx, uint32_t events)
{
	struct vsock *v = ctx;
	(void)events;
	virtio_lock(&v->d);
	if (v->listening && virtio_working(&v->d))
		conn_accept(v);
	virtio_unlock(&v->d);
}

void vsock_listen(struct vsock *v, bool on)
{
	const struct virtio_host *h = v->d.host;
	if (v->listen_fd < 0 || on == v->listening)
		return;
	if (!on)
		h->unwatch(h->arg, v->listen_fd);
	v->listening = on && h->watch(h->arg, v->listen_fd, EPOLLIN, listener_ready, v) >= 0;
}

static int activate(struct virtio_device *d, struct err *e)
{
	struct vsock *v = vsock_of(d);
	vsock_listen(v, true);
	v->reset_event = d->restored; /* the connections of the saved machine are not here (5.10.6.7) */
	return v->listen_fd >= 0 && !v->listening ? err_set(e, ENOSPC, "cannot watch the listening socket") : 0;
}

static void quiesce(struct virtio_device *d)
{
	struct vsock *v = vsock_of(d);
	vsock_listen(v, false);
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		if (v->conn[i].watched) {
			d->host->unwatch(d->host->arg, v->conn[i].fd);
			v->conn[i].watched = 0;
		}
}

static void resume(struct virtio_device *d)
{
	struct vsock *v = vsock_of(d);
	vsock_listen(v, true);
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		conn_settle(&v->conn[i]);
}

static void reset(struct virtio_device *d)
{
	struct vsock *v = vsock_of(d);
	vsock_listen(v, false);
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		conn_close(&v->conn[i]);
	v->n_resets = 0;
	v->reset_event = false;
}

static void vsock_free(struct virtio_device *d)
{
	struct vsock *v = vsock_of(d);
	if (v->listen_fd >= 0)
		close(v->listen_fd);
	free(v);
}

static const struct virtio_ops ops = { .name = "vsock", .id = VIRTIO_ID_VSOCK, .activate = activate, .reset = reset, .kick = kick, .quiesce = quiesce, .resume = resume,
	.free = vsock_free };

int virtio_vsock_new(const struct virtio_host *h, unsigned slot, const struct virtio_vsock_options *c, struct virtio_device **ret, struct err *e)
{
	if (c->cid < CID_GUEST_MIN || c->cid >= UINT32_MAX)
		return err_set(e, EINVAL, "vsock: a guest's CID is between 3 and 4294967294");
	if (c->path && (!*c->path || strlen(c->path) + sizeof "_4294967295" > sizeof ((struct sockaddr_un *)0)->sun_path))
		return err_set(e, ENAMETOOLONG, "vsock: %s_PORT is no name of a unix socket", c->path);
	struct vsock *v = calloc(1, sizeof *v);
	if (!v)
		return err_set(e, ENOMEM, "vsock");
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		v->conn[i] = (struct conn){ .v = v, .fd = -EBADF };
	v->listen_fd = c->listen_fd;
	v->next_port = VSOCK_PORT_FIRST - 1;
	v->config.guest_cid = c->cid;
	if (c->path)
		memcpy(v->path, c->path, strlen(c->path) + 1);
	virtio_device_init(&v->d, &ops, h, slot, 3, 0);
	v->d.config = (uint8_t *)&v->config;
	v->d.config_len = sizeof v->config;
	*ret = &v->d;
	return 0;
}
