/* Signal calls. */
#include <errno.h>
#include <string.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/mm/usermem.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

bool may_signal(const struct task *t, const struct process *p, int sig)
{
	const struct cred *c = t->cred;
	const struct task *o = p->leader;
	if (p == t->proc || !o || ns_capable(t, o->cred->user, CAP_KILL))
		return true;
	if (c->euid == o->cred->uid || c->euid == o->cred->suid || c->uid == o->cred->uid || c->uid == o->cred->suid)
		return true;
	return sig == SIGCONT && p->pgrp && t->proc->pgrp && p->pgrp->session == t->proc->pgrp->session;
}

static struct guest_siginfo info_of(struct task *t, int sig, int code)
{
	struct guest_siginfo si = { .signo = sig, .code = code };
	si.kill.pid = t->proc->pid;
	si.kill.uid = t->cred->uid;
	return si;
}

long sys_rt_sigaction(struct task *t, const uint64_t *a)
{
	int sig = (int)a[0];
	struct guest_sigaction sa, old;
	if (a[3] != 8)
		return -EINVAL;
	if (sig < 1 || sig > NSIG_ || (a[1] && (sig == SIGKILL || sig == SIGSTOP)))
		return -EINVAL;
	old = t->sighand->action[sig - 1];
	if (a[1]) {
		if (copyin(t, &sa, a[1], sizeof(sa)) < 0)
			return -EFAULT;
		sa.mask &= ~SIG_UNBLOCKABLE;
		sa.flags &= 0xdc000807ull; /* what Linux keeps: unknown bits are cleared, so that programs can probe */
		t->sighand->action[sig - 1] = sa;
		if (sa.handler == 1 || (sa.handler == 0 && signal_default_ignored(sig))) { /* POSIX 3.3.1.3: pending ones are discarded */
			struct guest_siginfo drop;
			struct task *o;
			list_for_each(o, &t->proc->threads, thread_node)
				while (signal_dequeue(o, SIG_BIT(sig), &drop))
					;
		}
	}
	return a[2] ? copyout(t, a[2], &old, sizeof(old)) : 0;
}

long sys_rt_sigprocmask(struct task *t, const uint64_t *a)
{
	uint64_t set, old = t->blocked;
	if (a[3] != 8)
		return -EINVAL;
	if (a[1]) {
		if (copyin(t, &set, a[1], 8) < 0)
			return -EFAULT;
		switch ((int)a[0]) {
		case SIG_BLOCK: set |= old; break;
		case SIG_UNBLOCK: set = old & ~set; break;
		case SIG_SETMASK: break;
		default: return -EINVAL;
		}
		task_set_mask(t, set);
	}
	return a[2] ? copyout(t, a[2], &old, 8) : 0;
}

long sys_rt_sigreturn(struct task *t, const uint64_t *a)
{
	(void)a;
	t->no_result = true;
	if (!sigframe_pop(t))
		force_signal(t, SIGSEGV, NULL);
	return 0;
}

long sys_rt_sigpending(struct task *t, const uint64_t *a)
{
	uint64_t set = signal_pending_set(t) & t->blocked;
	if (a[1] > 8)
		return -EINVAL;
	return copyout(t, a[0], &set, a[1]);
}

long sys_rt_sigsuspend(struct task *t, const uint64_t *a)
{
	uint64_t set;
	if (a[1] != 8)
		return -EINVAL;
	if (copyin(t, &set, a[0], 8) < 0)
		return -EFAULT;
	t->saved_mask = t->blocked;
	t->restore_mask = true;
	task_set_mask(t, set);
	while (task_sleep(t, -1) == 0)
		;
	return -ERESTARTNOHAND;
}

long sys_pause(struct task *t, const uint64_t *a)
{
	(void)a;
	while (task_sleep(t, -1) == 0)
		;
	return -ERESTARTNOHAND;
}

long sys_rt_sigtimedwait(struct task *t, const uint64_t *a)
{
	struct guest_siginfo si;
	struct timespec ts;
	uint64_t set, old = t->blocked;
	int64_t deadline = -1;
	int sig, rc = 0;
	if (a[3] != 8)
		return -EINVAL;
	if (copyin(t, &set, a[0], 8) < 0)
		return -EFAULT;
	if (a[2]) {
		if (copyin(t, &ts, a[2], sizeof(ts)) < 0)
			return -EFAULT;
		if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= 1000000000)
			return -EINVAL;
		deadline = now_ns(CLOCK_MONOTONIC) + MIN(ts.tv_sec, (time_t)4000000000) * 1000000000ll + ts.tv_nsec;
	}
	set &= ~SIG_UNBLOCKABLE;
	task_set_mask(t, old & ~set); /* as Linux: the wanted signals are unblocked while we wait, so that they are sent to us */
	while (!(sig = signal_dequeue(t, set, &si)) && !rc)
		rc = task_sleep(t, deadline);
	if (!sig)
		sig = signal_dequeue(t, set, &si);
	t->blocked = old;
	if (!sig)
		return rc == -ETIMEDOUT ? -EAGAIN : -EINTR;
	if (a[1] && copyout(t, a[1], &si, sizeof(si)) < 0)
		return -EFAULT;
	return sig;
}

