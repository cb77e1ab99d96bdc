/*
 * The guest filter: which host calls a guest process can make at all, from whatever instruction. Checks on the instruction pointer send the guest's own
 * calls to the gate (RET_TRAP); they are dispatch, not defence, because a guest may jump to the gate's syscall instructions. What is
 * allowed there must therefore be harmless with any registers.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tier/sentry/gate/host.h"

enum { MAX_INSNS = 256 };
static struct sock_filter insns[MAX_INSNS];
static unsigned n_insns;

#define LO(n) ((uint32_t)offsetof(struct seccomp_data, args[n]))
#define HI(n) (LO(n) + 4)

/* Values of one 32-bit argument (upper half must be zero unless any_high). */
struct guest_rule {
	int nr;
	const char *name, *reason;
	int arg;              /* -1: no check */
	uint32_t mask, value; /* (arg & mask) == value */
	uint32_t action;      /* when it matches */
};
#define ALLOW SECCOMP_RET_ALLOW
#define NOTIF SECCOMP_RET_USER_NOTIF
#define ROW(n, a, m, v, act, why) { SYS_##n, #n, why, a, (uint32_t)(m), (uint32_t)(v), act }
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID)

/* Rows of a call are tried in order; none matches: RET_TRAP. */
static const struct guest_rule rules[] = {
	ROW(futex, 1, ~0, FUTEX_WAIT, ALLOW, "gate sleeps on its mailbox"),
	ROW(futex, 1, ~0, FUTEX_WAKE, ALLOW, "gate wakes its twin"),
	ROW(sched_yield, -1, 0, 0, ALLOW, "gate waits awake for its twin"),
	ROW(rt_sigreturn, -1, 0, 0, ALLOW, "gate leaves the trap; restores only the caller's own registers and mask"),
	ROW(mmap, 3, MAP_ANONYMOUS, MAP_ANONYMOUS, ALLOW, "anonymous memory of the caller"),
	ROW(mmap, -1, 0, 0, NOTIF, "file memory and hello of new threads: the notifier compares with a grant"),
	ROW(munmap, -1, 0, 0, ALLOW, "caller's own memory"),
	ROW(mprotect, -1, 0, 0, ALLOW, "caller's own memory"),
	ROW(mremap, -1, 0, 0, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_DONTNEED, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_FREE, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_HUGEPAGE, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_NOHUGEPAGE, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_DONTFORK, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_DOFORK, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_WILLNEED, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_WIPEONFORK, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_KEEPONFORK, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_POPULATE_READ, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_POPULATE_WRITE, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_COLD, ALLOW, "caller's own memory"),
	ROW(madvise, 2, ~0, MADV_PAGEOUT, ALLOW, "caller's own memory"),
	ROW(clone, 0, ~0, CLONE_PARENT, ALLOW, "fork; always a child of the sentry"),
	ROW(clone, 0, ~0, CLONE_PARENT | CLONE_VM | CLONE_CHILD_CLEARTID, ALLOW, "vfork; always a child of the sentry"),
	ROW(clone, 0, ~CLONE_SETTLS, THREAD_FLAGS, ALLOW, "thread"),
	ROW(exit, -1, 0, 0, ALLOW, "thread leaves"),
	ROW(close, -1, 0, 0, ALLOW, "fd of a granted mmap; the guest owns no others"),
	ROW(sigaltstack, -1, 0, 0, ALLOW, "a new thread's gate stack; concerns the caller's own stack only"),
	ROW(arch_prctl, 0, ~0, 0x1002, ALLOW, "ARCH_SET_FS where wrfsbase is missing"),
};

int guest_filter_without = -1;

static void put(uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (n_insns < MAX_INSNS)
		insns[n_insns] = (struct sock_filter){ code, jt, jf, k };
	n_insns++;
}

static void load(uint32_t off) { put(BPF_LD | BPF_W | BPF_ABS, 0, 0, off); }
static void ret(uint32_t v) { put(BPF_RET | BPF_K, 0, 0, v); }

void guest_filter_prepare(void)
{
	uint64_t lo = gate_layout.base, hi = lo + GATE_CODE_SIZE;
	n_insns = 0;
	load(offsetof(struct seccomp_data, arch));
	put(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
	ret(SECCOMP_RET_ERRNO | ENOSYS); /* int $0x80: a kernel without 32-bit emulation */
	load(offsetof(struct seccomp_data, instruction_pointer) + 4);
	put(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, (uint32_t)(lo >> 32));
	ret(SECCOMP_RET_TRAP);
	load(offsetof(struct seccomp_data, instruction_pointer));
	put(BPF_JMP | BPF_JGE | BPF_K, 1, 0, (uint32_t)lo);
	ret(SECCOMP_RET_TRAP);
	put(BPF_JMP | BPF_JGT | BPF_K, 0, 1, (uint32_t)hi);
	ret(SECCOMP_RET_TRAP);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		const struct guest_rule *r = &rules[i];
		if ((int)i == guest_filter_without || (r->nr == SYS_arch_prctl && gate_layout.fsgsbase))
			continue;
		load(offsetof(struct seccomp_data, nr));
		put(BPF_JMP | BPF_JEQ | BPF_K, 0, r->arg < 0 ? 1 : 4, (uint32_t)r->nr);
		if (r->arg >= 0) {
			load(LO(r->arg));
			put(BPF_ALU | BPF_AND | BPF_K, 0, 0, r->mask);
			put(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, r->value);
		}
		ret(r->action);
	}
	ret(SECCOMP_RET_TRAP);
}

int guest_filter_install(void)
{
	struct sock_fprog prog = { .len = (unsigned short)n_insns, .filter = insns };
	if (n_insns > MAX_INSNS)
		return -E2BIG;
	if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	return fd < 0 ? -errno : (int)fd;
}

int guest_filter_print(struct strbuf *out)
{
	int last = -1;
	unsigned calls = 0;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		const struct guest_rule *r = &rules[i];
		if (r->nr == SYS_arch_prctl && getauxval(AT_HWCAP2) & 2 /* wrfsbase */)
			continue;
		calls += r->nr != last;
		last = r->nr;
		if (r->arg < 0)
			strbuf_printf(out, "  %-14s %-22s %-7s %s\n", r->name, "any", r->action == ALLOW ? "allow" : "notify", r->reason);
		else
			strbuf_printf(out, "  %-14s a%d&0x%08x==0x%-6x %-7s %s\n", r->name, r->arg, r->mask, r->value,
				r->action == ALLOW ? "allow" : "notify", r->reason);
	}
	strbuf_printf(out, "guest: %u host calls\n", calls);
	return (int)calls;
}
