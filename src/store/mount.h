/* Mounting layers and stacking them: EROFS (file-backed, then over a loop device), overlayfs (new mount API, then mount(2)). */
#ifndef TIERCE_STORE_MOUNT_H
#define TIERCE_STORE_MOUNT_H

#include "store/store.h"

bool is_mount_root(int dirfd, const char *path);
/* Mounts the image file (name below layers) read-only on target. -EOPNOTSUPP when this host cannot. */
int erofs_mount(struct store *s, const char *file, const char *target, struct err *e);

struct overlay {
	char *const *lowers; /* absolute paths, top first */
	size_t n_lowers;
	const char *upper, *work; /* NULL: read-only */
	const char *mount_label;
	bool userxattr, volatile_upper;
};
/* A detached overlay mount: fd for move_mount(2), or negative errno. */
int overlay_mount_fd(const struct overlay *o, struct err *e);
/* The same over mount(2), for kernels without lowerdir+ (before 6.8); attached to target. */
int overlay_mount_legacy(const struct overlay *o, const char *target, struct err *e);
/* A copy of the mount at path, idmapped by a user namespace, on target. */
int store_mount_idmapped(const char *path, int userns, const char *target, struct err *e);
/* Attaches a detached mount to a path. */
int store_mount_attach(int mfd, const char *target, struct err *e);

#endif
