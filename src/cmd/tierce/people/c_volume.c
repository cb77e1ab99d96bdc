/* volume, secret. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "cmd/tierce/people/commands.h"
#include "sys/fd.h"

static int by_text(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in DATA/what, sorted. */
static int names_in(struct people *p, const char *what, char ***ret, size_t *n, struct err *e) {
	char path[4200];
	char **v = NULL;
	snprintf(path, sizeof(path), "%s/%s", p->data_dir, what);
	DIR *d = opendir(path);
	struct dirent *ent;
	*n = 0;
	while (d && (ent = readdir(d)))
		if (ent->d_name[0] != '.' && strv_push(&v, n, ent->d_name) < 0) {
			closedir(d);
			strv_free(v);
			return err_sys(e, -ENOMEM, "list %s", what);
		}
	if (d)
		closedir(d);
	if (*n)
		qsort(v, *n, sizeof(*v), by_text);
	*ret = v;
	return 0;
}

/* ---- volumes --------------------------------------------------------------------------------------------------------------------------- */

static bool volume_used(struct people *p, const char *name, struct pctr **who) {
	struct pctr **v;
	size_t n;
	if (pctr_list(p, &v, &n, NULL) < 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		char path[4200], line[4608];
		size_t len = strlen(name);
		*who = v[i];
		for (size_t k = 0; k < v[i]->opts.volume.n; k++)
			if (strncmp(v[i]->opts.volume.v[k], name, len) == 0 && v[i]->opts.volume.v[k][len] == ':')
				return true;
		for (size_t k = 0; k < v[i]->opts.mount.n; k++) {
			const char *s = strstr(v[i]->opts.mount.v[k], name);
			if (s && s > v[i]->opts.mount.v[k] && s[-1] == '=' && (s[len] == ',' || !s[len]))
				return true;
		}
		snprintf(path, sizeof(path), "%s/anonymous-volumes", v[i]->dir);
		FILE *f = fopen(path, "re");
		bool found = false;
		while (f && !found && fgets(line, sizeof(line), f))
			found = strncmp(line, name, len) == 0 && line[len] == ' ';
		if (f)
			fclose(f);
		if (found)
			return true;
	}
	return false;
}

static int volume_create(struct cli *t, const void *opts UNUSED, int argc, char **argv, struct err *e) {
	struct people p;
	const char *path, *name = argc ? argv[0] : NULL;
	int r = tierce_people(t, &p, e);
	if (r == 0 && !name) {
		struct timespec ts;
		clock_gettime(CLOCK_REALTIME, &ts);
		name = arena_printf(&p.arena, "vol%llx%lx", (unsigned long long)ts.tv_sec, ts.tv_nsec);
	}
	if (r == 0)
		r = volume_ensure(&p, name, false, NULL, &path, e);
	if (r == 0) {
		puts(name);
		event_write(&p, "volume", "create", name, name);
	}
	people_close(&p);
	return r;
}

struct list_opts { bool quiet, noheading, force, all; const char *format; struct opt_list filter; };
static const struct opt list_rows[] = {
	{ .name = "format", .kind = OPT_STRING, .offset = offsetof(struct list_opts, format), .arg = "FORMAT", .help = "json or a template such as {{.Name}}" },
	{ .name = "noheading", .short_name = 'n', .kind = OPT_FLAG, .offset = offsetof(struct list_opts, noheading), .help = "no heading" },
	{ .name = "quiet", .short_name = 'q', .kind = OPT_FLAG, .offset = offsetof(struct list_opts, quiet), .help = "names only" },
};
static const struct opt force_rows[] = {
	{ .name = "all", .short_name = 'a', .kind = OPT_FLAG, .offset = offsetof(struct list_opts, all), .help = "all of them" },
	{ .name = "force", .short_name = 'f', .kind = OPT_FLAG, .offset = offsetof(struct list_opts, force), .help = "do not ask; what does not exist is no error" },
};
static const struct opt format_rows[] = {
	{ .name = "format", .short_name = 'f', .kind = OPT_STRING, .offset = offsetof(struct list_opts, format), .arg = "TEMPLATE", .help = "a template such as {{.Name}}" },
};

static int volume_ls(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e) {
	static const struct fmt_column columns[] = { { "Driver", "DRIVER" }, { "Name", "VOLUME NAME" } };
	const struct list_opts *o = opts;
	struct people p;
	struct fmt f;
	char **v = NULL;
	size_t n = 0;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = names_in(&p, "volumes", &v, &n, e);
	if (r == 0)
		r = fmt_init(&f, o->quiet ? "{{.Name}}" : o->format, columns, 2, !o->noheading, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct fmt_value row[] = { { "Driver", "local", NULL, NULL }, { "Name", v[i], NULL, NULL }, { "Mountpoint", arena_printf(&p.arena, "%s/volumes/%s/_data", p.data_dir, v[i]), NULL, NULL } };
		r = fmt_row(&f, row, ARRAY_SIZE(row), e);
	}
	if (r == 0)
		r = fmt_end(&f, stdout, e);
	strv_free(v);
	people_close(&p);
	return r;
}

