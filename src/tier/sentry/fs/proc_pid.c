/* Contents of /proc/PID and /proc/PID/task/TID. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "tier/sentry/fs/procfs.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/ns.h"

#define SHOW(name) static int name(const struct proc_ctx *c, struct strbuf *b)
#define NEED_TASK(t) struct task *t = proc_task(c); if (!t) return 0
#define F(n, fn) { n, S_IFREG | 0444, .show = fn }
#define D(n, ch) { n, S_IFDIR | 0555, .children = ch }

static char state_of(const struct process *p, const struct task *t)
{
	if (p->zombie || !t)
		return 'Z';
	return p->stopped ? 'T' : t->in_guest ? 'R' : t->sleeping ? 'S' : 'R';
}

/* Resident pages as the host counts them: second field of /proc/PID/statm. */
static uint64_t resident(const struct task *t)
{
	char name[32];
	unsigned long size = 0, rss = 0, shared = 0;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	if (!t || !t->as || !t->as->pid || t->as->gone)
		return 0;
	snprintf(name, sizeof(name), "%d/statm", t->as->pid);
	if (proc_copy_host(name, &b) < 0 || sscanf(strbuf_str(&b), "%lu %lu %lu", &size, &rss, &shared) < 3)
		return 0;
	return rss;
}

/* Cpus_allowed as hexadecimal words and as ranges. */
static void cpu_lists(const struct task *t, struct strbuf *b)
{
	const cpu_set_t *s = t->affinity ? t->affinity : &K.cpus;
	strbuf_puts(b, "Cpus_allowed:\t");
	for (unsigned w = (K.n_cpus + 31) / 32; w-- > 0;) {
		uint32_t v = 0;
		for (unsigned i = 0; i < 32; i++)
			v |= CPU_ISSET(w * 32 + i, s) ? 1u << i : 0;
		strbuf_printf(b, K.n_cpus >= 32 ? "%08x%s" : "%x%s", v, w ? "," : "\n");
	}
	strbuf_puts(b, "Cpus_allowed_list:\t");
	const char *sep = "";
	for (unsigned i = 0; i < K.n_cpus; i++) {
		unsigned j = i;
		while (CPU_ISSET(j, s) && j < K.n_cpus)
			j++;
		if (j == i)
			continue;
		strbuf_printf(b, j - i > 1 ? "%s%u-%u" : "%s%u", sep, i, j - 1);
		sep = ",";
		i = j;
	}
	strbuf_putc(b, '\n');
}

