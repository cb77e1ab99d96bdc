/* seccomp inside the sandbox: filters are checked as Linux checks them and run by the sentry before each call of the task. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

enum { FILTERS_WEIGHT_MAX = 32768 /* MAX_INSNS_PER_PATH of Linux: bounds the time of a call */, FILTER_PENALTY = 4 };

struct seccomp_filter {
	unsigned refs;
	struct seccomp_filter *prev;
	unsigned n;
	bool log;
	struct sock_filter insn[];
};

struct seccomp_filter *seccomp_get(struct seccomp_filter *f)
{
	f->refs++;
	return f;
}

void seccomp_put(struct seccomp_filter *f)
{
	while (f && --f->refs == 0) {
		struct seccomp_filter *prev = f->prev;
		free(f);
		f = prev;
	}
}

unsigned seccomp_count(const struct seccomp_filter *f)
{
	unsigned n = 0;
	for (; f; f = f->prev)
		n++;
	return n;
}

/* ---- checking (net/core/filter.c bpf_check_classic(), kernel/seccomp.c seccomp_check_filter()) ------------------------------- */

static bool insn_known(const struct sock_filter *f)
{
	switch (f->code) {
	case BPF_LD | BPF_W | BPF_ABS:
		return f->k < sizeof(struct seccomp_data) && f->k % 4 == 0;
	case BPF_LD | BPF_W | BPF_LEN: case BPF_LDX | BPF_W | BPF_LEN:
	case BPF_LD | BPF_IMM: case BPF_LDX | BPF_IMM:
	case BPF_RET | BPF_K: case BPF_RET | BPF_A:
	case BPF_ALU | BPF_ADD | BPF_K: case BPF_ALU | BPF_ADD | BPF_X: case BPF_ALU | BPF_SUB | BPF_K: case BPF_ALU | BPF_SUB | BPF_X:
	case BPF_ALU | BPF_MUL | BPF_K: case BPF_ALU | BPF_MUL | BPF_X: case BPF_ALU | BPF_DIV | BPF_X:
	case BPF_ALU | BPF_AND | BPF_K: case BPF_ALU | BPF_AND | BPF_X: case BPF_ALU | BPF_OR | BPF_K: case BPF_ALU | BPF_OR | BPF_X:
	case BPF_ALU | BPF_XOR | BPF_K: case BPF_ALU | BPF_XOR | BPF_X: case BPF_ALU | BPF_LSH | BPF_X: case BPF_ALU | BPF_RSH | BPF_X:
	case BPF_ALU | BPF_NEG: case BPF_MISC | BPF_TAX: case BPF_MISC | BPF_TXA:
	case BPF_JMP | BPF_JA: case BPF_JMP | BPF_JEQ | BPF_K: case BPF_JMP | BPF_JEQ | BPF_X: case BPF_JMP | BPF_JGE | BPF_K: case BPF_JMP | BPF_JGE | BPF_X:
	case BPF_JMP | BPF_JGT | BPF_K: case BPF_JMP | BPF_JGT | BPF_X: case BPF_JMP | BPF_JSET | BPF_K: case BPF_JMP | BPF_JSET | BPF_X:
		return true;
	case BPF_ALU | BPF_DIV | BPF_K:
		return f->k != 0;
	case BPF_ALU | BPF_LSH | BPF_K: case BPF_ALU | BPF_RSH | BPF_K:
		return f->k < 32;
	case BPF_LD | BPF_MEM: case BPF_LDX | BPF_MEM: case BPF_ST: case BPF_STX:
		return f->k < BPF_MEMWORDS;
	default:
		return false;
	}
}

/* Scratch words must be written on every path before they are read. */
static int check_scratch(const struct sock_filter *f, unsigned n)
{
	uint16_t valid = 0, *in = malloc(n * sizeof(*in));
	int rc = in ? 0 : -ENOMEM;
	if (rc)
		return rc;
	memset(in, 0xff, n * sizeof(*in));
	for (unsigned pc = 0; pc < n && !rc; pc++) {
		valid &= in[pc];
		switch (f[pc].code) {
		case BPF_ST: case BPF_STX: valid |= (uint16_t)(1u << f[pc].k); break;
		case BPF_LD | BPF_MEM: case BPF_LDX | BPF_MEM:
			if (!(valid & 1u << f[pc].k))
				rc = -EINVAL;
			break;
		case BPF_JMP | BPF_JA:
			in[pc + 1 + f[pc].k] &= valid;
			valid = 0xffff;
			break;
		default:
			if (BPF_CLASS(f[pc].code) == BPF_JMP) {
				in[pc + 1 + f[pc].jt] &= valid;
				in[pc + 1 + f[pc].jf] &= valid;
				valid = 0xffff;
			}
		}
	}
	free(in);
	return rc;
}

