/* LZ4 decoding. */
#include "tier/vm/boot/lz4.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

enum {
	LEGACY_MAGIC = 0x184C2102,
	LEGACY_BLOCK = 8 << 20, /* each block decodes to this much, the last one to less */
};

/* Length with its 255-continuation bytes; 0 on success. */
static int length(const uint8_t **p, const uint8_t *end, size_t nibble, size_t *ret)
{
	size_t v = nibble;
	if (nibble == 15) {
		uint8_t b;
		do {
			if (*p == end || v > SIZE_MAX / 2)
				return -EBADMSG;
			b = *(*p)++;
			v += b;
		} while (b == 255);
	}
	*ret = v;
	return 0;
}

ptrdiff_t lz4_block(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	const uint8_t *p = in, *end = in + n;
	size_t o = 0;
	while (p < end) {
		uint8_t token = *p++;
		size_t lit, match;
		if (length(&p, end, token >> 4, &lit) < 0 || lit > (size_t)(end - p) || lit > cap - o)
			return -EBADMSG;
		memcpy(out + o, p, lit);
		p += lit;
		o += lit;
		if (p == end)
			return (ptrdiff_t)o; /* the last sequence has literals only */
		if (end - p < 2)
			return -EBADMSG;
		size_t back = (size_t)p[0] | (size_t)p[1] << 8;
		p += 2;
		if (length(&p, end, token & 15, &match) < 0)
			return -EBADMSG;
		match += 4;
		if (!back || back > o || match > cap - o)
			return -EBADMSG;
		if (back >= match) {
			memcpy(out + o, out + o - back, match);
			o += match;
		} else {
			for (size_t i = 0; i < match; i++, o++)
				out[o] = out[o - back];
		}
	}
	return -EBADMSG;
}

ptrdiff_t lz4_legacy(const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	uint32_t v;
	size_t at = 4, o = 0;
	if (n < 4)
		return -EBADMSG;
	memcpy(&v, in, 4);
	if (le32toh(v) != LEGACY_MAGIC)
		return -EBADMSG;
	while (n - at >= 4) {
		memcpy(&v, in + at, 4);
		v = le32toh(v);
		at += 4;
		if (v == LEGACY_MAGIC)
			continue; /* concatenated frames */
		if (!v || v > n - at)
			return o ? (ptrdiff_t)o : -EBADMSG; /* the kernel appends the payload's size */
		ptrdiff_t r = lz4_block(in + at, v, out + o, MIN(cap - o, (size_t)LEGACY_BLOCK));
		if (r < 0)
			return r;
		at += v;
		o += (size_t)r;
	}
	return (ptrdiff_t)o;
}
