/* OCI seccomp section -> BPF program: see seccomp.h.
 *
 * Own code generation instead of libseccomp's: calls are sorted into ranges and searched in one balanced tree per architecture, which gives a
 * program several times smaller (less to load, to verify and to compile at each start), and takes calls that the library does not know. The meaning
 * is libseccomp's as runc uses it, and the unit test compares both over every call of every architecture:
 *  - rules whose action is the default action are dropped; an unconditional rule beats conditional ones of the same call;
 *  - two conditions on one argument split a rule into one rule per condition;
 *  - on a 32-bit architecture the low word of an argument counts;
 *  - a call behind socketcall(2)/ipc(2) loses its conditions there (they point to memory) and keeps them on its direct number;
 *  - other architectures, and x32 unless listed, are killed (SECCOMP_RET_KILL_THREAD).
 * Calls above the largest one that the profile names get ENOSYS when the default action forbids, as runc's stub does: programs
 * then fall back to older calls, where EPERM would make them fail.
 */
#include "confine/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <stdlib.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "confine/seccomp_internal.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV /* Linux 5.19 */
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1UL << 4)
#endif

enum { ARCHS_MAX = 32, X32_FIRST = 0x40000000, RECEIVER_PATH_MAX = 4096 };

/* One rule for one number of one architecture. */
struct entry {
	uint32_t nr;
	uint32_t order;               /* position in the document */
	uint32_t action;              /* with data */
	const struct oci_seccomp_rule *rule;
	bool mux;                     /* condition: arg 0 == sub, in place of the rule's own */
	uint32_t sub;
};

struct compiler {
	const struct oci_seccomp *s;
	struct bpf_builder b;
	uint32_t dflt;
	bool enosys;                  /* calls beyond the profile's knowledge get ENOSYS */
	struct entry *entries;        /* of the architecture at hand */
	size_t n, cap;
	struct bpf_case *cases;       /* of the AUDIT_ARCH_ at hand */
	size_t n_cases, cap_cases;
	struct { uint32_t action; bpf_label label; } rets[64]; /* one label per action, so that neighbours merge */
	size_t n_rets;
};

static void compiler_free(struct compiler *c) {
	bpf_builder_free(&c->b);
	free(c->entries);
	free(c->cases);
}

static uint32_t full_action(uint32_t action, const struct opt_u64 *ret) {
	if (action == SECCOMP_RET_ERRNO || action == SECCOMP_RET_TRACE)
		return action | (ret->set ? (uint32_t)ret->v & SECCOMP_RET_DATA : EPERM);
	return action;
}

/* Room for one more element. */
static int grow(void *array, size_t n, size_t *cap, size_t size) {
	if (n < *cap)
		return 0;
	size_t next = *cap ? *cap * 2 : 512;
	void **v = array, *p = realloc(*v, next * size);
	if (!p)
		return -ENOMEM;
	*v = p;
	*cap = next;
	return 0;
}

static int add_entry(struct compiler *c, struct entry e) {
	if (grow(&c->entries, c->n, &c->cap, sizeof(*c->entries)) < 0)
		return -ENOMEM;
	c->entries[c->n++] = e;
	return 0;
}

static int add_case(struct compiler *c, uint32_t lo, uint32_t hi, bpf_label target) {
	if (grow(&c->cases, c->n_cases, &c->cap_cases, sizeof(*c->cases)) < 0)
		return -ENOMEM;
	c->cases[c->n_cases++] = (struct bpf_case){ lo, hi, target };
	return 0;
}

static bpf_label ret_label(struct compiler *c, uint32_t action) {
	for (size_t i = 0; i < c->n_rets; i++)
		if (c->rets[i].action == action)
			return c->rets[i].label;
	bpf_label l = bpf_ret(&c->b, action);
	if (c->n_rets < ARRAY_SIZE(c->rets)) {
		c->rets[c->n_rets].action = action;
		c->rets[c->n_rets++].label = l;
	}
	return l;
}

