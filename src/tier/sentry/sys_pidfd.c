/* Process file descriptors, and what one process may do to another through its pid: process_vm_*, kcmp. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/fs/procfs.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

/* pid and start time name a process for ever; the object itself may be gone. */
struct pidfd { int pid; int64_t start; };
static struct waitq exits; /* everybody who polls a pidfd: exits are rare enough for one queue */

static struct process *target(const struct pidfd *x)
{
	struct process *p = process_by_pid(x->pid);
	return p && p->start_ns == x->start ? p : NULL;
}

static unsigned pidfd_poll(struct file *f, struct poll_table *pt)
{
	if (!exits.head.next)
		waitq_init(&exits);
	poll_wait(pt, &exits);
	struct process *p = target(f->priv);
	return !p || p->zombie ? POLLIN | POLLRDNORM | (p ? 0 : POLLHUP) : 0;
}

static int pidfd_info(struct file *f, char *buf, size_t size)
{
	struct pidfd *x = f->priv;
	return snprintf(buf, size, "Pid:\t%d\nNSpid:\t%d\n", target(x) ? x->pid : -1, target(x) ? x->pid : -1);
}

static void pidfd_release(struct file *f) { free(f->priv); }
static const struct file_ops pidfd_ops = { .poll = pidfd_poll, .release = pidfd_release, .fdinfo = pidfd_info };

void pidfd_exited(void)
{
	if (exits.head.next)
		waitq_wake(&exits, POLLIN | POLLRDNORM);
}

long pidfd_new(struct task *t, struct process *p, unsigned nonblock)
{
	struct pidfd *x = malloc(sizeof(*x));
	if (!x)
		return -ENOMEM;
	*x = (struct pidfd){ p->pid, p->start_ns };
	struct file *f = anon_file_new("anon_inode:[pidfd]", &pidfd_ops, x, O_RDWR | nonblock);
	if (!f)
		free(x);
	return fd_give(t, f, O_CLOEXEC);
}

static struct pidfd *of(struct task *t, int fd)
{
	struct file *f = fd_file(t, fd);
	return f && f->ops == &pidfd_ops ? f->priv : NULL;
}

int pidfd_pid(struct task *t, int fd)
{
	struct pidfd *x = of(t, fd);
	return x ? x->pid : -EBADF;
}

long sys_pidfd_open(struct task *t, const uint64_t *a)
{
	if (a[1] & ~(uint64_t)O_NONBLOCK || (int)a[0] <= 0)
		return -EINVAL;
	struct process *p = process_by_pid((int)a[0]);
	if (!p)
		return task_by_tid((int)a[0]) ? -EINVAL : -ESRCH;
	return pidfd_new(t, p, (unsigned)a[1] & O_NONBLOCK);
}

long sys_pidfd_send_signal(struct task *t, const uint64_t *a)
{
	struct file *dir = fd_file(t, (int)a[0]);
	struct process *of_dir = dir ? process_by_pid(procfs_dir_pid(dir)) : NULL; /* /proc/PID is as good */
	struct pidfd by_dir = { of_dir ? of_dir->pid : 0, of_dir ? of_dir->start_ns : 0 }, *x = of_dir ? &by_dir : of(t, (int)a[0]);
	int sig = (int)a[1];
	if (a[3])
		return -EINVAL;
	if (!x)
		return -EBADF;
	if (sig < 0 || sig > NSIG_)
		return -EINVAL;
	struct guest_siginfo si = { .signo = sig, .code = SI_USER, .kill = { .pid = t->proc->pid, .uid = t->cred->uid } };
	struct process *p = target(x);
	if (a[2]) {
		if (copyin(t, &si, a[2], sizeof(si)) < 0)
			return -EFAULT;
		if (si.signo != sig)
			return -EINVAL;
		if ((si.code >= 0 || si.code == SI_TKILL) && p != t->proc)
			return -EPERM;
	}
	if (!p)
		return -ESRCH;
	if (!may_signal(t, p, sig))
		return -EPERM;
	return sig ? send_signal_process(p, sig, &si) : 0;
}

