/*
 * The zygote: the first guest address space, made by forking the sentry before it has threads. It maps gate and arena, installs handlers and filter and
 * traps; its twin-less mailbox is driven by gate_spawn(), which clones clean address spaces from it. It never runs guest code.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tier/sentry/gate/gate_blob.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/gate/notify.h"

static struct task zygote;
static bool zygote_busy;
static struct waitq zygote_free;

struct kernel_sigaction { uint64_t handler, flags, restorer, mask; };

static uint64_t blob(const void *symbol)
{
	return gate_layout.base + (uint64_t)((const char *)symbol - __start_gate_text);
}

/* Runs in the forked child: raw calls only. Exit codes tell the sentry where it failed. */
static void zygote_child(void)
{
	static const int sync_signals[] = { SIGSYS, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, GATE_KICK };
	uint64_t mask = ~(SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS));
	uint64_t none = 0;
	void *arena = mmap((void *)gate_layout.arena, GATE_SLOTS * SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		zygote.as->arena->memfd, 0);
	if (arena == MAP_FAILED)
		_exit(101);
	syscall(SYS_close_range, 0, ~0U, 0);
	if (__rseq_size)
		syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, 32, 1 /* RSEQ_FLAG_UNREGISTER */, 0x53053053);
	syscall(SYS_set_robust_list, NULL, 24);
	syscall(SYS_set_tid_address, NULL);
	stack_t ss = { .ss_sp = (void *)(gate_layout.arena + SLOT_STACK), .ss_size = SLOT_STACK_END - SLOT_STACK };
	if (sigaltstack(&ss, NULL) < 0)
		_exit(102);
	for (unsigned s = 1; s <= 64; s++) {
		struct kernel_sigaction dfl = { 0 };
		syscall(SYS_rt_sigaction, s, &dfl, NULL, 8);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(sync_signals); i++) {
		struct kernel_sigaction sa = { blob(gate_signal), SA_SIGINFO | SA_ONSTACK | 0x04000000 /* SA_RESTORER */, blob(gate_restorer), mask };
		if (sync_signals[i] == SIGSEGV || sync_signals[i] == SIGBUS)
			sa.flags |= SA_NODEFER;
		if (syscall(SYS_rt_sigaction, sync_signals[i], &sa, NULL, 8) < 0)
			_exit(103);
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
	/* no capability at all: also what process_vm_readv() by the (nearly) unprivileged sentry demands */
	struct __user_cap_header_struct cap = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct no_caps[2] = { { 0 } };
	for (unsigned long c = 0; prctl(PR_CAPBSET_DROP, c, 0, 0, 0) == 0 && c < 64; c++)
		;
	if (syscall(SYS_capset, &cap, no_caps) < 0)
		_exit(105);
	prctl(PR_SET_DUMPABLE, 1);
	if (guest_filter_install() != 0)
		_exit(104);
	__asm__ volatile("syscall" : : "a"(SYS_getpid) : "rcx", "r11", "memory"); /* traps; never comes back here */
	__builtin_trap();
}

static int find_vdso(void)
{
	char line[512];
	gate_layout.vdso = getauxval(AT_SYSINFO_EHDR);
	FILE *f = fopen("/proc/self/maps", "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		unsigned long lo, hi;
		if (!strstr(line, "[vdso]") && !strstr(line, "[vvar"))
			continue;
		if (sscanf(line, "%lx-%lx", &lo, &hi) != 2)
			continue;
		if (!gate_layout.vdso_lo || lo < gate_layout.vdso_lo)
			gate_layout.vdso_lo = lo;
		if (hi > gate_layout.vdso_hi)
			gate_layout.vdso_hi = hi;
	}
	fclose(f);
	return 0;
}

