/* inspect: everything about containers and images. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/tierce/people/commands.h"
#include "sys/fd.h"

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

void write_label_members(struct json_writer *w, const struct pctr *c) {
	for (const struct json *m = json_first(json_get(c->image_config, "Labels")); m; m = m->next)
		if (m->type == JSON_STRING)
			jw_kv_string(w, m->key, m->text);
	for (size_t i = 0; i < c->opts.label.n; i++) {
		const char *eq = strchr(c->opts.label.v[i], '=');
		jw_key(w, eq ? arena_strndup(&c->p->arena, c->opts.label.v[i], (size_t)(eq - c->opts.label.v[i])) : c->opts.label.v[i]);
		jw_string(w, eq ? eq + 1 : "");
	}
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
	jw_key(w, "Labels");
	jw_object(w);
	write_label_members(w, c);
	jw_object_end(w);
	write_strings(w, "Annotations", &o->annotation);
	jw_kv_string(w, "StopSignal", o->stop_signal ? o->stop_signal : json_str(c->image_config, "StopSignal", "SIGTERM"));
	jw_kv_i64(w, "StopTimeout", o->stop_timeout ? atoll(o->stop_timeout) : 10);
	jw_object_end(w);
}

static const char *log_option(const struct pctr *c, const char *key, const char *dflt) {
	size_t n = strlen(key);
	for (size_t i = c->opts.log_opt.n; i-- > 0;)
		if (strncmp(c->opts.log_opt.v[i], key, n) == 0 && c->opts.log_opt.v[i][n] == '=')
			return c->opts.log_opt.v[i] + n + 1;
	return dflt;
}

static const char *log_path(const struct pctr *c) {
	return log_option(c, "path", arena_printf(&c->p->arena, "%s/ctr.log", c->dir));
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
	jw_kv_string(w, "Path", log_path(c));
	jw_kv_string(w, "Tag", log_option(c, "tag", ""));
	jw_kv_string(w, "Size", log_option(c, "max-size", "0B"));
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
	const char *bundle = c->dir;
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
	jw_kv_string(w, "LogPath", log_path(c));
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
	{ .name = "latest", .short_name = 'l', .kind = OPT_FLAG, .offset = offsetof(struct inspect_opts, latest), .help = "the container made last" },
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
	struct pctr **all;
	size_t n_all;
	char *newest[1];
	if (r == 0 && o->latest && !argc && (r = pctr_list(&p, &all, &n_all, e)) == 0) {
		if (!n_all)
			r = err_set(e, -ENOENT, "there is no container");
		else {
			newest[0] = (char *)(uintptr_t)all[0]->id;
			argv = newest;
			argc = 1;
		}
	}
	if (r == 0 && !argc)
		r = err_set(e, -EINVAL, "inspect takes at least one name (or --latest)");
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

const struct command cmd_inspect = { .name = "inspect", .operands = "NAME...", .summary = "Show everything about containers or images", OPTS(inspect_rows), .min_args = 0, .max_args = -1, .operand_kind = 'c',
	.run = c_inspect };
