/* Root filesystem of a container: a read-only image on a disk or in a shared file, and an overlay upper in the guest's memory. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/agent/agent.h"
#include "sys/fd.h"

static int sub_dir(const struct guest *g, const char *name, char ret[512], struct err *e)
{
	if (snprintf(ret, 512, "%s/%s", g->dir, name) >= 512)
		return err_set(e, ENAMETOOLONG, "container id too long");
	return mkdir(ret, 0755) < 0 && errno != EEXIST ? err_sys(e, errno, "mkdir %s", ret) : 0;
}

/* A read-only loop device over a shared file; it goes with its last user. */
static int loop_device(uint64_t share, char ret[128], struct err *e)
{
	char path[64];
	snprintf(path, sizeof path, AGENT_SHARES "/%llu", (unsigned long long)share);
	_cleanup_close_ int file = open(path, O_RDONLY | O_CLOEXEC), control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (file < 0 || control < 0)
		return err_sys(e, errno, file < 0 ? "root image %s" : "/dev/loop-control", path);
	int n = ioctl(control, LOOP_CTL_GET_FREE);
	snprintf(ret, 128, "/dev/loop%d", n);
	int fd = n < 0 ? -1 : open(ret, O_RDWR | O_CLOEXEC);
	struct loop_config c = { .fd = (uint32_t)file, .info = { .lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR } };
	if (fd < 0 || ioctl(fd, LOOP_CONFIGURE, &c) < 0) {
		int r = err_sys(e, errno, "loop device for the root image");
		if (fd >= 0)
			close(fd);
		return r;
	}
	return fd; /* until the mount holds the device */
}

/* The host's directory itself. */
static int shared_root(const char *rootfs, uint64_t share, struct err *e)
{
	char path[64];
	snprintf(path, sizeof path, AGENT_SHARES "/%llu", (unsigned long long)(share - 1));
	if (!share)
		return err_set(e, EINVAL, "create: no root filesystem");
	return mount(path, rootfs, NULL, MS_BIND | MS_REC, NULL) < 0 ? err_sys(e, errno, "mount the shared root") : 0;
}

int guest_root_mount(struct guest *g, const struct agent_root *r, struct err *e)
{
	char lower[512], upper[512], rootfs[512], device[128], options[2048];
	if (!r || !r->type || !r->device || strchr(r->device, '/') || strlen(r->device) > 64)
		return err_set(e, EINVAL, "create: no root filesystem");
	int x = sub_dir(g, "rootfs", rootfs, e);
	if (x >= 0)
		x = sub_dir(g, "lower", lower, e);
	if (x >= 0)
		x = sub_dir(g, "upper", upper, e);
	if (x < 0)
		return x;
	if (streq(r->type, "share"))
		return shared_root(rootfs, r->share, e);
	_cleanup_close_ int loop = -EBADF;
	snprintf(device, sizeof device, "/dev/%s", r->device);
	if (r->share && (loop = loop_device(r->share - 1, device, e)) < 0)
		return loop;
	if (mount(device, lower, r->type, MS_RDONLY | MS_NODEV, NULL) < 0)
		return err_sys(e, errno, "mount the root image on %s", device);
	if (r->upper_bytes)
		snprintf(options, sizeof options, "mode=0755,size=%llu", (unsigned long long)r->upper_bytes);
	else
		snprintf(options, sizeof options, "mode=0755,size=50%%");
	if (mount("tmpfs", upper, "tmpfs", 0, options) < 0)
		return err_sys(e, errno, "mount the upper layer");
	struct stat st;
	char u[600], w[600];
	snprintf(u, sizeof u, "%s/u", upper);
	snprintf(w, sizeof w, "%s/w", upper);
	/* The root directory's own mode and owner come from the upper layer. */
	if (stat(lower, &st) < 0 || mkdir(u, 0755) < 0 || mkdir(w, 0755) < 0 || chmod(u, st.st_mode & 07777) < 0 || chown(u, st.st_uid, st.st_gid) < 0)
		return err_sys(e, errno, "prepare the upper layer");
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,xino=auto", lower, u, w);
	if (mount("overlay", rootfs, "overlay", 0, options) < 0)
		return err_sys(e, errno, "mount the overlay");
	return 0;
}

void guest_root_unmount(struct guest *g)
{
	static const char *const names[] = { "rootfs", "upper", "lower" };
	char p[512];
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(p, sizeof p, "%s/%s", g->dir, names[i]);
		umount2(p, MNT_DETACH);
		rmdir(p);
	}
	rmdir(g->dir);
}
