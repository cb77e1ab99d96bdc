/* A walk past everything that a rule of the filters is for. Prints what it sees; without a rule that it needs it prints something else, or nothing. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SEE(x) printf("%s: %ld\n", #x, (long)(x))
#define ERR(x) ((x) < 0 ? -errno : 0)

static volatile int caught;
static void on(int s) { caught = s; }
static void *thread(void *p) { return (char *)p + 1; }
static void *nap(void *p) { usleep(20000); return p; }

static void files(void)
{
	char buf[256] = { 0 };
	struct stat st;
	struct statfs sf;
	mkdir("/t", 0700);
	int fd = open("/t/f", O_CREAT | O_RDWR | O_APPEND, 0640);
	SEE(write(fd, "0123456789", 10));
	SEE(pread(fd, buf, 4, 3));
	SEE(ERR(fchmod(fd, 0604)));
	SEE(ERR(fchown(fd, 7, 8)));
	SEE(ERR(fsync(fd)));
	SEE(ERR(ftruncate(fd, 100000)));
	SEE(ERR(fallocate(fd, 0, 0, 200000)));
	SEE(lseek(fd, 0, SEEK_END));
	SEE(ERR(fcntl(fd, F_SETFL, 0)));
	SEE(pwrite(fd, "ab", 2, 1));
	SEE(ERR(fsetxattr(fd, "user.a", "v", 1, 0)));
	SEE(fgetxattr(fd, "user.a", buf, 10));
	SEE(flistxattr(fd, buf, 100) > 0);
	SEE(ERR(fremovexattr(fd, "user.a")));
	SEE(ERR(link("/t/f", "/t/l")));
	SEE(ERR(symlink("f", "/t/s")));
	SEE(readlink("/t/s", buf, 10));
	SEE(ERR(rename("/t/l", "/t/m")));
	SEE(ERR(mknod("/t/p", S_IFIFO | 0600, 0)));
	SEE(ERR(utimensat(AT_FDCWD, "/t/f", (struct timespec[]){ { 5, 0 }, { 6, 0 } }, 0)));
	SEE(stat("/t/f", &st) == 0 ? st.st_mtime + st.st_mode + st.st_uid : -1);
	SEE(ERR(fstatfs(fd, &sf)));
	int d = open("/t", O_RDONLY | O_DIRECTORY), n = 0;
	long k;
	while ((k = syscall(217, d, buf, sizeof(buf))) > 0)
		n += (int)k;
	SEE(n > 50);
	char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	SEE(m != MAP_FAILED && m[1] == 'a');
	SEE(unlink("/t/f") | unlink("/t/m") | unlink("/t/s") | unlink("/t/p") | rmdir("/t"));
	int mf = memfd_create("x", 0);
	SEE(ERR(ftruncate(mf, 1 << 20)));
	m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, mf, 0);
	SEE(m != MAP_FAILED && (m[5] = 3));
	SEE(getrandom(buf, 16, 0));
	SEE(ERR(ioctl(0, TCGETS, buf)) == -ENOTTY);
}

static void *later(void *p)
{
	usleep(50000);
	return (void *)send(*(int *)p, "later", 5, 0);
}

static void sockets(int family, void *addr, socklen_t len)
{
	struct sockaddr_in6 a;
	socklen_t n = sizeof(a);
	int one = 1, s = socket(family, SOCK_STREAM, 0), c = socket(family, SOCK_STREAM, 0);
	char b[8];
	SEE(s >= 0);
	SEE(ERR(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one))));
	SEE(ERR(bind(s, addr, len)));
	SEE(ERR(listen(s, 4)));
	SEE(ERR(getsockname(s, (void *)&a, &n)));
	SEE(ERR(connect(c, (void *)&a, n)));
	int x = accept(s, NULL, NULL);
	SEE(x >= 0);
	n = sizeof(a);
	SEE(ERR(getpeername(x, (void *)&a, &n)));
	SEE(send(c, "hello", 5, 0));
	struct pollfd p = { x, POLLIN, 0 };
	SEE(poll(&p, 1, 5000));
	SEE(ioctl(x, FIONREAD, &one) == 0 && one == 5);
	SEE(recv(x, b, 8, 0));
	pthread_t th; /* a wait that somebody else ends */
	pthread_create(&th, NULL, later, &c);
	SEE(recv(x, b, 8, 0));
	pthread_join(th, NULL);
	n = sizeof(one);
	SEE(ERR(getsockopt(c, SOL_SOCKET, SO_ERROR, &one, &n)));
	SEE(ERR(shutdown(c, SHUT_WR)));
	SEE(recv(x, b, 8, 0));
	struct ifreq r = { .ifr_name = "lo" };
	SEE(ERR(ioctl(s, SIOCGIFFLAGS, &r)));
}

