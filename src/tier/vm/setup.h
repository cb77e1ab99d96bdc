/* What a start needs beforehand: the hypervisor chosen, kernel and initramfs, a template on its way. In the runtime's process, outside of the container's cgroup. */
#ifndef TIERCE_TIER_VM_SETUP_H
#define TIERCE_TIER_VM_SETUP_H

#include "tier/vm/machine.h"
#include "tier/vm/options.h"

int vm_hypervisor(const struct vm_options *o, const struct hypervisor **ret, struct err *e) MUST_CHECK;
int vm_assets(const struct vm_options *o, struct assets *ret, struct err *e) MUST_CHECK;
/* The part of a machine's configuration that templates are keyed by. */
void vm_machine_config(const struct vm_options *o, const struct assets *a, struct machine_config *ret);
/* Start making the template in the background, or make it (template_wait). */
void vm_template(const struct hypervisor *hv, const struct vm_options *o, const struct assets *a);

#endif
