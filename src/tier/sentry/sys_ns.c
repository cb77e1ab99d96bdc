/* unshare, setns, and the files that stand for namespaces. */
#include <errno.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tier/sentry/abi/handlers.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/task.h"

/* ---- files -------------------------------------------------------------------------------------------------------------- */

struct nsfile { enum ns_kind kind; void *ns; };

static const struct { const char *name; uint64_t flag; } kinds[NS_KINDS] = { [NS_CGROUP] = { "cgroup", CLONE_NEWCGROUP }, [NS_IPC] = { "ipc", CLONE_NEWIPC },
	[NS_MNT] = { "mnt", CLONE_NEWNS }, [NS_NET] = { "net", CLONE_NEWNET }, [NS_PID] = { "pid", CLONE_NEWPID }, [NS_USER] = { "user", CLONE_NEWUSER },
	[NS_UTS] = { "uts", CLONE_NEWUTS } };

static void *ns_of(const struct task *t, enum ns_kind kind)
{
	switch (kind) {
	case NS_CGROUP: return t->ns->cgroup;
	case NS_IPC: return t->ns->ipc;
	case NS_MNT: return t->fs ? t->fs->ns : NULL;
	case NS_USER: return t->cred->user;
	case NS_UTS: return t->ns->uts;
	default: return NULL; /* one of each */
	}
}

static uint32_t inum_of(enum ns_kind kind, const void *ns)
{
	switch (kind) {
	case NS_CGROUP: return ((const struct cgroupns *)ns)->inum;
	case NS_IPC: return ipcns_inum(ns);
	case NS_MNT: return ((const struct mntns *)ns)->inum;
	case NS_USER: return ((const struct userns *)ns)->inum;
	case NS_UTS: return ((const struct utsns *)ns)->inum;
	case NS_PID: return 0xeffffffcu; /* PROC_PID_INIT_INO */
	default: return 0xf0000000u;
	}
}

static struct userns *owner_of(enum ns_kind kind, void *ns)
{
	switch (kind) {
	case NS_CGROUP: return ((struct cgroupns *)ns)->user;
	case NS_IPC: return ipcns_user(ns);
	case NS_MNT: return ((struct mntns *)ns)->user;
	case NS_USER: return ((struct userns *)ns)->parent;
	case NS_UTS: return ((struct utsns *)ns)->user;
	default: return &init_userns;
	}
}

static void hold(enum ns_kind kind, void *ns, int by)
{
	switch (kind) {
	case NS_CGROUP: ((struct cgroupns *)ns)->refs += (unsigned)by; break;
	case NS_IPC: by > 0 ? (void)ipcns_get(ns) : ipcns_put(ns); break;
	case NS_MNT:
		if (by > 0)
			((struct mntns *)ns)->refs++;
		else
			mntns_put(ns);
		break;
	case NS_USER: by > 0 ? (void)userns_get(ns) : userns_put(ns); break;
	case NS_UTS: ((struct utsns *)ns)->refs += (unsigned)by; break;
	default: break;
	}
}

static void nsfile_release(struct inode *i)
{
	struct nsfile *n = i->priv;
	hold(n->kind, n->ns, -1);
	free(n);
}

static int make_path(enum ns_kind kind, void *ns, struct path *ret);

static long nsfile_ioctl(struct task *t, struct file *f, unsigned cmd, uint64_t arg)
{
	const struct nsfile *n = f->inode->priv;
	struct userns *u = owner_of(n->kind, n->ns);
	struct path p;
	struct file *made;
	int rc;
	switch (cmd) {
	case NS_GET_NSTYPE: return (long)kinds[n->kind].flag;
	case NS_GET_OWNER_UID: {
		if (n->kind != NS_USER)
			return -EINVAL;
		uint32_t uid = uid_shown(t, ((struct userns *)n->ns)->owner);
		return copyout(t, arg, &uid, 4);
	}
	case NS_GET_PARENT:
		if (n->kind != NS_USER)
			return n->kind == NS_PID ? -EPERM : -EINVAL;
		__attribute__((fallthrough));
	case NS_GET_USERNS:
		for (const struct userns *x = u; x != t->cred->user; x = x->parent)
			if (!x)
				return -EPERM; /* outside of what the caller may see */
		if ((rc = make_path(NS_USER, u, &p)) < 0)
			return rc;
		rc = file_open(t, &p, O_RDONLY, true, &made);
		path_put(&p);
		return rc ? rc : fd_give(t, made, O_CLOEXEC);
	default: return -ENOTTY;
	}
}

