/* The vm tier: the engine's requests as a monitor process and messages to it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/fd.h"
#include "tier/tier.h"
#include "tier/vm/call.h"
#include "tier/vm/control.h"
#include "tier/vm/monitor.h"
#include "tier/vm/ops_internal.h"
#include "tier/vm/setup.h"
#include "tier/vm/specjson.h"

static int probe(struct tier_probe *ret)
{
	_cleanup_err_ struct err e = ERR_INIT;
	*ret = (struct tier_probe){ .caps = TIER_EXEC | TIER_PAUSE | TIER_UPDATE | TIER_STATS | TIER_TERMINAL | TIER_TWO_PHASE_EXEC | TIER_MOUNTS };
	ret->usable = hypervisor_qemu.probe(&e) >= 0 || hypervisor_builtin.probe(NULL) >= 0;
	if (!ret->usable)
		snprintf(ret->reason, sizeof ret->reason, "%s", err_msg(&e));
	return 0;
}

/* ---- terminals ---------------------------------------------------------------------------------------------------- */

static int send_master(int sock, int master, struct err *e)
{
	char name[] = "/dev/ptmx";
	union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } cm;
	struct iovec iov = { name, sizeof name };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cm, .msg_controllen = sizeof cm };
	memset(&cm, 0, sizeof cm);
	cm.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&cm.h), &master, sizeof master);
	return sendmsg(sock, &mh, MSG_NOSIGNAL) < 0 ? err_sys(e, errno, "send the terminal to the console socket") : 0;
}

int vm_terminal(struct tier_stdio *io, const struct oci_process *p, int *ret_slave, struct err *e)
{
	int master, slave;
	struct winsize ws = { .ws_row = (unsigned short)(p->console_height.set ? p->console_height.v : 0),
		.ws_col = (unsigned short)(p->console_width.set ? p->console_width.v : 0) };
	if (openpty(&master, &slave, NULL, NULL, &ws) < 0)
		return err_sys(e, errno, "open a pseudo terminal");
	fcntl(master, F_SETFD, FD_CLOEXEC);
	fcntl(slave, F_SETFD, FD_CLOEXEC);
	struct termios t;
	if (tcgetattr(slave, &t) == 0) { /* the guest's terminal edits, echoes and turns ^C into signals; ours passes bytes */
		cfmakeraw(&t);
		tcsetattr(slave, TCSANOW, &t);
	}
	if (io->console_socket >= 0) {
		int r = send_master(io->console_socket, master, e);
		close(master);
		if (r < 0) {
			close(slave);
			return r;
		}
	} else {
		io->terminal = master;
	}
	*ret_slave = slave;
	return 0;
}

/* ---- create ------------------------------------------------------------------------------------------------------- */

