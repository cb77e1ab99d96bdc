/*
 * Memory shared between a guest thread and its twin in the sentry. Included by the gate blob (freestanding) and by the sentry.
 *
 * Each guest address space holds, at one address per sandbox (gate_layout.base, chosen at start):
 *
 *     base             gate code (private, read+execute), GATE_CODE_SIZE
 *     base+CODE        the arena: GATE_SLOTS slots of SLOT_SIZE from one memfd per process (MAP_SHARED, sparse)
 *
 * A slot belongs to one host thread: mailbox page, alternate signal stack (so that the register frame that the kernel writes for a
 * trapped call is readable by the sentry without process_vm_readv), data window. Everything in a slot is writable by the guest:
 * the sentry reads a field once and validates it; nothing here is ever trusted to be what the gate wrote.
 */
#ifndef TIERCE_SENTRY_GATE_H
#define TIERCE_SENTRY_GATE_H

#include <stdint.h>

#define GATE_CODE_SIZE 0x20000ull
#define SLOT_SIZE      0x20000ull  /* power of two: the gate finds its slot by masking the stack pointer */
#define GATE_SLOTS     2048u       /* threads per address space; bounds what clone() in a loop can make the sentry map */
#define GATE_SPAN      (GATE_CODE_SIZE + GATE_SLOTS * SLOT_SIZE)
#define SLOT_STACK     0x1000ull   /* alternate stack: from here ... */
#define SLOT_STACK_END 0x10000ull  /* ... to here; AT_MINSIGSTKSZ is about 12 KiB with AMX, faults nest once */
#define SLOT_WINDOW    0x10000ull  /* data window to the end of the slot */
#define SLOT_WINDOW_SIZE (SLOT_SIZE - SLOT_WINDOW)

#define GATE_KICK 10 /* SIGUSR1: "look at your mailbox"; the only asynchronous host signal the guest ever gets */

/* mailbox.state */
enum { MB_RUN = 0, MB_REQUEST = 1, MB_REPLY = 2, MB_POKED = 3 };
/* mailbox.kind: what the guest side asks */
enum { MB_SYSCALL = 1, MB_FAULT, MB_KICKED, MB_RESULT, MB_HELLO, MB_FASTCALL };
/* mailbox.action: what the sentry answers */
enum {
	MB_RESUME = 1, /* continue at the frame in uc */
	MB_CALL,       /* make one host call (of the allowed dozen), post MB_RESULT */
	MB_CLONE,      /* clone(call[0], call[1] = child stack, call[3] = ctid, call[4] = tls); child: see gate.c */
	MB_SETFS,      /* wrfsbase call[0] */
	MB_CMPXCHG,    /* 32-bit compare-exchange at call[0]: expected call[1], new call[2]; old value in result, result2 != 0 on fault */
	MB_CALL_TAIL,  /* make one host call, put its result into the frame's return register, continue */
};

struct mailbox {
	uint32_t state;        /* futex, shared */
	uint32_t twin_sleeps;  /* set by the twin before it sleeps */
	uint32_t guest_sleeps;
	uint32_t ctid;         /* non-zero while the host thread lives (CLONE_CHILD_CLEARTID) */
	/* request */
	uint32_t kind, signo;
	int32_t code, pad0;
	uint64_t uc;           /* guest address of the ucontext in this slot's stack */
	uint64_t nr, args[6];
	uint64_t fault_addr;
	int64_t result;
	uint64_t result2;
	/* reply */
	uint32_t action, pad1;
	uint64_t call_nr, call[6];
	int64_t ret;           /* MB_FASTCALL: return value */
	/* set by the sentry for a new thread or process, read once by its gate */
	uint64_t hello_fd;     /* secret<<32 | fd number: proves to the notifier who this is */
	uint64_t hello_fork;   /* 1: an address space of its own, the arena was remapped through hello_fd */
	uint64_t recover;      /* gate-internal: address to continue at when a guest access faults */
};

/* x86-64 ucontext as the kernel lays it out in the signal frame. */
struct gate_regs {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2;
	uint64_t fpstate;
	uint64_t reserved[8];
};
struct gate_uc {
	uint64_t flags, link;
	uint64_t ss_sp;
	uint32_t ss_flags, ss_pad;
	uint64_t ss_size;
	struct gate_regs regs;
	uint64_t sigmask;
};
_Static_assert(sizeof(struct gate_regs) == 256, "mcontext of x86-64");
_Static_assert(sizeof(struct gate_uc) == 304, "ucontext of x86-64");

#endif
