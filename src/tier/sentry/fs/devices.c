/* Character devices by number, and the devtmpfs that names them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sysmacros.h>

#include "tier/sentry/fs/tty.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

static ssize_t null_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	(void)t, (void)f, (void)u, (void)pos;
	return 0;
}

static ssize_t null_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	(void)t, (void)f, (void)pos;
	size_t n = u->left;
	u->done += n;
	u->left = 0;
	return (ssize_t)n;
}

static ssize_t zero_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	(void)t, (void)f, (void)pos;
	return uio_zero(u, u->left);
}

static ssize_t full_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	(void)t, (void)f, (void)pos;
	return u->left ? -ENOSPC : 0;
}

static ssize_t random_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	char buf[1024];
	size_t total = 0;
	(void)t, (void)f, (void)pos;
	while (u->left) {
		size_t n = MIN(u->left, sizeof(buf));
		if (getrandom(buf, n, 0) != (ssize_t)n)
			return -EIO;
		ssize_t k = uio_put(u, buf, n);
		if (k < 0)
			return total ? (ssize_t)total : k;
		total += (size_t)k;
		if ((size_t)k < n)
			break;
	}
	return (ssize_t)total;
}

static int64_t dev_llseek(struct task *t, struct file *f, int64_t off, int whence)
{
	(void)t, (void)whence;
	return f->pos = off < 0 ? 0 : 0;
}

static const struct file_ops null_ops = { .read = null_read, .write = null_write, .llseek = dev_llseek };
static const struct file_ops zero_ops = { .read = zero_read, .write = null_write, .llseek = dev_llseek };
static const struct file_ops full_ops = { .read = zero_read, .write = full_write, .llseek = dev_llseek };
static const struct file_ops random_ops = { .read = random_read, .write = null_write, .llseek = dev_llseek };

static const struct device { unsigned major, minor; const char *name; uint32_t mode; const struct file_ops *ops; int (*open)(struct task *, struct inode *, struct file *); } devices[] = {
	{ 1, 3, "null", 0666, &null_ops, NULL },
	{ 1, 5, "zero", 0666, &zero_ops, NULL },
	{ 1, 7, "full", 0666, &full_ops, NULL },
	{ 1, 8, "random", 0666, &random_ops, NULL },
	{ 1, 9, "urandom", 0666, &random_ops, NULL },
	{ 5, 0, "tty", 0666, NULL, tty_open_current },
	{ 5, 1, "console", 0620, NULL, tty_open_console },
	{ 5, 2, NULL, 0666, NULL, ptmx_open },
};

int devices_open(struct task *t, struct inode *i, struct file *f)
{
	unsigned maj = major(i->rdev), min = minor(i->rdev);
	if (maj == 136)
		return pts_open(t, min, f);
	for (unsigned n = 0; n < ARRAY_SIZE(devices); n++) {
		if (devices[n].major != maj || devices[n].minor != min)
			continue;
		if (devices[n].open)
			return devices[n].open(t, i, f);
		f->ops = devices[n].ops;
		return 0;
	}
	return -ENXIO;
}

/* A node below dir of a pinned file system, made by the sentry. Borrowed. */
struct dentry *pinned_node(struct dentry *dir, const char *name, uint32_t mode, uint32_t rdev)
{
	struct inode *i;
	int rc = S_ISDIR(mode) ? dir->inode->ops->mkdir(NULL, dir->inode, name, mode & 07777, &i) : dir->inode->ops->mknod(NULL, dir->inode, name, mode, rdev, &i);
	struct dentry *d = rc ? NULL : dentry_add(dir, name, i);
	if (d)
		dentry_put(d); /* the pin keeps it */
	return d;
}

struct super *devfs_mount(void)
{
	static const char *const links[][2] = { { "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
		{ "stderr", "/proc/self/fd/2" }, { "ptmx", "pts/ptmx" }, { "core", "/proc/kcore" } };
	int rc;
	struct super *sb = tmpfs_mount("mode=755", &rc);
	if (!sb)
		return NULL;
	for (unsigned n = 0; n < ARRAY_SIZE(devices); n++)
		if (devices[n].name)
			pinned_node(sb->root_dentry, devices[n].name, S_IFCHR | devices[n].mode, (uint32_t)makedev(devices[n].major, devices[n].minor));
	for (unsigned n = 0; n < ARRAY_SIZE(links); n++) {
		struct inode *i;
		struct dentry *d;
		if (sb->root->ops->symlink(NULL, sb->root, links[n][0], links[n][1], &i) == 0 && (d = dentry_add(sb->root_dentry, links[n][0], i)))
			dentry_put(d);
	}
	pinned_node(sb->root_dentry, "pts", S_IFDIR | 0755, 0);
	pinned_node(sb->root_dentry, "shm", S_IFDIR | 01777, 0);
	pinned_node(sb->root_dentry, "mqueue", S_IFDIR | 01777, 0);
	return sb;
}
