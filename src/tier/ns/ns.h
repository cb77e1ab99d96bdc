/*
 * The ns tier from inside. A container's first process is a fork of the runtime: one clone3() with every new namespace and the v2 cgroup, then the
 * child does the rest by itself from the memory that it inherited (nothing is serialised). One socketpair connects the two:
 *
 *   parent                                   child
 *   clone3 ------------------------------->  exe_forget, cgroups, [maps: wait]
 *   uid_map/gid_map, MSG_GO (user ns only)   join, unshare(cgroup), mounts, /dev, pty
 *   created() meanwhile
 *   prestart, createRuntime  <-- MSG_MOUNTED (only with such hooks; MSG_GO comes back)
 *                                            createContainer hooks, pivot, masks, sysctl, program looked up
 *   rlimits (user ns)        <-- MSG_READY
 *   later, maybe another process: MSG_GO on the same channel ("run") or a connection to ns.start in the state directory
 *                                            startContainer hooks, identity, seccomp, execve
 *   end of file: it runs     <-- (close-on-exec), or MSG_ERROR
 *
 * The network namespace is the dearest part of clone3 (0.4 of 1.4 ms). Without a user namespace it needs nothing of the child's: the parent makes it
 * while the child is mounting, brings "lo" up in it, goes back to its own and sends it (MSG_NET); the child joins before its first mount that
 * depends on it (sysfs), or after the mounts.
 *
 * Where the time goes, in microseconds on a quiet machine (default configuration, without cgroups, from create to the program): 30 planning; clone3 20-40, with
 * the network namespace in it 420; exe_forget 90 (copying the text instead: 400); "lo" 53; root 16; proc 48; dev 22; pts 38; shm 20; mqueue 16; sysfs
 * 14; nodes and links 54; pivot_root and umount 46; sysctl, masked and read-only paths 65; program and home 4; limits, keyring, signals,
 * capabilities 44; execve 100-300. Little of it is ours: the same calls alone (bench/floor) cost as much within the noise.
 *
 * A child whose channel ends before its time exits, so a parent that is killed leaves nothing behind.
 *
 * A stage process stands between the two where a fork must happen after a namespace was entered: joining a user or pid namespace by path, and a time
 * namespace with offsets. It clones the first process with CLONE_PARENT, sends its pid (MSG_PID) and exits.
 */
#ifndef TIERCE_TIER_NS_NS_H
#define TIERCE_TIER_NS_NS_H

#include <linux/sched.h>

#include "confine/cgroup.h"
#include "confine/landlock.h"
#include "confine/mount.h"
#include "confine/seccomp.h"
#include "tier/tier.h"

/* ---- channel ----------------------------------------------------------------------------------------------------- */

enum ns_msg { NS_MSG_GO = 1, NS_MSG_PID, NS_MSG_MOUNTED, NS_MSG_READY, NS_MSG_TERMINAL, NS_MSG_NET, NS_MSG_ERROR };
enum { NS_TEXT_MAX = 4096 }; /* error text is cut there */
struct ns_message {
	uint32_t type;
	int32_t code;
	char text[NS_TEXT_MAX];
};
/* fd -EBADF: none. Without fd it is one write(2), which seccomp profiles allow where they might not allow sendmsg(2). */
int ns_send(int channel, enum ns_msg type, int code, const char *text, int fd);
/* 0, -ECONNRESET at the end of file, or negative errno. An NS_MSG_ERROR is turned into its code and e. ret_fd may be NULL (a sent fd is closed). */
int ns_recv(int channel, struct ns_message *m, int *ret_fd, struct err *e);
/* Receive until a message of the given type; another one is a protocol error. */
int ns_expect(int channel, enum ns_msg type, struct err *e);

/*
 * Handing over a seccomp listener. Between seccomp(2) and execve(2) the child can make no system call that its own filter might send to an agent that
 * has no descriptor yet: it writes the descriptor's number into a page shared with the starter and spins; the starter takes the descriptor with
 * pidfd_getfd(2), gives it to the agent, and answers in the same word. The page comes with MSG_GO as a memfd.
 */
struct ns_handover {
	int fd;                     /* memfd, -EBADF: no listener is expected */
	_Atomic uint32_t *word;     /* 0, descriptor + 1, NS_HANDOVER_DONE; NULL */
};
enum { NS_HANDOVER_DONE = 0x7fffffff };
#define NS_HANDOVER_NONE { -EBADF, NULL }
/* Who gets listeners, kept as "ns.notify" in the state directory (path, NUL, metadata, NUL), since start has no spec at hand. */
int ns_agent_save(int state_fd, const struct seccomp_filter *f, struct err *e) MUST_CHECK;
int ns_handover_new(struct ns_handover *ret, struct err *e) MUST_CHECK;
int ns_handover_map(int fd, struct ns_handover *ret, struct err *e) MUST_CHECK; /* takes fd */
void ns_handover_close(struct ns_handover *h);
/* Child, no system call: offer the listener and wait for the answer. Traps when none comes in some seconds. */
void ns_handover_offer(struct ns_handover *h, int listener);

/* ---- creation ----------------------------------------------------------------------------------------------------- */

enum { NS_KINDS = 8 };
struct ns_join { int flag, fd; };

