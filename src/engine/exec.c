/* exec: a further process in a container, in one phase or two. */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>

static int check(struct ctr *c, const struct exec_options *o, struct err *e) {
	enum ctr_status s = ctr_status(c);
	if (s == CTR_STOPPED || s == CTR_CREATING)
		return err_set(e, ESRCH, s == CTR_STOPPED ? "cannot exec in a stopped container: container not running" : "cannot exec in a container that is being created");
	if (s == CTR_PAUSED && !o->ignore_paused)
		return err_set(e, EBUSY, "cannot exec in a paused container (use --ignore-paused to override)");
	if (o->detach && o->process->terminal && !o->console_socket)
		return err_set(e, EINVAL, "cannot allocate tty if runtime will detach without setting console socket");
	if ((!o->detach || !o->process->terminal) && o->console_socket)
		return err_set(e, EINVAL, "cannot use console socket if runtime will not detach or allocate tty");
	return 0;
}

/* "0-2,5" as a mask, for the log; processors beyond 63 are left out. */
static uint64_t cpu_mask(const char *list) {
	uint64_t mask = 0;
	for (char *end; *list; list = *end == ',' ? end + 1 : end) {
		unsigned long lo = strtoul(list, &end, 10), hi = lo;
		if (end == list)
			break;
		if (*end == '-')
			hi = strtoul(end + 1, &end, 10);
		for (; lo <= hi && lo < 64; lo++)
			mask |= 1ULL << lo;
		if (*end && *end != ',')
			break;
	}
	return mask;
}

int engine_exec(struct ctr *c, const struct exec_options *o, struct executed *ret, struct err *e) {
	int r = check(c, o, e);
	if (r == 0)
		r = ctr_open_pidfd(c, e);
	if (r == 0)
		r = ctr_load_tier(c, true, e);
	if (r < 0)
		return r;
	if (!c->tier->exec)
		return err_set(e, ENOTSUP, "exec is not supported under isolation %s", c->tier->name);
	caps_warn(c->eng, &o->process->caps);
	if (!o->detach)
		terminal_size_from_stdin(o->process);
	_cleanup_close_ int console = -EBADF, pidfd_socket = -EBADF;
	if (o->console_socket) {
		console = unix_connect(o->console_socket, e);
		if (console < 0)
			return err_wrap(e, console, "console socket");
	}
	if (o->pidfd_socket) {
		pidfd_socket = unix_connect(o->pidfd_socket, e);
		if (pidfd_socket < 0)
			return err_wrap(e, pidfd_socket, "pidfd socket");
	}
	_cleanup_close_ int root_fd = c->spec->seccomp.set ? open(c->eng->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
	struct tier_exec_options t = { .stdio = { console, -EBADF, pidfd_socket, o->preserve_fds, 0 }, .process = o->process, .cgroup_sub = o->cgroup,
		.exec_id = o->exec_id, .no_new_keyring = o->no_new_keyring, .state_root_fd = root_fd };
	pid_t pid = 0;
	_cleanup_close_ int pidfd = -EBADF;
	engine_debug(c->eng, "exec: %s in %s: nsexec container setup", o->process->args.n ? o->process->args.v[0] : "(no program)", c->rec.id);
	forget_affinity();
	if (o->process->cpu_affinity_initial)
		engine_debug(c->eng, "exec: nsexec: affinity: 0x%llx", (unsigned long long)cpu_mask(o->process->cpu_affinity_initial));
	r = c->tier->exec(&c->tc, &t, &pid, &pidfd, e);
	if (r < 0)
		return r;
	engine_debug(c->eng, "exec: pid %d: child process in init(), setns_init: about to exec", pid);
	if (pidfd < 0 && (pidfd = pidfd_open(pid, 0)) < 0)
		r = err_sys(e, errno, "pidfd_open");
	if (r == 0 && o->pid_file)
		r = pid_file_write(o->pid_file, pid, e);
	if (r < 0) {
		(void)kill(pid, SIGKILL); /* not waited for yet: the pid is still its own */
		if (t.stdio.terminal >= 0)
			close(t.stdio.terminal);
		return r;
	}
	*ret = (struct executed){ pid, TAKE_FD(pidfd), t.stdio.terminal };
	return 0;
}

int engine_exec_start(struct ctr *c, const char *exec_id, struct err *e) {
	int r = ctr_open_pidfd(c, e);
	if (r == 0)
		r = ctr_load_tier(c, false, e);
	if (r < 0)
		return r;
	if (!c->tier->exec_start)
		return err_set(e, ENOTSUP, "exec in two phases is not supported under isolation %s", c->tier->name);
	return c->tier->exec_start(&c->tc, exec_id, e);
}
