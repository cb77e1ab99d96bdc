/* Protocol buffers by descriptor tables (encoding: protobuf.dev/programming-guides/encoding). */
#include "wire/pb.h"

#include <errno.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_LEN = 2, WIRE_I32 = 5 };

static const struct { uint8_t wire, size; } types[] = {
	[PB_U64] = { WIRE_VARINT, sizeof(uint64_t) },
	[PB_I64] = { WIRE_VARINT, sizeof(int64_t) },
	[PB_S64] = { WIRE_VARINT, sizeof(int64_t) },
	[PB_BOOL] = { WIRE_VARINT, sizeof(bool) },
	[PB_F64] = { WIRE_I64, sizeof(double) },
	[PB_FIX64] = { WIRE_I64, sizeof(uint64_t) },
	[PB_STR] = { WIRE_LEN, sizeof(const char *) },
	[PB_BYTES] = { WIRE_LEN, sizeof(struct pb_bytes) },
	[PB_MSG] = { WIRE_LEN, 0 },
};

static const struct pb_field pair_fields[] = {
	PB_F(1, PB_STR, struct pb_pair, key),
	PB_F(2, PB_STR, struct pb_pair, value),
};
const struct pb_desc pb_pair_desc = { "pair", sizeof(struct pb_pair), pair_fields, ARRAY_SIZE(pair_fields) };

size_t pb_get_varint(const uint8_t *p, size_t n, uint64_t *ret)
{
	uint64_t v = 0;
	for (size_t i = 0; i < n && i < 10; i++) {
		v |= (uint64_t)(p[i] & 0x7f) << (7 * i);
		if (!(p[i] & 0x80)) {
			*ret = v;
			return i + 1;
		}
	}
	return 0;
}

int pb_put_varint(struct strbuf *out, uint64_t v)
{
	uint8_t b[10];
	size_t n = 0;
	do {
		b[n] = v & 0x7f;
		v >>= 7;
		if (v)
			b[n] |= 0x80;
		n++;
	} while (v);
	return strbuf_add(out, b, n);
}

static size_t element_size(const struct pb_field *f)
{
	return f->type == PB_MSG ? f->desc->size : types[f->type].size;
}

/* ---- encode ---------------------------------------------------------------------------------------------------- */

static int encode(const struct pb_desc *d, const void *msg, struct strbuf *out, unsigned depth);

/* One element at p; skip_default leaves zero values out (a repeated field keeps them). */
static int encode_one(const struct pb_field *f, const void *p, bool skip_default, struct strbuf *out, unsigned depth)
{
	uint64_t v = 0, tag = (uint64_t)f->number << 3 | types[f->type].wire;
	struct pb_bytes b = { NULL, 0 };
	_cleanup_strbuf_ struct strbuf sub = STRBUF_INIT;

	switch (f->type) {
	case PB_S64: {
		int64_t s = *(const int64_t *)p;
		v = (uint64_t)s << 1 ^ (s < 0 ? UINT64_MAX : 0);
		break;
	}
	case PB_BOOL:
		v = *(const bool *)p;
		break;
	case PB_STR:
		b.p = *(const char *const *)p;
		b.n = b.p ? strlen(b.p) : 0;
		break;
	case PB_BYTES:
		b = *(const struct pb_bytes *)p;
		break;
	case PB_MSG: {
		int r = encode(f->desc, p, &sub, depth + 1);
		if (r < 0)
			return r;
		b.p = sub.s;
		b.n = sub.len;
		skip_default = false; /* presence is the information */
		break;
	}
	default:
		memcpy(&v, p, sizeof v);
	}
	if (skip_default && !v && !b.n)
		return 0;
	pb_put_varint(out, tag);
	if (types[f->type].wire == WIRE_VARINT)
		return pb_put_varint(out, v);
	if (types[f->type].wire == WIRE_I64)
		return strbuf_add(out, &v, sizeof v);
	pb_put_varint(out, b.n);
	return b.n ? strbuf_add(out, b.p, b.n) : 0;
}

