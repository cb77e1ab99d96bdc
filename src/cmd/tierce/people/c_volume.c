/* volume create, ls, rm, prune, inspect, exists, export, import, mount, unmount. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "cmd/tierce/people/commands.h"
#include "sys/fd.h"

/* ---- one volume ---------------------------------------------------------------------------------------------------------------------- */

struct volume { const char *name, *data, *device; int64_t created; bool anonymous; struct json *doc; };

static int volume_find(struct people *p, const char *name, struct volume *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	char path[4200];
	snprintf(path, sizeof(path), "%s/volumes/%s/volume.json", p->data_dir, name);
	int r = name_ok(name) ? file_read_at(AT_FDCWD, path, &text, 65536) : -ENOENT;
	if (r == 0)
		r = json_parse(&p->arena, text.s, text.len, &ret->doc, NULL);
	if (r < 0)
		return err_set(e, -ENOENT, "no volume with name \"%s\" found: no such volume", name);
	const struct json *anonymous = json_get(ret->doc, "anonymous");
	ret->name = arena_strdup(&p->arena, name);
	ret->device = json_str(json_get(ret->doc, "options"), "device", NULL);
	ret->data = ret->device ? ret->device : arena_printf(&p->arena, "%s/volumes/%s/_data", p->data_dir, name);
	ret->created = 0;
	(void)!json_i64(json_get(ret->doc, "created"), &ret->created);
	ret->anonymous = anonymous && anonymous->type == JSON_BOOL && anonymous->boolean;
	return ret->name && ret->data ? 0 : err_sys(e, -ENOMEM, "read a volume");
}

static int by_name(const void *a, const void *b) { return strcmp(((const struct volume *)a)->name, ((const struct volume *)b)->name); }

/* All, by name. Directories without a description (half-made by a crash) are left out. */
static int volume_list(struct people *p, struct volume **ret, size_t *n, struct err *e)
{
	char path[4200];
	size_t cap = 0;
	snprintf(path, sizeof(path), "%s/volumes", p->data_dir);
	DIR *d = opendir(path);
	struct dirent *ent;
	*ret = NULL;
	*n = 0;
	while (d && (ent = readdir(d))) {
		if (*n == cap) {
			struct volume *more = arena_array(&p->arena, cap ? 2 * cap : 64, struct volume);
			if (!more) {
				closedir(d);
				return err_sys(e, -ENOMEM, "list volumes");
			}
			if (*n)
				memcpy(more, *ret, *n * sizeof(*more));
			*ret = more;
			cap = cap ? 2 * cap : 64;
		}
		if (ent->d_name[0] != '.' && volume_find(p, ent->d_name, &(*ret)[*n], NULL) == 0)
			++*n;
	}
	if (d)
		closedir(d);
	if (*n)
		qsort(*ret, *n, sizeof(**ret), by_name);
	return 0;
}

