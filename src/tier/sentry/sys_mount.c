/* mount, umount2, pivot_root, chroot's company: changes of the caller's mount namespace. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "base/str.h"
#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/mount.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

#define PER_MOUNT ((unsigned long)(MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | 256 /* MS_NOSYMFOLLOW */))
#define ATIME ((unsigned long)(MS_NOATIME | MS_NODIRATIME | MS_RELATIME))
#define PROPAGATION ((unsigned long)(MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE))

bool may_mount(const struct task *t) { return ns_capable(t, t->fs->ns->user, CAP_SYS_ADMIN); }
/* Belongs to the caller's own namespace. */
bool mount_ours(const struct task *t, const struct mount *m) { return m->ns && m->ns == t->fs->ns; }

/* do_mount() of Linux: relatime unless something else is asked for. */
static unsigned long mount_flags(unsigned long f)
{
	if (!(f & MS_NOATIME))
		f |= MS_RELATIME;
	if (f & MS_STRICTATIME)
		f &= ~(unsigned long)(MS_RELATIME | MS_NOATIME);
	return f & PER_MOUNT;
}

int mount_change_flags(struct mount *m, unsigned long set, unsigned long clear)
{
	unsigned long now = (m->flags & ~clear) | set;
	if (m->locked_flags & ~now || (m->locked_atime && (now ^ m->flags) & ATIME))
		return -EPERM;
	if ((now & MS_RDONLY) && !(m->flags & MS_RDONLY) && m->writers)
		return -EBUSY;
	m->flags = now;
	return 0;
}

static long remount(struct task *t, const struct path *p, unsigned long flags, const char *data, bool bind)
{
	struct mount *m = p->mnt;
	unsigned long want = mount_flags(flags);
	if (p->d != m->root || !mount_ours(t, m))
		return -EINVAL;
	if (!(flags & (MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME)))
		want = (want & ~ATIME) | (m->flags & ATIME);
	if (bind)
		return mount_change_flags(m, want, PER_MOUNT);
	if (!capable(t, CAP_SYS_ADMIN) && m->locked)
		return -EPERM;
	int rc = fs_reconfigure(m->sb, data);
	if (!rc && !(flags & MS_RDONLY))
		m->sb->flags &= ~(unsigned)SUPER_RDONLY;
	return rc ? rc : mount_change_flags(m, want, PER_MOUNT);
}

long mount_propagation(struct task *t, const struct path *p, unsigned long flags)
{
	unsigned long type = flags & PROPAGATION;
	struct mount *m;
	if (p->d != p->mnt->root || !mount_ours(t, p->mnt) || !type || (type & (type - 1)) || flags & ~(PROPAGATION | MS_REC | MS_SILENT))
		return -EINVAL;
	if (!(flags & MS_REC)) {
		mount_set_propagation(p->mnt, type);
		return 0;
	}
	list_for_each(m, &t->fs->ns->mounts, ns_node) {
		const struct mount *up = m;
		while (up && up != p->mnt)
			up = up->parent;
		if (up)
			mount_set_propagation(m, type);
	}
	return 0;
}

static bool has_locked_children(const struct mount *m, const struct dentry *d)
{
	struct mount *c;
	list_for_each(c, &m->ns->mounts, ns_node)
		if (c->parent == m && c->locked)
			for (const struct dentry *x = c->point;; x = x->parent) {
				if (x == d)
					return true;
				if (x->parent == x)
					break;
			}
	return false;
}

int mount_copy_user(struct task *t, const struct path *from, bool rec, struct mntns **ret)
{
	if (from->mnt->unbindable || (!mount_ours(t, from->mnt) && from->mnt->ns))
		return -EINVAL;
	if (!rec && from->mnt->ns && has_locked_children(from->mnt, from->d)) /* would show what they hide */
		return -EINVAL;
	int rc = mount_copy(from->mnt, from->d, rec ? COPY_TREE : 0, t->fs->ns->user, ret, NULL, 0);
	if (!rc)
		(*ret)->root->locked = false;
	return rc;
}

static int fits(const struct path *at, const struct dentry *what)
{
	if (at->d->unlinked)
		return -ENOENT;
	return is_dir(at->d->inode) != is_dir(what->inode) ? -ENOTDIR : 0;
}