static int volume_rm_one(struct people *p, const char *name, bool force, struct err *e) {
	struct pctr *who;
	char path[4200];
	snprintf(path, sizeof(path), "%s/volumes/%s", p->data_dir, name);
	if (!name_ok(name) || access(path, F_OK) < 0)
		return force ? 0 : err_set(e, -ENOENT, "no volume with name \"%s\" found: no such volume", name);
	if (volume_used(p, name, &who)) {
		if (!force)
			return err_set(e, -EBUSY, "volume %s is being used by the following container(s): %s: volume is being used", name, who->id);
		int r = pctr_remove(who, true, false, -1, e);
		if (r < 0)
			return r;
	}
	int r = remove_tree(AT_FDCWD, path, e);
	if (r == 0)
		event_write(p, "volume", "remove", name, name);
	return r;
}

static int volume_rm(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	const struct list_opts *o = opts;
	struct people p;
	char **v = NULL;
	size_t n = (size_t)argc;
	int r = tierce_people(t, &p, e);
	if (r == 0 && o->all)
		r = names_in(&p, "volumes", &v, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = volume_rm_one(&p, v ? v[i] : argv[i], o->force, e);
		if (r == 0)
			puts(v ? v[i] : argv[i]);
	}
	strv_free(v);
	people_close(&p);
	return r;
}

static int volume_prune(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv UNUSED, struct err *e) {
	struct people p;
	struct pctr *who;
	char **v = NULL;
	size_t n = 0;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = names_in(&p, "volumes", &v, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (volume_used(&p, v[i], &who))
			continue;
		r = volume_rm_one(&p, v[i], true, e);
		if (r == 0)
			puts(v[i]);
	}
	strv_free(v);
	people_close(&p);
	return r;
}

static int volume_inspect(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	const struct list_opts *o = opts;
	struct people p;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct json_writer w;
	int r = tierce_people(t, &p, e);
	jw_init(&w, &out, 4);
	jw_array(&w);
	for (int i = 0; r == 0 && i < argc; i++) {
		_cleanup_strbuf_ struct strbuf text = STRBUF_INIT, line = STRBUF_INIT;
		char path[4200], day[40];
		struct json *j;
		int64_t created = 0;
		snprintf(path, sizeof(path), "%s/volumes/%s/volume.json", p.data_dir, argv[i]);
		r = name_ok(argv[i]) ? file_read_at(AT_FDCWD, path, &text, 65536) : -ENOENT;
		if (r == 0)
			r = json_parse(&p.arena, text.s, text.len, &j, e);
		if (r < 0) {
			err_set(e, r, "no volume with name \"%s\" found: no such volume", argv[i]);
			break;
		}
		(void)!json_i64(json_get(j, "created"), &created);
		struct json_writer one;
		jw_init(&one, &line, 0);
		jw_object(&one);
		jw_kv_string(&one, "Name", argv[i]);
		jw_kv_string(&one, "Driver", "local");
		jw_kv_string(&one, "Mountpoint", arena_printf(&p.arena, "%s/volumes/%s/_data", p.data_dir, argv[i]));
		jw_kv_string(&one, "CreatedAt", rfc3339(created, day));
		jw_kv_bool(&one, "Anonymous", json_get(j, "anonymous") && json_get(j, "anonymous")->boolean);
		jw_object_end(&one);
		r = json_parse(&p.arena, line.s, line.len, &j, e);
		if (r == 0 && o->format) {
			_cleanup_strbuf_ struct strbuf s = STRBUF_INIT;
			r = format_template(o->format, j, &s, e);
			if (r == 0)
				puts(strbuf_str(&s));
		} else if (r == 0) {
			jw_value(&w, j);
		}
	}
	jw_array_end(&w);
	if (r == 0 && !o->format && jw_finish(&w) == 0)
		fputs(strbuf_str(&out), stdout);
	people_close(&p);
	return r;
}

