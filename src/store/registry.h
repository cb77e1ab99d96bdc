/* Registry client (distribution-spec v1.1): requests with authentication, mirrors, back-off; manifests; blobs in and out. */
#ifndef TIERCE_STORE_REGISTRY_H
#define TIERCE_STORE_REGISTRY_H

#include <pthread.h>

#include "store/auth.h"
#include "store/hosts.h"
#include "store/http.h"
#include "store/ref.h"

enum {
	REGISTRY_ATTEMPTS = 6,       /* of one request, with growing pauses between */
	REGISTRY_BACKOFF_MS = 250,   /* first pause, doubled each time */
	REGISTRY_BACKOFF_MAX_S = 60, /* no Retry-After holds us longer */
	MANIFEST_MAX = 4 * 1024 * 1024, /* the size that registries must accept at least; larger ones are an attack on memory */
	TOKENS_MAX = 64,
};

struct registry_opts {
	const char *authfile;  /* NULL: the usual files */
	const char *user, *password; /* instead of files */
	const char *certs_dir; /* NULL: the usual folders */
	bool insecure;         /* --tls-verify=false */
};

struct token {
	size_t endpoint;
	char *scope, *value; /* value: a whole Authorization header value */
	int64_t expires;     /* CLOCK_MONOTONIC seconds */
};

struct registry {
	char host[REF_PATH_MAX + 1];
	struct registry_opts opts;
	struct endpoints eps;
	struct creds creds[HOSTS_MAX];
	bool creds_known[HOSTS_MAX];
	pthread_mutex_t lock; /* tokens, creds */
	struct token tokens[TOKENS_MAX];
	size_t n_tokens;
};

int registry_open(const struct registry_opts *opts, const char *host, struct registry **ret, struct err *e);
void registry_close(struct registry *r);

/* A request below base, e.g. "/library/busybox/blobs/sha256:..."; req->url is filled in (or used as it is when it is set: upload locations).
 * Tries the endpoints that have all of caps in order. scope: "repository:PATH:pull". Retries what may be retried; once bytes reached the
 * sink it returns instead. 0 when an exchange took place: look at resp->status. */
int registry_request(struct registry *r, struct http *h, unsigned caps, const char *scope, const char *path, struct http_req *req,
		     struct http_resp *resp, struct err *e);
/* Turns an unwanted status into an error with what the registry said. */
int registry_error(const struct registry *r, const struct http_resp *resp, const char *what, struct err *e);

struct manifest_blob {
	struct strbuf body;
	char media_type[128];
	char digest[DIGEST_MAX]; /* computed from the body */
};
void manifest_blob_free(struct manifest_blob *m);
/* reference: tag or digest; a digest is verified. */
int registry_get_manifest(struct registry *r, struct http *h, const char *path, const char *reference, struct manifest_blob *ret, struct err *e);
/* A whole small blob (a config) into memory, verified. */
int registry_get_blob(struct registry *r, struct http *h, const char *path, const char *digest, size_t max, struct strbuf *ret, struct err *e);
/* All tags of a repository, in the registry's order; page by page (distribution-spec, "Listing Tags"). Freed by strv_free(). */
int registry_tags(struct registry *r, struct http *h, const char *path, char ***ret, struct err *e);
/* Repositories, where the registry lists them (/v2/_catalog). */
int registry_catalog(struct registry *r, struct http *h, char ***ret, struct err *e);
/* Credentials accepted? For login. */
int registry_ping(struct registry *r, struct http *h, struct err *e);

/* Pushing. */
int registry_has_blob(struct registry *r, struct http *h, const char *path, const char *digest, struct err *e); /* 1, 0 */
/* Asks for a blob of another repository of the same registry: 1 when it is there now, 0 when it has to be sent. */
int registry_mount_blob(struct registry *r, struct http *h, const char *path, const char *digest, const char *from, struct err *e);
/* Sends a blob of unknown size and digest: chunks of PATCH, then PUT with what digest() says at the end. A chunk that was cut is asked after and
 * sent again from where the registry has it. */
struct blob_source {
	ssize_t (*read)(void *ctx, void *buf, size_t n, struct err *e); /* fills buf; less only at the end */
	const char *(*digest)(void *ctx); /* valid once read returned 0 */
	void *ctx;
	void (*progress)(void *ctx, uint64_t sent);
};
int registry_put_blob(struct registry *r, struct http *h, const char *path, const struct blob_source *src, struct err *e);
int registry_put_manifest(struct registry *r, struct http *h, const char *path, const char *reference, const char *media_type, const char *body, size_t len,
			  struct err *e);

/* A blob as a stream, fetched by several connections in pieces where it is large and the server can; resumed when cut. */
struct blob_stream;
struct blob_stream_opts {
	unsigned connections;  /* at most; 0: default */
	uint64_t piece;        /* bytes a request; 0: default */
};
int blob_stream_open(struct registry *r, const char *path, const char *digest, uint64_t size, const struct blob_stream_opts *o,
		     struct blob_stream **ret, struct err *e);
/* Next span in order, valid until the next call; 0 at the end. */
ssize_t blob_stream_next(struct blob_stream *s, const uint8_t **ret, struct err *e);
void blob_stream_close(struct blob_stream *s);

/* "sha256:..." of bytes. */
void digest_of(const void *data, size_t n, char ret[DIGEST_MAX]);
void digest_hex_of(const uint8_t raw[32], char ret[DIGEST_MAX]);

#endif