static const struct inode_ops nsfile_inode_ops = { .release = nsfile_release };
static const struct file_ops nsfile_ops = { .ioctl = nsfile_ioctl };

static int make_path(enum ns_kind kind, void *ns, struct path *ret)
{
	static struct super *sb;
	static struct mntns *holder;
	static struct mount *m;
	if (!sb) {
		struct inode *root;
		struct dentry *d;
		if (!(sb = super_new("nsfs", NULL, 0)) || !(root = inode_new(sb, S_IFDIR | 0555, NULL, NULL)) || !(d = dentry_root(sb, root)) ||
		    !(holder = mntns_new(&init_userns)) || mntns_attach(holder, sb, d, NULL, 0, "nsfs", &m) < 0)
			return -ENOMEM;
		m->ns = NULL;
	}
	struct nsfile *n = malloc(sizeof(*n));
	struct inode *i = n ? inode_new(sb, S_IFREG | 0444, &nsfile_inode_ops, &nsfile_ops) : NULL;
	if (!i) {
		free(n);
		return -ENOMEM;
	}
	*n = (struct nsfile){ kind, ns };
	hold(kind, ns, 1);
	i->priv = n;
	i->ino = inum_of(kind, ns);
	struct dentry *d = dentry_root(sb, i);
	if (!d)
		return -ENOMEM;
	*ret = (struct path){ mount_get(m), d };
	return 0;
}

int ns_path(const struct task *of, enum ns_kind kind, struct path *ret)
{
	void *ns = ns_of(of, kind);
	if (!ns && kind != NS_PID && kind != NS_NET)
		return -ENOENT;
	return make_path(kind, ns, ret);
}

int ns_name(const struct task *of, enum ns_kind kind, char *buf, size_t size)
{
	void *ns = ns_of(of, kind);
	if (!ns && kind != NS_PID && kind != NS_NET)
		return -ENOENT;
	return snprintf(buf, size, "%s:[%u]", kinds[kind].name, inum_of(kind, ns));
}

/* ---- unshare --------------------------------------------------------------------------------------------------------------- */

static int unshare_fs(struct task *t)
{
	if (t->fs->refs == 1)
		return 0;
	struct fs_context *n = fs_context_dup(t->fs);
	if (!n)
		return -ENOMEM;
	fs_context_put(t->fs);
	t->fs = n;
	return 0;
}

static int unshare_files(struct task *t)
{
	if (t->files->refs == 1)
		return 0;
	struct fdtable *n = fdtable_dup(t->files);
	if (!n)
		return -ENOMEM;
	fdtable_put(t, t->files);
	t->files = n;
	return 0;
}

#define NS_FLAGS (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWCGROUP | CLONE_NEWPID | CLONE_NEWNET)

long sys_unshare(struct task *t, const uint64_t *a)
{
	uint64_t f = a[0];
	struct cred *c = NULL;
	struct nsproxy *ns = NULL;
	int rc = 0;
	if (f & ~(uint64_t)(NS_FLAGS | CLONE_THREAD | CLONE_FS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_SYSVSEM | 0x80 /* CLONE_NEWTIME */))
		return -EINVAL;
	if (f & CLONE_NEWUSER)
		f |= CLONE_THREAD | CLONE_FS;
	if (f & CLONE_NEWNS)
		f |= CLONE_FS;
	if ((f & (CLONE_THREAD | CLONE_VM | CLONE_SIGHAND)) && (t->proc->n_threads > 1 || ((f & (CLONE_VM | CLONE_SIGHAND)) && t->sighand->refs > 1)))
		return -EINVAL;
	if (f & CLONE_NEWUSER) {
		if (!(c = cred_dup(t->cred)))
			return -ENOMEM;
		if ((rc = userns_create(t, c)) < 0)
			goto fail;
	} else if ((f & (NS_FLAGS | 0x80)) && !ns_capable_here(t, CAP_SYS_ADMIN)) {
		return -EPERM;
	}
	rc = f & (CLONE_NEWPID | CLONE_NEWNET | 0x80) ? -EINVAL : 0; /* as a kernel without them */
	struct userns *user = c ? c->user : t->cred->user;
	if (!rc && (f & (CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)) && !(ns = nsproxy_copy(t->ns, f, user)))
		rc = -ENOMEM;
	if (rc || ((f & CLONE_FS) && (rc = unshare_fs(t)) < 0) || ((f & CLONE_NEWNS) && (rc = fs_unshare_mounts(t->fs, user)) < 0) ||
	    ((f & CLONE_FILES) && (rc = unshare_files(t)) < 0))
		goto fail;
	if (f & (CLONE_NEWIPC | CLONE_SYSVSEM))
		sem_undo_now(t);
	if (ns) {
		nsproxy_put(t->ns);
		t->ns = ns;
	}
	if (c)
		cred_install(t, c);
	return 0;
fail:
	if (ns)
		nsproxy_put(ns);
	cred_put(c);
	return rc;
}

