/* The handle of a container's cgroup: planning its paths, saving and loading them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "confine/cgroup_internal.h"

static struct cgroup *cgroup_new(void)
{
	struct cgroup *cg = calloc(1, sizeof(*cg));
	if (cg) {
		cg->join_fd = cg->helper_fd = -EBADF;
		for (size_t i = 0; i < CGROUP_HIERARCHIES_MAX; i++)
			cg->h[i].fd = -EBADF;
	}
	return cg;
}

void cgroup_free(struct cgroup *cg)
{
	if (!cg)
		return;
	cgroup_systemd_release(cg);
	for (size_t i = 0; i < cg->n; i++) {
		free(cg->h[i].names);
		free(cg->h[i].mount);
		free(cg->h[i].self);
		free(cg->h[i].dir);
		cleanup_close(&cg->h[i].fd);
	}
	cleanup_close(&cg->join_fd);
	free(cg->path);
	free(cg->unit);
	free(cg->slice);
	free(cg->sub);
	free(cg->helper);
	free(cg->join);
	free(cg->dirs);
	strv_free(cg->props);
	free(cg);
}

bool cgroup_active(const struct cgroup *cg) { return cg->active && cg->n > 0; }

struct cgroup_hier *cgroup_v2(struct cgroup *cg)
{
	for (size_t i = 0; i < cg->n; i++)
		if (cg->h[i].v2)
			return &cg->h[i];
	return NULL;
}

struct cgroup_hier *cgroup_hier(struct cgroup *cg, enum cgroup_controller c)
{
	for (size_t i = 0; i < cg->n; i++)
		if (cg->h[i].controllers & 1U << c)
			return &cg->h[i];
	return NULL;
}

const char *cgroup_dir(const struct cgroup *cg, enum cgroup_controller c)
{
	for (size_t i = 0; i < cg->n; i++)
		if (cg->h[i].controllers & 1U << c)
			return cg->h[i].dir;
	return NULL;
}

const char *cgroup_dir_v2(const struct cgroup *cg)
{
	for (size_t i = 0; i < cg->n; i++)
		if (cg->h[i].v2)
			return cg->h[i].dir;
	return NULL;
}

/* Appends the components of path to out as "/a/b"; refuses "..". */
static int add_components(struct strbuf *out, const char *path, struct err *e)
{
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && memcmp(p, "..", 2) == 0)
			return err_set(e, EINVAL, "cgroup path \"%s\" must not contain \"..\"", path);
		if (n && !(n == 1 && *p == '.')) {
			if (memchr(p, '\n', n))
				return err_set(e, EINVAL, "cgroup path must not contain a newline");
			strbuf_putc(out, '/');
			strbuf_add(out, p, n);
		}
		p += n;
		p += *p == '/';
	}
	return out->failed ? err_sys(e, ENOMEM, "cgroup path") : 0;
}

static int plan_cgroupfs(struct cgroup *cg, const struct cgroup_request *req, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	const char *path = req->cgroups_path && *req->cgroups_path ? req->cgroups_path : req->id;
	int r;

	/* Rootless and relative: beside the own cgroup, which holds processes and so cannot hand out controllers on v2. */
	if (req->rootless && path[0] != '/') {
		struct cgroup_hier *v2 = cgroup_v2(cg);
		const char *self = v2 && v2->self ? v2->self : "/";
		_cleanup_free_ char *parent = strndup(self, (size_t)(strrchr(self, '/') - self));
		if (!parent)
			return err_sys(e, ENOMEM, "cgroup path");
		if ((r = add_components(&b, parent, e)) < 0)
			return r;
	}
	if ((r = add_components(&b, path, e)) < 0)
		return r;
	if (!b.len)
		return err_set(e, EINVAL, "cgroup path \"%s\" is the root cgroup", path);
	cg->path = strbuf_take(&b);
	return cg->path ? 0 : err_sys(e, ENOMEM, "cgroup path");
}

uint32_t cgroup_wanted(const struct oci_resources *r)
{
	uint32_t w = 0;

	if (!r)
		return 0;
	if (r->memory.limit.set || r->memory.reservation.set || r->memory.swap.set || r->memory.swappiness.set || r->memory.kernel_tcp.set ||
	    (r->memory.disable_oom_killer.set && r->memory.disable_oom_killer.v))
		w |= 1U << CGROUP_MEMORY;
	if (r->cpu.shares.set || r->cpu.quota.set || r->cpu.period.set || r->cpu.burst.set || r->cpu.idle.set || r->cpu.realtime_period.set || r->cpu.realtime_runtime.set)
		w |= 1U << CGROUP_CPU;
	if (r->cpu.cpus || r->cpu.mems)
		w |= 1U << CGROUP_CPUSET;
	if (r->pids_limit.set)
		w |= 1U << CGROUP_PIDS;
	if (r->blkio.weight.set || r->blkio.leaf_weight.set || r->blkio.n_weight_device || r->blkio.read_bps.n || r->blkio.write_bps.n ||
	    r->blkio.read_iops.n || r->blkio.write_iops.n)
		w |= 1U << CGROUP_BLKIO;
	if (r->n_hugepages)
		w |= 1U << CGROUP_HUGETLB;
	if (r->n_rdma)
		w |= 1U << CGROUP_RDMA;
	for (size_t i = 0; i < r->unified.n; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(r->unified.v[i].key, "."), r->unified.v[i].key);
		w |= cgroup_controllers_parse(name);
	}
	return w;
}

