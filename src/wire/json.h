/* JSON (RFC 8259): bytes to a tree in an arena, and a writer into a buffer. No I/O. */
#ifndef TIERCE_WIRE_JSON_H
#define TIERCE_WIRE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

enum {
	/* Nesting bound: a document of "[[[[..." must not exhaust the stack of the recursive parser. */
	JSON_MAX_DEPTH = 128,
};

struct json {
	enum json_type type;
	uint32_t len;     /* bytes of a string or number, elements of an array, members of an object */
	const char *key;  /* member name inside an object, else NULL */
	struct json *next; /* next sibling */
	union {
		bool boolean;
		const char *text; /* string (unescaped, NUL-terminated) or number as written */
		struct json *first; /* first child */
	};
};

/*
 * Parse a whole document. Strings are unescaped into the arena; \u0000 is refused (no consumer can carry it), as are
 * unpaired surrogates, raw control characters and invalid UTF-8. Of repeated keys the last wins, as in Go's decoder that the
 * engines write for. Errors: -EINVAL with "line L, column C: what", -ENOMEM, -E2BIG (nesting).
 */
int json_parse(struct arena *a, const char *data, size_t len, struct json **ret, struct err *e) MUST_CHECK;

/* Member of an object by exact name, NULL when absent or when o is no object (o may be NULL). */
struct json *json_get(const struct json *o, const char *key);
/* Name of a type for messages: "object", "array of", ... */
const char *json_type_name(enum json_type t);

/* Numbers: 0, -EINVAL when j is no number or has a fraction that is not zero, -ERANGE. 1e3 and 10.0 are integers. */
int json_i64(const struct json *j, int64_t *ret);
int json_u64(const struct json *j, uint64_t *ret);
int json_double(const struct json *j, double *ret);
/* Text of a string member, or dflt when absent or of another type. */
const char *json_str(const struct json *o, const char *key, const char *dflt);

/* Deep iteration: for (struct json *m = json_first(o); m; m = m->next). NULL for scalars. */
struct json *json_first(const struct json *j);

/*
 * Writer. Keeps track of commas and nesting; a misuse (a key in an array, too deep) sets failed. Output is compact unless
 * indent > 0. Characters are not HTML-escaped; invalid UTF-8 is written as U+FFFD.
 */
struct json_writer {
	struct strbuf *out;
	unsigned indent;      /* spaces a level, 0 = compact */
	unsigned depth;
	bool first[JSON_MAX_DEPTH];
	bool after_key, failed;
};

void jw_init(struct json_writer *w, struct strbuf *out, unsigned indent);
void jw_object(struct json_writer *w);
void jw_object_end(struct json_writer *w);
void jw_array(struct json_writer *w);
void jw_array_end(struct json_writer *w);
void jw_key(struct json_writer *w, const char *key);
void jw_string(struct json_writer *w, const char *s); /* NULL writes null */
void jw_string_n(struct json_writer *w, const char *s, size_t n);
void jw_i64(struct json_writer *w, int64_t v);
void jw_u64(struct json_writer *w, uint64_t v);
void jw_double(struct json_writer *w, double v);
void jw_bool(struct json_writer *w, bool v);
void jw_null(struct json_writer *w);
/* Copy a parsed tree. */
void jw_value(struct json_writer *w, const struct json *j);
/* key + value in one call */
void jw_kv_string(struct json_writer *w, const char *key, const char *s);
void jw_kv_i64(struct json_writer *w, const char *key, int64_t v);
void jw_kv_u64(struct json_writer *w, const char *key, uint64_t v);
void jw_kv_bool(struct json_writer *w, const char *key, bool v);
/* 0 when everything was written and closed, -ENOMEM or -EINVAL. */
int jw_finish(struct json_writer *w);

#endif
