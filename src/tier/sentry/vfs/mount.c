/* Super blocks, mounts, mount namespaces. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "base/str.h"
#include "tier/sentry/task/ns.h"
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
	dentry_lru_flush(sb);
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

/* ---- namespaces and trees of mounts ---------------------------------------------------------------------------------- */

static struct list all_mounts = LIST_INIT(all_mounts); /* attached somewhere: propagation looks for peers here */
static int next_id = 20, next_group = 1;

struct mntns *mntns_new(struct userns *user)
{
	struct mntns *ns = calloc(1, sizeof(*ns));
	if (ns) {
		ns->refs = 1;
		ns->user = userns_get(user);
		list_init(&ns->mounts);
	}
	return ns;
}

/* Out of its namespace; what still uses it (open files, directories) keeps it alive. */
static void unhook(struct mount *m)
{
	list_del(&m->ns_node);
	list_del(&m->all);
	if (m->ns)
		m->ns->n_mounts--;
	m->ns = NULL;
	if (m->point)
		m->point->mounted--;
	mount_put(m);
}

void mntns_put(struct mntns *ns)
{
	if (!ns || --ns->refs)
		return;
	while (!list_empty(&ns->mounts))
		unhook(list_entry(ns->mounts.prev, struct mount, ns_node));
	userns_put(ns->user);
	free(ns);
}

static struct mount *mount_new(struct super *sb, struct dentry *root, unsigned long flags, const char *source)
{
	struct mount *m = calloc(1, sizeof(*m));
	char *name = m ? strdup(source ? source : "none") : NULL;
	if (!name) {
		free(m);
		return NULL;
	}
	*m = (struct mount){ .refs = 1, .id = next_id++, .sb = sb, .root = dentry_get(root), .flags = flags, .source = name };
	sb->refs++;
	list_init(&m->ns_node);
	list_init(&m->all);
	return m;
}

static void hook(struct mntns *ns, struct mount *m, const struct path *at)
{
	if (at) {
		m->parent = mount_get(at->mnt);
		m->point = dentry_get(at->d);
		at->d->mounted++;
	}
	m->ns = ns;
	ns->n_mounts++;
	list_add_tail(&ns->mounts, &m->ns_node);
	list_add_tail(&all_mounts, &m->all);
	if (!ns->root)
		ns->root = m;
}

int mntns_attach(struct mntns *ns, struct super *sb, struct dentry *root, const struct path *at, unsigned long flags, const char *source, struct mount **ret_borrowed)
{
	if (!(flags & (MS_NOATIME | MS_STRICTATIME)))
		flags |= MS_RELATIME;
	struct mount *m = mount_new(sb, root, flags & ~(unsigned long)MS_STRICTATIME, source);
	if (!m)
		return -ENOMEM;
	hook(ns, m, at);
	if (ret_borrowed)
		*ret_borrowed = m;
	return 0;
}

static bool dentry_below(const struct dentry *d, const struct dentry *top)
{
	for (;; d = d->parent) {
		if (d == top)
			return true;
		if (d->parent == d)
			return false;
	}
}

/* Is m what lies below d in its parent's tree (through further mounts)? */
static bool mount_below(const struct mount *m, const struct mount *top, const struct dentry *d)
{
	for (; m->parent; m = m->parent)
		if (m->parent == top)
			return dentry_below(m->point, d);
	return false;
}

struct copies { struct mount *from, *to; };

static struct mount *copy_of(const struct copies *c, unsigned n, const struct mount *m)
{
	for (unsigned i = 0; i < n; i++)
		if (c[i].from == m)
			return c[i].to;
	return NULL;
}

static struct mount *copy_one(struct mntns *ns, struct mount *x, struct dentry *root, unsigned how, const struct path *at)
{
	struct mount *to = mount_new(x->sb, root, x->flags, x->source);
	if (!to)
		return NULL;
	to->group = x->group;
	to->master = x->master;
	to->unbindable = x->unbindable && (how & COPY_UNBINDABLE);
	to->locked = x->locked;
	to->locked_flags = x->locked_flags;
	to->locked_atime = x->locked_atime;
	if (how & COPY_LOCK) { /* into less privileged hands: what is hidden stays hidden, what is read-only stays so; events come in, none go out */
		to->locked = to->locked_atime = true;
		to->locked_flags = x->flags & (MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC);
		if (to->group) {
			to->master = to->group;
			to->group = 0;
		}
	}
	hook(ns, to, at);
	return to;
}