SHOW(show_status)
{
	struct process *p = proc_process(c);
	const struct task *t = proc_task(c);
	static const char *const names[256] = { ['R'] = "R (running)", ['S'] = "S (sleeping)", ['T'] = "T (stopped)", ['Z'] = "Z (zombie)" };
	if (!p)
		return -ESRCH;
	strbuf_printf(b, "Name:\t%s\n", t ? t->comm : "?");
	if (t && t->fs)
		strbuf_printf(b, "Umask:\t%04o\n", t->fs->umask);
	strbuf_printf(b, "State:\t%s\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", names[(unsigned char)state_of(p, t)], p->pid,
		c->tid ? c->tid : p->pid, p->parent ? p->parent->pid : 0);
	if (!t)
		return 0;
	const struct cred *k = t->cred;
#define U(id) uid_shown(c->reader, id)
#define G(id) gid_shown(c->reader, id)
	strbuf_printf(b, "Uid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t%u\nGroups:\t", U(k->uid), U(k->euid), U(k->suid), U(k->fsuid), G(k->gid), G(k->egid), G(k->sgid),
		G(k->fsgid), t->files ? t->files->cap : 0);
	for (uint32_t i = 0; i < k->n_groups; i++)
		strbuf_printf(b, "%u ", G(k->groups[i]));
#undef U
#undef G
	uint64_t rss = resident(t), caught = 0, ignored = 0;
	for (unsigned s = 0; s < NSIG_; s++) {
		ignored |= t->sighand->action[s].handler == 1 ? 1ull << s : 0;
		caught |= t->sighand->action[s].handler > 1 ? 1ull << s : 0;
	}
	strbuf_printf(b, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", p->pid, c->tid ? c->tid : p->pid, p->pgrp ? p->pgrp->pgid : 0,
		p->pgrp ? p->pgrp->session->sid : 0);
	uint64_t kb = t->mm->total_pages * 4;
	strbuf_printf(b, "VmPeak:\t%8llu kB\nVmSize:\t%8llu kB\nVmLck:\t%8llu kB\nVmPin:\t       0 kB\nVmHWM:\t%8llu kB\nVmRSS:\t%8llu kB\nVmData:\t%8llu kB\n"
		"VmStk:\t     132 kB\nVmSwap:\t       0 kB\n", (unsigned long long)kb, (unsigned long long)kb, (unsigned long long)t->mm->locked_pages * 4,
		(unsigned long long)rss * 4, (unsigned long long)rss * 4, (unsigned long long)kb);
	strbuf_printf(b, "Threads:\t%u\nSigQ:\t0/%llu\nSigPnd:\t%016llx\nShdPnd:\t%016llx\nSigBlk:\t%016llx\nSigIgn:\t%016llx\nSigCgt:\t%016llx\n", p->n_threads,
		(unsigned long long)p->rlim[RLIMIT_SIGPENDING].rlim_cur, (unsigned long long)t->pending.set, (unsigned long long)p->shared_pending.set,
		(unsigned long long)t->blocked, (unsigned long long)ignored, (unsigned long long)caught);
	strbuf_printf(b, "CapInh:\t%016llx\nCapPrm:\t%016llx\nCapEff:\t%016llx\nCapBnd:\t%016llx\nCapAmb:\t%016llx\n", (unsigned long long)k->cap_inheritable,
		(unsigned long long)k->cap_permitted, (unsigned long long)k->cap_effective, (unsigned long long)k->cap_bounding, (unsigned long long)k->cap_ambient);
	strbuf_printf(b, "NoNewPrivs:\t%d\nSeccomp:\t%d\nSeccomp_filters:\t%u\nSpeculation_Store_Bypass:\tvulnerable\n", t->no_new_privs, t->seccomp_mode,
		seccomp_count(t->seccomp));
	cpu_lists(t, b);
	struct rusage ru;
	process_rusage(p, &ru);
	return strbuf_printf(b, "Mems_allowed:\t00000001\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t%ld\nnonvoluntary_ctxt_switches:\t%ld\n", ru.ru_nvcsw,
		ru.ru_nivcsw);
}

SHOW(show_stat)
{
	struct process *p = proc_process(c);
	struct task *t = proc_task(c);
	struct rusage ru = { 0 };
	if (!p)
		return -ESRCH;
	process_rusage(p, &ru);
	unsigned long long ut = (unsigned long long)(ru.ru_utime.tv_sec * 100 + ru.ru_utime.tv_usec / 10000), st = (unsigned long long)(ru.ru_stime.tv_sec * 100 + ru.ru_stime.tv_usec / 10000);
	const struct mm *m = t ? t->mm : NULL;
	return strbuf_printf(b, "%d (%s) %c %d %d %d %d %d 4194560 %ld 0 %ld 0 %llu %llu %ld %ld %d %d %u 0 %lld %llu %llu %llu %llu %llu %llu 0 0 %llu %llu %llu %llu "
		"0 0 0 %d 0 0 0 0 0 0 0 0 0 %llu %llu %llu %llu %d\n", c->tid ? c->tid : p->pid, t ? t->comm : "?", state_of(p, t), p->parent ? p->parent->pid : 0,
		p->pgrp ? p->pgrp->pgid : 0, p->pgrp ? p->pgrp->session->sid : 0, p->pgrp && p->pgrp->session->tty ? (int)makedev(136, 0) : 0, -1, ru.ru_minflt, ru.ru_majflt, ut, st,
		(long)p->ru_children.ru_utime.tv_sec * 100, (long)p->ru_children.ru_stime.tv_sec * 100, 20 + p->nice, p->nice, p->n_threads,
		(long long)((p->start_ns) / 10000000), m ? (unsigned long long)m->total_pages * 4096 : 0ull, (unsigned long long)resident(t),
		(unsigned long long)p->rlim[RLIMIT_RSS].rlim_cur, 0ull, 0ull, m ? (unsigned long long)m->stack_start : 0ull, t ? (unsigned long long)t->pending.set : 0ull,
		t ? (unsigned long long)t->blocked : 0ull, 0ull, 0ull, p->exit_signal, m ? (unsigned long long)m->arg_start : 0ull, m ? (unsigned long long)m->arg_end : 0ull,
		m ? (unsigned long long)m->env_start : 0ull, m ? (unsigned long long)m->env_end : 0ull, p->exit_status);
}

