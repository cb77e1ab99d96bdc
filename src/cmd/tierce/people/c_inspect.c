/* ps, inspect, port, top: what there is and how it is. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "cmd/tierce/people/commands.h"
#include "sys/fd.h"

/* ---- one container as text ---------------------------------------------------------------------------------------------------------- */

static void ports_text(struct pctr *c, struct strbuf *b) {
	for (const struct json *m = json_first(json_get(net_state(c), "ports")); m; m = m->next) {
		uint64_t host = 0, inside = 0;
		const char *ip = json_str(m, "hostIP", "");
		(void)!json_u64(json_get(m, "host"), &host);
		(void)!json_u64(json_get(m, "container"), &inside);
		strbuf_printf(b, "%s%s:%u->%u/%s", b->len ? ", " : "", *ip ? ip : "0.0.0.0", (unsigned)host, (unsigned)inside, json_str(m, "protocol", "tcp"));
	}
}

static void command_text(const struct pctr *c, struct strbuf *b) {
	const struct json *entry = json_get(c->image_config, "Entrypoint"), *cmd = json_get(c->image_config, "Cmd");
	if (c->opts.entrypoint && *c->opts.entrypoint)
		strbuf_printf(b, "%s ", c->opts.entrypoint);
	for (const struct json *m = c->opts.entrypoint ? NULL : json_first(entry); m; m = m->next)
		strbuf_printf(b, "%s ", m->type == JSON_STRING ? m->text : "");
	for (size_t i = 0; i < c->n_command; i++)
		strbuf_printf(b, "%s ", c->command[i]);
	for (const struct json *m = c->n_command || c->opts.entrypoint ? NULL : json_first(cmd); m; m = m->next)
		strbuf_printf(b, "%s ", m->type == JSON_STRING ? m->text : "");
	if (b->len)
		b->s[--b->len] = '\0';
}

static void status_text(const struct pctr *c, struct strbuf *b) {
	char ago[40];
	int64_t now = (int64_t)time(NULL);
	if (streq(c->state, "running") || streq(c->state, "paused")) {
		human_ago((int64_t)(c->status.started / 1000000000u), ago);
		char *tail = strstr(ago, " ago");
		if (tail)
			*tail = '\0';
		strbuf_printf(b, "Up %s%s", ago, streq(c->state, "paused") ? " (Paused)" : "");
		if (c->status.health)
			strbuf_printf(b, " (%s)", c->status.health);
	} else if (streq(c->state, "exited")) {
		strbuf_printf(b, "Exited (%d) %s", c->status.exit_code, human_ago(c->status.finished ? (int64_t)(c->status.finished / 1000000000u) : now, ago));
	} else if (streq(c->state, "restarting")) {
		strbuf_printf(b, "Restarting (%d)", c->status.exit_code);
	} else {
		strbuf_puts(b, "Created");
	}
}

static void labels_text(const struct pctr *c, struct strbuf *b) {
	for (const struct json *m = json_first(json_get(c->image_config, "Labels")); m; m = m->next)
		if (m->type == JSON_STRING)
			strbuf_printf(b, "%s%s=%s", b->len ? "," : "", m->key, m->text);
	for (size_t i = 0; i < c->opts.label.n; i++)
		strbuf_printf(b, "%s%s", b->len ? "," : "", c->opts.label.v[i]);
}

const char *pctr_label(const struct pctr *c, const char *key) {
	size_t n = strlen(key);
	for (size_t i = c->opts.label.n; i-- > 0;)
		if (strncmp(c->opts.label.v[i], key, n) == 0 && (c->opts.label.v[i][n] == '=' || !c->opts.label.v[i][n]))
			return c->opts.label.v[i][n] ? c->opts.label.v[i] + n + 1 : "";
	return json_str(json_get(c->image_config, "Labels"), key, NULL);
}

/* ---- filters ------------------------------------------------------------------------------------------------------------------------- */

