/* clone, fork, vfork: a new task with what it shares and what it copies. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

#define NS_FLAGS ((uint64_t)(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP))

static int check_flags(struct task *t, const struct clone_args_k *c)
{
	uint64_t f = c->flags;
	if ((f & CLONE_SIGHAND) && !(f & CLONE_VM))
		return -EINVAL;
	if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND))
		return -EINVAL;
	if ((f & (CLONE_NEWNS | CLONE_FS)) == (CLONE_NEWNS | CLONE_FS))
		return -EINVAL;
	if ((f & CLONE_PARENT) && t->proc == K.init)
		return -EINVAL;
	if ((f & (CLONE_NEWUSER | CLONE_FS)) == (CLONE_NEWUSER | CLONE_FS) || (f & (CLONE_NEWUSER | CLONE_THREAD)) == (CLONE_NEWUSER | CLONE_THREAD))
		return -EINVAL;
	/* memory is shared only with threads and with a vfork child (until its exec) */
	return 0;
}

static int share(struct task *t, struct task *n, const struct clone_args_k *c)
{
	uint64_t f = c->flags;
	if (!(n->cred = f & CLONE_NEWUSER ? cred_dup(t->cred) : cred_get(t->cred)))
		return -ENOMEM;
	int rc = f & CLONE_NEWUSER ? userns_create(t, n->cred) : 0;
	if (rc)
		return rc;
	if (f & NS_FLAGS & ~(uint64_t)CLONE_NEWUSER) {
		/* the new namespaces belong to the new user namespace, in which their maker has all capabilities */
		if (!(f & CLONE_NEWUSER) && !ns_capable_here(t, CAP_SYS_ADMIN))
			return -EPERM;
		if (f & (CLONE_NEWPID | CLONE_NEWNET))
			return -EINVAL;
		if (!(n->ns = nsproxy_copy(t->ns, f, n->cred->user)))
			return -ENOMEM;
	} else {
		n->ns = nsproxy_get(t->ns);
	}
	if (f & CLONE_FILES) {
		n->files = t->files;
		n->files->refs++;
	} else if (!(n->files = fdtable_dup(t->files))) {
		return -ENOMEM;
	}
	if (f & CLONE_FS) {
		n->fs = t->fs;
		n->fs->refs++;
	} else if (!(n->fs = fs_context_dup(t->fs))) {
		return -ENOMEM;
	}
	if ((f & CLONE_NEWNS) && (rc = fs_unshare_mounts(n->fs, n->cred->user)) < 0)
		return rc;
	if (f & CLONE_VM) {
		n->mm = t->mm;
		n->mm->refs++;
	} else if (!(n->mm = mm_dup(t->mm))) {
		return -ENOMEM;
	}
	if (f & CLONE_SIGHAND) {
		n->sighand = t->sighand;
		n->sighand->refs++;
	} else {
		if (!(n->sighand = sighand_new()))
			return -ENOMEM;
		for (unsigned i = 0; i < NSIG_; i++)
			if (!c->clear_sighand || t->sighand->action[i].handler == 1)
				n->sighand->action[i] = t->sighand->action[i];
	}
	memcpy(n->comm, t->comm, sizeof(n->comm));
	n->blocked = t->blocked;
	n->no_new_privs = t->no_new_privs;
	n->seccomp_mode = t->seccomp_mode;
	n->seccomp = t->seccomp ? seccomp_get(t->seccomp) : NULL;
	n->personality = t->personality;
	n->timer_slack = t->timer_slack;
	if (t->affinity && (n->affinity = malloc(sizeof(*n->affinity))))
		*n->affinity = *t->affinity;
	if (!t->sched_reset_on_fork || (t->sched_policy != SCHED_FIFO && t->sched_policy != SCHED_RR)) { /* sched(7) */
		n->sched_policy = t->sched_policy;
		n->sched_prio = t->sched_prio;
	}
	n->ioprio = t->ioprio;
	if (!(f & CLONE_VM) || (f & CLONE_VFORK)) { /* as Linux: kept unless memory is shared without vfork */
		n->altstack_sp = t->altstack_sp;
		n->altstack_size = t->altstack_size;
		n->altstack_flags = t->altstack_flags;
	}
	return 0;
}

static struct process *new_process(struct task *t, const struct clone_args_k *c)
{
	struct process *p = process_alloc(), *from = t->proc;
	if (!p)
		return NULL;
	memcpy(p->rlim, from->rlim, sizeof(p->rlim));
	p->exit_signal = c->exit_signal;
	p->oom_score_adj = from->oom_score_adj;
	p->nice = from->nice;
	p->dumpable = from->dumpable;
	memcpy(p->mm_args, from->mm_args, sizeof(p->mm_args));
	p->exe_path = from->exe_path ? strdup(from->exe_path) : NULL;
	if (from->cmdline) {
		p->cmdline = malloc(from->cmdline_len + 1);
		if (p->cmdline) {
			memcpy(p->cmdline, from->cmdline, from->cmdline_len + 1);
			p->cmdline_len = from->cmdline_len;
		}
	}
	p->parent = c->flags & CLONE_PARENT ? from->parent : from;
	if (c->flags & CLONE_PARENT)
		p->exit_signal = from->exit_signal;
	return p;
}

