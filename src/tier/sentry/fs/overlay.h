/* overlay as the container's root. */
#ifndef TIERCE_SENTRY_OVERLAY_H
#define TIERCE_SENTRY_OVERLAY_H

#include "tier/sentry/vfs/vfs.h"

/* trees[0]: upper (NULL: read-only), then n_lower lower ones, topmost first; each a detached tree of one mount. Takes them. NULL: *rc. */
struct super *overlay_new(struct mntns *trees[], unsigned n_lower, const char *options, int *rc);

#endif
