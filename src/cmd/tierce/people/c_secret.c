/* secret. */
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
COMMAND(cmd_secret_create, "secret create", "NAME FILE|-", "Keep a secret", no_rows, 2, 2, secret_create)
COMMAND(cmd_secret_ls, "secret ls", "", "List secrets", list_rows, 0, 0, secret_ls)
COMMAND(cmd_secret_rm, "secret rm", "SECRET...", "Remove secrets", force_rows, 0, -1, secret_rm)
