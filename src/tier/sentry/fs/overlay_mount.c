/* overlay: making one from mount options or for the container's root. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tier/sentry/fs/overlay_inner.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

static int ovl_statfs(struct super *sb, struct statfs *st)
{
	const struct ovl *o = sb->priv;
	struct super *r = o->trees[o->trees[0] ? 0 : 1]->root->sb;
	int rc = r->ops && r->ops->statfs ? r->ops->statfs(r, st) : 0;
	st->f_type = 0x794c7630; /* OVERLAYFS_SUPER_MAGIC */
	return rc;
}

static int ovl_show_options(struct super *sb, char *buf, size_t size)
{
	const struct ovl *o = sb->priv;
	return o->options ? snprintf(buf, size, ",%s", o->options) : 0;
}

static void ovl_destroy(struct super *sb)
{
	struct ovl *o = sb->priv;
	for (unsigned i = 0; i <= o->n_lower; i++)
		mntns_put(o->trees[i]);
	free(o->options);
	free(o);
}
static const struct super_ops ovl_super_ops = { .statfs = ovl_statfs, .show_options = ovl_show_options, .destroy = ovl_destroy };

/* Takes the trees, even on failure. */
struct super *overlay_new(struct mntns *trees[], unsigned n_lower, const char *options, int *rc)
{
	struct super *sb = super_new("overlay", &ovl_super_ops, trees[0] ? 0 : SUPER_RDONLY);
	struct ovl *o = calloc(1, sizeof(*o));
	struct ovl_node *n = ovl_node_new(n_lower);
	*rc = -ENOMEM;
	if (!sb || !o || !n) {
		free(sb);
		free(o);
		free(n);
		return NULL;
	}
	memcpy(o->trees, trees, (n_lower + 1) * sizeof(*trees));
	o->n_lower = n_lower;
	o->options = options && *options ? strdup(options) : NULL;
	sb->priv = o;
	if (trees[0])
		n->upper = dentry_get(trees[0]->root->root);
	n->n = n_lower;
	for (unsigned i = 0; i < n_lower; i++) {
		n->lower[i].d = dentry_get(trees[i + 1]->root->root);
		n->lower[i].layer = i + 1;
	}
	if ((*rc = ovl_inode(sb, NULL, NULL, n, &sb->root)) < 0 || !(sb->root_dentry = dentry_root(sb, inode_get(sb->root)))) {
		super_put(sb);
		return NULL;
	}
	return sb;
}

static int private_tree(struct task *t, const char *path, struct mntns **ret)
{
	_cleanup_path_ struct path p = PATH_NONE;
	int rc = path_walk(t, &t->fs->cwd, path, WALK_FOLLOW | WALK_DIRECTORY, &p);
	return rc ? rc : mount_copy(p.mnt, p.d, 0, t->fs->ns->user, ret, NULL, 0);
}

static int parse(struct task *t, char *data, struct mntns *trees[], unsigned *n_lower, bool *work)
{
	char *save = NULL, *save2 = NULL;
	int rc = 0;
	for (char *o = strtok_r(data, ",", &save); o && !rc; o = strtok_r(NULL, ",", &save)) {
		if (str_has_prefix(o, "lowerdir=")) {
			for (char *p = strtok_r(o + 9, ":", &save2); p && !rc; p = strtok_r(NULL, ":", &save2))
				rc = *n_lower == LOWER_MAX ? -EINVAL : private_tree(t, p, &trees[++*n_lower]);
		} else if (str_has_prefix(o, "upperdir=")) {
			rc = trees[0] ? -EINVAL : private_tree(t, o + 9, &trees[0]);
		} else if (str_has_prefix(o, "workdir=")) {
			*work = true; /* copies are made as unnamed files: only its presence is checked */
		} else if (strcmp(o, "index=off") && strcmp(o, "metacopy=off") && strcmp(o, "redirect_dir=off") && strcmp(o, "xino=off") && strcmp(o, "xino=auto") &&
		           strcmp(o, "redirect_dir=nofollow") && strcmp(o, "volatile") && strcmp(o, "userxattr") && strcmp(o, "nfs_export=off")) {
			rc = -EINVAL;
		}
	}
	return rc;
}

struct super *overlay_mount(struct task *t, const char *data, int *rc)
{
	struct mntns *trees[LOWER_MAX + 1] = { NULL };
	_cleanup_free_ char *copy = strdup(data ? data : "");
	unsigned n = 0;
	bool work = false;
	*rc = !t ? -EINVAL : !copy ? -ENOMEM : parse(t, copy, trees, &n, &work);
	if (!*rc && (!n || (trees[0] && !work) || (!trees[0] && n < 2)))
		*rc = -EINVAL;
	if (!*rc)
		return overlay_new(trees, n, data, rc);
	for (unsigned i = 0; i <= n && i <= LOWER_MAX; i++)
		mntns_put(trees[i]);
	return NULL;
}
