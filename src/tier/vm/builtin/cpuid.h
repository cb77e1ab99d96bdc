/* What a processor says that it is. */
#ifndef TIERCE_TIER_VM_BUILTIN_CPUID_H
#define TIERCE_TIER_VM_BUILTIN_CPUID_H

#include "base/err.h"
#include "tier/vm/builtin/kvm.h"

/* The host's features as KVM can show them, as processor `index` of n: one package, one thread per core. */
int cpuid_set(const struct kvm *k, int vcpu, unsigned index, unsigned n, struct err *e) MUST_CHECK;

#endif
