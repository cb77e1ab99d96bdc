/* Classic BPF for seccomp: the builder. Policies are in bpf_policy.c, the evaluator in bpf_run.c. See bpf.h. */
#include "confine/bpf.h"

#include <errno.h>
#include <linux/audit.h>
#include <stddef.h>
#include <sys/syscall.h>

enum {
	JUMP_REACH = 255, /* jt and jf are 8 bits */
	REUSE_REACH = 192, /* a ret further away than this is made anew: it would be out of reach for the next few instructions */
};

void bpf_prog_free(struct bpf_prog *p) {
	if (p->owned)
		free(p->insns);
	*p = (struct bpf_prog)BPF_PROG_INIT;
}

uint32_t bpf_native_arch(void) {
#if defined(__x86_64__)
	return AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
	return AUDIT_ARCH_AARCH64;
#elif defined(__i386__)
	return AUDIT_ARCH_I386;
#elif defined(__riscv) && __riscv_xlen == 64
	return AUDIT_ARCH_RISCV64;
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return AUDIT_ARCH_PPC64LE;
#elif defined(__s390x__)
	return AUDIT_ARCH_S390X;
#else
#error "architecture not known to bpf_native_arch()"
#endif
}

static bpf_label add(struct bpf_builder *b, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k) {
	if (b->failed)
		return 1;
	if (b->n == BPF_MAXINSNS) {
		b->failed = -E2BIG;
		return 1;
	}
	if (b->n == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 256;
		struct sock_filter *buf = realloc(b->buf, cap * sizeof(*buf));
		if (!buf) {
			b->failed = -ENOMEM;
			return 1;
		}
		b->buf = buf;
		b->cap = cap;
	}
	b->buf[b->n++] = (struct sock_filter){ code, jt, jf, k };
	return (bpf_label)b->n;
}

/* Instructions between the next one to be added and the target. */
static uint32_t distance(const struct bpf_builder *b, bpf_label target) { return (uint32_t)b->n - target; }

/* A stand-in close by for a target out of reach: a copy when it is a ret, else a long jump. */
static bpf_label hop(struct bpf_builder *b, bpf_label target) {
	if (b->failed)
		return 1;
	const struct sock_filter t = b->buf[target - 1];
	if (BPF_CLASS(t.code) == BPF_RET)
		return add(b, t.code, 0, 0, t.k);
	return add(b, BPF_JMP | BPF_JA, 0, 0, distance(b, target));
}

bpf_label bpf_ret(struct bpf_builder *b, uint32_t value) {
	for (size_t i = b->n; i > 0 && b->n - i < REUSE_REACH; i--)
		if (b->buf[i - 1].code == (BPF_RET | BPF_K) && b->buf[i - 1].k == value)
			return (bpf_label)i;
	return add(b, BPF_RET | BPF_K, 0, 0, value);
}

/* An instruction that falls through to next. */
static bpf_label through(struct bpf_builder *b, uint16_t code, uint32_t k, bpf_label next) {
	if (next != b->n)
		hop(b, next);
	return add(b, code, 0, 0, k);
}

bpf_label bpf_load(struct bpf_builder *b, uint32_t offset, bpf_label next) { return through(b, BPF_LD | BPF_W | BPF_ABS, offset, next); }
bpf_label bpf_and(struct bpf_builder *b, uint32_t mask, bpf_label next) { return through(b, BPF_ALU | BPF_AND | BPF_K, mask, next); }

