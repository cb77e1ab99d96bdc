/* Statistics of a cgroup in the shape of `runc events --stats`: cpu, cpuset, memory, pids, blkio, hugetlb, with pressure (PSI). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "confine/cgroup_stats.h"

enum { STAT_TEXT = 16 << 10 };

static void kv_nonzero(struct json_writer *w, const char *key, uint64_t v)
{
	if (v)
		jw_kv_u64(w, key, v);
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" (Documentation/accounting/psi.rst). */
static void psi_line(struct json_writer *w, const char *text, const char *key)
{
	const char *p = str_has_prefix(text, key) ? text : NULL;
	double avg10, avg60, avg300;
	unsigned long long total;

	if (!p) {
		const char *nl = strchr(text, '\n');
		p = nl && str_has_prefix(nl + 1, key) ? nl + 1 : NULL;
	}
	if (!p || sscanf(p + strlen(key), " avg10=%lf avg60=%lf avg300=%lf total=%llu", &avg10, &avg60, &avg300, &total) != 4)
		return;
	jw_key(w, key);
	jw_object(w);
	jw_key(w, "avg10"), jw_double(w, avg10);
	jw_key(w, "avg60"), jw_double(w, avg60);
	jw_key(w, "avg300"), jw_double(w, avg300);
	jw_kv_u64(w, "total", total);
	jw_object_end(w);
}

static void psi(struct cgroup *cg, struct json_writer *w, const char *file)
{
	struct cgroup_hier *v2 = cgroup_v2(cg); /* pressure is kept by v2 only; a hybrid host has it too */
	char text[512];

	if (!v2 || cgroup_read(v2, file, text, sizeof(text)) <= 0)
		return;
	jw_key(w, "psi");
	jw_object(w);
	psi_line(w, text, "some");
	psi_line(w, text, "full");
	jw_object_end(w);
}

/* ---- cpu --------------------------------------------------------------------------------------------------------------- */

static void number_list(struct json_writer *w, const char *key, const char *text)
{
	char *end;

	if (!*text)
		return;
	jw_key(w, key);
	jw_array(w);
	for (const char *p = text;; p = end) {
		unsigned long long v = strtoull(p, &end, 10);
		if (end == p)
			break;
		jw_u64(w, v);
	}
	jw_array_end(w);
}

static void cpu_usage_v1(struct cgroup_hier *h, struct json_writer *w)
{
	char text[STAT_TEXT];
	uint64_t total = 0, user = 0, kernel = 0;
	long hz = sysconf(_SC_CLK_TCK);

	(void)cgroup_read_u64(h, "cpuacct.usage", &total);
	/* In ns where the kernel says so (4.8), else in clock ticks. */
	if (cgroup_read_u64(h, "cpuacct.usage_user", &user) < 0 || cgroup_read_u64(h, "cpuacct.usage_sys", &kernel) < 0) {
		if (cgroup_read(h, "cpuacct.stat", text, sizeof(text)) > 0) {
			cgroup_flat_key(text, "user", &user);
			cgroup_flat_key(text, "system", &kernel);
		}
		user *= 1000000000ULL / (uint64_t)hz;
		kernel *= 1000000000ULL / (uint64_t)hz;
	}
	kv_nonzero(w, "total", total);
	if (cgroup_read(h, "cpuacct.usage_percpu", text, sizeof(text)) > 0)
		number_list(w, "percpu", text);
	if (cgroup_read(h, "cpuacct.usage_percpu_sys", text, sizeof(text)) > 0)
		number_list(w, "percpu_kernel", text);
	if (cgroup_read(h, "cpuacct.usage_percpu_user", text, sizeof(text)) > 0)
		number_list(w, "percpu_user", text);
	jw_kv_u64(w, "kernel", kernel);
	jw_kv_u64(w, "user", user);
}

static void cpu(struct cgroup *cg, struct json_writer *w)
{
	struct cgroup_hier *c = cgroup_hier(cg, CGROUP_CPU), *a = cgroup_hier(cg, CGROUP_CPUACCT), *v2 = cgroup_v2(cg);
	char text[STAT_TEXT] = "";
	uint64_t v;

	jw_key(w, "cpu");
	jw_object(w);
	jw_key(w, "usage");
	jw_object(w);
	if (a && !a->v2) {
		cpu_usage_v1(a, w);
	} else if (v2 && cgroup_read(v2, "cpu.stat", text, sizeof(text)) > 0) {
		if (cgroup_flat_key(text, "usage_usec", &v))
			kv_nonzero(w, "total", v * 1000);
		jw_kv_u64(w, "kernel", cgroup_flat_key(text, "system_usec", &v) ? v * 1000 : 0);
		jw_kv_u64(w, "user", cgroup_flat_key(text, "user_usec", &v) ? v * 1000 : 0);
	}
	jw_object_end(w);
	jw_key(w, "throttling");
	jw_object(w);
	if (c && cgroup_read(c, "cpu.stat", text, sizeof(text)) > 0) {
		kv_nonzero(w, "periods", cgroup_flat_key(text, "nr_periods", &v) ? v : 0);
		kv_nonzero(w, "throttledPeriods", cgroup_flat_key(text, "nr_throttled", &v) ? v : 0);
		kv_nonzero(w, "throttledTime", cgroup_flat_key(text, "throttled_time", &v) ? v : cgroup_flat_key(text, "throttled_usec", &v) ? v * 1000 : 0);
	}
	jw_object_end(w);
	psi(cg, w, "cpu.pressure");
	jw_object_end(w);
}