/* A container that names the volume, or owns it as an anonymous one; NULL: none. */
static struct pctr *used_by(struct people *p, const char *name)
{
	struct pctr **v;
	size_t n, len = strlen(name);
	if (pctr_list(p, &v, &n, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		char path[4200], line[4608];
		bool found = false;
		for (size_t k = 0; k < v[i]->opts.volume.n; k++)
			found |= strncmp(v[i]->opts.volume.v[k], name, len) == 0 && v[i]->opts.volume.v[k][len] == ':';
		for (size_t k = 0; k < v[i]->opts.mount.n; k++) {
			const char *s = strstr(v[i]->opts.mount.v[k], name);
			found |= s && s > v[i]->opts.mount.v[k] && s[-1] == '=' && (s[len] == ',' || !s[len]);
		}
		snprintf(path, sizeof(path), "%s/anonymous-volumes", v[i]->dir);
		FILE *f = fopen(path, "re");
		while (f && !found && fgets(line, sizeof(line), f))
			found = strncmp(line, name, len) == 0 && line[len] == ' ';
		if (f)
			fclose(f);
		if (found)
			return v[i];
	}
	return NULL;
}

/* ---- filters ------------------------------------------------------------------------------------------------------------------------- */

static bool label_fits(const struct volume *v, const char *want)
{
	const char *eq = strchr(want, '=');
	for (const struct json *m = json_first(json_get(v->doc, "labels")); m; m = m->next)
		if (strlen(m->key) == (eq ? (size_t)(eq - want) : strlen(want)) && strncmp(m->key, want, strlen(m->key)) == 0 && (!eq || (m->type == JSON_STRING && streq(m->text, eq + 1))))
			return true;
	return false;
}

static int name_fits(const struct volume *v, const char *pattern, bool *ret, struct err *e)
{
	regex_t re;
	if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return err_set(e, -EINVAL, "--filter name=%s: no regular expression", pattern);
	*ret = regexec(&re, v->name, 0, NULL, 0) == 0;
	regfree(&re);
	return 0;
}

/* Different keys must all match, values of one key are alternatives. */
static int volume_filter(struct people *p, const struct volume *v, const struct opt_list *l, bool *ret, struct err *e)
{
	static const char *const keys[] = { "name=", "label=", "label!=", "driver=", "scope=", "dangling=", "until=", "after=", "since=", "opt=" };
	*ret = true;
	for (size_t i = 0; i < l->n; i++) {
		size_t k = 0;
		while (k < ARRAY_SIZE(keys) && !str_has_prefix(l->v[i], keys[k]))
			k++;
		if (k == ARRAY_SIZE(keys))
			return err_set(e, -EINVAL, "\"%.*s\" is an invalid volume filter (name, label, label!, driver, scope, dangling, until, after, since, opt)", (int)strcspn(l->v[i], "="), l->v[i]);
	}
	for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
		bool asked = false, any = false;
		for (size_t i = 0; i < l->n; i++) {
			const char *value = l->v[i] + strlen(keys[k]);
			bool fits = false;
			int64_t then;
			struct volume other;
			int r = 0;
			if (!str_has_prefix(l->v[i], keys[k]))
				continue;
			asked = true;
			if (streq(keys[k], "name="))
				r = name_fits(v, value, &fits, e);
			else if (streq(keys[k], "label="))
				fits = label_fits(v, value);
			else if (streq(keys[k], "label!="))
				fits = !label_fits(v, value);
			else if (streq(keys[k], "driver=") || streq(keys[k], "scope="))
				fits = streq(value, "local");
			else if (streq(keys[k], "opt="))
				fits = json_get(json_get(v->doc, "options"), value) != NULL;
			else if (streq(keys[k], "dangling=")) {
				r = parse_bool("--filter dangling", value, true, &fits, e);
				fits = fits == !used_by(p, v->name);
			} else if (streq(keys[k], "until=")) {
				r = parse_since("--filter until", value, &then, e);
				fits = r == 0 && v->created < then;
			} else {
				r = volume_find(p, value, &other, e);
				fits = r == 0 && v->created > other.created;
			}
			if (r < 0)
				return r;
			any |= fits;
		}
		*ret &= !asked || any;
	}
	return 0;
}

/* ---- create -------------------------------------------------------------------------------------------------------------------------- */

struct create_opts { struct opt_list label, opt; const char *driver; bool ignore; };
#define AT(m) offsetof(struct create_opts, m)
static const struct opt create_rows[] = {
	{ .name = "driver", .short_name = 'd', .kind = OPT_STRING, .offset = AT(driver), .arg = "DRIVER", .help = "local (the only one)" },
	{ .name = "ignore", .kind = OPT_FLAG, .offset = AT(ignore), .help = "a volume that exists is no error" },
	{ .name = "label", .short_name = 'l', .kind = OPT_LIST, .offset = AT(label), .arg = "KEY=VALUE", .help = "set a label" },
	{ .name = "opt", .short_name = 'o', .kind = OPT_LIST, .offset = AT(opt), .arg = "KEY=VALUE", .help = "type=bind with device=DIR: a directory of the host; o=OPTIONS of its mount" },
};
#undef AT

