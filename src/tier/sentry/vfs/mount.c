/* Super blocks, mounts, mount namespaces. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

struct super *super_new(const char *type, const struct super_ops *ops, unsigned flags)
{
	static uint32_t next_dev = 40;
	struct super *sb = calloc(1, sizeof(*sb));
	if (!sb)
		return NULL;
	*sb = (struct super){ .refs = 1, .type = type, .ops = ops, .flags = flags, .dev = (uint32_t)makedev(0, next_dev++) };
	return sb;
}

void super_put(struct super *sb)
{
	if (--sb->refs)
		return;
	if (sb->root_dentry)
		dentry_put(sb->root_dentry);
	if (sb->ops && sb->ops->destroy)
		sb->ops->destroy(sb);
	free(sb);
}

struct mount *mount_get(struct mount *m)
{
	m->refs++;
	return m;
}

void mount_put(struct mount *m)
{
	while (m && --m->refs == 0) {
		struct mount *parent = m->parent;
		dentry_put(m->root);
		if (m->point)
			dentry_put(m->point);
		super_put(m->sb);
		free(m->source);
		free(m);
		m = parent;
	}
}

void path_get(const struct path *p)
{
	if (p->mnt)
		mount_get(p->mnt);
	if (p->d)
		dentry_get(p->d);
}

void path_put(struct path *p)
{
	if (p->d)
		dentry_put(p->d);
	if (p->mnt)
		mount_put(p->mnt);
	*p = (struct path)PATH_NONE;
}

struct path path_copy(const struct path *p)
{
	path_get(p);
	return *p;
}

struct mntns *mntns_new(void)
{
	struct mntns *ns = calloc(1, sizeof(*ns));
	if (ns) {
		ns->refs = 1;
		list_init(&ns->mounts);
	}
	return ns;
}

void mntns_put(struct mntns *ns)
{
	struct mount *m, *n;
	if (!ns || --ns->refs)
		return;
	list_for_each_safe(m, n, &ns->mounts, ns_node) {
		list_del(&m->ns_node);
		m->ns = NULL;
		if (m->point)
			m->point->mounted--;
		mount_put(m);
	}
	free(ns);
}

int mntns_attach(struct mntns *ns, struct super *sb, struct dentry *root, const struct path *at, unsigned long flags, const char *source, struct mount **ret_borrowed)
{
	static int next_id = 20;
	struct mount *m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	*m = (struct mount){ .refs = 1, .id = next_id++, .sb = sb, .root = dentry_get(root), .flags = flags, .source = strdup(source ? source : "none"), .ns = ns };
	sb->refs++;
	if (at) {
		m->parent = mount_get(at->mnt);
		m->point = dentry_get(at->d);
		at->d->mounted++;
	} else {
		ns->root = m;
	}
	list_add_tail(&ns->mounts, &m->ns_node);
	if (ret_borrowed)
		*ret_borrowed = m;
	return 0;
}

int mount_detach(struct mount *m, bool lazy)
{
	struct mount *c, *n;
	if (!m->ns || !m->parent)
		return -EINVAL;
	list_for_each_safe(c, n, &m->ns->mounts, ns_node) {
		if (c->parent != m)
			continue;
		if (!lazy)
			return -EBUSY;
		mount_detach(c, true);
	}
	if (!lazy && m->refs > 1)
		return -EBUSY;
	m->point->mounted--;
	list_del(&m->ns_node);
	m->ns = NULL;
	mount_put(m);
	return 0;
}

struct mount *mount_at(const struct path *p)
{
	struct mount *m;
	if (!p->d->mounted || !p->mnt->ns)
		return NULL;
	for (struct list *l = p->mnt->ns->mounts.prev; l != &p->mnt->ns->mounts; l = l->prev) {
		m = list_entry(l, struct mount, ns_node);
		if (m->parent == p->mnt && m->point == p->d)
			return m;
	}
	return NULL;
}

void path_enter_mounts(struct path *p)
{
	struct mount *m;
	while (p->d->mounted && (m = mount_at(p))) {
		struct path n = { mount_get(m), dentry_get(m->root) };
		path_put(p);
		*p = n;
	}
}

int mnt_want_write(const struct path *p)
{
	return (p->mnt->flags & MS_RDONLY) || (p->mnt->sb->flags & SUPER_RDONLY) ? -EROFS : 0;
}

struct path path_parent_of(const struct path *p, const struct path *root)
{
	struct path cur = path_copy(p);
	for (;;) {
		if (cur.mnt == root->mnt && cur.d == root->d)
			return cur;
		if (cur.d != cur.mnt->root) {
			struct dentry *up = dentry_get(cur.d->parent);
			dentry_put(cur.d);
			cur.d = up;
			break;
		}
		if (!cur.mnt->parent)
			return cur;
		struct path up = { mount_get(cur.mnt->parent), dentry_get(cur.mnt->point) };
		path_put(&cur);
		cur = up;
	}
	path_enter_mounts(&cur);
	return cur;
}

int path_name(const struct path *p, const struct path *root, char *buf, size_t size)
{
	char tmp[PATH_MAX_];
	size_t at = sizeof(tmp);
	struct mount *m = p->mnt;
	struct dentry *d = p->d;
	bool unlinked = d->unlinked, reached = false;
	tmp[--at] = 0;
	for (;;) {
		if (root && m == root->mnt && d == root->d) {
			reached = true;
			break;
		}
		if (d == m->root) {
			if (!m->parent)
				break;
			d = m->point;
			m = m->parent;
			continue;
		}
		size_t n = strlen(d->name);
		if (at < n + 1)
			return -ENAMETOOLONG;
		at -= n;
		memcpy(tmp + at, d->name, n);
		tmp[--at] = '/';
		d = d->parent;
	}
	if (!tmp[at])
		tmp[--at] = '/';
	const char *prefix = reached || !root || !m->ns ? "" : "(unreachable)", *suffix = unlinked ? " (deleted)" : "";
	size_t n = sizeof(tmp) - 1 - at, total = n + strlen(prefix) + strlen(suffix);
	if (total + 1 > size)
		return -ENAMETOOLONG;
	memcpy(buf, prefix, strlen(prefix));
	memcpy(buf + strlen(prefix), tmp + at, n);
	strcpy(buf + strlen(prefix) + n, suffix);
	return (int)total;
}
