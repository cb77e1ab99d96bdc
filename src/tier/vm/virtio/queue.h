/* Split virtqueues (virtio 1.2, section 2.7), device side, with indirect descriptors and EVENT_IDX.
 *
 * Rings and descriptors lie in guest memory and change under our hands: each field is read once. A chain is taken apart and checked whole before
 * anybody sees a byte of it; what comes out are buffers that lie in guest memory, readable ones first. */
#ifndef TIERCE_TIER_VM_VIRTIO_QUEUE_H
#define TIERCE_TIER_VM_VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"
#include "tier/vm/virtio/mem.h"

enum {
	VIRTQ_SIZE_MAX = 256,              /* what we offer; a power of two */
	VIRTQ_CHAIN_MAX = VIRTQ_SIZE_MAX,  /* descriptors of one chain, indirect ones too: more would be a loop or a lie (2.7.5.3.1) */
};

struct virtq {
	/* As the driver set it up. */
	uint16_t max, size;
	bool ready;
	uint64_t desc, driver, device;     /* guest-physical: descriptor table, available ring, used ring */
	/* Running. */
	bool running, event_idx, indirect;
	const struct guest_mem *mem;
	volatile uint64_t *desc_at;        /* two words per descriptor */
	volatile uint16_t *avail_at, *used_at;
	uint16_t next_avail, next_used;
	uint16_t signalled;                /* next_used at the last interrupt */
	bool signalled_valid;
};

/* A chain that the driver made available. iov: n_out buffers that the device reads, then n_in that it writes; none is empty. */
struct virtq_chain {
	uint16_t head;
	unsigned n_out, n_in;
	uint32_t out_len, in_len;
	struct iovec iov[VIRTQ_CHAIN_MAX];
};
#define CHAIN_OUT(c) ((c)->iov), ((c)->n_out)
#define CHAIN_IN(c) ((c)->iov + (c)->n_out), ((c)->n_in)

/* Check size and addresses and begin; -EINVAL with what is wrong. Indices are kept (virtq_reset zeroes them). */
int virtq_start(struct virtq *q, const struct guest_mem *mem, bool event_idx, bool indirect, struct err *e) MUST_CHECK;
void virtq_reset(struct virtq *q); /* to the state after power-on; max stays */

/* Next available chain: 1, or 0 when there is none (the driver will notify us of the next one), or -EBADMSG when the guest lies. */
int virtq_pop(struct virtq *q, struct virtq_chain *ret, struct err *e) MUST_CHECK;
/* Put back the chain that was popped last, and then those before it, none of them pushed yet: they will be popped again. */
void virtq_unpop(struct virtq *q);
/* How many chains wait; -EBADMSG when the guest lies. */
int virtq_pending(const struct virtq *q);
/* Return a chain with `written` bytes in its writable buffers. */
void virtq_push(struct virtq *q, uint16_t head, uint32_t written);
/* The same in two steps, for chains that the driver has to see all at once: fill number i of the next ones, then publish n. */
void virtq_fill(struct virtq *q, unsigned i, uint16_t head, uint32_t written);
void virtq_publish(struct virtq *q, unsigned n);
/* Does the driver want an interrupt for what was pushed since the last call? */
bool virtq_wants_interrupt(struct virtq *q);

#endif
