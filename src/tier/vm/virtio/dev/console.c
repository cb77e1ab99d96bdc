/* virtio-console with named ports (virtio 1.2, section 5.3): each a byte stream on a socket of the host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tier/vm/virtio/devices.h"

_Static_assert(sizeof(struct virtio_console_config) == 12 && sizeof(struct virtio_console_control) == 8, "virtio 1.2, 5.3.4 and 5.3.6.2");

enum { QUEUE_CONTROL_RX = 2, QUEUE_CONTROL_TX = 3 };
/* What is still to be told to the driver about a port, in this order. Flags instead of a list of messages: a driver that asks without end fills no memory. */
enum { TELL_ADD = 1, TELL_NAME = 2, TELL_OPEN = 4, TELL_ALL = 7 };

struct port {
	struct console *console;
	unsigned number;
	int fd;
	char name[CONSOLE_NAME_MAX];
	uint32_t watched;    /* events */
	uint32_t tell;
	bool guest_open;     /* a program of the guest has it open */
	bool host_gone;      /* the socket's other end is closed */
	bool tx_blocked;     /* the socket is full; */
	uint32_t tx_done;    /* so much of the first available chain is written already */
};

struct console {
	struct virtio_device d;
	struct virtio_console_config config;
	unsigned n_ports;
	struct port port[CONSOLE_PORTS_MAX];
};

/* A port's own part of a snapshot. */
struct port_state { uint32_t tell, guest_open, tx_done; };

static unsigned queue_rx(unsigned port) { return port ? 2 * port + 2 : 0; }
static unsigned queue_tx(unsigned port) { return queue_rx(port) + 1; }
static struct console *console_of(struct virtio_device *d) { return (struct console *)d; }

static void socket_ready(void *ctx, uint32_t events);

/* Watch the socket for what can be acted upon now; level-triggered readiness that nobody takes would spin. */
static void watch_for(struct port *p, uint32_t events)
{
	const struct virtio_host *h = p->console->d.host;
	if (events == p->watched)
		return;
	if (events ? h->watch(h->arg, p->fd, events, socket_ready, p) < 0 : p->watched != 0) {
		if (events)
			virtio_fail(&p->console->d, "port %s: cannot watch its socket", p->name);
		h->unwatch(h->arg, p->fd);
		events = 0;
	}
	p->watched = events;
}

static void settle(struct port *p)
{
	struct virtio_device *d = &p->console->d;
	uint32_t events = 0;
	if (virtio_working(d) && !p->host_gone) {
		if (p->guest_open && virtq_pending(&d->queue[queue_rx(p->number)]) > 0)
			events |= EPOLLIN;
		if (p->tx_blocked)
			events |= EPOLLOUT;
	}
	watch_for(p, events);
}

static void tell(struct console *c)
{
	struct virtio_device *d = &c->d;
	struct virtq_chain chain;
	for (unsigned i = 0; i < c->n_ports; i++) {
		struct port *p = &c->port[i];
		while (p->tell && virtio_pop(d, QUEUE_CONTROL_RX, &chain)) {
			uint32_t what = p->tell & -p->tell;
			struct virtio_console_control m = { .id = i, .value = 1,
				.event = what == TELL_ADD ? VIRTIO_CONSOLE_PORT_ADD : what == TELL_NAME ? VIRTIO_CONSOLE_PORT_NAME : VIRTIO_CONSOLE_PORT_OPEN };
			if (what == TELL_OPEN)
				m.value = !p->host_gone;
			size_t n = iov_write(CHAIN_IN(&chain), 0, &m, sizeof m);
			if (what == TELL_NAME)
				n += iov_write(CHAIN_IN(&chain), sizeof m, p->name, strlen(p->name) + 1);
			virtio_push(d, QUEUE_CONTROL_RX, chain.head, (uint32_t)n);
			p->tell &= ~what;
		}
	}
	virtio_signal(d, QUEUE_CONTROL_RX);
}

static void host_closed(struct port *p)
{
	p->host_gone = true;
	p->tx_blocked = false;
	p->tell |= TELL_OPEN;
	tell(p->console);
}

