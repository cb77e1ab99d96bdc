/* pidfds, process_vm_*, kcmp, message queues, scheduling attributes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)
#define SIGN(x) do { long r_ = (x); printf("%s %s%s\n", #x, r_ >= 0 ? "ok" : "failed ", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)

static char shared[32] = "parent";

static void pidfds(void)
{
	int p[2], fd;
	char buf[32] = "";
	siginfo_t si;
	pipe(p);
	fflush(stdout);
	pid_t c = fork();
	if (c == 0) {
		strcpy(shared, "child's own");
		write(p[1], "x", 1);
		pause();
		_exit(3);
	}
	read(p[0], buf, 1);
	int pfd = (int)syscall(SYS_pidfd_open, c, 0);
	SIGN(pfd);
	printf("cloexec %d\n", fcntl(pfd, F_GETFD) & FD_CLOEXEC);
	struct pollfd pf = { pfd, POLLIN, 0 };
	SHOW(poll(&pf, 1, 0));
	SHOW(syscall(SYS_pidfd_send_signal, pfd, 0, NULL, 0));
	SHOW(syscall(SYS_pidfd_send_signal, pfd, 77, NULL, 0));
	fd = (int)syscall(SYS_pidfd_getfd, pfd, p[1], 0);
	SIGN(fd);
	SHOW(syscall(SYS_pidfd_getfd, pfd, 999, 0));
	struct iovec l = { buf, sizeof(buf) }, r = { shared, sizeof(shared) };
	SHOW(process_vm_readv(c, &l, 1, &r, 1, 0));
	printf("%s\n", buf);
	strcpy(buf, "written");
	SHOW(process_vm_writev(c, &l, 1, &r, 1, 0));
	memset(buf, 0, sizeof(buf));
	SHOW(process_vm_readv(c, &l, 1, &r, 1, 0));
	printf("%s %s\n", buf, shared);
	r.iov_base = (void *)8;
	SHOW(process_vm_readv(c, &l, 1, &r, 1, 0));
	SHOW(process_vm_readv(999999, &l, 1, &r, 1, 0));
	SHOW(process_vm_readv(c, &l, 1, &r, 1, 5));
	SHOW(syscall(SYS_kcmp, getpid(), c, 0, p[0], p[0]));
	SHOW(syscall(SYS_kcmp, getpid(), getpid(), 0, p[0], p[0]));
	SHOW(syscall(SYS_kcmp, getpid(), c, 1, 0, 0) != 0);
	SHOW(syscall(SYS_pidfd_send_signal, pfd, SIGTERM, NULL, 0));
	SHOW(poll(&pf, 1, 5000));
	printf("revents %#x\n", pf.revents);
	SHOW(waitid(P_PIDFD, (id_t)pfd, &si, WEXITED));
	printf("code %d status %d same %d\n", si.si_code, si.si_status, si.si_pid == c);
	SHOW(syscall(SYS_pidfd_send_signal, pfd, 0, NULL, 0));
	SHOW(syscall(SYS_pidfd_open, c, 0));
	SHOW(syscall(SYS_pidfd_open, 0, 0));
	SHOW(syscall(SYS_pidfd_open, getpid(), 77));
	int cfd = -1;
	fflush(stdout);
	struct { unsigned long flags, pidfd, ctid, ptid, sig, stack, size, tls; } a = { .flags = 0x1000, .pidfd = (unsigned long)&cfd, .sig = SIGCHLD };
	long k = syscall(SYS_clone3, &a, sizeof(a));
	if (k == 0)
		_exit(9);
	printf("pidfd from clone3: %d\n", cfd >= 0);
	SHOW(waitid(P_PIDFD, (id_t)cfd, &si, WEXITED));
	printf("status %d\n", si.si_status);
}

static void queues(void)
{
	struct mq_attr at = { .mq_maxmsg = 2, .mq_msgsize = 16 }, got;
	char buf[64];
	unsigned prio;
	struct timespec past = { 1, 0 };
	mqd_t q = mq_open("/abi-mq-test", O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600, &at);
	SIGN(q);
	if (q < 0)
		return;
	SHOW(mq_open("/abi-mq-test", O_RDWR | O_CREAT | O_EXCL, 0600, &at));
	SHOW(mq_open("/abi-mq-none", O_RDWR));
	SHOW(mq_send(q, "low", 3, 1));
	SHOW(mq_send(q, "high", 4, 9));
	SHOW(mq_send(q, "full", 4, 0));
	SHOW(mq_send(q, "longer than sixteen bytes", 25, 0));
	SHOW(mq_getattr(q, &got));
	printf("%ld %ld %ld %d\n", got.mq_maxmsg, got.mq_msgsize, got.mq_curmsgs, (got.mq_flags & O_NONBLOCK) != 0);
	SHOW(mq_receive(q, buf, 4, &prio));
	SHOW(mq_receive(q, buf, sizeof(buf), &prio));
	printf("%.4s %u\n", buf, prio);
	SHOW(mq_receive(q, buf, sizeof(buf), &prio));
	printf("%.3s %u\n", buf, prio);
	SHOW(mq_receive(q, buf, sizeof(buf), &prio));
	got.mq_flags = 0;
	SHOW(mq_setattr(q, &got, NULL));
	SHOW(mq_timedreceive(q, buf, sizeof(buf), &prio, &past));
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 5 };
	sigset_t set;
	siginfo_t si;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	SHOW(mq_notify(q, &ev));
	SHOW(mq_notify(q, &ev));
	SHOW(mq_send(q, "now", 3, 0));
	SHOW(sigwaitinfo(&set, &si) == SIGUSR1);
	printf("code %d value %d\n", si.si_code, si.si_value.sival_int);
	SHOW(mq_unlink("/abi-mq-test"));
	SHOW(mq_unlink("/abi-mq-test"));
	SHOW(mq_close(q));
}

int main(void)
{
	pidfds();
	queues();
	struct { unsigned size, policy; unsigned long flags; int nice; unsigned prio; unsigned long r, d, p; } sa = { .size = 48 };
	SHOW(syscall(SYS_sched_getattr, 0, &sa, 48, 0));
	printf("policy %u nice %d size %u\n", sa.policy, sa.nice, sa.size);
	SHOW(syscall(SYS_sched_getattr, 0, &sa, 10, 0));
	sa.policy = 99;
	SHOW(syscall(SYS_sched_setattr, 0, &sa, 0));
	SHOW(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 3));
	SHOW(syscall(SYS_ioprio_get, 1, 0));
	SHOW(syscall(SYS_ioprio_get, 9, 0));
	return 0;
}
