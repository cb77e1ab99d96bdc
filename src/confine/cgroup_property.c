/* The text form of GVariants, as far as unit properties use it: booleans, numbers with and without type words, strings, arrays, tuples, "@type value". */
#include "confine/cgroup_property.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/str.h"

struct parser {
	struct arena *a;
	const char *text, *p;
	struct err *e;
};

static int bad(struct parser *x, const char *expected)
{
	return err_set(x->e, EINVAL, "\"%s\": %s expected at character %zu", x->text, expected, (size_t)(x->p - x->text) + 1);
}

static void blank(struct parser *x) { x->p += strspn(x->p, " \t\n"); }

static const struct { const char *word; char sig; } types[] = {
	{ "boolean", 'b' }, { "byte", 'y' }, { "int16", 'n' }, { "uint16", 'q' }, { "int32", 'i' }, { "uint32", 'u' }, { "int64", 'x' }, { "uint64", 't' },
	{ "double", 'd' }, { "string", 's' }, { "objectpath", 'o' }, { "signature", 'g' },
};

static const struct { char sig; int64_t min; uint64_t max; } ranges[] = {
	{ 'y', 0, UINT8_MAX }, { 'n', INT16_MIN, INT16_MAX }, { 'q', 0, UINT16_MAX }, { 'i', INT32_MIN, INT32_MAX }, { 'u', 0, UINT32_MAX },
	{ 'x', INT64_MIN, INT64_MAX }, { 't', 0, UINT64_MAX },
};

static int parse_string(struct parser *x, struct cgroup_value *v)
{
	char quote = *x->p++, *out = arena_alloc(x->a, strlen(x->p) + 1), *o = out;

	if (!out)
		return err_sys(x->e, ENOMEM, "property");
	while (*x->p && *x->p != quote) {
		char c = *x->p++;
		if (c == '\\') {
			static const char from[] = "abfnrtv", to[] = "\a\b\f\n\r\t\v";
			const char *k = *x->p ? strchr(from, *x->p) : NULL;
			if (!*x->p)
				return bad(x, "a character after \\");
			c = k ? to[k - from] : *x->p; /* \uXXXX is not accepted: write the character itself */
			if (*x->p == 'u' || *x->p == 'U')
				return bad(x, "the character itself instead of \\u");
			x->p++;
		}
		*o++ = c;
	}
	if (!*x->p)
		return bad(x, "a closing quote");
	x->p++;
	v->s = out;
	strcpy(v->sig, "s");
	return 0;
}

/* Keeps value and sign; which type it fits is checked by fit(). */
static int parse_number(struct parser *x, struct cgroup_value *v)
{
	size_t n = strspn(x->p, "+-0123456789.eExXabcdefABCDEF");
	char buf[64], *end;

	if (!n || n >= sizeof(buf))
		return bad(x, "a value");
	memcpy(buf, x->p, n);
	buf[n] = 0;
	bool hex = str_has_prefix(buf + strspn(buf, "+-"), "0x");
	errno = 0;
	if (!hex && strpbrk(buf, ".eE")) {
		v->d = strtod(buf, &end);
		if (errno || *end || end == buf || !isfinite(v->d))
			return bad(x, "a number");
		strcpy(v->sig, "d");
	} else if (buf[0] == '-') {
		v->i = strtoll(buf, &end, 0);
		if (errno || *end || end == buf)
			return bad(x, "a number");
		strcpy(v->sig, "x");
	} else {
		v->u = strtoull(buf, &end, 0);
		if (errno || *end || end == buf)
			return bad(x, "a number");
		strcpy(v->sig, "t");
	}
	x->p += n;
	v->untyped = true;
	return 0;
}

