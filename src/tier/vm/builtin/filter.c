/* Seccomp programs from the table (seccomp(2), <linux/seccomp.h>). */
#include "tier/vm/builtin/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/macro.h"
#include "tier/vm/builtin/say.h"
#include "tier/vm/virtio/hostcalls.h"

enum { V = 1 << FILTER_VCPU, D = 1 << FILTER_DEVICE, A = 1 << FILTER_API, CODE_MAX = 512, PROT_EXEC_BIT = 4 };

/* A call may have several rows: one for each reason. */
struct rule { int nr; const char *name; unsigned classes; const char *who, *why; };
#define R(name, classes, who, why) { SYS_##name, #name, classes, who, why }
#define OF_DEVICES(name, who, why) OF_DEVICES_(name, who, why)
#define OF_DEVICES_(name, who, why) R(name, D, who, why),
#define OF_CPUS(name, who, why) R(name, V, who, why),
static const struct rule rules[] = {
	R(ioctl, V | A, "kvm", "the requests listed below"),
	R(write, V | D, "lines, pokes", "eventfds: an interrupt, a note for the device thread; the console; a last word"),
	R(write, A, "pause", "eventfds: a note for the device thread; a last word"),
	R(futex, V | D | A, "pause", "stand still, go on"),
	R(exit_group, V | D | A, "all", "the machine's end"),
	R(rt_sigreturn, V | D | A, "pause", "back from the signal that stops processors"),
	R(epoll_wait, D, "loop", "what is ready"),
	R(epoll_pwait, D, "loop", "the same, as newer C libraries call it"),
	R(epoll_ctl, D, "loop", "watch a descriptor"),
	R(read, D, "loop", "doorbells and notes"),
	R(poll, A, "control", "wait for a request"),
	R(recvmsg, A, "control", "a request"),
	R(sendmsg, A, "control", "an answer"),
	R(close, A, "snapshot", "the memory file"),
	R(tgkill, A, "pause", "take processors out of the guest"),
	R(getpid, A, "pause", "the same"),
	R(rt_sigprocmask, A, "pause", "the same"),
	R(newfstatat, A, "snapshot", "size of the memory file"),
	R(brk, A, "snapshot", "malloc"),
	R(mmap, A, "snapshot", "malloc; the memory file, never executable"),
	R(munmap, A, "snapshot", "the same"),
	R(mremap, A, "snapshot", "malloc"),
	VIRTIO_CALLS_DEVICE(OF_DEVICES)
	VIRTIO_CALLS_CPU(OF_CPUS)
};

/* Calls that may have these values only in one of their arguments. */
struct value { int nr; unsigned arg; uint32_t v; const char *name; unsigned classes; const char *why; };
#define Q(name, classes, why) { SYS_ioctl, 1, (uint32_t)name, #name, classes, why }
static const struct value values[] = {
	Q(KVM_RUN, V, "enter the guest"),
	Q(TUNSETOFFLOAD, D, "what the guest's driver accepts of a tap"),
	Q(KVM_GET_REGS, A, "snapshot"), Q(KVM_GET_SREGS, A, "snapshot"), Q(KVM_GET_MSRS, A, "snapshot"), Q(KVM_GET_MSR_INDEX_LIST, A, "snapshot"),
	Q(KVM_GET_LAPIC, A, "snapshot"), Q(KVM_GET_XSAVE, A, "snapshot"), Q(KVM_GET_XCRS, A, "snapshot"), Q(KVM_GET_MP_STATE, A, "snapshot"),
	Q(KVM_GET_VCPU_EVENTS, A, "snapshot"), Q(KVM_GET_DEBUGREGS, A, "snapshot"), Q(KVM_GET_IRQCHIP, A, "snapshot"), Q(KVM_GET_CLOCK, A, "snapshot"),
	{ SYS_madvise, 2, MADV_DONTNEED, "MADV_DONTNEED", D, "pages that the guest gave up" },
	{ SYS_madvise, 2, MADV_REMOVE, "MADV_REMOVE", D, "the same, of a shared file" },
	{ SYS_socket, 0, AF_UNIX, "AF_UNIX", D, "connections of the guest" },
};

