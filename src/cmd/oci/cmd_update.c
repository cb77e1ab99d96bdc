/* update: resources of a live container. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "cmd/oci/cli.h"
#include "sys/fd.h"

struct update_cmd {
	const char *resources;
	const char *blkio_weight, *cpu_period, *cpu_quota, *cpu_burst, *cpu_share, *cpu_rt_period, *cpu_rt_runtime, *cpu_idle, *cpuset_cpus, *cpuset_mems,
		*kernel_memory, *kernel_memory_tcp, *memory, *memory_reservation, *memory_swap, *pids_limit, *l3, *mb;
};
OPTION_FITS(struct update_cmd);
#define AT(m) offsetof(struct update_cmd, m)
#define VALUE(name, m, arg, help) { name, 0, OPT_STRING, 0, 0, AT(m), arg, help, NULL }
static const struct opt opts_[] = {
	{ "resources", 'r', OPT_STRING, 0, COMPLETE_FILE, AT(resources), "FILE", "path to a file with the resources to update, or - for standard input; other options win over it", NULL },
	VALUE("blkio-weight", blkio_weight, "N", "relative weight of block IO (10 to 1000)"),
	VALUE("cpu-period", cpu_period, "USEC", "CPU CFS period"),
	VALUE("cpu-quota", cpu_quota, "USEC", "CPU CFS hardcap limit"),
	VALUE("cpu-burst", cpu_burst, "USEC", "CPU CFS burst"),
	{ "cpu-share", 0, OPT_STRING, 0, 0, AT(cpu_share), "N", "CPU shares (relative weight)", "cpu-shares" },
	VALUE("cpu-rt-period", cpu_rt_period, "USEC", "CPU realtime period"),
	VALUE("cpu-rt-runtime", cpu_rt_runtime, "USEC", "CPU realtime hardcap limit"),
	VALUE("cpu-idle", cpu_idle, "0|1", "set the cgroup SCHED_IDLE or not"),
	VALUE("cpuset-cpus", cpuset_cpus, "LIST", "CPUs to use"),
	VALUE("cpuset-mems", cpuset_mems, "LIST", "memory nodes to use"),
	{ "kernel-memory", 0, OPT_STRING, OPT_HIDDEN, 0, AT(kernel_memory), "BYTES", "accepted: removed from the kernel", NULL },
	{ "kernel-memory-tcp", 0, OPT_STRING, OPT_HIDDEN, 0, AT(kernel_memory_tcp), "BYTES", "accepted: removed from the kernel", NULL },
	VALUE("memory", memory, "BYTES", "memory limit (with suffix k, m, g; -1: unlimited)"),
	VALUE("memory-reservation", memory_reservation, "BYTES", "memory reservation or soft limit"),
	VALUE("memory-swap", memory_swap, "BYTES", "total memory usage (memory + swap); -1: unlimited swap"),
	VALUE("pids-limit", pids_limit, "N", "maximum number of processes; -1 or 0 (compatibility): unlimited"),
	VALUE("l3-cache-schema", l3, "SCHEMA", "Intel RDT/CAT L3 cache schema"),
	VALUE("mem-bw-schema", mb, "SCHEMA", "Intel RDT/MBA memory bandwidth schema"),
};

/* "1024", "-1", "50M", "1.5g", "64KiB": as docker's units package reads sizes. */
static int parse_size(const char *s, int64_t *ret) {
	static const char suffix[] = "kmgtp";
	if (parse_i64(s, ret) == 0)
		return *ret < -1 ? -EINVAL : 0;
	char *end;
	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	double v = strtod(s, &end);
	if (end == s || errno)
		return -EINVAL;
	while (*end == ' ')
		end++;
	const char *p = *end ? strchr(suffix, tolower((unsigned char)*end)) : NULL;
	if (p) {
		for (const char *q = suffix; q <= p; q++)
			v *= 1024;
		end++;
		if (tolower((unsigned char)*end) == 'i')
			end++;
	}
	if (tolower((unsigned char)*end) == 'b')
		end++;
	if (*end || v > 9e18)
		return -EINVAL;
	*ret = (int64_t)v;
	return 0;
}

