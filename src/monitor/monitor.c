/* The monitor's loop: signals, clients, streams, timers. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "monitor/priv.h"

static void reap(struct monitor *m) {
	struct signalfd_siginfo si;
	while (read(m->signal_fd, &si, sizeof(si)) == sizeof(si))
		if (si.ssi_signo != SIGCHLD)
			m->ending = true;
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (dns_reaped(m->dns, pid))
			continue;
		for (size_t i = 0; i < m->n_ctrs; i++) {
			struct mctr *c = m->ctrs[i];
			if (c->health.pid == pid)
				health_reaped(c, status);
			else if (c->pid == pid && c->state == MCTR_RUNNING)
				mctr_exited(m, c, status);
			else
				continue;
			break;
		}
	}
}

/* In place of ourselves for the last one: then the lock goes with it (as descriptor 3, see CLEANUP_LOCK_FD), so that nobody starts the container
 * anew before its network and mounts are down. */
static void run_cleanup(struct monitor *m, struct mctr *c, bool in_place) {
	if (!c->cleanup)
		return;
	pid_t pid = in_place ? 0 : fork();
	if (pid != 0)
		return;
	if (in_place)
		dup2(m->lock_fd, CLEANUP_LOCK_FD);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(c->cleanup[0], c->cleanup);
	_exit(127);
}

/* Containers that ended for good: tell who waits. Their cleanup runs when the last one is gone, or at once when others go on. */
static size_t settle(struct monitor *m) {
	size_t alive = 0;
	for (size_t i = 0; i < m->n_ctrs; i++) {
		struct mctr *c = m->ctrs[i];
		if (c->state == MCTR_RUNNING || c->state == MCTR_RESTARTING)
			alive++;
		if (c->state == MCTR_ENDED && c->finished && c->started_mono != UINT64_MAX) {
			ctl_ended(m, c);
			log_close(&c->log);
			c->started_mono = UINT64_MAX; /* told */
			if (m->cfg->pod) {
				/* The pod goes on: this one is cleaned up now and forgotten; a later start loads it anew. */
				run_cleanup(m, c, false);
				for (size_t k = 0; k < m->n_clients; k++)
					if (m->clients[k].c == c)
						m->clients[k].c = NULL;
				mctr_free(c);
				m->ctrs[i--] = m->ctrs[--m->n_ctrs];
			}
		}
	}
	return alive;
}

static void restart_due(struct monitor *m) {
	for (size_t i = 0; i < m->n_ctrs; i++) {
		struct mctr *c = m->ctrs[i];
		char stop[512];
		if (c->state != MCTR_RESTARTING)
			continue;
		snprintf(stop, sizeof(stop), "%s/stop", c->id);
		if (m->ending || faccessat(m->run_fd, stop, F_OK, 0) == 0) {
			c->state = MCTR_ENDED;
			mctr_save(c);
		} else if (mono_ns() >= c->restart_at) {
			uint32_t restarts = c->restarts;
			if (mctr_start(m, c, NULL) < 0 && (!c->restart_max || restarts < c->restart_max)) {
				/* A start that fails is retried like a program that ends at once. */
				c->backoff = MIN(c->backoff * 2, 60000000000ull);
				c->restart_at = mono_ns() + c->backoff;
				c->restarts++;
				c->state = MCTR_RESTARTING;
				mctr_save(c);
			}
		}
	}
}

/* --timeout: its time is over. The end is seen like any other. */
static void time_up(struct mctr *c) {
	if (c->state == MCTR_RUNNING && c->pid > 0 && mono_ns() >= c->deadline) {
		kill(c->pid, SIGKILL);
		c->deadline = UINT64_MAX;
	}
}

