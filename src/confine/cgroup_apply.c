/* Writing resource limits: cpu, cpuset, memory, pids; the order of writes; what the spec's v1 words mean on v2. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "confine/cgroup_internal.h"

/*
 * Some pairs of limits bound each other in the kernel (memory <= memory+swap on v1; burst <= quota; realtime runtime <= period), so
 * that the right order depends on what stands there. Writes are collected, then done in rounds: what the kernel refuses with EINVAL, ERANGE or EBUSY
 * is tried again after the others have gone through. Nothing needs to be read for that, and a fresh cgroup takes all in one round.
 */
struct write {
	struct cgroup_hier *h;
	const char *file;
	char value[64];
	const char *text;  /* instead of value, for long ones */
	bool may_miss;     /* ENOENT is fine: the value asked is the same as having no such file */
	bool done;
	int error;
};

struct writes { struct write v[24]; size_t n; };

static struct write *add(struct writes *w, struct cgroup_hier *h, const char *file)
{
	struct write *x = &w->v[w->n++]; /* bounded: each caller below adds a fixed number, 20 in all */
	*x = (struct write){ .h = h, .file = file };
	return x;
}

static void add_i64(struct writes *w, struct cgroup_hier *h, const char *file, int64_t v)
{
	struct write *x = add(w, h, file);
	if (v < 0 && h->v2)
		strcpy(x->value, "max");
	else
		snprintf(x->value, sizeof(x->value), "%lld", (long long)v);
}

static int flush(struct writes *w, struct err *e)
{
	for (;;) {
		size_t left = 0, progress = 0;
		struct write *first = NULL;
		for (size_t i = 0; i < w->n; i++) {
			struct write *x = &w->v[i];
			if (x->done)
				continue;
			int r = cgroup_write(x->h, x->file, x->text ? x->text : x->value);
			if (r == 0 || (r == -ENOENT && x->may_miss)) {
				x->done = true;
				progress++;
				continue;
			}
			x->error = r;
			left++;
			first = first ? first : x;
			if (r != -EINVAL && r != -ERANGE && r != -EBUSY)
				goto fail;
		}
		if (!left)
			return 0;
		if (progress)
			continue;
	fail:
		for (size_t i = 0; i < w->n; i++)
			if (!w->v[i].done && w->v[i].error && w->v[i].error != -EINVAL)
				first = &w->v[i];
		return err_sys(e, first->error, "write \"%s\" to %s/%s", first->text ? first->text : first->value, first->h->dir, first->file);
	}
}

int cgroup_no_controller(enum cgroup_controller c, const char *what, struct err *e)
{
	return err_set(e, ENOTSUP, "%s: cgroup controller %s is not available to this container", what, cgroup_controller_names[c]);
}

/*
 * cpu.shares 2..262144 (default 1024) -> cpu.weight 1..10000 (default 100): the curve through these three points that Kubernetes KEP-2254's
 * revision and the runtimes agreed on: 10^((l^2 + 125 l)/612 - 7/34) with l = log2(shares), rounded up.
 */
uint64_t cgroup_shares_to_weight(uint64_t shares)
{
	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	double l = log2((double)shares);
	return (uint64_t)ceil(pow(10, (l * l + 125 * l) / 612 - 7.0 / 34));
}

/* ---- cpu --------------------------------------------------------------------------------------------------------------- */

static int cpu_max(struct cgroup_hier *h, const struct oci_resources *r, bool fresh, struct write *x)
{
	char now[64] = "";
	uint64_t quota = 0, period = 0;

	if (r->cpu.quota.set && r->cpu.quota.v > 0)
		quota = (uint64_t)r->cpu.quota.v;
	if (r->cpu.period.set)
		period = r->cpu.period.v;
	/* A period alone keeps the quota that stands there. A quota alone keeps the period: the kernel does that by itself. */
	if (!r->cpu.quota.set && !fresh && cgroup_read(h, "cpu.max", now, sizeof(now)) > 0)
		quota = strtoull(now, NULL, 10); /* "max" gives 0 */
	if (quota)
		snprintf(x->value, sizeof(x->value), "%llu", (unsigned long long)quota);
	else
		strcpy(x->value, "max");
	if (period)
		snprintf(x->value + strlen(x->value), sizeof(x->value) - strlen(x->value), " %llu", (unsigned long long)period);
	return 0;
}

