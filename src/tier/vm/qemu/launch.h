/* QEMU's command line and process. */
#ifndef TIERCE_TIER_VM_QEMU_LAUNCH_H
#define TIERCE_TIER_VM_QEMU_LAUNCH_H

#include "base/str.h"
#include "tier/vm/machine.h"

enum qemu_mode {
	QEMU_COLD,     /* boot, memory private */
	QEMU_TEMPLATE, /* boot with memory in a shared file, for saving */
	QEMU_CLONE,    /* memory mapped privately from a template's file, state comes by migration */
};

/* memory_file: template's memory (QEMU_TEMPLATE, QEMU_CLONE); state_fd: its devices' state (QEMU_CLONE), else -EBADF; stays the caller's. */
int qemu_launch(const struct machine_config *c, enum qemu_mode mode, const char *memory_file, int state_fd, struct machine *ret, struct err *e) MUST_CHECK;
/* Kernel parameters but for the clock's rate, which is measured: what templates are keyed by. */
void qemu_kernel_args(const struct machine_config *c, struct strbuf *out);
void qemu_stop(struct machine *m);
/* Program of this host, NULL when it is not installed. */
const char *qemu_program(void);

#endif
