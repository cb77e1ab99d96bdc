/* Network namespaces bound to files: see netns.h. */
#include "net/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const struct { int flag; const char *name; } kinds[] = { { CLONE_NEWNET, "net" }, { CLONE_NEWIPC, "ipc" }, { CLONE_NEWUTS, "uts" }, { CLONE_NEWUSER, "user" } };

static int loopback_up(void) {
	struct ifreq ifr = { .ifr_name = "lo" };
	_cleanup_close_ int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0 || ioctl(s, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	ifr.ifr_flags |= IFF_UP;
	return ioctl(s, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

static int bind_file(const char *from, const char *to) {
	int fd = open(to, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0444);
	if (fd < 0)
		return -errno;
	close(fd);
	if (mount(from, to, NULL, MS_BIND, NULL) < 0) {
		int r = -errno;
		unlink(to);
		return r;
	}
	return 0;
}

/* The child only makes the namespaces and waits; the parent, still in the host's mount namespace, binds /proc/CHILD/ns/x. */
static pid_t hold(int flags, int userns, const char *hostname, int *ret_release, struct err *e) {
	int ready[2], release[2], r = 0;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_sys(e, errno, "make a pipe");
	if (pipe2(release, O_CLOEXEC) < 0) {
		r = errno;
		close(ready[0]);
		close(ready[1]);
		return err_sys(e, r, "make a pipe");
	}
	pid_t pid = fork();
	if (pid == 0) {
		char c;
		close(release[1]);
		if (userns >= 0 && setns(userns, CLONE_NEWUSER) < 0)
			r = -errno;
		if (r == 0 && unshare(flags) < 0)
			r = -errno;
		if (r == 0 && (flags & CLONE_NEWNET))
			r = loopback_up();
		if (r == 0 && (flags & CLONE_NEWUTS) && hostname && sethostname(hostname, strlen(hostname)) < 0)
			r = -errno;
		(void)!write(ready[1], &r, sizeof(r));
		(void)!read(release[0], &c, 1);
		_exit(0);
	}
	if (pid < 0)
		r = -errno;
	close(ready[1]);
	close(release[0]);
	if (pid > 0 && read(ready[0], &r, sizeof(r)) != sizeof(r))
		r = -ECHILD;
	close(ready[0]);
	if (r < 0) {
		close(release[1]);
		if (pid > 0)
			waitpid(pid, NULL, 0);
		return err_sys(e, r, "make namespaces");
	}
	*ret_release = release[1];
	return pid;
}

static int bind_kinds(pid_t pid, int flags, const char *dir, const char *single, struct err *e) {
	char from[64], to[512];
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!(flags & kinds[i].flag))
			continue;
		snprintf(from, sizeof(from), "/proc/%d/ns/%s", (int)pid, kinds[i].name);
		if (snprintf(to, sizeof(to), "%s%s%s", single ? single : dir, single ? "" : "/", single ? "" : kinds[i].name) >= (int)sizeof(to))
			return err_set(e, -ENAMETOOLONG, "%s: path too long", dir);
		int r = bind_file(from, to);
		if (r < 0)
			return err_sys(e, r, "bind a namespace to %s", to);
	}
	return 0;
}

int netns_create(const char *path, int userns, const char *user_path, struct err *e) {
	int release;
	pid_t pid = hold(CLONE_NEWNET, userns, NULL, &release, e);
	if (pid < 0)
		return pid;
	int r = bind_kinds(pid, CLONE_NEWNET, NULL, path, e);
	if (r == 0 && userns >= 0) {
		r = bind_kinds(pid, CLONE_NEWUSER, NULL, user_path, e);
		if (r < 0)
			netns_remove(path, NULL);
	}
	close(release);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}

int nsset_create(const char *dir, int flags, const char *hostname, unsigned long long shm, struct err *e) {
	int release;
	char path[512], options[64];
	pid_t pid = hold(flags, -EBADF, hostname, &release, e);
	if (pid < 0)
		return pid;
	int r = bind_kinds(pid, flags, dir, NULL, e);
	close(release);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (r == 0 && (flags & CLONE_NEWIPC) && shm) {
		snprintf(path, sizeof(path), "%s/shm", dir);
		snprintf(options, sizeof(options), "mode=1777,size=%llu", shm);
		if (mkdir(path, 0700) < 0 || mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
			r = err_sys(e, errno, "mount %s", path);
	}
	if (r < 0)
		nsset_remove(dir, NULL);
	return r;
}

int netns_remove(const char *path, struct err *e) {
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return err_sys(e, errno, "unmount %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove %s", path);
	return 0;
}

int nsset_remove(const char *dir, struct err *e) {
	char path[512];
	int r = 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, kinds[i].name);
		int k = netns_remove(path, e);
		r = r < 0 ? r : k;
	}
	snprintf(path, sizeof(path), "%s/shm", dir);
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return err_sys(e, errno, "unmount %s", path);
	if (rmdir(path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove %s", path);
	return r;
}
