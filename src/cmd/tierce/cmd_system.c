/* tierce system df, prune, check; image prune, mount, unmount */
#include <errno.h>
#include <string.h>

#include "cmd/tierce/cli.h"
#include "cmd/tierce/format.h"
#include "cmd/tierce/imagefilter.h"
#include "store/snapshot.h"

/* ---- df ---- */

struct df_options {
	const char *format;
	bool verbose;
};

static const struct opt df_opts[] = {
	{ "format", 0, OPT_STRING, 0, 0, offsetof(struct df_options, format), "json|table|TEMPLATE", "how to print", NULL },
	{ "verbose", 'v', OPT_FLAG, 0, 0, offsetof(struct df_options, verbose), NULL, "a line for each image", NULL },
};

static const struct fmt_column df_columns[] = {
	{ "Type", "TYPE" }, { "Total", "TOTAL" }, { "Active", "ACTIVE" }, { "Size", "SIZE" }, { "Reclaimable", "RECLAIMABLE" },
};

struct usage {
	struct store *s;
	unsigned images, active, containers;
	uint64_t layers, unused_layers, rw;
	struct err *e;
};

static int on_image(void *ctx, const struct image_row *r) {
	struct usage *u = ctx;
	u->images++;
	u->active += r->containers > 0;
	return 0;
}

static int on_layer(void *ctx, const struct layer_row *l, unsigned images) {
	struct usage *u = ctx;
	u->layers += l->image_size;
	if (!images)
		u->unused_layers += l->image_size;
	return 0;
}

struct ids {
	char **v;
	size_t n;
};

static int on_snapshot(void *ctx, const struct snapshot_row *r) {
	struct ids *ids = ctx;
	return strv_push(&ids->v, &ids->n, r->id);
}

static int df_row(struct fmt *f, const char *type, unsigned total, unsigned active, uint64_t size, uint64_t reclaimable, struct err *e) {
	char a[16], b[16], c[32], d[48], d2[32], raw[24], raw2[24];
	snprintf(a, sizeof(a), "%u", total);
	snprintf(b, sizeof(b), "%u", active);
	snprintf(raw, sizeof(raw), "%llu", (unsigned long long)size);
	snprintf(raw2, sizeof(raw2), "%llu", (unsigned long long)reclaimable);
	snprintf(d, sizeof(d), "%s (%u%%)", human_size(reclaimable, d2), size ? (unsigned)(100.0 * (double)reclaimable / (double)size + 0.5) : 0);
	const struct fmt_value v[] = {
		{ "Type", type, NULL, NULL }, { "Total", a, a, NULL }, { "Active", b, b, NULL }, { "Size", human_size(size, c), raw, "RawSize" },
		{ "Reclaimable", d, raw2, "RawReclaimable" },
	};
	return fmt_row(f, v, ARRAY_SIZE(v), e);
}

static int df_verbose(void *ctx, const struct image_row *r) {
	char size[32], ago[40];
	(void)ctx;
	printf("%-50.50s  %.12s  %-14s  %10s  %u\n", r->names ? r->names[0] : "<none>", digest_hex(r->id), human_ago(r->created, ago), human_size(r->size, size), r->containers);
	return 0;
}

static int df(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	const struct df_options *o = opts;
	struct usage u = { .e = e };
	struct ids ids = { NULL, 0 };
	struct fmt f;
	(void)argc;
	(void)argv;
	int r = cli_store(cli, &u.s, e);
	if (r >= 0)
		r = fmt_init(&f, o->format, df_columns, ARRAY_SIZE(df_columns), true, e);
	if (r < 0)
		return r;
	if (o->verbose)
		return index_images(u.s, df_verbose, NULL, e);
	r = index_images(u.s, on_image, &u, e);
	if (r >= 0)
		r = index_layers(u.s, on_layer, &u, e);
	if (r >= 0)
		r = snapshot_list(u.s, on_snapshot, &ids, e);
	for (size_t i = 0; r >= 0 && i < ids.n; i++) {
		uint64_t rw = 0, total;
		r = snapshot_usage(u.s, ids.v[i], &rw, &total, e);
		u.rw += rw;
	}
	u.containers = (unsigned)ids.n;
	strv_free(ids.v);
	if (r >= 0)
		r = df_row(&f, "Images", u.images, u.active, u.layers, u.unused_layers, e);
	if (r >= 0)
		r = df_row(&f, "Containers", u.containers, u.containers, u.rw, 0, e);
	if (r < 0) {
		fmt_free(&f);
		return r;
	}
	return fmt_end(&f, stdout, e);
}

/* ---- prune ---- */

struct prune_options {
	bool all, force, volumes;
	struct opt_list filter;
};

static const struct opt prune_opts[] = {
	{ "all", 'a', OPT_FLAG, 0, 0, offsetof(struct prune_options, all), NULL, "all images that no container uses, not only those without a name", NULL },
	{ "filter", 0, OPT_LIST, 0, 0, offsetof(struct prune_options, filter), "KEY=VALUE", "only images with label=KEY[=VALUE], older than until=TIME", NULL },
	{ "force", 'f', OPT_FLAG, 0, 0, offsetof(struct prune_options, force), NULL, "do not ask", NULL },
};

struct prune {
	const struct prune_options *o;
	struct store *s;
	struct err *e;
	bool all;
	struct ids ids;
};

