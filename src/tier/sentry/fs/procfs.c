/* The procfs machine: lookup, listing, links and reading by the tables of proc_pid.c and proc_sys.c. */
#include "tier/sentry/fs/procfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/fd.h"

struct node { const struct proc_entry *e; int pid, tid, fd; };
static const struct inode_ops dir_ops, file_inode_ops, link_ops, magic_ops;
static const struct file_ops proc_file_ops, proc_dir_ops;

static struct node *nd(const struct inode *i) { return i->priv; }
static struct proc_ctx ctx(struct task *t, const struct inode *i) { return (struct proc_ctx){ t, nd(i)->pid, nd(i)->tid, nd(i)->fd }; }

struct process *proc_process(const struct proc_ctx *c) { return process_by_pid(c->pid); }

struct task *proc_task(const struct proc_ctx *c)
{
	struct process *p;
	if (c->tid)
		return task_by_tid(c->tid);
	return (p = process_by_pid(c->pid)) ? p->leader : NULL;
}

int proc_copy_host(const char *name, struct strbuf *out)
{
	return file_read_at(K.proc_fd, name, out, 1 << 22);
}

static int make(struct super *sb, const struct proc_entry *e, struct node n, struct inode **ret)
{
	struct node *p = malloc(sizeof(*p));
	const struct inode_ops *ops = S_ISDIR(e->mode) ? &dir_ops : S_ISLNK(e->mode) ? (e->jump ? &magic_ops : &link_ops) : &file_inode_ops;
	struct inode *i = p ? inode_new(sb, e->mode, ops, S_ISDIR(e->mode) ? &proc_dir_ops : &proc_file_ops) : NULL;
	if (!i) {
		free(p);
		return -ENOMEM;
	}
	*p = n;
	p->e = e;
	i->priv = p;
	struct proc_ctx c = { NULL, n.pid, n.tid, 0 };
	const struct task *t = n.pid ? proc_task(&c) : NULL;
	if (t && t->proc->dumpable) {
		i->uid = t->cred->euid;
		i->gid = t->cred->egid;
	}
	*ret = i;
	return 0;
}

int procfs_dir_pid(const struct file *f) { return f->ops == &proc_dir_ops && nd(f->inode)->e == &proc_pid_entry && !nd(f->inode)->tid ? nd(f->inode)->pid : 0; }

static void proc_release(struct inode *i) { free(i->priv); }

/* The key that a number in this directory sets. */
static struct node with_number(const struct node *n, int number)
{
	struct node x = *n;
	if (n->e->each == &proc_pid_entry)
		x.pid = number;
	else if (n->e->each == &proc_task_entry)
		x.tid = number;
	else
		x.fd = number;
	return x;
}

static int proc_lookup(struct inode *dir, const char *name, struct inode **ret)
{
	const struct node *n = nd(dir);
	struct proc_ctx c = ctx(NULL, dir);
	if (c.pid && !proc_process(&c))
		return -ENOENT;
	for (const struct proc_entry *e = n->e->children; e && e->name; e++)
		if (strcmp(e->name, name) == 0)
			return make(dir->sb, e, *n, ret);
	if (!n->e->dynamic || *name < '0' || *name > '9' || (*name == '0' && name[1]) || strlen(name) > 9)
		return -ENOENT;
	int number = atoi(name);
	for (const char *s = name; *s; s++)
		if (*s < '0' || *s > '9')
			return -ENOENT;
	if (n->e->dynamic(&c, number - 1) != number) {
		struct task *t = n->e->each == &proc_pid_entry ? task_by_tid(number) : NULL; /* threads are found by number, not listed */
		if (!t)
			return -ENOENT;
	}
	struct node x = with_number(n, number);
	if (n->e->each == &proc_pid_entry && !process_by_pid(number)) {
		x.pid = task_by_tid(number)->proc->pid;
		x.tid = number;
	}
	return make(dir->sb, n->e->each, x, ret);
}

static bool proc_revalidate(struct inode *dir, const char *name, struct inode *i)
{
	const struct node *n = nd(i);
	(void)dir, (void)name;
	struct proc_ctx c = { NULL, n->pid, n->tid, n->fd };
	return !n->pid || proc_process(&c);
}

static ssize_t proc_readlink(struct task *t, struct inode *i, char *buf, size_t size)
{
	struct proc_ctx c = ctx(t, i);
	return nd(i)->e->text(&c, buf, size);
}