/* Give an untyped number (or string) the type that is asked. */
static int fit(struct parser *x, struct cgroup_value *v, const char *sig)
{
	if (!v->untyped) {
		if (streq(v->sig, sig))
			return 0;
		if (v->sig[0] == 's' && !v->sig[1] && (streq(sig, "o") || streq(sig, "g"))) {
			strcpy(v->sig, sig);
			return 0;
		}
		if (v->sig[0] == 'a' && sig[0] == 'a') {
			for (struct cgroup_value *c = v->first; c; c = c->next) {
				int r = fit(x, c, sig + 1);
				if (r < 0)
					return r;
			}
			strcpy(v->sig, sig);
			return 0;
		}
		return bad(x, "another type");
	}
	if (streq(sig, "d")) {
		if (v->sig[0] != 'd')
			v->d = v->sig[0] == 'x' ? (double)v->i : (double)v->u;
		strcpy(v->sig, "d");
		return 0;
	}
	for (size_t k = 0; k < ARRAY_SIZE(ranges); k++)
		if (sig[0] == ranges[k].sig && !sig[1] && v->sig[0] != 'd') {
			if (v->sig[0] == 'x' ? v->i < ranges[k].min : v->u > ranges[k].max)
				return bad(x, "a number in the type's range");
			strcpy(v->sig, sig);
			return 0;
		}
	return bad(x, "another type");
}

/* Untyped numbers without company are int32, doubles with a point (GVariant's rule). */
static int settle(struct parser *x, struct cgroup_value *v)
{
	if (!v->untyped || v->sig[0] == 'd')
		return 0;
	return fit(x, v, "i");
}

static int parse_value(struct parser *x, unsigned depth, struct cgroup_value **ret);

static int parse_list(struct parser *x, unsigned depth, struct cgroup_value *v)
{
	bool array = *x->p == '[';
	char close = array ? ']' : ')';
	struct cgroup_value **tail = &v->first;
	int r;

	x->p++;
	for (blank(x); *x->p != close; blank(x)) {
		if (v->first) {
			if (*x->p != ',')
				return bad(x, array ? "\",\" or \"]\"" : "\",\" or \")\"");
			x->p++;
			blank(x);
			if (*x->p == close && !array)
				break; /* "(1,)" */
		}
		if ((r = parse_value(x, depth - 1, tail)) < 0)
			return r;
		tail = &(*tail)->next;
	}
	x->p++;
	if (!array) {
		size_t n = 0;
		v->sig[n++] = '(';
		for (struct cgroup_value *c = v->first; c; c = c->next) {
			if ((r = settle(x, c)) < 0)
				return r;
			if (n + strlen(c->sig) + 2 > sizeof(v->sig))
				return bad(x, "fewer elements");
			n += (size_t)(stpcpy(v->sig + n, c->sig) - (v->sig + n));
		}
		strcpy(v->sig + n, ")");
		return v->first ? 0 : bad(x, "an element");
	}
	if (!v->first) {
		strcpy(v->sig, "a"); /* the element type must come from "@a?" */
		return 0;
	}
	const char *sig = NULL;
	for (struct cgroup_value *c = v->first; c; c = c->next)
		if (!c->untyped || c->sig[0] == 'd')
			sig = sig && !streq(sig, c->sig) ? sig : c->sig;
	sig = sig ? sig : "i";
	char copy[CGROUP_SIG_MAX];
	strcpy(copy, sig);
	for (struct cgroup_value *c = v->first; c; c = c->next)
		if ((r = fit(x, c, copy)) < 0)
			return r;
	if (strlen(copy) + 2 > sizeof(v->sig))
		return bad(x, "less nesting");
	v->sig[0] = 'a';
	strcpy(v->sig + 1, copy);
	return 0;
}

/* "@as []" */
static int parse_typed(struct parser *x, unsigned depth, struct cgroup_value **ret)
{
	size_t n = strspn(++x->p, "abynqiuxtdsog()");
	char sig[CGROUP_SIG_MAX];
	int r;

	if (!n || n >= sizeof(sig) || (strspn(x->p, "a") != n - 1 && x->p[strspn(x->p, "a")] != '('))
		return bad(x, "a type");
	memcpy(sig, x->p, n);
	sig[n] = 0;
	x->p += n;
	blank(x);
	if ((r = parse_value(x, depth - 1, ret)) < 0 || (r = fit(x, *ret, sig)) < 0)
		return r;
	(*ret)->untyped = false;
	return 0;
}

