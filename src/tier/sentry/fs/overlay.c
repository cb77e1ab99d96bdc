/*
 * overlay: a writable directory tree (upper) over read-only ones (lower), as overlayfs: what changes is copied up first; a removed name is covered by a
 * character device 0:0 (whiteout), a directory that hides what is below carries trusted.overlay.opaque. Directories that exist below cannot be renamed
 * (EXDEV, as Linux without redirect_dir).
 *
 * Names are resolved through the dentries of the real trees, so in-memory and host directories can be either side.
 */
#include "tier/sentry/fs/overlay_inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "base/str.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"


static struct task *actor(struct task *t) { return t ? t : current_task; }

static bool whiteout(const struct dentry *d)
{
	struct kstat st;
	return S_ISCHR(d->inode->mode) && inode_getattr(d->inode, &st) == 0 && st.rdev == 0;
}

static bool opaque(const struct dentry *d)
{
	char v = 0;
	return d->inode->ops->getxattr && d->inode->ops->getxattr(d->inode, OPAQUE, &v, 1) == 1 && v == 'y';
}

struct ovl_node *ovl_node_new(unsigned n)
{
	return calloc(1, sizeof(struct ovl_node) + n * sizeof(((struct ovl_node *)NULL)->lower[0]));
}

void ovl_node_free(struct ovl_node *n)
{
	if (!n)
		return;
	if (n->upper)
		dentry_put(n->upper);
	for (unsigned i = 0; i < n->n; i++)
		dentry_put(n->lower[i].d);
	inode_put(n->parent);
	free(n->name);
	free(n);
}

int ovl_inode(struct super *sb, struct inode *dir, const char *name, struct ovl_node *n, struct inode **ret)
{
	const struct dentry *d = n->upper ? n->upper : n->lower[0].d;
	struct inode *i = inode_new(sb, d->inode->mode, &ovl_ops, is_dir(d->inode) ? &ovl_dir_ops : &ovl_file_ops);
	struct kstat st;
	if (!i || (name && !(n->name = strdup(name))) || inode_getattr(d->inode, &st) < 0) {
		ovl_node_free(n);
		inode_put(i);
		return -ENOMEM;
	}
	n->parent = dir ? inode_get(dir) : NULL;
	i->priv = n;
	i->ino = n->n ? st.ino : st.ino | 1ull << 56; /* kept when it is copied up */
	i->rdev = st.rdev;
	i->mode = st.mode;
	*ret = i;
	return 0;
}

static void ovl_release(struct inode *i) { ovl_node_free(i->priv); }

static int ovl_lookup(struct inode *dir, const char *name, struct inode **ret)
{
	const struct ovl_node *p = ovl_nd(dir);
	struct ovl_node *n = ovl_node_new(p->n + 1);
	struct dentry *d;
	bool more = true;
	int rc = 0;
	if (!n)
		return -ENOMEM;
	if (p->upper && (rc = dentry_lookup(p->upper, name, &d)) == 0) {
		if (whiteout(d)) {
			dentry_put(d);
			ovl_node_free(n);
			return -ENOENT;
		}
		n->upper = d;
		more = is_dir(d->inode) && !opaque(d);
	}
	for (unsigned i = 0; i < p->n && more && (!rc || rc == -ENOENT); i++) {
		if ((rc = dentry_lookup(p->lower[i].d, name, &d)) < 0)
			continue;
		bool first = !n->upper && !n->n, dirs = is_dir(d->inode);
		if (whiteout(d) || (!first && !dirs)) {
			dentry_put(d);
			break;
		}
		n->lower[n->n].layer = p->lower[i].layer;
		n->lower[n->n++].d = d;
		more = dirs && !opaque(d);
	}
	if (!n->upper && !n->n) {
		ovl_node_free(n);
		return rc ? rc : -ENOENT;
	}
	return ovl_inode(dir->sb, dir, name, n, ret);
}

/* ---- attributes ------------------------------------------------------------------------------------------------------------ */

