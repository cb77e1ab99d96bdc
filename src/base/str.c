/* Strings: see str.h. */
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static int reserve(struct strbuf *b, size_t more) {
	size_t need;
	if (__builtin_add_overflow(b->len, more, &need) || __builtin_add_overflow(need, 1, &need))
		goto fail;
	if (need <= b->cap)
		return 0;
	size_t cap = b->cap ? b->cap : 64;
	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	char *s = realloc(b->s, cap);
	if (!s)
		goto fail;
	b->s = s;
	b->cap = cap;
	return 0;
fail:
	b->failed = true;
	return -ENOMEM;
}

int strbuf_add(struct strbuf *b, const void *data, size_t n) {
	int r = reserve(b, n);
	if (r < 0)
		return r;
	if (n)
		memcpy(b->s + b->len, data, n);
	b->len += n;
	b->s[b->len] = '\0';
	return 0;
}

int strbuf_puts(struct strbuf *b, const char *s) {
	return strbuf_add(b, s, strlen(s));
}

int strbuf_putc(struct strbuf *b, char c) {
	return strbuf_add(b, &c, 1);
}

int strbuf_printf(struct strbuf *b, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	int r = reserve(b, (size_t)n);
	if (r < 0)
		return r;
	va_start(ap, fmt);
	vsnprintf(b->s + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

const char *strbuf_str(const struct strbuf *b) {
	return b->s ? b->s : "";
}

char *strbuf_take(struct strbuf *b) {
	if (b->failed || reserve(b, 0) < 0)
		return NULL;
	b->s[b->len] = '\0';
	char *s = b->s;
	*b = (struct strbuf)STRBUF_INIT;
	return s;
}

void strbuf_clear(struct strbuf *b) {
	b->len = 0;
	b->failed = false;
	if (b->s)
		b->s[0] = '\0';
}

void strbuf_free(struct strbuf *b) {
	free(b->s);
	*b = (struct strbuf)STRBUF_INIT;
}

int strv_push(char ***v, size_t *n, const char *s) {
	char **w = reallocarray(*v, *n + 2, sizeof(char *));
	if (!w)
		return -ENOMEM;
	*v = w;
	w[*n] = strdup(s);
	if (!w[*n])
		return -ENOMEM;
	w[++*n] = NULL;
	return 0;
}

void strv_free(char **v) {
	for (char **p = v; p && *p; p++)
		free(*p);
	free(v);
}

size_t strv_len(char *const *v) {
	size_t n = 0;
	while (v && v[n])
		n++;
	return n;
}

bool str_has_suffix(const char *s, const char *suffix) {
	size_t n = strlen(s), m = strlen(suffix);
	return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

int parse_u64_base(const char *s, unsigned base, uint64_t *ret) {
	uint64_t v = 0;
	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		unsigned d;
		if (*s >= '0' && *s <= '9')
			d = (unsigned)(*s - '0');
		else if (*s >= 'a' && *s <= 'f')
			d = (unsigned)(*s - 'a') + 10;
		else if (*s >= 'A' && *s <= 'F')
			d = (unsigned)(*s - 'A') + 10;
		else
			return -EINVAL;
		if (d >= base)
			return -EINVAL;
		if (__builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, (uint64_t)d, &v))
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

int parse_u64(const char *s, uint64_t *ret) {
	return parse_u64_base(s, 10, ret);
}

int parse_i64(const char *s, int64_t *ret) {
	uint64_t v;
	bool neg = *s == '-';
	int r = parse_u64(s + neg, &v);
	if (r < 0)
		return r;
	if (v > (uint64_t)INT64_MAX + neg)
		return -ERANGE;
	*ret = neg ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

int parse_u32(const char *s, uint32_t *ret) {
	uint64_t v;
	int r = parse_u64(s, &v);
	if (r < 0)
		return r;
	if (v > UINT32_MAX)
		return -ERANGE;
	*ret = (uint32_t)v;
	return 0;
}