/* Numbers of every rule on one architecture. *last: the largest that any rule names. */
static int collect(struct compiler *c, uint32_t arch, uint32_t *last) {
	c->n = 0;
	*last = 0;
	for (size_t i = 0; i < c->s->n_rules; i++) {
		const struct oci_seccomp_rule *rule = &c->s->rules[i];
		uint32_t action = full_action(rule->action, &rule->errno_ret);
		for (size_t k = 0; k < rule->names.n; k++) {
			const char *name = rule->names.v[k];
			int nr = seccomp_syscall_number(arch, name);
			struct entry e = { .nr = (uint32_t)nr, .order = (uint32_t)i, .action = action, .rule = rule };
			struct seccomp_mux mux;
			if (nr >= 0 && e.nr > *last)
				*last = e.nr;
			if (action == c->dflt)
				continue;
			if (nr >= 0) {
				if (add_entry(c, e) < 0)
					return -ENOMEM;
			} else if (seccomp_muxed(arch, name, nr, &mux)) {
				e.nr = mux.direct;
				if (mux.direct && add_entry(c, e) < 0)
					return -ENOMEM;
				e.nr = mux.nr, e.mux = true, e.sub = mux.sub;
				if (add_entry(c, e) < 0)
					return -ENOMEM;
			}
		}
	}
	return 0;
}

