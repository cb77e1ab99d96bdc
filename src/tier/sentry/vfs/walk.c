/* From a path string to a path: components, symlinks, magic links, mounts, search permission. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

struct walk {
	struct task *t;
	struct path root, cur; /* root borrowed */
	const struct path *start;
	unsigned flags, links;
	bool want_parent;
	char *last;
	bool *ret_slash;
	char rest[PATH_MAX_];  /* what is left to resolve */
};

static void go(struct walk *w, struct path p) /* takes p */
{
	path_put(&w->cur);
	w->cur = p;
}

static int to_root(struct walk *w)
{
	if ((w->flags & WALK_BENEATH) || ((w->flags & WALK_NO_XDEV) && w->root.mnt != w->cur.mnt))
		return -EXDEV;
	go(w, path_copy(&w->root));
	return 0;
}

/* The link at p is replaced by its text in front of the rest, or jumped through. 0, 1: jumped. */
static int follow(struct walk *w, const struct path *p, const char *rest)
{
	char target[PATH_MAX_];
	struct inode *i = p->d->inode;
	if (w->flags & WALK_NO_SYMLINKS)
		return -ELOOP;
	if (p->mnt->flags & 256 /* MS_NOSYMFOLLOW */)
		return -ELOOP;
	if (++w->links > SYMLINKS_MAX)
		return -ELOOP;
	if (i->ops->magic) {
		struct path to;
		if (w->flags & (WALK_NO_MAGIC | WALK_BENEATH | WALK_IN_ROOT))
			return w->flags & WALK_NO_MAGIC ? -ELOOP : -EXDEV;
		int rc = i->ops->magic(w->t, i, &to);
		if (rc < 0)
			return rc;
		if (rc == 0 && (w->flags & WALK_NO_XDEV) && to.mnt != w->cur.mnt) {
			path_put(&to);
			return -EXDEV;
		}
		if (rc == 0) {
			go(w, to);
			memmove(w->rest, rest, strlen(rest) + 1);
			return 1;
		}
	}
	ssize_t n = i->ops->readlink ? i->ops->readlink(w->t, i, target, sizeof(target) - 1) : -EINVAL;
	if (n < 0)
		return (int)n;
	if (n == 0)
		return -ENOENT;
	size_t left = strlen(rest);
	if ((size_t)n + left + 1 >= sizeof(w->rest))
		return -ENAMETOOLONG;
	memmove(w->rest + n, rest, left + 1);
	memcpy(w->rest, target, (size_t)n);
	return *w->rest == '/' ? to_root(w) : 0;
}

static int dotdot(struct walk *w)
{
	bool at_start = w->start && w->cur.mnt == w->start->mnt && w->cur.d == w->start->d;
	if ((w->flags & WALK_BENEATH) && at_start)
		return -EXDEV;
	struct mount *before = w->cur.mnt;
	struct path up = path_parent_of(&w->cur, &w->root);
	if ((w->flags & WALK_NO_XDEV) && up.mnt != before) {
		path_put(&up);
		return -EXDEV;
	}
	go(w, up);
	return 0;
}

static int step(struct walk *w, const char *name, const char *rest, bool last, bool slash)
{
	struct dentry *d;
	int rc = dentry_lookup(w->cur.d, name, &d);
	if (rc)
		return rc;
	struct path p = { mount_get(w->cur.mnt), d };
	if (is_lnk(d->inode) && (!last || slash || (w->flags & WALK_FOLLOW))) {
		rc = follow(w, &p, rest);
		path_put(&p);
		return rc < 0 ? rc : 1;
	}
	if ((w->flags & WALK_NO_XDEV) && d->mounted && mount_at(&p)) {
		path_put(&p);
		return -EXDEV;
	}
	path_enter_mounts(&p);
	go(w, p);
	memmove(w->rest, rest, strlen(rest) + 1);
	return 0;
}