static int check(const struct sock_filter *f, unsigned n)
{
	for (unsigned pc = 0; pc < n; pc++) {
		if (!insn_known(&f[pc]))
			return -EINVAL;
		if (f[pc].code == (BPF_JMP | BPF_JA) ? f[pc].k >= n - pc - 1 : BPF_CLASS(f[pc].code) == BPF_JMP &&
		    (pc + f[pc].jt + 1u >= n || pc + f[pc].jf + 1u >= n))
			return -EINVAL;
	}
	if (BPF_CLASS(f[n - 1].code) != BPF_RET)
		return -EINVAL;
	return check_scratch(f, n);
}

/* ---- running ------------------------------------------------------------------------------------------------------------------- */

static uint32_t alu(unsigned op, uint32_t a, uint32_t v, bool *div0)
{
	switch (op) {
	case BPF_ADD: return a + v;
	case BPF_SUB: return a - v;
	case BPF_MUL: return a * v;
	case BPF_DIV:
		*div0 = !v;
		return v ? a / v : 0;
	case BPF_AND: return a & v;
	case BPF_OR: return a | v;
	case BPF_XOR: return a ^ v;
	case BPF_LSH: return a << (v & 31);
	case BPF_RSH: return a >> (v & 31);
	default: return -a;
	}
}

static bool jump(unsigned op, uint32_t a, uint32_t v)
{
	switch (op) {
	case BPF_JEQ: return a == v;
	case BPF_JGT: return a > v;
	case BPF_JGE: return a >= v;
	default: return a & v;
	}
}

/* The program was checked: it ends, and stays within its bounds. */
static uint32_t run(const struct seccomp_filter *f, const struct seccomp_data *d)
{
	uint32_t a = 0, x = 0, m[BPF_MEMWORDS] = { 0 };
	for (const struct sock_filter *i = f->insn;; i++) {
		uint32_t v = BPF_SRC(i->code) == BPF_X ? x : i->k;
		bool div0 = false;
		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
			if (BPF_MODE(i->code) == BPF_ABS)
				memcpy(&a, (const char *)d + i->k, 4);
			else
				a = BPF_MODE(i->code) == BPF_MEM ? m[i->k] : BPF_MODE(i->code) == BPF_LEN ? (uint32_t)sizeof(*d) : i->k;
			break;
		case BPF_LDX: x = BPF_MODE(i->code) == BPF_MEM ? m[i->k] : BPF_MODE(i->code) == BPF_LEN ? (uint32_t)sizeof(*d) : i->k; break;
		case BPF_ST: m[i->k] = a; break;
		case BPF_STX: m[i->k] = x; break;
		case BPF_ALU:
			a = alu(BPF_OP(i->code), a, v, &div0);
			if (div0)
				return 0;
			break;
		case BPF_JMP: i += BPF_OP(i->code) == BPF_JA ? i->k : jump(BPF_OP(i->code), a, v) ? i->jt : i->jf; break;
		case BPF_MISC:
			if (i->code == (BPF_MISC | BPF_TAX))
				x = a;
			else
				a = x;
			break;
		default: return BPF_RVAL(i->code) == BPF_A ? a : i->k;
		}
	}
}

static void deadly(struct task *t, bool whole)
{
	klog("%s[%d]: killed by its seccomp filter at call %llu", t->comm, t->tid, (unsigned long long)t->nr);
	if (whole || t->proc->n_threads == 1)
		process_kill(t->proc, SIGSYS | (t->proc->dumpable && t->proc->rlim[RLIMIT_CORE].rlim_cur ? 0x80 : 0));
	else
		t->dying = true;
}

