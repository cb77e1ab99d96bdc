/* The guest kernel into guest memory. */
#ifndef TIERCE_TIER_VM_BUILTIN_LOADER_H
#define TIERCE_TIER_VM_BUILTIN_LOADER_H

#include "base/err.h"
#include "tier/vm/virtio/mem.h"

/* How the first processor starts. */
struct boot_entry { uint64_t rip, start_info; };

/* ELF kernel with a PVH entry point, its initial root file system (initrd < 0: none) and what tells it of both. Files are checked against their sizes. */
int loader_boot(const struct guest_mem *m, int kernel, int initrd, const char *cmdline, uint64_t rsdp, struct boot_entry *ret, struct err *e) MUST_CHECK;

#endif
