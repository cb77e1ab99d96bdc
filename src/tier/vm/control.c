/* The monitor's end of its socket. */
#include "tier/vm/control.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tier/vm/call.h"
#include "tier/vm/fsd.h"
#include "tier/vm/monitor_internal.h"

enum { FDS_MAX = FSD_BATCH };

struct client {
	struct client *next;
	struct chan ch;
	int fds[FDS_MAX]; /* that came along, not yet used */
	unsigned n_fds;
	uint8_t shares[FSD_BATCH]; /* numbers that end with the connection */
	size_t n_shares;
	bool dead;
};

/* A request that went on to the agent. */
struct pending {
	struct pending *next;
	uint32_t stream;           /* the agent's */
	struct client *client;     /* NULL: nobody waits any more */
	uint32_t client_stream;
	struct relay *relay;       /* an Exec or a Join under way */
};

void control_open(struct monitor *m)
{
	(void)m; /* the socket listens already; connections are taken from now on */
}

static void client_free(struct client *c)
{
	for (unsigned i = 0; i < c->n_fds; i++)
		close(c->fds[i]);
	close(c->ch.fd);
	chan_clear(&c->ch);
	free(c);
}

void control_close(struct monitor *m)
{
	for (struct client *c = m->clients; c; c = c->next)
		(void)!chan_flush(&c->ch);
	while (m->clients) {
		struct client *c = m->clients;
		m->clients = c->next;
		client_free(c);
	}
}

unsigned control_poll(struct monitor *m, struct pollfd *ret, unsigned max)
{
	unsigned n = 0;
	if (max < 1)
		return 0;
	ret[n++] = (struct pollfd){ m->n_clients < CLIENTS_MAX ? m->c->listen_fd : -1, POLLIN, 0 };
	for (struct client *c = m->clients; c && n < max; c = c->next)
		ret[n++] = (struct pollfd){ c->ch.fd, (short)(POLLIN | (chan_pending(&c->ch) ? POLLOUT : 0)), 0 };
	return n;
}

static void refuse(struct client *c, uint32_t stream, int code, const char *text)
{
	if (ttrpc_put_error(&c->ch.out, stream, ttrpc_code_of_errno(code), text) < 0)
		c->dead = true;
}

static struct pending *remember(struct monitor *m, struct client *c, uint32_t stream)
{
	struct pending *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	*p = (struct pending){ m->pending, monitor_stream(m), c, stream, NULL };
	m->pending = p;
	return p;
}

/* A process is asked for: the caller's descriptors wait in a relay until the agent has made it. */
static void process_request(struct monitor *m, struct client *c, uint32_t stream, const char *method, const struct pb_desc *d, const void *msg, const char *id,
	const char *exec_id, bool terminal)
{
	if (c->n_fds != 3)
		return refuse(c, stream, EINVAL, "a process without its three descriptors");
	struct relay *relay = relay_new(id, exec_id, c->fds, terminal);
	struct pending *p = relay ? remember(m, c, stream) : NULL;
	if (!p) {
		free(relay);
		return refuse(c, stream, ENOMEM, "out of memory");
	}
	c->n_fds = 0;
	relay->client = c;
	relay->client_stream = stream;
	p->relay = relay;
	if (ttrpc_put_request(&m->agent.out, p->stream, 0, AGENT_SERVICE, method, d, msg) < 0)
		refuse(c, stream, EMSGSIZE, "request too large");
}

static void exec_request(struct monitor *m, struct client *c, uint32_t stream, struct arena *a, const struct pb_bytes *b)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct agent_exec x;
	int r = pb_decode(&agent_exec_desc, a, b->p, b->n, &x, &e);
	if (r < 0 || !x.id || !x.exec_id)
		return refuse(c, stream, r < 0 ? r : EINVAL, r < 0 ? err_msg(&e) : "exec without a name");
	process_request(m, c, stream, "Exec", &agent_exec_desc, &x, x.id, x.exec_id, x.terminal);
}

