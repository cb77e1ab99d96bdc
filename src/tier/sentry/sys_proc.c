/* Processes: clone, execve, exit, wait, ids, groups, sessions. */
#include <errno.h>
#include <stdio.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/str.h"
#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/task/exec.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/vfs/vfs.h"

enum { ARG_STRLEN_MAX = 131072, ARGS_MAX = 0x20000 /* pointers; strings are bounded by the stack limit */ };

long sys_getpid(struct task *t, const uint64_t *a) { (void)a; return t->proc->pid; }
long sys_gettid(struct task *t, const uint64_t *a) { (void)a; return t->tid; }
long sys_getppid(struct task *t, const uint64_t *a) { (void)a; return t->proc->parent ? t->proc->parent->pid : 0; }

long sys_fork(struct task *t, const uint64_t *a)
{
	(void)a;
	return task_clone(t, &(struct clone_args_k){ .exit_signal = SIGCHLD });
}

long sys_vfork(struct task *t, const uint64_t *a)
{
	(void)a;
	return task_clone(t, &(struct clone_args_k){ .flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD });
}

/* The descriptor is made after the child: nobody but this thread can see the number before it is stored. */
static long clone_with_pidfd(struct task *t, struct clone_args_k *c, uint64_t addr)
{
	bool wanted = c->flags & CLONE_PIDFD;
	c->flags &= ~(uint64_t)CLONE_PIDFD;
	long pid = task_clone(t, c);
	struct process *p = wanted && pid > 0 ? process_by_pid((int)pid) : NULL;
	if (p) {
		int fd = (int)pidfd_new(t, p, 0);
		if (copyout(t, addr, &fd, sizeof(fd)) < 0)
			klog("clone: the pidfd of %ld could not be stored", pid);
	}
	return pid;
}

long sys_clone(struct task *t, const uint64_t *a)
{
	struct clone_args_k c = { .flags = a[0] & 0xffffff00u, .exit_signal = (int)(a[0] & 0xff), .stack = a[1], .parent_tid = a[2], .child_tid = a[3], .tls = a[4] };
	if (c.exit_signal > NSIG_)
		return -EINVAL;
	uint64_t pidfd = c.flags & CLONE_PIDFD ? c.parent_tid : 0;
	if (c.flags & CLONE_PIDFD && c.flags & (CLONE_THREAD | CLONE_PARENT_SETTID | CLONE_DETACHED))
		return -EINVAL;
	return clone_with_pidfd(t, &c, pidfd);
}

long sys_clone3(struct task *t, const uint64_t *a)
{
	struct { uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup; } g = { 0 };
	if (a[1] > 4096)
		return -E2BIG;
	if (a[1] < 64)
		return -EINVAL;
	if (copyin(t, &g, a[0], MIN(a[1], (uint64_t)sizeof(g))) < 0)
		return -EFAULT;
	for (uint64_t i = sizeof(g); i < a[1]; i++) { /* what a newer kernel would know must not be asked for */
		uint8_t more;
		if (copyin(t, &more, a[0] + i, 1) < 0)
			return -EFAULT;
		if (more)
			return -E2BIG;
	}
	if (g.flags & ~0x3ffffff00ull || g.exit_signal > NSIG_ || (g.flags & (CLONE_THREAD | CLONE_PARENT) && g.exit_signal) || !g.stack != !g.stack_size)
		return -EINVAL;
	if (g.set_tid_size)
		return -EPERM;
	if (g.flags & 0x200000000ull /* CLONE_INTO_CGROUP */ || (g.flags & CLONE_PIDFD && g.flags & (CLONE_THREAD | CLONE_DETACHED)))
		return -EINVAL;
	struct clone_args_k c = { .flags = g.flags, .exit_signal = (int)g.exit_signal, .stack = g.stack ? g.stack + g.stack_size : 0,
		.parent_tid = g.parent_tid, .child_tid = g.child_tid, .tls = g.tls };
	if (c.flags & 0x100000000ull) { /* CLONE_CLEAR_SIGHAND */
		if (c.flags & CLONE_SIGHAND)
			return -EINVAL;
		c.flags &= ~0x100000000ull;
		c.clear_sighand = true;
	}
	return clone_with_pidfd(t, &c, g.pidfd);
}

/* ---- execve ------------------------------------------------------------------------------------------------------------ */