static void write_pairs(struct json_writer *w, const char *key, const struct opt_list *l, struct arena *a)
{
	jw_key(w, key);
	jw_object(w);
	for (size_t i = 0; i < l->n; i++) {
		const char *eq = strchr(l->v[i], '=');
		jw_kv_string(w, eq ? arena_strndup(a, l->v[i], (size_t)(eq - l->v[i])) : l->v[i], eq ? eq + 1 : "");
	}
	jw_object_end(w);
}

static const char *option_of(const struct opt_list *l, const char *key)
{
	size_t n = strlen(key);
	for (size_t i = l->n; i-- > 0;)
		if (strncmp(l->v[i], key, n) == 0 && l->v[i][n] == '=')
			return l->v[i] + n + 1;
	return NULL;
}

static int check_options(const struct opt_list *l, struct err *e)
{
	struct stat st;
	const char *type = option_of(l, "type"), *device = option_of(l, "device"), *o = option_of(l, "o");
	for (size_t i = 0; i < l->n; i++)
		if (!str_has_prefix(l->v[i], "type=") && !str_has_prefix(l->v[i], "device=") && !str_has_prefix(l->v[i], "o="))
			return err_set(e, -EINVAL, "--opt \"%s\" is not type=, device= or o=", l->v[i]);
	if (!l->n)
		return 0;
	bool bind = type && (streq(type, "bind") || (streq(type, "none") && o && strstr(o, "bind")));
	if (!bind && (type || device))
		return err_set(e, -ENOTSUP, "--opt type=%s is not supported: type=bind (or type=none,o=bind) with device=DIR; mount other file systems first", type ? type : "");
	if (!device)
		return err_set(e, -EINVAL, "--opt type=%s needs device=DIR", type ? type : "");
	if (device[0] != '/' || stat(device, &st) < 0)
		return err_set(e, -ENOENT, "invalid volume option device for driver 'local': stat %s: no such file or directory", device);
	return S_ISDIR(st.st_mode) ? 0 : err_set(e, -ENOTDIR, "invalid volume option device for driver 'local': %s is no directory", device);
}

static int create(struct cli *t, const void *opts, int argc, char **argv, struct err *e)
{
	const struct create_opts *o = opts;
	struct people p;
	struct volume v;
	const char *path, *name = argc ? argv[0] : NULL;
	int r = tierce_people(t, &p, e);
	if (r == 0 && o->driver && !streq(o->driver, "local"))
		r = err_set(e, -ENOTSUP, "volume driver \"%s\" is not supported: local", o->driver);
	if (r == 0)
		r = check_options(&o->opt, e);
	if (r == 0 && !name) {
		struct timespec ts;
		clock_gettime(CLOCK_REALTIME, &ts);
		name = arena_printf(&p.arena, "vol%llx%lx", (unsigned long long)ts.tv_sec, ts.tv_nsec);
	}
	bool there = r == 0 && volume_find(&p, name, &v, NULL) == 0;
	if (there && !o->ignore)
		r = err_set(e, -EEXIST, "volume with name %s already exists: volume already exists", name);
	if (r == 0 && !there) {
		_cleanup_strbuf_ struct strbuf more = STRBUF_INIT;
		struct json_writer w;
		jw_init(&w, &more, 0);
		jw_object(&w);
		write_pairs(&w, "labels", &o->label, &p.arena);
		write_pairs(&w, "options", &o->opt, &p.arena);
		jw_object_end(&w);
		struct json *extra;
		r = jw_finish(&w) < 0 ? err_sys(e, -ENOMEM, "make volume") : json_parse(&p.arena, more.s, more.len, &extra, e);
		if (r == 0)
			r = volume_make(&p, name, NULL, extra, &path, e);
		if (r == 0)
			event_write(&p, "volume", "create", name, name);
	}
	if (r == 0)
		puts(name);
	people_close(&p);
	return r;
}

