/* Start, attach, wait, stop, remove: the command line's side of a container's life. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

#include "cmd/tierce/people/pod.h"
#include "cmd/tierce/people/rootless.h"
#include "sys/fd.h"

static const char *monitor_name(const struct pctr *c) {
	return c->pod_id ? c->pod_id : c->id;
}

int pctr_connect(struct pctr *c, struct err *e) {
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_close_ int dir = open(c->p->run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* By descriptor: sun_path has 108 bytes, and a user's run directory may be deep. */
	if (dir < 0 || snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%s/ctl", dir, monitor_name(c)) >= (int)sizeof(sa.sun_path))
		return err_sys(e, dir < 0 ? errno : ENAMETOOLONG, "%s", c->p->run_dir);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "make a socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int r = errno;
		close(fd);
		return err_sys(e, r, "talk to the monitor of %s", c->name);
	}
	return fd;
}

static bool notifies(const struct pctr *c, const char *mode) {
	return !c->pod_id && streq(c->opts.sdnotify ? c->opts.sdnotify : "container", mode);
}

static int spawn_monitor(struct pctr *c, struct err *e) {
	struct people *p = c->p;
	char dir[4096], answer[512];
	int ready[2];
	snprintf(dir, sizeof(dir), "%s/%s", p->run_dir, monitor_name(c));
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "make %s", dir);
	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_sys(e, errno, "make a pipe");
	const char *program = arena_printf(&p->arena, "%s/tierce-monitor", p->libexec);
	pid_t pid = fork();
	if (pid == 0) {
		/* Twice, so that nobody has to wait for it; a session of its own, so that the terminal's signals do not reach it. */
		setsid();
		if (fork() != 0)
			_exit(0);
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		dup2(ready[1], 3);
		cloexec_from(4);
		fcntl(3, F_SETFD, 0);
		if (chdir("/") < 0)
			_exit(127);
		if (p->rootless)
			rootless_note(p->run_dir, getpid(), false);
		if (!notifies(c, "container"))
			unsetenv("NOTIFY_SOCKET");
		execl(program, "tierce-monitor", "--data", p->data_dir, "--run", p->run_dir, "--state-root", p->state_root, "--name", monitor_name(c), "--ready-fd", "3",
			c->pod_id ? "--pod" : (char *)NULL, (char *)NULL);
		dprintf(3, "E%s: %s", program, strerror(errno));
		_exit(127);
	}
	close(ready[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	ssize_t n = pid < 0 ? -1 : fd_read_full(ready[0], answer, sizeof(answer) - 1);
	close(ready[0]);
	answer[n > 0 ? n : 0] = '\0';
	if (n <= 0 || answer[0] != 'R')
		return err_set(e, -EIO, "start the monitor: %s", n > 0 ? answer + 1 : "it died");
	return 0;
}

/* One request, one answer; 'e' becomes an error. */
static int request(int fd, const void *packet, size_t n, struct err *e) {
	char buf[MONITOR_PACKET_MAX + 1];
	if (send(fd, packet, n, MSG_NOSIGNAL) < 0)
		return err_sys(e, errno, "talk to the monitor");
	ssize_t k;
	do
		k = recv(fd, buf, MONITOR_PACKET_MAX, 0);
	while (k < 0 && errno == EINTR);
	if (k <= 0)
		return err_set(e, -EPIPE, "the monitor went away");
	buf[k] = '\0';
	if (buf[0] == 'k' || buf[0] == 'x')
		return 0;
	return err_set(e, -EIO, "%s", buf[0] == 'e' ? buf + 1 : "the monitor answered out of turn");
}

static int send_attach(int fd, const struct pctr *c, const struct attach_io *io, struct err *e) {
	char packet[80];
	packet[0] = 'A';
	packet[1] = (char)((io->in ? MONITOR_STDIN : 0) | (io->out ? MONITOR_STDOUT : 0) | (io->err ? MONITOR_STDERR : 0));
	int n = snprintf(packet + 2, sizeof(packet) - 2, "%s", c->id);
	return request(fd, packet, (size_t)n + 2, e);
}

static void send_size(int fd) {
	struct winsize ws;
	if (ioctl(0, TIOCGWINSZ, &ws) < 0 && ioctl(1, TIOCGWINSZ, &ws) < 0)
		return;
	unsigned char packet[5] = { 'z', ws.ws_row & 255, ws.ws_row >> 8, ws.ws_col & 255, ws.ws_col >> 8 };
	(void)!send(fd, packet, sizeof(packet), MSG_NOSIGNAL);
}

static int prepare(struct pctr *c, struct err *e) {
	const char *rootfs, *netns;
	char stop[4096];
	snprintf(stop, sizeof(stop), "%s/%s/stop", c->p->run_dir, c->id);
	unlink(stop);
	struct pod *pod;
	int r = c->pod_id ? pod_find(c->p, c->pod_id, &pod, e) : 0;
	if (r == 0 && c->pod_id)
		r = pod_up(pod, e);
	if (r == 0)
		r = rootfs_mount(c, &rootfs, e);
	if (r == 0)
		r = net_up(c, &netns, e);
	if (r == 0) {
		/* Before the program starts: it may ask for a name at once. */
		net_refresh_names(c->p);
		r = bundle_write(c, rootfs, netns, e);
	}
	return r;
}

/* --requires: what this one needs runs first. */
static int start_required(struct pctr *c, struct err *e) {
	static unsigned depth;
	enum { DEPTH_MAX = 32 }; /* a circle of requirements ends here */
	int r = 0, fd;
	if (depth >= DEPTH_MAX)
		return err_set(e, -ELOOP, "--requires: containers require each other in a circle");
	depth++;
	for (size_t i = 0; r == 0 && i < c->opts.requires.n; i++) {
		struct pctr *other;
		r = pctr_find(c->p, c->opts.requires.v[i], &other, e);
		if (r == 0 && !other->pid)
			r = pctr_start(other, NULL, &fd, e);
		if (r < 0)
			err_wrap(e, r, "--requires %s", c->opts.requires.v[i]);
	}
	depth--;
	return r;
}

/* The pid of who listens at the other end. */
static pid_t monitor_pid(int fd) {
	struct ucred cred;
	socklen_t n = sizeof(cred);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) == 0 ? cred.pid : 0;
}