/* May t look into p? The rule of ptrace(2), PTRACE_MODE_ATTACH_REALCREDS. */
static bool may_access(const struct task *t, const struct process *p)
{
	const struct task *o = p->leader;
	if (p == t->proc)
		return true;
	if (!o || !o->cred)
		return false;
	const struct cred *c = t->cred, *d = o->cred;
	bool same = c->uid == d->uid && c->uid == d->euid && c->uid == d->suid && c->gid == d->gid && c->gid == d->egid && c->gid == d->sgid;
	return (same && p->dumpable) || capable(t, CAP_SYS_PTRACE);
}

long sys_pidfd_getfd(struct task *t, const uint64_t *a)
{
	struct pidfd *x = of(t, (int)a[0]);
	if (a[2])
		return -EINVAL;
	if (!x)
		return -EBADF;
	struct process *p = target(x);
	if (!p || p->zombie || !p->leader)
		return -ESRCH;
	if (!may_access(t, p))
		return -EPERM;
	struct file *f = p->leader->files ? fd_file_any(p->leader, (int)a[1]) : NULL;
	return f ? fd_give(t, file_get(f), O_CLOEXEC) : -EBADF;
}

/* ---- process_vm_readv, process_vm_writev ---------------------------------------------------------------------------------- */

enum { VM_CHUNK = 65536 };

static long move(struct task *t, const uint64_t *a, bool write)
{
	_cleanup_uio_ struct uio local = { 0 }, remote = { 0 };
	size_t done = 0;
	if (a[5])
		return -EINVAL;
	if (a[2] > UIO_MAXIOV_ || a[4] > UIO_MAXIOV_)
		return -EINVAL;
	int rc = uio_import(&local, t, a[1], a[2]);
	if (rc == 0)
		rc = uio_import(&remote, t, a[3], a[4]);
	if (rc)
		return rc;
	if (!local.left || !remote.left)
		return 0;
	struct process *p = process_by_pid((int)a[0]);
	struct task *o = p ? p->leader : task_by_tid((int)a[0]);
	if (o)
		p = o->proc;
	if (!p || !o || p->zombie)
		return -ESRCH;
	if (!may_access(t, p))
		return -EPERM;
	char *buf = task_buf(t);
	if (!buf)
		return -ENOMEM;
	remote.t = o;
	struct uio *from = write ? &local : &remote, *to = write ? &remote : &local;
	while (from->left && to->left) {
		size_t n = from->left < to->left ? from->left : to->left;
		ssize_t got = uio_get(from, buf, n < VM_CHUNK ? n : VM_CHUNK);
		if (got <= 0)
			return done ? (long)done : -EFAULT;
		ssize_t put = uio_put(to, buf, (size_t)got);
		if (put <= 0)
			return done ? (long)done : -EFAULT;
		done += (size_t)put;
		if (put < got)
			break;
	}
	return (long)done;
}
long sys_process_vm_readv(struct task *t, const uint64_t *a) { return move(t, a, false); }
long sys_process_vm_writev(struct task *t, const uint64_t *a) { return move(t, a, true); }

/* ---- kcmp ------------------------------------------------------------------------------------------------------------------- */

static long order(const void *x, const void *y) { return x == y ? 0 : (uintptr_t)x < (uintptr_t)y ? 1 : 2; }

long sys_kcmp(struct task *t, const uint64_t *a)
{
	struct task *x = task_by_tid((int)a[0]), *y = task_by_tid((int)a[1]);
	if (!x || !y)
		return -ESRCH;
	if (!may_access(t, x->proc) || !may_access(t, y->proc))
		return -EPERM;
	switch ((int)a[2]) {
	case 0: { /* KCMP_FILE */
		struct file *f = fd_file_any(x, (int)a[3]), *g = fd_file_any(y, (int)a[4]);
		return f && g ? order(f, g) : -EBADF;
	}
	case 1: return order(x->mm, y->mm);
	case 2: return order(x->files, y->files);
	case 3: return order(x->fs, y->fs);
	case 4: return order(x->sighand, y->sighand);
	case 5: case 6: return 0; /* IO contexts and SysV undo lists: one each for all */
	default: return -EINVAL;
	}
}
