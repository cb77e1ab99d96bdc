/* The container's cgroup on the host: the monitor and the hypervisor live in it, so its limits must hold the machine, whose guest keeps the container's own.
 * Limits that would throttle the machine itself (pids, memory, device rules) are widened by what the machine needs; the rest is left as it is. */
#include <errno.h>
#include <sched.h>
#include <signal.h>

#include "sys/kernel.h"
#include "tier/vm/ops_internal.h"

enum {
	HYPERVISOR_PIDS = 256,            /* threads of QEMU: vCPUs, its main loop, a pool for disk requests */
	HYPERVISOR_MEMORY = 256 << 20,    /* QEMU's own heap and its translated code, the monitor */
};

int vm_cgroup_widen(struct tier_container *c, const struct oci_resources *asked, uint64_t guest_memory, struct err *e)
{
	static const struct { int64_t major, minor; } devices[] = { { 10, 232 } /* kvm */, { 10, 200 } /* net/tun */, { 10, 238 } /* vhost-net */ };
	struct oci_resources r = { .set = true };
	struct oci_device_rule rules[ARRAY_SIZE(devices) + 1];
	if (!c->cgroup || !cgroup_active(c->cgroup))
		return 0;
	if (asked->memory.limit.set && asked->memory.limit.v > 0) {
		r.memory.limit = (struct opt_i64){ true, (int64_t)guest_memory + HYPERVISOR_MEMORY };
		if (asked->memory.swap.set && asked->memory.swap.v > 0)
			r.memory.swap = r.memory.limit;
	}
	if (asked->pids_limit.set && asked->pids_limit.v > 0)
		r.pids_limit = (struct opt_i64){ true, asked->pids_limit.v + HYPERVISOR_PIDS };
	_cleanup_free_ struct oci_device_rule *all = NULL;
	if (asked->n_devices) {
		for (size_t i = 0; i < ARRAY_SIZE(devices); i++)
			rules[i] = (struct oci_device_rule){ true, 'c', { true, devices[i].major }, { true, devices[i].minor }, "rw" };
		r.n_devices = asked->n_devices + ARRAY_SIZE(devices);
		all = calloc(r.n_devices, sizeof *all);
		if (!all)
			return err_set(e, ENOMEM, "cgroup of the machine");
		memcpy(all, asked->devices, asked->n_devices * sizeof *all);
		memcpy(all + asked->n_devices, rules, ARRAY_SIZE(devices) * sizeof *all);
		r.devices = all;
	}
	int x = cgroup_apply(c->cgroup, &r, CGROUP_APPLY_UPDATE, e);
	return x < 0 ? err_wrap(e, x, "cgroup of the machine") : 0;
}

pid_t vm_fork(struct tier_container *c, struct cgroup_join *join, int *ret_pidfd, struct err *e)
{
	int pidfd = -EBADF, cg = c->cgroup ? cgroup_fd(c->cgroup) : -EBADF;
	struct clone_args a = { .flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	*join = (struct cgroup_join){ 0 };
	if (c->cgroup) {
		int r = cgroup_join_open(c->cgroup, join, e);
		if (r < 0)
			return r;
	}
	if (cg >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)cg;
	}
	pid_t pid = sys_clone3(&a);
	if (pid == 0)
		return 0;
	int saved = errno;
	cgroup_join_close(join);
	if (pid < 0)
		return err_sys(e, saved, "clone3");
	*ret_pidfd = pidfd;
	return pid;
}
