/* The rest: uname, limits, prctl, scheduling attributes, random numbers. */
#include <errno.h>
#include <linux/membarrier.h>
#include <linux/prctl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/fs/procfs.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

long sys_uname(struct task *t, const uint64_t *a)
{
	struct utsname_data u = K.uts;
	memcpy(u.nodename, t->ns->uts->nodename, sizeof(u.nodename));
	memcpy(u.domainname, t->ns->uts->domainname, sizeof(u.domainname));
	if (t->personality & 0x20000) /* UNAME26 */
		strcpy(u.release, "2.6.60");
	return copyout(t, a[0], &u, sizeof(u));
}

static long set_name(struct task *t, const uint64_t *a, char dst[65])
{
	char buf[65] = "";
	if (!ns_capable(t, t->ns->uts->user, CAP_SYS_ADMIN))
		return -EPERM;
	uint32_t len = (uint32_t)a[1]; /* an int in Linux: what is checked must be what is used */
	if (len > 64)
		return -EINVAL;
	if (copyin(t, buf, a[0], len) < 0)
		return -EFAULT;
	memcpy(dst, buf, sizeof(buf));
	return 0;
}
long sys_sethostname(struct task *t, const uint64_t *a) { return set_name(t, a, t->ns->uts->nodename); }
long sys_setdomainname(struct task *t, const uint64_t *a) { return set_name(t, a, t->ns->uts->domainname); }

long sys_sysinfo(struct task *t, const uint64_t *a)
{
	struct sysinfo si;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	unsigned long total = 0, avail = 0;
	const char *p;
	memset(&si, 0, sizeof(si));
	if (proc_copy_host("meminfo", &b) < 0 || sscanf(strbuf_str(&b), "MemTotal: %lu", &total) != 1)
		return -EIO;
	if ((p = strstr(strbuf_str(&b), "MemAvailable:")))
		avail = strtoul(p + 13, NULL, 10);
	si.totalram = total * 1024;
	si.freeram = avail * 1024;
	si.mem_unit = 1;
	si.uptime = (now_ns(CLOCK_BOOTTIME) - K.boot_ns) / 1000000000;
	si.procs = (unsigned short)K.n_tasks;
	return copyout(t, a[0], &si, sizeof(si));
}

long sys_personality(struct task *t, const uint64_t *a)
{
	unsigned long old = t->personality;
	if ((uint32_t)a[0] != 0xffffffff)
		t->personality = (uint32_t)a[0];
	return (long)old;
}

/* ---- limits ------------------------------------------------------------------------------------------------------------ */

static int set_limit(struct task *t, struct process *p, unsigned res, const struct rlimit *n)
{
	if (n->rlim_cur > n->rlim_max)
		return -EINVAL;
	if (res == RLIMIT_NOFILE && n->rlim_max > 1 << 20)
		return -EPERM;
	if (n->rlim_max > p->rlim[res].rlim_max && !capable(t, CAP_SYS_RESOURCE))
		return -EPERM;
	p->rlim[res] = *n;
	if (res == RLIMIT_CPU)
		cpu_limit_changed(p);
	return 0;
}

long sys_getrlimit(struct task *t, const uint64_t *a)
{
	if (a[0] >= 16)
		return -EINVAL;
	return copyout(t, a[1], &t->proc->rlim[a[0]], sizeof(struct rlimit));
}

long sys_setrlimit(struct task *t, const uint64_t *a)
{
	struct rlimit n;
	if (a[0] >= 16)
		return -EINVAL;
	if (copyin(t, &n, a[1], sizeof(n)) < 0)
		return -EFAULT;
	return set_limit(t, t->proc, (unsigned)a[0], &n);
}

