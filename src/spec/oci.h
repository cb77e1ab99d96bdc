/* The OCI runtime configuration (runtime-spec 1.3, Linux) as validated values. All memory belongs to the arena. */
#ifndef TIERCE_SPEC_OCI_H
#define TIERCE_SPEC_OCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "wire/json.h"

struct opt_i64 { bool set; int64_t v; };
struct opt_u64 { bool set; uint64_t v; };
struct opt_bool { bool set; bool v; };
struct opt_double { bool set; double v; };

/* String list: n entries, v[n] == NULL, v is never NULL. */
struct oci_strings { char **v; size_t n; };
struct oci_map_entry { const char *key, *value; };
/* Ordered as in the document. */
struct oci_map { struct oci_map_entry *v; size_t n; };

struct oci_id_map { uint32_t container_id, host_id, size; };
struct oci_id_maps { struct oci_id_map *v; size_t n; };

/* ---- process ---------------------------------------------------------------------------------------------------- */

struct oci_rlimit { int resource; /* RLIMIT_* */ uint64_t soft, hard; };

struct oci_caps {
	bool set;            /* "capabilities" was present */
	uint64_t bounding, effective, inheritable, permitted, ambient; /* bit n = capability n (linux/capability.h) */
	struct oci_strings unknown; /* names that neither we nor the kernel know: warned about, not an error (spec) */
};

struct oci_user {
	uint32_t uid, gid;
	struct opt_u64 umask;
	uint32_t *additional_gids;
	size_t n_additional_gids;
	const char *username; /* Windows only in the spec; kept for messages, may be NULL */
};

struct oci_scheduler {
	bool set;
	uint32_t policy;     /* SCHED_* */
	int32_t nice, priority;
	uint64_t flags;      /* SCHED_FLAG_* */
	uint64_t runtime, deadline, period; /* ns */
};

struct oci_process {
	bool terminal;
	struct opt_u64 console_height, console_width;
	struct oci_user user;
	struct oci_strings args, env;
	const char *cwd;
	struct oci_caps caps;
	struct oci_rlimit *rlimits;
	size_t n_rlimits;
	bool no_new_privileges;
	const char *apparmor_profile; /* NULL when absent or "" */
	const char *selinux_label;    /* likewise */
	struct opt_i64 oom_score_adj;
	struct oci_scheduler scheduler;
	bool io_priority_set;
	int io_class, io_priority;    /* IOPRIO_CLASS_*, 0-7 */
	const char *cpu_affinity_initial, *cpu_affinity_final; /* cpu list strings, NULL when absent */
};

/* ---- mounts and root --------------------------------------------------------------------------------------------- */

enum oci_mount_ext {
	OCI_MOUNT_TMPCOPYUP = 1 << 0,      /* copy what is below the destination into the new tmpfs */
	OCI_MOUNT_IDMAP = 1 << 1,          /* idmap the mount itself */
	OCI_MOUNT_RIDMAP = 1 << 2,         /* idmap the tree */
	OCI_MOUNT_SRC_NOFOLLOW = 1 << 3,   /* do not follow a symlink as bind source */
	OCI_MOUNT_SRC_NOSYMLINKS = 1 << 6, /* no symlink anywhere in the bind source (ours: a source inside a volume that others write to) */
	OCI_MOUNT_DEST_NOFOLLOW = 1 << 4,  /* do not follow a symlink as destination */
	OCI_MOUNT_COPY_SYMLINK = 1 << 5,   /* source is a symlink: recreate it at the destination (crun's copy-symlink) */
};

struct oci_mount {
	const char *destination; /* absolute, or relative as older bundles write it (taken from /) */
	const char *type;        /* NULL when absent */
	const char *source;      /* NULL when absent */
	struct oci_strings options; /* as written */
	/* decoded from options */
	uint64_t attr_set, attr_clr;   /* MOUNT_ATTR_* for this mount (mount_setattr(2)); atime bits follow its rules */
	uint64_t rec_attr_set, rec_attr_clr; /* the same from rro, rnosuid ... : whole tree (AT_RECURSIVE) */
	unsigned long flags_set, flags_clr;  /* the same as MS_*, for superblock flags and old kernels */
	bool bind, recursive_bind, remount;
	unsigned long propagation; /* MS_SHARED|MS_PRIVATE|MS_SLAVE|MS_UNBINDABLE with MS_REC, 0 when none was given */
	uint32_t ext;              /* enum oci_mount_ext */
	const char *data;          /* rest, comma-joined, "" when none */
	struct oci_id_maps uid_mappings, gid_mappings;
	const char *idmap_option;  /* crun's "idmap=uids=...;gids=..." text, NULL when absent */
	struct json *json;         /* the mount as in the document, for messages */
};

