/* Go's templates: see gotemplate.h. Text is run as it is read: a branch that is not taken is read with `skip` set, the body of a loop is read once an element. */
#include "cmd/tierce/gotemplate.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "cmd/tierce/gotemplate_priv.h"

/* ---- values ------------------------------------------------------------------------------------------------------------------------- */

void template_print(const struct json *j, struct strbuf *out) {
	if (!j || j->type == JSON_NULL) {
		strbuf_puts(out, "<no value>");
	} else if (j->type == JSON_STRING || j->type == JSON_NUMBER) {
		strbuf_puts(out, j->text);
	} else if (j->type == JSON_BOOL) {
		strbuf_puts(out, j->boolean ? "true" : "false");
	} else {
		strbuf_puts(out, j->type == JSON_ARRAY ? "[" : "map[");
		for (const struct json *m = json_first(j); m; m = m->next) {
			if (j->type == JSON_OBJECT)
				strbuf_printf(out, "%s:", m->key);
			template_print(m, out);
			if (m->next)
				strbuf_putc(out, ' ');
		}
		strbuf_putc(out, ']');
	}
}

bool template_truth(const struct json *j) {
	if (!j)
		return false;
	double d;
	switch (j->type) {
	case JSON_BOOL:
		return j->boolean;
	case JSON_NUMBER:
		return json_double(j, &d) < 0 || d < 0 || d > 0;
	case JSON_STRING:
		return *j->text;
	case JSON_ARRAY:
	case JSON_OBJECT:
		return json_first(j) != NULL;
	default:
		return false;
	}
}

static const struct json *member(const struct json *o, const char *name, size_t n) {
	if (!o || o->type != JSON_OBJECT)
		return NULL;
	for (const struct json *m = json_first(o); m; m = m->next)
		if (strlen(m->key) == n && memcmp(m->key, name, n) == 0)
			return m;
	for (const struct json *m = json_first(o); m; m = m->next)
		if (strlen(m->key) == n && strncasecmp(m->key, name, n) == 0)
			return m;
	return NULL;
}

static int no_field(struct template *t, const char *path, size_t n) {
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
	for (size_t i = 0; i < t->n_shown; i++)
		strbuf_printf(&names, "%s%s", i ? ", " : "", t->shown[i].name);
	return err_set(t->e, -EINVAL, "--format: there is no field \"%.*s\"%s%s", (int)n, path, t->n_shown ? "; there are " : "", strbuf_str(&names));
}

/* ".A.B" at *s from a value; the dot alone is the value itself. */
static void follow(struct template *t, const char **s, const char *end, struct template_value *v) {
	const char *start = *s;
	while (*s < end && **s == '.') {
		const char *name = ++*s;
		while (*s < end && (isalnum((unsigned char)**s) || **s == '_' || **s == '-'))
			++*s;
		size_t n = (size_t)(*s - name);
		if (!n)
			continue;
		bool top = v->j == t->root;
		v->shown = NULL;
		for (size_t i = 0; top && i < t->n_shown; i++)
			if (strlen(t->shown[i].name) == n && memcmp(t->shown[i].name, name, n) == 0)
				v->shown = t->shown[i].text;
		v->j = member(v->j, name, n);
		if (!v->j) {
			v->path = start;
			v->path_len = (size_t)(*s - start);
		}
	}
}

/* ---- operands and pipelines ------------------------------------------------------------------------------------------------------------ */

static void blanks(const char **s, const char *end) {
	while (*s < end && isspace((unsigned char)**s))
		++*s;
}

struct json *template_string(struct template *t, const char *s, size_t n) {
	struct json *j = arena_new(&t->a, struct json);
	char *copy = arena_strndup(&t->a, s, n);
	if (!j || !copy)
		return NULL;
	*j = (struct json){ .type = JSON_STRING, .len = (uint32_t)n, .text = copy };
	return j;
}

struct json *template_bool(struct template *t, bool v) {
	struct json *j = arena_new(&t->a, struct json);
	if (j)
		*j = (struct json){ .type = JSON_BOOL, .boolean = v };
	return j;
}

