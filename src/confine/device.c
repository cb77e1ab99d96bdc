/* Device nodes and links of /dev: see rootfs.h. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <stdio.h>

#include "confine/mount.h"
#include "confine/rootfs.h"
#include "sys/fd.h"
#include "sys/kernel.h"

/* runtime-spec, config-linux.md "Default Devices" (console and ptmx are made elsewhere). */
static const struct oci_device default_devices[] = {
	{ "/dev/null", 'c', 1, 3, { true, 0666 }, { true, 0 }, { true, 0 } },
	{ "/dev/zero", 'c', 1, 5, { true, 0666 }, { true, 0 }, { true, 0 } },
	{ "/dev/full", 'c', 1, 7, { true, 0666 }, { true, 0 }, { true, 0 } },
	{ "/dev/tty", 'c', 5, 0, { true, 0666 }, { true, 0 }, { true, 0 } },
	{ "/dev/random", 'c', 1, 8, { true, 0666 }, { true, 0 }, { true, 0 } },
	{ "/dev/urandom", 'c', 1, 9, { true, 0666 }, { true, 0 }, { true, 0 } },
};

/* Last name and open parent of a device path inside the root. */
static int device_parent(int root, const char *path, const char **ret_name, struct err *e) {
	const char *slash = strrchr(path, '/');
	*ret_name = slash ? slash + 1 : path;
	if (!**ret_name || streq(*ret_name, ".") || streq(*ret_name, ".."))
		return err_set(e, EINVAL, "invalid device path %s", path);
	if (!slash || slash == path)
		return fcntl(root, F_DUPFD_CLOEXEC, 3);
	_cleanup_free_ char *dir = strndup(path, (size_t)(slash - path));
	if (!dir)
		return err_set(e, ENOMEM, "out of memory");
	int fd = mkdir_p_in_root(root, dir, 0755);
	return fd < 0 ? err_sys(e, fd, "parent of device %s", path) : fd;
}

static mode_t device_type(char type) {
	return type == 'b' ? S_IFBLK : type == 'p' ? S_IFIFO : S_IFCHR;
}

static bool same_device(const struct stat *st, const struct oci_device *d) {
	mode_t want = device_type(d->type);
	return (st->st_mode & S_IFMT) == want && (want == S_IFIFO || st->st_rdev == makedev((unsigned)d->major, (unsigned)d->minor));
}

static int device_mknod(int at, const char *name, const struct oci_device *d, bool fresh, struct err *e) {
	struct stat st;
	mode_t mode = (mode_t)(d->file_mode.set ? d->file_mode.v : 0666) & 07777;
	dev_t dev = d->type == 'p' ? 0 : makedev((unsigned)d->major, (unsigned)d->minor);
	if (mknodat(at, name, device_type(d->type) | mode, dev) < 0) {
		if (errno != EEXIST)
			return -errno;
		if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(e, errno, "stat device %s", d->path);
		if (!same_device(&st, d))
			return err_set(e, EEXIST, "device %s exists and is something else", d->path);
		fresh = false;
	}
	if (fresh && !d->uid.v && !d->gid.v)
		return 0;
	_cleanup_close_ int fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char link[32];
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "open device %s", d->path);
	if (!same_device(&st, d))
		return err_set(e, EPERM, "device %s changed under us", d->path);
	if (fchownat(fd, "", (uid_t)d->uid.v, (gid_t)d->gid.v, AT_EMPTY_PATH) < 0)
		return err_sys(e, errno, "chown device %s", d->path);
	/* fchmodat2(2) is 6.6: the magic link of an O_PATH fd does it on every kernel, and cannot be raced. */
	if (chmod(fd_proc_path(fd, link), mode) < 0)
		return err_sys(e, errno, "chmod device %s", d->path);
	return 0;
}

