/* events: what happened, and what happens. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "cmd/tierce/people/commands.h"
#include "sys/fd.h"

/* "Z", "+02:00" or "-0500" behind a time, possibly behind a fraction of a second; nothing is UTC. Seconds east of UTC. */
static bool parse_zone(const char *s, int64_t *ret)
{
	unsigned h, m;
	char sign;
	*ret = 0;
	if (*s == '.')
		s += 1 + strspn(s + 1, "0123456789");
	if (!*s || streq(s, "Z"))
		return true;
	if (sscanf(s, "%c%2u:%2u", &sign, &h, &m) != 3 && sscanf(s, "%c%2u%2u", &sign, &h, &m) != 3)
		return false;
	*ret = (sign == '-' ? -1 : 1) * (int64_t)(h * 3600 + m * 60);
	return sign == '-' || sign == '+';
}

int parse_since(const char *option, const char *s, int64_t *ret, struct err *e)
{
	static const char *const forms[] = { "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d" };
	uint64_t ns;
	int64_t v, zone;
	if (parse_i64(s, &v) == 0) {
		*ret = v;
		return 0;
	}
	if (s[0] && strspn(s, "0123456789.") == strlen(s)) { /* 1700000000.123456789 */
		*ret = (int64_t)strtod(s, NULL);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct tm tm = { 0 };
		const char *end = strptime(s, forms[i], &tm);
		if (end && parse_zone(end, &zone)) {
			*ret = (int64_t)timegm(&tm) - zone;
			return 0;
		}
	}
	int r = parse_duration(option, s, &ns, NULL);
	if (r < 0)
		return err_set(e, -EINVAL, "%s \"%s\" is neither a date, a Unix time, nor a time ago such as 10m", option, s);
	*ret = (int64_t)time(NULL) - (int64_t)(ns / 1000000000u);
	return 0;
}

struct events_opts { const char *since, *until, *format, *stream, *no_trunc; struct opt_list filter; };
#define AT(m) offsetof(struct events_opts, m)
static const struct opt events_rows[] = {
	{ .name = "filter", .short_name = 'f', .kind = OPT_LIST, .offset = AT(filter), .arg = "KEY=VALUE", .help = "container=, event=, image=, label=, pod=, type=, volume=" },
	{ .name = "format", .kind = OPT_STRING, .offset = AT(format), .arg = "FORMAT", .help = "json, or a template such as {{.Status}} {{.Name}}" },
	{ .name = "no-trunc", .kind = OPT_OPTSTR, .offset = AT(no_trunc), .arg = "BOOL", .help = "whole ids (default true)" },
	{ .name = "since", .kind = OPT_STRING, .offset = AT(since), .arg = "TIME", .help = "past events since then as well" },
	{ .name = "stream", .kind = OPT_STRING, .offset = AT(stream), .arg = "BOOL", .help = "wait for further events (default true)" },
	{ .name = "until", .kind = OPT_STRING, .offset = AT(until), .arg = "TIME", .help = "end then" },
};
#undef AT

struct events_view {
	const struct events_opts *o;
	int64_t since, until;
	bool trunc;
};

/* ---- filters: a row per key ---------------------------------------------------------------------------------------------------------- */

static bool is_id_or_name(const struct json *j, const char *value)
{
	return streq(json_str(j, "Name", ""), value) || str_has_prefix(json_str(j, "ID", ""), value);
}

static bool fits_container(const struct json *j, const char *v) { return streq(json_str(j, "Type", ""), "container") && is_id_or_name(j, v); }
static bool fits_volume(const struct json *j, const char *v) { return streq(json_str(j, "Type", ""), "volume") && is_id_or_name(j, v); }
static bool fits_type(const struct json *j, const char *v) { return streq(json_str(j, "Type", ""), v); }
static bool fits_pod(const struct json *j, const char *v)
{
	return (streq(json_str(j, "Type", ""), "pod") && is_id_or_name(j, v)) || (*v && str_has_prefix(json_str(j, "PodID", ""), v));
}
static bool fits_image(const struct json *j, const char *v)
{
	return strstr(json_str(j, "Image", ""), v) || (streq(json_str(j, "Type", ""), "image") && (strstr(json_str(j, "Name", ""), v) || str_has_prefix(json_str(j, "ID", ""), v)));
}
static bool fits_event(const struct json *j, const char *v)
{
	const char *status = json_str(j, "Status", "");
	return streq(status, v) || (streq(v, "die") && streq(status, "died"));
}
static bool fits_label(const struct json *j, const char *v)
{
	const char *eq = strchr(v, '=');
	for (const struct json *m = json_first(json_get(j, "Attributes")); m; m = m->next)
		if (strlen(m->key) == (eq ? (size_t)(eq - v) : strlen(v)) && strncmp(m->key, v, strlen(m->key)) == 0 && m->type == JSON_STRING && (!eq || streq(m->text, eq + 1)))
			return true;
	return false;
}

static const struct { const char *key; bool (*fits)(const struct json *j, const char *value); } filters[] = {
	{ "container=", fits_container }, { "event=", fits_event }, { "image=", fits_image }, { "label=", fits_label }, { "pod=", fits_pod }, { "status=", fits_event }, { "type=", fits_type },
	{ "volume=", fits_volume },
};

