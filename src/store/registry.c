/* Registry client, requests: endpoints, authentication, back-off. See registry.h. */
#include "store/registry.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <time.h>

#include "wire/json.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void global_init(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

static int64_t now_s(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

int registry_open(const struct registry_opts *opts, const char *host, struct registry **ret, struct err *e) {
	pthread_once(&once, global_init);
	struct registry *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	r->opts = *opts;
	snprintf(r->host, sizeof(r->host), "%s", host);
	pthread_mutex_init(&r->lock, NULL);
	int k = endpoints_find(opts->certs_dir, host, opts->insecure, &r->eps, e);
	if (k < 0) {
		registry_close(r);
		return k;
	}
	*ret = r;
	return 0;
}

void registry_close(struct registry *r) {
	if (!r)
		return;
	for (size_t i = 0; i < r->n_tokens; i++) {
		free(r->tokens[i].scope);
		free(r->tokens[i].value);
	}
	for (size_t i = 0; i < HOSTS_MAX; i++)
		creds_free(&r->creds[i]);
	endpoints_free(&r->eps);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* ---- authentication ---- */

static int find_creds(struct registry *r, size_t ep, const char *scope, const struct creds **ret, struct err *e) {
	struct creds *c = &r->creds[ep];
	if (!r->creds_known[ep]) {
		const struct endpoint *p = &r->eps.v[ep];
		if (r->opts.user && !p->mirror) {
			c->user = strdup(r->opts.user);
			c->password = strdup(r->opts.password ? r->opts.password : "");
		} else {
			/* "repository:PATH:actions": auth files may hold credentials by path */
			char path[REF_PATH_MAX + 1] = "";
			const char *first = strchr(scope, ':'), *last = strrchr(scope, ':');
			if (first && last > first)
				snprintf(path, sizeof(path), "%.*s", (int)(last - first - 1), first + 1);
			int k = creds_find(r->opts.authfile, p->mirror ? p->host : r->host, path, c, e);
			if (k < 0)
				return k;
		}
		r->creds_known[ep] = true;
	}
	*ret = c;
	return 0;
}

static void forget_token(struct registry *r, size_t ep, const char *scope) {
	for (size_t i = 0; i < r->n_tokens; i++)
		if (r->tokens[i].endpoint == ep && streq(r->tokens[i].scope, scope)) {
			free(r->tokens[i].scope);
			free(r->tokens[i].value);
			r->tokens[i] = r->tokens[--r->n_tokens];
			return;
		}
}

/* The Authorization value to use, a copy; NULL when there is none yet. */
static char *known_token(struct registry *r, size_t ep, const char *scope) {
	char *v = NULL;
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < r->n_tokens && !v; i++)
		if (r->tokens[i].endpoint == ep && streq(r->tokens[i].scope, scope) && r->tokens[i].expires > now_s())
			v = strdup(r->tokens[i].value);
	pthread_mutex_unlock(&r->lock);
	return v;
}

static int keep_token(struct registry *r, size_t ep, const char *scope, char *value, int64_t life) {
	forget_token(r, ep, scope);
	if (r->n_tokens == TOKENS_MAX) {
		free(r->tokens[0].scope);
		free(r->tokens[0].value);
		r->tokens[0] = r->tokens[--r->n_tokens];
	}
	struct token *t = &r->tokens[r->n_tokens];
	t->endpoint = ep;
	t->scope = strdup(scope);
	t->value = value;
	t->expires = now_s() + life;
	if (!t->scope) {
		free(value);
		return -ENOMEM;
	}
	r->n_tokens++;
	return 0;
}

static int url_escape(struct strbuf *b, const char *s) {
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c);
		if (plain)
			strbuf_putc(b, (char)c);
		else
			strbuf_printf(b, "%%%02X", c);
	}
	return b->failed ? -ENOMEM : 0;
}

