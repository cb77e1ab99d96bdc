/* devpts: a directory of the pseudo terminals that exist. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "tier/sentry/fs/ptys.h"
#include "tier/sentry/task/task.h"

static struct super *devpts;
static int pts_getattr(struct inode *i, struct kstat *k)
{
	unsigned n = minor(i->rdev);
	*k = (struct kstat){ .ino = n + 3, .nlink = 1, .blksize = 1024, .dev = i->sb->dev, .mode = i->mode, .uid = i->uid, .gid = i->gid, .rdev = i->rdev,
		.atime = i->atime, .mtime = i->mtime, .ctime = i->ctime };
	return 0;
}
static const struct inode_ops pts_inode_ops = { .getattr = pts_getattr };
static int devpts_lookup(struct inode *dir, const char *name, struct inode **ret)
{
	struct inode *i;
	unsigned n = 0;
	if (strcmp(name, "ptmx") == 0) {
		if (!(i = inode_new(dir->sb, S_IFCHR | 0666, &pts_inode_ops, NULL)))
			return -ENOMEM;
		i->rdev = (uint32_t)makedev(5, 2);
		*ret = i;
		return 0;
	}
	for (const char *s = name; *s; s++) {
		if (*s < '0' || *s > '9' || n >= PTY_MAX)
			return -ENOENT;
		n = n * 10 + (unsigned)(*s - '0');
	}
	if (n >= PTY_MAX || !ptys[n])
		return -ENOENT;
	if (!(i = inode_new(dir->sb, S_IFCHR | 0620, &pts_inode_ops, NULL)))
		return -ENOMEM;
	i->rdev = (uint32_t)makedev(136, n);
	i->uid = ptys[n]->uid;
	i->gid = ptys[n]->gid;
	*ret = i;
	return 0;
}
static bool devpts_revalidate(struct inode *dir, const char *name, struct inode *i)
{
	(void)dir, (void)name;
	return major(i->rdev) != 136 || ptys[minor(i->rdev)];
}
static int devpts_readdir(struct task *t, struct file *f, struct dirctx *c)
{
	(void)t;
	for (; f->pos < 3 + PTY_MAX; f->pos++) {
		char name[16];
		if (f->pos < 3) {
			static const char *const first[] = { ".", "..", "ptmx" };
			if (c->emit(c, first[f->pos], strlen(first[f->pos]), (uint64_t)f->pos + 1, f->pos < 2 ? 4 : 2, f->pos + 1))
				return 0;
			continue;
		}
		if (!ptys[f->pos - 3])
			continue;
		int n = snprintf(name, sizeof(name), "%d", (int)f->pos - 3);
		if (c->emit(c, name, (size_t)n, (uint64_t)f->pos, 2, f->pos + 1))
			return 0;
	}
	return 0;
}
static const struct inode_ops devpts_dir_ops = { .lookup = devpts_lookup };
static const struct file_ops devpts_file_ops = { .readdir = devpts_readdir };
static const struct super_ops devpts_super_ops = { .revalidate = devpts_revalidate };

struct super *devpts_mount(void)
{
	if (devpts) {
		devpts->refs++;
		return devpts;
	}
	struct super *sb = super_new("devpts", &devpts_super_ops, SUPER_REVALIDATE);
	if (!sb || !(sb->root = inode_new(sb, S_IFDIR | 0755, &devpts_dir_ops, &devpts_file_ops)) || !(sb->root_dentry = dentry_root(sb, inode_get(sb->root))))
		return NULL;
	sb->refs++;
	return devpts = sb;
}

int tty_open_slave(struct task *t, struct tty *y, unsigned flags, struct file **ret)
{
	struct inode *i;
	char name[16];
	snprintf(name, sizeof(name), "%d", y->index);
	if (!devpts || devpts_lookup(devpts->root, name, &i) < 0)
		return -EIO;
	struct file *f = file_new(i, NULL, flags);
	if (!f)
		return -ENOMEM;
	int rc = pty_open_slave(t, y, f);
	if (rc) {
		file_put(f);
		return rc;
	}
	snprintf(name, sizeof(name), "/dev/pts/%d", y->index);
	f->anon_name = strdup(name);
	*ret = f;
	return 0;
}
