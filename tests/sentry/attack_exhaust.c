/* Storms and tables: what can be had is taken until the answer is an errno, then given back, and everything works as before. */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/msg.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "attack.h"

/* ---- storm --------------------------------------------------------------------------------------------------------------- */

static void tree(unsigned depth)
{
	char *av[] = { "attack", "true", NULL };
	for (int i = 0; i < 3; i++) {
		pid_t pid = depth % 2 ? vfork() : fork();
		if (pid < 0)
			return;
		if (pid == 0) {
			if (depth % 2 == 0 && depth < 4)
				tree(depth + 1);
			if (depth % 2 == 0 && rnd() % 3 == 0)
				_exit(0);
			execv("/proc/self/exe", av);
			_exit(1);
		}
	}
	if (depth % 2 == 0 && depth < 3)
		tree(depth + 1);
	if (rnd() % 2)
		while (wait(NULL) > 0)
			;
}

static void *forker(void *p)
{
	for (int i = 0; i < 6; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		if (pid > 0 && i % 2)
			waitpid(pid, NULL, 0);
	}
	return p;
}

static void forks_of_threads(unsigned seed)
{
	pthread_t th[16];
	for (unsigned i = 0; i < 16; i++)
		pthread_create(&th[i], NULL, forker, NULL);
	usleep(seed % 7 * 3000);
	if (seed % 2) { /* an image goes while its threads fork */
		char *av[] = { "attack", "true", NULL };
		execv("/proc/self/exe", av);
	}
	for (unsigned i = 0; i < 16; i++)
		pthread_join(th[i], NULL);
}

static void execs(unsigned seed)
{
	rnd_seed(seed);
	tree(seed % 2);
}

int attack_storm(unsigned seed)
{
	for (unsigned i = 0; i < 12; i++)
		if (!trial(i % 2 ? forks_of_threads : execs, seed * 100 + i, 50 + i * 100))
			return 1;
	return 0;
}

/* ---- tables --------------------------------------------------------------------------------------------------------------- */

enum { MOST = 20000 }; /* of what has no limit of its own */

static int make_fd(unsigned kind, unsigned n)
{
	int p[2];
	char name[32];
	switch (kind) {
	case 0: return dup(0);
	case 1: return epoll_create1(0);
	case 2: return eventfd(0, 0);
	case 3: return timerfd_create(CLOCK_MONOTONIC, 0);
	case 4: return inotify_init1(0);
	case 5: return socket(AF_INET, SOCK_STREAM, 0);
	case 6: return pipe(p) < 0 ? -1 : p[0];
	case 7: return socketpair(AF_UNIX, SOCK_STREAM, 0, p) < 0 ? -1 : p[0];
	case 8: return open("/tmp", O_RDONLY);
	case 9: return memfd_create("x", 0);
	case 10: return (int)syscall(SYS_pidfd_open, getpid(), 0);
	case 11: return open("/dev/ptmx", O_RDWR | O_NOCTTY);
	default: snprintf(name, sizeof(name), "/tmp/full%u", n); return open(name, O_CREAT | O_RDWR, 0600);
	}
}

static void descriptors(unsigned kind)
{
	struct rlimit r = { 4096, 4096 };
	setrlimit(RLIMIT_NOFILE, &r);
	unsigned n = 0;
	while (n < MOST && make_fd(kind, n) >= 0)
		n++;
	_exit(n < 100);
}

static void *sleeper(void *p) { pause(); return p; }
static void threads(unsigned kind)
{
	pthread_attr_t a;
	pthread_t th;
	(void)kind;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 16384);
	unsigned n = 0;
	while (n < MOST && pthread_create(&th, &a, sleeper, NULL) == 0)
		n++;
	_exit(n < 500);
}

static void processes(unsigned kind)
{
	unsigned n = 0;
	struct rlimit r = { 1500, 1500 };
	(void)kind;
	setrlimit(RLIMIT_NPROC, &r);
	setuid(4242);
	for (;; n++) {
		pid_t pid = n < 1200 ? fork() : -1;
		if (pid == 0) {
			pause();
			_exit(0);
		}
		if (pid < 0)
			break;
	}
	_exit(0);
}

