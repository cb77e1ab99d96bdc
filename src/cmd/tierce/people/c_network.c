/* network. Networks are CNI configuration lists; what podman's users see of them is made here. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/tierce/people/commands.h"
#include "net/link.h"
#include "store/registry.h"

/* ---- create ------------------------------------------------------------------------------------------------------------------------------ */

struct create_opts { const char *driver, *interface; bool internal, ipv6, disable_dns, ignore; struct opt_list label, opt, subnet, gateway, ip_range, route, dns; };
#define AT(m) offsetof(struct create_opts, m)
static const struct opt create_rows[] = {
	{ .name = "disable-dns", .kind = OPT_FLAG, .offset = AT(disable_dns), .help = "no names on this network" },
	{ .name = "driver", .short_name = 'd', .kind = OPT_STRING, .offset = AT(driver), .arg = "DRIVER", .help = "bridge (the only one; others by a file in /etc/cni/net.d)" },
	{ .name = "gateway", .kind = OPT_LIST, .offset = AT(gateway), .arg = "ADDRESS", .help = "gateway (default: the first address of the subnet)" },
	{ .name = "ignore", .kind = OPT_FLAG, .offset = AT(ignore), .help = "no error when it exists" },
	{ .name = "interface-name", .kind = OPT_STRING, .offset = AT(interface), .arg = "NAME", .help = "name of the bridge on the host" },
	{ .name = "internal", .kind = OPT_FLAG, .offset = AT(internal), .help = "no route to the outside" },
	{ .name = "ip-range", .kind = OPT_LIST, .offset = AT(ip_range), .arg = "CIDR|FROM-TO", .help = "give out only these addresses of the subnet" },
	{ .name = "ipv6", .kind = OPT_FLAG, .offset = AT(ipv6), .help = "addresses of IPv6 as well" },
	{ .name = "label", .kind = OPT_LIST, .offset = AT(label), .arg = "KEY=VALUE", .help = "set a label" },
	{ .name = "opt", .short_name = 'o', .kind = OPT_LIST, .offset = AT(opt), .arg = "KEY=VALUE", .help = "mtu=N, vlan=N, isolate=true|false" },
	{ .name = "route", .kind = OPT_LIST, .offset = AT(route), .arg = "CIDR", .help = "further route by the gateway" },
	{ .name = "subnet", .kind = OPT_LIST, .offset = AT(subnet), .arg = "CIDR", .help = "address range, for IPv4 and IPv6 one each (default: the next free 10.91.N.0/24)" },
};
#undef AT

/* A free third byte: whatever the name hashes to, then upwards past those that are taken. */
static int free_subnet(struct people *p, const char *name, char *ret, size_t size, struct err *e) {
	bool taken[256] = { false };
	unsigned h = 5381, third;
	char **v = NULL;
	size_t n = 0;
	struct json *j;
	int r = cni_list(&p->cni, &v, &n, e);
	if (r < 0)
		return r;
	for (const char *s = name; *s; s++)
		h = h * 33 + (unsigned char)*s;
	for (size_t i = 0; i < n; i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
		struct json_writer w;
		if (cni_load(&p->arena, &p->cni, v[i], &j, NULL) < 0)
			continue;
		jw_init(&w, &text, 0);
		jw_value(&w, j);
		for (const char *s = strbuf_str(&text); (s = strstr(s, "10.91.")); s += 6)
			taken[(unsigned)atoi(s + 6) & 255] = true;
	}
	strv_free(v);
	for (third = h & 255; taken[third]; third = (third + 1) & 255)
		if (((third + 1) & 255) == (h & 255))
			return err_set(e, -ENOSPC, "no free subnet in 10.91.0.0/16: name one with --subnet");
	snprintf(ret, size, "10.91.%u.0/24", third);
	return 0;
}

