/* The network of a container: which one, up and down, hosts and resolv.conf. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "cmd/tierce/people/netpriv.h"
#include "confine/mount.h"
#include "net/netns.h"
#include "net/usernet.h"
#include "sys/fd.h"

static const char default_network[] = "tierce";
enum { NET_JSON_MAX = 1 << 20 };

bool net_is_internal(struct people *p, const char *network) {
	struct json *j;
	if (cni_load(&p->arena, &p->cni, network, &j, NULL) < 0)
		return false;
	const struct json *masq = json_get(json_first(json_get(j, "plugins")), "ipMasq"), *routes = json_get(json_get(json_first(json_get(j, "plugins")), "ipam"), "routes");
	return masq && masq->type == JSON_BOOL && !masq->boolean && !json_first(routes);
}

int net_ensure_default(struct people *p, struct err *e) {
	struct json *j;
	_cleanup_err_ struct err none = ERR_INIT;
	if (cni_load(&p->arena, &p->cni, default_network, &j, &none) == 0)
		return 0;
	const struct cni_bridge b = { .name = default_network, .bridge = "tierce0", .subnets = { { .subnet = "10.90.0.0/16" } }, .n_subnets = 1 };
	return cni_write_bridge(&p->cni, &b, e);
}

bool net_is_default(const char *network) {
	return streq(network, default_network);
}

/* What an ordinary user gets without --network: podman's choice of its time first, the other where only that is installed. */
static int default_plan(struct pctr *c, struct net_plan *ret, struct err *e) {
	if (!c->p->rootless) {
		ret->names[ret->n++] = default_network;
		return 0;
	}
	if (usernet_there(USERNET_SLIRP))
		ret->mode = NET_SLIRP;
	else if (usernet_there(USERNET_PASTA))
		ret->mode = NET_PASTA;
	else
		return err_set(e, -ENOENT, "the network of an ordinary user needs slirp4netns or pasta (Debian: apt-get install slirp4netns), or give --network none or --network host");
	return 0;
}

static const struct { const char *name; enum net_mode mode; bool needs; } net_words[] = { { "none", NET_NONE, false }, { "host", NET_HOST, false }, { "container", NET_CONTAINER, true },
	{ "ns", NET_PATH, true }, { "slirp4netns", NET_SLIRP, false }, { "pasta", NET_PASTA, false } };

int net_plan(struct pctr *c, struct net_plan *ret, struct err *e) {
	const struct opt_list *l = &c->opts.network;
	*ret = (struct net_plan){ .mode = NET_BRIDGE };
	if (c->pod_id) {
		ret->mode = NET_POD;
		return 0;
	}
	if (l->n == 0)
		return default_plan(c, ret, e);
	for (size_t i = 0; i < l->n; i++) {
		char *s = arena_strdup(&c->p->arena, l->v[i]), *arg = s ? strchr(s, ':') : NULL;
		if (!s)
			return err_sys(e, -ENOMEM, "plan the network");
		if (arg)
			*arg++ = '\0';
		size_t k = 0;
		while (k < ARRAY_SIZE(net_words) && !streq(net_words[k].name, s))
			k++;
		if (k < ARRAY_SIZE(net_words)) {
			if (l->n > 1)
				return err_set(e, -EINVAL, "--network %s cannot be combined with other networks", s);
			if (net_words[k].needs && (!arg || !*arg))
				return err_set(e, -EINVAL, "--network %s needs a value (%s:%s)", s, s, net_words[k].mode == NET_PATH ? "PATH" : "ID");
			if (net_words[k].mode == NET_PASTA && !c->p->rootless)
				return err_set(e, -EINVAL, "--network pasta is for ordinary users: root has bridge networks (and slirp4netns)");
			ret->mode = net_words[k].mode;
			ret->arg = arg;
			break;
		}
		bool usual = streq(s, "bridge") || streq(s, "default") || streq(s, "private");
		if (c->p->rootless && (streq(s, "default") || streq(s, "private")))
			return default_plan(c, ret, e);
		if (c->p->rootless)
			return err_set(e, -ENOTSUP, "--network %s: bridge networks need root; as an ordinary user use slirp4netns, pasta, container:ID, host or none", s);
		if (ret->n == ARRAY_SIZE(ret->names))
			return err_set(e, -E2BIG, "more than %zu networks", ARRAY_SIZE(ret->names));
		ret->names[ret->n++] = usual ? default_network : s;
	}
	if (ret->mode != NET_BRIDGE && ret->mode != NET_SLIRP && ret->mode != NET_PASTA && (c->opts.publish.n || c->opts.publish_all) && ret->mode != NET_HOST)
		return err_set(e, -EINVAL, "--publish needs a network of the container's own (not %s)", l->v[0]);
	if (ret->mode == NET_SLIRP || ret->mode == NET_PASTA) {
		struct usernet u = { .kind = ret->mode == NET_SLIRP ? USERNET_SLIRP : USERNET_PASTA, .options = ret->arg };
		if (c->opts.ip || c->opts.ip6 || c->opts.mac_address)
			return err_set(e, -EINVAL, "--ip and --mac-address need a bridge network");
		return usernet_check(&c->p->arena, &u, e);
	}
	return 0;
}

