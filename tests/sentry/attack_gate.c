/* The gate's own instructions and memory as weapons. */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "attack.h"
#include "gateway.h"

static const uint64_t values[] = { 0, 1, 2, 7, 8, 0x10, 0x22, 0x32, 0xfff, 0x1000, 0x1001, 0x20000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000ull,
	0x7fffffffe000, 0x7ffffffff000, 0x800000000000, 0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~0xfffull };
static uint64_t value(void)
{
	switch (rnd() % 4) {
	case 0: return gate_base + rnd() % GATE_SPAN;
	case 1: return (gate_base + rnd() % GATE_SPAN) & ~0xfffull;
	case 2: return rnd();
	default: return values[rnd() % (sizeof(values) / sizeof(*values))];
	}
}

/* What the guest filter lets through from there, and some that it does not. */
static const int let_through[] = { SYS_futex, SYS_rt_sigreturn, SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_clone, SYS_close,
	SYS_sigaltstack, SYS_arch_prctl };
static void hostile_registers(unsigned seed)
{
	rnd_seed(seed);
	for (unsigned n = 0; n < 6; n++) {
		int nr = rnd() % 4 ? let_through[rnd() % (sizeof(let_through) / sizeof(*let_through))] : (int)(rnd() % 460);
		struct raw r = { (uint64_t)nr, value(), value(), value(), value(), value(), value() };
		if (nr == SYS_clone && rnd() % 2)
			r.rdi = (uint64_t[]){ CLONE_PARENT, CLONE_PARENT | CLONE_VM | CLONE_CHILD_CLEARTID, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
				CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID }[rnd() % 3];
		if (nr == SYS_mmap && rnd() % 2)
			r.r10 |= MAP_ANONYMOUS | MAP_PRIVATE | (rnd() % 2 ? MAP_FIXED : 0);
		gate_raw(gate_calls[rnd() % n_gate_calls], &r);
	}
	getppid();
}

static void *busy(void *p)
{
	for (;;) {
		getppid();
		sched_yield();
	}
	return p;
}

/* One way each to take the ground from under the gate, with a second thread that keeps calling. */
static void take_away(unsigned way)
{
	pthread_t th;
	uint64_t arena = gate_base + GATE_CODE_SIZE;
	if (way & 16)
		pthread_create(&th, NULL, busy, NULL);
	switch (way & 15) {
	case 0: gate_call_raw(SYS_munmap, gate_base, GATE_CODE_SIZE, 0, 0, 0, 0); break;
	case 1: gate_call_raw(SYS_munmap, arena, GATE_SPAN - GATE_CODE_SIZE, 0, 0, 0, 0); break;
	case 2: gate_call_raw(SYS_mprotect, arena, GATE_SPAN - GATE_CODE_SIZE, PROT_NONE, 0, 0, 0); break;
	case 3: gate_call_raw(SYS_mprotect, arena, GATE_SPAN - GATE_CODE_SIZE, PROT_READ, 0, 0, 0); break;
	case 4: gate_call_raw(SYS_mmap, arena, SLOT_SIZE * 4, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, ~0ull, 0); break;
	case 5:
		gate_call_raw(SYS_mprotect, gate_base, GATE_CODE_SIZE, 7, 0, 0, 0);
		memset((void *)gate_base, 0xcc, 4096);
		break;
	case 6:
		gate_call_raw(SYS_mprotect, gate_base, GATE_CODE_SIZE, 7, 0, 0, 0);
		for (unsigned i = 0; i < 200; i++)
			((volatile unsigned char *)gate_base)[rnd() % 2048] = (unsigned char)rnd();
		break;
	case 7: gate_call_raw(SYS_munmap, 0, 0x7ffffffff000, 0, 0, 0, 0); break;
	case 8: gate_call_raw(SYS_mremap, arena, SLOT_SIZE, SLOT_SIZE, 3, 0x10000000, 0); break;
	case 9: gate_call_raw(SYS_madvise, arena, GATE_SPAN - GATE_CODE_SIZE, 4, 0, 0, 0); break;
	case 10: { /* signal frames elsewhere */
		static char other[65536];
		stack_t ss = { .ss_sp = other, .ss_size = sizeof(other) };
		gate_call_raw(SYS_sigaltstack, (uint64_t)&ss, 0, 0, 0, 0, 0);
		break;
	}
	case 11: /* processes that the sentry did not make, sharing our mailbox */
		for (int i = 0; i < 4; i++)
			gate_call_raw(SYS_clone, CLONE_PARENT, 0, 0, 0, 0, 0);
		break;
	case 12: /* the same with our memory: two on one stack */
		gate_call_raw(SYS_clone, CLONE_PARENT | CLONE_VM | CLONE_CHILD_CLEARTID, 0, 0, arena + 12, 0, 0);
		break;
	case 13: /* threads without a slot */
		for (int i = 0; i < 4; i++)
			gate_call_raw(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID,
				(uint64_t)malloc(65536) + 65000, 0, 0, 0, 0);
		break;
	case 14: { /* every host signal blocked: no trap, no kick */
		static char frame[4096] __attribute__((aligned(64)));
		struct gate_uc *uc = (void *)frame;
		memset(frame, 0xff, sizeof(frame));
		uc->regs.fpstate = 0;
		uc->regs.cs = 0x33;
		uc->regs.ss = 0x2b;
		uc->regs.rip = (uint64_t)busy;
		uc->regs.rsp = (uint64_t)frame + 4000;
		uc->regs.eflags = 0x202;
		uint64_t at = gate_calls[0];
		__asm__ volatile("mov %0, %%rsp\n\t mov $15, %%eax\n\t jmp *%1" : : "r"(frame), "r"(at) : "memory");
		break;
	}
	default: /* hello again, and a file mapping that nobody granted */
		for (uint64_t i = 0; i < 64; i++)
			gate_call_raw(SYS_mmap, 0, 4096, 1, MAP_PRIVATE, rnd() << 32 | (16 + i), 0);
	}
	for (int i = 0; i < 100; i++)
		getppid();
	close(open("/tmp/x", O_CREAT | O_RDWR, 0600));
}

