/* kill, delete, and the removal of everything that belongs to a container. */
#include "engine/engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "confine/intelrdt.h"

enum { DEATH_SOON = 200 /* ms before frozen processes are looked for */, DEATH_TIMEOUT = 30000 }; /* ms that a killed init may take to die (exit of a large address space, cores, stuck NFS) */

static int not_running(struct err *e) { return err_set(e, ESRCH, "container not running"); }

static int signal_init(struct ctr *c, int sig, struct err *e) {
	int r = ctr_open_pidfd(c, e);
	if (r < 0)
		return r;
	if (pidfd_send_signal(c->pidfd, sig, NULL, 0) < 0)
		return errno == ESRCH ? not_running(e) : err_sys(e, errno, "signal %d to the container's init", sig);
	return 0;
}

static int signal_all(struct ctr *c, int sig, struct err *e) {
	int count = 0;
	int r = ctr_load_cgroup(c, e);
	if (r < 0)
		return r;
	if (!cgroup_active(c->cgroup))
		return signal_init(c, sig, e);
	bool live = ctr_live_pid(c) > 0;
	if (!live && cgroup_populated(c->cgroup) != 1)
		return not_running(e);
	r = cgroup_kill(c->cgroup, sig, &count, e);
	if (r == 0 && live && count == 0)
		return signal_init(c, sig, e);
	return r;
}