static int ovl_getattr(struct inode *i, struct kstat *st)
{
	int rc = inode_getattr(ovl_real(i)->inode, st);
	if (!rc) {
		st->dev = i->sb->dev;
		st->ino = i->ino;
		if (is_dir(i) && ovl_nd(i)->n && ovl_nd(i)->upper)
			st->nlink = 1; /* nobody counted the merged subdirectories */
		i->mode = st->mode;
	}
	return rc;
}

static int ovl_setattr(struct task *t, struct inode *i, const struct iattr *a)
{
	int rc = ovl_copy_up(actor(t), i);
	struct inode *r = rc ? NULL : ovl_real(i)->inode;
	if (rc || !r->ops->setattr)
		return rc ? rc : -EPERM;
	if ((rc = r->ops->setattr(t, r, a)) == 0 && (a->valid & ATTR_MODE))
		i->mode = (i->mode & S_IFMT) | (a->mode & 07777);
	return rc;
}

static ssize_t ovl_readlink(struct task *t, struct inode *i, char *buf, size_t size)
{
	struct inode *r = ovl_real(i)->inode;
	return r->ops->readlink ? r->ops->readlink(t, r, buf, size) : -EINVAL;
}

static ssize_t ovl_getxattr(struct inode *i, const char *name, void *buf, size_t size)
{
	struct inode *r = ovl_real(i)->inode;
	return !r->ops->getxattr ? -EOPNOTSUPP : str_has_prefix(name, "trusted.overlay.") ? -ENODATA : r->ops->getxattr(r, name, buf, size);
}

static int ovl_setxattr(struct inode *i, const char *name, const void *buf, size_t size, int flags)
{
	int rc = str_has_prefix(name, "trusted.overlay.") ? -EPERM : ovl_copy_up(current_task, i);
	struct inode *r = ovl_real(i)->inode;
	return rc ? rc : r->ops->setxattr ? r->ops->setxattr(r, name, buf, size, flags) : -EOPNOTSUPP;
}

static ssize_t ovl_listxattr(struct inode *i, char *buf, size_t size)
{
	struct inode *r = ovl_real(i)->inode;
	ssize_t n = r->ops->listxattr ? r->ops->listxattr(r, buf, size) : 0, at = 0;
	while (size && at < n) {
		size_t k = strlen(buf + at) + 1;
		if (str_has_prefix(buf + at, "trusted.overlay.")) {
			memmove(buf + at, buf + at + k, (size_t)(n - at) - k);
			n -= (ssize_t)k;
		} else {
			at += (ssize_t)k;
		}
	}
	return n;
}

static int ovl_removexattr(struct inode *i, const char *name)
{
	int rc = ovl_copy_up(current_task, i);
	struct inode *r = ovl_real(i)->inode;
	return rc ? rc : r->ops->removexattr ? r->ops->removexattr(r, name) : -EOPNOTSUPP;
}

/* ---- names ------------------------------------------------------------------------------------------------------------------- */

static bool below_has(const struct inode *dir, const char *name)
{
	struct dentry *d;
	for (unsigned i = 0; i < ovl_nd(dir)->n; i++)
		if (dentry_lookup(ovl_nd(dir)->lower[i].d, name, &d) == 0) {
			bool w = whiteout(d);
			dentry_put(d);
			return !w;
		}
	return false;
}

/* The upper directory, ready for `name`: a whiteout in the way is taken away. *ret_covered: there was one. */
static int prepare(struct task *t, struct inode *dir, const char *name, struct dentry **ret, bool *ret_covered)
{
	struct dentry *d;
	int rc = ovl_copy_up(t, dir);
	*ret_covered = false;
	if (rc)
		return rc;
	*ret = ovl_nd(dir)->upper;
	if (dentry_lookup(*ret, name, &d) == 0) {
		*ret_covered = whiteout(d);
		rc = *ret_covered ? (*ret)->inode->ops->unlink((*ret)->inode, name, d->inode) : 0;
		if (*ret_covered && !rc)
			dentry_drop(d);
		dentry_put(d);
	}
	return rc;
}

