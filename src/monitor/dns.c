/* Sockets of the resolver: see dns.h. */
#include "monitor/dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>

#include "monitor/priv.h"
#include "sys/fd.h"

enum { TRY_NS = 2000000000, PACKET_MAX = 4096 /* EDNS clients ask for no more over UDP (RFC 6891, 6.2.5) */, TCP_SECONDS = 10, BATCH = 16 };

struct listener { char *address; int udp, tcp; };

/* A question that was passed on: from a socket of its own, so that the kernel gives each a port that cannot be guessed. */
struct pending {
	int fd, via;
	struct sockaddr_storage client;
	socklen_t client_len;
	struct sockaddr_storage servers[DNS_SERVERS_MAX];
	size_t n_servers, next_server;
	uint64_t due;
	size_t len;
	uint8_t packet[];
};

struct dns {
	char *names;
	struct listener at[DNS_LISTEN_MAX];
	size_t n;
	struct pending *pending[DNS_PENDING_MAX];
	size_t n_pending;
	pid_t children[DNS_CHILDREN_MAX];
};

static int listen_on(const struct sockaddr_storage *sa, socklen_t len, int type) {
	int one = 1;
	_cleanup_close_ int fd = socket(sa->ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0)
		return -errno;
	if (sa->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	/* The bridge may be down and up again under a container that is restarted; an IPv6 address is tentative for a second at first (RFC 4862, 5.4). */
	if (sa->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
	else
		setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one));
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)sa, len) < 0 || (type == SOCK_STREAM && listen(fd, DNS_CHILDREN_MAX) < 0))
		return -errno;
	return TAKE_FD(fd);
}

static socklen_t address_of(const char *text, struct sockaddr_storage *sa) {
	struct sockaddr_in *four = (struct sockaddr_in *)sa;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)sa;
	*sa = (struct sockaddr_storage){ 0 };
	if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(53);
		return sizeof(*four);
	}
	if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1)
		return 0;
	six->sin6_family = AF_INET6;
	six->sin6_port = htons(53);
	return sizeof(*six);
}

void dns_serve(struct dns **dp, const char *names, const char *address) {
	struct sockaddr_storage sa;
	struct dns *d = *dp;
	socklen_t len = address_of(address, &sa);
	if (!len || (!d && !(d = *dp = calloc(1, sizeof(*d)))))
		return;
	if (!d->names && !(d->names = strdup(names)))
		return;
	for (size_t i = 0; i < d->n; i++)
		if (streq(d->at[i].address, address))
			return;
	if (d->n == DNS_LISTEN_MAX)
		return;
	int udp = listen_on(&sa, len, SOCK_DGRAM), tcp = udp < 0 ? udp : listen_on(&sa, len, SOCK_STREAM);
	char *copy = udp < 0 ? NULL : strdup(address);
	if (!copy) {
		cleanup_close(&udp);
		cleanup_close(&tcp);
		return;
	}
	d->at[d->n++] = (struct listener){ copy, udp, tcp };
}

/* ---- questions -------------------------------------------------------------------------------------------------------------------- */

static void find(struct dns *d, const struct sockaddr_storage *client, const struct dns_query *q, struct strbuf *text, struct dns_found *ret) {
	*ret = (struct dns_found){ .verdict = DNS_DROP };
	if (file_read_at(AT_FDCWD, d->names, text, DNS_NAMES_MAX) == 0 && text->len)
		dns_lookup(text->s, client, q, ret);
}

static void drop_pending(struct dns *d, size_t i) {
	cleanup_close(&d->pending[i]->fd);
	free(d->pending[i]);
	d->pending[i] = d->pending[--d->n_pending];
}