static bool strict(struct task *t)
{
	static const uint64_t allowed[] = { 0 /* read */, 1 /* write */, 60 /* exit */, 15 /* rt_sigreturn */ };
	for (unsigned i = 0; i < ARRAY_SIZE(allowed); i++)
		if (t->nr == allowed[i])
			return true;
	t->exit_code = SIGKILL;
	process_kill(t->proc, SIGKILL);
	return false;
}

/* Behind the instruction; a patched site has no frame. */
static uint64_t call_address(const struct task *t)
{
	return __atomic_load_n(&t->mb->kind, __ATOMIC_RELAXED) == MB_FASTCALL ? __atomic_load_n(&t->mb->rip, __ATOMIC_RELAXED) : t->regs ? t->regs->rip : 0;
}

bool seccomp_allows(struct task *t, long *ret)
{
	struct seccomp_data d = { .nr = (int)t->nr, .arch = AUDIT_ARCH_X86_64, .instruction_pointer = call_address(t) };
	uint32_t action = SECCOMP_RET_ALLOW;
	*ret = -ENOSYS;
	if (t->seccomp_mode == SECCOMP_MODE_STRICT)
		return strict(t);
	for (unsigned i = 0; i < 6; i++)
		d.args[i] = t->args[i];
	for (const struct seccomp_filter *f = t->seccomp; f; f = f->prev) {
		uint32_t r = run(f, &d);
		if ((int32_t)(r & SECCOMP_RET_ACTION_FULL) < (int32_t)(action & SECCOMP_RET_ACTION_FULL)) /* the most severe; KILL_PROCESS is negative */
			action = r;
	}
	uint32_t data = action & SECCOMP_RET_DATA;
	switch (action & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW: case SECCOMP_RET_LOG: return true;
	case SECCOMP_RET_ERRNO:
		*ret = -(long)MIN(data, 4095u);
		return false;
	case SECCOMP_RET_TRAP: {
		struct guest_siginfo si = { .signo = SIGSYS, .err = (int32_t)data, .code = 1 /* SYS_SECCOMP */ };
		si.sys.call_addr = d.instruction_pointer;
		si.sys.syscall = d.nr;
		si.sys.arch = d.arch;
		*ret = (long)t->nr; /* the register is left as it was */
		force_signal(t, SIGSYS, &si);
		return false;
	}
	case SECCOMP_RET_TRACE: case SECCOMP_RET_USER_NOTIF: /* nobody listens: there is no tracer and no listener inside */
		return false;
	case SECCOMP_RET_KILL_THREAD:
		deadly(t, false);
		return false;
	default:
		deadly(t, true);
		return false;
	}
}

/* ---- seccomp(2) ---------------------------------------------------------------------------------------------------------------- */

static bool is_ancestor(const struct seccomp_filter *a, const struct seccomp_filter *f)
{
	for (; a && f && f != a; f = f->prev)
		;
	return !a || f == a;
}

/* 0, or the id of a thread whose filters are not older than ours. */
static int sync_threads(struct task *t, struct seccomp_filter *now)
{
	struct task *o;
	list_for_each(o, &t->proc->threads, thread_node)
		if (o != t && !o->dying && (o->seccomp_mode == SECCOMP_MODE_STRICT || !is_ancestor(o->seccomp, t->seccomp)))
			return o->tid;
	list_for_each(o, &t->proc->threads, thread_node) {
		if (o == t || o->dying)
			continue;
		struct seccomp_filter *old = o->seccomp;
		o->seccomp = seccomp_get(now);
		o->seccomp_mode = SECCOMP_MODE_FILTER;
		o->no_new_privs |= t->no_new_privs;
		gate_unpublish(o);
		seccomp_put(old);
	}
	return 0;
}