SHOW(show_statm)
{
	NEED_TASK(t);
	uint64_t rss = resident(t);
	return strbuf_printf(b, "%llu %llu 0 0 0 %llu 0\n", (unsigned long long)t->mm->total_pages, (unsigned long long)rss, (unsigned long long)t->mm->total_pages);
}

static int range(struct task *t, uint64_t lo, uint64_t hi, struct strbuf *b)
{
	char buf[1024];
	if (hi - lo > 1 << 20)
		hi = lo + (1 << 20);
	while (lo < hi) {
		size_t n = MIN(hi - lo, (uint64_t)sizeof(buf));
		ssize_t k = copyin_some(t, buf, lo, n);
		if (k <= 0)
			break;
		strbuf_add(b, buf, (size_t)k);
		lo += (uint64_t)k;
	}
	return 0;
}
SHOW(show_cmdline)
{
	NEED_TASK(t);
	return t->as ? range(t, t->mm->arg_start, t->mm->arg_end, b) : 0;
}
SHOW(show_environ)
{
	NEED_TASK(t);
	return t->as ? range(t, t->mm->env_start, t->mm->env_end, b) : 0;
}
SHOW(show_auxv)
{
	NEED_TASK(t);
	return strbuf_add(b, t->mm->auxv, t->mm->n_auxv * 8);
}
SHOW(show_comm)
{
	NEED_TASK(t);
	return strbuf_printf(b, "%s\n", t->comm);
}
static ssize_t store_comm(const struct proc_ctx *c, const char *s, size_t n)
{
	struct task *t = proc_task(c);
	if (!t || t->proc != c->reader->proc)
		return -EINVAL;
	snprintf(t->comm, sizeof(t->comm), "%.*s", (int)strcspn(s, "\n"), s);
	return (ssize_t)n;
}

static void file_name(const struct proc_ctx *c, struct file *f, char *buf, size_t size)
{
	if (f->anon_name)
		snprintf(buf, size, "%s", f->anon_name);
	else if (!f->path.d || path_name(&f->path, &c->reader->fs->root, buf, size) < 0)
		snprintf(buf, size, "/");
}

SHOW(show_maps)
{
	char name[PATH_MAX_];
	NEED_TASK(t);
	for (unsigned i = 0; i < t->mm->n; i++) {
		const struct vma *v = &t->mm->v[i];
		struct kstat st = { 0 };
		size_t at = b->len;
		*name = 0;
		if (v->file) {
			inode_getattr(v->file->inode, &st);
			file_name(c, v->file, name, sizeof(name));
		} else if (v->name) {
			snprintf(name, sizeof(name), "%s", v->name);
		}
		strbuf_printf(b, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu ", (unsigned long long)v->start, (unsigned long long)v->end, v->prot & PROT_READ ? 'r' : '-',
			v->prot & PROT_WRITE ? 'w' : '-', v->prot & PROT_EXEC ? 'x' : '-', v->flags & MAP_SHARED ? 's' : 'p', v->file ? (unsigned long long)v->off : 0ull,
			major(st.dev), minor(st.dev), (unsigned long long)st.ino);
		while (*name && b->len - at < 73)
			strbuf_putc(b, ' ');
		strbuf_printf(b, "%s\n", name);
	}
	if (gate_layout.vdso && t->mm->n)
		strbuf_printf(b, "%08llx-%08llx r-xp 00000000 00:00 0                          [vdso]\n", (unsigned long long)gate_layout.vdso,
			(unsigned long long)gate_layout.vdso_hi);
	return 0;
}

