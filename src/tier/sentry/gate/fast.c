/*
 * Fast calls: what a patched call site enters instead of the kernel. Part of the gate blob (see gate.c).
 *
 * A trampoline sets rax (call number) and rcx (return address) as the `syscall` instruction would and jumps to gate_fast through the mailbox, which GS
 * points to. The guest's stack, red zone and vector registers are not touched. A call is answered here, or its memory operands are
 * copied into the window and it is posted; the twin's copyin() and copyout() then work on the window (mm/usermem.c).
 *
 * The way back is restartable: from gate_fast_check on everything comes from the mailbox, so a kick that interrupts it moves the thread to
 * gate_fast_check again (gate_signal), and no kick is lost between the check and the return.
 */
#include "tier/sentry/gate/inside.h"

#define STR_(x) #x
#define STR(x) STR_(x)
#define M(off) "%gs:" STR(off)
#define R(n) "%gs:" STR(MBO_REGS) "+" #n "*8" /* rdi, rsi, rdx, r10, r8, r9, rax */
_Static_assert(GATE_TRAP_NR == 0x7f00000u && FAST_STACK == 0x1000, "in the text below");

__asm__(
	".pushsection gate_text,\"ax\",@progbits\n"
	".globl gate_fast, gate_fast_check, gate_fast_end, gate_fast_trapped\n"
	".hidden gate_fast_check, gate_fast_end, gate_fast_trapped\n"
	"gate_fast:\n\t"
	"mov %rsp, " M(MBO_RSP) "\n\t"
	"mov %rcx, " M(MBO_RIP) "\n\t"
	"mov %rdi, " R(0) "\n\t"
	"mov %rsi, " R(1) "\n\t"
	"mov %rdx, " R(2) "\n\t"
	"mov %r10, " R(3) "\n\t"
	"mov %r8, " R(4) "\n\t"
	"mov %r9, " R(5) "\n\t"
	"mov " M(MBO_SELF) ", %rdi\n\t"
	"lea 0x1000(%rdi), %rsp\n\t"
	"mov %rax, %rsi\n\t"
	"call gate_fastcall\n\t"
	"mov %rax, " R(6) "\n"
	"gate_fast_check:\n\t"
	"cmpl $0, " M(MBO_KICKED) "\n\t"
	"jne 1f\n\t"
	"mov " R(0) ", %rdi\n\t"
	"mov " R(1) ", %rsi\n\t"
	"mov " R(2) ", %rdx\n\t"
	"mov " R(3) ", %r10\n\t"
	"mov " R(4) ", %r8\n\t"
	"mov " R(5) ", %r9\n\t"
	"mov " M(MBO_RSP) ", %rsp\n\t"
	"mov " R(6) ", %rax\n\t"
	"mov " M(MBO_RIP) ", %rcx\n\t"
	"jmp *%rcx\n"
	"1:\n\t"
	"movl $0, " M(MBO_KICKED) "\n\t"
	"mov " R(0) ", %rdi\n\t"
	"mov " R(1) ", %rsi\n\t"
	"mov " R(2) ", %rdx\n\t"
	"mov " R(3) ", %r10\n\t"
	"mov " R(4) ", %r8\n\t"
	"mov " R(5) ", %r9\n\t"
	"mov " M(MBO_RSP) ", %rsp\n\t"
	"mov $0x7f00000, %eax\n\t"
	"syscall\n"
	"gate_fast_trapped:\n\t"
	"ud2\n"
	"gate_fast_end:\n"
	".popsection\n");

/* Bytes that were not copied because the guest's memory faults. */
GATE __attribute__((noinline)) static uint64_t copy_guest(struct mailbox *mb, uint64_t dst, uint64_t src, uint64_t n)
{
	__asm__ volatile(
		"lea 1f(%%rip), %%rax\n\t"
		"mov %%rax, %[rec]\n\t"
		"rep movsb\n\t"
		"1: movq $0, %[rec]\n\t"
		: "+c"(n), "+D"(dst), "+S"(src), [rec] "+m"(mb->recover)
		:
		: "rax", "memory", "cc");
	return n;
}

