/* Functions of templates: a row each. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "cmd/tierce/gotemplate_priv.h"

struct call { struct template *t; const struct template_value *v; size_t n; struct strbuf *out; const struct json *result; };

/* As printed: the field's form, else the value. */
static void text_of(const struct template_value *v, struct strbuf *out) {
	if (v->shown)
		strbuf_puts(out, v->shown);
	else
		template_print(v->j, out);
}

static int f_json(struct call *c) {
	struct json_writer w;
	if (c->v[0].path)
		return err_set(c->t->e, -EINVAL, "--format: there is no field \"%.*s\"", (int)c->v[0].path_len, c->v[0].path);
	jw_init(&w, c->out, 0);
	if (c->v[0].j)
		jw_value(&w, c->v[0].j);
	else
		jw_null(&w);
	return 0;
}

static int f_join(struct call *c) {
	_cleanup_strbuf_ struct strbuf sep = STRBUF_INIT;
	/* strings.Join's order, and the other way round as in a pipeline. */
	const struct template_value *list = &c->v[0], *s = &c->v[1];
	if (list->j && list->j->type == JSON_STRING && s->j && s->j->type == JSON_ARRAY) {
		list = &c->v[1];
		s = &c->v[0];
	}
	text_of(s, &sep);
	for (const struct json *m = json_first(list->j); m; m = m->next) {
		template_print(m, c->out);
		if (m->next)
			strbuf_puts(c->out, strbuf_str(&sep));
	}
	return 0;
}

static int map_text(struct call *c, int (*first)(int), int (*rest)(int)) {
	_cleanup_strbuf_ struct strbuf s = STRBUF_INIT;
	text_of(&c->v[0], &s);
	bool start = true;
	for (size_t i = 0; i < s.len; i++) {
		unsigned char ch = (unsigned char)s.s[i];
		strbuf_putc(c->out, (char)(start ? first(ch) : rest(ch)));
		start = !isalnum(ch);
	}
	return 0;
}

static int same(int c) { return c; }
static int f_lower(struct call *c) { return map_text(c, tolower, tolower); }
static int f_upper(struct call *c) { return map_text(c, toupper, toupper); }
static int f_title(struct call *c) { return map_text(c, toupper, same); }

static int f_truncate(struct call *c) {
	_cleanup_strbuf_ struct strbuf s = STRBUF_INIT;
	int64_t n;
	text_of(&c->v[0], &s);
	if (json_i64(c->v[1].j, &n) < 0 || n < 0)
		return err_set(c->t->e, -EINVAL, "--format: truncate wants a text and a length");
	strbuf_add(c->out, strbuf_str(&s), MIN(s.len, (size_t)n));
	return 0;
}

static int f_split(struct call *c) {
	_cleanup_strbuf_ struct strbuf s = STRBUF_INIT, sep = STRBUF_INIT;
	struct json *list = arena_new(&c->t->a, struct json), **next;
	text_of(&c->v[0], &s);
	text_of(&c->v[1], &sep);
	if (!list || !sep.len)
		return list ? err_set(c->t->e, -EINVAL, "--format: split wants a separator") : -ENOMEM;
	*list = (struct json){ .type = JSON_ARRAY };
	next = &list->first;
	for (const char *p = strbuf_str(&s), *hit;; p = hit + sep.len) {
		hit = strstr(p, sep.s);
		struct json *m = template_string(c->t, p, hit ? (size_t)(hit - p) : strlen(p));
		if (!m)
			return -ENOMEM;
		*next = m;
		next = &m->next;
		list->len++;
		if (!hit)
			break;
	}
	c->result = list;
	return 0;
}

static int f_len(struct call *c) {
	const struct json *j = c->v[0].j;
	c->result = template_number(c->t, j && j->type != JSON_NUMBER && j->type != JSON_BOOL && j->type != JSON_NULL ? j->len : 0);
	return 0;
}

