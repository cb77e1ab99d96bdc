/* What a container sees at /sys/fs/cgroup: rows for the room that mounts. */
#include <errno.h>
#include <stdio.h>

#include "confine/cgroup_internal.h"

int cgroup_mounts(struct cgroup *cg, bool cgroup_ns, struct cgroup_mount **ret, size_t *ret_n, struct err *e)
{
	size_t n = 0;
	struct cgroup_mount *v;

	*ret = NULL;
	*ret_n = 0;
	if (!cgroup_active(cg)) { /* still show something truthful: the host's own file system, read-only is up to the spec */
		if (cgroup_host_mode() != CGROUP_MODE_V2)
			return 0;
		if (!(v = calloc(1, sizeof(*v))))
			return err_sys(e, ENOMEM, "cgroup mounts");
		v[0] = (struct cgroup_mount){ "", NULL, cgroup_ns ? "cgroup2" : "bind", cgroup_ns ? "cgroup" : cgroup_host.top, "", cgroup_host.top };
		*ret = v;
		*ret_n = 1;
		return 0;
	}
	/* names may hold a comma list: each word but the whole gets a symbolic link, as systemd does on the host */
	v = calloc(cg->n * 8 + 1, sizeof(*v));
	if (!v)
		return err_sys(e, ENOMEM, "cgroup mounts");
	if (cg->mode == CGROUP_MODE_V2) {
		struct cgroup_hier *h = &cg->h[0];
		v[n++] = (struct cgroup_mount){ "", NULL, cgroup_ns ? "cgroup2" : "bind", cgroup_ns ? "cgroup" : h->dir, "", cgroup_ns ? h->dir : NULL };
		*ret = v;
		*ret_n = n;
		return 0;
	}
	v[n++] = (struct cgroup_mount){ "", NULL, "tmpfs", "tmpfs", "mode=755", NULL };
	for (size_t i = 0; i < cg->n; i++) {
		struct cgroup_hier *h = &cg->h[i];
		const char *name = h->v2 ? "unified" : str_has_prefix(h->names, "name=") ? h->names + 5 : h->names;
		v[n++] = cgroup_ns ? (struct cgroup_mount){ name, NULL, h->v2 ? "cgroup2" : "cgroup", "cgroup", h->v2 ? "" : h->names, h->dir } :
			(struct cgroup_mount){ name, NULL, "bind", h->dir, "", NULL };
	}
	for (size_t i = 0; i < cg->n; i++) {
		struct cgroup_hier *h = &cg->h[i];
		if (h->v2 || !strchr(h->names, ','))
			continue;
		for (unsigned c = 0; c < CGROUP_CONTROLLERS; c++)
			if (h->controllers & 1U << c && n < cg->n * 8)
				v[n++] = (struct cgroup_mount){ cgroup_controller_names[c], h->names, NULL, NULL, NULL, NULL };
	}
	*ret = v;
	*ret_n = n;
	return 0;
}
