/* virtio-net (virtio 1.2, section 5.1): one pair of queues over a tap. Frames of the host wait in the tap, but for the one that is being delivered. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tier/vm/virtio/devices.h"
#include "tier/vm/virtio/throttle.h"

#define BIT(f) (1ULL << (f))
#define HEADER sizeof(struct virtio_net_hdr_v1)
_Static_assert(sizeof(struct virtio_net_hdr_v1) == 12, "virtio 1.2, 5.1.6");

enum {
	QUEUE_RX, QUEUE_TX,
	FRAME_MAX = 65535 + 14 + 4,    /* a segment to be cut by the other side, with its Ethernet and VLAN headers */
	MERGE_MAX = VIRTQ_SIZE_MAX,    /* buffers of one frame */
};

struct net {
	struct virtio_device d;
	struct virtio_net_config config;
	int fd;
	bool vnet;                     /* header and frame go through the descriptor together */
	bool tap;
	bool watched;
	bool gone;                     /* nothing will come any more: the tap was deleted, the socket closed */
	struct throttle rx, tx;
	size_t frame_len;              /* header and frame that wait for buffers; 0: none */
	uint8_t frame[sizeof(struct virtio_net_hdr_v1) + FRAME_MAX];
};

static struct net *net_of(struct virtio_device *d) { return (struct net *)d; }

static void readable(void *ctx, uint32_t events);

static void watch(struct net *n, bool on)
{
	const struct virtio_host *h = n->d.host;
	if (on == n->watched)
		return;
	n->watched = on && h->watch(h->arg, n->fd, EPOLLIN, readable, n) >= 0;
	if (!on)
		h->unwatch(h->arg, n->fd);
	else if (!n->watched)
		virtio_fail(&n->d, "cannot watch the tap");
}

/* ---- to the guest ---- */

/* Read the next frame behind a header. False when there is none, or the tap is gone. */
static bool fetch(struct net *n)
{
	size_t at = n->vnet ? 0 : HEADER;
	ssize_t k = read(n->fd, n->frame + at, sizeof n->frame - at);
	if (k <= 0) {
		n->gone = k == 0 || (errno != EAGAIN && errno != EINTR);
		return false;
	}
	if (!n->vnet)
		memset(n->frame, 0, HEADER);
	n->frame_len = at + (size_t)k;
	if (n->frame_len <= HEADER)
		n->frame_len = 0;
	return true;
}

/* Spread the waiting frame over chains: several with MRG_RXBUF. False when buffers are missing; nothing is taken then. */
static bool deliver(struct net *n)
{
	struct virtq *q = &n->d.queue[QUEUE_RX];
	bool merge = virtio_acked(&n->d, VIRTIO_NET_F_MRG_RXBUF);
	struct virtq_chain c;
	struct iovec first[2]; /* where the header's count of buffers went */
	size_t done = 0, n_first = 0;
	unsigned used = 0;
	while (done < n->frame_len) {
		if (used == MERGE_MAX || !virtio_pop(&n->d, QUEUE_RX, &c)) {
			while (used--)
				virtq_unpop(q);
			return false;
		}
		size_t k = iov_write(CHAIN_IN(&c), 0, n->frame + done, n->frame_len - done);
		if (!used) {
			if (k < HEADER) {
				virtio_fault(&n->d, "queue %d: receive buffer of %zu bytes", QUEUE_RX, k);
				return false;
			}
			struct iovec v[VIRTQ_CHAIN_MAX];
			n_first = iov_slice(CHAIN_IN(&c), offsetof(struct virtio_net_hdr_v1, num_buffers), 2, v);
			memcpy(first, v, n_first * sizeof *v);
		}
		if (!k)
			k = n->frame_len - done; /* a chain without room: the frame is lost */
		done += k;
		virtq_fill(q, used++, c.head, (uint32_t)k);
		if (!merge)
			break; /* a frame that does not fit is cut short, and lost to its checksum */
	}
	uint16_t count = (uint16_t)used;
	iov_write(first, n_first, 0, &count, sizeof count);
	virtq_publish(q, used);
	n->frame_len = 0;
	return true;
}

static void receive(struct net *n)
{
	bool idle = false;
	while (virtio_working(&n->d)) {
		if (!n->frame_len && (n->gone || !fetch(n))) {
			idle = true;
			break;
		}
		if (n->frame_len && (!throttle_pass(&n->rx, n->frame_len) || !deliver(n)))
			break;
	}
	virtio_signal(&n->d, QUEUE_RX);
	watch(n, idle && !n->gone && virtio_working(&n->d));
}

static void readable(void *ctx, uint32_t events)
{
	struct net *n = ctx;
	(void)events;
	virtio_lock(&n->d);
	if (n->watched && virtio_working(&n->d))
		receive(n);
	virtio_unlock(&n->d);
}

/* ---- from the guest ---- */

static void transmit(struct net *n)
{
	struct virtq_chain c;
	struct iovec v[VIRTQ_CHAIN_MAX];
	while (virtio_pop(&n->d, QUEUE_TX, &c)) {
		if (!throttle_pass(&n->tx, c.out_len)) {
			virtq_unpop(&n->d.queue[QUEUE_TX]);
			break;
		}
		/* Like a wire: what is no frame, or finds the tap full, is lost. */
		if (c.out_len > HEADER && c.out_len <= HEADER + FRAME_MAX) {
			size_t from = n->vnet ? 0 : HEADER, k = iov_slice(CHAIN_OUT(&c), from, c.out_len - from, v);
			struct msghdr m = { .msg_iov = v, .msg_iovlen = k };
			(void)!(n->tap ? writev(n->fd, v, (int)k) : sendmsg(n->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL));
		}
		virtio_push(&n->d, QUEUE_TX, c.head, 0);
	}
	virtio_signal(&n->d, QUEUE_TX);
}

