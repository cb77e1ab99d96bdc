/* Mounts by descriptor: open_tree, move_mount, fsopen and its family, mount_setattr (Linux 5.2, 5.12). */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/mount.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

/* <sys/mount.h> and <linux/mount.h> do not go together on Debian 12. */
enum { RDONLY = 1, NOSUID = 2, NODEV = 4, NOEXEC = 8, NOSYMFOLLOW = 256, NOATIME = 1024, NODIRATIME = 2048, RELATIME = 1 << 21, STRICTATIME = 1 << 24,
	AT_RECURSIVE_ = 0x8000, ATTR_KNOWN = 0x1000ff | 0x200000, ATTR_SIZE_V0 = 32, DATA_MAX = 4096 };

static int start_of(struct task *t, int dfd, uint64_t name, bool follow, bool empty, struct path *ret, struct file **ret_file)
{
	char c = 1;
	if (ret_file)
		*ret_file = NULL;
	if (empty && (!name || (copyin(t, &c, name, 1) == 0 && !c)) && dfd != AT_FDCWD) {
		struct file *f = fd_file_any(t, dfd);
		if (!f)
			return -EBADF;
		if (!f->path.d)
			return -EINVAL;
		*ret = path_copy(&f->path);
		if (ret_file)
			*ret_file = f;
		return 0;
	}
	return path_user(t, dfd, name, (follow ? WALK_FOLLOW : 0) | (empty ? WALK_EMPTY : 0), ret);
}

/* A descriptor for a detached tree: it goes with the last descriptor unless it was attached before. Takes the tree. */
static long tree_fd(struct task *t, struct mntns *tree, bool cloexec)
{
	struct path p = { mount_get(tree->root), dentry_get(tree->root->root) };
	struct file *f;
	int rc = file_open(t, &p, O_PATH, true, &f);
	path_put(&p);
	if (rc) {
		mntns_put(tree);
		return rc;
	}
	f->tree = tree;
	return fd_give(t, f, cloexec ? O_CLOEXEC : 0);
}

long sys_open_tree(struct task *t, const uint64_t *a)
{
	_cleanup_path_ struct path p = PATH_NONE;
	unsigned flags = (unsigned)a[2];
	struct mntns *tree;
	struct file *f;
	if (flags & ~(unsigned)(AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_RECURSIVE_ | AT_SYMLINK_NOFOLLOW | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC))
		return -EINVAL;
	if ((flags & AT_RECURSIVE_) && !(flags & OPEN_TREE_CLONE))
		return -EINVAL;
	if ((flags & OPEN_TREE_CLONE) && !may_mount(t))
		return -EPERM;
	int rc = start_of(t, (int)a[0], a[1], !(flags & AT_SYMLINK_NOFOLLOW), flags & AT_EMPTY_PATH, &p, NULL);
	if (rc)
		return rc;
	if (flags & OPEN_TREE_CLONE) {
		rc = mount_copy_user(t, &p, flags & AT_RECURSIVE_, &tree);
		return rc ? rc : tree_fd(t, tree, flags & OPEN_TREE_CLOEXEC);
	}
	rc = file_open(t, &p, O_PATH, true, &f);
	return rc ? rc : fd_give(t, f, flags & OPEN_TREE_CLOEXEC ? O_CLOEXEC : 0);
}

long sys_move_mount(struct task *t, const uint64_t *a)
{
	_cleanup_path_ struct path from = PATH_NONE, to = PATH_NONE;
	unsigned flags = (unsigned)a[4];
	struct file *f;
	if (!may_mount(t))
		return -EPERM;
	if (flags & ~(unsigned)(MOVE_MOUNT_F_SYMLINKS | MOVE_MOUNT_F_AUTOMOUNTS | MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS | MOVE_MOUNT_T_AUTOMOUNTS |
	                        MOVE_MOUNT_T_EMPTY_PATH))
		return -EINVAL;
	int rc = start_of(t, (int)a[0], a[1], flags & MOVE_MOUNT_F_SYMLINKS, flags & MOVE_MOUNT_F_EMPTY_PATH, &from, &f);
	if (rc || (rc = start_of(t, (int)a[2], a[3], flags & MOVE_MOUNT_T_SYMLINKS, flags & MOVE_MOUNT_T_EMPTY_PATH, &to, NULL)) < 0)
		return rc;
	if (!f || !f->tree)
		return mount_move(t, &from, &to);
	if (!mount_ours(t, to.mnt) || from.d != f->tree->root->root)
		return -EINVAL;
	if (is_dir(from.d->inode) != is_dir(to.d->inode))
		return -EINVAL;
	return mount_graft(TAKE(f->tree), &to);
}

