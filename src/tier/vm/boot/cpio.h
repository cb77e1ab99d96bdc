/* cpio archives in the "newc" form that the kernel unpacks as initramfs (Documentation/driver-api/early-userspace/buffer-format.rst). */
#ifndef TIERCE_TIER_VM_BOOT_CPIO_H
#define TIERCE_TIER_VM_BOOT_CPIO_H

#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

/* Append one entry. path has no leading slash; dev only for device nodes. 0 or -ENOMEM, -ENAMETOOLONG, -EFBIG. */
int cpio_add(struct strbuf *out, const char *path, mode_t mode, dev_t dev, const void *data, size_t n) MUST_CHECK;
int cpio_end(struct strbuf *out) MUST_CHECK;

#endif
