/* Seccomp programs from the table (seccomp(2), <linux/seccomp.h>). */
#include "tier/vm/builtin/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/macro.h"
#include "tier/vm/builtin/say.h"

enum { V = 1 << FILTER_VCPU, D = 1 << FILTER_DEVICE, A = 1 << FILTER_API, CODE_MAX = 512 };

struct rule { int nr; const char *name; unsigned classes; const char *why; };
#define R(name, classes, why) { SYS_##name, #name, classes, why }
static const struct rule rules[] = {
	R(ioctl, V | D | A, "KVM: the requests listed below; a disk's or tap's own for devices"),
	R(futex, V | D | A, "locks"),
	R(write, V | D | A, "eventfds: interrupt lines, calls to another thread; the console"),
	R(read, D | A, "eventfds, timers, frames of a tap, the control socket"),
	R(exit_group, V | D | A, "the machine's end"),
	R(rt_sigreturn, V | D | A, "back from the signal that stops processors"),
	R(epoll_ctl, D | A, "watch a descriptor"),
	R(epoll_wait, D, "the loop"),
	R(epoll_pwait, D, "the loop, as newer C libraries call it"),
	R(recvmsg, D | A, "bytes of a port; a request of the control socket"),
	R(sendmsg, D | A, "bytes to a port; an answer"),
	R(recvfrom, D, "bytes of a socket"),
	R(sendto, D, "bytes to a socket"),
	R(writev, D, "frames to a tap"),
	R(pread64, A, "the file of a snapshot"),
	R(preadv, D, "a disk's file"),
	R(pwritev, D, "a disk's file"),
	R(fdatasync, D, "a guest's flush of its disk"),
	R(fallocate, D, "discard, write zeroes"),
	R(madvise, D | A, "balloon: give pages back"),
	R(getrandom, D, "virtio-rng"),
	R(timerfd_settime, D, "rate limiters"),
	R(clock_gettime, D | A, "rate limiters, where the vDSO has no clock"),
	R(socket, D, "vsock: a connection of the guest's to a socket of the host"),
	R(connect, D, "vsock: the same"),
	R(accept4, D, "vsock: a connection from the host"),
	R(shutdown, D, "vsock: half-closed connections"),
	R(close, D | A, "vsock: the end of a connection; the file of a snapshot"),
	R(brk, V | D | A, "memory of the C library"),
	R(mmap, V | D | A, "memory of the C library; the file of a snapshot (never executable)"),
	R(munmap, V | D | A, "the same"),
	R(mremap, D | A, "the same"),
	R(mprotect, D | A, "the same (never executable)"),
	R(newfstatat, A, "size of a snapshot's file"),
	R(poll, D | A, "the control socket; the last replies of the file server before a snapshot; is a vsock's socket closed"),
	R(tgkill, V | D | A, "stop the processors for a pause"),
	R(getpid, A, "the same"),
	R(rt_sigprocmask, V | D | A, "the same"),
};

/* Requests of ioctl(2) by class. */
struct request { uint32_t nr; const char *name; unsigned classes; const char *why; };
#define Q(name, classes, why) { (uint32_t)name, #name, classes, why }
static const struct request requests[] = {
	Q(KVM_RUN, V, "enter the guest"),
	Q(TUNSETOFFLOAD, D, "what the guest's driver accepts of a tap"),
	Q(KVM_GET_REGS, A, "snapshot"), Q(KVM_GET_SREGS, A, "snapshot"), Q(KVM_GET_MSRS, A, "snapshot"), Q(KVM_GET_MSR_INDEX_LIST, A, "snapshot"),
	Q(KVM_GET_LAPIC, A, "snapshot"), Q(KVM_GET_XSAVE, A, "snapshot"), Q(KVM_GET_XCRS, A, "snapshot"), Q(KVM_GET_MP_STATE, A, "snapshot"),
	Q(KVM_GET_VCPU_EVENTS, A, "snapshot"), Q(KVM_GET_DEBUGREGS, A, "snapshot"), Q(KVM_GET_IRQCHIP, A, "snapshot"), Q(KVM_GET_CLOCK, A, "snapshot"),
	Q(KVM_KVMCLOCK_CTRL, A, "tell the guest's watchdogs of a pause"),
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

/* Processors may only run; device threads may not reach KVM at all; requests have 32 bits, the rest of the word is the kernel's to ignore. */
static void ioctl_rule(struct code *c, enum filter_class class)
{
	unsigned at = unless(c, SYS_ioctl);
	LOAD(c, args[1]);
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		if (requests[i].classes & 1u << class)
			allow_if(c, requests[i].nr);
	emit(c, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
	land(c, at);
}

static void no_exec_rule(struct code *c, int nr)
{
	unsigned at = unless(c, (uint32_t)nr);
	LOAD(c, args[2]);
	emit(c, BPF_JMP | BPF_JSET | BPF_K, 0, 1, 4 /* PROT_EXEC */);
	emit(c, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRAP);
	emit(c, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
	land(c, at);
}

static void build(struct code *c, enum filter_class class)
{
	c->n = 0;
	LOAD(c, arch);
	emit(c, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
	emit(c, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS);
	LOAD(c, nr);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		if (!(rules[i].classes & 1u << class))
			continue;
		if (rules[i].nr == SYS_ioctl)
			ioctl_rule(c, class);
		else if (rules[i].nr == SYS_mmap || rules[i].nr == SYS_mprotect)
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
			n += rules[i].classes >> class & 1;
		fprintf(out, "%s: %u host calls\n", class_names[class], n);
		for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
			if (rules[i].classes >> class & 1)
				fprintf(out, "  %-16s %s\n", rules[i].name, rules[i].why);
		for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
			if (requests[i].classes >> class & 1)
				fprintf(out, "  ioctl %-24s %s\n", requests[i].name, requests[i].why);
	}
}
