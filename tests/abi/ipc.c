/* System V semaphores and message queues, POSIX timers. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)
#define SIGN(x) do { long r_ = (x); printf("%s %s%s\n", #x, r_ >= 0 ? "ok" : "failed ", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)

static void semaphores(void)
{
	struct sembuf up = { 0, 1, 0 }, down = { 0, -1, IPC_NOWAIT }, undo = { 1, 3, SEM_UNDO }, zero = { 0, 0, 0 }, far = { 9, 1, 0 };
	struct timespec ts = { 0, 50000000 };
	unsigned short all[2] = { 4, 5 };
	int id = semget(IPC_PRIVATE, 2, 0600);
	SIGN(id);
	SHOW(semctl(id, 0, GETVAL));
	SHOW(semop(id, &down, 1));
	SHOW(semop(id, &up, 1));
	SHOW(semctl(id, 0, GETVAL));
	SHOW(semop(id, &down, 1));
	SHOW(semop(id, &far, 1));
	SHOW(semop(id, &up, 0));
	down.sem_flg = 0;
	SHOW(semtimedop(id, &down, 1, &ts));
	fflush(stdout);
	if (fork() == 0) {
		SHOW(semop(id, &undo, 1));
		SHOW(semctl(id, 1, GETVAL));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	SHOW(semctl(id, 1, GETVAL));
	SHOW(semctl(id, 0, SETALL, all));
	SHOW(semctl(id, 1, GETVAL));
	SHOW(semctl(id, 0, SETVAL, 40000));
	SHOW(semctl(id, 7, GETVAL));
	SHOW(semctl(id, 0, SETVAL, 1));
	fflush(stdout);
	pid_t c = fork();
	if (c == 0) {
		SHOW(semop(id, &zero, 1));
		fflush(stdout);
		_exit(0);
	}
	usleep(100000);
	SHOW(semctl(id, 0, GETZCNT));
	SHOW(semctl(id, 0, SETVAL, 0));
	waitpid(c, NULL, 0);
	fflush(stdout);
	c = fork();
	if (c == 0) {
		SHOW(semop(id, &down, 1));
		fflush(stdout);
		_exit(0);
	}
	usleep(100000);
	SHOW(semctl(id, 0, GETNCNT));
	SHOW(semctl(id, 0, IPC_RMID));
	waitpid(c, NULL, 0);
	SHOW(semctl(id, 0, GETVAL));
	int k = semget(0x51e7ce, 1, IPC_CREAT | IPC_EXCL | 0600);
	SIGN(k);
	SHOW(semget(0x51e7ce, 1, IPC_CREAT | IPC_EXCL | 0600));
	SHOW(semget(0x51e7ce, 1, 0) == k);
	SHOW(semget(0x51e7ce, 5, 0));
	SHOW(semctl(k, 0, IPC_RMID));
	SHOW(semget(0x51e7ce, 1, 0));
	SHOW(semget(IPC_PRIVATE, 0, 0600));
}

static void messages(void)
{
	struct { long type; char text[32]; } m;
	int id = msgget(IPC_PRIVATE, 0600);
	SIGN(id);
	for (int i = 1; i <= 3; i++) {
		m.type = 4 - i;
		sprintf(m.text, "message %d", i);
		SHOW(msgsnd(id, &m, 10, 0));
	}
	m.type = 0;
	SHOW(msgsnd(id, &m, 1, 0));
	SHOW(msgrcv(id, &m, 32, 9, IPC_NOWAIT));
	SHOW(msgrcv(id, &m, 2, 2, IPC_NOWAIT));
	SHOW(msgrcv(id, &m, 2, 2, IPC_NOWAIT | MSG_NOERROR));
	SHOW(msgrcv(id, &m, 32, -3, 0));
	printf("type %ld %.9s\n", m.type, m.text);
	SHOW(msgrcv(id, &m, 32, 0, 0));
	printf("type %ld %.9s\n", m.type, m.text);
	struct msqid_ds ds;
	SHOW(msgctl(id, IPC_STAT, &ds));
	printf("%lu messages, %lu bytes at most\n", (unsigned long)ds.msg_qnum, (unsigned long)ds.msg_qbytes);
	SHOW(msgctl(id, IPC_RMID, NULL));
	SHOW(msgsnd(id, &m, 1, 0));
}

static volatile sig_atomic_t got, code;
static void on_alarm(int s, siginfo_t *si, void *u) { (void)s, (void)u; got = si->si_value.sival_int; code = si->si_code; }

static void timers(void)
{
	struct sigaction sa = { .sa_sigaction = on_alarm, .sa_flags = SA_SIGINFO };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42 };
	struct itimerspec its = { { 0, 0 }, { 0, 30000000 } }, old;
	timer_t t;
	sigaction(SIGUSR1, &sa, NULL);
	SHOW(timer_create(CLOCK_MONOTONIC, &ev, &t));
	SHOW(timer_gettime(t, &old));
	printf("disarmed %d\n", old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
	SHOW(timer_settime(t, 0, &its, NULL));
	while (!got)
		pause();
	printf("value %d code %d overrun %d\n", (int)got, (int)code, timer_getoverrun(t));
	its.it_interval.tv_nsec = 5000000;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	SHOW(timer_settime(t, 0, &its, &old));
	usleep(200000);
	siginfo_t si;
	printf("signal %d, overrun above ten: %d\n", sigwaitinfo(&set, &si) == SIGUSR1, si.si_overrun > 10);
	its.it_value.tv_nsec = 1000000000;
	SHOW(timer_settime(t, 0, &its, NULL));
	SHOW(timer_delete(t));
	SHOW(syscall(SYS_timer_delete, 12345));
	SHOW(syscall(SYS_timer_create, 77, NULL, &t));
}

int main(void)
{
	semaphores();
	messages();
	timers();
	return 0;
}
