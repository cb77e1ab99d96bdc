/* Moving network devices into a container, and "lo": see netdev.h. */
#include "confine/netdev.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "sys/netlink.h"

enum { NETDEV_ADDRS_MAX = 256 }; /* addresses of one device that are carried over; more is an error, not a silent loss */

struct address { struct ifaddrmsg msg; uint32_t flags; uint16_t local_len, peer_len, bcast_len; uint8_t local[16], peer[16], bcast[16]; };
struct device {
	int index;
	unsigned int flags; /* IFF_* */
	size_t n;
	bool overflow;
	struct address *addrs; /* owned */
};

static void device_free(struct device *d) { free(d->addrs); }

static int on_link(const struct nlmsghdr *h, void *arg) {
	struct device *d = arg;
	if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
		return 0;
	const struct ifinfomsg *m = (const void *)((const char *)h + NLMSG_HDRLEN);
	d->index = m->ifi_index;
	d->flags = m->ifi_flags;
	return 0;
}

static int find_link(int nl, const char *name, struct device *d, struct err *e) {
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	struct nl_request r;
	nl_init(&r, RTM_GETLINK, 0, &m, sizeof(m));
	nl_attr_str(&r, IFLA_IFNAME, name);
	int code = nl_call(nl, &r, on_link, d, e);
	if (code == 0 && d->index <= 0)
		code = err_set(e, -ENODEV, "no such device");
	return code < 0 ? err_wrap(e, code, "link not found for interface %s", name) : 0;
}

static void take_bytes(const struct nlattr *a, uint8_t to[16], uint16_t *n) {
	if (nl_len(a) > 16)
		return;
	*n = (uint16_t)nl_len(a);
	memcpy(to, nl_data(a), *n);
}

static int on_addr(const struct nlmsghdr *h, void *arg) {
	struct device *d = arg;
	if (h->nlmsg_type != RTM_NEWADDR || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifaddrmsg)))
		return 0;
	const struct ifaddrmsg *m = (const void *)((const char *)h + NLMSG_HDRLEN);
	if ((int)m->ifa_index != d->index)
		return 0;
	struct address a = { .msg = *m, .flags = m->ifa_flags };
	const char *data = (const char *)m + NLMSG_ALIGN(sizeof(*m));
	size_t len = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));
	for (const struct nlattr *at = nl_next(data, len, NULL); at; at = nl_next(data, len, at)) {
		switch (nl_type(at)) {
		case IFA_LOCAL: take_bytes(at, a.local, &a.local_len); break;
		case IFA_ADDRESS: take_bytes(at, a.peer, &a.peer_len); break;
		case IFA_BROADCAST: take_bytes(at, a.bcast, &a.bcast_len); break;
		case IFA_FLAGS:
			if (nl_len(at) == 4)
				memcpy(&a.flags, nl_data(at), 4);
			break;
		}
	}
	/* The spec: permanent addresses of global scope; others are made anew by the kernel or by whoever leased them. */
	if (m->ifa_scope != RT_SCOPE_UNIVERSE || !(a.flags & IFA_F_PERMANENT))
		return 0;
	if (d->n == NETDEV_ADDRS_MAX) {
		d->overflow = true;
		return 0;
	}
	d->addrs[d->n++] = a;
	return 0;
}

static int list_addrs(int nl, struct device *d, struct err *e) {
	struct ifaddrmsg m = { .ifa_family = AF_UNSPEC };
	struct nl_request r;
	d->addrs = calloc(NETDEV_ADDRS_MAX, sizeof(*d->addrs));
	if (!d->addrs)
		return err_set(e, -ENOMEM, "out of memory");
	nl_init(&r, RTM_GETADDR, NLM_F_DUMP, &m, sizeof(m));
	int code = nl_call(nl, &r, on_addr, d, e);
	if (code == 0 && d->overflow)
		code = err_set(e, -E2BIG, "more than %d addresses", NETDEV_ADDRS_MAX);
	return code;
}

/* A name that is taken: the kernel moves first and renames afterwards (do_setlink()), so it would leave the device inside under its old name. */
static int refuse_taken(int nl, const char *name, struct err *e) {
	struct device d = { 0 };
	int code = find_link(nl, name, &d, NULL);
	if (code == -ENODEV)
		return 0;
	return code < 0 ? err_sys(e, code, "look for %s inside", name) : err_set(e, -EEXIST, "interface %s exists inside the container already", name);
}

