/* Table-driven decoding: see decode.h. */
#include "spec/decode.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/str.h"
#include "spec/oci.h"

static void print_path(struct strbuf *b, const struct decode_path *p) {
	if (!p)
		return;
	print_path(b, p->up);
	if (p->key) {
		if (p->up)
			strbuf_putc(b, '.');
		strbuf_puts(b, p->key);
	} else {
		strbuf_printf(b, "[%u]", p->index);
	}
}

int decode_fail(struct decoder *d, const struct decode_path *p, const char *fmt, ...) {
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	char *msg = NULL;
	va_list ap;
	print_path(&path, p);
	va_start(ap, fmt);
	if (vasprintf(&msg, fmt, ap) < 0)
		msg = NULL;
	va_end(ap);
	if (path.len)
		err_set(d->e, -EINVAL, "%s: %s: %s", d->document, strbuf_str(&path), msg ? msg : "invalid");
	else
		err_set(d->e, -EINVAL, "%s: %s", d->document, msg ? msg : "invalid");
	free(msg);
	return -EINVAL;
}

int decode_oom(struct decoder *d) {
	return err_sys(d->e, -ENOMEM, "read %s", d->document);
}

enum { SHOWN = 80 }; /* a hostile value must not fill the log */

int decode_type_error(struct decoder *d, const struct decode_path *p, const char *expected, const struct json *j) {
	switch (j->type) {
	case JSON_NUMBER:
		return decode_fail(d, p, "expected %s, got number %.*s", expected, SHOWN, j->text);
	case JSON_STRING:
		return decode_fail(d, p, "expected %s, got string \"%.*s\"", expected, SHOWN, j->text);
	case JSON_BOOL:
		return decode_fail(d, p, "expected %s, got %s", expected, j->boolean ? "true" : "false");
	default:
		return decode_fail(d, p, "expected %s, got %s", expected, json_type_name(j->type));
	}
}

int decode_name(struct decoder *d, const struct decode_path *p, const struct json *j, const struct name_value *table, int64_t *ret) {
	if (j->type != JSON_STRING)
		return decode_type_error(d, p, "string", j);
	for (const struct name_value *t = table; t->name; t++) {
		if (streq(t->name, j->text)) {
			*ret = t->value;
			return 0;
		}
	}
	_cleanup_strbuf_ struct strbuf list = STRBUF_INIT;
	for (const struct name_value *t = table; t->name; t++)
		strbuf_printf(&list, "%s%s", t == table ? "" : ", ", t->name);
	return decode_fail(d, p, "\"%.*s\" is not one of %s", SHOWN, j->text, strbuf_str(&list));
}

int decode_strings(struct decoder *d, const struct decode_path *p, const struct json *j, void *ret) {
	struct oci_strings *s = ret;
	if (j->type != JSON_ARRAY)
		return decode_type_error(d, p, "array of strings", j);
	char **v = arena_array(d->a, (size_t)j->len + 1, char *);
	if (!v)
		return decode_oom(d);
	struct decode_path here = { .up = p };
	for (const struct json *m = j->first; m; m = m->next, here.index++) {
		if (m->type != JSON_STRING)
			return decode_type_error(d, &here, "string", m);
		/* The arena owns the text; the pointer loses const only because execve(2) wants char *. */
		v[here.index] = (char *)(uintptr_t)m->text;
	}
	s->v = v;
	s->n = j->len;
	return 0;
}

static int decode_map(struct decoder *d, const struct decode_path *p, const struct json *j, struct oci_map *ret) {
	if (j->type != JSON_OBJECT)
		return decode_type_error(d, p, "object with string values", j);
	struct oci_map_entry *v = arena_array(d->a, j->len, struct oci_map_entry);
	if (!v)
		return decode_oom(d);
	size_t n = 0;
	for (const struct json *m = j->first; m; m = m->next) {
		struct decode_path here = { .up = p, .key = m->key };
		if (m->type != JSON_STRING)
			return decode_type_error(d, &here, "string", m);
		v[n++] = (struct oci_map_entry){ m->key, m->text };
	}
	ret->v = v;
	ret->n = n;
	return 0;
}

static int decode_signed(struct decoder *d, const struct decode_path *p, const struct json *j, int64_t min, int64_t max, int64_t *ret) {
	int64_t v;
	int r = json_i64(j, &v);
	if (r == -EINVAL)
		return decode_type_error(d, p, "integer", j);
	if (r < 0 || v < min || v > max)
		return decode_fail(d, p, "%.*s is out of range (%lld to %lld)", SHOWN, j->text, (long long)min, (long long)max);
	*ret = v;
	return 0;
}

