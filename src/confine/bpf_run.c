/* The kernel's rules for seccomp programs (seccomp_check_filter() and the classic verifier), an evaluator, and loading. See bpf.h. */
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "confine/bpf.h"

static bool valid_insn(const struct sock_filter *f, size_t n, size_t pc) {
	const struct sock_filter *i = &f[pc];
	size_t left = n - pc - 1; /* instructions behind this one */
	switch (i->code) {
	case BPF_LD | BPF_W | BPF_ABS: return i->k < sizeof(struct seccomp_data) && i->k % 4 == 0;
	case BPF_LD | BPF_W | BPF_LEN: case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LD | BPF_IMM: case BPF_LDX | BPF_IMM:
	case BPF_MISC | BPF_TAX: case BPF_MISC | BPF_TXA:
	case BPF_RET | BPF_K: case BPF_RET | BPF_A:
	case BPF_ALU | BPF_ADD | BPF_K: case BPF_ALU | BPF_ADD | BPF_X: case BPF_ALU | BPF_SUB | BPF_K: case BPF_ALU | BPF_SUB | BPF_X:
	case BPF_ALU | BPF_MUL | BPF_K: case BPF_ALU | BPF_MUL | BPF_X: case BPF_ALU | BPF_DIV | BPF_X:
	case BPF_ALU | BPF_AND | BPF_K: case BPF_ALU | BPF_AND | BPF_X: case BPF_ALU | BPF_OR | BPF_K: case BPF_ALU | BPF_OR | BPF_X:
	case BPF_ALU | BPF_XOR | BPF_K: case BPF_ALU | BPF_XOR | BPF_X: case BPF_ALU | BPF_LSH | BPF_X: case BPF_ALU | BPF_RSH | BPF_X:
	case BPF_ALU | BPF_NEG:
		return true;
	case BPF_ALU | BPF_DIV | BPF_K: return i->k != 0;
	case BPF_ALU | BPF_LSH | BPF_K: case BPF_ALU | BPF_RSH | BPF_K: return i->k < 32;
	case BPF_LD | BPF_MEM: case BPF_LDX | BPF_MEM: case BPF_ST: case BPF_STX: return i->k < BPF_MEMWORDS;
	case BPF_JMP | BPF_JA: return i->k < left;
	case BPF_JMP | BPF_JEQ | BPF_K: case BPF_JMP | BPF_JEQ | BPF_X: case BPF_JMP | BPF_JGE | BPF_K: case BPF_JMP | BPF_JGE | BPF_X:
	case BPF_JMP | BPF_JGT | BPF_K: case BPF_JMP | BPF_JGT | BPF_X: case BPF_JMP | BPF_JSET | BPF_K: case BPF_JMP | BPF_JSET | BPF_X:
		return i->jt < left && i->jf < left;
	}
	return false;
}

bool bpf_check_valid(const struct sock_filter *f, size_t n) {
	if (n == 0 || n > BPF_MAXINSNS)
		return false;
	for (size_t pc = 0; pc < n; pc++)
		if (!valid_insn(f, n, pc))
			return false;
	return f[n - 1].code == (BPF_RET | BPF_K) || f[n - 1].code == (BPF_RET | BPF_A);
}

static uint32_t alu(uint16_t op, uint32_t a, uint32_t v) {
	switch (op) {
	case BPF_ADD: return a + v;
	case BPF_SUB: return a - v;
	case BPF_MUL: return a * v;
	case BPF_DIV: return v ? a / v : 0;
	case BPF_AND: return a & v;
	case BPF_OR: return a | v;
	case BPF_XOR: return a ^ v;
	case BPF_LSH: return a << (v & 31);
	case BPF_RSH: return a >> (v & 31);
	default: return 0 - a; /* BPF_NEG */
	}
}

static bool test(uint16_t op, uint32_t a, uint32_t v) {
	return op == BPF_JEQ ? a == v : op == BPF_JGT ? a > v : op == BPF_JGE ? a >= v : (a & v) != 0;
}

uint32_t bpf_simulate(const struct bpf_prog *p, const struct seccomp_data *d) {
	return bpf_check_valid(p->insns, p->n) ? bpf_run(p, d) : SECCOMP_RET_KILL_PROCESS;
}

uint32_t bpf_run(const struct bpf_prog *p, const struct seccomp_data *d) {
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = { 0 };
	/* Jumps go forward only, so this ends; a valid program ends in a ret. */
	for (size_t pc = 0; pc < p->n; pc++) {
		const struct sock_filter i = p->insns[pc];
		uint32_t v = BPF_SRC(i.code) == BPF_X ? x : i.k;
		switch (BPF_CLASS(i.code)) {
		case BPF_LD:
			if (BPF_MODE(i.code) == BPF_ABS)
				memcpy(&a, (const char *)d + i.k, 4);
			else
				a = BPF_MODE(i.code) == BPF_LEN ? sizeof(*d) : BPF_MODE(i.code) == BPF_MEM ? mem[i.k] : i.k;
			break;
		case BPF_LDX: x = BPF_MODE(i.code) == BPF_LEN ? sizeof(*d) : BPF_MODE(i.code) == BPF_MEM ? mem[i.k] : i.k; break;
		case BPF_ST: mem[i.k] = a; break;
		case BPF_STX: mem[i.k] = x; break;
		case BPF_ALU:
			if (BPF_OP(i.code) == BPF_DIV && v == 0)
				return 0; /* the kernel ends a program that divides by X == 0 with 0: SECCOMP_RET_KILL_THREAD */
			a = alu(BPF_OP(i.code), a, v);
			break;
		case BPF_JMP: pc += BPF_OP(i.code) == BPF_JA ? i.k : test(BPF_OP(i.code), a, v) ? i.jt : i.jf; break;
		case BPF_RET: return BPF_RVAL(i.code) == BPF_A ? a : i.k;
		case BPF_MISC:
			if (BPF_MISCOP(i.code) == BPF_TAX)
				x = a;
			else
				a = x;
			break;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

int bpf_install(const struct bpf_prog *p, unsigned int flags, struct err *e) {
	struct sock_fprog prog = { .len = (unsigned short)p->n, .filter = p->insns };
	if (p->n == 0 || p->n > BPF_MAXINSNS)
		return e ? err_set(e, -EINVAL, "seccomp: a program of %zu instructions", p->n) : -EINVAL;
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (r < 0) {
		int code = errno;
		return e ? err_sys(e, code, "error loading seccomp filter into kernel%s",
			code == EACCES ? " (needs no_new_privs or CAP_SYS_ADMIN)" : "") : -code;
	}
	/* With TSYNC the number of a thread that could not be synchronised. */
	if (r > 0 && !(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
		return e ? err_set(e, -ESRCH, "seccomp: thread %ld has a filter of its own", r) : -ESRCH;
	return (int)r;
}
