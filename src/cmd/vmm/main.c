/* tierce-vmm: validate, acquire, drop privileges, run. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "tier/vm/builtin/config.h"
#include "tier/vm/builtin/filter.h"
#include "tier/vm/builtin/vmm.h"
#include "tier/vm/jail.h"
#include "tier/vm/probe.h"

static struct vmm machine; /* zero pages until used */

static int fail(const struct err *e)
{
	fprintf(stderr, "tierce-vmm: %s\n", err_msg(e));
	return 1;
}

/* Nothing of the host's files is left: what the machine needs is open. */
static int drop(const struct vmm_config *c, struct err *e)
{
	struct jail j = { .uid = c->uid, .gid = c->gid, .max_files = LOOP_FDS_MAX - 1 };
	return c->jail ? jail_enter(&j, e) : 0;
}

int main(int argc, char **argv)
{
	_cleanup_err_ struct err e = ERR_INIT;
	static struct vmm_config c;
	if (argc < 2) {
		config_usage(stderr);
		return 2;
	}
	if (config_parse(argc, argv, &c, &e) < 0)
		return fail(&e) + 1;
	if (c.show_filters) {
		filter_print(stdout);
		return 0;
	}
	if (c.probe)
		return kvm_probe(&e) < 0 ? fail(&e) : 0;
	signal(SIGPIPE, SIG_IGN);
	if (vmm_build(&machine, &c, &e) < 0 || drop(&c, &e) < 0)
		return fail(&e);
	if (c.control >= 0) /* after the change of user, which clears it; a parent that is gone already has closed the control socket */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (vmm_start(&machine, &e) < 0)
		return fail(&e);
	vmm_serve(&machine);
}