static void join_request(struct monitor *m, struct client *c, uint32_t stream, struct arena *a, const struct pb_bytes *b)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct agent_create x;
	int r = pb_decode(&agent_create_desc, a, b->p, b->n, &x, &e);
	if (r < 0 || !x.id || !x.root || !x.root->share)
		return refuse(c, stream, r < 0 ? r : EINVAL, r < 0 ? err_msg(&e) : "join without a root image");
	process_request(m, c, stream, "Create", &agent_create_desc, &x, x.id, NULL, x.terminal);
}

static void share_request(struct monitor *m, struct client *c, uint32_t stream, struct arena *a, const struct pb_bytes *b)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct control_shares q;
	struct guest_share v[FSD_BATCH];
	int r = pb_decode(&control_shares_desc, a, b->p, b->n, &q, &e);
	if (r >= 0 && (q.readonly.n != c->n_fds || c->n_fds + c->n_shares > FSD_BATCH))
		r = err_set(&e, EINVAL, "more bind mounts than %d, or fewer descriptors than said", FSD_BATCH);
	for (size_t i = 0; r >= 0 && i < c->n_fds; i++)
		v[i] = (struct guest_share){ c->fds[i], ((const uint8_t *)q.readonly.p)[i] };
	if (r >= 0)
		r = monitor_share(m, v, c->n_fds, c->shares + c->n_shares, &e);
	if (r < 0)
		return refuse(c, stream, r, err_msg(&e));
	struct control_numbers answer = { { c->shares + c->n_shares, c->n_fds } };
	if (ttrpc_put_response(&c->ch.out, stream, &control_numbers_desc, &answer) < 0)
		c->dead = true;
	if (!q.keep)
		c->n_shares += c->n_fds;
	while (c->n_fds)
		close(c->fds[--c->n_fds]);
}

static const struct { const char *name; void (*handler)(struct monitor *m, struct client *c, uint32_t stream, struct arena *a, const struct pb_bytes *b); } methods[] = {
	{ "Exec", exec_request }, { "Join", join_request }, { "Share", share_request },
};

static void client_frame(struct monitor *m, struct client *c, const struct ttrpc_frame *f)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct ttrpc_request q;
	if (f->type != TTRPC_REQUEST)
		return;
	if (pb_decode(&ttrpc_request_desc, &a, f->data, f->n, &q, NULL) < 0 || !q.service || !q.method) {
		c->dead = true;
		return;
	}
	for (size_t i = 0; streq(q.service, MONITOR_SERVICE) && i < ARRAY_SIZE(methods); i++)
		if (streq(q.method, methods[i].name))
			return methods[i].handler(m, c, f->stream, &a, &q.payload);
	if (!streq(q.service, AGENT_SERVICE))
		return refuse(c, f->stream, ENOSYS, "no such method");
	struct pending *p = remember(m, c, f->stream);
	if (!p || ttrpc_put(&m->agent.out, p->stream, TTRPC_REQUEST, 0, f->data, f->n) < 0)
		c->dead = true;
}

/* Like chan_fill(), with descriptors. */
static int fill(struct client *c)
{
	char buf[16384];
	union { struct cmsghdr h; char space[CMSG_SPACE(FDS_MAX * sizeof(int))]; } cm;
	struct iovec iov = { buf, sizeof buf };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cm, .msg_controllen = sizeof cm };
	int r = c->ch.in_at == c->ch.in.len ? chan_next(&c->ch, &(struct ttrpc_frame){ 0 }) : 0;
	if (c->ch.in_at == c->ch.in.len) {
		strbuf_clear(&c->ch.in);
		c->ch.in_at = 0;
	}
	ssize_t n = r < 0 ? 0 : recvmsg(c->ch.fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&mh); h; h = CMSG_NXTHDR(&mh, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t k = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < k; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			if (c->n_fds < FDS_MAX)
				c->fds[c->n_fds++] = fd;
			else
				close(fd);
		}
	}
	if (n == 0)
		return -ECONNRESET;
	return strbuf_add(&c->ch.in, buf, (size_t)n) < 0 ? -ENOMEM : 1;
}