static bool matches(struct pctr *c, const char *key, const char *value, struct people *p) {
	struct pctr *other;
	if (streq(key, "name"))
		return strstr(c->name, value) != NULL;
	if (streq(key, "id"))
		return str_has_prefix(c->id, value);
	if (streq(key, "status"))
		return streq(c->state, value) || (streq(value, "stopped") && streq(c->state, "exited"));
	if (streq(key, "exited"))
		return streq(c->state, "exited") && c->status.exit_code == atoi(value);
	if (streq(key, "ancestor"))
		return streq(c->image, value) || strstr(c->image, value) != NULL || strstr(c->image_id, value) != NULL;
	if (streq(key, "pod"))
		return c->pod_id && str_has_prefix(c->pod_id, value);
	if (streq(key, "health"))
		return streq(c->status.health ? c->status.health : "none", value);
	if (streq(key, "network")) {
		for (const struct json *m = json_first(json_get(net_state(c), "networks")); m; m = m->next)
			if (streq(json_str(m, "name", ""), value))
				return true;
		return false;
	}
	if (streq(key, "volume")) {
		for (size_t i = 0; i < c->opts.volume.n; i++)
			if (str_has_prefix(c->opts.volume.v[i], value))
				return true;
		return false;
	}
	if (streq(key, "label")) {
		char name[256];
		const char *eq = strchr(value, '=');
		snprintf(name, sizeof(name), "%.*s", eq ? (int)(eq - value) : 255, value);
		const char *have = pctr_label(c, name);
		return have && (!eq || streq(have, eq + 1));
	}
	if ((streq(key, "before") || streq(key, "since")) && pctr_find(p, value, &other, NULL) == 0)
		return key[0] == 'b' ? strcmp(c->created, other->created) < 0 : strcmp(c->created, other->created) > 0;
	return false;
}

/* Different keys must all match, values of one key are alternatives: docker's rule. */
static int filter_one(struct pctr *c, const struct opt_list *l, struct people *p, bool *ret, struct err *e) {
	static const char *const known[] = { "name", "id", "status", "exited", "ancestor", "pod", "health", "network", "volume", "label", "before", "since" };
	*ret = true;
	for (size_t i = 0; i < l->n && *ret; i++) {
		const char *eq = strchr(l->v[i], '=');
		char key[32];
		size_t k = 0;
		if (!eq || eq - l->v[i] >= (long)sizeof(key))
			return err_set(e, -EINVAL, "--filter \"%s\" is not KEY=VALUE", l->v[i]);
		snprintf(key, sizeof(key), "%.*s", (int)(eq - l->v[i]), l->v[i]);
		while (k < ARRAY_SIZE(known) && !streq(known[k], key))
			k++;
		if (k == ARRAY_SIZE(known))
			return err_set(e, -EINVAL, "--filter \"%s\": \"%s\" is an invalid filter (name, id, status, exited, ancestor, pod, health, network, volume, label, before, since)",
				l->v[i], key);
		bool any = false;
		for (size_t m = 0; m < l->n; m++)
			if (strncmp(l->v[m], l->v[i], (size_t)(eq - l->v[i]) + 1) == 0)
				any |= matches(c, key, strchr(l->v[m], '=') + 1, p);
		*ret = any || (streq(key, "label") && matches(c, key, eq + 1, p));
		if (streq(key, "label"))
			*ret = matches(c, key, eq + 1, p);
	}
	return 0;
}

/* ---- ps --------------------------------------------------------------------------------------------------------------------------------- */

struct ps_opts { bool all, quiet, no_trunc, latest, size, noheading, pod, sync; const char *format, *sort, *last; struct opt_list filter; };
#define AT(m) offsetof(struct ps_opts, m)
static const struct opt ps_rows[] = {
	{ .name = "all", .short_name = 'a', .kind = OPT_FLAG, .offset = AT(all), .help = "also those that do not run" },
	{ .name = "filter", .short_name = 'f', .kind = OPT_LIST, .offset = AT(filter), .arg = "KEY=VALUE", .help = "only those that match" },
	{ .name = "format", .kind = OPT_STRING, .offset = AT(format), .arg = "FORMAT", .help = "json, or a template such as {{.ID}} {{.Names}}" },
	{ .name = "last", .short_name = 'n', .kind = OPT_STRING, .offset = AT(last), .arg = "N", .help = "the N made last" },
	{ .name = "latest", .short_name = 'l', .kind = OPT_FLAG, .offset = AT(latest), .help = "the one made last" },
	{ .name = "no-trunc", .kind = OPT_FLAG, .offset = AT(no_trunc), .help = "whole ids and commands" },
	{ .name = "noheading", .kind = OPT_FLAG, .offset = AT(noheading), .help = "no heading" },
	{ .name = "pod", .short_name = 'p', .kind = OPT_FLAG, .offset = AT(pod), .help = "show the pod" },
	{ .name = "quiet", .short_name = 'q', .kind = OPT_FLAG, .offset = AT(quiet), .help = "ids only" },
	{ .name = "sync", .kind = OPT_FLAG, .offset = AT(sync), .help = "no effect: the state is always asked of the kernel", .flags = OPT_ACCEPTED },
};
#undef AT

