/* tierce search, manifest inspect: what a registry has, without pulling it. */
#include <errno.h>
#include <stdio.h>

#include "cmd/tierce/format.h"
#include "cmd/tierce/remote.h"
#include "store/http.h"
#include "store/registry.h"
#include "wire/json.h"

struct search_options {
	struct remote_options remote;
	const char *format;
	uint32_t limit;
	bool list_tags, no_trunc;
	struct opt_list filter;
};
OPTION_FITS(struct search_options);

#define AT(m) offsetof(struct search_options, m)
static const struct opt opts[] = {
	REMOTE_OPTS(struct search_options, remote),
	{ "filter", 'f', OPT_LIST, 0, 0, AT(filter), "KEY=VALUE", "is-official=BOOL, stars=N (docker.io alone knows them)", NULL },
	{ "format", 0, OPT_STRING, 0, 0, AT(format), "json|table|TEMPLATE", "how to print", NULL },
	{ "limit", 0, OPT_U32, 0, 0, AT(limit), "N", "at most N lines, defaults to 25", NULL },
	{ "list-tags", 0, OPT_FLAG, 0, 0, AT(list_tags), NULL, "the tags of the repository", NULL },
	{ "no-trunc", 0, OPT_FLAG, 0, 0, AT(no_trunc), NULL, "whole descriptions", NULL },
};

static const struct fmt_column tag_columns[] = { { "Name", "NAME" }, { "Tag", "TAG" } };
static const struct fmt_column columns[] = { { "Name", "NAME" }, { "Description", "DESCRIPTION" }, { "Stars", "STARS" }, { "Official", "OFFICIAL" } };
enum { LIMIT_DEFAULT = 25, DESCRIPTION_SHOWN = 44 };

static int tags(struct registry *reg, struct http *h, const struct ref *ref, const struct search_options *o, struct fmt *f, struct err *e) {
	char repo[REF_MAX];
	char **v = NULL;
	int r = registry_tags(reg, h, ref->path, &v, e);
	snprintf(repo, sizeof(repo), "%s/%s", ref->host, ref->path);
	for (uint32_t i = 0; r >= 0 && v && v[i] && i < (o->limit ? o->limit : LIMIT_DEFAULT); i++) {
		const struct fmt_value row[] = { { "Name", repo, NULL, NULL }, { "Tag", v[i], NULL, NULL } };
		r = fmt_row(f, row, ARRAY_SIZE(row), e);
	}
	strv_free(v);
	return MIN(r, 0);
}

/* Registries of distribution's kind list all their repositories; what has the word in its name is shown. */
static int catalog(struct registry *reg, struct http *h, const char *word, const struct search_options *o, struct fmt *f, struct err *e) {
	char **v = NULL;
	uint32_t shown = 0;
	int r = registry_catalog(reg, h, &v, e);
	if (r < 0)
		return err_wrap(e, r, "%s cannot be searched", reg->host);
	for (size_t i = 0; r >= 0 && v && v[i] && shown < (o->limit ? o->limit : LIMIT_DEFAULT); i++) {
		char name[REF_MAX];
		if (!strstr(v[i], word))
			continue;
		snprintf(name, sizeof(name), "%s/%s", reg->host, v[i]);
		const struct fmt_value row[] = { { "Index", reg->host, NULL, NULL }, { "Name", name, NULL, NULL }, { "Description", "", NULL, NULL }, { "Stars", "0", "0", NULL },
			{ "Official", "", NULL, NULL }, { "Automated", "", NULL, NULL } };
		r = fmt_row(f, row, ARRAY_SIZE(row), e);
		shown++;
	}
	strv_free(v);
	return MIN(r, 0);
}

static int filters(const struct search_options *o, bool *official, int64_t *stars, struct err *e) {
	*official = false;
	*stars = 0;
	for (size_t i = 0; i < o->filter.n; i++) {
		const char *s = o->filter.v[i];
		if (streq(s, "is-official") || streq(s, "is-official=true"))
			*official = true;
		else if (!str_has_prefix(s, "stars=") || parse_i64(s + 6, stars) < 0)
			return err_set(e, EINVAL, "--filter %s: want is-official=true or stars=N", s);
	}
	return 0;
}

