/* QEMU as a hypervisor row: cold start, or a clone of a template. */
#include <errno.h>

#include "tier/vm/machine.h"
#include "tier/vm/qemu/launch.h"

static int probe(struct err *e)
{
	return qemu_program() ? 0 : err_set(e, ENOENT, "qemu-system-x86_64 is not installed (Debian: qemu-system-x86)");
}

static int start(const struct machine_config *c, struct machine *ret, struct err *e)
{
	struct machine_config mc = *c;
	mc.kvm = false;
	mc.confine = false;
	return qemu_launch(&mc, QEMU_COLD, NULL, ret, e);
}

const struct hypervisor hypervisor_qemu = { "qemu", probe, start, qemu_stop };