static const struct fmt_column ps_columns[] = { { "ID", "CONTAINER ID" }, { "Image", "IMAGE" }, { "Command", "COMMAND" }, { "Created", "CREATED" }, { "Status", "STATUS" }, { "Ports", "PORTS" },
	{ "Names", "NAMES" }, { "Pod", "POD" } };

static int ps_row(struct fmt *f, struct pctr *c, const struct ps_opts *o, struct err *e) {
	_cleanup_strbuf_ struct strbuf ports = STRBUF_INIT, command = STRBUF_INIT, status = STRBUF_INIT, labels = STRBUF_INIT, networks = STRBUF_INIT;
	char id[65], ago[40], pid[16], code[16], isolation[16], created[24];
	int64_t made = rfc3339_seconds(c->created);
	snprintf(id, sizeof(id), "%.*s", o->no_trunc ? 64 : 12, c->id);
	ports_text(c, &ports);
	command_text(c, &command);
	if (!o->no_trunc && command.len > 20) {
		command.len = 17;
		command.s[17] = '\0';
		strbuf_puts(&command, "...");
	}
	status_text(c, &status);
	labels_text(c, &labels);
	for (const struct json *m = json_first(json_get(net_state(c), "networks")); m; m = m->next)
		strbuf_printf(&networks, "%s%s", networks.len ? "," : "", json_str(m, "name", ""));
	human_ago(made, ago);
	snprintf(pid, sizeof(pid), "%d", (int)c->pid);
	snprintf(code, sizeof(code), "%d", c->status.exit_code);
	snprintf(created, sizeof(created), "%lld", (long long)made);
	snprintf(isolation, sizeof(isolation), "%s", c->opts.isolation ? c->opts.isolation : "ns");
	const char *names = arena_printf(&c->p->arena, "[\"%s\"]", c->name);
	struct fmt_value v[] = {
		{ "ID", id, NULL, "Id" }, { "Image", c->image, NULL, NULL }, { "ImageID", c->image_id, NULL, NULL }, { "Command", strbuf_str(&command), NULL, NULL },
		{ "Created", ago, created, "Created" }, { "CreatedAt", c->created, NULL, NULL }, { "RunningFor", ago, NULL, NULL }, { "Status", strbuf_str(&status), NULL, NULL },
		{ "State", c->state, NULL, NULL }, { "Ports", strbuf_str(&ports), NULL, NULL }, { "Names", c->name, names, "Names" }, { "Labels", strbuf_str(&labels), NULL, NULL },
		{ "Networks", strbuf_str(&networks), NULL, NULL }, { "Pid", pid, pid, NULL }, { "ExitCode", code, code, NULL }, { "Isolation", isolation, NULL, NULL },
		{ "Pod", c->pod_id ? c->pod_id : "", NULL, NULL },
	};
	return fmt_row(f, v, ARRAY_SIZE(v), e);
}

static int c_ps(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e) {
	const struct ps_opts *o = opts;
	struct people p;
	struct pctr **v;
	struct fmt f;
	size_t n, shown = 0;
	int64_t last = INT64_MAX;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_list(&p, &v, &n, e);
	if (r == 0 && o->last)
		r = parse_number("--last", o->last, 0, INT32_MAX, &last, e);
	if (o->latest)
		last = 1;
	if (r == 0)
		r = fmt_init(&f, o->quiet ? "{{.ID}}" : o->format, ps_columns, ARRAY_SIZE(ps_columns) - !o->pod, !o->noheading, e);
	if (r < 0)
		return r;
	bool status_asked = false;
	for (size_t i = 0; i < o->filter.n; i++)
		status_asked |= str_has_prefix(o->filter.v[i], "status=") || str_has_prefix(o->filter.v[i], "exited=") ;
	for (size_t i = 0; r == 0 && i < n && (int64_t)shown < last; i++) {
		bool fits;
		if (!o->all && !o->last && !o->latest && !status_asked && !streq(v[i]->state, "running") && !streq(v[i]->state, "paused") && !streq(v[i]->state, "restarting"))
			continue;
		r = filter_one(v[i], &o->filter, &p, &fits, e);
		if (r == 0 && fits) {
			r = ps_row(&f, v[i], o, e);
			shown++;
		}
	}
	if (r == 0)
		r = fmt_end(&f, stdout, e);
	else
		fmt_free(&f);
	people_close(&p);
	return r;
}