/* Up to and with the NUL; the bytes that were read, n at most. */
GATE __attribute__((noinline)) static uint64_t copy_string(struct mailbox *mb, uint64_t dst, uint64_t src, uint64_t n)
{
	uint64_t left = n;
	__asm__ volatile(
		"lea 2f(%%rip), %%rax\n\t"
		"mov %%rax, %[rec]\n\t"
		"1: movb (%[s]), %%al\n\t"
		"movb %%al, (%[d])\n\t"
		"inc %[s]\n\t"
		"inc %[d]\n\t"
		"dec %[left]\n\t"
		"jz 2f\n\t"
		"test %%al, %%al\n\t"
		"jnz 1b\n\t"
		"2: movq $0, %[rec]\n\t"
		: [left] "+r"(left), [d] "+r"(dst), [s] "+r"(src), [rec] "+m"(mb->recover)
		:
		: "rax", "memory", "cc");
	return n - left;
}

/* 1 when the page of p can be written; nothing is changed. */
GATE __attribute__((noinline)) static int writable(struct mailbox *mb, uint64_t p)
{
	uint64_t bad = 1;
	__asm__ volatile(
		"lea 1f(%%rip), %%rax\n\t"
		"mov %%rax, %[rec]\n\t"
		"lock orb $0, (%[p])\n\t"
		"xor %k[bad], %k[bad]\n\t"
		"1: movq $0, %[rec]\n\t"
		: [bad] "+r"(bad), [rec] "+m"(mb->recover)
		: [p] "r"(p)
		: "rax", "memory", "cc");
	return !bad;
}

enum { IN_MAX = 0xc000 /* of the window for input */, OUT_PAGES = 16, IOV_MAX_ = 64 };

INLINE uint64_t window(struct mailbox *mb) { return (uint64_t)mb + SLOT_WINDOW; }

/* [addr, addr + n) into the window, as much as fits and can be read. */
GATE __attribute__((noinline)) static void take_in(struct mailbox *mb, uint64_t addr, uint64_t n, int string)
{
	uint32_t off = (mb->used + 15) & ~15u;
	if (!addr || mb->n_in >= GATE_RANGES || off >= IN_MAX)
		return;
	if (n > IN_MAX - off)
		n = IN_MAX - off;
	if (n)
		n = string ? copy_string(mb, window(mb) + off, addr, n) : n - copy_guest(mb, window(mb) + off, addr, n);
	if (!n)
		return;
	mb->in[mb->n_in++] = (struct gate_range){ addr, (uint32_t)n, off };
	mb->used = off + (uint32_t)n;
}

/* Writable pages from addr on, so that the twin may answer into the window and a bad pointer is found before anything is consumed. */
GATE __attribute__((noinline)) static void take_out(struct mailbox *mb, uint64_t addr, uint64_t n)
{
	uint64_t end = addr, last = addr + n;
	if (!addr || !n || last < addr || mb->n_out >= GATE_RANGES)
		return;
	for (unsigned i = 0; i < OUT_PAGES && end < last && writable(mb, end); i++)
		end = (end | 4095) + 1;
	if (end > last)
		end = last;
	if (end > addr)
		mb->out[mb->n_out++] = (struct gate_range){ addr, (uint32_t)(end - addr), 0 };
}

GATE __attribute__((noinline)) static void take_iov(struct mailbox *mb, uint64_t addr, uint64_t count, int in)
{
	uint32_t at = mb->n_in;
	if (count > IOV_MAX_)
		return;
	take_in(mb, addr, count * 16, 0);
	if (mb->n_in == at || mb->in[at].len != count * 16)
		return;
	const uint64_t *v = (const uint64_t *)(window(mb) + mb->in[at].off);
	for (uint64_t i = 0; i < count; i++) {
		if (in)
			take_in(mb, v[2 * i], v[2 * i + 1], 0);
		else
			take_out(mb, v[2 * i], v[2 * i + 1]);
	}
}

