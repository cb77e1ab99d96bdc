/* Token buckets. */
#include "tier/vm/virtio/limiter.h"

#include <errno.h>

#include "base/macro.h"

static int bucket_init(struct bucket *b, const struct bucket_config *c, uint64_t now_ns)
{
	if (c->size > LIMITER_TOKENS_MAX || c->burst > LIMITER_TOKENS_MAX || c->refill_ms > LIMITER_REFILL_MAX_MS || (c->size && !c->refill_ms) || (!c->size && c->burst))
		return -EINVAL;
	*b = (struct bucket){ *c, (int64_t)c->size, c->burst, now_ns };
	return 0;
}

int limiter_init(struct limiter *l, const struct limiter_config *c, uint64_t now_ns)
{
	int r = bucket_init(&l->bytes, &c->bytes, now_ns);
	return r < 0 ? r : bucket_init(&l->ops, &c->ops, now_ns);
}

bool limiter_limits(const struct limiter *l)
{
	return l->bytes.c.size || l->ops.c.size;
}

static void refill(struct bucket *b, uint64_t now_ns)
{
	uint64_t whole = b->c.refill_ms * 1000000, dt = now_ns > b->last_ns ? now_ns - b->last_ns : 0;
	/* 2^40 tokens times an hour in ns passes 64 bits; what is gained in one step is what tokens are counted in. */
	uint64_t gain = (uint64_t)((unsigned __int128)b->c.size * dt / whole);
	if (!gain)
		return; /* the time is kept until it makes a token */
	if ((int64_t)b->c.size - b->level <= (int64_t)MIN(gain, (uint64_t)INT64_MAX)) {
		b->level = (int64_t)b->c.size;
		b->last_ns = now_ns;
		return;
	}
	b->level += (int64_t)gain;
	b->last_ns += (uint64_t)((unsigned __int128)gain * whole / b->c.size);
}

/* Nanoseconds until the bucket is above zero; 0 when it is. */
static uint64_t wait_of(struct bucket *b, uint64_t now_ns)
{
	if (!b->c.size || b->burst)
		return 0;
	refill(b, now_ns);
	if (b->level > 0)
		return 0;
	uint64_t missing = (uint64_t)(1 - b->level), whole = b->c.refill_ms * 1000000;
	uint64_t due = b->last_ns + (uint64_t)(((unsigned __int128)missing * whole + b->c.size - 1) / b->c.size);
	return due > now_ns ? due - now_ns : 1;
}

static void take(struct bucket *b, uint64_t n)
{
	if (!b->c.size)
		return;
	n = MIN(n, (uint64_t)LIMITER_TOKENS_MAX);
	uint64_t from_burst = MIN(n, b->burst);
	b->burst -= from_burst;
	b->level -= (int64_t)(n - from_burst);
}

bool limiter_take(struct limiter *l, uint64_t n, uint64_t now_ns, uint64_t *ret_wait_ns)
{
	uint64_t a = wait_of(&l->bytes, now_ns), b = wait_of(&l->ops, now_ns);
	if (a || b) {
		*ret_wait_ns = MAX(a, b);
		return false;
	}
	take(&l->bytes, n);
	take(&l->ops, 1);
	return true;
}
