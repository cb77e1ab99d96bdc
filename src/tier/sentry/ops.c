/*
 * The sentry tier: the engine's requests as a tierce-sentry process and messages to it. This file is linked into the runtime; the user-space
 * kernel is not: it is a program of its own, started as pid 1 of fresh namespaces inside the container's cgroup.
 *
 *   create: clone3 (pid, mnt, ipc, uts[, net] namespaces, v2 cgroup) -> child: v1 cgroups, join namespaces by path, execve tierce-sentry with
 *           a configuration memfd, the listening socket "sentry.sock" of the state directory, and a channel on which it says "ready" or why not.
 *   start:  connect, SENTRY_START; the answer is execve's result.
 *   exec:   connect, SENTRY_EXEC with configuration and standard streams; a proxy process of ours waits for the status, so that callers have
 *           a host process to wait for and to signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "confine/cgroup.h"
#include "confine/rootfs.h"
#include "confine/seccomp.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/sentry/config.h"
#include "tier/tier.h"

#define SOCKET_NAME "sentry.sock"

static int program(char buf[4096])
{
	static const char *const places[] = { "%s/tierce-sentry", "%s/../sentry/tierce-sentry", "%s/src/cmd/sentry/tierce-sentry", "%s/../libexec/tierce/tierce-sentry" };
	char self[3072];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = 0;
		char *slash = strrchr(self, '/');
		if (slash)
			*slash = 0;
		for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
			const char *tail = places[i] + 2;
			snprintf(buf, 4096, "%s%s", self, tail);
			if (access(buf, X_OK) == 0)
				return 0;
		}
	}
	snprintf(buf, 4096, "/usr/local/bin/tierce-sentry");
	if (access(buf, X_OK) == 0)
		return 0;
	snprintf(buf, 4096, "/usr/bin/tierce-sentry");
	return access(buf, X_OK) == 0 ? 0 : -ENOENT;
}

static int op_probe(struct tier_probe *ret)
{
	char path[4096];
	*ret = (struct tier_probe){ .caps = TIER_EXEC | TIER_PAUSE | TIER_UPDATE | TIER_STATS | TIER_TERMINAL };
	ret->usable = program(path) == 0;
	if (!ret->usable)
		snprintf(ret->reason, sizeof(ret->reason), "the program tierce-sentry is not installed beside this one");
	return 0;
}

/* ---- configuration ------------------------------------------------------------------------------------------------- */

static void put(struct strbuf *b, const char *key, const char *value)
{
	strbuf_printf(b, "%s=%s", key, value ? value : "");
	strbuf_putc(b, 0);
}

static void put_u64(struct strbuf *b, const char *key, uint64_t v)
{
	strbuf_printf(b, "%s=%llu", key, (unsigned long long)v);
	strbuf_putc(b, 0);
}

static void put_process(struct strbuf *b, const struct oci_process *p)
{
	for (size_t i = 0; i < p->args.n; i++)
		put(b, "arg", p->args.v[i]);
	for (size_t i = 0; i < p->env.n; i++)
		put(b, "env", p->env.v[i]);
	put(b, "cwd", p->cwd ? p->cwd : "/");
	put_u64(b, "uid", p->user.uid);
	put_u64(b, "gid", p->user.gid);
	if (p->user.umask.set)
		put_u64(b, "umask", p->user.umask.v);
	for (size_t i = 0; i < p->user.n_additional_gids; i++)
		put_u64(b, "group", p->user.additional_gids[i]);
	for (size_t i = 0; i < p->n_rlimits; i++) {
		strbuf_printf(b, "rlimit=%d:%llu:%llu", p->rlimits[i].resource, (unsigned long long)p->rlimits[i].soft, (unsigned long long)p->rlimits[i].hard);
		strbuf_putc(b, 0);
	}
	strbuf_printf(b, "caps=%llx %llx %llx %llx %llx", (unsigned long long)p->caps.bounding, (unsigned long long)p->caps.effective,
		(unsigned long long)p->caps.permitted, (unsigned long long)p->caps.inheritable, (unsigned long long)p->caps.ambient);
	strbuf_putc(b, 0);
	if (p->oom_score_adj.set) {
		strbuf_printf(b, "oom=%d", (int)p->oom_score_adj.v);
		strbuf_putc(b, 0);
	}
	if (p->no_new_privileges)
		put(b, "nnp", "");
	if (p->terminal)
		put(b, "terminal", "");
}

