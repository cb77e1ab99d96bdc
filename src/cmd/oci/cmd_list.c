/* list: all containers below the state root. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "cmd/oci/cli.h"
#include "wire/json.h"

struct list_cmd { const char *format; bool quiet; };
OPTION_FITS(struct list_cmd);
#define AT(m) offsetof(struct list_cmd, m)
static const struct opt opts_[] = {
	{ "format", 'f', OPT_STRING, 0, COMPLETE_WORDS, AT(format), "table|json", "select one of: table or json", NULL },
	{ "quiet", 'q', OPT_FLAG, 0, 0, AT(quiet), NULL, "display only container IDs", NULL },
};

enum { COLUMNS = 6, COLUMN_MIN = 12, COLUMN_GAP = 3 }; /* as runc's table writer lays it out */

static int cells(struct ctr *c, char *v[COLUMNS]) {
	char text[64];
	enum ctr_status s = ctr_status(c);
	time_t secs = (time_t)(c->rec.created / 1000000000U);
	struct tm tm;
	gmtime_r(&secs, &tm);
	size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%09" PRIu64 "Z", c->rec.created % 1000000000U);
	char pid[16];
	snprintf(pid, sizeof(pid), "%d", s == CTR_STOPPED ? 0 : c->rec.init_pid);
	const char *src[COLUMNS] = { c->rec.id, pid, ctr_status_names[s], c->rec.bundle, text, c->rec.owner };
	for (int i = 0; i < COLUMNS; i++)
		if (!(v[i] = arena_strdup(&c->arena, src[i])))
			return -ENOMEM;
	return 0;
}

static void print_row(char *const v[COLUMNS], const size_t width[COLUMNS]) {
	for (int i = 0; i < COLUMNS - 1; i++)
		printf("%-*s", (int)width[i], v[i]);
	printf("%s\n", v[COLUMNS - 1]);
}

static int print_table(struct ctr **ctrs, size_t n, struct err *e) {
	char *(*rows)[COLUMNS] = calloc(n + 1, sizeof(*rows));
	size_t width[COLUMNS] = { COLUMN_MIN, COLUMN_MIN, COLUMN_MIN, COLUMN_MIN, COLUMN_MIN, COLUMN_MIN };
	static const char *const head[COLUMNS] = { "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER" };
	int r = 0;
	if (!rows)
		return err_set(e, ENOMEM, "out of memory");
	for (int i = 0; i < COLUMNS; i++)
		rows[0][i] = (char *)(uintptr_t)head[i];
	for (size_t i = 0; r == 0 && i < n; i++)
		r = cells(ctrs[i], rows[i + 1]);
	for (size_t i = 0; r == 0 && i <= n; i++)
		for (int k = 0; k < COLUMNS; k++)
			width[k] = MAX(width[k], strlen(rows[i][k]) + COLUMN_GAP);
	for (size_t i = 0; r == 0 && i <= n; i++)
		print_row(rows[i], width);
	free(rows);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

static int print_json(struct ctr **ctrs, size_t n, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 0);
	jw_array(&w);
	for (size_t i = 0; i < n; i++)
		write_state_json(&w, ctrs[i]);
	jw_array_end(&w);
	int r = jw_finish(&w);
	if (r < 0)
		return err_sys(e, r, "write list");
	puts(b.s);
	return 0;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)argc;
	(void)argv;
	const struct list_cmd *o = opts;
	const char *format = o->format ? o->format : "table";
	if (!streq(format, "table") && !streq(format, "json"))
		return err_set(e, EINVAL, "invalid format option \"%s\": table or json", format);
	char **ids = NULL;
	size_t n = 0, got = 0;
	int r = engine_list(&cli->eng, &ids, &n, e);
	if (r < 0)
		return r;
	if (o->quiet) {
		for (size_t i = 0; i < n; i++)
			puts(ids[i]);
		strv_free(ids);
		return 0;
	}
	struct ctr **ctrs = calloc(n + 1, sizeof(struct ctr *));
	for (size_t i = 0; ctrs && i < n; i++) {
		struct err one = ERR_INIT; /* one that goes away or is damaged must not hide the others */
		int rc = ctr_open(&cli->eng, ids[i], 0, &ctrs[got], &one);
		if (rc == 0) {
			if (ctrs[got]->has_record && ctrs[got]->rec.status != CTR_CREATING)
				cleanup_close(&ctrs[got]->dir_fd); /* needed by nobody by nobody: a list of thousands must not run out of descriptors */
			got++;
		} else if (rc != -ENOENT)
			engine_warn(&cli->eng, "list: %s: %s", ids[i], err_msg(&one));
		err_clear(&one);
	}
	r = !ctrs ? err_set(e, ENOMEM, "out of memory") : streq(format, "json") ? print_json(ctrs, got, e) : print_table(ctrs, got, e);
	for (size_t i = 0; i < got; i++)
		ctr_free(ctrs[i]);
	free(ctrs);
	strv_free(ids);
	return r;
}

const struct command cmd_list = { "list", "", "lists containers started by this runtime with the given root",
	"The state root is given by the global option --root. With --format json each element has the members of \"state\".",
	opts_, ARRAY_SIZE(opts_), 0, 0, 0, 0, run };