/* --conmon-pidfile, --sdnotify conmon: what concerns the monitor. */
static int announce(struct pctr *c, int fd, struct err *e) {
	char text[64];
	pid_t pid = monitor_pid(fd);
	if (c->opts.conmon_pidfile) {
		int n = snprintf(text, sizeof(text), "%d", (int)pid);
		_cleanup_close_ int f = open(c->opts.conmon_pidfile, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		int r = f < 0 ? -errno : fd_write_all(f, text, (size_t)n);
		if (r < 0)
			return err_sys(e, r, "--conmon-pidfile %s", c->opts.conmon_pidfile);
	}
	if (notifies(c, "conmon") && getenv("NOTIFY_SOCKET")) {
		snprintf(text, sizeof(text), "READY=1\nMAINPID=%d\n", (int)pid);
		(void)!notify_send(text);
	}
	return 0;
}

int pctr_start(struct pctr *c, const struct attach_io *io, int *ret_fd, struct err *e) {
	char packet[80];
	int n = snprintf(packet, sizeof(packet), "S%s", c->id);
	*ret_fd = -EBADF;
	pctr_refresh(c);
	/* The end of an earlier run is still being cleaned up. */
	for (int i = 0; i < 2000 && c->monitored && !c->pid && !c->pod_id && !streq(c->state, "restarting"); i++) {
		poll(NULL, 0, 5);
		pctr_refresh(c);
	}
	if (streq(c->state, "paused"))
		return err_set(e, -EBUSY, "container %s is paused: unpause it", c->name);
	if (c->pid && !io)
		return 0;
	int r = c->pid ? 0 : start_required(c, e);
	if (r == 0 && !c->pid)
		r = prepare(c, e);
	if (r == 0 && !c->monitored)
		r = spawn_monitor(c, e);
	_cleanup_close_ int fd = r == 0 ? pctr_connect(c, e) : -EBADF;
	if (r == 0)
		r = fd < 0 ? fd : 0;
	if (r == 0 && io)
		r = send_attach(fd, c, io, e);
	if (r == 0)
		r = request(fd, packet, (size_t)n, e);
	if (r == 0 && io && io->tty)
		send_size(fd);
	if (r == 0)
		r = announce(c, fd, e);
	if (r < 0) {
		/* The monitor removes what it made; mounts and network are ours. */
		pctr_refresh(c);
		if (!c->pid)
			(void)!pctr_cleanup(c, NULL);
		event_container(c, "died");
		return r;
	}
	if (c->p->rootless) {
		/* Should its monitor be killed, it keeps the namespaces alone. */
		pctr_refresh(c);
		if (c->pid)
			rootless_note(c->p->run_dir, c->pid, true);
	}
	net_refresh_hosts(c->p);
	event_container(c, "start");
	if (io)
		*ret_fd = TAKE_FD(fd);
	return 0;
}

/* ---- relay -------------------------------------------------------------------------------------------------------------------- */

/* "ctrl-p,ctrl-q" -> bytes; "" turns detaching off. */
static int detach_sequence(const char *keys, unsigned char *out, size_t *n, struct err *e) {
	*n = 0;
	for (const char *p = keys; *p;) {
		size_t len = strcspn(p, ",");
		if (*n == 16)
			return err_set(e, -EINVAL, "--detach-keys \"%s\" is too long", keys);
		if (len == 1)
			out[(*n)++] = (unsigned char)*p;
		else if (len == 6 && strncmp(p, "ctrl-", 5) == 0 && ((p[5] >= 'a' && p[5] <= 'z') || strchr("@[\\]^_", p[5])))
			out[(*n)++] = (unsigned char)(p[5] >= 'a' ? p[5] - 'a' + 1 : p[5] - '@');
		else
			return err_set(e, -EINVAL, "--detach-keys \"%s\": expected single characters or ctrl-a ... ctrl-z, @ [ \\ ] ^ _, joined by commas", keys);
		p += len + (p[len] == ',');
	}
	return 0;
}

struct relay { int fd, signals; struct termios saved; bool raw, in_open; unsigned char keys[16]; size_t n_keys, matched; };

/* 1: the detach keys were typed. */
static int relay_stdin(struct relay *r) {
	unsigned char buf[4096], out[4096 + 32];
	ssize_t n = read(0, buf, sizeof(buf));
	size_t k = 0;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n <= 0) {
		r->in_open = false;
		(void)!send(r->fd, "I", 1, MSG_NOSIGNAL);
		return 0;
	}
	out[k++] = 'i';
	for (ssize_t i = 0; i < n; i++) {
		if (r->n_keys && buf[i] == r->keys[r->matched]) {
			if (++r->matched == r->n_keys)
				return 1;
			continue;
		}
		/* Keys held back that turned out to be no detach sequence. */
		for (size_t m = 0; m < r->matched; m++)
			out[k++] = r->keys[m];
		r->matched = 0;
		out[k++] = buf[i];
	}
	if (k > 1)
		(void)!send(r->fd, out, k, MSG_NOSIGNAL);
	return 0;
}

