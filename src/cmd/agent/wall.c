/* The wall inside: the namespace tier, on the machine's pure cgroup v2. */
#include "cmd/agent/wall.h"

#include <errno.h>

#include "confine/cgroup.h"
#include "wire/json.h"

const struct tier_ops *const wall = &tier_ns;

int wall_cgroup_make(struct guest *g, struct err *e)
{
	struct cgroup_request q = { .manager = CGROUP_MANAGER_CGROUPFS, .id = g->id, .resources = &g->spec->resources };
	int r = cgroup_plan(&q, &g->cgroup, e);
	if (r >= 0)
		r = cgroup_create(g->cgroup, e);
	if (r >= 0)
		r = cgroup_apply(g->cgroup, &g->spec->resources, CGROUP_APPLY_NEW, e);
	if (r >= 0)
		r = cgroup_oom_open(g->cgroup, &g->oom, e);
	return r < 0 ? err_wrap(e, r, "in the machine") : 0;
}

int wall_cgroup_update(struct guest *g, const struct oci_resources *r, struct err *e)
{
	return cgroup_apply(g->cgroup, r, CGROUP_APPLY_UPDATE, e);
}

int wall_cgroup_freeze(struct guest *g, bool frozen, struct err *e)
{
	return cgroup_freeze(g->cgroup, frozen, e);
}

int wall_cgroup_stats(struct guest *g, struct strbuf *out, struct err *e)
{
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_object(&w);
	int r = cgroup_stats(g->cgroup, &w, e);
	if (r < 0)
		return r;
	jw_object_end(&w);
	return w.failed || out->failed ? err_set(e, ENOMEM, "stats") : 0;
}

void wall_cgroup_remove(struct guest *g)
{
	if (!g->cgroup)
		return;
	if (g->oom.fd >= 0)
		cgroup_oom_close(&g->oom);
	(void)!cgroup_remove(g->cgroup, NULL);
	cgroup_free(g->cgroup);
	g->cgroup = NULL;
}