static int run(struct walk *w)
{
	for (;;) {
		char name[NAME_MAX_ + 2];
		const char *s = w->rest;
		while (*s == '/')
			s++;
		size_t n = strcspn(s, "/");
		const char *rest = s + n;
		bool slash = *rest == '/', last = rest[strspn(rest, "/")] == 0;
		int rc;
		if (n == 0) { /* "/" alone, or the end */
			if (w->want_parent)
				w->last[0] = 0;
			return 0;
		}
		if (!is_dir(w->cur.d->inode))
			return -ENOTDIR;
		if (n > NAME_MAX_)
			return -ENAMETOOLONG;
		memcpy(name, s, n);
		name[n] = 0;
		if ((rc = inode_permission(w->t, w->cur.d->inode, X_OK)) < 0)
			return rc;
		if (last && w->want_parent) {
			memcpy(w->last, name, n + 1);
			*w->ret_slash = slash;
			return 0;
		}
		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
			if (name[1] && (rc = dotdot(w)) < 0)
				return rc;
			memmove(w->rest, rest, strlen(rest) + 1);
			continue;
		}
		if ((rc = step(w, name, rest, last, slash)) < 0)
			return rc;
		if (rc == 0 && last) {
			if ((slash || (w->flags & WALK_DIRECTORY)) && !is_dir(w->cur.d->inode))
				return -ENOTDIR;
			return 0;
		}
	}
}

static int walk(struct walk *w, const char *name)
{
	size_t n = strlen(name);
	const struct path *start = w->start ? w->start : &w->t->fs->cwd;
	if (n >= PATH_MAX_)
		return -ENAMETOOLONG;
	if (!n && !(w->flags & WALK_EMPTY))
		return -ENOENT;
	memcpy(w->rest, name, n + 1);
	w->start = start;
	w->root = w->flags & WALK_IN_ROOT ? *start : w->t->fs->root;
	if (*name == '/' && (w->flags & WALK_BENEATH))
		return -EXDEV;
	w->cur = path_copy(*name == '/' ? &w->root : start);
	int rc = run(w);
	if (!rc && (w->flags & WALK_DIRECTORY) && !w->want_parent && !is_dir(w->cur.d->inode))
		rc = -ENOTDIR;
	if (rc)
		path_put(&w->cur);
	return rc;
}

int path_walk(struct task *t, const struct path *start, const char *name, unsigned flags, struct path *ret)
{
	struct walk w = { .t = t, .start = start, .flags = flags };
	int rc = walk(&w, name);
	if (!rc)
		*ret = w.cur;
	return rc;
}

int path_parent(struct task *t, const struct path *start, const char *name, unsigned flags, struct path *ret, char last[256], bool *ret_slash)
{
	*ret_slash = false;
	struct walk w = { .t = t, .start = start, .flags = flags & ~(unsigned)(WALK_DIRECTORY | WALK_EMPTY), .want_parent = true, .last = last, .ret_slash = ret_slash };
	int rc = walk(&w, name);
	if (!rc)
		*ret = w.cur;
	return rc;
}

int path_at(struct task *t, int dirfd, const char *name, struct path *ret)
{
	if (*name == '/' || dirfd == AT_FDCWD) {
		*ret = path_copy(&t->fs->cwd);
		return 0;
	}
	struct file *f = fd_file_any(t, dirfd);
	if (!f)
		return -EBADF;
	if (!f->path.d) { /* anonymous objects: only with an empty path, answered by the callers that allow it */
		return -ENOTDIR;
	}
	*ret = path_copy(&f->path);
	return 0;
}

int path_user(struct task *t, int dirfd, uint64_t name, unsigned flags, struct path *ret)
{
	char buf[PATH_MAX_];
	_cleanup_path_ struct path start = PATH_NONE;
	int rc = copyin_path(t, buf, name);
	if (rc < 0 || (!*buf && !(flags & WALK_EMPTY) && (rc = -ENOENT)) || (rc = path_at(t, dirfd, buf, &start)) < 0)
		return rc;
	return path_walk(t, &start, buf, flags, ret);
}
