/* Classic BPF for seccomp: a backward builder, declarative system call policies with a reason per rule, an evaluator. No I/O but install. */
#ifndef TIERCE_CONFINE_BPF_H
#define TIERCE_CONFINE_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/* ---- policies: what tiers confine their own processes with ------------------------------------------------------- */

enum bpf_op {
	BPF_ANY = 0,    /* row of a check table that is not used; always true */
	BPF_EQ, BPF_NE, BPF_LT, BPF_LE, BPF_GE, BPF_GT, /* unsigned, a */
	BPF_MASKED_EQ,  /* (arg & a) == b */
	BPF_RANGE,      /* a <= arg <= b */
	BPF_EQ32,       /* low 32 bits only == a: for arguments that the kernel reads as int, whose upper half is junk */
	BPF_MASKED32,   /* (low 32 bits & a) == b */
	BPF_IN32,       /* low 32 bits are one of set (bpf_check.set, n = b entries, ascending or not) */
};
enum { BPF_IP = 6 }; /* "argument" number of the instruction pointer. Not a boundary: a guest can jump to any instruction. */

struct bpf_check {
	uint8_t arg; /* 0-5 or BPF_IP */
	uint8_t op;  /* enum bpf_op */
	uint64_t a, b;
	const uint32_t *set;
};

/* One allowed (or otherwise treated) call. Checks of a row are joined by AND, rows of the same nr by OR, the first match wins. */
struct bpf_rule {
	int nr;              /* SYS_* of the policy's architecture */
	const char *name;    /* for printing */
	const char *reason;  /* why it is there: printed by --show-filters, demanded of every row */
	uint32_t action;     /* SECCOMP_RET_*, 0 means SECCOMP_RET_ALLOW (write SECCOMP_RET_KILL_THREAD as default action if you mean it) */
	struct bpf_check checks[6];
};
#define BPF_SYS(n) SYS_##n, #n

struct bpf_policy {
	const char *name;
	uint32_t default_action;  /* for calls without a row or when no row matches */
	uint32_t bad_arch_action; /* for another architecture (and x32 on x86-64); SECCOMP_RET_KILL_PROCESS in all own policies */
	const struct bpf_rule *rules;
	size_t n_rules;
};

/* A finished program. Owns insns when `owned`. */
struct bpf_prog {
	struct sock_filter *insns;
	size_t n;
	bool owned;
};
#define BPF_PROG_INIT { NULL, 0, false }
#define _cleanup_bpf_ CLEANUP(bpf_prog_free)
void bpf_prog_free(struct bpf_prog *p);

/* Compile for the architecture that we are built for. Rows are searched in a balanced tree: about 2*log2(rows) instructions a call. */
int bpf_policy_compile(const struct bpf_policy *p, struct bpf_prog *ret, struct err *e) MUST_CHECK;
/*
 * Load on the calling thread (flags: SECCOMP_FILTER_FLAG_*; TSYNC for the whole process). Needs no_new_privs or CAP_SYS_ADMIN.
 * Returns 0, or the listener fd (CLOEXEC) with SECCOMP_FILTER_FLAG_NEW_LISTENER, or negative errno. Async-signal-safe when e is NULL.
 */
int bpf_install(const struct bpf_prog *p, unsigned int flags, struct err *e) MUST_CHECK;
/* Compile and install in one step. */
int bpf_policy_install(const struct bpf_policy *p, unsigned int flags, struct err *e) MUST_CHECK;
/* Number of distinct system calls in the table. */
size_t bpf_policy_count(const struct bpf_policy *p);
/* Human-readable table: name, checks, action, reason; one line a row and a count at the end. */
int bpf_policy_print(const struct bpf_policy *p, struct strbuf *out);
/* Run a program over one record as the kernel would. A program that the kernel would refuse yields SECCOMP_RET_KILL_PROCESS. */
uint32_t bpf_simulate(const struct bpf_prog *p, const struct seccomp_data *d);
/* The same for a program that bpf_check_valid() has passed. */
uint32_t bpf_run(const struct bpf_prog *p, const struct seccomp_data *d);
/* What the kernel's verifier demands of a seccomp program (jumps inside, known opcodes, aligned loads inside seccomp_data, ends in ret). */
bool bpf_check_valid(const struct sock_filter *f, size_t n);
/* AUDIT_ARCH_* that this program is built for. */
uint32_t bpf_native_arch(void);

/* ---- builder: instructions are added from the last to the first, so every jump target is known ------------------------ */

/* A label is the distance of an instruction from the end of the program; 0 is "none". */
typedef uint32_t bpf_label;
struct bpf_builder {
	struct sock_filter *buf; /* reversed: buf[0] is the last instruction */
	size_t n, cap;
	int failed; /* negative errno: -ENOMEM, -E2BIG (BPF_MAXINSNS); sticky */
};
#define BPF_BUILDER_INIT { NULL, 0, 0, 0 }

bpf_label bpf_ret(struct bpf_builder *b, uint32_t value); /* reuses an earlier one in jump reach */
/* A = 32-bit word at offset of struct seccomp_data, then go on at next. */
bpf_label bpf_load(struct bpf_builder *b, uint32_t offset, bpf_label next);
bpf_label bpf_and(struct bpf_builder *b, uint32_t mask, bpf_label next);
/* Compare A: cmp is BPF_JEQ, BPF_JGT, BPF_JGE or BPF_JSET. */
bpf_label bpf_jump(struct bpf_builder *b, uint16_t cmp, uint32_t k, bpf_label if_true, bpf_label if_false);
/* Code for one check; A is clobbered. wide: compare 64 bits, else the low word only (32-bit architectures). */
bpf_label bpf_emit_check(struct bpf_builder *b, const struct bpf_check *c, bool wide, bpf_label if_true, bpf_label if_false);
/* One case of a switch over the system call number in A: [lo, hi] goes to target. */
struct bpf_case { uint32_t lo, hi; bpf_label target; };
/* Balanced tree over cases (sorted by lo, not overlapping; neighbours with one target are merged in place); else dflt. */
bpf_label bpf_switch(struct bpf_builder *b, struct bpf_case *cases, size_t n, bpf_label dflt);
/* Turn round; entry becomes the first instruction (a jump is added where it is not the last added). */
int bpf_finish(struct bpf_builder *b, bpf_label entry, struct bpf_prog *ret);
void bpf_builder_free(struct bpf_builder *b);

#endif