/* Milliseconds until the next timer: restarts are looked at every second too, for the stop marker. */
static int next_timeout(struct monitor *m, size_t alive) {
	uint64_t now = mono_ns(), next = UINT64_MAX;
	for (size_t i = 0; i < m->n_ctrs; i++) {
		struct mctr *c = m->ctrs[i];
		if (c->state == MCTR_RESTARTING) {
			uint64_t soon = MIN(c->restart_at, now + 1000000000u);
			next = MIN(next, soon);
		}
		if (c->state == MCTR_RUNNING)
			next = MIN(next, c->deadline);
		if (c->state == MCTR_RUNNING && c->health.set && c->health.interval && c->health.pid == 0)
			next = MIN(next, c->health.next);
	}
	next = MIN(next, dns_next(m->dns));
	if (!alive && !m->cfg->pod)
		next = MIN(next, m->idle_since + MONITOR_IDLE_MS * 1000000ull);
	if (next == UINT64_MAX)
		return -1;
	return next <= now ? 0 : (int)MIN((next - now) / 1000000 + 1, (uint64_t)INT32_MAX);
}

/* Give back what only the start of a container needed: heap pages, and the pages of the program text (they come back from the page cache when they are
 * run again). An idle monitor holds about a tenth of what it held right after a start. */
static void trim_memory(void) {
	extern char __executable_start, etext;
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)&__executable_start + page - 1) & ~(page - 1), to = (uintptr_t)&etext & ~(page - 1);
	malloc_trim(0);
	if (to > from)
		madvise((void *)from, to - from, MADV_DONTNEED); /* only file pages that were never written: nothing is lost */
}

enum source { SRC_SIGNAL, SRC_LISTEN, SRC_CLIENT, SRC_OUT, SRC_ERR, SRC_IN, SRC_HEALTH };
struct slot { enum source kind; void *who; int client_fd; };
enum { SLOTS = 2 + MONITOR_CLIENTS_MAX + 4 * MONITOR_CONTAINERS_MAX + DNS_FDS_MAX };

static size_t gather(struct monitor *m, struct pollfd *p, struct slot *s) {
	size_t n = 0;
#define WATCH(fd_, events_, kind_, who_) do { p[n] = (struct pollfd){ (fd_), (events_), 0 }; s[n++] = (struct slot){ (kind_), (who_), (fd_) }; } while (0)
	WATCH(m->signal_fd, POLLIN, SRC_SIGNAL, NULL);
	WATCH(m->listen_fd, POLLIN, SRC_LISTEN, NULL);
	for (size_t i = 0; i < m->n_clients; i++) {
		struct client *c = &m->clients[i];
		bool full = c->c && c->c->stdin_pending.len && (c->flags & MONITOR_STDIN);
		WATCH(c->fd, (short)((full ? 0 : POLLIN) | (c->pending ? POLLOUT : 0)), SRC_CLIENT, NULL);
	}
	for (size_t i = 0; i < m->n_ctrs; i++) {
		struct mctr *c = m->ctrs[i];
		bool stalled = ctl_stalled(m, c);
		if (c->out >= 0 && !stalled)
			WATCH(c->out, POLLIN, SRC_OUT, c);
		if (c->err >= 0 && !stalled)
			WATCH(c->err, POLLIN, SRC_ERR, c);
		if (c->in >= 0 && c->stdin_pending.len)
			WATCH(c->in, POLLOUT, SRC_IN, c);
		if (c->health.out >= 0)
			WATCH(c->health.out, POLLIN, SRC_HEALTH, c);
	}
	return n;
}

static void serve_client(struct monitor *m, int fd, short revents) {
	for (size_t i = 0; i < m->n_clients; i++) {
		if (m->clients[i].fd != fd)
			continue;
		if (revents & POLLOUT)
			ctl_flush(m, i);
		if (revents & (POLLIN | POLLHUP | POLLERR))
			ctl_read(m, i);
		return;
	}
}