static int apply_cpu(struct cgroup *cg, const struct oci_resources *r, bool fresh, struct writes *w, struct err *e)
{
	if (!(r->cpu.shares.set || r->cpu.quota.set || r->cpu.period.set || r->cpu.burst.set || r->cpu.idle.set || r->cpu.realtime_period.set || r->cpu.realtime_runtime.set))
		return 0;
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_CPU);
	if (!h)
		return cgroup_no_controller(CGROUP_CPU, "linux.resources.cpu", e);
	bool idle = r->cpu.idle.set && r->cpu.idle.v == 1;
	if (r->cpu.idle.set)
		add_i64(w, h, "cpu.idle", r->cpu.idle.v);
	/* An idle group has no weight of its own: the kernel refuses one (sched_group_set_shares). 0 means unset, as runc reads it. */
	if (r->cpu.shares.set && r->cpu.shares.v && !idle)
		add_i64(w, h, h->v2 ? "cpu.weight" : "cpu.shares", (int64_t)(h->v2 ? cgroup_shares_to_weight(r->cpu.shares.v) : MIN(r->cpu.shares.v, (uint64_t)INT64_MAX)));
	if ((r->cpu.realtime_period.set && r->cpu.realtime_period.v) || (r->cpu.realtime_runtime.set && r->cpu.realtime_runtime.v)) {
		if (h->v2)
			return err_set(e, ENOTSUP, "linux.resources.cpu.realtimePeriod/realtimeRuntime: cgroup v2 has no realtime limits");
		if (r->cpu.realtime_period.set && r->cpu.realtime_period.v)
			add_i64(w, h, "cpu.rt_period_us", (int64_t)r->cpu.realtime_period.v);
		if (r->cpu.realtime_runtime.set && r->cpu.realtime_runtime.v)
			add_i64(w, h, "cpu.rt_runtime_us", r->cpu.realtime_runtime.v);
	}
	if (h->v2) {
		if ((r->cpu.quota.set && r->cpu.quota.v) || (r->cpu.period.set && r->cpu.period.v))
			cpu_max(h, r, fresh, add(w, h, "cpu.max"));
	} else {
		if (r->cpu.period.set && r->cpu.period.v)
			add_i64(w, h, "cpu.cfs_period_us", (int64_t)r->cpu.period.v);
		if (r->cpu.quota.set && r->cpu.quota.v)
			add_i64(w, h, "cpu.cfs_quota_us", r->cpu.quota.v);
	}
	if (r->cpu.burst.set) {
		add_i64(w, h, h->v2 ? "cpu.max.burst" : "cpu.cfs_burst_us", (int64_t)r->cpu.burst.v);
		w->v[w->n - 1].may_miss = r->cpu.burst.v == 0;
	}
	return 0;
}

static int apply_cpuset(struct cgroup *cg, const struct oci_resources *r, struct writes *w, struct err *e)
{
	const char *cpus = r->cpu.cpus && *r->cpu.cpus ? r->cpu.cpus : NULL, *mems = r->cpu.mems && *r->cpu.mems ? r->cpu.mems : NULL;

	if (!cpus && !mems)
		return 0;
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_CPUSET);
	if (!h)
		return cgroup_no_controller(CGROUP_CPUSET, "linux.resources.cpu.cpus/mems", e);
	if (cpus)
		add(w, h, "cpuset.cpus")->text = cpus;
	if (mems)
		add(w, h, "cpuset.mems")->text = mems;
	return 0;
}

/* ---- memory ------------------------------------------------------------------------------------------------------------ */

