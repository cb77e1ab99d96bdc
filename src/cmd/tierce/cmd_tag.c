/* tierce tag, untag, rmi */
#include <errno.h>

#include "cmd/tierce/people/commands.h"
#include "store/store.h"

static int tag(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	struct store *s;
	struct image_row row;
	char name[REF_MAX];
	(void)opts;
	int r = cli_store(cli, &s, e);
	if (r >= 0)
		r = index_find(s, argv[0], &row, NULL, e);
	if (r < 0)
		return r;
	for (int i = 1; r >= 0 && i < argc; i++) {
		r = ref_local_name(argv[i], name, e);
		if (r >= 0)
			r = index_tag(s, row.id, name, e);
		if (r >= 0)
			image_event(cli, "tag", digest_hex(row.id), argv[i]);
	}
	image_row_clear(&row);
	return r;
}

static int untag_one(struct cli *cli, struct store *s, const char *id, const char *name, struct err *e) {
	int r = index_untag(s, name, e);
	if (r >= 0)
		image_event(cli, "untag", digest_hex(id), name);
	return r;
}

/* The full name that `what` stands for among an image's names, "" when it is an id. */
static int untag(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	struct store *s;
	struct image_row row;
	char name[REF_MAX];
	(void)opts;
	int r = cli_store(cli, &s, e);
	if (r >= 0)
		r = index_find(s, argv[0], &row, name, e);
	if (r < 0)
		return r;
	if (argc == 1 && !name[0])
		for (char **n = row.names; r >= 0 && n && *n; n++)
			r = untag_one(cli, s, row.id, *n, e);
	else if (argc == 1)
		r = untag_one(cli, s, row.id, name, e);
	for (int i = 1; r >= 0 && i < argc; i++) {
		struct image_row other;
		r = index_find(s, argv[i], &other, name, e);
		if (r < 0)
			break;
		bool same = streq(other.id, row.id) && name[0];
		image_row_clear(&other);
		r = same ? untag_one(cli, s, row.id, name, e) : err_set(e, ENOENT, "%s is no name of %s", argv[i], argv[0]);
	}
	image_row_clear(&row);
	return MIN(r, 0);
}

struct rmi_options {
	bool force, all, ignore, no_prune;
};

static const struct opt rmi_opts[] = {
	{ "all", 'a', OPT_FLAG, 0, 0, offsetof(struct rmi_options, all), NULL, "remove all images", NULL },
	{ "force", 'f', OPT_FLAG, 0, 0, offsetof(struct rmi_options, force), NULL, "remove an image that has several names", NULL },
	{ "ignore", 'i', OPT_FLAG, 0, 0, offsetof(struct rmi_options, ignore), NULL, "no error when it is not there", NULL },
	{ "no-prune", 0, OPT_FLAG, 0, 0, offsetof(struct rmi_options, no_prune), NULL, "leave the layers to the next prune", NULL },
};

static int rmi_one(struct cli *cli, struct store *s, const struct rmi_options *o, const char *what, struct err *e) {
	struct image_row row;
	char name[REF_MAX];
	int r = index_find(s, what, &row, name, e);
	if (r == -ENOENT && o->ignore) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	size_t names = strv_len(row.names);
	/* A name of several is just taken off; an id with several names wants --force. */
	if (name[0] && names > 1 && !strchr(name, '@') && !o->all) {
		r = untag_one(cli, s, row.id, name, e);
		if (r >= 0)
			printf("Untagged: %s\n", name);
	} else if (!name[0] && names > 1 && !o->force && !o->all)
		r = err_set(e, EBUSY, "image %.12s has %zu names: remove them one by one or use --force", digest_hex(row.id), names);
	else {
		r = index_remove_image(s, row.id, o->force, e);
		for (char **n = row.names; r >= 0 && n && *n; n++) {
			printf("Untagged: %s\n", *n);
			image_event(cli, "untag", digest_hex(row.id), *n);
		}
		if (r >= 0) {
			printf("Deleted: %s\n", digest_hex(row.id));
			image_event(cli, "remove", digest_hex(row.id), what);
		}
	}
	image_row_clear(&row);
	return MIN(r, 0);
}

struct ids {
	char **v;
	size_t n;
};

static int collect(void *ctx, const struct image_row *r) {
	struct ids *ids = ctx;
	return strv_push(&ids->v, &ids->n, r->id);
}

static int rmi(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	const struct rmi_options *o = opts;
	struct store *s;
	struct ids ids = { NULL, 0 };
	if (!argc && !o->all)
		return err_set(e, EINVAL, "rmi: name an image, or --all");
	int r = cli_store(cli, &s, e);
	if (r >= 0 && o->all)
		r = index_images(s, collect, &ids, e);
	for (size_t i = 0; r >= 0 && i < ids.n; i++)
		r = rmi_one(cli, s, o, ids.v[i], e);
	for (int i = 0; r >= 0 && i < argc; i++)
		r = rmi_one(cli, s, o, argv[i], e);
	strv_free(ids.v);
	struct err gc = ERR_INIT;
	if (!o->no_prune && r != -ENOENT && cli->store) {
		int k = store_gc(s, NULL, &gc);
		if (k < 0 && r >= 0) {
			r = k;
			err_move(e, &gc);
		}
	}
	err_clear(&gc);
	return r;
}

const struct command cmd_tag = { .name = "tag", .operands = "IMAGE NAME [NAME...]", .summary = "Give an image further names", .min_args = 2, .max_args = -1, .run = tag };
const struct command cmd_untag = { .name = "untag", .operands = "IMAGE [NAME...]", .summary = "Take names off an image", .min_args = 1, .max_args = -1, .run = untag };
const struct command cmd_rmi = { .name = "rmi", .operands = "[IMAGE...]", .summary = "Remove images", OPTS(rmi_opts), .min_args = 0, .max_args = -1, .run = rmi,
	.description = "Removes names; an image goes with its last name, layers when no image uses them any more." };
