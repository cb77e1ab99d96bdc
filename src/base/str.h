/* Strings: a growing buffer, string vectors, strict numbers. */
#ifndef TIERCE_BASE_STR_H
#define TIERCE_BASE_STR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/macro.h"

/* Growing byte buffer, always NUL-terminated once anything was added. A failed append sets `failed` and leaves the
 * content as it was, so that a series of appends is checked once at the end. */
struct strbuf {
	char *s; /* owned; NULL while empty */
	size_t len, cap;
	bool failed; /* an append ran out of memory */
};

#define STRBUF_INIT { NULL, 0, 0, false }
#define _cleanup_strbuf_ CLEANUP(strbuf_free)

int strbuf_add(struct strbuf *b, const void *data, size_t n); /* 0 or -ENOMEM */
int strbuf_puts(struct strbuf *b, const char *s);
int strbuf_putc(struct strbuf *b, char c);
int strbuf_printf(struct strbuf *b, const char *fmt, ...) PRINTF(2, 3);
/* Content as a C string, never NULL. */
const char *strbuf_str(const struct strbuf *b);
/* Hand the content over (caller frees); NULL if any append failed. Empty buffers give an empty string. */
char *strbuf_take(struct strbuf *b);
void strbuf_clear(struct strbuf *b); /* forgets the content, keeps the memory */
void strbuf_free(struct strbuf *b);

/* NULL-terminated vectors of owned strings. */
int strv_push(char ***v, size_t *n, const char *s); /* copies; 0 or -ENOMEM */
void strv_free(char **v);
size_t strv_len(char *const *v); /* v may be NULL */

static inline bool streq(const char *a, const char *b) { return strcmp(a, b) == 0; }
static inline bool str_has_prefix(const char *s, const char *p) { return strncmp(s, p, strlen(p)) == 0; }
bool str_has_suffix(const char *s, const char *suffix);

/* Whole-string numbers in base 10: no sign where the type has none, no space, no trailing bytes.
 * 0, -EINVAL (not a number) or -ERANGE. */
int parse_u64(const char *s, uint64_t *ret);
int parse_i64(const char *s, int64_t *ret);
int parse_u32(const char *s, uint32_t *ret);
/* Like parse_u64 in the given base (8, 10 or 16; no prefix). */
int parse_u64_base(const char *s, unsigned base, uint64_t *ret);

#endif
