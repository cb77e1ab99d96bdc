/* tierce images */
#include <errno.h>
#include <fnmatch.h>
#include <time.h>

#include "cmd/tierce/cli.h"
#include "cmd/tierce/format.h"
#include "cmd/tierce/imagefilter.h"
#include "store/store.h"
#include "wire/json.h"

struct images_options {
	const char *format, *sort;
	struct opt_list filter;
	bool quiet, no_trunc, noheading, digests, all;
};
OPTION_FITS(struct images_options);

#define AT(m) offsetof(struct images_options, m)
static const struct opt opts[] = {
	{ "all", 'a', OPT_FLAG, 0, 0, AT(all), NULL, "all images (there are no intermediate ones)", NULL },
	{ "digests", 0, OPT_FLAG, 0, 0, AT(digests), NULL, "show digests", NULL },
	{ "filter", 'f', OPT_LIST, 0, 0, AT(filter), "KEY=VALUE", "dangling=true|false, reference=PATTERN, id=PREFIX, label=KEY[=VALUE], until=TIME", NULL },
	{ "format", 0, OPT_STRING, 0, 0, AT(format), "json|table|TEMPLATE", "how to print, e.g. '{{.Repository}}:{{.Tag}}'", NULL },
	{ "noheading", 'n', OPT_FLAG, 0, 0, AT(noheading), NULL, "no line of headings", NULL },
	{ "no-trunc", 0, OPT_FLAG, 0, 0, AT(no_trunc), NULL, "whole ids", NULL },
	{ "quiet", 'q', OPT_FLAG, 0, 0, AT(quiet), NULL, "ids only", NULL },
};

static const struct fmt_column columns[] = {
	{ "Repository", "REPOSITORY" }, { "Tag", "TAG" }, { "ID", "IMAGE ID" }, { "Created", "CREATED" }, { "Size", "SIZE" },
};
static const struct fmt_column digest_columns[] = {
	{ "Repository", "REPOSITORY" }, { "Tag", "TAG" }, { "Digest", "DIGEST" }, { "ID", "IMAGE ID" }, { "Created", "CREATED" }, { "Size", "SIZE" },
};

struct listing {
	const struct images_options *o;
	const char *only; /* a name given as operand */
	struct fmt fmt;
	struct err *e;
	struct store *store;
	unsigned shown;
};

static int filter_matches(const struct listing *l, const struct image_row *r, const char *name, const char *filter, struct err *e) {
	const char *eq = strchr(filter, '=');
	if (!eq)
		return err_set(e, EINVAL, "--filter %s: want KEY=VALUE", filter);
	size_t n = (size_t)(eq - filter);
	int k = image_filter(l->store, r, filter, e);
	if (k != -ENOENT)
		return k;
	if (n == 8 && strncmp(filter, "dangling", n) == 0)
		return streq(eq + 1, "true") == (r->names == NULL);
	if (n == 2 && strncmp(filter, "id", n) == 0)
		return str_has_prefix(digest_hex(r->id), eq + 1);
	if (n == 9 && strncmp(filter, "reference", n) == 0) {
		struct ref ref;
		if (!name || ref_parse(name, &ref, NULL) < 0)
			return 0;
		char repo[REF_MAX], *base = strrchr(ref.path, '/');
		snprintf(repo, sizeof(repo), "%s/%s", ref.host, ref.path);
		base = base ? base + 1 : ref.path;
		char tagged[REF_MAX];
		snprintf(tagged, sizeof(tagged), "%s:%s", base, ref.tag);
		return fnmatch(eq + 1, name, 0) == 0 || fnmatch(eq + 1, repo, 0) == 0 || fnmatch(eq + 1, base, 0) == 0 || fnmatch(eq + 1, tagged, 0) == 0;
	}
	return err_set(e, EINVAL, "--filter %.*s: unknown; there are dangling, id, label, reference, until", (int)n, filter);
}

static bool wanted_name(const struct listing *l, const char *name) {
	struct ref want, have;
	if (!l->only)
		return true;
	if (!name || ref_parse(l->only, &want, NULL) < 0 || ref_parse(name, &have, NULL) < 0)
		return false;
	bool tag_given = strrchr(l->only, ':') && !strchr(strrchr(l->only, ':'), '/');
	bool same_host = streq(want.host, have.host) && streq(want.path, have.path);
	bool local = !strchr(l->only, '/') && streq(have.host, "localhost") && str_has_suffix(want.path, have.path);
	return (same_host || local) && (!tag_given || streq(want.tag, have.tag));
}

