/*
 * Memory shared between a guest thread and its twin in the sentry. Included by the gate blob (freestanding) and by the sentry.
 *
 * Each guest address space holds, at one address per sandbox (gate_layout.base, chosen at start):
 *
 *     base             gate code (private, read+execute), GATE_CODE_SIZE
 *     base+CODE        the arena: GATE_SLOTS slots of SLOT_SIZE from one memfd per process (MAP_SHARED, sparse)
 *
 * A slot belongs to one host thread (whose GS base is its address): mailbox page, alternate signal stack (so that the register frame that the kernel writes for a
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

#define FAST_STACK     0x1000ull   /* top of the stack of fast calls, which is the rest of the mailbox page */
#define GATE_TRAP_NR   0x7f00000u  /* a call that no filter allows: a fast call asks for a frame */

#define GATE_KICK 10 /* SIGUSR1: "look at your mailbox"; the only asynchronous host signal the guest ever gets */

/* mailbox.state */
enum { MB_RUN = 0, MB_REQUEST = 1, MB_REPLY = 2, MB_POKED = 3 };
/* mailbox.kind: what the guest side asks */
enum { MB_SYSCALL = 1, MB_FAULT, MB_KICKED, MB_RESULT, MB_HELLO, MB_FASTCALL, MB_FRAME };
/* mailbox.action: what the sentry answers */
enum {
	MB_RESUME = 1, /* continue at the frame in uc */
	MB_CALL,       /* make one host call (of the allowed dozen), post MB_RESULT */
	MB_CLONE,      /* clone(call[0], call[1] = child stack, call[3] = ctid, call[4] = tls); child: see gate.c */
	MB_SETFS,      /* wrfsbase call[0] */
	MB_CMPXCHG,    /* 32-bit compare-exchange at call[0]: expected call[1], new call[2]; old value in result, result2 != 0 on fault */
	MB_CALL_TAIL,  /* make one host call, its result is the guest's */
	MB_RETURN,     /* fast call: copy out, return ret */
	MB_TRAP,       /* fast call: copy out, then come back with a frame (MB_FRAME) */
	MB_COPY,       /* fast call: copy out and post MB_RESULT; result is 0 or -EFAULT */
};

/* A stretch of guest memory that the gate copied into the window before it posted the request (in), found writable (out), or is to fill from
 * the window when the call returns (copy). */
struct gate_range { uint64_t addr; uint32_t len, off; };
enum { GATE_RANGES = 8 };
#define GATE_BULK 0x80000000u

/* What the gate marshals for a call: up to four operands. kind | argument << 4 | size or length argument << 7. */
enum {
	GM_NONE = 0,
	GM_STR,                             /* string, read */
	GM_IN, GM_OUT, GM_INOUT,            /* param: GM_LEN(length argument, element size) */
	GM_IN_FIX, GM_OUT_FIX, GM_INOUT_FIX, /* param: bytes */
	GM_IOV_IN, GM_IOV_OUT,              /* param: GM_LEN(count argument, 16) */
	GM_TRAP = 15                        /* needs a frame: never a fast call */
};
#define GM(kind, arg, param) ((uint16_t)((kind) | (arg) << 4 | (param) << 7))
#define GM_LEN(arg, size) ((arg) | (size) << 3)
struct gate_marshal { uint16_t op[4]; };
enum { GATE_CALLS = 512 };
#define GATE_TABLE 0x10000ull /* in the code area: struct gate_marshal[GATE_CALLS] */

/*
 * What a plain fast call needs to cross from one core to the other lies in the first two cache lines; the third and fourth are the guest's alone. The
 * gate's assembler uses the MBO_* offsets of the GS base.
 */
#define MBO_RIP  0x48
#define MBO_RSP  0x50
#define MBO_REGS 0x80
#define MBO_KICKED 0xb8
#define MBO_SELF 0xc0
#define MBO_ENTRY 0xc8
struct mailbox {
	uint32_t state;        /* futex, shared */
	uint32_t twin_sleeps;  /* set by the twin before it sleeps */
	uint32_t kind, nr;
	uint64_t args[6];

	uint16_t n_in, n_out;  /* ranges that were marshalled */
	uint32_t used;         /* window bytes that hold input */
	uint64_t rip, rsp;     /* fast call: where it returns, the guest's stack */
	int64_t ret;           /* MB_RETURN */
	uint32_t action;
	uint32_t n_copy;
	uint32_t guest_sleeps;
	uint32_t twin_slow;    /* the twin sleeps on the call's behalf: the gate need not spin for it */
	uint32_t guest_cpu, twin_cpu; /* where the two wait: on one core they take turns, on two they spin */
	uint32_t spin, pad1;

	uint64_t rdi, rsi, rdx, r10, r8, r9, rax; /* fast call: what a system call leaves alone, and its result */
	uint32_t kicked, pad2; /* a kick came while the thread was in the gate: it traps before it goes back */

	uint64_t self, entry;
	uint64_t table;        /* struct gate_marshal[] in the code area */
	uint32_t ids_valid, pid, tid, uid, euid, gid, egid, pad3; /* answers in place, kept by the sentry; not valid: ask */

	uint64_t recover;      /* gate-internal: address to continue at when a guest access faults */
	uint32_t ctid;         /* non-zero while the host thread lives (CLONE_CHILD_CLEARTID) */
	uint32_t signo;
	int32_t code, pad4;
	uint64_t uc;           /* guest address of the ucontext in this slot's stack */
	uint64_t fault_addr;
	int64_t result;
	uint64_t result2;
	uint64_t call_nr, call[6];
	/* set by the sentry for a new thread or process, read once by its gate */
	uint64_t hello_fd;     /* secret<<32 | fd number: proves to the notifier who this is */
	uint64_t hello_fork;   /* 1: an address space of its own, the arena was remapped through hello_fd */
	uint64_t bulk_dst, bulk_src, bulk_len; /* with GATE_BULK in n_copy: from a mapping of the guest */
	uint32_t no_bulk, pad5; /* the mapping faulted: answer without */
	struct gate_range in[GATE_RANGES], out[GATE_RANGES], copy[GATE_RANGES];
};
#define AT(field, off) _Static_assert(__builtin_offsetof(struct mailbox, field) == (off), #field)
AT(n_in, 64);
AT(rip, MBO_RIP);
AT(rsp, MBO_RSP);
AT(rdi, MBO_REGS);
AT(kicked, MBO_KICKED);
AT(self, MBO_SELF);
AT(entry, MBO_ENTRY);
#undef AT
_Static_assert(sizeof(struct mailbox) <= FAST_STACK - 1536, "the gate's C code runs on the rest of the page");

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
