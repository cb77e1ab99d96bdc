/* tierce snapshot: the store's file systems of containers by hand, for tests and for finding out. Hidden. */
#include <errno.h>

#include "cmd/tierce/cli.h"
#include "cmd/tierce/format.h"
#include "store/snapshot.h"

struct snapshot_options {
	struct opt_list change;
	bool readonly, rm;
};

static const struct opt opts_table[] = {
	{ "read-only", 0, OPT_FLAG, 0, 0, offsetof(struct snapshot_options, readonly), NULL, "no upper layer", NULL },
	{ "volatile", 0, OPT_FLAG, 0, 0, offsetof(struct snapshot_options, rm), NULL, "no syncs", NULL },
	{ "change", 'c', OPT_LIST, 0, 0, offsetof(struct snapshot_options, change), "INSTRUCTION", "for commit", NULL },
};

static int create(struct store *s, const struct snapshot_options *o, char **a, int n, struct err *e) {
	struct image_row row;
	(void)o;
	if (n < 2)
		return snapshot_create(s, a[0], NULL, e);
	int r = index_find(s, a[1], &row, NULL, e);
	if (r < 0)
		return r;
	r = snapshot_create(s, a[0], row.id, e);
	image_row_clear(&row);
	return r;
}

static int mount_it(struct store *s, const struct snapshot_options *o, char **a, int n, struct err *e) {
	struct snapshot_opts so = { .flags = (o->readonly ? SNAPSHOT_READONLY : 0u) | (o->rm ? SNAPSHOT_VOLATILE : 0u) };
	_cleanup_free_ char *path = NULL;
	(void)n;
	int r = snapshot_mount(s, a[0], &so, &path, e);
	if (r >= 0)
		printf("%s\n", path);
	return r;
}

static int unmount_it(struct store *s, const struct snapshot_options *o, char **a, int n, struct err *e) {
	(void)o;
	(void)n;
	return snapshot_unmount(s, a[0], e);
}

static int remove_it(struct store *s, const struct snapshot_options *o, char **a, int n, struct err *e) {
	(void)o;
	(void)n;
	return snapshot_remove(s, a[0], e);
}

static int on_change(void *ctx, char kind, const char *path) {
	(void)ctx;
	printf("%c %s\n", kind, path);
	return 0;
}

static int diff(struct store *s, const struct snapshot_options *o, char **a, int n, struct err *e) {
	(void)o;
	(void)n;
	return snapshot_diff(s, a[0], on_change, NULL, e);
}

static int commit(struct store *s, const struct snapshot_options *o, char **a, int n, struct err *e) {
	char id[DIGEST_MAX], name[REF_MAX];
	char **changes = NULL;
	size_t k = 0;
	struct ref ref;
	int r = n > 1 ? ref_parse(a[1], &ref, e) : 0;
	for (size_t i = 0; r >= 0 && i < o->change.n; i++)
		r = strv_push(&changes, &k, o->change.v[i]);
	struct commit_opts co = { .name = n > 1 && r >= 0 ? ref_name(&ref, false, name) : NULL, .changes = changes };
	if (r >= 0)
		r = snapshot_commit(s, a[0], &co, id, e);
	strv_free(changes);
	if (r >= 0)
		printf("%s\n", digest_hex(id));
	return r;
}

static int on_row(void *ctx, const struct snapshot_row *r) {
	(void)ctx;
	printf("%s %s\n", r->id, r->image[0] ? digest_hex(r->image) : "-");
	return 0;
}

static int list(struct store *s, const struct snapshot_options *o, char **a, int n, struct err *e) {
	(void)o;
	(void)a;
	(void)n;
	return snapshot_list(s, on_row, NULL, e);
}

static int usage(struct store *s, const struct snapshot_options *o, char **a, int n, struct err *e) {
	uint64_t rw, total;
	(void)o;
	(void)n;
	int r = snapshot_usage(s, a[0], &rw, &total, e);
	if (r >= 0)
		printf("%llu %llu\n", (unsigned long long)rw, (unsigned long long)total);
	return r;
}

static const struct {
	const char *name;
	int min;
	int (*run)(struct store *s, const struct snapshot_options *o, char **a, int n, struct err *e);
} verbs[] = {
	{ "create", 1, create }, { "mount", 1, mount_it }, { "unmount", 1, unmount_it }, { "rm", 1, remove_it }, { "diff", 1, diff },
	{ "commit", 1, commit }, { "ls", 0, list }, { "usage", 1, usage },
};

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	struct store *s;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (!streq(verbs[i].name, argv[0]))
			continue;
		if (argc - 1 < verbs[i].min)
			return err_set(e, EINVAL, "snapshot %s: name the container", argv[0]);
		int r = cli_store(cli, &s, e);
		return r < 0 ? r : verbs[i].run(s, opts, argv + 1, argc - 1, e);
	}
	return err_set(e, EINVAL, "snapshot: unknown verb %s", argv[0]);
}

const struct command cmd_snapshot = { .name = "snapshot", .operands = "create ID [IMAGE] | mount|unmount|rm|diff|usage ID | commit ID [NAME] | ls", .summary = "File systems of containers",
	OPTS(opts_table), .min_args = 1, .max_args = 3, .flags = CMD_HIDDEN, .run = run };
