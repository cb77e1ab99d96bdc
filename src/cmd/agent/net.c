/* Interfaces of the pod inside the machine. */
#include <errno.h>

#include "cmd/agent/agent.h"

int net_apply(const struct agent_network *n, struct err *e)
{
	return n->links.n ? err_set(e, EOPNOTSUPP, "network interfaces in the machine") : 0;
}