long sys_prlimit64(struct task *t, const uint64_t *a)
{
	struct process *p = (int)a[0] ? process_by_pid((int)a[0]) : t->proc;
	struct rlimit n, old;
	if ((uint32_t)a[1] >= 16)
		return -EINVAL;
	if (a[2] && copyin(t, &n, a[2], sizeof(n)) < 0)
		return -EFAULT;
	if (!p || !p->leader)
		return -ESRCH;
	const struct cred *o = p->leader->cred, *c = t->cred;
	if (p != t->proc && !capable(t, CAP_SYS_RESOURCE) && (c->uid != o->euid || c->uid != o->suid || c->uid != o->uid || c->gid != o->egid ||
	    c->gid != o->sgid || c->gid != o->gid))
		return -EPERM;
	old = p->rlim[(uint32_t)a[1]];
	int rc = a[2] ? set_limit(t, p, (uint32_t)a[1], &n) : 0;
	if (rc)
		return rc;
	return a[3] ? copyout(t, a[3], &old, sizeof(old)) : 0;
}

/* ---- prctl ------------------------------------------------------------------------------------------------------------- */

static long ambient(struct task *t, const uint64_t *a)
{
	const struct cred *o = t->cred;
	uint64_t bit = a[2] <= CAP_LAST_CAP ? 1ull << a[2] : 0;
	if (a[1] == PR_CAP_AMBIENT_CLEAR_ALL ? a[2] || a[3] || a[4] : !bit || a[3] || a[4])
		return -EINVAL;
	if (a[1] == PR_CAP_AMBIENT_IS_SET)
		return !!(o->cap_ambient & bit);
	if (a[1] != PR_CAP_AMBIENT_RAISE && a[1] != PR_CAP_AMBIENT_LOWER && a[1] != PR_CAP_AMBIENT_CLEAR_ALL)
		return -EINVAL;
	if (a[1] == PR_CAP_AMBIENT_RAISE && (!(o->cap_permitted & o->cap_inheritable & bit) || (o->securebits & 64)))
		return -EPERM;
	struct cred *c = cred_dup(o);
	if (!c)
		return -ENOMEM;
	c->cap_ambient = a[1] == PR_CAP_AMBIENT_RAISE ? o->cap_ambient | bit : a[1] == PR_CAP_AMBIENT_LOWER ? o->cap_ambient & ~bit : 0;
	cred_install(t, c);
	return 0;
}

static long change_cred(struct task *t, uint64_t drop, uint32_t securebits)
{
	struct cred *c = cred_dup(t->cred);
	if (!c)
		return -ENOMEM;
	c->cap_bounding &= ~drop;
	c->securebits = securebits;
	cred_install(t, c);
	return 0;
}

