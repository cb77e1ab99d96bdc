/* What a container finds about its network: hosts, resolv.conf, hostname; and the names that the monitors' resolvers serve. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "cmd/tierce/people/people.h"
#include "sys/fd.h"

enum { NET_JSON_MAX = 1 << 20 };

static void own_lines(struct pctr *c, const char *hostname, struct strbuf *b) {
	const struct json *j = net_state(c);
	strbuf_puts(b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
	for (size_t i = 0; i < c->opts.add_host.n; i++) {
		const char *s = c->opts.add_host.v[i], *colon = strchr(s, ':');
		if (!colon)
			colon = strchr(s, '=');
		if (!colon)
			continue;
		const struct json *net = json_first(json_get(j, "networks"));
		const char *ip = streq(colon + 1, "host-gateway") ? json_str(net, "gateway", "127.0.0.1") : colon + 1;
		strbuf_printf(b, "%s\t%.*s\n", ip, (int)(colon - s), s);
	}
	bool first = true;
	for (const struct json *m = json_first(json_get(j, "networks")); m; m = m->next) {
		const char *ip = json_str(m, "ip", NULL), *gateway = json_str(m, "gateway", "");
		if (first && *gateway)
			strbuf_printf(b, "%s\thost.containers.internal host.docker.internal\n", gateway);
		first = false;
		const char *const both[] = { ip, json_str(m, "ip6", NULL) };
		for (size_t k = 0; k < 2; k++)
			if (both[k])
				strbuf_printf(b, "%s\t%s %s\n", both[k], hostname ? hostname : "", c->name);
	}
	if (!json_first(json_get(j, "networks")) && hostname)
		strbuf_printf(b, "127.0.1.1\t%s %s\n", hostname, c->name);
}

/* Names of the other containers on the networks of c: docker's "DNS by name", through the hosts file that every libc reads first. */
static void peer_lines(struct pctr *c, struct pctr *const *all, size_t n, struct strbuf *b) {
	if (json_get(net_state(c), "alone"))
		return;
	for (const struct json *mine = json_first(json_get(net_state(c), "networks")); mine; mine = mine->next) {
		for (size_t i = 0; i < n; i++) {
			if (streq(all[i]->id, c->id))
				continue;
			for (const struct json *m = json_first(json_get(net_state(all[i]), "networks")); m; m = m->next) {
				if (json_first(json_get(m, "dns")))
					continue;
				const char *ip = json_str(m, "ip", NULL);
				if (!ip || !streq(json_str(m, "name", ""), json_str(mine, "name", "-")))
					continue;
				strbuf_printf(b, "%s\t%s %.12s", ip, all[i]->name, all[i]->id);
				for (const struct json *x = json_first(json_get(m, "aliases")); x; x = x->next)
					if (x->type == JSON_STRING)
						strbuf_printf(b, " %s", x->text);
				strbuf_putc(b, '\n');
			}
		}
	}
}

static const char peers_mark[] = "# containers on the same networks\n";

/* In place, because the container has this very file mounted. */
static int write_in_place(const char *dir, const char *name, const struct strbuf *b, struct err *e);

int bundle_write_file(struct bundle *b, const char *name, const struct strbuf *text, struct err *e) {
	int r = write_in_place(b->c->dir, name, text, e);
	if (r == 0 && b->ids.uids.n && chown(arena_printf(b->a, "%s/%s", b->c->dir, name), userns_outside(&b->ids.uids, 0), userns_outside(&b->ids.gids, 0)) < 0)
		r = err_sys(e, errno, "change the owner of %s/%s", b->c->dir, name);
	return r;
}

static int write_in_place(const char *dir, const char *name, const struct strbuf *b, struct err *e) {
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return err_sys(e, errno, "write %s", path);
	fchmod(fd, 0644);
	int r = fd_write_all(fd, b->s, b->len);
	if (r == 0 && ftruncate(fd, (off_t)b->len) < 0)
		r = -errno;
	return r < 0 ? err_sys(e, r, "write %s", path) : 0;
}

/* ---- names for the monitors' resolvers: the file of monitor/dns.h ------------------------------------------------------------------- */

