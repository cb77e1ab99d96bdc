/* Lists of buffers. */
#include "tier/vm/virtio/iov.h"

#include <string.h>

#include "base/macro.h"

size_t iov_length(const struct iovec *v, size_t n)
{
	size_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += v[i].iov_len;
	return sum;
}

enum way { WAY_READ, WAY_WRITE, WAY_ZERO };

static size_t copy(const struct iovec *v, size_t n, size_t offset, size_t len, enum way way, uint8_t *to, const uint8_t *from)
{
	size_t done = 0;
	for (size_t i = 0; i < n && done < len; i++) {
		if (offset >= v[i].iov_len) {
			offset -= v[i].iov_len;
			continue;
		}
		size_t k = MIN(v[i].iov_len - offset, len - done);
		uint8_t *at = (uint8_t *)v[i].iov_base + offset;
		if (way == WAY_READ)
			memcpy(to + done, at, k);
		else if (way == WAY_WRITE)
			memcpy(at, from + done, k);
		else
			memset(at, 0, k);
		done += k;
		offset = 0;
	}
	return done;
}

size_t iov_read(const struct iovec *v, size_t n, size_t offset, void *dst, size_t len)
{
	return copy(v, n, offset, len, WAY_READ, dst, NULL);
}

size_t iov_write(const struct iovec *v, size_t n, size_t offset, const void *src, size_t len)
{
	return copy(v, n, offset, len, WAY_WRITE, NULL, src);
}

size_t iov_zero(const struct iovec *v, size_t n, size_t offset, size_t len)
{
	return copy(v, n, offset, len, WAY_ZERO, NULL, NULL);
}

size_t iov_slice(const struct iovec *v, size_t n, size_t offset, size_t len, struct iovec *out)
{
	size_t k = 0;
	for (size_t i = 0; i < n && len; i++) {
		if (offset >= v[i].iov_len) {
			offset -= v[i].iov_len;
			continue;
		}
		out[k].iov_base = (uint8_t *)v[i].iov_base + offset;
		out[k].iov_len = MIN(v[i].iov_len - offset, len);
		len -= out[k++].iov_len;
		offset = 0;
	}
	return k;
}