long sys_prctl(struct task *t, const uint64_t *a)
{
	char name[16] = "";
	int v;
	switch ((int)a[0]) {
	case PR_SET_NAME:
		if (copyin_str(t, name, a[1], 15, 15) < 0)
			return -EFAULT;
		name[15] = 0;
		memcpy(t->comm, name, sizeof(name));
		return 0;
	case PR_GET_NAME: return copyout(t, a[1], t->comm, 16);
	case PR_SET_PDEATHSIG:
		if (a[1] > NSIG_)
			return -EINVAL;
		t->proc->pdeath_signal = (int)a[1];
		return 0;
	case PR_GET_PDEATHSIG:
		v = t->proc->pdeath_signal;
		return copyout(t, a[1], &v, 4);
	case PR_GET_DUMPABLE: return t->proc->dumpable;
	case PR_SET_DUMPABLE:
		if (a[1] > 1)
			return -EINVAL;
		t->proc->dumpable = a[1];
		return 0;
	case PR_GET_KEEPCAPS: return t->cred->securebits >> 4 & 1;
	case PR_SET_KEEPCAPS:
		if (a[1] > 1)
			return -EINVAL;
		if (t->cred->securebits & 32)
			return -EPERM;
		return change_cred(t, 0, (t->cred->securebits & ~16u) | (a[1] ? 16 : 0));
	case PR_CAPBSET_READ: return a[1] > CAP_LAST_CAP ? -EINVAL : (long)(t->cred->cap_bounding >> a[1] & 1);
	case PR_CAPBSET_DROP:
		if (!ns_capable_here(t, CAP_SETPCAP))
			return -EPERM;
		return a[1] > CAP_LAST_CAP ? -EINVAL : change_cred(t, 1ull << a[1], t->cred->securebits);
	case PR_GET_SECUREBITS: return t->cred->securebits;
	case PR_SET_SECUREBITS:
		if (!ns_capable_here(t, CAP_SETPCAP) || a[1] & ~0xffull || ((t->cred->securebits & 0xaa) >> 1 & (t->cred->securebits ^ a[1])) || (t->cred->securebits & 0xaa & ~a[1]))
			return -EPERM; /* a locked bit, or a lock to be opened */
		return change_cred(t, 0, (uint32_t)a[1]);
	case PR_SET_NO_NEW_PRIVS:
		if (a[1] != 1 || a[2] || a[3] || a[4])
			return -EINVAL;
		t->no_new_privs = true;
		return 0;
	case PR_GET_NO_NEW_PRIVS: return a[1] || a[2] || a[3] || a[4] ? -EINVAL : t->no_new_privs;
	case PR_CAP_AMBIENT: return ambient(t, a);
	case PR_SET_CHILD_SUBREAPER:
		t->proc->child_subreaper = a[1];
		return 0;
	case PR_GET_CHILD_SUBREAPER:
		v = t->proc->child_subreaper;
		return copyout(t, a[1], &v, 4);
	case PR_SET_TIMERSLACK:
		t->timer_slack = a[1] ? (unsigned)a[1] : 50000;
		return 0;
	case PR_GET_TIMERSLACK: return t->timer_slack;
	case PR_GET_SECCOMP: return t->seccomp_mode;
	case PR_SET_SECCOMP: return seccomp_prctl(t, a[1], a[2]);
	case PR_GET_THP_DISABLE: return a[1] || a[2] || a[3] || a[4] ? -EINVAL : t->mm->thp_disabled;
	case PR_SET_THP_DISABLE:
		if (a[2] || a[3] || a[4])
			return -EINVAL;
		t->mm->thp_disabled = a[1];
		return 0;
	case PR_GET_TIMING: return PR_TIMING_STATISTICAL;
	case PR_SET_TIMING: return a[1] == PR_TIMING_STATISTICAL ? 0 : -EINVAL;
	case PR_TASK_PERF_EVENTS_DISABLE: case PR_TASK_PERF_EVENTS_ENABLE: return 0; /* there are none */
	case PR_SET_MM: return a[4] || (a[3] && a[1] != PR_SET_MM_AUXV && a[1] != PR_SET_MM_MAP && a[1] != PR_SET_MM_MAP_SIZE) ? -EINVAL : capable(t, CAP_SYS_RESOURCE) ? -EINVAL : -EPERM;
	case PR_SET_IO_FLUSHER: case PR_GET_IO_FLUSHER: return !capable(t, CAP_SYS_RESOURCE) ? -EPERM : a[0] == PR_GET_IO_FLUSHER || a[1] <= 1 ? 0 : -EINVAL;
	case PR_GET_SPECULATION_CTRL: return a[2] || a[3] || a[4] ? -EINVAL : a[1] <= PR_SPEC_L1D_FLUSH ? PR_SPEC_NOT_AFFECTED : -ENODEV;
	case PR_SET_SPECULATION_CTRL: return a[3] || a[4] ? -EINVAL : a[1] <= PR_SPEC_L1D_FLUSH ? -ENXIO : -ENODEV;
	case PR_GET_TID_ADDRESS: return copyout(t, a[1], &t->clear_child_tid, 8);
	case PR_SET_VMA: return a[1] || a[2] % PAGE_SIZE_ ? -EINVAL : 0; /* names of anonymous memory are decoration */
	case PR_SET_PTRACER: return 0;
	case PR_GET_TSC: v = PR_TSC_ENABLE; return copyout(t, a[1], &v, 4);
	case PR_SET_TSC: return a[1] == PR_TSC_ENABLE ? 0 : -EINVAL;
	case PR_MCE_KILL: return a[3] || a[4] || a[1] > PR_MCE_KILL_SET || (a[1] == PR_MCE_KILL_CLEAR ? a[2] : a[2] > PR_MCE_KILL_DEFAULT) ? -EINVAL : 0;
	case PR_MCE_KILL_GET: return a[1] || a[2] || a[3] || a[4] ? -EINVAL : PR_MCE_KILL_DEFAULT;
	default: return -EINVAL;
	}
}

