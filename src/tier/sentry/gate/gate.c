/*
 * The gate: code that runs inside every guest address space. Freestanding, position-independent, general registers only, no data:
 * the whole of section gate_text is copied to gate_layout.base. See gate.h for the memory that it shares with the sentry.
 *
 * The gate is convenience, not boundary: a guest may jump into the middle of any of this with any registers. What is reachable that
 * way is exactly what the guest filter allows (filter.c), and every such call acts on the guest's own address space only.
 *
 * Entry is always by signal on the slot's alternate stack with every signal blocked except the synchronous ones.
 */
#include "tier/sentry/gate/inside.h"

INLINE struct mailbox *slot_of(const void *p)
{
	return (struct mailbox *)((uintptr_t)p & ~(uintptr_t)(SLOT_SIZE - 1));
}

/* The number of this core: rdpid, or what the kernel keeps in the limit of a segment for its vDSO (arch/x86/include/asm/segment.h). */
INLINE uint32_t this_cpu(void)
{
	uint32_t p;
	__asm__("lsl %1, %0" : "=r"(p) : "r"(0x7b));
	return p & 0xfff;
}

enum { YIELD_EVERY = 64 };

/* Awake for a while: on two cores by spinning, on one by giving it to the twin. */
INLINE int wait_awake(struct mailbox *mb)
{
	uint32_t cpu = this_cpu();
	mb->guest_cpu = cpu;
	for (uint32_t i = 1, spin = mb->spin; i < spin && !__atomic_load_n(&mb->twin_slow, __ATOMIC_RELAXED); i++) {
		if (__atomic_load_n(&mb->state, __ATOMIC_ACQUIRE) == MB_REPLY)
			return 1;
		if (i % YIELD_EVERY == 0 || __atomic_load_n(&mb->twin_cpu, __ATOMIC_RELAXED) == cpu)
			call6(NR_sched_yield, 0, 0, 0, 0, 0, 0);
		else
			__builtin_ia32_pause();
	}
	return 0;
}

void GATE gate_roundtrip(struct mailbox *mb)
{
	__atomic_store_n(&mb->state, MB_REQUEST, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&mb->twin_sleeps, __ATOMIC_SEQ_CST))
		call6(NR_futex, (long)&mb->state, OP_WAKE, 1, 0, 0, 0);
	if (wait_awake(mb))
		goto out;
	while (__atomic_load_n(&mb->state, __ATOMIC_ACQUIRE) != MB_REPLY) {
		uint32_t seen;
		__atomic_store_n(&mb->guest_sleeps, 1, __ATOMIC_SEQ_CST);
		seen = __atomic_load_n(&mb->state, __ATOMIC_SEQ_CST);
		if (seen != MB_REPLY)
			call6(NR_futex, (long)&mb->state, OP_WAIT, seen, 0, 0, 0);
	}
	__atomic_store_n(&mb->guest_sleeps, 0, __ATOMIC_RELAXED);
out:
	__atomic_store_n(&mb->state, MB_RUN, __ATOMIC_RELAXED);
}

/*
 * clone. The child must not use its stack before it has an arena of its own (fork: the mapping is still the parent's), so everything up to that
 * point lives in registers: r12 = grant (0 for a thread), r13 = child's slot, r14 = arena address.
 */
INLINE long do_clone(struct mailbox *mb)
{
	long ret;
	register long r10 __asm__("r10") = (long)mb->call[3];
	register long r8 __asm__("r8") = (long)mb->call[4];
	register long r12 __asm__("r12") = (long)mb->call[2];
	register long r13 __asm__("r13") = (long)(mb->call[1] & ~(SLOT_SIZE - 1));
	register long r14 __asm__("r14") = (long)mb->call[5];
	__asm__ volatile(
		"syscall\n\t"
		"test %%rax, %%rax\n\t"
		"jnz 1f\n\t"
		"test %%r12, %%r12\n\t"
		"jz 2f\n\t"
		"mov %%r14, %%rdi\n\t"
		"mov %[len], %%esi\n\t"
		"mov $3, %%edx\n\t"      /* PROT_READ|PROT_WRITE */
		"mov $0x11, %%r10d\n\t"  /* MAP_SHARED|MAP_FIXED */
		"mov %%r12, %%r8\n\t"
		"xor %%r9d, %%r9d\n\t"
		"mov $9, %%eax\n\t"
		"syscall\n\t"
		"cmp %%r14, %%rax\n\t"
		"je 2f\n\t"
		"3: mov $60, %%eax\n\t"
		"mov $127, %%edi\n\t"
		"syscall\n\t"
		"jmp 3b\n\t"
		"2: xor %%ebp, %%ebp\n\t"
		"mov %%r13, %%rdi\n\t"
		"call gate_child\n\t"
		"jmp 3b\n\t"
		"1:\n\t"
		: "=a"(ret), "+r"(r10), "+r"(r8)
		: "a"((long)NR_clone), "D"(mb->call[0]), "S"(mb->call[1]), "d"(0L), "r"(r12), "r"(r13), "r"(r14),
		  [len] "i"((long)(GATE_SLOTS * SLOT_SIZE))
		: "rcx", "r11", "r9", "memory");
	return ret;
}

/* 32-bit compare-exchange on guest memory; a fault continues at the recovery address with CF-like flag in *fault. */
GATE __attribute__((noinline)) static uint32_t cmpxchg_guest(struct mailbox *mb, uint32_t *p, uint32_t expected, uint32_t new_value, uint64_t *fault)
{
	uint32_t old = expected;
	uint64_t bad = 1;
	__asm__ volatile(
		"lea 1f(%%rip), %%rcx\n\t"
		"mov %%rcx, %[rec]\n\t"
		"lock cmpxchgl %[nv], (%[p])\n\t"
		"xor %%edx, %%edx\n\t"
		"1: movq $0, %[rec]\n\t"
		: "+a"(old), "+d"(bad), [rec] "+m"(mb->recover)
		: [nv] "r"(new_value), [p] "r"(p)
		: "rcx", "memory", "cc");
	*fault = bad;
	return old;
}

