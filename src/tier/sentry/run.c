/* Start order of a sentry: kernel objects, zygote (before threads), confinement, threads, mounts, init, wait. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/str.h"
#include "tier/sentry/confine.h"
#include "tier/sentry/control.h"
#include "tier/sentry/fs/overlay.h"
#include "tier/sentry/fs/tty.h"
#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/service.h"
#include "tier/sentry/task/ns.h"
#include "tier/sentry/task/exit.h"
#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

static int *mount_fds; /* of o->mounts */
static struct fs_context container_root; /* where processes from outside begin */

static int open_sources(const struct sentry_options *o, int *ret_root, struct err *e)
{
	if ((*ret_root = confine_tree(o, o->rootfs, e)) < 0)
		return *ret_root;
	mount_fds = calloc(o->n_mounts + 1, sizeof(*mount_fds));
	if (!mount_fds)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < o->n_mounts; i++) {
		const struct sentry_mount_opt *m = &o->mounts[i];
		mount_fds[i] = !streq(m->type, "bind") ? -EBADF : m->fd >= 0 ? m->fd : confine_tree(o, m->source, e);
		if (mount_fds[i] < 0 && streq(m->type, "bind"))
			return mount_fds[i];
	}
	if ((K.proc_fd = confine_proc(o, e)) < 0)
		return K.proc_fd;
	K.proc_self_fd = openat(K.proc_fd, "self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return K.proc_self_fd < 0 ? err_sys(e, errno, "open /proc/self/fd") : 0;
}

static void init_uts(const struct sentry_options *o)
{
	struct utsname u;
	uname(&u);
	snprintf(K.uts.sysname, sizeof(K.uts.sysname), "Linux");
	snprintf(K.uts.nodename, sizeof(K.uts.nodename), "%s", o->hostname ? o->hostname : o->is_init ? u.nodename /* of a joined namespace, or the host's as in a new one */ : "sentry");
	snprintf(K.uts.release, sizeof(K.uts.release), "6.1.0-tierce");
	snprintf(K.uts.version, sizeof(K.uts.version), "#1 SMP Tierce sentry");
	snprintf(K.uts.machine, sizeof(K.uts.machine), "%s", u.machine);
	snprintf(K.uts.domainname, sizeof(K.uts.domainname), "%s", o->domainname ? o->domainname : "(none)");
}

static struct super *make_super(const struct sentry_mount_opt *m, int fd, int *rc)
{
	if (streq(m->type, "bind")) {
		*rc = fd < 0 ? -ENOENT : 0;
		return fd < 0 ? NULL : hostfs_mount(fd, false);
	}
	return fs_make(NULL, m->type, m->data, rc);
}

/* The mount point, made where it is missing (as the runtime spec wants for a container's rootfs). */
static int mount_point(struct task *t, const char *target, bool file, struct path *ret)
{
	int rc = path_walk(t, &t->fs->root, target, WALK_FOLLOW, ret);
	char buf[PATH_MAX_];
	if (rc != -ENOENT || strlen(target) >= sizeof(buf))
		return rc;
	strcpy(buf, target);
	for (char *s = buf + 1; ; s++) {
		char c = *s;
		if (c && c != '/')
			continue;
		*s = 0;
		struct path p, dir;
		char last[256];
		bool slash;
		rc = path_walk(t, &t->fs->root, buf, WALK_FOLLOW, &p);
		if (rc == -ENOENT && (rc = path_parent(t, &t->fs->root, buf, 0, &dir, last, &slash)) == 0) {
			struct inode *di = dir.d->inode, *i;
			rc = !di->ops->mkdir ? -EROFS : !c && file ? di->ops->create(t, di, last, S_IFREG | 0644, &i) : di->ops->mkdir(t, di, last, 0755, &i);
			if (!rc)
				dentry_put(dentry_add(dir.d, last, i));
			path_put(&dir);
		} else if (!rc) {
			path_put(&p);
		}
		if (rc)
			return rc;
		*s = c;
		if (!c)
			break;
	}
	return path_walk(t, &t->fs->root, target, WALK_FOLLOW, ret);
}

