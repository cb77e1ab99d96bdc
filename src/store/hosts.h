/* Where a registry is really reached: mirrors, TLS files and plain http, from certs.d/<host>/hosts.toml (containerd's format) and
 * podman's and docker's certs.d/<host>/{*.crt,*.cert,*.key}. */
#ifndef TIERCE_STORE_HOSTS_H
#define TIERCE_STORE_HOSTS_H

#include "store/http.h"

enum {
	HOST_PULL = 1, HOST_RESOLVE = 2, HOST_PUSH = 4,
	HOSTS_MAX = 16,
	HOSTS_FILE_MAX = 256 * 1024,
};

struct endpoint {
	char *base;   /* "https://mirror:5000/v2", no slash at the end */
	char *host;   /* host[:port] for credentials */
	unsigned caps;
	bool mirror;  /* asks with ?ns= as containerd does */
	bool try_http; /* loopback or insecure: plain http when TLS is not spoken */
	bool http;    /* plain http it is */
	struct http_tls tls;
	char **headers;
};

struct endpoints {
	struct endpoint v[HOSTS_MAX];
	size_t n;
};

#define _cleanup_endpoints_ CLEANUP(endpoints_free)
void endpoints_free(struct endpoints *eps);
/* In the order to try, the registry itself last. certs_dir: NULL for the usual folders; insecure: no verification, http allowed. */
int endpoints_find(const char *certs_dir, const char *host, bool insecure, struct endpoints *ret, struct err *e);

/* The parser by itself: hosts.toml text, dir for relative file names. */
int hosts_toml_parse(char *text, const char *dir, const char *host, struct endpoints *ret, struct err *e);

#endif
