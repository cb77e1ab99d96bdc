/* File descriptors of a task. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

struct fdtable *fdtable_new(void)
{
	struct fdtable *ft = calloc(1, sizeof(*ft));
	if (ft)
		ft->refs = 1;
	return ft;
}

struct fdtable *fdtable_dup(struct fdtable *ft)
{
	struct fdtable *n = fdtable_new();
	if (!n)
		return NULL;
	unsigned top = ft->cap;
	while (top && !ft->v[top - 1].f)
		top--;
	if (top && !(n->v = calloc(top, sizeof(*n->v)))) {
		free(n);
		return NULL;
	}
	n->cap = top;
	n->hint = ft->hint;
	for (unsigned i = 0; i < top; i++) {
		n->v[i] = ft->v[i];
		if (n->v[i].f)
			file_get(n->v[i].f);
	}
	return n;
}

static void close_one(struct task *t, struct fdtable *ft, unsigned fd)
{
	struct file *f = ft->v[fd].f;
	ft->v[fd] = (struct fdslot){ NULL, false };
	if (fd < ft->hint)
		ft->hint = fd;
	if (t && f->inode)
		locks_release_owner(t, f->inode);
	if (t && f->ops && f->ops->flush)
		f->ops->flush(t, f);
	file_put(f);
}

void fdtable_put(struct task *t, struct fdtable *ft)
{
	if (--ft->refs)
		return;
	for (unsigned i = 0; i < ft->cap; i++)
		if (ft->v[i].f)
			close_one(t, ft, i);
	free(ft->v);
	free(ft);
}

void fdtable_close_exec(struct task *t)
{
	for (unsigned i = 0; i < t->files->cap; i++)
		if (t->files->v[i].f && t->files->v[i].cloexec)
			close_one(t, t->files, i);
}

struct file *fd_file_any(struct task *t, int fd)
{
	struct fdtable *ft = t->files;
	return fd >= 0 && (unsigned)fd < ft->cap ? ft->v[fd].f : NULL;
}

struct file *fd_file(struct task *t, int fd)
{
	struct file *f = fd_file_any(t, fd);
	return f && !(f->flags & O_PATH) ? f : NULL;
}

static unsigned limit(const struct task *t)
{
	uint64_t n = t->proc->rlim[RLIMIT_NOFILE].rlim_cur;
	return n < FD_MAX ? (unsigned)n : FD_MAX;
}

static int grow(struct fdtable *ft, unsigned fd)
{
	if (fd < ft->cap)
		return 0;
	unsigned cap = ft->cap ? ft->cap : 16;
	while (cap <= fd)
		cap *= 2;
	struct fdslot *v = realloc(ft->v, cap * sizeof(*v));
	if (!v)
		return -ENOMEM;
	memset(v + ft->cap, 0, (cap - ft->cap) * sizeof(*v));
	ft->v = v;
	ft->cap = cap;
	return 0;
}

int fd_install(struct task *t, struct file *f, bool cloexec, int min)
{
	struct fdtable *ft = t->files;
	unsigned fd = MAX((unsigned)min, min ? 0 : ft->hint);
	while (fd < ft->cap && ft->v[fd].f)
		fd++;
	if (fd >= limit(t))
		return -EMFILE;
	if (grow(ft, fd) < 0)
		return -ENOMEM;
	ft->v[fd] = (struct fdslot){ f, cloexec };
	if (!min)
		ft->hint = fd + 1;
	return (int)fd;
}

int fd_replace(struct task *t, int fd, struct file *f, bool cloexec)
{
	struct fdtable *ft = t->files;
	if (fd < 0 || (unsigned)fd >= limit(t))
		return -EBADF;
	if (grow(ft, (unsigned)fd) < 0)
		return -ENOMEM;
	struct file *old = ft->v[fd].f;
	if (old) {
		file_get(old);
		close_one(t, ft, (unsigned)fd);
		file_put(old);
	}
	if (grow(ft, (unsigned)fd) < 0)
		return -ENOMEM;
	ft->v[fd] = (struct fdslot){ f, cloexec };
	return fd;
}

int fd_close(struct task *t, int fd)
{
	if (!fd_file_any(t, fd))
		return -EBADF;
	close_one(t, t->files, (unsigned)fd);
	return 0;
}

int fd_give(struct task *t, struct file *f, unsigned o_flags)
{
	if (!f)
		return -ENOMEM;
	int fd = fd_install(t, f, o_flags & O_CLOEXEC, 0);
	if (fd < 0)
		file_put(f);
	return fd;
}

struct fs_context *fs_context_dup(struct fs_context *f)
{
	struct fs_context *n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	*n = (struct fs_context){ .refs = 1, .root = path_copy(&f->root), .cwd = path_copy(&f->cwd), .umask = f->umask, .ns = f->ns };
	n->ns->refs++;
	return n;
}

int fs_unshare_mounts(struct fs_context *f, struct userns *user)
{
	struct path *both[] = { &f->root, &f->cwd };
	struct mntns *n = mntns_dup(f->ns, user, both, 2);
	if (!n)
		return -ENOMEM;
	mntns_put(f->ns);
	f->ns = n;
	return 0;
}

void fs_context_put(struct fs_context *f)
{
	if (--f->refs)
		return;
	path_put(&f->root);
	path_put(&f->cwd);
	mntns_put(f->ns);
	free(f);
}