/* ---- file system contexts ---------------------------------------------------------------------------------------------------- */

struct fscontext {
	char type[64], *source;
	struct strbuf data;
	bool rdonly, mounted;
	struct super *sb;     /* created */
	bool picked;          /* fspick: sb is there already, and reconfigured */
};

static void context_release(struct file *f)
{
	struct fscontext *c = f->priv;
	if (c->sb)
		super_put(c->sb);
	strbuf_free(&c->data);
	free(c->source);
	free(c);
}

/* Messages of the file system: it has none. */
static ssize_t context_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	(void)t, (void)f, (void)u, (void)pos;
	return -ENODATA;
}
static const struct file_ops context_ops = { .read = context_read, .release = context_release };

static long context_fd(struct task *t, struct fscontext *c, bool cloexec)
{
	struct file *f = c ? anon_file_new("anon_inode:[fscontext]", &context_ops, c, O_RDWR) : NULL;
	if (!f)
		free(c);
	return fd_give(t, f, cloexec ? O_CLOEXEC : 0);
}

long sys_fsopen(struct task *t, const uint64_t *a)
{
	char type[64];
	if (!may_mount(t))
		return -EPERM;
	if ((unsigned)a[1] & ~(unsigned)FSOPEN_CLOEXEC)
		return -EINVAL;
	ssize_t n = copyin_str(t, type, a[0], sizeof(type), -EINVAL);
	if (n < 0)
		return n;
	if (!fs_type_known(type))
		return -ENODEV;
	struct fscontext *c = calloc(1, sizeof(*c));
	if (c)
		memcpy(c->type, type, sizeof(type));
	return context_fd(t, c, a[1] & FSOPEN_CLOEXEC);
}

long sys_fspick(struct task *t, const uint64_t *a)
{
	struct path p;
	unsigned flags = (unsigned)a[2];
	if (!may_mount(t))
		return -EPERM;
	if (flags & ~(unsigned)(FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY_PATH))
		return -EINVAL;
	int rc = start_of(t, (int)a[0], a[1], !(flags & FSPICK_SYMLINK_NOFOLLOW), flags & FSPICK_EMPTY_PATH, &p, NULL);
	if (rc)
		return rc;
	struct fscontext *c = p.d == p.mnt->root ? calloc(1, sizeof(*c)) : NULL;
	rc = p.d == p.mnt->root ? -ENOMEM : -EINVAL;
	if (c) { /* the file system is held, not the mount */
		c->picked = true;
		c->sb = p.mnt->sb;
		c->sb->refs++;
		c->rdonly = c->sb->flags & SUPER_RDONLY;
	}
	path_put(&p);
	if (!c)
		return rc;
	return context_fd(t, c, flags & FSPICK_CLOEXEC);
}

static struct fscontext *context_of(struct task *t, int fd)
{
	struct file *f = fd_file(t, fd);
	return f && f->ops == &context_ops ? f->priv : NULL;
}

static int add_option(struct fscontext *c, const char *key, const char *value)
{
	if (streq(key, "source")) {
		if (c->source || !value)
			return -EINVAL;
		return (c->source = strdup(value)) ? 0 : -ENOMEM;
	}
	if (!value && (streq(key, "ro") || streq(key, "rw"))) {
		c->rdonly = streq(key, "ro");
		return 0;
	}
	if (c->data.len + strlen(key) + (value ? strlen(value) : 0) + 3 > DATA_MAX)
		return -EINVAL;
	return strbuf_printf(&c->data, value ? "%s%s=%s" : "%s%s", c->data.len ? "," : "", key, value);
}

/* Names of the options are checked when the file system is made: a wrong one is -EINVAL then. */
static int create(struct task *t, struct fscontext *c)
{
	int rc = 0;
	if (c->sb)
		return -EBUSY;
	c->sb = fs_make(t, c->type, strbuf_str(&c->data), &rc);
	return c->sb ? 0 : rc;
}

