/* A container as people describe it (run options over an image's defaults) written as an OCI config.json. */
#ifndef TIERCE_ENGINE_SPECGEN_H
#define TIERCE_ENGINE_SPECGEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "spec/oci.h"

struct specgen_mount { const char *destination, *type, *source; const char *const *options; /* NULL-terminated */ };
struct specgen_device { const char *path; char type; int64_t major, minor; uint32_t mode, uid, gid; const char *access; };
struct specgen_block { const char *key; int64_t major, minor; uint64_t value; }; /* key: the array in resources.blockIO */
struct specgen_rlimit { const char *type; uint64_t soft, hard; };

enum specgen_seccomp { SPECGEN_SECCOMP_DEFAULT, SPECGEN_SECCOMP_UNCONFINED, SPECGEN_SECCOMP_FILE };

/* Everything resolved: the caller has merged image and options, looked users up in the container's own files, and made the network namespace. */
struct specgen {
	const char *const *args, *const *env; /* NULL-terminated */
	const char *cwd, *hostname, *domainname; /* hostname NULL: none is set */
	uint16_t console_rows, console_cols; /* with terminal: 0 is unknown */
	bool terminal, read_only_root, privileged, no_new_privileges, rootless;
	const char *rootfs;
	uint32_t uid, gid;
	int64_t umask; /* -1: none */
	const uint32_t *groups;
	size_t n_groups;
	uint64_t caps;         /* bounding, permitted, effective for root; for other users only bounding (plus ambient when asked for) */
	uint64_t ambient_caps;
	const char *apparmor, *selinux_label, *mount_label;
	struct oci_map annotations, sysctl;
	const struct specgen_rlimit *rlimits;
	size_t n_rlimits;
	/* namespaces: new_ns has CLONE_NEW* bits to make; paths are joined */
	int new_ns;
	const char *pid_path, *net_path, *ipc_path, *uts_path, *user_path, *cgroup_path;
	const struct oci_id_map *uid_map, *gid_map;
	size_t n_uid_map, n_gid_map;
	const struct specgen_mount *mounts; /* behind the default ones */
	size_t n_mounts;
	const struct specgen_device *devices;
	size_t n_devices;
	const char *const *device_cgroup_rules; /* "c 1:3 rwm"; NULL-terminated or NULL */
	bool all_devices;      /* --privileged: no device rules */
	uint64_t shm_size;     /* bytes, 0: 64 MiB */
	bool ipc_host;         /* /dev/shm and mqueue of the host */
	const char *shm_path;  /* bind this as /dev/shm (pods), NULL: a tmpfs of its own */
	bool no_default_masks; /* --security-opt unmask=ALL, --privileged */
	const char *const *extra_masked; /* NULL-terminated or NULL */
	const char *const *unmask;       /* path prefixes to leave open; NULL-terminated or NULL */
	enum specgen_seccomp seccomp;
	const char *seccomp_json; /* profile text for SPECGEN_SECCOMP_FILE */
	const char *cgroups_path;
	int64_t oom_score_adj; bool oom_score_adj_set;
	/* resources; negative or zero = not given, as commented */
	int64_t memory, memory_swap, memory_reservation; /* bytes; 0: not given, -1: unlimited */
	int64_t memory_swappiness;                       /* -1: not given */
	bool oom_kill_disable;
	uint64_t cpu_shares, cpu_period; int64_t cpu_quota; /* 0: not given */
	const char *cpuset_cpus, *cpuset_mems;
	int64_t pids_limit;                              /* 0: not given, -1: unlimited */
	uint16_t blkio_weight;
	const struct specgen_block *block; /* grouped by key */
	size_t n_block;
	struct oci_map unified;
	/* hooks that the runtime must call: path and args of the network teardown etc. are the monitor's business, so none here */
};

/* The document, checked by the parser that the runtime itself uses before it is handed out. 0 or negative errno. */
int specgen_write(const struct specgen *g, struct strbuf *out, struct err *e) MUST_CHECK;

/* The resources alone, as "update" takes them (without device rules). */
int specgen_write_resources(const struct specgen *g, struct strbuf *out, struct err *e) MUST_CHECK;

/* The capabilities that a container gets unless told otherwise (podman's list). */
uint64_t specgen_default_caps(void);
/* Write the default system call profile as the value of an open "seccomp" key. caps: what the container will hold. */
void specgen_default_seccomp(struct json_writer *w, uint64_t caps);

#endif
