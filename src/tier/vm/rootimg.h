/* A root directory as an EROFS image in the cache, found again by the content's key. */
#ifndef TIERCE_TIER_VM_ROOTIMG_H
#define TIERCE_TIER_VM_ROOTIMG_H

#include "base/err.h"

enum {
	ROOTIMG_KEEP = 16,        /* images that stay in the cache; the least recently used go */
	ROOTIMG_ENTRIES_MAX = 4 << 20, /* files below a root: bounds the walk over a hostile tree */
};

/* Path of the image, malloc'ed. */
int rootimg_get(const char *cache, const char *rootfs, char **ret, struct err *e) MUST_CHECK;

#endif
