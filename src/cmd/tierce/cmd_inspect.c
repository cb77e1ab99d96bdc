/* tierce image inspect, history */
#include <errno.h>

#include "cmd/tierce/cli.h"
#include "cmd/tierce/format.h"
#include "cmd/tierce/gotemplate.h"
#include "cmd/tierce/inspect.h"
#include "store/pull.h"
#include "store/snapshot.h"
#include "wire/json.h"

static void write_strings(struct json_writer *w, const char *key, char *const *v) {
	jw_key(w, key);
	jw_array(w);
	for (; v && *v; v++)
		jw_string(w, *v);
	jw_array_end(w);
}

static int write_image(struct store *s, const struct image_row *row, struct json_writer *w, struct err *e) {
	struct image_config c = { .arena = ARENA_INIT };
	struct json *j;
	int r = image_config_load(s, row->id, &c, e);
	if (r < 0) {
		image_config_free(&c);
		return r;
	}
	jw_object(w);
	jw_kv_string(w, "Id", digest_hex(row->id));
	jw_kv_string(w, "Digest", row->manifest);
	write_strings(w, "RepoTags", row->names);
	write_strings(w, "RepoDigests", row->digests);
	jw_kv_string(w, "Parent", "");
	j = json_first(json_get(c.raw, "history"));
	const char *comment = "";
	for (; j; j = j->next)
		comment = json_str(j, "comment", comment);
	jw_kv_string(w, "Comment", comment);
	jw_kv_string(w, "Created", c.created);
	jw_key(w, "Config");
	if ((j = json_get(c.raw, "config")))
		jw_value(w, j);
	else
		jw_null(w);
	jw_kv_string(w, "Author", c.author);
	jw_kv_string(w, "Architecture", c.arch);
	if (*c.variant)
		jw_kv_string(w, "Variant", c.variant);
	jw_kv_string(w, "Os", c.os);
	jw_kv_u64(w, "Size", row->size);
	jw_kv_u64(w, "VirtualSize", row->size);
	jw_key(w, "GraphDriver");
	jw_object(w);
	jw_kv_string(w, "Name", "erofs");
	jw_object_end(w);
	jw_key(w, "RootFS");
	jw_object(w);
	jw_kv_string(w, "Type", "layers");
	write_strings(w, "Layers", c.diffids);
	jw_object_end(w);
	jw_key(w, "Labels");
	if ((j = json_get(json_get(c.raw, "config"), "Labels")))
		jw_value(w, j);
	else
		jw_null(w);
	jw_kv_string(w, "User", c.user);
	jw_key(w, "History");
	if ((j = json_get(c.raw, "history")))
		jw_value(w, j);
	else
		jw_null(w);
	jw_kv_u64(w, "Containers", row->containers);
	jw_object_end(w);
	image_config_free(&c);
	return 0;
}

int image_document(struct store *s, const char *what, struct strbuf *out, unsigned indent, struct err *e) {
	struct image_row row;
	struct json_writer w;
	int r = index_find(s, what, &row, NULL, e);
	if (r < 0)
		return r;
	jw_init(&w, out, indent);
	r = write_image(s, &row, &w, e);
	image_row_clear(&row);
	return r >= 0 && jw_finish(&w) < 0 ? err_set(e, ENOMEM, "out of memory") : r;
}

struct inspect_options {
	const char *format, *type;
};

static const struct opt inspect_opts[] = {
	{ "format", 'f', OPT_STRING, 0, 0, offsetof(struct inspect_options, format), "json|TEMPLATE", "a path into the document, e.g. '{{.Config.Cmd}}' or '{{json .RootFS}}'", NULL },
};

int inspect_format(const char *text, size_t len, const char *template, struct strbuf *out, struct err *e) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j;
	int r = json_parse(&a, text, len, &j, e);
	if (r == 0)
		r = go_template(template, j, NULL, 0, out, e);
	if (r < 0)
		return r;
	return strbuf_putc(out, '\n') < 0 ? err_set(e, ENOMEM, "out of memory") : 0;
}

static int inspect(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	const struct inspect_options *o = opts;
	bool list = !o->format || streq(o->format, "json");
	_cleanup_strbuf_ struct strbuf all = STRBUF_INIT;
	struct store *s;
	int r = cli_store(cli, &s, e);
	for (int i = 0; r >= 0 && i < argc; i++) {
		_cleanup_strbuf_ struct strbuf one = STRBUF_INIT;
		r = image_document(s, argv[i], &one, list ? 4 : 0, e);
		if (r < 0)
			break;
		if (!list)
			r = inspect_format(one.s, one.len, o->format, &all, e);
		else
			strbuf_printf(&all, "%s%s", i ? ",\n" : "", one.s);
	}
	if (r >= 0)
		printf(list ? "[\n%s\n]\n" : "%s", strbuf_str(&all));
	return r;
}

