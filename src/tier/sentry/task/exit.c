/* The end of tasks and processes: duties, zombies, reparenting, notification; deaths that the host reports. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tier/sentry/abi/strace.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/service.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/vfs/vfs.h"

void task_mark_dying(struct task *t)
{
	if (t->dying)
		return;
	t->dying = true;
	gate_poke(t);
}

void process_kill(struct process *p, int status)
{
	struct task *t;
	if (!p->exiting) {
		p->exiting = true;
		p->exit_status = status;
	}
	list_for_each(t, &p->threads, thread_node) {
		if (t->as && !t->as->gone && !t->dying)
			as_kill(t->as);
		task_mark_dying(t);
	}
}

static void vfork_done(struct process *p)
{
	if (!p->vfork_pending)
		return;
	p->vfork_pending = false;
	waitq_wake(&p->vfork_wait, 0);
}
void process_vfork_done(struct process *p) { vfork_done(p); }

void process_notify_parent(struct process *p, int code, int status)
{
	struct process *parent = p->parent;
	if (!parent)
		return;
	struct guest_siginfo si = { .signo = SIGCHLD, .code = code };
	struct rusage ru;
	process_rusage(p, &ru);
	si.chld.pid = p->pid;
	si.chld.uid = p->uid;
	si.chld.status = status;
	si.chld.utime = ru.ru_utime.tv_sec * 100 + ru.ru_utime.tv_usec / 10000;
	si.chld.stime = ru.ru_stime.tv_sec * 100 + ru.ru_stime.tv_usec / 10000;
	int sig = p->zombie ? p->exit_signal : SIGCHLD;
	si.signo = sig;
	const struct guest_sigaction *sa = parent->leader ? &parent->leader->sighand->action[SIGCHLD - 1] : NULL;
	if (!p->zombie && sa && (sa->flags & SA_NOCLDSTOP))
		sig = 0;
	if (sig)
		send_signal_process(parent, sig, &si);
	waitq_wake(&parent->child_wait, 0);
}

/* Someone to inherit orphans: the nearest sub-reaper, else init. */
static struct process *reaper_of(struct process *p)
{
	for (struct process *q = p->parent; q; q = q->parent)
		if (q->child_subreaper && !q->exiting)
			return q;
	return K.init;
}

static bool ignores_children(const struct process *p)
{
	if (!p->leader || !p->leader->sighand)
		return false;
	const struct guest_sigaction *sa = &p->leader->sighand->action[SIGCHLD - 1];
	return sa->handler == 1 || (sa->flags & SA_NOCLDWAIT);
}

void process_reparent_children(struct process *p)
{
	struct process *c, *n, *to = reaper_of(p);
	if (to == p)
		return;
	list_for_each_safe(c, n, &p->children, sibling) {
		list_del(&c->sibling);
		c->parent = to;
		c->exit_signal = c->exit_signal ? SIGCHLD : 0;
		list_add_tail(&to->children, &c->sibling);
		if (c->pdeath_signal && !c->zombie)
			send_signal_process(c, c->pdeath_signal, NULL);
		if (c->zombie) {
			if (ignores_children(to))
				process_reap(c);
			else
				process_notify_parent(c, WIFEXITED(c->exit_status) ? CLD_EXITED : CLD_KILLED,
					WIFEXITED(c->exit_status) ? WEXITSTATUS(c->exit_status) : WTERMSIG(c->exit_status));
		}
	}
}

void process_reap(struct process *p)
{
	if (p->parent) {
		rusage_add(&p->parent->ru_children, &p->ru_dead_threads);
		rusage_add(&p->parent->ru_children, &p->ru_children);
	}
	list_del(&p->sibling);
	process_set_pgrp(p, NULL);
	process_bind(p->pid, NULL);
	pid_free(p->pid);
	sigpending_flush(&p->shared_pending);
	free(p->exe_path);
	free(p->cmdline);
	K.n_processes--;
	free(p);
}

/* A stopped group that loses its last tie to the session gets HUP and CONT (POSIX). */
static void orphan_check(struct process *dead)
{
	struct process *c;
	list_for_each(c, &dead->children, sibling) {
		struct process *m;
		bool orphaned = true, stopped = false;
		if (!c->pgrp || c->pgrp->session != (dead->pgrp ? dead->pgrp->session : NULL) || c->pgrp == dead->pgrp)
			continue;
		list_for_each(m, &c->pgrp->procs, pgrp_node) {
			stopped |= m->stopped;
			if (m->parent && m->parent != dead && m->parent->pgrp != c->pgrp && m->parent->pgrp->session == c->pgrp->session && m->parent != K.init)
				orphaned = false;
		}
		if (orphaned && stopped) {
			int g = c->pgrp->pgid;
			send_signal_pgrp(g, SIGHUP, NULL);
			send_signal_pgrp(g, SIGCONT, NULL);
		}
	}
}

static void session_leader_exit(struct process *p)
{
	if (!p->pgrp || p->pgrp->session->sid != p->pid || !p->pgrp->session->tty)
		return;
	tty_session_gone(p->pgrp->session);
}

