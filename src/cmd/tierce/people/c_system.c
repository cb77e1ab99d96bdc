/* info, version, generate systemd. */
#include <errno.h>
#include <stdio.h>
#include <sys/utsname.h>

#include "cmd/tierce/people/pod.h"
#include "confine/cgroup.h"

struct info_opts { const char *format; };
static const struct opt info_rows[] = { { .name = "format", .short_name = 'f', .kind = OPT_STRING, .offset = offsetof(struct info_opts, format), .arg = "TEMPLATE", .help = "a template, or json" } };

static int show(const struct info_opts *o, struct people *p, struct strbuf *json, struct err *e) {
	struct json *j;
	int r = json_parse(&p->arena, json->s, json->len, &j, e);
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	if (r == 0 && o->format && !streq(o->format, "json")) {
		r = format_template(o->format, j, &out, e);
		if (r == 0)
			puts(strbuf_str(&out));
	} else if (r == 0) {
		fputs(strbuf_str(json), stdout);
	}
	return r;
}

/* ID and VERSION_ID of /etc/os-release, quotes taken off. */
static void write_distribution(struct json_writer *w) {
	char line[512], id[128] = "unknown", version[128] = "";
	FILE *f = fopen("/etc/os-release", "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *to = str_has_prefix(line, "ID=") ? id : str_has_prefix(line, "VERSION_ID=") ? version : NULL, *value = strchr(line, '=');
		if (!to || !value)
			continue;
		value += 1 + strspn(value + 1, "\"'");
		snprintf(to, sizeof(id), "%.*s", (int)strcspn(value, "\"'\n"), value);
	}
	if (f)
		fclose(f);
	jw_key(w, "distribution");
	jw_object(w);
	jw_kv_string(w, "distribution", id);
	jw_kv_string(w, "version", version);
	jw_object_end(w);
}

