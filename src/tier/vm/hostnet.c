/* From a veth (or any Ethernet interface) to a tap: both become ports of a bridge inside the namespace. The interface's addresses go to the guest, and so does
 * its hardware address, which the interface itself must then give up: a bridge keeps frames to its ports' own addresses. */
#include "tier/vm/hostnet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include "sys/fd.h"
#include "sys/netlink.h"

#define TAP "tierce-tap"
#define BRIDGE "tierce-br"
enum { ADDRESSES_MAX = 64, ROUTES_MAX = 256 /* a namespace full of them must not make us allocate without end */ };

struct view {
	struct arena *a;
	int index, extra;        /* the interface; further ones */
	char name[IFNAMSIZ];
	uint8_t mac[6];
	uint32_t mtu;
	const char *addresses[ADDRESSES_MAX];
	struct ifaddrmsg raw[ADDRESSES_MAX];
	uint8_t raw_addr[ADDRESSES_MAX][16];
	size_t n_addresses;
	struct agent_route routes[ROUTES_MAX];
	size_t n_routes;
};

static const void *find(const void *data, size_t n, uint16_t type, size_t min, size_t *ret_len)
{
	for (const struct nlattr *a = nl_next(data, n, NULL); a; a = nl_next(data, n, a))
		if (nl_type(a) == type && nl_len(a) >= min) {
			if (ret_len)
				*ret_len = nl_len(a);
			return nl_data(a);
		}
	return NULL;
}

#define ATTRS(h, m) ((const char *)(h) + NLMSG_SPACE(sizeof *(m))), ((h)->nlmsg_len > NLMSG_SPACE(sizeof *(m)) ? (h)->nlmsg_len - NLMSG_SPACE(sizeof *(m)) : 0)

static int on_link(const struct nlmsghdr *h, void *arg)
{
	struct view *v = arg;
	const struct ifinfomsg *m = (const void *)((const char *)h + NLMSG_HDRLEN);
	size_t len = 0;
	if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof *m) || m->ifi_type != ARPHRD_ETHER || !(m->ifi_flags & IFF_UP))
		return 0;
	if (v->index) {
		v->extra++;
		return 0;
	}
	const char *name = find(ATTRS(h, m), IFLA_IFNAME, 2, &len);
	const void *mac = find(ATTRS(h, m), IFLA_ADDRESS, 6, NULL), *mtu = find(ATTRS(h, m), IFLA_MTU, 4, NULL);
	if (!name || !mac || !mtu)
		return 0;
	v->index = m->ifi_index;
	snprintf(v->name, sizeof v->name, "%.*s", (int)len, name);
	memcpy(v->mac, mac, 6);
	memcpy(&v->mtu, mtu, 4);
	return 0;
}

static const char *text_of(struct arena *a, int family, const void *addr, unsigned prefix)
{
	char b[INET6_ADDRSTRLEN];
	if (!inet_ntop(family, addr, b, sizeof b))
		return NULL;
	return prefix == UINT32_MAX ? arena_strdup(a, b) : arena_printf(a, "%s/%u", b, prefix);
}