/* ---- ls, inspect ---------------------------------------------------------------------------------------------------------------------- */

struct list_opts { bool quiet, noheading; const char *format; struct opt_list filter; };
static const struct opt list_rows[] = {
	{ .name = "filter", .short_name = 'f', .kind = OPT_LIST, .offset = offsetof(struct list_opts, filter), .arg = "KEY=VALUE", .help = "only those that match: name=, label=, dangling=, until=, after=, opt=" },
	{ .name = "format", .kind = OPT_STRING, .offset = offsetof(struct list_opts, format), .arg = "FORMAT", .help = "json or a template such as {{.Name}}" },
	{ .name = "noheading", .short_name = 'n', .kind = OPT_FLAG, .offset = offsetof(struct list_opts, noheading), .help = "no heading" },
	{ .name = "quiet", .short_name = 'q', .kind = OPT_FLAG, .offset = offsetof(struct list_opts, quiet), .help = "names only" },
};

static const char *json_of(struct people *p, const struct json *j)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	if (!j)
		return "{}";
	jw_init(&w, &b, 0);
	jw_value(&w, j);
	return jw_finish(&w) < 0 ? "{}" : arena_strdup(&p->arena, strbuf_str(&b));
}

static bool needs_copy_up(struct people *p, const struct volume *v)
{
	char path[4200];
	snprintf(path, sizeof(path), "%s/volumes/%s/used", p->data_dir, v->name);
	return !v->device && access(path, F_OK) < 0;
}

static int list(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e)
{
	static const struct fmt_column columns[] = { { "Driver", "DRIVER" }, { "Name", "VOLUME NAME" } };
	const struct list_opts *o = opts;
	struct people p;
	struct volume *v;
	struct fmt f;
	size_t n = 0;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = volume_list(&p, &v, &n, e);
	if (r == 0)
		r = fmt_init(&f, o->quiet ? "{{.Name}}" : o->format, columns, 2, !o->noheading, e);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < n; i++) {
		bool fits;
		char day[40];
		r = volume_filter(&p, &v[i], &o->filter, &fits, e);
		if (r < 0 || !fits)
			continue;
		const char *labels = json_of(&p, json_get(v[i].doc, "labels")), *options = json_of(&p, json_get(v[i].doc, "options"));
		struct fmt_value row[] = { { "Driver", "local", NULL, NULL }, { "Name", v[i].name, NULL, NULL }, { "Mountpoint", v[i].data, NULL, NULL },
			{ "CreatedAt", rfc3339(v[i].created, day), NULL, NULL }, { "Labels", labels, labels, NULL }, { "Options", options, options, NULL }, { "Scope", "local", NULL, NULL },
			{ "Anonymous", v[i].anonymous ? "true" : "false", v[i].anonymous ? "true" : "false", NULL },
			{ "NeedsChown", needs_copy_up(&p, &v[i]) ? "true" : "false", needs_copy_up(&p, &v[i]) ? "true" : "false", NULL },
			{ "NeedsCopyUp", needs_copy_up(&p, &v[i]) ? "true" : "false", needs_copy_up(&p, &v[i]) ? "true" : "false", NULL } };
		r = fmt_row(&f, row, ARRAY_SIZE(row), e);
	}
	if (r == 0)
		r = fmt_end(&f, stdout, e);
	else
		fmt_free(&f);
	people_close(&p);
	return r;
}

struct inspect_opts { const char *format; bool all; };
static const struct opt inspect_rows[] = {
	{ .name = "all", .short_name = 'a', .kind = OPT_FLAG, .offset = offsetof(struct inspect_opts, all), .help = "all volumes" },
	{ .name = "format", .short_name = 'f', .kind = OPT_STRING, .offset = offsetof(struct inspect_opts, format), .arg = "TEMPLATE", .help = "a template such as {{.Name}}, or json" },
};