/* Where questions go: --dns, else the host's servers, asked from the host (so one on its loopback will do). */
static void upstream(struct pctr *c, struct strbuf *out) {
	_cleanup_strbuf_ struct strbuf host = STRBUF_INIT;
	size_t n = 0;
	for (; n < c->opts.dns.n; n++)
		strbuf_printf(out, " %s", c->opts.dns.v[n]);
	if (n || file_read_at(AT_FDCWD, "/etc/resolv.conf", &host, NET_JSON_MAX) < 0)
		return;
	for (char *save = NULL, *line = host.len ? strtok_r(host.s, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		char server[64];
		if (sscanf(line, "nameserver %63s", server) == 1)
			strbuf_printf(out, " %s", server);
	}
}

static bool outside_allowed(struct pctr *c, const struct json *networks) {
	for (const struct json *m = json_first(networks); m; m = m->next)
		if (!net_is_internal(c->p, json_str(m, "name", "")))
			return true;
	return false;
}

static void client_lines(struct pctr *c, const struct json *networks, struct strbuf *out) {
	static const char *const keys[] = { "ip", "ip6" };
	_cleanup_strbuf_ struct strbuf servers = STRBUF_INIT;
	if (outside_allowed(c, networks))
		upstream(c, &servers);
	for (const struct json *m = json_first(networks); m; m = m->next)
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
			const char *ip = json_str(m, keys[k], NULL);
			if (!ip)
				continue;
			strbuf_printf(out, "i %s", ip);
			for (const struct json *x = json_first(networks); x; x = x->next)
				strbuf_printf(out, " %s", json_str(x, "name", "-"));
			if (servers.len)
				strbuf_printf(out, "\nu %s%s", ip, strbuf_str(&servers));
			strbuf_putc(out, '\n');
		}
}

static void name_lines(struct pctr *c, const struct json *networks, struct strbuf *out) {
	static const char *const keys[] = { "ip", "ip6" };
	for (const struct json *m = json_first(networks); m; m = m->next)
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
			const char *ip = json_str(m, keys[k], NULL);
			if (!ip)
				continue;
			strbuf_printf(out, "n %s %s %s %.12s", json_str(m, "name", "-"), ip, c->name, c->id);
			for (const struct json *x = json_first(json_get(m, "aliases")); x; x = x->next)
				if (x->type == JSON_STRING && !strpbrk(x->text, " \n"))
					strbuf_printf(out, " %s", x->text);
			strbuf_putc(out, '\n');
		}
}

static void refresh_names(struct people *p, struct pctr *const *v, size_t n) {
	_cleanup_strbuf_ struct strbuf clients = STRBUF_INIT, names = STRBUF_INIT, old = STRBUF_INIT;
	for (size_t i = 0; i < n; i++) {
		const struct json *state = net_state(v[i]), *networks = json_get(state, "networks");
		if (!networks || json_get(state, "alone"))
			continue;
		bool again = false; /* a pod's containers share one address */
		for (size_t k = 0; v[i]->pod_id && k < i; k++)
			again |= v[k]->pod_id && streq(v[k]->pod_id, v[i]->pod_id);
		if (!again)
			client_lines(v[i], networks, &clients);
		name_lines(v[i], networks, &names);
	}
	strbuf_add(&clients, strbuf_str(&names), names.len);
	_cleanup_close_ int dir = open(p->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || clients.failed || names.failed)
		return;
	if (file_read_at(dir, "names", &old, NET_JSON_MAX) == 0 && old.len == clients.len && (!old.len || memcmp(old.s, clients.s, old.len) == 0))
		return;
	(void)!file_replace_at(dir, "names", strbuf_str(&clients), clients.len, 0600, 0);
}

