/* One container under the monitor: its configuration, start, end, restart, and its streams. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "monitor/priv.h"
#include "sys/fd.h"
#include "wire/json.h"

enum { CONFIG_MAX = 1 << 20 }; /* bytes of monitor.json */

uint64_t mono_ns(void) {
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t wall_ns(void) {
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static char *dup_or_null(const char *s) {
	return s ? strdup(s) : NULL;
}

static bool flag(const struct json *o, const char *key) {
	const struct json *j = json_get(o, key);
	return j && j->type == JSON_BOOL && j->boolean;
}

static uint64_t number(const struct json *o, const char *key, uint64_t dflt) {
	uint64_t v;
	return json_u64(json_get(o, key), &v) == 0 ? v : dflt;
}

static enum monitor_restart restart_policy(const char *s) {
	static const char *const names[] = { "no", "on-failure", "always", "unless-stopped" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(s, names[i]))
			return (enum monitor_restart)i;
	return RESTART_NO;
}

static enum log_driver log_driver(const char *s) {
	return streq(s, "journald") ? LOG_JOURNALD : streq(s, "none") ? LOG_NONE : streq(s, "passthrough") ? LOG_PASSTHROUGH : LOG_FILE;
}

static int load_health(struct mctr *c, const struct json *h) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	const struct json *process = json_get(h, "process");
	if (!process)
		return 0;
	jw_init(&w, &b, 0);
	jw_value(&w, process);
	if (jw_finish(&w) < 0 || !(c->health.process = strbuf_take(&b)))
		return -ENOMEM;
	c->health.set = true;
	c->health.interval = number(h, "interval", 30000000000u);
	c->health.timeout = number(h, "timeout", 30000000000u);
	c->health.start_period = number(h, "startPeriod", 0);
	c->health.retries = (uint32_t)number(h, "retries", 3);
	c->health.kill = flag(h, "kill");
	return 0;
}

static int load_fields(struct mctr *c, const struct json *j, struct err *e) {
	const struct json *log = json_get(j, "log"), *restart = json_get(j, "restart");
	const char *bundle = json_str(j, "bundle", NULL);
	size_t n = 0;
	if (!bundle)
		return err_set(e, -EINVAL, "%s/monitor.json lacks \"bundle\"", c->dir);
	c->bundle = strdup(bundle);
	c->pid_file = dup_or_null(json_str(j, "pidFile", NULL));
	c->isolation = dup_or_null(json_str(j, "isolation", NULL));
	c->timeout = number(j, "timeout", 0) * 1000000000u;
	c->no_cgroups = flag(j, "noCgroups");
	c->tty = flag(j, "tty");
	c->open_stdin = flag(j, "stdin");
	c->stdin_once = flag(j, "stdinOnce");
	c->restart = restart_policy(json_str(restart, "policy", "no"));
	c->restart_max = (uint32_t)number(restart, "max", 0);
	c->log.driver = log_driver(json_str(log, "driver", "k8s-file"));
	c->log.path = dup_or_null(json_str(log, "path", NULL));
	c->log.tag = dup_or_null(json_str(log, "tag", NULL));
	c->log.name = dup_or_null(json_str(j, "name", NULL));
	c->log.id = strdup(c->id);
	c->log.max_size = number(log, "maxSize", 0);
	c->log.max_files = (uint32_t)number(log, "maxFiles", 1);
	for (const struct json *m = json_first(json_get(j, "cleanup")); m; m = m->next)
		if (m->type == JSON_STRING && strv_push(&c->cleanup, &n, m->text) < 0)
			return err_sys(e, -ENOMEM, "read monitor.json");
	if (c->log.driver == LOG_FILE && !c->log.path)
		return err_set(e, -EINVAL, "%s/monitor.json: log.path is missing", c->dir);
	if (!c->bundle || !c->log.id || load_health(c, json_get(j, "health")) < 0)
		return err_sys(e, -ENOMEM, "read monitor.json");
	return 0;
}

static void serve_names(struct monitor *m, const struct json *addresses) {
	_cleanup_free_ char *names = NULL;
	if (asprintf(&names, "%s/names", m->cfg->run_dir) < 0) {
		names = NULL;
		return;
	}
	for (const struct json *a = json_first(addresses); a; a = a->next)
		if (a->type == JSON_STRING)
			dns_serve(&m->dns, names, a->text);
}

int mctr_load(struct monitor *m, const char *id, struct mctr **ret, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct json *j;
	if (m->n_ctrs == MONITOR_CONTAINERS_MAX)
		return err_set(e, -E2BIG, "more than %d containers in one pod", MONITOR_CONTAINERS_MAX);
	int r = ctr_id_valid(id, e);
	if (r < 0)
		return r;
	struct mctr *c = calloc(1, sizeof(*c));
	if (!c)
		return err_sys(e, -ENOMEM, "load container");
	c->in = c->out = c->err = c->dir_fd = c->log.fd = c->health.out = -EBADF;
	c->id = strdup(id);
	if (!c->id || asprintf(&c->dir, "%s/containers/%s", m->cfg->data_dir, id) < 0) {
		mctr_free(c);
		return err_sys(e, -ENOMEM, "load container");
	}
	c->dir_fd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = c->dir_fd < 0 ? -errno : file_read_at(c->dir_fd, "monitor.json", &text, CONFIG_MAX);
	if (r < 0)
		err_sys(e, r, "read %s/monitor.json", c->dir);
	else
		r = json_parse(&a, text.s, text.len, &j, e);
	if (r == 0)
		r = load_fields(c, j, e);
	if (r == 0)
		serve_names(m, json_get(j, "dns"));
	if (r == 0)
		r = log_open(&c->log, e);
	if (r < 0) {
		mctr_free(c);
		return r;
	}
	m->ctrs[m->n_ctrs++] = *ret = c;
	return 0;
}

static void close_fd(int *fd) {
	if (*fd >= 0)
		close(*fd);
	*fd = -EBADF;
}

static void close_streams(struct mctr *c) {
	if (c->in != c->out)
		close_fd(&c->in);
	c->in = -EBADF;
	close_fd(&c->out);
	close_fd(&c->err);
	free(TAKE(c->stdin_pending.buf));
	c->stdin_pending.len = c->stdin_pending.off = 0;
}

void mctr_free(struct mctr *c) {
	close_streams(c);
	close_fd(&c->dir_fd);
	log_close(&c->log);
	free(c->id);
	free(c->bundle);
	free(c->dir);
	free(c->pid_file);
	free(c->isolation);
	free(c->error);
	free(c->health.process);
	free(c->health.last);
	strv_free(c->cleanup);
	free(c);
}

void mctr_save(struct mctr *c) {
	static const char *const names[] = { [MCTR_IDLE] = "created", [MCTR_RUNNING] = "running", [MCTR_RESTARTING] = "restarting", [MCTR_ENDED] = "exited" };
	struct monitor_status s = {
		.state = names[c->state], .pid = c->state == MCTR_RUNNING ? c->pid : 0, .exit_code = c->exit_code, .oom = c->oom, .restarts = c->restarts,
		.started = c->started, .finished = c->finished, .error = c->error, .health = c->health.set ? c->health.state : NULL,
		.health_failing = c->health.failing, .health_log = c->health.last, .health_exit = c->health.exit,
	};
	monitor_status_write(c->dir_fd, &s);
}

/* ---- work in a child: the engine parses configurations and builds containers there, so that the monitor's own memory stays as small as it was --- */

struct work { struct monitor *m; struct mctr *c; int in, out, err; const char *console; };

/* Runs fn in a forked child; its text answer ("P<pid>" or "E<message>") comes back in answer. */
static int in_child(int (*fn)(struct work *w, int answer_fd), struct work *w, char *answer, size_t size, struct err *e) {
	int p[2];
	w->m->trim = true;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "make a pipe");
	pid_t pid = fork();
	if (pid < 0) {
		int r = errno;
		close(p[0]);
		close(p[1]);
		return err_sys(e, r, "fork");
	}
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGPIPE, SIG_DFL); /* an ignored signal would stay ignored in the container */
		_exit(fn(w, p[1]));
	}
	close(p[1]);
	ssize_t n = fd_read_full(p[0], answer, size - 1);
	answer[n > 0 ? n : 0] = '\0';
	close(p[0]);
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (n <= 0)
		return err_set(e, -EIO, "the process that talks to the engine died (%s %d)", WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return 0;
}