static void put_mount(struct strbuf *b, const struct oci_mount *m, const char *bundle)
{
	const char *type = m->bind ? "bind" : m->type ? m->type : "bind";
	unsigned long flags = m->flags_set;
	if (m->attr_set & MOUNT_ATTR_RDONLY)
		flags |= MS_RDONLY;
	if (m->attr_set & MOUNT_ATTR_NOSUID)
		flags |= MS_NOSUID;
	if (m->attr_set & MOUNT_ATTR_NODEV)
		flags |= MS_NODEV;
	if (m->attr_set & MOUNT_ATTR_NOEXEC)
		flags |= MS_NOEXEC;
	strbuf_printf(b, "mount=%s\001", type);
	if (m->bind && m->source && *m->source != '/')
		strbuf_printf(b, "%s/%s", bundle, m->source);
	else
		strbuf_puts(b, m->source ? m->source : "none");
	strbuf_printf(b, "\001%s%s\001%lu\001%s", *m->destination == '/' ? "" : "/", m->destination, flags, m->data ? m->data : "");
	strbuf_putc(b, 0);
}

/* The guest's calls do not reach the host, so the profile is not needed to protect it, and it costs every call: it is applied, inside, when it is asked for. */
static int put_seccomp(struct strbuf *b, const struct tier_container *c, struct err *e)
{
	_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
	const char *wanted = oci_annotation(c->spec, "dev.tierce.sentry.seccomp");
	if (!wanted || streq(wanted, "off"))
		return 0;
	if (!streq(wanted, "on"))
		return err_set(e, EINVAL, "annotation dev.tierce.sentry.seccomp: \"%s\" is neither on nor off", wanted);
	int r = seccomp_prepare(c->spec, -EBADF, &f, e);
	if (r < 0 || !f.present)
		return r;
	if (f.notify)
		return err_set(e, ENOTSUP, "SCMP_ACT_NOTIFY: the sentry has no user notification");
	strbuf_puts(b, "seccomp=");
	for (size_t i = 0; i < f.prog.n * sizeof(*f.prog.insns); i++)
		strbuf_printf(b, "%02x", ((const uint8_t *)f.prog.insns)[i]);
	strbuf_putc(b, 0);
	return 0;
}

static int put_spec(struct strbuf *b, const struct tier_container *c, struct err *e)
{
	const struct oci_spec *s = c->spec;
	bool dev = false;
	put(b, "rootfs", c->rootfs);
	if (s->root_readonly)
		put(b, "readonly", "");
	if (s->hostname)
		put(b, "hostname", s->hostname);
	if (s->domainname)
		put(b, "domainname", s->domainname);
	const char *overlay = oci_annotation(s, "dev.tierce.sentry.overlay");
	if (overlay && !streq(overlay, "memory") && !streq(overlay, "self") && !streq(overlay, "none"))
		return err_set(e, EINVAL, "annotation dev.tierce.sentry.overlay: \"%s\" is not memory, self or none", overlay);
	if (overlay && !streq(overlay, "none"))
		put(b, "overlay", overlay);
	for (size_t i = 0; i < s->n_mounts; i++) {
		struct oci_mount m = s->mounts[i];
		if (streq(m.destination, "/dev") && m.type && streq(m.type, "tmpfs")) {
			m.type = "devtmpfs"; /* the default devices are in it */
			dev = true;
		}
		put_mount(b, &m, c->bundle);
	}
	(void)dev;
	for (size_t i = 0; i < s->masked_paths.n; i++)
		put(b, "masked", s->masked_paths.v[i]);
	for (size_t i = 0; i < s->readonly_paths.n; i++)
		put(b, "readonly-path", s->readonly_paths.v[i]);
	put_process(b, &s->process);
	if (s->resources.pids_limit.set && s->resources.pids_limit.v > 0)
		put_u64(b, "pids", (uint64_t)s->resources.pids_limit.v);
	int r = put_seccomp(b, c, e);
	if (r < 0)
		return r;
	if (s->hooks[OCI_HOOK_START_CONTAINER].n)
		return err_set(e, ENOTSUP, "startContainer hooks cannot run behind the sentry (they would run inside the container's kernel)");
	return b->failed ? err_set(e, ENOMEM, "out of memory") : 0;
}

static int config_fd(const struct strbuf *b, struct err *e)
{
	int fd = memfd_create("sentry-config", MFD_CLOEXEC);
	if (fd < 0 || fd_write_all(fd, b->s, b->len) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, errno, "configuration of the sentry");
	return fd;
}

/* ---- sockets --------------------------------------------------------------------------------------------------------- */

static struct sockaddr_un address(int dirfd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dirfd, SOCKET_NAME);
	return a;
}

static int listen_socket(int dirfd, struct err *e)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = address(dirfd);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0)
		return err_sys(e, errno, "control socket of the sentry");
	return TAKE_FD(fd);
}