/* Values of "NAME:ip=10.0.0.5,mac=..,alias=x,alias=y": the k-th one of a key. */
static const char *word_option(struct arena *a, const char *word, const char *key, size_t k) {
	const char *s = word ? strchr(word, ':') : NULL;
	size_t n = strlen(key);
	for (s = s ? s + 1 : NULL; s && *s; s += strcspn(s, ","), s += *s == ',')
		if (strncmp(s, key, n) == 0 && s[n] == '=' && k-- == 0)
			return arena_strndup(a, s + n + 1, strcspn(s + n + 1, ","));
	return NULL;
}

/* The word of the i-th network, NULL: the default network that nobody named. */
static const char *network_word(struct pctr *c, size_t i) {
	return i < c->opts.network.n ? c->opts.network.v[i] : NULL;
}

struct json *net_state(struct pctr *c) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char path[4096];
	struct json *j;
	if (c->pod_id)
		snprintf(path, sizeof(path), "%s/pods/%s/net.json", c->p->data_dir, c->pod_id);
	else
		snprintf(path, sizeof(path), "%s/net.json", c->dir);
	if (file_read_at(AT_FDCWD, path, &text, NET_JSON_MAX) < 0 || json_parse(&c->p->arena, text.s, text.len, &j, NULL) < 0)
		return NULL;
	return j;
}

