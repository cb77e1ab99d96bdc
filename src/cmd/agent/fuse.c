/* The host's directories: by virtio-fs where the machine has it, else a FUSE mount whose requests a process of its own carries between /dev/fuse and a
 * virtio-serial port. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "cmd/agent/agent.h"
#include "sys/fd.h"

enum { MESSAGE_MAX = (128 << 10) + 8192 };

/* One direction's buffer: whole messages in, bytes out, or the other way round. */
struct lane { uint8_t *buf; size_t n, at; };

/* A request of the kernel comes whole with one read(2), and goes as bytes to the port. */
static void to_host(struct lane *l, int fuse, int port, short fuse_events, short port_events)
{
	if (!l->n && fuse_events & POLLIN) {
		ssize_t n = read(fuse, l->buf, MESSAGE_MAX);
		if (n < 0 && errno == ENODEV)
			_exit(0); /* unmounted */
		l->n = n > 0 ? (size_t)n : 0;
		l->at = 0;
		port_events |= POLLOUT;
	}
	while (l->n && port_events & POLLOUT) {
		ssize_t n = write(port, l->buf + l->at, l->n - l->at);
		if (n <= 0)
			return;
		l->at += (size_t)n;
		if (l->at == l->n)
			l->n = 0;
	}
}

/* Replies come in pieces; the kernel wants each whole in one write(2). */
static void to_kernel(struct lane *l, int fuse, int port, short port_events)
{
	if (!(port_events & POLLIN))
		return;
	ssize_t n = read(port, l->buf + l->n, 2 * MESSAGE_MAX - l->n);
	if (n <= 0)
		return;
	l->n += (size_t)n;
	size_t at = 0;
	uint32_t len;
	while (l->n - at >= sizeof len) {
		memcpy(&len, l->buf + at, sizeof len);
		if (len < 16 || len > MESSAGE_MAX)
			_exit(1);
		if (l->n - at < len)
			break;
		(void)!write(fuse, l->buf + at, len); /* ENOENT: the request was interrupted meanwhile */
		at += len;
	}
	memmove(l->buf, l->buf + at, l->n - at);
	l->n -= at;
}

static NORETURN void carry(int fuse, int port)
{
	struct lane out = { malloc(MESSAGE_MAX), 0, 0 }, in = { malloc(2 * MESSAGE_MAX), 0, 0 };
	if (!out.buf || !in.buf)
		_exit(1);
	prctl(PR_SET_NAME, "tierce-shares");
	for (;;) {
		struct pollfd p[2] = { { fuse, (short)(out.n ? 0 : POLLIN), 0 }, { port, (short)(POLLIN | (out.n ? POLLOUT : 0)), 0 } };
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			_exit(1);
		if (p[0].revents & POLLERR)
			_exit(0);
		to_kernel(&in, fuse, port, p[1].revents);
		to_host(&out, fuse, port, p[0].revents, p[1].revents);
	}
}

/* Asked first: the kernel complains on the console about a tag that it does not find. */
static bool have_virtiofs(void)
{
	DIR *d = opendir("/sys/bus/virtio/drivers/virtiofs");
	bool found = false;
	for (struct dirent *ent; d && (ent = readdir(d));)
		found |= str_has_prefix(ent->d_name, "virtio");
	if (d)
		closedir(d);
	return found;
}

static int mount_port(struct err *e)
{
	char options[160];
	_cleanup_close_ int port = boot_port(AGENT_FUSE_PORT, O_RDWR | O_NONBLOCK), fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (port < 0 || fuse < 0)
		return err_sys(e, port < 0 ? port : errno, "shared directories: %s", port < 0 ? "port" : "/dev/fuse");
	snprintf(options, sizeof options, "fd=%d,rootmode=40755,user_id=0,group_id=0,default_permissions,allow_other", fuse);
	if (mount("tierce", AGENT_SHARES, "fuse", MS_NODEV, options) < 0)
		return err_sys(e, errno, "mount the shared directories");
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "shared directories");
	if (pid == 0) {
		cloexec_from(3);
		carry(fuse, port);
	}
	return 0;
}

int shares_mount(struct err *e)
{
	static bool done;
	if (done)
		return 0;
	if (mkdir(AGENT_SHARES, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "shared directories");
	int r;
	if (have_virtiofs())
		r = mount(AGENT_FS_TAG, AGENT_SHARES, "virtiofs", MS_NODEV, NULL) < 0 ? err_sys(e, errno, "mount the shared directories") : 0;
	else
		r = mount_port(e);
	done = r >= 0;
	return r;
}
