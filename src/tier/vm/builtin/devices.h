/* The machine's virtio devices by its configuration, and the paths between them and the guest. */
#ifndef TIERCE_TIER_VM_BUILTIN_DEVICES_H
#define TIERCE_TIER_VM_BUILTIN_DEVICES_H

#include "tier/vm/builtin/vmm.h"

/* Make them, their interrupt lines and doorbells. */
int devices_make(struct vmm *m, struct err *e) MUST_CHECK;
/* An access of a processor to an address without memory. */
void devices_mmio(struct vmm *m, bool out, uint64_t gpa, unsigned len, void *data);

#endif
