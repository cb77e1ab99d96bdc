/*
 * The lifecycle engine: containers as directories below a state root, their records, locks, hooks and moves.
 *
 * Locking: a container's directory is locked (flock on the directory itself, so that no lock file has to be removed under somebody's feet) by every
 * command that moves it from one state to another. Readers take no lock: the record is replaced atomically. A lock is only good if the directory is
 * still the one that the name leads to; ctr_open() checks that after it has the lock. Lock order: container directory, nothing else is held.
 */
#ifndef TIERCE_ENGINE_ENGINE_H
#define TIERCE_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "confine/cgroup.h"
#include "spec/oci.h"
#include "tier/tier.h"

/* ---- the engine -------------------------------------------------------------------------------------------------- */

struct engine {
	const char *root;              /* absolute path of the state root */
	bool root_default;             /* nobody gave --root */
	bool rootless;
	enum cgroup_manager cgroup_manager;
	const char *criu_path;         /* NULL: $PATH */
	const struct tier_ops *const *tiers; /* those that this program links, NULL-terminated; the first is the default */
	const char *isolation;         /* tier asked for by the command line, NULL: none */
	const char *isolation_default; /* from argv[0] or the configuration file, NULL: "ns" */
	void (*debug)(void *arg, const char *msg); /* NULL: nobody listens */
	void (*warn)(void *arg, const char *msg);
	void *debug_arg;
};

void engine_debug(const struct engine *eng, const char *fmt, ...) PRINTF(2, 3);
void engine_warn(const struct engine *eng, const char *fmt, ...) PRINTF(2, 3);
/* Default state root: /run/tierce, or $XDG_RUNTIME_DIR/tierce for an ordinary user. Written to buf. 0 or negative errno. */
int engine_default_root(char *buf, size_t size, struct err *e) MUST_CHECK;
/* Is this process rootless: not root, or root of a user namespace that does not map everything. */
bool engine_is_rootless(void);
/* 0 or -EINVAL with the reason: [a-zA-Z0-9_+-][a-zA-Z0-9_+.-]*, at most 1024 bytes (a path component is at most 255; said here as one error). */
int ctr_id_valid(const char *id, struct err *e) MUST_CHECK;
/* Settings from /etc/tierce/tierce.conf ("key = value" lines, # comments); unknown keys are an error. Strings go to the arena. Absent file: 0. */
struct engine_conf { const char *isolation, *cgroup_manager, *criu; };
int engine_conf_load(struct arena *a, const char *path, struct engine_conf *ret, struct err *e) MUST_CHECK;
/* The tier of that name among those linked, or NULL. */
const struct tier_ops *engine_tier(const struct engine *eng, const char *name);

/* ---- records ----------------------------------------------------------------------------------------------------- */

enum ctr_status { CTR_CREATING, CTR_CREATED, CTR_RUNNING, CTR_PAUSED, CTR_STOPPED, CTR_STATUSES };
extern const char *const ctr_status_names[CTR_STATUSES];

/* What the state file keeps: the intent, and what is needed to ask the kernel for the truth. Strings are never NULL. */
struct ctr_record {
	enum ctr_status status;
	enum ctr_status paused_from; /* where resume goes: created or running */
	const char *id, *bundle, *rootfs, *oci_version, *tier, *owner;
	uint64_t created;    /* ns since the epoch */
	pid_t init_pid;      /* 0: none yet */
	uint64_t start_time; /* field 22 of /proc/PID/stat */
	uint64_t exe_dev, exe_ino; /* the program init runs while it waits for start; 0: unknown */
	struct cgroup_saved cgroup;
	struct oci_map annotations;
	bool own_pidns;      /* the container's processes die with init */
	bool systemd;        /* cgroup manager */
	bool rootless;
	bool cgroup_ours;    /* false: planned only; whoever is in it may be another container's */
	bool poststart;      /* there are poststart hooks */
	bool poststop;       /* there are poststop hooks: delete reads the config again */
	bool rdt;            /* linux.intelRdt is set; rdt_created: delete removes the CLOS */
	bool rdt_created;
};

