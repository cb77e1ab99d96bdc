/* linux.netDevices and the loopback device of a fresh network namespace, by rtnetlink. Nothing is executed. */
#ifndef TIERCE_CONFINE_NETDEV_H
#define TIERCE_CONFINE_NETDEV_H

#include "base/err.h"
#include "spec/oci.h"

/*
 * Parent side, host network namespace, after the container's namespace exists: move each device into netns_fd under its new name; global-scope
 * addresses and the up state are kept (link-down loses them), as the spec demands. Needs CAP_NET_ADMIN in both.
 */
int netdev_move_all(const struct oci_net_device *devs, size_t n, int netns_fd, struct err *e) MUST_CHECK;
int netdev_move(const char *host_name, const char *name, int netns_fd, struct err *e) MUST_CHECK;
/* Child side: bring "lo" up in the current network namespace. Two ioctls. */
int netdev_lo_up(struct err *e) MUST_CHECK;

#endif
