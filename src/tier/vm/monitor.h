/* The process on the host that stands for a container in a machine: owns the hypervisor, relays streams, answers the runtime's commands on a socket
 * in the container's state directory, and ends as the container's init ended. */
#ifndef TIERCE_TIER_VM_MONITOR_H
#define TIERCE_TIER_VM_MONITOR_H

#include "spec/oci.h"
#include "tier/vm/machine.h"
#include "tier/vm/options.h"
#include "tier/vm/relay.h"

#define MONITOR_SERVICE "tierce.vm.v1"
#define MONITOR_SOCKET "vm.sock"
#define MONITOR_OOM "vm.oom"       /* processes killed for want of memory, a number */
#define MONITOR_REASON "vm.reason" /* why a machine died, one line */

struct monitor_config {
	const char *id, *bundle, *rootfs;
	const struct oci_spec *spec;
	const struct vm_options *options;
	const struct assets *assets;
	const struct hypervisor *hypervisor;
	int state_fd;
	int listen_fd;     /* bound and listening */
	int stdio[3];
	bool terminal;     /* stdio is a pty's slave, made our controlling terminal already */
	bool own_network;  /* we are in a network namespace of the container's, not in the host's */
	int ready_fd;      /* one message to the runtime: status, text */
};

/* Boot, create the container, tell the runtime, serve. Ends the process. */
NORETURN void monitor_run(const struct monitor_config *c);

#endif