static void mappings(unsigned kind)
{
	(void)kind;
	/* neighbours that cannot be merged */
	for (unsigned n = 0; n < 70000; n++)
		if (mmap(NULL, 4096, n % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			break;
}

static void watches(unsigned kind)
{
	int fd = inotify_init1(IN_NONBLOCK), ep = epoll_create1(0);
	char name[64];
	(void)kind;
	for (unsigned n = 0; n < 3000; n++) {
		snprintf(name, sizeof(name), "/tmp/w%u", n);
		mkdir(name, 0700);
		if (inotify_add_watch(fd, name, IN_ALL_EVENTS) < 0)
			break;
		int e = eventfd(1, EFD_NONBLOCK);
		struct epoll_event ev = { .events = EPOLLIN };
		if (e < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, e, &ev) < 0)
			continue;
		rmdir(name);
	}
	for (unsigned n = 0; n < 40000; n++) { /* events that nobody reads */
		int f = open("/tmp/w-event", O_CREAT | O_RDWR, 0600);
		close(f);
		if (n % 8 == 0)
			inotify_add_watch(fd, "/tmp", IN_ALL_EVENTS);
	}
}

static void nested_epolls(unsigned kind)
{
	int last = epoll_create1(0);
	(void)kind;
	for (unsigned n = 0; n < 3000; n++) {
		int e = epoll_create1(0);
		struct epoll_event ev = { .events = EPOLLIN };
		if (e < 0 || epoll_ctl(e, EPOLL_CTL_ADD, last, &ev) < 0)
			break;
		last = e;
	}
	struct epoll_event ev;
	epoll_wait(last, &ev, 1, 0);
}

static void timers(unsigned kind)
{
	timer_t id;
	struct sigevent se = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	struct itimerspec it = { { 0, 1 }, { 0, 1 } };
	(void)kind;
	signal(SIGRTMIN, SIG_IGN);
	for (unsigned n = 0; n < MOST && timer_create(CLOCK_MONOTONIC, &se, &id) == 0; n++)
		if (n < 200)
			timer_settime(id, 0, &it, NULL);
	sigset_t s;
	sigfillset(&s);
	sigprocmask(SIG_SETMASK, &s, NULL);
	for (unsigned n = 0; n < MOST; n++) /* queued signals */
		if (sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ 0 }) < 0)
			break;
}

static void ipc(unsigned kind)
{
	char big[8192] = { 0 };
	(void)kind;
	for (unsigned n = 0; n < 33000; n++)
		if (semget(IPC_PRIVATE, n < 500 ? 200 : 1, 0600) < 0)
			break;
	for (unsigned n = 0; n < 33000; n++) {
		int q = msgget(IPC_PRIVATE, 0600);
		if (q < 0)
			break;
		*(long *)big = 1;
		while (n < 20 && msgsnd(q, big, 1000, IPC_NOWAIT) == 0)
			;
	}
	for (unsigned n = 0; n < 5000; n++)
		if (shmget(IPC_PRIVATE, 1 << 16, 0600) < 0)
			break;
	for (unsigned n = 0; n < 300; n++) {
		char name[32];
		struct mq_attr at = { .mq_maxmsg = 10, .mq_msgsize = 8192 };
		snprintf(name, sizeof(name), "/full%u", n);
		mqd_t q = mq_open(name, O_CREAT | O_RDWR | O_NONBLOCK, 0600, &at);
		if (q == (mqd_t)-1)
			break;
		while (mq_send(q, big, sizeof(big), 0) == 0)
			;
	}
}