static int c_info(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e) {
	static const char *const modes[] = { "none", "v1", "hybrid", "v2" };
	struct people p;
	struct pctr **v;
	size_t n, running = 0, paused = 0;
	struct utsname u;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct json_writer w;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = pctr_list(&p, &v, &n, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		running += streq(v[i]->state, "running");
		paused += streq(v[i]->state, "paused");
	}
	uname(&u);
	jw_init(&w, &out, 2);
	jw_object(&w);
	jw_key(&w, "host");
	jw_object(&w);
	jw_kv_string(&w, "arch", u.machine);
	jw_kv_string(&w, "kernel", u.release);
	jw_kv_string(&w, "hostname", u.nodename);
	jw_kv_i64(&w, "cpus", sysconf(_SC_NPROCESSORS_ONLN));
	jw_kv_i64(&w, "memTotal", (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
	jw_kv_string(&w, "cgroupVersion", modes[cgroup_host_mode()]);
	jw_kv_string(&w, "cgroupManager", "cgroupfs");
	jw_kv_string(&w, "os", "linux");
	jw_kv_string(&w, "logDriver", "k8s-file");
	jw_kv_string(&w, "eventLogger", t->global.events_backend ? t->global.events_backend : "file");
	jw_kv_string(&w, "networkBackend", "cni");
	write_distribution(&w);
	jw_key(&w, "ociRuntime");
	jw_object(&w);
	jw_kv_string(&w, "name", "tierce");
	jw_kv_string(&w, "path", p.self);
	jw_kv_string(&w, "version", TIERCE_VERSION_TEXT);
	jw_object_end(&w);
	jw_key(&w, "security");
	jw_object(&w);
	jw_kv_bool(&w, "rootless", p.rootless);
	jw_kv_bool(&w, "seccompEnabled", true);
	jw_kv_bool(&w, "apparmorEnabled", access("/sys/module/apparmor", F_OK) == 0 && access("/sys/kernel/security/apparmor", F_OK) == 0);
	jw_kv_bool(&w, "selinuxEnabled", access("/sys/fs/selinux/enforce", F_OK) == 0);
	jw_object_end(&w);
	jw_kv_bool(&w, "rootless", p.rootless);
	jw_key(&w, "isolation");
	jw_object(&w);
	for (const struct tier_ops *const *tier = p.eng.tiers; *tier; tier++) {
		struct tier_probe probe = { 0 };
		int k = (*tier)->probe ? (*tier)->probe(&probe) : -ENOTSUP;
		jw_kv_string(&w, (*tier)->name, k == 0 && probe.usable ? "usable" : *probe.reason ? probe.reason : "not usable");
	}
	jw_object_end(&w);
	jw_object_end(&w);
	jw_key(&w, "store");
	jw_object(&w);
	jw_kv_string(&w, "graphRoot", p.data_dir);
	jw_kv_string(&w, "graphDriverName", "erofs");
	jw_kv_string(&w, "runRoot", p.run_dir);
	jw_key(&w, "containerStore");
	jw_object(&w);
	jw_kv_u64(&w, "number", n);
	jw_kv_u64(&w, "running", running);
	jw_kv_u64(&w, "paused", paused);
	jw_kv_u64(&w, "stopped", n - running - paused);
	jw_object_end(&w);
	jw_object_end(&w);
	jw_key(&w, "version");
	jw_object(&w);
	jw_kv_string(&w, "Version", TIERCE_VERSION_TEXT);
	jw_object_end(&w);
	jw_object_end(&w);
	r = jw_finish(&w);
	if (r == 0)
		r = show(opts, &p, &out, e);
	people_close(&p);
	return r;
}

static int c_version(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e) {
	const struct info_opts *o = opts;
	struct people p;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct utsname u;
	int r = tierce_people(t, &p, e);
	uname(&u);
	if (r == 0 && !o->format) {
		printf("Version:  %s\nOS/Arch:  linux/%s\nKernel:   %s\n", TIERCE_VERSION_TEXT, u.machine, u.release);
	} else if (r == 0) {
		strbuf_printf(&out, "{\"Client\":{\"Version\":\"%s\",\"Os\":\"linux\",\"Arch\":\"%s\"}}", TIERCE_VERSION_TEXT, u.machine);
		r = show(o, &p, &out, e);
	}
	people_close(&p);
	return r;
}

/* ---- generate systemd -------------------------------------------------------------------------------------------------------------------------- */

struct generate_opts { bool files, name, new_; const char *restart, *time; };
static const struct opt generate_rows[] = {
	{ .name = "files", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct generate_opts, files), .help = "write tierce-NAME.service here instead of printing it" },
	{ .name = "name", .short_name = 'n', .kind = OPT_FLAG, .offset = offsetof(struct generate_opts, name), .help = "use the name, not the id, in the file's name" },
	{ .name = "new", .kind = OPT_FLAG, .offset = offsetof(struct generate_opts, new_), .help = "refused: the unit starts the existing container", .flags = OPT_HIDDEN },
	{ .name = "restart-policy", .kind = OPT_STRING, .offset = offsetof(struct generate_opts, restart), .arg = "POLICY", .help = "Restart= of the unit (default on-failure)" },
	{ .name = "time", .short_name = 't', .kind = OPT_STRING, .offset = offsetof(struct generate_opts, time), .arg = "SECONDS", .help = "time before the kill on stop (default 10)" },
};

static int c_generate(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e) {
	const struct generate_opts *o = opts;
	struct people p;
	struct pctr *c = NULL;
	struct pod *pod = NULL;
	int64_t seconds = 10;
	int r = tierce_people(t, &p, e);
	if (r == 0 && o->new_)
		r = err_set(e, -ENOTSUP, "generate systemd --new is not there: create the container first, the unit starts it");
	if (r == 0 && o->time)
		r = parse_number("--time", o->time, 0, 86400, &seconds, e);
	if (r == 0 && pctr_find(&p, argv[0], &c, NULL) < 0) {
		c = NULL;
		r = pod_find(&p, argv[0], &pod, NULL);
		if (r < 0)
			r = err_set(e, -ENOENT, "%s: no such container or pod", argv[0]);
	}
	if (r < 0)
		return r;
	const char *name = c ? (o->name ? c->name : c->id) : (o->name ? pod->name : pod->id), *what = c ? "container" : "pod", *id = c ? c->id : pod->id;
	const char *prefix = arena_printf(&p.arena, "%s --root %s --runroot %s", p.self, p.data_dir, p.run_dir);
	FILE *f = stdout;
	const char *file = arena_printf(&p.arena, "tierce-%s-%s.service", what, name);
	if (o->files && !(f = fopen(file, "we")))
		return err_sys(e, errno, "write %s", file);
	fprintf(f, "# %s\n# made by `tierce generate systemd`\n\n[Unit]\nDescription=Tierce %s %s\nDocumentation=man:tierce(1)\nWants=network-online.target\nAfter=network-online.target\nRequiresMountsFor=%s\n\n"
		"[Service]\nRestart=%s\nTimeoutStopSec=%lld\n", file, what, c ? c->name : pod->name, p.data_dir, o->restart ? o->restart : "on-failure", (long long)seconds + 60);
	if (c)
		fprintf(f, "Type=exec\nExecStart=%s start --attach --sig-proxy=false %s\nExecStop=%s stop -t %lld %s\n", prefix, id, prefix, (long long)seconds, id);
	else
		fprintf(f, "Type=oneshot\nRemainAfterExit=yes\nExecStart=%s pod start %s\nExecStop=%s pod stop -t %lld %s\n", prefix, id, prefix, (long long)seconds, id);
	fprintf(f, "\n[Install]\nWantedBy=multi-user.target\n");
	if (o->files) {
		if (fclose(f) != 0)
			r = err_sys(e, errno, "write %s", file);
		else
			puts(file);
	}
	people_close(&p);
	return r;
}

const struct command cmd_info = { .name = "info", .operands = "", .summary = "Show what this host can do", OPTS(info_rows), .min_args = 0, .max_args = 0, .run = c_info };
const struct command cmd_system_info = { .name = "system info", .operands = "", .summary = "Show what this host can do", OPTS(info_rows), .min_args = 0, .max_args = 0, .run = c_info };
const struct command cmd_version = { .name = "version", .operands = "", .summary = "Show the version", OPTS(info_rows), .min_args = 0, .max_args = 0, .run = c_version };
const struct command cmd_generate_systemd = { .name = "generate systemd", .operands = "CONTAINER|POD", .summary = "Write a systemd unit", OPTS(generate_rows), .min_args = 1, .max_args = 1, .operand_kind = 'c',
	.run = c_generate };