static int bridge_options(const struct create_opts *o, struct cni_bridge *b, struct err *e) {
	for (size_t i = 0; i < o->opt.n; i++) {
		const char *s = o->opt.v[i];
		int64_t v;
		int r = 0;
		if (str_has_prefix(s, "mtu=") || str_has_prefix(s, "com.docker.network.driver.mtu=")) {
			r = parse_number("--opt mtu", strrchr(s, '=') + 1, 68, 65536, &v, e);
			b->mtu = r == 0 ? (unsigned)v : 0;
		} else if (str_has_prefix(s, "vlan=")) {
			r = parse_number("--opt vlan", s + 5, 1, 4094, &v, e);
			b->vlan = r == 0 ? (unsigned)v : 0;
		} else if (str_has_prefix(s, "isolate=")) {
			r = parse_bool("--opt isolate", s + 8, false, &b->isolate, e);
		} else {
			r = err_set(e, -ENOTSUP, "--opt %s: unsupported bridge network option (mtu, vlan, isolate)", s);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int labels_json(const struct opt_list *l, struct strbuf *out, struct err *e) {
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_object(&w);
	for (size_t i = 0; i < l->n; i++) {
		const char *s = l->v[i], *eq = strchr(s, '=');
		char key[256];
		if (eq == s)
			return err_set(e, -EINVAL, "--label \"%s\" is not KEY=VALUE", s);
		snprintf(key, sizeof(key), "%.*s", (int)(eq ? eq - s : (ssize_t)strlen(s)), s);
		jw_kv_string(&w, key, eq ? eq + 1 : "");
	}
	jw_object_end(&w);
	return jw_finish(&w);
}

/* One subnet per family, with its gateway and range when those lie in it. */
static int subnets(struct people *p, const struct create_opts *o, const char *name, struct cni_bridge *b, struct err *e) {
	char subnet[32];
	bool have[2] = { false, false };
	for (size_t i = 0; i < o->subnet.n; i++) {
		if (b->n_subnets == ARRAY_SIZE(b->subnets))
			return err_set(e, -E2BIG, "--subnet: at most %zu", ARRAY_SIZE(b->subnets));
		have[strchr(o->subnet.v[i], ':') != NULL] = true;
		b->subnets[b->n_subnets++] = (struct cni_subnet){ .subnet = o->subnet.v[i] };
	}
	if (!have[0] && !(have[1] && o->subnet.n)) {
		int r = free_subnet(p, name, subnet, sizeof(subnet), e);
		if (r < 0)
			return r;
		b->subnets[b->n_subnets++] = (struct cni_subnet){ .subnet = arena_strdup(&p->arena, subnet) };
	}
	if (o->ipv6 && !have[1]) {
		/* RFC 4193: a random network of the unique local range, made from the name so that it is the same on the next host. */
		char digest[DIGEST_MAX];
		digest_of(name, strlen(name), digest);
		const char *h = digest_hex(digest);
		b->subnets[b->n_subnets++] = (struct cni_subnet){ .subnet = arena_printf(&p->arena, "fd%.2s:%.4s:%.4s:%.4s::/64", h, h + 2, h + 6, h + 10) };
	}
	for (size_t i = 0; i < o->gateway.n; i++) {
		struct cni_subnet *s = cni_subnet_of(b->subnets, b->n_subnets, o->gateway.v[i]);
		if (!s)
			return err_set(e, -EINVAL, "--gateway %s is in none of the subnets", o->gateway.v[i]);
		s->gateway = o->gateway.v[i];
	}
	for (size_t i = 0; i < o->ip_range.n; i++) {
		const char *end = strpbrk(o->ip_range.v[i], "-/");
		const char *first = end ? arena_strndup(&p->arena, o->ip_range.v[i], (size_t)(end - o->ip_range.v[i])) : NULL;
		struct cni_subnet *s = first ? cni_subnet_of(b->subnets, b->n_subnets, first) : NULL;
		if (!s || cni_range(&p->arena, o->ip_range.v[i], &s->first, &s->last) < 0)
			return err_set(e, -EINVAL, "--ip-range %s is no range (CIDR or FROM-TO) in one of the subnets", o->ip_range.v[i]);
	}
	return 0;
}

static int create(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	const struct create_opts *o = opts;
	struct people p;
	struct json *j;
	char bridge[16];
	unsigned h = 5381;
	_cleanup_strbuf_ struct strbuf labels = STRBUF_INIT;
	_cleanup_err_ struct err none = ERR_INIT;
	struct cni_bridge b = { .name = argv[0], .internal = o->internal, .no_dns = o->disable_dns, .routes = o->route.v, .n_routes = o->route.n };
	for (const char *s = argv[0]; *s; s++)
		h = h * 33 + (unsigned char)*s;
	snprintf(bridge, sizeof(bridge), "trc%08x", h);
	b.bridge = o->interface ? o->interface : bridge;
	int r = tierce_people(t, &p, e);
	if (r == 0 && p.rootless)
		r = err_set(e, -ENOTSUP, "bridge networks need root (an ordinary user's containers have slirp4netns or pasta)");
	if (r == 0 && o->driver && !streq(o->driver, "bridge"))
		r = err_set(e, -ENOTSUP, "network driver \"%s\" is not supported: put a CNI configuration list into /etc/cni/net.d instead", o->driver);
	if (r == 0)
		r = net_ensure_default(&p, e);
	if (r == 0 && cni_load(&p.arena, &p.cni, argv[0], &j, &none) == 0) {
		if (o->ignore)
			puts(argv[0]);
		r = o->ignore ? 0 : err_set(e, -EEXIST, "network name %s already used: network already exists", argv[0]);
		people_close(&p);
		return r;
	}
	if (r == 0)
		r = bridge_options(o, &b, e);
	if (r == 0)
		r = subnets(&p, o, argv[0], &b, e);
	if (r == 0)
		r = labels_json(&o->label, &labels, e);
	b.labels_json = strbuf_str(&labels);
	if (r == 0)
		r = cni_write_bridge(&p.cni, &b, e);
	if (r == 0) {
		puts(argv[0]);
		event_write(&p, "network", "create", argv[0], argv[0]);
	}
	people_close(&p);
	return r;
}

/* ---- what a network is, in podman's words ---------------------------------------------------------------------------------------------- */

static bool flag(const struct json *o, const char *key) {
	const struct json *j = json_get(o, key);
	return j && j->type == JSON_BOOL && j->boolean;
}

static const struct json *first_plugin(const struct json *list) {
	return json_get(list, "plugins") ? json_first(json_get(list, "plugins")) : list;
}

static const struct json *labels_of(const struct json *list) {
	return json_get(json_get(list, "args"), "tierce_labels");
}

static void network_id(const char *name, char ret[65]) {
	char d[DIGEST_MAX];
	digest_of(name, strlen(name), d);
	snprintf(ret, 65, "%.64s", digest_hex(d));
}

static void write_options(struct json_writer *w, const struct json *list) {
	const struct json *p = first_plugin(list);
	uint64_t n;
	char text[24];
	jw_key(w, "options");
	jw_object(w);
	static const char *const numbers[] = { "mtu", "vlan" };
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (json_u64(json_get(p, numbers[i]), &n) == 0) {
			snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
			jw_kv_string(w, numbers[i], text);
		}
	for (const struct json *m = json_first(json_get(list, "plugins")); m; m = m->next)
		if (streq(json_str(m, "ingressPolicy", ""), "same-bridge"))
			jw_kv_string(w, "isolate", "true");
	jw_object_end(w);
}

static void write_network(struct json_writer *w, struct people *p, const char *name, const struct json *list) {
	const struct json *plugin = first_plugin(list), *ipam = json_get(plugin, "ipam"), *own = json_get(json_get(list, "args"), "tierce");
	bool six = false;
	char id[65], day[40];
	int64_t created = 0;
	network_id(name, id);
	jw_object(w);
	jw_kv_string(w, "name", name);
	jw_kv_string(w, "id", id);
	jw_kv_string(w, "driver", json_str(plugin, "type", ""));
	jw_kv_string(w, "network_interface", json_str(plugin, "bridge", ""));
	if (json_i64(json_get(own, "created"), &created) == 0)
		jw_kv_string(w, "created", rfc3339(created, day));
	jw_key(w, "subnets");
	jw_array(w);
	for (const struct json *set = json_first(json_get(ipam, "ranges")); set; set = set->next)
		for (const struct json *m = json_first(set); m; m = m->next) {
			const char *subnet = json_str(m, "subnet", "");
			six |= strchr(subnet, ':') != NULL;
			jw_object(w);
			jw_kv_string(w, "subnet", subnet);
			if (json_str(m, "gateway", NULL))
				jw_kv_string(w, "gateway", json_str(m, "gateway", ""));
			if (json_str(m, "rangeStart", NULL)) {
				jw_key(w, "lease_range");
				jw_object(w);
				jw_kv_string(w, "start_ip", json_str(m, "rangeStart", ""));
				jw_kv_string(w, "end_ip", json_str(m, "rangeEnd", ""));
				jw_object_end(w);
			}
			jw_object_end(w);
		}
	jw_array_end(w);
	jw_kv_bool(w, "ipv6_enabled", six);
	jw_kv_bool(w, "internal", net_is_internal(p, name));
	jw_kv_bool(w, "dns_enabled", streq(json_str(plugin, "type", ""), "bridge") && !flag(own, "noDns"));
	jw_key(w, "labels");
	if (labels_of(list)) {
		jw_value(w, labels_of(list));
	} else {
		jw_object(w);
		jw_object_end(w);
	}
	write_options(w, list);
	jw_key(w, "ipam_options");
	jw_object(w);
	jw_kv_string(w, "driver", json_str(ipam, "type", ""));
	jw_object_end(w);
	jw_key(w, "containers");
	jw_object(w);
	struct pctr **v;
	size_t n;
	if (pctr_list(p, &v, &n, NULL) == 0)
		for (size_t i = 0; i < n; i++)
			for (const struct json *m = json_first(json_get(net_state(v[i]), "networks")); m; m = m->next) {
				if (!streq(json_str(m, "name", ""), name))
					continue;
				jw_key(w, v[i]->id);
				jw_object(w);
				jw_kv_string(w, "name", v[i]->name);
				jw_kv_string(w, "ip", json_str(m, "ip", json_str(m, "ip6", "")));
				jw_kv_string(w, "mac", json_str(m, "mac", ""));
				jw_object_end(w);
			}
	jw_object_end(w);
	jw_object_end(w);
}

/* ---- ls, inspect, exists ------------------------------------------------------------------------------------------------------------------ */

struct list_opts { bool quiet, noheading, no_trunc, force, all; const char *format; struct opt_list filter; };
static const struct opt ls_rows[] = {
	{ .name = "filter", .short_name = 'f', .kind = OPT_LIST, .offset = offsetof(struct list_opts, filter), .arg = "KEY=VALUE", .help = "name, id, driver, label, dangling, until" },
	{ .name = "format", .kind = OPT_STRING, .offset = offsetof(struct list_opts, format), .arg = "FORMAT", .help = "json or a template such as {{.Name}}" },
	{ .name = "no-trunc", .kind = OPT_FLAG, .offset = offsetof(struct list_opts, no_trunc), .help = "whole ids" },
	{ .name = "noheading", .short_name = 'n', .kind = OPT_FLAG, .offset = offsetof(struct list_opts, noheading), .help = "no heading" },
	{ .name = "quiet", .short_name = 'q', .kind = OPT_FLAG, .offset = offsetof(struct list_opts, quiet), .help = "names only" },
};

static bool label_matches(const struct json *labels, const char *want) {
	const char *eq = strchr(want, '=');
	for (const struct json *m = json_first(labels); m; m = m->next)
		if (strncmp(m->key, want, eq ? (size_t)(eq - want) : strlen(want)) == 0 && strlen(m->key) == (eq ? (size_t)(eq - want) : strlen(want)))
			return !eq || (m->type == JSON_STRING && streq(m->text, eq + 1));
	return false;
}

static bool network_used(struct people *p, const char *name, struct pctr **who) {
	struct pctr **v;
	size_t n;
	if (pctr_list(p, &v, &n, NULL) < 0)
		return true;
	for (size_t i = 0; i < n; i++) {
		*who = v[i];
		struct net_plan plan;
		if (net_plan(v[i], &plan, NULL) == 0)
			for (size_t k = 0; k < plan.n; k++)
				if (streq(plan.names[k], name))
					return true;
		for (const struct json *m = json_first(json_get(net_state(v[i]), "networks")); m; m = m->next)
			if (streq(json_str(m, "name", ""), name))
				return true;
	}
	return false;
}

static int filter_network(struct people *p, const struct opt_list *l, const char *name, const struct json *list, bool *ret, struct err *e) {
	char id[65];
	network_id(name, id);
	*ret = true;
	for (size_t i = 0; i < l->n; i++) {
		const char *s = l->v[i], *v = strchr(s, '=');
		struct pctr *who;
		bool yes = false, wanted;
		int64_t created = 0;
		uint64_t age;
		if (!v)
			return err_set(e, -EINVAL, "--filter \"%s\" is not KEY=VALUE", s);
		size_t n = (size_t)(v++ - s);
#define KEY(k) (n == sizeof(k) - 1 && strncmp(s, k, n) == 0)
		if (KEY("name"))
			yes = strstr(name, v) != NULL;
		else if (KEY("id"))
			yes = str_has_prefix(id, v);
		else if (KEY("driver"))
			yes = streq(json_str(first_plugin(list), "type", ""), v);
		else if (KEY("label"))
			yes = label_matches(labels_of(list), v);
		else if (KEY("label!"))
			yes = !label_matches(labels_of(list), v);
		else if (KEY("dangling")) {
			int r = parse_bool("--filter dangling", v, true, &wanted, e);
			if (r < 0)
				return r;
			yes = network_used(p, name, &who) != wanted;
		} else if (KEY("until")) {
			int64_t when = rfc3339_seconds(v);
			if (when <= 0) {
				int r = parse_duration("--filter until", v, &age, e);
				if (r < 0)
					return r;
				when = (int64_t)time(NULL) - (int64_t)(age / 1000000000u);
			}
			yes = json_i64(json_get(json_get(json_get(list, "args"), "tierce"), "created"), &created) == 0 && created <= when;
		} else {
			return err_set(e, -EINVAL, "--filter \"%s\": \"%.*s\" is an invalid filter (name, id, driver, label, dangling, until)", s, (int)n, s);
		}
#undef KEY
		*ret &= yes;
	}
	return 0;
}

static int ls(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e) {
	static const struct fmt_column columns[] = { { "ID", "NETWORK ID" }, { "Name", "NAME" }, { "Driver", "DRIVER" } };
	const struct list_opts *o = opts;
	struct people p;
	struct fmt f;
	char **v = NULL;
	size_t n = 0;
	int r = tierce_people(t, &p, e);
	if (r == 0 && !p.rootless)
		r = net_ensure_default(&p, e);
	if (r == 0)
		r = cni_list(&p.cni, &v, &n, e);
	if (r == 0)
		r = fmt_init(&f, o->quiet ? "{{.Name}}" : o->format, columns, ARRAY_SIZE(columns), !o->noheading, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		_cleanup_strbuf_ struct strbuf labels = STRBUF_INIT;
		struct json *j;
		struct json_writer w;
		char id[65];
		bool fits;
		if (cni_load(&p.arena, &p.cni, v[i], &j, NULL) < 0)
			continue;
		r = filter_network(&p, &o->filter, v[i], j, &fits, e);
		if (r < 0 || !fits)
			continue;
		network_id(v[i], id);
		if (!o->no_trunc)
			id[12] = '\0';
		jw_init(&w, &labels, 0);
		if (labels_of(j))
			jw_value(&w, labels_of(j));
		const char *l = labels_of(j) ? strbuf_str(&labels) : "{}";
		struct fmt_value row[] = { { "ID", id, NULL, NULL }, { "Name", v[i], NULL, NULL }, { "Driver", json_str(first_plugin(j), "type", ""), NULL, NULL }, { "Labels", l, l, NULL } };
		r = fmt_row(&f, row, ARRAY_SIZE(row), e);
	}
	if (r == 0)
		r = fmt_end(&f, stdout, e);
	strv_free(v);
	people_close(&p);
	return r;
}

static const struct opt format_rows[] = {
	{ .name = "format", .short_name = 'f', .kind = OPT_STRING, .offset = offsetof(struct list_opts, format), .arg = "TEMPLATE", .help = "a template such as {{.Name}}" },
};

static int inspect(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	const struct list_opts *o = opts;
	struct people p;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct json_writer w;
	int r = tierce_people(t, &p, e);
	if (r == 0 && !p.rootless)
		r = net_ensure_default(&p, e);
	jw_init(&w, &out, 4);
	jw_array(&w);
	for (int i = 0; r == 0 && i < argc; i++) {
		struct json *j;
		r = cni_load(&p.arena, &p.cni, argv[i], &j, e);
		if (r == 0 && !o->format) {
			write_network(&w, &p, argv[i], j);
		} else if (r == 0) {
			_cleanup_strbuf_ struct strbuf one = STRBUF_INIT, s = STRBUF_INIT;
			struct json_writer v;
			jw_init(&v, &one, 0);
			write_network(&v, &p, argv[i], j);
			r = jw_finish(&v);
			if (r == 0)
				r = json_parse(&p.arena, one.s, one.len, &j, e);
			if (r == 0)
				r = format_template(o->format, j, &s, e);
			if (r == 0)
				puts(strbuf_str(&s));
		}
	}
	jw_array_end(&w);
	if (r == 0 && !o->format && jw_finish(&w) == 0)
		fputs(strbuf_str(&out), stdout);
	people_close(&p);
	return r;
}

static int exists(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv, struct err *e) {
	struct people p;
	struct json *j;
	_cleanup_err_ struct err none = ERR_INIT;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		t->exit_code = cni_load(&p.arena, &p.cni, argv[0], &j, &none) == 0 ? 0 : 1;
	people_close(&p);
	return r;
}

/* ---- rm, prune ---------------------------------------------------------------------------------------------------------------------------- */

static int remove_network(struct people *p, const char *name, const struct json *list, struct err *e) {
	char path[4200];
	snprintf(path, sizeof(path), "%s/%s.conflist", p->cni.conf[0], name);
	if (unlink(path) < 0)
		return errno == ENOENT ? err_set(e, -EPERM, "network %s is not ours: its file is in %s", name, p->cni.conf[1]) : err_sys(e, errno, "remove %s", path);
	/* The bridge goes with its network; the plugins leave it. */
	const char *bridge = json_str(first_plugin(list), "bridge", NULL);
	if (bridge)
		link_delete(bridge);
	puts(name);
	event_write(p, "network", "remove", name, name);
	return 0;
}

static const struct opt rm_rows[] = {
	{ .name = "force", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct list_opts, force), .help = "remove its containers too; what does not exist is no error" },
};

static int rm(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	const struct list_opts *o = opts;
	struct people p;
	struct pctr *who;
	int r = tierce_people(t, &p, e);
	for (int i = 0; r == 0 && i < argc; i++) {
		struct json *j;
		r = cni_load(&p.arena, &p.cni, argv[i], &j, e);
		if (r == -ENOENT && o->force) {
			r = 0;
			err_clear(e);
			continue;
		}
		while (r == 0 && network_used(&p, argv[i], &who))
			r = o->force ? pctr_remove(who, true, false, -1, e)
				: err_set(e, -EBUSY, "\"%s\" has associated containers with it (%s). Use -f to forcibly delete containers and pods: network is being used", argv[i], who->name);
		if (r == 0)
			r = remove_network(&p, argv[i], j, e);
	}
	people_close(&p);
	return r;
}

static const struct opt prune_rows[] = {
	{ .name = "filter", .kind = OPT_LIST, .offset = offsetof(struct list_opts, filter), .arg = "KEY=VALUE", .help = "label, until" },
	{ .name = "force", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct list_opts, force), .help = "do not ask (nobody is asked)", .flags = OPT_ACCEPTED },
};

static int prune(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e) {
	const struct list_opts *o = opts;
	struct people p;
	struct pctr *who;
	char **v = NULL;
	size_t n = 0;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = cni_list(&p.cni, &v, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct json *j;
		bool fits;
		char path[4200];
		snprintf(path, sizeof(path), "%s/%s.conflist", p.cni.conf[0], v[i]);
		if (net_is_default(v[i]) || access(path, F_OK) < 0 || cni_load(&p.arena, &p.cni, v[i], &j, NULL) < 0)
			continue;
		r = filter_network(&p, &o->filter, v[i], j, &fits, e);
		if (r == 0 && fits && !network_used(&p, v[i], &who))
			r = remove_network(&p, v[i], j, e);
	}
	strv_free(v);
	people_close(&p);
	return r;
}

/* ---- connect, disconnect --------------------------------------------------------------------------------------------------------------------- */

struct connect_opts { const char *ip, *ip6, *mac; bool force; struct opt_list alias; };
static const struct opt connect_rows[] = {
	{ .name = "alias", .kind = OPT_LIST, .offset = offsetof(struct connect_opts, alias), .arg = "NAME", .help = "further name on the network" },
	{ .name = "ip", .kind = OPT_STRING, .offset = offsetof(struct connect_opts, ip), .arg = "ADDRESS", .help = "static IPv4 address" },
	{ .name = "ip6", .kind = OPT_STRING, .offset = offsetof(struct connect_opts, ip6), .arg = "ADDRESS", .help = "static IPv6 address" },
	{ .name = "mac-address", .kind = OPT_STRING, .offset = offsetof(struct connect_opts, mac), .arg = "ADDRESS", .help = "MAC address" },
};

static int find_for(struct cli *t, struct people *p, char **argv, struct pctr **c, struct json **list, struct err *e) {
	int r = tierce_people(t, p, e);
	if (r == 0)
		r = cni_load(&p->arena, &p->cni, argv[0], list, e);
	if (r == 0)
		r = pctr_find(p, argv[1], c, e);
	if (r == 0 && (*c)->pod_id)
		r = err_set(e, -EINVAL, "%s is in a pod: its network is the pod's", (*c)->name);
	return r;
}

static int c_connect(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	const struct connect_opts *o = opts;
	_cleanup_strbuf_ struct strbuf word = STRBUF_INIT;
	struct people p;
	struct pctr *c;
	struct json *j;
	int r = find_for(t, &p, argv, &c, &j, e);
	if (r == 0) {
		char sep = ':';
		strbuf_puts(&word, argv[0]);
		const struct { const char *key, *value; } fixed[] = { { "ip", o->ip }, { "ip6", o->ip6 }, { "mac", o->mac } };
		for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
			if (fixed[i].value) {
				strbuf_printf(&word, "%c%s=%s", sep, fixed[i].key, fixed[i].value);
				sep = ',';
			}
		for (size_t i = 0; i < o->alias.n; i++, sep = ',')
			strbuf_printf(&word, "%calias=%s", sep, o->alias.v[i]);
		r = net_connect(c, argv[0], strbuf_str(&word), e);
	}
	if (r == 0)
		event_write(&p, "network", "connect", argv[0], c->name);
	people_close(&p);
	return r;
}

static const struct opt disconnect_rows[] = {
	{ .name = "force", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct connect_opts, force), .help = "no error when it is not connected" },
};

