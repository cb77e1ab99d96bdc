/* Can /dev/kvm run a guest here? */
#ifndef TIERCE_TIER_VM_PROBE_H
#define TIERCE_TIER_VM_PROBE_H

#include "base/err.h"

/* Runs a tiny guest in a child that is killed when it does not come to its end: 0, or a negative errno and the reason. A few milliseconds. */
int kvm_probe(struct err *e) MUST_CHECK;

#endif
