/* A pretended machine around one virtio device. */
#include "virtio_fake.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static int watch(void *arg, int fd, uint32_t events, void (*cb)(void *, uint32_t), void *ctx)
{
	struct fake *f = arg;
	int at = -1;
	for (int i = 0; i < FAKE_WATCHES; i++)
		if (f->watch[i].cb && f->watch[i].fd == fd)
			at = i;
		else if (at < 0 && !f->watch[i].cb)
			at = i;
	if (at < 0)
		return -ENOSPC;
	f->watch[at].fd = fd;
	f->watch[at].events = events;
	f->watch[at].cb = cb;
	f->watch[at].ctx = ctx;
	return 0;
}

static void unwatch(void *arg, int fd)
{
	struct fake *f = arg;
	for (int i = 0; i < FAKE_WATCHES; i++)
		if (f->watch[i].cb && f->watch[i].fd == fd)
			f->watch[i].cb = NULL;
}

bool fake_watched(const struct fake *f, int fd)
{
	for (int i = 0; i < FAKE_WATCHES; i++)
		if (f->watch[i].cb && f->watch[i].fd == fd)
			return true;
	return false;
}

static void interrupt(void *arg, unsigned slot)
{
	(void)slot;
	((struct fake *)arg)->interrupts++;
}

static void poke(void *arg, unsigned slot)
{
	(void)slot;
	((struct fake *)arg)->pokes++;
}

static void log_line(void *arg, const char *line)
{
	struct fake *f = arg;
	f->lines++;
	snprintf(f->log, sizeof f->log, "%s", line);
}

struct fake *fake_new(void)
{
	struct fake *f = calloc(1, sizeof *f);
	f->ram = aligned_alloc(4096, FAKE_RAM);
	f->high = aligned_alloc(4096, FAKE_HIGH);
	memset(f->ram, 0, FAKE_RAM);
	memset(f->high, 0, FAKE_HIGH);
	f->mem = (struct guest_mem){ { { 0, FAKE_RAM, f->ram }, { FAKE_HIGH_GPA, FAKE_HIGH, f->high } }, 2 };
	f->host = (struct virtio_host){ f, &f->mem, watch, unwatch, interrupt, poke, log_line };
	f->heap = FAKE_HEAP;
	return f;
}

void fake_free(struct fake *f)
{
	virtio_device_free(f->d);
	free(f->ram);
	free(f->high);
	free(f);
}

uint32_t fake_get(struct fake *f, uint32_t offset)
{
	uint32_t v;
	virtio_mmio_read(f->d, offset, 4, &v);
	return v;
}

void fake_set(struct fake *f, uint32_t offset, uint32_t v)
{
	virtio_mmio_write(f->d, offset, 4, &v);
}

static uint64_t rings(unsigned q) { return FAKE_RINGS + (uint64_t)q * FAKE_RING_STEP; }
static uint64_t avail_at(unsigned q) { return rings(q) + 16 * FAKE_QUEUE; }
static uint64_t used_at(unsigned q) { return rings(q) + 0x800; }

bool fake_prepare(struct fake *f, struct virtio_device *d, uint64_t want)
{
	uint64_t offered = 0;
	f->d = d;
	memset(f->q, 0, sizeof f->q);
	memset(f->ram + FAKE_RINGS, 0, (size_t)VIRTIO_QUEUES_MAX * FAKE_RING_STEP);
	fake_set(f, VIRTIO_MMIO_STATUS, 0);
	fake_set(f, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	fake_set(f, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		fake_set(f, VIRTIO_MMIO_DEVICE_FEATURES_SEL, i);
		offered |= (uint64_t)fake_get(f, VIRTIO_MMIO_DEVICE_FEATURES) << 32 * i;
	}
	uint64_t take = offered & (want | 1ULL << VIRTIO_F_VERSION_1);
	f->event_idx = take >> VIRTIO_RING_F_EVENT_IDX & 1;
	f->indirect = take >> VIRTIO_RING_F_INDIRECT_DESC & 1;
	for (unsigned i = 0; i < 2; i++) {
		fake_set(f, VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		fake_set(f, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(take >> 32 * i));
	}
	fake_set(f, VIRTIO_MMIO_STATUS, fake_get(f, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_FEATURES_OK);
	if (!(fake_get(f, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK))
		return false;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		fake_set(f, VIRTIO_MMIO_QUEUE_SEL, i);
		if (!fake_get(f, VIRTIO_MMIO_QUEUE_NUM_MAX))
			continue;
		fake_set(f, VIRTIO_MMIO_QUEUE_NUM, FAKE_QUEUE);
		fake_set(f, VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)rings(i));
		fake_set(f, VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)avail_at(i));
		fake_set(f, VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)used_at(i));
		fake_set(f, VIRTIO_MMIO_QUEUE_READY, 1);
	}
	return true;
}

