/* Interfaces of the pod inside the machine, as the host had them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cmd/agent/agent.h"
#include "sys/fd.h"
#include "sys/netlink.h"

static int set_link(int nl, int index, bool up, const char *name, const uint8_t *mac, uint32_t mtu, struct err *e)
{
	struct nl_request q;
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = up ? IFF_UP : 0, .ifi_change = IFF_UP };
	nl_init(&q, RTM_NEWLINK, 0, &m, sizeof m);
	if (name)
		nl_attr_str(&q, IFLA_IFNAME, name);
	if (mac)
		nl_attr(&q, IFLA_ADDRESS, mac, 6);
	if (mtu)
		nl_attr_u32(&q, IFLA_MTU, mtu);
	return nl_call(nl, &q, NULL, NULL, e);
}

/* "ADDRESS" or "ADDRESS/PREFIX" */
static int parse(const char *text, uint8_t addr[16], int *ret_family, unsigned *ret_prefix)
{
	char b[80];
	unsigned prefix = 0;
	if (!text || (size_t)snprintf(b, sizeof b, "%s", text) >= sizeof b)
		return -EINVAL;
	char *slash = strchr(b, '/');
	if (slash) {
		*slash = 0;
		uint32_t v;
		if (parse_u32(slash + 1, &v) < 0 || v > 128)
			return -EINVAL;
		prefix = v;
	}
	*ret_family = strchr(b, ':') ? AF_INET6 : AF_INET;
	*ret_prefix = prefix;
	return inet_pton(*ret_family, b, addr) == 1 && (*ret_family == AF_INET6 || prefix <= 32) ? 0 : -EINVAL;
}

static size_t size_of(int family) { return family == AF_INET ? 4 : 16; }

static int add_address(int nl, int index, const char *text, struct err *e)
{
	struct nl_request q;
	uint8_t a[16];
	int family;
	unsigned prefix;
	if (parse(text, a, &family, &prefix) < 0)
		return err_set(e, EINVAL, "network: address %s", text ? text : "");
	struct ifaddrmsg m = { .ifa_family = (uint8_t)family, .ifa_prefixlen = (uint8_t)prefix, .ifa_index = (uint32_t)index, .ifa_flags = family == AF_INET6 ? IFA_F_NODAD : 0 };
	nl_init(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof m);
	nl_attr(&q, IFA_LOCAL, a, size_of(family));
	nl_attr(&q, IFA_ADDRESS, a, size_of(family));
	int r = nl_call(nl, &q, NULL, NULL, e);
	return r < 0 ? err_wrap(e, r, "address %s", text) : 0;
}

static int add_route(int nl, int index, const struct agent_route *t, struct err *e)
{
	struct nl_request q;
	uint8_t dst[16], gw[16], src[16];
	int family, f2;
	unsigned prefix, p2;
	if (parse(t->dest, dst, &family, &prefix) < 0 || (t->gateway && parse(t->gateway, gw, &f2, &p2) < 0) || (t->source && parse(t->source, src, &f2, &p2) < 0))
		return err_set(e, EINVAL, "network: route to %s", t->dest ? t->dest : "");
	struct rtmsg m = { .rtm_family = (uint8_t)family, .rtm_dst_len = (uint8_t)prefix, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
		.rtm_scope = (uint8_t)t->scope, .rtm_type = RTN_UNICAST, .rtm_flags = (unsigned)t->flags };
	nl_init(&q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof m);
	if (prefix)
		nl_attr(&q, RTA_DST, dst, size_of(family));
	if (t->gateway)
		nl_attr(&q, RTA_GATEWAY, gw, size_of(family));
	if (t->source)
		nl_attr(&q, RTA_PREFSRC, src, size_of(family));
	nl_attr_u32(&q, RTA_OIF, (uint32_t)index);
	int r = nl_call(nl, &q, NULL, NULL, e);
	return r < 0 ? err_wrap(e, r, "route to %s", t->dest) : 0;
}

