/* "linux": namespaces, devices, paths, and the rest of the Linux part. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <sys/personality.h>
#include <time.h>

#include "base/str.h"
#include "spec/oci_internal.h"

#define S struct oci_spec

static int read_namespace_type(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	if (j->type != JSON_STRING)
		return decode_type_error(d, p, "string", j);
	int flag = oci_namespace_flag(j->text);
	if (flag < 0)
		return decode_fail(d, p, "\"%.40s\" is not one of pid, network, mount, ipc, uts, user, cgroup, time", j->text);
	((struct oci_namespace *)obj)->flag = flag;
	return 0;
}

static const struct field namespace_fields[] = {
	{ .key = "type", .kind = FIELD_CUSTOM, .flags = FIELD_REQUIRED, .fn = read_namespace_type },
	FIELD("path", FIELD_TEXT, struct oci_namespace, path),
	FIELD_END,
};

static int check_namespace(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	const struct oci_namespace *ns = obj;
	if (ns->path && ns->path[0] != '/')
		return decode_fail(d, p, "path \"%.200s\" must be absolute", ns->path);
	return 0;
}

static int read_device_type(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	static const struct name_value types[] = { { "c", 'c' }, { "b", 'b' }, { "u", 'c' }, { "p", 'p' }, { NULL, 0 } };
	int64_t v;
	int r = decode_name(d, p, j, types, &v);
	if (r == 0)
		((struct oci_device *)obj)->type = (char)v;
	return r;
}

static const struct field device_fields[] = {
	FIELD_REQ("path", FIELD_STRING, struct oci_device, path),
	{ .key = "type", .kind = FIELD_CUSTOM, .flags = FIELD_REQUIRED, .fn = read_device_type },
	FIELD("major", FIELD_I64, struct oci_device, major),
	FIELD("minor", FIELD_I64, struct oci_device, minor),
	FIELD("fileMode", FIELD_OPT_U32, struct oci_device, file_mode),
	FIELD("uid", FIELD_OPT_U32, struct oci_device, uid),
	FIELD("gid", FIELD_OPT_U32, struct oci_device, gid),
	FIELD_END,
};

static int check_device(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	const struct oci_device *dev = obj;
	if (dev->path[0] != '/')
		return decode_fail(d, p, "path \"%.200s\" must be absolute", dev->path);
	/* 12 and 20 bits: include/linux/kdev_t.h */
	if (dev->type != 'p' && (dev->major < 0 || dev->major > 4095 || dev->minor < 0 || dev->minor > 1048575))
		return decode_fail(d, p, "device number %lld:%lld is out of range", (long long)dev->major, (long long)dev->minor);
	if (dev->file_mode.set && dev->file_mode.v & ~07777ULL & ~0170000ULL)
		return decode_fail(d, p, "fileMode %llo (octal) has bits beyond permissions", (unsigned long long)dev->file_mode.v);
	return 0;
}

static int read_propagation(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	static const struct name_value names[] = {
		{ "private", MS_PRIVATE }, { "rprivate", MS_PRIVATE | MS_REC }, { "slave", MS_SLAVE }, { "rslave", MS_SLAVE | MS_REC },
		{ "shared", MS_SHARED }, { "rshared", MS_SHARED | MS_REC }, { "unbindable", MS_UNBINDABLE }, { "runbindable", MS_UNBINDABLE | MS_REC },
		{ "", 0 }, { NULL, 0 },
	};
	int64_t v;
	int r = decode_name(d, p, j, names, &v);
	if (r == 0)
		((S *)obj)->rootfs_propagation = (unsigned long)v;
	return r;
}

static const struct field rdt_fields[] = {
	FIELD("closID", FIELD_TEXT, struct oci_intel_rdt, clos_id),
	FIELD("l3CacheSchema", FIELD_TEXT, struct oci_intel_rdt, l3_cache_schema),
	FIELD("memBwSchema", FIELD_TEXT, struct oci_intel_rdt, mem_bw_schema),
	FIELD("schemata", FIELD_STRINGS, struct oci_intel_rdt, schemata),
	FIELD("enableMonitoring", FIELD_BOOL, struct oci_intel_rdt, enable_monitoring),
	FIELD("enableCMT", FIELD_BOOL, struct oci_intel_rdt, enable_cmt),
	FIELD("enableMBM", FIELD_BOOL, struct oci_intel_rdt, enable_mbm),
	FIELD_END,
};

