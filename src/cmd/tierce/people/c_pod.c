/* pod create, start, stop, rm, ps, inspect, logs. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/tierce/people/pod.h"

static const struct opt create_rows[] = {
#define AT(m) offsetof(struct pod_opts, m)
	{ .name = "add-host", .kind = OPT_LIST, .offset = AT(add_host), .arg = "HOST:IP", .help = "add a line to /etc/hosts" },
	{ .name = "dns", .kind = OPT_LIST, .offset = AT(dns), .arg = "ADDRESS", .help = "DNS server" },
	{ .name = "dns-option", .kind = OPT_LIST, .offset = AT(dns_option), .arg = "OPTION", .help = "resolver option" },
	{ .name = "dns-search", .kind = OPT_LIST, .offset = AT(dns_search), .arg = "DOMAIN", .help = "search domain" },
	{ .name = "hostname", .kind = OPT_STRING, .offset = AT(hostname), .arg = "NAME", .help = "host name of the pod" },
	{ .name = "infra", .kind = OPT_OPTSTR, .offset = AT(infra), .arg = "BOOL", .help = "no effect: there never is an infra container", .flags = OPT_ACCEPTED },
	{ .name = "ip", .kind = OPT_STRING, .offset = AT(ip), .arg = "ADDRESS", .help = "static IPv4 address" },
	{ .name = "label", .short_name = 'l', .kind = OPT_LIST, .offset = AT(label), .arg = "KEY=VALUE", .help = "set a label" },
	{ .name = "mac-address", .kind = OPT_STRING, .offset = AT(mac_address), .arg = "ADDRESS", .help = "MAC address" },
	{ .name = "name", .short_name = 'n', .kind = OPT_STRING, .offset = AT(name), .arg = "NAME", .help = "name of the pod" },
	{ .name = "network", .kind = OPT_LIST, .offset = AT(network), .arg = "NETWORK", .help = "as in run", .alias = "net" },
	{ .name = "pod-id-file", .kind = OPT_STRING, .offset = AT(pod_id_file), .arg = "FILE", .help = "write the id to a file" },
	{ .name = "publish", .short_name = 'p', .kind = OPT_LIST, .offset = AT(publish), .arg = "PORT", .help = "publish a port of the pod" },
	{ .name = "replace", .kind = OPT_FLAG, .offset = AT(replace), .help = "remove a pod of the same name first" },
	{ .name = "restart", .kind = OPT_STRING, .offset = AT(restart), .arg = "POLICY", .help = "restart policy of containers that name none" },
#undef AT
};

static int c_create(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	struct pod_opts o = *(const struct pod_opts *)opts;
	struct people p;
	struct pod *pod;
	int r = tierce_people(t, &p, e);
	if (argc)
		o.name = argv[0];
	if (r == 0)
		r = pod_create(&p, &o, &pod, e);
	if (r == 0 && o.pod_id_file) {
		FILE *f = fopen(o.pod_id_file, "we");
		if (!f || fputs(pod->id, f) < 0 || fclose(f) != 0)
			r = err_sys(e, errno, "write %s", o.pod_id_file);
	}
	if (r == 0)
		puts(pod->id);
	people_close(&p);
	return r;
}

struct pod_pick { bool all, force, ignore, quiet, noheading, follow; const char *time, *format, *container, *tail; };
static const struct opt pick_rows[] = {
	{ .name = "all", .short_name = 'a', .kind = OPT_FLAG, .offset = offsetof(struct pod_pick, all), .help = "all pods" },
	{ .name = "force", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct pod_pick, force), .help = "stop running containers first" },
	{ .name = "ignore", .short_name = 'i', .kind = OPT_FLAG, .offset = offsetof(struct pod_pick, ignore), .help = "a pod that does not exist is no error" },
	{ .name = "time", .short_name = 't', .kind = OPT_STRING, .offset = offsetof(struct pod_pick, time), .arg = "SECONDS", .help = "time before the kill (default 10)" },
};

static int start_pod(struct pod *pod, const struct pod_pick *o UNUSED, struct err *e) {
	struct pctr **v;
	size_t n;
	int r = pod_up(pod, e), fd;
	if (r == 0)
		r = pod_members(pod, &v, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = pctr_start(v[i], NULL, &fd, e);
	return r;
}

static int64_t seconds(const struct pod_pick *o) {
	return o->time ? atoll(o->time) : -1;
}

static int stop_pod(struct pod *pod, const struct pod_pick *o, struct err *e) {
	return pod_down(pod, seconds(o), e);
}

static int restart_pod(struct pod *pod, const struct pod_pick *o, struct err *e) {
	int r = pod_down(pod, seconds(o), e);
	pod->up = false;
	return r < 0 ? r : start_pod(pod, o, e);
}

static int rm_pod(struct pod *pod, const struct pod_pick *o, struct err *e) {
	return pod_remove(pod, o->force, e);
}

static int kill_pod(struct pod *pod, const struct pod_pick *o UNUSED, struct err *e) {
	struct pctr **v;
	size_t n;
	int r = pod_members(pod, &v, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (v[i]->pid)
			r = pctr_kill(v[i], 9, e);
	return r;
}

static int each(struct cli *t, const struct pod_pick *o, int argc, char **argv, int (*fn)(struct pod *, const struct pod_pick *, struct err *), struct err *e) {
	struct people p;
	struct pod **v = NULL, *pod;
	size_t n = (size_t)argc;
	int r = tierce_people(t, &p, e);
	if (r == 0 && !argc && !o->all)
		r = err_set(e, -EINVAL, "name at least one pod (or --all)");
	if (r == 0 && o->all)
		r = pod_list(&p, &v, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = v ? (pod = v[i], 0) : pod_find(&p, argv[i], &pod, e);
		if (r == -ENOENT && (o->ignore || (o->force && fn == rm_pod))) {
			err_clear(e);
			r = 0;
			continue;
		}
		if (r == 0)
			r = fn(pod, o, e);
		if (r == 0)
			puts(pod->id);
	}
	people_close(&p);
	return r;
}

#define EACH(name, fn) static int name(struct cli *t, const void *o, int argc, char **argv, struct err *e) { return each(t, o, argc, argv, fn, e); }
EACH(c_start, start_pod)
EACH(c_stop, stop_pod)
EACH(c_restart, restart_pod)
EACH(c_rm, rm_pod)
EACH(c_kill, kill_pod)

/* ---- looking ---------------------------------------------------------------------------------------------------------------------------- */

