/* Mounts: see mount.h. Kernel facts: fsopen(2) and friends; file-backed EROFS since 6.12, overlayfs lowerdir+ since 6.8. */
#include "store/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* sys/mount.h of glibc 2.36 collides with linux/mount.h: the one function that is needed by hand. */
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);

static int sys_fsopen(const char *fs) { return (int)syscall(SYS_fsopen, fs, FSOPEN_CLOEXEC); }
static int sys_fsconfig(int fd, unsigned cmd, const char *key, const void *value, int aux) { return (int)syscall(SYS_fsconfig, fd, cmd, key, value, aux); }
static int sys_fsmount(int fd, unsigned attr) { return (int)syscall(SYS_fsmount, fd, FSMOUNT_CLOEXEC, attr); }

bool is_mount_root(int dirfd, const char *path) {
	struct statx sx;
	if (statx(dirfd, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &sx) < 0)
		return false;
	if (sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) /* Linux 5.8 */
		return sx.stx_attributes & STATX_ATTR_MOUNT_ROOT;
	char up[4096];
	struct stat a, b;
	snprintf(up, sizeof(up), "%s/..", path);
	return fstatat(dirfd, path, &a, 0) == 0 && fstatat(dirfd, up, &b, 0) == 0 && a.st_dev != b.st_dev;
}

