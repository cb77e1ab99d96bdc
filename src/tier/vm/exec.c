/* Further processes and further containers of a pod: a small process on the host stands for each and ends as it ends. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/fd.h"
#include "tier/vm/call.h"
#include "tier/vm/control.h"
#include "tier/vm/ops_internal.h"
#include "tier/vm/specjson.h"

static void tell(struct vm_proxy *p, int code, const char *text)
{
	if (p->told)
		return;
	dprintf(p->ready_fd, "%d\n%s", code, text);
	close(p->ready_fd);
	p->told = true;
}

static NORETURN void end_like(int status)
{
	if (WIFSIGNALED(status)) {
		struct rlimit none = { 0, 0 };
		sigset_t set;
		setrlimit(RLIMIT_CORE, &none);
		prctl(PR_SET_DUMPABLE, 0);
		signal(WTERMSIG(status), SIG_DFL);
		sigfillset(&set);
		sigdelset(&set, WTERMSIG(status));
		sigprocmask(SIG_SETMASK, &set, NULL);
		raise(WTERMSIG(status));
		_exit(128 + WTERMSIG(status));
	}
	_exit(WEXITSTATUS(status));
}

static void forward(struct vm_proxy *p, int sig)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct winsize ws;
	if (sig == SIGWINCH && p->tty >= 0 && ioctl(p->tty, TIOCGWINSZ, &ws) == 0) {
		struct agent_resize q = { p->c->id, p->exec_id, ws.ws_col, ws.ws_row };
		(void)!control_call(p->c->state_fd, "Resize", &agent_resize_desc, &q, NULL, NULL, &a, NULL, NULL);
	} else if (sig != SIGCHLD && sig != SIGWINCH && !(p->tty >= 0 && sig == SIGHUP)) {
		struct agent_signal q = { .id = p->c->id, .exec_id = p->exec_id, .signal = (uint64_t)sig };
		(void)!control_call(p->c->state_fd, "Signal", &agent_signal_desc, &q, NULL, NULL, &a, NULL, NULL);
	}
}

/* Frames: a data frame says that the process is there, the response tells its end. */
static void frame(struct vm_proxy *p, const struct ttrpc_frame *f)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct pb_bytes payload;
	struct agent_io io;
	if (f->type == TTRPC_DATA) {
		if (pb_decode(&agent_io_desc, &a, f->data, f->n, &io, NULL) >= 0 && io.kind == IO_OOM)
			vm_oom_write(p->c->state_fd, io.n);
		tell(p, 0, "");
		return;
	}
	int r = agent_response(f, &a, &payload, &e);
	if (r >= 0)
		r = pb_decode(&agent_io_desc, &a, payload.p, payload.n, &io, &e);
	if (r < 0) {
		tell(p, r, err_msg(&e));
		_exit(255);
	}
	tell(p, 0, "");
	end_like((int)io.n);
}

static NORETURN void wait_for_end(struct vm_proxy *p)
{
	struct chan ch = CHAN_INIT;
	ch.fd = p->sock;
	for (;;) {
		struct pollfd row[2] = { { p->sock, POLLIN, 0 }, { p->sigfd, POLLIN, 0 } };
		if (poll(row, 2, -1) < 0 && errno != EINTR)
			_exit(255);
		if (row[1].revents & POLLIN) {
			struct signalfd_siginfo si;
			while (read(p->sigfd, &si, sizeof si) == sizeof si)
				forward(p, (int)si.ssi_signo);
		}
		if (row[0].revents) {
			struct ttrpc_frame f;
			int r = chan_fill(&ch);
			while (r > 0 && (r = chan_next(&ch, &f)) > 0)
				frame(p, &f);
			if (r < 0) { /* the machine is gone, and with it our process */
				tell(p, -ECONNRESET, "the container's machine ended");
				end_like(SIGKILL);
			}
		}
	}
}

void vm_proxy_fail(struct vm_proxy *p, int code, const struct err *e)
{
	tell(p, code, err_msg(e));
	_exit(255);
}

void vm_proxy_serve(struct vm_proxy *p, const char *method, const struct pb_desc *d, const void *msg, const int fds[3])
{
	_cleanup_err_ struct err e = ERR_INIT;
	sigset_t set;
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	p->sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	int r = control_send(p->sock, CONTROL_STREAM, method, d, msg, fds, 3, &e);
	if (r < 0)
		vm_proxy_fail(p, r, &e);
	for (int i = 0; p->tty < 0 && i < 3; i++) /* the monitor holds them now; holding them too would keep a pipe's reader from seeing its end */
		if (fds[i] > 2)
			close(fds[i]);
	if (p->tty < 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		for (int i = 0; i < 3; i++)
			dup2(null, i);
	}
	wait_for_end(p);
}

static NORETURN void exec_proxy(struct vm_proxy *p, const struct agent_exec *q, int slave)
{
	_cleanup_err_ struct err e = ERR_INIT;
	const int fds[3] = { slave >= 0 ? slave : 0, slave >= 0 ? slave : 1, slave >= 0 ? slave : 2 };
	setsid();
	p->tty = slave;
	if (slave >= 0)
		ioctl(slave, TIOCSCTTY, 0);
	p->sock = control_connect(p->c->state_fd, &e);
	if (p->sock < 0)
		vm_proxy_fail(p, p->sock, &e);
	vm_proxy_serve(p, "Exec", &agent_exec_desc, q, fds);
}

static int read_verdict(int fd, struct err *e)
{
	char buf[4200];
	ssize_t n = fd_read_full(fd, buf, sizeof buf - 1);
	if (n <= 0)
		return err_set(e, EIO, "the process that stands for the exec ended without a word");
	buf[n] = 0;
	char *text = strchr(buf, '\n');
	int code = atoi(buf);
	return code < 0 ? err_set(e, code, "%s", text ? text + 1 : "") : 0;
}

int vm_exec(struct tier_container *c, struct tier_exec_options *o, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	_cleanup_strbuf_ struct strbuf process = STRBUF_INIT;
	_cleanup_close_ int slave = -EBADF;
	char id[64];
	uint64_t rnd;
	int ready[2];
	if (o->stdio.preserve_fds)
		return err_set(e, EOPNOTSUPP, "--preserve-fds: open files cannot be passed into a virtual machine");
	int r = specjson_process(o->process, &process);
	if (r < 0)
		return err_sys(e, r, "exec");
	if (getrandom(&rnd, sizeof rnd, 0) != sizeof rnd)
		return err_sys(e, errno, "getrandom");
	snprintf(id, sizeof id, "%016llx", (unsigned long long)rnd);
	if (o->process->terminal && (r = vm_terminal(&o->stdio, o->process, &slave, e)) < 0)
		return r;
	struct agent_exec q = { .id = c->id, .exec_id = o->exec_id ? o->exec_id : id, .process = { process.s, process.len }, .terminal = o->process->terminal,
		.stdin_open = true, .two_phase = o->exec_id != NULL, .cgroup_sub = o->cgroup_sub,
		.width = o->process->console_width.v, .height = o->process->console_height.v };
	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	_cleanup_close_ int ready_r = ready[0];
	pid_t pid = fork();
	if (pid == 0) {
		struct vm_proxy p = { .c = c, .exec_id = q.exec_id, .ready_fd = ready[1] };
		close(ready_r);
		exec_proxy(&p, &q, slave);
	}
	close(ready[1]);
	if (pid < 0)
		return err_sys(e, errno, "fork");
	r = read_verdict(ready_r, e);
	if (r < 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return r;
	}
	*ret_pid = pid;
	*ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return 0;
}