static const char *annotation(const struct cgroup_request *req, const char *key)
{
	for (size_t i = 0; req->annotations && i < req->annotations->n; i++)
		if (streq(req->annotations->v[i].key, key))
			return req->annotations->v[i].value;
	return NULL;
}

/* A sub-cgroup's name from an annotation: one path below, no "..". */
static int plan_sub(const char *key, const char *value, char **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = add_components(&b, value, e);

	if (r < 0)
		return err_wrap(e, r, "annotation %s", key);
	if (!b.len)
		return err_set(e, EINVAL, "annotation %s: \"%s\" names no cgroup", key, value);
	*ret = strbuf_take(&b);
	return *ret ? 0 : err_sys(e, ENOMEM, "annotation %s", key);
}

static int fill_dirs(struct cgroup *cg, const char *delegate, struct err *e)
{
	for (size_t i = 0; i < cg->n; i++) {
		struct cgroup_hier *h = &cg->h[i];
		free(h->dir);
		if (asprintf(&h->dir, "%s%s", h->mount, cg->path) < 0)
			return h->dir = NULL, err_sys(e, ENOMEM, "cgroup path");
		if (delegate && h->v2) {
			free(cg->join);
			if (asprintf(&cg->join, "%s%s", h->dir, delegate) < 0)
				return cg->join = NULL, err_sys(e, ENOMEM, "cgroup path");
		}
	}
	return 0;
}

/* The systemd helper tells the unit's real place: everything behind it follows. */
int cgroup_replan(struct cgroup *cg, const char *path, struct err *e)
{
	_cleanup_free_ char *delegate = NULL;
	struct cgroup_hier *v2 = cgroup_v2(cg);

	if (streq(path, cg->path))
		return 0;
	if (cg->join && v2 && !(delegate = strdup(cg->join + strlen(v2->dir))))
		return err_sys(e, ENOMEM, "cgroup path");
	char *copy = strdup(path);
	if (!copy)
		return err_sys(e, ENOMEM, "cgroup path");
	free(cg->path);
	cg->path = copy;
	return fill_dirs(cg, delegate, e);
}

int cgroup_plan(const struct cgroup_request *req, struct cgroup **ret, struct err *e)
{
	_cleanup_cgroup_ struct cgroup *cg = cgroup_new();
	_cleanup_free_ char *delegate = NULL;
	struct cgroup_layout l;
	int r;

	if (!cg)
		return err_sys(e, ENOMEM, "cgroup");
	cg->manager = req->manager;
	cg->rootless = req->rootless;
	cg->user = req->rootless && req->manager == CGROUP_MANAGER_SYSTEMD;
	cg->chown = req->chown;
	cg->owner_uid = req->owner_uid;
	cg->owner_gid = req->owner_gid;
	if (req->manager == CGROUP_MANAGER_DISABLED) {
		*ret = TAKE(cg);
		return 0;
	}
	r = cgroup_layout(&l, req->rootless, e);
	memcpy(cg->h, l.h, sizeof(l.h[0]) * l.n);
	cg->n = l.n;
	cg->mode = l.mode;
	if (r < 0)
		return r;
	if (!cg->n)
		return err_set(e, ENOTSUP, "no cgroup file system is mounted here (mount one at /sys/fs/cgroup, or use --cgroup-manager disabled)");
	cg->want = cgroup_wanted(req->resources);
	const char *v = annotation(req, "run.oci.delegate-cgroup");
	if (v && *v) {
		if (!cgroup_v2(cg) || cg->mode != CGROUP_MODE_V2)
			return err_set(e, ENOTSUP, "annotation run.oci.delegate-cgroup needs a cgroup v2 host");
		if ((r = plan_sub("run.oci.delegate-cgroup", v, &delegate, e)) < 0)
			return r;
	}
	v = annotation(req, "run.oci.systemd.subgroup");
	if (v && *v && req->manager == CGROUP_MANAGER_SYSTEMD && (r = plan_sub("run.oci.systemd.subgroup", v, &cg->sub, e)) < 0)
		return r;
	r = req->manager == CGROUP_MANAGER_SYSTEMD ? cgroup_systemd_plan(cg, req, e) : plan_cgroupfs(cg, req, e);
	if (r < 0 || (r = fill_dirs(cg, delegate, e)) < 0)
		return r;
	cg->active = true;
	*ret = TAKE(cg);
	return 0;
}

