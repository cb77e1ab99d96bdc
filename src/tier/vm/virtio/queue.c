/* Split virtqueues, device side. */
#include "tier/vm/virtio/queue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>

_Static_assert(sizeof(struct vring_desc) == 16 && sizeof(struct vring_used_elem) == 8, "virtio 1.2, 2.7.5 and 2.7.8");
_Static_assert((VIRTQ_SIZE_MAX & (VIRTQ_SIZE_MAX - 1)) == 0, "a power of two (2.7)");

/* Words of the available ring: flags, idx, ring[size], used_event; of the used ring: flags, idx, ring[size] of two 32-bit words, avail_event. */
enum { RING_FLAGS = 0, RING_IDX = 1, RING_AT = 2 };

static uint64_t avail_bytes(const struct virtq *q) { return 2 * (3 + (uint64_t)q->size); }
static uint64_t used_bytes(const struct virtq *q) { return 6 + 8 * (uint64_t)q->size; }

void virtq_reset(struct virtq *q)
{
	*q = (struct virtq){ .max = q->max };
}

int virtq_start(struct virtq *q, const struct guest_mem *mem, bool event_idx, bool indirect, struct err *e)
{
	if (!q->size || q->size > q->max || q->size & (q->size - 1))
		return err_set(e, EINVAL, "queue size %u", q->size);
	if (q->desc & 15 || q->driver & 1 || q->device & 3)
		return err_set(e, EINVAL, "queue addresses are not aligned");
	void *d = guest_ptr(mem, q->desc, 16 * (uint64_t)q->size), *a = guest_ptr(mem, q->driver, avail_bytes(q)), *u = guest_ptr(mem, q->device, used_bytes(q));
	if (!d || !a || !u)
		return err_set(e, EINVAL, "%s outside of memory", !d ? "descriptor table" : !a ? "available ring" : "used ring");
	q->mem = mem;
	q->desc_at = d;
	q->avail_at = a;
	q->used_at = u;
	q->event_idx = event_idx;
	q->indirect = indirect;
	q->running = true;
	return 0;
}

int virtq_pending(const struct virtq *q)
{
	if (!q->running)
		return 0;
	uint16_t n = (uint16_t)(q->avail_at[RING_IDX] - q->next_avail);
	atomic_thread_fence(memory_order_acquire); /* the entries were written before the index */
	return n > q->size ? -EBADMSG : n;
}

/* A descriptor as it was at one moment. */
struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };

static struct desc desc_read(const volatile uint64_t *table, unsigned i)
{
	uint64_t a = table[2 * i], b = table[2 * i + 1];
	return (struct desc){ a, (uint32_t)b, (uint16_t)(b >> 32), (uint16_t)(b >> 48) };
}

/* A buffer of the chain; readable ones come before writable ones (2.7.4.2). */
static int chain_add(struct virtq_chain *c, const struct guest_mem *mem, const struct desc *d, struct err *e)
{
	bool in = d->flags & VRING_DESC_F_WRITE;
	if (!in && c->n_in)
		return err_set(e, EBADMSG, "readable descriptor after a writable one");
	if (!d->len)
		return 0;
	void *p = guest_ptr(mem, d->addr, d->len);
	if (!p)
		return err_set(e, EBADMSG, "descriptor %#llx+%u outside of memory", (unsigned long long)d->addr, d->len);
	uint32_t *sum = in ? &c->in_len : &c->out_len;
	if (__builtin_add_overflow(*sum, d->len, sum))
		return err_set(e, EBADMSG, "chain longer than 4 GiB"); /* 2.7.4.2 forbids it; lengths fit 32 bits from here on */
	c->iov[c->n_out + c->n_in] = (struct iovec){ p, d->len };
	*(in ? &c->n_in : &c->n_out) += 1;
	return 0;
}

