/* System V shared memory: getting, attaching, limits, control. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)
#define SIGN(x) do { long r_ = (long)(x); printf("%s %s%s\n", #x, r_ != -1 ? "ok" : "failed ", r_ == -1 ? strerrorname_np(errno) : ""); } while (0)

static void as_nobody(int id)
{
	struct shmid_ds d;
	fflush(stdout);
	if (fork() == 0) {
		setgid(65534);
		setuid(65534);
		SIGN(shmat(id, NULL, 0));
		SIGN(shmat(id, NULL, SHM_RDONLY));
		SIGN(shmctl(id, IPC_STAT, &d));
		SIGN(shmctl(id, IPC_RMID, NULL));
		SIGN(shmctl(id, SHM_LOCK, NULL));
		SIGN(shmget(0x5eed01, 4096, 0600));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
}

int main(void)
{
	struct shmid_ds d;
	struct shminfo info;
	int id = shmget(0x5eed01, 10000, IPC_CREAT | IPC_EXCL | 0640);
	if (id < 0) {
		id = shmget(0x5eed01, 0, 0);
		shmctl(id, IPC_RMID, NULL);
		id = shmget(0x5eed01, 10000, IPC_CREAT | IPC_EXCL | 0640);
	}
	SIGN(id);
	SHOW(shmget(0x5eed01, 10000, IPC_CREAT | IPC_EXCL | 0640));
	SHOW(shmget(0x5eed01, 20000, 0640));
	SHOW(shmget(0x5eed02, 20000, 0640));
	SHOW(shmget(IPC_PRIVATE, 0, 0640));
	SHOW(shmget(0x5eed01, 0, 0) == id);
	SHOW(shmctl(id, IPC_STAT, &d));
	printf("size %zu nattch %lu mode %o uid %u cpid %d lpid %d\n", d.shm_segsz, d.shm_nattch, d.shm_perm.mode, d.shm_perm.uid, d.shm_cpid == getpid(), d.shm_lpid);
	char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, SHM_RDONLY);
	SIGN(a);
	strcpy(a, "hello");
	printf("%s\n", b);
	SHOW(shmctl(id, IPC_STAT, &d));
	printf("nattch %lu lpid %d atime %d dtime %d\n", d.shm_nattch, d.shm_lpid == getpid(), d.shm_atime != 0, d.shm_dtime != 0);
	fflush(stdout);
	if (fork() == 0) {
		SHOW(shmctl(id, IPC_STAT, &d));
		printf("child nattch %lu\n", d.shm_nattch);
		strcpy(a + 4096, "child");
		SHOW(shmdt(b));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	printf("%s\n", b + 4096);
	SHOW(shmctl(id, IPC_STAT, &d));
	printf("nattch %lu\n", d.shm_nattch);
	fflush(stdout);
	if (fork() == 0) {
		b[0] = 1;
		_exit(0);
	}
	int st;
	wait(&st);
	printf("write to read-only: signal %d\n", WTERMSIG(st));
	SIGN(shmat(id, a + 1, 0));
	SIGN(shmat(id, a, 0));
	SIGN(shmat(id, (char *)1, SHM_RND | SHM_REMAP));
	SIGN(shmat(id, NULL, SHM_REMAP));
	SIGN(shmat(-1, NULL, 0));
	SIGN(shmat(id + 32768 * 7, NULL, 0));
	char *area = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	SHOW(shmat(id, area + 8192, SHM_REMAP) == area + 8192);
	SHOW(shmat(id, area + 65536 + 100, SHM_RND | SHM_REMAP) == area + 65536);
	printf("%s\n", area + 8192);
	SHOW(munmap(area + 8192 + 4096, 4096));
	SHOW(shmctl(id, IPC_STAT, &d));
	printf("nattch %lu\n", d.shm_nattch);
	SHOW(shmdt(area + 8192));
	SHOW(shmctl(id, IPC_STAT, &d));
	printf("nattch %lu\n", d.shm_nattch);
	SHOW(shmdt(area + 65536));
	SHOW(shmdt(area + 65536));
	SHOW(shmdt(area + 1));
	as_nobody(id);
	d.shm_perm.mode = 0600;
	SHOW(shmctl(id, IPC_SET, &d));
	SHOW(shmctl(id, IPC_STAT, &d));
	printf("mode %o\n", d.shm_perm.mode);
	SHOW(shmctl(id, 77, &d));
	SHOW(shmctl(-1, IPC_STAT, &d));
	SHOW(shmctl(id, IPC_STAT, (void *)1));
	SHOW(shmctl(id, SHM_LOCK, NULL));
	SHOW(shmctl(id, IPC_STAT, &d));
	printf("locked %d\n", !!(d.shm_perm.mode & 02000));
	SHOW(shmctl(id, SHM_UNLOCK, NULL));
	SIGN(shmctl(0, IPC_INFO, (void *)&info));
	printf("shmmin %lu shmmni %lu\n", info.shmmin, info.shmmni);
	SHOW(shmctl(id, IPC_RMID, NULL));
	SHOW(shmctl(id, IPC_STAT, &d));
	printf("dest %d key %d nattch %lu\n", !!(d.shm_perm.mode & SHM_DEST), d.shm_perm.__key, d.shm_nattch);
	SHOW(shmget(0x5eed01, 0, 0));
	char *c = shmat(id, NULL, 0);
	SIGN(c);
	printf("%s\n", c);
	SHOW(shmdt(c));
	SHOW(shmdt(a));
	SHOW(shmdt(b));
	SHOW(shmctl(id, IPC_STAT, &d));
	return 0;
}