/* ---- save and load ----------------------------------------------------------------------------------------------- */

static const char *manager_name(const struct cgroup *cg)
{
	return cg->manager == CGROUP_MANAGER_DISABLED || !cg->active ? "disabled" : cg->manager == CGROUP_MANAGER_CGROUPFS ? "cgroupfs" :
		cg->user ? "systemd-user" : "systemd";
}

void cgroup_save(const struct cgroup *ccg, struct cgroup_saved *ret)
{
	union { const struct cgroup *c; struct cgroup *m; } u = { .c = ccg }; /* the text is a cache inside the handle */
	struct cgroup *cg = u.m;
	struct strbuf b = STRBUF_INIT;

	for (size_t i = 0; cg->active && i < cg->n; i++)
		strbuf_printf(&b, "%s:%s\n", cg->h[i].names, cg->h[i].dir);
	if (cg->join)
		strbuf_printf(&b, "@:%s\n", cg->join);
	free(cg->dirs);
	cg->dirs = strbuf_take(&b);
	strbuf_free(&b);
	*ret = (struct cgroup_saved){ manager_name(cg), cg->path && cg->active ? cg->path : "", cg->unit ? cg->unit : "", cg->dirs ? cg->dirs : "" };
}

static int load_line(struct cgroup *cg, const char *line, size_t n, struct err *e)
{
	const char *colon = memchr(line, ':', n);

	if (!colon || colon + 1 == line + n || colon[1] != '/' || cg->n == CGROUP_HIERARCHIES_MAX)
		return err_set(e, EINVAL, "saved cgroup directories are damaged");
	char *dir = strndup(colon + 1, n - (size_t)(colon + 1 - line));
	char *names = strndup(line, (size_t)(colon - line));
	if (dir && names && strstr(dir, "/../")) {
		free(dir);
		free(names);
		return err_set(e, EINVAL, "saved cgroup directories are damaged");
	}
	if (dir && names && streq(names, "@")) {
		free(names);
		free(cg->join);
		cg->join = dir;
		return 0;
	}
	struct cgroup_hier *h = &cg->h[cg->n++];
	*h = (struct cgroup_hier){ .names = names, .dir = dir, .v2 = colon == line, .fd = -EBADF };
	if (!dir || !names)
		return err_sys(e, ENOMEM, "cgroup");
	if (!h->v2 && !str_has_prefix(names, "name="))
		h->controllers = cgroup_controllers_parse(names);
	return 0;
}

int cgroup_load(const struct cgroup_saved *s, struct cgroup **ret, struct err *e)
{
	static const struct { const char *name; enum cgroup_manager m; bool user; } managers[] = {
		{ "cgroupfs", CGROUP_MANAGER_CGROUPFS, false }, { "systemd", CGROUP_MANAGER_SYSTEMD, false },
		{ "systemd-user", CGROUP_MANAGER_SYSTEMD, true }, { "disabled", CGROUP_MANAGER_DISABLED, false },
	};
	_cleanup_cgroup_ struct cgroup *cg = cgroup_new();
	uint32_t v1 = 0;
	size_t m = 0;
	int r;

	if (!cg)
		return err_sys(e, ENOMEM, "cgroup");
	while (m < ARRAY_SIZE(managers) && !(s->manager && streq(s->manager, managers[m].name)))
		m++;
	if (m == ARRAY_SIZE(managers))
		return err_set(e, EINVAL, "saved cgroup manager is damaged");
	cg->manager = managers[m].m;
	cg->user = cg->rootless = managers[m].user;
	for (const char *p = s->dirs ? s->dirs : ""; *p;) {
		size_t n = strcspn(p, "\n");
		if (n && (r = load_line(cg, p, n, e)) < 0)
			return r;
		p += n + (p[n] == '\n');
	}
	for (size_t i = 0; i < cg->n; i++)
		v1 |= cg->h[i].controllers;
	struct cgroup_hier *v2 = cgroup_v2(cg);
	if (v2)
		v2->controllers = ~v1;
	cg->mode = v2 ? cg->n > 1 ? CGROUP_MODE_HYBRID : CGROUP_MODE_V2 : CGROUP_MODE_V1;
	cg->path = strdup(s->path ? s->path : "");
	cg->unit = s->unit && *s->unit ? strdup(s->unit) : NULL;
	if (!cg->path || (s->unit && *s->unit && !cg->unit))
		return err_sys(e, ENOMEM, "cgroup");
	for (size_t i = 0; i < cg->n; i++)
		if (!str_has_suffix(cg->h[i].dir, cg->path))
			return err_set(e, EINVAL, "saved cgroup directories are damaged");
	cg->active = cg->manager != CGROUP_MANAGER_DISABLED && cg->n > 0;
	*ret = TAKE(cg);
	return 0;
}