static const char *const class_names[] = { "vcpu", "device", "api" };

static void on_refused(int sig, siginfo_t *si, void *ctx)
{
	static const char head[] = "tierce-vmm: a host call that is not allowed: ";
	char text[sizeof head + 8];
	int nr = si->si_syscall;
	size_t n = sizeof head - 1;
	(void)sig;
	(void)ctx;
	memcpy(text, head, n);
	for (int div = 1000; div; div /= 10)
		if (nr >= div || div == 1)
			text[n++] = (char)('0' + nr / div % 10);
	text[n++] = '\n';
	(void)!write(STDERR_FILENO, text, n);
	_exit(128 + SIGSYS);
}

struct code { struct sock_filter v[CODE_MAX]; unsigned n; };

static void emit(struct code *c, uint16_t op, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (c->n < CODE_MAX)
		c->v[c->n] = (struct sock_filter){ op, jt, jf, k };
	c->n++;
}

#define LOAD(c, field) emit(c, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, field))
static void allow_if(struct code *c, uint32_t k)
{
	emit(c, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, k);
	emit(c, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

/* Jump over what is emitted until land(). */
static unsigned unless(struct code *c, uint32_t nr)
{
	emit(c, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, nr);
	return c->n - 1;
}

static void land(struct code *c, unsigned at)
{
	if (at < CODE_MAX)
		c->v[at].jf = (uint8_t)(c->n - at - 1);
}

static bool has_values(int nr)
{
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		if (values[i].nr == nr)
			return true;
	return false;
}

/* The kernel looks at the low 32 bits of these arguments. */
static void value_rule(struct code *c, int nr, enum filter_class class)
{
	unsigned at = unless(c, (uint32_t)nr);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		if (values[i].nr == nr && values[i].classes >> class & 1) {
			LOAD(c, args[values[i].arg]);
			allow_if(c, values[i].v);
		}
	emit(c, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
	land(c, at);
}

static void no_exec_rule(struct code *c, int nr)
{
	unsigned at = unless(c, (uint32_t)nr);
	LOAD(c, args[2]);
	emit(c, BPF_JMP | BPF_JSET | BPF_K, 0, 1, PROT_EXEC_BIT);
	emit(c, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
	emit(c, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	land(c, at);
}

/* Only the first of a call's rows counts. */
static bool first_row(size_t i, enum filter_class class)
{
	if (!(rules[i].classes >> class & 1))
		return false;
	for (size_t k = 0; k < i; k++)
		if (rules[k].nr == rules[i].nr && rules[k].classes >> class & 1)
			return false;
	return true;
}

static void build(struct code *c, enum filter_class class)
{
	c->n = 0;
	LOAD(c, arch);
	emit(c, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
	emit(c, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
	LOAD(c, nr);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (!first_row(i, class))
			continue;
		if (has_values(rules[i].nr))
			value_rule(c, rules[i].nr, class);
		else if (rules[i].nr == SYS_mmap)
			no_exec_rule(c, rules[i].nr);
		else
			allow_if(c, (uint32_t)rules[i].nr);
	}
	emit(c, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
}

void filter_enter(enum filter_class class)
{
	struct code c;
	build(&c, class);
	struct sock_fprog p = { (unsigned short)c.n, c.v };
	struct sigaction sa = { .sa_sigaction = on_refused, .sa_flags = SA_SIGINFO };
	if (c.n > CODE_MAX || sigaction(SIGSYS, &sa, NULL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p) < 0) {
		vmm_say("seccomp: %s", strerror(errno));
		_exit(1);
	}
}

void filter_print(FILE *out)
{
	for (unsigned class = 0; class < FILTER_CLASSES; class++) {
		unsigned n = 0;
		for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
			n += first_row(i, class);
		fprintf(out, "%s: %u host calls\n", class_names[class], n);
		for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
			if (rules[i].classes >> class & 1)
				fprintf(out, "  %-16s %-22s %s\n", rules[i].name, rules[i].who, rules[i].why);
		for (size_t i = 0; i < ARRAY_SIZE(values); i++)
			if (values[i].classes >> class & 1)
				fprintf(out, "  only             %-22s %s\n", values[i].name, values[i].why);
	}
}