static size_t address_size(int family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

static int on_address(const struct nlmsghdr *h, void *arg)
{
	struct view *v = arg;
	const struct ifaddrmsg *m = (const void *)((const char *)h + NLMSG_HDRLEN);
	if (h->nlmsg_type != RTM_NEWADDR || h->nlmsg_len < NLMSG_LENGTH(sizeof *m) || (int)m->ifa_index != v->index)
		return 0;
	size_t size = address_size(m->ifa_family);
	const void *p = size ? find(ATTRS(h, m), IFA_LOCAL, size, NULL) : NULL;
	if (size && !p)
		p = find(ATTRS(h, m), IFA_ADDRESS, size, NULL);
	if (!p || v->n_addresses == ADDRESSES_MAX || (m->ifa_family == AF_INET6 && m->ifa_scope == RT_SCOPE_LINK))
		return 0;
	v->raw[v->n_addresses] = *m;
	memcpy(v->raw_addr[v->n_addresses], p, size);
	v->addresses[v->n_addresses] = text_of(v->a, m->ifa_family, p, m->ifa_prefixlen);
	return v->addresses[v->n_addresses++] ? 0 : -ENOMEM;
}

static int on_route(const struct nlmsghdr *h, void *arg)
{
	struct view *v = arg;
	const struct rtmsg *m = (const void *)((const char *)h + NLMSG_HDRLEN);
	uint32_t oif, table = 0;
	if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof *m) || m->rtm_type != RTN_UNICAST || m->rtm_protocol == RTPROT_KERNEL)
		return 0;
	size_t size = address_size(m->rtm_family);
	const void *po = find(ATTRS(h, m), RTA_OIF, 4, NULL), *pt = find(ATTRS(h, m), RTA_TABLE, 4, NULL);
	if (!size || !po || v->n_routes == ROUTES_MAX)
		return 0;
	memcpy(&oif, po, 4);
	if (pt)
		memcpy(&table, pt, 4);
	if ((int)oif != v->index || (pt ? table : m->rtm_table) != RT_TABLE_MAIN)
		return 0;
	static const uint8_t any[16];
	const void *dst = find(ATTRS(h, m), RTA_DST, size, NULL), *gw = find(ATTRS(h, m), RTA_GATEWAY, size, NULL), *src = find(ATTRS(h, m), RTA_PREFSRC, size, NULL);
	struct agent_route *r = &v->routes[v->n_routes++];
	r->dest = text_of(v->a, m->rtm_family, dst ? dst : any, m->rtm_dst_len);
	r->gateway = gw ? text_of(v->a, m->rtm_family, gw, UINT32_MAX) : NULL;
	r->source = src ? text_of(v->a, m->rtm_family, src, UINT32_MAX) : NULL;
	r->scope = m->rtm_scope;
	r->flags = m->rtm_flags & RTNH_F_ONLINK;
	return 0;
}

static int look(int nl, struct view *v, struct err *e)
{
	struct nl_request q;
	nl_init(&q, RTM_GETLINK, NLM_F_DUMP, &(struct ifinfomsg){ .ifi_family = AF_UNSPEC }, sizeof(struct ifinfomsg));
	int r = nl_call(nl, &q, on_link, v, e);
	if (r < 0 || !v->index)
		return r;
	nl_init(&q, RTM_GETADDR, NLM_F_DUMP, &(struct ifaddrmsg){ .ifa_family = AF_UNSPEC }, sizeof(struct ifaddrmsg));
	r = nl_call(nl, &q, on_address, v, e);
	if (r < 0)
		return r;
	nl_init(&q, RTM_GETROUTE, NLM_F_DUMP, &(struct rtmsg){ .rtm_family = AF_UNSPEC }, sizeof(struct rtmsg));
	return nl_call(nl, &q, on_route, v, e);
}

/* The tap keeps living by its descriptor. */
static int make_tap(struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, errno, "/dev/net/tun");
	snprintf(ifr.ifr_name, sizeof ifr.ifr_name, TAP);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return err_sys(e, errno, "make the machine's tap device");
	return TAKE_FD(fd);
}

static int set_link(int nl, int index, unsigned flags, const uint8_t *mac, uint32_t mtu, int master, struct err *e)
{
	struct nl_request q;
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = flags, .ifi_change = IFF_UP };
	nl_init(&q, RTM_NEWLINK, 0, &m, sizeof m);
	if (mac)
		nl_attr(&q, IFLA_ADDRESS, mac, 6);
	if (mtu)
		nl_attr_u32(&q, IFLA_MTU, mtu);
	if (master)
		nl_attr_u32(&q, IFLA_MASTER, (uint32_t)master);
	return nl_call(nl, &q, NULL, NULL, e);
}

