/* A stopped machine as bytes: processors, interrupt controllers, clock, serial line, devices. Memory is apart (ram.h). */
#ifndef TIERCE_TIER_VM_BUILTIN_SNAPSHOT_H
#define TIERCE_TIER_VM_BUILTIN_SNAPSHOT_H

#include "tier/vm/builtin/vmm.h"

enum { SNAPSHOT_MAX = 8 << 20 /* a state file that claims more is not ours */ };

/* The machine is paused. */
int snapshot_save(struct vmm *m, struct strbuf *out, struct err *e) MUST_CHECK;
/* Into a machine that was built the same and has not run. What the file says is checked. */
int snapshot_load(struct vmm *m, int fd, struct err *e) MUST_CHECK;

#endif
