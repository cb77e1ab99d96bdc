/* Lists of a registry: tags of a repository, and repositories where the registry tells them. Page by page, by the Link header (RFC 8288). */
#include <errno.h>
#include <stdio.h>

#include "store/registry.h"
#include "wire/json.h"

enum {
	LIST_PAGES_MAX = 1000,    /* a registry that never ends its list */
	LIST_NAMES_MAX = 200000,
	LIST_NAME_MAX = 512,      /* bytes */
};

/* "</v2/a/tags/list?last=x&n=100>; rel=\"next\"": the path behind /v2, in buf. A page of another host is not followed. */
static bool next_page(const char *link, char *buf, size_t size) {
	const char *open = link ? strchr(link, '<') : NULL, *close = open ? strchr(open, '>') : NULL;
	if (!close || !strstr(close, "next"))
		return false;
	const char *path = open + 1;
	if (!str_has_prefix(path, "/v2/")) {
		const char *slashes = strstr(path, "://"), *v2 = slashes && slashes < close ? strstr(slashes + 3, "/v2/") : NULL;
		if (!v2 || v2 > close)
			return false;
		path = v2;
	}
	path += strlen("/v2");
	int n = snprintf(buf, size, "%.*s", (int)(close - path), path);
	return n > 0 && (size_t)n < size && !strpbrk(buf, "\r\n ");
}

static bool name_valid(const char *s) {
	return *s && strlen(s) < LIST_NAME_MAX && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-")] == '\0';
}

static int collect(const struct http_resp *resp, const char *member, char ***v, size_t *n, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j;
	int r = json_parse(&a, strbuf_str(&resp->body), resp->body.len, &j, e);
	if (r < 0)
		return r;
	for (const struct json *m = json_first(json_get(j, member)); m; m = m->next) {
		if (m->type != JSON_STRING || !name_valid(m->text))
			continue;
		if (*n == LIST_NAMES_MAX)
			return err_set(e, E2BIG, "the registry lists more than %d names", LIST_NAMES_MAX);
		if (strv_push(v, n, m->text) < 0)
			return err_set(e, ENOMEM, "out of memory");
	}
	return 0;
}

static int list(struct registry *r, struct http *h, const char *scope, const char *first, const char *member, const char *what, char ***ret, struct err *e) {
	char url[2048];
	char **v = NULL;
	size_t n = 0;
	int k = 0;
	bool more = true;
	snprintf(url, sizeof(url), "%s", first);
	for (unsigned page = 0; k >= 0 && more; page++) {
		_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
		struct http_req req = { .accept = "application/json" };
		k = page == LIST_PAGES_MAX ? err_set(e, E2BIG, "%s: more than %d pages", what, LIST_PAGES_MAX)
			: registry_request(r, h, HOST_PULL | HOST_RESOLVE, scope, url, &req, &resp, e);
		if (k >= 0 && resp.status != 200)
			k = registry_error(r, &resp, what, e);
		if (k >= 0)
			k = collect(&resp, member, &v, &n, e);
		more = k >= 0 && next_page(resp.link, url, sizeof(url));
	}
	if (k < 0) {
		strv_free(v);
		return k;
	}
	*ret = v;
	return 0;
}

int registry_tags(struct registry *r, struct http *h, const char *path, char ***ret, struct err *e) {
	char url[1024], scope[400], what[700];
	snprintf(url, sizeof(url), "/%s/tags/list", path);
	snprintf(scope, sizeof(scope), "repository:%s:pull", path);
	snprintf(what, sizeof(what), "tags of %s/%s", r->host, path);
	return list(r, h, scope, url, "tags", what, ret, e);
}

int registry_catalog(struct registry *r, struct http *h, char ***ret, struct err *e) {
	char what[400];
	snprintf(what, sizeof(what), "list of %s", r->host);
	return list(r, h, "registry:catalog:*", "/_catalog?n=1000", "repositories", what, ret, e);
}
