/* A device's rate limiter with the timer that wakes it up. */
#ifndef TIERCE_TIER_VM_VIRTIO_THROTTLE_H
#define TIERCE_TIER_VM_VIRTIO_THROTTLE_H

#include "tier/vm/virtio/device.h"
#include "tier/vm/virtio/limiter.h"

struct throttle {
	struct limiter limiter;
	struct virtio_device *device;
	unsigned queue;      /* kicked when it goes on */
	int fd;              /* timerfd; -EBADF without a limit */
	bool waiting;
};

int throttle_init(struct throttle *t, struct virtio_device *d, unsigned queue, const struct limiter_config *c, struct err *e) MUST_CHECK;
void throttle_free(struct throttle *t);
/* May n bytes go now? If not, the queue is kicked when they may. */
bool throttle_pass(struct throttle *t, uint64_t n);
/* Forget a wait (reset, quiesce); whoever goes on asks again. */
void throttle_stop(struct throttle *t);

#endif