static int answer_error(int fd, struct err *e) {
	dprintf(fd, "E%s", err_msg(e));
	return 1;
}

/* Until the container has said that it is ready, or is gone: a process of its own, for a message must not wait for a monitor that is busy. */
static void pass_readiness(struct work *w, struct created *made) {
	pid_t monitor = getppid();
	if (fork() != 0)
		return;
	struct pollfd p[2] = { { made->notify_fd, POLLIN, 0 }, { made->ctr->pidfd, POLLIN, 0 } };
	dup2(made->notify_fd, 3);
	if (made->ctr->pidfd < 0 && ctr_open_pidfd(made->ctr, NULL) < 0)
		_exit(1);
	p[1].fd = dup2(made->ctr->pidfd, 4);
	p[0].fd = 3;
	close_range(5, ~0u, 0); /* above all the monitor's lock */
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	(void)w;
	while (poll(p, 2, -1) > 0 || errno == EINTR)
		if ((p[0].revents && notify_forward(3, monitor) != 0) || p[1].revents)
			break;
	_exit(0);
}

static int start_in_child(struct work *w, int answer_fd) {
	_cleanup_err_ struct err e = ERR_INIT;
	struct engine eng = *w->m->cfg->engine;
	struct created made = { .terminal = -EBADF, .notify_fd = -EBADF };
	struct create_options o = { .id = w->c->id, .bundle = w->c->bundle, .console_socket = w->console, .pid_file = w->c->pid_file, .detach = true, .run = true };
	if (w->c->isolation)
		eng.isolation = w->c->isolation;
	if (w->c->no_cgroups)
		eng.cgroup_manager = CGROUP_MANAGER_DISABLED;
	/* A record of an earlier run that nobody removed (the monitor was killed): it is not running, the command line checked that. */
	struct ctr *old = NULL;
	if (ctr_open(&eng, o.id, CTR_LOCK | CTR_DAMAGED, &old, NULL) == 0) {
		ctr_purge(old, NULL);
		ctr_free(old);
	}
	if (dup2(w->in, 0) < 0 || dup2(w->out, 1) < 0 || dup2(w->err, 2) < 0) {
		err_sys(&e, errno, "set up standard streams");
		return answer_error(answer_fd, &e);
	}
	int r = engine_create(&eng, &o, &made, &e);
	if (r < 0)
		return answer_error(answer_fd, &e);
	pid_t pid = made.ctr->rec.init_pid;
	r = notify_bind(made.ctr, &made.notify_fd, &e);
	if (r == 0)
		r = engine_start(made.ctr, &e);
	if (r < 0) {
		ctr_purge(made.ctr, NULL);
		return answer_error(answer_fd, &e);
	}
	dprintf(answer_fd, "P%d", (int)pid);
	if (made.notify_fd >= 0)
		pass_readiness(w, &made);
	return 0;
}