static void describe(struct people *p, const struct volume *v, struct json_writer *w)
{
	char day[40];
	jw_object(w);
	jw_kv_string(w, "Name", v->name);
	jw_kv_string(w, "Driver", "local");
	jw_kv_string(w, "Mountpoint", v->data);
	jw_kv_string(w, "CreatedAt", rfc3339(v->created, day));
	static const char *const maps[][2] = { { "Labels", "labels" }, { "Options", "options" } };
	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		jw_key(w, maps[i][0]);
		const struct json *m = json_get(v->doc, maps[i][1]);
		if (m) {
			jw_value(w, m);
		} else {
			jw_object(w);
			jw_object_end(w);
		}
	}
	jw_kv_string(w, "Scope", "local");
	jw_kv_bool(w, "Anonymous", v->anonymous);
	jw_kv_bool(w, "NeedsCopyUp", needs_copy_up(p, v));
	jw_object_end(w);
}

static int inspect(struct cli *t, const void *opts, int argc, char **argv, struct err *e)
{
	const struct inspect_opts *o = opts;
	struct people p;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct json_writer w;
	struct volume *all = NULL, one;
	size_t n = (size_t)argc;
	bool template = o->format && !streq(o->format, "json");
	int r = tierce_people(t, &p, e);
	if (r == 0 && !argc && !o->all)
		r = err_set(e, -EINVAL, "volume inspect takes at least one volume (or --all)");
	if (r == 0 && o->all)
		r = volume_list(&p, &all, &n, e);
	jw_init(&w, &out, 5);
	jw_array(&w);
	for (size_t i = 0; r == 0 && i < n; i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, line = STRBUF_INIT;
		struct json_writer ow;
		struct json *j;
		if (all)
			one = all[i];
		else if ((r = volume_find(&p, argv[i], &one, e)) < 0)
			break;
		jw_init(&ow, &text, 0);
		describe(&p, &one, &ow);
		r = jw_finish(&ow) < 0 ? err_sys(e, -ENOMEM, "inspect") : json_parse(&p.arena, text.s, text.len, &j, e);
		if (r == 0 && template && (r = format_template(o->format, j, &line, e)) == 0)
			puts(strbuf_str(&line));
		else if (r == 0)
			jw_value(&w, j);
	}
	jw_array_end(&w);
	if (!template && jw_finish(&w) == 0 && (r == 0 || out.len > 4))
		printf("%s\n", strbuf_str(&out));
	people_close(&p);
	return r;
}

/* ---- rm, prune, exists ------------------------------------------------------------------------------------------------------------------ */

struct rm_opts { bool all, force; const char *time; struct opt_list filter; };
static const struct opt rm_rows[] = {
	{ .name = "all", .short_name = 'a', .kind = OPT_FLAG, .offset = offsetof(struct rm_opts, all), .help = "all volumes" },
	{ .name = "force", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct rm_opts, force), .help = "remove the containers that use it; what does not exist is no error" },
	{ .name = "time", .short_name = 't', .kind = OPT_STRING, .offset = offsetof(struct rm_opts, time), .arg = "SECONDS", .help = "with --force: time before containers are killed (default 10)" },
};
static const struct opt prune_rows[] = {
	{ .name = "filter", .kind = OPT_LIST, .offset = offsetof(struct rm_opts, filter), .arg = "KEY=VALUE", .help = "only those that match: label=, label!=, until=" },
	{ .name = "force", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct rm_opts, force), .help = "do not ask" },
};