static int c_disconnect(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	const struct connect_opts *o = opts;
	struct people p;
	struct pctr *c;
	struct json *j;
	int r = find_for(t, &p, argv, &c, &j, e);
	if (r == 0)
		r = net_disconnect(c, argv[0], e);
	if (r == -ENOTCONN && o->force) {
		err_clear(e);
		r = 0;
	} else if (r == 0) {
		event_write(&p, "network", "disconnect", argv[0], c->name);
	}
	people_close(&p);
	return r;
}

#define COMMAND(var, name_, operands_, summary_, rows_, min, max, fn) \
	const struct command var = { .name = name_, .operands = operands_, .summary = summary_, OPTS(rows_), .min_args = min, .max_args = max, .run = fn };
static const struct opt no_rows[0];
COMMAND(cmd_network_create, "network create", "NAME", "Make a network", create_rows, 1, 1, create)
COMMAND(cmd_network_ls, "network ls", "", "List networks", ls_rows, 0, 0, ls)
COMMAND(cmd_network_rm, "network rm", "NETWORK...", "Remove networks", rm_rows, 1, -1, rm)
COMMAND(cmd_network_prune, "network prune", "", "Remove networks that no container is on", prune_rows, 0, 0, prune)
COMMAND(cmd_network_inspect, "network inspect", "NETWORK...", "Show a network", format_rows, 1, -1, inspect)
COMMAND(cmd_network_exists, "network exists", "NETWORK", "Exit with 0 when a network exists, else with 1", no_rows, 1, 1, exists)
COMMAND(cmd_network_connect, "network connect", "NETWORK CONTAINER", "Put a container on a further network", connect_rows, 2, 2, c_connect)
COMMAND(cmd_network_disconnect, "network disconnect", "NETWORK CONTAINER", "Take a container off a network", disconnect_rows, 2, 2, c_disconnect)
