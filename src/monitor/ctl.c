/* The control socket: attach, wait, start; see monitor.h for the packets. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "monitor/priv.h"

int ctl_listen(struct monitor *m, struct err *e) {
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	/* By descriptor: sun_path has 108 bytes, and a user's run directory may be deep. */
	if (snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/%s/ctl", m->run_fd, m->cfg->name) >= (int)sizeof(sa.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: too long a name for a socket", m->cfg->name);
	m->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (m->listen_fd < 0)
		return err_sys(e, errno, "make the control socket");
	unlink(sa.sun_path);
	/* 0600 from birth: whoever can connect controls the container. */
	mode_t old = umask(0177);
	int r = bind(m->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? errno : 0;
	umask(old);
	if (r == 0 && listen(m->listen_fd, 16) < 0)
		r = errno;
	return r ? err_sys(e, r, "listen on %s", sa.sun_path) : 0;
}

void ctl_accept(struct monitor *m) {
	int fd = accept4(m->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (m->n_clients == MONITOR_CLIENTS_MAX) {
		static const char full[] = "etoo many clients are attached to this container";
		(void)!send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
		return;
	}
	m->clients[m->n_clients++] = (struct client){ .fd = fd };
}

void ctl_drop(struct monitor *m, size_t i) {
	struct client *c = &m->clients[i];
	bool closes = c->c && c->c->stdin_once && (c->flags & MONITOR_STDIN);
	if (closes)
		mctr_stdin_close(c->c);
	close(c->fd);
	free(c->pending);
	m->clients[i] = m->clients[--m->n_clients];
}

/* One packet; what does not fit now waits in the client (at most one: its container is not read meanwhile). */
static void put(struct client *c, char op, const char *data, size_t n) {
	char *packet = malloc(n + 1);
	if (!packet)
		return;
	packet[0] = op;
	if (n)
		memcpy(packet + 1, data, n);
	if (c->pending || (send(c->fd, packet, n + 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EAGAIN)) {
		if (c->pending) {
			/* Only an end or error notice can come on top of a pending packet: it wins when the old one cannot be sent now. */
			(void)!send(c->fd, c->pending, c->pending_len, MSG_NOSIGNAL | MSG_DONTWAIT);
			free(c->pending);
		}
		c->pending = packet;
		c->pending_len = n + 1;
		return;
	}
	free(packet);
}

void ctl_flush(struct monitor *m, size_t i) {
	struct client *c = &m->clients[i];
	if (c->pending && send(c->fd, c->pending, c->pending_len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EAGAIN)
		return;
	free(TAKE(c->pending));
}

bool ctl_stalled(const struct monitor *m, const struct mctr *c) {
	for (size_t i = 0; i < m->n_clients; i++)
		if (m->clients[i].c == c && m->clients[i].pending)
			return true;
	return false;
}

void ctl_output(struct monitor *m, struct mctr *c, int stream, const char *data, size_t n) {
	uint8_t want = stream == 2 ? MONITOR_STDERR : MONITOR_STDOUT;
	for (size_t i = 0; i < m->n_clients; i++)
		if (m->clients[i].c == c && (m->clients[i].flags & want))
			put(&m->clients[i], stream == 2 ? 'r' : 'o', data, n);
}

static void tell_end(struct client *cl, const struct mctr *c) {
	char text[256];
	int n = snprintf(text, sizeof(text), "%d %s", c->exit_code, c->error ? c->error : c->oom ? "out of memory" : "");
	if (n >= (int)sizeof(text))
		n = sizeof(text) - 1;
	put(cl, 'x', text, (size_t)n);
}

void ctl_ended(struct monitor *m, struct mctr *c) {
	for (size_t i = 0; i < m->n_clients; i++)
		if (m->clients[i].c == c && (m->clients[i].flags || m->clients[i].watch))
			tell_end(&m->clients[i], c);
}

static struct mctr *find(struct monitor *m, const char *id) {
	for (size_t i = 0; i < m->n_ctrs; i++)
		if (streq(m->ctrs[i]->id, id))
			return m->ctrs[i];
	return NULL;
}

static void refuse(struct client *c, const char *text) {
	put(c, 'e', text, strlen(text));
}

static void attach(struct monitor *m, struct client *c, uint8_t flags, bool watch, const char *id) {
	_cleanup_err_ struct err e = ERR_INIT;
	struct mctr *t = find(m, id);
	if (!t && mctr_load(m, id, &t, &e) < 0) {
		refuse(c, err_msg(&e));
		return;
	}
	c->c = t;
	c->flags = flags;
	c->watch = watch;
	if (t->state == MCTR_ENDED)
		tell_end(c, t);
	else
		put(c, 'k', NULL, 0);
}

static void start(struct monitor *m, struct client *c, const char *id) {
	_cleanup_err_ struct err e = ERR_INIT;
	struct mctr *t = find(m, id);
	if (!t && mctr_load(m, id, &t, &e) < 0) {
		refuse(c, err_msg(&e));
		return;
	}
	if (t->state == MCTR_RUNNING) {
		put(c, 'k', NULL, 0);
		return;
	}
	if (mctr_start(m, t, &e) < 0)
		refuse(c, err_msg(&e));
	else
		put(c, 'k', NULL, 0);
}

static void handle(struct monitor *m, struct client *c, char *p, size_t n) {
	p[n] = '\0';
	switch (p[0]) {
	case 'A':
		if (n > 2)
			attach(m, c, (uint8_t)p[1] & 7, false, p + 2);
		break;
	case 'W':
		attach(m, c, 0, true, p + 1);
		break;
	case 'S':
		start(m, c, p + 1);
		break;
	case 'i':
		if (c->c && (c->flags & MONITOR_STDIN))
			mctr_stdin(c->c, p + 1, n - 1);
		break;
	case 'I':
		if (c->c && (c->flags & MONITOR_STDIN))
			mctr_stdin_close(c->c);
		break;
	case 'z':
		if (c->c && n == 5)
			mctr_resize(c->c, (uint16_t)((uint8_t)p[1] | (uint8_t)p[2] << 8), (uint16_t)((uint8_t)p[3] | (uint8_t)p[4] << 8));
		break;
	case 'Q':
		m->ending = true;
		put(c, 'k', NULL, 0);
		break;
	default:
		refuse(c, "unknown operation");
	}
}

bool ctl_read(struct monitor *m, size_t i) {
	char buf[MONITOR_PACKET_MAX + 1];
	ssize_t n = recv(m->clients[i].fd, buf, MONITOR_PACKET_MAX, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0) {
		ctl_drop(m, i);
		return false;
	}
	handle(m, &m->clients[i], buf, (size_t)n);
	return true;
}
