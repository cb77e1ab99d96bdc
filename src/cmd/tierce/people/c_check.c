/* check: runs a command behind the sentry for real and reports which of the system calls that it made are missing or partial there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/tierce/people/commands.h"
#include "cmd/tierce/people/people.h"
#include "sys/fd.h"

struct check_opts { bool rootfs; const char *isolation, *format, *output, *user, *workdir, *entrypoint; struct opt_list env; };
#define AT(m) offsetof(struct check_opts, m)
static const struct opt rows[] = {
	{ "entrypoint", 0, OPT_STRING, 0, 0, AT(entrypoint), "COMMAND", "replace the image's entry point", NULL },
	{ "env", 'e', OPT_LIST, 0, 0, AT(env), "NAME[=VALUE]", "set an environment variable", NULL },
	{ "format", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(format), "text|json", "how the report looks (text)", NULL },
	{ "isolation", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(isolation), "sentry", "the wall to check against; the others run on a Linux kernel", NULL },
	{ "output", 'o', OPT_STRING, 0, COMPLETE_FILE, AT(output), "FILE", "where the report goes (standard error)", NULL },
	{ "rootfs", 0, OPT_FLAG, 0, 0, AT(rootfs), NULL, "the operand is a directory to use as root file system, not an image; it is not changed", NULL },
	{ "user", 'u', OPT_STRING, 0, 0, AT(user), "USER[:GROUP]", "user to run as", NULL },
	{ "workdir", 'w', OPT_STRING, 0, 0, AT(workdir), "DIR", "working directory inside", NULL },
};

enum { FOUND_PARTIAL = 1, FOUND_MISSING = 2, REPORT_MAX = 1 << 20, FIELDS = 6 };
static const char *const kinds[] = { "no", "partial", "optional" };
static const char *const titles[] = { "missing", "partial", "optional" };

struct line { const char *name, *support, *got, *note; uint64_t count, failed; };
struct report { struct line v[600]; size_t n, by_kind[ARRAY_SIZE(kinds)], different; uint64_t total; int status; };

/* name TAB support TAB count TAB failures TAB what refused ones get TAB note */
static int report_parse(struct report *r, char *text, struct err *e) {
	char *save;
	for (char *s = strtok_r(text, "\n", &save); s; s = strtok_r(NULL, "\n", &save)) {
		char *f[FIELDS] = { NULL };
		for (unsigned i = 0; s && i < FIELDS; i++)
			f[i] = strsep(&s, "\t");
		if (!f[FIELDS - 1] || r->n == ARRAY_SIZE(r->v))
			return err_set(e, EPROTO, "tierce-sentry counted in a way that is not understood");
		struct line l = { f[0], f[1], f[4], f[5], strtoull(f[2], NULL, 10), strtoull(f[3], NULL, 10) };
		r->different++;
		r->total += l.count;
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			r->by_kind[k] += streq(l.support, kinds[k]);
		r->v[r->n++] = l;
	}
	return r->n ? 0 : err_set(e, EPROTO, "tierce-sentry ended before it could count");
}

static void report_text(const struct report *r, FILE *out) {
	fprintf(out, "%zu different calls, %llu in all; the command ended with %d\n", r->different, (unsigned long long)r->total, r->status);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		fprintf(out, "%s: %zu\n", titles[k], r->by_kind[k]);
		for (size_t i = 0; i < r->n; i++) {
			const struct line *l = &r->v[i];
			if (!streq(l->support, kinds[k]))
				continue;
			fprintf(out, "  %-24s %8llu times, ", l->name, (unsigned long long)l->count);
			if (*l->got)
				fprintf(out, "got %s", l->got);
			else
				fprintf(out, "%llu failed", (unsigned long long)l->failed);
			fprintf(out, "%s%s\n", *l->note ? "; " : "", l->note);
		}
	}
}

