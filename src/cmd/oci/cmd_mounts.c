/* mounts add|remove: attach and detach mounts in a running container. */
#include <errno.h>
#include <fcntl.h>

#include "cmd/oci/cli.h"
#include "sys/fd.h"

/* The file is an array of mounts as in config.json, or one mount, or a document with "mounts". */
static int load(struct ctr *c, const char *path, struct oci_mount **ret, size_t *ret_n, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json *doc;
	int r = streq(path, "-") ? fd_read_rest(0, &b, OCI_CONFIG_MAX) : file_read_at(AT_FDCWD, path, &b, OCI_CONFIG_MAX);
	if (r < 0)
		return err_sys(e, r, "open %s", path);
	r = json_parse(&c->arena, b.s, b.len, &doc, e);
	if (r < 0)
		return err_wrap(e, r, "%s", path);
	/* Decoded by the same rows as config.json: as the mounts of a document of its own. */
	_cleanup_strbuf_ struct strbuf wrapped = STRBUF_INIT;
	struct json_writer w;
	struct json *list = doc->type == JSON_OBJECT && json_get(doc, "mounts") ? json_get(doc, "mounts") : doc;
	jw_init(&w, &wrapped, 0);
	jw_object(&w);
	jw_kv_string(&w, "ociVersion", "1.3.0");
	jw_key(&w, "mounts");
	if (list->type == JSON_OBJECT)
		jw_array(&w);
	jw_value(&w, list);
	if (list->type == JSON_OBJECT)
		jw_array_end(&w);
	jw_object_end(&w);
	struct oci_spec *spec;
	r = jw_finish(&w);
	if (r == 0)
		r = json_parse(&c->arena, wrapped.s, wrapped.len, &doc, e);
	if (r == 0)
		r = oci_spec_from_json(&c->arena, doc, &spec, e);
	if (r < 0)
		return err_wrap(e, r, "%s", path);
	*ret = spec->mounts;
	*ret_n = spec->n_mounts;
	return 0;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)opts;
	(void)argc;
	bool add = streq(argv[0], "add");
	if (!add && !streq(argv[0], "remove"))
		return err_set(e, EINVAL, "unknown command \"mounts %s\": add or remove", argv[0]);
	_cleanup_ctr_ struct ctr *c = NULL;
	struct oci_mount *m = NULL;
	size_t n = 0;
	int r = ctr_open(&cli->eng, argv[1], CTR_LOCK, &c, e);
	if (r == 0)
		r = load(c, argv[2], &m, &n, e);
	if (r == 0)
		r = ctr_open_pidfd(c, e);
	if (r == 0)
		r = ctr_load_tier(c, true, e);
	if (r < 0)
		return r;
	int (*op)(struct tier_container *, const struct oci_mount *, size_t, struct err *) = add ? c->tier->mounts_add : c->tier->mounts_remove;
	return op ? op(&c->tc, m, n, e) : err_set(e, ENOTSUP, "mounts %s is not supported under isolation %s", argv[0], c->tier->name);
}

const struct command cmd_mounts = { "mounts", "add|remove <container-id> <file>", "add or remove mounts of a running container",
	"The file holds mounts as in config.json (an array, one object, or a document with \"mounts\"); - is standard input.", NULL, 0, 0, 3, 3, 's', run };
