/* Before a start. */
#include "tier/vm/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/fd.h"
#include "tier/vm/probe.h"

int vm_hypervisor(const struct vm_options *o, const struct hypervisor **ret, struct err *e)
{
	bool builtin = strcmp(o->hypervisor, "builtin") == 0, q35 = strcmp(o->machine, "q35") == 0;
	if (builtin && q35)
		return err_set(e, EINVAL, "dev.tierce.vm.machine: q35 is QEMU's; builtin has a machine of its own");
	if (builtin && strcmp(o->accel, "tcg") == 0)
		return err_set(e, EINVAL, "dev.tierce.vm.accel: builtin does not emulate");
	if (builtin || (strcmp(o->hypervisor, "auto") == 0 && !q35 && strcmp(o->accel, "tcg") != 0)) {
		int r = hypervisor_builtin.probe(builtin ? e : NULL);
		if (r >= 0 || builtin) {
			*ret = &hypervisor_builtin;
			return r < 0 ? err_wrap(e, r, "dev.tierce.vm.hypervisor: builtin is not available here") : 0;
		}
	}
	if (strcmp(o->accel, "kvm") == 0) {
		int r = kvm_probe(e);
		if (r < 0)
			return err_wrap(e, r, "dev.tierce.vm.accel: kvm is not available here");
	}
	*ret = &hypervisor_qemu;
	return hypervisor_qemu.probe(e);
}

int vm_assets(const struct vm_options *o, struct assets *ret, struct err *e)
{
	struct asset_options ao = { .cache = o->cache, .kernel = o->kernel, .modules = o->modules };
	return assets_prepare(&ao, ret, e);
}

void vm_machine_config(const struct vm_options *o, const struct assets *a, struct machine_config *ret)
{
	*ret = (struct machine_config){ .assets = a, .cache = o->cache, .machine = o->machine, .kernel_args = o->kernel_args, .memory = o->memory, .cpus = o->cpus,
		.tap_fd = -EBADF, .confine = o->confine, .use_template = o->template_on, .accel = o->accel };
}

/* A grandchild of nobody: it may outlive the command that started it by two seconds. */
static void in_background(const struct hypervisor *hv, const struct machine_config *mc)
{
	pid_t pid = fork();
	if (pid < 0)
		return;
	if (pid > 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return;
	}
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fork() != 0)
		_exit(0);
	setsid();
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	cloexec_from(3);
	for (int fd = 3; fd < 256; fd++) /* a caller's pipes must not be held open; nothing of ours is needed */
		close(fd);
	setpriority(PRIO_PROCESS, 0, 10);
	(void)!chdir("/");
	_exit(hv->prepare(mc, false, NULL) < 0);
}

void vm_template(const struct hypervisor *hv, const struct vm_options *o, const struct assets *a)
{
	struct machine_config mc;
	if (!o->template_on)
		return;
	vm_machine_config(o, a, &mc);
	if (o->template_wait) {
		_cleanup_err_ struct err why = ERR_INIT;
		(void)!hv->prepare(&mc, true, &why); /* without one (a full disk) the machine boots: slower, but it runs */
		return;
	}
	if (!hv->prepared(&mc))
		in_background(hv, &mc);
}
