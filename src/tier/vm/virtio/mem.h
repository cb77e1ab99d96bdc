/* Guest memory as the monitor sees it: the one checked door. Addresses come from the guest and are never trusted.
 *
 * The guest's processors write to this memory at any time, so whatever is checked is copied out first (guest_read) and the copy is used. */
#ifndef TIERCE_TIER_VM_VIRTIO_MEM_H
#define TIERCE_TIER_VM_VIRTIO_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

enum { GUEST_REGIONS_MAX = 4 };

/* Guest-physical [gpa, gpa + size) is at host. Regions do not overlap, do not wrap and are page-aligned; they never move while the machine lives. */
struct guest_region { uint64_t gpa, size; uint8_t *host; };
struct guest_mem { struct guest_region region[GUEST_REGIONS_MAX]; size_t n; };

/* Host address of len bytes at gpa; NULL unless all of them are in one region, and NULL for len 0. */
void *guest_ptr(const struct guest_mem *m, uint64_t gpa, uint64_t len) MUST_CHECK;
/* Copy out of and into guest memory; -EFAULT when the range is not wholly inside one region. Nothing is copied then. len 0 is 0. */
int guest_read(const struct guest_mem *m, uint64_t gpa, void *dst, size_t len) MUST_CHECK;
int guest_write(const struct guest_mem *m, uint64_t gpa, const void *src, size_t len) MUST_CHECK;

#endif