static int mount_one(struct task *t, const struct sentry_mount_opt *m, int fd, struct err *e)
{
	_cleanup_path_ struct path p = PATH_NONE;
	int rc;
	struct super *sb = make_super(m, fd, &rc);
	if (!sb)
		return err_sys(e, rc, "mount %s on %s", m->type, m->target);
	if ((rc = mount_point(t, m->target, !is_dir(sb->root), &p)) < 0)
		return err_sys(e, rc, "mount point %s", m->target);
	if (is_dir(sb->root) != is_dir(p.d->inode))
		return err_sys(e, ENOTDIR, "mount %s on %s", m->type, m->target);
	rc = mntns_attach(t->fs->ns, sb, sb->root_dentry, &p, m->flags, m->source ? m->source : m->type, NULL);
	super_put(sb);
	return rc < 0 ? err_sys(e, rc, "mount %s on %s", m->type, m->target) : 0;
}

static const struct sentry_mount_opt default_mounts[] = {
	{ "proc", "/proc", "proc", "", MS_NOSUID | MS_NODEV | MS_NOEXEC, -EBADF },
	{ "sysfs", "/sys", "sysfs", "", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, -EBADF },
	{ "devtmpfs", "/dev", "devtmpfs", "", MS_NOSUID, -EBADF },
	{ "devpts", "/dev/pts", "devpts", "", MS_NOSUID | MS_NOEXEC, -EBADF },
	{ "tmpfs", "/dev/shm", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV, -EBADF },
	{ "tmpfs", "/tmp", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV, -EBADF },
};

static int tree_of(struct super *sb, unsigned long flags, struct mntns **ret)
{
	*ret = mntns_new(&init_userns);
	int rc = sb && *ret ? mntns_attach(*ret, sb, sb->root_dentry, NULL, flags, "overlay", NULL) : -ENOMEM;
	if (sb)
		super_put(sb);
	return rc;
}

