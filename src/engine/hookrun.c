/* One hook: fork, state on stdin, timeout, what a failure said. */
#include "engine/hookrun.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sys/fd.h"

enum { HOOK_OUTPUT_MAX = 4096 }; /* bytes of a failed hook's output that an error quotes */

static int open_output(const struct oci_spec *spec, const char *key, struct err *e) {
	const char *path = oci_annotation(spec, key);
	if (path) {
		int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0700);
		return fd < 0 ? err_sys(e, errno, "open %s (annotation %s)", path, key) : fd;
	}
	/* Kept in memory, so that no hook can block on a reader; quoted when it fails. */
	int fd = memfd_create("hook", MFD_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "memfd_create") : fd;
}

static int input_fd(const struct strbuf *state, struct err *e) {
	_cleanup_close_ int fd = memfd_create("state", MFD_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "memfd_create");
	int r = fd_write_all(fd, state->s, state->len);
	if (r < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, r < 0 ? r : errno, "write hook's state");
	return TAKE_FD(fd);
}

static NORETURN void child(const struct oci_hook *h, const char *cwd, char **args, char **env, int in, int out, int err, int report) {
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (cwd)
		(void)!chdir(cwd); /* as runc and crun: relative names in a hook start at the bundle, where it can be reached */
	if (dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(err, 2) >= 0 && cloexec_from(3) >= 0)
		execve(h->path, args, env);
	int code = errno;
	(void)!write(report, &code, sizeof(code));
	_exit(127);
}

/* Wait for the hook, at most timeout seconds; kills it then. Returns wait status or -ETIMEDOUT. */
static int wait_hook(pid_t pid, const struct oci_hook *h) {
	int status = 0;
	bool late = false;
	if (h->timeout.set && h->timeout.v > 0) {
		_cleanup_close_ int fd = pidfd_open(pid, 0);
		struct timespec now, end;
		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_sec += h->timeout.v;
		for (;;) {
			clock_gettime(CLOCK_MONOTONIC, &now);
			int64_t ms = (end.tv_sec - now.tv_sec) * 1000 + (end.tv_nsec - now.tv_nsec) / 1000000;
			struct pollfd p = { fd, POLLIN, 0 };
			int n = poll(&p, 1, ms > 0 ? (int)MIN(ms, (int64_t)INT32_MAX) : 0);
			if (n > 0 || (n < 0 && errno != EINTR))
				break;
			if (n == 0 && ms <= 0) {
				late = true;
				kill(pid, SIGKILL);
				break;
			}
		}
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return late ? -ETIMEDOUT : status;
}

static void quote_output(struct strbuf *b, const char *label, int fd) {
	char buf[HOOK_OUTPUT_MAX];
	ssize_t n = pread(fd, buf, sizeof(buf), 0);
	while (n > 0 && buf[n - 1] == '\n')
		n--;
	strbuf_printf(b, ", %s: ", label);
	strbuf_add(b, buf, n > 0 ? (size_t)n : 0);
}

static int describe(int status, const struct oci_hook *h, int out, int err, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	if (status == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "hook ran past specified timeout of %llds", (long long)h->timeout.v);
	if (status < 0)
		return err_sys(e, status, "wait for %s", h->path);
	if (WIFEXITED(status))
		strbuf_printf(&b, "exit status %d", WEXITSTATUS(status));
	else
		strbuf_printf(&b, "signal: %s", strsignal(WTERMSIG(status)));
	quote_output(&b, "stdout", out);
	quote_output(&b, "stderr", err);
	return err_set(e, ECANCELED, "%s", strbuf_str(&b));
}

int hook_run(const struct oci_spec *spec, const char *bundle, enum oci_hook_point point, const struct oci_hook *h, const struct strbuf *state, struct err *e) {
	/* Without "env" a hook of the host gets ours, as under runc; nothing of the host's environment is for hooks inside. */
	bool inside = point == OCI_HOOK_CREATE_CONTAINER || point == OCI_HOOK_START_CONTAINER;
	char *just_path[] = { (char *)(uintptr_t)h->path, NULL }, *no_env[] = { NULL };
	_cleanup_close_ int in = input_fd(state, e);
	if (in < 0)
		return in;
	_cleanup_close_ int out = open_output(spec, "run.oci.hooks.stdout", e);
	if (out < 0)
		return out;
	_cleanup_close_ int err = open_output(spec, "run.oci.hooks.stderr", e);
	if (err < 0)
		return err;
	int report[2];
	if (pipe2(report, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	pid_t pid = fork();
	if (pid == 0)
		child(h, point == OCI_HOOK_START_CONTAINER ? NULL : bundle, h->args.n ? h->args.v : just_path, h->env.n ? h->env.v : inside ? no_env : environ, in, out, err, report[1]);
	int code = errno;
	close(report[1]);
	_cleanup_close_ int reader = report[0];
	if (pid < 0)
		return err_sys(e, code, "fork");
	code = 0;
	if (fd_read_full(reader, &code, sizeof(code)) == sizeof(code) && code) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return err_sys(e, code, "fork/exec %s", h->path);
	}
	int status = wait_hook(pid, h);
	return status == 0 ? 0 : describe(status, h, out, err, e);
}