static int report_json(const struct report *r, char *const *argv, struct strbuf *out) {
	struct json_writer w;
	jw_init(&w, out, 2);
	jw_object(&w);
	jw_key(&w, "command");
	jw_array(&w);
	for (; *argv; argv++)
		jw_string(&w, *argv);
	jw_array_end(&w);
	jw_kv_i64(&w, "exitCode", r->status);
	jw_kv_u64(&w, "differentCalls", r->different);
	jw_kv_u64(&w, "calls", r->total);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		jw_key(&w, titles[k]);
		jw_array(&w);
		for (size_t i = 0; i < r->n; i++) {
			const struct line *l = &r->v[i];
			if (!streq(l->support, kinds[k]))
				continue;
			jw_object(&w);
			jw_kv_string(&w, "name", l->name);
			jw_kv_u64(&w, "count", l->count);
			jw_kv_u64(&w, "failed", l->failed);
			if (*l->got)
				jw_kv_string(&w, "got", l->got);
			jw_kv_string(&w, "note", l->note);
			jw_object_end(&w);
		}
		jw_array_end(&w);
	}
	jw_object_end(&w);
	return jw_finish(&w);
}

/* Installed it lies beside the engines' runtime; in the build folder in its own. */
static const char *sentry_program(struct people *p) {
	static const char *const places[] = { "tierce-sentry", "src/cmd/sentry/tierce-sentry", "../../bin/tierce-sentry" };
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		const char *path = arena_printf(&p->arena, "%s/%s", p->libexec, places[i]);
		if (path && access(path, X_OK) == 0)
			return path;
	}
	return "/usr/bin/tierce-sentry";
}

/* The process of the bundle as the command line of tierce-sentry. */
static int command_line(struct pctr *c, const char *rootfs, const char *stats, char ***ret, char ***ret_inner, struct err *e) {
	struct people *p = c->p;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json *doc = NULL;
	int r = file_read_at(AT_FDCWD, arena_printf(&p->arena, "%s/config.json", c->dir), &b, 16 << 20);
	if (r < 0 || (r = json_parse(&p->arena, strbuf_str(&b), b.len, &doc, e)) < 0)
		return err_wrap(e, r, "configuration of the container");
	const struct json *process = json_get(doc, "process"), *user = json_get(process, "user");
	uint64_t uid = 0, gid = 0;
	(void)json_u64(json_get(user, "uid"), &uid);
	(void)json_u64(json_get(user, "gid"), &gid);
	char **v = NULL;
	size_t n = 0;
	const char *fixed[] = { sentry_program(p), "--quiet", "--overlay", "memory", "--rootfs", rootfs, "--stats", stats,
		"--cwd", json_str(process, "cwd", "/"), "--user", arena_printf(&p->arena, "%llu:%llu", (unsigned long long)uid, (unsigned long long)gid) };
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		if (!fixed[i] || (r = strv_push(&v, &n, fixed[i])) < 0)
			return err_set(e, ENOMEM, "out of memory");
	for (struct json *m = json_first(json_get(process, "env")); m; m = m->next)
		if (strv_push(&v, &n, "--env") < 0 || strv_push(&v, &n, m->text) < 0)
			return err_set(e, ENOMEM, "out of memory");
	if (strv_push(&v, &n, "--") < 0)
		return err_set(e, ENOMEM, "out of memory");
	size_t inner = n;
	for (struct json *m = json_first(json_get(process, "args")); m; m = m->next)
		if (strv_push(&v, &n, m->text) < 0)
			return err_set(e, ENOMEM, "out of memory");
	*ret = v;
	*ret_inner = v + inner;
	return 0;
}

static int run_counted(char **argv, struct report *rep, struct err *e) {
	int status;
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "fork");
	if (pid == 0) {
		execv(argv[0], argv);
		fprintf(stderr, "tierce: %s: %s\n", argv[0], strerror(errno));
		_exit(126);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "wait for tierce-sentry");
	rep->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return 0;
}