static void relay_signal(struct relay *r, struct pctr *c, const struct attach_io *io) {
	struct signalfd_siginfo si;
	if (read(r->signals, &si, sizeof(si)) != sizeof(si))
		return;
	if (si.ssi_signo == SIGWINCH)
		send_size(r->fd);
	else if (io->sig_proxy)
		(void)!pctr_kill(c, (int)si.ssi_signo, NULL);
}

/* Exit code, -EAGAIN to go on, -EPIPE when the monitor went away. */
static int relay_packet(struct relay *r, bool tty) {
	char buf[MONITOR_PACKET_MAX + 1];
	ssize_t n = recv(r->fd, buf, MONITOR_PACKET_MAX, 0);
	if (n < 0 && errno == EINTR)
		return -EAGAIN;
	if (n <= 0)
		return -EPIPE;
	buf[n] = '\0';
	if (buf[0] == 'o' || buf[0] == 'r')
		fd_write_all(buf[0] == 'o' || tty ? 1 : 2, buf + 1, (size_t)n - 1);
	return buf[0] == 'x' ? atoi(buf + 1) : -EAGAIN;
}

int pctr_relay(struct pctr *c, int fd, const struct attach_io *io, struct err *e) {
	static const int forwarded[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH };
	struct relay r = { .fd = fd, .in_open = io->in };
	sigset_t set, old;
	int code = detach_sequence(io->detach_keys ? io->detach_keys : "ctrl-p,ctrl-q", r.keys, &r.n_keys, e);
	if (code < 0)
		return code;
	if (!io->tty)
		r.n_keys = 0;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(forwarded); i++)
		if (io->sig_proxy || forwarded[i] == SIGWINCH)
			sigaddset(&set, forwarded[i]);
	sigprocmask(SIG_BLOCK, &set, &old);
	r.signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (io->tty && io->in && tcgetattr(0, &r.saved) == 0) {
		struct termios raw = r.saved;
		cfmakeraw(&raw);
		r.raw = tcsetattr(0, TCSANOW, &raw) == 0;
	}
	for (code = -EAGAIN; code == -EAGAIN;) {
		struct pollfd p[3] = { { fd, POLLIN, 0 }, { r.signals, POLLIN, 0 }, { r.in_open ? 0 : -1, POLLIN, 0 } };
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			break;
		if (p[1].revents)
			relay_signal(&r, c, io);
		if (p[2].revents && relay_stdin(&r))
			code = -ECANCELED;
		else if (p[0].revents)
			code = relay_packet(&r, io->tty);
	}
	if (r.raw)
		tcsetattr(0, TCSADRAIN, &r.saved);
	if (r.signals >= 0)
		close(r.signals);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (code == -EPIPE) {
		/* The monitor was killed: its container goes on, or its end is on record. */
		pctr_refresh(c);
		if (!c->pid)
			return c->status.exit_code;
		return err_set(e, -EPIPE, "the monitor of %s went away; the container still runs", c->name);
	}
	return code;
}

