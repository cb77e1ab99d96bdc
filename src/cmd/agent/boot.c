/* First steps of init: file systems, modules, the control port. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "cmd/agent/agent.h"
#include "sys/fd.h"

static const struct { const char *type, *at; unsigned long flags; const char *data; bool optional; } mounts[] = {
	{ "devtmpfs", "/dev", MS_NOSUID, "mode=0755", false },
	{ "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false },
	{ "tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755", false },
	{ "tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777", false },
	{ "tmpfs", "/etc", MS_NOSUID | MS_NODEV, "mode=0755", false },
	{ "devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5", false },
	{ "mqueue", "/dev/mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, true },
};

/* pivot_root(2) refuses to leave the initramfs' own root, and containers pivot: move onto a tmpfs first, as every initramfs does. */
static int leave_initramfs(struct err *e)
{
	if ((mkdir("/root", 0755) < 0 && errno != EEXIST) || mount("root", "/root", "tmpfs", MS_NODEV, "mode=0755,size=16m") < 0)
		return err_sys(e, errno, "mount the agent's root");
	unlink("/init"); /* the text that runs stays */
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
		return err_sys(e, errno, "leave the initramfs");
	return 0;
}

int boot_mounts(struct err *e)
{
	int r = leave_initramfs(e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		if (mkdir(mounts[i].at, 0755) < 0 && errno != EEXIST && !mounts[i].optional)
			return err_sys(e, errno, "mkdir %s", mounts[i].at);
		if (mount(mounts[i].type, mounts[i].at, mounts[i].type, mounts[i].flags, mounts[i].data) < 0 && errno != EBUSY && !mounts[i].optional)
			return err_sys(e, errno, "mount %s", mounts[i].at);
	}
	/* Containers find their limits in cgroups of their own; without the controllers here they would have none. */
	static const char *const controllers[] = { "+cpuset", "+cpu", "+io", "+memory", "+pids", "+hugetlb", "+rdma", "+misc" };
	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++)
		(void)!file_write_at(AT_FDCWD, "/sys/fs/cgroup/cgroup.subtree_control", controllers[i]); /* a kernel may lack one */
	return 0;
}

static int name_order(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_file(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* The host wrote them as NN-name.ko in the order of their dependencies. Their memory in the initramfs is given back. */
int boot_modules(struct err *e)
{
	struct dirent **v = NULL;
	int n = scandir("/modules", &v, is_file, name_order), r = 0;
	for (int i = 0; i < n; i++) {
		char path[300];
		snprintf(path, sizeof path, "/modules/%s", v[i]->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (r >= 0 && (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)))
			r = err_sys(e, errno, "load %s", path);
		if (fd >= 0)
			close(fd);
		unlink(path);
		free(v[i]);
	}
	free(v);
	return r;
}

int boot_port(const char *name, int flags)
{
	DIR *d = opendir("/sys/class/virtio-ports");
	if (!d)
		return -errno;
	int fd = -ENOENT;
	for (struct dirent *ent; fd == -ENOENT && (ent = readdir(d));) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		char path[300];
		if (ent->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/name", ent->d_name);
		if (file_read_at(dirfd(d), path, &b, 256) < 0)
			continue;
		size_t n = strcspn(strbuf_str(&b), "\n");
		if (n != strlen(name) || memcmp(strbuf_str(&b), name, n) != 0)
			continue;
		snprintf(path, sizeof path, "/dev/%s", ent->d_name);
		fd = open(path, flags | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	closedir(d);
	return fd;
}
