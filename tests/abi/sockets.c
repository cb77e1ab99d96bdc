/* Unix sockets and loopback TCP and UDP. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define T(expr) do { errno = 0; long r_ = (long)(expr); printf("%-50s %ld %s\n", #expr, r_ < 0 ? -1 : r_, r_ < 0 ? strerror(errno) : "-"); } while (0)

static void pass_fd(void)
{
	int sv[2], p[2];
	char c = 'x', buf[16] = "";
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) || pipe(p))
		return;
	union { struct cmsghdr h; char b[CMSG_SPACE(4)]; } u = { 0 };
	struct iovec iov = { &c, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };
	u.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(4), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&u.h), &p[1], 4);
	T(sendmsg(sv[0], &m, 0));
	memset(&u, 0, sizeof(u));
	T(recvmsg(sv[1], &m, 0));
	int fd;
	memcpy(&fd, CMSG_DATA(&u.h), 4);
	T(write(fd, "via fd", 6));
	T(read(p[0], buf, 16));
	printf("%s flags %x\n", buf, m.msg_flags);
	struct ucred uc;
	socklen_t l = sizeof(uc);
	T(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &uc, &l));
	printf("peer %d\n", uc.pid == getpid());
	close(sv[0]);
	T(read(sv[1], buf, 1));
	signal(SIGPIPE, SIG_IGN);
	T(write(sv[1], "x", 1));
}

static void *client(void *arg)
{
	struct sockaddr_in a = *(struct sockaddr_in *)arg;
	int s = socket(AF_INET, SOCK_STREAM, 0);
	char buf[100] = "";
	if (connect(s, (struct sockaddr *)&a, sizeof(a)))
		printf("connect %s\n", strerror(errno));
	if (write(s, "ping", 4) != 4)
		printf("short\n");
	ssize_t n = read(s, buf, sizeof(buf));
	snprintf(arg, 64, "client got %zd %s", n, buf);
	close(s);
	return NULL;
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	pass_fd();
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/tmp/abi.sock" };
	char buf[64] = "";
	unlink("/tmp/abi.sock");
	T(connect(c, (struct sockaddr *)&a, sizeof(a)));
	T(bind(l, (struct sockaddr *)&a, sizeof(a)));
	T(bind(c, (struct sockaddr *)&a, sizeof(a)));
	T(connect(c, (struct sockaddr *)&a, sizeof(a)));
	T(listen(l, 5));
	T(connect(c, (struct sockaddr *)&a, sizeof(a)));
	T(send(c, "before accept", 13, 0));
	int s = accept(l, NULL, NULL);
	T(read(s, buf, 64));
	printf("%s\n", buf);
	T(recv(s, buf, 1, MSG_DONTWAIT));
	T(shutdown(c, SHUT_WR));
	T(read(s, buf, 1));
	T(write(s, "back", 4));
	T(read(c, buf, 64));
	struct pollfd pf = { c, POLLIN | POLLRDHUP, 0 };
	close(s);
	T(poll(&pf, 1, 0));
	printf("%x\n", pf.revents);
	unlink("/tmp/abi.sock");
	int d[2];
	T(socketpair(AF_UNIX, SOCK_DGRAM, 0, d));
	T(write(d[0], "one", 3));
	T(write(d[0], "two", 3));
	T(read(d[1], buf, 1));
	T(read(d[1], buf, 64));
	T(socketpair(AF_INET, SOCK_STREAM, 0, d));
	T(socket(AF_UNIX, 77, 0));
	T(socket(999, SOCK_STREAM, 0));
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(in);
	int ts = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	T(setsockopt(ts, SOL_SOCKET, SO_REUSEADDR, &one, 4));
	T(setsockopt(ts, IPPROTO_TCP, TCP_NODELAY, &one, 4));
	T(bind(ts, (struct sockaddr *)&in, sizeof(in)));
	T(listen(ts, 5));
	T(getsockname(ts, (struct sockaddr *)&in, &n));
	pthread_t th;
	char shared[64];
	memcpy(shared, &in, sizeof(in));
	pthread_create(&th, NULL, client, shared);
	s = accept4(ts, NULL, NULL, SOCK_CLOEXEC);
	printf("cloexec %d\n", fcntl(s, F_GETFD));
	memset(buf, 0, sizeof(buf));
	T(read(s, buf, 64));
	printf("%s\n", buf);
	T(send(s, "pong", 4, 0));
	pthread_join(th, NULL);
	printf("%s\n", shared);
	T(read(s, buf, 64));
	close(s);
	fcntl(ts, F_SETFL, O_NONBLOCK);
	T(accept(ts, NULL, NULL));
	int u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET, SOCK_DGRAM, 0);
	in.sin_port = 0;
	T(bind(u, (struct sockaddr *)&in, sizeof(in)));
	getsockname(u, (struct sockaddr *)&in, &n);
	T(sendto(v, "datagram", 8, 0, (struct sockaddr *)&in, sizeof(in)));
	T(recvfrom(u, buf, 64, 0, (struct sockaddr *)&in, &n));
	printf("from loopback %d\n", in.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	T(recvfrom(u, buf, 64, MSG_DONTWAIT, NULL, NULL));
	T(getpeername(u, (struct sockaddr *)&in, &n));
	T(listen(0, 1));
	struct timeval tv = { 0, 20000 };
	T(setsockopt(u, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	T(recv(u, buf, 1, 0));
	return 0;
}
