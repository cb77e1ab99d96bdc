/* Hooks: each is a program that gets the container's state on stdin. */
#include "engine/engine.h"

#include "engine/hookrun.h"
#include "spec/state.h"

int hooks_run(struct ctr *c, const struct oci_spec *spec, enum oci_hook_point point, const char *status, pid_t pid, struct err *e) {
	const struct oci_hooks *hooks = &spec->hooks[point];
	if (!hooks->n)
		return 0;
	_cleanup_strbuf_ struct strbuf state = STRBUF_INIT;
	struct oci_state s = { .version = spec->version, .id = c->rec.id, .status = status, .bundle = c->rec.bundle, .pid = pid,
		.annotations = &spec->annotations };
	int r = oci_state_write(&state, &s);
	if (r < 0)
		return err_sys(e, r, "write hook's state");
	int first = 0;
	for (size_t i = 0; i < hooks->n; i++) {
		engine_debug(c->eng, "running %s hook %s", oci_hook_point_names[point], hooks->v[i].path);
		struct err one = ERR_INIT;
		r = hook_run(spec, c->rec.bundle, point, &hooks->v[i], &state, &one);
		if (r < 0) {
			err_wrap(&one, r, "error running %s hook #%zu", oci_hook_point_names[point], i);
			if (first == 0) {
				first = r;
				if (e)
					err_move(e, &one);
			}
			err_clear(&one);
			/* What cannot be stopped any more goes on with the rest (runtime-spec, lifecycle 9 and 12). */
			if (point != OCI_HOOK_POSTSTOP && point != OCI_HOOK_POSTSTART)
				break;
		}
	}
	return first;
}
