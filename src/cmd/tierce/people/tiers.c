/* The tiers that were built. */
#include "cmd/tierce/people/tiers.h"

#include <stddef.h>

const struct tier_ops *const tierce_tiers[] = {
#ifdef HAVE_TIER_NS
	&tier_ns,
#endif
#ifdef HAVE_TIER_SENTRY
	&tier_sentry,
#endif
#ifdef HAVE_TIER_VM
	&tier_vm,
#endif
	NULL,
};
