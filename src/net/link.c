/* Delete a network device: see link.h. */
#include "net/link.h"

#include <errno.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macro.h"
#include "sys/netlink.h"

int link_delete(const char *name) {
	struct nl_request r;
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(name) };
	if (!ifi.ifi_index)
		return 0;
	_cleanup_close_ int fd = netlink_open();
	if (fd < 0)
		return fd;
	nl_init(&r, RTM_DELLINK, NLM_F_REQUEST, &ifi, sizeof(ifi));
	return nl_call(fd, &r, NULL, NULL, NULL);
}
