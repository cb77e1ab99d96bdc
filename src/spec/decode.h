/* Table-driven decoding of JSON objects into C structs, with the JSON path in every error. */
#ifndef TIERCE_SPEC_DECODE_H
#define TIERCE_SPEC_DECODE_H

#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "wire/json.h"

/* A step of the path to the value at hand; lives on the stack of the decoding functions. */
struct decode_path {
	const struct decode_path *up;
	const char *key; /* member name, or NULL for an array element */
	uint32_t index;
};

struct decoder {
	struct arena *a;
	struct err *e;
	const char *document; /* "config.json", "process.json" ...: first word of messages */
};

enum field_kind {
	FIELD_STRING,   /* const char *; "" stays "" */
	FIELD_TEXT,     /* const char *; "" is the same as absent (NULL) */
	FIELD_BOOL,     /* bool */
	FIELD_OPT_BOOL, /* struct opt_bool */
	FIELD_I32, FIELD_U32, FIELD_I64, FIELD_U64,
	FIELD_OPT_I64, FIELD_OPT_U64,
	FIELD_OPT_U16, FIELD_OPT_U32, /* struct opt_u64 bounded to 16 or 32 bits */
	FIELD_STRINGS,  /* struct oci_strings */
	FIELD_MAP,      /* struct oci_map of strings */
	FIELD_OBJECT,   /* nested object, decoded by .sub into the struct at the offset */
	FIELD_LIST,     /* array of objects: pointer at .offset, count at .count, elements of .size decoded by .sub */
	FIELD_CUSTOM,   /* .fn */
};

enum { FIELD_REQUIRED = 1 };

struct field {
	const char *key;
	enum field_kind kind;
	size_t offset;
	unsigned flags;
	const struct field *sub; /* ends with a row whose key is NULL */
	size_t count, size;
	/* obj is the struct that the row's table describes, not the member. Also run after a FIELD_OBJECT, and after each element of a
	 * FIELD_LIST with obj = the element, when set: the place for checks across members. */
	int (*fn)(struct decoder *d, const struct decode_path *p, struct json *j, void *obj);
};

/* Decode all known members of object j into obj. null members count as absent. 0 or negative errno. */
int decode_object(struct decoder *d, const struct decode_path *p, struct json *j, const struct field *table, void *obj) MUST_CHECK;

/* "config.json: linux.resources.cpu.quota: <message>". Returns -EINVAL. */
int decode_fail(struct decoder *d, const struct decode_path *p, const char *fmt, ...) PRINTF(3, 4);
/* "... expected string, got number 5". */
int decode_type_error(struct decoder *d, const struct decode_path *p, const char *expected, const struct json *j);
int decode_oom(struct decoder *d);

/* A name of a table: rows end with name NULL. */
struct name_value { const char *name; int64_t value; };
int decode_name(struct decoder *d, const struct decode_path *p, const struct json *j, const struct name_value *table, int64_t *ret) MUST_CHECK;
int decode_strings(struct decoder *d, const struct decode_path *p, const struct json *j, void *ret) MUST_CHECK;

#define FIELD(k, kd, type, member) { .key = k, .kind = kd, .offset = offsetof(type, member) }
#define FIELD_REQ(k, kd, type, member) { .key = k, .kind = kd, .offset = offsetof(type, member), .flags = FIELD_REQUIRED }
#define FIELD_SUB(k, type, member, table) { .key = k, .kind = FIELD_OBJECT, .offset = offsetof(type, member), .sub = table }
#define FIELD_SUB_FN(k, type, member, table, f) { .key = k, .kind = FIELD_OBJECT, .offset = offsetof(type, member), .sub = table, .fn = f }
#define FIELD_ARRAY(k, type, member, number, elem, table) \
	{ .key = k, .kind = FIELD_LIST, .offset = offsetof(type, member), .count = offsetof(type, number), .size = sizeof(elem), .sub = table }
#define FIELD_ARRAY_FN(k, type, member, number, elem, table, f) \
	{ .key = k, .kind = FIELD_LIST, .offset = offsetof(type, member), .count = offsetof(type, number), .size = sizeof(elem), .sub = table, .fn = f }
#define FIELD_FN(k, f) { .key = k, .kind = FIELD_CUSTOM, .fn = f }
#define FIELD_END { .key = NULL }

#endif
