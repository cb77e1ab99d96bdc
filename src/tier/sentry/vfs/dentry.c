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
	list_init(&d->lru);
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

/* ---- names of host directories that are likely to be walked again ------------------------------------------------------ */

enum { LRU_MAX = 256 /* each holds a descriptor */ };
static struct list lru = LIST_INIT(lru);
static unsigned lru_n;

static void lru_remove(struct dentry *d)
{
	if (list_empty(&d->lru))
		return;
	list_del(&d->lru);
	lru_n--;
	dentry_put(d);
}

static void lru_touch(struct dentry *d)
{
	if (list_empty(&d->lru)) {
		dentry_get(d);
		lru_n++;
	} else {
		list_del(&d->lru);
	}
	list_add(&lru, &d->lru);
	if (lru_n > LRU_MAX)
		lru_remove(list_entry(lru.prev, struct dentry, lru));
}

void dentry_lru_flush(const struct super *sb)
{
	struct list *l = lru.prev;
	while (l != &lru) {
		struct dentry *d = list_entry(l, struct dentry, lru);
		l = l->prev;
		if (d->sb == sb)
			lru_remove(d);
	}
}

static int64_t tick(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return ts_ns(ts);
}

static bool still_there(struct dentry *dir, struct dentry *d)
{
	const struct super *sb = dir->sb;
	if (!(sb->flags & SUPER_REVALIDATE))
		return true;
	int64_t now = sb->flags & SUPER_STABLE ? tick() : 0;
	if (now && now == d->checked)
		return true;
	d->checked = now;
	return sb->ops->revalidate(dir->inode, d->name, d->inode);
}

void dentry_drop(struct dentry *d)
{
	dentry_get(d);
	d->unlinked = true;
	unlink_name(d);
	lru_remove(d);
	if (d->pinned) {
		d->pinned = false;
		dentry_put(d);
	}
	dentry_put(d);
}

int dentry_lookup(struct dentry *dir, const char *name, struct dentry **ret)
{
	struct dentry *d = cached(dir, name);
	struct super *sb = dir->sb;
	if (strlen(name) > NAME_MAX_)
		return -ENAMETOOLONG;
	if (d && !still_there(dir, d) && !d->mounted) {
		dentry_drop(d);
		d = NULL;
	}
	if (d) {
		*ret = dentry_get(d);
		if (sb->flags & SUPER_REVALIDATE)
			lru_touch(d);
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
	if (sb->flags & SUPER_REVALIDATE) {
		d->checked = sb->flags & SUPER_STABLE ? tick() : 0;
		lru_touch(d);
	}
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