struct oci_device {
	const char *path;
	char type;           /* 'c', 'b', 'p' ('u' is read as 'c') */
	int64_t major, minor;
	struct opt_u64 file_mode, uid, gid;
};

/* ---- linux ------------------------------------------------------------------------------------------------------- */

struct oci_namespace {
	int flag;            /* CLONE_NEWPID ... */
	const char *path;    /* NULL: make a new one */
};

struct oci_device_rule {
	bool allow;
	char type;           /* 'a', 'b', 'c' */
	struct opt_i64 major, minor; /* unset = any */
	const char *access;  /* subset of "rwm", "rwm" when absent */
};

struct oci_blkio_device { int64_t major, minor; struct opt_u64 weight, leaf_weight; };
struct oci_throttle_device { int64_t major, minor; uint64_t rate; };
struct oci_throttle { struct oci_throttle_device *v; size_t n; };
struct oci_hugepage { const char *page_size; uint64_t limit; };
struct oci_if_priority { const char *name; uint32_t priority; };
struct oci_rdma { const char *device; struct opt_u64 hca_handles, hca_objects; };

struct oci_resources {
	bool set;
	struct oci_device_rule *devices;
	size_t n_devices;
	struct {
		struct opt_i64 limit, reservation, swap, kernel, kernel_tcp; /* bytes, -1 = unlimited */
		struct opt_u64 swappiness;
		struct opt_bool disable_oom_killer, use_hierarchy, check_before_update;
	} memory;
	struct {
		struct opt_u64 shares, period, realtime_period, burst;
		struct opt_i64 quota, realtime_runtime, idle;
		const char *cpus, *mems; /* NULL when absent */
	} cpu;
	struct opt_i64 pids_limit;
	struct {
		struct opt_u64 weight, leaf_weight;
		struct oci_blkio_device *weight_device;
		size_t n_weight_device;
		struct oci_throttle read_bps, write_bps, read_iops, write_iops;
	} blkio;
	struct oci_hugepage *hugepages;
	size_t n_hugepages;
	struct opt_u64 net_class_id;
	struct oci_if_priority *net_priorities;
	size_t n_net_priorities;
	struct oci_rdma *rdma;
	size_t n_rdma;
	struct oci_map unified;
};

struct oci_seccomp_arg { uint32_t index; uint64_t value, value_two; uint32_t op; /* enum oci_seccomp_op */ };
enum oci_seccomp_op { OCI_CMP_NE = 1, OCI_CMP_LT, OCI_CMP_LE, OCI_CMP_EQ, OCI_CMP_GE, OCI_CMP_GT, OCI_CMP_MASKED_EQ };
struct oci_seccomp_rule {
	struct oci_strings names;
	uint32_t action;      /* SECCOMP_RET_* without data */
	struct opt_u64 errno_ret;
	struct oci_seccomp_arg *args;
	size_t n_args;
};
struct oci_seccomp {
	bool set;
	uint32_t default_action; /* SECCOMP_RET_* */
	struct opt_u64 default_errno_ret;
	struct oci_strings architectures; /* SCMP_ARCH_* as written */
	uint64_t flags;           /* SECCOMP_FILTER_FLAG_* */
	const char *listener_path, *listener_metadata; /* NULL when absent */
	struct oci_seccomp_rule *rules;
	size_t n_rules;
	struct json *json;        /* as in the document: its bytes key the filter cache */
};

struct oci_intel_rdt {
	bool set;
	const char *clos_id, *l3_cache_schema, *mem_bw_schema; /* NULL when absent */
	struct oci_strings schemata;
	bool enable_monitoring, enable_cmt, enable_mbm;
};

struct oci_net_device { const char *host_name, *name; /* name: inside the container, NULL = same */ };
struct oci_memory_policy { bool set; int mode; /* MPOL_* */ unsigned int flags; /* MPOL_F_* */ const char *nodes; };
struct oci_time_offset { int clock; /* CLOCK_MONOTONIC or CLOCK_BOOTTIME */ int64_t secs; uint32_t nanosecs; };

/* ---- hooks ------------------------------------------------------------------------------------------------------- */

enum oci_hook_point { OCI_HOOK_PRESTART, OCI_HOOK_CREATE_RUNTIME, OCI_HOOK_CREATE_CONTAINER, OCI_HOOK_START_CONTAINER,
	OCI_HOOK_POSTSTART, OCI_HOOK_POSTSTOP, OCI_HOOK_POINTS };
