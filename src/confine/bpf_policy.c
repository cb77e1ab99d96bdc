/* Declarative system call policies for our own processes: see bpf.h. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "confine/bpf.h"

enum { X32_BIT = 0x40000000 }; /* __X32_SYSCALL_BIT */

struct order { int nr; size_t rule; };

static int by_number(const void *a, const void *b) {
	const struct order *x = a, *y = b;
	if (x->nr != y->nr)
		return x->nr < y->nr ? -1 : 1;
	return x->rule < y->rule ? -1 : x->rule > y->rule;
}

static int validate(const struct bpf_policy *p, struct err *e) {
	for (size_t i = 0; i < p->n_rules; i++) {
		const struct bpf_rule *r = &p->rules[i];
		if (!r->name || !r->reason || !*r->reason)
			return err_set(e, -EINVAL, "policy %s: row %zu (%s) has no reason", p->name, i, r->name ?: "?");
		if (r->nr < 0 || r->nr >= X32_BIT)
			return err_set(e, -EINVAL, "policy %s: %s: number %d", p->name, r->name, r->nr);
		for (size_t c = 0; c < ARRAY_SIZE(r->checks); c++)
			if (r->checks[c].arg > BPF_IP || r->checks[c].op > BPF_IN32 || (r->checks[c].op == BPF_IN32 && (!r->checks[c].set || !r->checks[c].b)))
				return err_set(e, -EINVAL, "policy %s: %s: malformed check %zu", p->name, r->name, c);
	}
	return 0;
}

static struct order *sorted(const struct bpf_policy *p) {
	struct order *o = calloc(p->n_rules + 1, sizeof(*o));
	if (!o)
		return NULL;
	for (size_t i = 0; i < p->n_rules; i++)
		o[i] = (struct order){ p->rules[i].nr, i };
	qsort(o, p->n_rules, sizeof(*o), by_number);
	return o;
}

/* Rows of one call: tried in the order of the table, so emitted from the last. */
static bpf_label emit_call(struct bpf_builder *b, const struct bpf_policy *p, const struct order *o, size_t n) {
	bpf_label next = bpf_ret(b, p->default_action);
	for (size_t i = n; i > 0; i--) {
		const struct bpf_rule *r = &p->rules[o[i - 1].rule];
		bpf_label match = bpf_ret(b, r->action ?: SECCOMP_RET_ALLOW);
		for (size_t c = ARRAY_SIZE(r->checks); c > 0; c--)
			match = bpf_emit_check(b, &r->checks[c - 1], sizeof(long) == 8, match, next);
		next = match;
	}
	return next;
}

int bpf_policy_compile(const struct bpf_policy *p, struct bpf_prog *ret, struct err *e) {
	CLEANUP(bpf_builder_free) struct bpf_builder b = BPF_BUILDER_INIT;
	int r = validate(p, e);
	if (r < 0)
		return r;
	_cleanup_free_ struct order *o = sorted(p);
	_cleanup_free_ struct bpf_case *cases = calloc(p->n_rules + 1, sizeof(*cases));
	if (!o || !cases)
		return err_set(e, -ENOMEM, "out of memory");
	bpf_label bad_arch = bpf_ret(&b, p->bad_arch_action);
	size_t n = 0;
	for (size_t i = 0, end; i < p->n_rules; i = end) {
		for (end = i + 1; end < p->n_rules && o[end].nr == o[i].nr; end++)
			;
		bpf_label target = emit_call(&b, p, o + i, end - i);
		cases[n++] = (struct bpf_case){ (uint32_t)o[i].nr, (uint32_t)o[i].nr, target };
	}
#ifdef __x86_64__
	/* -1 is what a tracer leaves behind to skip a call (seccomp(2)): the default action is for it to judge. */
	cases[n++] = (struct bpf_case){ X32_BIT, UINT32_MAX - 1, bad_arch };
#endif
	bpf_label l = bpf_switch(&b, cases, n, bpf_ret(&b, p->default_action));
	l = bpf_load(&b, offsetof(struct seccomp_data, nr), l);
	l = bpf_jump(&b, BPF_JEQ, bpf_native_arch(), l, bad_arch);
	l = bpf_load(&b, offsetof(struct seccomp_data, arch), l);
	r = bpf_finish(&b, l, ret);
	return r < 0 ? err_sys(e, r, "policy %s", p->name) : 0;
}