long sys_arch_prctl(struct task *t, const uint64_t *a)
{
	switch ((int)a[0]) {
	case 0x1002: /* ARCH_SET_FS */
		if (a[1] >= gate_layout.task_size)
			return -EPERM;
		return gate_set_fs(t, a[1]);
	case 0x1003: case 0x1004: return -EINVAL; /* ARCH_GET_FS, ARCH_GET_GS: rdfsbase does it; the base is the guest's own register */
	case 0x1001: return -EPERM; /* ARCH_SET_GS: the gate's */
	default: return -EINVAL;
	}
}

/* ---- scheduling ---------------------------------------------------------------------------------------------------------- */

long sys_sched_yield(struct task *t, const uint64_t *a)
{
	(void)t, (void)a;
	kernel_unlock();
	sched_yield();
	kernel_lock();
	return 0;
}

long sys_sched_getaffinity(struct task *t, const uint64_t *a)
{
	cpu_set_t set;
	unsigned bytes = (K.n_cpus + 63) / 64 * 8;
	const struct task *o = (int)a[0] ? task_by_tid((int)a[0]) : t;
	if ((uint32_t)a[1] < bytes || a[1] & 7)
		return -EINVAL;
	if (!o)
		return -ESRCH;
	set = o->affinity ? *o->affinity : K.cpus;
	return copyout(t, a[2], &set, bytes) < 0 ? -EFAULT : (long)bytes;
}

long sys_sched_setaffinity(struct task *t, const uint64_t *a)
{
	cpu_set_t set, have;
	CPU_ZERO(&set);
	if (copyin(t, &set, a[2], MIN(a[1], (uint64_t)sizeof(set))) < 0)
		return -EFAULT;
	struct task *o = (int)a[0] ? task_by_tid((int)a[0]) : t;
	if (!o)
		return -ESRCH;
	if (t->cred->euid != o->cred->uid && t->cred->euid != o->cred->euid && !ns_capable(t, o->cred->user, CAP_SYS_NICE))
		return -EPERM;
	have = K.cpus;
	CPU_AND(&set, &set, &have);
	if (!CPU_COUNT(&set))
		return -EINVAL;
	if (!o->affinity && !(o->affinity = malloc(sizeof(*o->affinity))))
		return -ENOMEM;
	*o->affinity = set; /* kept for the asking: the host places twins and guests together */
	return 0;
}

static struct task *sched_task(struct task *t, uint64_t pid) { return (int)pid < 0 ? NULL : (int)pid ? task_by_tid((int)pid) : t; }

long sys_sched_getscheduler(struct task *t, const uint64_t *a)
{
	const struct task *o = sched_task(t, a[0]);
	return (int)a[0] < 0 ? -EINVAL : o ? o->sched_policy | (o->sched_reset_on_fork ? 0x40000000 : 0) : -ESRCH;
}

long sys_sched_getparam(struct task *t, const uint64_t *a)
{
	const struct task *o = sched_task(t, a[0]);
	if ((int)a[0] < 0 || !a[1])
		return -EINVAL;
	if (!o)
		return -ESRCH;
	int v = o->sched_prio;
	return copyout(t, a[1], &v, 4);
}