static uint16_t free_port(const char *proto) {
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t n = sizeof(sa);
	_cleanup_close_ int s = socket(AF_INET, (streq(proto, "udp") ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (s < 0 || bind(s, (struct sockaddr *)&sa, sizeof(sa)) < 0 || getsockname(s, (struct sockaddr *)&sa, &n) < 0)
		return 0;
	return ntohs(sa.sin_port);
}

/* A port that somebody listens on would be shadowed by the forwarding rule: say so instead. */
static int port_is_free(const struct cni_port *p, struct err *e) {
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(p->host) };
	int one = 1;
	_cleanup_close_ int s = socket(AF_INET, (streq(p->protocol, "udp") ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	if (s < 0 || streq(p->protocol, "sctp") || (*p->host_ip && inet_pton(AF_INET, p->host_ip, &sa.sin_addr) != 1))
		return 0;
	if (streq(p->protocol, "tcp"))
		setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return errno == EACCES ? err_set(e, -EACCES, "publish %u/%s: permission denied: an ordinary user's ports begin at net.ipv4.ip_unprivileged_port_start", p->host, p->protocol)
			: err_sys(e, errno, "publish %s%s%u/%s", p->host_ip, *p->host_ip ? ":" : "", p->host, p->protocol);
	return 0;
}

static int port_is_unclaimed(struct pctr *c, const struct cni_port *p, struct err *e) {
	struct pctr **v;
	size_t n;
	int r = pctr_list(c->p, &v, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!v[i]->pid || streq(v[i]->id, c->id))
			continue;
		for (const struct json *m = json_first(json_get(net_state(v[i]), "ports")); m; m = m->next) {
			uint64_t host = 0;
			const char *ip = json_str(m, "hostIP", "");
			(void)!json_u64(json_get(m, "host"), &host);
			if (host == p->host && streq(json_str(m, "protocol", ""), p->protocol) && (!*ip || !*p->host_ip || streq(ip, p->host_ip)))
				return err_set(e, -EADDRINUSE, "publish %u/%s: port is already allocated to container %s", p->host, p->protocol, v[i]->name);
		}
	}
	return r;
}

static int gather_ports(struct pctr *c, struct cni_port **ret, size_t *n, struct err *e) {
	int r = 0;
	for (size_t i = 0; r == 0 && i < c->opts.publish.n; i++)
		r = parse_port(&c->p->arena, c->opts.publish.v[i], ret, n, e);
	if (c->opts.publish_all) {
		for (size_t i = 0; r == 0 && i < c->opts.expose.n; i++)
			r = parse_port(&c->p->arena, c->opts.expose.v[i], ret, n, e);
		for (const struct json *m = json_first(json_get(c->image_config, "ExposedPorts")); r == 0 && m; m = m->next)
			r = parse_port(&c->p->arena, m->key, ret, n, e);
	}
	for (size_t i = 0; r == 0 && i < *n; i++) {
		struct cni_port *p = &(*ret)[i];
		if (!p->host && !(p->host = free_port(p->protocol)))
			return err_set(e, -EADDRNOTAVAIL, "no free host port for %u/%s", p->container, p->protocol);
		r = port_is_free(p, e);
		if (r == 0)
			r = port_is_unclaimed(c, p, e);
	}
	return r;
}

/* Is the bridge's own address there, and its port 53 free for the monitors? A name server of the host's on all addresses has it; then names go into hosts files. */
static bool can_serve(const char *gateway) {
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(53) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(53) };
	int one = 1;
	if (!gateway)
		return false;
	bool is_four = inet_pton(AF_INET, gateway, &four.sin_addr) == 1;
	if (!is_four && inet_pton(AF_INET6, gateway, &six.sin6_addr) != 1)
		return false;
	_cleanup_close_ int fd = socket(is_four ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !is_four)
		setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one)); /* tentative for a second (RFC 4862, 5.4) */
	return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0 &&
		bind(fd, is_four ? (struct sockaddr *)&four : (struct sockaddr *)&six, is_four ? sizeof(four) : sizeof(six)) == 0;
}

/* network create --disable-dns */
static bool names_wanted(struct pctr *c, const char *network) {
	struct json *j;
	const struct json *off = cni_load(&c->p->arena, &c->p->cni, network, &j, NULL) == 0 ? json_get(json_get(json_get(j, "args"), "tierce"), "noDns") : NULL;
	return !(off && off->type == JSON_BOOL && off->boolean);
}

