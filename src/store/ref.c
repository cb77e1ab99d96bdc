/* Image references: see ref.h. Grammar: distribution/reference and the distribution-spec's <name> and <reference>. */
#include "store/ref.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static bool lower_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
static bool word(char c) { return lower_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_'; }

bool digest_valid(const char *s) {
	if (!str_has_prefix(s, "sha256:") || strlen(s) != DIGEST_MAX - 1)
		return false;
	for (s += 7; *s; s++)
		if (!((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'f')))
			return false;
	return true;
}

/* The part before the first slash names a host when it could not be a path component: it has a dot, a colon or is "localhost". */
static bool looks_like_host(const char *s, size_t n) {
	return memchr(s, '.', n) || memchr(s, ':', n) || (n == 9 && memcmp(s, "localhost", 9) == 0) || s[0] == '[';
}

static int check_host(const char *s, size_t n, struct err *e) {
	size_t i = 0;
	if (s[0] == '[') { /* IPv6 literal */
		for (i = 1; i < n && s[i] != ']'; i++)
			if (!strchr("0123456789abcdefABCDEF:.", s[i]))
				return err_set(e, EINVAL, "invalid registry host '%.*s'", (int)n, s);
		if (i >= n || i == 1)
			return err_set(e, EINVAL, "invalid registry host '%.*s'", (int)n, s);
		i++;
	} else
		for (; i < n && s[i] != ':'; i++) {
			bool edge = i == 0 || i + 1 == n || s[i + 1] == ':' || s[i + 1] == '.' || s[i - 1] == '.';
			if (!((word(s[i]) && s[i] != '_') || (!edge && s[i] == '-') || (i && s[i] == '.' && s[i - 1] != '.')))
				return err_set(e, EINVAL, "invalid registry host '%.*s'", (int)n, s);
		}
	if (i < n) {
		unsigned port = 0;
		size_t digits = 0;
		if (s[i] != ':')
			return err_set(e, EINVAL, "invalid registry host '%.*s'", (int)n, s);
		for (i++; i < n; i++, digits++) {
			if (s[i] < '0' || s[i] > '9' || digits > 4)
				return err_set(e, EINVAL, "invalid port in '%.*s'", (int)n, s);
			port = port * 10 + (unsigned)(s[i] - '0');
		}
		if (!digits || port == 0 || port > 65535)
			return err_set(e, EINVAL, "invalid port in '%.*s'", (int)n, s);
	}
	return 0;
}

/* Components of [a-z0-9]+ joined by one '.', one or two '_', or any number of '-'. */
static int check_path(const char *s, size_t n, struct err *e) {
	size_t i = 0;
	if (!n)
		return err_set(e, EINVAL, "reference without an image name");
	while (i < n) {
		size_t begin = i;
		while (i < n && s[i] != '/') {
			if (lower_alnum(s[i])) {
				i++;
				continue;
			}
			size_t k = i;
			while (k < n && s[k] == s[i] && (s[i] == '.' || s[i] == '_' || s[i] == '-'))
				k++;
			size_t run = k - i;
			bool ok = run && i > begin && k < n && lower_alnum(s[k]) && (s[i] == '-' || (s[i] == '_' && run <= 2) || run == 1);
			if (!ok) {
				if (s[i] >= 'A' && s[i] <= 'Z')
					return err_set(e, EINVAL, "invalid image name '%.*s': must be lower case", (int)n, s);
				return err_set(e, EINVAL, "invalid image name '%.*s'", (int)n, s);
			}
			i = k;
		}
		if (i == begin || (i < n && i + 1 == n))
			return err_set(e, EINVAL, "invalid image name '%.*s': empty part", (int)n, s);
		i++;
	}
	return 0;
}

static int check_tag(const char *s, struct err *e) {
	size_t n = strlen(s);
	bool ok = n >= 1 && n <= REF_TAG_MAX && word(s[0]);
	for (size_t i = 1; ok && i < n; i++)
		ok = word(s[i]) || s[i] == '.' || s[i] == '-';
	return ok ? 0 : err_set(e, EINVAL, "invalid tag '%.140s'", s);
}

int ref_parse(const char *s, struct ref *ret, struct err *e) {
	struct ref r = { .tag = "" };
	char buf[REF_MAX];
	if (!*s)
		return err_set(e, EINVAL, "empty image reference");
	if (strlen(s) > 512)
		return err_set(e, EINVAL, "image reference of more than 512 bytes");
	memcpy(buf, s, strlen(s) + 1);
	char *at = strchr(buf, '@');
	if (at) {
		*at++ = '\0';
		if (!digest_valid(at))
			return err_set(e, EINVAL, "invalid digest '%.100s': want sha256: and 64 hex digits", at);
		memcpy(r.digest, at, strlen(at) + 1);
	}
	char *slash = strrchr(buf, '/'), *colon = strrchr(slash ? slash : buf, ':');
	if (colon) {
		*colon++ = '\0';
		if (check_tag(colon, e) < 0)
			return -EINVAL;
		memcpy(r.tag, colon, strlen(colon) + 1);
	} else if (!at)
		memcpy(r.tag, "latest", 7);
	const char *path = buf;
	char *first = strchr(buf, '/');
	size_t host = first && looks_like_host(buf, (size_t)(first - buf)) ? (size_t)(first - buf) : 0;
	if (strlen(buf) > REF_PATH_MAX)
		return err_set(e, EINVAL, "image name of more than %d bytes", REF_PATH_MAX);
	if (host) {
		if (check_host(buf, host, e) < 0)
			return -EINVAL;
		memcpy(r.host, buf, host);
		path = buf + host + 1;
	} else
		memcpy(r.host, "docker.io", 10);
	if (check_path(path, strlen(path), e) < 0)
		return -EINVAL;
	if (streq(r.host, "index.docker.io"))
		memcpy(r.host, "docker.io", 10);
	bool lib = streq(r.host, "docker.io") && !strchr(path, '/');
	/* With the defaults filled in, so that what is stored can be parsed again. */
	if (strlen(r.host) + 1 + (lib ? strlen("library/") : 0) + strlen(path) > REF_PATH_MAX)
		return err_set(e, EINVAL, "image name of more than %d bytes", REF_PATH_MAX);
	snprintf(r.path, sizeof(r.path), "%s%.*s", lib ? "library/" : "", REF_PATH_MAX - 8, path);
	*ret = r;
	return 0;
}

char *ref_name(const struct ref *r, bool with_digest, char buf[REF_MAX]) {
	if (with_digest && r->digest[0])
		snprintf(buf, REF_MAX, "%s/%s@%s", r->host, r->path, r->digest);
	else
		snprintf(buf, REF_MAX, "%s/%s%s%s", r->host, r->path, r->tag[0] ? ":" : "", r->tag);
	return buf;
}

int ref_local_name(const char *s, char buf[REF_MAX], struct err *e) {
	struct ref ref;
	char local[REF_MAX];
	snprintf(local, sizeof(local), "%s%.500s", strchr(s, '/') ? "" : "localhost/", s);
	int r = ref_parse(local, &ref, e);
	if (r >= 0 && ref.digest[0])
		r = err_set(e, EINVAL, "%s: a digest cannot be given as a tag", s);
	if (r >= 0)
		ref_name(&ref, false, buf);
	return MIN(r, 0);
}
