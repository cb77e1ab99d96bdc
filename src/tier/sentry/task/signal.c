/* Virtual signals: queues, sending, delivery, stops. */
#include "tier/sentry/task/signal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tier/sentry/abi/strace.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/task/exit.h"

enum { SIGQUEUE_MAX = 4096 /* queued RT signals of all tasks: bounds sigqueue() in a loop */ };
static unsigned queued;

#define DEFAULT_IGNORED (SIG_BIT(SIGCHLD) | SIG_BIT(SIGCONT) | SIG_BIT(SIGURG) | SIG_BIT(SIGWINCH))
#define DEFAULT_STOPS (SIG_BIT(SIGSTOP) | SIG_BIT(SIGTSTP) | SIG_BIT(SIGTTIN) | SIG_BIT(SIGTTOU))
#define DEFAULT_CORE (SIG_BIT(SIGQUIT) | SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) | SIG_BIT(SIGABRT) | SIG_BIT(SIGBUS) | SIG_BIT(SIGFPE) | SIG_BIT(SIGSEGV) | \
	SIG_BIT(SIGXCPU) | SIG_BIT(SIGXFSZ) | SIG_BIT(SIGSYS))
#define SYNCHRONOUS (SIG_BIT(SIGSEGV) | SIG_BIT(SIGBUS) | SIG_BIT(SIGILL) | SIG_BIT(SIGTRAP) | SIG_BIT(SIGFPE) | SIG_BIT(SIGSYS))

bool signal_default_ignored(int sig) { return DEFAULT_IGNORED & SIG_BIT(sig); }
bool signal_default_stops(int sig) { return DEFAULT_STOPS & SIG_BIT(sig); }

void sigpending_init(struct sigpending *p)
{
	list_init(&p->queue);
	p->set = 0;
}

static void drop_queued(struct sigqueue *q)
{
	list_del(&q->node);
	free(q);
	queued--;
}

static void remove_set(struct sigpending *p, uint64_t set)
{
	struct sigqueue *q, *n;
	list_for_each_safe(q, n, &p->queue, node)
		if (SIG_BIT(q->info.signo) & set)
			drop_queued(q);
	p->set &= ~set;
}

void sigpending_flush(struct sigpending *p) { remove_set(p, ~0ull); }

struct sighand *sighand_new(void)
{
	struct sighand *s = calloc(1, sizeof(*s));
	if (s)
		s->refs = 1;
	return s;
}

void sighand_put(struct sighand *s)
{
	if (--s->refs == 0)
		free(s);
}

/* ---- sending --------------------------------------------------------------------------------------------------------- */

static int enqueue(struct sigpending *p, int sig, const struct guest_siginfo *info)
{
	bool rt = sig >= 32;
	if (!rt && (p->set & SIG_BIT(sig)))
		return 0;
	struct sigqueue *q = queued < SIGQUEUE_MAX ? malloc(sizeof(*q)) : NULL;
	if (!q) {
		if (rt && info && info->code != SI_USER)
			return -EAGAIN;
		p->set |= SIG_BIT(sig); /* the signal is delivered, its information is lost */
		return 0;
	}
	queued++;
	if (info)
		q->info = *info;
	else
		q->info = (struct guest_siginfo){ .code = SI_KERNEL };
	q->info.signo = sig;
	list_add_tail(&p->queue, &q->node);
	p->set |= SIG_BIT(sig);
	return 0;
}

static bool ignored(const struct task *t, int sig)
{
	uint64_t h = t->sighand->action[sig - 1].handler;
	if (t->blocked & SIG_BIT(sig))
		return false;
	return h == 1 || (h == 0 && signal_default_ignored(sig));
}

uint64_t signal_pending_set(const struct task *t) { return t->pending.set | t->proc->shared_pending.set; }

bool signal_pending(const struct task *t)
{
	return t->dying || t->proc->stopped || (signal_pending_set(t) & ~t->blocked);
}

void signal_poke(struct task *t)
{
	if (!signal_pending(t))
		return;
	if (t->in_guest)
		gate_kick(t);
	else
		task_wake(t);
}

static void resume_process(struct process *p)
{
	struct task *t;
	if (!p->stopped)
		return;
	p->stopped = false;
	p->stop_reported = false;
	p->cont_reported = true;
	list_for_each(t, &p->threads, thread_node)
		task_wake(t);
	process_notify_parent(p, CLD_CONTINUED, SIGCONT);
}

