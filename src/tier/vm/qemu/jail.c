/* QEMU's jail. */
#include "tier/vm/qemu/jail.h"

#include <errno.h>

int qemu_jail(const struct machine_config *c, struct err *e)
{
	(void)c;
	return err_set(e, ENOSYS, "jail");
}
