/* File server process. */
#include "tier/vm/fsd.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/vm/fuse/server.h"
#include "tier/vm/jail.h"

#define BIT(c) (1ULL << (c))
enum { FD_CHANNEL = 3, FD_SHARES = 4, MAX_FILES = 100000 };

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

static NORETURN void serve(struct fuse_server *s)
{
	static uint8_t in[FUSE_REQUEST_MAX];
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	for (;;) {
		uint32_t len;
		bool reply;
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

static NORETURN void child(const struct guest_shares *shares, int channel, pid_t parent)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct fuse_share v[FUSE_SHARES_MAX];
	sigset_t none;
	/* Away from the low numbers first: they may be in use by each other. */
	int high = fcntl(channel, F_DUPFD_CLOEXEC, 512), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (size_t i = 0; i < shares->n; i++)
		v[i] = (struct fuse_share){ fcntl(shares->v[i].fd, F_DUPFD_CLOEXEC, 600), shares->v[i].readonly };
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	dup2(high, FD_CHANNEL);
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

int fsd_start(const struct guest_shares *shares, int channel, pid_t *ret_pid, struct err *e)
{
	if (shares->n > FUSE_SHARES_MAX)
		return err_set(e, E2BIG, "more than %d bind mounts", FUSE_SHARES_MAX);
	struct clone_args a = { .flags = JAIL_CLONE_FLAGS, .exit_signal = SIGCHLD };
	pid_t parent = getpid(), pid = sys_clone3(&a);
	if (pid == 0)
		child(shares, channel, parent);
	if (pid < 0)
		return err_sys(e, errno, "start the file server");
	*ret_pid = pid;
	return 0;
}