/* The spec's swap is memory+swap; v2 counts swap alone. */
int cgroup_swap_to_v2(int64_t swap, int64_t limit, int64_t *ret, struct err *e)
{
	if (swap < 0) {
		*ret = -1;
		return 0;
	}
	if (limit <= 0)
		return err_set(e, EINVAL, "linux.resources.memory.swap: a swap limit needs a memory limit");
	if (swap < limit)
		return err_set(e, EINVAL, "linux.resources.memory.swap: memory+swap limit %lld is below the memory limit %lld", (long long)swap, (long long)limit);
	*ret = swap - limit;
	return 0;
}

static int check_usage(struct cgroup_hier *h, const struct oci_resources *r, struct err *e)
{
	uint64_t usage;

	if (!r->memory.check_before_update.set || !r->memory.check_before_update.v || !r->memory.limit.set || r->memory.limit.v <= 0)
		return 0;
	if (cgroup_read_u64(h, h->v2 ? "memory.current" : "memory.usage_in_bytes", &usage) == 0 && usage > (uint64_t)r->memory.limit.v)
		return err_set(e, EBUSY, "unable to set memory limit to %lld: the container uses %llu and checkBeforeUpdate is set", (long long)r->memory.limit.v,
			(unsigned long long)usage);
	return 0;
}

static int memory_v2(struct cgroup_hier *h, const struct oci_resources *r, struct writes *w, struct err *e)
{
	struct opt_i64 limit = r->memory.limit, swap = r->memory.swap;
	int64_t v;
	int q;

	if (limit.set && !limit.v)
		limit.set = false; /* 0: unset, as runc and crun read it */
	if (swap.set && !swap.v)
		swap.set = false;
	if (swap.set) {
		int64_t base = limit.set ? limit.v : 0;
		uint64_t now;
		if (!limit.set && swap.v > 0 && cgroup_read_u64(h, "memory.max", &now) == 0 && now != UINT64_MAX)
			base = (int64_t)now;
		if ((q = cgroup_swap_to_v2(swap.v, base, &v, e)) < 0)
			return q;
		add_i64(w, h, "memory.swap.max", v);
		w->v[w->n - 1].may_miss = v <= 0; /* a kernel without swap: none and unlimited are the same */
	} else if (limit.set && limit.v < 0) {
		add_i64(w, h, "memory.swap.max", -1);
		w->v[w->n - 1].may_miss = true;
	}
	if (limit.set)
		add_i64(w, h, "memory.max", limit.v);
	if (r->memory.reservation.set && r->memory.reservation.v)
		add_i64(w, h, "memory.low", r->memory.reservation.v);
	if (r->memory.swappiness.set)
		return err_set(e, ENOTSUP, "linux.resources.memory.swappiness: cgroup v2 has no swappiness");
	if (r->memory.disable_oom_killer.set && r->memory.disable_oom_killer.v)
		return err_set(e, ENOTSUP, "linux.resources.memory.disableOOMKiller: cgroup v2 cannot switch the OOM killer off");
	return 0;
}

static int memory_v1(struct cgroup_hier *h, const struct oci_resources *r, struct writes *w, struct err *e)
{
	bool limit = r->memory.limit.set && r->memory.limit.v, swap = r->memory.swap.set && r->memory.swap.v;

	if (r->memory.swappiness.set && r->memory.swappiness.v > 100)
		return err_set(e, EINVAL, "linux.resources.memory.swappiness: %llu is not 0 to 100", (unsigned long long)r->memory.swappiness.v);
	if (limit && swap && r->memory.limit.v > 0 && r->memory.swap.v > 0 && r->memory.swap.v < r->memory.limit.v)
		return err_set(e, EINVAL, "linux.resources.memory.swap: memory+swap limit %lld is below the memory limit %lld", (long long)r->memory.swap.v, (long long)r->memory.limit.v);
	if (limit)
		add_i64(w, h, "memory.limit_in_bytes", r->memory.limit.v);
	if (swap) {
		add_i64(w, h, "memory.memsw.limit_in_bytes", r->memory.swap.v);
		w->v[w->n - 1].may_miss = r->memory.swap.v < 0;
	} else if (limit && r->memory.limit.v < 0) { /* unlimited memory cannot stand above a limit of memory+swap */
		add_i64(w, h, "memory.memsw.limit_in_bytes", -1);
		w->v[w->n - 1].may_miss = true;
	}
	if (r->memory.reservation.set && r->memory.reservation.v)
		add_i64(w, h, "memory.soft_limit_in_bytes", r->memory.reservation.v);
	if (r->memory.kernel_tcp.set && r->memory.kernel_tcp.v)
		add_i64(w, h, "memory.kmem.tcp.limit_in_bytes", r->memory.kernel_tcp.v);
	if (r->memory.swappiness.set)
		add_i64(w, h, "memory.swappiness", (int64_t)r->memory.swappiness.v);
	if (r->memory.disable_oom_killer.set && r->memory.disable_oom_killer.v)
		add_i64(w, h, "memory.oom_control", 1);
	return 0;
}