/* docker.io does not list; its first interface answers searches (what docker and podman ask). */
static int hub(struct http *h, const char *word, const struct search_options *o, struct fmt *f, struct err *e) {
	_cleanup_http_resp_ struct http_resp resp = HTTP_RESP_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf url = STRBUF_INIT;
	const struct http_tls tls = { 0 };
	struct json *j;
	bool official;
	int64_t stars, have;
	int r = filters(o, &official, &stars, e);
	if (r < 0)
		return r;
	strbuf_printf(&url, "https://index.docker.io/v1/search?n=%u&q=", o->limit ? o->limit : LIMIT_DEFAULT);
	for (const char *s = word; *s; s++)
		strbuf_printf(&url, strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/", *s) ? "%c" : "%%%02X", (unsigned char)*s);
	const struct http_req req = { .url = strbuf_str(&url), .tls = &tls, .accept = "application/json" };
	r = http_do(h, &req, &resp, e);
	if (r >= 0 && resp.status != 200)
		r = err_set(e, EIO, "docker.io answered %ld", resp.status);
	if (r >= 0)
		r = json_parse(&a, strbuf_str(&resp.body), resp.body.len, &j, e);
	for (const struct json *m = r < 0 ? NULL : json_first(json_get(j, "results")); r >= 0 && m; m = m->next) {
		char name[REF_MAX], about[DESCRIPTION_SHOWN + 8], count[24];
		const char *text = json_str(m, "description", "");
		const struct json *is = json_get(m, "is_official");
		bool yes = is && is->type == JSON_BOOL && is->boolean;
		have = 0;
		(void)!json_i64(json_get(m, "star_count"), &have);
		if ((official && !yes) || have < stars)
			continue;
		snprintf(name, sizeof(name), "docker.io/%s%.400s", yes && !strchr(json_str(m, "name", ""), '/') ? "library/" : "", json_str(m, "name", ""));
		snprintf(about, sizeof(about), "%.*s%s", DESCRIPTION_SHOWN, text, strlen(text) > DESCRIPTION_SHOWN ? "..." : "");
		snprintf(count, sizeof(count), "%lld", (long long)have);
		const struct fmt_value row[] = { { "Index", "docker.io", NULL, NULL }, { "Name", name, NULL, NULL }, { "Description", o->no_trunc ? text : about, NULL, NULL }, { "Stars", count, count, NULL },
			{ "Official", yes ? "[OK]" : "", NULL, NULL }, { "Automated", "", NULL, NULL } };
		r = fmt_row(f, row, ARRAY_SIZE(row), e);
	}
	return MIN(r, 0);
}

/* "HOST/WORD" asks that registry, a word alone docker.io. */
static int search(struct cli *cli, const void *opts_, int argc, char **argv, struct err *e) {
	const struct search_options *o = opts_;
	struct registry_opts ro = { 0 };
	struct registry *reg = NULL;
	struct ref ref;
	struct fmt f;
	char host[REF_PATH_MAX + 1];
	size_t n = strcspn(argv[0], "/");
	(void)argc;
	bool named = argv[0][n] == '/' && (memchr(argv[0], '.', n) || memchr(argv[0], ':', n) || strncmp(argv[0], "localhost/", 10) == 0);
	const char *word = named ? argv[0] + n + 1 : argv[0];
	snprintf(host, sizeof(host), "%.*s", named ? (int)n : 9, named ? argv[0] : "docker.io");
	int r = remote_setup(cli, &o->remote, &ro, e);
	if (r >= 0 && o->list_tags)
		r = ref_parse(argv[0], &ref, e);
	if (r >= 0)
		r = fmt_init(&f, o->format, o->list_tags ? tag_columns : columns, o->list_tags ? ARRAY_SIZE(tag_columns) : ARRAY_SIZE(columns), true, e);
	if (r < 0)
		return r;
	struct http *h = http_new();
	bool on_hub = !o->list_tags && streq(host, "docker.io");
	r = !h ? err_set(e, ENOMEM, "out of memory") : on_hub ? 0 : registry_open(&ro, o->list_tags ? ref.host : host, &reg, e);
	if (r >= 0)
		r = o->list_tags ? tags(reg, h, &ref, o, &f, e) : on_hub ? hub(h, word, o, &f, e) : catalog(reg, h, word, o, &f, e);
	http_free(h);
	registry_close(reg);
	if (r < 0) {
		fmt_free(&f);
		return r;
	}
	return fmt_end(&f, stdout, e);
}

/* ---- manifest inspect ---------------------------------------------------------------------------------------------------------------- */

struct manifest_options {
	struct remote_options remote;
};

static const struct opt manifest_opts[] = {
	REMOTE_OPTS(struct manifest_options, remote),
};

/* The registry's document; for an image that it cannot be asked about, the manifest that is here. */
static int manifest_inspect(struct cli *cli, const void *opts_, int argc, char **argv, struct err *e) {
	const struct manifest_options *o = opts_;
	struct registry_opts ro = { 0 };
	struct registry *reg = NULL;
	struct manifest_blob m = { .body = STRBUF_INIT };
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct json_writer w;
	struct json *j;
	struct ref ref;
	(void)argc;
	int r = remote_setup(cli, &o->remote, &ro, e);
	if (r >= 0)
		r = ref_parse(argv[0], &ref, e);
	struct http *h = r < 0 ? NULL : http_new();
	if (r >= 0)
		r = h ? registry_open(&ro, ref.host, &reg, e) : err_set(e, ENOMEM, "out of memory");
	if (r >= 0)
		r = registry_get_manifest(reg, h, ref.path, ref.digest[0] ? ref.digest : ref.tag, &m, e);
	http_free(h);
	registry_close(reg);
	if (r < 0) {
		struct image_row row;
		struct store *s;
		if (cli_store(cli, &s, NULL) >= 0 && index_find(s, argv[0], &row, NULL, NULL) >= 0) {
			int k = store_get_blob(s, row.manifest, &m.body, e);
			image_row_clear(&row);
			if (k >= 0) {
				err_clear(e);
				r = 0;
			}
		}
	}
	if (r >= 0)
		r = json_parse(&a, strbuf_str(&m.body), m.body.len, &j, e);
	manifest_blob_free(&m);
	if (r < 0)
		return r;
	jw_init(&w, &out, 4);
	jw_value(&w, j);
	if (jw_finish(&w) < 0)
		return err_set(e, ENOMEM, "out of memory");
	puts(strbuf_str(&out));
	return 0;
}

/* ---- image exists, image tree ----------------------------------------------------------------------------------------------------------- */

static int image_exists(struct cli *cli, const void *opts_, int argc, char **argv, struct err *e) {
	_cleanup_err_ struct err none = ERR_INIT;
	struct image_row row;
	struct store *s;
	(void)opts_;
	(void)argc;
	int r = cli_store(cli, &s, e);
	if (r < 0)
		return r;
	r = index_find(s, argv[0], &row, NULL, &none);
	cli->exit_code = r >= 0 ? 0 : 1;
	if (r >= 0)
		image_row_clear(&row);
	return 0;
}

static int image_tree(struct cli *cli, const void *opts_, int argc, char **argv, struct err *e) {
	struct image_row row;
	struct layer_row *layers = NULL;
	struct store *s;
	size_t n = 0;
	char size[32];
	(void)opts_;
	(void)argc;
	int r = cli_store(cli, &s, e);
	if (r >= 0)
		r = index_find(s, argv[0], &row, NULL, e);
	if (r < 0)
		return r;
	r = index_image_layers(s, row.id, &layers, &n, e);
	if (r >= 0) {
		printf("Image ID: %.12s\nTags:     [", digest_hex(row.id));
		for (char **t = row.names; t && *t; t++)
			printf("%s%s", t == row.names ? "" : " ", *t);
		printf("]\nSize:     %s\nImage Layers\n", human_size(row.size, size));
	}
	for (size_t i = 0; r >= 0 && i < n; i++) {
		printf("%s ID: %.12s Size: %8s", i + 1 == n ? "└──" : "├──", digest_hex(layers[i].diffid), human_size(layers[i].tar_size, size));
		if (i + 1 == n && row.names) {
			printf(" Top Layer of: [");
			for (char **t = row.names; *t; t++)
				printf("%s%s", t == row.names ? "" : " ", *t);
			putchar(']');
		}
		putchar('\n');
	}
	free(layers);
	image_row_clear(&row);
	return MIN(r, 0);
}

const struct command cmd_search = { .name = "search", .operands = "[REGISTRY/]WORD", .summary = "Look for images in a registry", OPTS(opts), .min_args = 1, .max_args = 1, .run = search,
	.description = "A word alone is looked for on docker.io. Other registries are searched by their list of repositories, where they give one.\n"
		       "With --list-tags the operand is a repository, and its tags are printed." };
const struct command cmd_manifest_inspect = { .name = "manifest inspect", .operands = "IMAGE", .summary = "Show the manifest or index behind a name", OPTS(manifest_opts), .min_args = 1, .max_args = 1, .run = manifest_inspect };
const struct command cmd_image_exists = { .name = "image exists", .operands = "IMAGE", .summary = "Exit with 0 when an image is here, else with 1", .min_args = 1, .max_args = 1, .run = image_exists };
const struct command cmd_image_tree = { .name = "image tree", .operands = "IMAGE", .summary = "The layers of an image", .min_args = 1, .max_args = 1, .run = image_tree };