static void dispatch(struct monitor *m, const struct pollfd *p, const struct slot *s, size_t n) {
	for (size_t i = 0; i < n; i++) {
		struct mctr *c = s[i].who;
		if (!p[i].revents)
			continue;
		switch (s[i].kind) {
		case SRC_SIGNAL:
			break; /* last: output that came before the end is read first */
		case SRC_LISTEN:
			ctl_accept(m);
			break;
		case SRC_CLIENT:
			serve_client(m, s[i].client_fd, p[i].revents);
			break;
		case SRC_OUT:
			if (c->out >= 0)
				mctr_read(m, c, 1);
			break;
		case SRC_ERR:
			if (c->err >= 0)
				mctr_read(m, c, 2);
			break;
		case SRC_IN:
			mctr_stdin_flush(c);
			break;
		case SRC_HEALTH:
			if (c->health.out >= 0)
				health_read(c);
			break;
		}
	}
	if (p[0].revents)
		reap(m);
}

static void finish_clients(struct monitor *m) {
	/* Give waiting packets a moment: the end notice is the last thing a client wants to miss. */
	for (int tries = 0; tries < 50; tries++) {
		bool left = false;
		for (size_t i = 0; i < m->n_clients; i++) {
			ctl_flush(m, i);
			left |= m->clients[i].pending != NULL;
		}
		if (!left)
			break;
		poll(NULL, 0, 20);
	}
	while (m->n_clients)
		ctl_drop(m, m->n_clients - 1);
}

static int prepare(struct monitor *m, struct err *e) {
	char path[512];
	m->run_fd = open(m->cfg->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->run_fd < 0)
		return err_sys(e, errno, "open %s", m->cfg->run_dir);
	snprintf(path, sizeof(path), "%s/lock", m->cfg->name);
	m->lock_fd = openat(m->run_fd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (m->lock_fd < 0)
		return err_sys(e, errno, "open %s/%s", m->cfg->run_dir, path);
	if (flock(m->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, -EBUSY, "another monitor runs for %s", m->cfg->name);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (m->signal_fd < 0)
		return err_sys(e, errno, "make a signalfd");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "become a subreaper");
	return ctl_listen(m, e);
}

int podmon_run(const struct podmon_config *cfg, struct err *e) {
	static struct monitor m; /* one per process; too large for the stack of a small process */
	m = (struct monitor){ .cfg = cfg, .listen_fd = -EBADF, .signal_fd = -EBADF, .lock_fd = -EBADF, .run_fd = -EBADF, .idle_since = mono_ns() };
	int r = prepare(&m, e);
	if (cfg->ready_fd >= 0) {
		if (r < 0)
			dprintf(cfg->ready_fd, "E%s", err_msg(e));
		else
			(void)!write(cfg->ready_fd, "R", 1);
		close(cfg->ready_fd);
	}
	if (r < 0)
		return r;
	bool had_any = false;
	for (;;) {
		static struct pollfd p[SLOTS];
		static struct slot s[SLOTS];
		restart_due(&m);
		for (size_t i = 0; i < m.n_ctrs; i++) {
			health_tick(&m, m.ctrs[i]);
			time_up(m.ctrs[i]);
		}
		size_t alive = settle(&m);
		had_any |= alive > 0;
		for (size_t i = 0; i < m.n_ctrs && !had_any; i++)
			had_any = m.ctrs[i]->state == MCTR_ENDED; /* a start that failed counts: there is nothing more to wait for */
		bool over = cfg->pod ? m.ending : had_any || mono_ns() - m.idle_since >= MONITOR_IDLE_MS * 1000000ull;
		if (!alive && over)
			break;
		if (alive)
			m.idle_since = mono_ns();
		size_t own = gather(&m, p, s), n = own + dns_gather(m.dns, p + own);
		if (m.trim) {
			m.trim = false;
			trim_memory();
		}
		if (poll(p, n, next_timeout(&m, alive)) < 0 && errno != EINTR)
			break;
		dns_dispatch(m.dns, p + own, n - own);
		dns_tick(m.dns);
		dispatch(&m, p, s, own);
	}
	finish_clients(&m);
	char ctl[512];
	snprintf(ctl, sizeof(ctl), "%s/ctl", cfg->name);
	unlinkat(m.run_fd, ctl, 0);
	dns_close(m.dns);
	for (size_t i = 0; i < m.n_ctrs; i++)
		run_cleanup(&m, m.ctrs[i], i + 1 == m.n_ctrs);
	return 0;
}