static int delete_in_child(struct work *w, int answer_fd) {
	_cleanup_err_ struct err e = ERR_INIT;
	struct engine eng = *w->m->cfg->engine;
	struct ctr *c = NULL;
	int64_t kills = 0;
	int r = ctr_open(&eng, w->c->id, CTR_LOCK | CTR_DAMAGED, &c, &e);
	if (r == -ENOENT) {
		dprintf(answer_fd, "P0");
		return 0;
	}
	if (r < 0)
		return answer_error(answer_fd, &e);
	if (c->has_record && ctr_load_cgroup(c, NULL) == 0 && c->cgroup)
		kills = cgroup_oom_count(c->cgroup);
	if (c->has_record && ctr_load_tier(c, false, NULL) == 0 && c->tier->oom_kills)
		kills = MAX(kills, c->tier->oom_kills(&c->tc));
	r = engine_delete(c, true, &e);
	if (r < 0)
		r = ctr_purge(c, &e);
	if (r < 0)
		return answer_error(answer_fd, &e);
	dprintf(answer_fd, "P%lld", (long long)(kills > 0 ? kills : 0));
	return 0;
}

/* Listening socket for the pty's master, made where its path is short. */
static int console_listen(struct monitor *m, char *path, size_t size, struct err *e) {
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	/* By descriptor, which the child has too: sun_path has 108 bytes, and a user's run directory may be deep. */
	snprintf(path, size, "/proc/self/fd/%d/%s/console", m->run_fd, m->cfg->name);
	if (strlen(path) >= sizeof(sa.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: too long for a socket", path);
	strcpy(sa.sun_path, path);
	unlink(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "make a socket");
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 1) < 0) {
		int r = errno;
		close(fd);
		return err_sys(e, r, "listen on %s", path);
	}
	return fd;
}