/* ---- wait, signals, end ------------------------------------------------------------------------------------------------------- */

int pctr_wait(struct pctr *c, struct err *e) {
	char packet[80], buf[MONITOR_PACKET_MAX + 1];
	pctr_refresh(c);
	if (!c->pid && !streq(c->state, "restarting"))
		return c->status.exit_code;
	_cleanup_close_ int fd = pctr_connect(c, NULL);
	int n = snprintf(packet, sizeof(packet), "W%s", c->id);
	if (fd >= 0 && send(fd, packet, (size_t)n, MSG_NOSIGNAL) > 0) {
		ssize_t k;
		while ((k = recv(fd, buf, MONITOR_PACKET_MAX, 0)) > 0) {
			buf[k] = '\0';
			if (buf[0] == 'x')
				return atoi(buf + 1);
			if (buf[0] == 'e')
				return err_set(e, -EIO, "%s", buf + 1);
		}
	}
	/* No monitor: wait for init itself; nobody can tell its exit code then. */
	struct ctr *k;
	int r = engine_open(c, false, &k, e);
	if (r < 0)
		return r == -ENOENT ? c->status.exit_code : r;
	if (ctr_open_pidfd(k, NULL) == 0) {
		struct pollfd p = { k->pidfd, POLLIN, 0 };
		while (poll(&p, 1, -1) < 0 && errno == EINTR)
			;
	}
	ctr_free(k);
	pctr_refresh(c);
	return c->status.exit_code;
}

int engine_open(struct pctr *c, bool lock, struct ctr **ret, struct err *e) {
	int r = ctr_open(&c->p->eng, c->id, lock ? CTR_LOCK : 0, ret, e);
	if (r == -ENOENT)
		err_set(e, -ENOENT, "container %s is not running", c->name);
	return r;
}

int pctr_kill(struct pctr *c, int sig, struct err *e) {
	struct ctr *k;
	int r = engine_open(c, false, &k, e);
	if (r < 0)
		return r;
	r = engine_kill(k, sig, false, e);
	ctr_free(k);
	if (r == 0)
		event_container(c, "kill");
	return r;
}

static void mark_stopped(struct pctr *c) {
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", c->p->run_dir, c->id);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/%s/stop", c->p->run_dir, c->id);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
}

static bool wait_gone(struct pctr *c, int timeout_ms) {
	struct ctr *k;
	bool gone = true;
	if (ctr_open(&c->p->eng, c->id, 0, &k, NULL) < 0)
		return true;
	if (ctr_open_pidfd(k, NULL) == 0) {
		struct pollfd p = { k->pidfd, POLLIN, 0 };
		gone = poll(&p, 1, timeout_ms) > 0;
	}
	ctr_free(k);
	return gone;
}

/* The monitor needs a moment after init's death to write the status; cleanup needs the namespaces gone. */
static void wait_settled(struct pctr *c) {
	for (int i = 0; i < 500; i++) {
		pctr_refresh(c);
		if (!c->pid && !streq(c->status.state, "running") && (!c->monitored || c->pod_id))
			return;
		if (!c->pid && !c->monitored)
			return;
		poll(NULL, 0, 10);
	}
}

