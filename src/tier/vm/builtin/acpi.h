/* ACPI tables of a hardware-reduced machine: processors, the I/O APIC, virtio-mmio windows, the serial line. Debian's kernel finds processors and virtio-mmio
 * devices by no other way (CONFIG_X86_MPPARSE and VIRTIO_MMIO_CMDLINE_DEVICES are off). */
#ifndef TIERCE_TIER_VM_BUILTIN_ACPI_H
#define TIERCE_TIER_VM_BUILTIN_ACPI_H

#include "base/err.h"
#include "tier/vm/virtio/mem.h"

/* Write them at ACPI_TABLES; *ret_rsdp is the root pointer's address. */
int acpi_write(const struct guest_mem *m, unsigned cpus, unsigned slots, uint64_t *ret_rsdp, struct err *e) MUST_CHECK;

#endif
