/* Rate limiter: token buckets for bytes and for operations. Pure: the caller brings the time. */
#ifndef TIERCE_TIER_VM_VIRTIO_LIMITER_H
#define TIERCE_TIER_VM_VIRTIO_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

/* A bucket of `size` tokens that refills wholly, and evenly, in refill_ms; `burst` more tokens once. size 0: no limit. */
struct bucket_config { uint64_t size, burst, refill_ms; };
struct limiter_config { struct bucket_config bytes, ops; };

struct bucket {
	struct bucket_config c;
	int64_t level;      /* below zero after something larger than what was left: paid back before the next */
	uint64_t burst;     /* left of it */
	uint64_t last_ns;
};
struct limiter { struct bucket bytes, ops; };

enum { LIMITER_TOKENS_MAX = 1ULL << 40, LIMITER_REFILL_MAX_MS = 3600 * 1000 }; /* so that no product overflows */

/* -EINVAL for values outside of the limits or a size without a refill time. */
int limiter_init(struct limiter *l, const struct limiter_config *c, uint64_t now_ns);
bool limiter_limits(const struct limiter *l);
/* Take one operation of n bytes: true, or false and *ret_wait_ns until it is worth asking again. Nothing is taken then. */
bool limiter_take(struct limiter *l, uint64_t n, uint64_t now_ns, uint64_t *ret_wait_ns);

#endif
