/* Control groups of one container: v1, v2 and hybrid hosts, managers cgroupfs, systemd and disabled. */
#ifndef TIERCE_CONFINE_CGROUP_H
#define TIERCE_CONFINE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "spec/oci.h"

struct json_writer; /* wire/json.h */

/*
 * Order of calls on the way up (the same for every manager; each is one function of the engine):
 *
 *   cgroup_plan()      decide the paths; no write
 *   cgroup_create()    make the directories (systemd: the scope, held open by the helper program until cgroup_ready())
 *   cgroup_apply()     limits and device rules (CGROUP_APPLY_NEW); before or after the process is inside
 *   cgroup_join_open() files for the child to enter the v1 hierarchies by itself
 *   clone3(CLONE_INTO_CGROUP, cgroup_fd())   when cgroup_fd() >= 0
 *   child: cgroup_join_self(), then unshare(CLONE_NEWCGROUP): the namespace's root is the cgroup at that moment (with CLONE_NEWCGROUP in
 *          clone3 itself it would be the parent's cgroup)
 *   cgroup_ready()     systemd: lets the helper leave the scope; nothing otherwise
 *   cgroup_save()      strings for the state file
 *
 * Every later command: cgroup_load() (no system call), what it needs, cgroup_free(). With the manager "disabled" each function succeeds and
 * does nothing (lists are empty, fds -EBADF), so that callers need no branch; cgroup_active() tells.
 *
 * Why the child joins by itself: moving another process by its pid takes the kernel's cgroup_threadgroup_rwsem for writing, which waits for an RCU
 * grace period (9-13 ms measured here). A single thread that writes "0" to a v1 "tasks" file, and CLONE_INTO_CGROUP on v2, do not
 * (kernel/cgroup/cgroup.c, cgroup_procs_write_start). cgroup_add() by pid is for processes that cannot do so.
 *
 * The handle is not thread-safe. Descriptors are opened lazily, once, and belong to the handle.
 */

enum cgroup_manager { CGROUP_MANAGER_CGROUPFS, CGROUP_MANAGER_SYSTEMD, CGROUP_MANAGER_DISABLED };

enum cgroup_mode {
	CGROUP_MODE_NONE,   /* no cgroup file system is mounted */
	CGROUP_MODE_V1,     /* v1 only (a bare v2 mount without controllers, as systemd makes it, counts as hybrid) */
	CGROUP_MODE_HYBRID, /* v1 hierarchies and a v2 mount side by side */
	CGROUP_MODE_V2,     /* v2 at /sys/fs/cgroup */
};

/* Controllers by their v1 names; "io" is CGROUP_BLKIO. On v2 devices and freezer are always there. */
enum cgroup_controller {
	CGROUP_CPU, CGROUP_CPUACCT, CGROUP_CPUSET, CGROUP_MEMORY, CGROUP_BLKIO, CGROUP_PIDS, CGROUP_HUGETLB, CGROUP_DEVICES,
	CGROUP_FREEZER, CGROUP_NET_CLS, CGROUP_NET_PRIO, CGROUP_PERF_EVENT, CGROUP_RDMA, CGROUP_MISC, CGROUP_CONTROLLERS
};

struct cgroup;
#define _cleanup_cgroup_ CLEANUP(cgroup_freep)

/* ---- the host ---------------------------------------------------------------------------------------------------- */

/* Layout of this host as the calling process sees it (one or two statfs calls). */
enum cgroup_mode cgroup_host_mode(void);
/* Bit n = controller n (enum cgroup_controller) is usable on v1 / on v2. For "features" and "check". */
int cgroup_host_controllers(uint32_t *ret_v1, uint32_t *ret_v2, struct err *e) MUST_CHECK;
/* True when systemd is the init system here (/run/systemd/system exists, sd_booted(3)). */
bool cgroup_host_systemd(void);

/* ---- plan, save, load -------------------------------------------------------------------------------------------- */

struct cgroup_request {
	enum cgroup_manager manager;
	const char *id;                    /* container id */
	const char *cgroups_path;          /* linux.cgroupsPath; NULL: "/<id>", systemd: "<default slice>:tierce:<id>" */
	bool rootless;                     /* not the host's root: below the own delegated cgroup; systemd: the user's manager */
	const struct oci_map *annotations; /* may be NULL. Read: org.systemd.property.*, run.oci.delegate-cgroup, run.oci.systemd.subgroup */
	const struct oci_resources *resources; /* may be NULL: decides which controllers are enabled and what the systemd unit gets */
	bool chown;                        /* the container has a user namespace: hand the v2 cgroup's delegatable files to owner_uid when a cgroup
	                                    * namespace exists and /sys/fs/cgroup is writable inside (the caller decides) */
	uint32_t owner_uid, owner_gid;     /* host ids of the container's root */
	const char *helper;                /* path of tierce-systemd; NULL: the installed one */
};

