/* The container's terminal: see rootfs.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>

#include "base/broken.h"
#include "confine/mount.h"
#include "confine/rootfs.h"
#include "sys/fd.h"
#include "sys/kernel.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif
enum { DEVPTS_MAGIC = 0x1cd1, DEVPTS_PTMX_INO = 2 }; /* fs/devpts/inode.c */

static bool on_devpts(int fd) {
	struct statfs fs;
	return fstatfs(fd, &fs) == 0 && fs.f_type == DEVPTS_MAGIC;
}

static int open_ptmx(int root, struct err *e) {
	struct stat st;
	/* O_PATH first: opening a hostile node must not have effects. */
	_cleanup_close_ int at = open_in_root(root, "dev/pts/ptmx", O_PATH, 0);
	if (at < 0)
		return err_sys(e, at, "open /dev/pts/ptmx (a terminal needs a devpts mount at /dev/pts)");
	if (fstat(at, &st) < 0)
		return err_sys(e, errno, "stat /dev/pts/ptmx");
	if (broken("console"))
		return open_in_root(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY, 0);
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(5, 2) || st.st_ino != DEVPTS_PTMX_INO || !on_devpts(at))
		return err_set(e, EPERM, "/dev/pts/ptmx of the container is not the multiplexer of a devpts");
	char link[32];
	struct stat got;
	int fd = open(fd_proc_path(at, link), O_RDWR | O_NOCTTY | O_CLOEXEC);
	/* A process of an outer pid namespace is not in the container's /proc: by name then, and compared. */
	if (fd < 0 && errno == ENOENT) {
		fd = open_in_root(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY, 0);
		if (fd < 0)
			return err_sys(e, fd, "open /dev/pts/ptmx");
		if (fstat(fd, &got) < 0 || got.st_dev != st.st_dev || got.st_ino != st.st_ino || got.st_rdev != st.st_rdev) {
			close(fd);
			return err_set(e, EPERM, "/dev/pts/ptmx of the container changed under us");
		}
	}
	return fd < 0 ? err_sys(e, errno, "open /dev/pts/ptmx") : fd;
}

int console_open(int root, int *ret_master, int *ret_slave, char ret_name[32], struct err *e) {
	_cleanup_close_ int master = open_ptmx(root, e);
	if (master < 0)
		return master;
	int unlock = 0;
	unsigned number;
	struct stat st;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0 || ioctl(master, TIOCGPTN, &number) < 0)
		return err_sys(e, errno, "unlock pty");
	/* The peer comes from the kernel, not from a path (CVE-2025-52565). */
	_cleanup_close_ int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(e, errno, "open pty peer");
	if (fstat(slave, &st) < 0 || !S_ISCHR(st.st_mode) || !on_devpts(slave))
		return err_set(e, EPERM, "pty peer is not on a devpts");
	snprintf(ret_name, 32, "/dev/pts/%u", number);
	*ret_master = TAKE_FD(master);
	*ret_slave = TAKE_FD(slave);
	return 0;
}

int console_bind(int root, int slave, struct err *e) {
	_cleanup_close_ int tree = sys_open_tree(slave, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (tree < 0)
		return err_sys(e, errno, "clone mount of pty");
	_cleanup_close_ int dest = mount_destination(root, "dev/console", false, true, e);
	if (dest < 0)
		return dest;
	/* The copy must still be what was opened (CVE-2025-52565). */
	struct stat a, b;
	if (fstat(tree, &a) < 0 || fstat(slave, &b) < 0 || a.st_ino != b.st_ino || a.st_dev != b.st_dev || a.st_rdev != b.st_rdev || !on_devpts(tree))
		return err_set(e, EPERM, "pty changed under us");
	int r = mount_attach(tree, dest, e);
	return r < 0 ? err_wrap(e, r, "bind pty to /dev/console") : 0;
}

int console_use(int slave, const struct oci_process *p, struct err *e) {
	if (p->console_height.set || p->console_width.set) {
		struct winsize ws = { .ws_row = (unsigned short)p->console_height.v, .ws_col = (unsigned short)p->console_width.v };
		if (ioctl(slave, TIOCSWINSZ, &ws) < 0)
			return err_sys(e, errno, "set console size");
	}
	/* Best effort in a user namespace where the id has no mapping. */
	if (fchown(slave, p->user.uid, (gid_t)-1) < 0 && errno != EINVAL && errno != EPERM)
		return err_sys(e, errno, "chown pty");
	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_sys(e, errno, "set controlling terminal");
	for (int i = 0; i < 3; i++)
		if (dup2(slave, i) < 0)
			return err_sys(e, errno, "dup pty");
	return 0;
}

int console_send(int socket, int master, const char *name, struct err *e) {
	union {
		struct cmsghdr h;
		char buf[CMSG_SPACE(sizeof(int))];
	} u = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)name, .iov_len = strlen(name) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof(u.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &master, sizeof(int));
	ssize_t n;
	do
		n = sendmsg(socket, &m, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_sys(e, errno, "send the terminal to the console socket") : 0;
}
