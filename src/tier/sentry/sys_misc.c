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
	if ((int)a[1] < 0 || (int)a[1] > 64)
		return -EINVAL;
	if (copyin(t, buf, a[0], a[1]) < 0)
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
		if (!ns_capable_here(t, CAP_SETPCAP) || a[1] & ~0xffull)
			return -EPERM;
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
	case PR_GET_THP_DISABLE: return 0;
	case PR_SET_THP_DISABLE: return 0;
	case PR_GET_TID_ADDRESS: return copyout(t, a[1], &t->clear_child_tid, 8);
	case PR_SET_VMA: return 0; /* names of anonymous memory are decoration */
	case PR_SET_PTRACER: return 0;
	case PR_GET_TSC: v = PR_TSC_ENABLE; return copyout(t, a[1], &v, 4);
	case PR_MCE_KILL: case PR_MCE_KILL_GET: return 0;
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
	return (int)a[0] < 0 ? -EINVAL : o ? o->sched_policy : -ESRCH;
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
		policy = o->sched_policy;
	policy &= ~0x40000000; /* SCHED_RESET_ON_FORK */
	bool rt = policy == SCHED_FIFO || policy == SCHED_RR;
	if ((policy != 0 && policy != 3 && policy != 5 && !rt) || (rt ? prio < 1 || prio > 99 : prio != 0))
		return -EINVAL;
	if (rt && !capable(t, CAP_SYS_NICE))
		return -EPERM;
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
	if ((int)a[0] < 0)
		return -EINVAL;
	if (!o)
		return -ESRCH;
	if (o->sched_policy == SCHED_FIFO)
		ts.tv_nsec = 0;
	return copyout(t, a[1], &ts, sizeof(ts));
}

long sys_getpriority(struct task *t, const uint64_t *a)
{
	struct process *p = (int)a[1] ? process_by_pid((int)a[1]) : t->proc;
	if ((unsigned)a[0] > 2)
		return -EINVAL;
	if ((int)a[0] != 0)
		p = t->proc;
	return p ? 20 - p->nice : -ESRCH;
}

long sys_setpriority(struct task *t, const uint64_t *a)
{
	struct process *p = (int)a[1] && (int)a[0] == 0 ? process_by_pid((int)a[1]) : t->proc;
	int n = (int)a[2];
	if ((unsigned)a[0] > 2)
		return -EINVAL;
	n = n < -20 ? -20 : n > 19 ? 19 : n;
	if (!p)
		return -ESRCH;
	if (n < p->nice && !capable(t, CAP_SYS_NICE))
		return -EACCES;
	p->nice = n;
	return 0;
}

long sys_getcpu(struct task *t, const uint64_t *a)
{
	unsigned cpu = 0, node = 0;
	getcpu(&cpu, &node);
	return (a[0] && copyout(t, a[0], &cpu, 4) < 0) || (a[1] && copyout(t, a[1], &node, 4) < 0) ? -EFAULT : 0;
}

long sys_membarrier(struct task *t, const uint64_t *a)
{
	(void)t;
	switch ((int)a[0]) {
	/* every call of ours is a full barrier for the caller; that other threads pass one too needs them to trap, so only the slow command is offered */
	case MEMBARRIER_CMD_QUERY: return a[1] ? -EINVAL : MEMBARRIER_CMD_GLOBAL;
	case MEMBARRIER_CMD_GLOBAL:
		kernel_unlock();
		sched_yield();
		kernel_lock();
		return 0;
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
