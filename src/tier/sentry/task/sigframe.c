/* The x86-64 signal frame: what the kernel writes on the guest's stack, and what rt_sigreturn reads back. */
#include <errno.h>
#include <string.h>

#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/exec.h"
#include "tier/sentry/task/signal.h"

struct rt_sigframe {
	uint64_t pretcode;
	struct gate_uc uc;
	struct guest_siginfo info;
};
_Static_assert(sizeof(struct rt_sigframe) == 440, "rt_sigframe of x86-64");

/* struct _fpx_sw_bytes at offset 464 of the FXSAVE image (arch/x86/include/uapi/asm/sigcontext.h) */
struct fpx_sw { uint32_t magic1, extended_size; uint64_t xfeatures; uint32_t xstate_size, pad[7]; };
enum { FXSAVE_SIZE = 512, SW_OFFSET = 464 };
#define FP_MAGIC1 0x46505853u
#define USER_EFLAGS 0x50dd5ull /* AC OF DF TF SF ZF AF PF CF RF: what rt_sigreturn restores */

/* FP image of the current frame in the slot; NULL when the guest moved the pointer away. */
static uint8_t *fp_image(struct task *t, uint32_t *size)
{
	uint64_t off = t->regs->fpstate - t->slot_va;
	struct fpx_sw sw;
	if (off < SLOT_STACK || off > SLOT_STACK_END - FXSAVE_SIZE)
		return NULL;
	uint8_t *p = (uint8_t *)t->mb + off;
	memcpy(&sw, p + SW_OFFSET, sizeof(sw));
	*size = sw.magic1 == FP_MAGIC1 ? sw.extended_size : FXSAVE_SIZE;
	if (*size < FXSAVE_SIZE || *size > SLOT_STACK_END - off)
		return NULL;
	return p;
}

static bool on_altstack(const struct task *t, uint64_t sp)
{
	return !(t->altstack_flags & 2) && sp > t->altstack_sp && sp - t->altstack_sp <= t->altstack_size;
}

bool sigframe_push(struct task *t, int sig, const struct guest_siginfo *info, const struct guest_sigaction *sa, uint64_t old_mask)
{
	struct gate_regs *r = t->regs;
	struct rt_sigframe f;
	uint32_t fp_size = 0;
	uint8_t *fp = fp_image(t, &fp_size);
	uint64_t sp = r->rsp - 128;
	memset(&f, 0, sizeof(f));
	if ((sa->flags & SA_ONSTACK) && !(t->altstack_flags & 2) && !on_altstack(t, r->rsp))
		sp = t->altstack_sp + t->altstack_size;
	uint64_t fp_addr = fp ? (sp - fp_size) & ~63ull : 0;
	uint64_t addr = (((fp ? fp_addr : sp) - sizeof(f)) & ~15ull) - 8;
	f.pretcode = sa->restorer;
	f.uc.flags = t->uc->flags;
	f.uc.ss_sp = t->altstack_sp;
	f.uc.ss_size = t->altstack_size;
	f.uc.ss_flags = on_altstack(t, r->rsp) ? 1 : t->altstack_flags;
	f.uc.regs = *r;
	f.uc.regs.fpstate = fp_addr;
	f.uc.regs.oldmask = old_mask;
	f.uc.sigmask = old_mask;
	f.info = *info;
	f.info.signo = sig;
	if (fp && copyout(t, fp_addr, fp, fp_size) < 0)
		return false;
	if (copyout(t, addr, &f, sizeof(f)) < 0)
		return false;
	if (t->altstack_flags & 0x80000000u) { /* SS_AUTODISARM */
		t->altstack_sp = t->altstack_size = 0;
		t->altstack_flags = 2;
	}
	r->rsp = addr;
	r->rip = sa->handler;
	r->rdi = (uint64_t)sig;
	r->rsi = addr + offsetof(struct rt_sigframe, info);
	r->rdx = addr + offsetof(struct rt_sigframe, uc);
	r->rax = 0;
	r->eflags &= ~0x10500ull; /* DF, TF, RF */
	return true;
}

static bool pop_fp(struct task *t, uint64_t addr)
{
	uint32_t size = 0;
	uint8_t *fp = fp_image(t, &size);
	struct fpx_sw ours, theirs;
	if (!fp || !addr)
		return true;
	memcpy(&ours, fp + SW_OFFSET, sizeof(ours));
	if (copyin(t, &theirs, addr + SW_OFFSET, sizeof(theirs)) < 0)
		return false;
	if (theirs.magic1 != FP_MAGIC1 || theirs.extended_size != ours.extended_size)
		size = FXSAVE_SIZE;
	if (copyin(t, fp, addr, size) < 0)
		return false;
	memcpy(fp + SW_OFFSET, &ours, sizeof(ours)); /* layout facts stay the host's */
	return true;
}

bool sigframe_pop(struct task *t)
{
	struct gate_regs *r = t->regs;
	struct gate_uc uc;
	uint64_t fp = r->fpstate;
	uint16_t cs = r->cs, ss = r->ss;
	uint64_t flags = r->eflags;
	if (copyin(t, &uc, r->rsp, sizeof(uc)) < 0)
		return false;
	if (!pop_fp(t, uc.regs.fpstate))
		return false;
	*r = uc.regs;
	r->fpstate = fp;
	r->cs = cs;
	r->ss = ss;
	r->gs = r->fs = 0;
	r->eflags = (flags & ~USER_EFLAGS) | (uc.regs.eflags & USER_EFLAGS);
	task_set_mask(t, uc.sigmask);
	if (!(uc.ss_flags & ~3u & ~0x80000000u)) {
		if (uc.ss_flags & 2) {
			t->altstack_sp = t->altstack_size = 0;
			t->altstack_flags = 2;
		} else if (!on_altstack(t, r->rsp) || t->altstack_sp != uc.ss_sp) {
			t->altstack_sp = uc.ss_sp;
			t->altstack_size = uc.ss_size;
			t->altstack_flags = uc.ss_flags & 0x80000000u;
		}
	}
	return true;
}

/* execve: floating point as a new program finds it. */
void sigframe_reset_fp(struct task *t)
{
	uint32_t size = 0;
	uint8_t *fp = fp_image(t, &size);
	const uint16_t fcw = 0x37f;
	const uint32_t mxcsr = 0x1f80;
	if (!fp)
		return;
	memset(fp, 0, SW_OFFSET);
	memcpy(fp, &fcw, sizeof(fcw));
	memcpy(fp + 24, &mxcsr, sizeof(mxcsr));
	if (size > FXSAVE_SIZE + 64)
		memset(fp + FXSAVE_SIZE, 0, 8); /* xstate_bv: every component initial */
}