static const char *pod_state(struct pod *pod, struct pctr **v, size_t n) {
	size_t running = 0, ended = 0, created = 0;
	for (size_t i = 0; i < n; i++) {
		running += streq(v[i]->state, "running");
		ended += streq(v[i]->state, "exited");
		created += streq(v[i]->state, "created");
	}
	(void)pod;
	if (!n || created == n)
		return "Created";
	return running == n ? "Running" : running ? "Degraded" : ended == n ? "Exited" : "Stopped";
}

static const struct opt ps_rows[] = {
	{ .name = "format", .kind = OPT_STRING, .offset = offsetof(struct pod_pick, format), .arg = "FORMAT", .help = "json or a template such as {{.Name}}" },
	{ .name = "noheading", .kind = OPT_FLAG, .offset = offsetof(struct pod_pick, noheading), .help = "no heading" },
	{ .name = "quiet", .short_name = 'q', .kind = OPT_FLAG, .offset = offsetof(struct pod_pick, quiet), .help = "ids only" },
};

static int c_ps(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e) {
	static const struct fmt_column columns[] = { { "Id", "POD ID" }, { "Name", "NAME" }, { "Status", "STATUS" }, { "Created", "CREATED" }, { "NumberOfContainers", "# OF CONTAINERS" } };
	const struct pod_pick *o = opts;
	struct people p;
	struct pod **v;
	struct fmt f;
	size_t n;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pod_list(&p, &v, &n, e);
	if (r == 0)
		r = fmt_init(&f, o->quiet ? "{{.Id}}" : o->format, columns, ARRAY_SIZE(columns), !o->noheading, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct pctr **m;
		size_t k;
		char id[16], count[24], ago[40];
		r = pod_members(v[i], &m, &k, e);
		if (r < 0)
			break;
		snprintf(id, sizeof(id), "%.12s", v[i]->id);
		snprintf(count, sizeof(count), "%zu", k);
		struct fmt_value row[] = { { "Id", id, NULL, NULL }, { "Name", v[i]->name, NULL, NULL }, { "Status", pod_state(v[i], m, k), NULL, NULL },
			{ "Created", human_ago(rfc3339_seconds(v[i]->created), ago), NULL, NULL }, { "NumberOfContainers", count, count, NULL } };
		r = fmt_row(&f, row, ARRAY_SIZE(row), e);
	}
	if (r == 0)
		r = fmt_end(&f, stdout, e);
	people_close(&p);
	return r;
}

static const struct opt inspect_rows[] = {
	{ .name = "format", .short_name = 'f', .kind = OPT_STRING, .offset = offsetof(struct pod_pick, format), .arg = "TEMPLATE", .help = "a template such as {{.State}}" },
};