static int make_bridge(int nl, struct err *e)
{
	struct nl_request q;
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC };
	nl_init(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);
	nl_attr_str(&q, IFLA_IFNAME, BRIDGE);
	size_t info = nl_nest(&q, IFLA_LINKINFO);
	nl_attr_str(&q, IFLA_INFO_KIND, "bridge");
	nl_nest_end(&q, info);
	int r = nl_call(nl, &q, NULL, NULL, e);
	return r < 0 ? err_wrap(e, r, "make a bridge for the machine") : 0;
}

/* Frames are for the guest: this namespace's own stack must not answer them. */
static void no_ipv6(const char *name)
{
	char p[96];
	snprintf(p, sizeof p, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	(void)!file_write_at(AT_FDCWD, p, "1"); /* a kernel without IPv6 has no such file */
}

static int give_up_addresses(int nl, const struct view *v, struct err *e)
{
	for (size_t i = 0; i < v->n_addresses; i++) {
		struct nl_request q;
		nl_init(&q, RTM_DELADDR, 0, &v->raw[i], sizeof v->raw[i]);
		nl_attr(&q, IFA_LOCAL, v->raw_addr[i], address_size(v->raw[i].ifa_family));
		int r = nl_call(nl, &q, NULL, NULL, e);
		if (r < 0 && r != -EADDRNOTAVAIL)
			return err_wrap(e, r, "take the address off %s", v->name);
	}
	err_clear(e);
	return 0;
}

static int connect_ports(int nl, const struct view *v, struct err *e)
{
	uint8_t mac[6];
	int r = make_bridge(nl, e);
	if (r < 0)
		return r;
	int bridge = (int)if_nametoindex(BRIDGE), tap = (int)if_nametoindex(TAP);
	if (!bridge || !tap || getrandom(mac, sizeof mac, 0) != sizeof mac)
		return err_sys(e, errno, "the machine's bridge");
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2); /* locally administered, unicast */
	no_ipv6(v->name);
	no_ipv6(BRIDGE);
	no_ipv6(TAP);
	if ((r = give_up_addresses(nl, v, e)) < 0 || (r = set_link(nl, v->index, 0, mac, 0, bridge, e)) < 0 || (r = set_link(nl, tap, IFF_UP, NULL, v->mtu, bridge, e)) < 0 ||
	    (r = set_link(nl, v->index, IFF_UP, NULL, 0, 0, e)) < 0 || (r = set_link(nl, bridge, IFF_UP, NULL, 0, 0, e)) < 0)
		return err_wrap(e, r, "lead %s to the machine", v->name);
	return 0;
}

int hostnet_attach(struct arena *a, struct host_network *ret, struct err *e)
{
	struct view *v = arena_new(a, struct view);
	struct agent_link *link = arena_new(a, struct agent_link);
	_cleanup_close_ int nl = netlink_open(), tap = -EBADF;
	*ret = (struct host_network){ .tap_fd = -EBADF };
	if (!v || !link || nl < 0)
		return err_sys(e, nl < 0 ? nl : ENOMEM, "network of the container");
	v->a = a;
	int r = look(nl, v, e);
	if (r < 0)
		return err_wrap(e, r, "network of the container");
	if (!v->index)
		return 0;
	if (v->extra)
		return err_set(e, EOPNOTSUPP, "network of the container: %d interfaces; a virtual machine gets one", v->extra + 1);
	tap = make_tap(e);
	if (tap < 0)
		return tap;
	r = connect_ports(nl, v, e);
	if (r < 0)
		return r;
	const uint8_t *b = v->mac;
	*link = (struct agent_link){ .name = v->name, .mac = arena_printf(a, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]), .mtu = v->mtu,
		.addresses = { v->addresses, v->n_addresses }, .routes = { v->routes, v->n_routes } };
	*ret = (struct host_network){ TAKE_FD(tap), { { link, 1 } } };
	return 0;
}
