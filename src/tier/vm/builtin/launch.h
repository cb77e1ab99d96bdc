/* The process tierce-vmm: its words, its descriptors, its namespaces. */
#ifndef TIERCE_TIER_VM_BUILTIN_LAUNCH_H
#define TIERCE_TIER_VM_BUILTIN_LAUNCH_H

#include "base/str.h"
#include "tier/vm/machine.h"

/* From nothing, or from a template's files (memory, state >= 0, which stay the caller's). */
int builtin_launch(const struct machine_config *c, int memory, int state, struct machine *ret, struct err *e) MUST_CHECK;
void builtin_stop(struct machine *m);
/* What the kernel is told. */
void builtin_kernel_args(const struct machine_config *c, struct strbuf *out);
/* Path of tierce-vmm, beside the agent; NULL when it is not there. */
char *builtin_program(const struct assets *a);
/* Machines have an interface when the host can make taps. */
bool builtin_net(void);

#endif
