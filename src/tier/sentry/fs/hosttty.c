/* ioctls of a host terminal: attributes and size go to the host, job control stays in the sentry. */
#include "tier/sentry/fs/hosttty.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <asm/termbits.h>

#include "tier/sentry/task/task.h"

static long get(struct task *t, int fd, unsigned cmd, uint64_t arg, void *buf, size_t n)
{
	if (ioctl(fd, cmd, buf) < 0)
		return -errno;
	return copyout(t, arg, buf, n);
}

static long set(struct task *t, int fd, unsigned cmd, uint64_t arg, void *buf, size_t n)
{
	if (copyin(t, buf, arg, n) < 0)
		return -EFAULT;
	return ioctl(fd, cmd, buf) < 0 ? -errno : 0;
}

long hosttty_ioctl(struct task *t, struct file *f, unsigned cmd, uint64_t arg)
{
	struct termios tio;
	struct termios2 tio2;
	struct winsize ws;
	int n;
	switch (cmd) {
	case TCGETS: return get(t, f->host_fd, cmd, arg, &tio, sizeof(tio));
	case TCSETS: case TCSETSW: case TCSETSF: return set(t, f->host_fd, cmd, arg, &tio, sizeof(tio));
	case TCGETS2: return get(t, f->host_fd, cmd, arg, &tio2, sizeof(tio2));
	case TCSETS2: case TCSETSW2: case TCSETSF2: return set(t, f->host_fd, cmd, arg, &tio2, sizeof(tio2));
	case TIOCGWINSZ: return get(t, f->host_fd, cmd, arg, &ws, sizeof(ws));
	case TIOCSWINSZ: return set(t, f->host_fd, cmd, arg, &ws, sizeof(ws));
	case FIONREAD: case TIOCOUTQ: return get(t, f->host_fd, cmd, arg, &n, sizeof(n));
	case TCFLSH: case TCXONC: case TCSBRK: return ioctl(f->host_fd, cmd, arg) < 0 ? -errno : 0;
	default: return hosttty_job(t, cmd, arg);
	}
}