enum { CTR_RECORD_MAX = 8 << 20 }; /* bytes of a state file: bounds what a damaged file can make us allocate (annotations have no bound in the spec) */
/* Bytes <-> record. Decoding checks magic, version, checksum, every length, and that all strings are there; -EBADMSG with the reason. */
int ctr_record_encode(const struct ctr_record *r, struct strbuf *out) MUST_CHECK;
int ctr_record_decode(struct arena *a, const void *data, size_t n, struct ctr_record *ret, struct err *e) MUST_CHECK;
void ctr_record_fix_checksum(void *data, size_t n); /* for tests and the fuzzer: make a damaged record pass the checksum */

/* ---- one container ------------------------------------------------------------------------------------------------ */

struct ctr {
	struct engine *eng;
	struct arena arena;
	struct ctr_record rec;
	bool has_record;      /* false: the creator died (or is) before its first write */
	int dir_fd;           /* state directory, O_DIRECTORY; the lock is on it */
	const char *dir;
	bool locked;
	int pidfd;            /* init, -EBADF when not opened or dead */
	struct cgroup *cgroup;
	const struct tier_ops *tier;
	struct oci_spec *spec; /* loaded on demand from the copy in the state directory */
	struct tier_container tc;
};
#define _cleanup_ctr_ CLEANUP(ctr_freep)

enum ctr_open_flags {
	CTR_LOCK = 1 << 0,
	CTR_DAMAGED = 1 << 1, /* a damaged record is no error: has_record is false (delete --force) */
};
/* -ENOENT: "container does not exist". */
int ctr_open(struct engine *eng, const char *id, unsigned flags, struct ctr **ret, struct err *e) MUST_CHECK;
void ctr_free(struct ctr *c); /* unlocks */
void ctr_unlock(struct ctr *c);
static inline void ctr_freep(struct ctr **c) { ctr_free(*c); }
/* Truth: the record's intent reconciled with the kernel (init alive with the same start time, freezer, started or not). */
enum ctr_status ctr_status(struct ctr *c);
/* pid of a live init, else 0. Costs one read of /proc/PID/stat. */
pid_t ctr_live_pid(struct ctr *c);
/* A legal move, written to disk; -EPROTO for an illegal one. The record is the caller's to fill first. */
int ctr_set_status(struct ctr *c, enum ctr_status to, struct err *e) MUST_CHECK;
/* Replace the record on disk without a move. */
int ctr_save(struct ctr *c, struct err *e) MUST_CHECK;
/* Lazily: the spec; the cgroup handle; the tier with its container view filled. */
int ctr_load_spec(struct ctr *c, struct err *e) MUST_CHECK;
int ctr_load_cgroup(struct ctr *c, struct err *e) MUST_CHECK;
void ctr_fill_callbacks(struct ctr *c);
int ctr_load_tier(struct ctr *c, bool want_spec, struct err *e) MUST_CHECK;
/* Open and verify init's pidfd; -ESRCH when it is gone. */
int ctr_open_pidfd(struct ctr *c, struct err *e) MUST_CHECK;
/* Names of all containers below the root, sorted; the vector is strv-owned. */
int engine_list(struct engine *eng, char ***ret, size_t *n, struct err *e) MUST_CHECK;

/* Start time and state letter from /proc/PID/stat: 0, or -ESRCH. */
int proc_start_time(pid_t pid, uint64_t *ret_start, char *ret_state, pid_t *ret_ppid);

/* ---- moves -------------------------------------------------------------------------------------------------------- */

struct create_options {
	const char *id, *bundle;    /* bundle: as given by the user */
	const char *config;         /* file below the bundle, NULL: config.json */
	const char *console_socket, *pidfd_socket, *pid_file; /* NULL: none */
	bool no_pivot, no_new_keyring;
	uint32_t preserve_fds;
	bool terminal_ours;         /* the caller relays the pty when there is no console socket */
	bool detach;                /* create, or run -d */
	bool run;                   /* create and start in one go: the "created" record is skipped */
};
struct created {
	struct ctr *ctr;            /* locked */
	int terminal;               /* master of the pty that the caller relays, or -EBADF */
	int notify_fd;              /* bound sd_notify socket, or -EBADF */
};
/* Build a container. On failure nothing of it is left. */
int engine_create(struct engine *eng, const struct create_options *o, struct created *ret, struct err *e) MUST_CHECK;
/* Let it run; poststart hooks included. c is locked; the lock is given up before the hooks. */
int engine_start(struct ctr *c, struct err *e) MUST_CHECK;

