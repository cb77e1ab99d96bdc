/* Templates of QEMU machines (templates.h). */
#ifndef TIERCE_TIER_VM_QEMU_TEMPLATE_H
#define TIERCE_TIER_VM_QEMU_TEMPLATE_H

#include "tier/vm/templates.h"

extern const struct template_kind template_qemu;
/* A clone on its way, or -ENOENT when there is no template. One that cannot load its state ends by itself. */
int template_clone(const struct machine_config *c, struct machine *ret, struct err *e) MUST_CHECK;

#endif