struct json *template_number(struct template *t, long long v) {
	struct json *j = arena_new(&t->a, struct json);
	const char *text = arena_printf(&t->a, "%lld", v);
	if (j && text)
		*j = (struct json){ .type = JSON_NUMBER, .len = (uint32_t)strlen(text), .text = text };
	return text ? j : NULL;
}

static int bad(struct template *t, const char *s, const char *end) {
	return err_set(t->e, -EINVAL, "--format: \"%.*s\" is not understood", (int)(end - s), s);
}

static int quoted(struct template *t, const char **s, const char *end, struct template_value *v) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char quote = *(*s)++;
	for (; *s < end && **s != quote; ++*s) {
		char c = **s;
		if (c == '\\' && quote == '"' && *s + 1 < end) {
			c = *++*s;
			c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
		}
		strbuf_putc(&b, c);
	}
	if (*s >= end)
		return err_set(t->e, -EINVAL, "--format: a quoted text does not end");
	++*s;
	v->j = template_string(t, strbuf_str(&b), b.len);
	return v->j ? 0 : err_sys(t->e, -ENOMEM, "--format");
}

static const struct json *variable(struct template *t, const char *name, size_t n) {
	for (size_t i = t->n_vars; i-- > 0;)
		if (t->vars[i].len == n && memcmp(t->vars[i].name, name, n) == 0)
			return t->vars[i].value;
	return NULL;
}

static bool declared(struct template *t, const char *name, size_t n) {
	for (size_t i = t->n_vars; i-- > 0;)
		if (t->vars[i].len == n && memcmp(t->vars[i].name, name, n) == 0)
			return true;
	return false;
}

static int pipeline(struct template *t, const char **s, const char *end, const struct json *dot, struct template_value *ret);

/* 1: there is none here. */
static int operand(struct template *t, const char **s, const char *end, const struct json *dot, struct template_value *v) {
	const char *start = *s;
	int r = 0;
	*v = (struct template_value){ 0 };
	if (*s >= end || **s == '|' || **s == ')')
		return 1;
	if (**s == '.') {
		v->j = dot;
		follow(t, s, end, v);
	} else if (**s == '$') {
		const char *name = ++*s;
		while (*s < end && (isalnum((unsigned char)**s) || **s == '_'))
			++*s;
		size_t n = (size_t)(*s - name);
		v->j = n ? variable(t, name, n) : t->root;
		if (n && !v->j && !t->skip && !declared(t, name, n))
			return err_set(t->e, -EINVAL, "--format: there is no variable $%.*s", (int)n, name);
		follow(t, s, end, v);
	} else if (**s == '"' || **s == '`') {
		r = quoted(t, s, end, v);
	} else if (**s == '(') {
		++*s;
		if (++t->depth > TEMPLATE_DEPTH_MAX)
			return err_set(t->e, -E2BIG, "--format: nested too deep");
		r = pipeline(t, s, end, dot, v);
		t->depth--;
		if (r == 0 && (*s >= end || **s != ')'))
			return bad(t, start, end);
		++*s;
		follow(t, s, end, v);
	} else if (isdigit((unsigned char)**s) || (**s == '-' && *s + 1 < end && isdigit((unsigned char)(*s)[1]))) {
		while (*s < end && (isdigit((unsigned char)**s) || **s == '-'))
			++*s;
		int64_t n;
		const char *text = arena_strndup(&t->a, start, (size_t)(*s - start));
		if (!text || parse_i64(text, &n) < 0)
			return bad(t, start, end);
		v->j = template_number(t, n);
	} else {
		while (*s < end && (isalnum((unsigned char)**s) || **s == '_'))
			++*s;
		size_t n = (size_t)(*s - start);
		static const struct { const char *word; int value; } words[] = { { "true", 1 }, { "false", 0 }, { "nil", -1 } };
		for (size_t i = 0; i < ARRAY_SIZE(words); i++)
			if (strlen(words[i].word) == n && memcmp(words[i].word, start, n) == 0) {
				v->j = words[i].value < 0 ? NULL : template_bool(t, words[i].value);
				return 0;
			}
		*s = start;
		return n ? 1 : bad(t, start, end);
	}
	return r;
}

