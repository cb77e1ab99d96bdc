/* Image references: "[host[:port]/]path[:tag][@digest]" (distribution's reference grammar), with docker.io/library as the default. */
#ifndef TIERCE_STORE_REF_H
#define TIERCE_STORE_REF_H

#include <stdbool.h>

#include "base/err.h"

enum {
	REF_MAX = 768,      /* a whole reference */
	REF_PATH_MAX = 255, /* host and path together, the grammar's NameTotalLengthMax */
	REF_TAG_MAX = 128,
	DIGEST_HEX = 64,
	DIGEST_MAX = 7 + DIGEST_HEX + 1, /* "sha256:" hex NUL */
};

struct ref {
	char host[REF_PATH_MAX + 1]; /* "docker.io", "localhost:5000" */
	char path[REF_PATH_MAX + 1]; /* "library/busybox" */
	char tag[REF_TAG_MAX + 1];   /* "" when absent and a digest is given; "latest" by default */
	char digest[DIGEST_MAX];     /* "sha256:..." or "" */
};

/* Parses and fills in the defaults. -EINVAL with a message that says which part is wrong. */
int ref_parse(const char *s, struct ref *ret, struct err *e) MUST_CHECK;
/* "host/path:tag" or "host/path@digest" (the digest wins when asked for). buf holds REF_MAX bytes. */
char *ref_name(const struct ref *r, bool with_digest, char buf[REF_MAX]);
/* "sha256:" and 64 lower-case hex digits: the only algorithm that images use. */
/* The full name that an image of this host is given: a word alone becomes localhost/WORD (docker.io is no place that we can give names in), a missing tag
 * is latest. Digests are refused. */
int ref_local_name(const char *s, char buf[REF_MAX], struct err *e) MUST_CHECK;
bool digest_valid(const char *s);
/* The hex part of a valid digest. */
static inline const char *digest_hex(const char *d) { return d + 7; }

#endif