bool fake_start(struct fake *f, struct virtio_device *d, uint64_t want)
{
	if (!fake_prepare(f, d, want))
		return false;
	fake_set(f, VIRTIO_MMIO_STATUS, fake_get(f, VIRTIO_MMIO_STATUS) | VIRTIO_CONFIG_S_DRIVER_OK);
	fake_poll(f, 8);
	return true;
}

uint64_t fake_alloc(struct fake *f, size_t n)
{
	uint64_t at = f->heap;
	f->heap += (n + 15) & ~(uint64_t)15;
	if (f->heap > FAKE_RAM)
		abort();
	return at;
}

void *fake_at(struct fake *f, uint64_t gpa)
{
	return gpa < FAKE_RAM ? f->ram + gpa : f->high + (gpa - FAKE_HIGH_GPA);
}

uint64_t fake_put(struct fake *f, const void *data, size_t n)
{
	uint64_t at = fake_alloc(f, n);
	if (n)
		memcpy(fake_at(f, at), data, n);
	return at;
}

static void desc_at(struct fake *f, uint64_t table, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	struct vring_desc d = { gpa, len, flags, next };
	memcpy(fake_at(f, table + 16 * i), &d, sizeof d);
}

void fake_desc(struct fake *f, unsigned q, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	desc_at(f, rings(q), i, gpa, len, flags, next);
}

void fake_avail(struct fake *f, unsigned q, uint16_t head)
{
	uint16_t *a = fake_at(f, avail_at(q));
	a[2 + f->q[q].avail % FAKE_QUEUE] = head;
	a[1] = ++f->q[q].avail;
}

uint16_t fake_chain(struct fake *f, unsigned q, const struct fake_buf *b, size_t n)
{
	uint16_t head = f->q[q].next_desc;
	uint64_t table = f->indirect ? fake_alloc(f, 16 * n) : 0;
	for (size_t i = 0; i < n; i++) {
		uint16_t flags = (uint16_t)((b[i].in ? VRING_DESC_F_WRITE : 0) | (i + 1 < n ? VRING_DESC_F_NEXT : 0));
		if (f->indirect)
			desc_at(f, table, (unsigned)i, b[i].gpa, b[i].len, flags, (uint16_t)(i + 1));
		else {
			uint16_t at = f->q[q].next_desc, next = (uint16_t)((at + 1) % FAKE_QUEUE);
			fake_desc(f, q, at, b[i].gpa, b[i].len, flags, next);
			f->q[q].next_desc = next;
		}
	}
	if (f->indirect) {
		fake_desc(f, q, head, table, (uint32_t)(16 * n), VRING_DESC_F_INDIRECT, 0);
		f->q[q].next_desc = (uint16_t)((head + 1) % FAKE_QUEUE);
	}
	fake_avail(f, q, head);
	return head;
}

void fake_kick(struct fake *f, unsigned q)
{
	virtio_device_kick(f->d, q);
}

int fake_used(struct fake *f, unsigned q, uint32_t *ret_len)
{
	const uint16_t *u = fake_at(f, used_at(q));
	if (u[1] == f->q[q].seen)
		return -1;
	struct vring_used_elem el;
	memcpy(&el, (const uint8_t *)u + 4 + 8 * (f->q[q].seen++ % FAKE_QUEUE), sizeof el);
	if (ret_len)
		*ret_len = el.len;
	if (f->event_idx) { /* as Linux: the next one is to interrupt */
		uint16_t *a = fake_at(f, avail_at(q));
		a[2 + FAKE_QUEUE] = f->q[q].seen;
	}
	return (int)el.id;
}

int64_t fake_do(struct fake *f, unsigned q, const struct fake_buf *b, size_t n)
{
	uint32_t len;
	uint16_t head = fake_chain(f, q, b, n);
	fake_kick(f, q);
	int id = fake_used(f, q, &len);
	return id == head ? (int64_t)len : -1;
}

