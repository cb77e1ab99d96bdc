/* Runs a command under ptrace and strikes at its n-th system call: kills the process before the call is made, or lets the call fail.
 *
 * usage: inject [-c] -n N [-e ERRNO] PROGRAM [ARG...]
 *   -n N   the N-th system call counted from the program's execve; 0 counts only
 *   -c     count and strike in the processes that the program makes, not in the program itself
 *   -e E   let the call fail with errno E instead of killing (calls of the C library's start are not counted then)
 *
 * The last line on fd 3 is "struck NR" or "ended COUNT", then the wait status of the program: "status HEX".
 * Other processes are let go untouched. */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_TASKS = 256 };

struct task { pid_t pid; bool inside; /* between entry and exit of a call */ bool fail_exit; };

static struct task tasks[MAX_TASKS];
static int n_tasks;
static long target = 0, count = 0, struck_nr = -1;
static int inject_errno = 0;
static bool in_children = false;

static struct task *task_of(pid_t pid) {
	for (int i = 0; i < n_tasks; i++)
		if (tasks[i].pid == pid)
			return &tasks[i];
	if (n_tasks == MAX_TASKS)
		return NULL;
	tasks[n_tasks] = (struct task){ .pid = pid };
	return &tasks[n_tasks++];
}

#if defined(__x86_64__)
static long call_number(pid_t pid) {
	struct user_regs_struct r;
	return ptrace(PTRACE_GETREGS, pid, NULL, &r) < 0 ? -1 : (long)r.orig_rax;
}
static void skip_call(pid_t pid) {
	struct user_regs_struct r;
	if (ptrace(PTRACE_GETREGS, pid, NULL, &r) == 0) {
		r.orig_rax = (unsigned long long)-1;
		ptrace(PTRACE_SETREGS, pid, NULL, &r);
	}
}
static void set_result(pid_t pid, long v) {
	struct user_regs_struct r;
	if (ptrace(PTRACE_GETREGS, pid, NULL, &r) == 0) {
		r.rax = (unsigned long long)v;
		ptrace(PTRACE_SETREGS, pid, NULL, &r);
	}
}
#elif defined(__aarch64__)
#ifndef NT_ARM_SYSTEM_CALL
#define NT_ARM_SYSTEM_CALL 0x404
#endif
static long call_number(pid_t pid) {
	struct user_regs_struct r;
	struct iovec v = { &r, sizeof(r) };
	return ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v) < 0 ? -1 : (long)r.regs[8];
}
static void skip_call(pid_t pid) {
	int nr = -1;
	struct iovec v = { &nr, sizeof(nr) };
	ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &v);
}
static void set_result(pid_t pid, long x) {
	struct user_regs_struct r;
	struct iovec v = { &r, sizeof(r) };
	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &v) == 0) {
		r.regs[0] = (unsigned long long)x;
		ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &v);
	}
}
#endif

static void let_go(pid_t except) {
	for (int i = 0; i < n_tasks; i++) {
		if (tasks[i].pid == except)
			continue;
		/* only a stopped task can be detached; one that has ended answers ESRCH */
		if (ptrace(PTRACE_DETACH, tasks[i].pid, NULL, NULL) < 0 && errno == ESRCH && kill(tasks[i].pid, 0) == 0) {
			int status;
			ptrace(PTRACE_INTERRUPT, tasks[i].pid, NULL, NULL);
			if (waitpid(tasks[i].pid, &status, __WALL) == tasks[i].pid && WIFSTOPPED(status))
				ptrace(PTRACE_DETACH, tasks[i].pid, NULL, NULL);
		}
	}
}

/* Not failed: the C library's own start ends by a signal without these, and close() closes even when it reports an error. */
static bool never_fails(long nr) {
	switch (nr) {
	case SYS_close:
	case SYS_rt_sigprocmask: /* these cannot fail with sound arguments, or only by a signal */
	case SYS_rt_sigaction:
	case SYS_wait4:
	case SYS_flock:
	case SYS_brk:
	case SYS_set_tid_address:
	case SYS_set_robust_list:
	case SYS_rseq:
#ifdef SYS_arch_prctl
	case SYS_arch_prctl:
#endif
		return true;
	default:
		return false;
	}
}

/* A syscall stop of a watched task. Returns true when the process was killed. */
static bool at_call(struct task *t, bool watched) {
	t->inside = !t->inside;
	if (!t->inside) {
		if (t->fail_exit)
			set_result(t->pid, -inject_errno);
		t->fail_exit = false;
		return false;
	}
	if (!watched || (inject_errno && never_fails(call_number(t->pid))) || ++count != target)
		return false;
	struck_nr = call_number(t->pid);
	dprintf(3, "struck %ld ", struck_nr); /* at once: the command may hang from here on */
	if (inject_errno) {
		skip_call(t->pid);
		t->fail_exit = true;
		return false;
	}
	kill(t->pid, SIGKILL);
	return true;
}

int main(int argc, char **argv) {
	int c, status = 0, main_status = -1;
	while ((c = getopt(argc, argv, "+cn:e:")) != -1) {
		if (c == 'c')
			in_children = true;
		else if (c == 'n')
			target = atol(optarg);
		else if (c == 'e')
			inject_errno = atoi(optarg);
	}
	if (optind == argc)
		return 2;
	pid_t first = fork();
	if (first == 0) {
		raise(SIGSTOP);
		execv(argv[optind], argv + optind);
		_exit(127);
	}
	waitpid(first, &status, WUNTRACED);
	if (ptrace(PTRACE_SEIZE, first, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC) < 0) {
		perror("ptrace");
		kill(first, SIGKILL);
		return 2;
	}
	bool started = false;
	struct task *t = task_of(first);
	kill(first, SIGCONT);
	for (;;) {
		pid_t pid = waitpid(-1, &status, __WALL);
		if (pid < 0)
			break;
		t = task_of(pid);
		if (!t)
			break;
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			*t = tasks[--n_tasks];
			if (pid == first) {
				main_status = status;
				break;
			}
			continue;
		}
		int sig = WSTOPSIG(status), event = status >> 16;
		if (event == PTRACE_EVENT_EXEC && pid == first && !started) {
			started = true;
			t->inside = true; /* the execve itself is not counted */
		} else if (sig == (SIGTRAP | 0x80)) {
			if (started && at_call(t, (pid == first) != in_children)) {
				let_go(pid);
				for (n_tasks = 0; waitpid(pid, &status, __WALL) == pid;)
					if (WIFEXITED(status) || WIFSIGNALED(status))
						break;
				if (pid == first) {
					main_status = status;
				} else if (waitpid(first, &status, __WALL) == first) {
					main_status = status;
				}
				break;
			}
			sig = 0;
		} else if (event) {
			sig = 0;
		}
		ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)(sig == SIGTRAP ? 0 : sig));
	}
	if (main_status < 0 || n_tasks)
		let_go(first);
	if (struck_nr >= 0)
		dprintf(3, "status %x\n", (unsigned)main_status);
	else
		dprintf(3, "ended %ld status %x\n", count, (unsigned)main_status);
	return 0;
}