static int check_rdt(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	struct oci_intel_rdt *rdt = obj;
	rdt->set = true;
	/* closID names a directory below resctrl. */
	if (rdt->clos_id && (streq(rdt->clos_id, ".") || streq(rdt->clos_id, "..") || (strchr(rdt->clos_id, '/') && !streq(rdt->clos_id, "/")) || strchr(rdt->clos_id, '\n')))
		return decode_fail(d, p, "invalid closID \"%.80s\" (expected a directory name)", rdt->clos_id);
	return 0;
}

static int read_personality_domain(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	static const struct name_value domains[] = { { "LINUX", PER_LINUX }, { "LINUX32", PER_LINUX32 }, { NULL, 0 } };
	int64_t v;
	int r = decode_name(d, p, j, domains, &v);
	if (r == 0)
		((S *)obj)->personality = (unsigned long)v;
	return r;
}

static int read_personality_flags(struct decoder *d, const struct decode_path *p, struct json *j, void *obj UNUSED) {
	if (j->type != JSON_ARRAY)
		return decode_type_error(d, p, "array of strings", j);
	/* runtime-spec: "currently no flag values are supported". */
	return j->len ? decode_fail(d, p, "personality flags are not supported by the specification") : 0;
}

static const struct field personality_fields[] = {
	{ .key = "domain", .kind = FIELD_CUSTOM, .flags = FIELD_REQUIRED, .fn = read_personality_domain },
	FIELD_FN("flags", read_personality_flags),
	FIELD_END,
};

static int read_personality(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	((S *)obj)->personality_set = true;
	return decode_object(d, p, j, personality_fields, obj);
}

struct offset_row { int64_t secs; uint32_t nanosecs; };
static const struct field offset_fields[] = {
	FIELD("secs", FIELD_I64, struct offset_row, secs),
	FIELD("nanosecs", FIELD_U32, struct offset_row, nanosecs),
	FIELD_END,
};

static int read_time_offsets(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	S *s = obj;
	static const struct name_value clocks[] = { { "monotonic", CLOCK_MONOTONIC }, { "boottime", CLOCK_BOOTTIME }, { NULL, 0 } };
	if (j->type != JSON_OBJECT)
		return decode_type_error(d, p, "object", j);
	for (struct json *m = j->first; m; m = m->next) {
		struct decode_path here = { .up = p, .key = m->key };
		const struct name_value *c = clocks;
		while (c->name && !streq(c->name, m->key))
			c++;
		if (!c->name)
			return decode_fail(d, &here, "unknown clock (expected monotonic or boottime)");
		struct offset_row row = { 0 };
		int r = decode_object(d, &here, m, offset_fields, &row);
		if (r < 0)
			return r;
		if (row.nanosecs > 999999999)
			return decode_fail(d, &here, "nanosecs %u is out of range (0 to 999999999)", row.nanosecs);
		s->time_offsets[s->n_time_offsets++] = (struct oci_time_offset){ (int)c->value, row.secs, row.nanosecs };
	}
	return 0;
}

static const struct field net_device_fields[] = { FIELD("name", FIELD_TEXT, struct oci_net_device, name), FIELD_END };

enum { IFNAME_MAX = 15 }; /* IFNAMSIZ less the NUL: netdevice(7) */

static bool is_ifname(const char *s) {
	size_t n = strlen(s);
	return n >= 1 && n <= IFNAME_MAX && !streq(s, ".") && !streq(s, "..") && !strpbrk(s, "/: \t\n\v\f\r");
}

static int read_net_devices(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	S *s = obj;
	if (j->type != JSON_OBJECT)
		return decode_type_error(d, p, "object", j);
	s->net_devices = arena_array(d->a, j->len, struct oci_net_device);
	if (!s->net_devices)
		return decode_oom(d);
	for (struct json *m = j->first; m; m = m->next) {
		struct decode_path here = { .up = p, .key = m->key };
		struct oci_net_device *dev = &s->net_devices[s->n_net_devices++];
		dev->host_name = m->key;
		int r = decode_object(d, &here, m, net_device_fields, dev);
		if (r < 0)
			return r;
		if (!is_ifname(dev->host_name))
			return decode_fail(d, &here, "invalid network device name \"%.40s\"", dev->host_name);
		if (dev->name && !is_ifname(dev->name))
			return decode_fail(d, &here, "invalid network device name \"%.40s\"", dev->name);
	}
	return 0;
}

