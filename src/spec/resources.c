/* "linux.resources": limits and device rules. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "spec/oci_internal.h"

#define R struct oci_resources

static int read_device_type(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	static const struct name_value types[] = { { "a", 'a' }, { "c", 'c' }, { "b", 'b' }, { "u", 'c' }, { "", 'a' }, { NULL, 0 } };
	int64_t v;
	int r = decode_name(d, p, j, types, &v);
	if (r == 0)
		((struct oci_device_rule *)obj)->type = (char)v;
	return r;
}

static const struct field device_rule_fields[] = {
	FIELD_REQ("allow", FIELD_BOOL, struct oci_device_rule, allow),
	FIELD_FN("type", read_device_type),
	FIELD("major", FIELD_OPT_I64, struct oci_device_rule, major),
	FIELD("minor", FIELD_OPT_I64, struct oci_device_rule, minor),
	FIELD("access", FIELD_TEXT, struct oci_device_rule, access),
	FIELD_END,
};

static int check_device_rule(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	struct oci_device_rule *rule = obj;
	if (!rule->type)
		rule->type = 'a';
	if (!rule->access)
		rule->access = "rwm";
	if (rule->access[strspn(rule->access, "rwm")] || strlen(rule->access) > 3)
		return decode_fail(d, p, "invalid access \"%.40s\" (expected a combination of r, w and m)", rule->access);
	/* -1 is the wildcard that Go's runtimes write. */
	struct opt_i64 *const numbers[] = { &rule->major, &rule->minor };
	for (size_t i = 0; i < 2; i++) {
		if (numbers[i]->set && numbers[i]->v == -1)
			numbers[i]->set = false;
		if (numbers[i]->set && (numbers[i]->v < 0 || numbers[i]->v > UINT32_MAX))
			return decode_fail(d, p, "%s %lld is out of range", i ? "minor" : "major", (long long)numbers[i]->v);
	}
	return 0;
}

static const struct field memory_fields[] = {
	FIELD("limit", FIELD_OPT_I64, R, memory.limit),
	FIELD("reservation", FIELD_OPT_I64, R, memory.reservation),
	FIELD("swap", FIELD_OPT_I64, R, memory.swap),
	FIELD("kernel", FIELD_OPT_I64, R, memory.kernel),
	FIELD("kernelTCP", FIELD_OPT_I64, R, memory.kernel_tcp),
	FIELD("swappiness", FIELD_OPT_U64, R, memory.swappiness),
	FIELD("disableOOMKiller", FIELD_OPT_BOOL, R, memory.disable_oom_killer),
	FIELD("useHierarchy", FIELD_OPT_BOOL, R, memory.use_hierarchy),
	FIELD("checkBeforeUpdate", FIELD_OPT_BOOL, R, memory.check_before_update),
	FIELD_END,
};

static const struct field cpu_fields[] = {
	FIELD("shares", FIELD_OPT_U64, R, cpu.shares),
	FIELD("quota", FIELD_OPT_I64, R, cpu.quota),
	FIELD("burst", FIELD_OPT_U64, R, cpu.burst),
	FIELD("period", FIELD_OPT_U64, R, cpu.period),
	FIELD("realtimeRuntime", FIELD_OPT_I64, R, cpu.realtime_runtime),
	FIELD("realtimePeriod", FIELD_OPT_U64, R, cpu.realtime_period),
	FIELD("cpus", FIELD_TEXT, R, cpu.cpus),
	FIELD("mems", FIELD_TEXT, R, cpu.mems),
	FIELD("idle", FIELD_OPT_I64, R, cpu.idle),
	FIELD_END,
};

static const struct field pids_fields[] = { FIELD("limit", FIELD_OPT_I64, R, pids_limit), FIELD_END };

static const struct field weight_device_fields[] = {
	FIELD_REQ("major", FIELD_I64, struct oci_blkio_device, major),
	FIELD_REQ("minor", FIELD_I64, struct oci_blkio_device, minor),
	FIELD("weight", FIELD_OPT_U16, struct oci_blkio_device, weight),
	FIELD("leafWeight", FIELD_OPT_U16, struct oci_blkio_device, leaf_weight),
	FIELD_END,
};

static const struct field throttle_fields[] = {
	FIELD_REQ("major", FIELD_I64, struct oci_throttle_device, major),
	FIELD_REQ("minor", FIELD_I64, struct oci_throttle_device, minor),
	FIELD_REQ("rate", FIELD_U64, struct oci_throttle_device, rate),
	FIELD_END,
};

#define THROTTLE(key, member) FIELD_ARRAY(key, R, blkio.member.v, blkio.member.n, struct oci_throttle_device, throttle_fields)