static int encode(const struct pb_desc *d, const void *msg, struct strbuf *out, unsigned depth)
{
	if (depth > PB_MAX_DEPTH)
		return -E2BIG;
	for (size_t i = 0; i < d->n; i++) {
		const struct pb_field *f = &d->fields[i];
		const char *at = (const char *)msg + f->offset;
		int r = 0;
		if (f->repeated) {
			const struct pb_list *l = (const void *)at;
			for (size_t k = 0; k < l->n && r >= 0; k++)
				r = encode_one(f, (const char *)l->v + k * element_size(f), false, out, depth);
		} else if (f->type == PB_MSG) {
			const void *sub = *(const void *const *)at;
			if (sub)
				r = encode_one(f, sub, false, out, depth);
		} else {
			r = encode_one(f, at, true, out, depth);
		}
		if (r < 0)
			return r;
	}
	return out->failed ? -ENOMEM : 0;
}

int pb_encode(const struct pb_desc *d, const void *msg, struct strbuf *out)
{
	return encode(d, msg, out, 0);
}

/* ---- decode ---------------------------------------------------------------------------------------------------- */

struct decoder {
	struct arena *a;
	size_t budget; /* bytes that lists and messages may still take */
	struct err *e;
};

struct item { uint32_t number; uint8_t wire; uint64_t v; struct pb_bytes b; };

/* Cut the next field off. 1: an item, 0: end, -EBADMSG. */
static int next_item(const uint8_t **p, const uint8_t *end, struct item *ret)
{
	if (*p == end)
		return 0;
	uint64_t tag, v;
	size_t used = pb_get_varint(*p, (size_t)(end - *p), &tag);
	if (!used || tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1)
		return -EBADMSG;
	*p += used;
	*ret = (struct item){ .number = (uint32_t)(tag >> 3), .wire = tag & 7 };
	size_t left = (size_t)(end - *p), width = ret->wire == WIRE_I64 ? 8 : 4;
	switch (ret->wire) {
	case WIRE_VARINT:
		used = pb_get_varint(*p, left, &ret->v);
		if (!used)
			return -EBADMSG;
		*p += used;
		return 1;
	case WIRE_I64:
	case WIRE_I32:
		if (left < width)
			return -EBADMSG;
		memcpy(&ret->v, *p, width); /* little-endian hosts only; both of ours are */
		*p += width;
		return 1;
	case WIRE_LEN:
		used = pb_get_varint(*p, left, &v);
		if (!used || v > left - used)
			return -EBADMSG;
		ret->b = (struct pb_bytes){ *p + used, v };
		*p += used + v;
		return 1;
	default: /* groups are gone since proto3 */
		return -EBADMSG;
	}
}

static const struct pb_field *find(const struct pb_desc *d, uint32_t number)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->fields[i].number == number)
			return &d->fields[i];
	return NULL;
}

static int decode(struct decoder *x, const struct pb_desc *d, struct pb_bytes in, void *msg, unsigned depth);

static void *take(struct decoder *x, size_t n, size_t size)
{
	size_t all;
	if (__builtin_mul_overflow(n, size, &all) || all > x->budget)
		return NULL;
	x->budget -= all;
	return arena_alloc(x->a, all);
}

static int decode_one(struct decoder *x, const struct pb_field *f, const struct item *it, void *to, unsigned depth)
{
	switch (f->type) {
	case PB_S64: {
		int64_t s = (int64_t)(it->v >> 1) ^ -(int64_t)(it->v & 1);
		memcpy(to, &s, sizeof s);
		return 0;
	}
	case PB_BOOL:
		*(bool *)to = it->v != 0;
		return 0;
	case PB_STR: {
		if (it->b.n && memchr(it->b.p, 0, it->b.n))
			return -EBADMSG;
		char *s = arena_strndup(x->a, it->b.n ? it->b.p : "", it->b.n);
		if (!s)
			return -ENOMEM;
		*(const char **)to = s;
		return 0;
	}
	case PB_BYTES:
		memcpy(to, &it->b, sizeof it->b);
		return 0;
	case PB_MSG:
		return decode(x, f->desc, it->b, to, depth + 1);
	default:
		memcpy(to, &it->v, sizeof it->v);
		return 0;
	}
}

