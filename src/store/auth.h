/* Registry credentials: WWW-Authenticate challenges, auth.json and config.json, credential helpers. */
#ifndef TIERCE_STORE_AUTH_H
#define TIERCE_STORE_AUTH_H

#include <stdbool.h>

#include "base/err.h"

enum {
	CHALLENGES_MAX = 8,    /* a header that lists thousands */
	CHALLENGE_VALUE = 2048, /* realm URLs and scopes are far shorter */
	AUTH_FILE_MAX = 1024 * 1024,
};

enum challenge_scheme { CHALLENGE_OTHER, CHALLENGE_BASIC, CHALLENGE_BEARER };

struct challenge {
	enum challenge_scheme scheme;
	char realm[CHALLENGE_VALUE], service[CHALLENGE_VALUE], scope[CHALLENGE_VALUE];
};

/* Parses a WWW-Authenticate value (RFC 9110, 11.6.1): the number of challenges, or -EINVAL. */
int challenge_parse(const char *s, struct challenge *ret, size_t max, struct err *e) MUST_CHECK;

struct creds {
	char *user, *password; /* NULL: anonymous */
	char *identity_token;  /* an OAuth2 refresh token instead */
};
#define _cleanup_creds_ CLEANUP(creds_free)
void creds_free(struct creds *c);

/* Credentials for a registry host and repository path from the file given, or from the usual places when authfile is NULL
 * ($REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json, /run/containers/UID/auth.json, $XDG_CONFIG_HOME/containers/auth.json,
 * $DOCKER_CONFIG/config.json or ~/.docker/config.json). None found: 0 with empty creds. */
int creds_find(const char *authfile, const char *host, const char *path, struct creds *ret, struct err *e);
/* Adds to or removes from the auth file (authfile NULL: where `login` of podman keeps it); helpers are used where the file names them.
 * creds_remove returns 1 when there was something. */
int creds_store(const char *authfile, const char *host, const struct creds *c, struct err *e);
int creds_remove(const char *authfile, const char *host, struct err *e);

/* base64("user:password") */
char *creds_basic(const struct creds *c);

#endif
