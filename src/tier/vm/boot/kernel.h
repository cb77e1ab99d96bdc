/* Guest kernel images: a bzImage's payload to the ELF inside, and what an ELF kernel says of itself. */
#ifndef TIERCE_TIER_VM_BOOT_KERNEL_H
#define TIERCE_TIER_VM_BOOT_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	KERNEL_MAX = 512 << 20, /* decompressed size that we are ready to hold: a payload may lie about its length */
};

struct kernel_elf {
	uint64_t entry;     /* ELF entry point */
	uint32_t pvh_entry; /* XEN_ELFNOTE_PHYS32_ENTRY, 0 when absent */
	bool is_64;
};

/* Look at an ELF kernel: -EBADMSG with the reason when it is none. All offsets are checked against n. */
int kernel_elf_parse(const uint8_t *p, size_t n, struct kernel_elf *ret, struct err *e) MUST_CHECK;
/* Does the file start like a bzImage (Linux boot protocol, "HdrS")? */
bool kernel_is_bzimage(const uint8_t *p, size_t n);
/* Malloc'ed vmlinux of a bzImage. LZ4 is decoded (Debian's cloud kernel); other compressions are refused with their name. */
int kernel_from_bzimage(const uint8_t *p, size_t n, uint8_t **ret, size_t *ret_n, struct err *e) MUST_CHECK;

#endif