static socklen_t length_of(const struct sockaddr_storage *sa) {
	return sa->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

/* The next server, with a fresh socket; false: there is none left. */
static bool pass_on(struct pending *p) {
	while (p->next_server < p->n_servers) {
		const struct sockaddr_storage *sa = &p->servers[p->next_server++];
		cleanup_close(&p->fd);
		p->fd = socket(sa->ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		p->due = mono_ns() + TRY_NS;
		if (p->fd >= 0 && connect(p->fd, (const struct sockaddr *)sa, length_of(sa)) == 0 && send(p->fd, p->packet, p->len, 0) == (ssize_t)p->len)
			return true;
	}
	return false;
}

static void answer(int via, const struct sockaddr_storage *client, socklen_t len, const uint8_t *packet, const struct dns_query *q, enum dns_rcode rcode, const struct dns_found *f) {
	uint8_t out[DNS_UDP_MAX];
	size_t n = dns_reply(packet, q, rcode, f ? f->v : NULL, f ? f->n : 0, DNS_TTL, out, sizeof(out));
	(void)!sendto(via, out, n, MSG_DONTWAIT, (const struct sockaddr *)client, len);
}

static void forward(struct dns *d, int via, const struct sockaddr_storage *client, socklen_t len, const uint8_t *packet, size_t n, const struct dns_found *f) {
	struct dns_query q;
	struct pending *p = d->n_pending < DNS_PENDING_MAX ? malloc(sizeof(*p) + n) : NULL;
	if (p) {
		*p = (struct pending){ .fd = -EBADF, .via = via, .client = *client, .client_len = len, .n_servers = f->n_servers, .len = n };
		memcpy(p->servers, f->servers, sizeof(p->servers));
		memcpy(p->packet, packet, n);
		if (pass_on(p)) {
			d->pending[d->n_pending++] = p;
			return;
		}
		cleanup_close(&p->fd);
		free(p);
	}
	if (dns_query_parse(packet, n, &q) == 0)
		answer(via, client, len, packet, &q, DNS_SERVFAIL, NULL);
}

/* False: nothing more to read. */
static bool udp_question(struct dns *d, int fd) {
	uint8_t packet[PACKET_MAX];
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct sockaddr_storage client;
	socklen_t len = sizeof(client);
	struct dns_query q;
	struct dns_found f;
	ssize_t n = recvfrom(fd, packet, sizeof(packet), MSG_DONTWAIT, (struct sockaddr *)&client, &len);
	if (n < 0)
		return errno == EINTR;
	int r = dns_query_parse(packet, (size_t)n, &q);
	if (r == -EBADMSG)
		return true;
	find(d, &client, &q, &text, &f);
	if (f.verdict == DNS_DROP)
		return true;
	if (r < 0)
		answer(fd, &client, len, packet, &q, DNS_FORMERR, NULL);
	else if (f.verdict == DNS_LOCAL)
		answer(fd, &client, len, packet, &q, f.rcode, &f);
	else
		forward(d, fd, &client, len, packet, (size_t)n, &f);
	return true;
}

static void udp_reply(struct dns *d, size_t i) {
	uint8_t packet[PACKET_MAX];
	struct pending *p = d->pending[i];
	struct dns_query q;
	ssize_t n = recv(p->fd, packet, sizeof(packet), MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	bool sound = dns_query_parse(p->packet, p->len, &q) == 0;
	if (n >= 0 && sound && !dns_is_reply(packet, (size_t)n, p->packet, &q))
		return; /* not what was asked: the right one may follow */
	if (n >= 0 && sound) {
		(void)!sendto(p->via, packet, (size_t)n, MSG_DONTWAIT, (struct sockaddr *)&p->client, p->client_len);
	} else if (pass_on(p)) { /* refused: nobody listens there */
		return;
	} else if (sound) {
		answer(p->via, &p->client, p->client_len, p->packet, &q, DNS_SERVFAIL, NULL);
	}
	drop_pending(d, i);
}

/* ---- TCP: a process for each connection ---------------------------------------------------------------------------------------------- */

static bool read_message(int fd, uint8_t *buf, size_t *n) {
	uint8_t head[2];
	if (fd_read_full(fd, head, 2) != 2)
		return false;
	*n = (size_t)(head[0] << 8 | head[1]);
	return fd_read_full(fd, buf, *n) == (ssize_t)*n;
}

static bool write_message(int fd, const uint8_t *buf, size_t n) {
	uint8_t head[2] = { (uint8_t)(n >> 8), (uint8_t)n };
	return fd_write_all(fd, head, 2) == 0 && fd_write_all(fd, buf, n) == 0;
}

static void limit(int fd) {
	const struct timeval t = { .tv_sec = TCP_SECONDS };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static bool ask_by_tcp(const struct dns_found *f, const uint8_t *packet, size_t n, uint8_t *out, size_t *ret_n) {
	for (size_t i = 0; i < f->n_servers; i++) {
		_cleanup_close_ int fd = socket(f->servers[i].ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd < 0)
			continue;
		limit(fd);
		if (connect(fd, (const struct sockaddr *)&f->servers[i], length_of(&f->servers[i])) == 0 && write_message(fd, packet, n) && read_message(fd, out, ret_n))
			return true;
	}
	return false;
}

static void serve_tcp(struct dns *d, int fd, const struct sockaddr_storage *client) {
	static uint8_t packet[DNS_MESSAGE_MAX], out[DNS_MESSAGE_MAX];
	size_t n, k;
	limit(fd);
	while (read_message(fd, packet, &n)) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct dns_query q;
		struct dns_found f;
		int r = dns_query_parse(packet, n, &q);
		if (r == -EBADMSG)
			return;
		find(d, client, &q, &text, &f);
		if (f.verdict == DNS_DROP)
			return;
		if (r == 0 && f.verdict == DNS_FORWARD) {
			if (!ask_by_tcp(&f, packet, n, out, &k))
				k = dns_reply(packet, &q, DNS_SERVFAIL, NULL, 0, 0, out, sizeof(out));
		} else {
			k = dns_reply(packet, &q, r < 0 ? DNS_FORMERR : f.rcode, f.v, r < 0 ? 0 : f.n, DNS_TTL, out, sizeof(out));
		}
		if (!write_message(fd, out, k))
			return;
	}
}

static void tcp_connection(struct dns *d, int listener) {
	struct sockaddr_storage client;
	socklen_t len = sizeof(client);
	size_t slot = 0;
	_cleanup_close_ int fd = accept4(listener, (struct sockaddr *)&client, &len, SOCK_CLOEXEC);
	while (slot < DNS_CHILDREN_MAX && d->children[slot])
		slot++;
	if (fd < 0 || slot == DNS_CHILDREN_MAX)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		/* Nothing of the monitor's stays open, above all not its lock. */
		dup2(fd, 3);
		close_range(4, ~0u, 0);
		serve_tcp(d, 3, &client);
		_exit(0);
	}
	if (pid > 0)
		d->children[slot] = pid;
}

bool dns_reaped(struct dns *d, pid_t pid) {
	for (size_t i = 0; d && i < DNS_CHILDREN_MAX; i++)
		if (d->children[i] == pid) {
			d->children[i] = 0;
			return true;
		}
	return false;
}

/* ---- the monitor's loop ---------------------------------------------------------------------------------------------------------------- */

size_t dns_gather(struct dns *d, struct pollfd *p) {
	size_t n = 0;
	for (size_t i = 0; d && i < d->n; i++) {
		p[n++] = (struct pollfd){ d->at[i].udp, POLLIN, 0 };
		p[n++] = (struct pollfd){ d->at[i].tcp, POLLIN, 0 };
	}
	for (size_t i = 0; d && i < d->n_pending; i++)
		p[n++] = (struct pollfd){ d->pending[i]->fd, POLLIN, 0 };
	return n;
}

void dns_dispatch(struct dns *d, const struct pollfd *p, size_t n) {
	/* The order of dns_gather(); replies first and backwards, for they are moved when one goes. */
	for (size_t i = n; d && i-- > 2 * d->n;)
		if (p[i].revents && i - 2 * d->n < d->n_pending && d->pending[i - 2 * d->n]->fd == p[i].fd)
			udp_reply(d, i - 2 * d->n);
	for (size_t i = 0; d && i < 2 * d->n && i < n; i++) {
		if (!p[i].revents)
			continue;
		if (i % 2)
			tcp_connection(d, p[i].fd);
		else
			for (int k = 0; k < BATCH && udp_question(d, p[i].fd); k++)
				;
	}
}

uint64_t dns_next(const struct dns *d) {
	uint64_t next = UINT64_MAX;
	for (size_t i = 0; d && i < d->n_pending; i++)
		next = MIN(next, d->pending[i]->due);
	return next;
}

void dns_tick(struct dns *d) {
	for (size_t i = d ? d->n_pending : 0; i-- > 0;) {
		struct pending *p = d->pending[i];
		struct dns_query q;
		if (p->due > mono_ns() || pass_on(p))
			continue;
		if (dns_query_parse(p->packet, p->len, &q) == 0)
			answer(p->via, &p->client, p->client_len, p->packet, &q, DNS_SERVFAIL, NULL);
		drop_pending(d, i);
	}
}

void dns_close(struct dns *d) {
	if (!d)
		return;
	for (size_t i = 0; i < d->n; i++) {
		/* What waits in this socket reaches none of the other monitors: answered before it closes. */
		for (int k = 0; k < BATCH && udp_question(d, d->at[i].udp); k++)
			;
		cleanup_close(&d->at[i].udp);
		cleanup_close(&d->at[i].tcp);
		free(d->at[i].address);
	}
	while (d->n_pending)
		drop_pending(d, d->n_pending - 1);
	free(d->names);
	free(d);
}