/* "0-3,7" -> [0,1,2,3,7] */
static void cpu_list(struct json_writer *w, const char *key, const char *text)
{
	char *end;

	jw_key(w, key);
	jw_array(w);
	for (const char *p = text; *p; p = *end == ',' ? end + 1 : end) {
		unsigned long a = strtoul(p, &end, 10), b = a;
		if (end == p)
			break;
		if (*end == '-')
			b = strtoul(end + 1, &end, 10);
		for (; a <= b && b < 65536; a++)
			jw_u64(w, a);
	}
	jw_array_end(w);
}

static void cpuset(struct cgroup *cg, struct json_writer *w)
{
	static const struct { const char *key, *file; } flags[] = {
		{ "cpu_exclusive", "cpuset.cpu_exclusive" }, { "mem_hardwall", "cpuset.mem_hardwall" }, { "mem_exclusive", "cpuset.mem_exclusive" },
		{ "memory_migrate", "cpuset.memory_migrate" }, { "memory_spread_page", "cpuset.memory_spread_page" },
		{ "memory_spread_slab", "cpuset.memory_spread_slab" }, { "memory_pressure", "cpuset.memory_pressure" },
		{ "sched_load_balance", "cpuset.sched_load_balance" },
	};
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_CPUSET);
	char text[4096];
	int64_t level = 0;

	jw_key(w, "cpuset");
	jw_object(w);
	if (h && (cgroup_read(h, "cpuset.cpus", text, sizeof(text)) > 0 || cgroup_read(h, "cpuset.cpus.effective", text, sizeof(text)) > 0))
		cpu_list(w, "cpus", text);
	if (h && (cgroup_read(h, "cpuset.mems", text, sizeof(text)) > 0 || cgroup_read(h, "cpuset.mems.effective", text, sizeof(text)) > 0))
		cpu_list(w, "mems", text);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		uint64_t v = 0;
		if (h && !h->v2)
			(void)cgroup_read_u64(h, flags[i].file, &v);
		jw_kv_u64(w, flags[i].key, v);
	}
	if (h && !h->v2 && cgroup_read(h, "cpuset.sched_relax_domain_level", text, sizeof(text)) > 0)
		(void)parse_i64(text, &level);
	jw_kv_i64(w, "sched_relax_domain_level", level);
	jw_object_end(w);
}

/* ---- memory ------------------------------------------------------------------------------------------------------------ */

static void entry(struct json_writer *w, const char *key, uint64_t limit, uint64_t usage, uint64_t max, uint64_t fail)
{
	jw_key(w, key);
	jw_object(w);
	jw_kv_u64(w, "limit", limit);
	kv_nonzero(w, "usage", usage);
	kv_nonzero(w, "max", max);
	jw_kv_u64(w, "failcnt", fail);
	jw_object_end(w);
}

static uint64_t read_or0(struct cgroup_hier *h, const char *file)
{
	uint64_t v;
	return h && cgroup_read_u64(h, file, &v) == 0 ? v : 0;
}

static void entry_v1(struct json_writer *w, struct cgroup_hier *h, const char *key, const char *infix)
{
	static const char *const what[] = { "limit_in_bytes", "usage_in_bytes", "max_usage_in_bytes", "failcnt" };
	uint64_t v[4];
	char file[64];

	for (size_t i = 0; i < 4; i++) {
		snprintf(file, sizeof(file), "memory.%s%s", infix, what[i]);
		v[i] = read_or0(h, file);
	}
	entry(w, key, v[0], v[1], v[2], v[3]);
}

static void raw(struct json_writer *w, const char *text)
{
	jw_key(w, "raw");
	jw_object(w);
	for (const char *p = text; *p;) {
		size_t k = strcspn(p, " \n"), line = strcspn(p, "\n");
		char key[64];
		if (p[k] == ' ' && k < sizeof(key)) {
			memcpy(key, p, k);
			key[k] = 0;
			jw_kv_u64(w, key, strtoull(p + k + 1, NULL, 10));
		}
		p += line + (p[line] == '\n');
	}
	jw_object_end(w);
}