static int reconfigure(struct task *t, struct fscontext *c)
{
	if (!c->sb)
		return -EINVAL;
	if (!capable(t, CAP_SYS_ADMIN))
		return -EPERM;
	int rc = fs_reconfigure(c->sb, strbuf_str(&c->data));
	if (!rc)
		c->sb->flags = c->rdonly ? c->sb->flags | SUPER_RDONLY : c->sb->flags & ~(unsigned)SUPER_RDONLY;
	return rc;
}

long sys_fsconfig(struct task *t, const uint64_t *a)
{
	char key[256], value[256];
	unsigned cmd = (unsigned)a[1];
	int aux = (int)a[4];
	bool k = a[2], v = a[3];
	if ((int)a[0] < 0)
		return -EINVAL;
	switch (cmd) { /* which arguments a command takes: fsconfig() of Linux's fs/fsopen.c */
	case FSCONFIG_SET_FLAG:
		if (!k || v || aux)
			return -EINVAL;
		break;
	case FSCONFIG_SET_STRING:
		if (!k || !v || aux)
			return -EINVAL;
		break;
	case FSCONFIG_SET_BINARY:
		if (!k || !v || aux <= 0 || aux > 1024 * 1024)
			return -EINVAL;
		break;
	case FSCONFIG_SET_PATH: case FSCONFIG_SET_PATH_EMPTY:
		if (!k || !v || (aux != AT_FDCWD && aux < 0))
			return -EINVAL;
		break;
	case FSCONFIG_SET_FD:
		if (!k || v || aux < 0)
			return -EINVAL;
		break;
	case FSCONFIG_CMD_CREATE: case FSCONFIG_CMD_RECONFIGURE:
		if (k || v || aux)
			return -EINVAL;
		break;
	default: return -EOPNOTSUPP;
	}
	if (!fd_file(t, (int)a[0]))
		return -EBADF;
	struct fscontext *c = context_of(t, (int)a[0]);
	if (!c)
		return -EINVAL;
	ssize_t n = k ? copyin_str(t, key, a[2], sizeof(key), -EINVAL) : 0;
	if (n >= 0 && cmd == FSCONFIG_SET_STRING)
		n = copyin_str(t, value, a[3], sizeof(value), -EINVAL);
	if (n < 0)
		return n;
	switch (cmd) {
	case FSCONFIG_SET_FLAG: return c->sb && !c->picked ? -EBUSY : add_option(c, key, NULL);
	case FSCONFIG_SET_STRING: return c->sb && !c->picked ? -EBUSY : add_option(c, key, value);
	case FSCONFIG_CMD_CREATE: return create(t, c);
	case FSCONFIG_CMD_RECONFIGURE: return reconfigure(t, c);
	default: return -EINVAL; /* no file system here takes binaries, paths or descriptors */
	}
}

/* MOUNT_ATTR_* to MS_*. */
static unsigned long attr_flags(uint64_t attr)
{
	unsigned long f = 0;
	f |= attr & MOUNT_ATTR_RDONLY ? RDONLY : 0;
	f |= attr & MOUNT_ATTR_NOSUID ? NOSUID : 0;
	f |= attr & MOUNT_ATTR_NODEV ? NODEV : 0;
	f |= attr & MOUNT_ATTR_NOEXEC ? NOEXEC : 0;
	f |= attr & MOUNT_ATTR_NODIRATIME ? NODIRATIME : 0;
	f |= attr & 0x200000 /* MOUNT_ATTR_NOSYMFOLLOW */ ? NOSYMFOLLOW : 0;
	return f;
}

static bool atime_flags(uint64_t attr, unsigned long *f)
{
	switch (attr & MOUNT_ATTR__ATIME) {
	case MOUNT_ATTR_RELATIME: *f |= RELATIME; return true;
	case MOUNT_ATTR_NOATIME: *f |= NOATIME; return true;
	case MOUNT_ATTR_STRICTATIME: return true;
	default: return false;
	}
}

long sys_fsmount(struct task *t, const uint64_t *a)
{
	uint64_t attr = (uint32_t)a[2];
	unsigned long flags = attr_flags(attr);
	struct mntns *tree;
	if (!may_mount(t))
		return -EPERM;
	if ((unsigned)a[1] & ~(unsigned)FSMOUNT_CLOEXEC || attr & ~(uint64_t)(0xff | 0x200000) || !atime_flags(attr, &flags))
		return -EINVAL;
	if (!fd_file(t, (int)a[0]))
		return -EBADF;
	struct fscontext *c = context_of(t, (int)a[0]);
	if (!c || !c->sb || c->picked || c->mounted)
		return c && c->mounted ? -EBUSY : -EINVAL;
	if (c->rdonly)
		flags |= RDONLY;
	if (!(flags & (RELATIME | NOATIME)))
		flags |= STRICTATIME;
	c->sb->refs++;
	int rc = mount_super(t, c->sb, flags, c->source, &tree);
	if (rc)
		return rc;
	c->mounted = true;
	return tree_fd(t, tree, a[1] & FSMOUNT_CLOEXEC);
}