static long bind(struct task *t, const struct path *at, uint64_t source, bool rec)
{
	_cleanup_path_ struct path from = PATH_NONE;
	struct mntns *tree;
	if (!source)
		return -EINVAL;
	int rc = path_user(t, AT_FDCWD, source, WALK_FOLLOW, &from);
	if (rc)
		return rc;
	if (!mount_ours(t, at->mnt))
		return -EINVAL;
	if ((rc = mount_copy_user(t, &from, rec, &tree)) < 0)
		return rc;
	if ((rc = fits(at, tree->root->root)) < 0) {
		mntns_put(tree);
		return rc;
	}
	return mount_graft(tree, at);
}

int mount_move(struct task *t, const struct path *from, const struct path *at)
{
	struct mount *m = from->mnt;
	struct mntns *tree;
	if (!mount_ours(t, at->mnt) || !mount_ours(t, m) || from->d != m->root || !m->parent || m->locked || m->parent->group)
		return -EINVAL;
	int rc = fits(at, m->root);
	if (rc)
		return rc == -ENOTDIR ? -EINVAL : rc;
	for (const struct mount *x = at->mnt; x; x = x->parent)
		if (x == m)
			return -ELOOP;
	rc = mount_lift(m, &tree);
	return rc ? rc : mount_graft(tree, at);
}

static long move(struct task *t, const struct path *at, uint64_t source)
{
	_cleanup_path_ struct path from = PATH_NONE;
	int rc = source ? path_user(t, AT_FDCWD, source, WALK_FOLLOW, &from) : -EINVAL;
	return rc ? rc : mount_move(t, &from, at);
}

int mount_super(struct task *t, struct super *sb, unsigned long flags, const char *source, struct mntns **ret)
{
	if (t->cred->user != &init_userns)
		sb->flags |= SUPER_NODEV; /* device nodes would reach beyond what the namespace may */
	*ret = mntns_new(t->fs->ns->user);
	int rc = *ret ? mntns_attach(*ret, sb, sb->root_dentry, NULL, flags, source, NULL) : -ENOMEM;
	if (rc)
		mntns_put(*ret);
	super_put(sb);
	return rc;
}

static long new_mount(struct task *t, const struct path *at, uint64_t type_p, unsigned long flags, const char *source, const char *data)
{
	char type[64];
	struct mntns *tree;
	int rc;
	if (!type_p)
		return -EINVAL;
	if (copyin_str(t, type, type_p, sizeof(type), -EINVAL) < 0)
		return -EFAULT;
	if (!mount_ours(t, at->mnt))
		return -EINVAL;
	struct super *sb = fs_make(t, type, data, &rc);
	if (!sb)
		return rc;
	if ((rc = mount_super(t, sb, mount_flags(flags) | (flags & MS_STRICTATIME), source, &tree)) < 0)
		return rc;
	const struct mount *top = mount_at(at);
	if (!top && at->d == at->mnt->root && at->mnt->sb == tree->root->sb)
		rc = -EBUSY; /* the same again in the same place */
	if (rc || (rc = fits(at, tree->root->root)) < 0) {
		mntns_put(tree);
		return rc;
	}
	return mount_graft(tree, at);
}

/* Mount data: a string of at most a page. */
static int copyin_data(struct task *t, uint64_t p, char buf[4096])
{
	*buf = 0;
	if (!p)
		return 0;
	ssize_t n = copyin_some(t, buf, p, 4095);
	if (n < 0)
		return -EFAULT;
	buf[n] = 0;
	return 0;
}

static long do_mount(struct task *t, const uint64_t *a, char *source, char *data)
{
	_cleanup_path_ struct path at = PATH_NONE;
	unsigned long flags = a[3];
	int rc;
	if ((flags & MS_MGC_MSK) == MS_MGC_VAL)
		flags &= ~(unsigned long)MS_MGC_MSK;
	*source = 0;
	if (a[2] && copyin_some(t, data, a[2], 1) < 0)
		return -EFAULT;
	if (a[0] && copyin_str(t, source, a[0], PATH_MAX_, -EINVAL) < 0)
		return -EFAULT;
	if ((rc = copyin_data(t, a[4], data)) < 0 || (rc = path_user(t, AT_FDCWD, a[1], WALK_FOLLOW, &at)) < 0)
		return rc;
	if (!may_mount(t))
		return -EPERM;
	if (flags & (1ul << 31) /* MS_NOUSER */)
		return -EINVAL;
	if ((flags & (MS_REMOUNT | MS_BIND)) == (MS_REMOUNT | MS_BIND) || (flags & MS_REMOUNT))
		return remount(t, &at, flags, data, flags & MS_BIND);
	if (flags & MS_BIND)
		return bind(t, &at, a[0], flags & MS_REC);
	if (flags & PROPAGATION)
		return mount_propagation(t, &at, flags);
	if (flags & MS_MOVE)
		return move(t, &at, a[0]);
	return new_mount(t, &at, a[2], flags, a[0] ? source : NULL, data);
}

