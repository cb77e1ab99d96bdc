/* Guest memory: one mapping, shown to the guest below and above the hole. */
#ifndef TIERCE_TIER_VM_BUILTIN_RAM_H
#define TIERCE_TIER_VM_BUILTIN_RAM_H

#include <stdbool.h>

#include "base/err.h"
#include "tier/vm/virtio/mem.h"

/* Anonymous memory, or (fd >= 0) a private mapping of a template's file, which must have the very size. */
int ram_map(uint64_t size, int fd, struct guest_mem *ret, struct err *e) MUST_CHECK;
/* A file of whole 2 MiB for the guest, behind its memory: shared when writable, else private to this machine. */
int ram_map_file(const struct guest_mem *m, int fd, bool writable, uint64_t *ret_gpa, uint64_t *ret_size, uint8_t **ret, struct err *e) MUST_CHECK;
/* Write every page that is not zero into a file of the memory's size that is all holes. */
int ram_save(const struct guest_mem *m, int fd, struct err *e) MUST_CHECK;
/* len bytes of a file from offset become the guest's at gpa. Whole pages are mapped privately: what the guest only reads stays in the page cache, shared by all. */
int ram_load(const struct guest_mem *m, uint64_t gpa, int fd, uint64_t offset, uint64_t len, struct err *e) MUST_CHECK;

#endif