static int copyin_strings(struct task *t, uint64_t p, uint64_t *budget, char ***ret)
{
	char **v = NULL, *buf = malloc(ARG_STRLEN_MAX);
	size_t n = 0, cap = 0;
	int rc = buf ? 0 : -ENOMEM;
	for (uint64_t i = 0; p && !rc; i++) {
		uint64_t s;
		ssize_t len;
		if (copyin(t, &s, p + 8 * i, 8) < 0)
			rc = -EFAULT;
		else if (!s)
			break;
		else if ((len = copyin_str(t, buf, s, ARG_STRLEN_MAX, -E2BIG)) < 0)
			rc = (int)len;
		else if ((uint64_t)len + 9 > *budget || i > ARGS_MAX)
			rc = -E2BIG;
		if (rc)
			break;
		if (n + 2 > cap) {
			cap = cap ? cap * 2 : 16;
			char **nv = realloc(v, cap * sizeof(*v));
			if (!nv) {
				rc = -ENOMEM;
				break;
			}
			v = nv;
		}
		if (!(v[n] = malloc((size_t)len + 1))) {
			rc = -ENOMEM;
			break;
		}
		memcpy(v[n], buf, (size_t)len + 1);
		v[++n] = NULL;
		*budget -= (uint64_t)len + 9;
	}
	free(buf);
	if (!v && !rc && !(v = calloc(1, sizeof(*v))))
		rc = -ENOMEM;
	if (rc) {
		strv_free(v);
		return rc;
	}
	*ret = v;
	return 0;
}

static long do_exec(struct task *t, int dirfd, uint64_t name, uint64_t argv, uint64_t envp, int flags)
{
	char path[PATH_MAX_], shown[PATH_MAX_ + 32];
	char **av = NULL, **ev = NULL;
	_cleanup_path_ struct path p = PATH_NONE, start = PATH_NONE;
	struct file *f = NULL;
	uint64_t budget = MIN(t->proc->rlim[RLIMIT_STACK].rlim_cur / 4, (uint64_t)6 << 20);
	bool hidden = false;
	int rc = copyin_path(t, path, name);
	if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		return -EINVAL;
	if (rc)
		return rc;
	budget = MAX(budget, (uint64_t)131072);
	if (!*path && (flags & AT_EMPTY_PATH)) {
		struct file *d = fd_file_any(t, dirfd);
		if (!d)
			return -EBADF;
		if (!d->path.d)
			return -EACCES;
		p = path_copy(&d->path);
		snprintf(shown, sizeof(shown), "/dev/fd/%d", dirfd);
		hidden = t->files->v[dirfd].cloexec;
	} else {
		if ((rc = path_at(t, dirfd, path, &start)) < 0 ||
		    (rc = path_walk(t, &start, path, flags & AT_SYMLINK_NOFOLLOW ? 0 : WALK_FOLLOW, &p)) < 0)
			return rc;
		if (is_lnk(p.d->inode))
			return -ELOOP;
		if (dirfd == AT_FDCWD || *path == '/')
			strcpy(shown, path);
		else
			snprintf(shown, sizeof(shown), "/dev/fd/%d/%s", dirfd, path);
	}
	if ((rc = exec_open_path(t, &p, &f)) < 0)
		return rc;
	if ((rc = copyin_strings(t, argv, &budget, &av)) == 0 && (rc = copyin_strings(t, envp, &budget, &ev)) == 0) {
		long r = task_exec(t, TAKE(f), shown, TAKE(av), ev, hidden);
		strv_free(ev);
		return r;
	}
	file_put(f);
	strv_free(av);
	strv_free(ev);
	return rc;
}

long sys_execve(struct task *t, const uint64_t *a) { return do_exec(t, AT_FDCWD, a[0], a[1], a[2], 0); }
long sys_execveat(struct task *t, const uint64_t *a) { return do_exec(t, (int)a[0], a[1], a[2], a[3], (int)a[4]); }

/* ---- exit and wait ----------------------------------------------------------------------------------------------------- */

long sys_exit(struct task *t, const uint64_t *a)
{
	t->exit_code = (int)a[0] & 0xff;
	t->dying = true;
	return 0;
}

