/* Moves of a device's life that the transport and snapshots share. With the lock held. */
#ifndef TIERCE_TIER_VM_VIRTIO_LIFE_H
#define TIERCE_TIER_VM_VIRTIO_LIFE_H

#include "tier/vm/virtio/device.h"

/* What a reset does at once, on any thread: registers and queues are as after power-on. The device's own part is noted. */
void life_stop(struct virtio_device *d);
/* All of it. Device thread. */
void life_reset(struct virtio_device *d);
/* Start the queues that the driver made ready. */
int life_start_queues(struct virtio_device *d, struct err *e) MUST_CHECK;

#endif