int bpf_policy_install(const struct bpf_policy *p, unsigned int flags, struct err *e) {
	_cleanup_bpf_ struct bpf_prog prog = BPF_PROG_INIT;
	int r = bpf_policy_compile(p, &prog, e);
	if (r == 0)
		r = bpf_install(&prog, flags, e);
	return r < 0 ? err_wrap(e, r, "policy %s", p->name) : r;
}

size_t bpf_policy_count(const struct bpf_policy *p) {
	size_t n = 0;
	for (size_t i = 0; i < p->n_rules; i++) {
		size_t j = 0;
		while (j < i && p->rules[j].nr != p->rules[i].nr)
			j++;
		n += j == i;
	}
	return n;
}

static void print_check(const struct bpf_check *c, struct strbuf *out) {
	static const char *const ops[] = { [BPF_EQ] = "==", [BPF_NE] = "!=", [BPF_LT] = "<", [BPF_LE] = "<=", [BPF_GE] = ">=", [BPF_GT] = ">" };
	char arg[8];
	snprintf(arg, sizeof(arg), c->arg == BPF_IP ? "ip" : "a%u", c->arg);
	const unsigned long long a = c->a, b = c->b;
	switch ((enum bpf_op)c->op) {
	case BPF_ANY: break;
	case BPF_MASKED_EQ: case BPF_MASKED32: strbuf_printf(out, "%s & %#llx == %#llx", arg, a, b & a); break;
	case BPF_RANGE: strbuf_printf(out, "%#llx <= %s <= %#llx", a, arg, b); break;
	case BPF_EQ32: strbuf_printf(out, "(u32)%s == %#llx", arg, a); break;
	case BPF_IN32:
		strbuf_printf(out, "%s in", arg);
		for (size_t i = 0; i < (size_t)b; i++)
			strbuf_printf(out, "%c%#x", i ? ',' : ' ', c->set[i]);
		break;
	default: strbuf_printf(out, "%s %s %#llx", arg, ops[c->op], a); break;
	}
}

static const char *action_name(uint32_t action) {
	switch (action & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW: return "allow";
	case SECCOMP_RET_LOG: return "log";
	case SECCOMP_RET_TRACE: return "trace";
	case SECCOMP_RET_USER_NOTIF: return "notify";
	case SECCOMP_RET_ERRNO: return "errno";
	case SECCOMP_RET_TRAP: return "trap";
	case SECCOMP_RET_KILL_THREAD: return "kill thread";
	default: return "kill";
	}
}

static void print_action(uint32_t action, struct strbuf *out) {
	strbuf_puts(out, action_name(action));
	if (action & SECCOMP_RET_DATA)
		strbuf_printf(out, " %u", action & SECCOMP_RET_DATA);
}

int bpf_policy_print(const struct bpf_policy *p, struct strbuf *out) {
	strbuf_printf(out, "%s: default ", p->name);
	print_action(p->default_action, out);
	strbuf_puts(out, ", other architectures ");
	print_action(p->bad_arch_action, out);
	strbuf_putc(out, '\n');
	for (size_t i = 0; i < p->n_rules; i++) {
		const struct bpf_rule *r = &p->rules[i];
		_cleanup_strbuf_ struct strbuf checks = STRBUF_INIT;
		for (size_t c = 0; c < ARRAY_SIZE(r->checks); c++) {
			if (r->checks[c].op == BPF_ANY)
				continue;
			if (checks.len)
				strbuf_puts(&checks, ", ");
			print_check(&r->checks[c], &checks);
		}
		strbuf_printf(out, "  %-20s ", r->name);
		print_action(r->action ?: SECCOMP_RET_ALLOW, out);
		strbuf_printf(out, "%s%s%s  # %s\n", checks.len ? " if " : "", strbuf_str(&checks), "", r->reason);
		out->failed |= checks.failed;
	}
	strbuf_printf(out, "%s: %zu calls in %zu rows\n", p->name, bpf_policy_count(p), p->n_rules);
	return out->failed ? -ENOMEM : 0;
}
