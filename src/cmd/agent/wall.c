/* Stand-in for the namespace tier until it lands: namespaces, standard mounts, pivot, exec. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cmd/agent/wall.h"

static NORETURN void child(struct tier_container *c, int go)
{
	char b;
	(void)!read(go, &b, 1);
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	mount(c->rootfs, c->rootfs, NULL, MS_BIND | MS_REC, NULL);
	if (chdir(c->rootfs) < 0)
		_exit(126);
	mount("proc", "proc", "proc", 0, NULL);
	mount("sysfs", "sys", "sysfs", MS_RDONLY, NULL);
	mount("devtmpfs", "dev", "devtmpfs", 0, NULL);
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir(c->spec->process.cwd) < 0)
		_exit(126);
	if (c->spec->hostname)
		(void)!sethostname(c->spec->hostname, strlen(c->spec->hostname));
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execvpe(c->spec->process.args.v[0], c->spec->process.args.v, c->spec->process.env.v);
	_exit(127);
}

static int create(struct tier_container *c, struct tier_create_options *o, struct err *e)
{
	int p[2];
	(void)o;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return err_sys(e, errno, "clone");
	if (pid == 0)
		child(c, p[0]);
	close(p[0]);
	c->init_pid = pid;
	c->start_fd = p[1];
	return 0;
}

static int start(struct tier_container *c, struct err *e)
{
	(void)e;
	(void)!write(c->start_fd, "x", 1);
	close(c->start_fd);
	c->start_fd = -EBADF;
	return 0;
}

static int signal_it(struct tier_container *c, int sig, bool all, struct err *e)
{
	(void)all;
	return kill(c->init_pid, sig) < 0 ? err_sys(e, errno, "kill") : 0;
}

static const struct tier_ops ops = { .name = "ns", .create = create, .start = start, .signal = signal_it };
const struct tier_ops *const wall = &ops;

int wall_cgroup_make(struct guest *g, struct err *e) { (void)g, (void)e; return 0; }
int wall_cgroup_update(struct guest *g, const struct oci_resources *r, struct err *e) { (void)g, (void)r; return err_set(e, EOPNOTSUPP, "update"); }
int wall_cgroup_freeze(struct guest *g, bool frozen, struct err *e) { (void)g, (void)frozen; return err_set(e, EOPNOTSUPP, "pause"); }
int wall_cgroup_stats(struct guest *g, struct strbuf *out, struct err *e) { (void)g, (void)out; return err_set(e, EOPNOTSUPP, "stats"); }
void wall_cgroup_remove(struct guest *g) { (void)g; }
