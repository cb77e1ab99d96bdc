/* The life of a virtio device. */
#include "tier/vm/virtio/device.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>

#include "tier/vm/virtio/life.h"

void virtio_lock(struct virtio_device *d)
{
	pthread_mutex_lock(&d->lock);
	d->budget = VIRTIO_BUDGET;
}

void virtio_unlock(struct virtio_device *d) { pthread_mutex_unlock(&d->lock); }

void virtio_device_init(struct virtio_device *d, const struct virtio_ops *ops, const struct virtio_host *host, unsigned slot, unsigned n_queues, uint64_t features)
{
	d->ops = ops;
	d->host = host;
	d->slot = slot;
	pthread_mutex_init(&d->lock, NULL);
	d->features = features | 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_EVENT_IDX | 1ULL << VIRTIO_RING_F_INDIRECT_DESC;
	d->n_queues = MIN(n_queues, (unsigned)VIRTIO_QUEUES_MAX);
	for (unsigned i = 0; i < d->n_queues; i++)
		d->queue[i].max = VIRTQ_SIZE_MAX;
}

void virtio_device_free(struct virtio_device *d)
{
	if (!d)
		return;
	life_reset(d);
	pthread_mutex_destroy(&d->lock);
	d->ops->free(d);
}

static void raise_line(struct virtio_device *d, uint32_t why)
{
	atomic_fetch_or(&d->isr, why);
	d->host->interrupt(d->host->arg, d->slot);
}

void virtio_signal(struct virtio_device *d, unsigned queue)
{
	if (virtq_wants_interrupt(&d->queue[queue]))
		raise_line(d, VIRTIO_MMIO_INT_VRING);
}

void virtio_config_changed(struct virtio_device *d)
{
	atomic_fetch_add(&d->generation, 1);
	if (d->active)
		raise_line(d, VIRTIO_MMIO_INT_CONFIG);
}

static void PRINTF(3, 0) break_device(struct virtio_device *d, const char *who, const char *fmt, va_list ap)
{
	char text[160], line[256];
	if (d->broken)
		return;
	d->broken = true;
	d->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	if (d->faults < VIRTIO_FAULT_LINES) {
		d->faults++;
		vsnprintf(text, sizeof text, fmt, ap);
		snprintf(line, sizeof line, "%s %u: %s%s", d->ops->name, d->slot, who, text);
		d->host->log(d->host->arg, line);
	}
	if (d->status & VIRTIO_CONFIG_S_DRIVER_OK) /* 2.1.2: only then is the driver told */
		raise_line(d, VIRTIO_MMIO_INT_CONFIG);
}

void virtio_fault(struct virtio_device *d, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	break_device(d, "the guest's driver broke the rules: ", fmt, ap);
	va_end(ap);
}

void virtio_fail(struct virtio_device *d, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	break_device(d, "", fmt, ap);
	va_end(ap);
}

bool virtio_pop(struct virtio_device *d, unsigned queue, struct virtq_chain *ret)
{
	_cleanup_err_ struct err e = ERR_INIT;
	if (!virtio_working(d))
		return false;
	if (!d->budget) {
		d->want_kick |= 1U << queue;
		d->host->poke(d->host->arg, d->slot);
		return false;
	}
	d->budget--;
	int r = virtq_pop(&d->queue[queue], ret, &e);
	if (r < 0)
		virtio_fault(d, "queue %u: %s", queue, err_msg(&e));
	return r > 0;
}

void virtio_push(struct virtio_device *d, unsigned queue, uint16_t head, uint32_t written)
{
	virtq_push(&d->queue[queue], head, written);
}

/* ---- moves ---- */

void life_stop(struct virtio_device *d)
{
	d->active = d->broken = d->want_activate = d->restored = false;
	d->want_reset = true;
	d->want_kick = 0;
	for (unsigned i = 0; i < d->n_queues; i++)
		virtq_reset(&d->queue[i]);
	d->acked = 0;
	d->status = 0;
	d->device_features_sel = d->driver_features_sel = d->queue_sel = 0;
	atomic_store(&d->isr, 0);
	if (d->ops->reset_config)
		d->ops->reset_config(d);
}

static void reset_own(struct virtio_device *d)
{
	d->want_reset = false;
	if (d->ops->reset)
		d->ops->reset(d);
}

void life_reset(struct virtio_device *d)
{
	life_stop(d);
	reset_own(d);
}

int life_start_queues(struct virtio_device *d, struct err *e)
{
	for (unsigned i = 0; i < d->n_queues; i++) {
		struct virtq *q = &d->queue[i];
		int r = q->ready ? virtq_start(q, d->host->mem, virtio_acked(d, VIRTIO_RING_F_EVENT_IDX), virtio_acked(d, VIRTIO_RING_F_INDIRECT_DESC), e) : 0;
		if (r < 0)
			return err_wrap(e, r, "queue %u", i);
	}
	return 0;
}

/* Chains may have been made available before DRIVER_OK, or before a snapshot: look at every queue once. */
static void kick_all(struct virtio_device *d)
{
	for (unsigned i = 0; i < d->n_queues && virtio_working(d); i++)
		if (d->queue[i].running && d->ops->kick)
			d->ops->kick(d, i);
}

static void activate(struct virtio_device *d)
{
	_cleanup_err_ struct err e = ERR_INIT;
	if (life_start_queues(d, &e) < 0) {
		virtio_fault(d, "%s", err_msg(&e));
		return;
	}
	if (d->ops->activate && d->ops->activate(d, &e) < 0) {
		virtio_fail(d, "%s", err_msg(&e));
		return;
	}
	d->active = true;
	kick_all(d);
}

/* Notes of processor threads first: a notification by ioeventfd may overtake the poke that announces DRIVER_OK. */
static void notes(struct virtio_device *d)
{
	if (d->want_reset)
		reset_own(d);
	if (d->want_activate && !d->active && !d->broken && !d->quiesced) {
		d->want_activate = false;
		activate(d);
	}
	if (d->quiesced)
		return;
	uint32_t kicked = d->want_kick;
	d->want_kick = 0; /* a kick whose turn is used up notes itself again */
	for (unsigned i = 0; kicked && i < d->n_queues; i++)
		if (kicked >> i & 1 && virtio_working(d) && d->queue[i].running && d->ops->kick)
			d->ops->kick(d, i);
}

void virtio_device_run(struct virtio_device *d)
{
	virtio_lock(d);
	notes(d);
	virtio_unlock(d);
}

void virtio_device_kick(struct virtio_device *d, unsigned queue)
{
	virtio_lock(d);
	if (queue < d->n_queues)
		d->want_kick |= 1U << queue;
	notes(d);
	virtio_unlock(d);
}

void virtio_device_quiesce(struct virtio_device *d)
{
	virtio_lock(d);
	if (d->want_reset)
		reset_own(d);
	if (!d->quiesced && d->ops->quiesce && d->active)
		d->ops->quiesce(d);
	d->quiesced = true;
	virtio_unlock(d);
}

void virtio_device_resume(struct virtio_device *d)
{
	virtio_lock(d);
	if (d->quiesced) {
		d->quiesced = false;
		if (d->active && d->ops->resume)
			d->ops->resume(d);
		if (d->active)
			kick_all(d);
		notes(d);
	}
	virtio_unlock(d);
}
