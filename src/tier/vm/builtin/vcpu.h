/* A virtual processor: identity, first registers, its thread's loop, and its state for snapshots. */
#ifndef TIERCE_TIER_VM_BUILTIN_VCPU_H
#define TIERCE_TIER_VM_BUILTIN_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "tier/vm/builtin/kvm.h"
#include "tier/vm/builtin/loader.h"

struct kvm_run;
struct vcpu {
	unsigned index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
};

/* How processors and the rest of the machine meet. */
struct vcpu_host {
	void *arg;
	void (*io)(void *arg, bool out, unsigned port, unsigned len, void *data);
	void (*mmio)(void *arg, bool out, uint64_t gpa, unsigned len, void *data);
	bool (*pausing)(void *arg);           /* before each entry into the guest */
	void (*parked)(void *arg);            /* returns when the pause is over */
	void (*ended)(void *arg, int status, const char *why); /* the machine is at its end */
};

int vcpu_new(const struct kvm *k, unsigned index, unsigned n, struct vcpu *ret, struct err *e) MUST_CHECK;
/* The first processor's registers for a kernel's PVH entry (32-bit protected mode, flat, paging off). */
int vcpu_boot(const struct vcpu *c, const struct boot_entry *b, struct err *e) MUST_CHECK;
/* The thread's body. */
NORETURN void vcpu_run(struct vcpu *c, const struct vcpu_host *h);
/* The signal that takes processors out of the guest; once, before threads. */
int vcpu_signals(struct err *e) MUST_CHECK;
void vcpu_kick(const struct vcpu *c);

int vcpu_save(const struct kvm *k, const struct vcpu *c, struct strbuf *out, struct err *e) MUST_CHECK;
/* Untrusted bytes; KVM checks the values. */
int vcpu_restore(const struct vcpu *c, const uint8_t *p, size_t n, struct err *e) MUST_CHECK;

#endif
