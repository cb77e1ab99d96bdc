/* Running containers: start, signals, pause, update, removal. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

#include "confine/intelrdt.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "tier/ns/criu.h"
#include "tier/ns/ns.h"

int ns_op_start(struct tier_container *c, struct err *e) {
	_cleanup_close_ int channel = c->start_fd >= 0 ? TAKE_FD(c->start_fd) : ns_connect(c->state_fd, "ns.start", e);
	if (channel < 0)
		return channel == -ENOENT ? err_set(e, EINVAL, "cannot start a container that has been started already") : channel;
	int r = ns_go(c, channel, c->init_pid, c->init_pidfd, NULL, e);
	/* Only now: a starter that was killed in between leaves a container that can still be started. */
	unlinkat(c->state_fd, "ns.start", 0);
	return r < 0 ? err_wrap(e, r, "unable to start container process") : 0;
}

static int signal_op(struct tier_container *c, int sig, bool all, struct err *e) {
	if (all && c->cgroup && cgroup_active(c->cgroup))
		return cgroup_kill(c->cgroup, sig, NULL, e);
	int r = c->init_pidfd >= 0 ? sys_pidfd_send_signal(c->init_pidfd, sig) : c->init_pid > 0 ? kill(c->init_pid, sig) : -1;
	if (r < 0)
		return c->init_pid <= 0 || errno == ESRCH ? err_set(e, ESRCH, "os: process already finished") : err_sys(e, errno, "signal");
	return 0;
}

static int freeze(struct tier_container *c, bool on, struct err *e) {
	if (!c->cgroup || !cgroup_active(c->cgroup))
		return err_set(e, ENOTSUP, "cannot %s a container without a cgroup", on ? "pause" : "resume");
	return cgroup_freeze(c->cgroup, on, e);
}
static int pause_op(struct tier_container *c, struct err *e) { return freeze(c, true, e); }
static int resume_op(struct tier_container *c, struct err *e) { return freeze(c, false, e); }

static int update_op(struct tier_container *c, const struct oci_resources *r, struct err *e) {
	if (!c->cgroup || !cgroup_active(c->cgroup))
		return err_set(e, ENOTSUP, "cannot update a container without a cgroup");
	return cgroup_apply(c->cgroup, r, CGROUP_APPLY_UPDATE, e);
}

static int destroy_op(struct tier_container *c, struct err *e) {
	(void)e;
	/* Mounts and namespaces end with the processes; what is left is our socket. Two-phase execs that were never started: their sockets. */
	static const char *const files[] = { "ns.start", "ns.notify" };
	for (size_t i = 0; c->state_fd >= 0 && i < ARRAY_SIZE(files); i++)
		unlinkat(c->state_fd, files[i], 0);
	return 0;
}

static int probe_op(struct tier_probe *ret) {
	*ret = (struct tier_probe){ .usable = true, .caps = TIER_EXEC | TIER_PAUSE | TIER_UPDATE | TIER_STATS | TIER_CHECKPOINT | TIER_TERMINAL | TIER_MOUNTS | TIER_TWO_PHASE_EXEC };
	/* mount_setattr(2) is the youngest call that the mounts need. An impossible flag: EINVAL from a kernel that has it. */
	if (sys_mount_setattr(-1, "", ~0U, NULL) < 0 && errno == ENOSYS) {
		ret->usable = false;
		snprintf(ret->reason, sizeof(ret->reason), "the kernel lacks mount_setattr(2): Linux 5.12 or newer is needed");
	}
	return 0;
}

const struct tier_ops tier_ns = {
	.name = "ns",
	.probe = probe_op,
	.create = ns_op_create,
	.start = ns_op_start,
	.exec = ns_op_exec,
	.exec_start = ns_op_exec_start,
	.mounts_add = ns_op_mounts_add,
	.mounts_remove = ns_op_mounts_remove,
	.signal = signal_op,
	.pause = pause_op,
	.resume = resume_op,
	.update = update_op,
	.checkpoint = ns_op_checkpoint,
	.restore = ns_op_restore,
	.destroy = destroy_op,
};
