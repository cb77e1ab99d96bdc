/* execve: interpreter lines, the point of no return, credentials, the initial stack. */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <unistd.h>

#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "base/str.h"
#include "tier/sentry/task/exec.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/vfs/vfs.h"

enum { SCRIPT_DEPTH = 4, SCRIPT_LINE = 256 };

struct bin {
	struct file *exe, *interp;
	char *path;                /* AT_EXECFN, comm */
	struct strv { char **v; size_t n; } argv;
	struct cred *cred;         /* new credentials, NULL: unchanged */
	bool secure;
};

static int open_exec(struct task *t, const char *path, struct file **ret)
{
	struct path start = t->fs->cwd;
	_cleanup_path_ struct path p = PATH_NONE;
	int rc = path_walk(t, &start, path, WALK_FOLLOW, &p);
	if (rc)
		return rc;
	return exec_open_path(t, &p, ret);
}

int exec_open_path(struct task *t, const struct path *p, struct file **ret)
{
	struct inode *i = p->d->inode;
	struct kstat st;
	int rc;
	if (!is_reg(i))
		return -EACCES;
	if (p->mnt->flags & MS_NOEXEC)
		return -EACCES;
	if ((rc = inode_permission(t, i, X_OK)) < 0 || (rc = inode_getattr(i, &st)) < 0)
		return rc;
	if (!(st.mode & 0111))
		return -EACCES;
	if (i->writers > 0)
		return -ETXTBSY;
	return file_open(t, p, O_RDONLY, true, ret);
}

/* "#!": *ret_argv1 gets interpreter and its one argument. 0: no script, 1: script. */
static int script_line(struct task *t, struct file *f, char line[SCRIPT_LINE + 1], char **ret_interp, char **ret_arg)
{
	ssize_t n = file_pread_kernel(t, f, line, SCRIPT_LINE, 0);
	if (n < 0)
		return (int)n;
	line[n] = 0;
	if (n < 2 || line[0] != '#' || line[1] != '!')
		return 0;
	char *end = memchr(line, '\n', (size_t)n);
	if (end)
		*end = 0;
	else if (n == SCRIPT_LINE && !strpbrk(line + 2 + strspn(line + 2, " \t"), " \t"))
		return -ENOEXEC; /* the interpreter's name is cut off */
	char *s = line + 2;
	s += strspn(s, " \t");
	for (size_t k = strlen(s); k && (s[k - 1] == ' ' || s[k - 1] == '\t'); k--)
		s[k - 1] = 0;
	if (!*s)
		return -ENOEXEC;
	char *arg = s + strcspn(s, " \t");
	if (*arg) {
		*arg++ = 0;
		arg += strspn(arg, " \t");
	}
	*ret_interp = s;
	*ret_arg = *arg ? arg : NULL;
	return 1;
}

static int prepend(struct strv *a, const char *const *head, size_t n_head, size_t skip)
{
	size_t n = a->n - skip;
	char **v = calloc(n_head + n + 1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < n_head; i++)
		if (!(v[i] = strdup(head[i]))) {
			strv_free(v);
			return -ENOMEM;
		}
	for (size_t i = 0; i < skip; i++)
		free(a->v[i]);
	memcpy(v + n_head, a->v + skip, n * sizeof(*v));
	free(a->v);
	a->v = v;
	a->n = n_head + n;
	return 0;
}

static int resolve_scripts(struct task *t, struct bin *b, const char *path)
{
	char line[SCRIPT_LINE + 1];
	_cleanup_free_ char *name = strdup(path);
	for (unsigned depth = 0;; depth++) {
		char *interp = NULL, *arg = NULL;
		int rc = script_line(t, b->exe, line, &interp, &arg);
		if (rc <= 0)
			return rc;
		if (depth == SCRIPT_DEPTH || !name)
			return name ? -ELOOP : -ENOMEM;
		const char *head[3] = { interp, arg ? arg : name, name };
		if ((rc = prepend(&b->argv, head, arg ? 3 : 2, b->argv.n ? 1 : 0)) < 0)
			return rc;
		struct file *f;
		if ((rc = open_exec(t, interp, &f)) < 0)
			return rc;
		file_put(b->exe);
		b->exe = f;
		free(name);
		name = strdup(interp);
	}
}

/* ---- credentials --------------------------------------------------------------------------------------------------- */