static int command(struct template *t, const char **s, const char *end, const struct json *dot, const struct template_value *piped, struct template_value *ret) {
	struct template_value args[TEMPLATE_ARGS_MAX];
	size_t n = 0;
	const char *start = *s;
	int r = operand(t, s, end, dot, ret);
	if (r < 0)
		return r;
	if (r == 0) {
		blanks(s, end);
		return piped || (*s < end && **s != '|' && **s != ')') ? bad(t, start, end) : 0;
	}
	while (*s < end && isalnum((unsigned char)**s))
		++*s;
	size_t len = (size_t)(*s - start);
	if (!len)
		return bad(t, start, end);
	for (;;) {
		blanks(s, end);
		if (n == TEMPLATE_ARGS_MAX)
			return err_set(t->e, -E2BIG, "--format: more than %d arguments", TEMPLATE_ARGS_MAX);
		const char *at = *s;
		r = operand(t, s, end, dot, &args[n]);
		if (r < 0)
			return r;
		if (r == 1) {
			if (at < end && *at != '|' && *at != ')')
				return bad(t, at, end);
			break;
		}
		n++;
	}
	if (piped) {
		if (n == TEMPLATE_ARGS_MAX)
			return err_set(t->e, -E2BIG, "--format: more than %d arguments", TEMPLATE_ARGS_MAX);
		args[n++] = *piped;
	}
	*ret = (struct template_value){ 0 };
	return t->skip ? 0 : template_call(t, start, len, args, n, ret);
}

static int pipeline(struct template *t, const char **s, const char *end, const struct json *dot, struct template_value *ret) {
	struct template_value v;
	blanks(s, end);
	int r = command(t, s, end, dot, NULL, ret);
	for (blanks(s, end); r == 0 && *s < end && **s == '|'; blanks(s, end)) {
		++*s;
		blanks(s, end);
		v = *ret;
		r = command(t, s, end, dot, &v, ret);
	}
	return r;
}

/* The whole of an action. */
static int evaluate(struct template *t, const char *s, const char *end, const struct json *dot, struct template_value *ret) {
	const char *start = s;
	int r = pipeline(t, &s, end, dot, ret);
	return r < 0 ? r : s < end ? bad(t, start, end) : 0;
}

/* ---- actions ------------------------------------------------------------------------------------------------------------------------------ */

enum stop { STOP_EOF, STOP_END, STOP_ELSE };
struct span { const char *s, *end; };

static int block(struct template *t, const struct json *dot, enum stop *stop, struct span *rest);

static bool word(struct span *a, const char *w) {
	size_t n = strlen(w);
	if ((size_t)(a->end - a->s) < n || memcmp(a->s, w, n) || (a->s + n < a->end && !isspace((unsigned char)a->s[n])))
		return false;
	a->s += n;
	blanks(&a->s, a->end);
	return true;
}

static int needs_end(struct template *t, enum stop stop) {
	return stop == STOP_END ? 0 : err_set(t->e, -EINVAL, "--format: if, range or with lacks {{end}}");
}

/* if and with: with changes the dot of its body. */
static int conditional(struct template *t, struct span a, bool with, const struct json *dot) {
	struct template_value v = { 0 };
	enum stop stop;
	struct span rest = a;
	bool outer = t->skip, taken = false;
	for (bool last = false;; last = true) {
		int r = evaluate(t, a.s, a.end, dot, &v);
		bool yes = !outer && !taken && template_truth(v.j);
		if (r < 0)
			return r;
		t->skip = outer || !yes;
		taken |= yes;
		r = block(t, with && yes ? v.j : dot, &stop, &rest);
		t->skip = outer;
		if (r < 0)
			return r;
		if (stop != STOP_ELSE)
			return needs_end(t, stop);
		a = rest;
		if (!word(&a, "if") && !word(&a, "with"))
			break;
		/* The condition of a branch that cannot be taken is read, not run. */
		t->skip = outer || taken;
		(void)last;
	}
	if (rest.s < rest.end)
		return bad(t, rest.s, rest.end);
	t->skip = outer || taken;
	int r = block(t, dot, &stop, &rest);
	t->skip = outer;
	return r < 0 ? r : needs_end(t, stop);
}

