/* What QEMU loses before its first instruction: user, namespaces, the host's file tree. */
#ifndef TIERCE_TIER_VM_QEMU_JAIL_H
#define TIERCE_TIER_VM_QEMU_JAIL_H

#include "tier/vm/machine.h"

/* In the child, before exec. */
int qemu_jail(const struct machine_config *c, struct err *e) MUST_CHECK;

#endif