static int write_report(const struct check_opts *o, const struct report *rep, char *const *inner, struct err *e) {
	FILE *out = o->output ? fopen(o->output, "we") : stderr;
	if (!out)
		return err_sys(e, errno, "--output %s", o->output);
	if (o->format && streq(o->format, "json")) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		if (report_json(rep, inner, &b) < 0)
			return err_set(e, ENOMEM, "out of memory");
		fprintf(out, "%s\n", strbuf_str(&b));
	} else {
		report_text(rep, out);
	}
	bool bad = ferror(out);
	if (out != stderr)
		bad |= fclose(out) != 0;
	return bad ? err_set(e, EIO, "the report could not be written") : 0;
}

static int check_container(struct cli *t, const struct check_opts *o, struct pctr *c, struct err *e) {
	const char *rootfs;
	char **argv = NULL, **inner = NULL, stats[64];
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	_cleanup_free_ struct report *rep = calloc(1, sizeof(*rep));
	_cleanup_close_ int fd = memfd_create("counters", 0); /* inherited: the sentry opens it again by this name */
	if (!rep || fd < 0)
		return err_set(e, ENOMEM, "out of memory");
	snprintf(stats, sizeof(stats), "/proc/self/fd/%d", fd);
	int r = rootfs_mount(c, &rootfs, e);
	if (r == 0)
		r = bundle_write(c, rootfs, NULL, e);
	if (r == 0)
		r = command_line(c, rootfs, stats, &argv, &inner, e);
	if (r == 0)
		r = run_counted(argv, rep, e);
	if (r == 0 && (lseek(fd, 0, SEEK_SET) < 0 || fd_read_rest(fd, &text, REPORT_MAX) < 0))
		r = err_set(e, EIO, "the counters could not be read");
	if (r == 0)
		r = report_parse(rep, text.s ? text.s : stats + sizeof(stats) - 1, e);
	if (r == 0)
		r = write_report(o, rep, inner, e);
	if (r == 0)
		t->exit_code = rep->by_kind[0] ? FOUND_MISSING : rep->by_kind[1] ? FOUND_PARTIAL : 0;
	strv_free(argv);
	return r;
}

static int c_check(struct cli *t, const void *opts, int argc, char **argv, struct err *e) {
	const struct check_opts *o = opts;
	const char *isolation = o->isolation ? o->isolation : t->global.isolation ? t->global.isolation : "sentry";
	struct people p;
	struct pctr *c;
	if (!streq(isolation, "sentry"))
		return err_set(e, EINVAL, "check knows --isolation sentry: behind the other walls the calls are answered by a Linux kernel");
	if (o->format && !streq(o->format, "text") && !streq(o->format, "json"))
		return err_set(e, EINVAL, "--format \"%s\" is neither text nor json", o->format);
	if (argc > 1 && streq(argv[1], "--")) { /* between image and command */
		memmove(argv + 1, argv + 2, (size_t)(argc - 1) * sizeof(*argv));
		argc--;
	}
	static struct run_opts ro;
	ro = (struct run_opts){ .rootfs_flag = o->rootfs, .env = o->env, .user = o->user, .workdir = o->workdir, .entrypoint = o->entrypoint, .isolation = "sentry" };
	static const char *const host[] = { "host" };
	ro.network.v = (void *)(uintptr_t)host;
	ro.network.n = 1;
	int r = tierce_people(t, &p, e);
	if (r == 0)
		r = container_new(t, &p, &ro, argc, argv, &c, e);
	if (r < 0)
		return r;
	r = check_container(t, o, c, e);
	if (pctr_remove(c, true, true, 0, r < 0 ? NULL : e) < 0 && r == 0)
		r = -EIO;
	people_close(&p);
	return r;
}

const struct command cmd_check = { .name = "check", .operands = "IMAGE [--] [COMMAND [ARG...]]", .summary = "Run a command behind the sentry and report system calls that are missing or partial there",
	OPTS(rows), .min_args = 1, .max_args = -1, .operand_kind = 'i', .flags = CMD_STOP_AT_OPERAND, .run = c_check };
