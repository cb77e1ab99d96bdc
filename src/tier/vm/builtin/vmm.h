/* The machine that a tierce-vmm process is: memory, processors, devices, and the threads that move them.
 *
 * Threads: one per processor (exits of the guest), the device thread (loop.h), and the main thread, which serves the control socket. Locks, outermost first:
 * vmm.lock (pauses), loop.lock, a device's lock (virtio/device.h), serial.lock. */
#ifndef TIERCE_TIER_VM_BUILTIN_VMM_H
#define TIERCE_TIER_VM_BUILTIN_VMM_H

#include "tier/vm/builtin/config.h"
#include "tier/vm/builtin/layout.h"
#include "tier/vm/builtin/loop.h"
#include "tier/vm/builtin/serial.h"
#include "tier/vm/builtin/vcpu.h"
#include "tier/vm/virtio/device.h"

struct vmm_slot {
	struct virtio_device *device;
	int line_fd;
	struct vmm *vmm;
	unsigned n_bells;
	struct doorbell { int fd; unsigned queue; struct vmm_slot *slot; } bell[VIRTIO_QUEUES_MAX];
};

struct vmm {
	const struct vmm_config *c;
	struct kvm kvm;
	struct guest_mem mem;
	struct loop loop;
	struct serial serial;
	struct virtio_host virtio;
	struct vcpu_host vcpus;
	struct vmm_slot slot[VMM_SLOTS_MAX];
	unsigned n_slots;
	struct virtio_device *balloon; /* NULL: none */
	uint8_t *pmem_at;
	int poke_fd;
	_Atomic uint32_t poked;      /* bit per slot */
	struct vcpu cpu[VMM_CPUS_MAX];
	pthread_t device_thread;
	pthread_mutex_t lock;        /* covers n_parked; with `changed` */
	pthread_cond_t changed;
	_Atomic bool pausing;
	unsigned n_parked;
	bool paused;                 /* main thread's */
};

/* Everything that needs rights: /dev/kvm, memory, kernel, devices, processors with their registers or a snapshot's. No thread runs yet. */
int vmm_build(struct vmm *m, const struct vmm_config *c, struct err *e) MUST_CHECK;
/* Start the threads, each behind its filter. */
int vmm_start(struct vmm *m, struct err *e) MUST_CHECK;
/* Stop all processors and devices; afterwards nothing in the machine changes. Idempotent. */
void vmm_pause(struct vmm *m);
void vmm_resume(struct vmm *m);
/* Serve the control socket until the machine ends. */
NORETURN void vmm_serve(struct vmm *m);

#endif