/* "$i, $v := " in front; returns how many names. */
static size_t loop_names(struct span *a, struct span names[2]) {
	const char *assign = NULL;
	for (const char *s = a->s; s + 1 < a->end && *s != '"' && *s != '`' && !assign; s++)
		if (s[0] == ':' && s[1] == '=')
			assign = s;
	if (!assign || *a->s != '$')
		return 0;
	size_t n = 0;
	for (const char *s = a->s; s < assign && n < 2;) {
		while (s < assign && *s != '$')
			s++;
		if (s == assign)
			break;
		names[n].s = ++s;
		while (s < assign && (isalnum((unsigned char)*s) || *s == '_'))
			s++;
		names[n++].end = s;
	}
	a->s = assign + 2;
	blanks(&a->s, a->end);
	return n;
}

static int set_variable(struct template *t, struct span name, const struct json *v) {
	if (t->n_vars == TEMPLATE_VARIABLES_MAX)
		return err_set(t->e, -E2BIG, "--format: more than %d variables", TEMPLATE_VARIABLES_MAX);
	t->vars[t->n_vars++] = (struct template_variable){ name.s, (size_t)(name.end - name.s), v };
	return 0;
}

static int each(struct template *t, const struct json *list, const struct span names[2], size_t n_names, enum stop *stop, struct span *rest) {
	const char *body = t->p;
	size_t vars = t->n_vars, i = 0;
	int r = 0;
	for (const struct json *m = json_first(list); m && r == 0; m = m->next, i++) {
		t->p = body;
		t->n_vars = vars;
		if (n_names == 2)
			r = set_variable(t, names[0], list->type == JSON_OBJECT ? template_string(t, m->key, strlen(m->key)) : template_number(t, (long long)i));
		if (r == 0 && n_names)
			r = set_variable(t, names[n_names - 1], m);
		if (r == 0)
			r = block(t, m, stop, rest);
	}
	t->n_vars = vars;
	return r;
}

static int loop(struct template *t, struct span a, const struct json *dot) {
	struct template_value v;
	struct span names[2], rest;
	enum stop stop = STOP_EOF;
	size_t n = loop_names(&a, names);
	bool outer = t->skip;
	int r = evaluate(t, a.s, a.end, dot, &v);
	if (r < 0)
		return r;
	if (!outer && v.j && v.j->type != JSON_ARRAY && v.j->type != JSON_OBJECT && v.j->type != JSON_NULL)
		return err_set(t->e, -EINVAL, "--format: range over \"%.*s\", which is no list", (int)(a.end - a.s), a.s);
	bool some = !outer && json_first(v.j) != NULL;
	if (some) {
		r = each(t, v.j, names, n, &stop, &rest);
	} else {
		t->skip = true;
		r = block(t, dot, &stop, &rest);
		t->skip = outer;
	}
	if (r == 0 && stop == STOP_ELSE) {
		t->skip = outer || some;
		r = block(t, dot, &stop, &rest);
		t->skip = outer;
	}
	return r < 0 ? r : needs_end(t, stop);
}

static int print_value(struct template *t, const struct template_value *v) {
	if (v->path)
		return no_field(t, v->path, v->path_len);
	if (v->shown) {
		strbuf_puts(t->out, v->shown);
	} else if (v->j == t->root && t->n_shown) {
		struct json_writer w;
		jw_init(&w, t->out, 0);
		jw_value(&w, v->j);
	} else {
		template_print(v->j, t->out);
	}
	return 0;
}

static int plain_action(struct template *t, struct span a, const struct json *dot) {
	struct template_value v;
	struct span names[2];
	size_t n = loop_names(&a, names);
	int r = evaluate(t, a.s, a.end, dot, &v);
	if (r < 0 || t->skip)
		return r;
	return n ? set_variable(t, names[0], v.j) : print_value(t, &v);
}

/* ---- text ----------------------------------------------------------------------------------------------------------------------------------- */

