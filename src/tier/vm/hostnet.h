/* The pod's network interfaces on the host's side: what an engine or CNI plugin put into the network namespace is read, and its frames are led to a tap
 * device of the machine, which then carries the same addresses. */
#ifndef TIERCE_TIER_VM_HOSTNET_H
#define TIERCE_TIER_VM_HOSTNET_H

#include <net/if.h>

#include <assert.h>

#include "base/arena.h"
#include "tier/vm/machine.h"
#include "tier/vm/agent/proto.h"

struct host_network {
	size_t n;                   /* 0: the namespace has nothing but loopback */
	int tap_fd[NICS_MAX], index[NICS_MAX];
	struct agent_network agent; /* what the guest shall set up; in the arena */
};

#define HOST_NETWORK_INIT (struct host_network){ .tap_fd = { -EBADF, -EBADF, -EBADF, -EBADF } }
static_assert(NICS_MAX == 4, "initializer above");

/* In the network namespace of the container. */
int hostnet_attach(struct arena *a, struct host_network *ret, struct err *e) MUST_CHECK;
/* Close our copies of the taps: the hypervisor has its own. */
void hostnet_close(struct host_network *n);
/* The interfaces are the namespace's own again. */
void hostnet_detach(struct host_network *n);

#endif
