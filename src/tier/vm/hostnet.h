/* The pod's network interface on the host's side: what an engine or CNI plugin put into the network namespace is read, and its frames are led to a tap
 * device of the machine, which then carries the same addresses. */
#ifndef TIERCE_TIER_VM_HOSTNET_H
#define TIERCE_TIER_VM_HOSTNET_H

#include <net/if.h>

#include "base/arena.h"
#include "tier/vm/agent/proto.h"

struct host_network {
	int tap_fd;                 /* -EBADF: the namespace has nothing but loopback */
	struct agent_network agent; /* what the guest shall set up; in the arena */
};

/* In the network namespace of the container. */
int hostnet_attach(struct arena *a, struct host_network *ret, struct err *e) MUST_CHECK;

#endif
