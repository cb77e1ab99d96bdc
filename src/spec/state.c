/* The OCI state document: see state.h. */
#include "spec/state.h"

#include <errno.h>

int oci_state_write(struct strbuf *out, const struct oci_state *s) {
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_object(&w);
	jw_kv_string(&w, "ociVersion", s->version ? s->version : "1.3.0");
	jw_kv_string(&w, "id", s->id);
	jw_kv_string(&w, "status", s->status);
	if (s->pid > 0)
		jw_kv_i64(&w, "pid", s->pid);
	jw_kv_string(&w, "bundle", s->bundle);
	if (s->annotations && s->annotations->n) {
		jw_key(&w, "annotations");
		jw_object(&w);
		for (size_t i = 0; i < s->annotations->n; i++)
			jw_kv_string(&w, s->annotations->v[i].key, s->annotations->v[i].value);
		jw_object_end(&w);
	}
	jw_object_end(&w);
	return jw_finish(&w);
}