static void mount_options(const struct mount *m, struct strbuf *b)
{
	strbuf_puts(b, m->flags & MS_RDONLY ? "ro" : "rw");
	if (m->flags & MS_NOSUID)
		strbuf_puts(b, ",nosuid");
	if (m->flags & MS_NODEV)
		strbuf_puts(b, ",nodev");
	if (m->flags & MS_NOEXEC)
		strbuf_puts(b, ",noexec");
	if (m->flags & MS_NOATIME)
		strbuf_puts(b, ",noatime");
	if (m->flags & MS_NODIRATIME)
		strbuf_puts(b, ",nodiratime");
	if (m->flags & MS_RELATIME)
		strbuf_puts(b, ",relatime");
	if (m->flags & 256 /* MS_NOSYMFOLLOW */)
		strbuf_puts(b, ",nosymfollow");
}

static void super_options(const struct mount *m, struct strbuf *b)
{
	char extra[256];
	if (m->sb->ops && m->sb->ops->show_options && m->sb->ops->show_options(m->sb, extra, sizeof(extra)) > 0)
		strbuf_puts(b, extra);
}

/* Blanks and backslashes as octal, as getmntent(3) reads them. */
static void escaped(const char *s, struct strbuf *b)
{
	for (; *s; s++)
		if (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\\' || *s == '#')
			strbuf_printf(b, "\\%03o", (unsigned char)*s);
		else
			strbuf_putc(b, *s);
}

/* Where in its file system a mount begins. */
static void mount_root(const struct mount *m, struct strbuf *b)
{
	char buf[PATH_MAX_];
	size_t at = sizeof(buf) - 1;
	buf[at] = 0;
	for (const struct dentry *d = m->root; d->parent != d && d != m->sb->root_dentry; d = d->parent) {
		size_t n = strlen(d->name);
		if (at < n + 1)
			break;
		at -= n;
		memcpy(buf + at, d->name, n);
		buf[--at] = '/';
	}
	escaped(buf[at] ? buf + at : "/", b);
}

static bool mount_name(const struct task *t, struct mount *m, char *buf, size_t size)
{
	struct path p = { m, m->root };
	return path_name(&p, &t->fs->root, buf, size) > 0 && *buf == '/';
}
static const char *fs_type(const struct mount *m) { return strcmp(m->sb->type, "host") ? m->sb->type : "ext4"; }

SHOW(show_mounts)
{
	char name[PATH_MAX_];
	struct mount *m;
	NEED_TASK(t);
	list_for_each(m, &t->fs->ns->mounts, ns_node) {
		if (!mount_name(t, m, name, sizeof(name)))
			continue;
		escaped(m->source, b);
		strbuf_putc(b, ' ');
		escaped(name, b);
		strbuf_printf(b, " %s ", fs_type(m));
		mount_options(m, b);
		super_options(m, b);
		strbuf_puts(b, " 0 0\n");
	}
	return 0;
}
SHOW(show_mountinfo)
{
	char name[PATH_MAX_];
	struct mount *m;
	NEED_TASK(t);
	list_for_each(m, &t->fs->ns->mounts, ns_node) {
		if (!mount_name(t, m, name, sizeof(name)))
			continue;
		strbuf_printf(b, "%d %d %u:%u ", m->id, m->parent ? m->parent->id : 1, major(m->sb->dev), minor(m->sb->dev));
		mount_root(m, b);
		strbuf_putc(b, ' ');
		escaped(name, b);
		strbuf_putc(b, ' ');
		mount_options(m, b);
		if (m->group)
			strbuf_printf(b, " shared:%d", m->group);
		if (m->master)
			strbuf_printf(b, " master:%d", m->master);
		if (m->unbindable)
			strbuf_puts(b, " unbindable");
		strbuf_printf(b, " - %s ", fs_type(m));
		escaped(m->source, b);
		strbuf_puts(b, (m->flags & MS_RDONLY) || (m->sb->flags & SUPER_RDONLY) ? " ro" : " rw");
		super_options(m, b);
		strbuf_putc(b, '\n');
	}
	return 0;
}

SHOW(show_limits)
{
	static const struct { int n; const char *name, *unit; } rows[] = { { RLIMIT_CPU, "Max cpu time", "seconds" }, { RLIMIT_FSIZE, "Max file size", "bytes" },
		{ RLIMIT_DATA, "Max data size", "bytes" }, { RLIMIT_STACK, "Max stack size", "bytes" }, { RLIMIT_CORE, "Max core file size", "bytes" },
		{ RLIMIT_RSS, "Max resident set", "bytes" }, { RLIMIT_NPROC, "Max processes", "processes" }, { RLIMIT_NOFILE, "Max open files", "files" },
		{ RLIMIT_MEMLOCK, "Max locked memory", "bytes" }, { RLIMIT_AS, "Max address space", "bytes" }, { RLIMIT_LOCKS, "Max file locks", "locks" },
		{ RLIMIT_SIGPENDING, "Max pending signals", "signals" }, { RLIMIT_MSGQUEUE, "Max msgqueue size", "bytes" }, { RLIMIT_NICE, "Max nice priority", "" },
		{ RLIMIT_RTPRIO, "Max realtime priority", "" }, { RLIMIT_RTTIME, "Max realtime timeout", "us" } };
	struct process *p = proc_process(c);
	strbuf_printf(b, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
	for (unsigned i = 0; p && i < ARRAY_SIZE(rows); i++) {
		char v[2][24];
		for (unsigned k = 0; k < 2; k++) {
			rlim_t x = k ? p->rlim[rows[i].n].rlim_max : p->rlim[rows[i].n].rlim_cur;
			if (x == RLIM_INFINITY)
				strcpy(v[k], "unlimited");
			else
				snprintf(v[k], sizeof(v[k]), "%llu", (unsigned long long)x);
		}
		strbuf_printf(b, "%-25s %-20s %-20s %-10s\n", rows[i].name, v[0], v[1], rows[i].unit);
	}
	return 0;
}

SHOW(show_cgroup) { (void)c; return strbuf_puts(b, "0::/\n"); }
SHOW(show_zero) { (void)c; return strbuf_puts(b, "0\n"); }
SHOW(show_uid_map)
{
	NEED_TASK(t);
	return idmap_show(c->reader, t->cred->user, false, b);
}
SHOW(show_gid_map)
{
	NEED_TASK(t);
	return idmap_show(c->reader, t->cred->user, true, b);
}
SHOW(show_setgroups)
{
	NEED_TASK(t);
	return strbuf_puts(b, t->cred->user->setgroups_denied ? "deny\n" : "allow\n");
}
#define USERNS_STORE(name, call) static ssize_t store_##name(const struct proc_ctx *c, const char *s, size_t n) \
	{ struct task *t = proc_task(c); return t ? call : -ESRCH; }
USERNS_STORE(uid_map, idmap_store(c->reader, t->cred->user, false, s, n))
USERNS_STORE(gid_map, idmap_store(c->reader, t->cred->user, true, s, n))
USERNS_STORE(setgroups, setgroups_store(c->reader, t->cred->user, s, n))
SHOW(show_loginuid) { (void)c; return strbuf_puts(b, "4294967295"); }
SHOW(show_io) { (void)c; return strbuf_puts(b, "rchar: 0\nwchar: 0\nsyscr: 0\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"); }
SHOW(show_wchan)
{
	(void)c;
	return strbuf_putc(b, '0');
}
SHOW(show_syscall)
{
	NEED_TASK(t);
	if (t != c->reader && (t->in_guest || !t->in_syscall))
		return strbuf_puts(b, "running\n");
	strbuf_printf(b, "%llu", (unsigned long long)t->nr);
	for (unsigned i = 0; i < 6; i++)
		strbuf_printf(b, " 0x%llx", (unsigned long long)t->args[i]);
	return strbuf_printf(b, " 0x%llx 0x%llx\n", t->regs ? (unsigned long long)t->regs->rsp : 0ull, t->regs ? (unsigned long long)t->regs->rip : 0ull);
}
SHOW(show_personality)
{
	NEED_TASK(t);
	return strbuf_printf(b, "%08lx\n", t->personality);
}
SHOW(show_oom_adj)
{
	const struct process *p = proc_process(c);
	return strbuf_printf(b, "%d\n", p ? p->oom_score_adj : 0);
}
static ssize_t store_oom_adj(const struct proc_ctx *c, const char *s, size_t n)
{
	struct process *p = proc_process(c);
	long v = strtol(s, NULL, 10);
	if (v < -1000 || v > 1000)
		return -EINVAL;
	if (p && v < p->oom_score_adj && !capable(c->reader, CAP_SYS_RESOURCE))
		return -EACCES;
	if (p)
		p->oom_score_adj = (int)v;
	return (ssize_t)n;
}

/* ---- links ------------------------------------------------------------------------------------------------------------- */

static int give(const struct path *p, struct path *ret)
{
	if (!p->d)
		return -ENOENT;
	*ret = path_copy(p);
	return 0;
}
static ssize_t name_text(const struct proc_ctx *c, const struct path *p, char *buf, size_t size)
{
	char tmp[PATH_MAX_];
	int n = p->d ? path_name(p, &c->reader->fs->root, tmp, sizeof(tmp)) : -ENOENT;
	if (n < 0)
		return n;
	n = (int)MIN((size_t)n, size);
	memcpy(buf, tmp, (size_t)n);
	return n;
}
#define LINK(what, expr) \
	static int jump_##what(const struct proc_ctx *c, struct path *ret) { const struct task *t = proc_task(c); return t && (expr) ? give(expr, ret) : -ENOENT; } \
	static ssize_t text_##what(const struct proc_ctx *c, char *buf, size_t size) { const struct task *t = proc_task(c); return t && (expr) ? name_text(c, expr, buf, size) : -ENOENT; }
LINK(exe, t->mm && t->mm->exe ? &t->mm->exe->path : NULL)
LINK(cwd, t->fs ? &t->fs->cwd : NULL)
LINK(root, t->fs ? &t->fs->root : NULL)

static struct file *fd_of(const struct proc_ctx *c)
{
	struct task *t = proc_task(c);
	return t && t->files ? fd_file_any(t, c->fd) : NULL;
}
static int jump_fd(const struct proc_ctx *c, struct path *ret)
{
	const struct file *f = fd_of(c);
	if (!f)
		return -ENOENT;
	if (f->path.d)
		return give(&f->path, ret);
	return file_anon_path(f, ret);
}
static ssize_t text_fd(const struct proc_ctx *c, char *buf, size_t size)
{
	char tmp[PATH_MAX_];
	struct file *f = fd_of(c);
	if (!f)
		return -ENOENT;
	file_name(c, f, tmp, sizeof(tmp));
	size_t n = MIN(strlen(tmp), size);
	memcpy(buf, tmp, n);
	return (ssize_t)n;
}
static int next_fd(const struct proc_ctx *c, int after)
{
	const struct task *t = proc_task(c);
	for (int fd = after < 0 ? 0 : after + 1; t && t->files && (unsigned)fd < t->files->cap; fd++)
		if (t->files->v[fd].f)
			return fd;
	return -1;
}
static int next_tid(const struct proc_ctx *c, int after)
{
	const struct process *p = proc_process(c);
	struct task *t;
	int best = -1;
	if (!p)
		return -1;
	list_for_each(t, &p->threads, thread_node)
		if (t->tid > after && (best < 0 || t->tid < best))
			best = t->tid;
	return best;
}
SHOW(show_fdinfo)
{
	struct file *f = fd_of(c);
	char extra[512];
	if (!f)
		return -ENOENT;
	strbuf_printf(b, "pos:\t%lld\nflags:\t0%o\nmnt_id:\t%d\nino:\t%llu\n", (long long)f->pos, f->flags | 0100000, f->path.mnt ? f->path.mnt->id : 15,
		(unsigned long long)f->inode->ino);
	if (f->ops && f->ops->fdinfo && f->ops->fdinfo(f, extra, sizeof(extra)) > 0)
		strbuf_puts(b, extra);
	return 0;
}

#define NS(n, kind) \
	static ssize_t text_ns_##n(const struct proc_ctx *c, char *buf, size_t size) { const struct task *t = proc_task(c); return t ? ns_name(t, kind, buf, size) : -ENOENT; } \
	static int jump_ns_##n(const struct proc_ctx *c, struct path *ret) { const struct task *t = proc_task(c); return t ? ns_path(t, kind, ret) : -ENOENT; }
NS(cgroup, NS_CGROUP)
NS(ipc, NS_IPC)
NS(mnt, NS_MNT)
NS(net, NS_NET)
NS(pid, NS_PID)
NS(user, NS_USER)
NS(uts, NS_UTS)
#define L(n, id) { n, S_IFLNK | 0777, .text = text_ns_##id, .jump = jump_ns_##id }
static const struct proc_entry ns_dir[] = { L("cgroup", cgroup), L("ipc", ipc), L("mnt", mnt), L("net", net), L("pid", pid), L("pid_for_children", pid),
	L("user", user), L("uts", uts), { 0 } };
static const struct proc_entry fd_entry = { "", S_IFLNK | 0700, .jump = jump_fd, .text = text_fd };
static const struct proc_entry fdinfo_entry = { "", S_IFREG | 0400, .show = show_fdinfo };

#define W(n, id) { n, S_IFREG | 0644, .show = show_##id, .store = store_##id }
#define COMMON F("auxv", show_auxv), F("cgroup", show_cgroup), F("cmdline", show_cmdline), { "comm", S_IFREG | 0644, .show = show_comm, .store = store_comm }, \
	{ "cwd", S_IFLNK | 0777, .jump = jump_cwd, .text = text_cwd }, { "environ", S_IFREG | 0400, .show = show_environ }, \
	{ "exe", S_IFLNK | 0777, .jump = jump_exe, .text = text_exe }, { "fd", S_IFDIR | 0500, .dynamic = next_fd, .each = &fd_entry }, \
	{ "fdinfo", S_IFDIR | 0500, .dynamic = next_fd, .each = &fdinfo_entry }, W("gid_map", gid_map), F("io", show_io), F("limits", show_limits), \
	F("loginuid", show_loginuid), F("maps", show_maps), F("mountinfo", show_mountinfo), F("mounts", show_mounts), D("net", proc_net_entries), D("ns", ns_dir), \
	F("oom_score", show_zero), { "oom_score_adj", S_IFREG | 0644, .show = show_oom_adj, .store = store_oom_adj }, F("personality", show_personality), \
	{ "root", S_IFLNK | 0777, .jump = jump_root, .text = text_root }, F("sessionid", show_loginuid), W("setgroups", setgroups), F("smaps", show_maps), \
	F("stat", show_stat), F("statm", show_statm), F("status", show_status), W("uid_map", uid_map), F("syscall", show_syscall), F("wchan", show_wchan)
static const struct proc_entry task_dir[] = { COMMON, { 0 } };
const struct proc_entry proc_task_entry = D("", task_dir);
static const struct proc_entry pid_dir[] = { COMMON, { "task", S_IFDIR | 0555, .dynamic = next_tid, .each = &proc_task_entry }, { 0 } };
const struct proc_entry proc_pid_entry = D("", pid_dir);