/* Elements that one occurrence adds: scalars may come packed. */
static int count_of(const struct pb_field *f, const struct item *it, size_t *ret)
{
	uint8_t wire = types[f->type].wire;
	if (it->wire == wire) {
		*ret = 1;
		return 0;
	}
	if (!f->repeated || it->wire != WIRE_LEN)
		return -EBADMSG;
	*ret = 0;
	if (wire == WIRE_I64) {
		*ret = it->b.n / 8;
		return it->b.n % 8 ? -EBADMSG : 0;
	}
	const uint8_t *p = it->b.p;
	for (size_t i = 0; i < it->b.n; i++)
		*ret += !(p[i] & 0x80);
	return 0;
}

static int append(struct decoder *x, const struct pb_field *f, const struct item *it, struct pb_list *l, unsigned depth)
{
	size_t size = element_size(f);
	if (it->wire == types[f->type].wire)
		return decode_one(x, f, it, (char *)l->v + size * l->n++, depth);
	const uint8_t *p = it->b.p, *end = p + it->b.n;
	while (p < end) {
		struct item one = { .number = it->number, .wire = types[f->type].wire };
		size_t used = 8;
		if (one.wire == WIRE_VARINT)
			used = pb_get_varint(p, (size_t)(end - p), &one.v);
		else
			memcpy(&one.v, p, 8);
		if (!used)
			return -EBADMSG;
		p += used;
		int r = decode_one(x, f, &one, (char *)l->v + size * l->n++, depth);
		if (r < 0)
			return r;
	}
	return 0;
}

static int bad(struct decoder *x, const struct pb_desc *d, uint32_t number, int code)
{
	return err_set(x->e, code, "%s: field %u: %s", d->name, number, code == -E2BIG ? "too large or too deep" : code == -ENOMEM ? "out of memory" : "malformed");
}

/* First pass counts repeated fields so that each list is one array; the second one fills. */
static int decode(struct decoder *x, const struct pb_desc *d, struct pb_bytes in, void *msg, unsigned depth)
{
	struct item it;
	int r;
	if (depth > PB_MAX_DEPTH)
		return bad(x, d, 0, -E2BIG);
	memset(msg, 0, d->size);
	const uint8_t *p = in.p, *end = p + in.n;
	while (in.n && (r = next_item(&p, end, &it)) != 0) {
		if (r < 0)
			return bad(x, d, 0, r);
		const struct pb_field *f = find(d, it.number);
		size_t n;
		if (!f)
			continue;
		if (count_of(f, &it, &n) < 0)
			return bad(x, d, it.number, -EBADMSG);
		if (f->repeated)
			((struct pb_list *)(void *)((char *)msg + f->offset))->n += n;
	}
	for (size_t i = 0; i < d->n; i++) {
		struct pb_list *l = (void *)((char *)msg + d->fields[i].offset);
		if (!d->fields[i].repeated || !l->n)
			continue;
		l->v = take(x, l->n, element_size(&d->fields[i]));
		if (!l->v)
			return bad(x, d, d->fields[i].number, -E2BIG);
		l->n = 0;
	}
	for (p = in.p; in.n && (r = next_item(&p, end, &it)) > 0;) {
		const struct pb_field *f = find(d, it.number);
		if (!f)
			continue;
		void *to = (char *)msg + f->offset;
		if (f->repeated) {
			r = append(x, f, &it, to, depth);
		} else if (f->type == PB_MSG) {
			void *sub = take(x, 1, f->desc->size); /* a repeated singular message: the last one wins */
			r = sub ? decode_one(x, f, &it, sub, depth) : -E2BIG;
			*(void **)to = sub;
		} else {
			r = decode_one(x, f, &it, to, depth);
		}
		if (r < 0)
			return x->e && x->e->code ? r : bad(x, d, it.number, r);
	}
	return 0;
}

int pb_decode(const struct pb_desc *d, struct arena *a, const void *data, size_t n, void *msg, struct err *e)
{
	struct decoder x = { a, 65536 + n * PB_MAX_GROWTH, e };
	err_clear(e);
	return decode(&x, d, (struct pb_bytes){ data, n }, msg, 0);
}