/* In the monitor: what the container would have of the host's namespaces. The network is its own from the start, so that hooks find it by our pid. */
static int enter_network(const struct oci_spec *s, struct err *e)
{
	const struct oci_namespace *ns = oci_namespace(s, CLONE_NEWNET);
	if (!ns)
		return 0;
	if (!ns->path)
		return unshare(CLONE_NEWNET) < 0 ? err_sys(e, errno, "new network namespace") : 0;
	_cleanup_close_ int fd = open(ns->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return err_sys(e, errno, "network namespace %s", ns->path);
	return 0;
}

struct fork_args {
	struct tier_container *c;
	struct tier_create_options *o;
	struct vm_options *options;
	struct assets *assets;
	const struct hypervisor *hypervisor;
	int listen_fd, slave, go_fd, ready_fd;
};

/* The monitor lives as long as the container: a pipe of some caller that it held open would never end for its reader. */
static void close_others(const int *keep, size_t n)
{
	DIR *d = opendir("/proc/self/fd");
	int fds[4096];
	size_t k = 0;
	for (struct dirent *ent; d && (ent = readdir(d)) && k < ARRAY_SIZE(fds);) {
		uint32_t fd;
		if (parse_u32(ent->d_name, &fd) < 0 || fd < 3 || (int)fd == dirfd(d))
			continue;
		bool kept = false;
		for (size_t i = 0; i < n; i++)
			kept |= keep[i] == (int)fd;
		if (!kept)
			fds[k++] = (int)fd;
	}
	if (d)
		closedir(d);
	while (k)
		close(fds[--k]);
}

static NORETURN void monitor_child(const struct fork_args *f)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct monitor_config mc = { .id = f->c->id, .bundle = f->c->bundle, .rootfs = f->c->rootfs, .spec = f->c->spec, .options = f->options, .assets = f->assets, .hypervisor = f->hypervisor, .listen_fd = f->listen_fd,
		.terminal = f->slave >= 0, .own_network = oci_namespace(f->c->spec, CLONE_NEWNET) != NULL, .ready_fd = f->ready_fd };
	char go;
	setsid();
	int r = enter_network(f->c->spec, &e);
	if (r < 0 || write(f->ready_fd, "N", 1) != 1 || read(f->go_fd, &go, 1) != 1) { /* the runtime is gone: nobody wants us */
		if (r < 0)
			dprintf(f->ready_fd, "E%d\n%s", r, err_msg(&e));
		_exit(1);
	}
	for (int i = 0; i < 3; i++)
		mc.stdio[i] = f->slave >= 0 ? fcntl(f->slave, F_DUPFD_CLOEXEC, 3) : fcntl(i, F_DUPFD_CLOEXEC, 3);
	mc.state_fd = fcntl(f->c->state_fd, F_DUPFD_CLOEXEC, 3);
	if (f->slave >= 0)
		ioctl(mc.stdio[0], TIOCSCTTY, 0);
	mc.listen_fd = f->listen_fd >= 0 ? fcntl(f->listen_fd, F_DUPFD_CLOEXEC, 3) : -EBADF;
	mc.ready_fd = fcntl(f->ready_fd, F_DUPFD_CLOEXEC, 3);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const int keep[] = { mc.stdio[0], mc.stdio[1], mc.stdio[2], mc.state_fd, mc.listen_fd, mc.ready_fd };
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	close_others(keep, ARRAY_SIZE(keep));
	if (f->options->sandbox) {
		struct vm_member member = { f->c, f->options->cache, f->options->root_shared, { mc.stdio[0], mc.stdio[1], mc.stdio[2] }, mc.terminal, mc.ready_fd };
		f->c->state_fd = mc.state_fd;
		vm_member_run(&member);
	}
	monitor_run(&mc);
}

/* The monitor's verdict: "CODE\nTEXT". */
static int read_verdict(int fd, struct err *e)
{
	char buf[4200];
	ssize_t n = fd_read_full(fd, buf, sizeof buf - 1);
	if (n <= 0)
		return err_set(e, EIO, "the monitor process was killed or died without a word");
	buf[n] = 0;
	char *text = strchr(buf, '\n');
	int code = atoi(buf);
	return code < 0 ? err_set(e, code, "%s", text ? text + 1 : "") : 0;
}

static int hooks(struct tier_container *c, struct tier_create_options *o, enum oci_hook_point p, struct err *e)
{
	return o->run_hooks && c->spec->hooks[p].n ? o->run_hooks(c, p, o->arg, e) : 0;
}

/* From the fork to the container's existence. */
static int bring_up(struct tier_container *c, struct tier_create_options *o, int go_fd, int ready_fd, struct err *e)
{
	char b;
	if (read(ready_fd, &b, 1) != 1 || b != 'N')
		return b == 'E' ? read_verdict(ready_fd, e) : err_set(e, EIO, "the monitor process ended early");
	int r = o->created ? o->created(c, o->arg, e) : 0;
	if (r >= 0)
		r = hooks(c, o, OCI_HOOK_PRESTART, e);
	if (r >= 0)
		r = hooks(c, o, OCI_HOOK_CREATE_RUNTIME, e);
	if (r < 0)
		return r;
	if (write(go_fd, "x", 1) != 1)
		return err_set(e, EIO, "the monitor process ended early");
	return read_verdict(ready_fd, e);
}

