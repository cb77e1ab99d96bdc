/* overlay inside the room: overlay.c (names, attributes, files), overlay_copy.c (copying up), overlay_mount.c. */
#ifndef TIERCE_SENTRY_OVERLAY_INNER_H
#define TIERCE_SENTRY_OVERLAY_INNER_H

#include "tier/sentry/fs/overlay.h"

enum { LOWER_MAX = 64 /* layers: bounds the cost of a lookup */ };
#define OPAQUE "trusted.overlay.opaque"

struct ovl {
	struct mntns *trees[LOWER_MAX + 1]; /* private mounts: [0] upper or NULL, then lower ones, topmost first */
	unsigned n_lower;
	char *options;
};
struct ovl_node {
	struct inode *parent;   /* referenced; NULL: root, or without a name */
	char *name;
	struct dentry *upper;   /* referenced, NULL: not copied up */
	unsigned n;
	struct { struct dentry *d; unsigned layer; } lower[];
};

extern const struct inode_ops ovl_ops;
extern const struct file_ops ovl_file_ops, ovl_dir_ops;
static inline struct ovl_node *ovl_nd(const struct inode *i) { return i->priv; }
static inline struct ovl *ovl_of(const struct inode *i) { return i->sb->priv; }
/* What stands behind an object now: the copy above, or the topmost one below. */
static inline struct dentry *ovl_real(const struct inode *i) { return ovl_nd(i)->upper ? ovl_nd(i)->upper : ovl_nd(i)->lower[0].d; }
static inline struct mount *ovl_real_mount(const struct inode *i) { return ovl_of(i)->trees[ovl_nd(i)->upper ? 0 : ovl_nd(i)->lower[0].layer]->root; }
struct ovl_node *ovl_node_new(unsigned n);
void ovl_node_free(struct ovl_node *n);
/* Takes the node, even on failure. */
int ovl_inode(struct super *sb, struct inode *dir, const char *name, struct ovl_node *n, struct inode **ret);
/* An unnamed file's dentry below dir. */
struct dentry *ovl_loose(struct dentry *dir, struct inode *i);
int ovl_copy_up(struct task *t, struct inode *i); /* -EROFS without an upper directory */

#endif
