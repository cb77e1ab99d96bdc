/* virtio-rng (virtio 1.2, section 5.4). */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/random.h>

#include "tier/vm/virtio/devices.h"
#include "tier/vm/virtio/throttle.h"

enum { ANSWER_MAX = 4096 /* of one request; less than asked for is allowed (5.4.6.1) */ };

struct rng {
	struct virtio_device d;
	struct throttle throttle;
};

static struct rng *rng_of(struct virtio_device *d) { return (struct rng *)d; }

static void kick(struct virtio_device *d, unsigned queue)
{
	struct rng *g = rng_of(d);
	struct virtq_chain c;
	while (virtio_pop(d, queue, &c)) {
		uint8_t bytes[ANSWER_MAX];
		size_t n = MIN(c.in_len, (uint32_t)sizeof bytes);
		if (!throttle_pass(&g->throttle, n)) {
			virtq_unpop(&d->queue[queue]);
			break;
		}
		ssize_t k = getrandom(bytes, n, GRND_NONBLOCK);
		virtio_push(d, queue, c.head, k > 0 ? (uint32_t)iov_write(CHAIN_IN(&c), 0, bytes, (size_t)k) : 0);
		explicit_bzero(bytes, n);
	}
	virtio_signal(d, queue);
}

static void stop(struct virtio_device *d)
{
	throttle_stop(&rng_of(d)->throttle);
}

static void rng_free(struct virtio_device *d)
{
	throttle_free(&rng_of(d)->throttle);
	free(d);
}

static const struct virtio_ops ops = { .name = "rng", .id = VIRTIO_ID_RNG, .reset = stop, .kick = kick, .quiesce = stop, .free = rng_free };

int virtio_rng_new(const struct virtio_host *h, unsigned slot, const struct limiter_config *limit, struct virtio_device **ret, struct err *e)
{
	static const struct limiter_config none;
	_cleanup_free_ struct rng *g = calloc(1, sizeof *g);
	if (!g)
		return err_set(e, ENOMEM, "rng");
	virtio_device_init(&g->d, &ops, h, slot, 1, 0);
	int r = throttle_init(&g->throttle, &g->d, 0, limit ? limit : &none, e);
	if (r < 0)
		return r;
	*ret = &TAKE(g)->d;
	return 0;
}
