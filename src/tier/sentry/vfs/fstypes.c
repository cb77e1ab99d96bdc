/* File system types by name. */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

static struct super *make_proc(struct task *t, const char *data, int *rc) { (void)t, (void)data, *rc = -ENOMEM; return procfs_mount(); }
static struct super *make_sys(struct task *t, const char *data, int *rc) { (void)t, (void)data, *rc = -ENOMEM; return sysfs_mount(); }
static struct super *make_dev(struct task *t, const char *data, int *rc) { (void)t, (void)data, *rc = -ENOMEM; return devfs_mount(); }
static struct super *make_pts(struct task *t, const char *data, int *rc) { (void)t, (void)data, *rc = -ENOMEM; return devpts_mount(); }
static struct super *make_tmp(struct task *t, const char *data, int *rc) { (void)t; return tmpfs_mount(data, rc); }
static struct super *make_ram(struct task *t, const char *data, int *rc)
{
	struct super *sb = tmpfs_mount(data && str_has_prefix(data, "mode=") ? data : "mode=755", rc);
	(void)t;
	if (sb)
		sb->type = "ramfs";
	return sb;
}
static struct super *make_mq(struct task *t, const char *data, int *rc)
{
	struct super *sb = tmpfs_mount("mode=1777", rc);
	(void)t, (void)data;
	if (sb)
		sb->type = "mqueue";
	return sb;
}
/* An empty hierarchy: limits are the engine's business, outside. */
static struct super *make_cgroup(struct task *t, const char *data, int *rc)
{
	struct super *sb = tmpfs_mount("mode=755", rc);
	(void)data;
	if (sb && t)
		sb->type = "cgroup2";
	return sb;
}

static const struct fs_type {
	const char *name;
	bool users; /* may be mounted by the maker of a user namespace (FS_USERNS_MOUNT) */
	bool hidden;
	struct super *(*make)(struct task *t, const char *data, int *rc);
} types[] = {
	{ "proc", true, false, make_proc }, { "sysfs", true, false, make_sys }, { "tmpfs", true, false, make_tmp }, { "ramfs", true, false, make_ram },
	{ "devtmpfs", false, false, make_dev }, { "devpts", true, false, make_pts }, { "mqueue", true, false, make_mq }, { "overlay", true, false, overlay_mount },
	{ "cgroup2", true, false, make_cgroup }, { "cgroup", false, true, make_cgroup },
};

static const struct fs_type *find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
		if (streq(types[i].name, name))
			return &types[i];
	return NULL;
}

/* sysfs(2): by index, by name, how many. */
long sys_sysfs(struct task *t, const uint64_t *a)
{
	char name[64];
	switch ((int)a[0]) {
	case 1:
		if (copyin_str(t, name, a[1], sizeof(name), -EINVAL) < 0)
			return -EFAULT;
		for (unsigned i = 0; i < ARRAY_SIZE(types); i++)
			if (streq(types[i].name, name))
				return (long)i;
		return -EINVAL;
	case 2:
		if (a[1] >= ARRAY_SIZE(types))
			return -EINVAL;
		return copyout(t, a[2], types[a[1]].name, strlen(types[a[1]].name) + 1);
	case 3: return (long)ARRAY_SIZE(types);
	default: return -EINVAL;
	}
}

bool fs_type_known(const char *name)
{
	const struct fs_type *f = find(name);
	return f && !f->hidden;
}

struct super *fs_make(struct task *t, const char *name, const char *data, int *rc)
{
	const struct fs_type *f = find(name);
	if (!f || (t && f->hidden)) {
		*rc = -ENODEV;
		return NULL;
	}
	if (t && !f->users && !capable(t, CAP_SYS_ADMIN)) {
		*rc = -EPERM;
		return NULL;
	}
	return f->make(t, data, rc);
}

int fs_reconfigure(struct super *sb, const char *data)
{
	if (streq(sb->type, "tmpfs"))
		return tmpfs_reconfigure(sb, data);
	return 0; /* the others have no options that could change */
}
