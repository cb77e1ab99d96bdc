/* WWW-Authenticate: challenges with their parameters. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "store/auth.h"

static bool token_char(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip(const char *s, const char *set) {
	return s + strspn(s, set);
}

/* key=value where the value is a token or a quoted string; copies into dst when it is not NULL. */
static const char *value(const char *s, char *dst) {
	size_t n = 0;
	if (*s == '"') {
		for (s++; *s && *s != '"'; s++) {
			if (*s == '\\' && s[1])
				s++;
			if (n + 1 >= CHALLENGE_VALUE)
				return NULL;
			if (dst)
				dst[n] = *s;
			n++;
		}
		if (*s++ != '"')
			return NULL;
	} else
		/* Some servers leave URLs unquoted. */
		for (; token_char(*s) || (*s && strchr(":/?@=", *s)); s++) {
			if (n + 1 >= CHALLENGE_VALUE)
				return NULL;
			if (dst)
				dst[n] = *s;
			n++;
		}
	if (dst)
		dst[n] = '\0';
	return s;
}

static char *slot(struct challenge *c, const char *key, size_t n) {
	if (n == 5 && strncasecmp(key, "realm", n) == 0)
		return c->realm;
	if (n == 7 && strncasecmp(key, "service", n) == 0)
		return c->service;
	if (n == 5 && strncasecmp(key, "scope", n) == 0)
		return c->scope;
	return NULL;
}

int challenge_parse(const char *s, struct challenge *ret, size_t max, struct err *e) {
	size_t n = 0;
	struct challenge *c = NULL;
	for (s = skip(s, " \t,"); *s; s = skip(s, " \t,")) {
		const char *word = s;
		while (token_char(*s))
			s++;
		size_t len = (size_t)(s - word);
		if (!len)
			return err_set(e, EINVAL, "malformed WWW-Authenticate header");
		const char *after = skip(s, " \t");
		if (c && *after == '=') {
			s = value(skip(after + 1, " \t"), slot(c, word, len));
			if (!s)
				return err_set(e, EINVAL, "malformed WWW-Authenticate header");
			continue;
		}
		if (n == max)
			return err_set(e, EINVAL, "WWW-Authenticate header with more than %zu challenges", max);
		c = &ret[n++];
		memset(c, 0, sizeof(*c));
		if (len == 6 && strncasecmp(word, "bearer", len) == 0)
			c->scheme = CHALLENGE_BEARER;
		else if (len == 5 && strncasecmp(word, "basic", len) == 0)
			c->scheme = CHALLENGE_BASIC;
	}
	return (int)n;
}
