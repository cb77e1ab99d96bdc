/* overlay: an object of a lower tree is copied to the upper one before it changes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tier/sentry/fs/overlay_inner.h"
#include "tier/sentry/task/task.h"

enum { COPY_CHUNK = 32768 };

static void copy_xattrs(struct inode *from, struct inode *to)
{
	_cleanup_free_ char *names = malloc(65536), *v = malloc(65536);
	if (!names || !v || !from->ops->listxattr || !to->ops->setxattr)
		return;
	ssize_t n = from->ops->listxattr(from, names, 65536);
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1) {
		ssize_t k = str_has_prefix(names + at, "trusted.overlay.") ? -1 : from->ops->getxattr(from, names + at, v, 65536);
		if (k >= 0)
			to->ops->setxattr(to, names + at, v, (size_t)k, 0);
	}
}

static int copy_data(struct task *t, const struct path *from, const struct path *to)
{
	_cleanup_free_ char *buf = malloc(COPY_CHUNK);
	struct file *in = NULL, *out = NULL;
	int rc = buf ? file_open(t, from, O_RDONLY, true, &in) : -ENOMEM;
	if (!rc)
		rc = file_open(t, to, O_WRONLY, true, &out);
	for (int64_t at = 0; !rc;) {
		ssize_t n = file_pread_kernel(t, in, buf, COPY_CHUNK, at);
		struct uio u;
		if (n <= 0) {
			rc = (int)n;
			break;
		}
		uio_init_kernel(&u, buf, (size_t)n);
		ssize_t k = out->ops->write(t, out, &u, &at);
		if (k != n)
			rc = k < 0 ? (int)k : -ENOSPC;
	}
	file_put(in);
	file_put(out);
	return rc;
}

static int copy_attributes(struct task *t, const struct kstat *st, struct inode *to)
{
	struct iattr a = { .valid = ATTR_UID | ATTR_GID, .uid = st->uid, .gid = st->gid };
	int rc = to->ops->setattr ? to->ops->setattr(t, to, &a) : 0;
	a = (struct iattr){ .valid = ATTR_ATIME | ATTR_MTIME | (S_ISLNK(st->mode) ? 0 : ATTR_MODE), .mode = st->mode & 07777, .atime = st->atime, .mtime = st->mtime };
	return rc || !to->ops->setattr ? rc : to->ops->setattr(t, to, &a);
}

/* The copy in the upper directory, not yet visible there where the file system can do that. */
static int make_copy(struct task *t, struct inode *i, struct dentry *dir, const struct kstat *st, struct inode **ret, bool *ret_linked)
{
	const struct inode_ops *ops = dir->inode->ops;
	const char *name = ovl_nd(i)->name;
	char target[PATH_MAX_];
	*ret_linked = true;
	if (S_ISREG(st->mode)) {
		if (ops->tmpfile && ops->link) {
			*ret_linked = false;
			return ops->tmpfile(t, dir->inode, S_IFREG | 0600, ret);
		}
		return ops->create ? ops->create(t, dir->inode, name, S_IFREG | 0600, ret) : -EROFS;
	}
	if (S_ISDIR(st->mode))
		return ops->mkdir ? ops->mkdir(t, dir->inode, name, 0700, ret) : -EROFS;
	if (S_ISLNK(st->mode)) {
		ssize_t n = ovl_real(i)->inode->ops->readlink(t, ovl_real(i)->inode, target, sizeof(target) - 1);
		if (n < 0)
			return (int)n;
		target[n] = 0;
		return ops->symlink ? ops->symlink(t, dir->inode, name, target, ret) : -EROFS;
	}
	return ops->mknod ? ops->mknod(t, dir->inode, name, st->mode, st->rdev, ret) : -EROFS;
}

struct dentry *ovl_loose(struct dentry *dir, struct inode *i)
{
	struct dentry *d = dentry_root(dir->sb, i);
	if (d) {
		d->parent = dentry_get(dir);
		d->unlinked = true;
	}
	return d;
}

int ovl_copy_up(struct task *t, struct inode *i)
{
	struct ovl_node *n = ovl_nd(i);
	struct kstat st;
	struct inode *made;
	bool linked;
	if (n->upper)
		return 0;
	if (!ovl_of(i)->trees[0])
		return -EROFS;
	if (!n->parent)
		return -EROFS;
	int rc = ovl_copy_up(t, n->parent);
	if (rc || (rc = inode_getattr(ovl_real(i)->inode, &st)) < 0)
		return rc;
	struct dentry *dir = ovl_nd(n->parent)->upper, *d;
	if ((rc = make_copy(t, i, dir, &st, &made, &linked)) < 0)
		return rc;
	d = linked ? dentry_add(dir, n->name, made) : ovl_loose(dir, made);
	if (!d)
		return -ENOMEM;
	if (S_ISREG(st.mode)) {
		struct path from = { ovl_real_mount(i), ovl_real(i) }, to = { ovl_of(i)->trees[0]->root, d };
		rc = copy_data(t, &from, &to);
	}
	if (!rc && !n->upper) {
		copy_xattrs(ovl_real(i)->inode, d->inode);
		rc = copy_attributes(t, &st, d->inode);
	}
	if (!rc && !n->upper && !linked) {
		struct dentry *named;
		if ((rc = dir->inode->ops->link(dir->inode, n->name, d->inode)) == 0) {
			named = dentry_add(dir, n->name, inode_get(d->inode));
			dentry_put(d);
			d = named;
			rc = d ? 0 : -ENOMEM;
		}
	}
	if (rc || n->upper) { /* failed, or somebody else was faster while data were read */
		if (d)
			dentry_put(d);
		return rc;
	}
	n->upper = d;
	return 0;
}
