/* The register file of virtio-mmio, version 2 (virtio 1.2, section 4.2.2): 32-bit registers below 0x100, the configuration space above. */
#ifndef TIERCE_TIER_VM_VIRTIO_MMIO_H
#define TIERCE_TIER_VM_VIRTIO_MMIO_H

#include "tier/vm/virtio/device.h"

enum {
	VIRTIO_MMIO_SIZE = 0x1000,     /* one page per device: configuration spaces are smaller than 0xf00 */
	VIRTIO_MMIO_NOTIFY = 0x50,     /* QueueNotify, for ioeventfds: 4 bytes that hold the queue's number */
};

/* An access of a processor at offset of the device's window. Any offset and width: what is no register reads as zero and writes to nothing. Any thread. */
void virtio_mmio_read(struct virtio_device *d, uint64_t offset, unsigned len, void *data);
void virtio_mmio_write(struct virtio_device *d, uint64_t offset, unsigned len, const void *data);

#endif