/* RFC 6750 tokens by the distribution token protocol: GET with Basic, or POST with a refresh token. */
static int fetch_token(struct registry *r, struct http *h, size_t ep, const struct challenge *ch, const char *scope, const struct creds *c,
		       struct err *e) {
	_cleanup_strbuf_ struct strbuf url = STRBUF_INIT, body = STRBUF_INIT;
	_cleanup_free_ char *basic = NULL, *authorization = NULL;
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct strbuf *q = c->identity_token ? &body : &url;
	const char *want = ch->scope[0] ? ch->scope : scope;
	strbuf_puts(&url, ch->realm);
	if (c->identity_token)
		strbuf_puts(&body, "grant_type=refresh_token&client_id=tierce&");
	else
		strbuf_putc(&url, strchr(ch->realm, '?') ? '&' : '?');
	strbuf_puts(q, "service=");
	url_escape(q, ch->service);
	if (*want) {
		strbuf_puts(q, "&scope=");
		url_escape(q, want);
	}
	if (c->identity_token) {
		strbuf_puts(q, "&refresh_token=");
		url_escape(q, c->identity_token);
	} else if (c->user) {
		basic = creds_basic(c);
		if (!basic || asprintf(&authorization, "Basic %s", basic) < 0)
			return err_set(e, ENOMEM, "out of memory");
	}
	if (url.failed || body.failed)
		return err_set(e, ENOMEM, "out of memory");
	const struct endpoint *p = &r->eps.v[ep];
	struct http_req req = { .url = url.s, .authorization = authorization, .tls = &p->tls, .allow_http = p->http || p->try_http };
	if (c->identity_token) {
		req.method = "POST";
		req.body = body.s;
		req.body_len = body.len;
		req.content_type = "application/x-www-form-urlencoded";
	}
	int k = http_do(h, &req, &resp, e);
	if (k < 0)
		return err_wrap(e, k, "get a token");
	if (resp.status == 401 || resp.status == 403)
		return err_set(e, EACCES, "%s refused the credentials%s", r->host, c->user ? "" : " (none are known: tierce login)");
	if (resp.status != 200)
		return registry_error(r, &resp, "get a token", e);
	struct json *j;
	k = json_parse(&a, strbuf_str(&resp.body), resp.body.len, &j, e);
	if (k < 0)
		return err_wrap(e, k, "token of %s", r->host);
	const char *tok = json_str(j, "token", json_str(j, "access_token", ""));
	int64_t life = 60;
	if (json_get(j, "expires_in"))
		json_i64(json_get(j, "expires_in"), &life);
	char *value = NULL;
	if (!*tok || strpbrk(tok, "\r\n"))
		return err_set(e, EBADMSG, "%s sent no usable token", r->host);
	if (asprintf(&value, "Bearer %s", tok) < 0)
		return err_set(e, ENOMEM, "out of memory");
	life = life < 60 ? 60 : life;
	return keep_token(r, ep, scope, value, life - 10) < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
}

/* Answers a 401. Called with the lock held, so that parallel requests ask for one token. */
static int authenticate(struct registry *r, struct http *h, size_t ep, const char *scope, const char *header, struct err *e) {
	struct challenge ch[CHALLENGES_MAX];
	const struct creds *c;
	int n = challenge_parse(header ? header : "", ch, CHALLENGES_MAX, e);
	if (n < 0)
		return n;
	int k = find_creds(r, ep, scope, &c, e);
	if (k < 0)
		return k;
	for (int i = 0; i < n; i++)
		if (ch[i].scheme == CHALLENGE_BEARER && ch[i].realm[0])
			return fetch_token(r, h, ep, &ch[i], scope, c, e);
	for (int i = 0; i < n; i++) {
		if (ch[i].scheme != CHALLENGE_BASIC)
			continue;
		if (!c->user)
			return err_set(e, EACCES, "%s wants a login: tierce login %s", r->host, r->host);
		_cleanup_free_ char *b = creds_basic(c);
		char *value = NULL;
		if (!b || asprintf(&value, "Basic %s", b) < 0)
			return err_set(e, ENOMEM, "out of memory");
		return keep_token(r, ep, scope, value, 24 * 3600) < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
	}
	return err_set(e, EACCES, "%s asks for a login in no way that is known", r->host);
}

/* ---- requests ---- */

static void pause_before(unsigned attempt, int64_t retry_after) {
	int64_t ms = (int64_t)REGISTRY_BACKOFF_MS << attempt;
	if (retry_after >= 0)
		ms = retry_after * 1000;
	ms = MIN(ms, (int64_t)REGISTRY_BACKOFF_MAX_S * 1000);
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };
	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
}