static int request(const struct tier_container *c, struct sentry_message *m, const int *fds, size_t n_fds, struct err *e)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = address(c->state_fd);
	union { struct cmsghdr h; char space[CMSG_SPACE(8 * sizeof(int))]; } cm = { 0 };
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_sys(e, errno, "the sentry of this container does not answer");
	if (n_fds) {
		mh.msg_control = &cm;
		mh.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cm.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(n_fds * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&cm.h), fds, n_fds * sizeof(int));
	}
	if (sendmsg(fd, &mh, MSG_NOSIGNAL) < 0 || recv(fd, m, sizeof(*m), 0) != sizeof(*m))
		return err_sys(e, errno ? errno : ECONNRESET, "the sentry of this container does not answer");
	m->text[sizeof(m->text) - 1] = 0;
	if (m->value < 0)
		return err_set(e, m->value, "%s", *m->text ? m->text : strerror(-m->value));
	return TAKE_FD(fd);
}

/* ---- create ------------------------------------------------------------------------------------------------------------- */

static int open_terminal(struct tier_stdio *io, const struct oci_process *p, int *ret_slave, struct err *e)
{
	_cleanup_close_ int master = -EBADF, slave = -EBADF;
	struct winsize ws = { .ws_row = (unsigned short)p->console_height.v, .ws_col = (unsigned short)p->console_width.v };
	if (openpty(&master, &slave, NULL, NULL, &ws) < 0)
		return err_sys(e, errno, "open a pseudo terminal");
	fcntl(master, F_SETFD, FD_CLOEXEC);
	fcntl(slave, F_SETFD, FD_CLOEXEC);
	if (io->console_socket >= 0) {
		int r = console_send(io->console_socket, master, "/dev/console", e);
		if (r < 0)
			return r;
	} else {
		io->terminal = TAKE_FD(master);
	}
	*ret_slave = TAKE_FD(slave);
	return 0;
}

struct child { const struct tier_container *c; const char *program; int config, listener, channel, slave; struct cgroup_join *join; bool start_follows; };

static NORETURN void fail(int channel, const char *what)
{
	struct sentry_message m = { .value = -errno };
	snprintf(m.text, sizeof(m.text), "%s: %s", what, strerror(errno));
	if (write(channel, &m, sizeof(m)) < 0)
		_exit(2);
	_exit(1);
}

static NORETURN void child_main(struct child *x)
{
	char fd[4][16];
	int fds[3] = { x->config, x->listener, x->channel };
	const struct oci_spec *s = x->c->spec;
	if (x->join && cgroup_join_self(x->join) < 0)
		fail(x->channel, "join the cgroup");
	for (size_t i = 0; i < s->n_namespaces; i++) {
		int flag = s->namespaces[i].flag == CLONE_NEWNET ? CLONE_NEWNET : s->namespaces[i].flag == CLONE_NEWUTS ? CLONE_NEWUTS : 0;
		if (!flag || !s->namespaces[i].path)
			continue;
		int ns = open(s->namespaces[i].path, O_RDONLY | O_CLOEXEC);
		if (ns < 0 || setns(ns, flag) < 0)
			fail(x->channel, flag == CLONE_NEWNET ? "join the network namespace" : "join the UTS namespace");
		close(ns);
	}
	if (x->slave >= 0) {
		setsid();
		if (dup2(x->slave, 0) < 0 || dup2(x->slave, 1) < 0 || dup2(x->slave, 2) < 0)
			fail(x->channel, "terminal");
	}
	for (unsigned i = 0; i < 3; i++) {
		fcntl(fds[i], F_SETFD, 0);
		snprintf(fd[i], sizeof(fd[i]), "%d", fds[i]);
	}
	char *argv[] = { (char *)(uintptr_t)"tierce-sentry", (char *)(uintptr_t)"--config-fd", fd[0], (char *)(uintptr_t)"--control-fd", fd[1],
		(char *)(uintptr_t)"--ready-fd", fd[2], NULL };
	char *envp[] = { (char *)(uintptr_t)"GLIBC_TUNABLES=glibc.pthread.rseq=0", NULL }; /* one call less in the sentry's filter */
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(x->program, argv, envp);
	fail(x->channel, x->program);
}

static uint64_t namespaces(const struct oci_spec *s)
{
	const struct oci_namespace *net = oci_namespace(s, CLONE_NEWNET);
	return CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (net && !net->path ? CLONE_NEWNET : 0);
}

