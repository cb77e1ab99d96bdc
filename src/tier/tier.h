/* The tier contract: what the engine asks of a wall. The engine owns the state directory, the id, locks, hooks outside the
 * container, cgroup placement, console socket, pid file and exit codes; a tier owns the processes behind the wall. */
#ifndef TIERCE_TIER_TIER_H
#define TIERCE_TIER_TIER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "spec/oci.h"

struct cgroup;      /* confine/cgroup.h */
struct json_writer; /* wire/json.h */

/* What a tier can do here; the engine answers requests outside of it with one clear error. */
enum tier_cap {
	TIER_EXEC = 1 << 0, TIER_PAUSE = 1 << 1, TIER_UPDATE = 1 << 2, TIER_STATS = 1 << 3, TIER_CHECKPOINT = 1 << 4,
	TIER_TERMINAL = 1 << 5, TIER_MOUNTS = 1 << 6, TIER_TWO_PHASE_EXEC = 1 << 7,
};

struct tier_probe {
	bool usable;
	uint32_t caps;      /* enum tier_cap */
	char reason[160];   /* when not usable: what is missing and how to get it */
};

/* A container as the tier sees it. The engine fills it; fds stay the engine's. */
struct tier_container {
	const char *id;
	const char *bundle;      /* absolute path */
	int bundle_fd;           /* O_PATH|O_DIRECTORY */
	const char *rootfs;      /* absolute path */
	int state_fd;            /* O_DIRECTORY of the container's state directory; the tier may keep files named "<tier>.*" in it */
	const char *state_dir;
	const struct oci_spec *spec;
	struct cgroup *cgroup;   /* made by the engine; NULL when cgroups are disabled */
	bool in_cgroup_v2;       /* set by the tier before created() runs: the first process was cloned into cgroup_fd() */
	pid_t init_pid;          /* 0 before create */
	int init_pidfd;          /* -EBADF when unknown */
	int start_fd;            /* the tier's way to start() after create() with start_follows; set to -EBADF by the engine */
	/* The container's state document as "state" prints it, appended to out (seccomp notification, at start and exec). May be NULL. */
	int (*state_json)(const struct tier_container *c, const char *status, struct strbuf *out);
	void *engine;            /* the engine's own, for state_json */
	uint64_t init_start_time; /* field 22 of /proc/PID/stat, guards against pid reuse; 0 when unknown */
};

/* How a process gets its files and terminal; common to create and exec. */
struct tier_stdio {
	int console_socket;  /* connected AF_UNIX stream for the pty master (SCM_RIGHTS), -EBADF: none */
	int terminal;        /* process.terminal without a console socket: we own the pty; the tier returns its master here (caller sets -EBADF) */
	int pidfd_socket;    /* -EBADF: none */
	unsigned preserve_fds; /* fds 3 .. 3+n-1 pass through, behind LISTEN_FDS */
	unsigned listen_fds;
};

struct tier_create_options {
	struct tier_stdio stdio;
	bool no_pivot, no_new_keyring;
	bool start_follows;      /* "run": start() comes from this same process and struct tier_container; nothing needs to outlive it */
	int state_root_fd;       /* state root, for caches shared by containers (compiled seccomp filters); -EBADF: none */
	/* Called in the caller's process with init_pid and init_pidfd known and the process inside its cgroups (the tier puts it there itself, by
	 * CLONE_INTO_CGROUP and cgroup_join_self()), before any mount is made: the engine saves its state. It runs no hook. */
	int (*created)(struct tier_container *c, void *arg, struct err *e);
	/* Run the hooks of one point; only called for points that the spec has hooks for. Where each is called:
	 * prestart, createRuntime: in the caller's process, mounts in place, before pivot; createContainer: in the container's first process, likewise;
	 * startContainer: there too, right before the user's program. State JSON, timeouts and output files are the engine's business; a failed
	 * hook comes back as a negative errno and must end the container. May be NULL. */
	int (*run_hooks)(struct tier_container *c, enum oci_hook_point point, void *arg, struct err *e);
	void *arg;
	/* The sd_notify proxy, LISTEN_FDS and LISTEN_PID need nothing of the tier: the engine adds a bind mount and variables to the spec. */
};