struct ns_create {
	struct tier_container *c;
	struct tier_create_options *o;
	const struct oci_spec *s;
	uint64_t new_flags;           /* CLONE_NEW* to make */
	struct ns_join joins[NS_KINDS]; /* to join, in order: user first */
	size_t n_joins;
	uint64_t own;                 /* CLONE_NEW* that are not the host's: new, or joined by path */
	bool stage, in_userns, setgroups_denied;
	bool nested;                  /* the runtime itself is in a user namespace (rootless engines): what the kernel reserves for the initial one is refused */
	bool hooks_outside;           /* prestart or createRuntime */
	bool net_outside;             /* the parent makes the network namespace; false again once the child is in it */
	int rootfs;                   /* O_PATH, -EBADF: opened by the child, after joining a mount namespace */
	int rootfs_tree;              /* user namespaces: detached tree of it that the parent made, -EBADF: none */
	int *device_trees;            /* user namespaces: devices_outside(), NULL: none */
	struct mount_source *sources; /* what the parent made, one per mount; NULL: nothing */
	int shared_exe, exe_tree;     /* exe_share() */
	int channel;                  /* the child's end in the child */
	int listener;                 /* ns.start, -EBADF with start_follows */
	struct cgroup_join cgroups;
	struct seccomp_filter filter;
	struct landlock_policy landlock;
	struct arena arena;
};

/* Everything that can be found wrong before a process exists. */
int ns_plan(struct ns_create *p, struct err *e) MUST_CHECK;
void ns_plan_free(struct ns_create *p);
/* The child (or stage): never returns. */
NORETURN void ns_child(struct ns_create *p);
NORETURN void ns_stage(struct ns_create *p);
/* The container's first process from the point where it is in its namespaces. */
NORETURN void ns_init(struct ns_create *p);
/* Of these new namespaces, those that are made by unshare(2) later. */
static inline uint64_t ns_late_flags(uint64_t flags) {
	return flags & (uint64_t)(unsigned)(CLONE_NEWCGROUP | (flags & CLONE_NEWUSER ? CLONE_NEWIPC : 0));
}
static inline uint64_t ns_clone_flags(const struct ns_create *p) {
	return p->new_flags & ~ns_late_flags(p->new_flags) & ~(p->net_outside ? (uint64_t)CLONE_NEWNET : 0);
}
/* After a new user namespace has its maps: become its root. */
int ns_become_root(bool setgroups_denied, struct err *e) MUST_CHECK;

/* ---- the last steps, common to the first process and exec ------------------------------------------------------------ */

struct ns_final {
	const struct oci_spec *s;
	const struct oci_process *p;
	const char *id;
	const struct seccomp_filter *filter;
	const struct landlock_policy *landlock; /* NULL: none */
	int proc;                 /* private procfs */
	bool in_userns, nested, setgroups_denied, no_new_keyring, is_exec, keep_groups;
	bool late_fork;           /* the program runs in a child that is made last (see exec.c, may_trace()) */
	unsigned keep_fds;        /* fds 3 .. 3+n-1 */
	int channel;              /* errors go there; closed by execve */
	struct ns_handover handover;
	/* made by ns_final_prepare() */
	char *file;               /* program, resolved */
	char **env;
};
/* The part that is done at create: program looked up, environment. The caller is inside the root. Keeps pointers into the spec. */
int ns_final_prepare(struct ns_final *f, struct err *e) MUST_CHECK;
/* Identity, confinement, execve; returns only on failure. */
int ns_final_exec(struct ns_final *f, struct err *e) MUST_CHECK;
/* Private procfs: of the pid namespace of the caller. */
int ns_private_proc(struct err *e) MUST_CHECK;
/* $PATH lookup inside the root: runc's wording of errors. */
int ns_find_program(const char *name, const char *path, const char *cwd, char **ret, struct err *e) MUST_CHECK;
/* Home directory of a uid from /etc/passwd of the root of the caller; NULL when there is none. malloc'ed. */
char *ns_home(uint32_t uid);
/* Value in an environment list, NULL when absent. */
const char *ns_env(const struct oci_strings *env, const char *name);
/* Close every descriptor from first on but those in keep (negative ones are skipped; the array is sorted in place). */
void ns_close_others(unsigned first, int *keep, size_t n);
/* Signal dispositions and mask as a new program expects them. */
void ns_reset_signals(void);

/* ---- operations --------------------------------------------------------------------------------------------------- */

int ns_op_create(struct tier_container *c, struct tier_create_options *o, struct err *e);
int ns_op_start(struct tier_container *c, struct err *e);
int ns_op_exec(struct tier_container *c, struct tier_exec_options *o, pid_t *ret_pid, int *ret_pidfd, struct err *e);
int ns_op_exec_start(struct tier_container *c, const char *exec_id, struct err *e);
int ns_op_mounts_add(struct tier_container *c, const struct oci_mount *m, size_t n, struct err *e);
int ns_op_mounts_remove(struct tier_container *c, const struct oci_mount *m, size_t n, struct err *e);
/* Listening socket `name` in a state directory; connect to it. */
int ns_listen(int dirfd, const char *name, struct err *e) MUST_CHECK;
int ns_connect(int dirfd, const char *name, struct err *e) MUST_CHECK;
/* Child: wait for MSG_GO on the channel, or on a connection to listener, which becomes the channel. What came with it is in *ret (may be none). */
int ns_wait_start(int *channel, int listener, struct ns_handover *ret, struct err *e) MUST_CHECK;
/* For a process in a user namespace, from outside: rlimits (raising takes CAP_SYS_RESOURCE in the initial namespace) and oom_score_adj (its /proc files are
 * root's while it is not dumpable; without the right to it, left as it is, as runc does). */
int ns_outside_limits(pid_t pid, const struct oci_process *p, struct err *e) MUST_CHECK;
/* Say go and hear how execve went. Seccomp listeners are handed on; a terminal ends up in io (NULL: none is expected). */
int ns_go(struct tier_container *c, int channel, pid_t pid, int pidfd, struct tier_stdio *io, struct err *e) MUST_CHECK;
/* The second half of it. */
int ns_watch(struct tier_container *c, int channel, pid_t pid, int pidfd, struct ns_handover *h, struct tier_stdio *io, struct err *e) MUST_CHECK;

#endif