static void kick(struct virtio_device *d, unsigned queue)
{
	if (queue == QUEUE_RX)
		receive(net_of(d));
	else
		transmit(net_of(d));
}

/* ---- life ---- */

static const struct { unsigned feature, offload; } offloads[] = {
	{ VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 }, { VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 }, { VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
};

/* What the guest takes may come unsegmented and without checksums (tun's offloads). Without GUEST_CSUM none of it may (5.1.3.1). */
static int activate(struct virtio_device *d, struct err *e)
{
	struct net *n = net_of(d);
	unsigned v = virtio_acked(d, VIRTIO_NET_F_GUEST_CSUM) ? TUN_F_CSUM : 0;
	for (size_t i = 0; v && i < ARRAY_SIZE(offloads); i++)
		v |= virtio_acked(d, offloads[i].feature) ? offloads[i].offload : 0;
	if (v & TUN_F_TSO_ECN && !(v & (TUN_F_TSO4 | TUN_F_TSO6)))
		v &= ~(unsigned)TUN_F_TSO_ECN;
	return n->vnet && ioctl(n->fd, TUNSETOFFLOAD, v) < 0 ? err_sys(e, errno, "offloads of the tap") : 0;
}

static void quiesce(struct virtio_device *d)
{
	struct net *n = net_of(d);
	watch(n, false);
	throttle_stop(&n->rx);
	throttle_stop(&n->tx);
}

static void reset(struct virtio_device *d)
{
	quiesce(d);
	net_of(d)->frame_len = 0;
	net_of(d)->gone = false;
}

static int save(struct virtio_device *d, struct strbuf *out)
{
	return strbuf_add(out, net_of(d)->frame, net_of(d)->frame_len);
}

static int restore(struct virtio_device *d, const uint8_t *p, size_t len, struct err *e)
{
	struct net *n = net_of(d);
	if (len > sizeof n->frame || (len && len <= HEADER))
		return err_set(e, EBADMSG, "frame of %zu bytes", len);
	memcpy(n->frame, p, len);
	n->frame_len = len;
	return 0;
}

static void net_free(struct virtio_device *d)
{
	struct net *n = net_of(d);
	throttle_free(&n->rx);
	throttle_free(&n->tx);
	close(n->fd);
	free(n);
}

static const struct virtio_ops ops = { .name = "net", .id = VIRTIO_ID_NET, .activate = activate, .reset = reset, .kick = kick, .quiesce = quiesce, .save = save, .restore = restore,
	.free = net_free };

/* A tap, with or without headers, or a datagram socket. */
static int inspect(struct net *n, int fd, struct err *e)
{
	struct ifreq ifr = { 0 };
	int type = 0, size = (int)HEADER, little = 1;
	socklen_t len = sizeof type;
	if (ioctl(fd, TUNGETIFF, &ifr) == 0) {
		if ((ifr.ifr_flags & (IFF_TAP | IFF_NO_PI)) != (IFF_TAP | IFF_NO_PI))
			return err_set(e, EINVAL, "net: not a tap without packet information");
		n->tap = true;
		n->vnet = ifr.ifr_flags & IFF_VNET_HDR;
		if (n->vnet && (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETVNETLE, &little) < 0))
			return err_sys(e, errno, "net: header of the tap");
	} else if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || (type != SOCK_DGRAM && type != SOCK_SEQPACKET))
		return err_set(e, EINVAL, "net: neither a tap nor a datagram socket");
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? err_sys(e, errno, "net") : 0;
}

int virtio_net_new(const struct virtio_host *h, unsigned slot, const struct virtio_net_options *c, struct virtio_device **ret, struct err *e)
{
	_cleanup_free_ struct net *n = calloc(1, sizeof *n);
	if (!n)
		return err_set(e, ENOMEM, "net");
	int r = inspect(n, c->fd, e);
	if (r < 0)
		return r;
	uint64_t features = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_MRG_RXBUF) | (c->mtu ? BIT(VIRTIO_NET_F_MTU) : 0);
	if (n->vnet)
		features |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
			BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN);
	virtio_device_init(&n->d, &ops, h, slot, 2, features);
	r = throttle_init(&n->rx, &n->d, QUEUE_RX, &c->rx, e);
	if (r < 0)
		return r;
	r = throttle_init(&n->tx, &n->d, QUEUE_TX, &c->tx, e);
	if (r < 0) {
		throttle_free(&n->rx);
		return r;
	}
	n->fd = c->fd;
	memcpy(n->config.mac, c->mac, sizeof c->mac);
	n->config.status = VIRTIO_NET_S_LINK_UP;
	n->config.max_virtqueue_pairs = 1;
	n->config.mtu = c->mtu;
	n->d.config = (uint8_t *)&n->config;
	n->d.config_len = offsetof(struct virtio_net_config, mtu) + sizeof n->config.mtu;
	*ret = &TAKE(n)->d;
	return 0;
}