static int by_number(const void *a, const void *b) {
	const struct entry *x = a, *y = b;
	if (x->nr != y->nr)
		return x->nr < y->nr ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static struct bpf_check to_check(const struct oci_seccomp_arg *a) {
	static const uint8_t ops[] = {
		[OCI_CMP_NE] = BPF_NE, [OCI_CMP_LT] = BPF_LT, [OCI_CMP_LE] = BPF_LE, [OCI_CMP_EQ] = BPF_EQ, [OCI_CMP_GE] = BPF_GE,
		[OCI_CMP_GT] = BPF_GT, [OCI_CMP_MASKED_EQ] = BPF_MASKED_EQ,
	};
	return (struct bpf_check){ .arg = (uint8_t)a->index, .op = a->op < ARRAY_SIZE(ops) ? ops[a->op] : BPF_ANY, .a = a->value, .b = a->value_two };
}

static bool repeats_argument(const struct oci_seccomp_rule *r) {
	unsigned int seen = 0;
	for (size_t i = 0; i < r->n_args; i++) {
		if (seen >> r->args[i].index & 1)
			return true;
		seen |= 1u << r->args[i].index;
	}
	return false;
}

static bool unconditional(const struct entry *e) { return !e->mux && e->rule->n_args == 0; }

static bpf_label emit_entry(struct compiler *c, const struct entry *e, bool wide, bpf_label next) {
	bpf_label match = ret_label(c, e->action);
	if (e->mux) {
		struct bpf_check sub = { .arg = 0, .op = BPF_EQ, .a = e->sub };
		return bpf_emit_check(&c->b, &sub, wide, match, next);
	}
	bool any = repeats_argument(e->rule);
	bpf_label l = any ? next : match;
	for (size_t i = e->rule->n_args; i > 0; i--) {
		struct bpf_check check = to_check(&e->rule->args[i - 1]);
		l = any ? bpf_emit_check(&c->b, &check, wide, match, l) : bpf_emit_check(&c->b, &check, wide, l, next);
	}
	return l;
}

/* The rules of one number. */
static bpf_label emit_number(struct compiler *c, const struct entry *e, size_t n, bool wide) {
	for (size_t i = 0; i < n; i++)
		if (unconditional(&e[i]))
			return ret_label(c, e[i].action);
	bpf_label next = ret_label(c, c->dflt);
	for (size_t i = n; i > 0; i--)
		next = emit_entry(c, &e[i - 1], wide, next);
	return next;
}

/* Cases of one architecture token, numbers below `end`. */
static int add_arch(struct compiler *c, uint32_t arch, uint64_t end) {
	uint32_t last;
	int r = collect(c, arch, &last);
	if (r < 0)
		return r;
	if (c->n)
		qsort(c->entries, c->n, sizeof(*c->entries), by_number);
	bool wide = seccomp_arch_wide(arch);
	/* s390 passes calls with large numbers as call 0 and leaves it there when it knows none: a call that is too new looks like setup(2). */
	bool setup = c->enosys && last && seccomp_is_s390(arch);
	if (setup)
		r = add_case(c, 0, 0, ret_label(c, SECCOMP_RET_ERRNO | ENOSYS));
	for (size_t i = 0, k; i < c->n && r == 0; i = k) {
		for (k = i + 1; k < c->n && c->entries[k].nr == c->entries[i].nr; k++)
			;
		/* Direct numbers of multiplexed calls do not raise `last` (nor do they for runc): above it, programs fall back to the multiplexer. */
		if ((setup && c->entries[i].nr == 0) || (c->enosys && last && c->entries[i].nr > last))
			continue;
		bpf_label target = emit_number(c, &c->entries[i], k - i, wide);
		r = add_case(c, c->entries[i].nr, c->entries[i].nr, target);
	}
	if (r == 0 && c->enosys && last)
		r = add_case(c, last + 1, (uint32_t)(end - 1), ret_label(c, SECCOMP_RET_ERRNO | ENOSYS));
	return r;
}

/* Section for one value of seccomp_data.arch; entered with nothing in A. */
static int add_section(struct compiler *c, uint32_t audit, const uint32_t *archs, size_t n_archs, bpf_label bad_arch, bpf_label *ret) {
	int r = 0;
	bool x32 = false;
	c->n_cases = 0;
	for (size_t i = 0; i < n_archs && r == 0; i++) {
		if (seccomp_audit_arch(archs[i]) != audit)
			continue;
		if (audit == AUDIT_ARCH_X86_64 && archs[i] != audit)
			x32 = true; /* after x86-64, whose numbers come first */
		else
			r = add_arch(c, archs[i], audit == AUDIT_ARCH_X86_64 ? X32_FIRST : 1ULL << 32);
	}
	if (r == 0 && audit == AUDIT_ARCH_X86_64) {
		if (x32)
			r = add_arch(c, seccomp_arch_token("SCMP_ARCH_X32"), 1ULL << 32);
		else /* but -1, which a tracer leaves behind to skip a call */
			r = add_case(c, X32_FIRST, UINT32_MAX - 1, bad_arch);
	}
	if (r < 0)
		return r;
	bpf_label l = bpf_switch(&c->b, c->cases, c->n_cases, ret_label(c, c->dflt));
	*ret = bpf_load(&c->b, offsetof(struct seccomp_data, nr), l);
	return c->b.failed;
}

/* Native first, then the listed ones, each once. */
static size_t list_archs(const struct oci_seccomp *s, uint32_t *v, struct strbuf *warnings) {
	size_t n = 0;
	v[n++] = seccomp_native_token();
	for (size_t i = 0; i < s->architectures.n; i++) {
		uint32_t token = seccomp_arch_token(s->architectures.v[i]);
		if (!token || !seccomp_same_endian(token)) {
			/* No process of it can run here, and the bad architecture action waits for one that does all the same. */
			strbuf_printf(warnings, "seccomp architecture %s cannot run on this machine, ignored\n", s->architectures.v[i]);
			continue;
		}
		size_t k = 0;
		while (k < n && v[k] != token)
			k++;
		if (k == n && n < ARCHS_MAX)
			v[n++] = token;
	}
	return n;
}

static void warn_unknown(const struct oci_seccomp *s, const uint32_t *archs, size_t n_archs, struct strbuf *out) {
	for (size_t i = 0; i < s->n_rules; i++)
		for (size_t k = 0; k < s->rules[i].names.n; k++) {
			size_t a = 0;
			while (a < n_archs && seccomp_syscall_number(archs[a], s->rules[i].names.v[k]) == -1)
				a++;
			if (a == n_archs)
				strbuf_printf(out, "unknown seccomp syscall \"%s\" ignored\n", s->rules[i].names.v[k]);
		}
}

static int check_notify(const struct oci_seccomp *s, struct err *e) {
	if (s->default_action == SECCOMP_RET_USER_NOTIF)
		return err_set(e, -EINVAL, "SCMP_ACT_NOTIFY cannot be used as default action");
	/* The container's first process hands its listener over by write(2): caught, it would wait for an agent that never gets the fd. */
	for (size_t i = 0; i < s->n_rules; i++)
		for (size_t k = 0; k < s->rules[i].names.n; k++)
			if (s->rules[i].action == SECCOMP_RET_USER_NOTIF && streq(s->rules[i].names.v[k], "write"))
				return err_set(e, -EINVAL, "SCMP_ACT_NOTIFY cannot be used for the write syscall");
	return 0;
}

static int compile(struct compiler *c, struct bpf_prog *ret, struct strbuf *warnings) {
	uint32_t archs[ARCHS_MAX], sections[ARCHS_MAX];
	size_t n = list_archs(c->s, archs, warnings), n_sections = 0;
	bpf_label labels[ARCHS_MAX], bad_arch = ret_label(c, SECCOMP_RET_KILL_THREAD);
	for (size_t i = 0; i < n; i++) {
		uint32_t audit = seccomp_audit_arch(archs[i]);
		size_t k = 0;
		while (k < n_sections && sections[k] != audit)
			k++;
		if (k < n_sections)
			continue;
		sections[n_sections] = audit;
		int r = add_section(c, audit, archs, n, bad_arch, &labels[n_sections++]);
		if (r < 0)
			return r;
	}
	warn_unknown(c->s, archs, n, warnings);
	bpf_label l = bad_arch;
	for (size_t i = n_sections; i > 0; i--)
		l = bpf_jump(&c->b, BPF_JEQ, sections[i - 1], labels[i - 1], l);
	l = bpf_load(&c->b, offsetof(struct seccomp_data, arch), l);
	return bpf_finish(&c->b, l, ret);
}

/* With a NULL program the kernel gets as far as EFAULT only when it knows all flags (seccomp(2), NOTES). */
static bool kernel_takes(unsigned int flags) { return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, NULL) < 0 && errno == EFAULT; }

