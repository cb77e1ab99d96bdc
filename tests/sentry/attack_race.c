/* Double fetches: structures in guest memory change while the sentry reads them. Results must be those of one of the two versions. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

enum { ROUNDS = 1500, CANARY = 0x5a };
static struct shared {
	volatile char path[64];
	volatile struct iovec iov[4];
	volatile struct msghdr msg;
	volatile struct sockaddr_un sun;
	volatile uint32_t word;
	union { struct cmsghdr h; volatile char space[256]; } cm;
	struct sembuf sem[2];
} *S;
static char *zone; /* readable page, hole behind it */
static volatile bool stop;

static void *flipper(void *arg)
{
	for (uint64_t n = 0; !stop; n++) {
		bool b = n & 1;
		S->path[5] = b ? 'a' : 'b';
		S->path[6] = n & 2 ? 0 : 'x';
		S->iov[0].iov_len = b ? 8 : ~0ull >> (rnd() % 40);
		S->iov[1].iov_base = b ? zone + 64 : zone + 4096 - rnd() % 16;
		S->iov[1].iov_len = rnd() % 4 ? 16 : rnd();
		S->msg.msg_iovlen = b ? 2 : rnd() % 2000;
		S->msg.msg_controllen = rnd() % 300;
		S->msg.msg_namelen = (socklen_t)(b ? 16 : rnd());
		S->cm.h.cmsg_len = b ? sizeof(S->cm.h) + 4 : rnd() % 4096;
		S->sun.sun_family = b ? AF_UNIX : (sa_family_t)rnd();
		S->sun.sun_path[rnd() % 100] = (char)rnd();
		S->sem[0].sem_num = b ? 0 : (unsigned short)rnd();
		S->word = (uint32_t)rnd();
	}
	return arg;
}

/* ROUNDS of everything that reads a structure twice when it is written carelessly. */
static void racers(unsigned seed)
{
	pthread_t th[2];
	char buf[4096];
	int sv[2], fd = open("/tmp/race-a", O_CREAT | O_RDWR | O_TRUNC, 0600), sem = semget(IPC_PRIVATE, 1, 0600);
	(void)seed;
	socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sv);
	memcpy((char *)S->path, "/tmp/a", 7);
	S->iov[0].iov_base = zone;
	S->msg = (struct msghdr){ .msg_iov = (struct iovec *)S->iov, .msg_iovlen = 1, .msg_control = (void *)S->cm.space, .msg_name = NULL };
	S->cm.h = (struct cmsghdr){ .cmsg_len = 20, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	for (int i = 0; i < 2; i++)
		pthread_create(&th[i], NULL, flipper, NULL);
	for (unsigned i = 0; i < ROUNDS; i++) {
		ssize_t n = writev(fd, (struct iovec *)S->iov, 2);
		if (n > 1 << 20)
			ftruncate(fd, 0);
		lseek(fd, 0, SEEK_SET);
		readv(fd, (struct iovec *)S->iov, 2);
		sendmsg(sv[0], (struct msghdr *)&S->msg, MSG_DONTWAIT);
		recvmsg(sv[1], (struct msghdr *)&S->msg, MSG_DONTWAIT);
		connect(sv[0], (struct sockaddr *)&S->sun, 1 + rnd() % sizeof(S->sun));
		semop(sem, S->sem, 1 + rnd() % 2);
		syscall(SYS_futex, &S->word, 0, S->word, &(struct timespec){ 0, 1000 });
		int f = open((char *)S->path, O_CREAT | O_RDWR, 0600);
		if (f >= 0)
			close(f);
		rename((char *)S->path, "/tmp/c");
		unlink((char *)S->path);
		if (i % 64 == 0) {
			struct iovec local = { buf, sizeof(buf) };
			syscall(SYS_process_vm_readv, getpid(), &local, 1, S->iov, 2, 0);
		}
	}
	semctl(sem, 0, IPC_RMID);
}