struct tier_exec_options {
	struct tier_stdio stdio;
	const struct oci_process *process;
	const char *cgroup_sub;  /* path below the container's cgroup, NULL: the container's own */
	const char *exec_id;     /* not NULL: two phases; the process stops before execve until exec_start() names it. Unique in the container;
	                            the tier may keep files "<tier>.exec.<exec_id>" in the state directory */
	bool no_new_keyring;
	int state_root_fd;       /* as in create; -EBADF: none */
};

/* What criu is told; names are those of runc's command line. fds are the engine's. */
struct tier_checkpoint_options {
	const char *image_path, *work_path, *parent_path; /* NULL: engine's default */
	bool leave_running, tcp_established, tcp_skip_in_flight, tcp_close, ext_unix_sk, shell_job, lazy_pages, file_locks, pre_dump,
		auto_dedup, link_remap;
	int status_fd;                 /* lazy pages: a byte is written when the page server is ready; -EBADF: none */
	const char *page_server;       /* "address:port", NULL: none */
	const char *manage_cgroups_mode; /* soft, full, strict, ignore; NULL: soft */
	uint64_t empty_ns;             /* CLONE_NEW* namespaces that are left empty */
	const char *lsm_profile, *lsm_mount_context; /* restore only */
	const char *criu_path;         /* NULL: "criu" in $PATH */
	/* restore only */
	bool detach;
	struct tier_create_options *create; /* stdio, callbacks: as in create() */
};

struct tier_ops {
	const char *name; /* "ns", "sentry", "vm" */
	int (*probe)(struct tier_probe *ret);
	/* Build the container up to the point before the user's program; sets c->init_pid and pidfd. */
	int (*create)(struct tier_container *c, struct tier_create_options *o, struct err *e);
	/* Let the user's program run; an error of its execve comes back here. */
	int (*start)(struct tier_container *c, struct err *e);
	/* Run a further process; *ret_pid is its pid as seen by the caller, for waiting. */
	int (*exec)(struct tier_container *c, struct tier_exec_options *o, pid_t *ret_pid, int *ret_pidfd, struct err *e);
	/* all: every process of the container. */
	int (*signal)(struct tier_container *c, int sig, bool all, struct err *e);
	int (*pause)(struct tier_container *c, struct err *e);
	int (*resume)(struct tier_container *c, struct err *e);
	int (*update)(struct tier_container *c, const struct oci_resources *r, struct err *e);
	/* Add members to an open JSON object in the shape of events' data, beyond what the cgroup tells. */
	int (*stats)(struct tier_container *c, struct json_writer *w, struct err *e);
	/* What the kernel behind the wall killed for want of memory so far, and a descriptor that becomes readable when there may be more (inotify; the
	 * caller closes it). NULL: the container's cgroup on the host tells. */
	int64_t (*oom_kills)(struct tier_container *c);
	int (*oom_watch)(struct tier_container *c, struct err *e);
	/* The processes behind the wall as lines like those of "ps -ef". NULL: they are the host's own. */
	int (*processes)(struct tier_container *c, struct strbuf *out, struct err *e);
	/* Let the process of a two-phase exec go on; an error of its execve comes back here. -ENOENT: no such exec_id. */
	int (*exec_start)(struct tier_container *c, const char *exec_id, struct err *e);
	/* Attach and detach mounts in a running container ("mounts add|remove"). */
	int (*mounts_add)(struct tier_container *c, const struct oci_mount *m, size_t n, struct err *e);
	int (*mounts_remove)(struct tier_container *c, const struct oci_mount *m, size_t n, struct err *e);
	int (*checkpoint)(struct tier_container *c, const struct tier_checkpoint_options *o, struct err *e);
	/* Sets init_pid and init_pidfd like create(); the restored processes run when it returns. */
	int (*restore)(struct tier_container *c, struct tier_checkpoint_options *o, struct err *e);
	/* Remove whatever the tier left behind; the processes are dead already. Idempotent. */
	int (*destroy)(struct tier_container *c, struct err *e);
};

extern const struct tier_ops tier_ns, tier_sentry, tier_vm;

#endif