static int new_cred(struct task *t, struct bin *b)
{
	const struct cred *o = t->cred;
	struct cred *c = cred_dup(o);
	struct kstat st;
	if (!c)
		return -ENOMEM;
	const uint32_t root = ns_from_uid(c->user, 0);
	bool nosuid = t->no_new_privs || (b->exe->path.mnt && (b->exe->path.mnt->flags & MS_NOSUID));
	bool setid = false;
	if (!nosuid && inode_getattr(b->exe->inode, &st) == 0) {
		bool mapped = ns_to_uid(c->user, st.uid) != NO_ID && ns_to_gid(c->user, st.gid) != NO_ID;
		if (mapped && (st.mode & S_ISUID)) {
			c->euid = st.uid;
			setid = true;
		}
		if (mapped && (st.mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) {
			c->egid = st.gid;
			setid = true;
		}
	}
	setid = setid && (c->euid != o->euid || c->egid != o->egid);
	c->suid = c->fsuid = c->euid;
	c->sgid = c->fsgid = c->egid;
	if (setid)
		c->cap_ambient = 0;
	bool noroot = c->securebits & 1;
	uint64_t f_permitted = 0, f_inheritable = 0;
	bool f_effective = false;
	if (!noroot && (c->euid == root || c->uid == root)) {
		f_permitted = f_inheritable = CAP_ALL_;
		f_effective = c->euid == root;
	}
	c->cap_permitted = (o->cap_inheritable & f_inheritable) | (f_permitted & o->cap_bounding) | c->cap_ambient;
	c->cap_effective = f_effective ? c->cap_permitted : c->cap_ambient;
	if (t->no_new_privs || nosuid)
		c->cap_permitted &= o->cap_permitted | c->cap_ambient;
	c->cap_effective &= c->cap_permitted;
	c->securebits &= ~16u; /* KEEP_CAPS */
	b->secure = c->euid != c->uid || c->egid != c->gid || (setid && c->cap_permitted & ~o->cap_permitted);
	b->cred = c;
	return 0;
}

/* ---- other threads, memory ----------------------------------------------------------------------------------------- */

static int leave_alone(struct task *t)
{
	struct process *p = t->proc;
	struct task *o;
	struct waiter w;
	if (p->execing)
		return -EAGAIN;
	p->execing = t;
	list_for_each(o, &p->threads, thread_node)
		if (o != t)
			task_mark_dying(o);
	waiter_init(&w, t);
	waitq_add(&p->exec_wait, &w);
	while (p->n_threads > 1 && !t->dying)
		if (task_sleep_killable(t, -1) < 0)
			break;
	waitq_del(&w);
	p->execing = NULL;
	if (t->dying)
		return -EINTR;
	p->leader = t;
	if (t->tid != p->pid) {
		pid_bind(t->tid, NULL);
		pid_free(t->tid);
		t->tid = p->pid;
		pid_bind(t->tid, t);
	}
	return 0;
}

/* A vfork child (or a task that has not run yet) moves to an address space of its own. */
static int fresh_memory(struct task *t)
{
	struct host_as *as = t->as;
	struct mailbox *mb = t->mb;
	unsigned slot = t->slot;
	struct gate_uc *uc = t->uc;
	t->as = NULL;
	t->mb = NULL;
	int rc = gate_spawn(t);
	if (rc < 0) {
		t->as = as;
		t->mb = mb;
		t->slot = slot;
		t->slot_va = gate_layout.arena + slot * SLOT_SIZE;
		t->uc = uc;
		t->regs = uc ? &uc->regs : NULL;
		return rc;
	}
	struct task old = { .as = as, .mb = mb, .slot = slot };
	if (as) { /* the old host process goes; its slot with it */
		as_kill(as);
		gate_release(&old);
	}
	if (gate_wait(t) < 0)
		return -EINTR;
	return __atomic_load_n(&t->mb->kind, __ATOMIC_RELAXED) == MB_HELLO ? 0 : -EPROTO;
}

static bool memory_shared(const struct task *t) { return !t->as || t->mm->refs > t->proc->n_threads; }

/* ---- stack ------------------------------------------------------------------------------------------------------------ */

struct stack { uint8_t *img; uint64_t top; size_t used, cap; };

static uint64_t push(struct stack *s, const void *p, size_t n)
{
	s->used += n;
	memcpy(s->img + s->cap - s->used, p, n);
	return s->top - s->used;
}

static size_t strings_size(char *const *v)
{
	size_t n = 0;
	for (; *v; v++)
		n += strlen(*v) + 1 + 8;
	return n + 8;
}

static uint64_t push_strings(struct stack *s, char *const *v, size_t n, uint64_t *addr)
{
	for (size_t i = n; i-- > 0;)
		addr[i] = push(s, v[i], strlen(v[i]) + 1);
	return s->top - s->used;
}

static int build_stack(struct task *t, const struct bin *b, char **envp, const struct elf_image *img, uint64_t *ret_sp)
{
	struct mm *mm = t->mm;
	const struct cred *c = t->cred;
	size_t argc = strv_len(b->argv.v), envc = strv_len(envp);
	uint64_t size = t->proc->rlim[RLIMIT_STACK].rlim_cur;
	uint8_t rnd[16];
	if (size > 64 << 20)
		size = 8 << 20;
	size_t need = strings_size(b->argv.v) + strings_size(envp) + strlen(b->path) + 1024 + sizeof(mm->auxv);
	size = PAGE_UP(MAX(size, (uint64_t)need + 131072));
	long base = mm_map_named(t, 0, size, PROT_READ | PROT_WRITE, MAP_NORESERVE | MAP_STACK, "[stack]");
	if (base < 0)
		return (int)base;
	if (getrandom(rnd, sizeof(rnd), 0) != sizeof(rnd))
		return -EIO;
	_cleanup_free_ uint64_t *addr = calloc(argc + envc + 1, sizeof(*addr));
	struct stack s = { .top = (uint64_t)base + size, .cap = PAGE_UP(need) };
	_cleanup_free_ uint8_t *buf = s.img = calloc(1, s.cap);
	if (!addr || !buf)
		return -ENOMEM;
	uint64_t zero = 0;
	push(&s, &zero, 8);
	uint64_t execfn = push(&s, b->path, strlen(b->path) + 1);
	mm->env_end = s.top - s.used;
	mm->env_start = push_strings(&s, envp, envc, addr + argc);
	mm->arg_end = mm->env_start;
	mm->arg_start = push_strings(&s, b->argv.v, argc, addr);
	uint64_t platform = push(&s, "x86_64", 7), random = push(&s, rnd, sizeof(rnd));
	s.used = (s.used + 15) & ~15ull;
	uint64_t aux[][2] = {
		{ gate_layout.vdso ? AT_SYSINFO_EHDR : AT_IGNORE, gate_layout.vdso }, { 51 /* AT_MINSIGSTKSZ */, getauxval(51) ? getauxval(51) : 2048 },
		{ AT_HWCAP, getauxval(AT_HWCAP) }, { AT_PAGESZ, 4096 }, { AT_CLKTCK, 100 }, { AT_PHDR, img->phdr }, { AT_PHENT, sizeof(Elf64_Phdr) },
		{ AT_PHNUM, img->phnum }, { AT_BASE, img->interp_base }, { AT_FLAGS, 0 }, { AT_ENTRY, img->entry }, { AT_UID, uid_shown(t, c->uid) }, { AT_EUID, uid_shown(t, c->euid) },
		{ AT_GID, gid_shown(t, c->gid) }, { AT_EGID, gid_shown(t, c->egid) }, { AT_SECURE, b->secure }, { AT_RANDOM, random }, { AT_HWCAP2, getauxval(AT_HWCAP2) },
		{ AT_EXECFN, execfn }, { AT_PLATFORM, platform }, { AT_NULL, 0 },
	};
	size_t words = 1 + argc + 1 + envc + 1;
	if ((words * 8 + s.used) % 16)
		s.used += 8;
	push(&s, aux, sizeof(aux));
	mm->n_auxv = sizeof(aux) / 8;
	memcpy(mm->auxv, aux, sizeof(aux));
	push(&s, &zero, 8);
	push(&s, addr + argc, envc * 8);
	push(&s, &zero, 8);
	push(&s, addr, argc * 8);
	uint64_t n = argc;
	*ret_sp = push(&s, &n, 8);
	mm->stack_start = *ret_sp;
	return copyout(t, *ret_sp, s.img + s.cap - s.used, s.used);
}

/* ---- the whole -------------------------------------------------------------------------------------------------------- */

static int new_mm(struct task *t, bool fresh)
{
	struct mm *m = mm_new();
	int rc;
	if (!m)
		return -ENOMEM;
	rc = fresh ? fresh_memory(t) : mm_clear(t);
	if (t->mm)
		mm_put(t->mm);
	t->mm = m;
	return rc;
}

static void reset_task(struct task *t, struct bin *b)
{
	struct process *p = t->proc;
	struct sighand *s = t->sighand;
	if (s->refs > 1) {
		struct sighand *n = sighand_new();
		if (n) {
			memcpy(n->action, s->action, sizeof(n->action));
			sighand_put(s);
			t->sighand = s = n;
		}
	}
	for (unsigned i = 0; i < NSIG_; i++) {
		uint64_t keep = s->action[i].handler == 1;
		s->action[i] = (struct guest_sigaction){ .handler = keep };
	}
	if (t->files->refs > 1) {
		struct fdtable *ft = fdtable_dup(t->files);
		if (ft) {
			fdtable_put(t, t->files);
			t->files = ft;
		}
	}
	fdtable_close_exec(t);
	posix_timers_drop(p);
	t->altstack_sp = t->altstack_size = 0;
	t->altstack_flags = 2;
	t->clear_child_tid = t->robust_list = 0;
	cred_install(t, TAKE(b->cred));
	p->dumpable = !b->secure;
	p->execed = true;
	task_set_comm(t, b->path);
	if (p->exit_signal && p->exit_signal != SIGCHLD)
		p->exit_signal = SIGCHLD;
	if (b->secure)
		t->pdeath_signal = 0;
	process_vfork_done(p);
}

static char *name_of(struct task *t, struct file *f)
{
	char buf[PATH_MAX_];
	return f->path.d && path_name(&f->path, &t->fs->root, buf, sizeof(buf)) > 0 ? strdup(buf) : strdup(f->anon_name ? f->anon_name : "?");
}

static int load_image(struct task *t, struct bin *b, char **envp)
{
	struct elf_image img;
	uint64_t sp = 0;
	int rc;
	if ((rc = new_mm(t, memory_shared(t))) < 0)
		return rc;
	reset_task(t, b);
	if ((rc = elf_load(t, b->exe, b->interp, &img)) < 0 || (rc = build_stack(t, b, envp, &img, &sp)) < 0)
		return rc;
	t->mm->brk_start = t->mm->brk = t->mm->brk_mapped = PAGE_UP(img.brk);
	t->mm->exe = file_get(b->exe);
	free(t->proc->exe_path);
	t->proc->exe_path = name_of(t, b->exe);
	if ((rc = gate_set_fs(t, 0)) < 0)
		return rc;
	struct gate_regs *r = t->regs;
	uint64_t fp = r->fpstate;
	uint16_t cs = r->cs, ss = r->ss;
	memset(r, 0, offsetof(struct gate_regs, fpstate));
	r->cs = cs;
	r->ss = ss;
	r->fpstate = fp;
	r->eflags = 0x202;
	r->rip = img.base;
	r->rsp = sp;
	sigframe_reset_fp(t);
	return 0;
}

static void bin_free(struct bin *b)
{
	if (b->exe)
		file_put(b->exe);
	if (b->interp)
		file_put(b->interp);
	free(b->path);
	strv_free(b->argv.v);
	cred_put(b->cred);
}

long task_exec(struct task *t, struct file *exe, const char *path, char **argv, char **envp, bool path_inaccessible)
{
	CLEANUP(bin_free) struct bin b = { .exe = exe, .path = strdup(path), .argv = { argv, strv_len(argv) } };
	_cleanup_free_ char *interp = NULL;
	int rc;
	if (!b.path)
		return -ENOMEM;
	if (path_inaccessible) { /* a script could not be opened by its name */
		char two[2] = "";
		if (file_pread_kernel(t, exe, two, 2, 0) == 2 && two[0] == '#' && two[1] == '!')
			return -ENOENT;
	}
	if (!b.argv.n && (rc = prepend(&b.argv, (const char *const[]){ "" }, 1, 0)) < 0)
		return rc;
	if ((rc = resolve_scripts(t, &b, path)) < 0)
		return rc;
	if ((rc = elf_check(t, b.exe, &interp)) < 0)
		return rc;
	if (interp && (rc = open_exec(t, interp, &b.interp)) < 0)
		return rc;
	if (b.interp) {
		_cleanup_free_ char *none = NULL;
		if ((rc = elf_check(t, b.interp, &none)) < 0)
			return rc == -ENOEXEC ? -ELIBBAD : rc;
	}
	if ((rc = new_cred(t, &b)) < 0 || (rc = leave_alone(t)) < 0)
		return rc;
	rc = load_image(t, &b, envp);
	if (rc < 0 && !t->dying) { /* past the point of no return */
		klog("execve %s: %s", path, strerror(-rc));
		process_kill(t->proc, SIGKILL);
	}
	t->no_result = true;
	return 0;
}