#ifndef MPOL_F_NUMA_BALANCING /* Linux 5.12 */
#define MPOL_F_NUMA_BALANCING (1 << 13)
#endif
enum { MODE_PREFERRED_MANY = 5, MODE_WEIGHTED_INTERLEAVE = 6 }; /* Linux 5.15 and 6.9; older headers lack them */

static int read_policy_mode(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	static const struct name_value modes[] = {
		{ "MPOL_DEFAULT", MPOL_DEFAULT }, { "MPOL_PREFERRED", MPOL_PREFERRED }, { "MPOL_BIND", MPOL_BIND }, { "MPOL_INTERLEAVE", MPOL_INTERLEAVE },
		{ "MPOL_LOCAL", MPOL_LOCAL }, { "MPOL_PREFERRED_MANY", MODE_PREFERRED_MANY }, { "MPOL_WEIGHTED_INTERLEAVE", MODE_WEIGHTED_INTERLEAVE }, { NULL, 0 },
	};
	int64_t v;
	int r = decode_name(d, p, j, modes, &v);
	if (r == 0)
		((struct oci_memory_policy *)obj)->mode = (int)v;
	return r;
}

static int read_policy_flags(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	static const struct name_value policy_flags[] = {
		{ "MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING }, { "MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES },
		{ "MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES }, { NULL, 0 },
	};
	if (j->type != JSON_ARRAY)
		return decode_type_error(d, p, "array of strings", j);
	struct decode_path here = { .up = p };
	for (struct json *m = j->first; m; m = m->next, here.index++) {
		int64_t v;
		int r = decode_name(d, &here, m, policy_flags, &v);
		if (r < 0)
			return r;
		((struct oci_memory_policy *)obj)->flags |= (unsigned)v;
	}
	return 0;
}

static const struct field policy_fields[] = {
	{ .key = "mode", .kind = FIELD_CUSTOM, .flags = FIELD_REQUIRED, .fn = read_policy_mode },
	FIELD("nodes", FIELD_TEXT, struct oci_memory_policy, nodes),
	FIELD_FN("flags", read_policy_flags),
	FIELD_END,
};

static int check_policy(struct decoder *d UNUSED, const struct decode_path *p UNUSED, struct json *j UNUSED, void *obj) {
	((struct oci_memory_policy *)obj)->set = true;
	return 0;
}

const struct field oci_linux_fields[] = {
	FIELD_ARRAY_FN("uidMappings", S, uid_mappings.v, uid_mappings.n, struct oci_id_map, oci_id_map_fields, oci_check_id_map),
	FIELD_ARRAY_FN("gidMappings", S, gid_mappings.v, gid_mappings.n, struct oci_id_map, oci_id_map_fields, oci_check_id_map),
	FIELD("sysctl", FIELD_MAP, S, sysctl),
	FIELD_SUB_FN("resources", S, resources, oci_resources_fields, oci_check_resources),
	FIELD("cgroupsPath", FIELD_TEXT, S, cgroups_path),
	FIELD_ARRAY_FN("namespaces", S, namespaces, n_namespaces, struct oci_namespace, namespace_fields, check_namespace),
	FIELD_ARRAY_FN("devices", S, devices, n_devices, struct oci_device, device_fields, check_device),
	FIELD_SUB_FN("seccomp", S, seccomp, oci_seccomp_fields, oci_check_seccomp),
	FIELD_FN("rootfsPropagation", read_propagation),
	FIELD("maskedPaths", FIELD_STRINGS, S, masked_paths),
	FIELD("readonlyPaths", FIELD_STRINGS, S, readonly_paths),
	FIELD("mountLabel", FIELD_TEXT, S, mount_label),
	FIELD_SUB_FN("intelRdt", S, intel_rdt, rdt_fields, check_rdt),
	FIELD_FN("personality", read_personality),
	FIELD_FN("timeOffsets", read_time_offsets),
	FIELD_FN("netDevices", read_net_devices),
	FIELD_SUB_FN("memoryPolicy", S, memory_policy, policy_fields, check_policy),
	FIELD_END,
};
