/* Between sys_mount.c and sys_mountfd.c: rules of the caller's mount namespace. */
#ifndef TIERCE_SENTRY_MOUNT_H
#define TIERCE_SENTRY_MOUNT_H

#include "tier/sentry/vfs/vfs.h"

bool may_mount(const struct task *t);
bool mount_ours(const struct task *t, const struct mount *m);
/* -EPERM: locked by a more privileged namespace; -EBUSY: files are open for writing. */
int mount_change_flags(struct mount *m, unsigned long set, unsigned long clear);
long mount_propagation(struct task *t, const struct path *p, unsigned long flags);
/* A detached copy for the caller. */
int mount_copy_user(struct task *t, const struct path *from, bool rec, struct mntns **ret);
int mount_move(struct task *t, const struct path *from, const struct path *at);
/* A detached mount of a new file system; takes sb, even on failure. */
int mount_super(struct task *t, struct super *sb, unsigned long flags, const char *source, struct mntns **ret);

#endif
