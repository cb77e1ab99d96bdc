/* Process attributes that are one system call each: scheduler, I/O priority, NUMA policy, CPU lists, personality, rlimits, keyring, flags. */
#ifndef TIERCE_CONFINE_SCHED_H
#define TIERCE_CONFINE_SCHED_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "spec/oci.h"

/* All act on the calling process unless said otherwise and are no-ops when the spec leaves them out. */

/* sched_setattr(2). Call it in the child, before capabilities drop (CAP_SYS_NICE); after cgroup placement. */
int sched_apply(const struct oci_scheduler *s, struct err *e) MUST_CHECK;
/* ioprio_set(2); class and level as decoded by spec. */
int ioprio_apply(const struct oci_process *p, struct err *e) MUST_CHECK;
/* set_mempolicy(2) with mode flags and node list. */
int mempolicy_apply(const struct oci_memory_policy *m, struct err *e) MUST_CHECK;

/* CPU lists "0-3,7" (execCPUAffinity): empty list, reversed ranges, trailing bytes and numbers above CPU_LIST_MAX are -EINVAL. */
enum { CPU_LIST_MAX = 8191 }; /* the kernel's NR_CPUS bound on x86-64 */
struct cpu_set_list { uint64_t bits[(CPU_LIST_MAX + 1) / 64]; };
int cpu_list_parse(const char *text, struct cpu_set_list *ret) MUST_CHECK;
/* sched_setaffinity(2) of pid (0 = caller) to a list; NULL text is a no-op. what: "initial" or "final", for the error. */
int cpu_affinity_apply(pid_t pid, const char *text, const char *what, struct err *e) MUST_CHECK;
/* exec without execCPUAffinity: undo what we inherited so that the container's cpuset decides (runc: reset to all CPUs). */
int cpu_affinity_reset(pid_t pid);

/* personality(2); ADDR_NO_RANDOMIZE of the caller is not inherited into the container. */
int personality_apply(const struct oci_spec *s, struct err *e) MUST_CHECK;
/* prlimit(2) of each; pid 0 = caller. In the parent for a child in a user namespace (raising needs CAP_SYS_RESOURCE in the initial one). */
int rlimits_apply(pid_t pid, const struct oci_process *p, struct err *e) MUST_CHECK;
/* /proc/<pid>/oom_score_adj through a checked procfs fd (lsm.h); self only. Rootless: lowering below the inherited value is not an error
 * when in_userns (as runc and crun do). */
int oom_score_apply(int proc_fd, const struct oci_process *p, bool in_userns, struct err *e) MUST_CHECK;

/*
 * New session keyring named "_ses.<id>" with possessor-all, user view|read|search (as runc). selinux_label: for keycreate, NULL none.
 * A kernel without keyrings (ENOSYS) or a quota (EDQUOT/EPERM when in_userns) is not an error. Returns 0.
 */
int keyring_apply(int proc_fd, const char *id, const char *selinux_label, bool in_userns, struct err *e) MUST_CHECK;

int no_new_privs_apply(const struct oci_process *p, struct err *e) MUST_CHECK;
/* PR_SET_DUMPABLE: 0 while entering (CVE-2016-9962, CVE-2019-5736); the kernel sets it again at execve. */
int dumpable_set(bool on, struct err *e) MUST_CHECK;
/* PR_SET_PDEATHSIG, then checks that the parent is still `parent` (raced death); 0 skips the check (other pid namespace). */
int parent_death_signal(int sig, pid_t parent, struct err *e) MUST_CHECK;

/* All of the above that belongs right before the identity changes, in order: rlimits are not part of it. Wraps errors. */
struct process_attrs {
	int proc_fd;             /* private procfs; may be -EBADF when nothing below needs it */
	bool in_userns, no_new_keyring;
	const char *keyring_id;
};
int process_attrs_apply(const struct oci_spec *s, const struct oci_process *p, const struct process_attrs *a, struct err *e) MUST_CHECK;

#endif
