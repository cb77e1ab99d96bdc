/* Making and unmaking tasks; the twin's loop. */
#include "tier/sentry/task/task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tier/sentry/abi/strace.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/service.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/vfs/vfs.h"

__thread struct task *current_task;

struct process *process_alloc(void)
{
	struct process *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	list_init(&p->children);
	list_init(&p->sibling);
	list_init(&p->threads);
	list_init(&p->pgrp_node);
	list_init(&p->posix_timers);
	waitq_init(&p->child_wait);
	waitq_init(&p->vfork_wait);
	waitq_init(&p->exec_wait);
	waitq_init(&p->signalfd_wait);
	sigpending_init(&p->shared_pending);
	p->exit_signal = SIGCHLD;
	p->dumpable = true;
	p->start_ns = now_ns(CLOCK_BOOTTIME) - K.boot_ns;
	return p;
}

struct task *task_alloc(struct process *p)
{
	struct task *t = calloc(1, sizeof(*t));
	pthread_condattr_t a;
	if (!t)
		return NULL;
	int tid = pid_alloc();
	if (tid < 0) {
		free(t);
		return NULL;
	}
	t->tid = tid;
	t->proc = p;
	list_init(&t->thread_node);
	list_init(&t->hash);
	sigpending_init(&t->pending);
	t->altstack_flags = 2; /* SS_DISABLE */
	t->timer_slack = 50000;
	t->start_ns = now_ns(CLOCK_BOOTTIME) - K.boot_ns;
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&t->cond, &a);
	pthread_condattr_destroy(&a);
	return t;
}

/* Releases what a task holds; for tasks that were never started too. The tid stays with its process when it is the pid. */
void task_free(struct task *t)
{
	if (t->files)
		fdtable_put(t, t->files);
	if (t->fs)
		fs_context_put(t->fs);
	if (t->ns)
		nsproxy_put(t->ns);
	if (t->seccomp)
		seccomp_put(t->seccomp);
	if (t->mm)
		mm_put(t->mm);
	if (t->sighand)
		sighand_put(t->sighand);
	if (t->cred)
		cred_put(t->cred);
	sigpending_flush(&t->pending);
	gate_release(t);
	pthread_cond_destroy(&t->cond);
	free(t->buf);
	free(t->affinity);
	free(t);
}

void *task_buf(struct task *t)
{
	if (!t->buf)
		t->buf = aligned_alloc(4096, TASK_BUF); /* direct I/O asks for that */
	return t->buf;
}

int task_start(struct task *t)
{
	int rc = thread_make(&t->thread, twin_main, t);
	if (rc)
		return rc;
	pthread_detach(t->thread);
	pid_bind(t->tid, t);
	list_add_tail(&t->proc->threads, &t->thread_node);
	t->proc->n_threads++;
	K.n_tasks++;
	return 0;
}

void task_set_comm(struct task *t, const char *path)
{
	const char *s = strrchr(path, '/');
	snprintf(t->comm, sizeof(t->comm), "%s", s ? s + 1 : path);
}

static void snapshot(struct task *t)
{
	/* one snapshot: the guest may change the mailbox while we work */
	t->nr = __atomic_load_n(&t->mb->nr, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 6; i++)
		t->args[i] = __atomic_load_n(&t->mb->args[i], __ATOMIC_RELAXED);
	t->in_syscall = true;
	t->no_result = false;
}

static void handle_syscall(struct task *t)
{
	snapshot(t);
	long ret = dispatch(t);
	if (t->dying)
		return;
	if (t->no_result) {
		signal_deliver(t, false, 0);
	} else {
		t->regs->rax = (uint64_t)ret;
		patch_note(t);
		if (t->dying)
			return;
		signal_deliver(t, true, ret);
	}
	t->in_syscall = false;
}

/* True when the guest is to continue at its frame (else it was answered already, or dies). */
static bool handle_fastcall(struct task *t)
{
	snapshot(t);
	long ret = dispatch(t);
	if (t->dying)
		return false;
	if (!signal_pending(t) && !t->restore_mask && (ret >= 0 || ret < -ERESTART_RESTARTBLOCK || ret > -ERESTARTSYS)) {
		t->in_syscall = false;
		gate_return(t, ret);
		return false;
	}
	if (gate_frame(t, ret) < 0)
		return false;
	signal_deliver(t, true, ret);
	t->in_syscall = false;
	return true;
}

/* A kick may find the guest in a trampoline: it goes on as if it had not entered it. */
static void handle_kick(struct task *t)
{
	t->regs->rip = patch_site_of(t->mm, t->regs->rip);
	signal_deliver(t, false, 0);
}

static void handle_fault(struct task *t)
{
	struct guest_siginfo si = { 0 };
	si.signo = (int32_t)t->mb->signo;
	si.code = t->mb->code;
	si.fault.addr = t->mb->fault_addr;
	if (si.signo < 1 || si.signo > NSIG_)
		si.signo = SIGSEGV;
	if (si.signo == SIGSEGV && si.fault.addr == t->regs->rip && patch_race(t, si.fault.addr))
		return;
	force_signal(t, si.signo, &si);
	signal_deliver(t, false, 0);
}

static bool handle_hello(struct task *t)
{
	if (!t->host_tid || !t->as->pid) {
		klog("task %d: hello without identity, killed", t->tid);
		process_kill(t->proc, SIGKILL);
		return false;
	}
	signal_deliver(t, false, 0);
	return true;
}

void *twin_main(void *arg)
{
	struct task *t = arg;
	current_task = t;
	kernel_lock();
	if (t->first && !t->dying)
		t->first(t);
	while (!t->dying) {
		if (gate_wait(t) < 0)
			continue;
		switch (__atomic_load_n(&t->mb->kind, __ATOMIC_RELAXED)) {
		case MB_SYSCALL: handle_syscall(t); break;
		case MB_FAULT: handle_fault(t); break;
		case MB_FASTCALL:
			if (!handle_fastcall(t))
				continue;
			break;
		case MB_FRAME:
		case MB_KICKED: handle_kick(t); break;
		case MB_HELLO: handle_hello(t); break;
		default:
			klog("task %d: bad request, killed", t->tid);
			process_kill(t->proc, SIGKILL);
		}
		if (!t->dying)
			gate_resume(t);
	}
	while (t->unborn)
		pthread_cond_wait(&t->cond, &K.lock);
	task_exit(t);
	kernel_unlock();
	return NULL;
}