static void to_guest(struct port *p)
{
	struct virtio_device *d = &p->console->d;
	unsigned q = queue_rx(p->number);
	struct virtq_chain c;
	while (p->guest_open && !p->host_gone && virtio_pop(d, q, &c)) {
		struct msghdr m = { .msg_iov = c.iov + c.n_out, .msg_iovlen = c.n_in };
		ssize_t n = c.n_in ? recvmsg(p->fd, &m, MSG_DONTWAIT) : -EINVAL;
		if (n <= 0 && c.n_in) {
			virtq_unpop(&d->queue[q]);
			if (n == 0 || (errno != EAGAIN && errno != EINTR))
				host_closed(p);
			break;
		}
		virtio_push(d, q, c.head, n > 0 ? (uint32_t)n : 0);
	}
	virtio_signal(d, q);
}

/* Bytes of the guest go out as far as the socket takes them; a chain that is not through stays available. */
static void to_host(struct port *p)
{
	struct virtio_device *d = &p->console->d;
	unsigned q = queue_tx(p->number);
	struct virtq_chain c;
	struct iovec v[VIRTQ_CHAIN_MAX];
	while (!p->tx_blocked && virtio_pop(d, q, &c)) {
		while (!p->host_gone && p->tx_done < c.out_len) {
			struct msghdr m = { .msg_iov = v, .msg_iovlen = iov_slice(CHAIN_OUT(&c), p->tx_done, c.out_len - p->tx_done, v) };
			ssize_t n = sendmsg(p->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && errno == EAGAIN) {
				p->tx_blocked = true;
				break;
			}
			if (n < 0 && errno != EINTR)
				host_closed(p);
			p->tx_done += n > 0 ? (uint32_t)n : 0;
		}
		if (p->tx_blocked) {
			virtq_unpop(&d->queue[q]);
			break;
		}
		p->tx_done = 0;
		virtio_push(d, q, c.head, 0);
	}
	virtio_signal(d, q);
}

static void socket_ready(void *ctx, uint32_t events)
{
	struct port *p = ctx;
	struct virtio_device *d = &p->console->d;
	virtio_lock(d);
	if (virtio_working(d) && p->watched) {
		if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP) && p->tx_blocked) {
			p->tx_blocked = false;
			to_host(p);
		}
		if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
			to_guest(p);
		settle(p);
	}
	virtio_unlock(d);
}

static void control(struct console *c, const struct virtio_console_control *m)
{
	if (m->event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (unsigned i = 0; i < c->n_ports && m->value; i++)
			c->port[i].tell |= TELL_ADD;
		return;
	}
	if (m->id >= c->n_ports)
		return;
	struct port *p = &c->port[m->id];
	if (m->event == VIRTIO_CONSOLE_PORT_READY && m->value)
		p->tell |= TELL_NAME | TELL_OPEN;
	else if (m->event == VIRTIO_CONSOLE_PORT_OPEN) {
		p->guest_open = m->value;
		to_guest(p);
		settle(p);
	}
}

static void control_tx(struct console *c)
{
	struct virtq_chain chain;
	while (virtio_pop(&c->d, QUEUE_CONTROL_TX, &chain)) {
		struct virtio_console_control m;
		if (iov_read(CHAIN_OUT(&chain), 0, &m, sizeof m) == sizeof m)
			control(c, &m);
		virtio_push(&c->d, QUEUE_CONTROL_TX, chain.head, 0);
	}
	virtio_signal(&c->d, QUEUE_CONTROL_TX);
	tell(c);
}

static void kick(struct virtio_device *d, unsigned queue)
{
	struct console *c = console_of(d);
	if (queue == QUEUE_CONTROL_RX)
		tell(c);
	else if (queue == QUEUE_CONTROL_TX)
		control_tx(c);
	else {
		struct port *p = &c->port[queue < 2 ? 0 : queue / 2 - 1];
		if (queue & 1)
			to_host(p);
		else
			to_guest(p);
		settle(p);
	}
}