/* One at a time, and each reads after it has the lock: the last one to write has seen everything. */
static int names_lock(struct people *p) {
	int fd = open(arena_printf(&p->arena, "%s/names.lock", p->run_dir), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		while (flock(fd, LOCK_EX) < 0 && errno == EINTR)
			;
	return fd;
}

void net_refresh_names(struct people *p) {
	struct pctr **v;
	size_t n;
	_cleanup_close_ int lock = names_lock(p);
	if (lock >= 0 && pctr_list(p, &v, &n, NULL) == 0)
		refresh_names(p, v, n);
}

void net_refresh_hosts(struct people *p) {
	struct pctr **v;
	size_t n;
	_cleanup_close_ int lock = names_lock(p); /* without it, the last writer's view stands */
	(void)lock;
	if (pctr_list(p, &v, &n, NULL) < 0)
		return;
	refresh_names(p, v, n);
	for (size_t i = 0; i < n; i++) {
		_cleanup_strbuf_ struct strbuf old = STRBUF_INIT, b = STRBUF_INIT;
		char path[4096];
		if (!v[i]->pid || v[i]->opts.no_hosts || !net_state(v[i]))
			continue;
		snprintf(path, sizeof(path), "%s/hosts", v[i]->dir);
		if (file_read_at(AT_FDCWD, path, &old, NET_JSON_MAX) < 0)
			continue;
		/* What the container itself added above the mark stays. */
		char *mark = strstr(old.s, peers_mark);
		strbuf_add(&b, old.s, mark ? (size_t)(mark - old.s) : old.len);
		strbuf_puts(&b, peers_mark);
		peer_lines(v[i], v, n, &b);
		if (!b.failed && (b.len != old.len || memcmp(b.s, old.s, b.len)))
			write_in_place(v[i]->dir, "hosts", &b, NULL);
	}
}

static void resolver(struct bundle *b, const struct net_plan *plan, struct strbuf *out) {
	const struct run_opts *o = &b->c->opts;
	_cleanup_strbuf_ struct strbuf host = STRBUF_INIT;
	bool own = plan->mode == NET_BRIDGE || plan->mode == NET_SLIRP || plan->mode == NET_PASTA;
	/* systemd-resolved's stub on loopback is of no use in another network namespace: its upstream list is. */
	if (!own || file_read_at(AT_FDCWD, "/run/systemd/resolve/resolv.conf", &host, NET_JSON_MAX) < 0)
		file_read_at(AT_FDCWD, "/etc/resolv.conf", &host, NET_JSON_MAX);
	bool servers = false, search = false, options = false;
	size_t ours = 0;
	/* The bridges' resolvers first (they ask --dns for the rest); what follows is for the moment when no monitor serves a bridge. */
	for (const struct json *m = json_first(json_get(net_state(b->c), "networks")); m; m = m->next)
		for (const struct json *s = json_first(json_get(m, "dns")); s && ours < 2; s = s->next, ours++)
			if (s->type == JSON_STRING)
				strbuf_printf(out, "nameserver %s\n", s->text);
	for (size_t i = 0; i < o->dns.n; i++, servers = true)
		if (!streq(o->dns.v[i], "none"))
			strbuf_printf(out, "nameserver %s\n", o->dns.v[i]);
	if (o->dns_search.n && !streq(o->dns_search.v[0], ".")) {
		strbuf_puts(out, "search");
		for (size_t i = 0; i < o->dns_search.n; i++)
			strbuf_printf(out, " %s", o->dns_search.v[i]);
		strbuf_putc(out, '\n');
	}
	search = o->dns_search.n > 0;
	if (o->dns_option.n) {
		strbuf_puts(out, "options");
		for (size_t i = 0; i < o->dns_option.n; i++)
			strbuf_printf(out, " %s", o->dns_option.v[i]);
		strbuf_putc(out, '\n');
	}
	options = o->dns_option.n > 0;
	size_t kept = 0;
	const char *forwarder = json_str(net_state(b->c), "dns", NULL);
	if (!servers && forwarder) {
		strbuf_printf(out, "nameserver %s\n", forwarder);
		kept++;
	}
	char *text = host.s;
	for (char *save = NULL, *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		bool server = str_has_prefix(line, "nameserver");
		bool loop = server && (strstr(line, " 127.") || strstr(line, "::1"));
		if ((server && (servers || (own && loop))) || (str_has_prefix(line, "search") && search) || (str_has_prefix(line, "options") && options) || *line == '#' || *line == ';')
			continue;
		kept += server;
		strbuf_printf(out, "%s\n", line);
	}
	if (!servers && !kept && own)
		strbuf_puts(out, "nameserver 1.1.1.1\nnameserver 8.8.8.8\n");
}

int net_write_files(struct bundle *b, struct err *e) {
	static const char *const options[] = { "bind", "rprivate", NULL };
	_cleanup_strbuf_ struct strbuf hosts = STRBUF_INIT, resolv = STRBUF_INIT, name = STRBUF_INIT;
	struct net_plan plan;
	struct pctr **v;
	size_t n;
	int r = net_plan(b->c, &plan, e);
	if (r < 0)
		return r;
	if (!b->c->opts.no_hosts) {
		own_lines(b->c, b->g.hostname, &hosts);
		strbuf_puts(&hosts, peers_mark);
		if (pctr_list(b->c->p, &v, &n, NULL) == 0)
			peer_lines(b->c, v, n, &hosts);
		r = bundle_write_file(b, "hosts", &hosts, e);
		if (r == 0)
			r = bundle_add_mount(b, "/etc/hosts", "bind", arena_printf(b->a, "%s/hosts", b->c->dir), options, e);
	}
	bool none = b->c->opts.dns.n && streq(b->c->opts.dns.v[0], "none");
	if (r == 0 && !none && plan.mode != NET_NONE) {
		resolver(b, &plan, &resolv);
		r = bundle_write_file(b, "resolv.conf", &resolv, e);
		if (r == 0)
			r = bundle_add_mount(b, "/etc/resolv.conf", "bind", arena_printf(b->a, "%s/resolv.conf", b->c->dir), options, e);
	}
	if (r == 0 && b->g.hostname) {
		strbuf_printf(&name, "%s\n", b->g.hostname);
		r = bundle_write_file(b, "hostname", &name, e);
		if (r == 0)
			r = bundle_add_mount(b, "/etc/hostname", "bind", arena_printf(b->a, "%s/hostname", b->c->dir), options, e);
	}
	return r;
}
