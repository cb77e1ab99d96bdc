/* JSON parser: one pass, recursive with a depth bound, tree in an arena. */
#include "wire/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

struct parser {
	struct arena *a;
	const char *start, *p, *end;
	struct err *e;
	unsigned depth;
};

static int fail(struct parser *s, const char *what) {
	unsigned line = 1, col = 1;
	for (const char *q = s->start; q < s->p; q++) {
		if (*q == '\n') {
			line++;
			col = 1;
		} else {
			col++;
		}
	}
	return err_set(s->e, -EINVAL, "invalid JSON: line %u, column %u: %s", line, col, what);
}

static int oom(struct parser *s) {
	return err_sys(s->e, -ENOMEM, "parse JSON");
}

static void skip_space(struct parser *s) {
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
		s->p++;
}

static int hex4(struct parser *s, uint32_t *ret) {
	uint32_t v = 0;
	if (s->end - s->p < 4)
		return fail(s, "short \\u escape");
	for (int i = 0; i < 4; i++) {
		char c = *s->p++;
		uint32_t d;
		if (c >= '0' && c <= '9')
			d = (uint32_t)(c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			d = (uint32_t)((c | 32) - 'a') + 10;
		else
			return fail(s, "bad \\u escape");
		v = v << 4 | d;
	}
	*ret = v;
	return 0;
}

static char *put_utf8(char *o, uint32_t c) {
	if (c < 0x80) {
		*o++ = (char)c;
	} else if (c < 0x800) {
		*o++ = (char)(0xc0 | c >> 6);
		*o++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*o++ = (char)(0xe0 | c >> 12);
		*o++ = (char)(0x80 | (c >> 6 & 0x3f));
		*o++ = (char)(0x80 | (c & 0x3f));
	} else {
		*o++ = (char)(0xf0 | c >> 18);
		*o++ = (char)(0x80 | (c >> 12 & 0x3f));
		*o++ = (char)(0x80 | (c >> 6 & 0x3f));
		*o++ = (char)(0x80 | (c & 0x3f));
	}
	return o;
}

static int escape(struct parser *s, char **o) {
	if (s->p == s->end)
		return fail(s, "unterminated string");
	char c = *s->p++;
	switch (c) {
	case '"': case '\\': case '/': *(*o)++ = c; return 0;
	case 'b': *(*o)++ = '\b'; return 0;
	case 'f': *(*o)++ = '\f'; return 0;
	case 'n': *(*o)++ = '\n'; return 0;
	case 'r': *(*o)++ = '\r'; return 0;
	case 't': *(*o)++ = '\t'; return 0;
	case 'u': break;
	default: return fail(s, "unknown escape");
	}
	uint32_t u = 0, low = 0;
	int r = hex4(s, &u);
	if (r < 0)
		return r;
	if (u == 0)
		return fail(s, "NUL character in string");
	if (u >= 0xdc00 && u < 0xe000)
		return fail(s, "unpaired surrogate");
	if (u >= 0xd800 && u < 0xdc00) {
		if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
			return fail(s, "unpaired surrogate");
		s->p += 2;
		r = hex4(s, &low);
		if (r < 0)
			return r;
		if (low < 0xdc00 || low >= 0xe000)
			return fail(s, "unpaired surrogate");
		u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
	}
	*o = put_utf8(*o, u);
	return 0;
}

/* Length of the valid UTF-8 sequence at p (RFC 3629), 0 when invalid. */
static size_t utf8_len(const unsigned char *p, size_t n) {
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] < 0xe0)
		return n >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
	if (p[0] >= 0xe0 && p[0] < 0xf0) {
		if (n < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
			return 0;
		if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0))
			return 0;
		return 3;
	}
	if (p[0] >= 0xf0 && p[0] < 0xf5) {
		if (n < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80)
			return 0;
		if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
			return 0;
		return 4;
	}
	return 0;
}