/* ---- inspect ------------------------------------------------------------------------------------------------------------------------------ */

static void write_strings(struct json_writer *w, const char *key, const struct opt_list *l) {
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < l->n; i++)
		jw_string(w, l->v[i]);
	jw_array_end(w);
}

static void write_time(struct json_writer *w, const char *key, uint64_t ns) {
	char buf[40], text[56];
	rfc3339((int64_t)(ns / 1000000000u), buf);
	size_t n = strlen(buf);
	if (n && buf[n - 1] == 'Z')
		buf[n - 1] = '\0';
	snprintf(text, sizeof(text), "%s.%09uZ", buf, (unsigned)(ns % 1000000000u));
	jw_kv_string(w, key, ns ? text : "0001-01-01T00:00:00Z");
}

static void write_state(struct json_writer *w, const struct pctr *c) {
	jw_key(w, "State");
	jw_object(w);
	jw_kv_string(w, "Status", c->state);
	jw_kv_bool(w, "Running", streq(c->state, "running") || streq(c->state, "paused"));
	jw_kv_bool(w, "Paused", streq(c->state, "paused"));
	jw_kv_bool(w, "Restarting", streq(c->state, "restarting"));
	jw_kv_bool(w, "OOMKilled", c->status.oom);
	jw_kv_bool(w, "Dead", false);
	jw_kv_i64(w, "Pid", c->pid);
	jw_kv_i64(w, "ExitCode", c->status.exit_code);
	jw_kv_string(w, "Error", c->status.error ? c->status.error : "");
	write_time(w, "StartedAt", c->status.started);
	write_time(w, "FinishedAt", c->pid ? 0 : c->status.finished);
	if (c->status.health) {
		jw_key(w, "Health");
		jw_object(w);
		jw_kv_string(w, "Status", c->status.health);
		jw_kv_u64(w, "FailingStreak", c->status.health_failing);
		jw_key(w, "Log");
		jw_array(w);
		if (c->status.health_log) {
			jw_object(w);
			jw_kv_i64(w, "ExitCode", c->status.health_exit);
			jw_kv_string(w, "Output", c->status.health_log);
			jw_object_end(w);
		}
		jw_array_end(w);
		jw_object_end(w);
	}
	jw_object_end(w);
}

static void write_labels(struct json_writer *w, const struct pctr *c) {
	jw_key(w, "Labels");
	jw_object(w);
	for (const struct json *m = json_first(json_get(c->image_config, "Labels")); m; m = m->next)
		if (m->type == JSON_STRING)
			jw_kv_string(w, m->key, m->text);
	for (size_t i = 0; i < c->opts.label.n; i++) {
		const char *eq = strchr(c->opts.label.v[i], '=');
		jw_key(w, eq ? arena_strndup(&c->p->arena, c->opts.label.v[i], (size_t)(eq - c->opts.label.v[i])) : c->opts.label.v[i]);
		jw_string(w, eq ? eq + 1 : "");
	}
	jw_object_end(w);
}