long sys_kill(struct task *t, const uint64_t *a)
{
	int pid = (int)a[0], sig = (int)a[1], reached = 0, denied = 0;
	if (sig < 0 || sig > NSIG_)
		return -EINVAL;
	struct guest_siginfo si = info_of(t, sig, SI_USER);
	if (pid > 0) {
		struct process *p = process_by_pid(pid);
		struct task *o = p ? NULL : task_by_tid(pid);
		if (o)
			p = o->proc;
		if (!p)
			return -ESRCH;
		if (!may_signal(t, p, sig))
			return -EPERM;
		return sig ? send_signal_process(p, sig, &si) : 0;
	}
	if (pid == INT32_MIN)
		return -ESRCH;
	int group = pid == 0 ? t->proc->pgrp->pgid : -pid;
	for (struct process *p = process_next(0), *n; p; p = n) {
		int id = p->pid;
		if (pid == -1 ? (p != K.init && p != t->proc) : (p->pgrp && p->pgrp->pgid == group)) {
			if (!may_signal(t, p, sig)) {
				denied++;
			} else {
				reached++;
				if (sig)
					send_signal_process(p, sig, &si);
			}
		}
		n = process_next(id);
	}
	return reached ? 0 : denied ? -EPERM : -ESRCH;
}

static long to_thread(struct task *t, int tgid, int tid, int sig, const struct guest_siginfo *si)
{
	struct task *o = task_by_tid(tid);
	if (sig < 0 || sig > NSIG_)
		return -EINVAL;
	if (!o) { /* a zombie or exited leader still takes the null signal */
		struct process *p = process_by_pid(tid);
		return p && (tgid <= 0 || tgid == p->pid) ? 0 : -ESRCH;
	}
	if (tgid > 0 && o->proc->pid != tgid)
		return -ESRCH;
	if (!may_signal(t, o->proc, sig))
		return -EPERM;
	return sig ? send_signal_task(o, sig, si) : 0;
}

long sys_tkill(struct task *t, const uint64_t *a)
{
	struct guest_siginfo si = info_of(t, (int)a[1], SI_TKILL);
	return (int)a[0] <= 0 ? -EINVAL : to_thread(t, 0, (int)a[0], (int)a[1], &si);
}

long sys_tgkill(struct task *t, const uint64_t *a)
{
	struct guest_siginfo si = info_of(t, (int)a[2], SI_TKILL);
	return (int)a[0] <= 0 || (int)a[1] <= 0 ? -EINVAL : to_thread(t, (int)a[0], (int)a[1], (int)a[2], &si);
}

static int queue_info(struct task *t, uint64_t ptr, int sig, bool own, struct guest_siginfo *si)
{
	if (copyin(t, si, ptr, sizeof(*si)) < 0)
		return -EFAULT;
	if ((si->code >= 0 || si->code == SI_TKILL) && !own)
		return -EPERM;
	si->signo = sig;
	return 0;
}

long sys_rt_sigqueueinfo(struct task *t, const uint64_t *a)
{
	struct guest_siginfo si;
	int sig = (int)a[1];
	struct process *p = process_by_pid((int)a[0]);
	int rc = queue_info(t, a[2], sig, p == t->proc, &si);
	if (rc)
		return rc;
	if (sig < 0 || sig > NSIG_)
		return -EINVAL;
	if (!p)
		return -ESRCH;
	if (!may_signal(t, p, sig))
		return -EPERM;
	return sig ? send_signal_process(p, sig, &si) : 0;
}

long sys_rt_tgsigqueueinfo(struct task *t, const uint64_t *a)
{
	struct guest_siginfo si;
	if ((int)a[0] <= 0 || (int)a[1] <= 0)
		return -EINVAL;
	int rc = queue_info(t, a[3], (int)a[2], (int)a[0] == t->proc->pid, &si);
	return rc ? rc : to_thread(t, (int)a[0], (int)a[1], (int)a[2], &si);
}

long sys_sigaltstack(struct task *t, const uint64_t *a)
{
	struct { uint64_t sp; int32_t flags, pad; uint64_t size; } ss, old = { t->altstack_sp, (int32_t)t->altstack_flags, 0, t->altstack_size };
	bool on = !(t->altstack_flags & 2) && t->regs->rsp > t->altstack_sp && t->regs->rsp - t->altstack_sp <= t->altstack_size;
	if (on)
		old.flags |= 1;
	if (a[0]) {
		if (copyin(t, &ss, a[0], sizeof(ss)) < 0)
			return -EFAULT;
		if (on)
			return -EPERM;
		uint32_t mode = (uint32_t)ss.flags & ~0x80000000u;
		if (mode > 2 || mode == 3)
			return -EINVAL;
		if (mode == 2) {
			ss.sp = ss.size = 0;
		} else if (ss.size < 2048) {
			return -ENOMEM;
		}
		t->altstack_sp = ss.sp;
		t->altstack_size = ss.size;
		t->altstack_flags = mode == 2 ? 2 : (uint32_t)ss.flags & 0x80000000u;
	}
	return a[1] ? copyout(t, a[1], &old, sizeof(old)) : 0;
}

long sys_restart_syscall(struct task *t, const uint64_t *a)
{
	(void)a;
	if (!t->restart_fn)
		return -EINTR;
	return t->restart_fn(t, t->restart_args);
}
