/* JSON writer: see json.h. */
#include "wire/json.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>

void jw_init(struct json_writer *w, struct strbuf *out, unsigned indent) {
	*w = (struct json_writer){ .out = out, .indent = indent };
	w->first[0] = true;
}

static void newline(struct json_writer *w) {
	if (!w->indent)
		return;
	strbuf_putc(w->out, '\n');
	for (unsigned i = 0; i < w->indent * w->depth; i++)
		strbuf_putc(w->out, ' ');
}

static void before(struct json_writer *w) {
	if (w->after_key) {
		w->after_key = false;
		return;
	}
	if (!w->first[w->depth])
		strbuf_putc(w->out, ',');
	w->first[w->depth] = false;
	if (w->depth)
		newline(w);
}

static void open_level(struct json_writer *w, char c) {
	before(w);
	strbuf_putc(w->out, c);
	if (w->depth + 1 >= JSON_MAX_DEPTH) {
		w->failed = true;
		return;
	}
	w->first[++w->depth] = true;
}

static void close_level(struct json_writer *w, char c) {
	if (w->depth == 0) {
		w->failed = true;
		return;
	}
	bool empty = w->first[w->depth--];
	if (!empty)
		newline(w);
	strbuf_putc(w->out, c);
}

void jw_object(struct json_writer *w) { open_level(w, '{'); }
void jw_object_end(struct json_writer *w) { close_level(w, '}'); }
void jw_array(struct json_writer *w) { open_level(w, '['); }
void jw_array_end(struct json_writer *w) { close_level(w, ']'); }

/* Valid UTF-8 passes; each byte that is not part of a valid sequence becomes U+FFFD. */
static size_t sequence(const unsigned char *p, size_t n) {
	size_t want = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
	if (want == 0 || want > n)
		return 0;
	for (size_t i = 1; i < want; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return want;
}

static void quoted(struct json_writer *w, const char *s, size_t n) {
	strbuf_putc(w->out, '"');
	for (size_t i = 0; i < n;) {
		unsigned char c = (unsigned char)s[i];
		size_t k = sequence((const unsigned char *)s + i, n - i);
		if (k == 0) {
			strbuf_puts(w->out, "\xef\xbf\xbd");
			i++;
			continue;
		}
		if (c == '"' || c == '\\')
			strbuf_printf(w->out, "\\%c", c);
		else if (c == '\n')
			strbuf_puts(w->out, "\\n");
		else if (c == '\t')
			strbuf_puts(w->out, "\\t");
		else if (c == '\r')
			strbuf_puts(w->out, "\\r");
		else if (c < 0x20)
			strbuf_printf(w->out, "\\u%04x", c);
		else
			strbuf_add(w->out, s + i, k);
		i += k;
	}
	strbuf_putc(w->out, '"');
}

void jw_key(struct json_writer *w, const char *key) {
	if (w->after_key || w->depth == 0)
		w->failed = true;
	before(w);
	quoted(w, key, strlen(key));
	strbuf_puts(w->out, w->indent ? ": " : ":");
	w->after_key = true;
}

void jw_string_n(struct json_writer *w, const char *s, size_t n) {
	before(w);
	quoted(w, s, n);
}

void jw_string(struct json_writer *w, const char *s) {
	if (s)
		jw_string_n(w, s, strlen(s));
	else
		jw_null(w);
}

void jw_i64(struct json_writer *w, int64_t v) {
	before(w);
	strbuf_printf(w->out, "%" PRId64, v);
}

void jw_u64(struct json_writer *w, uint64_t v) {
	before(w);
	strbuf_printf(w->out, "%" PRIu64, v);
}

void jw_double(struct json_writer *w, double v) {
	before(w);
	if (isfinite(v))
		strbuf_printf(w->out, "%.15g", v);
	else
		strbuf_puts(w->out, "null");
}

void jw_bool(struct json_writer *w, bool v) {
	before(w);
	strbuf_puts(w->out, v ? "true" : "false");
}

void jw_null(struct json_writer *w) {
	before(w);
	strbuf_puts(w->out, "null");
}

void jw_value(struct json_writer *w, const struct json *j) {
	switch (j->type) {
	case JSON_NULL:
		jw_null(w);
		break;
	case JSON_BOOL:
		jw_bool(w, j->boolean);
		break;
	case JSON_NUMBER:
		before(w);
		strbuf_puts(w->out, j->text);
		break;
	case JSON_STRING:
		jw_string_n(w, j->text, j->len);
		break;
	case JSON_ARRAY:
		jw_array(w);
		for (const struct json *m = j->first; m; m = m->next)
			jw_value(w, m);
		jw_array_end(w);
		break;
	case JSON_OBJECT:
		jw_object(w);
		for (const struct json *m = j->first; m; m = m->next) {
			jw_key(w, m->key);
			jw_value(w, m);
		}
		jw_object_end(w);
		break;
	}
}

void jw_kv_string(struct json_writer *w, const char *key, const char *s) {
	jw_key(w, key);
	jw_string(w, s);
}

void jw_kv_i64(struct json_writer *w, const char *key, int64_t v) {
	jw_key(w, key);
	jw_i64(w, v);
}

void jw_kv_u64(struct json_writer *w, const char *key, uint64_t v) {
	jw_key(w, key);
	jw_u64(w, v);
}

void jw_kv_bool(struct json_writer *w, const char *key, bool v) {
	jw_key(w, key);
	jw_bool(w, v);
}

int jw_finish(struct json_writer *w) {
	if (w->out->failed)
		return -ENOMEM;
	if (w->failed || w->depth || w->after_key)
		return -EINVAL;
	if (w->indent)
		strbuf_putc(w->out, '\n');
	return w->out->failed ? -ENOMEM : 0;
}