/* Walk a table of n entries from `at`. *count is what the whole chain used; an indirect descriptor is handed back in *ret_indirect. */
static int walk(struct virtq *q, const volatile uint64_t *table, unsigned n, unsigned at, bool nested, struct virtq_chain *c, unsigned *count, struct desc *ret_indirect,
	struct err *e)
{
	for (;;) {
		if (at >= n)
			return err_set(e, EBADMSG, "descriptor index %u of %u", at, n);
		if ((*count)++ == VIRTQ_CHAIN_MAX)
			return err_set(e, EBADMSG, "descriptors run in a circle");
		struct desc d = desc_read(table, at);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (nested || !q->indirect || d.flags & VRING_DESC_F_NEXT)
				return err_set(e, EBADMSG, "indirect descriptor where there may be none");
			*ret_indirect = d;
			return 1;
		}
		int r = chain_add(c, q->mem, &d, e);
		if (r < 0)
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		at = d.next;
	}
}

static int chain_read(struct virtq *q, struct virtq_chain *c, struct err *e)
{
	struct desc d;
	unsigned count = 0;
	int r = walk(q, q->desc_at, q->size, c->head, false, c, &count, &d, e);
	if (r <= 0)
		return r;
	unsigned n = d.len / 16;
	const void *table = guest_ptr(q->mem, d.addr, d.len);
	if (!table || d.len % 16 || n > VIRTQ_CHAIN_MAX)
		return err_set(e, EBADMSG, "indirect table %#llx+%u", (unsigned long long)d.addr, d.len);
	if ((uintptr_t)table & 7) {
		/* The standard asks for no alignment (2.7.5.3): copy. */
		uint64_t copy[2 * VIRTQ_CHAIN_MAX];
		memcpy(copy, table, d.len);
		return walk(q, copy, n, 0, true, c, &count, &d, e);
	}
	return walk(q, table, n, 0, true, c, &count, &d, e);
}

/* Ask for a notification of the next chain. True when one came meanwhile. */
static bool rearm(struct virtq *q)
{
	if (!q->event_idx)
		return false;
	volatile uint16_t *avail_event = q->used_at + RING_AT + 4 * q->size;
	*avail_event = q->next_avail;
	atomic_thread_fence(memory_order_seq_cst); /* the driver writes idx, then reads avail_event; we the other way round (2.7.10) */
	return q->avail_at[RING_IDX] != q->next_avail;
}

int virtq_pop(struct virtq *q, struct virtq_chain *ret, struct err *e)
{
	int n = virtq_pending(q);
	if (n == 0 && (!q->running || !rearm(q) || (n = virtq_pending(q)) == 0))
		return 0;
	if (n < 0)
		return err_set(e, EBADMSG, "available index runs ahead of the ring");
	ret->head = q->avail_at[RING_AT + (q->next_avail & (q->size - 1))];
	ret->n_out = ret->n_in = 0;
	ret->out_len = ret->in_len = 0;
	int r = chain_read(q, ret, e);
	if (r < 0)
		return r;
	q->next_avail++;
	return 1;
}

void virtq_unpop(struct virtq *q)
{
	q->next_avail--;
}

void virtq_fill(struct virtq *q, unsigned i, uint16_t head, uint32_t written)
{
	if (!q->running)
		return;
	volatile uint32_t *elem = (volatile uint32_t *)(q->used_at + RING_AT) + 2 * ((q->next_used + i) & (q->size - 1U));
	elem[0] = head;
	elem[1] = written;
}

void virtq_publish(struct virtq *q, unsigned n)
{
	if (!q->running)
		return;
	atomic_thread_fence(memory_order_release); /* data and entries before the index */
	q->next_used = (uint16_t)(q->next_used + n);
	q->used_at[RING_IDX] = q->next_used;
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t written)
{
	virtq_fill(q, 0, head, written);
	virtq_publish(q, 1);
}

bool virtq_wants_interrupt(struct virtq *q)
{
	if (!q->running)
		return false;
	uint16_t old = q->signalled, new = q->next_used;
	bool valid = q->signalled_valid;
	if (valid && old == new)
		return false; /* nothing was pushed */
	if (!valid && !new)
		return false;
	atomic_thread_fence(memory_order_seq_cst); /* the driver writes used_event or flags, then reads idx */
	q->signalled = new;
	q->signalled_valid = true;
	if (!q->event_idx)
		return !(q->avail_at[RING_FLAGS] & VRING_AVAIL_F_NO_INTERRUPT);
	return !valid || vring_need_event(q->avail_at[RING_AT + q->size], new, old);
}