long sys_exit_group(struct task *t, const uint64_t *a)
{
	process_exit_duties(t);
	process_kill(t->proc, ((int)a[0] & 0xff) << 8);
	return 0;
}

struct wait_req { int pid; /* as wait4 */ int options; };
struct wait_res { int pid, code, status; uint32_t uid; struct rusage ru; bool reap; struct process *p; };

static bool eligible(struct task *t, struct process *c, const struct wait_req *r)
{
	if (r->pid > 0 && c->pid != r->pid)
		return false;
	if (r->pid == 0 && c->pgrp != t->proc->pgrp)
		return false;
	if (r->pid < -1 && (!c->pgrp || c->pgrp->pgid != -r->pid))
		return false;
	if (!(r->options & __WALL) && (c->exit_signal != SIGCHLD) != !!(r->options & __WCLONE))
		return false;
	return true;
}

/* 1: found, 0: none ready, -ECHILD: none at all. */
static int look(struct task *t, const struct wait_req *r, struct wait_res *w)
{
	struct process *c;
	bool any = false;
	list_for_each(c, &t->proc->children, sibling) {
		if (!eligible(t, c, r))
			continue;
		any = true;
		*w = (struct wait_res){ .pid = c->pid, .uid = c->uid, .p = c };
		if (c->zombie && (r->options & WEXITED)) {
			int s = c->exit_status;
			w->code = WIFEXITED(s) ? CLD_EXITED : WCOREDUMP(s) ? CLD_DUMPED : CLD_KILLED;
			w->status = s;
			w->reap = !(r->options & WNOWAIT);
			process_rusage(c, &w->ru);
			return 1;
		}
		if (c->stopped && c->stop_reported && (r->options & WSTOPPED)) {
			w->code = CLD_STOPPED;
			w->status = c->stop_sig << 8 | 0x7f;
			w->uid = c->leader ? c->leader->cred->uid : 0;
			if (!(r->options & WNOWAIT))
				c->stop_reported = false;
			return 1;
		}
		if (c->cont_reported && !c->zombie && (r->options & WCONTINUED)) {
			w->code = CLD_CONTINUED;
			w->status = 0xffff;
			w->uid = c->leader ? c->leader->cred->uid : 0;
			if (!(r->options & WNOWAIT))
				c->cont_reported = false;
			return 1;
		}
	}
	return any ? 0 : -ECHILD;
}

static long wait_for(struct task *t, const struct wait_req *r, struct wait_res *w)
{
	struct waiter wt;
	int rc, s;
	waiter_init(&wt, t);
	waitq_add(&t->proc->child_wait, &wt);
	while ((rc = look(t, r, w)) == 0) {
		if (r->options & WNOHANG)
			break;
		if ((s = task_sleep(t, -1)) < 0) {
			rc = -ERESTARTSYS;
			break;
		}
	}
	waitq_del(&wt);
	return rc;
}

long sys_wait4(struct task *t, const uint64_t *a)
{
	struct wait_req r = { .pid = (int)a[0], .options = (int)a[2] };
	struct wait_res w;
	if (r.options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WALL | __WCLONE | __WNOTHREAD))
		return -EINVAL;
	if (r.pid == INT32_MIN)
		return -ESRCH;
	r.options |= WEXITED;
	long rc = wait_for(t, &r, &w);
	if (rc <= 0)
		return rc;
	if (w.reap)
		process_reap(w.p);
	if (a[1] && copyout(t, a[1], &w.status, 4) < 0)
		return -EFAULT;
	if (a[3] && copyout(t, a[3], &w.ru, sizeof(w.ru)) < 0)
		return -EFAULT;
	return w.pid;
}