/* The rootfs below, an empty tmpfs above: nothing of the container reaches the host's directory. */
static struct super *overlay_root(const struct sentry_options *o, int root_fd, struct err *e)
{
	struct mntns *trees[2] = { NULL, NULL };
	int spill = -EBADF, rc;
	if (o->overlay == OVERLAY_SELF) {
		int probe = openat(root_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (probe < 0 || (spill = fcntl(root_fd, F_DUPFD_CLOEXEC, 3)) < 0) {
			err_sys(e, errno, "overlay=self: unnamed files in %s", o->rootfs);
			return NULL;
		}
		close(probe);
	}
	struct super *upper = tmpfs_mount("mode=755", &rc), *lower = hostfs_mount(root_fd, true);
	struct kstat st;
	if (upper && lower && inode_getattr(lower->root, &st) == 0) { /* the root looks like the one below */
		upper->root->mode = st.mode;
		upper->root->uid = st.uid;
		upper->root->gid = st.gid;
		tmpfs_spill(upper, spill);
	}
	if ((rc = tree_of(upper, 0, &trees[0])) < 0 || (rc = tree_of(lower, MS_RDONLY, &trees[1])) < 0) {
		err_sys(e, rc, "overlay of the rootfs");
		return NULL;
	}
	struct super *sb = overlay_new(trees, 1, NULL, &rc);
	if (!sb)
		err_sys(e, rc, "overlay of the rootfs");
	return sb;
}

/* A masked directory is empty, a masked file is /dev/null's; a read-only path is itself, mounted so. */
static int cover(struct task *t, const struct sentry_cover *c)
{
	_cleanup_path_ struct path p = PATH_NONE, null = PATH_NONE;
	int rc = path_walk(t, &t->fs->root, c->path, WALK_FOLLOW, &p);
	if (rc)
		return rc;
	if (!c->masked)
		return mntns_attach(t->fs->ns, p.d->inode->sb, p.d, &p, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "readonly", NULL);
	if (!is_dir(p.d->inode)) {
		rc = path_walk(t, &t->fs->root, "/dev/null", WALK_FOLLOW, &null);
		return rc ? rc : mntns_attach(t->fs->ns, null.d->inode->sb, null.d, &p, MS_RDONLY, "masked", NULL);
	}
	struct super *sb = tmpfs_mount("size=0,mode=555", &rc);
	if (!sb)
		return rc;
	rc = mntns_attach(t->fs->ns, sb, sb->root_dentry, &p, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "tmpfs", NULL);
	super_put(sb);
	return rc;
}

static int build_root(struct task *t, const struct sentry_options *o, int root_fd, struct err *e)
{
	struct mntns *ns = mntns_new(&init_userns);
	struct super *sb = o->overlay ? overlay_root(o, root_fd, e) : hostfs_mount(root_fd, o->rootfs_readonly);
	if (o->overlay && !sb)
		return -EINVAL;
	if (sb && !o->overlay)
		sb->flags |= SUPER_STABLE;
	t->fs = calloc(1, sizeof(*t->fs));
	if (!ns || !sb || !t->fs)
		return err_set(e, ENOMEM, "rootfs");
	ns->inum = 0xf0000001u; /* the first that Linux gives out behind the network's */
	*t->fs = (struct fs_context){ .refs = 1, .umask = 022, .ns = ns };
	int rc = mntns_attach(ns, sb, sb->root_dentry, NULL, o->rootfs_readonly ? MS_RDONLY : 0, "rootfs", NULL);
	super_put(sb);
	if (rc < 0)
		return err_sys(e, rc, "rootfs");
	t->fs->root = (struct path){ mount_get(ns->root), dentry_get(ns->root->root) };
	t->fs->cwd = path_copy(&t->fs->root);
	for (unsigned i = 0; o->default_mounts && i < ARRAY_SIZE(default_mounts); i++)
		if ((rc = mount_one(t, &default_mounts[i], -EBADF, e)) < 0)
			return rc;
	for (size_t i = 0; i < o->n_mounts; i++)
		if ((rc = mount_one(t, &o->mounts[i], mount_fds[i], e)) < 0)
			return rc;
	for (size_t i = 0; i < o->n_covers; i++)
		if ((rc = cover(t, &o->covers[i])) < 0 && rc != -ENOENT)
			return err_sys(e, rc, "%s path %s", o->covers[i].masked ? "masked" : "read-only", o->covers[i].path);
	return 0;
}

/* ttyname() compares what a descriptor is with what lies at the name that /proc shows for it. */
static void name_console(struct task *t, struct file *f)
{
	_cleanup_path_ struct path p = PATH_NONE;
	if (path_walk(t, &t->fs->root, "/dev/console", WALK_FOLLOW, &p) || !S_ISCHR(p.d->inode->mode))
		return;
	inode_put(f->inode);
	f->inode = inode_get(p.d->inode);
}

static int open_stdio(struct task *t, const struct sentry_options *o, const int stdio[3])
{
	if (!(t->files = fdtable_new()))
		return -ENOMEM;
	for (int fd = 0; fd < 3; fd++) {
		int copy = fcntl(stdio[fd], F_DUPFD_CLOEXEC, 3);
		if (copy < 0)
			continue;
		int fl = fcntl(copy, F_GETFL);
		struct file *f = hostfile_new(copy, (unsigned)(fl & (O_ACCMODE | O_APPEND)), isatty(copy) ? "tty" : "host");
		if (!f)
			return -ENOMEM;
		if (isatty(copy))
			name_console(t, f);
		if (fd_replace(t, fd, f, false) < 0)
			return -ENOMEM;
		if (fd == 0 && o->terminal && isatty(copy))
			tty_adopt_host(t, f);
	}
	return 0;
}

static struct cred *initial_cred(const struct sentry_options *o)
{
	struct cred *c = cred_new_root();
	if (!c)
		return NULL;
	c->uid = c->euid = c->suid = c->fsuid = o->uid;
	c->gid = c->egid = c->sgid = c->fsgid = o->gid;
	if (o->caps_set) {
		c->cap_bounding = o->cap_bounding & CAP_ALL_;
		c->cap_permitted = o->cap_permitted & CAP_ALL_;
		c->cap_effective = o->cap_effective & CAP_ALL_;
		c->cap_inheritable = o->cap_inheritable & CAP_ALL_;
		c->cap_ambient = o->cap_ambient & CAP_ALL_;
	} else if (o->uid) {
		c->cap_permitted = c->cap_effective = 0;
	}
	if (o->n_groups && (c->groups = calloc(o->n_groups, sizeof(*c->groups)))) {
		memcpy(c->groups, o->groups, o->n_groups * sizeof(*c->groups));
		c->n_groups = (uint32_t)o->n_groups;
	}
	return c;
}

static void init_limits(struct process *p, const struct sentry_options *o)
{
	for (unsigned i = 0; i < 16; i++)
		p->rlim[i] = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	p->rlim[RLIMIT_NOFILE] = (struct rlimit){ 1024, 1 << 20 };
	p->rlim[RLIMIT_STACK] = (struct rlimit){ 8 << 20, RLIM_INFINITY };
	p->rlim[RLIMIT_CORE] = (struct rlimit){ 0, RLIM_INFINITY };
	p->rlim[RLIMIT_MEMLOCK] = (struct rlimit){ 8 << 20, 8 << 20 };
	p->rlim[RLIMIT_NPROC] = (struct rlimit){ PID_MAX_, PID_MAX_ };
	p->rlim[RLIMIT_SIGPENDING] = (struct rlimit){ 4096, 4096 };
	p->rlim[RLIMIT_MSGQUEUE] = (struct rlimit){ 819200, 819200 };
	p->rlim[RLIMIT_NICE] = p->rlim[RLIMIT_RTPRIO] = (struct rlimit){ 0, 0 };
	for (size_t i = 0; i < o->n_rlimits; i++)
		if (o->rlimits[i].resource >= 0 && o->rlimits[i].resource < 16)
			p->rlim[o->rlimits[i].resource] = (struct rlimit){ o->rlimits[i].soft, o->rlimits[i].hard };
}

static int check_program(struct task *t, const char *name)
{
	_cleanup_path_ struct path p = PATH_NONE;
	int rc = path_walk(t, &t->fs->cwd, name, WALK_FOLLOW, &p);
	if (rc)
		return rc;
	return is_reg(p.d->inode) && inode_permission(t, p.d->inode, X_OK) == 0 ? 0 : -EACCES;
}

/* PATH search of argv[0] as a container engine's process.args wants it. */
static int find_program(struct task *t, const char *name, char *const *envp, char buf[PATH_MAX_])
{
	const char *path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	int rc = -ENOENT;
	if (strchr(name, '/')) {
		snprintf(buf, PATH_MAX_, "%s", name);
		return check_program(t, buf);
	}
	for (; *envp; envp++)
		if (str_has_prefix(*envp, "PATH="))
			path = *envp + 5;
	while (*path) {
		size_t n = strcspn(path, ":");
		snprintf(buf, PATH_MAX_, "%.*s/%s", (int)n, path, name);
		int r = check_program(t, buf);
		if (r == 0)
			return 0;
		rc = r == -EACCES ? r : rc;
		path += n + (path[n] == ':');
	}
	return rc;
}

static char **copy_strings(char *const *v)
{
	char **out = NULL;
	size_t n = 0;
	for (; *v; v++)
		if (strv_push(&out, &n, *v) < 0)
			return NULL;
	return out ? out : calloc(1, sizeof(*out));
}

struct first_exec { char path[PATH_MAX_]; char **argv, **envp; int result; bool done, owned; };
static struct first_exec init_exec;
static struct task *init_task; /* waits for the start */

/* The twin's first act: load the program into a fresh address space. */
static void first_exec(struct task *t)
{
	struct first_exec *x = t->first_arg;
	struct path p;
	struct file *f = NULL;
	int rc = path_walk(t, &t->fs->cwd, x->path, WALK_FOLLOW, &p);
	if (!rc) {
		rc = file_open(t, &p, O_RDONLY, true, &f);
		path_put(&p);
	}
	if (!rc)
		rc = (int)task_exec(t, f, x->path, TAKE(x->argv), x->envp, false);
	if (!rc && t->dying)
		rc = -ENOEXEC;
	x->result = rc;
	x->done = true;
	pthread_cond_broadcast(&K.done);
	if (rc < 0) {
		process_kill(t->proc, (rc == -ENOENT ? 127 : 126) << 8);
		return;
	}
	gate_resume(t);
	t->no_result = false;
}

static void unmake(struct task *t)
{
	struct process *p = t->proc;
	int pid = p->pid;
	process_set_pgrp(p, NULL);
	process_bind(pid, NULL);
	K.n_processes--;
	task_free(t);
	pid_free(pid);
	free(p);
}

static int furnish(struct task *t, const struct sentry_options *o, const int stdio[3], int root_fd, struct first_exec *x, struct err *e);

/* A process that comes from outside: session, credentials, streams, program; its twin is not started yet. */
static int make_process(const struct sentry_options *o, const int stdio[3], int root_fd, struct first_exec *x, struct task **ret, struct err *e)
{
	struct process *p = process_alloc();
	struct task *t = p ? task_alloc(p) : NULL;
	int rc;
	if (!t)
		return err_set(e, ENOMEM, "no memory for a process");
	p->pid = t->tid;
	p->leader = t;
	process_bind(p->pid, p);
	K.n_processes++;
	struct session *s = session_new(p->pid);
	process_set_pgrp(p, pgrp_new(p->pid, s));
	session_put(s);
	init_limits(p, o);
	cpu_limit_changed(p);
	t->cred = cred_new_root();
	t->ns = nsproxy_get(nsproxy_first());
	t->sighand = sighand_new();
	t->mm = mm_new();
	t->first = first_exec;
	t->first_arg = x;
	if ((rc = furnish(t, o, stdio, root_fd, x, e)) < 0) {
		if (K.init != p) /* without its first process the sentry ends */
			unmake(t);
		return rc;
	}
	*ret = t;
	return 0;
}

static int furnish(struct task *t, const struct sentry_options *o, const int stdio[3], int root_fd, struct first_exec *x, struct err *e)
{
	int rc;
	if (!K.init) {
		K.init = t->proc;
		K.pids_limit = o->pids_limit;
		if ((rc = build_root(t, o, root_fd, e)) < 0)
			return rc;
		container_root = (struct fs_context){ .refs = 1, .root = path_copy(&t->fs->root), .cwd = path_copy(&t->fs->root), .umask = 022, .ns = t->fs->ns };
		container_root.ns->refs++;
	} else if (!(t->fs = fs_context_dup(&container_root))) {
		return err_set(e, ENOMEM, "no memory for a process");
	}
	cred_install(t, initial_cred(o));
	t->no_new_privs = o->no_new_privs;
	t->proc->oom_score_adj = o->oom_score_adj;
	if (o->n_seccomp && (rc = seccomp_profile(t, o->seccomp, o->n_seccomp)) < 0)
		return err_sys(e, rc, "seccomp profile");
	if (o->umask)
		t->fs->umask = o->umask & 0777;
	if ((rc = open_stdio(t, o, stdio)) < 0)
		return err_sys(e, rc, "standard streams");
	if (o->cwd && *o->cwd) {
		struct path cwd;
		if ((rc = path_walk(t, &t->fs->root, o->cwd, WALK_FOLLOW | WALK_DIRECTORY, &cwd)) < 0)
			return err_sys(e, rc, "chdir to cwd (\"%s\") set in config.json failed", o->cwd);
		path_put(&t->fs->cwd);
		t->fs->cwd = cwd;
	}
	if ((rc = find_program(t, o->argv[0], o->envp, x->path)) < 0)
		return err_sys(e, rc, "exec: \"%s\"", o->argv[0]);
	x->argv = copy_strings(o->argv);
	x->envp = copy_strings(o->envp);
	return 0;
}

int container_start(struct err *e)
{
	int rc = 0;
	kernel_lock();
	if (!init_task) {
		rc = err_set(e, EINVAL, "the container was started already");
	} else if ((rc = task_start(TAKE(init_task))) < 0) {
		rc = err_sys(e, rc, "twin thread");
	} else {
		while (!init_exec.done && !K.shutting_down)
			pthread_cond_wait(&K.done, &K.lock);
		rc = init_exec.result < 0 ? err_sys(e, init_exec.result, "exec: \"%s\"", init_exec.path) : 0;
	}
	kernel_unlock();
	return rc;
}

int container_exec(const struct sentry_options *o, const int stdio[3], void *hostctx, struct err *e)
{
	struct first_exec *x = calloc(1, sizeof(*x));
	struct task *t = NULL;
	if (!x || init_task || K.shutting_down) {
		free(x);
		return err_set(e, ESRCH, "the container is not running");
	}
	int rc = make_process(o, stdio, -EBADF, x, &t, e);
	if (rc < 0)
		return rc;
	struct process *p = t->proc;
	int pid = p->pid;
	p->hostctx = hostctx;
	p->auto_reap = true;
	if ((rc = task_start(t)) < 0)
		return err_sys(e, rc, "twin thread");
	while (!x->done && process_by_pid(pid) == p)
		pthread_cond_wait(&K.done, &K.lock);
	rc = x->done ? x->result : -ESRCH;
	if (rc < 0)
		err_sys(e, rc, "exec: \"%s\"", o->argv[0]);
	strv_free(x->envp);
	free(x);
	return rc < 0 ? rc : pid;
}

static int say_ready(const struct sentry_options *o, int code, const struct err *e)
{
	struct { uint32_t type; int32_t value, value2; char text[500]; } m = { .value = code };
	if (o->ready_fd < 0)
		return 0;
	if (code < 0)
		snprintf(m.text, sizeof(m.text), "%s", err_msg(e));
	int rc = write(o->ready_fd, &m, sizeof(m)) < 0 ? -errno : 0;
	close(o->ready_fd);
	return rc;
}

static int start_up(const struct sentry_options *o, struct err *e)
{
	static const int stdio[3] = { 0, 1, 2 };
	int root_fd, rc;
	if ((rc = confine_early(o, e)) < 0 || (rc = open_sources(o, &root_fd, e)) < 0 || (rc = zygote_spawn(e)) < 0)
		return rc;
	if ((rc = zygote_adopt(e)) < 0 || (rc = notifier_start(e)) < 0 || (rc = reaper_start(e)) < 0)
		return rc;
	if ((rc = confine_late(o, e)) < 0 || (rc = confine_signals(e)) < 0)
		return rc;
	if (o->control_fd >= 0 && (rc = control_serve(o->control_fd, e)) < 0)
		return rc;
	kernel_lock();
	rc = make_process(o, stdio, root_fd, &init_exec, &init_task, e);
	kernel_unlock();
	return rc < 0 ? rc : confine_filter(o, e);
}

/* Every file, directory and socket of the guest is a descriptor of ours. */
static void raise_nofile(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = MIN(r.rlim_max, (rlim_t)FD_MAX);
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

int sentry_run(const struct sentry_options *o, struct err *e)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	sigset_t all;
	int rc;
	K.opt = o;
	raise_nofile();
	K.boot_ns = now_ns(CLOCK_BOOTTIME);
	mallopt(M_ARENA_MAX, 2); /* everything is under one lock; without a bound malloc asks for the number of processors, which the filter does not know */
	kernel_init();
	pids_init();
	init_uts(o);
	if (!(anon_super = super_new("anon_inodefs", NULL, 0)))
		return err_set(e, ENOMEM, "out of memory");
	sigfillset(&all);
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&all, faults[i]); /* blocked or not, they end us; this way a sanitizer has its say */
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	rc = start_up(o, e);
	say_ready(o, rc, e);
	if (rc < 0)
		return rc;
	if (o->control_fd < 0 && (rc = container_start(e)) < 0)
		return rc;
	kernel_lock();
	while (!K.shutting_down)
		pthread_cond_wait(&K.done, &K.lock);
	rc = K.exit_status;
	kernel_unlock();
	return rc;
}