/* All keys must match; values of one key are alternatives. */
static bool event_fits(const struct json *j, const struct opt_list *l)
{
	for (size_t k = 0; k < ARRAY_SIZE(filters); k++) {
		bool asked = false, any = false;
		for (size_t i = 0; i < l->n; i++)
			if (str_has_prefix(l->v[i], filters[k].key)) {
				asked = true;
				any |= filters[k].fits(j, l->v[i] + strlen(filters[k].key));
			}
		if (asked && !any)
			return false;
	}
	return true;
}

static int check_filters(const struct opt_list *l, struct err *e)
{
	for (size_t i = 0; i < l->n; i++) {
		size_t k = 0;
		while (k < ARRAY_SIZE(filters) && !str_has_prefix(l->v[i], filters[k].key))
			k++;
		if (k == ARRAY_SIZE(filters))
			return err_set(e, -EINVAL, "--filter \"%s\" is not one of container=, event=, image=, label=, pod=, type=, volume=", l->v[i]);
	}
	return 0;
}

/* ---- output -------------------------------------------------------------------------------------------------------------------------- */

static void print_event(const struct json *j, int64_t when, bool trunc)
{
	char day[40];
	const char *type = json_str(j, "Type", ""), *id = json_str(j, "ID", "");
	bool container = streq(type, "container");
	printf("%s %s %s %.*s", rfc3339(when, day), type, json_str(j, "Status", ""), trunc ? 12 : 128, id);
	if (!container) {
		printf(" %s\n", json_str(j, "Name", ""));
		return;
	}
	printf(" (image=%s, name=%s", json_str(j, "Image", ""), json_str(j, "Name", ""));
	for (const struct json *m = json_first(json_get(j, "Attributes")); m; m = m->next)
		printf(", %s=%s", m->key, m->type == JSON_STRING ? m->text : "");
	puts(")");
}

static int show_event(const char *line, size_t n, const struct events_view *v, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	const char *format = v->o->format;
	struct json *j;
	int64_t when = 0;
	if (json_parse(&a, line, n, &j, NULL) < 0) /* a line cut by a crash */
		return 0;
	(void)!json_i64(json_get(j, "time"), &when);
	if (when < v->since || when > v->until || !event_fits(j, &v->o->filter))
		return 0;
	if (format && !streq(format, "json")) {
		int r = format_template(format, j, &out, e);
		if (r < 0)
			return r;
		puts(strbuf_str(&out));
	} else if (format) {
		printf("%.*s\n", (int)n, line);
	} else {
		print_event(j, when, v->trunc);
	}
	fflush(stdout);
	return 0;
}

/* Lines of the file from `at` on, then (stream) new ones as they come. */
static int show_file(const char *path, off_t at, bool stream, const struct events_view *v, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600), note = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int r = 0;
	if (fd < 0)
		return err_sys(e, errno, "open %s", path);
	inotify_add_watch(note, path, IN_MODIFY);
	if (at < 0)
		at = lseek(fd, 0, SEEK_END);
	while (r == 0) {
		char buf[65536];
		ssize_t n = pread(fd, buf, sizeof(buf), at);
		if (n > 0) {
			at += n;
			strbuf_add(&text, buf, (size_t)n);
			size_t used = 0;
			for (const char *nl; r == 0 && (nl = memchr(text.s + used, '\n', text.len - used)); used = (size_t)(nl - text.s) + 1)
				r = show_event(text.s + used, (size_t)(nl - text.s) - used, v, e);
			memmove(text.s, text.s + used, text.len - used);
			text.len -= used;
			continue;
		}
		if (!stream || (int64_t)time(NULL) >= v->until)
			break;
		struct pollfd pf = { note, POLLIN, 0 };
		poll(&pf, 1, v->until == INT64_MAX ? -1 : 500);
		while (read(note, buf, sizeof(buf)) > 0)
			;
	}
	return r;
}

static int c_events(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e)
{
	const struct events_opts *o = opts;
	struct events_view v = { .o = o, .since = 0, .until = INT64_MAX };
	struct people p;
	bool stream, whole;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = check_filters(&o->filter, e);
	if (r == 0 && t->global.events_backend && streq(t->global.events_backend, "none"))
		r = err_set(e, -ENOTSUP, "cannot read events with the \"none\" backend");
	if (r == 0)
		r = parse_bool("--stream", o->stream, true, &stream, e);
	if (r == 0)
		r = parse_bool("--no-trunc", o->no_trunc, true, &whole, e);
	if (r == 0 && o->since)
		r = parse_since("--since", o->since, &v.since, e);
	if (r == 0 && o->until)
		r = parse_since("--until", o->until, &v.until, e);
	if (r == 0) {
		v.trunc = !whole;
		r = show_file(arena_printf(&p.arena, "%s/events.log", p.data_dir), stream && !o->since ? -1 : 0, stream, &v, e);
	}
	people_close(&p);
	return r;
}

const struct command cmd_events = { .name = "events", .operands = "", .summary = "Show what happens", OPTS(events_rows), .min_args = 0, .max_args = 0, .run = c_events };