/* s->p is behind the opening quote. */
static int string(struct parser *s, const char **ret, uint32_t *ret_len) {
	const char *q = s->p;
	while (q < s->end && *q != '"')
		q += *q == '\\' ? 2 : 1;
	if (q >= s->end)
		return fail(s, "unterminated string");
	/* Unescaping never grows the text. */
	char *buf = arena_alloc(s->a, (size_t)(q - s->p) + 1);
	if (!buf)
		return oom(s);
	char *o = buf;
	while (*s->p != '"') {
		unsigned char c = (unsigned char)*s->p;
		if (c == '\\') {
			s->p++;
			int r = escape(s, &o);
			if (r < 0)
				return r;
			continue;
		}
		if (c < 0x20)
			return fail(s, "control character in string");
		size_t n = utf8_len((const unsigned char *)s->p, (size_t)(s->end - s->p));
		if (n == 0)
			return fail(s, "invalid UTF-8");
		memcpy(o, s->p, n);
		o += n;
		s->p += n;
	}
	s->p++;
	*o = '\0';
	*ret = buf;
	*ret_len = (uint32_t)(o - buf);
	return 0;
}

static bool digit(const struct parser *s) {
	return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static int number(struct parser *s, struct json *j) {
	const char *b = s->p;
	if (*s->p == '-')
		s->p++;
	if (!digit(s))
		return fail(s, "bad number");
	if (*s->p == '0')
		s->p++;
	else
		while (digit(s))
			s->p++;
	if (s->p < s->end && *s->p == '.') {
		s->p++;
		if (!digit(s))
			return fail(s, "bad number");
		while (digit(s))
			s->p++;
	}
	if (s->p < s->end && (*s->p | 32) == 'e') {
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!digit(s))
			return fail(s, "bad number");
		while (digit(s))
			s->p++;
	}
	j->type = JSON_NUMBER;
	j->len = (uint32_t)(s->p - b);
	j->text = arena_strndup(s->a, b, j->len);
	return j->text ? 0 : oom(s);
}

static int literal(struct parser *s, const char *word) {
	size_t n = strlen(word);
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return fail(s, "unexpected character");
	s->p += n;
	return 0;
}

static int value(struct parser *s, struct json **ret);

/* Drop an earlier member of the same name, so that the last wins and each name stands once. */
static void unlink_key(struct json *o, const char *key) {
	for (struct json **m = &o->first; *m; m = &(*m)->next) {
		if (streq((*m)->key, key)) {
			*m = (*m)->next;
			o->len--;
			return;
		}
	}
}

enum {
	/* Objects above this many members skip the search for repeated names: the search is quadratic, and a hostile
	 * document of a million members must not turn into minutes of work. Lookups then find the last one written,
	 * because members of such objects are linked in reverse. */
	MAX_DEDUP = 256,
};

static int members(struct parser *s, struct json *o) {
	struct json **tail = &o->first;
	for (;;) {
		skip_space(s);
		if (s->p == s->end || *s->p != '"')
			return fail(s, "expected a member name");
		s->p++;
		const char *key;
		uint32_t keylen;
		int r = string(s, &key, &keylen);
		if (r < 0)
			return r;
		skip_space(s);
		if (s->p == s->end || *s->p != ':')
			return fail(s, "expected ':'");
		s->p++;
		struct json *v;
		r = value(s, &v);
		if (r < 0)
			return r;
		v->key = key;
		if (o->len < MAX_DEDUP) {
			unlink_key(o, key);
			for (tail = &o->first; *tail; tail = &(*tail)->next)
				;
			*tail = v;
		} else {
			v->next = o->first;
			o->first = v;
		}
		o->len++;
		skip_space(s);
		if (s->p < s->end && *s->p == ',') {
			s->p++;
			continue;
		}
		if (s->p < s->end && *s->p == '}') {
			s->p++;
			return 0;
		}
		return fail(s, "expected ',' or '}'");
	}
}

static int elements(struct parser *s, struct json *a) {
	struct json **tail = &a->first;
	for (;;) {
		struct json *v;
		int r = value(s, &v);
		if (r < 0)
			return r;
		*tail = v;
		tail = &v->next;
		a->len++;
		skip_space(s);
		if (s->p < s->end && *s->p == ',') {
			s->p++;
			continue;
		}
		if (s->p < s->end && *s->p == ']') {
			s->p++;
			return 0;
		}
		return fail(s, "expected ',' or ']'");
	}
}