/* Descriptors in flight that hold each other: nobody can close them any more. */
static void in_flight(unsigned kind)
{
	(void)kind;
	for (unsigned n = 0; n < 300; n++) {
		int sv[2];
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0)
			break;
		union { struct cmsghdr h; char space[CMSG_SPACE(8)]; } cm = { .h = { .cmsg_len = CMSG_LEN(8), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
		memcpy(CMSG_DATA(&cm.h), sv, 8);
		struct msghdr m = { .msg_iov = &(struct iovec){ "x", 1 }, .msg_iovlen = 1, .msg_control = &cm, .msg_controllen = sizeof(cm) };
		sendmsg(sv[0], &m, MSG_DONTWAIT);
		close(sv[0]);
		close(sv[1]);
	}
}

/* Whole paths: deep trees, long names, many links. */
static void paths(unsigned kind)
{
	char name[256];
	(void)kind;
	memset(name, 'd', 200);
	name[200] = 0;
	chdir("/tmp");
	for (unsigned n = 0; n < 600; n++)
		if (mkdir(name, 0700) < 0 || chdir(name) < 0)
			break;
	getcwd(name, sizeof(name));
	chdir("/tmp");
	symlink("loop", "/tmp/loop");
	open("/tmp/loop/x", O_RDONLY);
	for (unsigned n = 0; n < 8000; n++) {
		char to[32];
		snprintf(to, sizeof(to), "/tmp/l%u", n);
		if (symlink("target", to) < 0)
			break;
	}
}

static void pipes_full(unsigned kind)
{
	static char buf[1 << 16];
	(void)kind;
	for (unsigned n = 0; n < 500; n++) {
		int p[2];
		if (pipe2(p, O_NONBLOCK) < 0)
			break;
		fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
		while (write(p[1], buf, sizeof(buf)) > 0 && n < 20)
			;
	}
}

static void fill_tmp(unsigned kind)
{
	static char buf[1 << 20];
	int fd = open("/tmp/sparse", O_CREAT | O_RDWR | O_TRUNC, 0600);
	(void)kind;
	ftruncate(fd, 1ll << 62);
	ftruncate(fd, INT64_MAX);
	pwrite(fd, buf, 100, (1ll << 40));
	fallocate(fd, 0, 0, 1ll << 50);
	lseek(fd, INT64_MAX - 5, SEEK_SET);
	write(fd, buf, 100);
	close(fd);
	unlink("/tmp/sparse");
}

static void step(const char *what, unsigned n)
{
	if (getenv("VERBOSE"))
		dprintf(2, "%ld %s %u\n", (long)time(NULL) % 1000, what, n);
}

int attack_exhaust(unsigned seed)
{
	static void (*const ones[])(unsigned) = { threads, processes, mappings, watches, nested_epolls, timers, ipc, in_flight, paths, pipes_full, fill_tmp };
	(void)seed;
	for (unsigned kind = 0; kind < 13; kind++)
		if (step("descriptors", kind), !trial(descriptors, kind, 20000) || !kernel_stands())
			return fprintf(stderr, "descriptors %u\n", kind), 1;
	for (unsigned i = 0; i < sizeof(ones) / sizeof(*ones); i++)
		if (step("table", i), !trial(ones[i], i, 20000) || !kernel_stands())
			return fprintf(stderr, "table %u\n", i), 1;
	return 0;
}

/* ---- broken programs ------------------------------------------------------------------------------------------------------- */

static void run_broken(unsigned n)
{
	char *av[] = { "/tmp/broken", "true", NULL };
	(void)n;
	alarm(1);
	execv(av[0], av);
	_exit(1);
}

int attack_elf(unsigned seed)
{
	static unsigned char image[1 << 20];
	int fd = open("/proc/self/exe", O_RDONLY);
	ssize_t size = read(fd, image, sizeof(image));
	close(fd);
	if (size < 4096)
		return 1;
	for (unsigned n = 0; n < 150; n++) {
		unsigned char head[1024];
		memcpy(head, image, sizeof(head));
		rnd_seed(seed * 1000 + n);
		for (unsigned k = 0; k < 1 + n % 5; k++) { /* headers and program headers */
			unsigned at = (unsigned)(rnd() % (k % 2 ? 64 : 600));
			uint64_t v = rnd() % 3 ? (uint64_t[]){ 0, 1, ~0ull, 1ull << 63, 0x7ffffffff000, 4095, 0x7fffffff, 0x7ffd00000000 }[rnd() % 8] : rnd();
			memcpy(head + (at & ~7u), &v, rnd() % 2 ? 8 : 2);
		}
		if (n % 2) /* stay a program */
			memcpy(head, image, 20);
		fd = open("/tmp/broken", O_CREAT | O_WRONLY | O_TRUNC, 0700);
		if (write(fd, head, sizeof(head)) < 0 || write(fd, image + sizeof(head), n % 3 ? (size_t)size - sizeof(head) : rnd() % (size_t)(size - 2000)) < 0)
			return 1;
		close(fd);
		if (!trial(run_broken, n, 300))
			return fprintf(stderr, "program %u\n", n), 1;
	}
	return 0;
}