static bool worth_retrying(long status) {
	return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

static int fall_back_to_http(struct endpoint *p) {
	char *base = NULL;
	if (asprintf(&base, "http://%s", p->base + strlen("https://")) < 0)
		return -ENOMEM;
	free(p->base);
	p->base = base;
	p->http = true;
	p->try_http = false;
	return 0;
}

/* An upload location may lie elsewhere: our token is not for that host. */
static bool same_host(const char *url, const char *base) {
	const char *p = strstr(base, "://");
	size_t n = p ? (size_t)(p - base) + 3 + strcspn(p + 3, "/") : 0;
	return n && strncmp(url, base, n) == 0 && (url[n] == '/' || url[n] == '?' || url[n] == '\0');
}

static int one_endpoint(struct registry *r, struct http *h, size_t ep, const char *scope, const char *path, struct http_req *req,
			struct http_resp *resp, struct err *e) {
	struct endpoint *p = &r->eps.v[ep];
	bool fixed_url = req->url != NULL;
	unsigned logins = 0;
	for (unsigned attempt = 0;; attempt++) {
		_cleanup_free_ char *url = NULL, *authorization = known_token(r, ep, scope);
		bool ns = p->mirror && !fixed_url;
		if (!fixed_url && asprintf(&url, "%s%s%s%s", p->base, path, ns ? (strchr(path, '?') ? "&ns=" : "?ns=") : "", ns ? r->host : "") < 0)
			return err_set(e, ENOMEM, "out of memory");
		struct http_req q = *req;
		q.url = fixed_url ? req->url : url;
		q.authorization = fixed_url && !same_host(req->url, p->base) ? NULL : authorization;
		q.tls = &p->tls;
		q.allow_http = p->http || p->try_http;
		q.headers = req->headers ? req->headers : p->headers;
		http_resp_free(resp);
		err_clear(e);
		int k = http_do(h, &q, resp, e);
		if (k < 0) {
			if (p->try_http && resp->tls_mismatch && !fixed_url) {
				if (fall_back_to_http(p) < 0)
					return err_set(e, ENOMEM, "out of memory");
				attempt--;
				continue;
			}
			/* A sink that failed, bytes already passed on, a wrong certificate, nobody there: not by trying again. */
			bool final = resp->received || k == -ECANCELED || k == -EACCES || k == -EPROTONOSUPPORT || k == -EINVAL || k == -ELOOP || resp->refused || req->read;
			if (final || attempt + 1 >= REGISTRY_ATTEMPTS)
				return k;
			pause_before(attempt, -1);
			continue;
		}
		if (resp->status == 401 && logins++ < 2) {
			pthread_mutex_lock(&r->lock);
			/* A token that was refused is old; unless another thread has just brought a new one. */
			char *cur = NULL;
			for (size_t i = 0; i < r->n_tokens; i++)
				if (r->tokens[i].endpoint == ep && streq(r->tokens[i].scope, scope))
					cur = r->tokens[i].value;
			bool fresh = cur && authorization && !streq(cur, authorization);
			if (cur && authorization && !fresh && str_has_prefix(authorization, "Basic ")) {
				pthread_mutex_unlock(&r->lock);
				return err_set(e, EACCES, "%s refused the credentials", r->host);
			}
			k = fresh ? 0 : authenticate(r, h, ep, scope, resp->www_authenticate, e);
			pthread_mutex_unlock(&r->lock);
			if (k < 0)
				return k;
			attempt--;
			continue;
		}
		if (!worth_retrying(resp->status) || attempt + 1 >= REGISTRY_ATTEMPTS || req->read)
			return 0;
		pause_before(attempt, resp->retry_after);
	}
}

int registry_request(struct registry *r, struct http *h, unsigned caps, const char *scope, const char *path, struct http_req *req,
		     struct http_resp *resp, struct err *e) {
	int k = -ENOENT;
	for (size_t i = 0; i < r->eps.n; i++) {
		bool last = i + 1 == r->eps.n;
		if ((r->eps.v[i].caps & caps) != caps && !last)
			continue;
		if (req->url && !last) /* an upload location belongs to the registry itself */
			continue;
		k = one_endpoint(r, h, i, scope, path, req, resp, e);
		bool good = k >= 0 && resp->status < 400;
		if (good || last || resp->received)
			return k;
		err_clear(e); /* a mirror may be down or not have it */
	}
	return k;
}

int registry_error(const struct registry *r, const struct http_resp *resp, const char *what, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j = NULL;
	static const struct {
		long status;
		int code;
	} map[] = { { 401, EACCES }, { 403, EACCES }, { 404, ENOENT }, { 429, EAGAIN }, { 416, ERANGE } };
	int code = EIO;
	for (size_t i = 0; i < ARRAY_SIZE(map); i++)
		if (map[i].status == resp->status)
			code = map[i].code;
	const char *said = "";
	if (resp->body.len && resp->body.len < 65536 && json_parse(&a, resp->body.s, resp->body.len, &j, NULL) >= 0) {
		struct json *first = json_first(json_get(j, "errors"));
		said = json_str(first, "message", json_str(first, "code", ""));
	}
	return err_set(e, code, "%s: %s answered %ld%s%.200s", what, r->host, resp->status, *said ? ": " : "", said);
}

void digest_hex_of(const uint8_t raw[32], char ret[DIGEST_MAX]) {
	static const char hex[] = "0123456789abcdef";
	memcpy(ret, "sha256:", 7);
	for (size_t i = 0; i < 32; i++) {
		ret[7 + 2 * i] = hex[raw[i] >> 4];
		ret[8 + 2 * i] = hex[raw[i] & 15];
	}
	ret[DIGEST_MAX - 1] = '\0';
}

void digest_of(const void *data, size_t n, char ret[DIGEST_MAX]) {
	uint8_t raw[32];
	SHA256(data, n, raw);
	digest_hex_of(raw, ret);
}

void manifest_blob_free(struct manifest_blob *m) {
	strbuf_free(&m->body);
}

static const char accept_manifest[] = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
	"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

int registry_get_manifest(struct registry *r, struct http *h, const char *path, const char *reference, struct manifest_blob *ret, struct err *e) {
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
	char url[1024], scope[400];
	snprintf(url, sizeof(url), "/%s/manifests/%s", path, reference);
	snprintf(scope, sizeof(scope), "repository:%s:pull", path);
	struct http_req req = { .accept = accept_manifest };
	int k = registry_request(r, h, HOST_PULL | HOST_RESOLVE, scope, url, &req, &resp, e);
	if (k == -EFBIG || resp.body.len > MANIFEST_MAX)
		return err_set(e, EFBIG, "%s/%s:%s: manifest of more than %d MiB", r->host, path, reference, MANIFEST_MAX >> 20);
	if (k < 0)
		return k;
	if (resp.status != 200) {
		char what[700];
		snprintf(what, sizeof(what), "%s/%s%s%s", r->host, path, strchr(reference, ':') ? "@" : ":", reference);
		return registry_error(r, &resp, what, e);
	}
	char digest[DIGEST_MAX];
	digest_of(strbuf_str(&resp.body), resp.body.len, digest);
	if (strchr(reference, ':') && !streq(reference, digest))
		return err_set(e, EBADMSG, "%s/%s: the manifest has digest %s, not %s as asked", r->host, path, digest, reference);
	const char *type = resp.content_type ? resp.content_type : "";
	snprintf(ret->media_type, sizeof(ret->media_type), "%.*s", (int)strcspn(type, "; "), type);
	memcpy(ret->digest, digest, sizeof(digest));
	ret->body = resp.body;
	resp.body = (struct strbuf)STRBUF_INIT;
	return 0;
}

int registry_get_blob(struct registry *r, struct http *h, const char *path, const char *digest, size_t max, struct strbuf *ret, struct err *e) {
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
	char url[1024], scope[400], got[DIGEST_MAX];
	snprintf(url, sizeof(url), "/%s/blobs/%s", path, digest);
	snprintf(scope, sizeof(scope), "repository:%s:pull", path);
	struct http_req req = { .url = NULL };
	int k = registry_request(r, h, HOST_PULL, scope, url, &req, &resp, e);
	if (k < 0)
		return k;
	if (resp.status != 200)
		return registry_error(r, &resp, digest, e);
	if (resp.body.len > max)
		return err_set(e, EFBIG, "blob %s of more than %zu bytes", digest, max);
	digest_of(strbuf_str(&resp.body), resp.body.len, got);
	if (!streq(got, digest))
		return err_set(e, EBADMSG, "%s sent a blob with digest %s, not %s as asked", r->host, got, digest);
	*ret = resp.body;
	resp.body = (struct strbuf)STRBUF_INIT;
	return 0;
}

int registry_ping(struct registry *r, struct http *h, struct err *e) {
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
	struct http_req req = { .url = NULL };
	int k = registry_request(r, h, 0, "", "/", &req, &resp, e);
	if (k < 0)
		return k;
	return resp.status == 200 ? 0 : registry_error(r, &resp, "log in", e);
}