int engine_kill(struct ctr *c, int sig, bool all, struct err *e) {
	/* Without a pid namespace of its own a container is more than its init: SIGKILL means all of it. */
	if (streq(c->rec.tier, "ns")) {
		if (all || (sig == SIGKILL && !c->rec.own_pidns))
			return signal_all(c, sig, e);
		int r = signal_init(c, sig, e);
		/* On v1 a frozen process is not killed before it is thawed (freezer-subsystem.txt). */
		if (r == 0 && sig == SIGKILL && ctr_load_cgroup(c, NULL) == 0 && cgroup_active(c->cgroup) && cgroup_frozen(c->cgroup) == 1)
			r = cgroup_freeze(c->cgroup, false, e);
		return r;
	}
	int r = ctr_open_pidfd(c, e);
	if (r == 0)
		r = ctr_load_tier(c, false, e);
	if (r == 0)
		r = c->tier->signal ? c->tier->signal(&c->tc, sig, all, e) : signal_init(c, sig, e);
	return r;
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

/* On v1 a process in a frozen cgroup is not killed before it is thawed (freezer-subsystem.txt), and it may have been put into one that is not ours, or below
 * ours. Brought back into the container's own, thawed cgroup it dies. */
static void bring_back(struct ctr *c) {
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;
	struct err ignored = ERR_INIT;
	if (!cgroup_active(c->cgroup) || !c->rec.cgroup_ours)
		return;
	(void)!cgroup_freeze(c->cgroup, false, &ignored);
	(void)!cgroup_add(c->cgroup, c->rec.init_pid, false, &ignored);
	if (cgroup_pids(c->cgroup, &pids, &n, &ignored) == 0)
		for (size_t i = 0; i < n; i++)
			(void)!cgroup_add(c->cgroup, pids[i], false, &ignored);
	err_clear(&ignored);
}

static int wait_death(int pidfd, int timeout) {
	struct pollfd p = { pidfd, POLLIN, 0 };
	int n;
	do
		n = poll(&p, 1, timeout);
	while (n < 0 && errno == EINTR);
	return n;
}

static int end_processes(struct ctr *c, struct err *e) {
	bool live = ctr_open_pidfd(c, NULL) == 0;
	/* Without a pidfd (too many descriptors, no memory) init may live all the same: the cgroup knows. */
	if (cgroup_active(c->cgroup) && c->rec.cgroup_ours && (live || !c->rec.own_pidns || cgroup_populated(c->cgroup) != 0)) {
		int r = cgroup_kill(c->cgroup, SIGKILL, NULL, e);
		if (r < 0 && !live)
			return r;
	}
	if (!live)
		return 0;
	if (pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return err_sys(e, errno, "kill the container's init");
	int n = wait_death(c->pidfd, DEATH_SOON);
	if (n == 0) {
		bring_back(c);
		n = wait_death(c->pidfd, DEATH_TIMEOUT);
	}
	if (n == 0)
		return err_set(e, EBUSY, "the container's init (pid %d) does not die", c->rec.init_pid);
	(void)waitid(P_PIDFD, (id_t)c->pidfd, &(siginfo_t){ 0 }, WEXITED | WNOHANG); /* ours when create is undone; somebody else's otherwise */
	return 0;
}

static int remove_tree(int parent, const char *name, unsigned depth) {
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d) {
		int r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	int r = 0;
	for (struct dirent *de; (de = readdir(d));) {
		if (streq(de->d_name, ".") || streq(de->d_name, "..") || (depth == 0 && streq(de->d_name, "state")))
			continue;
		if (unlinkat(fd, de->d_name, 0) == 0 || errno == ENOENT)
			continue;
		int one = depth < 8 ? remove_tree(fd, de->d_name, depth + 1) : -ELOOP;
		if (one == 0 && unlinkat(fd, de->d_name, AT_REMOVEDIR) < 0)
			one = -errno;
		if (one < 0 && r == 0)
			r = one;
	}
	closedir(d);
	return r;
}

/* The record goes last: a crash before that leaves a container that can be deleted again. */
static int remove_directory(struct ctr *c, struct err *e) {
	int r = remove_tree(c->dir_fd, ".", 0);
	if (r < 0)
		return err_sys(e, r, "remove %s", c->dir);
	if (unlinkat(c->dir_fd, "state", 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove %s/state", c->dir);
	if (rmdir(c->dir) < 0 && errno != ENOENT)
		return err_sys(e, errno, "rmdir %s", c->dir);
	return 0;
}

/* A creator that died before its record said whose the cgroup is: it is ours if it is empty, perhaps after our own first process has gone. */
static bool may_remove_cgroup(struct ctr *c) {
	for (int i = 0; !c->rec.cgroup_ours && cgroup_active(c->cgroup) && cgroup_populated(c->cgroup) == 1; i++) {
		if (i == 100)
			return false;
		nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000000L }, NULL);
	}
	return true;
}

int ctr_purge(struct ctr *c, struct err *e) {
	int r = ctr_load_cgroup(c, e);
	if (r == 0)
		r = end_processes(c, e);
	if (r < 0)
		return r;
	if (c->has_record) {
		/* Only the tier knows what it left behind: a program without it must not throw the record away. */
		r = ctr_load_tier(c, false, e);
		if (r == 0 && c->tier->destroy)
			r = c->tier->destroy(&c->tc, e);
		if (r < 0)
			return r;
	}
	if (may_remove_cgroup(c)) {
		r = cgroup_remove(c->cgroup, e);
		if (r < 0)
			return r;
	}
	if (c->rec.rdt && ctr_load_spec(c, NULL) == 0) {
		r = intelrdt_delete(NULL, &c->spec->intel_rdt, c->rec.id, c->rec.rdt_created, e);
		if (r < 0)
			return r;
	}
	return remove_directory(c, e);
}

int engine_delete_prepare(struct engine *eng, const char *id) {
	_cleanup_ctr_ struct ctr *c = NULL;
	struct err ignored = ERR_INIT; /* the caller opens it again and reports */
	int r = ctr_open(eng, id, CTR_DAMAGED, &c, &ignored);
	if (r == 0 && flock(c->dir_fd, LOCK_EX | LOCK_NB) == 0)
		(void)flock(c->dir_fd, LOCK_UN);
	else if (r == 0)
		(void)signal_init(c, SIGKILL, &ignored);
	err_clear(&ignored);
	return r == -ENOENT ? r : 0;
}

int engine_delete(struct ctr *c, bool force, struct err *e) {
	enum ctr_status s = ctr_status(c);
	if (!force && s != CTR_STOPPED && s != CTR_CREATED)
		return err_set(e, EBUSY, "cannot delete container %s that is not stopped: %s", c->rec.id, ctr_status_names[s]);
	bool poststop = c->has_record && c->rec.poststop;
	if (poststop) {
		struct err spec_err = ERR_INIT; /* a config that cannot be read any more must not keep the rest alive */
		poststop = ctr_load_spec(c, &spec_err) == 0;
		err_clear(&spec_err);
	}
	engine_debug(c->eng, "delete: %s is %s", c->rec.id, ctr_status_names[s]);
	int r = ctr_purge(c, e);
	if (r == 0 && poststop) {
		struct err hook = ERR_INIT;
		if (hooks_run(c, c->spec, OCI_HOOK_POSTSTOP, "stopped", 0, &hook) < 0)
			engine_warn(c->eng, "%s", err_msg(&hook)); /* runtime-spec, lifecycle 13: a warning, the rest goes on */
		err_clear(&hook);
	}
	return r;
}
