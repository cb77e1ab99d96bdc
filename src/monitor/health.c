/* Health checks: a command run inside the container from time to time. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "monitor/priv.h"
#include "wire/json.h"

enum { OUTPUT_MAX = 500 }; /* bytes of the last output that are kept, as podman does */

void health_begin(struct mctr *c) {
	if (!c->health.set)
		return;
	c->health.state = "starting";
	c->health.failing = 0;
	c->health.next = mono_ns() + c->health.interval;
}

void health_end(struct mctr *c) {
	struct health *h = &c->health;
	if (h->pid > 0)
		kill(h->pid, SIGKILL);
	h->pid = 0;
	if (h->out >= 0)
		close(h->out);
	h->out = -EBADF;
}

/* Exit code of the check as seen by the monitor: the command's own, or 125 when it could not be run, or 124 when it took too long. */
static int check_in_child(struct monitor *m, struct mctr *c) {
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct engine eng = *m->cfg->engine;
	struct json *doc;
	struct oci_process process;
	struct ctr *ctr = NULL;
	struct executed run = { .pidfd = -EBADF, .terminal = -EBADF };
	struct exec_options o = { .process = &process, .detach = true };
	int r = json_parse(&a, c->health.process, strlen(c->health.process), &doc, &e);
	if (r == 0)
		r = oci_process_from_json(&a, doc, &process, &e);
	if (r == 0)
		r = ctr_open(&eng, c->id, 0, &ctr, &e);
	if (r == 0)
		r = engine_exec(ctr, &o, &run, &e);
	if (r < 0) {
		dprintf(2, "%s\n", err_msg(&e));
		return 125;
	}
	struct pollfd p = { run.pidfd, POLLIN, 0 };
	uint64_t ms = c->health.timeout / 1000000;
	if (run.pidfd >= 0 && poll(&p, 1, ms > INT32_MAX ? -1 : (int)ms) == 0) {
		kill(run.pid, SIGKILL);
		dprintf(2, "health check took longer than %llu ms\n", (unsigned long long)ms);
		return 124;
	}
	int status;
	while (waitpid(run.pid, &status, 0) < 0)
		if (errno != EINTR)
			return 125;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void begin_check(struct monitor *m, struct mctr *c) {
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		sigset_t none;
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(null, 0);
		dup2(p[1], 1);
		dup2(p[1], 2);
		_exit(check_in_child(m, c));
	}
	close(p[1]);
	if (pid < 0) {
		close(p[0]);
		return;
	}
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	c->health.pid = pid;
	c->health.out = p[0];
	free(TAKE(c->health.last));
}

void health_tick(struct monitor *m, struct mctr *c) {
	if (c->health.set && c->health.interval && c->state == MCTR_RUNNING && c->health.pid == 0 && mono_ns() >= c->health.next)
		begin_check(m, c);
}

void health_read(struct mctr *c) {
	char buf[4096];
	ssize_t n = read(c->health.out, buf, sizeof(buf));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close(c->health.out);
		c->health.out = -EBADF;
		return;
	}
	size_t keep = (size_t)n > OUTPUT_MAX ? OUTPUT_MAX : (size_t)n;
	free(c->health.last);
	c->health.last = strndup(buf + (size_t)n - keep, keep);
}

void health_reaped(struct mctr *c, int wait_status) {
	struct health *h = &c->health;
	while (h->out >= 0) {
		struct pollfd p = { h->out, POLLIN, 0 };
		if (poll(&p, 1, 0) <= 0)
			break;
		health_read(c);
	}
	if (h->out >= 0)
		close(h->out);
	h->out = -EBADF;
	h->pid = 0;
	h->exit = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
	h->next = mono_ns() + h->interval;
	if (h->exit == 0) {
		h->failing = 0;
		h->state = "healthy";
	} else if (!streq(h->state, "starting") || mono_ns() - c->started_mono >= h->start_period) {
		if (++h->failing >= h->retries)
			h->state = "unhealthy";
	}
	if (h->kill && streq(h->state, "unhealthy") && c->pid > 0)
		kill(c->pid, SIGKILL);
	mctr_save(c);
}
