/* Unit properties as annotations write them ("org.systemd.property.TimeoutStopUSec": "uint64 5000000"): GVariant text to typed values. */
#ifndef TIERCE_CONFINE_CGROUP_PROPERTY_H
#define TIERCE_CONFINE_CGROUP_PROPERTY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum {
	CGROUP_SIG_MAX = 40,     /* D-Bus signature of one value */
	CGROUP_VALUE_DEPTH = 8,  /* nesting: the parser recurses, an annotation is hostile input */
};

struct cgroup_value {
	char sig[CGROUP_SIG_MAX];      /* D-Bus signature: b y n q i u x t d s o g, a?, (...) */
	union { bool b; int64_t i; uint64_t u; double d; const char *s; };
	bool untyped;                  /* a number without a type word: takes its neighbours' type in an array */
	struct cgroup_value *first, *next; /* elements of an array or tuple */
};

/*
 * One property. name is checked (letters only, at least three, as runc does); a name that ends in "Sec" becomes "...USec" and its number seconds * 10^6.
 * Everything lives in the arena. -EINVAL with the place and what was expected.
 */
int cgroup_property_parse(struct arena *a, const char *name, const char *text, const char **ret_name, struct cgroup_value **ret, struct err *e);

#endif