/* Down, then one message that moves and renames. */
static int move_link(int nl, const struct device *d, const char *name, int netns_fd, struct err *e) {
	struct nl_request r;
	struct ifinfomsg down = { .ifi_family = AF_UNSPEC, .ifi_index = d->index, .ifi_change = IFF_UP };
	nl_init(&r, RTM_NEWLINK, 0, &down, sizeof(down));
	int code = nl_call(nl, &r, NULL, NULL, e);
	if (code < 0)
		return err_wrap(e, code, "fail to set link down");
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = d->index };
	nl_init(&r, RTM_NEWLINK, 0, &m, sizeof(m));
	nl_attr_str(&r, IFLA_IFNAME, name);
	nl_attr_u32(&r, IFLA_NET_NS_FD, (uint32_t)netns_fd);
	code = nl_call(nl, &r, NULL, NULL, e);
	if (code < 0 && d->flags & IFF_UP) {
		struct ifinfomsg up = { .ifi_family = AF_UNSPEC, .ifi_index = d->index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
		nl_init(&r, RTM_NEWLINK, 0, &up, sizeof(up));
		if (nl_call(nl, &r, NULL, NULL, NULL) < 0)
			err_wrap(e, code, "and it stays down");
	}
	return code < 0 ? err_wrap(e, code, "fail to move network interface to its namespace as %s", name) : 0;
}

static int add_addr(int nl, int index, const struct address *a, struct err *e) {
	struct nl_request r;
	struct ifaddrmsg m = a->msg;
	m.ifa_index = (uint32_t)index;
	nl_init(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	if (a->local_len)
		nl_attr(&r, IFA_LOCAL, a->local, a->local_len);
	if (a->peer_len)
		nl_attr(&r, IFA_ADDRESS, a->peer, a->peer_len);
	if (a->bcast_len)
		nl_attr(&r, IFA_BROADCAST, a->bcast, a->bcast_len);
	/* TENTATIVE, DADFAILED and the like are the kernel's to decide anew. */
	nl_attr_u32(&r, IFA_FLAGS, a->flags & (IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE | IFA_F_NODAD | IFA_F_HOMEADDRESS));
	int code = nl_call(nl, &r, NULL, NULL, e);
	return code == -EEXIST ? (err_clear(e), 0) : code;
}

int netdev_move(const char *host_name, const char *name, int netns_fd, struct err *e) {
	CLEANUP(device_free) struct device d = { 0 };
	struct device moved = { 0 };
	if (!name || !*name)
		name = host_name;
	if (strlen(name) >= IFNAMSIZ || strlen(host_name) >= IFNAMSIZ)
		return err_set(e, -ENAMETOOLONG, "linux.netDevices: interface name \"%s\" is longer than %d bytes",
			strlen(name) >= IFNAMSIZ ? name : host_name, IFNAMSIZ - 1);
	_cleanup_close_ int host = netlink_open();
	_cleanup_close_ int inside = netlink_open_in(netns_fd);
	if (host < 0 || inside < 0)
		return err_sys(e, host < 0 ? host : inside, "linux.netDevices: netlink socket");
	int code = find_link(host, host_name, &d, e);
	if (code == 0)
		code = list_addrs(host, &d, e);
	if (code == 0)
		code = refuse_taken(inside, name, e);
	if (code == 0)
		code = move_link(host, &d, name, netns_fd, e);
	if (code == 0)
		code = find_link(inside, name, &moved, e); /* the index may have changed on the way */
	for (size_t i = 0; code == 0 && i < d.n; i++)
		code = add_addr(inside, moved.index, &d.addrs[i], e);
	if (code == 0) {
		struct nl_request r;
		struct ifinfomsg up = { .ifi_family = AF_UNSPEC, .ifi_index = moved.index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
		nl_init(&r, RTM_NEWLINK, 0, &up, sizeof(up));
		code = nl_call(inside, &r, NULL, NULL, e);
	}
	return code < 0 ? err_wrap(e, code, "linux.netDevices: %s", host_name) : 0;
}

int netdev_move_all(const struct oci_net_device *devs, size_t n, int netns_fd, struct err *e) {
	for (size_t i = 0; i < n; i++) {
		int r = netdev_move(devs[i].host_name, devs[i].name, netns_fd, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int netdev_lo_up(struct err *e) {
	/* Index 1 is lo in every namespace; an ioctl on any socket is cheaper than a netlink socket, which allocates its receive tables. */
	struct ifreq ifr = { .ifr_name = "lo" };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return err_sys(e, errno, "loopback device");
	if (ifr.ifr_flags & IFF_UP)
		return 0;
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		return err_sys(e, errno, "bring the loopback device up");
	return 0;
}
