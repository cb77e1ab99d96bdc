/* The core of virtual devices against drivers that err and lie: guest memory, queues, registers, state, rate limits. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>

#include "virtio_fake.h"

#define INDIRECT (1ULL << VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT (1ULL << VIRTIO_RING_F_EVENT_IDX)

/* A device that answers each chain with its first bytes, reversed. */
struct echo { struct virtio_device d; uint8_t config[8]; };

static void echo_kick(struct virtio_device *d, unsigned q)
{
	struct virtq_chain c;
	while (virtio_pop(d, q, &c)) {
		uint8_t b[64], r[64];
		size_t n = iov_read(CHAIN_OUT(&c), 0, b, sizeof b);
		for (size_t i = 0; i < n; i++)
			r[i] = b[n - 1 - i];
		virtio_push(d, q, c.head, (uint32_t)iov_write(CHAIN_IN(&c), 0, r, n));
	}
	virtio_signal(d, q);
}

static void echo_free(struct virtio_device *d) { free(d); }
static const struct virtio_ops echo_ops = { .name = "echo", .id = 42, .kick = echo_kick, .free = echo_free };

static struct virtio_device *echo_new(struct fake *f)
{
	struct echo *x = calloc(1, sizeof *x);
	virtio_device_init(&x->d, &echo_ops, &f->host, 7, 2, 0);
	memcpy(x->config, "12345678", 8);
	x->d.config = x->config;
	x->d.config_len = 8;
	return &x->d;
}

static void memory(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	const struct guest_mem *m = &f->mem;
	uint8_t b[16];
	assert_ptr_equal(guest_ptr(m, 0, 1), f->ram);
	assert_ptr_equal(guest_ptr(m, FAKE_RAM - 1, 1), f->ram + FAKE_RAM - 1);
	assert_ptr_equal(guest_ptr(m, 0, FAKE_RAM), f->ram);
	assert_ptr_equal(guest_ptr(m, FAKE_HIGH_GPA + 16, FAKE_HIGH - 16), f->high + 16);
	assert_null(guest_ptr(m, 0, 0));
	assert_null(guest_ptr(m, 0, FAKE_RAM + 1ULL));
	assert_null(guest_ptr(m, FAKE_RAM, 1));
	assert_null(guest_ptr(m, FAKE_RAM - 1, 2));
	assert_null(guest_ptr(m, FAKE_HIGH_GPA - 1, 2));
	assert_null(guest_ptr(m, UINT64_MAX, 1));
	assert_null(guest_ptr(m, UINT64_MAX, UINT64_MAX));
	assert_null(guest_ptr(m, 16, UINT64_MAX - 8)); /* wraps to 8 */
	assert_null(guest_ptr(m, FAKE_HIGH_GPA, UINT64_MAX));
	assert_int_equal(guest_read(m, FAKE_RAM - 8, b, 16), -EFAULT);
	assert_int_equal(guest_write(m, UINT64_MAX - 3, b, 8), -EFAULT);
	assert_int_equal(guest_write(m, 100, "abc", 3), 0);
	assert_int_equal(guest_read(m, 100, b, 3), 0);
	assert_memory_equal(b, "abc", 3);
	assert_int_equal(guest_read(m, UINT64_MAX, b, 0), 0);
	fake_free(f);
}

static void lists(void **s)
{
	(void)s;
	char a[4] = "abc", b[1] = "d", c[6] = "efghi";
	struct iovec v[] = { { a, 3 }, { b, 1 }, { c, 5 } }, out[3];
	char buf[16] = { 0 };
	assert_int_equal(iov_length(v, 3), 9);
	assert_int_equal(iov_read(v, 3, 2, buf, 4), 4);
	assert_string_equal(buf, "cdef");
	assert_int_equal(iov_read(v, 3, 8, buf, 9), 1);
	assert_int_equal(iov_read(v, 3, 9, buf, 9), 0);
	assert_int_equal(iov_write(v, 3, 3, "XYZ", 3), 3);
	assert_memory_equal(c, "YZghi", 5);
	assert_int_equal(iov_slice(v, 3, 1, 3, out), 2);
	assert_ptr_equal(out[0].iov_base, a + 1);
	assert_int_equal(out[0].iov_len, 2);
	assert_int_equal(out[1].iov_len, 1);
	assert_int_equal(iov_slice(v, 3, 9, 1, out), 0);
	assert_int_equal(iov_zero(v, 3, 0, 4), 4);
	assert_int_equal(a[0] | b[0], 0);
}

