/* Templates: a booted machine's memory and device state in the cache, from which starts are cloned.
 *
 * CACHE/template-KEY/{mem,state}. A directory appears by rename when it is complete; the key covers everything that the state depends on, this boot of the
 * host included (the rate of its clock, its CPU's features). Clones map mem privately, so removing a template never hurts a running machine. */
#ifndef TIERCE_TIER_VM_TEMPLATES_H
#define TIERCE_TIER_VM_TEMPLATES_H

#include "tier/vm/boot/key.h"
#include "tier/vm/machine.h"

enum { TEMPLATES_KEEP = 4 /* on disk; each holds what a booted guest has touched, about 100 MiB */ };

/* What a hypervisor adds. */
struct template_kind {
	/* Everything that its part of the state depends on. */
	int (*key)(const struct machine_config *c, struct key *k, struct err *e);
	/* Boot one until its agent answers, stop it, write dir/mem and dir/state. */
	int (*make)(const struct machine_config *c, const char *dir, struct err *e);
};

/* Directory that the template for c has or would have, malloc'ed. */
int templates_path(const struct template_kind *t, const struct machine_config *c, char **ret, struct err *e) MUST_CHECK;
/* Make one unless it is there; -EBUSY when somebody else is at it and !wait. */
int templates_build(const struct template_kind *t, const struct machine_config *c, bool wait, struct err *e) MUST_CHECK;
void templates_remove(const struct template_kind *t, const struct machine_config *c);
bool templates_there(const struct template_kind *t, const struct machine_config *c);

#endif