/* One attachment as a member of net.json's "networks". */
void net_write_attachment(struct json_writer *w, struct pctr *c, enum net_mode mode, const char *name, const char *word, const char *ifname, const struct cni_result *result) {
	bool seen[2] = { false, false };
	const char *alias;
	jw_object(w);
	jw_kv_string(w, "name", name);
	jw_kv_string(w, "interface", ifname);
	jw_kv_string(w, "mac", result->mac ? result->mac : "");
	for (size_t k = 0; k < result->n; k++) {
		const struct cni_address *v = &result->v[k];
		bool six = strchr(v->ip, ':') != NULL;
		if (seen[six])
			continue;
		seen[six] = true;
		jw_kv_string(w, six ? "ip6" : "ip", v->ip);
		jw_kv_u64(w, six ? "prefix6" : "prefix", v->prefix);
		jw_kv_string(w, six ? "gateway6" : "gateway", v->gateway ? v->gateway : "");
	}
	jw_key(w, "dns");
	jw_array(w);
	for (size_t k = 0; mode == NET_BRIDGE && k < result->n; k++)
		if (names_wanted(c, name) && can_serve(result->v[k].gateway))
			jw_string(w, result->v[k].gateway);
	jw_array_end(w);
	jw_key(w, "aliases");
	jw_array(w);
	for (size_t k = 0; k < c->opts.network_alias.n; k++)
		jw_string(w, c->opts.network_alias.v[k]);
	for (size_t k = 0; (alias = word_option(&c->p->arena, word, "alias", k)); k++)
		jw_string(w, alias);
	jw_array_end(w);
	jw_object_end(w);
}

int net_save_state(struct pctr *c, struct json_writer *w, struct strbuf *b, struct err *e) {
	_cleanup_close_ int dir = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = jw_finish(w);
	if (r == 0)
		r = dir < 0 ? -errno : file_replace_at(dir, "net.json", b->s, b->len, 0600, 0);
	return r < 0 ? err_sys(e, r, "write %s/net.json", c->dir) : 0;
}

static int write_state(struct pctr *c, const struct net_plan *plan, const struct cni_result *results, const struct cni_port *ports, size_t n_ports, const char *dns, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	char ifname[16];
	jw_init(&w, &b, 1);
	jw_object(&w);
	jw_key(&w, "networks");
	jw_array(&w);
	for (size_t i = 0; i < plan->n; i++) {
		snprintf(ifname, sizeof(ifname), "eth%zu", i);
		net_write_attachment(&w, c, plan->mode, plan->names[i], network_word(c, i), plan->mode == NET_BRIDGE ? ifname : "", &results[i]);
	}
	jw_array_end(&w);
	if (plan->mode != NET_BRIDGE)
		jw_kv_bool(&w, "alone", true); /* no peer is reached by its address */
	if (dns)
		jw_kv_string(&w, "dns", dns);
	jw_key(&w, "ports");
	jw_array(&w);
	for (size_t i = 0; i < n_ports; i++) {
		jw_object(&w);
		jw_kv_string(&w, "hostIP", ports[i].host_ip);
		jw_kv_u64(&w, "host", ports[i].host);
		jw_kv_u64(&w, "container", ports[i].container);
		jw_kv_string(&w, "protocol", ports[i].protocol);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	return net_save_state(c, &w, &b, e);
}

const char *net_path_of(struct pctr *c) {
	return arena_printf(&c->p->arena, "%s/netns/%s", c->p->run_dir, c->id);
}

int net_attach(struct pctr *c, const char *netns, struct net_added *a, struct err *e) {
	struct arena *m = &c->p->arena;
	const struct cni_attachment at = { .network = a->name, .container_id = c->id, .netns = netns, .ifname = a->ifname, .static_ip = word_option(m, a->word, "ip", 0),
		.static_ip6 = word_option(m, a->word, "ip6", 0), .static_mac = word_option(m, a->word, "mac", 0) };
	return cni_add(m, &c->p->cni, &at, &a->result, e);
}

static int attach_networks(struct pctr *c, const struct net_plan *plan, const char *netns, struct err *e) {
	struct cni_result results[16] = { 0 };
	struct cni_port *ports = NULL;
	size_t n = 0;
	int r = plan->n && streq(plan->names[0], default_network) ? net_ensure_default(c->p, e) : 0;
	if (r == 0)
		r = gather_ports(c, &ports, &n, e);
	for (size_t i = 0; r == 0 && i < plan->n; i++) {
		struct cni_attachment at = { .network = plan->names[i], .container_id = c->id, .netns = netns, .ifname = arena_printf(&c->p->arena, "eth%zu", i),
			.ports = i == 0 ? ports : NULL, .n_ports = i == 0 ? n : 0, .static_ip = word_option(&c->p->arena, network_word(c, i), "ip", 0),
			.static_ip6 = word_option(&c->p->arena, network_word(c, i), "ip6", 0), .static_mac = word_option(&c->p->arena, network_word(c, i), "mac", 0) };
		if (i == 0 && c->opts.ip)
			at.static_ip = c->opts.ip;
		if (i == 0 && c->opts.ip6)
			at.static_ip6 = c->opts.ip6;
		if (i == 0 && c->opts.mac_address)
			at.static_mac = c->opts.mac_address;
		r = cni_add(&c->p->arena, &c->p->cni, &at, &results[i], e);
	}
	return r == 0 ? write_state(c, plan, results, ports, n, NULL, e) : r;
}

/* ---- slirp4netns and pasta: their process is noted as "PID START-TIME" in the container's directory -------------------------------- */

static const char *helper_file(struct pctr *c) {
	return arena_printf(&c->p->arena, "%s/usernet.pid", c->dir);
}

static void helper_stop(struct pctr *c) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	const char *path = helper_file(c);
	unsigned long long start;
	uint64_t now;
	int pid;
	if (!path || file_read_at(AT_FDCWD, path, &text, 64) < 0)
		return;
	if (sscanf(strbuf_str(&text), "%d %llu", &pid, &start) == 2 && pid > 0 && proc_start_time(pid, &now, NULL, NULL) == 0 && now == start)
		kill(pid, SIGTERM);
	unlink(path);
}

