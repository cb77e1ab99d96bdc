/* Lists of buffers in guest memory. */
#ifndef TIERCE_TIER_VM_VIRTIO_IOV_H
#define TIERCE_TIER_VM_VIRTIO_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

size_t iov_length(const struct iovec *v, size_t n);
/* Copy up to len bytes starting at offset of the list; returns how many there were. */
size_t iov_read(const struct iovec *v, size_t n, size_t offset, void *dst, size_t len);
size_t iov_write(const struct iovec *v, size_t n, size_t offset, const void *src, size_t len);
size_t iov_zero(const struct iovec *v, size_t n, size_t offset, size_t len);
/* The part [offset, offset + len) of the list as a list of its own, in out (room for n). Returns its number of entries. */
size_t iov_slice(const struct iovec *v, size_t n, size_t offset, size_t len, struct iovec *out);

#endif