/* ---- history ---- */

struct history_options {
	const char *format;
	bool no_trunc, quiet, human;
};

static const struct opt history_opts[] = {
	{ "format", 0, OPT_STRING, 0, 0, offsetof(struct history_options, format), "json|table|TEMPLATE", "how to print", NULL },
	{ "human", 'H', OPT_FLAG, OPT_ACCEPTED, 0, offsetof(struct history_options, human), NULL, "sizes and times for people", NULL },
	{ "no-trunc", 0, OPT_FLAG, 0, 0, offsetof(struct history_options, no_trunc), NULL, "whole commands", NULL },
	{ "quiet", 'q', OPT_FLAG, 0, 0, offsetof(struct history_options, quiet), NULL, "ids only", NULL },
};

static const struct fmt_column history_columns[] = {
	{ "ID", "ID" }, { "Created", "CREATED" }, { "CreatedBy", "CREATED BY" }, { "Size", "SIZE" }, { "Comment", "COMMENT" },
};

static int history_rows(const struct history_options *o, const struct image_config *c, const struct image_row *row, const struct layer_row *layers, size_t n,
			struct fmt *f, struct err *e) {
	struct json *list = json_get(c->raw, "history");
	size_t count = list && list->type == JSON_ARRAY ? list->len : 0, layer = n, i = count;
	_cleanup_free_ struct json **v = calloc(count + 1, sizeof(*v));
	int r = v ? 0 : err_set(e, ENOMEM, "out of memory");
	for (struct json *m = v ? json_first(list) : NULL; m; m = m->next)
		v[--i] = m; /* newest first */
	for (i = 0; r >= 0 && i < count; i++) {
		struct json *empty = json_get(v[i], "empty_layer");
		bool has = !(empty && empty->type == JSON_BOOL && empty->boolean) && layer > 0;
		uint64_t size = has ? layers[--layer].tar_size : 0;
		char human[32], bytes[24], ago[40], by[64];
		const char *created_by = json_str(v[i], "created_by", ""), *created = json_str(v[i], "created", "");
		const char *id = i == 0 ? digest_hex(row->id) : "<missing>";
		char shown[80];
		snprintf(shown, sizeof(shown), "%.*s", o->no_trunc || i ? 79 : 12, id);
		snprintf(by, sizeof(by), "%.*s%s", strlen(created_by) > 45 ? 42 : 45, created_by, strlen(created_by) > 45 ? "..." : "");
		snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)size);
		if (o->quiet) {
			printf("%s\n", shown);
			continue;
		}
		const struct fmt_value fv[] = {
			{ "ID", shown, NULL, "id" }, { "Created", human_ago(parse_rfc3339(created), ago), NULL, "CreatedSince" },
			{ "CreatedAt", created, NULL, "created" }, { "CreatedSince", ago, NULL, NULL },
			{ "CreatedBy", o->no_trunc || f->json ? created_by : by, NULL, NULL }, { "Size", human_size(size, human), bytes, "size" },
			{ "Comment", json_str(v[i], "comment", ""), NULL, "comment" },
		};
		r = fmt_row(f, fv, ARRAY_SIZE(fv), e);
	}
	return r;
}

static int history(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	const struct history_options *o = opts;
	struct image_config c = { .arena = ARENA_INIT };
	struct image_row row;
	struct layer_row *layers = NULL;
	struct fmt f;
	struct store *s;
	size_t n = 0;
	(void)argc;
	int r = cli_store(cli, &s, e);
	if (r >= 0)
		r = fmt_init(&f, o->format, history_columns, ARRAY_SIZE(history_columns), true, e);
	if (r >= 0)
		r = index_find(s, argv[0], &row, NULL, e);
	if (r < 0)
		return r;
	r = image_config_load(s, row.id, &c, e);
	if (r >= 0)
		r = index_image_layers(s, row.id, &layers, &n, e);
	if (r >= 0)
		r = history_rows(o, &c, &row, layers, n, &f, e);
	image_config_free(&c);
	image_row_clear(&row);
	free(layers);
	if (r < 0 || o->quiet) {
		fmt_free(&f);
		return r;
	}
	return fmt_end(&f, stdout, e);
}

const struct command cmd_image_inspect = { .name = "image inspect", .operands = "IMAGE [IMAGE...]", .summary = "Everything about an image", OPTS(inspect_opts), .min_args = 1, .max_args = -1, .run = inspect };
const struct command cmd_history = { .name = "history", .operands = "IMAGE", .summary = "How an image came to be", OPTS(history_opts), .min_args = 1, .max_args = 1, .run = history };
