/* Registers of virtio-mmio. */
#include "tier/vm/virtio/mmio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <string.h>

#include "tier/vm/virtio/life.h"

enum { MAGIC = 0x74726976 /* "virt" */, VENDOR = 0x43524554 /* "TERC" */ };
_Static_assert(VIRTIO_MMIO_NOTIFY == VIRTIO_MMIO_QUEUE_NOTIFY, "4.2.2");

static struct virtq *selected(struct virtio_device *d)
{
	return d->queue_sel < d->n_queues ? &d->queue[d->queue_sel] : NULL;
}

static uint32_t features_word(const struct virtio_device *d)
{
	return d->device_features_sel < 2 ? (uint32_t)(d->features >> 32 * d->device_features_sel) : 0;
}

static uint32_t read_register(struct virtio_device *d, uint64_t offset)
{
	const struct virtq *q = selected(d);
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE: return MAGIC;
	case VIRTIO_MMIO_VERSION: return 2;
	case VIRTIO_MMIO_DEVICE_ID: return d->ops->id;
	case VIRTIO_MMIO_VENDOR_ID: return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES: return features_word(d);
	case VIRTIO_MMIO_QUEUE_NUM_MAX: return q ? q->max : 0;
	case VIRTIO_MMIO_QUEUE_READY: return q ? q->ready : 0;
	case VIRTIO_MMIO_STATUS: return d->status;
	case VIRTIO_MMIO_SHM_LEN_LOW: case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW: case VIRTIO_MMIO_SHM_BASE_HIGH: return UINT32_MAX; /* no shared memory regions (4.2.2.1) */
	default: return 0;
	}
}

static void config_read(struct virtio_device *d, uint64_t offset, unsigned len, void *data)
{
	if (offset >= d->config_len || len > d->config_len - offset)
		return;
	if (d->ops->config_read)
		d->ops->config_read(d, (uint32_t)offset, len, data);
	else
		memcpy(data, d->config + offset, len);
}

void virtio_mmio_read(struct virtio_device *d, uint64_t offset, unsigned len, void *data)
{
	uint32_t v;
	memset(data, 0, len);
	/* What interrupt handlers read does not wait for the lock. */
	if (offset == VIRTIO_MMIO_INTERRUPT_STATUS && len == 4) {
		v = atomic_load(&d->isr);
		memcpy(data, &v, 4);
		return;
	}
	if (offset == VIRTIO_MMIO_CONFIG_GENERATION && len == 4) {
		v = atomic_load(&d->generation);
		memcpy(data, &v, 4);
		return;
	}
	virtio_lock(d);
	if (offset >= VIRTIO_MMIO_CONFIG)
		config_read(d, offset - VIRTIO_MMIO_CONFIG, len, data);
	else if (len == 4) {
		v = read_register(d, offset);
		memcpy(data, &v, 4);
	}
	virtio_unlock(d);
}

/* The status register: bits are only added (2.1.1), FEATURES_OK only sticks when we can live with what was accepted (3.1.1, step 5). */
static bool write_status(struct virtio_device *d, uint32_t v)
{
	if (!v) {
		life_stop(d);
		return true;
	}
	uint32_t fresh = v & ~d->status & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED);
	if (fresh & VIRTIO_CONFIG_S_FEATURES_OK && (d->acked & ~d->features || !virtio_acked(d, VIRTIO_F_VERSION_1)))
		fresh &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
	d->status |= fresh;
	if (!(fresh & VIRTIO_CONFIG_S_DRIVER_OK))
		return false;
	if (!(d->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		virtio_fault(d, "DRIVER_OK without FEATURES_OK");
		return false;
	}
	d->want_activate = true;
	return true;
}

static void set_half(uint64_t *v, bool high, uint32_t half)
{
	*v = high ? (*v & UINT32_MAX) | (uint64_t)half << 32 : (*v & ~(uint64_t)UINT32_MAX) | half;
}

/* Registers of the selected queue; its place is fixed once it is ready. */
static void write_queue(struct virtio_device *d, uint64_t offset, uint32_t v)
{
	struct virtq *q = selected(d);
	if (!q)
		return;
	if (offset == VIRTIO_MMIO_QUEUE_READY) {
		q->ready = v & 1;
		if (!q->ready)
			q->running = false;
		return;
	}
	if (q->ready || d->active)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM: q->size = v <= q->max ? (uint16_t)v : 0; break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW: case VIRTIO_MMIO_QUEUE_DESC_HIGH: set_half(&q->desc, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, v); break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW: case VIRTIO_MMIO_QUEUE_AVAIL_HIGH: set_half(&q->driver, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, v); break;
	case VIRTIO_MMIO_QUEUE_USED_LOW: case VIRTIO_MMIO_QUEUE_USED_HIGH: set_half(&q->device, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, v); break;
	default: break;
	}
}

/* True when the device thread has something to do. */
static bool write_register(struct virtio_device *d, uint64_t offset, uint32_t v)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL: d->device_features_sel = v; return false;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL: d->driver_features_sel = v; return false;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (!(d->status & VIRTIO_CONFIG_S_FEATURES_OK) && d->driver_features_sel < 2)
			set_half(&d->acked, d->driver_features_sel == 1, v);
		return false;
	case VIRTIO_MMIO_QUEUE_SEL: d->queue_sel = v; return false;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		if (v < d->n_queues)
			d->want_kick |= 1U << v;
		return v < d->n_queues;
	case VIRTIO_MMIO_STATUS: return write_status(d, v);
	default: write_queue(d, offset, v); return false;
	}
}

void virtio_mmio_write(struct virtio_device *d, uint64_t offset, unsigned len, const void *data)
{
	uint32_t v = 0;
	bool work = false;
	if (offset < VIRTIO_MMIO_CONFIG && len != 4)
		return;
	if (offset == VIRTIO_MMIO_INTERRUPT_ACK) {
		memcpy(&v, data, 4);
		atomic_fetch_and(&d->isr, ~v);
		return;
	}
	virtio_lock(d);
	if (offset < VIRTIO_MMIO_CONFIG) {
		memcpy(&v, data, 4);
		work = write_register(d, offset, v);
	} else if (d->ops->config_write && offset - VIRTIO_MMIO_CONFIG < d->config_len && len <= d->config_len - (offset - VIRTIO_MMIO_CONFIG))
		d->ops->config_write(d, (uint32_t)(offset - VIRTIO_MMIO_CONFIG), len, data);
	virtio_unlock(d);
	if (work)
		d->host->poke(d->host->arg, d->slot);
}