/* Each task of the guest is two threads of the host, its own and its twin; the sentry has a few more. It counts the guest's itself. */
enum { OWN_THREADS = 24 };
static int widen_pids(struct tier_container *c, const struct oci_resources *asked, struct err *e)
{
	struct oci_resources r = { .set = true };
	if (!asked->pids_limit.set || asked->pids_limit.v <= 0 || !c->cgroup || !cgroup_active(c->cgroup))
		return 0;
	r.pids_limit = (struct opt_i64){ true, MIN(asked->pids_limit.v, (int64_t)INT32_MAX) * 2 + OWN_THREADS };
	int x = cgroup_apply(c->cgroup, &r, CGROUP_APPLY_UPDATE, e);
	return x < 0 ? err_wrap(e, x, "pids limit of the sentry") : 0;
}

static int hooks(struct tier_container *c, struct tier_create_options *o, struct err *e)
{
	static const enum oci_hook_point points[] = { OCI_HOOK_PRESTART, OCI_HOOK_CREATE_RUNTIME, OCI_HOOK_CREATE_CONTAINER };
	for (size_t i = 0; i < ARRAY_SIZE(points); i++)
		if (o->run_hooks && c->spec->hooks[points[i]].n) {
			int r = o->run_hooks(c, points[i], o->arg, e);
			if (r < 0)
				return r;
		}
	return 0;
}

static int spawn(struct tier_container *c, struct child *x, struct err *e)
{
	int pidfd = -EBADF, cg = c->cgroup ? cgroup_fd(c->cgroup) : -EBADF;
	struct clone_args a = { .flags = namespaces(c->spec) | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	if (cg >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)cg;
	}
	pid_t pid = sys_clone3(&a);
	if (pid == 0)
		child_main(x);
	if (pid < 0)
		return err_sys(e, errno, "start the sentry");
	c->in_cgroup_v2 = cg >= 0;
	c->init_pid = pid;
	c->init_pidfd = pidfd;
	return 0;
}

static int abandon(struct tier_container *c, int code)
{
	if (c->init_pid > 0) {
		kill(c->init_pid, SIGKILL);
		waitpid(c->init_pid, NULL, 0);
	}
	return code;
}

static int op_create(struct tier_container *c, struct tier_create_options *o, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_close_ int config = -EBADF, listener = -EBADF, ours = -EBADF, theirs = -EBADF, slave = -EBADF;
	char path[4096];
	struct cgroup_join join = { 0 };
	int pair[2], r = program(path);
	if (r < 0)
		return err_set(e, r, "the program tierce-sentry is not installed beside this one");
	if ((r = put_spec(&b, c, e)) < 0 || (r = config = config_fd(&b, e)) < 0 || (r = listener = listen_socket(c->state_fd, e)) < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "channel to the sentry");
	ours = pair[0];
	theirs = pair[1];
	if (c->spec->process.terminal && (r = open_terminal(&o->stdio, &c->spec->process, &slave, e)) < 0)
		return r;
	if (c->cgroup && (r = cgroup_join_open(c->cgroup, &join, e)) < 0)
		return r;
	if ((r = widen_pids(c, &c->spec->resources, e)) < 0)
		return r;
	struct child x = { c, path, config, listener, theirs, slave, c->cgroup ? &join : NULL, o->start_follows };
	r = spawn(c, &x, e);
	cgroup_join_close(&join);
	if (r < 0)
		return r;
	close(TAKE_FD(theirs));
	if (o->created && (r = o->created(c, o->arg, e)) < 0)
		return abandon(c, r);
	if ((r = widen_pids(c, &c->spec->resources, e)) < 0)
		return abandon(c, r);
	struct sentry_message m = { .value = -ECONNRESET, .text = "the sentry ended before it was ready" };
	ssize_t n = recv(ours, &m, sizeof(m), 0);
	m.text[sizeof(m.text) - 1] = 0;
	if (n != sizeof(m) || m.value < 0)
		return abandon(c, err_set(e, m.value < 0 ? m.value : -ECONNRESET, "%s", m.text));
	r = hooks(c, o, e);
	return r < 0 ? abandon(c, r) : 0;
}

static int op_start(struct tier_container *c, struct err *e)
{
	struct sentry_message m = { .type = SENTRY_START };
	_cleanup_close_ int fd = request(c, &m, NULL, 0, e);
	return fd < 0 ? fd : 0;
}

/* ---- exec ------------------------------------------------------------------------------------------------------------- */