struct restore_options {
	struct create_options create;
	struct tier_checkpoint_options criu;
};
int engine_restore(struct engine *eng, struct restore_options *o, struct created *ret, struct err *e) MUST_CHECK;
int engine_checkpoint(struct ctr *c, const struct tier_checkpoint_options *o, struct err *e) MUST_CHECK;

int engine_kill(struct ctr *c, int sig, bool all, struct err *e);
/* force: also when it runs. Removes everything; poststop hooks run. */
int engine_delete(struct ctr *c, bool force, struct err *e) MUST_CHECK;
/* Before a forced delete takes the lock: a first process that outlived its creator holds the lock with it; it is killed. -ENOENT, else 0. */
int engine_delete_prepare(struct engine *eng, const char *id) MUST_CHECK;
/* Kill and remove without hooks and without asking: for undoing a create and for damaged directories. */
int ctr_purge(struct ctr *c, struct err *e);
int engine_pause(struct ctr *c, struct err *e) MUST_CHECK;
int engine_resume(struct ctr *c, struct err *e) MUST_CHECK;
int engine_update(struct ctr *c, const struct oci_resources *r, struct err *e) MUST_CHECK;

int engine_update_rdt(struct ctr *c, const char *l3, const char *mb, struct err *e) MUST_CHECK;

/* Are fds 3+listen_fds .. open? To be called before anything of ours is opened, which would stand in their place. */
int preserved_fds_check(unsigned listen_fds, unsigned preserve, struct err *e) MUST_CHECK;

/* Capabilities that neither we nor the kernel know are left out with a warning each (runtime-spec). */
void caps_warn(const struct engine *eng, const struct oci_caps *caps);

struct exec_options {
	struct oci_process *process;
	const char *console_socket, *pidfd_socket, *pid_file, *cgroup;
	const char *exec_id;        /* two phases, NULL: one */
	uint32_t preserve_fds;
	bool detach, ignore_paused, no_new_keyring;
};
struct executed { pid_t pid; int pidfd, terminal; };
int engine_exec(struct ctr *c, const struct exec_options *o, struct executed *ret, struct err *e) MUST_CHECK;
int engine_exec_start(struct ctr *c, const char *exec_id, struct err *e) MUST_CHECK;

/* ---- hooks and files --------------------------------------------------------------------------------------------- */

/* Run every hook of a point in the calling process's namespaces with the state on stdin. Stops at the first failure. */
int hooks_run(struct ctr *c, const struct oci_spec *spec, enum oci_hook_point point, const char *status, pid_t pid, struct err *e);

struct sockaddr_un;
/* Address for a socket path of any length; *ret_dir (or -EBADF) must stay open while it is used. */
int unix_address(const char *path, struct sockaddr_un *sa, int *ret_dir, struct err *e) MUST_CHECK;
/* Connected stream socket to a path of any length (through /proc/self/fd of its directory). fd or negative errno. */
int unix_connect(const char *path, struct err *e) MUST_CHECK;
/* Digits, no newline, by atomic rename; path is taken from the current directory. */
int pid_file_write(const char *path, pid_t pid, struct err *e) MUST_CHECK;
void forget_affinity(void);
void terminal_size_from_stdin(struct oci_process *p);
/* Pass one fd over a connected socket with a short name as payload. */
int unix_send_fd(int sock, int fd, const char *payload, struct err *e) MUST_CHECK;

/* sd_notify proxy: socket in the state directory, bound into the container at the path that $NOTIFY_SOCKET names. */
int notify_prepare(struct ctr *c, struct oci_spec *spec, struct err *e) MUST_CHECK;  /* adds mount and variable; nothing without $NOTIFY_SOCKET */
int notify_bind(struct ctr *c, int *ret_fd, struct err *e) MUST_CHECK;
/* A message of our own to $NOTIFY_SOCKET. 0 or negative errno. */
int notify_send(const char *text);
/* Forward one message to $NOTIFY_SOCKET; 1 when it was READY=1 (MAINPID=pid is added), 0 when not, negative errno. */
int notify_forward(int fd, pid_t main_pid);
/* Wait for READY=1 or for the death of init. */
int notify_wait(struct ctr *c, int fd, struct err *e);

#endif
