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

/* One image at DIR/lower, or at DIR/lower/I of several. */
static int mount_image(const struct agent_root *r, bool on_disk, uint64_t share, const char *at, struct err *e)
{
	char device[128];
	_cleanup_close_ int loop = -EBADF;
	snprintf(device, sizeof device, "/dev/%s", r->device);
	if (!on_disk && (loop = loop_device(share, device, e)) < 0)
		return loop;
	return mount(device, at, r->type, MS_RDONLY | MS_NODEV, NULL) < 0 ? err_sys(e, errno, "mount the root image on %s", device) : 0;
}

static int mount_layers(const struct agent_root *r, const char *lower, struct strbuf *dirs, struct err *e)
{
	const uint8_t *v = r->layers.p;
	if (!r->layers.n) {
		strbuf_puts(dirs, lower);
		return mount_image(r, !r->share, r->share - 1, lower, e);
	}
	if (mount("layers", lower, "tmpfs", 0, "mode=0700,size=1m") < 0)
		return err_sys(e, errno, "mount the layers");
	for (size_t i = 0; i < r->layers.n; i++) {
		char at[600];
		snprintf(at, sizeof at, "%s/%zu", lower, i);
		if (mkdir(at, 0755) < 0)
			return err_sys(e, errno, "mkdir %s", at);
		int x = mount_image(r, v[i] == AGENT_DISK, v[i], at, e);
		if (x < 0)
			return x;
		strbuf_printf(dirs, "%s%s", i ? ":" : "", at);
	}
	return dirs->failed ? err_set(e, ENOMEM, "root filesystem") : 0;
}

int guest_root_mount(struct guest *g, const struct agent_root *r, struct err *e)
{
	char lower[512], upper[512], rootfs[512], top[600], options[128];
	_cleanup_strbuf_ struct strbuf dirs = STRBUF_INIT, all = STRBUF_INIT;
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
	if ((x = mount_layers(r, lower, &dirs, e)) < 0)
		return x;
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
	snprintf(top, sizeof top, "%s%s", lower, r->layers.n ? "/0" : "");
	/* The root directory's own mode and owner come from the upper layer. */
	if (stat(top, &st) < 0 || mkdir(u, 0755) < 0 || mkdir(w, 0755) < 0 || chmod(u, st.st_mode & 07777) < 0 || chown(u, st.st_uid, st.st_gid) < 0)
		return err_sys(e, errno, "prepare the upper layer");
	strbuf_printf(&all, "lowerdir=%s,upperdir=%s,workdir=%s,xino=auto", strbuf_str(&dirs), u, w);
	if (all.len > 4000) /* mount(2) takes a page */
		return err_set(e, E2BIG, "root filesystem: too many layers for this container id");
	if (mount("overlay", rootfs, "overlay", 0, strbuf_str(&all)) < 0)
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