static long set_policy(struct task *t, uint64_t pid, int policy, uint64_t param)
{
	struct task *o = sched_task(t, pid);
	int prio;
	if ((int)pid < 0 || !param)
		return -EINVAL;
	if (copyin(t, &prio, param, 4) < 0)
		return -EFAULT;
	if (!o)
		return -ESRCH;
	if (policy < 0)
		policy = o->sched_policy | (o->sched_reset_on_fork ? 0x40000000 : 0);
	bool reset = policy & 0x40000000; /* SCHED_RESET_ON_FORK */
	policy &= ~0x40000000;
	bool rt = policy == SCHED_FIFO || policy == SCHED_RR;
	if ((policy != 0 && policy != 3 && policy != 5 && !rt) || (rt ? prio < 1 || prio > 99 : prio != 0))
		return -EINVAL;
	const struct cred *oc = o->cred;
	if (t->cred->euid != oc->uid && t->cred->euid != oc->euid && !ns_capable(t, oc->user, CAP_SYS_NICE))
		return -EPERM;
	if (rt && (rlim_t)prio > o->proc->rlim[RLIMIT_RTPRIO].rlim_cur && (policy != o->sched_policy || prio > o->sched_prio) && !capable(t, CAP_SYS_NICE))
		return -EPERM;
	o->sched_reset_on_fork = reset;
	o->sched_policy = (char)policy;
	o->sched_prio = (char)prio;
	return 0;
}
long sys_sched_setscheduler(struct task *t, const uint64_t *a) { return (int)a[1] < 0 ? -EINVAL : set_policy(t, a[0], (int)a[1], a[2]); }
long sys_sched_setparam(struct task *t, const uint64_t *a) { return set_policy(t, a[0], -1, a[1]); }
static bool rt_policy(uint64_t p) { return p == SCHED_FIFO || p == SCHED_RR; }
long sys_sched_get_priority_max(struct task *t, const uint64_t *a) { (void)t; return rt_policy(a[0]) ? 99 : a[0] == 0 || a[0] == 3 || a[0] == 5 || a[0] == 6 ? 0 : -EINVAL; }
long sys_sched_get_priority_min(struct task *t, const uint64_t *a) { (void)t; return rt_policy(a[0]) ? 1 : a[0] == 0 || a[0] == 3 || a[0] == 5 || a[0] == 6 ? 0 : -EINVAL; }
long sys_sched_rr_get_interval(struct task *t, const uint64_t *a)
{
	const struct task *o = sched_task(t, a[0]);
	struct timespec ts = { 0, 4000000 };
	if (o && o->sched_policy == SCHED_RR)
		ts.tv_nsec = 100000000; /* RR_TIMESLICE */
	if ((int)a[0] < 0)
		return -EINVAL;
	if (!o)
		return -ESRCH;
	if (o->sched_policy == SCHED_FIFO)
		ts.tv_nsec = 0;
	return copyout(t, a[1], &ts, sizeof(ts));
}

/* The processes that getpriority(2) means: next one after `after`. */
static struct process *chosen(struct task *t, int which, int who, int after)
{
	struct process *p;
	if (which == PRIO_PROCESS) {
		struct task *o = who ? task_by_tid(who) : t;
		p = o ? o->proc : NULL;
		return p && p->pid > after ? p : NULL;
	}
	uint32_t uid = who ? ns_from_uid(t->cred->user, (uint32_t)who) : t->cred->uid;
	int pgid = who ? who : t->proc->pgrp->pgid;
	for (p = process_next(after); p; p = process_next(p->pid))
		if (!p->zombie && p->leader && (which == PRIO_PGRP ? p->pgrp && p->pgrp->pgid == pgid : p->leader->cred->uid == uid))
			return p;
	return NULL;
}

long sys_getpriority(struct task *t, const uint64_t *a)
{
	long best = -ESRCH;
	if ((int)a[0] < PRIO_PROCESS || (int)a[0] > PRIO_USER)
		return -EINVAL;
	for (const struct process *p = NULL; (p = chosen(t, (int)a[0], (int)a[1], p ? p->pid : 0));)
		best = MAX(best, (long)(20 - p->nice));
	return best;
}