int attack_gate(unsigned seed)
{
	gate_find();
	if (!gate_base || !n_gate_calls)
		return fprintf(stderr, "the gate was not found\n"), 1;
	gate_step_install();
	/* the way in works: a call that is let through, and its effect */
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*(volatile char *)p = 1;
	if (gate_call_raw(SYS_madvise, (uint64_t)p, 4096, 4 /* MADV_DONTNEED */, 0, 0, 0) != 0 || *(volatile char *)p != 0)
		return fprintf(stderr, "the gate's instruction cannot be used\n"), 1;
	for (unsigned way = 0; way < 32; way++)
		if (!trial(take_away, way, 150))
			return fprintf(stderr, "way %u\n", way), 1;
	for (unsigned i = 0; i < 120; i++)
		if (!trial(hostile_registers, seed * 1000 + i, 150))
			return fprintf(stderr, "registers %u\n", i), 1;
	return 0;
}

/* ---- scribbling ------------------------------------------------------------------------------------------------------------ */

static volatile bool scribbling = true;
static void *scribbler(void *arg)
{
	uint64_t mode = (uint64_t)arg % 4, arena = gate_base + GATE_CODE_SIZE;
	for (;;) {
		uint64_t slot = arena + rnd() % 4 * SLOT_SIZE;
		uint64_t at = mode == 0 ? rnd() % sizeof(struct mailbox) : mode == 1 ? SLOT_STACK + rnd() % (SLOT_STACK_END - SLOT_STACK) : rnd() % SLOT_SIZE;
		uint64_t v = rnd() % 2 ? rnd() % 8 : rnd() % 2 ? value() : rnd();
		if (mode == 3)
			at = rnd() % 2 ? offsetof(struct mailbox, kind) : offsetof(struct mailbox, state);
		if (at % SLOT_SIZE + 8 > SLOT_SIZE)
			continue;
		if (rnd() % 2)
			*(volatile uint32_t *)(slot + (at & ~3ull)) = (uint32_t)v;
		else
			*(volatile uint64_t *)(slot + (at & ~7ull)) = v;
		for (volatile unsigned i = 0; i < rnd() % 2000; i++)
			;
	}
	return arg;
}

static void scribble(unsigned seed)
{
	pthread_t th;
	pthread_create(&th, NULL, scribbler, (void *)(uintptr_t)seed);
	for (unsigned i = 0; i < 3000 && scribbling; i++) {
		int fd = open("/tmp/scribble", O_CREAT | O_RDWR, 0600);
		char buf[64];
		if (write(fd, buf, sizeof(buf)) < 0 || pread(fd, buf, sizeof(buf), 0) < 0)
			getppid();
		close(fd);
		void *p = mmap(NULL, 8192, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		munmap(p, 8192);
		if (i % 50 == 0) {
			pid_t pid = fork();
			if (!pid)
				_exit(0);
			waitpid(pid, NULL, 0);
		}
	}
}

int attack_scribble(unsigned seed)
{
	gate_find();
	if (!gate_base)
		return fprintf(stderr, "the gate was not found\n"), 1;
	for (unsigned i = 0; i < 60; i++)
		if (!trial(scribble, seed * 1000 + i, 150))
			return fprintf(stderr, "scribble %u\n", i), 1;
	return 0;
}