static int cover(struct task *t, struct inode *dir, const char *name)
{
	struct dentry *up = ovl_nd(dir)->upper, *d;
	struct inode *i;
	if (!below_has(dir, name))
		return 0;
	int rc = up->inode->ops->mknod ? up->inode->ops->mknod(t, up->inode, name, S_IFCHR, 0, &i) : -EPERM;
	if (rc)
		return rc;
	if ((d = dentry_add(up, name, i)))
		dentry_put(d);
	return d ? 0 : -ENOMEM;
}

static int adopt(struct inode *dir, struct dentry *up, const char *name, struct inode *made, struct inode **ret)
{
	struct ovl_node *n = ovl_node_new(0);
	if (!n || !(n->upper = dentry_add(up, name, made))) {
		free(n);
		return -ENOMEM;
	}
	return ovl_inode(dir->sb, dir, name, n, ret);
}

#define MAKE(op, call) \
	struct dentry *up; \
	struct inode *i; \
	bool covered; \
	int rc = prepare(actor(t), dir, name, &up, &covered); \
	if (rc) \
		return rc; \
	rc = up->inode->ops->op ? up->inode->ops->call : -EPERM; \
	if (rc) { \
		if (covered) \
			cover(t, dir, name); \
		return rc; \
	} \
	rc = adopt(dir, up, name, i, ret)

static int ovl_create(struct task *t, struct inode *dir, const char *name, uint32_t mode, struct inode **ret)
{
	MAKE(create, create(t, up->inode, name, mode, &i));
	return rc;
}

static int ovl_mkdir(struct task *t, struct inode *dir, const char *name, uint32_t mode, struct inode **ret)
{
	MAKE(mkdir, mkdir(t, up->inode, name, mode, &i));
	if (!rc && covered && i->ops->setxattr) /* what the whiteout hid must stay hidden */
		i->ops->setxattr(i, OPAQUE, "y", 1, 0);
	return rc;
}

static int ovl_mknod(struct task *t, struct inode *dir, const char *name, uint32_t mode, uint32_t rdev, struct inode **ret)
{
	if (S_ISCHR(mode) && !rdev)
		return -EPERM; /* it would be a whiteout */
	MAKE(mknod, mknod(t, up->inode, name, mode, rdev, &i));
	return rc;
}

static int ovl_symlink(struct task *t, struct inode *dir, const char *name, const char *target, struct inode **ret)
{
	MAKE(symlink, symlink(t, up->inode, name, target, &i));
	return rc;
}

static int ovl_link(struct inode *dir, const char *name, struct inode *target)
{
	struct dentry *up, *d;
	bool covered;
	int rc = ovl_copy_up(current_task, target);
	if (rc || (rc = prepare(current_task, dir, name, &up, &covered)) < 0)
		return rc;
	struct inode *r = ovl_real(target)->inode;
	if (!up->inode->ops->link)
		return -EPERM;
	if ((rc = up->inode->ops->link(up->inode, name, r)) < 0)
		return rc;
	if ((d = dentry_add(up, name, inode_get(r))))
		dentry_put(d);
	return 0;
}

static int ovl_tmpfile(struct task *t, struct inode *dir, uint32_t mode, struct inode **ret)
{
	struct inode *i;
	struct ovl_node *n;
	int rc = ovl_copy_up(actor(t), dir);
	if (rc)
		return rc;
	struct dentry *up = ovl_nd(dir)->upper;
	if (!up->inode->ops->tmpfile)
		return -EOPNOTSUPP;
	if ((rc = up->inode->ops->tmpfile(t, up->inode, mode, &i)) < 0)
		return rc;
	if (!(n = ovl_node_new(0)) || !(n->upper = ovl_loose(up, i))) {
		free(n);
		return -ENOMEM;
	}
	return ovl_inode(dir->sb, NULL, NULL, n, ret);
}

