/* Protocol buffers (proto3 wire format): bytes to structs and back by descriptor tables. No I/O. */
#ifndef TIERCE_WIRE_PB_H
#define TIERCE_WIRE_PB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum pb_type {
	PB_U64,    /* uint64_t: uint64, uint32 */
	PB_I64,    /* int64_t: int64, int32, enum (negative values as ten bytes) */
	PB_S64,    /* int64_t: sint64, sint32 (zigzag) */
	PB_BOOL,   /* bool */
	PB_F64,    /* double */
	PB_FIX64,  /* uint64_t: fixed64 */
	PB_STR,    /* const char *: NUL-terminated, NULL when absent; bytes with a NUL inside are refused */
	PB_BYTES,  /* struct pb_bytes */
	PB_MSG,    /* struct of the sub-descriptor, by pointer; NULL when absent */
};

struct pb_bytes { const void *p; size_t n; };
/* Repeated field: v points at n elements of the type's C form (messages: the structs themselves, side by side). */
struct pb_list { void *v; size_t n; };

struct pb_desc;
struct pb_field {
	uint32_t number;
	uint8_t type;      /* enum pb_type */
	bool repeated;
	size_t offset;
	const struct pb_desc *desc; /* PB_MSG */
};
struct pb_desc {
	const char *name;
	size_t size;
	const struct pb_field *fields;
	size_t n;
};

#define PB_F(number, type, st, member) { number, type, false, offsetof(st, member), NULL }
#define PB_R(number, type, st, member) { number, type, true, offsetof(st, member), NULL }
#define PB_M(number, st, member, d) { number, PB_MSG, false, offsetof(st, member), d }
#define PB_RM(number, st, member, d) { number, PB_MSG, true, offsetof(st, member), d }
#define PB_DESC(var, st, ...) \
	static const struct pb_field var##_fields[] = { __VA_ARGS__ }; \
	const struct pb_desc var = { #st, sizeof(struct st), var##_fields, ARRAY_SIZE(var##_fields) }

/* The same for a descriptor of this file alone. */
#define PB_DESC_LOCAL(var, st, ...) \
	static const struct pb_field var##_fields[] = { __VA_ARGS__ }; \
	static const struct pb_desc var = { #st, sizeof(struct st), var##_fields, ARRAY_SIZE(var##_fields) }

/* map<string, string> is a repeated message of this form on the wire. */
struct pb_pair { const char *key, *value; };
extern const struct pb_desc pb_pair_desc;

enum {
	PB_MAX_DEPTH = 32,   /* nested messages must not exhaust the stack */
	PB_MAX_GROWTH = 64,  /* decoded bytes per byte of input: two bytes of wire can ask for a whole empty struct */
};

/* Append the encoding of one message. Default values are left out as proto3 does. 0 or -ENOMEM, -E2BIG (nesting). */
int pb_encode(const struct pb_desc *d, const void *msg, struct strbuf *out) MUST_CHECK;
/* Decode into *msg (zeroed here). Strings and lists belong to the arena; PB_BYTES point into data. Unknown fields are
 * skipped. -EBADMSG with the field's number, -E2BIG (nesting, growth), -ENOMEM. */
int pb_decode(const struct pb_desc *d, struct arena *a, const void *data, size_t n, void *msg, struct err *e) MUST_CHECK;

/* Pieces for hand-written coders. Returns the bytes used, 0 when the input is cut or longer than ten bytes. */
size_t pb_get_varint(const uint8_t *p, size_t n, uint64_t *ret);
int pb_put_varint(struct strbuf *out, uint64_t v);

#endif
