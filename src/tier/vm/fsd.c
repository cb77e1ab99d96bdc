/* File server process. */
#include "tier/vm/fsd.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/vm/fuse/server.h"
#include "tier/vm/jail.h"

#define BIT(c) (1ULL << (c))
enum { FD_CHANNEL = 3, FD_CONTROL, FD_SHARES, MAX_FILES = 100000, ANSWER_MS = 10000 };

/* What the monitor says on the control socket, one message each way. ADD carries descriptors, and says of each whether it is read-only; the numbers come back. */
enum order_kind { ORDER_ADD = 1, ORDER_DROP };
struct order { int32_t kind_or_status; uint32_t n; uint8_t bytes[FSD_BATCH]; };


/* What root in the guest may do to the shares' files, and nothing to the host: no device nodes, no mounts. */
static const uint64_t caps = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_SETUID) | BIT(CAP_SETGID);

static int wait_for(short events)
{
	struct pollfd p = { FD_CHANNEL, events, 0 };
	while (poll(&p, 1, -1) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* The channel is non-blocking, since the monitor made it so for itself. */
static int move(bool out, uint8_t *p, size_t n)
{
	while (n) {
		ssize_t k = out ? write(FD_CHANNEL, p, n) : read(FD_CHANNEL, p, n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN) {
			if (wait_for(out ? POLLOUT : POLLIN) < 0)
				return -EIO;
			continue;
		}
		if (k <= 0)
			return -ECONNRESET;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

static int recv_order(int sock, struct order *ret, int fds[FSD_BATCH], size_t *ret_n)
{
	union { struct cmsghdr h; char space[CMSG_SPACE(FSD_BATCH * sizeof(int))]; } cm;
	struct iovec iov = { ret, sizeof *ret };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cm, .msg_controllen = sizeof cm };
	ssize_t n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	*ret_n = 0;
	for (struct cmsghdr *h = n < 0 ? NULL : CMSG_FIRSTHDR(&mh); h; h = CMSG_NXTHDR(&mh, h))
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
			*ret_n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(fds, CMSG_DATA(h), *ret_n * sizeof(int));
		}
	return n == sizeof *ret && ret->n <= FSD_BATCH ? 0 : -EBADMSG;
}

static int send_order(int sock, const struct order *o, const int *fds, size_t n)
{
	union { struct cmsghdr h; char space[CMSG_SPACE(FSD_BATCH * sizeof(int))]; } cm;
	struct iovec iov = { (void *)(uintptr_t)o, sizeof *o };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (n) {
		memset(&cm, 0, sizeof cm);
		mh.msg_control = &cm;
		mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cm.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(n * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&cm.h), fds, n * sizeof(int));
	}
	return sendmsg(sock, &mh, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void obey(struct fuse_server *s)
{
	struct order o = { 0 }, answer = { 0 };
	int fds[FSD_BATCH];
	size_t n;
	if (recv_order(FD_CONTROL, &o, fds, &n) < 0)
		_exit(0); /* the monitor is gone */
	for (size_t i = 0; o.kind_or_status == ORDER_DROP && i < o.n; i++)
		fuse_server_drop(s, o.bytes[i]);
	for (size_t i = 0; i < n; i++) {
		struct fuse_share share = { fds[i], o.bytes[i] };
		int r = answer.kind_or_status < 0 ? -ECANCELED : fuse_server_add(s, &share);
		if (r >= 0)
			answer.bytes[answer.n++] = (uint8_t)r;
		else if (answer.kind_or_status >= 0)
			answer.kind_or_status = r;
		close(fds[i]);
	}
	for (size_t i = 0; answer.kind_or_status < 0 && i < answer.n; i++)
		fuse_server_drop(s, answer.bytes[i]);
	if (o.kind_or_status == ORDER_ADD)
		(void)!send_order(FD_CONTROL, &answer, NULL, 0);
}

static void wait_for_request(struct fuse_server *s)
{
	for (;;) {
		struct pollfd p[2] = { { FD_CHANNEL, POLLIN, 0 }, { FD_CONTROL, POLLIN, 0 } };
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		if (p[1].revents)
			obey(s);
		if (p[0].revents)
			return;
	}
}

static NORETURN void serve(struct fuse_server *s)
{
	static uint8_t in[FUSE_REQUEST_MAX];
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	for (;;) {
		uint32_t len;
		bool reply;
		wait_for_request(s);
		if (move(false, in, sizeof len) < 0)
			_exit(0);
		memcpy(&len, in, sizeof len);
		if (len < sizeof len || len > sizeof in || move(false, in + sizeof len, len - sizeof len) < 0)
			_exit(1); /* a guest that talks nonsense loses its shares, nothing else */
		strbuf_clear(&out);
		if (fuse_server_handle(s, in, len, &out, &reply) < 0)
			_exit(1);
		if (reply && move(true, (uint8_t *)out.s, out.len) < 0)
			_exit(0);
	}
}

static NORETURN void child(const struct guest_shares *shares, int channel, int control, pid_t parent)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct fuse_share v[FUSE_SHARES_MAX];
	sigset_t none;
	/* Away from the low numbers first: they may be in use by each other. */
	int high = fcntl(channel, F_DUPFD_CLOEXEC, 512), control_high = fcntl(control, F_DUPFD_CLOEXEC, 512), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (size_t i = 0; i < shares->n; i++)
		v[i] = (struct fuse_share){ fcntl(shares->v[i].fd, F_DUPFD_CLOEXEC, 600), shares->v[i].readonly };
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	dup2(high, FD_CHANNEL);
	dup2(control_high, FD_CONTROL);
	for (int fd = FD_SHARES; fd < 600; fd++)
		close(fd);
	for (size_t i = 0; i < shares->n; i++) {
		int fd = fcntl(v[i].fd, F_DUPFD_CLOEXEC, FD_SHARES);
		close(v[i].fd);
		v[i].fd = fd;
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	setsid();
	umask(0);
	struct jail j = { .proc = true, .keep_caps = caps, .may_write_files = true, .max_files = MAX_FILES };
	if (jail_enter(&j, &e) < 0)
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent && getppid() != 0)
		_exit(1);
	struct fuse_server *s = fuse_server_new(v, shares->n);
	if (!s)
		_exit(1);
	serve(s);
}

int fsd_start(const struct guest_shares *shares, int channel, pid_t *ret_pid, int *ret_control, struct err *e)
{
	int pair[2];
	if (shares->n > FUSE_SHARES_MAX)
		return err_set(e, E2BIG, "more than %d bind mounts", FUSE_SHARES_MAX);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "socketpair");
	struct clone_args a = { .flags = JAIL_CLONE_FLAGS, .exit_signal = SIGCHLD };
	pid_t parent = getpid(), pid = sys_clone3(&a);
	if (pid == 0)
		child(shares, channel, pair[1], parent);
	int saved = errno;
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return err_sys(e, saved, "start the file server");
	}
	*ret_control = pair[0];
	*ret_pid = pid;
	return 0;
}