static int console_receive(int listen_fd, struct err *e) {
	char byte[256];
	union { char buf[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } control;
	struct iovec iov = { byte, sizeof(byte) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	_cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "receive the terminal");
	if (recvmsg(fd, &msg, MSG_CMSG_CLOEXEC) < 0)
		return err_sys(e, errno, "receive the terminal");
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
	if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(sizeof(int)))
		return err_set(e, -EPROTO, "the terminal did not come with its message");
	int master;
	memcpy(&master, CMSG_DATA(h), sizeof(master));
	return master;
}

static int open_streams(struct mctr *c, struct work *w, struct err *e) {
	int p[2];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return err_sys(e, errno, "open /dev/null");
	w->in = w->out = w->err = null;
	if (c->tty)
		return 0;
	int *const ours[2] = { &c->out, &c->err }, *const theirs[2] = { &w->out, &w->err };
	for (int i = 0; i < 2; i++) {
		if (pipe2(p, O_CLOEXEC) < 0)
			return err_sys(e, errno, "make a pipe");
		*ours[i] = p[0];
		*theirs[i] = p[1];
		fcntl(p[0], F_SETFL, O_NONBLOCK);
	}
	if (c->open_stdin) {
		if (pipe2(p, O_CLOEXEC) < 0)
			return err_sys(e, errno, "make a pipe");
		w->in = p[0];
		c->in = p[1];
		fcntl(p[1], F_SETFL, O_NONBLOCK);
	}
	return 0;
}

static void close_work(struct work *w) {
	int null = w->in;
	if (w->out != null && w->out >= 0)
		close(w->out);
	if (w->err != null && w->err != w->out && w->err >= 0)
		close(w->err);
	if (null >= 0)
		close(null);
}

int mctr_start(struct monitor *m, struct mctr *c, struct err *e) {
	char answer[1024], path[512];
	struct work w = { .m = m, .c = c, .in = -EBADF, .out = -EBADF, .err = -EBADF };
	_cleanup_close_ int console = -EBADF;
	int r = open_streams(c, &w, e);
	if (r == 0 && c->tty) {
		console = console_listen(m, path, sizeof(path), e);
		r = console < 0 ? console : 0;
		w.console = path;
	}
	if (r == 0)
		r = in_child(start_in_child, &w, answer, sizeof(answer), e);
	close_work(&w);
	if (r == 0 && answer[0] != 'P')
		r = err_set(e, -EIO, "%s", answer + 1);
	if (r == 0 && c->tty) {
		c->out = console_receive(console, e);
		r = c->out < 0 ? c->out : 0;
		if (r == 0) {
			fcntl(c->out, F_SETFL, O_NONBLOCK);
			c->in = c->out;
		}
	}
	if (c->tty)
		unlink(path);
	if (r < 0) {
		if (answer[0] == 'P')
			kill((pid_t)atoi(answer + 1), SIGKILL);
		close_streams(c);
		c->state = MCTR_ENDED;
		c->finished = wall_ns();
		/* The shell's codes, which docker and podman use as well. */
		c->exit_code = strstr(err_msg(e), "executable file not found") || strstr(err_msg(e), "no such file or directory") ? 127 :
			strstr(err_msg(e), "permission denied") ? 126 : 125;
		free(c->error);
		c->error = strdup(err_msg(e));
		mctr_save(c);
		return r;
	}
	c->pid = (pid_t)atoi(answer + 1);
	c->state = MCTR_RUNNING;
	c->started = wall_ns();
	c->started_mono = mono_ns();
	c->deadline = c->timeout ? c->started_mono + c->timeout : UINT64_MAX;
	c->exit_code = 0;
	c->oom = false;
	free(TAKE(c->error));
	health_begin(c);
	mctr_save(c);
	return 0;
}