static int pick(void *ctx, const struct image_row *r) {
	struct prune *p = ctx;
	for (size_t i = 0; i < p->o->filter.n; i++) {
		int k = image_filter(p->s, r, p->o->filter.v[i], p->e);
		if (k <= 0)
			return k;
	}
	return r->containers || (r->names && !p->all) ? 0 : strv_push(&p->ids.v, &p->ids.n, r->id);
}

static int prune(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	const struct prune_options *o = opts;
	struct prune p = { .all = o->all, .o = o, .e = e };
	for (size_t i = 0; i < o->filter.n; i++)
		if (!str_has_prefix(o->filter.v[i], "label=") && !str_has_prefix(o->filter.v[i], "label!=") && !str_has_prefix(o->filter.v[i], "until="))
			return err_set(e, EINVAL, "--filter %s: unknown; there are label and until", o->filter.v[i]);
	struct gc_result res = { 0 };
	struct store *s;
	char size[32];
	(void)argc;
	(void)argv;
	if (!o->force && isatty(0)) {
		char answer[16];
		fprintf(stderr, "This removes %s and everything that nothing uses. Go on? [y/N] ", o->all ? "all images that no container uses" : "images without a name");
		if (!fgets(answer, sizeof(answer), stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
			return 0;
	}
	int r = cli_store(cli, &s, e);
	p.s = r >= 0 ? s : NULL;
	if (r >= 0)
		r = index_images(s, pick, &p, e);
	for (size_t i = 0; r >= 0 && i < p.ids.n; i++) {
		r = index_remove_image(s, p.ids.v[i], false, e);
		if (r == -EBUSY) { /* a container was made of it in between */
			err_clear(e);
			r = 0;
		} else if (r >= 0)
			printf("%s\n", digest_hex(p.ids.v[i]));
	}
	strv_free(p.ids.v);
	if (r >= 0)
		r = store_recover(s, NULL, e);
	if (r >= 0)
		r = store_gc(s, &res, e);
	if (r >= 0)
		printf("Total reclaimed space: %s\n", human_size(res.bytes, size));
	return r;
}

/* ---- check ---- */

struct check_options {
	bool repair, quick;
};

static const struct opt check_opts[] = {
	{ "repair", 'r', OPT_FLAG, 0, 0, offsetof(struct check_options, repair), NULL, "drop what is damaged, finish what a crash left", NULL },
};

static void say(void *ctx, const char *what, bool repaired) {
	(void)ctx;
	printf("%s%s\n", what, repaired ? " (repaired)" : "");
}

static int check(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	const struct check_options *o = opts;
	struct store *s;
	unsigned bad = 0;
	(void)argc;
	(void)argv;
	int r = cli_store(cli, &s, e);
	if (r >= 0)
		r = store_check(s, o->repair, say, NULL, &bad, e);
	if (r >= 0 && bad && !o->repair)
		return err_set(e, EUCLEAN, "%u finding%s: run tierce system check --repair", bad, bad == 1 ? "" : "s");
	return r;
}

/* ---- mount of an image ---- */

static int image_mount(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	struct store *s;
	(void)opts;
	int r = cli_store(cli, &s, e);
	for (int i = 0; r >= 0 && i < argc; i++) {
		struct image_row row;
		char id[40];
		_cleanup_free_ char *path = NULL;
		struct snapshot_opts so = { .flags = SNAPSHOT_READONLY };
		r = index_find(s, argv[i], &row, NULL, e);
		if (r < 0)
			break;
		snprintf(id, sizeof(id), "image-%.12s", digest_hex(row.id));
		r = snapshot_create(s, id, row.id, e);
		if (r >= 0)
			r = snapshot_mount(s, id, &so, &path, e);
		image_row_clear(&row);
		if (r >= 0)
			printf("%s\n", path);
	}
	return r;
}

static int image_unmount(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	struct store *s;
	(void)opts;
	int r = cli_store(cli, &s, e);
	for (int i = 0; r >= 0 && i < argc; i++) {
		struct image_row row;
		char id[40];
		r = index_find(s, argv[i], &row, NULL, e);
		if (r < 0)
			break;
		snprintf(id, sizeof(id), "image-%.12s", digest_hex(row.id));
		r = snapshot_remove(s, id, e);
		if (r >= 0)
			printf("%s\n", digest_hex(row.id));
		image_row_clear(&row);
	}
	return r;
}

const struct command cmd_system_df = { .name = "system df", .operands = "", .summary = "How much disk is used", OPTS(df_opts), .min_args = 0, .max_args = 0, .run = df };
const struct command cmd_system_prune = { .name = "system prune", .operands = "", .summary = "Remove what nothing uses", OPTS(prune_opts), .min_args = 0, .max_args = 0, .run = prune };
const struct command cmd_image_prune = { .name = "image prune", .operands = "", .summary = "Remove images that nothing uses", OPTS(prune_opts), .min_args = 0, .max_args = 0, .run = prune };
const struct command cmd_system_check = { .name = "system check", .operands = "", .summary = "Verify every digest in the store", OPTS(check_opts), .min_args = 0, .max_args = 0, .run = check };
const struct command cmd_image_mount = { .name = "image mount", .operands = "IMAGE [IMAGE...]", .summary = "Mount an image read-only and print where", .min_args = 1, .max_args = -1, .run = image_mount };
const struct command cmd_image_unmount = { .name = "image unmount", .operands = "IMAGE [IMAGE...]", .summary = "Unmount an image", .min_args = 1, .max_args = -1, .run = image_unmount };