__attribute__((noreturn)) INLINE void resume(uint64_t uc)
{
	__asm__ volatile("mov %0, %%rsp\n\t mov $15, %%eax\n\t syscall\n\t ud2" : : "r"(uc) : "memory");
	__builtin_unreachable();
}

int GATE gate_act(struct mailbox *mb)
{
	switch (mb->action) {
	case MB_CALL:
		mb->result = call6((long)mb->call_nr, (long)mb->call[0], (long)mb->call[1], (long)mb->call[2], (long)mb->call[3], (long)mb->call[4], (long)mb->call[5]);
		break;
	case MB_CLONE: mb->result = do_clone(mb); break;
	case MB_SETFS:
		__asm__ volatile("wrfsbase %0" : : "r"(mb->call[0]));
		mb->result = 0;
		break;
	case MB_CMPXCHG: {
		uint64_t fault;
		mb->result = cmpxchg_guest(mb, (uint32_t *)mb->call[0], (uint32_t)mb->call[1], (uint32_t)mb->call[2], &fault);
		mb->result2 = fault;
		break;
	}
	default: return 0;
	}
	mb->kind = MB_RESULT;
	return 1;
}

/* Ask, do what the answer says, until the answer is to go on. */
GATE __attribute__((noinline, noreturn)) static void serve(struct mailbox *mb)
{
	for (;;) {
		gate_roundtrip(mb);
		if (gate_act(mb))
			continue;
		if (mb->action == MB_CALL_TAIL)
			((struct gate_uc *)mb->uc)->regs.rax = (uint64_t)call6((long)mb->call_nr, (long)mb->call[0], (long)mb->call[1], (long)mb->call[2],
				(long)mb->call[3], (long)mb->call[4], (long)mb->call[5]);
		resume(mb->uc);
	}
}

/* First code of a new thread or process, on its own slot's stack: the frame to continue at was copied there by the sentry. */
GATE __attribute__((noreturn)) void gate_child(struct mailbox *mb)
{
	uint64_t ss[3] = { (uint64_t)mb + SLOT_STACK, 0, SLOT_STACK_END - SLOT_STACK };
	__asm__ volatile("" : : "r"(ss) : "memory");
	call6(NR_sigaltstack, (long)ss, 0, 0, 0, 0, 0);
	if (mb->entry)
		__asm__ volatile("wrgsbase %0" : : "r"(mb));
	if (mb->hello_fork)
		call6(NR_close, (int)mb->hello_fd, 0, 0, 0, 0, 0);
	else
		call6(NR_mmap, 0, 0, 0, 2, (long)mb->hello_fd, 0);
	mb->kind = MB_HELLO;
	serve(mb);
}

/* Kicks are blocked while a handler of ours runs: here the thread was in a fast call. */
INLINE int in_gate(uint64_t rip)
{
	uint64_t base = (uint64_t)gate_fast & ~(GATE_CODE_SIZE - 1);
	return rip >= base && rip < base + GATE_CODE_SIZE;
}

/* Handler of SIGSYS, the kick and the synchronous signals. info and uc lie on the slot's stack. */
GATE __attribute__((noreturn)) void gate_signal(int sig, void *info, struct gate_uc *uc)
{
	struct mailbox *mb = slot_of(uc);
	const int32_t *si = info;
	if (sig == GATE_KICK && in_gate(uc->regs.rip)) { /* during a fast call: it looks at `kicked` before it returns to the guest */
		mb->kicked = 1;
		if (uc->regs.rip >= (uint64_t)gate_fast_check && uc->regs.rip < (uint64_t)gate_fast_end)
			uc->regs.rip = (uint64_t)gate_fast_check;
		resume((uint64_t)uc);
	}
	if (sig == 31 && uc->regs.rip == (uint64_t)gate_fast_trapped) {
		mb->kind = MB_FRAME;
		uc->regs.rip = uc->regs.rcx = mb->rip;
		uc->regs.rax = mb->rax;
	} else if (sig == 31) { /* SIGSYS */
		mb->kind = MB_SYSCALL;
		mb->nr = (uint32_t)uc->regs.rax;
		mb->args[0] = uc->regs.rdi;
		mb->args[1] = uc->regs.rsi;
		mb->args[2] = uc->regs.rdx;
		mb->args[3] = uc->regs.r10;
		mb->args[4] = uc->regs.r8;
		mb->args[5] = uc->regs.r9;
	} else if (sig == GATE_KICK) {
		mb->kind = MB_KICKED;
	} else {
		uint64_t rec = mb->recover;
		if (rec && sig != 5) { /* a guest access of the gate itself failed: continue behind it */
			mb->recover = 0;
			uc->regs.rip = rec;
			resume((uint64_t)uc);
		}
		mb->kind = MB_FAULT;
		mb->signo = (uint32_t)sig;
		mb->code = si[2];
		mb->fault_addr = *(const uint64_t *)(const void *)(si + 4);
	}
	mb->uc = (uint64_t)uc;
	serve(mb);
}

/* Return address of every signal frame; never reached because serve() resumes by itself. */
__attribute__((naked)) GATE void gate_restorer(void)
{
	__asm__ volatile("mov $15, %eax\n\t syscall\n\t ud2");
}
