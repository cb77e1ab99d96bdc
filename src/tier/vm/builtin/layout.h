/* Where things are in the guest's physical address space and on its interrupt lines. */
#ifndef TIERCE_TIER_VM_BUILTIN_LAYOUT_H
#define TIERCE_TIER_VM_BUILTIN_LAYOUT_H

#include <stdint.h>

#define GUEST_PAGE          4096ull
#define LOW_RAM_END         0x9fc00ull     /* conventional memory; a PC's video and ROM areas follow */
#define START_INFO          0x6000ull      /* PVH: struct hvm_start_info, module list, memory map, command line */
#define MODULE_LIST         0x6100ull
#define MEMORY_MAP          0x7000ull
#define COMMAND_LINE        0x20000ull
#define COMMAND_LINE_MAX    2048u          /* COMMAND_LINE_SIZE of the kernel on x86 */
#define ACPI_TABLES         0xe0000ull     /* reserved in the memory map */
#define ACPI_TABLES_END     0x100000ull
#define HIGH_RAM            0x100000ull
#define HOLE                0xc0000000ull  /* devices and interrupt controllers; memory goes on above 4 GiB */
#define ABOVE_HOLE          0x100000000ull
#define VIRTIO_WINDOWS      0xd0000000ull  /* one page per slot */
#define IOAPIC_ADDRESS      0xfec00000u
#define LAPIC_ADDRESS       0xfee00000u
#define IDENTITY_MAP        0xfffbc000ull  /* Intel without unrestricted guests: KVM's own page tables and TSS */
#define TSS_ADDRESS         0xfffbd000ull
#define SERIAL_PORT         0x3f8u
#define SERIAL_LINE         4u
#define VIRTIO_LINE         5u             /* of slot 0; one line of the I/O APIC each */

enum {
	VMM_SLOTS_MAX = 16, /* lines 5 to 20 of 24 */
	VMM_CPUS_MAX = 64,
};

#endif
