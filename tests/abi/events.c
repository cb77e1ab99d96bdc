/* epoll, eventfd, timerfd, signalfd, poll, select. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void show(int ep, const char *what)
{
	struct epoll_event ev[8];
	int n = epoll_wait(ep, ev, 8, 50);
	printf("%s: %d", what, n);
	for (int i = 0; i < n; i++)
		printf(" [%x %d]", ev[i].events, (int)ev[i].data.u32);
	printf("\n");
}

int main(void)
{
	int p[2], ep = epoll_create1(0), ef = eventfd(0, EFD_NONBLOCK);
	uint64_t v = 3;
	char buf[128];
	setvbuf(stdout, NULL, _IONBF, 0);
	if (pipe(p))
		return 1;
	struct epoll_event ev = { EPOLLIN, { .u32 = 1 } };
	printf("add %d\n", epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev));
	printf("again %d %s\n", epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev), strerror(errno));
	printf("itself %d %s\n", epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev), strerror(errno));
	printf("del other %d %s\n", epoll_ctl(ep, EPOLL_CTL_DEL, p[1], &ev), strerror(errno));
	show(ep, "nothing");
	printf("w %zd\n", write(p[1], "abc", 3));
	show(ep, "level");
	show(ep, "level again");
	ev.events = EPOLLIN | EPOLLET;
	epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev);
	show(ep, "edge");
	show(ep, "edge again");
	printf("w %zd\n", write(p[1], "d", 1));
	show(ep, "edge after write");
	ev.events = EPOLLIN | EPOLLONESHOT;
	epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev);
	show(ep, "oneshot");
	printf("w %zd\n", write(p[1], "e", 1));
	show(ep, "oneshot again");
	printf("r %zd\n", read(p[0], buf, 100));
	ev.events = EPOLLIN | EPOLLOUT;
	ev.data.u32 = 2;
	epoll_ctl(ep, EPOLL_CTL_ADD, ef, &ev);
	show(ep, "eventfd");
	printf("w %zd\n", write(ef, &v, 8));
	show(ep, "eventfd full");
	printf("r %zd %d\n", read(ef, &v, 8), (int)v);
	printf("r %zd %s\n", read(ef, &v, 8), strerror(errno));
	v = UINT64_MAX;
	printf("w max %zd %s\n", write(ef, &v, 8), strerror(errno));
	close(ef);
	show(ep, "closed");
	int tf = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec it = { { 0, 5000000 }, { 0, 5000000 } };
	timerfd_settime(tf, 0, &it, NULL);
	printf("timer %zd %d\n", read(tf, &v, 8), v >= 1);
	struct pollfd pf[3] = { { tf, POLLIN, 0 }, { p[1], POLLOUT, 0 }, { 77, POLLIN, 0 } };
	usleep(20000);
	printf("poll %d %x %x %x\n", poll(pf, 3, 1000), pf[0].revents, pf[1].revents, pf[2].revents);
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigprocmask(SIG_BLOCK, &s, NULL);
	int sf = signalfd(-1, &s, 0);
	ev.events = EPOLLIN;
	ev.data.u32 = 3;
	epoll_ctl(ep, EPOLL_CTL_ADD, sf, &ev);
	if (!fork()) {
		usleep(20000);
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	struct signalfd_siginfo si;
	ssize_t got = read(sf, &si, sizeof(si));
	printf("signalfd %zd %d %d\n", got, (int)si.ssi_signo, si.ssi_code);
	wait(NULL);
	kill(getpid(), SIGUSR1);
	show(ep, "signalfd");
	fd_set rd, wr;
	FD_ZERO(&rd);
	FD_ZERO(&wr);
	FD_SET(p[0], &rd);
	FD_SET(p[1], &wr);
	struct timeval tv = { 1, 0 };
	printf("select %d", select(p[1] + 1, &rd, &wr, NULL, &tv));
	printf(" %d %d\n", !!FD_ISSET(p[0], &rd), !!FD_ISSET(p[1], &wr));
	close(p[1]);
	pf[0].fd = p[0];
	printf("hup %d", poll(pf, 1, 1000));
	printf(" %x\n", pf[0].revents);
	return 0;
}
