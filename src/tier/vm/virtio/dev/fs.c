/* virtio-fs (virtio 1.2, section 5.11): FUSE requests of the guest go to a server in this process, or over a stream socket to one that may open files. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tier/vm/fuse/server.h"
#include "tier/vm/virtio/devices.h"

enum {
	QUEUES = 2,              /* high priority, requests */
	FLIGHTS_MAX = 64,        /* requests that the other process has at once; more wait in their queue */
	DRAIN_MS = 10000,        /* how long a snapshot waits for them */
};
_Static_assert(sizeof(struct virtio_fs_config) == 40 && sizeof(struct fuse_out_header) == 16, "virtio 1.2, 5.11.4; fuse(4)");

/* A request that was handed on. The server knows it by our number: a guest's own may come twice. */
struct flight {
	bool used;
	bool orphan;             /* its driver was reset: the reply is read and dropped, so that the stream stays in step */
	unsigned queue;
	uint16_t head;
	uint32_t round;          /* numbers are not used again for a while */
	uint64_t unique;         /* the guest's */
	unsigned n;
	struct iovec *in;        /* where its reply goes; owned */
};

struct fs {
	struct virtio_device d;
	struct virtio_fs_config config;
	struct fuse_server *server;
	int fd;
	uint32_t watched;
	bool broken_off;         /* the other process is gone: every request is answered with an error */
	unsigned flying;
	struct flight flight[FLIGHTS_MAX];
	size_t out_at, out_len;  /* request on its way */
	size_t in_len;           /* reply on its way */
	uint8_t out[FUSE_REQUEST_MAX], in[FUSE_REQUEST_MAX];
	struct strbuf reply;     /* of a server in this process */
};

static struct fs *fs_of(struct virtio_device *d) { return (struct fs *)d; }

static void ready(void *ctx, uint32_t events);

static void watch(struct fs *s, uint32_t events)
{
	const struct virtio_host *h = s->d.host;
	if (events == s->watched)
		return;
	if (!events)
		h->unwatch(h->arg, s->fd);
	else if (h->watch(h->arg, s->fd, events, ready, s) < 0) {
		virtio_fail(&s->d, "cannot watch the file server");
		return;
	}
	s->watched = events;
}

static void settle(struct fs *s)
{
	if (s->fd >= 0)
		watch(s, !virtio_working(&s->d) || s->broken_off ? 0 : (s->flying ? EPOLLIN : 0U) | (s->out_len ? EPOLLOUT : 0U));
}

/* Some requests are never answered (include/uapi/linux/fuse.h). */
static bool answered(uint32_t opcode)
{
	return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

static void finish(struct fs *s, struct flight *f, const void *reply, size_t n)
{
	if (!f->orphan) {
		virtio_push(&s->d, f->queue, f->head, (uint32_t)iov_write(f->in, f->n, 0, reply, n));
		virtio_signal(&s->d, f->queue);
	}
	free(f->in);
	*f = (struct flight){ .round = f->round + 1 };
	s->flying--;
}

static void finish_error(struct fs *s, struct flight *f)
{
	struct fuse_out_header h = { sizeof h, -ENOTCONN, f->unique };
	finish(s, f, &h, sizeof h);
}

/* The other process ended: what it had, and all that follows, fails; the guest's kernel goes on. */
static void break_off(struct fs *s)
{
	watch(s, 0);
	s->broken_off = true;
	s->out_len = s->in_len = 0;
	for (unsigned i = 0; i < FLIGHTS_MAX; i++)
		if (s->flight[i].used)
			finish_error(s, &s->flight[i]);
}

/* ---- replies ---- */

static bool take_reply(struct fs *s)
{
	struct fuse_out_header h;
	memcpy(&h, s->in, sizeof h);
	uint64_t i = h.unique & 0xffffffff;
	if (i >= FLIGHTS_MAX || !s->flight[i].used || s->flight[i].round != h.unique >> 32)
		return false;
	h.unique = s->flight[i].unique;
	memcpy(s->in, &h, sizeof h);
	finish(s, &s->flight[i], s->in, h.len);
	return true;
}

/* Read what there is; false when the connection is no good any more. */
static bool receive(struct fs *s)
{
	while (s->flying) {
		uint32_t want = sizeof(struct fuse_out_header);
		if (s->in_len >= want) {
			memcpy(&want, s->in, sizeof want);
			if (want < sizeof(struct fuse_out_header) || want > sizeof s->in)
				return false;
		}
		if (s->in_len < want) {
			ssize_t k = recv(s->fd, s->in + s->in_len, want - s->in_len, MSG_DONTWAIT);
			if (k < 0 && errno == EINTR)
				continue;
			if (k < 0 && errno == EAGAIN)
				return true;
			if (k <= 0)
				return false;
			s->in_len += (size_t)k;
			continue;
		}
		s->in_len = 0;
		if (!take_reply(s))
			return false;
	}
	return true;
}

/* ---- requests ---- */

/* Send what is left of the request; false when the connection is no good any more. */
static bool flush(struct fs *s)
{
	while (s->out_len) {
		ssize_t k = send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return errno == EAGAIN;
		s->out_at += (size_t)k;
		if (s->out_at == s->out_len)
			s->out_at = s->out_len = 0;
	}
	return true;
}

static struct flight *flight_new(struct fs *s, unsigned queue, const struct virtq_chain *c, const struct fuse_in_header *h)
{
	for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
		struct flight *f = &s->flight[i];
		if (f->used)
			continue;
		f->in = malloc((c->n_in + 1) * sizeof *f->in);
		if (!f->in)
			return NULL;
		memcpy(f->in, c->iov + c->n_out, c->n_in * sizeof *f->in);
		f->used = true;
		f->queue = queue;
		f->head = c->head;
		f->unique = h->unique;
		f->n = c->n_in;
		s->flying++;
		return f;
	}
	return NULL;
}

