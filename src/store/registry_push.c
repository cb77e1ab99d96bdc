/* Registry client, the sending side: blobs in chunks, mounts across repositories, manifests. See registry.h. */
#include <errno.h>
#include <stdio.h>

#include "store/registry.h"

enum {
	CHUNK = 8 * 1024 * 1024, /* held in memory, so that a cut chunk can be sent again */
	CHUNK_ATTEMPTS = 5,
};

static void push_scope(char *buf, size_t size, const char *path) {
	snprintf(buf, size, "repository:%s:pull,push", path);
}

int registry_has_blob(struct registry *r, struct http *h, const char *path, const char *digest, struct err *e) {
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
	char url[1024], scope[400];
	snprintf(url, sizeof(url), "/%s/blobs/%s", path, digest);
	push_scope(scope, sizeof(scope), path);
	struct http_req req = { .method = "HEAD" };
	int k = registry_request(r, h, HOST_PUSH, scope, url, &req, &resp, e);
	if (k < 0)
		return k;
	if (resp.status == 404)
		return 0;
	return resp.status == 200 ? 1 : registry_error(r, &resp, "ask for a blob", e);
}

/* Location may be relative to the registry. */
static char *absolute(const struct registry *r, const char *location) {
	char *s = NULL;
	const char *base = r->eps.v[r->eps.n - 1].base;
	if (!location)
		return NULL;
	if (location[0] != '/')
		return strdup(location);
	const char *p = strstr(base, "://");
	size_t n = p ? (size_t)(p - base) + 3 + strcspn(p + 3, "/") : 0;
	return asprintf(&s, "%.*s%s", (int)n, base, location) < 0 ? NULL : s;
}

int registry_mount_blob(struct registry *r, struct http *h, const char *path, const char *digest, const char *from, struct err *e) {
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
	char url[1600], scope[800];
	snprintf(url, sizeof(url), "/%s/blobs/uploads/?mount=%s&from=%s", path, digest, from);
	/* Both repositories have to be named to the token server (distribution token spec: scopes are separated by blanks). */
	snprintf(scope, sizeof(scope), "repository:%s:pull,push repository:%s:pull", path, from);
	struct http_req req = { .method = "POST" };
	int k = registry_request(r, h, HOST_PUSH, scope, url, &req, &resp, e);
	if (k < 0)
		return k;
	if (resp.status == 201)
		return 1;
	if (resp.status == 202) { /* an upload was opened instead: give it up */
		_cleanup_free_ char *loc = absolute(r, resp.location);
		_cleanup_http_resp_ struct http_resp dropped = HTTP_RESP_INIT;
		struct http_req del = { .method = "DELETE", .url = loc };
		char own[400];
		push_scope(own, sizeof(own), path);
		if (loc)
			registry_request(r, h, HOST_PUSH, own, "", &del, &dropped, NULL);
	}
	return 0;
}

/* How much of the upload the registry has: "Range: 0-N". */
static int upload_offset(struct registry *r, struct http *h, const char *scope, char **location, uint64_t *ret, struct err *e) {
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
	struct http_req req = { .url = *location };
	int k = registry_request(r, h, HOST_PUSH, scope, "", &req, &resp, e);
	if (k < 0)
		return k;
	if (resp.status != 204 && resp.status != 202 && resp.status != 200)
		return registry_error(r, &resp, "resume an upload", e);
	const char *dash = resp.range ? strchr(resp.range, '-') : NULL;
	uint64_t end = 0;
	if (dash && parse_u64(dash + 1, &end) < 0)
		end = 0;
	*ret = end ? end + 1 : 0;
	if (resp.location) {
		char *next = absolute(r, resp.location);
		if (!next)
			return err_set(e, ENOMEM, "out of memory");
		free(*location);
		*location = next;
	}
	return 0;
}

