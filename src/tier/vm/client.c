/* The runtime's end of the monitor's socket. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/fd.h"
#include "tier/vm/call.h"
#include "tier/vm/control.h"
#include "tier/vm/fsd.h"
#include "tier/vm/monitor.h"

enum { CALL_MS = 60000 };

/* Through /proc/self/fd: a state directory's path may be longer than a socket address takes. */
static void address(int state_fd, struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(a->sun_path, sizeof a->sun_path, "/proc/self/fd/%d/" MONITOR_SOCKET, state_fd);
}

int control_listen(int state_fd, struct err *e)
{
	struct sockaddr_un a;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	address(state_fd, &a);
	unlinkat(state_fd, MONITOR_SOCKET, 0);
	mode_t old = umask(0177);
	int r = bind(fd, (struct sockaddr *)&a, sizeof a);
	umask(old);
	if (r < 0 || listen(fd, 64) < 0)
		return err_sys(e, errno, "listen on " MONITOR_SOCKET);
	return TAKE_FD(fd);
}

int control_connect(int state_fd, struct err *e)
{
	struct sockaddr_un a;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	address(state_fd, &a);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		return err_sys(e, errno, "the container's machine");
	return TAKE_FD(fd);
}

int control_call(int state_fd, const char *method, const struct pb_desc *d, const void *msg, const struct pb_desc *reply_desc, void *reply, struct arena *a,
	struct strbuf *keep, struct err *e)
{
	_cleanup_close_ int fd = control_connect(state_fd, e);
	struct chan c = CHAN_INIT;
	if (fd < 0)
		return fd;
	c.fd = fd;
	int r = agent_call(&c, 1, method, d, msg, reply_desc, reply, a, CALL_MS, e);
	if (keep) { /* bytes of the reply point into it */
		*keep = c.in;
		c.in = (struct strbuf)STRBUF_INIT;
	}
	chan_clear(&c);
	return r;
}

PB_DESC(control_shares_desc, control_shares, PB_F(1, PB_BYTES, struct control_shares, readonly), PB_F(2, PB_BOOL, struct control_shares, keep));
PB_DESC(control_numbers_desc, control_numbers, PB_F(1, PB_BYTES, struct control_numbers, numbers));

int control_send(int fd, uint32_t stream, const char *method, const struct pb_desc *d, const void *msg, const int *fds, size_t n, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	union { struct cmsghdr h; char space[CMSG_SPACE(FSD_BATCH * sizeof(int))]; } cm;
	int r = ttrpc_put_request(&b, stream, 0, MONITOR_SERVICE, method, d, msg);
	if (r < 0 || n > FSD_BATCH)
		return err_sys(e, r < 0 ? r : -E2BIG, "%s request", method);
	struct iovec iov = { b.s, 1 };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = n ? &cm : NULL, .msg_controllen = n ? CMSG_SPACE(n * sizeof(int)) : 0 };
	memset(&cm, 0, sizeof cm);
	cm.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(n * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	if (n)
		memcpy(CMSG_DATA(&cm.h), fds, n * sizeof(int));
	if (sendmsg(fd, &mh, MSG_NOSIGNAL) != 1)
		return err_sys(e, errno, "%s request", method);
	r = fd_write_all(fd, b.s + 1, b.len - 1);
	return r < 0 ? err_sys(e, r, "%s request", method) : 0;
}

void vm_oom_write(int state_fd, uint64_t n)
{
	char b[32];
	int k = snprintf(b, sizeof b, "%llu\n", (unsigned long long)n);
	(void)!file_replace_at(state_fd, MONITOR_OOM, b, (size_t)k, 0600, false); /* a directory that is gone has no container */
}