static void zombie(struct process *p, struct task *last)
{
	ktimer_cancel(&p->itimer_real.timer);
	cpu_process_exit(p);
	posix_timers_drop(p);
	p->uid = last->cred->uid;
	orphan_check(p);
	session_leader_exit(p);
	process_reparent_children(p);
	vfork_done(p);
	p->zombie = true;
	p->leader = NULL;
	mq_process_exit(p);
	pidfd_exited();
	if (p->hostctx)
		control_exec_done(p, p->exit_status);
	if (p == K.init) {
		K.exit_status = p->exit_status;
		K.shutting_down = true;
		for (struct process *q = process_next(0); q; q = process_next(q->pid))
			if (q != p)
				process_kill(q, SIGKILL);
		pthread_cond_broadcast(&K.done);
		return;
	}
	bool ignored = p->parent && ignores_children(p->parent);
	if (p->exit_signal || !p->auto_reap)
		process_notify_parent(p, WIFEXITED(p->exit_status) ? CLD_EXITED : WCOREDUMP(p->exit_status) ? CLD_DUMPED : CLD_KILLED,
			WIFEXITED(p->exit_status) ? WEXITSTATUS(p->exit_status) : WTERMSIG(p->exit_status));
	if (p->auto_reap || (ignored && p->exit_signal == SIGCHLD))
		process_reap(p);
}

/* The other threads still run here, as they may on Linux while the group exits. */
void process_exit_duties(struct task *t)
{
	if (t->mm->refs > t->proc->n_threads) /* memory that others go on using: robust futexes and clear_child_tid matter to them */
		futex_exit(t);
}

/* Last act of a twin: called with the lock, the task is freed. */
void task_exit(struct task *t)
{
	struct process *p = t->proc;
	bool last = p->n_threads == 1, leader = p->leader == t, is_pid = t->tid == p->pid;
	int tid = t->tid;
	if (K.opt->strace && !t->never_ran)
		strace_note(t, p->exiting ? "process ends" : "thread ends");
	if (!p->exiting && last) {
		p->exiting = true;
		p->exit_status = (t->exit_code & 0xff) << 8;
	}
	if (!t->never_ran && !p->exiting)
		futex_exit(t);
	struct rusage ru;
	task_rusage(t, &ru);
	rusage_add(&p->ru_dead_threads, &ru);
	p->cpu_dead_ns += task_cpu_ns(t, false);
	grants_drop_task(t);
	if (t->mm && t->mm->map_owner == t)
		mm_unlock(t);
	ipc_task_exit(t, last);
	if (last) {
		if (t->as)
			as_kill(t->as);
	} else if (t->mb && !p->exiting && !t->never_ran && !(t->as && (int)t->host_tid == t->as->pid)) {
		gate_exit_thread(t); /* the host leader stays parked: its pid must stay ours */
	}
	list_del(&t->thread_node);
	p->n_threads--;
	K.n_tasks--;
	/* files before the zombie is seen: a parent that waits must find pipes closed and locks free */
	if (t->files) {
		fdtable_put(t, t->files);
		t->files = NULL;
	}
	if (t->fs) {
		fs_context_put(t->fs);
		t->fs = NULL;
	}
	pid_bind(tid, NULL);
	if (leader && !last)
		p->leader = list_first(&p->threads, struct task, thread_node); /* any thread stands for the process */
	if (last)
		zombie(p, t);
	else
		waitq_wake(&p->exec_wait, 0);
	task_free(t);
	if (!is_pid) /* p may be gone */
		pid_free(tid);
}

/* ---- deaths on the host -------------------------------------------------------------------------------------------- */

void process_host_death(int host_pid, int status)
{
	struct host_as *as;
	list_for_each(as, &all_as, node) {
		if (as->pid != host_pid || as->gone)
			continue;
		as->gone = true;
		for (struct process *p = process_next(0); p; p = process_next(p->pid)) {
			struct task *t;
			bool hit = false;
			list_for_each(t, &p->threads, thread_node)
				hit |= t->as == as;
			if (!hit)
				continue;
			if (!p->exiting)
				klog("process %d (%s): host process ended with status %#x", p->pid, p->exe_path ? p->exe_path : "?", (unsigned)status);
			process_kill(p, WIFSIGNALED(status) ? WTERMSIG(status) : SIGKILL);
			list_for_each(t, &p->threads, thread_node)
				gate_poke(t);
			break;
		}
		return;
	}
}

static void *reaper_main(void *arg)
{
	(void)arg;
	for (;;) {
		siginfo_t si = { 0 };
		if (waitid(P_ALL, 0, &si, WEXITED | WNOWAIT | __WALL) < 0) {
			if (errno == ECHILD)
				return NULL;
			continue;
		}
		int status = si.si_code == CLD_EXITED ? si.si_status << 8 : si.si_status;
		kernel_lock();
		process_host_death(si.si_pid, status);
		waitid(P_PID, (id_t)si.si_pid, &si, WEXITED | __WALL);
		kernel_unlock();
	}
}

int reaper_start(struct err *e)
{
	int rc = service_thread(reaper_main, NULL);
	return rc ? err_sys(e, rc, "reaper thread") : 0;
}
