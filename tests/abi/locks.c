/* flock, POSIX and OFD record locks, and extended attributes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)

static int lk(int fd, int cmd, int type, long start, long len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	int r = fcntl(fd, cmd, &l);
	if (r == 0 && (cmd == F_GETLK || cmd == F_OFD_GETLK))
		printf("  type %d start %ld len %ld pid %s\n", l.l_type, (long)l.l_start, (long)l.l_len, l.l_pid == -1 ? "-1" : l.l_pid ? "some" : "0");
	return r;
}

static void in_child(int fd)
{
	fflush(stdout);
	if (fork() == 0) {
		SHOW(lk(fd, F_GETLK, F_WRLCK, 0, 0));
		SHOW(lk(fd, F_SETLK, F_WRLCK, 5, 1));
		SHOW(lk(fd, F_SETLK, F_RDLCK, 30, 1));
		SHOW(lk(fd, F_SETLK, F_WRLCK, 100, 10));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

int main(void)
{
	char path[] = "/tmp/abi-locksXXXXXX";
	int fd = mkstemp(path), fd2 = open(path, O_RDWR);
	SHOW(flock(fd, LOCK_SH));
	SHOW(flock(fd2, LOCK_SH | LOCK_NB));
	SHOW(flock(fd2, LOCK_EX | LOCK_NB));
	SHOW(flock(fd, LOCK_UN));
	SHOW(flock(fd2, LOCK_EX | LOCK_NB));
	SHOW(flock(fd, LOCK_EX | LOCK_NB));
	SHOW(flock(fd, 77));
	close(fd2);
	SHOW(flock(fd, LOCK_EX | LOCK_NB));
	SHOW(flock(-1, LOCK_EX));

	SHOW(lk(fd, F_SETLK, F_WRLCK, 0, 10));
	SHOW(lk(fd, F_SETLK, F_RDLCK, 20, 20));
	SHOW(lk(fd, F_SETLK, F_UNLCK, 3, 4));
	SHOW(lk(fd, F_SETLK, F_WRLCK, -1, 1));
	SHOW(lk(fd, F_SETLK, 9, 0, 1));
	in_child(fd);
	int other = open(path, O_RDONLY);
	SHOW(lk(other, F_SETLK, F_WRLCK, 0, 1));
	close(other); /* drops all of the process's locks on the file */
	in_child(fd);
	SHOW(lk(fd, F_OFD_SETLK, F_WRLCK, 0, 0));
	fd2 = open(path, O_RDWR);
	SHOW(lk(fd2, F_OFD_SETLK, F_RDLCK, 7, 1));
	SHOW(lk(fd2, F_OFD_GETLK, F_RDLCK, 7, 1));
	SHOW(lk(fd, F_OFD_SETLK, F_UNLCK, 0, 0));
	SHOW(lk(fd2, F_OFD_SETLK, F_RDLCK, 7, 1));

	/* two processes that wait for each other */
	int p[2];
	char c;
	pipe(p);
	SHOW(lk(fd, F_SETLK, F_WRLCK, 200, 1));
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		lk(fd, F_SETLK, F_WRLCK, 201, 1);
		write(p[1], "x", 1);
		lk(fd, F_SETLKW, F_WRLCK, 200, 1);
		_exit(0);
	}
	read(p[0], &c, 1);
	usleep(200000);
	SHOW(lk(fd, F_SETLKW, F_WRLCK, 201, 1));
	SHOW(lk(fd, F_SETLK, F_UNLCK, 200, 1));
	waitpid(child, NULL, 0);

	char v[64];
	SHOW(fsetxattr(fd, "user.a", "hello", 5, 0));
	SHOW(fsetxattr(fd, "user.a", "x", 1, XATTR_CREATE));
	SHOW(fsetxattr(fd, "user.b", "x", 1, XATTR_REPLACE));
	SHOW(fgetxattr(fd, "user.a", v, sizeof(v)));
	SHOW(fgetxattr(fd, "user.a", v, 2));
	SHOW(fgetxattr(fd, "user.a", NULL, 0));
	SHOW(fgetxattr(fd, "user.none", v, sizeof(v)));
	SHOW(getxattr(path, "", v, sizeof(v)));
	SHOW(getxattr("/nonexistent", "user.a", v, sizeof(v)));
	SHOW(fsetxattr(fd, "user.c", NULL, 0, 0));
	SHOW(fremovexattr(fd, "user.a"));
	SHOW(fremovexattr(fd, "user.a"));
	SHOW(setxattr(path, "odd.name", "x", 1, 0));
	SHOW(setxattr(path, "user.x", "x", 1, 77));
	unlink(path);
	return 0;
}