int pctr_stop(struct pctr *c, int64_t timeout_s, bool ignore, struct err *e) {
	bool manager;
	/* systemd(1): SIGRTMIN+3 halts it; SIGTERM would only make it run itself anew. */
	const char *usual = container_systemd(c, &manager, NULL) == 0 && manager ? "RTMIN+3" : "TERM";
	const char *name = c->opts.stop_signal ? c->opts.stop_signal : json_str(c->image_config, "StopSignal", usual);
	int sig = oci_signal_number(*name ? name : "TERM"), r;
	pctr_refresh(c);
	if (!c->pid && !streq(c->state, "restarting"))
		return ignore || !streq(c->state, "created") ? 0 : err_set(e, -EINVAL, "can only stop created or running containers: %s is in state %s", c->name, c->state);
	mark_stopped(c);
	if (timeout_s < 0 && c->opts.stop_timeout)
		timeout_s = atoll(c->opts.stop_timeout);
	if (timeout_s < 0)
		timeout_s = 10;
	if (streq(c->state, "paused")) {
		struct ctr *k;
		if (engine_open(c, true, &k, NULL) == 0) {
			r = engine_resume(k, NULL);
			ctr_free(k);
		}
	}
	r = timeout_s > 0 ? pctr_kill(c, sig > 0 ? sig : SIGTERM, e) : 0;
	if (r < 0 && r != -ENOENT && r != -ESRCH) {
		pctr_refresh(c);
		if (c->pid)
			return r;
	}
	if (timeout_s == 0 || !wait_gone(c, timeout_s > INT32_MAX / 1000 ? -1 : (int)timeout_s * 1000)) {
		if (timeout_s > 0)
			fprintf(stderr, "Warning: StopSignal SIG%s failed to stop container %s in %lld seconds, resorting to SIGKILL\n", sigabbrev_np(sig > 0 ? sig : SIGTERM) ?: "RT", c->name,
				(long long)timeout_s);
		r = pctr_kill(c, SIGKILL, e);
		if (r < 0 && r != -ENOENT && r != -ESRCH) {
			pctr_refresh(c);
			if (c->pid)
				return r;
		}
		wait_gone(c, 10000);
	}
	err_clear(e);
	wait_settled(c);
	event_container(c, "stop");
	return 0;
}

int pctr_cleanup(struct pctr *c, struct err *e) {
	int r = 0;
	struct ctr *k = NULL;
	/* The engine's part is left only when the monitor was killed. */
	if (ctr_open(&c->p->eng, c->id, CTR_LOCK | CTR_DAMAGED, &k, NULL) == 0) {
		if (!ctr_live_pid(k) && engine_delete(k, true, NULL) < 0)
			r = ctr_purge(k, e);
		ctr_free(k);
	}
	int n = net_down(c, r == 0 ? e : NULL);
	r = r < 0 ? r : n;
	n = rootfs_unmount(c, r == 0 ? e : NULL);
	return r < 0 ? r : n;
}

static void remove_anonymous_volumes(struct pctr *c) {
	char path[8192], line[4608];
	snprintf(path, sizeof(path), "%s/anonymous-volumes", c->dir);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *space = strchr(line, ' ');
		if (!space)
			continue;
		*space = '\0';
		if (!name_ok(line))
			continue;
		snprintf(path, sizeof(path), "%s/volumes/%s", c->p->data_dir, line);
		remove_tree(AT_FDCWD, path, NULL);
	}
	if (f)
		fclose(f);
}

int pctr_remove(struct pctr *c, bool force, bool volumes, int64_t timeout_s, struct err *e) {
	pctr_refresh(c);
	if ((c->pid || streq(c->state, "restarting")) && !force)
		return err_set(e, -EBUSY, "cannot remove container %s as it is %s - running or paused containers cannot be removed without force: container state improper", c->id, c->state);
	if (c->pid || streq(c->state, "restarting")) {
		int r = pctr_stop(c, timeout_s < 0 ? 10 : timeout_s, true, e);
		if (r < 0)
			return r;
	}
	if (volumes || c->opts.rm)
		remove_anonymous_volumes(c);
	int r = pctr_cleanup(c, e);
	if (r == 0)
		r = rootfs_remove(c, e);
	if (r < 0)
		return r;
	userns_forget(c);
	event_container(c, "remove");
	return pctr_forget(c, e);
}
