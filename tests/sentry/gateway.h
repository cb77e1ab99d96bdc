/*
 * What a guest needs to ignore the gate: where it is, and a way to run its system call instructions with registers of its own.
 * The trap flag brings control back: one step onto the instruction, one over it, then the guest's own SIGTRAP handler leaves.
 */
#ifndef SENTRY_GATEWAY_H
#define SENTRY_GATEWAY_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "tier/sentry/gate/gate.h"

static uint64_t gate_base;             /* 0: not found */
static uint64_t gate_calls[64];        /* addresses of its system call instructions */
static unsigned n_gate_calls;

static sigjmp_buf probe_env;
static void probe_fault(int sig) { (void)sig; siglongjmp(probe_env, 1); }

static bool readable(uint64_t addr)
{
	if (sigsetjmp(probe_env, 1))
		return false;
	(void)*(volatile unsigned char *)addr;
	return true;
}

/* The arena is larger than the step, so one probe lands in it wherever it begins. */
static void gate_find(void)
{
	struct sigaction sa = { .sa_handler = probe_fault, .sa_flags = SA_NODEFER }, segv, bus;
	sigaction(SIGSEGV, &sa, &segv);
	sigaction(SIGBUS, &sa, &bus);
	char here;
	for (uint64_t a = 0x7fffffff0000; a > 0x7d0000000000 && !gate_base; a -= 0x8000000) {
		uint64_t lo = a & ~(GATE_CODE_SIZE - 1);
		uint64_t stack = (uint64_t)&here;
		if ((a > stack - (64 << 20) && a < stack + (64 << 20)) || !readable(lo))
			continue;
		while (lo > GATE_CODE_SIZE && readable(lo - GATE_CODE_SIZE))
			lo -= GATE_CODE_SIZE;
		gate_base = lo;
	}
	for (uint64_t p = gate_base; gate_base && p < gate_base + GATE_CODE_SIZE - 2 && n_gate_calls < 64; p++)
		if (readable(p) && readable(p + 1) && ((unsigned char *)p)[0] == 0x0f && ((unsigned char *)p)[1] == 0x05)
			gate_calls[n_gate_calls++] = p;
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
}

struct raw { uint64_t rax, rdi, rsi, rdx, r10, r8, r9; };
static __thread struct { struct raw in; uint64_t out[4], target; volatile uint64_t at; uint64_t result; } step;

static void single_step(int sig, siginfo_t *si, void *p)
{
	ucontext_t *u = p;
	uint64_t rip = (uint64_t)u->uc_mcontext.gregs[REG_RIP];
	(void)sig, (void)si;
	if (rip == step.at)
		return; /* on the instruction: once more */
	if (step.at) {
		step.result = (uint64_t)u->uc_mcontext.gregs[REG_RAX];
		u->uc_mcontext.gregs[REG_RSP] = (greg_t)step.out[0];
		u->uc_mcontext.gregs[REG_RBP] = (greg_t)step.out[1];
		u->uc_mcontext.gregs[REG_RBX] = (greg_t)step.out[2];
		u->uc_mcontext.gregs[REG_RIP] = (greg_t)step.out[3];
	}
	u->uc_mcontext.gregs[REG_EFL] &= ~0x100;
	step.at = 0;
}

static void gate_step_install(void)
{
	struct sigaction sa = { .sa_sigaction = single_step, .sa_flags = SA_SIGINFO };
	sigaction(SIGTRAP, &sa, NULL);
}

/* One call by the gate's instruction at `at`, which the dispatch by instruction pointer does not send to the sentry. */
__attribute__((noinline)) static long gate_raw(uint64_t at, const struct raw *r)
{
	step.in = *r;
	step.target = at;
	step.at = at;
	__asm__ volatile(
		"mov %%rsp, 56(%%rbx)\n\t"
		"mov %%rbp, 64(%%rbx)\n\t"
		"mov %%rbx, 72(%%rbx)\n\t"
		"lea 1f(%%rip), %%rax\n\t"
		"mov %%rax, 80(%%rbx)\n\t"
		"mov 88(%%rbx), %%r11\n\t"
		"mov 0(%%rbx), %%rax\n\t"
		"mov 8(%%rbx), %%rdi\n\t"
		"mov 16(%%rbx), %%rsi\n\t"
		"mov 24(%%rbx), %%rdx\n\t"
		"mov 32(%%rbx), %%r10\n\t"
		"mov 40(%%rbx), %%r8\n\t"
		"mov 48(%%rbx), %%r9\n\t"
		"sub $1024, %%rsp\n\t"
		"pushfq\n\t"
		"orq $0x100, (%%rsp)\n\t"
		"popfq\n\t"
		"jmp *%%r11\n\t"
		"1:\n\t"
		: : "b"(&step)
		: "rax", "rdi", "rsi", "rdx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	return (long)step.result;
}

static long gate_call_raw(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	struct raw r = { (uint64_t)nr, a, b, c, d, e, f };
	return gate_raw(gate_calls[0], &r);
}

#endif
