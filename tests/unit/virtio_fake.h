/* A pretended machine around one virtio device: guest memory, a monitor, and a driver that does what Linux' does. For unit tests and fuzz targets. */
#ifndef TIERCE_TESTS_UNIT_VIRTIO_FAKE_H
#define TIERCE_TESTS_UNIT_VIRTIO_FAKE_H

#include "tier/vm/virtio/devices.h"
#include "tier/vm/virtio/mmio.h"

enum {
	FAKE_RAM = 1 << 20,          /* region 0, from 0 */
	FAKE_HIGH = 64 << 10,        /* region 1, from 4 GiB */
	FAKE_QUEUE = 64,             /* queue size that the driver sets */
	FAKE_RINGS = 0x1000,         /* queue i has its rings at FAKE_RINGS + i * FAKE_RING_STEP */
	FAKE_RING_STEP = 0x1000,
	FAKE_HEAP = 0x20000,
	FAKE_WATCHES = 64,
};
#define FAKE_HIGH_GPA (4ULL << 30)

struct fake_buf { uint64_t gpa; uint32_t len; bool in; };

struct fake {
	struct virtio_host host;
	struct guest_mem mem;
	uint8_t *ram, *high;
	struct { int fd; uint32_t events; void (*cb)(void *, uint32_t); void *ctx; } watch[FAKE_WATCHES];
	_Atomic unsigned interrupts, pokes;
	unsigned lines;
	char log[256];
	struct virtio_device *d;
	uint64_t heap;
	bool indirect, event_idx;
	struct { uint16_t avail, seen, next_desc; } q[VIRTIO_QUEUES_MAX];
};

struct fake *fake_new(void);
void fake_free(struct fake *f); /* the device, too */

/* Registers. */
uint32_t fake_get(struct fake *f, uint32_t offset);
void fake_set(struct fake *f, uint32_t offset, uint32_t v);
/* The whole handshake of 3.1.1 with the wanted features (of those that are offered); false when FEATURES_OK did not stick. */
bool fake_start(struct fake *f, struct virtio_device *d, uint64_t features);
/* The same up to, and without, DRIVER_OK. */
bool fake_prepare(struct fake *f, struct virtio_device *d, uint64_t features);

/* Memory. */
uint64_t fake_alloc(struct fake *f, size_t n);
uint64_t fake_put(struct fake *f, const void *data, size_t n); /* allocate and fill */
void *fake_at(struct fake *f, uint64_t gpa);

/* Queues: raw descriptors, then chains. */
void fake_desc(struct fake *f, unsigned q, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next);
void fake_avail(struct fake *f, unsigned q, uint16_t head);
uint16_t fake_chain(struct fake *f, unsigned q, const struct fake_buf *b, size_t n); /* its head */
void fake_kick(struct fake *f, unsigned q);
/* Next used element: its head, and the length in *ret_len; -1 when there is none. */
int fake_used(struct fake *f, unsigned q, uint32_t *ret_len);
/* One chain of up to three buffers, kicked, expected back at once: used length, or -1. */
int64_t fake_do(struct fake *f, unsigned q, const struct fake_buf *b, size_t n);

/* The device thread: pokes and ready descriptors, until nothing happens (at most `rounds`). Returns how many callbacks ran. */
unsigned fake_poll(struct fake *f, unsigned rounds);
/* The same, waiting up to ms for the first event. */
unsigned fake_wait(struct fake *f, int ms);
bool fake_watched(const struct fake *f, int fd);

/* Drive the device as the bytes say: memory, descriptors, registers, kicks, save and restore. feed (may be NULL) gets bytes for the host's side.
 * make creates a second device like the first to restore into. */
void fake_fuzz(struct fake *f, const uint8_t *data, size_t n, void (*feed)(struct fake *f, const uint8_t *p, size_t n), struct virtio_device *(*make)(struct fake *f));

#endif
