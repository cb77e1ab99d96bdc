/* sd_notify(3) proxy: the container talks to a socket of ours, we pass readiness on with the pid that the host knows. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum { NOTIFY_MESSAGE_MAX = 4096 }; /* one datagram from the container; longer ones are cut */

int notify_prepare(struct ctr *c, struct oci_spec *spec, struct err *e) {
	const char *host = getenv("NOTIFY_SOCKET");
	if (!host || !*host)
		return 0;
	if (mkdirat(c->dir_fd, "notify", 0755) < 0 && errno != EEXIST)
		return err_sys(e, errno, "mkdir %s/notify", c->dir);
	struct oci_mount *mounts = arena_array(&c->arena, spec->n_mounts + 1, struct oci_mount);
	static const char *const words[] = { "bind", "nosuid", "noexec", "nodev", "ro" };
	char **options = arena_array(&c->arena, ARRAY_SIZE(words) + 1, char *), **env = arena_array(&c->arena, spec->process.env.n + 2, char *);
	/* Inside, the directory stands where the host's socket is, and the socket in it is called "notify" (as under crun). */
	char *source = arena_printf(&c->arena, "%s/notify", c->dir), *inside = arena_strdup(&c->arena, *host == '/' ? host : "/run/notify");
	char *variable = inside ? arena_printf(&c->arena, "NOTIFY_SOCKET=%s/notify", inside) : NULL;
	if (!mounts || !options || !env || !source || !variable)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		options[i] = arena_strdup(&c->arena, words[i]);
	if (spec->n_mounts)
		memcpy(mounts, spec->mounts, spec->n_mounts * sizeof(*mounts));
	struct oci_mount *m = &mounts[spec->n_mounts];
	*m = (struct oci_mount){ .destination = inside, .type = "bind", .source = source, .data = "",
		.options = { options, ARRAY_SIZE(words) } };
	int r = oci_mount_decode_options(&c->arena, m, "NOTIFY_SOCKET", e);
	if (r < 0)
		return r;
	spec->mounts = mounts;
	spec->n_mounts++;
	size_t n = 0;
	for (size_t i = 0; i < spec->process.env.n; i++)
		if (!str_has_prefix(spec->process.env.v[i], "NOTIFY_SOCKET="))
			env[n++] = spec->process.env.v[i];
	env[n++] = variable;
	spec->process.env.v = env;
	spec->process.env.n = n;
	return 0;
}

int notify_bind(struct ctr *c, int *ret_fd, struct err *e) {
	struct stat st;
	*ret_fd = -EBADF;
	const char *host = getenv("NOTIFY_SOCKET");
	if (!host || !*host || fstatat(c->dir_fd, "notify", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/notify/notify", c->dir_fd);
	(void)unlinkat(c->dir_fd, "notify/notify", 0);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, errno, "bind %s/notify/notify", c->dir);
	/* The container's root may be mapped to somebody else. */
	if (fchmodat(c->dir_fd, "notify/notify", 0777, 0) < 0)
		return err_sys(e, errno, "chmod %s/notify/notify", c->dir);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int send_host(const char *text, size_t n) {
	const char *host = getenv("NOTIFY_SOCKET");
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	if (!host || strlen(host) >= sizeof(sa.sun_path))
		return -EINVAL;
	memcpy(sa.sun_path, host, strlen(host));
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(host) + (*host != '@'));
	if (*host == '@')
		sa.sun_path[0] = 0; /* abstract */
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, text, n, MSG_NOSIGNAL, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	return 0;
}

int notify_send(const char *text) {
	return send_host(text, strlen(text));
}

int notify_forward(int fd, pid_t main_pid) {
	char buf[NOTIFY_MESSAGE_MAX + 1];
	ssize_t n = recv(fd, buf, NOTIFY_MESSAGE_MAX, 0);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	buf[n] = 0;
	/* Only readiness goes up: MAINPID, FDSTORE and the like of the container mean nothing outside of it. */
	bool ready = false;
	for (char *line, *rest = buf; (line = strsep(&rest, "\n"));)
		ready |= streq(line, "READY=1");
	if (!ready)
		return 0;
	int len = snprintf(buf, sizeof(buf), "READY=1\nMAINPID=%d\n", main_pid);
	int r = send_host(buf, (size_t)len);
	return r < 0 ? r : 1;
}

int notify_wait(struct ctr *c, int fd, struct err *e) {
	struct pollfd p[2] = { { fd, POLLIN, 0 }, { c->pidfd, POLLIN, 0 } };
	for (;;) {
		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, errno, "poll");
		}
		if (p[0].revents) {
			int r = notify_forward(fd, c->rec.init_pid);
			if (r < 0)
				return err_sys(e, r, "forward readiness to NOTIFY_SOCKET");
			if (r == 1)
				return 0;
		}
		if (p[1].revents)
			return 0;
	}
}