static int64_t echo(struct fake *f, unsigned q, const char *text, char *out)
{
	struct fake_buf v[] = { { fake_put(f, text, strlen(text)), (uint32_t)strlen(text), false }, { fake_alloc(f, 64), 64, true } };
	int64_t n = fake_do(f, q, v, 2);
	if (n > 0)
		memcpy(out, fake_at(f, v[1].gpa), (size_t)n);
	if (n >= 0)
		out[n] = 0;
	return n;
}

/* Round the ring several times, in each combination of features. */
static void rounds(void **s)
{
	(void)s;
	for (unsigned k = 0; k < 4; k++) {
		struct fake *f = fake_new();
		char out[65];
		assert_true(fake_start(f, echo_new(f), (k & 1 ? INDIRECT : 0) | (k & 2 ? EVENT : 0)));
		for (unsigned i = 0; i < 5 * FAKE_QUEUE; i++) {
			f->heap = FAKE_HEAP;
			assert_int_equal(echo(f, i & 1, "hello", out), 5);
			assert_string_equal(out, "olleh");
		}
		assert_int_equal(f->lines, 0);
		assert_int_equal(f->interrupts, 5 * FAKE_QUEUE);
		assert_int_equal(fake_get(f, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
		fake_set(f, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
		assert_int_equal(fake_get(f, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
		fake_free(f);
	}
}

/* Chains that were available before DRIVER_OK are seen, notifications by register too; several chains make one interrupt with EVENT_IDX. */
static void notifications(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	struct fake_buf v[] = { { fake_put(f, "ab", 2), 2, false }, { fake_alloc(f, 8), 8, true } };
	assert_true(fake_prepare(f, echo_new(f), EVENT));
	fake_chain(f, 0, v, 2);
	fake_set(f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	fake_poll(f, 4);
	assert_int_equal(fake_used(f, 0, NULL), -1); /* not live yet */
	fake_set(f, VIRTIO_MMIO_STATUS, 15);
	fake_kick(f, 1); /* overtakes the poke */
	assert_int_equal(fake_used(f, 0, NULL), 0);
	fake_poll(f, 4);
	f->interrupts = 0;
	for (unsigned i = 0; i < 5; i++)
		fake_chain(f, 0, v, 2);
	fake_set(f, VIRTIO_MMIO_QUEUE_NOTIFY, 0);
	assert_int_equal(fake_used(f, 0, NULL), -1); /* a processor thread does no work */
	fake_poll(f, 4);
	for (unsigned i = 0; i < 5; i++)
		assert_true(fake_used(f, 0, NULL) >= 0);
	assert_int_equal(f->interrupts, 1);
	/* no interrupt is wanted: used_event is far away */
	uint16_t *a = fake_at(f, FAKE_RINGS + 16 * FAKE_QUEUE);
	a[2 + FAKE_QUEUE] = 1000;
	fake_chain(f, 0, v, 2);
	fake_kick(f, 0);
	assert_int_equal(f->interrupts, 1);
	fake_free(f);
}

enum { N = VRING_DESC_F_NEXT, W = VRING_DESC_F_WRITE, I = VRING_DESC_F_INDIRECT };

static void lie_circle(struct fake *f) { fake_desc(f, 0, 0, FAKE_HEAP, 8, N, 1); fake_desc(f, 0, 1, FAKE_HEAP, 8, N, 0); fake_avail(f, 0, 0); }
static void lie_self(struct fake *f) { fake_desc(f, 0, 3, FAKE_HEAP, 0, N, 3); fake_avail(f, 0, 3); }
static void lie_head(struct fake *f) { fake_avail(f, 0, FAKE_QUEUE); }
static void lie_head_far(struct fake *f) { fake_avail(f, 0, 0xffff); }
static void lie_next(struct fake *f) { fake_desc(f, 0, 0, FAKE_HEAP, 8, N, FAKE_QUEUE); fake_avail(f, 0, 0); }
static void lie_outside(struct fake *f) { fake_desc(f, 0, 0, FAKE_RAM - 4, 8, 0, 0); fake_avail(f, 0, 0); }
static void lie_hole(struct fake *f) { fake_desc(f, 0, 0, FAKE_HIGH_GPA - 4, 8, W, 0); fake_avail(f, 0, 0); }
static void lie_wrap(struct fake *f) { fake_desc(f, 0, 0, UINT64_MAX - 3, 8, W, 0); fake_avail(f, 0, 0); }
static void lie_huge(struct fake *f) { fake_desc(f, 0, 0, 0, UINT32_MAX, W, 0); fake_avail(f, 0, 0); }
static void lie_order(struct fake *f) { fake_desc(f, 0, 0, FAKE_HEAP, 8, W | N, 1); fake_desc(f, 0, 1, FAKE_HEAP, 8, 0, 0); fake_avail(f, 0, 0); }
static void lie_index(struct fake *f) { ((uint16_t *)fake_at(f, FAKE_RINGS + 16 * FAKE_QUEUE))[1] = FAKE_QUEUE + 1; }
static void lie_table_odd(struct fake *f) { fake_desc(f, 0, 0, FAKE_HEAP, 17, I, 0); fake_avail(f, 0, 0); }
static void lie_table_empty(struct fake *f) { fake_desc(f, 0, 0, FAKE_HEAP, 0, I, 0); fake_avail(f, 0, 0); }
static void lie_table_long(struct fake *f) { fake_desc(f, 0, 0, FAKE_HEAP, 16 * (VIRTQ_CHAIN_MAX + 1), I, 0); fake_avail(f, 0, 0); }
static void lie_table_outside(struct fake *f) { fake_desc(f, 0, 0, FAKE_RAM - 16, 32, I, 0); fake_avail(f, 0, 0); }
static void lie_table_next(struct fake *f) { fake_desc(f, 0, 0, FAKE_HEAP, 16, I | N, 1); fake_avail(f, 0, 0); }
static void lie_table_nested(struct fake *f)
{
	struct vring_desc d = { FAKE_HEAP, 16, I, 0 };
	fake_desc(f, 0, 0, fake_put(f, &d, sizeof d), 16, I, 0);
	fake_avail(f, 0, 0);
}
static void lie_table_loop(struct fake *f)
{
	struct vring_desc d = { FAKE_HEAP, 16, N, 0 };
	fake_desc(f, 0, 0, fake_put(f, &d, sizeof d), 16, I, 0);
	fake_avail(f, 0, 0);
}
static void lie_table_loop_odd(struct fake *f)
{
	struct vring_desc d = { FAKE_HEAP, 16, N, 0 };
	uint64_t at = fake_alloc(f, 64) + 4; /* not aligned to its words */
	memcpy(fake_at(f, at), &d, sizeof d);
	fake_desc(f, 0, 0, at, 16, I, 0);
	fake_avail(f, 0, 0);
}
static void lie_many(struct fake *f)
{
	struct vring_desc t[VIRTQ_CHAIN_MAX];
	for (unsigned i = 0; i < VIRTQ_CHAIN_MAX; i++)
		t[i] = (struct vring_desc){ 0, FAKE_RAM, N | W, (uint16_t)(i + 1) };
	fake_desc(f, 0, 0, fake_put(f, t, sizeof t), sizeof t, I, 0);
	fake_avail(f, 0, 0);
}
static void lie_long(struct fake *f)
{
	f->mem.region[1].size = 3ULL << 30; /* nobody touches it: the chain is refused */
	fake_desc(f, 0, 0, FAKE_HIGH_GPA, 3U << 30, N | W, 1);
	fake_desc(f, 0, 1, FAKE_HIGH_GPA, 3U << 30, W, 0);
	fake_avail(f, 0, 0);
}

static const struct { const char *name, *says; void (*tell)(struct fake *f); } lies[] = {
	{ "circle", "circle", lie_circle }, { "circle of one", "circle", lie_self }, { "head", "index 64 of 64", lie_head }, { "far head", "index 65535", lie_head_far },
	{ "next", "index 64 of 64", lie_next }, { "outside", "outside of memory", lie_outside }, { "hole", "outside of memory", lie_hole }, { "wrap", "outside of memory", lie_wrap },
	{ "huge", "outside of memory", lie_huge }, { "order", "readable descriptor after", lie_order }, { "index", "runs ahead", lie_index }, { "odd table", "indirect table", lie_table_odd },
	{ "empty table", "indirect table", lie_table_empty }, { "long table", "indirect table", lie_table_long }, { "table outside", "indirect table", lie_table_outside },
	{ "table and next", "may be none", lie_table_next }, { "nested table", "may be none", lie_table_nested }, { "loop in table", "circle", lie_table_loop },
	{ "loop in odd table", "circle", lie_table_loop_odd }, { "too many", "circle", lie_many }, { "too long", "longer than 4 GiB", lie_long },
};

/* Each lie: one line that says what, NEEDS_RESET, an interrupt, silence afterwards, and a working device after a reset. */
static void liars(void **s)
{
	(void)s;
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct fake *f = fake_new();
		char out[65];
		assert_true(fake_start(f, echo_new(f), INDIRECT | EVENT));
		lies[i].tell(f);
		fake_kick(f, 0);
		if (!strstr(f->log, lies[i].says) || !strstr(f->log, "echo 7: the guest's driver broke the rules: queue 0: "))
			fail_msg("%s: \"%s\"", lies[i].name, f->log);
		assert_int_equal(fake_used(f, 0, NULL), -1);
		assert_true(fake_get(f, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET);
		assert_int_equal(fake_get(f, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
		fake_kick(f, 0);
		assert_int_equal(echo(f, 1, "x", out), -1);
		assert_int_equal(f->lines, 1);
		assert_true(fake_start(f, f->d, 0));
		assert_int_equal(echo(f, 0, "again", out), 5);
		fake_free(f);
	}
	/* indirect without the feature */
	struct fake *f = fake_new();
	assert_true(fake_start(f, echo_new(f), 0));
	fake_desc(f, 0, 0, FAKE_HEAP, 16, I, 0);
	fake_avail(f, 0, 0);
	fake_kick(f, 0);
	assert_non_null(strstr(f->log, "may be none"));
	/* a guest that lies for ever does not fill the log */
	for (unsigned i = 0; i < 3 * VIRTIO_FAULT_LINES; i++) {
		fake_start(f, f->d, 0);
		lie_head(f);
		fake_kick(f, 0);
	}
	assert_int_equal(f->lines, VIRTIO_FAULT_LINES);
	fake_free(f);
}

/* Rings at places where there may be none. */
static void ring_places(void **s)
{
	(void)s;
	static const struct { uint32_t offset, value; const char *says; } bad[] = {
		{ VIRTIO_MMIO_QUEUE_NUM, 0, "size" }, { VIRTIO_MMIO_QUEUE_NUM, 3, "size" }, { VIRTIO_MMIO_QUEUE_NUM, 512, "size" }, { VIRTIO_MMIO_QUEUE_NUM, 65536 + 64, "size" },
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1008, "aligned" }, { VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x1001, "aligned" }, { VIRTIO_MMIO_QUEUE_USED_LOW, 0x1002, "aligned" },
		{ VIRTIO_MMIO_QUEUE_DESC_LOW, FAKE_RAM - 16, "descriptor table outside" }, { VIRTIO_MMIO_QUEUE_AVAIL_LOW, FAKE_RAM - 2, "available ring outside" },
		{ VIRTIO_MMIO_QUEUE_USED_LOW, FAKE_RAM - 4, "used ring outside" }, { VIRTIO_MMIO_QUEUE_DESC_HIGH, UINT32_MAX, "descriptor table outside" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fake *f = fake_new();
		assert_true(fake_prepare(f, echo_new(f), 0));
		fake_set(f, VIRTIO_MMIO_QUEUE_SEL, 1);
		fake_set(f, bad[i].offset, bad[i].value); /* ready: no effect */
		fake_set(f, VIRTIO_MMIO_QUEUE_READY, 0);
		assert_int_equal(fake_get(f, VIRTIO_MMIO_QUEUE_READY), 0);
		fake_set(f, bad[i].offset, bad[i].value);
		fake_set(f, VIRTIO_MMIO_QUEUE_READY, 1);
		fake_set(f, VIRTIO_MMIO_STATUS, 15);
		fake_poll(f, 2);
		if (!strstr(f->log, bad[i].says) || !strstr(f->log, "queue 1"))
			fail_msg("%x=%x: \"%s\"", bad[i].offset, bad[i].value, f->log);
		fake_free(f);
	}
}

static void registers(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	struct virtio_device *d = f->d = echo_new(f);
	uint8_t b[8];
	assert_int_equal(fake_get(f, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	assert_int_equal(fake_get(f, VIRTIO_MMIO_VERSION), 2);
	assert_int_equal(fake_get(f, VIRTIO_MMIO_DEVICE_ID), 42);
	assert_int_equal(fake_get(f, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	assert_int_equal(fake_get(f, 0x0fc), 0);
	fake_set(f, VIRTIO_MMIO_QUEUE_SEL, 2);
	assert_int_equal(fake_get(f, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	fake_set(f, VIRTIO_MMIO_QUEUE_SEL, UINT32_MAX);
	assert_int_equal(fake_get(f, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	fake_set(f, VIRTIO_MMIO_QUEUE_NUM, 8);
	fake_set(f, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	assert_int_equal(f->pokes, 0);
	/* configuration space: any width inside, nothing outside */
	virtio_mmio_read(d, 0x100, 8, b);
	assert_memory_equal(b, "12345678", 8);
	virtio_mmio_read(d, 0x107, 1, b);
	assert_int_equal(b[0], '8');
	virtio_mmio_read(d, 0x107, 2, b);
	assert_int_equal(b[0] | b[1], 0);
	virtio_mmio_read(d, UINT64_MAX, 4, b);
	assert_int_equal(b[0], 0);
	virtio_mmio_write(d, 0x100, 8, "xxxxxxxx");
	virtio_mmio_read(d, 0x100, 8, b);
	assert_memory_equal(b, "12345678", 8); /* this device's is read-only */
	/* registers have one width */
	virtio_mmio_read(d, VIRTIO_MMIO_MAGIC_VALUE, 2, b);
	assert_int_equal(b[0], 0);
	/* features that were not offered, or not the modern interface: FEATURES_OK does not stick */
	fake_set(f, VIRTIO_MMIO_STATUS, 3);
	fake_set(f, VIRTIO_MMIO_STATUS, 11);
	assert_int_equal(fake_get(f, VIRTIO_MMIO_STATUS), 3);
	fake_set(f, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	fake_set(f, VIRTIO_MMIO_DRIVER_FEATURES, 1U << 31 | 1);
	fake_set(f, VIRTIO_MMIO_STATUS, 11);
	assert_int_equal(fake_get(f, VIRTIO_MMIO_STATUS), 3);
	/* a driver that skips the step is told */
	fake_set(f, VIRTIO_MMIO_STATUS, 7);
	assert_non_null(strstr(f->log, "DRIVER_OK without FEATURES_OK"));
	fake_set(f, VIRTIO_MMIO_STATUS, 0);
	assert_int_equal(fake_get(f, VIRTIO_MMIO_STATUS), 0);
	fake_free(f);
}

/* Queues go on in a restored device where the saved one stopped; bytes that are no state are refused and leave a new device. */
static void state(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	char out[65];
	assert_true(fake_start(f, echo_new(f), INDIRECT | EVENT));
	for (unsigned i = 0; i < FAKE_QUEUE + 5; i++)
		assert_int_equal(echo(f, 0, "abc", out), 3);
	assert_int_equal(virtio_device_save(f->d, &b), -EBUSY);
	virtio_device_quiesce(f->d);
	struct fake_buf v[] = { { fake_put(f, "xyz", 3), 3, false }, { fake_alloc(f, 64), 64, true } };
	fake_chain(f, 0, v, 2); /* in flight while it is saved */
	fake_kick(f, 0);
	assert_int_equal(fake_used(f, 0, NULL), -1);
	assert_int_equal(virtio_device_save(f->d, &b), 0);
	virtio_device_free(f->d);
	f->d = echo_new(f);
	assert_int_equal(virtio_device_restore(f->d, b.s, b.len, &e), 0);
	assert_int_equal(fake_used(f, 0, NULL), -1);
	virtio_device_resume(f->d);
	assert_int_equal(fake_used(f, 0, NULL), (FAKE_QUEUE + 5) % FAKE_QUEUE);
	assert_memory_equal(fake_at(f, v[1].gpa), "zyx", 3);
	assert_int_equal(echo(f, 1, "more", out), 4);
	for (size_t n = 0; n < b.len; n++) {
		struct virtio_device *d = echo_new(f);
		uint8_t *cut = malloc(n + 1);
		memcpy(cut, b.s, n);
		assert_int_equal(virtio_device_restore(d, cut, n, &e), -EBADMSG);
		assert_int_equal(d->status, 0);
		assert_false(d->queue[0].running);
		free(cut);
		virtio_device_free(d);
	}
	for (size_t n = 0; n < b.len; n++)
		for (unsigned bit = 0; bit < 8; bit++) {
			struct virtio_device *d = echo_new(f);
			b.s[n] = (char)(b.s[n] ^ 1 << bit);
			if (virtio_device_restore(d, b.s, b.len, &e) == 0) {
				virtio_device_resume(d); /* whatever it says now, it stays inside of memory: sanitizers look on */
				virtio_device_kick(d, 0);
			}
			b.s[n] = (char)(b.s[n] ^ 1 << bit);
			virtio_device_free(d);
		}
	fake_free(f);
}

/* A turn ends although the driver adds chains as fast as they are taken. */
static void endless_kick(struct virtio_device *d, unsigned q)
{
	struct virtq_chain c;
	while (virtio_pop(d, q, &c)) {
		virtio_push(d, q, c.head, 0);
		fake_avail(d->host->arg, q, c.head);
	}
}

static void turns(void **s)
{
	(void)s;
	static const struct virtio_ops endless = { .name = "endless", .id = 42, .kick = endless_kick, .free = echo_free };
	struct fake *f = fake_new();
	struct virtio_device *d = echo_new(f);
	d->ops = &endless;
	assert_true(fake_start(f, d, 0));
	fake_desc(f, 0, 0, FAKE_HEAP, 8, 0, 0);
	fake_avail(f, 0, 0);
	fake_kick(f, 0);
	assert_int_equal(d->queue[0].next_used, VIRTIO_BUDGET);
	assert_int_equal(f->pokes, 1);
	virtio_device_run(d);
	assert_int_equal(d->queue[0].next_used, 2 * VIRTIO_BUDGET);
	fake_free(f);
}

/* A processor that sets up, uses and resets the device while the device thread works on it: nothing but guest memory is shared without the lock. */
struct racers { struct fake *f; _Atomic bool done; unsigned served; };

static void *processor(void *arg)
{
	struct racers *r = arg;
	struct fake_buf v[] = { { FAKE_HEAP, 5, false }, { FAKE_HEAP + 64, 64, true } };
	memcpy(fake_at(r->f, FAKE_HEAP), "hello", 5);
	for (unsigned i = 0; i < 600; i++) {
		if (!fake_prepare(r->f, r->f->d, i & 1 ? EVENT : 0))
			continue;
		fake_set(r->f, VIRTIO_MMIO_STATUS, 15);
		for (unsigned k = 0; k < 4; k++) {
			fake_chain(r->f, k & 1, v, 2);
			fake_set(r->f, VIRTIO_MMIO_QUEUE_NOTIFY, k & 1);
		}
		fake_get(r->f, VIRTIO_MMIO_INTERRUPT_STATUS);
		fake_set(r->f, VIRTIO_MMIO_INTERRUPT_ACK, 3);
		for (unsigned spin = 0; i % 8 == 0 && spin < 100000 && fake_used(r->f, 0, NULL) < 0; spin++)
			sched_yield();
		r->served += r->f->q[0].seen;
	}
	r->done = true;
	return NULL;
}

static void threads(void **s)
{
	(void)s;
	struct racers r = { .f = fake_new() };
	char out[65];
	pthread_t t;
	struct virtio_device *d = r.f->d = echo_new(r.f);
	assert_int_equal(pthread_create(&t, NULL, processor, &r), 0);
	while (!r.done) {
		virtio_device_run(d);
		virtio_device_kick(d, 0);
	}
	pthread_join(t, NULL);
	assert_true(r.served > 0);
	assert_true(fake_start(r.f, r.f->d, 0));
	assert_int_equal(echo(r.f, 0, "still", out), 5);
	fake_free(r.f);
}

static void limits(void **s)
{
	(void)s;
	struct limiter l;
	uint64_t wait, t = 5000000000;
	/* 1000 bytes per 100 ms, 500 once, 3 operations a second */
	struct limiter_config c = { { 1000, 500, 100 }, { 0 } };
	assert_int_equal(limiter_init(&l, &c, t), 0);
	assert_true(limiter_take(&l, 500, t, &wait)); /* the burst */
	assert_true(limiter_take(&l, 1000, t, &wait));
	assert_false(limiter_take(&l, 1, t, &wait));
	assert_int_equal(wait, 100000);
	assert_false(limiter_take(&l, 1, t + wait - 1, &wait));
	assert_true(limiter_take(&l, 5000, t += 100000, &wait)); /* larger than the bucket: paid back afterwards */
	assert_false(limiter_take(&l, 1, t, &wait));
	assert_int_equal(wait, 500000000);
	assert_true(limiter_take(&l, 1, t + wait, &wait));
	/* on the average the rate is met, at whatever moments one asks */
	uint64_t sum = 0, from = t += 10000000000;
	for (; t < from + 60000000000; t += 777777)
		if (limiter_take(&l, 97, t, &wait))
			sum += 97;
	assert_in_range(sum, 600000 - 100, 600000 + 1200);
	c = (struct limiter_config){ { 0 }, { 3, 0, 1000 } };
	assert_int_equal(limiter_init(&l, &c, t), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(limiter_take(&l, 1 << 20, t, &wait));
	assert_false(limiter_take(&l, 1, t, &wait));
	assert_true(limiter_take(&l, 1, t + wait, &wait));
	assert_true(limiter_take(&l, UINT64_MAX, UINT64_MAX, &wait));
	c = (struct limiter_config){ { 1, 0, 0 }, { 0 } };
	assert_int_equal(limiter_init(&l, &c, t), -EINVAL);
	c = (struct limiter_config){ { LIMITER_TOKENS_MAX + 1, 0, 1 }, { 0 } };
	assert_int_equal(limiter_init(&l, &c, t), -EINVAL);
	c = (struct limiter_config){ { 0 }, { 0 } };
	assert_int_equal(limiter_init(&l, &c, t), 0);
	assert_false(limiter_limits(&l));
	assert_true(limiter_take(&l, UINT64_MAX, t, &wait));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory), cmocka_unit_test(lists), cmocka_unit_test(rounds), cmocka_unit_test(notifications), cmocka_unit_test(liars), cmocka_unit_test(ring_places),
		cmocka_unit_test(registers), cmocka_unit_test(state), cmocka_unit_test(turns), cmocka_unit_test(threads), cmocka_unit_test(limits),
	};
	return cmocka_run_group_tests_name("virtio_core", tests, NULL, NULL);
}