long sys_mount(struct task *t, const uint64_t *a)
{
	_cleanup_free_ char *source = malloc(PATH_MAX_), *data = malloc(4096);
	return source && data ? do_mount(t, a, source, data) : -ENOMEM;
}

long sys_umount2(struct task *t, const uint64_t *a)
{
	_cleanup_path_ struct path p = PATH_NONE;
	int flags = (int)a[1], rc;
	if (flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW))
		return -EINVAL;
	if ((rc = path_user(t, AT_FDCWD, a[0], flags & UMOUNT_NOFOLLOW ? 0 : WALK_FOLLOW, &p)) < 0)
		return rc;
	if (!may_mount(t))
		return -EPERM;
	struct mount *m = p.mnt;
	if (p.d != m->root || !mount_ours(t, m) || m->locked)
		return -EINVAL;
	if ((flags & MNT_FORCE) && !capable(t, CAP_SYS_ADMIN))
		return -EPERM;
	if (flags & MNT_EXPIRE) {
		if (flags & (MNT_FORCE | MNT_DETACH) || !m->parent)
			return -EINVAL;
		if (m->refs > 2)
			return -EBUSY;
		if (!m->expiring) {
			m->expiring = true;
			return -EAGAIN;
		}
	}
	if (!m->parent) /* the root itself: Linux makes it read-only; here it is in use by definition */
		return flags & MNT_DETACH ? -EINVAL : -EBUSY;
	return mount_detach(m, flags & MNT_DETACH, 1);
}

/* Everybody whose root or working directory is the old root moves to the new one. */
static void move_roots(const struct path *old, const struct path *new)
{
	for (struct process *p = process_next(0); p; p = process_next(p->pid)) {
		struct task *o;
		list_for_each(o, &p->threads, thread_node) {
			if (!o->fs)
				continue;
			struct path *both[] = { &o->fs->root, &o->fs->cwd };
			for (unsigned i = 0; i < 2; i++)
				if (both[i]->mnt == old->mnt && both[i]->d == old->d) {
					path_put(both[i]);
					*both[i] = path_copy(new);
				}
		}
	}
}

static bool reachable(struct path p, const struct path *root)
{
	while (p.mnt != root->mnt) {
		if (!p.mnt->parent)
			return false;
		p = (struct path){ p.mnt->parent, p.mnt->point };
	}
	for (const struct dentry *d = p.d;; d = d->parent) {
		if (d == root->d)
			return true;
		if (d->parent == d)
			return false;
	}
}

long sys_pivot_root(struct task *t, const uint64_t *a)
{
	_cleanup_path_ struct path new = PATH_NONE, put = PATH_NONE, root = path_copy(&t->fs->root);
	int rc;
	if (!may_mount(t))
		return -EPERM;
	if ((rc = path_user(t, AT_FDCWD, a[0], WALK_FOLLOW | WALK_DIRECTORY, &new)) < 0 || (rc = path_user(t, AT_FDCWD, a[1], WALK_FOLLOW | WALK_DIRECTORY, &put)) < 0)
		return rc;
	struct mount *old = root.mnt, *m = new.mnt;
	if (!mount_ours(t, old) || !mount_ours(t, m) || !mount_ours(t, put.mnt) || m->locked || put.mnt->group || (m->parent && m->parent->group) ||
	    (old->parent && old->parent->group))
		return -EINVAL;
	if (new.d->unlinked)
		return -ENOENT;
	if (m == old || put.mnt == old)
		return -EBUSY;
	if (root.d != old->root || new.d != m->root || !m->parent)
		return -EINVAL;
	if (!reachable(put, &new) || !reachable(new, &root))
		return -EINVAL;
	struct path place = { old->parent, old->point };
	if (old->parent)
		path_get(&place);
	struct mntns *tree, *ns = t->fs->ns, *rest;
	if ((rc = mount_lift(m, &tree)) < 0) {
		path_put(&place);
		return rc;
	}
	/* new root in the old one's place, the old one on put_old */
	if (old->parent) {
		if ((rc = mount_lift(old, &rest)) == 0 && (rc = mount_graft(tree, &place)) == 0)
			rc = mount_graft(rest, &put);
	} else {
		rest = mntns_new(ns->user);
		mntns_swap(ns, tree, rest);
		rc = mount_graft(rest, &put);
	}
	path_put(&place);
	if (!rc)
		move_roots(&root, &new);
	return rc;
}
