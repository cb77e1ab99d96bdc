/* ps: the containers that there are and how they are. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cmd/tierce/people/commands.h"

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
	if (streq(key, "restart-policy")) {
		const char *have = c->opts.restart ? c->opts.restart : "no";
		return streq(value, "none") ? streq(have, "no") : strncmp(have, value, strcspn(have, ":")) == 0 && strlen(value) == strcspn(have, ":");
	}
	if (streq(key, "until")) {
		int64_t then;
		return parse_since("--filter until", value, &then, NULL) == 0 && rfc3339_seconds(c->created) < then;
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

static bool known_policy(const char *s) {
	static const char *const policies[] = { "no", "always", "on-failure", "unless-stopped", "none" };
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		if (streq(policies[i], s))
			return true;
	return false;
}

int pctr_filter(struct pctr *c, const struct opt_list *l, struct people *p, bool *ret, struct err *e) {
	static const char *const known[] = { "name", "id", "status", "exited", "ancestor", "pod", "health", "network", "volume", "label", "before", "since", "restart-policy", "until" };
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
			return err_set(e, -EINVAL, "--filter \"%s\": \"%s\" is an invalid filter (name, id, status, exited, ancestor, pod, health, network, volume, label, before, since, restart-policy, until)",
				l->v[i], key);
		if (streq(key, "restart-policy") && !known_policy(eq + 1))
			return err_set(e, -EINVAL, "%s invalid restart policy", eq + 1);
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

struct ps_opts { bool all, external, quiet, no_trunc, latest, size, noheading, pod, sync; const char *format, *sort, *last; struct opt_list filter; };
#define AT(m) offsetof(struct ps_opts, m)
static const struct opt ps_rows[] = {
	{ .name = "all", .short_name = 'a', .kind = OPT_FLAG, .offset = AT(all), .help = "also those that do not run" },
	{ .name = "external", .kind = OPT_FLAG, .offset = AT(external), .help = "no effect: containers of other tools are not in this store", .flags = OPT_ACCEPTED },
	{ .name = "filter", .short_name = 'f', .kind = OPT_LIST, .offset = AT(filter), .arg = "KEY=VALUE", .help = "only those that match" },
	{ .name = "format", .kind = OPT_STRING, .offset = AT(format), .arg = "FORMAT", .help = "json, or a template such as {{.ID}} {{.Names}}" },
	{ .name = "last", .short_name = 'n', .kind = OPT_STRING, .offset = AT(last), .arg = "N", .help = "the N made last" },
	{ .name = "latest", .short_name = 'l', .kind = OPT_FLAG, .offset = AT(latest), .help = "the one made last" },
	{ .name = "no-trunc", .kind = OPT_FLAG, .offset = AT(no_trunc), .help = "whole ids and commands" },
	{ .name = "noheading", .kind = OPT_FLAG, .offset = AT(noheading), .help = "no heading" },
	{ .name = "pod", .short_name = 'p', .kind = OPT_FLAG, .offset = AT(pod), .help = "show the pod" },
	{ .name = "quiet", .short_name = 'q', .kind = OPT_FLAG, .offset = AT(quiet), .help = "ids only" },
	{ .name = "sort", .kind = OPT_STRING, .offset = AT(sort), .arg = "created|command|id|image|names|runningfor|status", .complete = COMPLETE_WORDS, .help = "order (default created, newest first)" },
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
		{ "Pod", c->pod_id ? arena_printf(&c->p->arena, "%.*s", o->no_trunc ? 64 : 12, c->pod_id) : "", NULL, NULL },
	};
	return fmt_row(f, v, ARRAY_SIZE(v), e);
}

/* ---- order ------------------------------------------------------------------------------------------------------------------------------ */

static int by_created(const void *a, const void *b) { return strcmp((*(struct pctr *const *)b)->created, (*(struct pctr *const *)a)->created); }
static int by_id(const void *a, const void *b) { return strcmp((*(struct pctr *const *)a)->id, (*(struct pctr *const *)b)->id); }
static int by_image(const void *a, const void *b) { return strcmp((*(struct pctr *const *)a)->image, (*(struct pctr *const *)b)->image); }
static int by_name(const void *a, const void *b) { return strcmp((*(struct pctr *const *)a)->name, (*(struct pctr *const *)b)->name); }
static int by_state(const void *a, const void *b) { return strcmp((*(struct pctr *const *)a)->state, (*(struct pctr *const *)b)->state); }
static int by_started(const void *a, const void *b) {
	uint64_t x = (*(struct pctr *const *)a)->status.started, y = (*(struct pctr *const *)b)->status.started;
	return (x < y) - (x > y);
}
static int by_command(const void *a, const void *b) {
	_cleanup_strbuf_ struct strbuf x = STRBUF_INIT, y = STRBUF_INIT;
	command_text(*(struct pctr *const *)a, &x);
	command_text(*(struct pctr *const *)b, &y);
	return strcmp(strbuf_str(&x), strbuf_str(&y));
}

static int sort_rows(struct pctr **v, size_t n, const char *how, struct err *e) {
	static const struct { const char *name; int (*cmp)(const void *, const void *); } orders[] = {
		{ "created", by_created }, { "command", by_command }, { "id", by_id }, { "image", by_image }, { "names", by_name }, { "runningfor", by_started }, { "status", by_state },
	};
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		if (streq(orders[i].name, how)) {
			if (n)
				qsort(v, n, sizeof(*v), orders[i].cmp);
			return 0;
		}
	return err_set(e, -EINVAL, "--sort \"%s\" is not created, command, id, image, names, runningfor or status", how);
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
	if (r == 0 && o->sort)
		r = sort_rows(v, n, o->sort, e);
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
		r = pctr_filter(v[i], &o->filter, &p, &fits, e);
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

const struct command cmd_ps = { .name = "ps", .operands = "", .summary = "List containers", OPTS(ps_rows), .min_args = 0, .max_args = 0, .run = c_ps };