/* ---- mount_setattr --------------------------------------------------------------------------------------------------------------- */

struct change { unsigned long set, clear, propagation; };

static int change_one(struct mount *m, const struct change *c)
{
	int rc = c->set | c->clear ? mount_change_flags(m, c->set, c->clear) : 0;
	if (!rc && c->propagation)
		mount_set_propagation(m, c->propagation);
	return rc;
}

/* All or none: what is changed and could not be changed back is checked before. */
static int change_tree(struct mount *top, const struct change *c)
{
	for (int pass = 0; pass < 2; pass++) {
		struct mount *m;
		list_for_each(m, &top->ns->mounts, ns_node) {
			const struct mount *up = m;
			while (up && up != top)
				up = up->parent;
			if (!up)
				continue;
			unsigned long now = (m->flags & ~c->clear) | c->set;
			int rc = pass ? change_one(m, c) : m->locked_flags & ~now || (m->locked_atime && (now ^ m->flags) & (NOATIME | NODIRATIME | RELATIME)) ? -EPERM : (now & RDONLY) && !(m->flags & RDONLY) && m->writers ? -EBUSY : 0;
			if (rc)
				return rc;
		}
	}
	return 0;
}

static int decode(const struct mount_attr *g, struct change *c)
{
	uint64_t set = g->attr_set, clr = g->attr_clr;
	if ((set | clr) & ~(uint64_t)ATTR_KNOWN || (g->propagation & ~(uint64_t)(1 << 20 | 1 << 19 | 1 << 18 | 1 << 17)) || (g->propagation & (g->propagation - 1)))
		return -EINVAL;
	if ((set | clr) & 0x100000 /* MOUNT_ATTR_IDMAP */)
		return -EINVAL; /* no file system here can be mapped */
	if (clr & MOUNT_ATTR__ATIME) {
		if ((clr & MOUNT_ATTR__ATIME) != MOUNT_ATTR__ATIME)
			return -EINVAL;
		c->clear |= RELATIME | NOATIME;
		if (!atime_flags(set, &c->set))
			return -EINVAL;
	} else if (set & MOUNT_ATTR__ATIME) {
		return -EINVAL;
	}
	c->set |= attr_flags(set);
	c->clear |= attr_flags(clr);
	c->propagation = g->propagation;
	return 0;
}

long sys_mount_setattr(struct task *t, const uint64_t *a)
{
	_cleanup_path_ struct path p = PATH_NONE;
	unsigned flags = (unsigned)a[2];
	struct mount_attr g = { 0 };
	struct change c = { 0 };
	uint8_t more;
	int rc;
	if (flags & ~(unsigned)(AT_EMPTY_PATH | AT_RECURSIVE_ | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT))
		return -EINVAL;
	if (a[4] > 4096)
		return -E2BIG;
	if (a[4] < ATTR_SIZE_V0)
		return -EINVAL;
	if (!may_mount(t))
		return -EPERM;
	if (copyin(t, &g, a[3], sizeof(g)) < 0)
		return -EFAULT;
	for (uint64_t i = sizeof(g); i < a[4]; i++) {
		if (copyin(t, &more, a[3] + i, 1) < 0)
			return -EFAULT;
		if (more)
			return -E2BIG;
	}
	if (!g.attr_set && !g.attr_clr && !g.propagation)
		return 0;
	if ((rc = decode(&g, &c)) < 0 || (rc = start_of(t, (int)a[0], a[1], !(flags & AT_SYMLINK_NOFOLLOW), flags & AT_EMPTY_PATH, &p, NULL)) < 0)
		return rc;
	struct mount *m = p.mnt;
	if (p.d != m->root || !m->ns || (!mount_ours(t, m) && m->ns->root != m))
		return -EINVAL;
	return flags & AT_RECURSIVE_ ? change_tree(m, &c) : change_one(m, &c);
}