static void write_config(struct json_writer *w, const struct pctr *c, const struct json *spec) {
	const struct json *process = json_get(spec, "process");
	const struct run_opts *o = &c->opts;
	jw_key(w, "Config");
	jw_object(w);
	jw_kv_string(w, "Hostname", json_str(spec, "hostname", o->hostname ? o->hostname : ""));
	jw_kv_string(w, "User", o->user ? o->user : json_str(c->image_config, "User", ""));
	jw_kv_bool(w, "Tty", o->tty);
	jw_kv_bool(w, "OpenStdin", o->interactive);
	jw_key(w, "Env");
	if (json_get(process, "env")) {
		jw_value(w, json_get(process, "env"));
	} else {
		jw_array(w);
		for (size_t i = 0; i < o->env.n; i++)
			jw_string(w, o->env.v[i]);
		jw_array_end(w);
	}
	jw_key(w, "Cmd");
	jw_array(w);
	for (size_t i = 0; i < c->n_command; i++)
		jw_string(w, c->command[i]);
	for (const struct json *m = c->n_command ? NULL : json_first(json_get(c->image_config, "Cmd")); m; m = m->next)
		jw_value(w, m);
	jw_array_end(w);
	jw_kv_string(w, "Image", c->image);
	jw_kv_string(w, "WorkingDir", o->workdir ? o->workdir : json_str(c->image_config, "WorkingDir", "/"));
	jw_key(w, "Entrypoint");
	if (o->entrypoint)
		jw_string(w, o->entrypoint);
	else if (json_get(c->image_config, "Entrypoint"))
		jw_value(w, json_get(c->image_config, "Entrypoint"));
	else
		jw_null(w);
	write_labels(w, c);
	write_strings(w, "Annotations", &o->annotation);
	jw_kv_string(w, "StopSignal", o->stop_signal ? o->stop_signal : json_str(c->image_config, "StopSignal", "SIGTERM"));
	jw_kv_i64(w, "StopTimeout", o->stop_timeout ? atoll(o->stop_timeout) : 10);
	jw_object_end(w);
}

static void write_host_config(struct json_writer *w, const struct pctr *c) {
	const struct run_opts *o = &c->opts;
	int64_t bytes;
	jw_key(w, "HostConfig");
	jw_object(w);
	write_strings(w, "Binds", &o->volume);
	jw_kv_string(w, "Isolation", o->isolation ? o->isolation : "ns");
	jw_kv_string(w, "NetworkMode", o->network.n ? o->network.v[0] : "bridge");
	jw_key(w, "RestartPolicy");
	jw_object(w);
	jw_kv_string(w, "Name", o->restart ? o->restart : "no");
	jw_object_end(w);
	jw_kv_bool(w, "AutoRemove", o->rm);
	write_strings(w, "CapAdd", &o->cap_add);
	write_strings(w, "CapDrop", &o->cap_drop);
	jw_kv_bool(w, "Privileged", o->privileged);
	jw_kv_bool(w, "ReadonlyRootfs", o->read_only);
	jw_kv_bool(w, "Init", o->init);
	write_strings(w, "SecurityOpt", &o->security_opt);
	write_strings(w, "Dns", &o->dns);
	write_strings(w, "ExtraHosts", &o->add_host);
	jw_kv_i64(w, "Memory", o->memory && parse_size("", o->memory, &bytes, NULL) == 0 ? bytes : 0);
	jw_kv_i64(w, "MemorySwap", o->memory_swap && parse_size("", o->memory_swap, &bytes, NULL) == 0 ? bytes : 0);
	jw_kv_i64(w, "NanoCpus", o->cpus ? (int64_t)(strtod(o->cpus, NULL) * 1e9) : 0);
	jw_kv_i64(w, "CpuShares", o->cpu_shares ? atoll(o->cpu_shares) : 0);
	jw_kv_string(w, "CpusetCpus", o->cpuset_cpus ? o->cpuset_cpus : "");
	jw_kv_i64(w, "PidsLimit", o->pids_limit ? atoll(o->pids_limit) : 2048);
	jw_kv_i64(w, "ShmSize", o->shm_size && parse_size("", o->shm_size, &bytes, NULL) == 0 ? bytes : 64 << 20);
	jw_key(w, "LogConfig");
	jw_object(w);
	jw_kv_string(w, "Type", o->log_driver ? o->log_driver : "k8s-file");
	write_strings(w, "Config", &o->log_opt);
	jw_object_end(w);
	jw_object_end(w);
}

static void write_ports(struct json_writer *w, const struct json *net) {
	jw_key(w, "Ports");
	jw_object(w);
	for (const struct json *m = json_first(json_get(net, "ports")); m; m = m->next) {
		char key[32], host[16];
		uint64_t inside = 0, outside = 0;
		(void)!json_u64(json_get(m, "container"), &inside);
		(void)!json_u64(json_get(m, "host"), &outside);
		snprintf(key, sizeof(key), "%u/%s", (unsigned)inside, json_str(m, "protocol", "tcp"));
		snprintf(host, sizeof(host), "%u", (unsigned)outside);
		jw_key(w, key);
		jw_array(w);
		jw_object(w);
		jw_kv_string(w, "HostIp", json_str(m, "hostIP", ""));
		jw_kv_string(w, "HostPort", host);
		jw_object_end(w);
		jw_array_end(w);
	}
	jw_object_end(w);
}

