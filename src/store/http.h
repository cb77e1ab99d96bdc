/* One HTTP exchange over libcurl, with what a registry client needs of it. A handle belongs to one thread at a time. */
#ifndef TIERCE_STORE_HTTP_H
#define TIERCE_STORE_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum {
	/* Bodies that are kept in memory: manifests are at most 4 MiB (distribution-spec), tokens and errors much less. */
	HTTP_MAX_BODY = 4 * 1024 * 1024 + 1,
	HTTP_MAX_REDIRECTS = 10,
	HTTP_CONNECT_TIMEOUT = 30,
	/* A peer that sends less than a byte a second for this long is taken for dead, and the rest asked for again. */
	HTTP_STALL_TIMEOUT = 60,
};

struct http;
struct http_resp;

struct http_tls {
	bool skip_verify;
	char *ca;           /* PEM file, NULL for the system's */
	char *cert, *key;   /* client certificate */
};

struct http_req {
	const char *method; /* NULL: GET */
	const char *url;
	const char *authorization; /* dropped by redirects to another host */
	const char *accept, *content_type;
	char *const *headers; /* more, "Name: value", NULL-terminated; may be NULL */
	const char *range;    /* "0-99", NULL for all */
	const void *body;     /* sent as it is */
	size_t body_len;
	/* or streamed: returns bytes put into buf, 0 at the end, negative errno */
	ssize_t (*read)(void *ctx, void *buf, size_t n);
	bool read_known;
	uint64_t read_size; /* when read_known; else chunked */
	/* Receives bytes of a 2xx body; others go to http_resp.body. Returns 0 or negative errno, which ends the transfer. */
	int (*sink)(void *ctx, const void *data, size_t n, const struct http_resp *resp);
	void *ctx;
	const struct http_tls *tls;
	bool allow_http; /* plain http may be spoken at all, and redirected to */
	bool no_redirect;
	const volatile bool *cancel; /* when it turns true the transfer ends within a second; may be NULL */
};

struct http_resp {
	long status;
	struct strbuf body;
	char *content_type, *location, *digest, *www_authenticate, *content_range, *range, *link, *version;
	int64_t content_length; /* -1 unknown */
	int64_t retry_after;    /* seconds, -1 absent */
	uint64_t received;      /* bytes given to the sink */
	/* Why the transfer failed, when it did: */
	bool tls_mismatch;      /* the peer does not speak TLS */
	bool refused;           /* no connection: nothing listens or the name is unknown */
};

#define HTTP_RESP_INIT { .content_length = -1, .retry_after = -1 }
#define _cleanup_http_resp_ CLEANUP(http_resp_free)

struct http *http_new(void);
void http_free(struct http *h);
/* The exchange took place whatever the status: 0. Network failure: negative errno (-EIO for a cut), with resp telling how far it came. */
int http_do(struct http *h, const struct http_req *req, struct http_resp *resp, struct err *e);
void http_resp_free(struct http_resp *r);

#endif