static unsigned int load_flags(const struct oci_seccomp *s, bool notify) {
	/* TSYNC has no effect on a process of one thread. */
	unsigned int flags = (unsigned int)s->flags & ~(unsigned int)SECCOMP_FILTER_FLAG_TSYNC;
	/* No list at all, as opposed to an empty one, asks for the default (runc). */
	if (!s->flags && !json_get(s->json, "flags") && kernel_takes(SECCOMP_FILTER_FLAG_SPEC_ALLOW))
		flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	if (notify)
		flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	else
		flags &= ~(unsigned int)SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV; /* the kernel refuses it without a listener */
	return flags;
}

static bool prog_notifies(const struct bpf_prog *p) {
	for (size_t i = 0; i < p->n; i++)
		if (p->insns[i].code == (BPF_RET | BPF_K) && (p->insns[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			return true;
	return false;
}

static int complete(const struct oci_seccomp *s, const char *receiver, struct seccomp_filter *f, struct err *e) {
	f->present = true;
	f->notify = prog_notifies(&f->prog);
	f->flags = load_flags(s, f->notify);
	f->listener_path = s->listener_path ?: receiver;
	f->listener_metadata = s->listener_metadata;
	if (f->notify && !f->listener_path)
		return err_set(e, -EINVAL, "linux.seccomp.listenerPath is needed with SCMP_ACT_NOTIFY");
	if (f->listener_path && strlen(f->listener_path) >= RECEIVER_PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "linux.seccomp.listenerPath is longer than %d bytes", RECEIVER_PATH_MAX - 1);
	return 0;
}

static int compile_section(const struct oci_seccomp *s, struct seccomp_filter *f, struct err *e) {
	CLEANUP(compiler_free) struct compiler c = { .s = s, .b = BPF_BUILDER_INIT, .dflt = full_action(s->default_action, &s->default_errno_ret) };
	/* A tracer is an allow action: it answers ENOSYS by itself. */
	c.enosys = s->default_action != SECCOMP_RET_ALLOW && s->default_action != SECCOMP_RET_LOG && s->default_action != SECCOMP_RET_TRACE
		&& !(s->default_errno_ret.set && s->default_errno_ret.v == ENOSYS);
	int r = check_notify(s, e);
	if (r < 0)
		return r;
	r = compile(&c, &f->prog, &f->warnings);
	if (r == -E2BIG)
		return err_set(e, r, "linux.seccomp: the profile needs more than the kernel's %d instructions", BPF_MAXINSNS);
	return r < 0 ? err_sys(e, r, "linux.seccomp") : 0;
}

int seccomp_compile(const struct oci_seccomp *s, struct seccomp_filter *ret, struct err *e) {
	_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
	int r = s->set ? compile_section(s, &f, e) : 0;
	if (r == 0 && s->set)
		r = complete(s, NULL, &f, e);
	if (r == 0) {
		*ret = f;
		f = (struct seccomp_filter)SECCOMP_FILTER_INIT;
	}
	return r;
}

/* run.oci.seccomp_bpf_data: the program itself, in host byte order, base64. */
static int raw_program(const char *text, struct bpf_prog *ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf bytes = STRBUF_INIT;
	int r = base64_decode(text, strlen(text), &bytes);
	if (r < 0)
		return err_set(e, r, "annotation run.oci.seccomp_bpf_data: not base64");
	if (bytes.len == 0 || bytes.len % sizeof(struct sock_filter) || bytes.len / sizeof(struct sock_filter) > BPF_MAXINSNS)
		return err_set(e, -EINVAL, "annotation run.oci.seccomp_bpf_data: %zu bytes are not 1 to %d instructions of 8 bytes", bytes.len, BPF_MAXINSNS);
	struct bpf_prog p = { NULL, bytes.len / sizeof(struct sock_filter), true };
	p.insns = malloc(bytes.len);
	if (!p.insns)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(p.insns, bytes.s, bytes.len);
	if (!bpf_check_valid(p.insns, p.n)) {
		bpf_prog_free(&p);
		return err_set(e, -EINVAL, "annotation run.oci.seccomp_bpf_data: the kernel would refuse this program");
	}
	*ret = p;
	return 0;
}

int seccomp_prepare(const struct oci_spec *spec, int cache_fd, struct seccomp_filter *ret, struct err *e) {
	_cleanup_seccomp_ struct seccomp_filter f = SECCOMP_FILTER_INIT;
	_cleanup_strbuf_ struct strbuf key = STRBUF_INIT;
	const struct oci_seccomp *s = &spec->seccomp;
	const char *raw = oci_annotation(spec, "run.oci.seccomp_bpf_data"), *receiver = oci_annotation(spec, "run.oci.seccomp.receiver");
	int r = 0;
	if (!raw && !s->set) {
		*ret = f;
		return 0;
	}
	if (raw) {
		r = raw_program(raw, &f.prog, e);
	} else if (cache_fd >= 0 && seccomp_cache_key(s, &key) == 0 && seccomp_cache_get(cache_fd, &key, &f.prog) == 0) {
		f.from_cache = true;
	} else {
		r = compile_section(s, &f, e);
		if (r == 0 && key.len)
			seccomp_cache_put(cache_fd, &key, &f.prog);
	}
	if (r == 0)
		r = complete(s, receiver, &f, e);
	if (r == 0) {
		*ret = f;
		f = (struct seccomp_filter)SECCOMP_FILTER_INIT;
	}
	return r;
}

void seccomp_filter_free(struct seccomp_filter *f) {
	bpf_prog_free(&f->prog);
	strbuf_free(&f->warnings);
	*f = (struct seccomp_filter)SECCOMP_FILTER_INIT;
}

int seccomp_check_start(const struct seccomp_filter *f, struct err *e) {
	const struct seccomp_data d = { .nr = SYS_execve, .arch = bpf_native_arch() };
	uint32_t action = f->present ? bpf_simulate(&f->prog, &d) & SECCOMP_RET_ACTION_FULL : SECCOMP_RET_ALLOW;
	if (action == SECCOMP_RET_ERRNO || action == SECCOMP_RET_KILL_THREAD || action == SECCOMP_RET_KILL_PROCESS || action == SECCOMP_RET_TRAP)
		return err_set(e, -EPERM, "operation not permitted: the seccomp profile does not allow execve, which starts the container's program");
	return 0;
}

bool seccomp_early(const struct oci_process *p) { return !p->no_new_privileges; }

int seccomp_filter_load(const struct seccomp_filter *f, struct err *e) {
	return f->present ? bpf_install(&f->prog, f->flags, e) : 0;
}

unsigned int seccomp_kernel_flags(void) {
	static const struct { unsigned int flag, with; } known[] = {
		{ SECCOMP_FILTER_FLAG_TSYNC, 0 }, { SECCOMP_FILTER_FLAG_LOG, 0 }, { SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0 }, { SECCOMP_FILTER_FLAG_NEW_LISTENER, 0 },
		{ SECCOMP_FILTER_FLAG_TSYNC_ESRCH, 0 }, { SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, SECCOMP_FILTER_FLAG_NEW_LISTENER },
	};
	static unsigned int flags;
	static bool asked;
	for (size_t i = 0; !asked && i < ARRAY_SIZE(known); i++)
		if (kernel_takes(known[i].flag | known[i].with))
			flags |= known[i].flag;
	asked = true;
	return flags;
}

bool seccomp_kernel_action(uint32_t action) { return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0; }
