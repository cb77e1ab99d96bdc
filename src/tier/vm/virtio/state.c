/* A device in a snapshot. The bytes come from a file: whatever they say is checked against what the device offers and where memory is. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>

#include "tier/vm/virtio/life.h"

enum { STATE_MAGIC = 0x4f495654 /* "TVIO" */, STATE_VERSION = 1 };

/* Little-endian as everything here; no padding. */
struct state_head {
	uint32_t magic, version, id, n_queues;
	uint64_t features, acked;
	uint32_t status, isr, generation, flags;
	uint32_t device_features_sel, driver_features_sel, queue_sel, own_len;
};
enum { FLAG_ACTIVE = 1, FLAG_BROKEN = 2, FLAG_ACTIVATE = 4, FLAGS_ALL = 7 };
struct state_queue {
	uint64_t desc, driver, device;
	uint16_t size, next_avail, next_used, signalled;
	uint32_t flags, zero;
};
enum { QUEUE_READY = 1, QUEUE_SIGNALLED = 2, QUEUE_FLAGS_ALL = 3 };
_Static_assert(sizeof(struct state_head) == 64 && sizeof(struct state_queue) == 40, "no padding in the file");

int virtio_device_save(struct virtio_device *d, struct strbuf *out)
{
	_cleanup_strbuf_ struct strbuf own = STRBUF_INIT;
	int r = 0;
	virtio_lock(d);
	if (!d->quiesced)
		r = -EBUSY;
	else if (d->ops->save)
		r = d->ops->save(d, &own);
	if (r >= 0) {
		struct state_head h = { STATE_MAGIC, STATE_VERSION, d->ops->id, d->n_queues, d->features, d->acked, d->status, atomic_load(&d->isr), atomic_load(&d->generation),
			(d->active ? FLAG_ACTIVE : 0) | (d->broken ? FLAG_BROKEN : 0) | (d->want_activate ? FLAG_ACTIVATE : 0),
			d->device_features_sel, d->driver_features_sel, d->queue_sel, (uint32_t)own.len };
		strbuf_add(out, &h, sizeof h);
		for (unsigned i = 0; i < d->n_queues; i++) {
			const struct virtq *q = &d->queue[i];
			struct state_queue s = { q->desc, q->driver, q->device, q->size, q->next_avail, q->next_used, q->signalled,
				(q->ready ? QUEUE_READY : 0) | (q->signalled_valid ? QUEUE_SIGNALLED : 0), 0 };
			strbuf_add(out, &s, sizeof s);
		}
		strbuf_add(out, own.s, own.len);
		r = out->failed || own.failed ? -ENOMEM : 0;
	}
	virtio_unlock(d);
	return r;
}

static int check_head(const struct virtio_device *d, const struct state_head *h, size_t n, struct err *e)
{
	if (h->magic != STATE_MAGIC || h->version != STATE_VERSION)
		return err_set(e, EBADMSG, "no device state of version %d", STATE_VERSION);
	if (h->id != d->ops->id || h->n_queues != d->n_queues)
		return err_set(e, EBADMSG, "state of another device (kind %u with %u queues)", h->id, h->n_queues);
	if (h->features != d->features || h->acked & ~d->features)
		return err_set(e, EBADMSG, "features %#llx, ours are %#llx", (unsigned long long)h->features, (unsigned long long)d->features);
	if (h->flags & ~(uint32_t)FLAGS_ALL || h->status > 0xff || h->isr > 3)
		return err_set(e, EBADMSG, "impossible flags");
	bool ready = (h->status & VIRTIO_CONFIG_S_FEATURES_OK) && (h->status & VIRTIO_CONFIG_S_DRIVER_OK) && h->acked >> VIRTIO_F_VERSION_1 & 1;
	if (h->flags & (FLAG_ACTIVE | FLAG_ACTIVATE) && !ready)
		return err_set(e, EBADMSG, "active without a driver");
	if (h->own_len > VIRTIO_DEVICE_STATE_MAX || n != sizeof *h + h->n_queues * sizeof(struct state_queue) + h->own_len)
		return err_set(e, EBADMSG, "%zu bytes of state do not fit together", n);
	return 0;
}

static int restore_queue(struct virtq *q, const struct state_queue *s, struct err *e)
{
	if (s->size > q->max || s->flags & ~(uint32_t)QUEUE_FLAGS_ALL || s->zero)
		return err_set(e, EBADMSG, "impossible queue");
	q->desc = s->desc;
	q->driver = s->driver;
	q->device = s->device;
	q->size = s->size;
	q->next_avail = s->next_avail;
	q->next_used = s->next_used;
	q->signalled = s->signalled;
	q->ready = s->flags & QUEUE_READY;
	q->signalled_valid = s->flags & QUEUE_SIGNALLED;
	return 0;
}

static int restore(struct virtio_device *d, const uint8_t *p, size_t n, struct err *e)
{
	struct state_head h;
	if (n < sizeof h)
		return err_set(e, EBADMSG, "device state is cut off");
	memcpy(&h, p, sizeof h);
	int r = check_head(d, &h, n, e);
	if (r < 0)
		return r;
	life_reset(d);
	p += sizeof h;
	for (unsigned i = 0; i < d->n_queues; i++, p += sizeof(struct state_queue)) {
		struct state_queue s;
		memcpy(&s, p, sizeof s);
		r = restore_queue(&d->queue[i], &s, e);
		if (r < 0)
			return r;
	}
	d->acked = h.acked;
	d->status = h.status;
	d->broken = h.flags & FLAG_BROKEN;
	d->want_activate = h.flags & FLAG_ACTIVATE;
	d->device_features_sel = h.device_features_sel;
	d->driver_features_sel = h.driver_features_sel;
	d->queue_sel = h.queue_sel;
	atomic_store(&d->generation, h.generation);
	if (h.flags & FLAG_ACTIVE && life_start_queues(d, e) < 0)
		return -EBADMSG;
	if (h.own_len && !d->ops->restore)
		return err_set(e, EBADMSG, "%u bytes of state for a device that has none", h.own_len);
	r = d->ops->restore ? d->ops->restore(d, p, h.own_len, e) : 0;
	if (r < 0)
		return r;
	if (h.flags & FLAG_ACTIVE) {
		d->restored = true;
		r = d->ops->activate ? d->ops->activate(d, e) : 0;
		if (r < 0)
			return r;
		d->active = true;
		if (d->ops->quiesce)
			d->ops->quiesce(d);
	}
	atomic_store(&d->isr, h.isr);
	return 0;
}

int virtio_device_restore(struct virtio_device *d, const void *bytes, size_t n, struct err *e)
{
	virtio_lock(d);
	int r = restore(d, bytes, n, e);
	if (r < 0) {
		life_reset(d);
		err_wrap(e, r, "%s %u", d->ops->name, d->slot);
		r = -EBADMSG;
	}
	d->quiesced = true;
	virtio_unlock(d);
	return r;
}
