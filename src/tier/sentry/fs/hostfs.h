/* Host directories, inside the room. */
#ifndef TIERCE_SENTRY_HOSTFS_H
#define TIERCE_SENTRY_HOSTFS_H

#include "tier/sentry/vfs/vfs.h"

int hostfs_fd(const struct inode *i); /* borrowed O_PATH fd, -EBADF when the inode is none of ours */

#endif