static char *names_json(char *const *v) {
	struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 0);
	jw_array(&w);
	for (; v && *v; v++)
		jw_string(&w, *v);
	jw_array_end(&w);
	jw_finish(&w);
	return strbuf_take(&b);
}

static int print_row(struct listing *l, const struct image_row *r, const char *name) {
	struct ref ref = { .tag = "" };
	char repo[REF_MAX] = "<none>", size[32], ago[40], at[40], id[DIGEST_MAX], bytes[24], containers[16], created[24];
	for (size_t i = 0; i < l->o->filter.n; i++) {
		int k = filter_matches(l, r, name, l->o->filter.v[i], l->e);
		if (k <= 0)
			return k;
	}
	if (!wanted_name(l, name))
		return 0;
	l->shown++;
	if (l->o->quiet) {
		printf("%.*s\n", l->o->no_trunc ? DIGEST_MAX : 12, l->o->no_trunc ? r->id : digest_hex(r->id));
		return 0;
	}
	if (name && ref_parse(name, &ref, NULL) >= 0)
		snprintf(repo, sizeof(repo), "%s/%s", ref.host, ref.path);
	snprintf(id, sizeof(id), "%.*s", l->o->no_trunc ? DIGEST_MAX : 12, l->o->no_trunc ? r->id : digest_hex(r->id));
	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)r->size);
	snprintf(created, sizeof(created), "%lld", (long long)r->created);
	snprintf(containers, sizeof(containers), "%u", r->containers);
	_cleanup_free_ char *names = names_json(r->names), *digests = names_json(r->digests);
	const char *digest = r->digests && strchr(r->digests[0], '@') ? strchr(r->digests[0], '@') + 1 : r->manifest;
	const struct fmt_value v[] = {
		{ "Id", digest_hex(r->id), NULL, "Id" }, { "ID", id, NULL, "ShortId" }, { "Repository", repo, NULL, NULL },
		{ "Tag", ref.tag[0] ? ref.tag : "<none>", NULL, NULL }, { "Names", name ? name : "<none>", names, NULL },
		{ "RepoTags", name ? name : "", names, NULL }, { "RepoDigests", r->digests ? r->digests[0] : "", digests, NULL },
		{ "Digest", digest, NULL, NULL }, { "Created", human_ago(r->created, ago), created, NULL },
		{ "CreatedAt", rfc3339(r->created, at), NULL, NULL }, { "CreatedSince", ago, NULL, NULL },
		{ "Size", human_size(r->size, size), bytes, NULL }, { "Containers", containers, containers, NULL },
		{ "Os", r->os, NULL, NULL }, { "Arch", r->arch, NULL, NULL },
	};
	return fmt_row(&l->fmt, v, ARRAY_SIZE(v), l->e);
}

static int on_image(void *ctx, const struct image_row *r) {
	struct listing *l = ctx;
	if (!r->names)
		return print_row(l, r, NULL);
	/* An image with several names is a line for each, but one id with --quiet and one object in JSON. */
	for (char **n = r->names; *n; n++) {
		unsigned before = l->shown;
		int k = print_row(l, r, *n);
		if (k < 0)
			return k;
		if ((l->o->quiet || l->fmt.json) && l->shown > before)
			break;
	}
	return 0;
}

static int run(struct cli *cli, const void *opts_, int argc, char **argv, struct err *e) {
	const struct images_options *o = opts_;
	struct listing l = { .o = o, .only = argc ? argv[0] : NULL, .e = e };
	struct store *s;
	int r = o->digests ? fmt_init(&l.fmt, o->format, digest_columns, ARRAY_SIZE(digest_columns), !o->noheading, e)
		: fmt_init(&l.fmt, o->format, columns, ARRAY_SIZE(columns), !o->noheading, e);
	if (r >= 0)
		r = cli_store(cli, &s, e);
	l.store = r >= 0 ? s : NULL;
	if (r >= 0)
		r = index_images(s, on_image, &l, e);
	if (r < 0 || o->quiet) {
		fmt_free(&l.fmt);
		return r;
	}
	return fmt_end(&l.fmt, stdout, e);
}

const struct command cmd_images = { .name = "images", .operands = "[NAME]", .summary = "List images", OPTS(opts), .min_args = 0, .max_args = 1, .run = run };