static int remove_upper(struct inode *dir, const char *name, struct inode *victim, bool is_directory)
{
	struct dentry *up = ovl_nd(dir)->upper, *d = ovl_nd(victim)->upper;
	const struct inode_ops *ops = up->inode->ops;
	if (!d)
		return 0;
	int rc = !(is_directory ? ops->rmdir : ops->unlink) ? -EPERM : (is_directory ? ops->rmdir : ops->unlink)(up->inode, name, d->inode);
	if (!rc && !d->unlinked) {
		struct dentry *named; /* after link(2) the node's dentry may have another name */
		if (dentry_lookup(up, name, &named) == 0) {
			dentry_drop(named);
			dentry_put(named);
		}
	}
	return rc;
}

static int ovl_unlink(struct inode *dir, const char *name, struct inode *victim)
{
	int rc = ovl_copy_up(current_task, dir);
	if (!rc && ovl_nd(victim)->upper)
		rc = remove_upper(dir, name, victim, false);
	return rc ? rc : cover(current_task, dir, name);
}

/* ---- reading directories ---------------------------------------------------------------------------------------------------- */

struct entry { char *name; uint64_t ino; unsigned type; bool hidden; };
struct listing { struct dirctx c; struct entry *v; size_t n, cap, known; struct dentry *dir; bool upper, failed; };

