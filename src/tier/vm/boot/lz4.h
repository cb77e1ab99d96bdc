/* LZ4: block decoder and the legacy frame in which Linux kernels are compressed (lz4 doc/lz4_Frame_format.md, doc/lz4_Block_format.md). */
#ifndef TIERCE_TIER_VM_BOOT_LZ4_H
#define TIERCE_TIER_VM_BOOT_LZ4_H

#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

/* Decode one block; returns the bytes written or -EBADMSG. Never reads or writes outside of the two buffers. */
ptrdiff_t lz4_block(const uint8_t *in, size_t n, uint8_t *out, size_t cap) MUST_CHECK;
/* Decode a legacy frame (magic 0x184C2102). Bytes behind the last block that are no block end it. */
ptrdiff_t lz4_legacy(const uint8_t *in, size_t n, uint8_t *out, size_t cap) MUST_CHECK;

#endif