/* ---- setns -------------------------------------------------------------------------------------------------------------------- */

static int join_user(struct task *t, struct userns *u)
{
	struct cred *c;
	if (u == t->cred->user || t->proc->n_threads > 1 || t->fs->refs > 1)
		return -EINVAL;
	if (!ns_capable(t, u, CAP_SYS_ADMIN))
		return -EPERM;
	if (!(c = cred_dup(t->cred)))
		return -ENOMEM;
	userns_put(c->user);
	c->user = userns_get(u);
	c->cap_inheritable = c->cap_ambient = 0;
	c->securebits = 0;
	c->cap_permitted = c->cap_effective = c->cap_bounding = CAP_ALL_;
	cred_install(t, c);
	return 0;
}

static int join_mounts(struct task *t, struct mntns *n)
{
	if (!ns_capable(t, n->user, CAP_SYS_ADMIN) || !ns_capable_here(t, CAP_SYS_CHROOT) || !ns_capable_here(t, CAP_SYS_ADMIN))
		return -EPERM;
	if (t->fs->refs > 1)
		return -EINVAL;
	struct path root = { mount_get(n->root), dentry_get(n->root->root) };
	path_enter_mounts(&root);
	path_put(&t->fs->root);
	path_put(&t->fs->cwd);
	t->fs->root = root;
	t->fs->cwd = path_copy(&root);
	n->refs++;
	mntns_put(t->fs->ns);
	t->fs->ns = n;
	return 0;
}

static int join(struct task *t, enum ns_kind kind, void *ns)
{
	if (kind == NS_USER)
		return join_user(t, ns);
	if (kind == NS_MNT)
		return join_mounts(t, ns);
	if (!ns_capable(t, owner_of(kind, ns), CAP_SYS_ADMIN) || !ns_capable_here(t, CAP_SYS_ADMIN))
		return -EPERM;
	if (kind == NS_PID || kind == NS_NET)
		return 0; /* its own: there is one */
	struct nsproxy *n = nsproxy_copy(t->ns, 0, t->cred->user);
	if (!n)
		return -ENOMEM;
	hold(kind, ns, 1);
	if (kind == NS_UTS) {
		n->uts->refs--; /* another set still has it */
		n->uts = ns;
	} else if (kind == NS_CGROUP) {
		n->cgroup->refs--;
		n->cgroup = ns;
	} else {
		sem_undo_now(t);
		ipcns_put(n->ipc);
		n->ipc = ns;
	}
	nsproxy_put(t->ns);
	t->ns = n;
	return 0;
}

static long join_of_process(struct task *t, int pid, uint64_t flags)
{
	const struct process *p = process_by_pid(pid);
	if (!flags || flags & ~(uint64_t)NS_FLAGS)
		return -EINVAL;
	if (!p || !p->leader)
		return -ESRCH;
	for (unsigned k = 0; k < NS_KINDS; k++) { /* user first: it decides what the others need */
		unsigned kind = k == 0 ? NS_USER : k <= NS_USER ? k - 1 : k;
		if (!(flags & kinds[kind].flag))
			continue;
		int rc = join(t, (enum ns_kind)kind, ns_of(p->leader, (enum ns_kind)kind));
		if (rc)
			return rc;
	}
	return 0;
}

long sys_setns(struct task *t, const uint64_t *a)
{
	struct file *f = fd_file(t, (int)a[0]);
	uint64_t flags = (uint32_t)a[1];
	if (!f)
		return -EBADF;
	int pid = pidfd_pid(t, (int)a[0]);
	if (pid >= 0)
		return join_of_process(t, pid, flags);
	if (f->ops != &nsfile_ops)
		return -EINVAL;
	const struct nsfile *n = f->inode->priv;
	if (flags && flags != kinds[n->kind].flag)
		return -EINVAL;
	return join(t, n->kind, n->ns);
}