static void netlink(void)
{
	struct { struct nlmsghdr h; struct rtgenmsg g; } q = { { sizeof(q), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0 }, { AF_UNSPEC } };
	char buf[8192];
	int s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	SEE(s >= 0);
	SEE(send(s, &q, sizeof(q), 0) > 0);
	SEE(recv(s, buf, sizeof(buf), 0) > 0);
}

static void memory(void)
{
	static const int advice[] = { 4, 8, 14, 15, 10, 11, 3, 18, 19, 22, 23, 20, 21 };
	char *m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	m[0] = 1;
	for (unsigned i = 0; i < sizeof(advice) / sizeof(*advice); i++)
		printf("madvise %d: %d\n", advice[i], ERR(madvise(m, 4096, advice[i])));
	SEE(ERR(mprotect(m, 4096, PROT_READ)));
	SEE(mremap(m, 1 << 20, 2 << 20, MREMAP_MAYMOVE) != MAP_FAILED);
	SEE(ERR(munmap(m + 4096, 4096)));
	char *big = malloc(64 << 20);
	memset(big, 1, 64 << 20);
	SEE(big[1000]);
	free(big);
}

/* Much of everything: the sentry's own heaps grow, and its larger tables are reallocated. */
static void *hoard(void *p)
{
	long n = 0;
	while (n < 120 && eventfd(0, 0) >= 0)
		n++;
	return (void *)n;
}

static void plenty(void)
{
	pthread_t th[8];
	void *r;
	int n = 0, maps = 0;
	for (int i = 0; i < 8; i++)
		pthread_create(&th[i], NULL, hoard, NULL);
	for (int i = 0; i < 8; i++)
		pthread_join(th[i], &r), n += (int)(long)r;
	for (int i = 0; i < 5000; i++)
		maps += mmap(NULL, 4096, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
	SEE(n);
	SEE(maps);
}

static void processes(void)
{
	pthread_t th[8];
	void *r;
	int st = 0;
	for (int i = 0; i < 8; i++)
		pthread_create(&th[i], NULL, i % 2 ? nap : thread, (void *)41);
	pthread_join(th[0], &r);
	SEE(r);
	for (int i = 1; i < 8; i++)
		pthread_join(th[i], NULL);
	pid_t p = fork();
	if (!p)
		_exit(3);
	SEE(waitpid(p, &st, 0) == p);
	SEE(st);
	p = vfork();
	if (!p)
		_exit(4);
	SEE(waitpid(p, &st, 0) == p);
	SEE(st);
	p = fork();
	if (!p)
		for (;;)
			;
	SEE(ERR(kill(p, SIGTERM)));
	SEE(waitpid(p, &st, 0) == p);
	SEE(st);
	signal(SIGUSR1, on);
	raise(SIGUSR1);
	SEE(caught);
	int pp[2], e = epoll_create1(0);
	SEE(pipe(pp));
	struct epoll_event ev = { .events = EPOLLIN }, got;
	SEE(ERR(epoll_ctl(e, EPOLL_CTL_ADD, pp[0], &ev)));
	SEE(epoll_wait(e, &got, 1, 5));
	char c;
	SEE(read(0, &c, 1));
}

int main(void)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	setvbuf(stdout, NULL, _IOLBF, 0);
	files();
	memory();
	processes();
	sockets(AF_INET, &a4, sizeof(a4));
	sockets(AF_INET6, &a6, sizeof(a6));
	netlink();
	plenty();
	return 5;
}