int fsd_add(int control, const struct guest_share *v, size_t n, uint8_t *ret_numbers, struct err *e)
{
	struct order o = { .kind_or_status = ORDER_ADD, .n = (uint32_t)n }, answer = { 0 };
	int fds[FSD_BATCH], none[FSD_BATCH];
	size_t k;
	if (n > FSD_BATCH)
		return err_set(e, E2BIG, "more than %d bind mounts", FSD_BATCH);
	for (size_t i = 0; i < n; i++) {
		fds[i] = v[i].fd;
		o.bytes[i] = v[i].readonly;
	}
	struct pollfd p = { control, POLLIN, 0 };
	int r = send_order(control, &o, fds, n);
	if (r >= 0 && poll(&p, 1, ANSWER_MS) != 1)
		r = -ETIMEDOUT;
	if (r >= 0 && (r = recv_order(control, &answer, none, &k)) >= 0)
		r = answer.kind_or_status < 0 ? answer.kind_or_status : answer.n != n ? -EBADMSG : 0;
	if (r < 0)
		return err_sys(e, r, "share directories with the machine");
	memcpy(ret_numbers, answer.bytes, n);
	return 0;
}

void fsd_drop(int control, const uint8_t *numbers, size_t n)
{
	struct order o = { .kind_or_status = ORDER_DROP, .n = (uint32_t)MIN(n, (size_t)FSD_BATCH) };
	memcpy(o.bytes, numbers, o.n);
	(void)!send_order(control, &o, NULL, 0); /* a server that is gone has dropped them */
}