int mount_copy(struct mount *m, struct dentry *root, unsigned how, struct userns *user, struct mntns **ret, struct path *fixup[], size_t n_fixup)
{
	struct mntns *src = m->ns, *ns = mntns_new(user);
	_cleanup_free_ struct copies *c = calloc((src ? src->n_mounts : 0) + 1, sizeof(*c));
	struct mount *x, *to = ns && c ? copy_one(ns, m, root, how, NULL) : NULL;
	unsigned n = 0;
	if (to)
		c[n++] = (struct copies){ m, to };
	if (to && src && (how & COPY_TREE))
		list_for_each(x, &src->mounts, ns_node) { /* parents come before what is mounted on them */
			struct path at = { x->parent ? copy_of(c, n, x->parent) : NULL, x->point };
			if (x == m || !at.mnt || !mount_below(x, m, root) || (x->unbindable && !(how & COPY_UNBINDABLE)))
				continue;
			if (!(to = copy_one(ns, x, x->root, how, &at)))
				break;
			c[n++] = (struct copies){ x, to };
		}
	if (!to) {
		mntns_put(ns);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n_fixup; i++)
		if (fixup[i]->mnt && (to = copy_of(c, n, fixup[i]->mnt))) {
			mount_get(to);
			mount_put(fixup[i]->mnt);
			fixup[i]->mnt = to;
		}
	*ret = ns;
	return 0;
}

struct mntns *mntns_dup(struct mntns *ns, struct userns *user, struct path *fixup[], size_t n_fixup)
{
	struct mntns *n;
	if (mount_copy(ns->root, ns->root->root, COPY_TREE | COPY_UNBINDABLE | (user != ns->user ? COPY_LOCK : 0), user, &n, fixup, n_fixup) < 0)
		return NULL;
	n->inum = ns_inum();
	return n;
}

/* ---- propagation (mount_namespaces(7)) --------------------------------------------------------------------------------------- */

enum { GROUPS_MAX = 64 };

static bool in_set(const int *set, unsigned n, int v)
{
	for (unsigned i = 0; v && i < n; i++)
		if (set[i] == v)
			return true;
	return false;
}

/* Groups that hear what happens in `group`: itself and, through masters, the groups below. */
static unsigned listeners(int group, int *set)
{
	unsigned n = 1;
	struct mount *m;
	set[0] = group;
	for (unsigned before = 0; before != n;) {
		before = n;
		list_for_each(m, &all_mounts, all)
			if (m->group && in_set(set, n, m->master) && !in_set(set, n, m->group) && n < GROUPS_MAX)
				set[n++] = m->group;
	}
	return n;
}

void mount_set_propagation(struct mount *m, unsigned long type)
{
	struct mount *o;
	m->unbindable = type == MS_UNBINDABLE;
	if (type == MS_SHARED) {
		if (!m->group)
			m->group = next_group++;
		return;
	}
	if (type == MS_SLAVE) {
		bool peers = false;
		list_for_each(o, &all_mounts, all)
			peers |= o != m && o->group == m->group;
		if (m->group && peers)
			m->master = m->group;
	} else {
		m->master = 0;
	}
	m->group = 0;
}

static void take_over(struct mntns *tree, struct mntns *ns)
{
	struct mount *m, *next;
	list_for_each_safe(m, next, &tree->mounts, ns_node) {
		list_del(&m->ns_node);
		m->ns = ns;
		ns->n_mounts++;
		list_add_tail(&ns->mounts, &m->ns_node);
	}
	tree->root = NULL;
	mntns_put(tree);
}

static void graft_at(struct mntns *tree, const struct path *at)
{
	struct mount *top = tree->root;
	top->parent = mount_get(at->mnt);
	top->point = dentry_get(at->d);
	at->d->mounted++;
	take_over(tree, at->mnt->ns);
}

