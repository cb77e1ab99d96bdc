/* AppArmor and SELinux labels: see lsm.h. */
#include "confine/lsm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include "base/broken.h"
#include "sys/fd.h"

enum { LABEL_MAX = 4096 }; /* /proc attr writes take a page at most */

/* One open below procfs. NO_XDEV: nothing may be mounted over any part of the way (CVE-2019-16884, CVE-2025-52881). */
static int proc_openat(int proc_fd, const char *path, int flags) {
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOCTTY),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS,
	};
	if (broken("proc-write")) {
		char old[256];
		snprintf(old, sizeof(old), "/proc/%s", path);
		return open(old, flags | O_CLOEXEC);
	}
	int fd = (int)syscall(SYS_openat2, proc_fd, path, &how, sizeof(how));
	if (fd < 0 && errno != ENOSYS)
		return -errno;
	if (fd < 0) { /* before Linux 5.6 the private mount and the check of the type have to do */
		fd = openat(proc_fd, path, flags | O_CLOEXEC | O_NOCTTY);
		if (fd < 0)
			return -errno;
	}
	struct statfs fs;
	if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC) {
		close(fd);
		return -EXDEV;
	}
	return fd;
}

int proc_open_self(int proc_fd, const char *path, int flags, struct err *e) {
	char full[128];
	/* thread-self since Linux 3.17; some callers' procfs is of an outer pid namespace, where both fail with ENOENT. */
	static const char *const self[] = { "thread-self", "self" };
	int r = -ENOENT;
	for (size_t i = 0; i < ARRAY_SIZE(self); i++) {
		if (snprintf(full, sizeof(full), "%s/%s", self[i], path) >= (int)sizeof(full))
			return err_set(e, -ENAMETOOLONG, "/proc/self/%s: name too long", path);
		r = proc_openat(proc_fd, full, flags);
		if (r != -ENOENT)
			break;
	}
	if (r == -EXDEV)
		return err_set(e, r, "/proc/self/%s: not on procfs, or something is mounted over it", path);
	return r < 0 ? err_sys(e, r, "open /proc/self/%s", path) : r;
}

int proc_write_self(int proc_fd, const char *path, const char *value, struct err *e) {
	size_t n = strlen(value);
	if (n > LABEL_MAX)
		return err_set(e, -E2BIG, "/proc/self/%s: value longer than %d bytes", path, LABEL_MAX);
	_cleanup_close_ int fd = proc_open_self(proc_fd, path, O_WRONLY, e);
	if (fd < 0)
		return fd;
	ssize_t w;
	do
		w = write(fd, value, n);
	while (w < 0 && errno == EINTR);
	if (w < 0)
		return err_sys(e, errno, "write /proc/self/%s", path);
	return (size_t)w == n ? 0 : err_set(e, -EIO, "write /proc/self/%s: short write", path);
}

bool apparmor_enabled(void) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	return file_read_at(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", &b, 16) == 0 && strbuf_str(&b)[0] == 'Y';
}

bool selinux_enabled(void) {
	static const char *const where[] = { "/sys/fs/selinux", "/selinux" };
	struct statfs fs;
	for (size_t i = 0; i < ARRAY_SIZE(where); i++)
		if (statfs(where[i], &fs) == 0 && fs.f_type == SELINUX_MAGIC && !(fs.f_flags & ST_RDONLY))
			return true;
	return false;
}

int apparmor_set_exec(int proc_fd, const char *profile, struct err *e) {
	char value[512];
	if (snprintf(value, sizeof(value), "exec %s", profile) >= (int)sizeof(value))
		return err_set(e, -ENAMETOOLONG, "apparmor profile name is longer than %zu bytes", sizeof(value) - 6);
	/* attr/apparmor/ since Linux 5.8; plain attr/exec may belong to another LSM when several are stacked. */
	int r = proc_write_self(proc_fd, "attr/apparmor/exec", value, e);
	if (r == -ENOENT)
		r = proc_write_self(proc_fd, "attr/exec", value, e);
	return r < 0 ? err_wrap(e, r, "unable to apply apparmor profile \"%s\"", profile) : 0;
}

int selinux_set_exec(int proc_fd, const char *label, struct err *e) {
	int r = proc_write_self(proc_fd, "attr/exec", label, e);
	return r < 0 ? err_wrap(e, r, "can't set process label \"%s\"", label) : 0;
}

int selinux_set_keycreate(int proc_fd, const char *label, struct err *e) {
	int r = proc_write_self(proc_fd, "attr/keycreate", label, e);
	return r < 0 ? err_wrap(e, r, "can't set keyring label \"%s\"", label) : 0;
}

int lsm_apply_exec(int proc_fd, const char *apparmor_profile, const char *selinux_label, struct err *e) {
	if (apparmor_profile) {
		int r = apparmor_set_exec(proc_fd, apparmor_profile, e);
		/* Inside the container /sys says nothing about the host, so the attempt itself is the probe: without any LSM that owns the file the
		 * kernel answers EINVAL or does not have it at all. */
		if (r < 0 && streq(apparmor_profile, "unconfined") && (r == -EINVAL || r == -ENOENT))
			err_clear(e), r = 0;
		else if (r == -EINVAL || r == -ENOENT)
			return err_wrap(e, r, "apparmor: config provided but apparmor not supported");
		if (r < 0)
			return r;
	}
	if (selinux_label) {
		int r = selinux_set_exec(proc_fd, selinux_label, e);
		if (r == -EINVAL || r == -ENOENT)
			return err_wrap(e, r, "selinux label is specified in config, but selinux is disabled or not supported");
		if (r < 0)
			return r;
	}
	return 0;
}

int selinux_mount_data(const char *data, const char *label, const char *type, struct strbuf *out, struct err *e) {
	static const char *const types[] = { "context", "fscontext", "defcontext", "rootcontext" };
	data = data ?: "";
	if (!type || !*type)
		type = "context";
	bool known = false;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		known |= streq(type, types[i]);
	if (!known)
		return err_set(e, -EINVAL, "run.oci.mount_context_type: \"%s\" is not one of context, fscontext, defcontext, rootcontext", type);
	bool has = str_has_prefix(data, "context=") || strstr(data, ",context=");
	if (!label || !*label || has || !selinux_enabled())
		return strbuf_puts(out, data) < 0 ? err_set(e, -ENOMEM, "out of memory") : 0;
	/* The label is quoted since it may hold commas (MCS categories); a quote of its own would end it and start other options. */
	if (strpbrk(label, "\"\\"))
		return err_set(e, -EINVAL, "linux.mountLabel: \"%s\" holds a quote", label);
	int r = strbuf_printf(out, "%s%s%s=\"%s\"", data, *data ? "," : "", type, label);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}
