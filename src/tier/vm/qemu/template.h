/* Templates: a booted machine's memory and device state in the cache, from which starts are cloned.
 *
 * CACHE/template-KEY/{mem,state}. A directory appears by rename when it is complete; the key covers everything that the state depends on, this boot of the
 * host included (the rate of its clock, its CPU's features). Clones map mem privately, so removing a template never hurts a running machine. */
#ifndef TIERCE_TIER_VM_QEMU_TEMPLATE_H
#define TIERCE_TIER_VM_QEMU_TEMPLATE_H

#include "tier/vm/machine.h"

enum { TEMPLATES_KEEP = 4 /* on disk; each holds what a booted guest has touched, about 100 MiB */ };

/* Directory that the template for c has or would have, malloc'ed. */
int template_path(const struct machine_config *c, char **ret, struct err *e) MUST_CHECK;
/* Boot and save one unless it is there; -EBUSY when somebody else is at it and !wait. */
int template_build(const struct machine_config *c, bool wait, struct err *e) MUST_CHECK;
/* A running clone, or -ENOENT when there is no template. */
int template_clone(const struct machine_config *c, struct machine *ret, struct err *e) MUST_CHECK;
void template_remove(const struct machine_config *c);

#endif
