/* KVM (Documentation/virt/kvm/api.rst): the virtual machine and its interrupt controllers. */
#ifndef TIERCE_TIER_VM_BUILTIN_KVM_H
#define TIERCE_TIER_VM_BUILTIN_KVM_H

#include <errno.h>

#include "base/err.h"
#include "tier/vm/virtio/mem.h"

struct kvm { int fd, vm; size_t run_size; };
#define KVM_INIT { -EBADF, -EBADF, 0 }

/* Open the device, make a virtual machine with memory, interrupt controllers inside of the kernel. */
int kvm_open(struct kvm *k, struct err *e) MUST_CHECK;
int kvm_memory(const struct kvm *k, const struct guest_mem *m, struct err *e) MUST_CHECK;
/* Something else that the guest sees at gpa; slot is KVM's number for it. */
int kvm_map(const struct kvm *k, unsigned slot, uint64_t gpa, uint64_t size, void *at, struct err *e) MUST_CHECK;
/* Eventfd that raises a line (an edge) when it is written. */
int kvm_line(const struct kvm *k, unsigned line, struct err *e) MUST_CHECK;
/* Eventfd that is signalled when the guest writes value (4 bytes) at gpa. */
int kvm_doorbell(const struct kvm *k, uint64_t gpa, uint32_t value, struct err *e) MUST_CHECK;

#endif