static int create(struct tier_container *c, struct tier_create_options *o, struct err *e)
{
	struct vm_options options;
	int ready[2], go[2];
	int r = vm_options(c->spec, &options, e);
	if (r < 0)
		return r;
	if (!c->spec->has_process)
		return err_set(e, EINVAL, "config.json: no process");
	if (c->spec->hooks[OCI_HOOK_CREATE_CONTAINER].n)
		return err_set(e, EOPNOTSUPP, "hooks createContainer: a program of the host cannot run in namespaces inside of a virtual machine; createRuntime and startContainer can");
	if (o->stdio.preserve_fds || o->stdio.listen_fds)
		return err_set(e, EOPNOTSUPP, "--preserve-fds, LISTEN_FDS: open files cannot be passed into a virtual machine");
	_cleanup_assets_ struct assets assets = { 0 };
	_cleanup_close_ int listen_fd = -EBADF, slave = -EBADF;
	const struct hypervisor *hv = NULL;
	if (options.sandbox)
		r = vm_member_link(c, options.sandbox, e);
	else if ((r = vm_hypervisor(&options, &hv, e)) >= 0 && (r = vm_assets(&options, &assets, e)) >= 0) {
		vm_template(hv, &options, &assets);
		r = listen_fd = control_listen(c->state_fd, e);
	}
	if (r < 0)
		return r;
	if (c->spec->process.terminal && (r = vm_terminal(&o->stdio, &c->spec->process, &slave, e)) < 0)
		return r;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	_cleanup_close_ int ready_r = ready[0], ready_w = ready[1];
	if (pipe2(go, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	_cleanup_close_ int go_r = go[0], go_w = go[1];
	struct fork_args f = { c, o, &options, &assets, hv, listen_fd, slave, go_r, ready_w };
	struct cgroup_join join;
	int pidfd;
	if (!options.sandbox && (r = vm_cgroup_widen(c, &c->spec->resources, options.memory, e)) < 0)
		return r;
	pid_t pid = vm_fork(c, &join, &pidfd, e);
	if (pid < 0)
		return pid;
	if (pid == 0) {
		close(go_w);
		close(ready_r);
		if (cgroup_join_self(&join) < 0)
			_exit(1);
		cgroup_join_close(&join);
		monitor_child(&f);
	}
	close(TAKE_FD(ready_w));
	c->init_pid = pid;
	c->init_pidfd = pidfd;
	r = bring_up(c, o, go_w, ready_r, e);
	if (r < 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	return r;
}

/* ---- the rest: messages to the monitor ------------------------------------------------------------------------------ */

static int call(struct tier_container *c, const char *method, const struct pb_desc *d, const void *msg, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	return control_call(c->state_fd, method, d, msg, NULL, NULL, &a, NULL, e);
}

static int start(struct tier_container *c, struct err *e)
{
	return call(c, "Start", &agent_ref_desc, &(struct agent_ref){ c->id, NULL }, e);
}

static int exec_start(struct tier_container *c, const char *exec_id, struct err *e)
{
	return call(c, "Start", &agent_ref_desc, &(struct agent_ref){ c->id, exec_id }, e);
}

static int signal_it(struct tier_container *c, int sig, bool all, struct err *e)
{
	struct agent_signal q = { .id = c->id, .signal = (uint64_t)sig, .all = all };
	_cleanup_err_ struct err inner = ERR_INIT;
	int r = call(c, "Signal", &agent_signal_desc, &q, &inner);
	if (r < 0 && sig == SIGKILL && c->init_pid > 0) { /* the guest does not answer: the monitor's death takes the machine along */
		if (syscall(SYS_pidfd_send_signal, c->init_pidfd, SIGKILL, NULL, 0) == 0)
			return 0;
		return err_set(e, ESRCH, "no such process");
	}
	if (r < 0)
		err_move(e, &inner);
	return r;
}

static int pause_it(struct tier_container *c, struct err *e)
{
	return call(c, "Freeze", &agent_ref_desc, &(struct agent_ref){ c->id, NULL }, e);
}

static int resume(struct tier_container *c, struct err *e)
{
	return call(c, "Thaw", &agent_ref_desc, &(struct agent_ref){ c->id, NULL }, e);
}

/* A machine has the memory and processors that it was started with: limits move inside of that. */
static int update(struct tier_container *c, const struct oci_resources *r, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct oci_spec *spec;
	struct vm_options o;
	int x = oci_spec_load(&a, c->state_fd, "config.json", &spec, e); /* the engine's copy, made at create */
	if (x >= 0)
		x = vm_options(spec, &o, e);
	if (x < 0)
		return x;
	if (!o.sandbox && r->memory.limit.set && r->memory.limit.v > 0 && (uint64_t)r->memory.limit.v > o.memory)
		return err_set(e, ERANGE, "memory limit %lld: the container's machine has %llu bytes and cannot grow while it runs",
			(long long)r->memory.limit.v, (unsigned long long)o.memory);
	if ((x = specjson_resources(r, &b)) < 0)
		return err_sys(e, x, "update");
	x = call(c, "Update", &agent_update_desc, &(struct agent_update){ c->id, { b.s, b.len } }, e);
	return x < 0 || o.sandbox ? x : vm_cgroup_widen(c, r, o.memory, e);
}

/* What the guest counts, as member "guest" beside the host's view of the whole machine. */
static int stats(struct tier_container *c, struct json_writer *w, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf keep = STRBUF_INIT;
	struct agent_text t;
	struct json *doc;
	int r = control_call(c->state_fd, "Stats", &agent_ref_desc, &(struct agent_ref){ c->id, NULL }, &agent_text_desc, &t, &a, &keep, e);
	if (r >= 0)
		r = json_parse(&a, t.text.p, t.text.n, &doc, e);
	if (r < 0)
		return r;
	jw_key(w, "guest");
	jw_value(w, doc);
	return 0;
}

static int64_t oom_kills(struct tier_container *c)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	uint64_t n;
	if (file_read_at(c->state_fd, MONITOR_OOM, &b, 64) < 0)
		return 0; /* written with the first */
	b.s[strcspn(strbuf_str(&b), "\n")] = 0;
	return parse_u64(b.s, &n) < 0 ? -EBADMSG : (int64_t)MIN(n, (uint64_t)INT64_MAX);
}

static int oom_watch(struct tier_container *c, struct err *e)
{
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0 || inotify_add_watch(fd, c->state_dir, IN_MOVED_TO) < 0) /* the file appears by rename */
		return err_sys(e, errno, "watch %s", c->state_dir);
	return TAKE_FD(fd);
}

static int processes(struct tier_container *c, struct strbuf *out, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf keep = STRBUF_INIT;
	struct agent_text t;
	int r = control_call(c->state_fd, "Processes", &agent_ref_desc, &(struct agent_ref){ c->id, NULL }, &agent_text_desc, &t, &a, &keep, e);
	if (r >= 0 && strbuf_add(out, t.text.p, t.text.n) < 0)
		r = err_set(e, ENOMEM, "ps");
	return r;
}

static int destroy(struct tier_container *c, struct err *e)
{
	static const char *const files[] = { MONITOR_SOCKET, MONITOR_REASON, MONITOR_OOM };
	(void)e;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(c->state_fd, files[i], 0);
	return 0;
}

const struct tier_ops tier_vm = { .name = "vm", .probe = probe, .create = create, .start = start, .exec = vm_exec, .signal = signal_it, .pause = pause_it,
	.resume = resume, .update = update, .stats = stats, .oom_kills = oom_kills, .oom_watch = oom_watch, .processes = processes, .exec_start = exec_start, .mounts_add = vm_mounts_add, .mounts_remove = vm_mounts_remove,
	.destroy = destroy };