static int parse_word(struct parser *x, unsigned depth, struct cgroup_value **ret)
{
	size_t n = strspn(x->p, "abcdefghijklmnopqrstuvwxyz0123456789");
	int r;

	if ((n == 4 && memcmp(x->p, "true", 4) == 0) || (n == 5 && memcmp(x->p, "false", 5) == 0)) {
		(*ret)->b = n == 4;
		strcpy((*ret)->sig, "b");
		x->p += n;
		return 0;
	}
	for (size_t k = 0; k < ARRAY_SIZE(types); k++)
		if (strlen(types[k].word) == n && memcmp(x->p, types[k].word, n) == 0) {
			const char sig[2] = { types[k].sig, 0 };
			x->p += n;
			blank(x);
			if ((r = parse_value(x, depth - 1, ret)) < 0 || (r = fit(x, *ret, sig)) < 0)
				return r;
			(*ret)->untyped = false;
			return 0;
		}
	return bad(x, "a value");
}

static int parse_value(struct parser *x, unsigned depth, struct cgroup_value **ret)
{
	struct cgroup_value *v = arena_new(x->a, struct cgroup_value);

	if (!v)
		return err_sys(x->e, ENOMEM, "property");
	if (!depth)
		return bad(x, "less nesting");
	*ret = v;
	blank(x);
	switch (*x->p) {
	case '\'':
	case '"':
		return parse_string(x, v);
	case '[':
	case '(':
		return parse_list(x, depth, v);
	case '@':
		return parse_typed(x, depth, ret);
	case '+':
	case '-':
	case '0' ... '9':
	case '.':
		return parse_number(x, v);
	default:
		return parse_word(x, depth, ret);
	}
}

static int seconds(struct parser *x, struct cgroup_value *v)
{
	double s;

	switch (v->sig[0]) {
	case 'd': s = v->d; break;
	case 'n': case 'i': case 'x': s = (double)v->i; break;
	case 'y': case 'q': case 'u': case 't': s = (double)v->u; break;
	default: return bad(x, "a number of seconds");
	}
	if (s < 0 || s > 1e12)
		return bad(x, "a positive number of seconds");
	v->u = (uint64_t)llround(s * 1e6);
	strcpy(v->sig, "t");
	return 0;
}

int cgroup_property_parse(struct arena *a, const char *name, const char *text, const char **ret_name, struct cgroup_value **ret, struct err *e)
{
	struct parser x = { a, text, text, e };
	struct cgroup_value *v = NULL;
	size_t n = strlen(name);
	int r;

	for (size_t i = 0; i < n; i++)
		if (!isalpha((unsigned char)name[i]))
			n = 0;
	if (n < 3)
		return err_set(e, EINVAL, "\"%s\" is no unit property (at least three letters)", name);
	if ((r = parse_value(&x, CGROUP_VALUE_DEPTH, &v)) < 0)
		return err_wrap(e, r, "property %s", name);
	blank(&x);
	if (*x.p)
		return err_wrap(e, bad(&x, "the end"), "property %s", name);
	bool sec = n > 3 && streq(name + n - 3, "Sec") && islower((unsigned char)name[n - 4]);
	r = sec ? seconds(&x, v) : settle(&x, v);
	if (r == 0 && streq(v->sig, "a"))
		r = bad(&x, "a type for the empty array (\"@as []\")");
	if (r < 0)
		return err_wrap(e, r, "property %s", name);
	*ret_name = sec ? arena_printf(a, "%.*sUSec", (int)(n - 3), name) : name;
	*ret = v;
	return *ret_name ? 0 : err_sys(e, ENOMEM, "property");
}