static int proc_magic(struct task *t, struct inode *i, struct path *ret)
{
	struct proc_ctx c = ctx(t, i);
	const struct process *p = proc_process(&c);
	if (!p || !p->leader)
		return -ENOENT;
	if (p != t->proc && !capable(t, CAP_SYS_PTRACE) && p->leader->cred->uid != t->cred->fsuid)
		return -EACCES;
	return nd(i)->e->jump(&c, ret);
}

static int proc_readdir(struct task *t, struct file *f, struct dirctx *d)
{
	const struct node *n = nd(f->inode);
	struct proc_ctx c = ctx(t, f->inode);
	int64_t pos = 0;
	if (f->pos == 0 && d->emit(d, ".", 1, f->inode->ino, 4, f->pos = 1))
		return f->pos = 0, 0;
	if (f->pos == 1 && d->emit(d, "..", 2, 1, 4, f->pos = 2))
		return f->pos = 1, 0;
	for (const struct proc_entry *e = n->e->children; e && e->name; e++, pos++) {
		if (f->pos - 2 > pos)
			continue;
		if (d->emit(d, e->name, strlen(e->name), (uint64_t)(uintptr_t)e ^ (uint64_t)c.pid << 40, e->mode >> 12 & 15, pos + 3))
			return 0;
		f->pos = pos + 3;
	}
	if (!n->e->dynamic)
		return 0;
	int64_t base = 0x100000;
	int after = f->pos < base ? -1 : (int)(f->pos - base);
	for (int k; (k = n->e->dynamic(&c, after)) >= 0; after = k) {
		char name[16];
		int len = snprintf(name, sizeof(name), "%d", k);
		if (d->emit(d, name, (size_t)len, (uint64_t)k << 20 | 1, n->e->each->mode >> 12 & 15, base + k))
			return 0;
		f->pos = base + k;
	}
	return 0;
}

static int proc_open(struct task *t, struct inode *i, struct file *f)
{
	(void)t;
	if (S_ISDIR(i->mode))
		return 0;
	f->priv = calloc(1, sizeof(struct strbuf));
	return f->priv ? 0 : -ENOMEM;
}

static void proc_file_release(struct file *f)
{
	if (f->priv)
		strbuf_free(f->priv);
	free(f->priv);
}

static ssize_t proc_read(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct strbuf *b = f->priv;
	struct proc_ctx c = ctx(t, f->inode);
	if (c.pid && !proc_process(&c))
		return -ESRCH;
	if (*pos == 0 || !b->s) {
		strbuf_clear(b);
		int rc = nd(f->inode)->e->show ? nd(f->inode)->e->show(&c, b) : -EINVAL;
		if (rc < 0)
			return rc;
		if (b->failed)
			return -ENOMEM;
	}
	if (*pos >= (int64_t)b->len)
		return 0;
	ssize_t n = uio_put(u, b->s + *pos, MIN(u->left, b->len - (size_t)*pos));
	if (n > 0)
		*pos += n;
	return n;
}

static ssize_t proc_write(struct task *t, struct file *f, struct uio *u, int64_t *pos)
{
	struct proc_ctx c = ctx(t, f->inode);
	char buf[1024];
	size_t n = MIN(u->left, sizeof(buf) - 1);
	if (!nd(f->inode)->e->store)
		return -EACCES;
	if (uio_get(u, buf, n) != (ssize_t)n)
		return -EFAULT;
	buf[n] = 0;
	ssize_t r = nd(f->inode)->e->store(&c, buf, n);
	if (r > 0)
		*pos += r;
	return r;
}

static const struct inode_ops dir_ops = { .lookup = proc_lookup, .release = proc_release, .open = proc_open };
static const struct inode_ops file_inode_ops = { .release = proc_release, .open = proc_open };
static const struct inode_ops link_ops = { .readlink = proc_readlink, .release = proc_release };
static const struct inode_ops magic_ops = { .readlink = proc_readlink, .magic = proc_magic, .release = proc_release };
static const struct file_ops proc_file_ops = { .read = proc_read, .write = proc_write, .release = proc_file_release };
static const struct file_ops proc_dir_ops = { .readdir = proc_readdir };

static int proc_statfs(struct super *sb, struct statfs *st)
{
	*st = (struct statfs){ .f_type = strcmp(sb->type, "sysfs") ? 0x9fa0 : 0x62656572, .f_bsize = 4096, .f_namelen = 255, .f_frsize = 4096 };
	return 0;
}
static const struct super_ops proc_super_ops = { .revalidate = proc_revalidate, .statfs = proc_statfs };

static int next_pid(const struct proc_ctx *c, int after)
{
	(void)c;
	const struct process *p = process_next(after);
	return p ? p->pid : -1;
}

