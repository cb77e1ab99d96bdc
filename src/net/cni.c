/* CNI: see cni.h. */
#include "net/cni.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "sys/fd.h"

/* Where plugins are: $CNI_PATH, Debian's folder, upstream's. */
static const char plugin_path[] = "/usr/lib/cni:/opt/cni/bin:/usr/libexec/cni";
enum { CONF_MAX = 1 << 20, NAME_MAX_CNI = 128 };

static bool name_valid(const char *s) {
	size_t n = strlen(s);
	if (n == 0 || n > NAME_MAX_CNI || s[0] == '.' || s[0] == '-')
		return false;
	for (; *s; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') || strchr("_.-", *s)))
			return false;
	return true;
}

int cni_name_check(const char *name, struct err *e) {
	return name_valid(name) ? 0 : err_set(e, -EINVAL, "network name \"%.64s\" is invalid (letters, digits, _ . -)", name);
}

static int read_list(struct arena *a, const char *dir, const char *file, struct json **ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	int r = file_read_at(AT_FDCWD, path, &text, CONF_MAX);
	if (r < 0)
		return err_sys(e, r, "read %s", path);
	r = json_parse(a, text.s, text.len, ret, e);
	if (r < 0)
		return err_wrap(e, r, "%s", path);
	if (!json_str(*ret, "name", NULL))
		return err_set(e, -EINVAL, "%s: lacks \"name\"", path);
	return 0;
}

static int by_name(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Calls fn for each readable configuration file; stops when it returns non-zero. */
static int each(const struct cni_dirs *d, int (*fn)(void *arg, const char *dir, const char *file), void *arg) {
	for (size_t i = 0; i < ARRAY_SIZE(d->conf) && d->conf[i]; i++) {
		DIR *dir = opendir(d->conf[i]);
		struct dirent *ent;
		int r = 0;
		while (dir && r == 0 && (ent = readdir(dir)))
			if (str_has_suffix(ent->d_name, ".conflist") || str_has_suffix(ent->d_name, ".conf"))
				r = fn(arg, d->conf[i], ent->d_name);
		if (dir)
			closedir(dir);
		if (r != 0)
			return r;
	}
	return 0;
}

struct search { struct arena *a; const char *name; struct json *found; struct strbuf known; };

static int match(void *arg, const char *dir, const char *file) {
	struct search *s = arg;
	struct json *j;
	if (read_list(s->a, dir, file, &j, NULL) < 0)
		return 0;
	const char *name = json_str(j, "name", "");
	if (streq(name, s->name)) {
		s->found = j;
		return 1;
	}
	strbuf_printf(&s->known, "%s%s", s->known.len ? ", " : "", name);
	return 0;
}

int cni_load(struct arena *a, const struct cni_dirs *d, const char *network, struct json **ret, struct err *e) {
	struct search s = { a, network, NULL, STRBUF_INIT };
	int r = cni_name_check(network, e);
	if (r < 0)
		return r;
	each(d, match, &s);
	if (s.found)
		*ret = s.found;
	else
		err_set(e, -ENOENT, "network %s: not found%s%s", network, s.known.len ? "; there are: " : "", strbuf_str(&s.known));
	strbuf_free(&s.known);
	return s.found ? 0 : -ENOENT;
}

struct listing { struct arena a; char **v; size_t n; int r; };

static int collect(void *arg, const char *dir, const char *file) {
	struct listing *l = arg;
	struct json *j;
	if (read_list(&l->a, dir, file, &j, NULL) == 0)
		l->r = strv_push(&l->v, &l->n, json_str(j, "name", ""));
	return l->r;
}

int cni_list(const struct cni_dirs *d, char ***ret, size_t *n, struct err *e) {
	struct listing l = { .a = ARENA_INIT };
	each(d, collect, &l);
	arena_free(&l.a);
	if (l.r < 0) {
		strv_free(l.v);
		return err_sys(e, l.r, "list networks");
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_name);
	*ret = l.v;
	*n = l.n;
	return 0;
}

static int find_plugin(const char *type, char *path, size_t size, struct err *e) {
	const char *search = getenv("CNI_PATH");
	if (!search || !*search)
		search = plugin_path;
	if (strchr(type, '/'))
		return err_set(e, -EINVAL, "network plugin type \"%.64s\" is no file name", type);
	for (const char *p = search; *p;) {
		size_t n = strcspn(p, ":");
		snprintf(path, size, "%.*s/%s", (int)n, p, type);
		if (access(path, X_OK) == 0)
			return 0;
		p += n + (p[n] == ':');
	}
	return err_set(e, -ENOENT, "network plugin %s: not found in %s (Debian: apt-get install containernetworking-plugins)", type, search);
}

/* Environment of a plugin: ours, less CNI_*, plus the parameters of the call. */
static char **plugin_env(const struct cni_attachment *at, const char *command) {
	char **v = NULL, line[1024];
	size_t n = 0;
	const char *search = getenv("CNI_PATH");
	for (char **p = environ; *p; p++)
		if (!str_has_prefix(*p, "CNI_"))
			strv_push(&v, &n, *p);
	const struct { const char *key, *value; } set[] = {
		{ "CNI_COMMAND", command }, { "CNI_CONTAINERID", at->container_id }, { "CNI_NETNS", at->netns }, { "CNI_IFNAME", at->ifname },
		{ "CNI_PATH", search && *search ? search : plugin_path },
	};
	for (size_t i = 0; i < ARRAY_SIZE(set); i++) {
		snprintf(line, sizeof(line), "%s=%s", set[i].key, set[i].value);
		strv_push(&v, &n, line);
	}
	return v;
}

/* One plugin call: input on stdin, output returned; a failure's message is the "msg" of the JSON that the plugin prints. */
static int call(const char *type, const struct cni_attachment *at, const char *command, const struct strbuf *input, struct strbuf *out, struct err *e) {
	char path[512];
	int in[2], res[2], r = find_plugin(type, path, sizeof(path), e);
	if (r < 0)
		return r;
	if (pipe2(in, O_CLOEXEC) < 0)
		return err_sys(e, errno, "make a pipe");
	if (pipe2(res, O_CLOEXEC) < 0) {
		r = errno;
		close(in[0]);
		close(in[1]);
		return err_sys(e, r, "make a pipe");
	}
	char **env = plugin_env(at, command);
	pid_t pid = fork();
	if (pid == 0) {
		char *argv[] = { path, NULL };
		dup2(in[0], 0);
		dup2(res[1], 1);
		execve(path, argv, env);
		_exit(127);
	}
	strv_free(env);
	close(in[0]);
	close(res[1]);
	void (*old)(int) = signal(SIGPIPE, SIG_IGN);
	if (pid > 0)
		fd_write_all(in[1], input->s, input->len);
	signal(SIGPIPE, old);
	close(in[1]);
	r = pid < 0 ? -ECHILD : fd_read_rest(res[0], out, CNI_RESULT_MAX);
	close(res[0]);
	int status = 0;
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r < 0)
		return err_sys(e, r, "run network plugin %s", path);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j = NULL;
	const char *msg = json_parse(&a, strbuf_str(out), out->len, &j, NULL) == 0 ? json_str(j, "msg", NULL) : NULL;
	return err_set(e, -EIO, "network %s: plugin %s: %s failed: %s", at->network, type, command, msg ? msg : "no reason given");
}

static bool capability(const struct json *plugin, const char *name) {
	const struct json *c = json_get(json_get(plugin, "capabilities"), name);
	return c && c->type == JSON_BOOL && c->boolean;
}

static void runtime_config(struct json_writer *w, const struct json *plugin, const struct cni_attachment *at) {
	bool ports = at->n_ports && capability(plugin, "portMappings"), ips = (at->static_ip || at->static_ip6) && capability(plugin, "ips"), mac = at->static_mac && capability(plugin, "mac");
	if (!ports && !ips && !mac)
		return;
	jw_key(w, "runtimeConfig");
	jw_object(w);
	if (ports) {
		jw_key(w, "portMappings");
		jw_array(w);
		for (size_t i = 0; i < at->n_ports; i++) {
			jw_object(w);
			jw_kv_u64(w, "hostPort", at->ports[i].host);
			jw_kv_u64(w, "containerPort", at->ports[i].container);
			jw_kv_string(w, "protocol", at->ports[i].protocol);
			if (*at->ports[i].host_ip)
				jw_kv_string(w, "hostIP", at->ports[i].host_ip);
			jw_object_end(w);
		}
		jw_array_end(w);
	}
	if (ips) {
		jw_key(w, "ips");
		jw_array(w);
		if (at->static_ip)
			jw_string(w, at->static_ip);
		if (at->static_ip6)
			jw_string(w, at->static_ip6);
		jw_array_end(w);
	}
	if (mac)
		jw_kv_string(w, "mac", at->static_mac);
	jw_object_end(w);
}

/* The plugin's own object with name, cniVersion, runtimeConfig and prevResult put in, as the specification's section 4 has it. */
static int plugin_input(const struct json *list, const struct json *plugin, const struct cni_attachment *at, const struct json *prev, struct strbuf *out) {
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_object(&w);
	jw_kv_string(&w, "cniVersion", json_str(list, "cniVersion", "0.4.0"));
	jw_kv_string(&w, "name", json_str(list, "name", ""));
	for (const struct json *m = json_first(plugin); m; m = m->next) {
		if (streq(m->key, "cniVersion") || streq(m->key, "name") || streq(m->key, "capabilities"))
			continue;
		jw_key(&w, m->key);
		jw_value(&w, m);
	}
	runtime_config(&w, plugin, at);
	if (prev) {
		jw_key(&w, "prevResult");
		jw_value(&w, prev);
	}
	jw_object_end(&w);
	return jw_finish(&w);
}

static void cache_name(char *buf, size_t size, const struct cni_attachment *at) {
	snprintf(buf, size, "%s-%s-%s", at->network, at->container_id, at->ifname);
}

static int cache_write(const struct cni_dirs *d, const struct cni_attachment *at, const struct json *list, const struct json *result) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char name[400];
	struct json_writer w;
	mkdir(d->cache, 0700);
	_cleanup_close_ int dir = open(d->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	jw_init(&w, &b, 0);
	jw_object(&w);
	jw_key(&w, "config");
	jw_value(&w, list);
	if (result) {
		jw_key(&w, "result");
		jw_value(&w, result);
	}
	jw_key(&w, "ports");
	jw_array(&w);
	for (size_t i = 0; i < at->n_ports; i++) {
		jw_object(&w);
		jw_kv_string(&w, "hostIP", at->ports[i].host_ip);
		jw_kv_u64(&w, "host", at->ports[i].host);
		jw_kv_u64(&w, "container", at->ports[i].container);
		jw_kv_string(&w, "protocol", at->ports[i].protocol);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	int r = jw_finish(&w);
	cache_name(name, sizeof(name), at);
	return r < 0 ? r : file_replace_at(dir, name, b.s, b.len, 0600, 0);
}

/* A list document, or a single plugin's document taken as a list of one. */
static const struct json *first_plugin(const struct json *list) {
	const struct json *p = json_get(list, "plugins");
	return p ? json_first(p) : list;
}

static int parse_result(struct arena *a, const struct json *res, struct cni_result *ret) {
	const struct json *ips = json_get(res, "ips");
	ret->v = arena_array(a, (ips ? ips->len : 0) + 1, struct cni_address);
	if (!ret->v)
		return -ENOMEM;
	for (const struct json *m = json_first(ips); m; m = m->next) {
		const char *address = json_str(m, "address", "");
		size_t n = strcspn(address, "/");
		struct cni_address *out = &ret->v[ret->n++];
		out->ip = arena_strndup(a, address, n);
		out->prefix = address[n] ? (unsigned)atoi(address + n + 1) : 0;
		out->gateway = json_str(m, "gateway", NULL);
	}
	for (const struct json *m = json_first(json_get(res, "interfaces")); m; m = m->next)
		if (json_get(m, "sandbox") && *json_str(m, "sandbox", ""))
			ret->mac = json_str(m, "mac", NULL);
	return 0;
}

int cni_add(struct arena *a, const struct cni_dirs *d, const struct cni_attachment *at, struct cni_result *ret, struct err *e) {
	struct json *list, *result = NULL;
	int r = cni_load(a, d, at->network, &list, e);
	if (r < 0)
		return r;
	*ret = (struct cni_result){ 0 };
	/* Before the first call, so that a crash in between can be undone by DEL. */
	r = cache_write(d, at, list, NULL);
	if (r < 0)
		return err_sys(e, r, "write below %s", d->cache);
	for (const struct json *p = first_plugin(list); p && r == 0; p = json_get(list, "plugins") ? p->next : NULL) {
		_cleanup_strbuf_ struct strbuf in = STRBUF_INIT, out = STRBUF_INIT;
		r = plugin_input(list, p, at, result, &in);
		if (r == 0)
			r = call(json_str(p, "type", ""), at, "ADD", &in, &out, e);
		if (r == 0 && out.len)
			r = json_parse(a, out.s, out.len, &result, e);
	}
	if (r == 0 && (r = cache_write(d, at, list, result)) < 0)
		err_sys(e, r, "write below %s", d->cache);
	if (r == 0 && result)
		r = parse_result(a, result, ret);
	if (r < 0)
		cni_del(d, at, NULL);
	return r;
}

enum { PLUGINS_MAX = 32 }; /* in one list */

static size_t cached_ports(struct arena *a, const struct json *cached, struct cni_port **ret) {
	const struct json *ports = json_get(cached, "ports");
	size_t n = 0;
	struct cni_port *v = arena_array(a, (ports ? ports->len : 0) + 1, struct cni_port);
	for (const struct json *m = json_first(ports); m && v; m = m->next) {
		uint64_t host = 0, container = 0;
		(void)!json_u64(json_get(m, "host"), &host);
		(void)!json_u64(json_get(m, "container"), &container);
		v[n++] = (struct cni_port){ json_str(m, "hostIP", ""), (uint16_t)host, (uint16_t)container, json_str(m, "protocol", "tcp") };
	}
	*ret = v;
	return n;
}

int cni_del(const struct cni_dirs *d, const struct cni_attachment *at, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char name[400];
	struct json *cached;
	_cleanup_close_ int dir = open(d->cache, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "open %s", d->cache);
	cache_name(name, sizeof(name), at);
	int r = file_read_at(dir, name, &text, CONF_MAX + CNI_RESULT_MAX);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = json_parse(&a, text.s, text.len, &cached, e);
	if (r < 0)
		return r;
	struct cni_attachment with_ports = *at;
	struct cni_port *ports;
	with_ports.n_ports = cached_ports(&a, cached, &ports);
	with_ports.ports = ports;
	const struct json *list = json_get(cached, "config"), *result = json_get(cached, "result"), *plugins[PLUGINS_MAX];
	size_t n = 0;
	for (const struct json *p = first_plugin(list); p && n < PLUGINS_MAX; p = json_get(list, "plugins") ? p->next : NULL)
		plugins[n++] = p;
	while (n--) {
		_cleanup_strbuf_ struct strbuf in = STRBUF_INIT, out = STRBUF_INIT;
		int k = plugin_input(list, plugins[n], &with_ports, result, &in);
		if (k == 0)
			k = call(json_str(plugins[n], "type", ""), &with_ports, "DEL", &in, &out, r == 0 ? e : NULL);
		r = r < 0 ? r : k;
	}
	/* Kept when a plugin failed: the next removal tries again. */
	if (r == 0)
		unlinkat(dir, name, 0);
	return r;
}