static void memory_v2(struct cgroup_hier *h, struct json_writer *w, const char *stat)
{
	char events[512] = "", swap_events[256] = "";
	uint64_t v, usage = read_or0(h, "memory.current"), limit = read_or0(h, "memory.max");
	uint64_t swap = read_or0(h, "memory.swap.current"), swap_limit = read_or0(h, "memory.swap.max");
	bool sw = cgroup_read(h, "memory.swap.events", swap_events, sizeof(swap_events)) >= 0;

	(void)cgroup_read(h, "memory.events", events, sizeof(events));
	kv_nonzero(w, "cache", cgroup_flat_key(stat, "file", &v) ? v : 0);
	entry(w, "usage", limit, usage, read_or0(h, "memory.peak"), cgroup_flat_key(events, "max", &v) ? v : 0);
	/* swap is memory+swap here, as v1 and every consumer of this shape count it */
	entry(w, "swap", !sw ? limit : swap_limit == UINT64_MAX || limit == UINT64_MAX ? UINT64_MAX : swap_limit + limit, swap + usage, 0,
		cgroup_flat_key(swap_events, "fail", &v) ? v : 0);
	entry(w, "kernel", 0, cgroup_flat_key(stat, "kernel", &v) ? v : 0, 0, 0);
	entry(w, "kernelTCP", 0, cgroup_flat_key(stat, "sock", &v) ? v : 0, 0, 0);
}

static void memory(struct cgroup *cg, struct json_writer *w)
{
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_MEMORY);
	char stat[STAT_TEXT] = "";
	uint64_t v;

	jw_key(w, "memory");
	jw_object(w);
	if (h) {
		(void)cgroup_read(h, "memory.stat", stat, sizeof(stat));
		if (h->v2) {
			memory_v2(h, w, stat);
		} else {
			kv_nonzero(w, "cache", cgroup_flat_key(stat, "total_cache", &v) ? v : 0);
			entry_v1(w, h, "usage", "");
			entry_v1(w, h, "swap", "memsw.");
			entry_v1(w, h, "kernel", "kmem.");
			entry_v1(w, h, "kernelTCP", "kmem.tcp.");
		}
		raw(w, stat);
	}
	psi(cg, w, "memory.pressure");
	jw_object_end(w);
}

static void pids(struct cgroup *cg, struct json_writer *w)
{
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_PIDS);
	uint64_t limit = read_or0(h, "pids.max");

	jw_key(w, "pids");
	jw_object(w);
	kv_nonzero(w, "current", read_or0(h, "pids.current"));
	kv_nonzero(w, "limit", limit == UINT64_MAX ? 0 : limit); /* runc: 0 is unlimited */
	jw_object_end(w);
}

/* ---- hugetlb, rdma ------------------------------------------------------------------------------------------------------ */

static void hugetlb(struct cgroup *cg, struct json_writer *w)
{
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_HUGETLB);
	int dir = h ? cgroup_hier_fd(h) : -1, fd = dir < 0 ? -1 : openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	jw_key(w, "hugetlb");
	jw_object(w);
	for (struct dirent *de; d && (de = readdir(d));) {
		const char *usage = h->v2 ? ".current" : ".usage_in_bytes";
		char size[64], file[128], events[128] = "";
		uint64_t fail = 0;
		if (!str_has_prefix(de->d_name, "hugetlb.") || !str_has_suffix(de->d_name, usage) || strstr(de->d_name, ".rsvd."))
			continue;
		snprintf(size, sizeof(size), "%.*s", (int)(strlen(de->d_name) - 8 - strlen(usage)), de->d_name + 8);
		jw_key(w, size);
		jw_object(w);
		snprintf(file, sizeof(file), "hugetlb.%s%s", size, usage);
		kv_nonzero(w, "usage", read_or0(h, file));
		snprintf(file, sizeof(file), h->v2 ? "hugetlb.%s.max" : "hugetlb.%s.limit_in_bytes", size);
		if (!h->v2) {
			char peak[128];
			snprintf(peak, sizeof(peak), "hugetlb.%s.max_usage_in_bytes", size);
			kv_nonzero(w, "max", read_or0(h, peak));
			snprintf(peak, sizeof(peak), "hugetlb.%s.failcnt", size);
			fail = read_or0(h, peak);
		} else {
			snprintf(file, sizeof(file), "hugetlb.%s.events", size);
			if (cgroup_read(h, file, events, sizeof(events)) > 0)
				(void)cgroup_flat_key(events, "max", &fail);
		}
		jw_kv_u64(w, "failcnt", fail);
		jw_object_end(w);
	}
	jw_object_end(w);
	if (d)
		closedir(d);
	else
		cleanup_close(&fd);
}

int cgroup_stats(struct cgroup *cg, struct json_writer *w, struct err *e)
{
	if (!cgroup_active(cg))
		return 0;
	struct cgroup_hier *h = cgroup_v2(cg) ? cgroup_v2(cg) : &cg->h[0];
	int fd = cgroup_hier_fd(h);
	if (fd < 0)
		return err_sys(e, fd, "cgroup %s", h->dir);
	cpu(cg, w);
	cpuset(cg, w);
	memory(cg, w);
	pids(cg, w);
	cgroup_stats_blkio(cg, w);
	psi(cg, w, "io.pressure");
	jw_object_end(w);
	hugetlb(cg, w);
	return w->failed ? err_sys(e, EINVAL, "statistics") : 0;
}