static const struct proc_entry root_entry = { "/", S_IFDIR | 0555, .children = proc_root_entries, .dynamic = next_pid, .each = &proc_pid_entry };

static struct super *mount_tree(const char *type, const struct proc_entry *root)
{
	struct super *sb = super_new(type, &proc_super_ops, SUPER_REVALIDATE);
	if (!sb || make(sb, root, (struct node){ 0 }, &sb->root) < 0 || !(sb->root_dentry = dentry_root(sb, inode_get(sb->root))))
		return NULL;
	return sb;
}

struct super *procfs_mount(void) { return mount_tree("proc", &root_entry); }

/* ---- sysfs: the few files that programs look at ----------------------------------------------------------------------- */

static int show_cpus(const struct proc_ctx *c, struct strbuf *b)
{
	long n = (long)K.n_cpus;
	(void)c;
	return n > 1 ? strbuf_printf(b, "0-%ld\n", n - 1) : strbuf_puts(b, "0\n");
}
static int show_never(const struct proc_ctx *c, struct strbuf *b) { (void)c; return strbuf_puts(b, "always [madvise] never\n"); }
static int show_hpage(const struct proc_ctx *c, struct strbuf *b) { (void)c; return strbuf_puts(b, "2097152\n"); }
#define F(n, fn) { n, S_IFREG | 0444, .show = fn }
#define D(n, c) { n, S_IFDIR | 0555, .children = c }
static int show_zero(const struct proc_ctx *c, struct strbuf *b) { (void)c; return strbuf_puts(b, "0\n"); }
static int show_last_cpu(const struct proc_ctx *c, struct strbuf *b) { (void)c; return strbuf_printf(b, "%u\n", K.n_cpus - 1); }
static const struct proc_entry sys_topology[] = { F("core_siblings_list", show_cpus), F("package_cpus_list", show_cpus), F("physical_package_id", show_zero), { 0 } };
static const struct proc_entry sys_one_cpu[] = { D("topology", sys_topology), { 0 } };
enum { SYS_CPUS = 1024 };
static struct proc_entry sys_cpu[SYS_CPUS + 5] = { F("kernel_max", show_last_cpu), F("online", show_cpus), F("possible", show_cpus), F("present", show_cpus), { 0 } };

/* One directory for each processor, behind the fixed names. */
static void add_cpus(void)
{
	static char names[SYS_CPUS][12];
	for (unsigned i = 0; i < K.n_cpus && i < SYS_CPUS; i++) {
		snprintf(names[i], sizeof(names[i]), "cpu%u", i);
		sys_cpu[4 + i] = (struct proc_entry)D(names[i], sys_one_cpu);
	}
}
/* A mask in words of eight digits. */
static int show_cpu_mask(const struct proc_ctx *c, struct strbuf *b)
{
	(void)c;
	for (unsigned w = (K.n_cpus + 31) / 32; w-- > 0;) {
		unsigned n = K.n_cpus - w * 32;
		strbuf_printf(b, "%08x%s", n >= 32 ? ~0u : (1u << n) - 1, w ? "," : "\n");
	}
	return b->failed ? -ENOMEM : 0;
}
static const struct proc_entry sys_node0[] = { F("cpulist", show_cpus), F("cpumap", show_cpu_mask), { 0 } };
static const struct proc_entry sys_node[] = { F("online", show_zero), F("possible", show_zero), D("node0", sys_node0), { 0 } };
static const struct proc_entry sys_system[] = { D("cpu", sys_cpu), D("node", sys_node), { 0 } };
static const struct proc_entry sys_devices[] = { D("system", sys_system), { 0 } };
static const struct proc_entry sys_thp[] = { F("enabled", show_never), F("hpage_pmd_size", show_hpage), { 0 } };
static const struct proc_entry sys_kmm[] = { D("transparent_hugepage", sys_thp), { 0 } };
static const struct proc_entry sys_kernel[] = { D("mm", sys_kmm), { 0 } };
static const struct proc_entry none[] = { { 0 } };
static const struct proc_entry sys_fs[] = { D("cgroup", none), { 0 } };
static const struct proc_entry sys_class[] = { D("net", none), { 0 } };
static const struct proc_entry sys_top[] = { D("block", none), D("bus", none), D("class", sys_class), D("dev", none), D("devices", sys_devices),
	D("firmware", none), D("fs", sys_fs), D("kernel", sys_kernel), D("module", none), D("power", none), { 0 } };
static const struct proc_entry sys_root = D("/", sys_top);
struct super *sysfs_mount(void)
{
	add_cpus();
	return mount_tree("sysfs", &sys_root);
}
