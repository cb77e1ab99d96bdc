/* Small files and sockets around a container: pid file, console and pidfd sockets. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "sys/fd.h"

/* Address of a socket path of any length: long ones go through the directory's fd (sun_path holds 108 bytes, unix(7)). */
int unix_address(const char *path, struct sockaddr_un *sa, int *ret_dir, struct err *e) {
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*ret_dir = -EBADF;
	if (strlen(path) < sizeof(sa->sun_path)) {
		memcpy(sa->sun_path, path, strlen(path) + 1);
		return 0;
	}
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	_cleanup_free_ char *dir = slash ? strndup(path, (size_t)(slash - path) + (slash == path)) : strdup(".");
	if (!dir)
		return err_set(e, ENOMEM, "out of memory");
	_cleanup_close_ int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open %s", dir);
	int n = snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/%s", fd, base);
	if ((size_t)n >= sizeof(sa->sun_path))
		return err_set(e, ENAMETOOLONG, "socket name \"%s\" is too long", base);
	*ret_dir = TAKE_FD(fd);
	return 0;
}

int unix_connect(const char *path, struct err *e) {
	struct sockaddr_un sa;
	_cleanup_close_ int dir = -EBADF;
	int r = unix_address(path, &sa, &dir, e);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	while (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "dial unix %s: connect", path);
	return TAKE_FD(fd);
}

int unix_send_fd(int sock, int fd, const char *payload, struct err *e) {
	union { struct cmsghdr h; char b[CMSG_SPACE(sizeof(int))]; } control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)payload, strlen(payload) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fd, sizeof(fd));
	ssize_t n;
	do
		n = sendmsg(sock, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_sys(e, errno, "send a file descriptor") : 0;
}

int pid_file_write(const char *path, pid_t pid, struct err *e) {
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid);
	_cleanup_free_ char *copy = strdup(path), *copy2 = strdup(path);
	if (!copy || !copy2)
		return err_set(e, ENOMEM, "out of memory");
	_cleanup_close_ int dir = open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "write pid file: open %s", path);
	int r = file_replace_at(dir, basename(copy2), text, (size_t)n, 0644, 0);
	return r < 0 ? err_sys(e, r, "write pid file %s", path) : 0;
}

/* Before the program runs: the terminal that it gets is as large as the one it is shown on. */
void terminal_size_from_stdin(struct oci_process *p) {
	struct winsize w;
	if (!p->terminal || ioctl(0, TIOCGWINSZ, &w) < 0 || !w.ws_row || !w.ws_col)
		return;
	p->console_height = (struct opt_u64){ true, w.ws_row };
	p->console_width = (struct opt_u64){ true, w.ws_col };
}

/* What the caller was pinned to is no business of the container; its cpuset alone counts (the kernel cuts the mask to it). */
void forget_affinity(void) {
	cpu_set_t all;
	memset(&all, 0xff, sizeof(all));
	(void)sched_setaffinity(0, sizeof(all), &all);
}
