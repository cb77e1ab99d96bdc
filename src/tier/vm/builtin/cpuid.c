/* CPUID leaves (Intel SDM 2A, CPUID; AMD APM 3, appendix E). KVM gives what it supports; identity and topology are ours. */
#include "tier/vm/builtin/cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

enum {
	ENTRIES_MAX = 256,
	ECX_VMX = 1 << 5, ECX_TSC_DEADLINE = 1 << 24, ECX_HYPERVISOR = 1u << 31, EDX_HTT = 1 << 28,
	AMD_ECX_SVM = 1 << 2, LEVEL_SMT = 1, LEVEL_CORE = 2,
};

union entries { struct kvm_cpuid2 h; uint8_t room[sizeof(struct kvm_cpuid2) + ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2)]; };

static unsigned bits_for(unsigned n)
{
	unsigned b = 0;
	while (1u << b < n)
		b++;
	return b;
}

/* Leaves 0xb and 0x1f: a level of threads (one), a level of cores. */
static void topology(struct kvm_cpuid_entry2 *x, unsigned index, unsigned n)
{
	x->eax = x->index == 1 ? bits_for(n) : 0;
	x->ebx = x->index == 0 ? 1 : x->index == 1 ? n : 0;
	x->ecx = x->index | (x->index == 0 ? LEVEL_SMT << 8 : x->index == 1 ? LEVEL_CORE << 8 : 0);
	x->edx = index;
}

static void adapt(struct kvm_cpuid_entry2 *x, unsigned index, unsigned n)
{
	switch (x->function) {
	case 1:
		x->ebx = (x->ebx & 0xffff) | (n > 1 ? n << 16 : 1 << 16) | index << 24;
		x->ecx = (x->ecx | ECX_TSC_DEADLINE | ECX_HYPERVISOR) & ~(uint32_t)ECX_VMX;
		x->edx = n > 1 ? x->edx | EDX_HTT : x->edx & ~(uint32_t)EDX_HTT;
		break;
	case 4: /* caches: cores of the package; the first levels are a core's own */
		x->eax = (x->eax & 0x3fff) | ((1u << bits_for(n)) - 1) << 26 | ((x->eax >> 5 & 7) >= 3 ? (n - 1) << 14 : 0);
		break;
	case 0xa: /* no performance counters: they would tell of the host */
		x->eax = x->ebx = x->ecx = x->edx = 0;
		break;
	case 0xb:
	case 0x1f:
		topology(x, index, n);
		break;
	case 0x80000001:
		x->ecx &= ~(uint32_t)AMD_ECX_SVM;
		break;
	case 0x80000008:
		x->ecx = (x->ecx & ~0xf0ffu) | (n - 1) | bits_for(n) << 12;
		break;
	case 0x8000000a: /* nested virtualisation */
		x->eax = x->ebx = x->ecx = x->edx = 0;
		break;
	case 0x8000001d:
		x->eax = (x->eax & 0x3fff) | ((x->eax >> 5 & 7) >= 3 ? (n - 1) << 14 : 0);
		break;
	case 0x8000001e:
		x->eax = index;
		x->ebx = (x->ebx & ~0xffffu) | index;
		x->ecx &= ~0x7ffu;
		break;
	}
}

int cpuid_set(const struct kvm *k, int vcpu, unsigned index, unsigned n, struct err *e)
{
	static union entries x; /* 10 KiB; processors are made one after the other */
	x.h.nent = ENTRIES_MAX;
	if (ioctl(k->fd, KVM_GET_SUPPORTED_CPUID, &x) < 0)
		return err_sys(e, errno, "processor %u: supported CPUID", index);
	for (uint32_t i = 0; i < x.h.nent; i++)
		adapt(&x.h.entries[i], index, n);
	return ioctl(vcpu, KVM_SET_CPUID2, &x) < 0 ? err_sys(e, errno, "processor %u: CPUID", index) : 0;
}