enum value_kind { KIND_SIZE, KIND_I64, KIND_U64, KIND_STRING };
/* Rows: option, kind, where the value goes. */
static const struct {
	const char *name;
	uint8_t kind;
	uint16_t from, to;
} rows[] = {
#define R(name, kind, from, to) { name, kind, AT(from), offsetof(struct oci_resources, to) }
	R("blkio-weight", KIND_U64, blkio_weight, blkio.weight), R("cpu-period", KIND_U64, cpu_period, cpu.period), R("cpu-quota", KIND_I64, cpu_quota, cpu.quota),
	R("cpu-burst", KIND_U64, cpu_burst, cpu.burst), R("cpu-share", KIND_U64, cpu_share, cpu.shares), R("cpu-rt-period", KIND_U64, cpu_rt_period, cpu.realtime_period),
	R("cpu-rt-runtime", KIND_I64, cpu_rt_runtime, cpu.realtime_runtime), R("cpu-idle", KIND_I64, cpu_idle, cpu.idle), R("cpuset-cpus", KIND_STRING, cpuset_cpus, cpu.cpus),
	R("cpuset-mems", KIND_STRING, cpuset_mems, cpu.mems), R("memory", KIND_SIZE, memory, memory.limit), R("memory-reservation", KIND_SIZE, memory_reservation, memory.reservation),
	R("memory-swap", KIND_SIZE, memory_swap, memory.swap), R("pids-limit", KIND_I64, pids_limit, pids_limit),
};

static int apply_rows(const struct update_cmd *o, struct oci_resources *res, struct err *e) {
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *s;
		int64_t v = 0;
		uint64_t u = 0;
		void *to = (char *)res + rows[i].to;
		int r = 0;
		memcpy(&s, (const char *)o + rows[i].from, sizeof(s));
		if (!s || !*s)
			continue;
		switch (rows[i].kind) {
		case KIND_STRING: *(const char **)to = s; break;
		case KIND_U64:
			r = parse_u64(s, &u);
			*(struct opt_u64 *)to = (struct opt_u64){ true, u };
			break;
		default:
			r = rows[i].kind == KIND_SIZE ? parse_size(s, &v) : parse_i64(s, &v);
			*(struct opt_i64 *)to = (struct opt_i64){ true, v };
		}
		if (r < 0)
			return err_set(e, EINVAL, "invalid value for %s: \"%s\"", rows[i].name, s);
	}
	return 0;
}

static int load_file(struct arena *a, const char *path, struct oci_resources *ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json *doc;
	int r = streq(path, "-") ? fd_read_rest(0, &b, OCI_CONFIG_MAX) : file_read_at(AT_FDCWD, path, &b, OCI_CONFIG_MAX);
	if (r < 0)
		return err_sys(e, r, "open %s", path);
	r = json_parse(a, b.s, b.len, &doc, e);
	if (r == 0)
		r = oci_resources_from_json(a, doc, ret, e);
	return r < 0 ? err_wrap(e, r, "%s", path) : 0;
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)argc;
	const struct update_cmd *o = opts;
	struct oci_resources res = { .set = true };
	_cleanup_ctr_ struct ctr *c = NULL;
	int r = ctr_open(&cli->eng, argv[0], CTR_LOCK, &c, e);
	if (r == 0 && o->resources)
		r = load_file(&c->arena, o->resources, &res, e);
	if (r == 0)
		r = apply_rows(o, &res, e);
	if (r < 0)
		return r;
	/* A zero limit on the command line or in the file has always meant "no limit" here (runc, moby). */
	if (res.pids_limit.set && res.pids_limit.v == 0)
		res.pids_limit.v = -1;
	r = engine_update(c, &res, e);
	if (r == 0 && (o->l3 || o->mb))
		r = engine_update_rdt(c, o->l3, o->mb, e);
	return r;
}

const struct command cmd_update = { "update", "<container-id>", "update container resource constraints",
	"Changes limits of a container that is created, running or paused. What is not named stays as it is. The file of --resources is the \"resources\" object of "
	"the runtime specification:\n\n"
	"    {\"memory\": {\"limit\": 0, \"reservation\": 0, \"swap\": 0}, \"cpu\": {\"shares\": 0, \"quota\": 0, \"period\": 0, \"cpus\": \"\", \"mems\": \"\"}, \"pids\": {\"limit\": 0}}",
	opts_, ARRAY_SIZE(opts_), 0, 1, 1, 'c', run };