/* The nth network device that is not loopback, by name. */
static int nth_device(size_t n, char ret[IFNAMSIZ])
{
	struct if_nameindex *v = if_nameindex();
	int index = 0;
	for (size_t i = 0; v && v[i].if_index; i++) {
		if (strcmp(v[i].if_name, "lo") == 0 || n-- > 0)
			continue;
		snprintf(ret, IFNAMSIZ, "%s", v[i].if_name);
		index = (int)v[i].if_index;
		break;
	}
	if_freenameindex(v);
	return index;
}

/* The device with that hardware address, which it has from the hypervisor; a clone's has the template's and is alone. */
static int device_of(const uint8_t mac[6], char ret[IFNAMSIZ])
{
	struct if_nameindex *v = if_nameindex();
	int index = 0, s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	for (size_t i = 0; s >= 0 && v && v[i].if_index && !index; i++) {
		struct ifreq q = { 0 };
		snprintf(q.ifr_name, sizeof q.ifr_name, "%s", v[i].if_name);
		if (ioctl(s, SIOCGIFHWADDR, &q) == 0 && memcmp(q.ifr_hwaddr.sa_data, mac, 6) == 0) {
			snprintf(ret, IFNAMSIZ, "%s", v[i].if_name);
			index = (int)v[i].if_index;
		}
	}
	if_freenameindex(v);
	if (s >= 0)
		close(s);
	return index;
}

static int apply_link(int nl, size_t i, const struct agent_link *l, struct err *e)
{
	char have[IFNAMSIZ];
	unsigned b[6];
	uint8_t mac[6];
	if (!l->name || !l->mac || sscanf(l->mac, "%2x:%2x:%2x:%2x:%2x:%2x", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5]) != 6)
		return err_set(e, EINVAL, "network: malformed link");
	for (unsigned k = 0; k < 6; k++)
		mac[k] = (uint8_t)b[k];
	int index = device_of(mac, have);
	if (!index)
		index = nth_device(i, have);
	if (!index)
		return err_set(e, ENODEV, "the machine has no network device for %s", l->name);
	int r = set_link(nl, index, false, streq(have, l->name) ? NULL : l->name, mac, (uint32_t)l->mtu, e);
	if (r >= 0)
		r = set_link(nl, index, true, NULL, NULL, 0, e);
	for (size_t k = 0; r >= 0 && k < l->addresses.n; k++)
		r = add_address(nl, index, ((const char **)l->addresses.v)[k], e);
	/* Routes to the link first: gateways are reached by them. */
	for (int pass = 0; pass < 2; pass++)
		for (size_t k = 0; r >= 0 && k < l->routes.n; k++) {
			const struct agent_route *t = (const struct agent_route *)l->routes.v + k;
			if (!t->gateway == !pass)
				r = add_route(nl, index, t, e);
		}
	return r < 0 ? err_wrap(e, r, "network interface %s", l->name) : 0;
}

/* "net.ipv4.ip_forward=1"; with slashes when a name has a dot in it (sysctl(8)). */
static int set_sysctl(const char *text, struct err *e)
{
	char path[300];
	const char *eq = strchr(text, '=');
	size_t n = eq ? (size_t)(eq - text) : 0;
	if (!n || n > 200 || strstr(text, "..") || strncmp(text, "net", 3) != 0)
		return err_set(e, EINVAL, "sysctl %.80s", text);
	snprintf(path, sizeof path, "/proc/sys/%.*s", (int)n, text);
	for (char *p = path + sizeof "/proc/sys/" - 1; *p && !memchr(text, '/', n); p++)
		if (*p == '.')
			*p = '/';
	int r = file_write_at(AT_FDCWD, path, eq + 1);
	return r < 0 ? err_sys(e, r, "sysctl %.*s", (int)n, text) : 0;
}

int net_apply(const struct agent_network *n, struct err *e)
{
	int nl = netlink_open();
	int r = nl < 0 ? err_sys(e, nl, "netlink") : set_link(nl, (int)if_nametoindex("lo"), true, NULL, NULL, 0, e);
	for (size_t i = 0; r >= 0 && i < n->links.n; i++)
		r = apply_link(nl, i, (const struct agent_link *)n->links.v + i, e);
	for (size_t i = 0; r >= 0 && i < n->sysctls.n; i++)
		r = set_sysctl(((const char **)n->sysctls.v)[i], e);
	if (nl >= 0)
		close(nl);
	return r;
}