static void write_network(struct json_writer *w, struct pctr *c) {
	const struct json *net = net_state(c), *first = json_first(json_get(net, "networks"));
	jw_key(w, "NetworkSettings");
	jw_object(w);
	jw_kv_string(w, "IPAddress", json_str(first, "ip", ""));
	jw_kv_string(w, "Gateway", json_str(first, "gateway", ""));
	jw_kv_string(w, "MacAddress", json_str(first, "mac", ""));
	write_ports(w, net);
	jw_key(w, "Networks");
	jw_object(w);
	for (const struct json *m = first; m; m = m->next) {
		uint64_t prefix = 0;
		(void)!json_u64(json_get(m, "prefix"), &prefix);
		jw_key(w, json_str(m, "name", "-"));
		jw_object(w);
		jw_kv_string(w, "IPAddress", json_str(m, "ip", ""));
		jw_kv_u64(w, "IPPrefixLen", prefix);
		jw_kv_string(w, "Gateway", json_str(m, "gateway", ""));
		jw_kv_string(w, "MacAddress", json_str(m, "mac", ""));
		jw_key(w, "Aliases");
		if (json_get(m, "aliases"))
			jw_value(w, json_get(m, "aliases"));
		else
			jw_null(w);
		jw_object_end(w);
	}
	jw_object_end(w);
	jw_object_end(w);
}

static struct json *load_spec(struct pctr *c) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char path[4200];
	struct json *j = NULL;
	snprintf(path, sizeof(path), "%s/config.json", c->dir);
	if (file_read_at(AT_FDCWD, path, &text, OCI_CONFIG_MAX) == 0 && json_parse(&c->p->arena, text.s, text.len, &j, NULL) < 0)
		j = NULL;
	return j;
}

static void write_mounts(struct json_writer *w, const struct pctr *c, const struct json *spec) {
	jw_key(w, "Mounts");
	jw_array(w);
	for (const struct json *m = json_first(json_get(spec, "mounts")); m; m = m->next) {
		const char *source = json_str(m, "source", ""), *volumes = arena_printf(&c->p->arena, "%s/volumes/", c->p->data_dir);
		bool rw = true, volume = str_has_prefix(source, volumes);
		if (!streq(json_str(m, "type", ""), "bind") || str_has_prefix(source, c->dir))
			continue;
		for (const struct json *o = json_first(json_get(m, "options")); o; o = o->next)
			if (o->type == JSON_STRING && (streq(o->text, "ro") || streq(o->text, "rro")))
				rw = false;
		jw_object(w);
		jw_kv_string(w, "Type", volume ? "volume" : "bind");
		if (volume)
			jw_kv_string(w, "Name", arena_strndup(&c->p->arena, source + strlen(volumes), strcspn(source + strlen(volumes), "/")));
		jw_kv_string(w, "Source", source);
		jw_kv_string(w, "Destination", json_str(m, "destination", ""));
		jw_key(w, "Options");
		if (json_get(m, "options"))
			jw_value(w, json_get(m, "options"));
		else
			jw_null(w);
		jw_kv_bool(w, "RW", rw);
		jw_object_end(w);
	}
	jw_array_end(w);
}

