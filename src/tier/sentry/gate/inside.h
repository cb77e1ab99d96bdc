/* What the two files of the gate blob share: raw host calls and the door to the twin. Freestanding, general registers only, no data. */
#ifndef TIERCE_SENTRY_INSIDE_H
#define TIERCE_SENTRY_INSIDE_H

#include "tier/sentry/gate/gate.h"
#include "tier/sentry/gate/gate_blob.h"

#define GATE __attribute__((section("gate_text"), used))
#define INLINE static inline __attribute__((always_inline))
#define HIDDEN __attribute__((visibility("hidden")))

enum { NR_mmap = 9, NR_close = 3, NR_rt_sigreturn = 15, NR_sched_yield = 24, NR_clone = 56, NR_exit = 60, NR_sigaltstack = 131, NR_futex = 202 };
enum { OP_WAIT = 0, OP_WAKE = 1 };

INLINE long call6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return ret;
}

/* Post what is in the mailbox and wait for the answer. */
void gate_roundtrip(struct mailbox *mb) HIDDEN;
/* Answers that are requests to act: 1 when the next round is due, 0 when the answer is something else. */
int gate_act(struct mailbox *mb) HIDDEN;
/* A fast call, from gate_fast: returns what goes into rax. */
long gate_fastcall(struct mailbox *mb, uint64_t nr) HIDDEN;
/* The first instruction behind which a fast call can be restarted, the end of that code, and the return address of its trap. */
extern const char gate_fast_check[] HIDDEN, gate_fast_end[] HIDDEN, gate_fast_trapped[] HIDDEN;

#endif