static const struct field blkio_fields[] = {
	FIELD("weight", FIELD_OPT_U16, R, blkio.weight),
	FIELD("leafWeight", FIELD_OPT_U16, R, blkio.leaf_weight),
	FIELD_ARRAY("weightDevice", R, blkio.weight_device, blkio.n_weight_device, struct oci_blkio_device, weight_device_fields),
	THROTTLE("throttleReadBpsDevice", read_bps),
	THROTTLE("throttleWriteBpsDevice", write_bps),
	THROTTLE("throttleReadIOPSDevice", read_iops),
	THROTTLE("throttleWriteIOPSDevice", write_iops),
	FIELD_END,
};

static const struct field hugepage_fields[] = {
	FIELD_REQ("pageSize", FIELD_STRING, struct oci_hugepage, page_size),
	FIELD_REQ("limit", FIELD_U64, struct oci_hugepage, limit),
	FIELD_END,
};

/* <size><unit>B as the kernel names its files: 64KB, 2MB, 1GB. The name becomes part of a file name. */
static int check_hugepage(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	const char *s = ((struct oci_hugepage *)obj)->page_size;
	size_t digits = strspn(s, "0123456789");
	if (digits == 0 || s[0] == '0' || (strcmp(s + digits, "KB") && strcmp(s + digits, "MB") && strcmp(s + digits, "GB")))
		return decode_fail(d, p, "invalid pageSize \"%.40s\" (expected for instance 64KB, 2MB or 1GB)", s);
	return 0;
}

static const struct field priority_fields[] = {
	FIELD_REQ("name", FIELD_STRING, struct oci_if_priority, name),
	FIELD_REQ("priority", FIELD_U32, struct oci_if_priority, priority),
	FIELD_END,
};

static const struct field network_fields[] = {
	FIELD("classID", FIELD_OPT_U32, R, net_class_id),
	FIELD_ARRAY("priorities", R, net_priorities, n_net_priorities, struct oci_if_priority, priority_fields),
	FIELD_END,
};

static const struct field rdma_fields[] = {
	FIELD("hcaHandles", FIELD_OPT_U32, struct oci_rdma, hca_handles),
	FIELD("hcaObjects", FIELD_OPT_U32, struct oci_rdma, hca_objects),
	FIELD_END,
};

static int read_rdma(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	R *r = obj;
	if (j->type != JSON_OBJECT)
		return decode_type_error(d, p, "object", j);
	r->rdma = arena_array(d->a, j->len, struct oci_rdma);
	if (!r->rdma)
		return decode_oom(d);
	for (struct json *m = j->first; m; m = m->next) {
		struct decode_path here = { .up = p, .key = m->key };
		struct oci_rdma *entry = &r->rdma[r->n_rdma++];
		entry->device = m->key;
		int e = decode_object(d, &here, m, rdma_fields, entry);
		if (e < 0)
			return e;
	}
	return 0;
}

/* Members of these objects live in the same struct: decode them in place. */
#define INLINE_OBJECT(name, table) \
	static int name(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) { return decode_object(d, p, j, table, obj); }
INLINE_OBJECT(read_memory, memory_fields)
INLINE_OBJECT(read_cpu, cpu_fields)
INLINE_OBJECT(read_pids, pids_fields)
INLINE_OBJECT(read_blkio, blkio_fields)
INLINE_OBJECT(read_network, network_fields)

const struct field oci_resources_fields[] = {
	FIELD_ARRAY_FN("devices", R, devices, n_devices, struct oci_device_rule, device_rule_fields, check_device_rule),
	FIELD_FN("memory", read_memory),
	FIELD_FN("cpu", read_cpu),
	FIELD_FN("pids", read_pids),
	FIELD_FN("blockIO", read_blkio),
	FIELD_ARRAY_FN("hugepageLimits", R, hugepages, n_hugepages, struct oci_hugepage, hugepage_fields, check_hugepage),
	FIELD_FN("network", read_network),
	FIELD_FN("rdma", read_rdma),
	FIELD("unified", FIELD_MAP, R, unified),
	FIELD_END,
};

int oci_check_resources(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	R *r = obj;
	r->set = true;
	for (size_t i = 0; i < r->unified.n; i++) {
		const char *k = r->unified.v[i].key;
		if (!*k || strchr(k, '/') || strchr(k, '\n') || k[0] == '.')
			return decode_fail(d, p, "unified resource \"%.80s\" must be a file name (no slashes)", k);
		if (!strchr(k, '.'))
			return decode_fail(d, p, "unified resource \"%.80s\" must be in the form CONTROLLER.PARAMETER", k);
	}
	if (r->memory.swappiness.set && r->memory.swappiness.v > 100)
		return decode_fail(d, p, "memory.swappiness %llu is out of range (0 to 100)", (unsigned long long)r->memory.swappiness.v);
	if (r->cpu.idle.set && (r->cpu.idle.v < 0 || r->cpu.idle.v > 1))
		return decode_fail(d, p, "cpu.idle %lld is out of range (0 or 1)", (long long)r->cpu.idle.v);
	return 0;
}