void inspect_write(struct json_writer *w, struct pctr *c) {
	struct json *spec = load_spec(c);
	const char *log = arena_printf(&c->p->arena, "%s/ctr.log", c->dir), *bundle = c->dir;
	jw_object(w);
	jw_kv_string(w, "Id", c->id);
	jw_kv_string(w, "Created", c->created);
	jw_kv_string(w, "Name", c->name);
	jw_kv_string(w, "Image", c->image_id);
	jw_kv_string(w, "ImageName", c->image);
	jw_kv_string(w, "Path", spec && json_first(json_get(json_get(spec, "process"), "args")) ? json_first(json_get(json_get(spec, "process"), "args"))->text : "");
	jw_key(w, "Args");
	jw_array(w);
	const struct json *args = json_first(json_get(json_get(spec, "process"), "args"));
	for (const struct json *m = args ? args->next : NULL; m; m = m->next)
		jw_value(w, m);
	jw_array_end(w);
	write_state(w, c);
	jw_kv_string(w, "Pod", c->pod_id ? c->pod_id : "");
	jw_kv_u64(w, "RestartCount", c->status.restarts);
	jw_kv_string(w, "OCIRuntime", "tierce");
	jw_kv_string(w, "OCIConfigPath", arena_printf(&c->p->arena, "%s/config.json", bundle));
	jw_kv_string(w, "LogPath", log);
	jw_kv_string(w, "HostsPath", arena_printf(&c->p->arena, "%s/hosts", c->dir));
	jw_kv_string(w, "ResolvConfPath", arena_printf(&c->p->arena, "%s/resolv.conf", c->dir));
	write_mounts(w, c, spec);
	write_config(w, c, spec);
	write_host_config(w, c);
	write_network(w, c);
	jw_object_end(w);
}

struct inspect_opts { const char *format, *type; bool size, latest; };
static const struct opt inspect_rows[] = {
	{ .name = "format", .short_name = 'f', .kind = OPT_STRING, .offset = offsetof(struct inspect_opts, format), .arg = "TEMPLATE", .help = "a template such as {{.State.Status}}, or json" },
	{ .name = "type", .short_name = 't', .kind = OPT_STRING, .offset = offsetof(struct inspect_opts, type), .arg = "container|image", .help = "what the names are" },
	{ .name = "size", .short_name = 's', .kind = OPT_FLAG, .offset = offsetof(struct inspect_opts, size), .help = "no effect", .flags = OPT_ACCEPTED },
};

static int c_inspect(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	const struct inspect_opts *o = opts;
	struct people p;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct json_writer w;
	bool template = o->format && !streq(o->format, "json");
	int r = tierce_people(t, &p, e);
	if (r == 0 && o->type && !streq(o->type, "container") && !streq(o->type, "image") && !streq(o->type, "all"))
		r = err_set(e, -EINVAL, "--type \"%s\" is not container or image", o->type);
	jw_init(&w, &out, 4);
	if (!template)
		jw_array(&w);
	for (int i = 0; r == 0 && i < argc; i++) {
		struct pctr *c;
		_cleanup_strbuf_ struct strbuf one = STRBUF_INIT;
		struct json_writer ow;
		struct json *doc;
		jw_init(&ow, &one, 0);
		r = o->type && streq(o->type, "image") ? -ENOENT : pctr_find(&p, argv[i], &c, e);
		if (r == 0) {
			inspect_write(&ow, c);
			r = jw_finish(&ow);
		} else if (r == -ENOENT && !(o->type && streq(o->type, "container"))) {
			_cleanup_err_ struct err image = ERR_INIT;
			r = inspect_image(&p, argv[i], &one, &image);
			if (r < 0)
				err_set(e, r, "no such object: \"%s\"", argv[i]);
			else
				err_clear(e);
		}
		if (r == 0)
			r = json_parse(&p.arena, one.s, one.len, &doc, e);
		if (r < 0)
			break;
		if (template) {
			r = format_template(o->format, doc, &out, e);
			strbuf_putc(&out, '\n');
		} else {
			jw_value(&w, doc);
		}
	}
	if (!template)
		jw_array_end(&w);
	if (r == 0 && !template)
		r = jw_finish(&w) < 0 ? err_sys(e, -ENOMEM, "write") : 0;
	if (r == 0 || out.len > 4)
		fputs(r == 0 || template ? strbuf_str(&out) : "", stdout);
	people_close(&p);
	return r;
}

/* ---- port, top ------------------------------------------------------------------------------------------------------------------------------ */

