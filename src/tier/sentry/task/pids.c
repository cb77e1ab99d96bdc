/* Process ids, process groups, sessions. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/task/task.h"

static struct task *tasks[PID_MAX_ + 1];     /* by tid */
static uint8_t held[PID_MAX_ + 1];           /* a process, thread, group or session has this number */
static struct list pgrps = LIST_INIT(pgrps);
static int last_pid;

void pids_init(void)
{
	held[0] = 1;
}

static bool pid_busy(int pid)
{
	return held[pid] || tasks[pid] || pgrp_by_id(pid);
}

int pid_alloc(void)
{
	for (int n = 0; n < PID_MAX_; n++) {
		int pid = ++last_pid;
		if (pid >= PID_MAX_)
			pid = last_pid = 300; /* RESERVED_PIDS of Linux: small numbers are not reused */
		if (!pid_busy(pid)) {
			held[pid] = 1;
			return pid;
		}
	}
	return -EAGAIN;
}

int pid_last(void) { return last_pid; }

void pid_free(int pid)
{
	held[pid] = 0;
	tasks[pid] = NULL;
}

void pid_bind(int pid, struct task *t) { tasks[pid] = t; }

struct task *task_by_tid(int tid)
{
	return tid > 0 && tid <= PID_MAX_ ? tasks[tid] : NULL;
}

/* A zombie has lost its tasks: processes are found through a table of their own. */
static struct process *procs[PID_MAX_ + 1];
void process_bind(int pid, struct process *p) { procs[pid] = p; }

struct process *process_by_pid(int pid)
{
	return pid > 0 && pid <= PID_MAX_ ? procs[pid] : NULL;
}

struct process *process_next(int after)
{
	for (int i = after < 0 ? 1 : after + 1; i <= PID_MAX_; i++)
		if (procs[i])
			return procs[i];
	return NULL;
}

struct pgrp *pgrp_by_id(int pgid)
{
	struct pgrp *g;
	list_for_each(g, &pgrps, hash)
		if (g->pgid == pgid)
			return g;
	return NULL;
}

struct session *session_new(int sid)
{
	struct session *s = calloc(1, sizeof(*s));
	if (s)
		*s = (struct session){ .refs = 1, .sid = sid };
	return s;
}

struct session *session_get(struct session *s)
{
	s->refs++;
	return s;
}

void session_put(struct session *s)
{
	if (--s->refs == 0)
		free(s);
}

struct pgrp *pgrp_new(int pgid, struct session *s)
{
	struct pgrp *g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	*g = (struct pgrp){ .pgid = pgid, .session = session_get(s) };
	list_init(&g->procs);
	list_add(&pgrps, &g->hash);
	return g;
}

void process_set_pgrp(struct process *p, struct pgrp *g)
{
	struct pgrp *old = p->pgrp;
	if (old == g)
		return;
	if (old)
		list_del(&p->pgrp_node);
	p->pgrp = g;
	if (g)
		list_add_tail(&g->procs, &p->pgrp_node);
	if (old && list_empty(&old->procs)) {
		list_del(&old->hash);
		session_put(old->session);
		free(old);
	}
}