static long set_nice(struct task *t, struct process *p, int n)
{
	const struct cred *o = p->leader ? p->leader->cred : t->cred, *c = t->cred;
	if (c->euid != o->uid && c->euid != o->euid && !ns_capable(t, o->user, CAP_SYS_NICE))
		return -EPERM;
	if (n < p->nice && (rlim_t)(20 - n) > p->rlim[RLIMIT_NICE].rlim_cur && !capable(t, CAP_SYS_NICE))
		return -EACCES;
	p->nice = n;
	return 0;
}

long sys_setpriority(struct task *t, const uint64_t *a)
{
	int n = (int)a[2];
	long rc = -ESRCH;
	if ((int)a[0] < PRIO_PROCESS || (int)a[0] > PRIO_USER)
		return -EINVAL;
	n = n < -20 ? -20 : n > 19 ? 19 : n;
	for (struct process *p = NULL; (p = chosen(t, (int)a[0], (int)a[1], p ? p->pid : 0));) {
		long r = set_nice(t, p, n);
		rc = r || rc == -ESRCH ? r : rc;
	}
	return rc;
}

long sys_getcpu(struct task *t, const uint64_t *a)
{
	unsigned cpu = 0, node = 0;
	getcpu(&cpu, &node);
	return (a[0] && copyout(t, a[0], &cpu, 4) < 0) || (a[1] && copyout(t, a[1], &node, 4) < 0) ? -EFAULT : 0;
}

/* Every thread of the sandbox (or of the process) that runs guest code now is made to enter the sentry once: a full barrier and, by the return from a
 * signal, a serialisation of its instruction stream. Whoever is not running guest code passed one when it came in. */
static int barrier_all(struct task *t, bool own)
{
	struct { int tid; unsigned entries; } seen[64];
	for (int after = 0;;) {
		unsigned n = 0;
		for (struct process *p = own ? t->proc : process_next(0); p; p = own ? NULL : process_next(p->pid)) {
			struct task *o;
			list_for_each(o, &p->threads, thread_node)
				if (o != t && o->in_guest && o->tid > after && n < ARRAY_SIZE(seen)) {
					seen[n].tid = o->tid;
					seen[n++].entries = o->entries;
					gate_kick(o);
				}
		}
		if (!n)
			return 0;
		for (unsigned i = 0; i < n; i++) {
			const struct task *o;
			if (seen[i].tid > after)
				after = seen[i].tid;
			while ((o = task_by_tid(seen[i].tid)) && o->in_guest && o->entries == seen[i].entries && !t->dying)
				if (task_sleep_killable(t, now_ns(CLOCK_MONOTONIC) + 200000) == -EINTR)
					return -EINTR;
		}
		if (n < ARRAY_SIZE(seen))
			return 0;
	}
}

long sys_membarrier(struct task *t, const uint64_t *a)
{
	struct mm *m = t->mm;
	if ((uint32_t)a[1])
		return -EINVAL;
	switch ((int)a[0]) {
	case MEMBARRIER_CMD_QUERY:
		return MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED |
			MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED | MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE;
	case MEMBARRIER_CMD_GLOBAL: case MEMBARRIER_CMD_GLOBAL_EXPEDITED: return barrier_all(t, false);
	case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED: return 0;
	case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED: m->membarrier |= 1; return 0;
	case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: m->membarrier |= 2; return 0;
	case MEMBARRIER_CMD_PRIVATE_EXPEDITED: return m->membarrier & 1 ? barrier_all(t, true) : -EPERM;
	case MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE: return m->membarrier & 2 ? barrier_all(t, true) : -EPERM;
	default: return -EINVAL;
	}
}

long sys_getrandom(struct task *t, const uint64_t *a)
{
	char buf[1024];
	uint64_t done = 0, n = MIN(a[1], (uint64_t)33554431);
	if (a[2] & ~7ull || (a[2] & 6) == 6)
		return -EINVAL;
	while (done < n) {
		size_t k = MIN(n - done, (uint64_t)sizeof(buf));
		if (getrandom(buf, k, 0) != (ssize_t)k)
			return -EIO;
		if (copyout(t, a[0] + done, buf, k) < 0)
			return done ? (long)done : -EFAULT;
		done += k;
	}
	return (long)done;
}
