/* HTTP over libcurl: see http.h. */
#include "store/http.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

struct http {
	CURL *curl;
	char errbuf[CURL_ERROR_SIZE];
};

struct exchange {
	const struct http_req *req;
	struct http_resp *resp;
	CURL *curl;
	size_t sent;
	int failed; /* negative errno of a callback */
};

struct http *http_new(void) {
	struct http *h = calloc(1, sizeof(*h));
	if (h && !(h->curl = curl_easy_init())) {
		free(h);
		return NULL;
	}
	return h;
}

void http_free(struct http *h) {
	if (!h)
		return;
	curl_easy_cleanup(h->curl);
	free(h);
}

void http_resp_free(struct http_resp *r) {
	char **owned[] = { &r->content_type, &r->location, &r->digest, &r->www_authenticate, &r->content_range, &r->range, &r->link, &r->version };
	for (size_t i = 0; i < ARRAY_SIZE(owned); i++) {
		free(*owned[i]);
		*owned[i] = NULL;
	}
	strbuf_free(&r->body);
	*r = (struct http_resp)HTTP_RESP_INIT;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx) {
	struct exchange *x = ctx;
	n *= size;
	curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->resp->status);
	if (x->req->sink && (x->resp->status == 200 || x->resp->status == 206)) {
		x->resp->received += n; /* also when the sink refuses: the caller must not repeat the request by itself */
		x->failed = x->req->sink(x->req->ctx, data, n, x->resp);
	} else if (x->resp->body.len + n > HTTP_MAX_BODY)
		x->failed = -EFBIG;
	else
		x->failed = strbuf_add(&x->resp->body, data, n);
	return x->failed < 0 ? CURL_WRITEFUNC_ERROR : n;
}

/* Called about once a second at least, data or not. */
static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
	const struct exchange *x = ctx;
	(void)a;
	(void)b;
	(void)c;
	(void)d;
	return *x->req->cancel ? 1 : 0;
}

static size_t on_read(char *buf, size_t size, size_t n, void *ctx) {
	struct exchange *x = ctx;
	n *= size;
	if (x->req->read) {
		ssize_t k = x->req->read(x->req->ctx, buf, n);
		if (k < 0) {
			x->failed = (int)k;
			return CURL_READFUNC_ABORT;
		}
		return (size_t)k;
	}
	n = MIN(n, x->req->body_len - x->sent);
	memcpy(buf, (const char *)x->req->body + x->sent, n);
	x->sent += n;
	return n;
}

/* A retransmission after 307 starts the body again; only bodies in memory can. */
static int on_seek(void *ctx, curl_off_t off, int origin) {
	struct exchange *x = ctx;
	if (x->req->read || origin != SEEK_SET || off < 0 || (size_t)off > x->req->body_len)
		return CURL_SEEKFUNC_CANTSEEK;
	x->sent = (size_t)off;
	return CURL_SEEKFUNC_OK;
}

static int64_t parse_retry_after(const char *s) {
	uint64_t sec;
	if (parse_u64(s, &sec) >= 0)
		return (int64_t)MIN(sec, (uint64_t)86400);
	time_t t = curl_getdate(s, NULL), now = time(NULL);
	return t < 0 ? -1 : t > now ? (int64_t)(t - now) : 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx) {
	struct exchange *x = ctx;
	struct http_resp *r = x->resp;
	n *= size;
	size_t len = n;
	while (len && (data[len - 1] == '\r' || data[len - 1] == '\n'))
		len--;
	if (len > 5 && memcmp(data, "HTTP/", 5) == 0) { /* a new response: after a redirect or 100 Continue */
		uint64_t received = r->received;
		http_resp_free(r);
		r->received = received;
		return n;
	}
	char *colon = memchr(data, ':', len);
	if (!colon)
		return n;
	const struct {
		const char *name;
		char **to;
	} wanted[] = {
		{ "content-type", &r->content_type }, { "location", &r->location }, { "docker-content-digest", &r->digest },
		{ "content-range", &r->content_range }, { "range", &r->range }, { "link", &r->link },
		{ "docker-distribution-api-version", &r->version },
	};
	size_t nlen = (size_t)(colon - data);
	const char *v = colon + 1;
	while (v < data + len && (*v == ' ' || *v == '\t'))
		v++;
	_cleanup_free_ char *value = strndup(v, (size_t)(data + len - v));
	if (!value)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (strlen(wanted[i].name) == nlen && strncasecmp(data, wanted[i].name, nlen) == 0) {
			free(*wanted[i].to);
			*wanted[i].to = TAKE(value);
			return n;
		}
	if (nlen == 11 && strncasecmp(data, "retry-after", nlen) == 0)
		r->retry_after = parse_retry_after(value);
	uint64_t cl;
	if (nlen == 14 && strncasecmp(data, "content-length", nlen) == 0 && parse_u64(value, &cl) >= 0 && cl <= INT64_MAX)
		r->content_length = (int64_t)cl;
	if (nlen == 16 && strncasecmp(data, "www-authenticate", nlen) == 0) {
		/* Several challenges may come in several headers: joined by commas they mean the same (RFC 9110, 5.3). */
		if (r->www_authenticate) {
			char *both = NULL;
			if (asprintf(&both, "%s, %s", r->www_authenticate, value) < 0)
				return 0;
			free(r->www_authenticate);
			r->www_authenticate = both;
		} else
			r->www_authenticate = TAKE(value);
	}
	return n;
}