/* The end of an action: "}}" outside of quotes. */
static const char *action_end(const char *s) {
	for (char quote = 0; *s; s++) {
		if (quote && *s == '\\' && quote == '"' && s[1])
			s++;
		else if (quote)
			quote = *s == quote ? 0 : quote;
		else if (*s == '"' || *s == '`')
			quote = *s;
		else if (s[0] == '}' && s[1] == '}')
			return s;
	}
	return NULL;
}

static void put_text(struct template *t, const char *s, const char *end) {
	for (; !t->skip && s < end; s++) {
		if (s[0] == '\\' && s + 1 < end && (s[1] == 't' || s[1] == 'n'))
			strbuf_putc(t->out, *++s == 't' ? '\t' : '\n');
		else
			strbuf_putc(t->out, *s);
	}
}

/* Text up to the next action, and that. 1: the text is over. */
static int next_action(struct template *t, struct span *a) {
	const char *open = strstr(t->p, "{{");
	const char *end = open ? open : t->p + strlen(t->p);
	bool trim = open && open[2] == '-' && isspace((unsigned char)open[3]);
	const char *last = end;
	while (trim && last > t->p && isspace((unsigned char)last[-1]))
		last--;
	put_text(t, t->p, last);
	t->p = end;
	if (!open)
		return 1;
	a->s = open + 2 + trim;
	const char *close = action_end(a->s);
	if (!close)
		return err_set(t->e, -EINVAL, "--format: '{{' without '}}'");
	a->end = close;
	t->p = close + 2;
	if (close > a->s + 1 && close[-1] == '-' && isspace((unsigned char)close[-2])) {
		a->end--;
		while (isspace((unsigned char)*t->p))
			t->p++;
	}
	blanks(&a->s, a->end);
	while (a->end > a->s && isspace((unsigned char)a->end[-1]))
		a->end--;
	return 0;
}

static int block(struct template *t, const struct json *dot, enum stop *stop, struct span *rest) {
	struct span a;
	size_t vars = t->n_vars;
	int r;
	if (++t->depth > TEMPLATE_DEPTH_MAX)
		return err_set(t->e, -E2BIG, "--format: nested too deep");
	for (;;) {
		r = next_action(t, &a);
		*stop = STOP_EOF;
		if (r)
			break;
		if (++t->steps > TEMPLATE_STEPS_MAX || t->out->len > TEMPLATE_OUTPUT_MAX) {
			r = err_set(t->e, -E2BIG, "--format: it does not come to an end");
			break;
		}
		if (word(&a, "end")) {
			*stop = STOP_END;
			break;
		}
		if (word(&a, "else")) {
			*stop = STOP_ELSE;
			*rest = a;
			break;
		}
		if (a.end - a.s >= 4 && a.s[0] == '/' && a.s[1] == '*')
			r = a.end[-1] == '/' && a.end[-2] == '*' ? 0 : bad(t, a.s, a.end);
		else if (word(&a, "if"))
			r = conditional(t, a, false, dot);
		else if (word(&a, "with"))
			r = conditional(t, a, true, dot);
		else if (word(&a, "range"))
			r = loop(t, a, dot);
		else
			r = plain_action(t, a, dot);
		if (r < 0)
			break;
	}
	t->depth--;
	if (t->depth)
		t->n_vars = vars; /* those of a block end with it */
	return r < 0 ? r : 0;
}

int go_template(const char *text, const struct json *root, const struct template_shown *shown, size_t n_shown, struct strbuf *out, struct err *e) {
	struct template t = { .p = text, .out = out, .e = e, .root = root, .shown = shown, .n_shown = n_shown, .a = ARENA_INIT };
	enum stop stop;
	struct span rest;
	int r = block(&t, root, &stop, &rest);
	arena_free(&t.a);
	if (r == 0 && stop != STOP_EOF)
		r = err_set(e, -EINVAL, "--format: {{%s}} without if, range or with", stop == STOP_END ? "end" : "else");
	return r < 0 ? r : out->failed ? err_sys(e, -ENOMEM, "--format") : 0;
}