static int container(struct parser *s, struct json *j, enum json_type type, char close) {
	if (++s->depth > JSON_MAX_DEPTH) {
		fail(s, "nested too deep");
		return -E2BIG;
	}
	j->type = type;
	s->p++;
	skip_space(s);
	int r = 0;
	if (s->p < s->end && *s->p == close)
		s->p++;
	else
		r = type == JSON_OBJECT ? members(s, j) : elements(s, j);
	s->depth--;
	return r;
}

static int value(struct parser *s, struct json **ret) {
	skip_space(s);
	if (s->p == s->end)
		return fail(s, "unexpected end");
	struct json *j = arena_new(s->a, struct json);
	if (!j)
		return oom(s);
	*ret = j;
	switch (*s->p) {
	case '{':
		return container(s, j, JSON_OBJECT, '}');
	case '[':
		return container(s, j, JSON_ARRAY, ']');
	case '"':
		s->p++;
		j->type = JSON_STRING;
		return string(s, &j->text, &j->len);
	case 't':
		j->type = JSON_BOOL;
		j->boolean = true;
		return literal(s, "true");
	case 'f':
		j->type = JSON_BOOL;
		return literal(s, "false");
	case 'n':
		j->type = JSON_NULL;
		return literal(s, "null");
	case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
		return number(s, j);
	default:
		return fail(s, "unexpected character");
	}
}

int json_parse(struct arena *a, const char *data, size_t len, struct json **ret, struct err *e) {
	struct parser s = { .a = a, .start = data, .p = data, .end = data + len, .e = e };
	struct json *j;
	if (len > UINT32_MAX)
		return err_set(e, -E2BIG, "invalid JSON: larger than 4 GiB");
	int r = value(&s, &j);
	if (r < 0)
		return r;
	skip_space(&s);
	if (s.p != s.end)
		return fail(&s, "trailing data");
	*ret = j;
	return 0;
}

struct json *json_get(const struct json *o, const char *key) {
	if (!o || o->type != JSON_OBJECT)
		return NULL;
	for (struct json *m = o->first; m; m = m->next)
		if (streq(m->key, key))
			return m;
	return NULL;
}

struct json *json_first(const struct json *j) {
	return j && (j->type == JSON_ARRAY || j->type == JSON_OBJECT) ? j->first : NULL;
}

const char *json_type_name(enum json_type t) {
	static const char *const names[] = { "null", "boolean", "number", "string", "array", "object" };
	return names[t];
}

static bool plain_integer(const struct json *j) {
	return strpbrk(j->text, ".eE") == NULL;
}

int json_i64(const struct json *j, int64_t *ret) {
	if (!j || j->type != JSON_NUMBER)
		return -EINVAL;
	if (plain_integer(j))
		return parse_i64(j->text, ret);
	double d;
	int r = json_double(j, &d);
	if (r < 0)
		return r;
	if (d != trunc(d))
		return -EINVAL;
	if (d < -0x1p63 || d >= 0x1p63)
		return -ERANGE;
	*ret = (int64_t)d;
	return 0;
}

int json_u64(const struct json *j, uint64_t *ret) {
	if (!j || j->type != JSON_NUMBER)
		return -EINVAL;
	if (plain_integer(j))
		return *j->text == '-' ? -ERANGE : parse_u64(j->text, ret);
	double d;
	int r = json_double(j, &d);
	if (r < 0)
		return r;
	if (d != trunc(d))
		return -EINVAL;
	if (d < 0 || d >= 0x1p64)
		return -ERANGE;
	*ret = (uint64_t)d;
	return 0;
}

int json_double(const struct json *j, double *ret) {
	if (!j || j->type != JSON_NUMBER)
		return -EINVAL;
	char *end;
	errno = 0;
	double d = strtod(j->text, &end);
	if (!isfinite(d))
		return -ERANGE;
	*ret = d;
	return 0;
}

const char *json_str(const struct json *o, const char *key, const char *dflt) {
	struct json *j = json_get(o, key);
	return j && j->type == JSON_STRING ? j->text : dflt;
}