int attack_race(unsigned seed)
{
	S = mmap(NULL, sizeof(*S), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zone = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(zone + 4096, 4096); /* a hole */
	memset(zone + 2 * 4096, CANARY, 4096);
	for (unsigned i = 0; i < 4; i++)
		if (!trial(racers, seed * 100 + i, 1500))
			return 1;
	/* what is behind the hole belongs to nobody's request */
	for (unsigned i = 0; i < 4096; i++)
		if (zone[2 * 4096 + i] != CANARY)
			return fprintf(stderr, "canary overwritten\n"), 1;
	return 0;
}

/* ---- boundaries ------------------------------------------------------------------------------------------------------------- */

static char *edge, *readonly;
static uint64_t boundary(unsigned kind)
{
	static const uint64_t v[] = { 0, 1, 2, 3, 4, 5, 8, 15, 16, 63, 64, 65, 127, 128, 255, 256, 511, 512, 1023, 1024, 1025, 4095, 4096, 4097, 0xffff, 0x10000,
		0x7ffff000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 0x100000000ull, 0x7fffffffffffffff, 0x8000000000000000, ~0ull - 4095, ~0ull - 1, ~0ull };
	switch (kind % 8) {
	case 0: return (uint64_t)edge + 4096 - rnd() % 130;  /* ends at a hole */
	case 1: return (uint64_t)edge + rnd() % 4096;
	case 2: return (uint64_t)readonly + rnd() % 4096;
	case 3: return rnd() % 2 ? 0x7ffffffff000 - rnd() % 32 : 0xffff800000000000 + rnd() % 4096;
	case 4: return rnd() % 12;                           /* descriptors, ids */
	default: return v[rnd() % (sizeof(v) / sizeof(*v))];
	}
}

static bool skipped(long nr)
{
	static const short no[] = { SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_pause, SYS_rt_sigsuspend, SYS_kill, SYS_tkill, SYS_reboot, SYS_vfork, SYS_fork,
		SYS_clone, SYS_clone3, SYS_alarm };
	for (unsigned i = 0; i < sizeof(no) / sizeof(*no); i++)
		if (no[i] == nr)
			return true;
	return false;
}

static void fill_memory(void)
{
	for (unsigned i = 0; i < 4096 / 8; i++)
		((uint64_t *)edge)[i] = rnd() % 3 ? boundary((unsigned)rnd()) : rnd();
	memcpy(edge + 100, "/tmp/bounds", 12);
	memcpy(edge + 200, ".", 2);
}

/* A few hundred calls of any number: descriptors 3..11 are things of every kind. */
static void bounds(unsigned seed)
{
	int sv[2], p[2];
	rnd_seed(seed);
	chdir("/tmp");
	open("/tmp", O_RDONLY | O_DIRECTORY);
	open("/tmp/bounds", O_CREAT | O_RDWR, 0600);
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv);
	pipe2(p, O_NONBLOCK);
	socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	syscall(SYS_epoll_create1, 0);
	syscall(SYS_eventfd2, 1, O_NONBLOCK);
	syscall(SYS_timerfd_create, 1, O_NONBLOCK);
	syscall(SYS_inotify_init1, O_NONBLOCK);
	open("/dev/ptmx", O_RDWR | O_NOCTTY);
	for (unsigned i = 0; i < 400; i++) {
		long nr = (long)(rnd() % 470);
		uint64_t a[6];
		if (skipped(nr))
			continue;
		if (i % 16 == 0)
			fill_memory();
		for (unsigned k = 0; k < 6; k++)
			a[k] = boundary((unsigned)rnd());
		if (nr == SYS_munmap || nr == SYS_mprotect || nr == SYS_mremap || nr == SYS_brk || nr == SYS_mmap || nr == SYS_pkey_mprotect || nr == SYS_remap_file_pages)
			a[0] = 0; /* our own code is needed */
		if (nr == SYS_madvise || nr == SYS_execve || nr == SYS_execveat)
			continue;
		syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	}
}

int attack_bounds(unsigned seed)
{
	edge = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(edge + 4096, 4096);
	readonly = edge + 2 * 4096;
	mprotect(readonly, 4096, PROT_READ);
	for (unsigned i = 0; i < 150; i++)
		if (!trial(bounds, seed * 10000 + i, 120))
			return fprintf(stderr, "bounds %u\n", i), 1;
	return 0;
}