static int propagate(struct mount *top, const struct path *at)
{
	int set[GROUPS_MAX], rc = 0;
	unsigned n = listeners(at->mnt->group, set);
	struct mount *q, *next;
	struct mntns *copy;
	list_for_each_safe(q, next, &all_mounts, all) {
		bool peer = in_set(set, n, q->group), slave = in_set(set, n, q->master);
		if (q == at->mnt || q == top || (!peer && !slave) || !q->ns || q->sb != at->mnt->sb || !dentry_below(at->d, q->root) || mount_below(q, at->mnt, at->d))
			continue;
		struct path there = { q, at->d };
		if (mount_at(&there) || q->ns->n_mounts >= MOUNTS_MAX)
			continue;
		if ((rc = mount_copy(top, top->root, COPY_TREE | (q->ns->user != top->ns->user ? COPY_LOCK : 0), q->ns->user, &copy, NULL, 0)) < 0)
			return rc;
		if (q->group != at->mnt->group) {
			struct mount *m;
			list_for_each(m, &copy->mounts, ns_node) {
				m->master = m->group ? m->group : m->master;
				m->group = q->group ? next_group++ : 0;
			}
		}
		graft_at(copy, &there);
	}
	return 0;
}

int mount_graft(struct mntns *tree, const struct path *at)
{
	struct mount *top = tree->root, *m;
	if (!at->mnt->ns || at->mnt->ns->n_mounts + tree->n_mounts > MOUNTS_MAX) {
		int rc = at->mnt->ns ? -ENOSPC : -EINVAL;
		mntns_put(tree);
		return rc;
	}
	if (at->mnt->group)
		list_for_each(m, &tree->mounts, ns_node)
			if (!m->group)
				m->group = next_group++;
	graft_at(tree, at);
	return at->mnt->group ? propagate(top, at) : 0;
}

/* Take a mount with all below it out of its place, as a tree of its own. */
int mount_lift(struct mount *top, struct mntns **ret)
{
	struct mntns *tree = mntns_new(top->ns->user), *ns = top->ns;
	struct mount *m, *next;
	if (!tree)
		return -ENOMEM;
	list_for_each_safe(m, next, &ns->mounts, ns_node) {
		bool in = m == top;
		for (const struct mount *p = m->parent; p && !in; p = p->parent)
			in = p == top;
		if (!in)
			continue;
		list_del(&m->ns_node);
		ns->n_mounts--;
		m->ns = tree;
		tree->n_mounts++;
		list_add_tail(&tree->mounts, &m->ns_node);
	}
	tree->root = top;
	top->point->mounted--;
	dentry_put(top->point);
	mount_put(top->parent);
	top->point = NULL;
	top->parent = NULL;
	*ret = tree;
	return 0;
}

/* pivot_root: everything of ns goes to `rest`, `tree` comes instead. */
void mntns_swap(struct mntns *ns, struct mntns *tree, struct mntns *rest)
{
	struct mount *m, *next;
	list_for_each_safe(m, next, &ns->mounts, ns_node) {
		list_del(&m->ns_node);
		m->ns = rest;
		list_add_tail(&rest->mounts, &m->ns_node);
	}
	rest->root = ns->root;
	rest->n_mounts = ns->n_mounts;
	ns->root = tree->root;
	ns->n_mounts = 0;
	take_over(tree, ns);
}

static void detach_one(struct mount *m)
{
	struct mount *c, *next;
	if (!m->ns)
		return;
	list_for_each_safe(c, next, &m->ns->mounts, ns_node)
		if (c->parent == m) {
			detach_one(c);
			next = list_first(&m->ns->mounts, struct mount, ns_node); /* the list changed */
		}
	unhook(m);
}

static bool has_children(const struct mount *m)
{
	struct mount *c;
	list_for_each(c, &m->ns->mounts, ns_node)
		if (c->parent == m)
			return true;
	return false;
}

int mount_detach(struct mount *m, bool lazy, unsigned refs_of_caller)
{
	int set[GROUPS_MAX];
	struct mount *q, *next;
	if (!m->ns || !m->parent)
		return -EINVAL;
	if (!lazy && (has_children(m) || m->refs > 1 + refs_of_caller))
		return -EBUSY;
	struct mount *parent = mount_get(m->parent);
	struct dentry *point = dentry_get(m->point);
	unsigned n = parent->group ? listeners(parent->group, set) : 0;
	struct super *sb = m->sb;
	detach_one(m);
	list_for_each_safe(q, next, &all_mounts, all) {
		struct path at = { q, point };
		struct mount *c;
		if (q == parent || (!in_set(set, n, q->group) && !in_set(set, n, q->master)) || !(c = mount_at(&at)) || c->sb != sb)
			continue;
		if (!lazy && (has_children(c) || c->refs > 1))
			continue;
		detach_one(c);
		next = list_first(&all_mounts, struct mount, all);
	}
	dentry_put(point);
	mount_put(parent);
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