static int volume_exists(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv, struct err *e) {
	struct people p;
	char path[4200];
	int r = tierce_people(t, &p, e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/volumes/%s/_data", p.data_dir, argv[0]);
	t->exit_code = name_ok(argv[0]) && access(path, F_OK) == 0 ? 0 : 1;
	people_close(&p);
	return 0;
}

/* ---- secrets ------------------------------------------------------------------------------------------------------------------------------ */

enum { SECRET_MAX = 512000 }; /* bytes: podman's bound */

static int secret_create(struct cli *t, const void *opts UNUSED, int argc UNUSED, char **argv, struct err *e) {
	struct people p;
	_cleanup_strbuf_ struct strbuf data = STRBUF_INIT;
	char path[4200];
	int r = tierce_people(t, &p, e);
	if (r < 0)
		return r;
	if (!name_ok(argv[0]))
		return err_set(e, -EINVAL, "invalid secret name \"%.80s\"", argv[0]);
	snprintf(path, sizeof(path), "%s/secrets/%s", p.data_dir, argv[0]);
	if (access(path, F_OK) == 0)
		return err_set(e, -EEXIST, "%s: secret name in use", argv[0]);
	r = streq(argv[1], "-") ? fd_read_rest(0, &data, SECRET_MAX) : file_read_at(AT_FDCWD, argv[1], &data, SECRET_MAX);
	if (r < 0)
		return err_sys(e, r, "read the secret from %s", argv[1]);
	if (!data.len)
		return err_set(e, -EINVAL, "the secret is empty (1 to %d bytes)", SECRET_MAX);
	_cleanup_close_ int dir = open(arena_printf(&p.arena, "%s/secrets", p.data_dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = dir < 0 ? -errno : file_replace_at(dir, argv[0], data.s, data.len, 0600, 1);
	if (r < 0)
		return err_sys(e, r, "write %s", path);
	puts(argv[0]);
	people_close(&p);
	return 0;
}

static int secret_ls(struct cli *t, const void *opts, int argc UNUSED, char **argv UNUSED, struct err *e) {
	static const struct fmt_column columns[] = { { "Name", "NAME" }, { "CreatedAt", "CREATED" } };
	const struct list_opts *o = opts;
	struct people p;
	struct fmt f;
	char **v = NULL;
	size_t n = 0;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = names_in(&p, "secrets", &v, &n, e);
	if (r == 0)
		r = fmt_init(&f, o->quiet ? "{{.Name}}" : o->format, columns, 2, !o->noheading, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct stat st = { 0 };
		char ago[40];
		stat(arena_printf(&p.arena, "%s/secrets/%s", p.data_dir, v[i]), &st);
		struct fmt_value row[] = { { "Name", v[i], NULL, NULL }, { "CreatedAt", human_ago(st.st_mtime, ago), NULL, NULL } };
		r = fmt_row(&f, row, ARRAY_SIZE(row), e);
	}
	if (r == 0)
		r = fmt_end(&f, stdout, e);
	strv_free(v);
	people_close(&p);
	return r;
}

static int secret_rm(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	const struct list_opts *o = opts;
	struct people p;
	char **v = NULL, path[4200];
	size_t n = (size_t)argc;
	int r = tierce_people(t, &p, e);
	if (r == 0 && o->all)
		r = names_in(&p, "secrets", &v, &n, e);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const char *name = v ? v[i] : argv[i];
		snprintf(path, sizeof(path), "%s/secrets/%s", p.data_dir, name);
		if (!name_ok(name) || (unlink(path) < 0 && errno == ENOENT && !o->force))
			r = err_set(e, -ENOENT, "no secret with name or id \"%s\": no such secret", name);
		else
			puts(name);
	}
	strv_free(v);
	people_close(&p);
	return r;
}

#define COMMAND(var, name_, operands_, summary_, rows_, min, max, fn) \
	const struct command var = { .name = name_, .operands = operands_, .summary = summary_, OPTS(rows_), .min_args = min, .max_args = max, .run = fn };
static const struct opt no_rows[0];
COMMAND(cmd_volume_create, "volume create", "[NAME]", "Make a volume", no_rows, 0, 1, volume_create)
COMMAND(cmd_volume_ls, "volume ls", "", "List volumes", list_rows, 0, 0, volume_ls)
COMMAND(cmd_volume_rm, "volume rm", "VOLUME...", "Remove volumes", force_rows, 0, -1, volume_rm)
COMMAND(cmd_volume_prune, "volume prune", "", "Remove volumes that no container uses", force_rows, 0, 0, volume_prune)
COMMAND(cmd_volume_inspect, "volume inspect", "VOLUME...", "Show a volume", format_rows, 1, -1, volume_inspect)
COMMAND(cmd_volume_exists, "volume exists", "VOLUME", "Exit with 0 when a volume exists, else with 1", no_rows, 1, 1, volume_exists)
COMMAND(cmd_secret_create, "secret create", "NAME FILE|-", "Keep a secret", no_rows, 2, 2, secret_create)
COMMAND(cmd_secret_ls, "secret ls", "", "List secrets", list_rows, 0, 0, secret_ls)
COMMAND(cmd_secret_rm, "secret rm", "SECRET...", "Remove secrets", force_rows, 0, -1, secret_rm)
