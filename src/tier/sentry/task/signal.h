/* Virtual signals: actions, queues, masks, delivery. */
#ifndef TIERCE_SENTRY_SIGNAL_H
#define TIERCE_SENTRY_SIGNAL_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "tier/sentry/list.h"

struct task;
struct process;

#define SIG_BIT(s) (1ull << ((s) - 1))
#define SIG_UNBLOCKABLE (SIG_BIT(SIGKILL) | SIG_BIT(SIGSTOP))
enum { NSIG_ = 64 };

/* siginfo_t of the x86-64 ABI, 128 bytes. */
struct guest_siginfo {
	int32_t signo, err, code, pad;
	union {
		struct { int32_t pid; uint32_t uid; uint64_t value; } kill;         /* SI_USER, SI_QUEUE, SI_TKILL */
		struct { int32_t timerid, overrun; uint64_t value; } timer;
		struct { int32_t pid; uint32_t uid; int32_t status, pad; int64_t utime, stime; } chld;
		struct { uint64_t addr; uint16_t lsb; } fault;
		struct { int64_t band; int32_t fd; } poll;
		struct { uint64_t call_addr; int32_t syscall; uint32_t arch; } sys;
		uint8_t bytes[112];
	};
};
_Static_assert(sizeof(struct guest_siginfo) == 128, "siginfo");

struct guest_sigaction { uint64_t handler, flags, restorer, mask; };

struct sighand {
	unsigned refs;
	struct guest_sigaction action[NSIG_]; /* [sig - 1] */
};

struct sigpending {
	struct list queue; /* struct sigqueue */
	uint64_t set;
};
struct sigqueue {
	struct list node;
	struct guest_siginfo info;
};

void sigpending_init(struct sigpending *p);
void sigpending_flush(struct sigpending *p);
struct sighand *sighand_new(void);
void sighand_put(struct sighand *s);

/* Send. info may be NULL (SI_KERNEL). 0, or -EAGAIN when an RT queue is full (RLIMIT_SIGPENDING). */
int send_signal_process(struct process *p, int sig, const struct guest_siginfo *info);
int send_signal_task(struct task *t, int sig, const struct guest_siginfo *info);
int send_signal_pgrp(int pgrp, int sig, const struct guest_siginfo *info); /* number of processes reached, or -ESRCH */
/* A synchronous fault: unblockable by mask or ignore (then the default action is taken). */
void force_signal(struct task *t, int sig, const struct guest_siginfo *info);
/* A deliverable signal, a stop or death is waiting. */
bool signal_pending(const struct task *t);
/* Recompute and wake or kick the task when something is deliverable. */
void signal_poke(struct task *t);
/* Before going back to the guest: handle stops, deaths, frames and restarts. ret: the call's result (in_syscall). May not return
 * when the task dies (see task_die). */
void signal_deliver(struct task *t, bool in_syscall, long ret);
/* Take one pending signal of the set, 0 when none (sigtimedwait, signalfd). */
int signal_dequeue(struct task *t, uint64_t set, struct guest_siginfo *info);
uint64_t signal_pending_set(const struct task *t);
void task_set_mask(struct task *t, uint64_t mask);
/* Write a signal frame and enter the handler; false when the stack is bad. */
bool sigframe_push(struct task *t, int sig, const struct guest_siginfo *info, const struct guest_sigaction *sa, uint64_t old_mask);
/* rt_sigreturn: read the frame back; false when it is bad. */
bool sigframe_pop(struct task *t);
bool signal_default_ignored(int sig);
bool signal_default_stops(int sig);

#endif
