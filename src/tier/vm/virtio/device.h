/* What every virtio device has, apart from any transport: features, status, queues, configuration space, life, and its place in a snapshot.
 *
 * Threads and locks. Devices work on the monitor's device thread: it calls virtio_device_kick() and virtio_device_run(), and the host's watch callbacks
 * come there. Processor threads call virtio_mmio_read() and virtio_mmio_write() only. One lock per device, taken inside of these functions and of the watch
 * callbacks, covers all of a device but the interrupt status, which is atomic, so that an interrupt handler in the guest never waits for a disk. Order: a
 * device's lock is the innermost; the host functions below are called with it held and must not call back into the device. A processor thread does no device
 * work: what a register write asks for is left as a note, and the monitor is poked. A reset takes effect at once where guest memory is concerned: the queues
 * stop. What the device itself holds (sockets, timers, requests of others) goes when the device thread comes to it, before anything else of that device. */
#ifndef TIERCE_TIER_VM_VIRTIO_DEVICE_H
#define TIERCE_TIER_VM_VIRTIO_DEVICE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "tier/vm/virtio/iov.h"
#include "tier/vm/virtio/mem.h"
#include "tier/vm/virtio/queue.h"

enum {
	VIRTIO_QUEUES_MAX = 16,
	VIRTIO_FAULT_LINES = 16,       /* a guest may reset and lie again for ever; the log may not grow for ever */
	VIRTIO_DEVICE_STATE_MAX = 1 << 20, /* bytes of a device's own state in a snapshot */
	VIRTIO_BUDGET = 4 * VIRTQ_SIZE_MAX, /* chains per turn: a guest that never stops adding may not keep the device thread from the other devices */
};

/* What a device may ask of the monitor. Functions are called with the device's lock held, watch and unwatch from any thread. */
struct virtio_host {
	void *arg;
	const struct guest_mem *mem;
	/* Call cb(ctx, events) on the device thread while fd is ready, level-triggered. Replaces an earlier watch of the fd. A callback that was under way when
	 * unwatch was called may come once more; devices bear that. 0 or negative errno. */
	int (*watch)(void *arg, int fd, uint32_t epoll_events, void (*cb)(void *ctx, uint32_t events), void *ctx);
	void (*unwatch)(void *arg, int fd);
	void (*interrupt)(void *arg, unsigned slot);  /* raise the device's line (an edge) */
	void (*poke)(void *arg, unsigned slot);       /* have the device thread call virtio_device_run() soon; from any thread */
	void (*log)(void *arg, const char *line);     /* what the guest did wrong, one line */
};

struct virtio_device;

/* A kind of device. All run on the device thread with the lock held, except those on the configuration space (any thread, lock held). NULL: nothing to do. */
struct virtio_ops {
	const char *name;
	uint32_t id;                                               /* virtio 1.2, section 5 */
	int (*activate)(struct virtio_device *d, struct err *e);   /* DRIVER_OK; features are settled and queues run */
	void (*reset)(struct virtio_device *d);                    /* forget the driver: what is in flight, watches, timers; the queues are reset already. Also before free */
	void (*reset_config)(struct virtio_device *d);             /* the driver's fields of the configuration space, at once; any thread, memory only */
	void (*kick)(struct virtio_device *d, unsigned queue);     /* chains may be available; only while active */
	void (*config_read)(struct virtio_device *d, uint32_t offset, uint32_t len, void *data);        /* inside config_len; default: from config */
	void (*config_write)(struct virtio_device *d, uint32_t offset, uint32_t len, const void *data); /* inside config_len; default: ignored */
	void (*quiesce)(struct virtio_device *d);                  /* finish or park what is in flight; start nothing until resume */
	void (*resume)(struct virtio_device *d);
	int (*save)(struct virtio_device *d, struct strbuf *out);  /* the device's own state, when quiesced */
	int (*restore)(struct virtio_device *d, const uint8_t *p, size_t n, struct err *e); /* untrusted; before activate, which is told by d->restored */
	void (*free)(struct virtio_device *d);                     /* the whole object */
};

struct virtio_device {
	const struct virtio_ops *ops;
	const struct virtio_host *host;
	unsigned slot;                       /* the monitor's number for it */
	pthread_mutex_t lock;
	uint64_t features, acked;            /* offered, accepted */
	uint32_t status;
	bool active, broken, quiesced, restored;
	bool want_reset, want_activate;      /* notes for the device thread, in this order */
	uint32_t want_kick;                  /* bit per queue */
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	unsigned n_queues, faults, budget;
	struct virtq queue[VIRTIO_QUEUES_MAX];
	uint8_t *config;
	uint32_t config_len;
	_Atomic uint32_t isr, generation;    /* interrupt status, configuration generation */
};

/* ---- for the monitor ---- */

/* Queue was notified (ioeventfd). Device thread. */
void virtio_device_kick(struct virtio_device *d, unsigned queue);
/* Do what register writes asked for. Device thread, after a poke. */
void virtio_device_run(struct virtio_device *d);
/* Stop: nothing is in flight and nothing in guest memory changes until virtio_device_resume(). Device thread. */
void virtio_device_quiesce(struct virtio_device *d);
void virtio_device_resume(struct virtio_device *d);
/* Append the whole state of a quiesced device. 0 or -ENOMEM, -EBUSY when it is not quiesced. */
int virtio_device_save(struct virtio_device *d, struct strbuf *out) MUST_CHECK;
/* Set the state of a new device of the same kind and configuration; guest memory must be there. The device is quiesced afterwards. -EBADMSG and the reason
 * when the bytes are no such state; the device is as new then. */
int virtio_device_restore(struct virtio_device *d, const void *bytes, size_t n, struct err *e) MUST_CHECK;
void virtio_device_free(struct virtio_device *d); /* NULL is fine */

/* ---- for devices ---- */

void virtio_device_init(struct virtio_device *d, const struct virtio_ops *ops, const struct virtio_host *host, unsigned slot, unsigned n_queues, uint64_t features);
static inline bool virtio_acked(const struct virtio_device *d, unsigned bit) { return d->acked >> bit & 1; }
/* Works only: active, not broken, not quiesced. */
static inline bool virtio_working(const struct virtio_device *d) { return d->active && !d->broken && !d->quiesced; }
/* Next chain of a queue: true when there is one. A malformed one breaks the device. False also when the turn is used up; the queue is kicked again then. */
bool virtio_pop(struct virtio_device *d, unsigned queue, struct virtq_chain *ret);
void virtio_push(struct virtio_device *d, unsigned queue, uint16_t head, uint32_t written);
void virtio_signal(struct virtio_device *d, unsigned queue); /* interrupt, if the driver wants one */
void virtio_config_changed(struct virtio_device *d);
/* The guest broke the rules: one line, NEEDS_RESET, and nothing more until the driver resets the device. */
void virtio_fault(struct virtio_device *d, const char *fmt, ...) PRINTF(2, 3);
/* The same end when it is the host that cannot go on. */
void virtio_fail(struct virtio_device *d, const char *fmt, ...) PRINTF(2, 3);
/* For watch callbacks: they come without the lock. Taking it begins a turn. */
void virtio_lock(struct virtio_device *d);
void virtio_unlock(struct virtio_device *d);

#endif