bpf_label bpf_jump(struct bpf_builder *b, uint16_t cmp, uint32_t k, bpf_label if_true, bpf_label if_false) {
	if (if_true == if_false)
		return if_true;
	/* One below the reach: the hop for the other side may still push this one away by an instruction. */
	if (distance(b, if_true) > JUMP_REACH - 1)
		if_true = hop(b, if_true);
	if (distance(b, if_false) > JUMP_REACH)
		if_false = hop(b, if_false);
	return add(b, BPF_JMP | BPF_K | cmp, (uint8_t)distance(b, if_true), (uint8_t)distance(b, if_false), k);
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { LOW = 0, HIGH = 4 };
#else
enum { LOW = 4, HIGH = 0 };
#endif

static uint32_t arg_offset(unsigned int arg) {
	return arg == BPF_IP ? offsetof(struct seccomp_data, instruction_pointer) : (uint32_t)offsetof(struct seccomp_data, args) + 8 * arg;
}

static bpf_label masked_word(struct bpf_builder *b, uint32_t offset, uint32_t mask, uint32_t value, bpf_label t, bpf_label f) {
	bpf_label l = bpf_jump(b, BPF_JEQ, value, t, f);
	if (l == t)
		return t;
	if (mask != UINT32_MAX)
		l = bpf_and(b, mask, l);
	return bpf_load(b, offset, l);
}

/* (arg & mask) == value; a half whose mask is empty needs no look. */
static bpf_label masked(struct bpf_builder *b, uint32_t at, uint64_t mask, uint64_t value, bool wide, bpf_label t, bpf_label f) {
	value &= mask;
	bpf_label l = t;
	if ((uint32_t)mask)
		l = masked_word(b, at + LOW, (uint32_t)mask, (uint32_t)value, l, f);
	if (wide && mask >> 32)
		l = masked_word(b, at + HIGH, (uint32_t)(mask >> 32), (uint32_t)(value >> 32), l, f);
	return l;
}

/* arg > v, or arg >= v with cmp BPF_JGE. */
static bpf_label ordered(struct bpf_builder *b, uint32_t at, uint16_t cmp, uint64_t v, bool wide, bpf_label t, bpf_label f) {
	bpf_label l = bpf_load(b, at + LOW, bpf_jump(b, cmp, (uint32_t)v, t, f));
	if (!wide)
		return l;
	l = bpf_jump(b, BPF_JEQ, (uint32_t)(v >> 32), l, f);
	l = bpf_jump(b, BPF_JGT, (uint32_t)(v >> 32), t, l);
	return bpf_load(b, at + HIGH, l);
}

bpf_label bpf_emit_check(struct bpf_builder *b, const struct bpf_check *c, bool wide, bpf_label t, bpf_label f) {
	uint32_t at = arg_offset(c->arg);
	switch ((enum bpf_op)c->op) {
	case BPF_ANY: return t;
	case BPF_EQ: return masked(b, at, UINT64_MAX, c->a, wide, t, f);
	case BPF_NE: return masked(b, at, UINT64_MAX, c->a, wide, f, t);
	case BPF_LT: return ordered(b, at, BPF_JGE, c->a, wide, f, t);
	case BPF_LE: return ordered(b, at, BPF_JGT, c->a, wide, f, t);
	case BPF_GE: return ordered(b, at, BPF_JGE, c->a, wide, t, f);
	case BPF_GT: return ordered(b, at, BPF_JGT, c->a, wide, t, f);
	case BPF_MASKED_EQ: return masked(b, at, c->a, c->b, wide, t, f);
	case BPF_RANGE: return ordered(b, at, BPF_JGE, c->a, wide, ordered(b, at, BPF_JGT, c->b, wide, f, t), f);
	case BPF_EQ32: return masked(b, at, UINT32_MAX, c->a, false, t, f);
	case BPF_MASKED32: return masked(b, at, c->a & UINT32_MAX, c->b, false, t, f);
	case BPF_IN32: {
		bpf_label l = f;
		for (size_t i = (size_t)c->b; i > 0; i--)
			l = bpf_jump(b, BPF_JEQ, c->set[i - 1], t, l);
		return l == f ? f : bpf_load(b, at + LOW, l);
	}
	}
	b->failed = -EINVAL;
	return f;
}

/* The number line cut into intervals: start[i] up to the next start goes to target[i]. */
struct interval { uint32_t start; bpf_label target; };

static bpf_label tree(struct bpf_builder *b, const struct interval *v, size_t n) {
	if (n == 1)
		return v[0].target;
	/* One number out of a stretch: an equality test does the work of two. */
	if (n == 3 && v[0].target == v[2].target && v[2].start == v[1].start + 1)
		return bpf_jump(b, BPF_JEQ, v[1].start, v[1].target, v[0].target);
	size_t mid = n / 2;
	/* ... and is kept whole rather than split in its middle. */
	if (n > 3 && n % 2 == 0 && mid + 1 < n && v[mid].start == v[mid - 1].start + 1)
		mid++;
	bpf_label right = tree(b, v + mid, n - mid), left = tree(b, v, mid);
	return bpf_jump(b, BPF_JGE, v[mid].start, right, left);
}

static void push(struct interval *v, size_t *n, uint32_t start, bpf_label target) {
	if (*n && v[*n - 1].target == target)
		return;
	v[(*n)++] = (struct interval){ start, target };
}

bpf_label bpf_switch(struct bpf_builder *b, struct bpf_case *cases, size_t n, bpf_label dflt) {
	struct interval *v = calloc(2 * n + 1, sizeof(*v));
	if (!v) {
		b->failed = -ENOMEM;
		return dflt;
	}
	size_t count = 0;
	uint64_t next = 0;
	for (size_t i = 0; i < n; i++) {
		if (cases[i].lo < next || cases[i].hi < cases[i].lo) {
			b->failed = -EINVAL;
			break;
		}
		if (cases[i].lo > next)
			push(v, &count, (uint32_t)next, dflt);
		push(v, &count, cases[i].lo, cases[i].target);
		next = (uint64_t)cases[i].hi + 1;
	}
	if (next <= UINT32_MAX)
		push(v, &count, (uint32_t)next, dflt);
	bpf_label l = b->failed ? dflt : tree(b, v, count);
	free(v);
	return l;
}

int bpf_finish(struct bpf_builder *b, bpf_label entry, struct bpf_prog *ret) {
	if (b->failed)
		return b->failed;
	if (entry == 0 || entry > b->n)
		return -EINVAL;
	/* What was added after the entry is not reached from it. */
	b->n = entry;
	struct sock_filter *insns = malloc(b->n * sizeof(*insns));
	if (!insns)
		return -ENOMEM;
	for (size_t i = 0; i < b->n; i++)
		insns[i] = b->buf[b->n - 1 - i];
	*ret = (struct bpf_prog){ insns, b->n, true };
	return 0;
}

void bpf_builder_free(struct bpf_builder *b) {
	free(b->buf);
	*b = (struct bpf_builder)BPF_BUILDER_INIT;
}