/* Stands for the process on the host: its end is ours, signals to it are passed on. */
static NORETURN void proxy(int fd)
{
	struct sentry_message m;
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	int sfd = (int)syscall(SYS_signalfd4, -1, &all, 8, O_CLOEXEC);
	struct pollfd p[2] = { { fd, POLLIN, 0 }, { sfd, POLLIN, 0 } };
	for (;;) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents) {
			struct { uint32_t signo; char rest[124]; } si;
			if (read(sfd, &si, sizeof(si)) == sizeof(si) && si.signo != SIGCHLD) {
				struct sentry_message k = { .type = SENTRY_SIGNAL, .value = (int32_t)si.signo };
				if (send(fd, &k, sizeof(k), MSG_NOSIGNAL) < 0)
					_exit(137);
			}
		}
		if (p[0].revents) {
			if (recv(fd, &m, sizeof(m), 0) != sizeof(m))
				_exit(137); /* the container is gone */
			_exit(WIFEXITED(m.value) ? WEXITSTATUS(m.value) : 128 + WTERMSIG(m.value));
		}
	}
}

static int op_exec(struct tier_container *c, struct tier_exec_options *o, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_close_ int config = -EBADF, slave = -EBADF, conn = -EBADF;
	struct sentry_message m = { .type = SENTRY_EXEC };
	int r = 0;
	if (o->exec_id)
		return err_set(e, ENOTSUP, "exec in two phases is not supported by the sentry tier");
	put_process(&b, o->process);
	if ((r = put_seccomp(&b, c, e)) < 0)
		return r;
	if (b.failed || (config = config_fd(&b, e)) < 0)
		return b.failed ? -ENOMEM : config;
	if (o->process->terminal && (r = open_terminal(&o->stdio, o->process, &slave, e)) < 0)
		return r;
	int fds[4] = { config, slave >= 0 ? slave : 0, slave >= 0 ? slave : 1, slave >= 0 ? slave : 2 };
	if ((conn = request(c, &m, fds, 4, e)) < 0)
		return conn;
	pid_t pid = fork();
	if (pid == 0) {
		for (int fd = 0; slave >= 0 && fd < 3; fd++)
			close(fd);
		proxy(conn);
	}
	if (pid < 0)
		return err_sys(e, errno, "fork");
	*ret_pid = pid;
	*ret_pidfd = sys_pidfd_open(pid, 0);
	return 0;
}

/* ---- the rest ------------------------------------------------------------------------------------------------------------ */

static int op_signal(struct tier_container *c, int sig, bool all, struct err *e)
{
	if (sig == SIGKILL && !all)
		return sys_pidfd_send_signal(c->init_pidfd, SIGKILL) < 0 && errno != ESRCH ? err_sys(e, errno, "kill the sentry") : 0;
	if (sig == SIGKILL)
		return c->cgroup ? cgroup_kill(c->cgroup, SIGKILL, NULL, e) : sys_pidfd_send_signal(c->init_pidfd, SIGKILL) < 0 ? -errno : 0;
	struct sentry_message m = { .type = SENTRY_SIGNAL, .value = sig, .value2 = all };
	_cleanup_close_ int fd = request(c, &m, NULL, 0, e);
	return fd < 0 ? fd : 0;
}

static int op_pause(struct tier_container *c, struct err *e) { return c->cgroup ? cgroup_freeze(c->cgroup, true, e) : err_set(e, ENOTSUP, "no cgroup to freeze"); }
static int op_resume(struct tier_container *c, struct err *e) { return c->cgroup ? cgroup_freeze(c->cgroup, false, e) : err_set(e, ENOTSUP, "no cgroup to thaw"); }

static int op_update(struct tier_container *c, const struct oci_resources *r, struct err *e)
{
	if (!r->pids_limit.set)
		return 0; /* the others are the cgroup's, which the engine sets */
	struct sentry_message m = { .type = SENTRY_PIDS, .value = r->pids_limit.v > 0 ? (int32_t)MIN(r->pids_limit.v, (int64_t)INT32_MAX) : 0 };
	_cleanup_close_ int fd = request(c, &m, NULL, 0, e);
	return fd < 0 ? fd : widen_pids(c, r, e);
}

static int op_stats(struct tier_container *c, struct json_writer *w, struct err *e)
{
	(void)c, (void)w, (void)e;
	return 0;
}

static int op_destroy(struct tier_container *c, struct err *e)
{
	(void)e;
	return unlinkat(c->state_fd, SOCKET_NAME, 0) < 0 && errno != ENOENT ? -errno : 0;
}

const struct tier_ops tier_sentry = { .name = "sentry", .probe = op_probe, .create = op_create, .start = op_start, .exec = op_exec, .signal = op_signal,
	.pause = op_pause, .resume = op_resume, .update = op_update, .stats = op_stats, .destroy = op_destroy };