static int remove_one(struct people *p, const char *name, bool force, int64_t seconds, struct err *e)
{
	struct volume v;
	struct pctr *who;
	char path[4200];
	int r = volume_find(p, name, &v, e);
	if (r < 0)
		return r;
	while ((who = used_by(p, name))) {
		if (!force)
			return err_set(e, -EBUSY, "volume %s is being used by the following container(s): %s: volume is being used", name, who->id);
		r = pctr_remove(who, true, false, seconds, e);
		if (r < 0)
			return r;
	}
	snprintf(path, sizeof(path), "%s/volumes/%s", p->data_dir, name);
	r = remove_tree(AT_FDCWD, path, e);
	if (r == 0)
		event_write(p, "volume", "remove", name, name);
	return r;
}

/* Exit codes as podman-volume-rm(1): 1 when one did not exist, 2 when one was in use, 125 for anything else. */
static int rm(struct cli *t, const void *opts, int argc, char **argv, struct err *e)
{
	const struct rm_opts *o = opts;
	struct people p;
	struct volume *all = NULL;
	size_t n = (size_t)argc;
	int64_t seconds = -1;
	int r = tierce_people(t, &p, e);
	if (r == 0 && !argc && !o->all)
		r = err_set(e, -EINVAL, "volume rm: choose either volumes by name or --all");
	if (r == 0 && o->time)
		r = parse_number("--time", o->time, -1, INT32_MAX / 1000, &seconds, e);
	if (r == 0 && o->all)
		r = volume_list(&p, &all, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		_cleanup_err_ struct err one = ERR_INIT;
		const char *name = all ? all[i].name : argv[i];
		int k = remove_one(&p, name, o->force, seconds, &one);
		if (k == -ENOENT && o->force)
			continue;
		if (k < 0) {
			fprintf(stderr, "Error: %s\n", err_msg(&one));
			t->exit_code = k == -ENOENT ? 1 : k == -EBUSY ? 2 : 125;
		} else {
			puts(name);
		}
	}
	people_close(&p);
	return r;
}

static int prune(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e)
{
	const struct rm_opts *o = opts;
	struct people p;
	struct volume *v;
	size_t n = 0;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = volume_list(&p, &v, &n, e);
	size_t kept = 0;
	for (size_t i = 0; r == 0 && i < n; i++) {
		bool fits;
		r = volume_filter(&p, &v[i], &o->filter, &fits, e);
		if (r == 0 && fits && !used_by(&p, v[i].name))
			v[kept++] = v[i];
	}
	n = kept;
	if (r == 0 && !o->force) {
		puts(n ? "WARNING! This will remove all volumes not used by at least one container. The following volumes will be removed:" : "No dangling volumes found");
		for (size_t i = 0; i < n; i++)
			puts(v[i].name);
		if (!n || !confirmed())
			n = 0;
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = remove_one(&p, v[i].name, false, -1, e);
		if (r == 0)
			puts(v[i].name);
	}
	people_close(&p);
	return r;
}

static int exists(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv, struct err *e)
{
	struct people p;
	struct volume v;
	int r = tierce_people(t, &p, e);
	if (r < 0)
		return r;
	t->exit_code = volume_find(&p, argv[0], &v, NULL) == 0 ? 0 : 1;
	people_close(&p);
	return 0;
}

/* ---- export, import, mount --------------------------------------------------------------------------------------------------------------- */

static int tar_in(const char *dir, int in, int out, struct err *e)
{
	static const char *const pack[] = { "tar", "-cf", "-", "--numeric-owner", "--xattrs", ".", NULL }, *const unpack[] = { "tar", "-xpf", "-", "--numeric-owner", "--xattrs", NULL };
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		if (chdir(dir) < 0)
			_exit(125);
		if (in >= 0)
			dup2(in, 0);
		if (out >= 0)
			dup2(out, 1);
		execvp("tar", (char *const *)(uintptr_t)(out >= 0 ? pack : unpack));
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid < 0 || status ? err_set(e, -EIO, "tar failed in %s", dir) : 0;
}

struct export_opts { const char *output; };
static const struct opt export_rows[] = {
	{ .name = "output", .short_name = 'o', .kind = OPT_STRING, .offset = offsetof(struct export_opts, output), .complete = COMPLETE_FILE, .arg = "FILE", .help = "write to a file (default: standard output)" },
};