static long add_filter(struct task *t, uint64_t flags, uint64_t prog)
{
	struct { uint16_t len; uint8_t pad[6]; uint64_t filter; } fp;
	unsigned weight = 0;
	if (flags & ~(uint64_t)(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW | SECCOMP_FILTER_FLAG_TSYNC_ESRCH))
		return -EINVAL; /* NEW_LISTENER among them: as before Linux 5.0 */
	if (copyin(t, &fp, prog, sizeof(fp)) < 0)
		return -EFAULT;
	if (!fp.len || fp.len > BPF_MAXINSNS)
		return -EINVAL;
	if (!t->no_new_privs && !ns_capable_here(t, CAP_SYS_ADMIN))
		return -EACCES;
	struct seccomp_filter *f = malloc(sizeof(*f) + fp.len * sizeof(f->insn[0]));
	if (!f)
		return -ENOMEM;
	*f = (struct seccomp_filter){ .refs = 1, .n = fp.len, .log = flags & SECCOMP_FILTER_FLAG_LOG };
	int rc = copyin(t, f->insn, fp.filter, fp.len * sizeof(f->insn[0])) < 0 ? -EFAULT : check(f->insn, f->n);
	for (const struct seccomp_filter *p = t->seccomp; p; p = p->prev)
		weight += p->n + FILTER_PENALTY;
	if (!rc && t->seccomp_mode == SECCOMP_MODE_STRICT)
		rc = -EINVAL;
	if (!rc && weight + f->n > FILTERS_WEIGHT_MAX)
		rc = -ENOMEM;
	if (!rc && (flags & SECCOMP_FILTER_FLAG_TSYNC)) {
		f->prev = t->seccomp; /* borrowed for the comparison */
		rc = sync_threads(t, f);
		if (rc > 0 && (flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH))
			rc = -ESRCH;
	}
	if (rc) {
		free(f);
		return rc;
	}
	f->prev = t->seccomp; /* the task's reference moves */
	t->seccomp = f;
	t->seccomp_mode = SECCOMP_MODE_FILTER;
	gate_unpublish(t);
	return 0;
}

int seccomp_profile(struct task *t, const struct sock_filter *insn, size_t n)
{
	struct seccomp_filter *f = n && n <= BPF_MAXINSNS ? malloc(sizeof(*f) + n * sizeof(*insn)) : NULL;
	if (!f)
		return n && n <= BPF_MAXINSNS ? -ENOMEM : -EINVAL;
	*f = (struct seccomp_filter){ .refs = 1, .n = (unsigned)n, .prev = t->seccomp };
	memcpy(f->insn, insn, n * sizeof(*insn));
	int rc = check(f->insn, f->n);
	if (rc) {
		free(f);
		return rc;
	}
	t->seccomp = f;
	t->seccomp_mode = SECCOMP_MODE_FILTER;
	return 0;
}

static long set_strict(struct task *t)
{
	if (t->seccomp_mode == SECCOMP_MODE_FILTER)
		return -EINVAL;
	t->seccomp_mode = SECCOMP_MODE_STRICT;
	gate_unpublish(t);
	return 0;
}

static long action_available(struct task *t, uint64_t flags, uint64_t arg)
{
	static const uint32_t known[] = { SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO, SECCOMP_RET_TRACE,
		SECCOMP_RET_LOG, SECCOMP_RET_ALLOW };
	uint32_t v;
	if (flags)
		return -EINVAL;
	if (copyin(t, &v, arg, 4) < 0)
		return -EFAULT;
	for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i] == v)
			return 0;
	return -EOPNOTSUPP;
}

long sys_seccomp(struct task *t, const uint64_t *a)
{
	switch ((uint32_t)a[0]) {
	case SECCOMP_SET_MODE_STRICT: return a[1] || a[2] ? -EINVAL : set_strict(t);
	case SECCOMP_SET_MODE_FILTER: return add_filter(t, (uint32_t)a[1], a[2]);
	case SECCOMP_GET_ACTION_AVAIL: return action_available(t, (uint32_t)a[1], a[2]);
	case SECCOMP_GET_NOTIF_SIZES: {
		struct seccomp_notif_sizes s = { sizeof(struct seccomp_notif), sizeof(struct seccomp_notif_resp), sizeof(struct seccomp_data) };
		return (uint32_t)a[1] ? -EINVAL : copyout(t, a[2], &s, sizeof(s));
	}
	default: return -EINVAL;
	}
}

/* prctl(PR_SET_SECCOMP, mode, prog). */
long seccomp_prctl(struct task *t, uint64_t mode, uint64_t prog)
{
	return mode == SECCOMP_MODE_STRICT ? set_strict(t) : mode == SECCOMP_MODE_FILTER ? add_filter(t, 0, prog) : -EINVAL;
}