/* Side effects that happen whether or not the signal is then ignored or blocked. */
static void prepare(struct process *p, int sig)
{
	struct task *t;
	uint64_t drop = sig == SIGCONT ? DEFAULT_STOPS : DEFAULT_STOPS & SIG_BIT(sig) ? SIG_BIT(SIGCONT) : 0;
	if (!drop)
		return;
	remove_set(&p->shared_pending, drop);
	list_for_each(t, &p->threads, thread_node)
		remove_set(&t->pending, drop);
	if (sig == SIGCONT)
		resume_process(p);
}

/* init is protected from what it has no handler for, as the first process of a pid namespace is (signals from outside: control.c). */
static bool protected_init(struct process *p, struct task *t, int sig)
{
	return p == K.init && t->sighand->action[sig - 1].handler == 0 && !(t->blocked & SIG_BIT(sig)) && (SIG_UNBLOCKABLE & SIG_BIT(sig) || !signal_default_ignored(sig));
}

int send_signal_task(struct task *t, int sig, const struct guest_siginfo *info)
{
	struct process *p = t->proc;
	if (sig < 1 || sig > NSIG_ || t->dying || p->exiting)
		return 0;
	if (protected_init(p, t, sig) && !(info && info->code > 0 && sig != SIGKILL && sig != SIGSTOP))
		return 0;
	if (sig == SIGKILL) {
		process_kill(p, SIGKILL);
		return 0;
	}
	prepare(p, sig);
	if (ignored(t, sig))
		return 0;
	int rc = enqueue(&t->pending, sig, info);
	if (t->blocked & SIG_BIT(sig)) {
		signalfd_notify(p);
		if (!t->in_guest)
			task_wake(t); /* sigtimedwait */
	}
	signal_poke(t);
	return rc;
}

int send_signal_process(struct process *p, int sig, const struct guest_siginfo *info)
{
	struct task *t, *leader = p->leader;
	if (sig < 1 || sig > NSIG_ || p->exiting || !leader)
		return 0;
	if (protected_init(p, leader, sig))
		return 0;
	if (sig == SIGKILL) {
		process_kill(p, SIGKILL);
		return 0;
	}
	prepare(p, sig);
	if (ignored(leader, sig))
		return 0;
	int rc = enqueue(&p->shared_pending, sig, info);
	signalfd_notify(p);
	if (!(leader->blocked & SIG_BIT(sig))) {
		signal_poke(leader);
		return rc;
	}
	list_for_each(t, &p->threads, thread_node) {
		if (t->blocked & SIG_BIT(sig))
			continue;
		signal_poke(t);
		return rc;
	}
	/* blocked everywhere: sigtimedwait and signalfd may want it */
	list_for_each(t, &p->threads, thread_node)
		if (!t->in_guest)
			task_wake(t);
	return rc;
}

int send_signal_pgrp(int pgrp, int sig, const struct guest_siginfo *info)
{
	struct pgrp *g = pgrp_by_id(pgrp);
	struct process *p, *n;
	int count = 0;
	if (!g)
		return -ESRCH;
	list_for_each_safe(p, n, &g->procs, pgrp_node) {
		if (p->zombie)
			continue;
		count++;
		if (sig)
			send_signal_process(p, sig, info);
	}
	return count ? count : -ESRCH;
}

void force_signal(struct task *t, int sig, const struct guest_siginfo *info)
{
	struct guest_sigaction *sa = &t->sighand->action[sig - 1];
	if (sa->handler == 1 || (t->blocked & SIG_BIT(sig))) {
		sa->handler = 0;
		t->blocked &= ~SIG_BIT(sig);
	}
	t->forced |= SIG_BIT(sig); /* init too dies of its own faults */
	enqueue(&t->pending, sig, info);
}

static int take_from(struct sigpending *p, uint64_t set, struct guest_siginfo *info)
{
	uint64_t m = p->set & set;
	if (!m)
		return 0;
	int sig = __builtin_ctzll(m & SYNCHRONOUS ? m & SYNCHRONOUS : m) + 1;
	struct sigqueue *q, *n;
	bool found = false, more = false;
	*info = (struct guest_siginfo){ .signo = sig, .code = SI_USER };
	list_for_each_safe(q, n, &p->queue, node) {
		if (q->info.signo != sig)
			continue;
		if (found) {
			more = true;
			break;
		}
		*info = q->info;
		drop_queued(q);
		found = true;
	}
	if (!more)
		p->set &= ~SIG_BIT(sig);
	return sig;
}

int signal_dequeue(struct task *t, uint64_t set, struct guest_siginfo *info)
{
	int sig = take_from(&t->pending, set, info);
	return sig ? sig : take_from(&t->proc->shared_pending, set, info);
}

void task_set_mask(struct task *t, uint64_t mask)
{
	t->blocked = mask & ~SIG_UNBLOCKABLE;
}

