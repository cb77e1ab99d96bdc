/* Insides of the vm tier's operations, shared by their files. */
#ifndef TIERCE_TIER_VM_OPS_INTERNAL_H
#define TIERCE_TIER_VM_OPS_INTERNAL_H

#include "confine/cgroup.h"
#include "tier/tier.h"

/* A pty in raw mode: its master goes to the console socket or into io->terminal, its slave comes back. */
int vm_terminal(struct tier_stdio *io, const struct oci_process *p, int *ret_slave, struct err *e) MUST_CHECK;
/* Fork into the container's cgroups; the child (0) calls cgroup_join_self(join). */
pid_t vm_fork(struct tier_container *c, struct cgroup_join *join, int *ret_pidfd, struct err *e) MUST_CHECK;
/* Make the container's limits on the host hold the machine around it. */
int vm_cgroup_widen(struct tier_container *c, const struct oci_resources *asked, uint64_t guest_memory, struct err *e) MUST_CHECK;
int vm_exec(struct tier_container *c, struct tier_exec_options *o, pid_t *ret_pid, int *ret_pidfd, struct err *e) MUST_CHECK;

#endif
