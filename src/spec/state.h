/* The OCI state document that hooks and the seccomp agent get: one compact line. */
#ifndef TIERCE_SPEC_STATE_H
#define TIERCE_SPEC_STATE_H

#include <sys/types.h>

#include "base/str.h"
#include "spec/oci.h"
#include "wire/json.h"

struct oci_state {
	const char *version; /* ociVersion */
	const char *id, *status, *bundle;
	pid_t pid;           /* 0: the member is left out (runtime-spec: required only while created or running) */
	const struct oci_map *annotations; /* may be NULL */
};

/* Append {"ociVersion":..., "id":..., ...}; characters are not HTML-escaped. 0 or -ENOMEM. */
int oci_state_write(struct strbuf *out, const struct oci_state *s);

#endif