/*
 * Decide where the container's cgroup lives. Refuses paths with a ".." component, systemd paths that are not slice:prefix:name, malformed
 * org.systemd.property.* annotations (-EINVAL), and a host without cgroups (-ENOTSUP) unless the manager is disabled.
 */
int cgroup_plan(const struct cgroup_request *req, struct cgroup **ret, struct err *e) MUST_CHECK;

/* What the state file keeps: plain strings without newlines except in dirs. */
struct cgroup_saved {
	const char *manager; /* "cgroupfs", "systemd", "systemd-user", "disabled" */
	const char *path;    /* path below every hierarchy as `state` and hooks may show it, e.g. "/system.slice/x.scope"; "" when disabled */
	const char *unit;    /* systemd unit, "" for other managers */
	const char *dirs;    /* one line per hierarchy, "controllers:absolute directory" ("" before the colon: v2) */
};
/* The strings belong to cg and live as long as it does. Valid after cgroup_plan() (so that a crash in between can be cleaned up). */
void cgroup_save(const struct cgroup *cg, struct cgroup_saved *ret);
/* A handle from saved strings; no system call. -EINVAL when the strings are damaged. */
int cgroup_load(const struct cgroup_saved *s, struct cgroup **ret, struct err *e) MUST_CHECK;
void cgroup_free(struct cgroup *cg);
static inline void cgroup_freep(struct cgroup **cg) { cgroup_free(*cg); }

/* False: manager disabled, or rootless without any writable cgroup and without limits. */
bool cgroup_active(const struct cgroup *cg);
/* Absolute directory of a controller's cgroup, or NULL when the controller is nowhere. The string belongs to cg. */
const char *cgroup_dir(const struct cgroup *cg, enum cgroup_controller c);
/* Absolute directory of the v2 cgroup, NULL on v1. */
const char *cgroup_dir_v2(const struct cgroup *cg);

/* ---- making it --------------------------------------------------------------------------------------------------- */

/*
 * Make the cgroup in every hierarchy: parents, controllers enabled in subtree_control from the top down (only those that the request's resources
 * need, plus pids/memory/cpu where they are free to have for statistics), cpuset inherited from the parent on v1. A directory that exists already is
 * used if it holds no process; otherwise -EEXIST ("container's cgroup is not empty"). systemd: starts the transient scope and waits for its job.
 */
int cgroup_create(struct cgroup *cg, struct err *e) MUST_CHECK;
/* O_DIRECTORY fd of the v2 cgroup for CLONE_INTO_CGROUP, or -EBADF (v1, disabled). Stays the handle's. */
int cgroup_fd(struct cgroup *cg);
/*
 * Without root the kernel may forbid the caller to put a child into the v2 cgroup: the migration's common ancestor is not the user's (a login session beside the
 * user's own manager). cgroup_fd() and cgroup_exec_fd() give -EBADF then, and the child is attached by this right after the clone, while it still waits
 * (systemd does it on our behalf). Does nothing when there was an fd. sub as for exec.
 */
int cgroup_attach(struct cgroup *cg, const char *sub, pid_t pid, struct err *e) MUST_CHECK;

/* The v1 way in for a child that was cloned into cgroup_fd(); on a pure v2 host n is 0. */
enum { CGROUP_HIERARCHIES_MAX = 24 }; /* the kernel has 14 controllers, named hierarchies are rare */
struct cgroup_join { int fds[CGROUP_HIERARCHIES_MAX]; size_t n; };
int cgroup_join_open(struct cgroup *cg, struct cgroup_join *ret, struct err *e) MUST_CHECK;
/* In the child, while it has one thread and the fds are open (its user namespace does not matter: the opener's credentials count).
 * Async-signal-safe. 0 or negative errno. */
int cgroup_join_self(const struct cgroup_join *j);
void cgroup_join_close(struct cgroup_join *j);
/* Put a process into every hierarchy by pid (slow, see above). in_v2: it was cloned into the v2 cgroup. */
int cgroup_add(struct cgroup *cg, pid_t pid, bool in_v2, struct err *e) MUST_CHECK;
/* The container's first process is inside: let the systemd helper go. */
int cgroup_ready(struct cgroup *cg, struct err *e);

/*
 * Further processes (exec). sub is NULL, "path" (every hierarchy), or "controller[,controller]:path" (that hierarchy only, the others get the
 * container's own cgroup); the sub-cgroup must exist. A list may be given as several lines. Without sub, when the container's own v2 cgroup
 * cannot take processes (the init has moved into a child cgroup and enabled controllers: EBUSY), the cgroup of init_pid is used, as runc does.
 */
int cgroup_exec_fd(struct cgroup *cg, const char *sub, pid_t init_pid, int *ret_fd, struct err *e) MUST_CHECK; /* v2 fd for CLONE_INTO_CGROUP (caller closes) or -EBADF in *ret_fd */
int cgroup_exec_join(struct cgroup *cg, const char *sub, pid_t init_pid, struct cgroup_join *ret, struct err *e) MUST_CHECK; /* for cgroup_join_self() in the child */
int cgroup_exec_add(struct cgroup *cg, const char *sub, pid_t init_pid, pid_t pid, bool in_v2, struct err *e) MUST_CHECK;