static int helper_note(struct pctr *c, pid_t pid, struct err *e) {
	char text[64];
	uint64_t start = 0;
	int r = proc_start_time(pid, &start, NULL, NULL);
	_cleanup_close_ int dir = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int n = snprintf(text, sizeof(text), "%d %llu\n", (int)pid, (unsigned long long)start);
	if (r == 0)
		r = dir < 0 ? -errno : file_replace_at(dir, "usernet.pid", text, (size_t)n, 0600, 0);
	if (r == 0)
		return 0;
	kill(pid, SIGTERM);
	return err_sys(e, r, "write %s/usernet.pid", c->dir);
}

static int start_usernet(struct pctr *c, struct net_plan *plan, const char *netns, struct err *e) {
	struct arena *a = &c->p->arena;
	struct cni_port *ports = NULL;
	struct cni_result result = { 0 };
	const char *dns = NULL;
	size_t n = 0;
	pid_t pid;
	int r = gather_ports(c, &ports, &n, e);
	const char *run = arena_printf(a, "%s/%s", c->p->run_dir, c->id);
	if (r == 0 && (!run || (mkdir(run, 0700) < 0 && errno != EEXIST)))
		r = err_sys(e, errno, "make %s/%s", c->p->run_dir, c->id);
	struct usernet u = { .kind = plan->mode == NET_SLIRP ? USERNET_SLIRP : USERNET_PASTA, .netns = netns, .run_dir = run,
		.log = arena_printf(a, "%s/usernet.log", c->dir), .options = plan->arg, .ports = ports, .n_ports = n };
	if (r == 0)
		r = usernet_start(a, &u, &result, &dns, &pid, e);
	if (r == 0)
		r = helper_note(c, pid, e);
	plan->names[0] = plan->mode == NET_SLIRP ? "slirp4netns" : "pasta";
	plan->n = 1;
	return r == 0 ? write_state(c, plan, &result, ports, n, dns, e) : r;
}

const char *net_userns_path(struct pctr *c) {
	return arena_printf(&c->p->arena, "%s/netns/%s.user", c->p->run_dir, c->id);
}

