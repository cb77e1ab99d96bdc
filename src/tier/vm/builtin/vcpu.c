/* Processors: set-up and the run loop. */
#include "tier/vm/builtin/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "tier/vm/builtin/cpuid.h"
#include "tier/vm/builtin/layout.h"

enum {
	MSR_MISC_ENABLE = 0x1a0, FAST_STRING = 1, MSR_MTRR_DEFAULT = 0x2ff, MTRR_ENABLED = 1 << 11, WRITE_BACK = 6,
	CR0_PE = 1, CR0_ET = 1 << 4, CODE_32 = 0xb, DATA_32 = 0x3, TSS_BUSY = 0xb,
};

/* Set by the signal's handler while its thread is about to enter the guest: KVM_RUN then returns at once. */
static __thread struct kvm_run *own_run;

static void on_kick(int sig)
{
	(void)sig;
	if (own_run)
		own_run->immediate_exit = 1;
}

int vcpu_signals(struct err *e)
{
	struct sigaction sa = { .sa_handler = on_kick };
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (sigaction(SIGUSR1, &sa, NULL) < 0 || sigprocmask(SIG_UNBLOCK, &set, NULL) < 0)
		return err_sys(e, errno, "signals");
	return 0;
}

void vcpu_kick(const struct vcpu *c)
{
	pthread_kill(c->thread, SIGUSR1);
}

/* Firmware's work: memory is cached unless a mapping says otherwise. */
static int first_msrs(const struct vcpu *c, struct err *e)
{
	union { struct kvm_msrs h; uint8_t room[sizeof(struct kvm_msrs) + 2 * sizeof(struct kvm_msr_entry)]; } m = { .h = { .nmsrs = 2 } };
	m.h.entries[0] = (struct kvm_msr_entry){ .index = MSR_MTRR_DEFAULT, .data = MTRR_ENABLED | WRITE_BACK };
	m.h.entries[1] = (struct kvm_msr_entry){ .index = MSR_MISC_ENABLE, .data = FAST_STRING };
	return ioctl(c->fd, KVM_SET_MSRS, &m) < 1 ? err_sys(e, errno, "processor %u: MSRs", c->index) : 0;
}

int vcpu_new(const struct kvm *k, unsigned index, unsigned n, struct vcpu *ret, struct err *e)
{
	struct vcpu c = { .index = index, .fd = ioctl(k->vm, KVM_CREATE_VCPU, index) };
	if (c.fd < 0)
		return err_sys(e, errno, "processor %u", index);
	c.run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c.fd, 0);
	if (c.run == MAP_FAILED)
		return err_sys(e, errno, "processor %u", index);
	int r = cpuid_set(k, c.fd, index, n, e);
	if (r >= 0)
		r = first_msrs(&c, e);
	*ret = c;
	return r;
}

int vcpu_boot(const struct vcpu *c, const struct boot_entry *b, struct err *e)
{
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = b->rip, .rbx = b->start_info, .rflags = 2 };
	struct kvm_segment flat = { .limit = 0xffffffff, .selector = 0x10, .type = DATA_32, .present = 1, .s = 1, .db = 1, .g = 1 };
	if (ioctl(c->fd, KVM_GET_SREGS, &s) < 0)
		return err_sys(e, errno, "processor: registers");
	s.ds = s.es = s.fs = s.gs = s.ss = flat;
	flat.selector = 0x8;
	flat.type = CODE_32;
	s.cs = flat;
	s.tr = (struct kvm_segment){ .limit = 0x67, .selector = 0x18, .type = TSS_BUSY, .present = 1 };
	s.cr0 = CR0_PE | CR0_ET;
	s.cr4 = 0;
	if (ioctl(c->fd, KVM_SET_SREGS, &s) < 0 || ioctl(c->fd, KVM_SET_REGS, &r) < 0)
		return err_sys(e, errno, "processor: registers");
	return 0;
}

static void io_exit(struct vcpu *c, const struct vcpu_host *h)
{
	uint8_t *p = (uint8_t *)c->run + c->run->io.data_offset;
	bool out = c->run->io.direction == KVM_EXIT_IO_OUT;
	for (uint32_t i = 0; i < c->run->io.count; i++, p += c->run->io.size)
		h->io(h->arg, out, c->run->io.port, c->run->io.size, p);
}

static void bad_exit(const struct vcpu *c, const struct vcpu_host *h)
{
	char why[160];
	const struct kvm_run *r = c->run;
	if (r->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		snprintf(why, sizeof why, "processor %u: KVM cannot go on (suberror %u)", c->index, r->internal.suberror);
	else if (r->exit_reason == KVM_EXIT_FAIL_ENTRY)
		snprintf(why, sizeof why, "processor %u: the hardware refuses its state (%#llx)", c->index, (unsigned long long)r->fail_entry.hardware_entry_failure_reason);
	else
		snprintf(why, sizeof why, "processor %u: exit %u is not known", c->index, r->exit_reason);
	h->ended(h->arg, 1, why);
}

static void handle_exit(struct vcpu *c, const struct vcpu_host *h)
{
	switch (c->run->exit_reason) {
	case KVM_EXIT_IO:
		io_exit(c, h);
		return;
	case KVM_EXIT_MMIO:
		h->mmio(h->arg, c->run->mmio.is_write, c->run->mmio.phys_addr, c->run->mmio.len, c->run->mmio.data);
		return;
	case KVM_EXIT_SHUTDOWN:
	case KVM_EXIT_SYSTEM_EVENT:
		h->ended(h->arg, 0, "the guest has reset its machine");
		return;
	case KVM_EXIT_HLT:
	case KVM_EXIT_INTR:
		return;
	}
	bad_exit(c, h);
}

/* An access is finished on the way back into the guest (KVM_EXIT_MMIO in api.rst): registers are whole only then. One of several parts asks for the next. */
static void finish_access(struct vcpu *c, const struct vcpu_host *h)
{
	int r;
	do {
		c->run->immediate_exit = 1;
		r = ioctl(c->fd, KVM_RUN, 0);
		c->run->immediate_exit = 0;
		if (r >= 0)
			handle_exit(c, h);
	} while (r >= 0);
}

void vcpu_run(struct vcpu *c, const struct vcpu_host *h)
{
	own_run = c->run;
	for (;;) {
		if (h->pausing(h->arg)) {
			finish_access(c, h);
			h->parked(h->arg);
			continue;
		}
		int r = ioctl(c->fd, KVM_RUN, 0);
		c->run->immediate_exit = 0;
		if (r >= 0)
			handle_exit(c, h);
		else if (errno != EINTR && errno != EAGAIN) {
			char why[96];
			snprintf(why, sizeof why, "processor %u: KVM_RUN: %s", c->index, strerror(errno));
			h->ended(h->arg, 1, why);
		}
	}
}
