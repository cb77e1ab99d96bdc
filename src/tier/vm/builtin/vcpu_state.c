/* A processor's state. Order of setting: mode and features first, then what depends on them (api.rst names the dependencies of each request). */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tier/vm/builtin/vcpu.h"

enum { MSRS_MAX = 512, MSR_TSC = 0x10, MSR_TSC_DEADLINE = 0x6e0 };

struct fixed {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug;
	uint32_t xsave[1024]; /* the part of struct kvm_xsave that every kernel has */
	uint64_t n_msrs;
};
union msrs { struct kvm_msrs h; uint8_t room[sizeof(struct kvm_msrs) + MSRS_MAX * sizeof(struct kvm_msr_entry)]; };
union index { struct kvm_msr_list h; uint8_t room[sizeof(struct kvm_msr_list) + MSRS_MAX * sizeof(uint32_t)]; };

/* KVM lists what it could have; what this machine lacks ends a request early and is left out. */
static int save_msrs(const struct kvm *k, const struct vcpu *c, union msrs *ret, struct err *e)
{
	union index x;
	union msrs want;
	uint32_t n = 0;
	x.h.nmsrs = MSRS_MAX;
	if (ioctl(k->fd, KVM_GET_MSR_INDEX_LIST, &x) < 0)
		return err_sys(e, errno, "processor %u: list of MSRs", c->index);
	memset(ret, 0, sizeof *ret);
	for (uint32_t at = 0; at < x.h.nmsrs;) {
		memset(&want, 0, sizeof want);
		want.h.nmsrs = x.h.nmsrs - at;
		for (uint32_t i = 0; i < want.h.nmsrs; i++)
			want.h.entries[i].index = x.h.indices[at + i];
		int got = ioctl(c->fd, KVM_GET_MSRS, &want);
		if (got < 0)
			return err_sys(e, errno, "processor %u: MSRs", c->index);
		memcpy(ret->h.entries + n, want.h.entries, (size_t)got * sizeof *want.h.entries);
		n += (uint32_t)got;
		at += (uint32_t)got + 1;
	}
	ret->h.nmsrs = n;
	return 0;
}

int vcpu_save(const struct kvm *k, const struct vcpu *c, struct strbuf *out, struct err *e)
{
	struct fixed f;
	union msrs m;
	memset(&f, 0, sizeof f);
	int r = save_msrs(k, c, &m, e);
	if (r < 0)
		return r;
	/* The state of a processor that waits for its start is asked first: asking settles events that are under way. */
	if (ioctl(c->fd, KVM_GET_MP_STATE, &f.mp) < 0 || ioctl(c->fd, KVM_GET_REGS, &f.regs) < 0 || ioctl(c->fd, KVM_GET_SREGS, &f.sregs) < 0 ||
	    ioctl(c->fd, KVM_GET_XSAVE, &f.xsave) < 0 || ioctl(c->fd, KVM_GET_XCRS, &f.xcrs) < 0 || ioctl(c->fd, KVM_GET_LAPIC, &f.lapic) < 0 ||
	    ioctl(c->fd, KVM_GET_VCPU_EVENTS, &f.events) < 0 || ioctl(c->fd, KVM_GET_DEBUGREGS, &f.debug) < 0)
		return err_sys(e, errno, "processor %u: state", c->index);
	f.n_msrs = m.h.nmsrs;
	strbuf_add(out, &f, sizeof f);
	strbuf_add(out, m.h.entries, m.h.nmsrs * sizeof *m.h.entries);
	return out->failed ? err_set(e, ENOMEM, "processor %u", c->index) : 0;
}

/* One by one where KVM refuses: some may be read and not be set to the value they have. The timer's deadline comes last, when the counter is set. */
static int restore_msrs(const struct vcpu *c, const union msrs *all, struct err *e)
{
	union msrs m = { .h = { .nmsrs = 0 } };
	union { struct kvm_msrs h; uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)]; } last = { .h = { .nmsrs = 0 } };
	bool counter = false;
	for (uint32_t i = 0; i < all->h.nmsrs; i++) {
		counter |= all->h.entries[i].index == MSR_TSC;
		if (all->h.entries[i].index == MSR_TSC_DEADLINE) {
			last.h.nmsrs = 1;
			last.h.entries[0] = all->h.entries[i];
		} else
			m.h.entries[m.h.nmsrs++] = all->h.entries[i];
	}
	if (!counter)
		return err_set(e, EBADMSG, "processor %u: no time stamp counter", c->index);
	for (uint32_t at = 0; at < m.h.nmsrs;) {
		union msrs part = { .h = { .nmsrs = m.h.nmsrs - at } };
		memcpy(part.h.entries, m.h.entries + at, part.h.nmsrs * sizeof *m.h.entries);
		int done = ioctl(c->fd, KVM_SET_MSRS, &part);
		if (done < 0)
			return err_sys(e, errno, "processor %u: MSRs", c->index);
		at += (uint32_t)done + 1;
	}
	if (last.h.nmsrs && ioctl(c->fd, KVM_SET_MSRS, &last) < 0)
		return err_sys(e, errno, "processor %u: timer", c->index);
	return 0;
}

int vcpu_restore(const struct vcpu *c, const uint8_t *p, size_t n, struct err *e)
{
	struct fixed f;
	union msrs m = { .h = { .nmsrs = 0 } };
	if (n < sizeof f)
		return err_set(e, EBADMSG, "processor %u: %zu bytes", c->index, n);
	memcpy(&f, p, sizeof f);
	if (f.n_msrs > MSRS_MAX || n - sizeof f != f.n_msrs * sizeof *m.h.entries)
		return err_set(e, EBADMSG, "processor %u: %zu bytes", c->index, n);
	m.h.nmsrs = (uint32_t)f.n_msrs;
	memcpy(m.h.entries, p + sizeof f, n - sizeof f);
	if (ioctl(c->fd, KVM_SET_SREGS, &f.sregs) < 0 || ioctl(c->fd, KVM_SET_REGS, &f.regs) < 0 || ioctl(c->fd, KVM_SET_XCRS, &f.xcrs) < 0 ||
	    ioctl(c->fd, KVM_SET_XSAVE, &f.xsave) < 0 || ioctl(c->fd, KVM_SET_DEBUGREGS, &f.debug) < 0 || ioctl(c->fd, KVM_SET_LAPIC, &f.lapic) < 0)
		return err_set(e, EBADMSG, "processor %u: KVM refuses its state", c->index);
	int r = restore_msrs(c, &m, e);
	if (r < 0)
		return r;
	if (ioctl(c->fd, KVM_SET_VCPU_EVENTS, &f.events) < 0 || ioctl(c->fd, KVM_SET_MP_STATE, &f.mp) < 0)
		return err_set(e, EBADMSG, "processor %u: KVM refuses its state", c->index);
	return 0;
}