static int decode_unsigned(struct decoder *d, const struct decode_path *p, const struct json *j, uint64_t max, uint64_t *ret) {
	uint64_t v;
	int r = json_u64(j, &v);
	if (r == -EINVAL)
		return decode_type_error(d, p, "unsigned integer", j);
	if (r < 0 || v > max)
		return decode_fail(d, p, "%.*s is out of range (0 to %llu)", SHOWN, j->text, (unsigned long long)max);
	*ret = v;
	return 0;
}

static int decode_list(struct decoder *d, const struct decode_path *p, const struct json *j, const struct field *f, void *obj) {
	if (j->type != JSON_ARRAY)
		return decode_type_error(d, p, "array", j);
	char *v = arena_calloc(d->a, (size_t)j->len + 1, f->size);
	if (!v)
		return decode_oom(d);
	struct decode_path here = { .up = p };
	for (struct json *m = j->first; m; m = m->next, here.index++) {
		void *elem = v + here.index * f->size;
		int r = decode_object(d, &here, m, f->sub, elem);
		if (r == 0 && f->fn)
			r = f->fn(d, &here, m, elem);
		if (r < 0)
			return r;
	}
	*(void **)((char *)obj + f->offset) = v;
	*(size_t *)((char *)obj + f->count) = j->len;
	return 0;
}

static int decode_field(struct decoder *d, const struct decode_path *p, struct json *j, const struct field *f, void *obj) {
	void *at = (char *)obj + f->offset;
	int64_t i = 0;
	uint64_t u = 0;
	int r;
	switch (f->kind) {
	case FIELD_STRING:
	case FIELD_TEXT:
		if (j->type != JSON_STRING)
			return decode_type_error(d, p, "string", j);
		*(const char **)at = f->kind == FIELD_TEXT && !j->len ? NULL : j->text;
		return 0;
	case FIELD_BOOL:
		if (j->type != JSON_BOOL)
			return decode_type_error(d, p, "true or false", j);
		*(bool *)at = j->boolean;
		return 0;
	case FIELD_OPT_BOOL:
		if (j->type != JSON_BOOL)
			return decode_type_error(d, p, "true or false", j);
		*(struct opt_bool *)at = (struct opt_bool){ true, j->boolean };
		return 0;
	case FIELD_I32:
		r = decode_signed(d, p, j, INT32_MIN, INT32_MAX, &i);
		*(int32_t *)at = (int32_t)i;
		return r;
	case FIELD_I64:
		return decode_signed(d, p, j, INT64_MIN, INT64_MAX, at);
	case FIELD_U32:
		r = decode_unsigned(d, p, j, UINT32_MAX, &u);
		*(uint32_t *)at = (uint32_t)u;
		return r;
	case FIELD_U64:
		return decode_unsigned(d, p, j, UINT64_MAX, at);
	case FIELD_OPT_I64:
		r = decode_signed(d, p, j, INT64_MIN, INT64_MAX, &i);
		*(struct opt_i64 *)at = (struct opt_i64){ true, i };
		return r;
	case FIELD_OPT_U16:
	case FIELD_OPT_U32:
	case FIELD_OPT_U64:
		r = decode_unsigned(d, p, j, f->kind == FIELD_OPT_U16 ? UINT16_MAX : f->kind == FIELD_OPT_U32 ? UINT32_MAX : UINT64_MAX, &u);
		*(struct opt_u64 *)at = (struct opt_u64){ true, u };
		return r;
	case FIELD_STRINGS:
		return decode_strings(d, p, j, at);
	case FIELD_MAP:
		return decode_map(d, p, j, at);
	case FIELD_OBJECT:
		r = decode_object(d, p, j, f->sub, at);
		return r == 0 && f->fn ? f->fn(d, p, j, at) : r;
	case FIELD_LIST:
		return decode_list(d, p, j, f, obj);
	case FIELD_CUSTOM:
		return f->fn(d, p, j, obj);
	}
	return -EINVAL;
}

int decode_object(struct decoder *d, const struct decode_path *p, struct json *j, const struct field *table, void *obj) {
	if (j->type != JSON_OBJECT)
		return decode_type_error(d, p, "object", j);
	for (const struct field *f = table; f->key; f++) {
		struct json *m = json_get(j, f->key);
		struct decode_path here = { .up = p, .key = f->key };
		if (!m || m->type == JSON_NULL) {
			if (f->flags & FIELD_REQUIRED)
				return decode_fail(d, &here, "is required");
			continue;
		}
		int r = decode_field(d, &here, m, f, obj);
		if (r < 0)
			return r;
	}
	return 0;
}