/* ---- limits ------------------------------------------------------------------------------------------------------ */

enum cgroup_apply_mode {
	CGROUP_APPLY_NEW,    /* everything in r, and device rules with the default allow list even when r is empty */
	CGROUP_APPLY_UPDATE, /* a live container: only what is set in r; device rules only when r->n_devices > 0 */
};
/*
 * Write resources. Values are converted between v1 and v2 where the spec's words are v1's (shares -> weight, memory+swap -> swap). Memory and swap
 * are written in the order that lets both raising and lowering succeed. A limit whose controller is missing is an error that names it (-ENOTSUP); so
 * is an unknown file in "unified". Rootless: device rules that the kernel does not let us load are skipped. On failure values that were written before stay.
 * systemd: the unit's properties are set as well, so that a daemon-reload keeps them.
 */
int cgroup_apply(struct cgroup *cg, const struct oci_resources *r, enum cgroup_apply_mode mode, struct err *e) MUST_CHECK;

/* ---- a live container -------------------------------------------------------------------------------------------- */

/* Freeze or thaw and wait until the kernel says so. -ENOTSUP without a freezer. */
int cgroup_freeze(struct cgroup *cg, bool frozen, struct err *e);
/* 1 frozen, 0 not (also when the cgroup is gone), negative errno. Two system calls after the first. */
int cgroup_frozen(struct cgroup *cg);
/* Signal every process, sub-cgroups included. SIGKILL: cgroup.kill where there is one; else frozen, signalled, thawed, until empty of new ones.
 * 0 also when there was nobody (*ret_count, may be NULL: processes signalled, -1 when cgroup.kill did it). */
int cgroup_kill(struct cgroup *cg, int sig, int *ret_count, struct err *e) MUST_CHECK;
/* Pids in the cgroup and below it, sorted, each once; *ret is malloc'ed (caller frees), NULL when there are none. */
int cgroup_pids(struct cgroup *cg, pid_t **ret, size_t *ret_n, struct err *e);
/* 1 when a process is inside (v2: cgroup.events), 0 when none or the cgroup is gone. */
int cgroup_populated(struct cgroup *cg);

/* Adds cpu, cpuset, memory, pids, blkio, hugetlb, rdma as members of the open object, in the shape of `runc events --stats` data, with PSI. */
int cgroup_stats(struct cgroup *cg, struct json_writer *w, struct err *e) MUST_CHECK;

/* OOM kills. fd becomes readable (POLLIN) when something happened; then cgroup_oom_read() tells how many new kills there were (0: none of ours,
 * -ENODEV: the cgroup is gone or empty, end of watching). */
struct cgroup_oom {
	int fd;             /* inotify (v2) or eventfd (v1); -EBADF when closed */
	int events_fd;      /* memory.events / memory.oom_control */
	int populated_fd;   /* cgroup.events (v2), -EBADF on v1 */
	uint64_t seen;
	bool v1;
};
#define CGROUP_OOM_INIT { -EBADF, -EBADF, -EBADF, 0, false }
int cgroup_oom_open(struct cgroup *cg, struct cgroup_oom *ret, struct err *e) MUST_CHECK;
int64_t cgroup_oom_read(struct cgroup_oom *w);
void cgroup_oom_close(struct cgroup_oom *w);
/* Number of OOM kills so far (memory.events oom_kill / memory.oom_control), or negative errno. */
int64_t cgroup_oom_count(struct cgroup *cg);

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* Remove the cgroup and everything below it in every hierarchy. Processes are expected to be dead or dying: waits for the last of them by cgroup.events
 * (v2) or pidfd (v1), bounded; -EBUSY when somebody stays. systemd: StopUnit and ResetFailedUnit. Idempotent. */
int cgroup_remove(struct cgroup *cg, struct err *e) MUST_CHECK;

/* ---- what the container sees at /sys/fs/cgroup -------------------------------------------------------------------- */

struct cgroup_mount {
	const char *name;    /* below the destination: "" the destination itself, "cpu,cpuacct", "unified" ... */
	const char *link;    /* not NULL: make a symbolic link `name` -> link, nothing is mounted */
	const char *fstype;  /* "tmpfs", "cgroup", "cgroup2", or "bind" */
	const char *source;  /* bind: the directory to bind */
	const char *data;    /* options for the new file system ("cpu,cpuacct", "none,name=systemd", "mode=755"), "" when none */
	const char *fallback;/* cgroup2/cgroup: directory to bind when the kernel refuses the fresh mount (EPERM/EBUSY), NULL when none */
};
/* Rows in the order of mounting; the array is malloc'ed (caller frees), its strings belong to cg. With a cgroup namespace the file systems are mounted afresh inside it, without
 * one the container's own directories are bound. */
int cgroup_mounts(struct cgroup *cg, bool cgroup_ns, struct cgroup_mount **ret, size_t *ret_n, struct err *e) MUST_CHECK;

#endif