static int activate(struct virtio_device *d, struct err *e)
{
	struct console *c = console_of(d);
	(void)e;
	/* The socket is another one after a restore: whether it is open is told anew to drivers that were told before. */
	for (unsigned i = 0; i < c->n_ports && d->restored; i++)
		if (!(c->port[i].tell & TELL_ADD))
			c->port[i].tell |= TELL_OPEN;
	return 0;
}

static void quiesce(struct virtio_device *d)
{
	struct console *c = console_of(d);
	for (unsigned i = 0; i < c->n_ports; i++)
		watch_for(&c->port[i], 0);
}

static void resume(struct virtio_device *d)
{
	struct console *c = console_of(d);
	for (unsigned i = 0; i < c->n_ports; i++)
		settle(&c->port[i]);
}

static void reset(struct virtio_device *d)
{
	struct console *c = console_of(d);
	quiesce(d);
	for (unsigned i = 0; i < c->n_ports; i++) {
		struct port *p = &c->port[i];
		p->tell = p->tx_done = 0;
		p->guest_open = p->tx_blocked = false;
	}
}

static int save(struct virtio_device *d, struct strbuf *out)
{
	struct console *c = console_of(d);
	for (unsigned i = 0; i < c->n_ports; i++) {
		const struct port *p = &c->port[i];
		struct port_state s = { p->tell, p->guest_open, p->tx_done };
		strbuf_add(out, &s, sizeof s);
	}
	return 0;
}

static int restore(struct virtio_device *d, const uint8_t *bytes, size_t n, struct err *e)
{
	struct console *c = console_of(d);
	if (n != c->n_ports * sizeof(struct port_state))
		return err_set(e, EBADMSG, "state of another number of ports");
	for (unsigned i = 0; i < c->n_ports; i++) {
		struct port_state s;
		memcpy(&s, bytes + i * sizeof s, sizeof s);
		if (s.tell & ~(uint32_t)TELL_ALL || s.guest_open > 1)
			return err_set(e, EBADMSG, "impossible state of port %u", i);
		c->port[i].tell = s.tell;
		c->port[i].guest_open = s.guest_open;
		c->port[i].tx_done = s.tx_done; /* compared with the chain's length before use */
	}
	return 0;
}

static void console_free(struct virtio_device *d)
{
	struct console *c = console_of(d);
	for (unsigned i = 0; i < c->n_ports; i++)
		close(c->port[i].fd);
	free(c);
}

static const struct virtio_ops ops = { .name = "console", .id = VIRTIO_ID_CONSOLE, .activate = activate, .reset = reset, .kick = kick, .quiesce = quiesce, .resume = resume,
	.save = save, .restore = restore, .free = console_free };

int virtio_console_new(const struct virtio_host *h, unsigned slot, const struct virtio_console_port *ports, size_t n, struct virtio_device **ret, struct err *e)
{
	if (!n || n > CONSOLE_PORTS_MAX)
		return err_set(e, EINVAL, "console: 1 to %d ports", CONSOLE_PORTS_MAX);
	for (size_t i = 0; i < n; i++)
		if (!*ports[i].name || strlen(ports[i].name) >= CONSOLE_NAME_MAX)
			return err_set(e, EINVAL, "console: the name of port %zu has 1 to %d bytes", i, CONSOLE_NAME_MAX - 1);
	struct console *c = calloc(1, sizeof *c);
	if (!c)
		return err_set(e, ENOMEM, "console");
	c->n_ports = (unsigned)n;
	c->config.max_nr_ports = (uint32_t)n;
	for (unsigned i = 0; i < n; i++) {
		c->port[i].console = c;
		c->port[i].number = i;
		c->port[i].fd = ports[i].fd;
		memcpy(c->port[i].name, ports[i].name, strlen(ports[i].name) + 1);
	}
	/* Port 0's two, the two of control, two for each further port (5.3.2). */
	virtio_device_init(&c->d, &ops, h, slot, 2 * (unsigned)n + 2, 1ULL << VIRTIO_CONSOLE_F_MULTIPORT);
	c->d.config = (uint8_t *)&c->config;
	c->d.config_len = sizeof c->config;
	*ret = &c->d;
	return 0;
}
