/* A root that is an overlay of EROFS images, as the image store mounts them: its layers are handed to the machine as they are, without a copy. */
#ifndef TIERCE_TIER_VM_ROOTLAYERS_H
#define TIERCE_TIER_VM_ROOTLAYERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

enum { ROOT_LAYERS_MAX = 64 /* more are packed into one image instead: each costs the guest a mount */ };

struct root_layers {
	const char *image[ROOT_LAYERS_MAX]; /* files, the uppermost first */
	size_t n;
	const char *upper; /* directory above them all, NULL: none */
};

/* Look the mount of rootfs up in our mount namespace. False when it is anything else than such an overlay. */
bool rootlayers_find(struct arena *a, const char *rootfs, struct root_layers *ret);

#endif