long sys_waitid(struct task *t, const uint64_t *a)
{
	struct wait_req r = { .pid = (int)a[1], .options = (int)a[3] };
	struct wait_res w = { 0 };
	struct guest_siginfo si = { 0 };
	bool again = false;
	if (r.options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WALL | __WCLONE | __WNOTHREAD) ||
	    !(r.options & (WEXITED | WSTOPPED | WCONTINUED)))
		return -EINVAL;
	switch ((int)a[0]) {
	case P_ALL: r.pid = -1; break;
	case P_PID:
		if (r.pid <= 0)
			return -EINVAL;
		break;
	case P_PGID:
		if (r.pid < 0)
			return -EINVAL;
		r.pid = -r.pid;
		break;
	case 3: /* P_PIDFD */
		if ((r.pid = pidfd_pid(t, (int)a[1])) < 0)
			return r.pid;
		again = fd_file(t, (int)a[1])->flags & O_NONBLOCK && !(r.options & WNOHANG);
		if (again)
			r.options |= WNOHANG;
		break;
	default: return -EINVAL;
	}
	long rc = wait_for(t, &r, &w);
	if (rc < 0 || (rc == 0 && again))
		return rc ? rc : -EAGAIN;
	if (rc > 0) {
		if (w.reap)
			process_reap(w.p);
		si.signo = SIGCHLD;
		si.code = w.code;
		si.chld.pid = w.pid;
		si.chld.uid = w.uid;
		si.chld.status = w.code == CLD_EXITED ? WEXITSTATUS(w.status) : w.code == CLD_STOPPED ? WSTOPSIG(w.status) : w.code == CLD_CONTINUED ? SIGCONT : WTERMSIG(w.status);
	}
	if (a[2] && copyout(t, a[2], &si, sizeof(si)) < 0)
		return -EFAULT;
	if (a[4] && rc > 0 && copyout(t, a[4], &w.ru, sizeof(w.ru)) < 0)
		return -EFAULT;
	return 0;
}

/* ---- groups and sessions ------------------------------------------------------------------------------------------------ */

static struct process *self_or(struct task *t, int pid) { return pid == 0 ? t->proc : process_by_pid(pid); }

long sys_setpgid(struct task *t, const uint64_t *a)
{
	int pid = (int)a[0] ? (int)a[0] : t->proc->pid, pgid = (int)a[1] ? (int)a[1] : pid;
	struct process *p = process_by_pid(pid);
	if (pgid < 0)
		return -EINVAL;
	if (!p || p->zombie)
		return -ESRCH;
	if (p != t->proc) {
		if (p->parent != t->proc)
			return -ESRCH;
		if (p->pgrp->session != t->proc->pgrp->session)
			return -EPERM;
		if (p->execed)
			return -EACCES;
	}
	if (p->pgrp->session->sid == p->pid)
		return -EPERM;
	struct pgrp *g = pgrp_by_id(pgid);
	if (g && g->session != p->pgrp->session)
		return -EPERM;
	if (!g) {
		if (pgid != pid)
			return -EPERM;
		if (!(g = pgrp_new(pgid, p->pgrp->session)))
			return -ENOMEM;
	}
	process_set_pgrp(p, g);
	return 0;
}

long sys_getpgid(struct task *t, const uint64_t *a)
{
	struct process *p = self_or(t, (int)a[0]);
	return p && p->pgrp ? p->pgrp->pgid : -ESRCH;
}
long sys_getpgrp(struct task *t, const uint64_t *a) { (void)a; return t->proc->pgrp->pgid; }
long sys_getsid(struct task *t, const uint64_t *a)
{
	struct process *p = self_or(t, (int)a[0]);
	return p && p->pgrp ? p->pgrp->session->sid : -ESRCH;
}

long sys_setsid(struct task *t, const uint64_t *a)
{
	struct process *p = t->proc;
	(void)a;
	if (pgrp_by_id(p->pid))
		return -EPERM;
	struct session *s = session_new(p->pid);
	struct pgrp *g = s ? pgrp_new(p->pid, s) : NULL;
	if (!g) {
		free(s);
		return -ENOMEM;
	}
	session_put(s);
	process_set_pgrp(p, g);
	return p->pid;
}

long sys_set_tid_address(struct task *t, const uint64_t *a)
{
	t->clear_child_tid = a[0];
	return t->tid;
}

long sys_set_robust_list(struct task *t, const uint64_t *a)
{
	if (a[1] != 24)
		return -EINVAL;
	t->robust_list = a[0];
	return 0;
}

long sys_get_robust_list(struct task *t, const uint64_t *a)
{
	struct task *o = (int)a[0] ? task_by_tid((int)a[0]) : t;
	uint64_t len = 24;
	if (!o)
		return -ESRCH;
	if (o->proc != t->proc && !capable(t, CAP_SYS_PTRACE))
		return -EPERM;
	return copyout(t, a[1], &o->robust_list, 8) < 0 || copyout(t, a[2], &len, 8) < 0 ? -EFAULT : 0;
}