static int f_index(struct call *c) {
	const struct json *j = c->v[0].j;
	if (c->v[0].path)
		return err_set(c->t->e, -EINVAL, "--format: there is no field \"%.*s\"", (int)c->v[0].path_len, c->v[0].path);
	for (size_t i = 1; i < c->n; i++) {
		const struct json *key = c->v[i].j;
		int64_t at;
		if (j && j->type == JSON_ARRAY) {
			if (json_i64(key, &at) < 0 || at < 0 || at >= (int64_t)j->len)
				return err_set(c->t->e, -EINVAL, "--format: index is out of the list's range");
			for (j = json_first(j); at-- > 0;)
				j = j->next;
		} else {
			j = key && key->type == JSON_STRING ? json_get(j, key->text) : NULL;
		}
	}
	c->result = j;
	return 0;
}

/* -1, 0, 1; 2: they cannot be compared. */
static int compare(const struct template_value *a, const struct template_value *b) {
	double x, y;
	if (a->j && b->j && a->j->type == JSON_NUMBER && b->j->type == JSON_NUMBER && json_double(a->j, &x) == 0 && json_double(b->j, &y) == 0)
		return x < y ? -1 : x > y;
	if (a->j && b->j && a->j->type == JSON_BOOL && b->j->type == JSON_BOOL)
		return a->j->boolean - b->j->boolean;
	if (!a->j || !b->j)
		return a->j == b->j ? 0 : 2;
	_cleanup_strbuf_ struct strbuf s = STRBUF_INIT, t = STRBUF_INIT;
	template_print(a->j, &s);
	template_print(b->j, &t);
	int r = strcmp(strbuf_str(&s), strbuf_str(&t));
	return r < 0 ? -1 : r > 0;
}

static int f_eq(struct call *c) {
	bool yes = false;
	for (size_t i = 1; i < c->n; i++)
		yes |= compare(&c->v[0], &c->v[i]) == 0;
	c->result = template_bool(c->t, yes);
	return 0;
}

static int decide(struct call *c, bool less, bool equal, bool more) {
	int r = compare(&c->v[0], &c->v[1]);
	c->result = template_bool(c->t, r < 0 ? less : r == 0 ? equal : more);
	return 0;
}

static int f_ne(struct call *c) { return decide(c, true, false, true); }
static int f_lt(struct call *c) { return decide(c, true, false, false); }
static int f_le(struct call *c) { return decide(c, true, true, false); }
static int f_gt(struct call *c) { return decide(c, false, false, true); }
static int f_ge(struct call *c) { return decide(c, false, true, true); }

static int f_not(struct call *c) {
	c->result = template_bool(c->t, !template_truth(c->v[0].j));
	return 0;
}

/* and: the first that is false, or the last; or: the first that is true, or the last. */
static int pick(struct call *c, bool wanted) {
	for (size_t i = 0; i < c->n; i++) {
		c->result = c->v[i].j;
		if (template_truth(c->v[i].j) == wanted)
			break;
	}
	return 0;
}

static int f_and(struct call *c) { return pick(c, false); }
static int f_or(struct call *c) { return pick(c, true); }

static int f_print(struct call *c) {
	for (size_t i = 0; i < c->n; i++)
		text_of(&c->v[i], c->out);
	return 0;
}

static int f_println(struct call *c) {
	for (size_t i = 0; i < c->n; i++) {
		strbuf_puts(c->out, i ? " " : "");
		text_of(&c->v[i], c->out);
	}
	strbuf_putc(c->out, '\n');
	return 0;
}