static unsigned turn(struct fake *f, int ms)
{
	unsigned n = 0, ran = 0;
	struct pollfd p[FAKE_WATCHES];
	int at[FAKE_WATCHES];
	if (f->pokes) {
		f->pokes = 0;
		ran++;
		virtio_device_run(f->d);
	}
	for (int i = 0; i < FAKE_WATCHES; i++)
		if (f->watch[i].cb) {
			p[n] = (struct pollfd){ f->watch[i].fd, (short)f->watch[i].events, 0 };
			at[n++] = i;
		}
	if (poll(p, n, ran ? 0 : ms) <= 0)
		return ran;
	for (unsigned i = 0; i < n; i++)
		if (p[i].revents && f->watch[at[i]].cb && f->watch[at[i]].fd == p[i].fd) {
			f->watch[at[i]].cb(f->watch[at[i]].ctx, (uint32_t)p[i].revents);
			ran++;
		}
	return ran;
}

unsigned fake_poll(struct fake *f, unsigned rounds)
{
	unsigned sum = 0, n;
	while (rounds-- && (n = turn(f, 0)))
		sum += n;
	return sum;
}

unsigned fake_wait(struct fake *f, int ms)
{
	unsigned n = turn(f, ms);
	return n + fake_poll(f, 64);
}

/* ---- driven by bytes ---- */

struct input { const uint8_t *p; size_t n; };

static uint32_t take(struct input *in, size_t n)
{
	uint32_t v = 0;
	size_t k = n < in->n ? n : in->n;
	memcpy(&v, in->p, k);
	in->p += k;
	in->n -= k;
	return v;
}

static void copy_state(struct fake *f, struct virtio_device *(*make)(struct fake *f), struct input *in)
{
	_cleanup_strbuf_ struct strbuf s = STRBUF_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	uint32_t at = take(in, 2), x = take(in, 1);
	virtio_device_quiesce(f->d);
	if (virtio_device_save(f->d, &s) < 0)
		abort();
	if (x) /* a snapshot that was tampered with */
		s.s[at % s.len] = (char)(s.s[at % s.len] ^ (char)x);
	struct virtio_device *d = make(f);
	if (!d)
		abort();
	if (virtio_device_restore(d, s.s, s.len, &e) < 0 && !x) {
		fprintf(stderr, "%s\n", err_msg(&e));
		abort(); /* what we saved we can load */
	}
	virtio_device_free(f->d);
	f->d = d;
	virtio_device_resume(d);
}

void fake_fuzz(struct fake *f, const uint8_t *data, size_t n, void (*feed)(struct fake *f, const uint8_t *p, size_t n), struct virtio_device *(*make)(struct fake *f))
{
	struct input in = { data, n };
	for (unsigned steps = 0; in.n && steps < 512; steps++) {
		uint32_t op = take(&in, 1), q = op >> 4 & (VIRTIO_QUEUES_MAX - 1), a, b;
		switch (op & 15) {
		case 0: /* memory */
			a = take(&in, 3) % FAKE_RAM;
			b = take(&in, 1);
			b = b < in.n ? b : (uint32_t)in.n;
			b = b < FAKE_RAM - a ? b : FAKE_RAM - a;
			memcpy(f->ram + a, in.p, b);
			in.p += b;
			in.n -= b;
			break;
		case 1: a = take(&in, 2) & 0x1ff; fake_set(f, a, take(&in, 4)); break;
		case 2: fake_get(f, take(&in, 2) & 0x1ff); break;
		case 3: fake_kick(f, q); break;
		case 4: fake_poll(f, 4); break;
		case 5: /* a descriptor of raw values */
			a = take(&in, 1) % FAKE_QUEUE;
			fake_desc(f, q, a, (uint64_t)take(&in, 1) << 28 | take(&in, 4), take(&in, 4), (uint16_t)take(&in, 1), (uint16_t)take(&in, 1));
			break;
		case 6: fake_avail(f, q, (uint16_t)take(&in, 1)); break;
		case 7: /* the host's side */
			a = take(&in, 1);
			a = a < in.n ? a : (uint32_t)in.n;
			if (feed)
				feed(f, in.p, a);
			in.p += a;
			in.n -= a;
			break;
		case 8: if (make) copy_state(f, make, &in); break;
		case 9: virtio_device_run(f->d); break;
		case 10: fake_start(f, f->d, UINT64_MAX & ~(uint64_t)take(&in, 4)); break;
		default: { /* a good chain of bytes that follow, and room for an answer; then a kick */
			uint32_t out = take(&in, 1), room = take(&in, 2) & 0x3fff;
			out = out < in.n ? out : (uint32_t)in.n;
			f->heap = f->heap > FAKE_RAM / 2 ? FAKE_HEAP : f->heap;
			struct fake_buf v[2] = { { fake_put(f, in.p, out), out, false }, { fake_alloc(f, room), room, true } };
			fake_chain(f, q, v, 2);
			in.p += out;
			in.n -= out;
			if (op & 1)
				fake_kick(f, q);
		}
		}
	}
}