/* outside: the mount to attach, -EBADF: a clone of the host's node. */
static int device_bind(int at, const char *name, const struct oci_device *d, int outside, struct err *e) {
	/* Exclusive: what the image has there is bound over, never opened (opening a device can have effects). */
	int made = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (made < 0 && errno != EEXIST)
		return err_sys(e, errno, "create device %s", d->path);
	cleanup_close(&made);
	_cleanup_close_ int dest = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (dest < 0)
		return err_sys(e, errno, "open device %s", d->path);
	_cleanup_close_ int tree = outside >= 0 ? fcntl(outside, F_DUPFD_CLOEXEC, 3) : sys_open_tree(AT_FDCWD, d->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct stat st;
	if (tree < 0 || fstat(tree, &st) < 0)
		return err_sys(e, errno, "bind device %s", d->path);
	if (!same_device(&st, d))
		return err_set(e, ENODEV, "device %s of the host has another number than the one asked for", d->path);
	return mount_attach(tree, dest, e);
}

int devices_create(int root, const struct oci_device *devs, size_t n, bool bind, const int *trees, struct err *e) {
	/* The default nodes lie in one directory: resolved once. The umask would take bits off the modes. */
	_cleanup_close_ int dev = mkdir_p_in_root(root, "dev", 0755);
	if (dev < 0)
		return err_sys(e, dev, "open /dev of the root");
	mode_t old = umask(0);
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(default_devices) + n; i++) {
		const struct oci_device *d = i < ARRAY_SIZE(default_devices) ? &default_devices[i] : &devs[i - ARRAY_SIZE(default_devices)];
		bool listed = false; /* the spec's own row for a default device wins */
		for (size_t j = 0; i < ARRAY_SIZE(default_devices) && j < n; j++)
			listed = listed || streq(devs[j].path, d->path);
		if (listed)
			continue;
		const char *name;
		_cleanup_close_ int at = i < ARRAY_SIZE(default_devices) ? fcntl(dev, F_DUPFD_CLOEXEC, 3) : device_parent(root, d->path, &name, e);
		if (i < ARRAY_SIZE(default_devices))
			name = d->path + strlen("/dev/");
		if (at < 0)
			r = at;
		else if (bind)
			r = device_bind(at, name, d, trees && i >= ARRAY_SIZE(default_devices) ? trees[i - ARRAY_SIZE(default_devices)] : -EBADF, e);
		else if ((r = device_mknod(at, name, d, true, e)) == -EPERM) {
			err_clear(e);
			r = device_bind(at, name, d, -EBADF, e); /* no CAP_MKNOD, or nodev superblock: as runc */
		} else if (r < 0)
			r = err_sys(e, r, "mknod %s", d->path);
	}
	umask(old);
	return r;
}

int devices_links(int root, struct err *e) {
	static const struct { const char *name, *target; } links[] = {
		{ "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
		{ "core", "/proc/kcore" }, { "ptmx", "pts/ptmx" },
	};
	_cleanup_close_ int dev = open_in_root(root, "dev", O_PATH | O_DIRECTORY, 0);
	if (dev < 0)
		return err_sys(e, dev, "open /dev of the root");
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		if (symlinkat(links[i].target, dev, links[i].name) == 0)
			continue;
		if (errno != EEXIST)
			return err_sys(e, errno, "symlink /dev/%s", links[i].name);
		/* A ptmx that an image brings must not win over the container's own devpts (runc removes it as well). */
		char now[16];
		ssize_t n = readlinkat(dev, links[i].name, now, sizeof(now));
		if (streq(links[i].name, "ptmx") && !(n == (ssize_t)strlen(links[i].target) && memcmp(now, links[i].target, (size_t)n) == 0) &&
		    (unlinkat(dev, "ptmx", 0) < 0 || symlinkat(links[i].target, dev, "ptmx") < 0))
			return err_sys(e, errno, "symlink /dev/ptmx");
	}
	return 0;
}

bool devices_wanted(const struct oci_spec *s) {
	/* A bind on /dev brings the host's nodes (runc, needsSetupDev). */
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct oci_mount *m = &s->mounts[i];
		size_t n = strlen(m->destination);
		while (n > 1 && m->destination[n - 1] == '/')
			n--;
		if ((m->bind || (m->type && streq(m->type, "bind"))) && n == 4 && memcmp(m->destination, "/dev", 4) == 0)
			return false;
	}
	return true;
}
