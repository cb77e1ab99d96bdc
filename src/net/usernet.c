/* slirp4netns(1) and pasta(1): see usernet.h. */
#include "net/usernet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "sys/fd.h"

enum { WORDS_MAX = 400, LOG_MAX = 64 * 1024, ANSWER_MAX = 4096, PASTA_TRIES = 15000 };
static const char *const programs[] = { [USERNET_SLIRP] = "slirp4netns", [USERNET_PASTA] = "pasta" };
static const char *const packages[] = { [USERNET_SLIRP] = "slirp4netns", [USERNET_PASTA] = "passt" };

bool usernet_there(enum usernet_kind kind) {
	const char *search = getenv("PATH");
	char path[512];
	for (const char *p = search ? search : "/usr/bin:/bin"; *p;) {
		size_t n = strcspn(p, ":");
		snprintf(path, sizeof(path), "%.*s/%s", (int)n, p, programs[kind]);
		if (access(path, X_OK) == 0)
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

struct words { const char *v[WORDS_MAX]; size_t n; bool full; };

static void put(struct words *w, const char *s) {
	if (w->n + 1 < WORDS_MAX && s)
		w->v[w->n++] = s;
	else
		w->full = true;
}

/* ---- slirp4netns -------------------------------------------------------------------------------------------------------------- */

struct slirp { const char *cidr, *mtu; bool host_loopback, ipv6; const char *outbound4, *outbound6; };

static int slirp_options(struct arena *a, const char *text, struct slirp *o, struct err *e) {
	*o = (struct slirp){ .cidr = "10.0.2.0/24", .mtu = "65520" };
	char *copy = arena_strdup(a, text ? text : "");
	for (char *save = NULL, *w = copy ? strtok_r(copy, ",", &save) : NULL; w; w = strtok_r(NULL, ",", &save)) {
		char *value = strchr(w, '=');
		if (!value)
			return err_set(e, -EINVAL, "--network slirp4netns: \"%s\" is not KEY=VALUE", w);
		*value++ = '\0';
		bool yes = streq(value, "true");
		if (streq(w, "cidr"))
			o->cidr = value;
		else if (streq(w, "mtu"))
			o->mtu = value;
		else if (streq(w, "outbound_addr"))
			o->outbound4 = value;
		else if (streq(w, "outbound_addr6"))
			o->outbound6 = value;
		else if ((streq(w, "allow_host_loopback") || streq(w, "enable_ipv6")) && (yes || streq(value, "false")))
			*(w[0] == 'a' ? &o->host_loopback : &o->ipv6) = yes;
		else if (!streq(w, "port_handler") || !streq(value, "slirp4netns"))
			return err_set(e, -EINVAL, "--network slirp4netns: %s=%s is not understood (cidr=, mtu=, allow_host_loopback=, enable_ipv6=, outbound_addr=, outbound_addr6=, "
				"port_handler=slirp4netns)", w, value);
	}
	struct in_addr net;
	const char *slash = strchr(o->cidr, '/');
	char address[INET_ADDRSTRLEN];
	snprintf(address, sizeof(address), "%.*s", (int)strcspn(o->cidr, "/"), o->cidr);
	if (!slash || inet_pton(AF_INET, address, &net) != 1 || atoi(slash + 1) < 1 || atoi(slash + 1) > 25)
		return err_set(e, -EINVAL, "--network slirp4netns: cidr=%s is no IPv4 network of at least 128 addresses", o->cidr);
	return 0;
}

/* slirp4netns(1): .2 is the gateway, .3 the name server, .100 the container. */
static const char *slirp_address(struct arena *a, const char *cidr, uint32_t last) {
	char text[INET_ADDRSTRLEN];
	struct in_addr net;
	snprintf(text, sizeof(text), "%.*s", (int)strcspn(cidr, "/"), cidr);
	if (inet_pton(AF_INET, text, &net) != 1)
		return NULL;
	uint32_t bits = (uint32_t)atoi(strchr(cidr, '/') + 1), mask = bits ? ~(uint32_t)0 << (32 - bits) : 0;
	net.s_addr = htonl((ntohl(net.s_addr) & mask) + last);
	return arena_strdup(a, inet_ntop(AF_INET, &net, text, sizeof(text)));
}

static void slirp_words(struct words *w, struct arena *a, const struct usernet *u, const struct slirp *o) {
	put(w, "slirp4netns");
	put(w, "--configure");
	put(w, arena_printf(a, "--mtu=%s", o->mtu));
	put(w, arena_printf(a, "--cidr=%s", o->cidr));
	if (!o->host_loopback)
		put(w, "--disable-host-loopback");
	if (o->ipv6)
		put(w, "--enable-ipv6");
	if (o->outbound4)
		put(w, arena_printf(a, "--outbound-addr=%s", o->outbound4));
	if (o->outbound6)
		put(w, arena_printf(a, "--outbound-addr6=%s", o->outbound6));
	put(w, "--ready-fd=3");
	put(w, "--enable-sandbox");
	put(w, "--enable-seccomp");
	put(w, "--netns-type=path");
	put(w, "--api-socket=net");
	put(w, u->netns);
	put(w, "tap0");
}

/* One request per connection, ended by our half of the close (slirp4netns(1), API SOCKET). */
static int slirp_publish(const struct usernet *u, const struct cni_port *p, const char *guest, struct err *e) {
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	_cleanup_strbuf_ struct strbuf answer = STRBUF_INIT;
	char text[400];
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), dir = open(u->run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* By descriptor: sun_path has 108 bytes, and a user's run directory may be deep. */
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d/net", dir);
	if (fd < 0 || dir < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, errno, "talk to slirp4netns");
	int n = snprintf(text, sizeof(text), "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"%s\",\"host_addr\":\"%s\",\"host_port\":%u,\"guest_addr\":\"%s\",\"guest_port\":%u}}",
		p->protocol, *p->host_ip ? p->host_ip : "0.0.0.0", p->host, guest, p->container);
	int r = fd_write_all(fd, text, (size_t)n);
	shutdown(fd, SHUT_WR);
	if (r == 0)
		r = fd_read_rest(fd, &answer, ANSWER_MAX);
	if (r < 0)
		return err_sys(e, r, "talk to slirp4netns");
	return strstr(strbuf_str(&answer), "\"error\"") ? err_set(e, -EADDRINUSE, "publish %u/%s: slirp4netns: %s", p->host, p->protocol, strbuf_str(&answer)) : 0;
}

/* ---- pasta ---------------------------------------------------------------------------------------------------------------------- */

static void pasta_words(struct words *w, struct arena *a, const struct usernet *u) {
	bool tcp = false, udp = false;
	put(w, "pasta");
	put(w, "--config-net");
	put(w, "--foreground");
	put(w, "--stderr");
	put(w, "--quiet");
	put(w, "--pid");
	put(w, arena_printf(a, "%s/pasta.pid", u->run_dir));
	for (size_t i = 0; i < u->n_ports; i++) {
		const struct cni_port *p = &u->ports[i];
		bool is_udp = streq(p->protocol, "udp");
		*(is_udp ? &udp : &tcp) = true;
		put(w, is_udp ? "-u" : "-t");
		put(w, arena_printf(a, "%s%s%u:%u", p->host_ip, *p->host_ip ? "/" : "", p->host, p->container));
	}
	if (!tcp) {
		put(w, "-t");
		put(w, "none");
	}
	if (!udp) {
		put(w, "-u");
		put(w, "none");
	}
	put(w, "-T");
	put(w, "none");
	put(w, "-U");
	put(w, "none");
	char *copy = arena_strdup(a, u->options ? u->options : "");
	bool gateway = false;
	for (char *save = NULL, *o = copy ? strtok_r(copy, ",", &save) : NULL; o; o = strtok_r(NULL, ",", &save)) {
		gateway |= streq(o, "--map-gw");
		if (!streq(o, "--map-gw"))
			put(w, o);
	}
	if (!gateway)
		put(w, "--no-map-gw");
	put(w, "--netns");
	put(w, u->netns);
}

/* The first address that is not loopback, asked inside. */
static const char *inner_address(struct arena *a, const char *netns) {
	char text[INET6_ADDRSTRLEN] = "";
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return NULL;
	pid_t pid = fork();
	if (pid == 0) {
		struct ifaddrs *list = NULL;
		int fd = open(netns, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && setns(fd, CLONE_NEWNET) == 0 && getifaddrs(&list) == 0)
			for (struct ifaddrs *i = list; i; i = i->ifa_next)
				if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !(i->ifa_flags & IFF_LOOPBACK) &&
					inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, text, sizeof(text)))
					break;
		(void)!write(p[1], text, strlen(text));
		_exit(0);
	}
	close(p[1]);
	ssize_t n = pid < 0 ? 0 : fd_read_full(p[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(p[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return *text ? arena_strdup(a, text) : NULL;
}

/* ---- both ------------------------------------------------------------------------------------------------------------------------ */

int usernet_check(struct arena *a, const struct usernet *u, struct err *e) {
	struct slirp o;
	if (!usernet_there(u->kind))
		return err_set(e, -ENOENT, "--network %s: %s is not installed (Debian: apt-get install %s)", programs[u->kind], programs[u->kind], packages[u->kind]);
	for (size_t i = 0; i < u->n_ports; i++)
		if (!streq(u->ports[i].protocol, "tcp") && !streq(u->ports[i].protocol, "udp"))
			return err_set(e, -EINVAL, "--network %s cannot publish %s ports", programs[u->kind], u->ports[i].protocol);
	return u->kind == USERNET_SLIRP ? slirp_options(a, u->options, &o, e) : 0;
}

static int last_words(const struct usernet *u, struct err *e) {
	_cleanup_strbuf_ struct strbuf log = STRBUF_INIT;
	(void)!file_read_at(AT_FDCWD, u->log, &log, LOG_MAX);
	while (log.len && (log.s[log.len - 1] == '\n' || log.s[log.len - 1] == ' '))
		log.s[--log.len] = '\0';
	const char *line = log.len ? strrchr(log.s, '\n') : NULL;
	return err_set(e, -EIO, "%s: %s", programs[u->kind], line ? line + 1 : log.len ? log.s : "it ended without a word");
}

/* In a session of its own, so that the terminal's signals do not reach it; log as stdout and stderr, ready as descriptor 3. */
static pid_t launch(const struct words *w, const struct usernet *u, int ready) {
	pid_t pid = fork();
	if (pid != 0)
		return pid;
	setsid();
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), log = open(u->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	dup2(null, 0);
	dup2(log, 1);
	dup2(log, 2);
	if (chdir(u->run_dir) < 0)
		_exit(126);
	if (ready >= 0)
		dup2(ready, 3);
	cloexec_from(4);
	if (ready < 0)
		close(3);
	else
		fcntl(3, F_SETFD, 0);
	signal(SIGPIPE, SIG_DFL);
	execvp(w->v[0], (char *const *)(uintptr_t)w->v);
	dprintf(2, "%s\n", strerror(errno));
	_exit(127);
}

/* What an earlier run left. */
static int forget(const struct usernet *u, const char *name, struct err *e) {
	char path[4096];
	if (snprintf(path, sizeof(path), "%s/%s", u->run_dir, name) >= (int)sizeof(path))
		return err_set(e, -ENAMETOOLONG, "%s: too long", u->run_dir);
	unlink(path);
	return 0;
}

static int start_slirp(const struct usernet *u, const struct words *w, pid_t *ret_pid, struct err *e) {
	int ready[2];
	char c = 0;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_sys(e, errno, "make a pipe");
	if (forget(u, "net", e) < 0)
		return -ENAMETOOLONG;
	pid_t pid = launch(w, u, ready[1]);
	close(ready[1]);
	ssize_t n = pid < 0 ? 0 : fd_read_full(ready[0], &c, 1);
	close(ready[0]);
	if (n != 1) {
		if (pid > 0)
			waitpid(pid, NULL, 0);
		return last_words(u, e);
	}
	*ret_pid = pid;
	return 0;
}

static int start_pasta(const struct usernet *u, const struct words *w, pid_t *ret_pid, struct err *e) {
	if (forget(u, "pasta.pid", e) < 0)
		return -ENAMETOOLONG;
	_cleanup_close_ int dir = open(u->run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	pid_t pid = launch(w, u, -EBADF);
	/* The pid is written once the namespace is set up. */
	for (int i = 0; pid > 0 && i < PASTA_TRIES; i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		if (file_read_at(dir, "pasta.pid", &text, 64) == 0 && text.len && strchr(text.s, '\n')) {
			*ret_pid = pid;
			return 0;
		}
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return last_words(u, e);
		poll(NULL, 0, 2);
	}
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return err_set(e, -ETIMEDOUT, "pasta: the network did not come up");
}

int usernet_start(struct arena *a, const struct usernet *u, struct cni_result *ret, const char **ret_dns, pid_t *ret_pid, struct err *e) {
	struct words w = { .n = 0 };
	struct slirp o = { 0 };
	struct cni_address *address = arena_new(a, struct cni_address);
	int r = address ? usernet_check(a, u, e) : err_sys(e, -ENOMEM, "start %s", programs[u->kind]);
	if (r < 0)
		return r;
	if (u->kind == USERNET_SLIRP && (r = slirp_options(a, u->options, &o, e)) < 0)
		return r;
	if (u->kind == USERNET_SLIRP)
		slirp_words(&w, a, u, &o);
	else
		pasta_words(&w, a, u);
	if (w.full)
		return err_set(e, -E2BIG, "%s: too many ports or options", programs[u->kind]);
	r = u->kind == USERNET_SLIRP ? start_slirp(u, &w, ret_pid, e) : start_pasta(u, &w, ret_pid, e);
	if (r < 0)
		return r;
	*ret = (struct cni_result){ .v = address };
	*ret_dns = NULL;
	if (u->kind == USERNET_SLIRP) {
		*address = (struct cni_address){ .ip = slirp_address(a, o.cidr, 100), .prefix = (unsigned)atoi(strchr(o.cidr, '/') + 1), .gateway = slirp_address(a, o.cidr, 2) };
		*ret_dns = slirp_address(a, o.cidr, 3);
	} else {
		*address = (struct cni_address){ .ip = inner_address(a, u->netns) };
	}
	ret->n = address->ip != NULL;
	for (size_t i = 0; r == 0 && u->kind == USERNET_SLIRP && i < u->n_ports; i++)
		r = slirp_publish(u, &u->ports[i], address->ip, e);
	if (r < 0) {
		kill(*ret_pid, SIGTERM);
		if (u->kind == USERNET_SLIRP)
			waitpid(*ret_pid, NULL, 0);
	}
	return r;
}
