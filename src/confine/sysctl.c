/* linux.sysctl: see rootfs.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "confine/rootfs.h"
#include "sys/fd.h"

enum { PROC_MAGIC = 0x9fa0 };

/* Names that live in the ipc namespace (ipc_namespaces(7)). */
static const char *const ipc_names[] = { "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
	"kernel.shmmni", "kernel.shm_rmid_forced" };

/* "net/ipv4/ip_forward" and "net.ipv4.ip_forward" are both in use; the separator that comes first decides (sysctl(8)). */
static void dotted(const char *name, char *out, size_t size) {
	bool slashes = name[strcspn(name, "./")] == '/';
	size_t i = 0;
	for (; name[i] && i + 1 < size; i++)
		out[i] = !slashes ? name[i] : name[i] == '/' ? '.' : name[i] == '.' ? '/' : name[i];
	out[i] = '\0';
}

int sysctl_check(const struct oci_map *sysctl, unsigned long own, bool has_domainname, struct err *e) {
	for (size_t i = 0; i < sysctl->n; i++) {
		char name[256];
		if (strlen(sysctl->v[i].key) >= sizeof(name) || strstr(sysctl->v[i].key, "..") || !sysctl->v[i].key[0])
			return err_set(e, EINVAL, "sysctl \"%s\" is not a valid name", sysctl->v[i].key);
		dotted(sysctl->v[i].key, name, sizeof(name));
		bool ipc = str_has_prefix(name, "fs.mqueue.");
		for (size_t j = 0; j < ARRAY_SIZE(ipc_names); j++)
			ipc = ipc || streq(name, ipc_names[j]);
		if (ipc && (own & CLONE_NEWIPC))
			continue;
		if (ipc)
			return err_set(e, EINVAL, "sysctl \"%s\" is not allowed in the hosts ipc namespace", name);
		if (str_has_prefix(name, "net.")) {
			if (own & CLONE_NEWNET)
				continue;
			return err_set(e, EINVAL, "sysctl \"%s\" not allowed in host network namespace", name);
		}
		if (streq(name, "kernel.domainname") && (own & CLONE_NEWUTS)) {
			if (has_domainname)
				return err_set(e, EINVAL, "sysctl \"%s\" conflicts with domainname", name);
			continue;
		}
		if (streq(name, "kernel.hostname"))
			return err_set(e, EINVAL, "sysctl \"%s\" is not allowed as it conflicts with the OCI %s field", name, "hostname");
		if (str_has_prefix(name, "user.") && (own & CLONE_NEWUSER))
			continue; /* ucounts are per user namespace */
		return err_set(e, EINVAL, "sysctl \"%s\" is not in a separate kernel namespace", name);
	}
	return 0;
}

int sysctl_apply(int proc_fd, const struct oci_map *sysctl, struct err *e) {
	for (size_t i = 0; i < sysctl->n; i++) {
		char name[256], path[300];
		dotted(sysctl->v[i].key, name, sizeof(name));
		for (char *p = name; *p; p++)
			*p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
		snprintf(path, sizeof(path), "sys/%s", name);
		/* Nothing may be mounted over it and it must be a file of procfs (CVE-2019-16884, CVE-2025-52881). */
		struct open_how how = { .flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
			.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
		_cleanup_close_ int fd = (int)syscall(SYS_openat2, proc_fd, path, &how, sizeof(how));
		struct statfs fs;
		if (fd < 0)
			return err_sys(e, errno, "open sysctl %s file", sysctl->v[i].key);
		if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_MAGIC)
			return err_set(e, EPERM, "sysctl %s is not a file of procfs", sysctl->v[i].key);
		int r = fd_write_all(fd, sysctl->v[i].value, strlen(sysctl->v[i].value));
		if (r < 0)
			return err_sys(e, r, "write sysctl %s = %s", sysctl->v[i].key, sysctl->v[i].value);
	}
	return 0;
}