static void free_unstarted(struct task *n, struct process *p)
{
	int tid = n->tid;
	n->dying = true;
	task_free(n);
	pid_free(tid);
	if (p) {
		free(p->exe_path);
		free(p->cmdline);
		free(p);
	}
}

/* The other half of what task_clone() set up for a process whose twin could not be started. */
static void unlist(struct process *p)
{
	list_del(&p->sibling);
	process_set_pgrp(p, NULL);
	process_bind(p->pid, NULL);
	K.n_processes--;
}

/* The clone failed after the twin was started: it leaves as a task that never ran. */
static void miscarry(struct task *n, struct process *own)
{
	n->never_ran = true;
	n->mb->ctid = 0;
	if (own) {
		own->exit_signal = 0;
		own->auto_reap = true;
		process_kill(own, SIGKILL);
	} else {
		task_mark_dying(n);
	}
}

/* From here on n may be gone at any time the lock is dropped. */
static void born(struct task *n)
{
	n->unborn = false;
	pthread_cond_signal(&n->cond);
}

static unsigned user_processes(const struct task *t)
{
	unsigned n = 0;
	for (struct process *p = process_next(0); p; p = process_next(p->pid))
		if (p->leader && !p->zombie && p->leader->cred->uid == t->cred->uid)
			n += p->n_threads;
	return n;
}

/* The child may be gone, and its wait queue with it, before the parent runs: leave the queue at once. */
static void wake_and_leave(struct waiter *w, unsigned events)
{
	(void)events;
	waitq_del(w);
	task_wake(w->task);
}

long task_clone(struct task *t, const struct clone_args_k *c)
{
	uint64_t f = c->flags;
	int kind = f & CLONE_THREAD ? GATE_THREAD : f & CLONE_VM ? GATE_VFORK : GATE_FORK;
	int rc = check_flags(t, c);
	if (rc)
		return rc;
	rlim_t limit = t->proc->rlim[RLIMIT_NPROC].rlim_cur;
	if (limit != RLIM_INFINITY && t->cred->uid && !capable(t, CAP_SYS_RESOURCE) && !capable(t, CAP_SYS_ADMIN) && user_processes(t) >= limit)
		return -EAGAIN;
	if (K.pids_limit && K.n_tasks >= K.pids_limit)
		return -EAGAIN;
	struct process *p = f & CLONE_THREAD ? t->proc : new_process(t, c);
	if (!p)
		return -ENOMEM;
	struct task *n = task_alloc(p);
	if (!n) {
		if (p != t->proc)
			free(p);
		return -EAGAIN;
	}
	/* fork copies host memory and book: neither changes meanwhile, and no page of code is half-way through a patch */
	bool locked = kind == GATE_FORK && (rc = mm_lock(t)) == 0;
	if (rc || (rc = share(t, n, c)) < 0 || (rc = gate_prepare(t, n, kind)) < 0) {
		if (locked)
			mm_unlock(t);
		free_unstarted(n, p == t->proc ? NULL : p);
		return rc;
	}
	n->regs->rax = 0;
	if (c->stack)
		n->regs->rsp = c->stack;
	if (f & CLONE_CHILD_CLEARTID)
		n->clear_child_tid = c->child_tid;
	if (p != t->proc) {
		p->pid = n->tid;
		p->leader = n;
		process_bind(p->pid, p);
		list_add_tail(&p->parent->children, &p->sibling);
		process_set_pgrp(p, t->proc->pgrp);
		p->vfork_pending = f & CLONE_VFORK;
		K.forks++;
		if (p->rlim[RLIMIT_CPU].rlim_cur != RLIM_INFINITY)
			cpu_limit_changed(p);
		K.n_processes++;
	}
	int tid = n->tid;
	uint32_t tid32 = (uint32_t)tid;
	if ((f & CLONE_PARENT_SETTID) && copyout(t, c->parent_tid, &tid32, 4) < 0)
		f &= ~(uint64_t)CLONE_PARENT_SETTID; /* Linux ignores the fault too */
	if ((f & CLONE_CHILD_SETTID) && kind != GATE_FORK && copyout(t, c->child_tid, &tid32, 4) < 0)
		f &= ~(uint64_t)CLONE_CHILD_SETTID;
	if (kind == GATE_FORK && (f & CLONE_CHILD_SETTID))
		n->set_child_tid = c->child_tid; /* written at hello: the memory does not exist yet */
	n->unborn = true;
	bool started = (rc = task_start(n)) == 0;
	if (started)
		rc = gate_clone(t, n, kind, c->tls, f & CLONE_SETTLS);
	if (locked)
		mm_unlock(t);
	if (!started) {
		if (p != t->proc)
			unlist(p);
		n->mb->ctid = 0;
		free_unstarted(n, p == t->proc ? NULL : p);
		return -EAGAIN;
	}
	if (rc < 0) {
		miscarry(n, p == t->proc ? NULL : p);
		born(n);
		return rc == -ENOMEM ? -ENOMEM : -EAGAIN;
	}
	born(n);
	if (f & CLONE_VFORK) {
		struct waiter w;
		waiter_init(&w, t);
		if (process_by_pid(tid) == p && p->vfork_pending)
			waitq_add(&p->vfork_wait, &w);
		w.fn = wake_and_leave;
		while (w.q)
			if (task_sleep_killable(t, -1) == -EINTR)
				break;
		if (w.q)
			waitq_del(&w);
	}
	return tid;
}
