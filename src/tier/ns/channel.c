/* Messages between the runtime and the processes that it makes: see ns.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "sys/fd.h"
#include "tier/ns/ns.h"

union fd_cmsg {
	struct cmsghdr h;
	char buf[CMSG_SPACE(sizeof(int))];
};

int ns_send(int channel, enum ns_msg type, int code, const char *text, int fd) {
	struct ns_message m = { .type = type, .code = code };
	size_t n = text ? MIN(strlen(text), (size_t)NS_TEXT_MAX - 1) : 0;
	if (n)
		memcpy(m.text, text, n);
	size_t len = offsetof(struct ns_message, text) + n + 1;
	ssize_t w;
	if (fd < 0) {
		do
			w = write(channel, &m, len);
		while (w < 0 && errno == EINTR);
		return w < 0 ? -errno : 0;
	}
	union fd_cmsg u = { 0 };
	struct iovec iov = { &m, len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof(u.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	do
		w = sendmsg(channel, &h, MSG_NOSIGNAL);
	while (w < 0 && errno == EINTR);
	return w < 0 ? -errno : 0;
}

int ns_recv(int channel, struct ns_message *m, int *ret_fd, struct err *e) {
	union fd_cmsg u = { 0 };
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof(u.buf) };
	ssize_t n;
	int fd = -EBADF;
	bool reset = false;
	/* A peer that ended with a message of ours unread resets the connection, once; what it sent before that is still queued behind the reset. */
	while ((n = recvmsg(channel, &h, MSG_CMSG_CLOEXEC)) < 0 && (errno == EINTR || (errno == ECONNRESET && !reset)))
		reset = errno == ECONNRESET;
	if (n < 0 && errno != ECONNRESET)
		return err_sys(e, errno, "receive");
	if (n <= 0)
		return err_set(e, ECONNRESET, "the container's process ended unexpectedly");
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	/* After a container was entered the other side is only as trustworthy as the container: lengths are checked here. */
	if (n < (ssize_t)offsetof(struct ns_message, text) + 1 || m->text[(size_t)n - offsetof(struct ns_message, text) - 1]) {
		cleanup_close(&fd);
		return err_set(e, EPROTO, "malformed message from the container's process");
	}
	if (m->type == NS_MSG_ERROR) {
		cleanup_close(&fd);
		return err_set(e, m->code && m->code > -4096 && m->code < 4096 ? m->code : EIO, "%s", m->text);
	}
	if (ret_fd)
		*ret_fd = fd;
	else
		cleanup_close(&fd);
	return 0;
}

int ns_expect(int channel, enum ns_msg type, struct err *e) {
	struct ns_message m;
	int r = ns_recv(channel, &m, NULL, e);
	if (r == 0 && m.type != type)
		return err_set(e, EPROTO, "unexpected message %u from the container's process", m.type);
	return r;
}

/* /proc/self/fd/N/name: the state directory's path may be longer than sun_path. */
static int socket_address(int dirfd, const char *name, struct sockaddr_un *a, struct err *e) {
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int n = snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/%s", dirfd, name);
	return n >= (int)sizeof(a->sun_path) ? err_set(e, ENAMETOOLONG, "socket name %s", name) : 0;
}

int ns_listen(int dirfd, const char *name, struct err *e) {
	struct sockaddr_un a;
	int r = socket_address(dirfd, name, &a, e);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 1) < 0)
		return err_sys(e, errno, "start socket %s", name);
	return TAKE_FD(fd);
}

int ns_connect(int dirfd, const char *name, struct err *e) {
	struct sockaddr_un a;
	int r = socket_address(dirfd, name, &a, e);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return errno == ENOENT ? err_set(e, ENOENT, "the process was started already or is gone") : err_sys(e, errno, "connect to the container's process");
	return TAKE_FD(fd);
}

int ns_wait_start(int *channel, int listener, struct ns_handover *ret, struct err *e) {
	for (;;) {
		if (listener >= 0) {
			int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
			if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
				continue;
			if (fd < 0)
				return err_sys(e, errno, "wait for start");
			if (*channel >= 0)
				close(*channel);
			*channel = fd;
		}
		struct ns_message m;
		int shared = -EBADF;
		int r = ns_recv(*channel, &m, &shared, e);
		if (r == 0 && m.type == NS_MSG_GO)
			return shared >= 0 ? ns_handover_map(shared, ret, e) : 0;
		cleanup_close(&shared);
		/* A starter that died before it said go: the next one may come. Without a listener nobody else can. */
		if (listener < 0)
			return r < 0 ? r : err_set(e, EPROTO, "unexpected message");
		err_clear(e);
	}
}