/* Hand the request in s->out to the other process. False when it has to wait: no number is free. */
static bool hand_on(struct fs *s, unsigned queue, const struct virtq_chain *c, struct fuse_in_header *h)
{
	struct flight *f = answered(h->opcode) ? flight_new(s, queue, c, h) : NULL;
	if (answered(h->opcode) && !f)
		return false;
	if (f) {
		h->unique = (uint64_t)(f - s->flight) | (uint64_t)f->round << 32;
		memcpy(s->out, h, sizeof *h);
	}
	s->out_at = 0;
	s->out_len = h->len;
	if (!f)
		virtio_push(&s->d, queue, c->head, 0);
	if (s->broken_off || !flush(s))
		break_off(s);
	return true;
}

static void answer(struct fs *s, unsigned queue, const struct virtq_chain *c, const struct fuse_in_header *h)
{
	bool reply = false;
	strbuf_clear(&s->reply);
	if (fuse_server_handle(s->server, s->out, h->len, &s->reply, &reply) < 0) {
		virtio_fail(&s->d, "the file server gave up");
		return;
	}
	virtio_push(&s->d, queue, c->head, reply ? (uint32_t)iov_write(CHAIN_IN(c), 0, s->reply.s, s->reply.len) : 0);
}

static void take_requests(struct fs *s, unsigned queue)
{
	struct virtq_chain c;
	while (!s->out_len && virtio_pop(&s->d, queue, &c)) {
		struct fuse_in_header h;
		if (c.out_len < sizeof h || c.out_len > sizeof s->out) {
			virtio_fault(&s->d, "queue %u: request of %u bytes", queue, c.out_len);
			break;
		}
		iov_read(CHAIN_OUT(&c), 0, s->out, c.out_len); /* once: the guest may change it meanwhile */
		memcpy(&h, s->out, sizeof h);
		if (h.len != c.out_len) {
			virtio_fault(&s->d, "queue %u: request of %u bytes says that it has %u", queue, c.out_len, h.len);
			break;
		}
		if (s->server)
			answer(s, queue, &c, &h);
		else if (!hand_on(s, queue, &c, &h)) {
			virtq_unpop(&s->d.queue[queue]);
			break;
		}
	}
	virtio_signal(&s->d, queue);
}

static void take_all(struct fs *s)
{
	for (unsigned q = 0; q < QUEUES; q++)
		take_requests(s, q);
}

static void ready(void *ctx, uint32_t events)
{
	struct fs *s = ctx;
	(void)events;
	virtio_lock(&s->d);
	if (s->watched && virtio_working(&s->d)) {
		if (!receive(s) || !flush(s))
			break_off(s);
		take_all(s);
		settle(s);
	}
	virtio_unlock(&s->d);
}

static void kick(struct virtio_device *d, unsigned queue)
{
	take_requests(fs_of(d), queue);
	settle(fs_of(d));
}

/* ---- life ---- */

/* All requests come home before a snapshot: their replies are not in anybody's state. */
static void quiesce(struct virtio_device *d)
{
	struct fs *s = fs_of(d);
	if (s->fd < 0)
		return;
	watch(s, 0);
	while ((s->flying || s->out_len) && !s->broken_off) {
		struct pollfd p = { s->fd, (short)((s->flying ? POLLIN : 0) | (s->out_len ? POLLOUT : 0)), 0 };
		int r = poll(&p, 1, DRAIN_MS);
		if ((r < 0 && errno == EINTR) || (r > 0 && flush(s) && receive(s)))
			continue;
		break_off(s);
	}
}

static void resume(struct virtio_device *d)
{
	settle(fs_of(d));
}

static void reset(struct virtio_device *d)
{
	struct fs *s = fs_of(d);
	if (s->fd < 0)
		return;
	watch(s, 0);
	for (unsigned i = 0; i < FLIGHTS_MAX; i++)
		s->flight[i].orphan = s->flight[i].used;
}

static void fs_free(struct virtio_device *d)
{
	struct fs *s = fs_of(d);
	for (unsigned i = 0; i < FLIGHTS_MAX; i++)
		free(s->flight[i].in);
	if (s->fd >= 0)
		close(s->fd);
	strbuf_free(&s->reply);
	free(s);
}

static const struct virtio_ops ops = { .name = "fs", .id = VIRTIO_ID_FS, .reset = reset, .kick = kick, .quiesce = quiesce, .resume = resume, .free = fs_free };

int virtio_fs_new(const struct virtio_host *h, unsigned slot, const struct virtio_fs_options *c, struct virtio_device **ret, struct err *e)
{
	if (!c->tag || !*c->tag || strlen(c->tag) > sizeof((struct virtio_fs_config *)0)->tag)
		return err_set(e, EINVAL, "fs: a tag has 1 to 36 bytes");
	if (!c->server && c->channel_fd < 0)
		return err_set(e, EINVAL, "fs: a server or a channel to one");
	struct fs *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, ENOMEM, "fs");
	s->server = c->server;
	s->fd = c->server ? -EBADF : c->channel_fd;
	memcpy(s->config.tag, c->tag, strlen(c->tag));
	s->config.num_request_queues = QUEUES - 1;
	virtio_device_init(&s->d, &ops, h, slot, QUEUES, 0);
	s->d.config = (uint8_t *)&s->config;
	s->d.config_len = sizeof s->config;
	*ret = &s->d;
	return 0;
}
