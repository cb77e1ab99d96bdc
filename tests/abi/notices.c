/* What files tell: SIGIO with owners, leases and their breaking, directory notification, inotify of a directory's files, seals against mappings. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)

static volatile sig_atomic_t got, got_code, got_fd, got_band;
static void on(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	got = sig;
	got_code = si->si_code;
	got_fd = si->si_fd;
	got_band = (int)si->si_band;
}
static void saw(const char *what, int fd)
{
	for (int i = 0; i < 200 && !got; i++)
		usleep(5000);
	printf("%s: signal %d code %d fd %d band %x\n", what, got, got_code, got_code == SI_KERNEL ? 0 : got_fd == fd, got_code == SI_KERNEL ? 0 : got_band);
	got = got_code = 0;
}

static void sigio(void)
{
	int p[2], sv[2], v = 1;
	struct f_owner_ex ex = { F_OWNER_TID, (int)syscall(SYS_gettid) }, back;
	pipe(p);
	SHOW(fcntl(p[0], F_GETOWN));
	SHOW(fcntl(p[0], F_SETOWN, getpid()));
	SHOW(fcntl(p[0], F_GETOWN) == getpid());
	SHOW(fcntl(p[0], F_SETFL, O_ASYNC));
	SHOW(fcntl(p[0], F_GETFL));
	write(p[1], "x", 1);
	saw("pipe", p[0]);
	SHOW(fcntl(p[0], F_SETSIG, SIGRTMIN + 2));
	SHOW(fcntl(p[0], F_GETSIG) == SIGRTMIN + 2);
	write(p[1], "x", 1);
	saw("pipe, own signal", p[0]);
	SHOW(fcntl(p[0], F_SETOWN_EX, &ex));
	SHOW(fcntl(p[0], F_GETOWN_EX, &back));
	printf("%d %d\n", back.type, back.pid == ex.pid);
	write(p[1], "x", 1);
	saw("pipe, thread", p[0]);
	SHOW(fcntl(p[0], F_SETOWN, -getpgrp()));
	SHOW(fcntl(p[0], F_GETOWN_EX, &back));
	printf("%d\n", back.type);
	SHOW(fcntl(p[0], F_SETFL, 0));
	write(p[1], "x", 1);
	usleep(20000);
	printf("off: %d\n", got);
	SHOW(fcntl(p[0], F_SETOWN, 0));
	SHOW(fcntl(p[0], F_SETOWN, 999999));
	SHOW(fcntl(p[0], F_SETSIG, 65));
	socketpair(AF_UNIX, SOCK_STREAM, 0, sv);
	fcntl(sv[0], F_SETOWN, getpid());
	SHOW(ioctl(sv[0], FIOASYNC, &v));
	write(sv[1], "x", 1);
	saw("socket", sv[0]);
}

static void leases(void)
{
	int fd = open("/tmp/notices.f", O_CREAT | O_RDWR, 0666), ro = open("/tmp/notices.f", O_RDONLY);
	SHOW(fcntl(ro, F_GETLEASE) == F_UNLCK);
	SHOW(fcntl(ro, F_SETLEASE, F_RDLCK));
	SHOW(fcntl(fd, F_SETLEASE, F_WRLCK));
	SHOW(fcntl(ro, F_SETLEASE, F_UNLCK));
	SHOW(fcntl(ro, F_SETLEASE, 7));
	close(ro);
	SHOW(fcntl(fd, F_SETLEASE, F_WRLCK));
	SHOW(fcntl(fd, F_GETLEASE) == F_WRLCK);
	SHOW(open("/tmp/notices.f", O_RDONLY | O_NONBLOCK));
	saw("lease", fd);
	SHOW(fcntl(fd, F_GETLEASE) == F_RDLCK);
	fflush(stdout);
	if (fork() == 0) {
		usleep(100000);
		_exit(open("/tmp/notices.f", O_RDONLY) < 0);
	}
	SHOW(fcntl(fd, F_SETLEASE, F_UNLCK));
	int st;
	wait(&st);
	printf("opener %d\n", WEXITSTATUS(st));
	close(fd);
	fd = open("/tmp/notices.f", O_RDONLY);
	SHOW(fcntl(fd, F_SETLEASE, F_RDLCK));
	SHOW(fcntl(fd, F_SETSIG, SIGRTMIN));
	fflush(stdout);
	pid_t c = fork();
	if (c == 0) {
		close(fd);
		_exit(open("/tmp/notices.f", O_WRONLY) < 0);
	}
	saw("read lease", fd);
	SHOW(fcntl(fd, F_GETLEASE) == F_UNLCK);
	SHOW(fcntl(fd, F_SETLEASE, F_UNLCK));
	waitpid(c, &st, 0);
	printf("writer %d\n", WEXITSTATUS(st));
	SHOW(fcntl(0, F_SETLEASE, F_RDLCK));
	unlink("/tmp/notices.f");
}

static void directories(void)
{
	mkdir("/tmp/notices.d", 0755);
	int d = open("/tmp/notices.d", O_RDONLY);
	SHOW(fcntl(d, F_SETSIG, SIGRTMIN + 1));
	SHOW(fcntl(d, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
	close(open("/tmp/notices.d/a", O_CREAT | O_WRONLY, 0644));
	saw("create", d);
	SHOW(fcntl(d, F_NOTIFY, DN_MULTISHOT));
	close(open("/tmp/notices.d/b", O_CREAT | O_WRONLY, 0644));
	usleep(20000);
	printf("off: %d\n", got);
	SHOW(fcntl(d, F_NOTIFY, DN_DELETE));
	unlink("/tmp/notices.d/b");
	saw("delete", d);
	SHOW(fcntl(0, F_NOTIFY, DN_DELETE));
	close(d);
}

static void watches(void)
{
	char buf[4096] __attribute__((aligned(8)));
	int in = inotify_init1(IN_NONBLOCK);
	SHOW(inotify_add_watch(in, "/tmp/notices.d", IN_ALL_EVENTS) > 0);
	int fd = open("/tmp/notices.d/a", O_RDWR);
	write(fd, "x", 1);
	pread(fd, buf, 1, 0);
	ftruncate(fd, 0);
	fchmod(fd, 0600);
	close(fd);
	close(open("/tmp/notices.d/a", O_RDONLY));
	rename("/tmp/notices.d/a", "/tmp/notices.d/z");
	unlink("/tmp/notices.d/z");
	mkdir("/tmp/notices.d/sub", 0755);
	rmdir("/tmp/notices.d/sub");
	rmdir("/tmp/notices.d");
	ssize_t n = read(in, buf, sizeof(buf));
	for (char *p = buf; p < buf + n;) {
		struct inotify_event *e = (struct inotify_event *)p;
		printf("%x %s\n", e->mask, e->len ? e->name : "");
		p += sizeof(*e) + e->len;
	}
}

static void sealed(void)
{
	int fd = memfd_create("s", MFD_ALLOW_SEALING);
	ftruncate(fd, 8192);
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	munmap(p, 8192);
	SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
	p = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
	SHOW(mprotect(p, 8192, PROT_READ | PROT_WRITE));
	SHOW(write(fd, "x", 1));
	SHOW(ftruncate(fd, 4096));
	SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL));
	SHOW(ftruncate(fd, 100));
	SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
	SHOW(fcntl(fd, F_GET_SEALS));
	SHOW(fcntl(0, F_GET_SEALS));
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on, .sa_flags = SA_SIGINFO | SA_RESTART };
	setpgid(0, 0);
	sigaction(SIGIO, &sa, NULL);
	for (int i = 0; i < 4; i++)
		sigaction(SIGRTMIN + i, &sa, NULL);
	sigio();
	leases();
	directories();
	watches();
	sealed();
	return 0;
}
