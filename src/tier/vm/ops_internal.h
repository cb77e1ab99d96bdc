/* Insides of the vm tier's operations, shared by their files. */
#ifndef TIERCE_TIER_VM_OPS_INTERNAL_H
#define TIERCE_TIER_VM_OPS_INTERNAL_H

#include "tier/tier.h"

/* A pty in raw mode: its master goes to the console socket or into io->terminal, its slave comes back. */
int vm_terminal(struct tier_stdio *io, const struct oci_process *p, int *ret_slave, struct err *e) MUST_CHECK;
/* Put the monitor into the container's cgroup. */
int vm_cgroup_place(struct tier_container *c, struct err *e) MUST_CHECK;
int vm_exec(struct tier_container *c, struct tier_exec_options *o, pid_t *ret_pid, int *ret_pidfd, struct err *e) MUST_CHECK;

#endif