static int export(struct cli *t, const void *opts, int argc UNUSED, char **argv, struct err *e)
{
	const struct export_opts *o = opts;
	struct people p;
	struct volume v;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = volume_find(&p, argv[0], &v, e);
	if (r == 0 && !o->output && isatty(1))
		r = err_set(e, -EINVAL, "refusing to write a tar archive to a terminal: use --output FILE or a pipe");
	if (r == 0) {
		_cleanup_close_ int out = o->output ? open(o->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : dup(1);
		r = out < 0 ? err_sys(e, errno, "open %s", o->output) : tar_in(v.data, -EBADF, out, e);
		if (r < 0 && o->output && out >= 0)
			unlink(o->output);
	}
	people_close(&p);
	return r;
}

static int import(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv, struct err *e)
{
	struct people p;
	struct volume v;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = volume_find(&p, argv[0], &v, e);
	if (r == 0) {
		_cleanup_close_ int in = streq(argv[1], "-") ? dup(0) : open(argv[1], O_RDONLY | O_CLOEXEC);
		r = in < 0 ? err_sys(e, errno, "open %s", argv[1]) : tar_in(v.data, in, -EBADF, e);
	}
	people_close(&p);
	return r;
}

/* A volume is a directory of the host: it is always "mounted". */
static int mount_path(struct cli *t, const void *opts UNUSED, int argc, char **argv, struct err *e)
{
	struct people p;
	struct volume v;
	int r = tierce_people(t, &p, e);
	for (int i = 0; r == 0 && i < argc; i++) {
		r = volume_find(&p, argv[i], &v, e);
		if (r == 0)
			puts(v.data);
	}
	people_close(&p);
	return r;
}

static int unmount(struct cli *t, const void *opts UNUSED, int argc, char **argv, struct err *e)
{
	struct people p;
	struct volume v;
	int r = tierce_people(t, &p, e);
	for (int i = 0; r == 0 && i < argc; i++) {
		r = volume_find(&p, argv[i], &v, e);
		if (r == 0)
			puts(v.name);
	}
	people_close(&p);
	return r;
}

#define COMMAND(var, name_, operands_, summary_, rows_, min, max, fn) \
	const struct command var = { .name = name_, .operands = operands_, .summary = summary_, OPTS(rows_), .min_args = min, .max_args = max, .run = fn };
static const struct opt no_rows[0];
COMMAND(cmd_volume_create, "volume create", "[NAME]", "Make a volume", create_rows, 0, 1, create)
COMMAND(cmd_volume_ls, "volume ls", "", "List volumes", list_rows, 0, 0, list)
COMMAND(cmd_volume_rm, "volume rm", "VOLUME...", "Remove volumes", rm_rows, 0, -1, rm)
COMMAND(cmd_volume_prune, "volume prune", "", "Remove volumes that no container uses", prune_rows, 0, 0, prune)
COMMAND(cmd_volume_inspect, "volume inspect", "VOLUME...", "Show a volume", inspect_rows, 0, -1, inspect)
COMMAND(cmd_volume_exists, "volume exists", "VOLUME", "Exit with 0 when a volume exists, else with 1", no_rows, 1, 1, exists)
COMMAND(cmd_volume_export, "volume export", "VOLUME", "Write what a volume holds as a tar archive", export_rows, 1, 1, export)
COMMAND(cmd_volume_import, "volume import", "VOLUME FILE|-", "Unpack a tar archive into a volume", no_rows, 2, 2, import)
COMMAND(cmd_volume_mount, "volume mount", "VOLUME...", "Print the directory of a volume", no_rows, 1, -1, mount_path)
COMMAND(cmd_volume_unmount, "volume unmount", "VOLUME...", "The counterpart of volume mount", no_rows, 1, -1, unmount)