struct oci_hook { const char *path; struct oci_strings args, env; struct opt_i64 timeout; /* s */ };
struct oci_hooks { struct oci_hook *v; size_t n; };
extern const char *const oci_hook_point_names[OCI_HOOK_POINTS]; /* "prestart", "createRuntime", ... */

/* ---- the whole --------------------------------------------------------------------------------------------------- */

struct oci_spec {
	const char *version;
	const char *hostname, *domainname; /* NULL when absent */
	const char *root_path; /* as written; NULL when "root" is absent */
	bool root_readonly;
	bool has_process;
	struct oci_process process;
	struct oci_mount *mounts;
	size_t n_mounts;
	struct oci_hooks hooks[OCI_HOOK_POINTS];
	struct oci_map annotations;
	/* linux */
	bool has_linux;
	struct oci_id_maps uid_mappings, gid_mappings;
	struct oci_map sysctl;
	struct oci_resources resources;
	const char *cgroups_path; /* NULL when absent */
	struct oci_namespace *namespaces;
	size_t n_namespaces;
	struct oci_device *devices;
	size_t n_devices;
	struct oci_seccomp seccomp;
	unsigned long rootfs_propagation; /* MS_* with MS_REC, 0 when absent */
	struct oci_strings masked_paths, readonly_paths;
	const char *mount_label; /* NULL when absent */
	struct oci_intel_rdt intel_rdt;
	bool personality_set;
	unsigned long personality; /* PER_LINUX or PER_LINUX32 */
	struct oci_time_offset time_offsets[2];
	size_t n_time_offsets;
	struct oci_net_device *net_devices;
	size_t n_net_devices;
	struct oci_memory_policy memory_policy;
	struct json *json; /* the document */
};

/*
 * Validate a parsed config.json. Unknown members are ignored as the spec demands ("extensibility"); known members of a wrong type, range or name
 * are one error that gives the JSON path, the value and what is allowed, for instance
 * `config.json: linux.namespaces[2].type: "pidd" is not one of pid, network, mount, ...`. Strings point into the document's arena.
 */
int oci_spec_from_json(struct arena *a, struct json *doc, struct oci_spec **ret, struct err *e) MUST_CHECK;
/* Read and validate a file below dirfd (AT_FDCWD allowed); path is named in errors. Bound: OCI_CONFIG_MAX bytes. */
int oci_spec_load(struct arena *a, int dirfd, const char *path, struct oci_spec **ret, struct err *e) MUST_CHECK;
enum { OCI_CONFIG_MAX = 64 << 20 }; /* a config is read whole: bounds what a hostile bundle can make us allocate */

/* A process document alone (exec --process). */
int oci_process_from_json(struct arena *a, struct json *doc, struct oci_process *ret, struct err *e) MUST_CHECK;
/* A resources document alone (update -r). */
int oci_resources_from_json(struct arena *a, struct json *doc, struct oci_resources *ret, struct err *e) MUST_CHECK;
/* Decode one list of mount options into m (attr_set, flags ..., data); used by "mounts add" too. */
int oci_mount_decode_options(struct arena *a, struct oci_mount *m, const char *json_path, struct err *e) MUST_CHECK;

/* Annotation value or NULL. */
const char *oci_annotation(const struct oci_spec *s, const char *key);
/* Entry for CLONE_NEW*, or NULL. */
const struct oci_namespace *oci_namespace(const struct oci_spec *s, int flag);

/* Names <-> numbers, shared with the command line. All return a negative errno when unknown. */
int oci_capability_number(const char *name);      /* "CAP_CHOWN", case-insensitive -> 0 */
const char *oci_capability_name(unsigned number); /* NULL when out of range */
int oci_rlimit_number(const char *name);          /* "RLIMIT_NOFILE" -> RLIMIT_NOFILE */
int oci_namespace_flag(const char *name);         /* "network" -> CLONE_NEWNET */
const char *oci_namespace_name(int flag);
int oci_signal_number(const char *name);          /* "TERM", "SIGTERM", "15", "RTMIN+1" -> 15 */

/* Lists for "features": NULL-terminated, sorted. */
extern const char *const oci_mount_option_names[];
extern const char *const oci_seccomp_action_names[], *const oci_seccomp_operator_names[], *const oci_seccomp_arch_names[], *const oci_seccomp_flag_names[];

/* The default document of "spec" (rootless: adapted as runc's "spec --rootless" does for the given ids). Appended to out. */
struct strbuf;
int oci_spec_write_default(struct strbuf *out, bool rootless, uint32_t host_uid, uint32_t host_gid);

#endif