static int add_header(struct curl_slist **l, const char *name, const char *value) {
	_cleanup_free_ char *s = NULL;
	if (!value)
		return 0;
	if (asprintf(&s, "%s: %s", name, value) < 0)
		return -ENOMEM;
	struct curl_slist *n = curl_slist_append(*l, s);
	if (!n)
		return -ENOMEM;
	*l = n;
	return 0;
}

static int build_headers(const struct http_req *q, struct curl_slist **l) {
	int r = add_header(l, "Authorization", q->authorization);
	if (r >= 0)
		r = add_header(l, "Accept", q->accept);
	if (r >= 0)
		r = add_header(l, "Content-Type", q->content_type);
	for (char *const *h = q->headers; r >= 0 && h && *h; h++) {
		struct curl_slist *n = curl_slist_append(*l, *h);
		if (!n)
			return -ENOMEM;
		*l = n;
	}
	if (r >= 0) {
		struct curl_slist *n = curl_slist_append(*l, "Expect:");
		if (!n)
			return -ENOMEM;
		*l = n;
	}
	return r;
}

static void setup_body(CURL *c, const struct http_req *q, struct exchange *x) {
	bool upload = q->read || q->body;
	if (q->method && streq(q->method, "HEAD"))
		curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
	else if (upload) {
		curl_easy_setopt(c, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read);
		curl_easy_setopt(c, CURLOPT_READDATA, x);
		curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(c, CURLOPT_SEEKDATA, x);
		curl_easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
		if (q->body || q->read_known)
			curl_easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)(q->body ? q->body_len : q->read_size));
	} else if (q->method && !streq(q->method, "GET")) {
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, "");
		curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, 0L);
	}
	if (q->method)
		curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, q->method);
}

static void setup(struct http *h, const struct http_req *q, struct exchange *x, struct curl_slist *headers) {
	CURL *c = h->curl;
	curl_easy_reset(c); /* keeps the connections */
	h->errbuf[0] = '\0';
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, h->errbuf);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_URL, q->url);
	const char *protocols = q->allow_http ? "http,https" : "https";
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, protocols);
	/* What began over TLS does not continue without it. */
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, q->allow_http && strncmp(q->url, "http:", 5) == 0 ? "http,https" : "https");
	/* A custom Authorization header goes to the first host only (curl: CURLOPT_UNRESTRICTED_AUTH off; port and scheme count too). */
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, q->no_redirect ? 0L : 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)HTTP_MAX_REDIRECTS);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)HTTP_CONNECT_TIMEOUT);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)HTTP_STALL_TIMEOUT);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "tierce");
	curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L * 1024);
	curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* parallel transfers want connections of their own */
	curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
	if (q->cancel) {
		curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
		curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
		curl_easy_setopt(c, CURLOPT_XFERINFODATA, x);
	}
	if (q->range)
		curl_easy_setopt(c, CURLOPT_RANGE, q->range);
	if (q->tls) {
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, q->tls->skip_verify ? 0L : 1L);
		curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, q->tls->skip_verify ? 0L : 2L);
		if (q->tls->ca)
			curl_easy_setopt(c, CURLOPT_CAINFO, q->tls->ca);
		if (q->tls->cert)
			curl_easy_setopt(c, CURLOPT_SSLCERT, q->tls->cert);
		if (q->tls->key)
			curl_easy_setopt(c, CURLOPT_SSLKEY, q->tls->key);
	}
	setup_body(c, q, x);
}

static const struct {
	CURLcode code;
	int err;
} codes[] = {
	{ CURLE_COULDNT_RESOLVE_HOST, EHOSTUNREACH }, { CURLE_COULDNT_CONNECT, ECONNREFUSED }, { CURLE_OPERATION_TIMEDOUT, ETIMEDOUT },
	{ CURLE_PEER_FAILED_VERIFICATION, EACCES }, { CURLE_SSL_CACERT_BADFILE, ENOENT }, { CURLE_SSL_CERTPROBLEM, EACCES },
	{ CURLE_TOO_MANY_REDIRECTS, ELOOP }, { CURLE_UNSUPPORTED_PROTOCOL, EPROTONOSUPPORT }, { CURLE_URL_MALFORMAT, EINVAL },
	{ CURLE_OUT_OF_MEMORY, ENOMEM }, { CURLE_ABORTED_BY_CALLBACK, ECANCELED },
};

int http_do(struct http *h, const struct http_req *q, struct http_resp *resp, struct err *e) {
	struct exchange x = { .req = q, .resp = resp, .curl = h->curl };
	struct curl_slist *headers = NULL;
	*resp = (struct http_resp)HTTP_RESP_INIT;
	if (build_headers(q, &headers) < 0) {
		curl_slist_free_all(headers);
		return err_set(e, ENOMEM, "out of memory");
	}
	setup(h, q, &x, headers);
	CURLcode c = curl_easy_perform(h->curl);
	curl_slist_free_all(headers);
	curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &resp->status);
	if (c == CURLE_OK)
		return 0;
	if (x.failed < 0)
		return e && e->code ? x.failed : err_sys(e, x.failed, "transfer of %s", q->url);
	resp->tls_mismatch = c == CURLE_SSL_CONNECT_ERROR;
	resp->refused = c == CURLE_COULDNT_CONNECT || c == CURLE_COULDNT_RESOLVE_HOST;
	int code = EIO;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].code == c)
			code = codes[i].err;
	return err_set(e, code, "%s: %s", q->url, h->errbuf[0] ? h->errbuf : curl_easy_strerror(c));
}