GATE __attribute__((noinline)) static void marshal(struct mailbox *mb, const struct gate_marshal *m)
{
	for (unsigned i = 0; i < 4 && m->op[i]; i++) {
		unsigned kind = m->op[i] & 15, param = m->op[i] >> 7;
		uint64_t addr = mb->args[m->op[i] >> 4 & 7], size = param;
		if (kind == GM_IN || kind == GM_OUT || kind == GM_INOUT || kind == GM_IOV_IN || kind == GM_IOV_OUT) {
			size = mb->args[param & 7];
			if (size > 1u << 30)
				continue;
			if (kind < GM_IOV_IN)
				size *= param >> 3;
		}
		if (kind == GM_STR)
			take_in(mb, addr, 4096, 1);
		else if (kind == GM_IOV_IN || kind == GM_IOV_OUT)
			take_iov(mb, addr, size, kind == GM_IOV_IN);
		else if (kind == GM_IN || kind == GM_IN_FIX)
			take_in(mb, addr, size, 0);
		else if (kind == GM_OUT || kind == GM_OUT_FIX)
			take_out(mb, addr, size);
		else {
			take_in(mb, addr, size, 0);
			take_out(mb, addr, size);
		}
	}
}

GATE __attribute__((noinline)) static long copy_back(struct mailbox *mb)
{
	uint32_t n = mb->n_copy;
	if (n & GATE_BULK) {
		n &= ~GATE_BULK;
		if (copy_guest(mb, mb->bulk_dst, mb->bulk_src, mb->bulk_len))
			return -14;
	}
	for (uint32_t i = 0; i < n && i < GATE_RANGES; i++)
		if (copy_guest(mb, mb->copy[i].addr, window(mb) + mb->copy[i].off, mb->copy[i].len))
			return -14; /* EFAULT: the memory went away meanwhile */
	return 0;
}

long GATE gate_fastcall(struct mailbox *mb, uint64_t nr)
{
	const struct gate_marshal *m = (const struct gate_marshal *)mb->table + nr;
	if (mb->ids_valid) {
		switch (nr) {
		case 39: return mb->pid;
		case 186: return mb->tid;
		case 102: return mb->uid;
		case 104: return mb->gid;
		case 107: return mb->euid;
		case 108: return mb->egid;
		case NR_sched_yield: return call6(NR_sched_yield, 0, 0, 0, 0, 0, 0);
		}
	}
	if (nr < GATE_CALLS && m->op[0] == GM_TRAP) { /* by the instruction that the patch left behind the jump */
		mb->rip -= 2;
		return (long)nr;
	}
	mb->nr = (uint32_t)nr;
	mb->args[0] = mb->rdi;
	mb->args[1] = mb->rsi;
	mb->args[2] = mb->rdx;
	mb->args[3] = mb->r10;
	mb->args[4] = mb->r8;
	mb->args[5] = mb->r9;
	mb->n_in = mb->n_out = 0;
	mb->used = 0;
	if (nr < GATE_CALLS && m->op[0])
		marshal(mb, m);
	mb->kind = MB_FASTCALL;
	mb->no_bulk = 0;
	for (;;) {
		gate_roundtrip(mb);
		if (gate_act(mb))
			continue;
		if (mb->action == MB_CALL_TAIL)
			return call6((long)mb->call_nr, (long)mb->call[0], (long)mb->call[1], (long)mb->call[2], (long)mb->call[3], (long)mb->call[4],
				(long)mb->call[5]);
		long fault = copy_back(mb);
		if (mb->action == MB_COPY) {
			mb->result = fault;
			mb->kind = MB_RESULT;
			continue;
		}
		if (fault && mb->action == MB_RETURN && mb->n_copy & GATE_BULK && !mb->no_bulk) { /* the file became shorter: once more, without */
			mb->no_bulk = 1;
			mb->kind = MB_FASTCALL;
			continue;
		}
		if (mb->action == MB_TRAP)
			mb->kicked = 1;
		return fault ? fault : mb->ret;
	}
}