static int patch(struct registry *r, struct http *h, const char *scope, char **location, const uint8_t *buf, size_t n, uint64_t off, struct err *e) {
	char range[96];
	size_t done = 0;
	for (unsigned attempt = 0;; attempt++) {
		_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
		snprintf(range, sizeof(range), "Content-Range: %llu-%llu", (unsigned long long)(off + done), (unsigned long long)(off + n - 1));
		char *headers[] = { range, NULL };
		struct http_req req = { .method = "PATCH", .url = *location, .content_type = "application/octet-stream", .headers = headers, .body = buf + done,
					.body_len = n - done };
		err_clear(e);
		int k = registry_request(r, h, HOST_PUSH, scope, "", &req, &resp, e);
		if (k >= 0 && (resp.status == 202 || resp.status == 201 || resp.status == 204)) {
			char *next = absolute(r, resp.location);
			if (next) {
				free(*location);
				*location = next;
			}
			return 0;
		}
		bool again = k < 0 || resp.status == 416 || resp.status >= 500;
		if (!again || attempt + 1 >= CHUNK_ATTEMPTS)
			return k < 0 ? k : registry_error(r, &resp, "send a blob", e);
		uint64_t have = 0;
		k = upload_offset(r, h, scope, location, &have, e);
		if (k < 0)
			return k;
		if (have < off || have > off + n)
			return err_set(e, EIO, "send a blob: the registry has %llu bytes, which we no longer hold", (unsigned long long)have);
		done = (size_t)(have - off);
		if (done == n)
			return 0;
	}
}

int registry_put_blob(struct registry *r, struct http *h, const char *path, const struct blob_source *src, struct err *e) {
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT, last = HTTP_RESP_INIT;
	_cleanup_free_ uint8_t *buf = malloc(CHUNK);
	_cleanup_free_ char *location = NULL, *final = NULL;
	char url[600], scope[400];
	uint64_t off = 0;
	if (!buf)
		return err_set(e, ENOMEM, "out of memory");
	snprintf(url, sizeof(url), "/%s/blobs/uploads/", path);
	push_scope(scope, sizeof(scope), path);
	struct http_req req = { .method = "POST" };
	int k = registry_request(r, h, HOST_PUSH, scope, url, &req, &resp, e);
	if (k < 0)
		return k;
	if (resp.status != 202 || !(location = absolute(r, resp.location)))
		return registry_error(r, &resp, "begin an upload", e);
	for (;;) {
		ssize_t n = src->read(src->ctx, buf, CHUNK, e);
		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		k = patch(r, h, scope, &location, buf, (size_t)n, off, e);
		if (k < 0)
			return k;
		off += (uint64_t)n;
		if (src->progress)
			src->progress(src->ctx, off);
	}
	const char *digest = src->digest(src->ctx);
	if (asprintf(&final, "%s%sdigest=%s", location, strchr(location, '?') ? "&" : "?", digest) < 0)
		return err_set(e, ENOMEM, "out of memory");
	struct http_req put = { .method = "PUT", .url = final, .content_type = "application/octet-stream", .body = "", .body_len = 0 };
	k = registry_request(r, h, HOST_PUSH, scope, "", &put, &last, e);
	if (k < 0)
		return k;
	return last.status == 201 || last.status == 204 ? 0 : registry_error(r, &last, "finish an upload", e);
}

int registry_put_manifest(struct registry *r, struct http *h, const char *path, const char *reference, const char *media_type, const char *body, size_t len,
			  struct err *e) {
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
	char url[1024], scope[400];
	snprintf(url, sizeof(url), "/%s/manifests/%s", path, reference);
	push_scope(scope, sizeof(scope), path);
	struct http_req req = { .method = "PUT", .content_type = media_type, .body = body, .body_len = len };
	int k = registry_request(r, h, HOST_PUSH, scope, url, &req, &resp, e);
	if (k < 0)
		return k;
	return resp.status == 201 || resp.status == 200 || resp.status == 202 ? 0 : registry_error(r, &resp, "push the manifest", e);
}
