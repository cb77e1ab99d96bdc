/* Calls that give hints or read back settings: scheduling attributes, I/O priority, memory policy, protection keys, page-cache advice. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

/* ---- sched_setattr, sched_getattr ------------------------------------------------------------------------------------------- */

struct guest_sched_attr { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t runtime, deadline, period; uint32_t util_min, util_max; };
_Static_assert(sizeof(struct guest_sched_attr) == 56, "struct sched_attr, version 1");

long sys_sched_getattr(struct task *t, const uint64_t *a)
{
	struct task *o = (int)a[0] ? task_by_tid((int)a[0]) : t;
	uint32_t size = (uint32_t)a[2];
	if (!a[1] || (int)a[0] < 0 || size < 48 || size > 4096 || a[3])
		return -EINVAL;
	if (!o)
		return -ESRCH;
	struct guest_sched_attr g = { .policy = (uint32_t)o->sched_policy, .nice = o->proc->nice, .priority = (uint32_t)o->sched_prio, .util_max = 1024 };
	g.size = size < sizeof(g) ? size : (uint32_t)sizeof(g);
	return copyout(t, a[1], &g, g.size);
}

long sys_sched_setattr(struct task *t, const uint64_t *a)
{
	struct task *o = (int)a[0] ? task_by_tid((int)a[0]) : t;
	struct guest_sched_attr g = { 0 };
	uint32_t size;
	if (!a[1] || (int)a[0] < 0 || a[2])
		return -EINVAL;
	if (copyin(t, &size, a[1], 4) < 0)
		return -EFAULT;
	if (!size)
		size = 48;
	if (size < 48 || size > 4096)
		return -E2BIG;
	if (copyin(t, &g, a[1], size < sizeof(g) ? size : sizeof(g)) < 0)
		return -EFAULT;
	if (!o)
		return -ESRCH;
	if (size > sizeof(g) || g.flags & ~0x7full || (int32_t)g.policy < 0)
		return size > sizeof(g) ? -E2BIG : -EINVAL;
	bool rt = g.policy == SCHED_FIFO || g.policy == SCHED_RR;
	if ((g.policy != 0 && g.policy != SCHED_BATCH && g.policy != SCHED_IDLE && !rt) || (rt ? g.priority < 1 || g.priority > 99 : g.priority != 0))
		return g.policy == 6 /* SCHED_DEADLINE */ && !capable(t, CAP_SYS_NICE) ? -EPERM : -EINVAL;
	if ((rt || g.nice < o->proc->nice) && !capable(t, CAP_SYS_NICE))
		return -EPERM;
	o->sched_policy = (char)g.policy;
	o->sched_prio = (char)g.priority;
	if (!rt)
		o->proc->nice = g.nice < -20 ? -20 : g.nice > 19 ? 19 : g.nice;
	return 0;
}

/* ---- ioprio -------------------------------------------------------------------------------------------------------------------- */

enum { IOPRIO_WHO_PROCESS_ = 1, IOPRIO_WHO_PGRP_ = 2, IOPRIO_WHO_USER_ = 3 };

long sys_ioprio_set(struct task *t, const uint64_t *a)
{
	int class = (int)a[2] >> 13, level = (int)a[2] & 7;
	struct task *o = (int)a[1] ? task_by_tid((int)a[1]) : t;
	if (class < 0 || class > 3 || (class == 0 && level))
		return -EINVAL;
	if (class == 1 && !capable(t, CAP_SYS_NICE) && !capable(t, CAP_SYS_ADMIN))
		return -EPERM;
	if (a[0] != IOPRIO_WHO_PROCESS_)
		return a[0] == IOPRIO_WHO_PGRP_ || a[0] == IOPRIO_WHO_USER_ ? 0 : -EINVAL;
	if (!o)
		return -ESRCH;
	o->ioprio = (unsigned short)(class << 3 | level);
	return 0;
}

long sys_ioprio_get(struct task *t, const uint64_t *a)
{
	struct task *o = (int)a[1] ? task_by_tid((int)a[1]) : t;
	if (a[0] < IOPRIO_WHO_PROCESS_ || a[0] > IOPRIO_WHO_USER_)
		return -EINVAL;
	if (a[0] != IOPRIO_WHO_PROCESS_)
		o = t;
	if (!o)
		return -ESRCH;
	/* never set: best effort by the nice value, as get_task_ioprio() of Linux */
	return o->ioprio ? (o->ioprio >> 3) << 13 | (o->ioprio & 7) : 2 << 13 | (o->proc->nice + 20) / 5;
}

/* ---- memory policy: one node ------------------------------------------------------------------------------------------------------ */

long sys_get_mempolicy(struct task *t, const uint64_t *a)
{
	uint64_t flags = a[4];
	int mode = MPOL_DEFAULT;
	if (flags & ~7ull || (a[2] && a[2] < 1))
		return -EINVAL;
	if (!(flags & MPOL_F_ADDR) && a[3])
		return -EINVAL;
	if ((flags & MPOL_F_ADDR) && !mm_find(t->mm, a[3]))
		return -EFAULT;
	if (flags & MPOL_F_NODE)
		mode = 0;
	if (a[0] && copyout(t, a[0], &mode, 4) < 0)
		return -EFAULT;
	if (a[1]) {
		uint64_t nodes = flags & MPOL_F_MEMS_ALLOWED ? 1 : 0;
		size_t bytes = a[2] > 64 ? 8 : (a[2] + 7) / 8;
		if (a[2] > 4096 * 8)
			return -EINVAL;
		if (zero_user(t, a[1], (size_t)((a[2] + 63) / 64 * 8)) < 0 || copyout(t, a[1], &nodes, bytes) < 0)
			return -EFAULT;
	}
	return 0;
}