static int c_port(struct cli *t, const void *opts UNUSED, int argc, char **argv, struct err *e) {
	struct people p;
	struct pctr *c;
	int r = tierce_people(t, &p, e);
	bool found = false;
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	for (const struct json *m = r == 0 ? json_first(json_get(net_state(c), "ports")) : NULL; m; m = m->next) {
		uint64_t inside = 0, outside = 0;
		char name[32];
		const char *ip = json_str(m, "hostIP", "");
		(void)!json_u64(json_get(m, "container"), &inside);
		(void)!json_u64(json_get(m, "host"), &outside);
		snprintf(name, sizeof(name), "%u/%s", (unsigned)inside, json_str(m, "protocol", "tcp"));
		if (argc > 1 && !streq(argv[1], name) && !(streq(json_str(m, "protocol", ""), "tcp") && (uint64_t)atoll(argv[1]) == inside && !strchr(argv[1], '/')))
			continue;
		found = true;
		if (argc > 1)
			printf("%s:%u\n", *ip ? ip : "0.0.0.0", (unsigned)outside);
		else
			printf("%s -> %s:%u\n", name, *ip ? ip : "0.0.0.0", (unsigned)outside);
	}
	if (r == 0 && argc > 1 && !found)
		r = err_set(e, -ENOENT, "failed to find published port \"%s\"", argv[1]);
	people_close(&p);
	return r;
}

static int c_top(struct cli *t, const void *opts UNUSED, int argc, char **argv, struct err *e) {
	struct people p;
	struct pctr *c;
	struct ctr *k = NULL;
	pid_t *pids = NULL;
	size_t n = 0, shown = 0;
	_cleanup_strbuf_ struct strbuf cmd = STRBUF_INIT;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_find(&p, argv[0], &c, e);
	if (r == 0 && !c->pid)
		r = err_set(e, -EINVAL, "top can only be used on running containers");
	if (r == 0)
		r = engine_open(c, false, &k, e);
	if (r == 0)
		r = ctr_load_cgroup(k, e);
	if (r == 0)
		r = cgroup_pids(k->cgroup, &pids, &n, e);
	if (r < 0)
		goto out;
	/* ps of the host does the columns; only the container's lines are kept, by the PID column. */
	strbuf_puts(&cmd, "ps");
	if (argc > 1)
		for (int i = 1; i < argc; i++) {
			if (strpbrk(argv[i], "'\\;&|<>$`\"\n"))
				r = err_set(e, -EINVAL, "top: \"%s\" is no option of ps(1)", argv[i]);
			strbuf_printf(&cmd, " %s", argv[i]);
		}
	else
		strbuf_puts(&cmd, " -o user,pid,ppid,pcpu,etime,tty,time,args");
	if (r == 0 && argc == 1)
		for (size_t i = 0; i < n; i++)
			strbuf_printf(&cmd, " -p %d", (int)pids[i]);
	FILE *f = r == 0 ? popen(strbuf_str(&cmd), "re") : NULL;
	char line[8192];
	int column = -1;
	while (f && fgets(line, sizeof(line), f)) {
		char copy[8192], *save = NULL;
		int field = 0;
		bool keep = column < 0 || argc == 1;
		strcpy(copy, line);
		for (char *w = strtok_r(copy, " \n", &save); w; w = strtok_r(NULL, " \n", &save), field++) {
			if (column < 0 && streq(w, "PID")) {
				column = field;
				break;
			}
			for (size_t i = 0; column >= 0 && field == column && i < n; i++)
				keep |= atoi(w) == (int)pids[i];
		}
		if (keep) {
			fputs(line, stdout);
			shown++;
		}
	}
	if (f && pclose(f) != 0 && !shown)
		r = err_set(e, -EIO, "ps failed (Debian: apt-get install procps)");
out:
	free(pids);
	if (k)
		ctr_free(k);
	people_close(&p);
	return r;
}

const struct command cmd_ps = { .name = "ps", .operands = "", .summary = "List containers", OPTS(ps_rows), .min_args = 0, .max_args = 0, .run = c_ps };
const struct command cmd_inspect = { .name = "inspect", .operands = "NAME...", .summary = "Show everything about containers or images", OPTS(inspect_rows), .min_args = 1, .max_args = -1, .operand_kind = 'c',
	.run = c_inspect };
const struct command cmd_port = { .name = "port", .operands = "CONTAINER [PORT[/PROTO]]", .summary = "Show published ports", .min_args = 1, .max_args = 2, .operand_kind = 'c', .run = c_port };
const struct command cmd_top = { .name = "top", .operands = "CONTAINER [PS-OPTION...]", .summary = "Show the processes of a container", .min_args = 1, .max_args = -1, .operand_kind = 'c',
	.flags = CMD_STOP_AT_OPERAND, .run = c_top };