static int apply_memory(struct cgroup *cg, const struct oci_resources *r, bool fresh, struct writes *w, struct err *e)
{
	int q;

	if (!(r->memory.limit.set || r->memory.swap.set || r->memory.reservation.set || r->memory.swappiness.set || r->memory.kernel_tcp.set ||
	      (r->memory.disable_oom_killer.set && r->memory.disable_oom_killer.v)))
		return 0;
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_MEMORY);
	if (!h)
		return cgroup_no_controller(CGROUP_MEMORY, "linux.resources.memory", e);
	if (!fresh && (q = check_usage(h, r, e)) < 0)
		return q;
	return h->v2 ? memory_v2(h, r, w, e) : memory_v1(h, r, w, e);
}

static int apply_pids(struct cgroup *cg, const struct oci_resources *r, struct writes *w, struct err *e)
{
	if (!r->pids_limit.set)
		return 0;
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_PIDS);
	if (!h)
		return r->pids_limit.v < 0 ? 0 : cgroup_no_controller(CGROUP_PIDS, "linux.resources.pids.limit", e);
	/* 0 is written as 1, which systemd can say too; a cgroup with one process cannot fork under either. */
	int64_t v = r->pids_limit.v == 0 ? 1 : r->pids_limit.v;
	if (v < 0)
		strcpy(add(w, h, "pids.max")->value, "max");
	else
		add_i64(w, h, "pids.max", v);
	return 0;
}

int cgroup_apply(struct cgroup *cg, const struct oci_resources *r, enum cgroup_apply_mode mode, struct err *e)
{
	bool fresh = mode == CGROUP_APPLY_NEW;
	struct writes w = { .n = 0 };
	int q;

	if (!cgroup_active(cg)) {
		bool limits = r && (r->memory.limit.set || r->cpu.quota.set || r->cpu.shares.set || r->cpu.cpus || r->cpu.mems || (r->pids_limit.set && r->pids_limit.v > 0));
		if (cg->manager != CGROUP_MANAGER_DISABLED && limits)
			return err_set(e, EACCES, "limits were asked for, but no cgroup is delegated to this user");
		return 0;
	}
	struct cgroup_hier *v2 = cgroup_v2(cg);
	if (!fresh && v2) /* a hybrid host's v2 controllers are switched on when first needed */
		(void)cgroup_enable_v2(cg, v2, cgroup_wanted(r));
	if ((q = apply_cpu(cg, r, fresh, &w, e)) < 0 || (q = apply_cpuset(cg, r, &w, e)) < 0 || (q = apply_memory(cg, r, fresh, &w, e)) < 0 ||
	    (q = apply_pids(cg, r, &w, e)) < 0)
		return q;
	if (!fresh && cg->manager == CGROUP_MANAGER_SYSTEMD && (q = cgroup_systemd_apply(cg, r, e)) < 0)
		return q;
	if ((q = flush(&w, e)) < 0 || (q = cgroup_apply_io(cg, r, e)) < 0)
		return q;
	if ((fresh || r->n_devices) && (q = cgroup_devices(cg, r, fresh, e)) < 0)
		return q;
	return cgroup_apply_rest(cg, r, e);
}