static long policy(struct task *t, int mode, uint64_t mask, uint64_t bits)
{
	uint64_t nodes = 0;
	int m = mode & ~0xe000;
	if (m < 0 || m > 6)
		return -EINVAL;
	if (mask && bits > 1) {
		if (bits > 4096 * 8)
			return -EINVAL;
		if (copyin(t, &nodes, mask, 8) < 0)
			return -EFAULT;
	}
	if (m == MPOL_DEFAULT || m == MPOL_LOCAL)
		return nodes ? -EINVAL : 0;
	if (m == MPOL_PREFERRED && !nodes)
		return 0;
	return nodes & 1 ? 0 : -EINVAL; /* node 0 is all there is: any policy with it is what happens anyway */
}
long sys_set_mempolicy(struct task *t, const uint64_t *a) { return policy(t, (int)a[0], a[1], a[2]); }
long sys_mbind(struct task *t, const uint64_t *a)
{
	if (a[0] % PAGE_SIZE_ || a[5] & ~7ull)
		return -EINVAL;
	if (a[1] && !mm_find(t->mm, a[0]))
		return -EFAULT;
	return policy(t, (int)a[2], a[3], a[4]);
}

/* ---- memory: locks, keys ------------------------------------------------------------------------------------------------------------ */

long sys_mlock2(struct task *t, const uint64_t *a)
{
	if (a[2] & ~1ull)
		return -EINVAL;
	return sys_mlock(t, a);
}

/* As on a processor without protection keys. */
long sys_pkey_alloc(struct task *t, const uint64_t *a) { (void)t; return a[0] || a[1] & ~3ull ? -EINVAL : -ENOSPC; }
long sys_pkey_free(struct task *t, const uint64_t *a) { (void)t, (void)a; return -EINVAL; }
long sys_pkey_mprotect(struct task *t, const uint64_t *a) { return (int)a[3] == -1 ? sys_mprotect(t, a) : -EINVAL; }

/* ---- files ----------------------------------------------------------------------------------------------------------------------------- */

long sys_ustat(struct task *t, const uint64_t *a)
{
	struct { int32_t tfree; uint32_t pad; uint64_t tinode; char fname[6], fpack[6]; uint32_t pad2; } g = { 0 };
	(void)a;
	struct statfs st;
	struct super *sb = t->fs->root.mnt->sb;
	if ((uint32_t)a[0] != sb->dev)
		return -EINVAL;
	int rc = sb->ops && sb->ops->statfs ? sb->ops->statfs(sb, &st) : -ENOSYS;
	if (rc)
		return rc;
	g.tfree = (int32_t)st.f_bfree;
	g.tinode = st.f_ffree;
	return copyout(t, a[1], &g, 32);
}

/* ---- other processes' memory ------------------------------------------------------------------------------------------------------------ */

long sys_process_madvise(struct task *t, const uint64_t *a)
{
	_cleanup_uio_ struct uio u = { 0 };
	int advice = (int)a[3], pid, rc;
	if (a[4])
		return -EINVAL;
	if ((rc = uio_import(&u, t, a[1], a[2])) < 0)
		return rc;
	if ((pid = pidfd_pid(t, (int)a[0])) < 0)
		return pid;
	const struct process *p = process_by_pid(pid);
	if (!p || !p->leader)
		return -ESRCH;
	if (p != t->proc && !ns_capable_here(t, CAP_SYS_NICE))
		return -EPERM;
	if (advice != MADV_COLD && advice != MADV_PAGEOUT && advice != MADV_WILLNEED && advice != 25 /* MADV_COLLAPSE */)
		return -EINVAL;
	long total = 0;
	for (size_t i = 0; i < u.n_iov; i++) {
		uint64_t at = (uint64_t)(uintptr_t)u.iov[i].iov_base, one[3] = { at, u.iov[i].iov_len, (uint64_t)advice };
		rc = at % PAGE_SIZE_ ? -EINVAL : p == t->proc && advice != 25 ? (int)sys_madvise(t, one) : mm_find(p->leader->mm, at) ? 0 : -ENOMEM; /* of others: a hint, not passed on */
		if (rc)
			return total ? total : rc;
		total += (long)u.iov[i].iov_len;
	}
	return total;
}

/* The memory of a dying process goes with its host process at once: nothing is left to release. */
long sys_process_mrelease(struct task *t, const uint64_t *a)
{
	if (a[1])
		return -EINVAL;
	int pid = pidfd_pid(t, (int)a[0]);
	const struct process *p = pid < 0 ? NULL : process_by_pid(pid);
	return pid < 0 ? pid : !p || p->zombie ? -ESRCH : p->exiting ? 0 : -EINVAL;
}

/* ---- the kernel's log: there is none to read ---------------------------------------------------------------------------------------------- */

long sys_syslog(struct task *t, const uint64_t *a)
{
	int type = (int)a[0], len = (int)a[2];
	if (type != 3 && type != 10 && !capable(t, CAP_SYSLOG) && !capable(t, CAP_SYS_ADMIN))
		return -EPERM;
	switch (type) {
	case 0: case 1: case 5: case 6: case 7: case 9: return 0; /* close, open, clear, console off and on, bytes unread */
	case 2: case 3: case 4: return !a[1] || len < 0 ? -EINVAL : 0;
	case 8: return len < 1 || len > 8 ? -EINVAL : 0;
	case 10: return 1 << 14;
	default: return -EINVAL;
	}
}