static int collect(struct dirctx *c, const char *name, size_t len, uint64_t ino, unsigned type, int64_t next)
{
	struct listing *l = container_of(c, struct listing, c);
	(void)next;
	if ((len == 1 && *name == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
		return 0;
	for (size_t i = 0; i < l->known; i++)
		if (strlen(l->v[i].name) == len && !memcmp(l->v[i].name, name, len))
			return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		struct entry *v = realloc(l->v, cap * sizeof(*v));
		if (!v) {
			l->failed = true;
			return 1;
		}
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n] = (struct entry){ strndup(name, len), l->upper ? ino | 1ull << 56 : ino, type, false };
	l->failed |= !l->v[l->n].name;
	l->n += !l->failed;
	return l->failed;
}

static void listing_free(struct listing *l)
{
	for (size_t i = 0; l && i < l->n; i++)
		free(l->v[i].name);
	if (l)
		free(l->v);
	free(l);
}

static int list_one(struct task *t, struct listing *l, struct mount *m, struct dentry *d)
{
	struct path p = { m, d };
	struct file *f;
	size_t first = l->n;
	int rc = file_open(t, &p, O_RDONLY | O_DIRECTORY, true, &f);
	if (rc)
		return rc;
	l->known = l->n;
	for (size_t before = (size_t)-1; !rc && before != l->n;) { /* until nothing more comes */
		before = l->n;
		rc = f->ops->readdir ? f->ops->readdir(t, f, &l->c) : -ENOTDIR;
	}
	file_put(f);
	for (size_t i = first; i < l->n; i++) {
		struct dentry *k;
		if (l->v[i].type == DT_CHR_ && dentry_lookup(d, l->v[i].name, &k) == 0) {
			l->v[i].hidden = whiteout(k);
			dentry_put(k);
		}
	}
	return l->failed ? -ENOMEM : rc;
}

static int list_all(struct task *t, struct inode *dir, struct listing **ret)
{
	struct listing *l = calloc(1, sizeof(*l));
	const struct ovl_node *n = ovl_nd(dir);
	int rc = l ? 0 : -ENOMEM;
	if (l)
		l->c.emit = collect;
	if (!rc && n->upper) {
		l->upper = !n->n;
		rc = list_one(t, l, ovl_of(dir)->trees[0]->root, n->upper);
		l->upper = false;
	}
	for (unsigned i = 0; !rc && i < n->n; i++)
		rc = list_one(t, l, ovl_of(dir)->trees[n->lower[i].layer]->root, n->lower[i].d);
	if (rc) {
		listing_free(l);
		return rc;
	}
	*ret = l;
	return 0;
}

static int ovl_readdir(struct task *t, struct file *f, struct dirctx *c)
{
	struct listing *l = f->priv;
	if (f->pos == 0) { /* rewound: what is there now */
		listing_free(l);
		f->priv = NULL;
		int rc = list_all(t, f->inode, &l);
		if (rc)
			return rc;
		f->priv = l;
		if (c->emit(c, ".", 1, f->inode->ino, DT_DIR_, 1))
			return 0;
		f->pos = 1;
	}
	if (f->pos == 1) {
		if (c->emit(c, "..", 2, ovl_nd(f->inode)->parent ? ovl_nd(f->inode)->parent->ino : f->inode->ino, DT_DIR_, 2))
			return 0;
		f->pos = 2;
	}
	for (; l && (size_t)(f->pos - 2) < l->n; f->pos++) {
		const struct entry *e = &l->v[f->pos - 2];
		if (!e->hidden && c->emit(c, e->name, strlen(e->name), e->ino, e->type, f->pos + 1))
			return 0;
	}
	return 0;
}

static void ovl_dir_release(struct file *f) { listing_free(f->priv); }

/* Empty in the merged view; then the upper directory may hold whiteouts only, which are removed. */
static int clear_directory(struct task *t, struct inode *dir)
{
	struct listing *l;
	int rc = list_all(t, dir, &l);
	for (size_t i = 0; !rc && i < l->n; i++)
		if (!l->v[i].hidden)
			rc = -ENOTEMPTY;
	struct dentry *up = ovl_nd(dir)->upper, *d;
	for (size_t i = 0; !rc && up && i < l->n; i++)
		if (dentry_lookup(up, l->v[i].name, &d) == 0) {
			if ((rc = up->inode->ops->unlink(up->inode, l->v[i].name, d->inode)) == 0)
				dentry_drop(d);
			dentry_put(d);
		}
	listing_free(l);
	return rc;
}

static int ovl_rmdir(struct inode *dir, const char *name, struct inode *victim)
{
	int rc = clear_directory(current_task, victim);
	if (rc || (rc = ovl_copy_up(current_task, dir)) < 0 || (rc = remove_upper(dir, name, victim, true)) < 0)
		return rc;
	return cover(current_task, dir, name);
}

static void renamed(struct inode *what, struct inode *dir, const char *name)
{
	struct ovl_node *n = ovl_nd(what);
	char *copy = strdup(name);
	if (!copy)
		return;
	free(n->name);
	n->name = copy;
	inode_get(dir);
	inode_put(n->parent);
	n->parent = dir;
}

static int ovl_rename(struct inode *od, const char *on, struct inode *ndir, const char *nn, struct inode *what, struct inode *victim, unsigned flags)
{
	struct task *t = current_task;
	bool exchange = flags & 2 /* RENAME_EXCHANGE */, covered;
	struct dentry *from, *to = NULL;
	int rc;
	if ((is_dir(what) && ovl_nd(what)->n) || (exchange && is_dir(victim) && ovl_nd(victim)->n))
		return -EXDEV;
	if (victim && is_dir(victim) && !exchange && (rc = clear_directory(t, victim)) < 0)
		return rc;
	if ((rc = ovl_copy_up(t, od)) < 0 || (rc = ovl_copy_up(t, what)) < 0 || (rc = prepare(t, ndir, nn, &to, &covered)) < 0 || (exchange && (rc = ovl_copy_up(t, victim)) < 0))
		return rc;
	from = ovl_nd(od)->upper;
	struct dentry *moving = ovl_nd(what)->upper, *gone = victim ? ovl_nd(victim)->upper : NULL;
	if (!from->inode->ops->rename)
		return -EPERM;
	rc = from->inode->ops->rename(from->inode, on, to->inode, nn, moving->inode, gone ? gone->inode : NULL, flags);
	if (rc)
		return rc;
	if (exchange) {
		dentry_move(gone, from, "\001exchange");
		dentry_move(moving, to, nn);
		dentry_move(gone, from, on);
		renamed(victim, od, on);
	} else {
		if (gone)
			dentry_drop(gone);
		dentry_move(moving, to, nn);
		rc = cover(t, od, on);
		if (is_dir(what) && below_has(ndir, nn) && moving->inode->ops->setxattr)
			moving->inode->ops->setxattr(moving->inode, OPAQUE, "y", 1, 0);
	}
	renamed(what, ndir, nn);
	return rc;
}

/* ---- files ---------------------------------------------------------------------------------------------------------------------- */

static int ovl_open(struct task *t, struct inode *i, struct file *f)
{
	struct file *r;
	int rc;
	if (is_dir(i))
		return 0;
	if (f->can_write && (rc = ovl_copy_up(actor(t), i)) < 0)
		return rc;
	struct path p = { ovl_real_mount(i), ovl_real(i) };
	if ((rc = file_open(t, &p, f->flags & ~(unsigned)(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW), true, &r)) < 0)
		return rc;
	f->priv = r;
	return 0;
}

static struct file *inner(struct file *f)
{
	struct file *r = f->priv;
	r->flags = f->flags;
	return r;
}

static ssize_t ovl_read(struct task *t, struct file *f, struct uio *u, int64_t *pos) { return inner(f)->ops->read(t, f->priv, u, pos); }
static ssize_t ovl_write(struct task *t, struct file *f, struct uio *u, int64_t *pos) { return inner(f)->ops->write(t, f->priv, u, pos); }
static int ovl_mmap_fd(struct file *f, int prot, int flags) { return inner(f)->ops->mmap_fd ? inner(f)->ops->mmap_fd(f->priv, prot, flags) : -ENODEV; }
static int ovl_fsync(struct file *f, bool datasync) { return f->priv && inner(f)->ops->fsync ? inner(f)->ops->fsync(f->priv, datasync) : 0; }
static int ovl_dir_fsync(struct file *f, bool datasync) { (void)f, (void)datasync; return 0; }
static long ovl_fallocate(struct task *t, struct file *f, int mode, int64_t off, int64_t len)
{
	return inner(f)->ops->fallocate ? inner(f)->ops->fallocate(t, f->priv, mode, off, len) : -EOPNOTSUPP;
}
static int64_t ovl_llseek(struct task *t, struct file *f, int64_t off, int whence)
{
	struct file *r = inner(f);
	r->pos = f->pos;
	int64_t n = r->ops->llseek ? r->ops->llseek(t, r, off, whence) : generic_llseek(t, r, off, whence);
	return n < 0 ? n : (f->pos = n);
}
static int ovl_flags_changed(struct file *f, unsigned old) { return inner(f)->ops->flags_changed ? inner(f)->ops->flags_changed(f->priv, old) : 0; }
static void ovl_file_release(struct file *f) { file_put(f->priv); }

const struct inode_ops ovl_ops = { .lookup = ovl_lookup, .create = ovl_create, .mkdir = ovl_mkdir, .mknod = ovl_mknod, .symlink = ovl_symlink, .link = ovl_link,
	.unlink = ovl_unlink, .rmdir = ovl_rmdir, .rename = ovl_rename, .tmpfile = ovl_tmpfile, .readlink = ovl_readlink, .getattr = ovl_getattr,
	.setattr = ovl_setattr, .open = ovl_open, .getxattr = ovl_getxattr, .setxattr = ovl_setxattr, .listxattr = ovl_listxattr, .removexattr = ovl_removexattr,
	.release = ovl_release };
const struct file_ops ovl_file_ops = { .read = ovl_read, .write = ovl_write, .mmap_fd = ovl_mmap_fd, .fsync = ovl_fsync, .fallocate = ovl_fallocate,
	.llseek = ovl_llseek, .flags_changed = ovl_flags_changed, .release = ovl_file_release };
const struct file_ops ovl_dir_ops = { .readdir = ovl_readdir, .fsync = ovl_dir_fsync, .release = ovl_dir_release };