static void accept_client(struct monitor *m)
{
	int fd = accept4(m->c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c = fd < 0 ? NULL : calloc(1, sizeof *c);
	if (!c) {
		if (fd >= 0)
			close(fd);
		return;
	}
	c->ch = (struct chan)CHAN_INIT;
	c->ch.fd = fd;
	c->next = m->clients;
	m->clients = c;
	m->n_clients++;
}

/* Whoever waits for a process stands for it: without him it is killed. */
static void forget(struct monitor *m, struct client *c)
{
	for (struct pending *p = m->pending; p; p = p->next)
		if (p->client == c) {
			p->client = NULL;
			if (p->relay)
				p->relay->client = NULL;
		}
	for (struct relay *r = m->relays; r; r = r->next) {
		if (r->client != c)
			continue;
		r->client = NULL;
		struct agent_signal q = { .id = r->id, .exec_id = r->exec_id, .signal = 9, .all = !r->exec_id };
		(void)!ttrpc_put_request(&m->agent.out, monitor_stream(m), 0, AGENT_SERVICE, "Signal", &agent_signal_desc, &q);
	}
	if (c->n_shares)
		fsd_drop(m->fsd_control, c->shares, c->n_shares);
}

void vm_control_serve(struct monitor *m, const struct pollfd *rows, unsigned n)
{
	if (n && rows[0].revents & POLLIN)
		accept_client(m);
	for (struct client *c = m->clients; c; c = c->next) {
		short revents = 0;
		for (unsigned i = 1; i < n; i++)
			if (rows[i].fd == c->ch.fd)
				revents = rows[i].revents;
		if (revents & (POLLIN | POLLHUP | POLLERR)) {
			struct ttrpc_frame f;
			int r = fill(c);
			while (r > 0 && !c->dead && (r = chan_next(&c->ch, &f)) > 0)
				client_frame(m, c, &f);
			if (r < 0)
				c->dead = true;
		}
		if (!c->dead && chan_flush(&c->ch) < 0)
			c->dead = true;
	}
	for (struct client **at = &m->clients; *at;) {
		struct client *c = *at;
		if (!c->dead) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		m->n_clients--;
		forget(m, c);
		client_free(c);
	}
}

/* The agent has made the process (or not): attach its streams and say so; the answer proper is its end. */
static void process_made(struct monitor *m, struct pending *p, const struct ttrpc_frame *f)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct pb_bytes payload;
	struct agent_pid pid;
	int r = agent_response(f, &a, &payload, &e);
	if (r >= 0)
		r = pb_decode(&agent_pid_desc, &a, payload.p, payload.n, &pid, &e);
	if (r >= 0)
		r = monitor_attach(m, p->relay, &e);
	if (r < 0) {
		if (p->client)
			refuse(p->client, p->client_stream, r, err_msg(&e));
		relay_free(p->relay);
		return;
	}
	p->relay->next = m->relays;
	m->relays = p->relay;
	if (p->client)
		chan_io(&p->client->ch, p->client_stream, IO_STDIN, NULL, 0, pid.pid);
}

void control_response(struct monitor *m, const struct ttrpc_frame *f)
{
	for (struct pending **at = &m->pending; *at; at = &(*at)->next) {
		struct pending *p = *at;
		if (p->stream != f->stream)
			continue;
		*at = p->next;
		if (p->relay)
			process_made(m, p, f);
		else if (p->client && ttrpc_put(&p->client->ch.out, p->client_stream, TTRPC_RESPONSE, 0, f->data, f->n) < 0)
			p->client->dead = true;
		if (p->client && chan_flush(&p->client->ch) < 0)
			p->client->dead = true;
		free(p);
		return;
	}
}

void control_ended(struct monitor *m, struct relay *r)
{
	(void)m;
	if (!r->client)
		return;
	struct agent_io io = { .kind = IO_EXIT, .n = (uint64_t)(unsigned)r->status };
	if (ttrpc_put_response(&r->client->ch.out, r->client_stream, &agent_io_desc, &io) < 0 || chan_flush(&r->client->ch) < 0)
		r->client->dead = true;
}

void control_oom(struct monitor *m, struct relay *r)
{
	(void)m;
	if (r->client)
		chan_io(&r->client->ch, r->client_stream, IO_OOM, NULL, 0, r->oom_kills);
}
