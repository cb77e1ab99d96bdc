/* QEMU as a hypervisor row: a clone of a template where there is one, else a cold boot. */
#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "tier/vm/jail.h"
#include "tier/vm/machine.h"
#include "tier/vm/probe.h"
#include "tier/vm/qemu/launch.h"
#include "tier/vm/qemu/template.h"

static int probe(struct err *e)
{
	return qemu_program() ? 0 : err_set(e, ENOENT, "qemu-system-x86_64 is not installed (Debian: qemu-system-x86)");
}

/* Asked once in a process: the answer costs a fork, and does not change. */
static bool kvm_works(void)
{
	static int known; /* 1: yes, -1: no */
	if (!known)
		known = kvm_probe(NULL) >= 0 ? 1 : -1;
	return known > 0;
}

/* What the configuration leaves open. */
static struct machine_config settle(const struct machine_config *c)
{
	struct machine_config mc = *c;
	mc.kvm = !streq(c->accel, "tcg") && kvm_works();
	mc.confine = c->confine && geteuid() == 0;
	mc.uid = mc.gid = jail_uid();
	mc.preload = c->assets->preload;
	return mc;
}

static int start(const struct machine_config *c, struct machine *ret, struct err *e)
{
	struct machine_config mc = settle(c);
	if (mc.use_template) {
		_cleanup_err_ struct err why = ERR_INIT;
		int r = template_clone(&mc, ret, &why);
		if (r >= 0) {
			ret->cloned = true;
			return 0;
		}
		if (r != -ENOENT) /* damaged, or of no use to this QEMU: it is made anew */
			templates_remove(&template_qemu, &mc);
	}
	return qemu_launch(&mc, QEMU_COLD, NULL, -EBADF, ret, e);
}

static int prepare(const struct machine_config *c, bool wait, struct err *e)
{
	struct machine_config mc = settle(c);
	return templates_build(&template_qemu, &mc, wait, e);
}

static bool prepared(const struct machine_config *c)
{
	struct machine_config mc = settle(c);
	return templates_there(&template_qemu, &mc);
}

static void discard(const struct machine_config *c)
{
	struct machine_config mc = settle(c);
	templates_remove(&template_qemu, &mc);
}

const struct hypervisor hypervisor_qemu = { "qemu", probe, start, qemu_stop, prepare, prepared, discard, NULL };
