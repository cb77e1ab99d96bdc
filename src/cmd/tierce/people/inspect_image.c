/* inspect NAME when the name is an image's. */
#include <errno.h>

#include "cmd/tierce/people/commands.h"
#include "store/snapshot.h"

int inspect_image(struct people *p, const char *name, struct strbuf *out, struct err *e) {
	struct image_row row;
	struct image_config cfg = { .arena = ARENA_INIT };
	char matched[REF_MAX];
	struct json_writer w;
	if (!p->store) {
		int k = store_open(p->data_dir, &p->store, e);
		if (k < 0)
			return k;
	}
	int r = index_find(p->store, name, &row, matched, e);
	if (r < 0)
		return r;
	r = image_config_load(p->store, row.id, &cfg, e);
	if (r == 0) {
		jw_init(&w, out, 0);
		jw_object(&w);
		jw_kv_string(&w, "Id", row.id);
		jw_key(&w, "RepoTags");
		jw_array(&w);
		for (char **n = row.names; n && *n; n++)
			jw_string(&w, *n);
		jw_array_end(&w);
		jw_key(&w, "RepoDigests");
		jw_array(&w);
		for (char **n = row.digests; n && *n; n++)
			jw_string(&w, *n);
		jw_array_end(&w);
		jw_kv_string(&w, "Created", cfg.created ? cfg.created : "");
		jw_kv_string(&w, "Architecture", row.arch);
		jw_kv_string(&w, "Os", row.os);
		jw_kv_u64(&w, "Size", row.size);
		jw_key(&w, "Config");
		if (json_get(cfg.raw, "config"))
			jw_value(&w, json_get(cfg.raw, "config"));
		else
			jw_null(&w);
		jw_key(&w, "RootFS");
		if (json_get(cfg.raw, "rootfs"))
			jw_value(&w, json_get(cfg.raw, "rootfs"));
		else
			jw_null(&w);
		jw_object_end(&w);
		r = jw_finish(&w);
	}
	image_config_free(&cfg);
	image_row_clear(&row);
	return r;
}