static bool wants_restart(struct monitor *m, const struct mctr *c) {
	char stop[512];
	snprintf(stop, sizeof(stop), "%s/stop", c->id);
	if (m->ending || faccessat(m->run_fd, stop, F_OK, 0) == 0)
		return false;
	switch (c->restart) {
	case RESTART_NO:
		return false;
	case RESTART_ON_FAILURE:
		return c->exit_code != 0 && (!c->restart_max || c->restarts < c->restart_max);
	default:
		return true;
	}
}

enum { BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 60000, STABLE_MS = 10000 }; /* docker's figures: doubling from 100 ms, reset after 10 s of life */

void mctr_exited(struct monitor *m, struct mctr *c, int wait_status) {
	char answer[1024] = "";
	struct work w = { .m = m, .c = c };
	mctr_drain(m, c);
	close_streams(c);
	log_flush(&c->log);
	health_end(c);
	c->finished = wall_ns();
	c->exit_code = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
	c->pid = 0;
	if (in_child(delete_in_child, &w, answer, sizeof(answer), NULL) == 0) {
		if (answer[0] == 'P')
			c->oom = atoi(answer + 1) > 0;
		else
			c->error = strdup(answer + 1);
	}
	if (wants_restart(m, c)) {
		uint64_t lived = mono_ns() - c->started_mono;
		c->backoff = lived > STABLE_MS * 1000000ull || !c->backoff ? BACKOFF_MIN_MS * 1000000ull : MIN(c->backoff * 2, BACKOFF_MAX_MS * 1000000ull);
		c->restart_at = mono_ns() + c->backoff;
		c->restarts++;
		c->state = MCTR_RESTARTING;
		mctr_save(c);
		return;
	}
	c->state = MCTR_ENDED;
	mctr_save(c);
}

/* ---- streams -------------------------------------------------------------------------------------------------------- */

void mctr_read(struct monitor *m, struct mctr *c, int stream) {
	char buf[MONITOR_PACKET_MAX - 1];
	int *fd = stream == 2 ? &c->err : &c->out;
	ssize_t n = read(*fd, buf, sizeof(buf));
	if (n > 0) {
		log_write(&c->log, stream, buf, (size_t)n);
		ctl_output(m, c, stream, buf, (size_t)n);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* End of file, or EIO from a pty whose last slave was closed. */
	if (c->tty)
		c->in = -EBADF;
	close_fd(fd);
}

/* What is still in the pipes when init is gone. A process outside that holds the other end open must not keep us: only what is there now is read. */
void mctr_drain(struct monitor *m, struct mctr *c) {
	for (int stream = 1; stream <= 2; stream++) {
		int *fd = stream == 2 ? &c->err : &c->out;
		for (int i = 0; i < 4096 && *fd >= 0; i++) {
			struct pollfd p = { *fd, POLLIN, 0 };
			if (poll(&p, 1, 0) <= 0 || !(p.revents & (POLLIN | POLLHUP)))
				break;
			mctr_read(m, c, stream);
		}
	}
}

void mctr_stdin_flush(struct mctr *c) {
	while (c->in >= 0 && c->stdin_pending.len) {
		ssize_t n = write(c->in, c->stdin_pending.buf + c->stdin_pending.off, c->stdin_pending.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			break;
		c->stdin_pending.off += (size_t)n;
		c->stdin_pending.len -= (size_t)n;
	}
	free(TAKE(c->stdin_pending.buf));
	c->stdin_pending.len = c->stdin_pending.off = 0;
}

/* The caller reads no further stdin packet while one is pending, so there is at most one. */
int mctr_stdin(struct mctr *c, const char *data, size_t n) {
	if (c->in < 0 || !n)
		return 0;
	char *buf = malloc(n);
	if (!buf)
		return -ENOMEM;
	memcpy(buf, data, n);
	free(c->stdin_pending.buf);
	c->stdin_pending.buf = buf;
	c->stdin_pending.len = n;
	c->stdin_pending.off = 0;
	mctr_stdin_flush(c);
	return 0;
}

void mctr_stdin_close(struct mctr *c) {
	if (!c->tty)
		close_fd(&c->in);
}

void mctr_resize(struct mctr *c, uint16_t rows, uint16_t cols) {
	struct winsize ws = { .ws_row = rows, .ws_col = cols };
	if (c->tty && c->out >= 0)
		ioctl(c->out, TIOCSWINSZ, &ws);
}