static int c_inspect(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	const struct pod_pick *o = opts;
	struct people p;
	struct pod *pod;
	struct pctr **m;
	size_t n;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT, text = STRBUF_INIT;
	struct json_writer w;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pod_find(&p, argv[0], &pod, e);
	if (r == 0)
		r = pod_members(pod, &m, &n, e);
	if (r < 0)
		return r;
	jw_init(&w, &out, o->format ? 0 : 4);
	jw_object(&w);
	jw_kv_string(&w, "Id", pod->id);
	jw_kv_string(&w, "Name", pod->name);
	jw_kv_string(&w, "Created", pod->created);
	jw_kv_string(&w, "State", pod_state(pod, m, n));
	jw_kv_string(&w, "Hostname", pod->hostname ? pod->hostname : "");
	jw_kv_u64(&w, "NumContainers", n);
	jw_key(&w, "Network");
	if (net_state(&pod->net))
		jw_value(&w, net_state(&pod->net));
	else
		jw_null(&w);
	jw_key(&w, "Containers");
	jw_array(&w);
	for (size_t i = 0; i < n; i++) {
		jw_object(&w);
		jw_kv_string(&w, "Id", m[i]->id);
		jw_kv_string(&w, "Name", m[i]->name);
		jw_kv_string(&w, "State", m[i]->state);
		jw_object_end(&w);
	}
	jw_array_end(&w);
	jw_object_end(&w);
	r = jw_finish(&w);
	if (r == 0 && o->format) {
		struct json *j;
		r = json_parse(&p.arena, out.s, out.len, &j, e);
		if (r == 0)
			r = format_template(o->format, j, &text, e);
		if (r == 0)
			puts(strbuf_str(&text));
	} else if (r == 0) {
		fputs(strbuf_str(&out), stdout);
	}
	people_close(&p);
	return r;
}

static const struct opt logs_rows[] = {
	{ .name = "container", .short_name = 'c', .kind = OPT_STRING, .offset = offsetof(struct pod_pick, container), .arg = "NAME", .help = "of this container only" },
	{ .name = "follow", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct pod_pick, follow), .help = "go on until the containers end" },
	{ .name = "tail", .kind = OPT_STRING, .offset = offsetof(struct pod_pick, tail), .arg = "N", .help = "the last N lines of each" },
};

static int c_logs(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	const struct pod_pick *o = opts;
	struct people p;
	struct pod *pod;
	struct pctr **m;
	size_t n;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pod_find(&p, argv[0], &pod, e);
	if (r == 0)
		r = pod_members(pod, &m, &n, e);
	if (r < 0)
		return r;
	/* One reader per container, so that following shows them as they come. */
	const char *args[16];
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;
		if (o->container && !streq(m[i]->name, o->container) && !str_has_prefix(m[i]->id, o->container) && !str_has_suffix(m[i]->name, o->container))
			continue;
		args[k++] = p.self;
		args[k++] = "--root";
		args[k++] = p.data_dir;
		args[k++] = "--runroot";
		args[k++] = p.run_dir;
		args[k++] = "logs";
		if (!o->container)
			args[k++] = "--names";
		if (o->follow)
			args[k++] = "--follow";
		if (o->tail) {
			args[k++] = "--tail";
			args[k++] = o->tail;
		}
		args[k++] = m[i]->id;
		args[k] = NULL;
		r = spawn_wait(args, !o->follow, e);
		if (r < 0)
			break;
	}
	if (o->follow)
		wait_children();
	people_close(&p);
	return r;
}

static int c_exists(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv, struct err *e) {
	struct people p;
	struct pod *pod;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		t->exit_code = pod_find(&p, argv[0], &pod, NULL) == 0 ? 0 : 1;
	people_close(&p);
	return r;
}

#define COMMAND(var, name_, operands_, summary_, rows_, min, max, fn) \
	const struct command var = { .name = name_, .operands = operands_, .summary = summary_, OPTS(rows_), .min_args = min, .max_args = max, .run = fn };
COMMAND(cmd_pod_create, "pod create", "[NAME]", "Make a pod", create_rows, 0, 1, c_create)
COMMAND(cmd_pod_start, "pod start", "POD...", "Start all containers of pods", pick_rows, 0, -1, c_start)
COMMAND(cmd_pod_stop, "pod stop", "POD...", "Stop pods", pick_rows, 0, -1, c_stop)
COMMAND(cmd_pod_restart, "pod restart", "POD...", "Stop pods and start them again", pick_rows, 0, -1, c_restart)
COMMAND(cmd_pod_kill, "pod kill", "POD...", "Kill the containers of pods", pick_rows, 0, -1, c_kill)
COMMAND(cmd_pod_rm, "pod rm", "POD...", "Remove pods with their containers", pick_rows, 0, -1, c_rm)
COMMAND(cmd_pod_ps, "pod ps", "", "List pods", ps_rows, 0, 0, c_ps)
COMMAND(cmd_pod_inspect, "pod inspect", "POD", "Show a pod", inspect_rows, 1, 1, c_inspect)
COMMAND(cmd_pod_logs, "pod logs", "POD", "Show what the containers of a pod wrote", logs_rows, 1, 1, c_logs)
static const struct opt no_rows[0];
COMMAND(cmd_pod_exists, "pod exists", "POD", "Exit with 0 when a pod exists, else with 1", no_rows, 1, 1, c_exists)