/* One verb with flags and width at p ("%-10s"); returns what follows it. */
static const char *format_one(struct call *c, const char *p, const struct template_value *v) {
	enum { WIDTH_MAX = 1024 };
	_cleanup_strbuf_ struct strbuf s = STRBUF_INIT;
	bool left = false, zero = false;
	size_t width = 0;
	for (; *p == '-' || *p == '0' || *p == '+' || *p == ' '; p++) {
		left |= *p == '-';
		zero |= *p == '0';
	}
	for (; isdigit((unsigned char)*p); p++)
		width = MIN(width * 10 + (size_t)(*p - '0'), (size_t)WIDTH_MAX);
	if (*p == 'q' && v) {
		struct json_writer w;
		_cleanup_strbuf_ struct strbuf plain = STRBUF_INIT;
		text_of(v, &plain);
		jw_init(&w, &s, 0);
		jw_string(&w, strbuf_str(&plain));
	} else if (v && *p && strchr("svdtxgf", *p)) {
		text_of(v, &s);
	} else {
		strbuf_printf(&s, v ? "%%!%c(BAD)" : "%%!%c(MISSING)", *p ? *p : '?');
	}
	for (size_t i = s.len; !left && i < width; i++)
		strbuf_putc(c->out, zero ? '0' : ' ');
	strbuf_puts(c->out, strbuf_str(&s));
	for (size_t i = s.len; left && i < width; i++)
		strbuf_putc(c->out, ' ');
	return *p ? p + 1 : p;
}

static int f_printf(struct call *c) {
	size_t k = 1;
	if (!c->v[0].j || c->v[0].j->type != JSON_STRING)
		return err_set(c->t->e, -EINVAL, "--format: printf wants a text first");
	for (const char *p = c->v[0].j->text; *p;) {
		if (*p != '%') {
			strbuf_putc(c->out, *p++);
		} else if (p[1] == '%') {
			strbuf_putc(c->out, '%');
			p += 2;
		} else {
			p = format_one(c, p + 1, k < c->n ? &c->v[k] : NULL);
			k++;
		}
	}
	return 0;
}

static const struct { const char *name; size_t min, max; int (*fn)(struct call *c); } functions[] = {
	{ "and", 1, TEMPLATE_ARGS_MAX, f_and }, { "eq", 2, TEMPLATE_ARGS_MAX, f_eq }, { "ge", 2, 2, f_ge }, { "gt", 2, 2, f_gt }, { "index", 1, TEMPLATE_ARGS_MAX, f_index },
	{ "join", 2, 2, f_join }, { "json", 1, 1, f_json }, { "le", 2, 2, f_le }, { "len", 1, 1, f_len }, { "lower", 1, 1, f_lower }, { "lt", 2, 2, f_lt },
	{ "ne", 2, 2, f_ne }, { "not", 1, 1, f_not }, { "or", 1, TEMPLATE_ARGS_MAX, f_or }, { "print", 0, TEMPLATE_ARGS_MAX, f_print }, { "printf", 1, TEMPLATE_ARGS_MAX, f_printf },
	{ "println", 0, TEMPLATE_ARGS_MAX, f_println }, { "split", 2, 2, f_split }, { "title", 1, 1, f_title }, { "truncate", 2, 2, f_truncate }, { "upper", 1, 1, f_upper },
};

int template_call(struct template *t, const char *name, size_t len, const struct template_value *args, size_t n, struct template_value *ret) {
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct call c = { .t = t, .v = args, .n = n, .out = &out };
	size_t i = 0;
	while (i < ARRAY_SIZE(functions) && !(strlen(functions[i].name) == len && memcmp(functions[i].name, name, len) == 0))
		i++;
	if (i == ARRAY_SIZE(functions))
		return err_set(t->e, -EINVAL, "--format: there is no function \"%.*s\"", (int)len, name);
	if (n < functions[i].min || n > functions[i].max)
		return err_set(t->e, -EINVAL, "--format: %s takes %zu argument%s, not %zu", functions[i].name, functions[i].min, functions[i].min == 1 ? "" : "s", n);
	int r = functions[i].fn(&c);
	if (r == -ENOMEM || out.failed)
		return err_sys(t->e, -ENOMEM, "--format");
	if (r < 0)
		return r;
	/* Those that build a text leave it in out, the others a value. */
	bool value = c.result || functions[i].fn == f_index || functions[i].fn == f_and || functions[i].fn == f_or;
	ret->j = value ? c.result : template_string(t, strbuf_str(&out), out.len);
	return 0;
}
