/* Names: a hash over (directory, name). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/vfs/vfs.h"

enum { BUCKETS = 2048 };
static struct list buckets[BUCKETS];

static struct list *bucket(const struct dentry *dir, const char *name)
{
	static bool ready;
	if (!ready) {
		for (unsigned i = 0; i < BUCKETS; i++)
			list_init(&buckets[i]);
		ready = true;
	}
	uint64_t h = (uintptr_t)dir >> 4;
	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3ull;
	return &buckets[(h ^ h >> 29) % BUCKETS];
}

static struct dentry *make(struct dentry *parent, struct super *sb, const char *name, struct inode *inode)
{
	struct dentry *d = calloc(1, sizeof(*d));
	if (!d || !(d->name = strdup(name))) {
		free(d);
		inode_put(inode);
		return NULL;
	}
	d->refs = 1;
	d->sb = sb;
	d->inode = inode;
	list_init(&d->children);
	list_init(&d->sibling);
	list_init(&d->hash);
	d->parent = parent ? dentry_get(parent) : d;
	return d;
}

struct dentry *dentry_root(struct super *sb, struct inode *root) { return make(NULL, sb, "/", root); }

struct dentry *dentry_get(struct dentry *d)
{
	d->refs++;
	return d;
}

static void unlink_name(struct dentry *d)
{
	list_del(&d->hash);
	list_del(&d->sibling);
}

void dentry_put(struct dentry *d)
{
	while (d && --d->refs == 0) {
		struct dentry *parent = d->parent == d ? NULL : d->parent;
		unlink_name(d);
		inode_put(d->inode);
		free(d->name);
		free(d);
		d = parent;
	}
}

struct dentry *dentry_add(struct dentry *dir, const char *name, struct inode *inode)
{
	static uint64_t seq = 2;
	struct dentry *d = make(dir, dir->sb, name, inode);
	if (!d)
		return NULL;
	d->seq = seq++;
	list_add(bucket(dir, name), &d->hash);
	list_add_tail(&dir->children, &d->sibling);
	if (dir->sb->flags & SUPER_PINNED) {
		d->pinned = true;
		d->refs++;
	}
	return d;
}

static struct dentry *cached(struct dentry *dir, const char *name)
{
	struct dentry *d;
	list_for_each(d, bucket(dir, name), hash)
		if (d->parent == dir && strcmp(d->name, name) == 0)
			return d;
	return NULL;
}

void dentry_drop(struct dentry *d)
{
	d->unlinked = true;
	unlink_name(d);
	if (d->pinned) {
		d->pinned = false;
		dentry_put(d);
	}
}

int dentry_lookup(struct dentry *dir, const char *name, struct dentry **ret)
{
	struct dentry *d = cached(dir, name);
	struct super *sb = dir->sb;
	if (strlen(name) > NAME_MAX_)
		return -ENAMETOOLONG;
	if (d && (sb->flags & SUPER_REVALIDATE) && !sb->ops->revalidate(dir->inode, name, d->inode)) {
		if (!d->mounted)
			dentry_drop(d);
		d = d->mounted ? d : NULL;
	}
	if (d) {
		*ret = dentry_get(d);
		return 0;
	}
	if (dir->unlinked || !dir->inode->ops || !dir->inode->ops->lookup)
		return -ENOENT;
	struct inode *i;
	int rc = dir->inode->ops->lookup(dir->inode, name, &i);
	if (rc)
		return rc;
	if (!(d = dentry_add(dir, name, i)))
		return -ENOMEM;
	*ret = d;
	return 0;
}

void dentry_move(struct dentry *d, struct dentry *newdir, const char *name)
{
	struct dentry *old = d->parent;
	char *copy = strdup(name);
	if (!copy)
		return;
	struct dentry *replaced = cached(newdir, name);
	if (replaced && replaced != d)
		dentry_drop(replaced);
	unlink_name(d);
	free(d->name);
	d->name = copy;
	d->parent = dentry_get(newdir);
	list_add(bucket(newdir, name), &d->hash);
	list_add_tail(&newdir->children, &d->sibling);
	dentry_put(old);
}

int simple_readdir(struct task *t, struct file *f, struct dirctx *c)
{
	struct dentry *d = f->path.d, *k;
	(void)t;
	if (f->pos == 0) {
		if (c->emit(c, ".", 1, d->inode->ino, DT_DIR_, 1))
			return 0;
		f->pos = 1;
	}
	if (f->pos == 1) {
		if (c->emit(c, "..", 2, d->parent->inode->ino, DT_DIR_, 2))
			return 0;
		f->pos = 2;
	}
	list_for_each(k, &d->children, sibling) {
		if ((int64_t)k->seq < f->pos || k->unlinked)
			continue;
		if (c->emit(c, k->name, strlen(k->name), k->inode->ino, k->inode->mode >> 12 & 15, (int64_t)k->seq + 1))
			return 0;
		f->pos = (int64_t)k->seq + 1;
	}
	return 0;
}
