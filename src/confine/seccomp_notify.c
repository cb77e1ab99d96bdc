/* Handing a seccomp listener to its agent (runtime-spec, "Seccomp listener"), and base64. See seccomp.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "confine/seccomp.h"
#include "sys/fd.h"
#include "wire/json.h"

/* Connect to a path of any length: beyond sun_path the folder is opened and named through /proc/self/fd. */
static int connect_unix(const char *path, struct err *e) {
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_close_ int dir = -EBADF;
	size_t n = strlen(path);
	if (n < sizeof(a.sun_path)) {
		memcpy(a.sun_path, path, n + 1);
	} else {
		const char *slash = strrchr(path, '/');
		if (!slash || strlen(slash) > 64)
			return err_set(e, -ENAMETOOLONG, "seccomp listener %s: name too long", path);
		_cleanup_free_ char *folder = strndup(path, (size_t)(slash - path) + 1);
		dir = folder ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
		if (dir < 0)
			return err_sys(e, errno, "seccomp listener %s", path);
		char proc[32];
		snprintf(a.sun_path, sizeof(a.sun_path), "%s%s", fd_proc_path(dir, proc), slash);
	}
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(e, errno, "unable to connect to the seccomp listener %s", path);
	return TAKE_FD(fd);
}

static int write_state(const struct seccomp_filter *f, bool with_pidfd, pid_t pid, const char *state_json, struct strbuf *out) {
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_object(&w);
	jw_kv_string(&w, "ociVersion", "1.3.0");
	jw_key(&w, "fds");
	jw_array(&w);
	jw_string(&w, "seccompFd");
	if (with_pidfd)
		jw_string(&w, "pidFd");
	jw_array_end(&w);
	jw_kv_i64(&w, "pid", pid);
	if (f->listener_metadata)
		jw_kv_string(&w, "metadata", f->listener_metadata);
	jw_key(&w, "state");
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *state;
	int r = json_parse(&a, state_json, strlen(state_json), &state, NULL);
	if (r < 0)
		return r;
	jw_value(&w, state);
	jw_object_end(&w);
	return jw_finish(&w);
}

int seccomp_notify_send(const struct seccomp_filter *f, int listener_fd, int pid_fd, pid_t pid, const char *state_json, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	union { char buf[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr align; } control = { .buf = { 0 } };
	int fds[2] = { listener_fd, pid_fd };
	size_t n_fds = pid_fd >= 0 ? 2 : 1;
	int r = write_state(f, pid_fd >= 0, pid, state_json, &text);
	if (r < 0)
		return err_sys(e, r, "seccomp listener: container process state");
	_cleanup_close_ int fd = connect_unix(f->listener_path, e);
	if (fd < 0)
		return fd;
	struct iovec iov = { text.s, text.len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = CMSG_SPACE(n_fds * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	ssize_t sent;
	do
		sent = sendmsg(fd, &m, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return err_sys(e, errno, "unable to send the seccomp fd to %s", f->listener_path);
	/* The fds went with the first byte; the rest of a long state follows. */
	r = fd_write_all(fd, text.s + sent, text.len - (size_t)sent);
	return r < 0 ? err_sys(e, r, "unable to send the container process state to %s", f->listener_path) : 0;
}

static int digit(char c) {
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(const char *s, size_t n, struct strbuf *out) {
	size_t pad = 0;
	while (n && pad < 2 && s[n - 1] == '=')
		n--, pad++;
	if (n % 4 == 1 || (pad && (n + pad) % 4 != 0))
		return -EINVAL;
	uint32_t bits = 0;
	unsigned int have = 0;
	for (size_t i = 0; i < n; i++) {
		int v = digit(s[i]);
		if (v < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			if (strbuf_putc(out, (char)(bits >> have)) < 0)
				return -ENOMEM;
			bits &= (1u << have) - 1;
		}
	}
	return bits ? -EINVAL : 0; /* left-over bits must be zero: one text per value */
}