/* The network namespace of a container with a user namespace belongs to that one, else it could not be joined there, nor its sysfs mounted. */
static int create_netns(struct pctr *c, const char *path, struct err *e) {
	struct userns_plan plan;
	_cleanup_close_ int userns = -EBADF;
	int r = userns_plan(c, &plan, e);
	if (r == 0 && plan.path && (userns = open(plan.path, O_RDONLY | O_CLOEXEC)) < 0)
		r = err_sys(e, errno, "--userns: open %s", plan.path);
	else if (r == 0 && plan.own && (userns = mount_idmap_userns(&plan.uids, &plan.gids, e)) < 0)
		r = userns;
	return r < 0 ? r : netns_create(path, userns, net_userns_path(c), e);
}

int net_up(struct pctr *c, const char **ret_netns, struct err *e) {
	struct net_plan plan;
	struct pctr *other;
	const char *path;
	*ret_netns = NULL;
	int r = net_plan(c, &plan, e);
	if (r < 0)
		return r;
	switch (plan.mode) {
	case NET_HOST:
		return 0;
	case NET_PATH:
		*ret_netns = plan.arg;
		return 0;
	case NET_POD:
		*ret_netns = arena_printf(&c->p->arena, "%s/%s/ns/net", c->p->run_dir, c->pod_id);
		if (!*ret_netns)
			return err_sys(e, -ENOMEM, "set up the network");
		if (access(*ret_netns, F_OK) < 0)
			*ret_netns = NULL; /* the pod is on the host's network */
		return 0;
	case NET_CONTAINER:
		r = pctr_find(c->p, plan.arg, &other, e);
		if (r == 0 && !other->pid)
			r = err_set(e, -ESRCH, "--network container:%s: that container is not running", plan.arg);
		if (r == 0)
			*ret_netns = arena_printf(&c->p->arena, "/proc/%d/ns/net", (int)other->pid);
		return r;
	default:
		break;
	}
	path = net_path_of(c);
	/* Left over from a crash: addresses of the old one are given back first. */
	if (access(path, F_OK) == 0)
		net_down(c, NULL);
	r = create_netns(c, path, e);
	if (r == 0 && plan.mode == NET_BRIDGE)
		r = attach_networks(c, &plan, path, e);
	if (r == 0 && (plan.mode == NET_SLIRP || plan.mode == NET_PASTA))
		r = start_usernet(c, &plan, path, e);
	if (r < 0) {
		net_down(c, NULL);
		return r;
	}
	*ret_netns = path;
	return 0;
}

int net_detach(struct pctr *c, const char *netns, const char *network, const char *ifname, struct err *e) {
	struct cni_attachment at = { .network = network, .container_id = c->id, .netns = netns, .ifname = ifname };
	return cni_del(&c->p->cni, &at, e);
}

int net_down(struct pctr *c, struct err *e) {
	struct net_plan plan;
	int r = 0;
	const char *path = net_path_of(c);
	helper_stop(c);
	if (net_plan(c, &plan, NULL) < 0)
		return 0;
	if (plan.mode != NET_BRIDGE && plan.mode != NET_NONE && plan.mode != NET_SLIRP && plan.mode != NET_PASTA)
		return 0;
	const char *netns = access(path, F_OK) == 0 ? path : "";
	for (size_t i = plan.n; i-- > 0;) {
		int k = net_detach(c, netns, plan.names[i], arena_printf(&c->p->arena, "eth%zu", i), r == 0 ? e : NULL);
		r = r < 0 ? r : k;
	}
	/* After connect and disconnect the interfaces are what net.json says. */
	for (const struct json *m = json_first(json_get(net_state(c), "networks")); m; m = m->next) {
		int k = *json_str(m, "interface", "") ? net_detach(c, netns, json_str(m, "name", ""), json_str(m, "interface", ""), r == 0 ? e : NULL) : 0;
		r = r < 0 ? r : k;
	}
	int k = netns_remove(path, r == 0 ? e : NULL);
	netns_remove(net_userns_path(c), NULL);
	char state[4096];
	snprintf(state, sizeof(state), "%s/net.json", c->dir);
	unlink(state);
	return r < 0 ? r : k;
}