/* What the file system context has to say about a failure. */
static void context_message(int fsfd, char *buf, size_t size) {
	ssize_t n = read(fsfd, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
	char *nl = strchr(buf, '\n');
	if (nl)
		*nl = '\0';
}

int store_mount_attach(int mfd, const char *target, struct err *e) {
	if (syscall(SYS_move_mount, mfd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(e, errno, "mount on %s", target);
	return 0;
}

int store_mount_idmapped(const char *path, int userns, const char *target, struct err *e) {
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns };
	_cleanup_close_ int m = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (m < 0 || syscall(SYS_mount_setattr, m, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(e, errno, "idmap the mount of %s", path);
	return store_mount_attach(m, target, e);
}

static int erofs_from(const char *source, const char *target, struct err *e) {
	_cleanup_close_ int fs = sys_fsopen("erofs"), m = -EBADF;
	if (fs < 0)
		return err_sys(e, errno, "EROFS");
	if (sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0) < 0 || sys_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(e, errno, "mount EROFS image %s", source);
	m = sys_fsmount(fs, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV);
	return m < 0 ? err_sys(e, errno, "mount EROFS image %s", source) : store_mount_attach(m, target, e);
}

/* A free loop device with the file behind it; it goes away with its last user. */
static int loop_attach(int file, char dev[32], struct err *e) {
	_cleanup_close_ int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (ctl < 0)
		return err_sys(e, errno, "/dev/loop-control");
	for (unsigned attempt = 0;; attempt++) {
		int n = ioctl(ctl, LOOP_CTL_GET_FREE);
		if (n < 0)
			return err_sys(e, errno, "no free loop device");
		snprintf(dev, 32, "/dev/loop%d", n);
		_cleanup_close_ int l = open(dev, O_RDWR | O_CLOEXEC);
		if (l < 0)
			return err_sys(e, errno, "%s", dev);
		struct loop_config c = { .fd = (unsigned)file, .info = { .lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR } };
		if (ioctl(l, LOOP_CONFIGURE, &c) == 0)
			return TAKE_FD(l); /* keeps the device until the mount holds it */
		if (errno != EBUSY || attempt == 64) /* another process took it */
			return err_sys(e, errno, "%s", dev);
	}
}

int erofs_mount(struct store *s, const char *file, const char *target, struct err *e) {
	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%s/layers/%s", s->root, file) < 0)
		return err_set(e, ENOMEM, "out of memory");
	int r = erofs_from(path, target, e);
	if (r >= 0)
		return 0;
	if (r == -ENODEV || r == -ENOSYS || r == -EPERM) /* no EROFS in this kernel, or not for us */
		return err_set(e, EOPNOTSUPP, "this host cannot mount EROFS");
	if (r != -ENOTBLK && r != -EINVAL)
		return r;
	/* Before 6.12, or without CONFIG_EROFS_FS_BACKED_BY_FILE. */
	char dev[32];
	err_clear(e);
	_cleanup_close_ int f = open(path, O_RDONLY | O_CLOEXEC), l = -EBADF;
	if (f < 0)
		return err_sys(e, errno, "%s", path);
	l = loop_attach(f, dev, e);
	if (l < 0)
		return err_set(e, EOPNOTSUPP, "this host cannot mount EROFS");
	r = erofs_from(dev, target, e);
	/* The device is only released at its last close when nobody mounted it: clear it by hand then. */
	if (r < 0)
		ioctl(l, LOOP_CLR_FD);
	return r;
}

/* Names of directories are short where they fit (256 bytes with their NUL, fsconfig(2)); longer ones go by descriptor. */
static int set_dir(int fs, const char *key, const char *path) {
	if (strlen(path) < 255)
		return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, path, 0);
	char proc[32];
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return sys_fsconfig(fs, FSCONFIG_SET_STRING, key, proc, 0);
}

int overlay_mount_fd(const struct overlay *o, struct err *e) {
	char said[256];
	_cleanup_close_ int fs = sys_fsopen("overlay");
	if (fs < 0)
		return err_sys(e, errno, "overlayfs");
	int r = sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", "tierce", 0);
	for (size_t i = 0; r >= 0 && i < o->n_lowers; i++)
		r = set_dir(fs, "lowerdir+", o->lowers[i]);
	if (r >= 0 && o->upper) {
		r = set_dir(fs, "upperdir", o->upper);
		if (r >= 0)
			r = set_dir(fs, "workdir", o->work);
	}
	/* Plain upper layers, which diff and commit can read: no redirects, no metadata-only copies. userxattr implies the same. */
	if (r >= 0 && o->userxattr)
		r = sys_fsconfig(fs, FSCONFIG_SET_FLAG, "userxattr", NULL, 0);
	else if (r >= 0 && (r = sys_fsconfig(fs, FSCONFIG_SET_STRING, "redirect_dir", "off", 0)) >= 0)
		r = sys_fsconfig(fs, FSCONFIG_SET_STRING, "metacopy", "off", 0);
	if (r >= 0 && o->volatile_upper)
		r = sys_fsconfig(fs, FSCONFIG_SET_FLAG, "volatile", NULL, 0);
	if (r >= 0 && o->mount_label)
		r = sys_fsconfig(fs, FSCONFIG_SET_STRING, "context", o->mount_label, 0);
	if (r >= 0)
		r = sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	if (r < 0) {
		int code = errno;
		context_message(fs, said, sizeof(said));
		return err_sys(e, code, "mount overlay%s%s", said[0] ? ": " : "", said);
	}
	int m = sys_fsmount(fs, MOUNT_ATTR_NODEV | (o->upper ? 0 : MOUNT_ATTR_RDONLY));
	return m < 0 ? err_sys(e, errno, "mount overlay") : m;
}

int overlay_mount_legacy(const struct overlay *o, const char *target, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int *fds = calloc(o->n_lowers + 1, sizeof(*fds)), r = 0;
	size_t n = 0;
	if (!fds)
		return err_set(e, ENOMEM, "out of memory");
	/* The options share one page: short names by descriptor carry over 200 layers. */
	for (; r >= 0 && n < o->n_lowers; n++) {
		fds[n] = open(o->lowers[n], O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fds[n] < 0) {
			r = err_sys(e, errno, "%s", o->lowers[n]);
			break;
		}
		strbuf_printf(&b, "%s/proc/self/fd/%d", n ? ":" : "lowerdir=", fds[n]);
	}
	if (o->upper)
		strbuf_printf(&b, ",upperdir=%s,workdir=%s", o->upper, o->work);
	if (o->userxattr)
		strbuf_puts(&b, ",userxattr");
	if (o->volatile_upper)
		strbuf_puts(&b, ",volatile");
	if (o->mount_label)
		strbuf_printf(&b, ",context=\"%s\"", o->mount_label);
	if (r >= 0 && (b.failed || b.len >= 4096))
		r = err_set(e, E2BIG, "mount overlay: too many layers for this kernel (6.8 and later take %d)", LAYERS_MAX);
	enum { FLAG_NODEV = 4, FLAG_RDONLY = 1 }; /* MS_NODEV, MS_RDONLY */
	if (r >= 0 && mount("tierce", target, "overlay", FLAG_NODEV | (o->upper ? 0 : FLAG_RDONLY), strbuf_str(&b)) < 0)
		r = err_sys(e, errno, "mount overlay on %s", target);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	free(fds);
	return r;
}