/* Place the gate near the top of the address space, where neither mmap nor the guest's images come. */
static int place_gate(struct err *e)
{
	static const uint64_t candidates[] = { 0x7ffd00000000, 0x7ffe00000000, 0x7fff00000000, 0x7ffc00000000, 0x7ff000000000, 0x7e0000000000 };
	size_t size = (size_t)(__stop_gate_text - __start_gate_text);
	for (unsigned i = 0; i < ARRAY_SIZE(candidates); i++) {
		void *p = mmap((void *)candidates[i], GATE_SPAN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		if (p == MAP_FAILED)
			continue;
		gate_layout.base = candidates[i];
		gate_layout.arena = candidates[i] + GATE_CODE_SIZE;
		gate_layout.end = candidates[i] + GATE_SPAN;
		gate_layout.task_size = 0x7ffffffff000;
		gate_layout.fsgsbase = getauxval(AT_HWCAP2) & 2;
		if (mprotect(p, GATE_CODE_SIZE, PROT_READ | PROT_WRITE) < 0)
			return err_sys(e, errno, "gate memory");
		if (size > GATE_TABLE)
			return err_set(e, EFBIG, "gate code is too large");
		memcpy(p, __start_gate_text, size);
		memcpy((char *)p + GATE_TABLE, gate_marshal_table(), GATE_CALLS * sizeof(struct gate_marshal));
		gate_layout.fast = blob(gate_fast);
		if (mprotect(p, GATE_CODE_SIZE, PROT_READ | PROT_EXEC) < 0)
			return err_sys(e, errno, "gate memory");
		return 0;
	}
	return err_set(e, ENOMEM, "no free place for the gate");
}

int zygote_spawn(struct err *e)
{
	int rc = find_vdso();
	if (rc < 0)
		return err_sys(e, rc, "read /proc/self/maps");
	if ((rc = place_gate(e)) < 0)
		return rc;
	guest_filter_prepare();
	waitq_init(&zygote_free);
	struct arena_mem *arena = gate_arena_new();
	if (!arena || !(zygote.as = as_new(arena)) || !(zygote.mb = slot_map(arena, 0)))
		return err_set(e, ENOMEM, "zygote: out of memory");
	arena->slot_used[0] = 1;
	zygote.slot_va = gate_layout.arena;
	pid_t pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "fork zygote");
	if (pid == 0)
		zygote_child();
	munmap((void *)gate_layout.base, GATE_SPAN);
	zygote.as->pid = pid;
	zygote.host_tid = pid;
	return 0;
}

static int unmap_range(uint64_t lo, uint64_t hi)
{
	return hi > lo ? (int)gate_call(&zygote, SYS_munmap, lo, hi - lo, 0, 0, 0, 0) : 0;
}

int zygote_adopt(struct err *e)
{
	int pidfd, fd, status;
	/* Until the zygote traps, it may die of a missing feature: look at it now and then. */
	for (unsigned i = 0; __atomic_load_n(&zygote.mb->state, __ATOMIC_ACQUIRE) != MB_REQUEST; i++) {
		if (waitpid(zygote.as->pid, &status, WNOHANG) == zygote.as->pid)
			return err_set(e, ENOSYS, "zygote ended with status %#x (104: seccomp listener refused)", (unsigned)status);
		struct timespec ts = { 0, i < 50 ? 20000 : 1000000 };
		nanosleep(&ts, NULL);
	}
	pidfd = (int)syscall(SYS_pidfd_open, zygote.as->pid, 0);
	if (pidfd < 0)
		return err_sys(e, errno, "pidfd_open zygote");
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, 0, 0);
	int saved = errno;
	close(pidfd);
	if (fd < 0)
		return err_sys(e, saved, "take the seccomp listener over");
	notifier_set(fd);
	uint64_t off = zygote.mb->uc - zygote.slot_va;
	if (off > SLOT_STACK_END)
		return err_set(e, EPROTO, "zygote: bad frame");
	zygote.uc = (struct gate_uc *)(void *)((char *)zygote.mb + off);
	zygote.regs = &zygote.uc->regs;
	kernel_lock();
	gate_call(&zygote, SYS_close, 0, 0, 0, 0, 0, 0);
	uint64_t vlo = gate_layout.vdso_lo, vhi = gate_layout.vdso_hi;
	int rc;
	if (vlo >= gate_layout.end) {
		rc = unmap_range(0, gate_layout.base) | unmap_range(gate_layout.end, vlo) | unmap_range(vhi, gate_layout.task_size);
	} else {
		rc = unmap_range(0, vlo) | unmap_range(vhi, gate_layout.base) | unmap_range(gate_layout.end, gate_layout.task_size);
	}
	kernel_unlock();
	return rc ? err_set(e, EPROTO, "zygote: cannot unmap the sentry's image") : 0;
}

int gate_spawn(struct task *t)
{
	struct waiter w;
	waiter_init(&w, t);
	waitq_add(&zygote_free, &w);
	while (zygote_busy) {
		int rc = task_sleep_killable(t, -1);
		if (rc) {
			waitq_del(&w);
			return rc;
		}
	}
	waitq_del(&w);
	zygote_busy = true;
	int rc = gate_prepare(&zygote, t, GATE_FORK);
	if (!rc && (rc = gate_clone(&zygote, t, GATE_FORK, 0, false)) < 0)
		gate_unprepare(t);
	if (!rc) {
		struct gate_regs *r = t->regs;
		uint64_t fp = r->fpstate;
		uint16_t cs = r->cs, ss = r->ss;
		memset(r, 0, offsetof(struct gate_regs, fpstate));
		r->cs = cs;
		r->ss = ss;
		r->eflags = 0x202;
		r->fpstate = fp;
	}
	zygote_busy = false;
	waitq_wake(&zygote_free, 0);
	return rc;
}