/* ---- delivery ---------------------------------------------------------------------------------------------------------- */

static void stop_process(struct task *t, int sig)
{
	struct process *p = t->proc;
	struct task *o;
	if (sig != SIGSTOP && p->pgrp) { /* orphaned groups are not stopped by the terminal */
		struct process *m;
		bool tie = false;
		list_for_each(m, &p->pgrp->procs, pgrp_node)
			tie |= m->parent && m->parent->pgrp && m->parent->pgrp != p->pgrp && m->parent->pgrp->session == p->pgrp->session;
		if (!tie)
			return;
	}
	p->stopped = true;
	p->stop_sig = sig;
	p->stop_reported = true;
	p->cont_reported = false;
	list_for_each(o, &p->threads, thread_node)
		if (o != t)
			signal_poke(o);
	process_notify_parent(p, CLD_STOPPED, sig);
}

static void rewind_call(struct task *t, uint64_t nr)
{
	t->regs->rip -= 2;
	t->regs->rax = nr;
}

static void fix_result(struct task *t, long ret, const struct guest_sigaction *sa)
{
	switch (-ret) {
	case ERESTARTSYS:
		if (sa && !(sa->flags & SA_RESTART))
			t->regs->rax = (uint64_t)-EINTR;
		else
			rewind_call(t, t->nr);
		break;
	case ERESTARTNOINTR:
		rewind_call(t, t->nr);
		break;
	case ERESTARTNOHAND:
		if (sa)
			t->regs->rax = (uint64_t)-EINTR;
		else
			rewind_call(t, t->nr);
		break;
	case ERESTART_RESTARTBLOCK:
		if (sa)
			t->regs->rax = (uint64_t)-EINTR;
		else
			rewind_call(t, 219 /* restart_syscall */);
		break;
	}
}

static void run_handler(struct task *t, int sig, const struct guest_siginfo *info)
{
	struct guest_sigaction sa = t->sighand->action[sig - 1];
	uint64_t old = t->restore_mask ? t->saved_mask : t->blocked;
	t->restore_mask = false;
	if (!sigframe_push(t, sig, info, &sa, old)) {
		process_kill(t->proc, SIGSEGV);
		return;
	}
	uint64_t mask = t->blocked | sa.mask;
	if (!(sa.flags & SA_NODEFER))
		mask |= SIG_BIT(sig);
	task_set_mask(t, mask);
	if (sa.flags & SA_RESETHAND)
		t->sighand->action[sig - 1].handler = 0;
}

static void default_action(struct task *t, int sig)
{
	struct process *p = t->proc;
	if (signal_default_ignored(sig))
		return;
	if (signal_default_stops(sig)) {
		stop_process(t, sig);
		return;
	}
	if (p == K.init && !(t->forced & SIG_BIT(sig)) && !p->outside_signal)
		return;
	bool core = DEFAULT_CORE & SIG_BIT(sig);
	/* the status says that a core was dumped where Linux would have tried; the file itself is not written */
	process_kill(p, sig | (core && p->dumpable && p->rlim[RLIMIT_CORE].rlim_cur >= 4096 ? 0x80 : 0));
}

static const char *signal_note(int sig, char buf[32])
{
	const char *n = sigabbrev_np(sig);
	if (n) {
		memcpy(buf, "SIG", 3);
		strncpy(buf + 3, n, 28);
		buf[31] = 0;
	} else {
		memcpy(buf, "SIGRT", 6);
	}
	return buf;
}

void signal_deliver(struct task *t, bool in_syscall, long ret)
{
	struct process *p = t->proc;
	while (!t->dying) {
		struct guest_siginfo info;
		char note[32];
		if (p->stopped) {
			if (task_sleep_killable(t, -1) == -EINTR)
				return;
			continue;
		}
		int sig = signal_dequeue(t, ~t->blocked, &info);
		if (!sig)
			break;
		if (K.opt->strace)
			strace_note(t, signal_note(sig, note));
		const struct guest_sigaction *sa = &t->sighand->action[sig - 1];
		if (sa->handler == 1)
			continue;
		if (sa->handler == 0) {
			default_action(t, sig);
			continue;
		}
		if (in_syscall)
			fix_result(t, ret, sa);
		in_syscall = false;
		run_handler(t, sig, &info);
	}
	t->forced = 0;
	if (t->dying)
		return;
	if (in_syscall)
		fix_result(t, ret, NULL);
	if (t->restore_mask) {
		t->restore_mask = false;
		t->blocked = t->saved_mask;
		if (signal_pending(t)) /* the old mask may let something through that the temporary one held */
			signal_deliver(t, false, 0);
	}
}
