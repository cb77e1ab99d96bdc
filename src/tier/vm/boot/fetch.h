/* Debian's cloud kernel: from the cache, the host or the package archive. */
#ifndef TIERCE_TIER_VM_BOOT_FETCH_H
#define TIERCE_TIER_VM_BOOT_FETCH_H

#include "base/err.h"

/* Path of a vmlinuz whose modules lie in ../lib/modules of it, malloc'ed. The caller holds the cache's lock. */
int fetch_debian_kernel(const char *cache, char **ret, struct err *e) MUST_CHECK;

#endif
