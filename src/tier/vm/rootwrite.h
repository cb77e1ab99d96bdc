/* An EROFS image of a directory tree, by the writer that the image store uses. */
#ifndef TIERCE_TIER_VM_ROOTWRITE_H
#define TIERCE_TIER_VM_ROOTWRITE_H

#include "base/err.h"

/* Write the tree to an empty file. Owners, modes, times, links, device nodes, capabilities, ACLs, user.* and trusted.* attributes; sockets are left out. */
int rootwrite(const char *rootfs, int out, struct err *e) MUST_CHECK;

#endif
