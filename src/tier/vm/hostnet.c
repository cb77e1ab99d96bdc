/* From a veth (or any Ethernet interface) to a tap: frames that come in on one are sent out on the other. The guest's interface has the same addresses,
 * hardware address included; the one here keeps them too, so that a second machine finds it as the first did. */
#include "tier/vm/hostnet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "sys/fd.h"
#include "sys/netlink.h"

#define TAP_PREFIX "tierce-tap"
enum { TAP_TRIES = 20, TAP_NAP_NS = 50 * 1000 * 1000, ADDRESSES_MAX = 64, ROUTES_MAX = 256 /* a namespace full of them must not make us allocate without end */ };

struct view {
	int index;
	char name[IFNAMSIZ];
	uint8_t mac[6];
	uint32_t mtu;
	const char *addresses[ADDRESSES_MAX];
	size_t n_addresses;
	struct agent_route routes[ROUTES_MAX];
	size_t n_routes;
};
struct views { struct arena *a; struct view *v[NICS_MAX]; size_t n, extra, taps; };

static struct view *of_index(struct views *all, uint32_t index)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i]->index == (int)index)
			return all->v[i];
	return NULL;
}

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
	struct views *all = arg;
	const struct ifinfomsg *m = (const void *)((const char *)h + NLMSG_HDRLEN);
	size_t len = 0;
	if (h->nlmsg_type != RTM_NEWLINK || h->nlmsg_len < NLMSG_LENGTH(sizeof *m) || m->ifi_type != ARPHRD_ETHER || !(m->ifi_flags & IFF_UP))
		return 0;
	const char *name = find(ATTRS(h, m), IFLA_IFNAME, 2, &len);
	const void *mac = find(ATTRS(h, m), IFLA_ADDRESS, 6, NULL), *mtu = find(ATTRS(h, m), IFLA_MTU, 4, NULL);
	if (!name || !mac || !mtu)
		return 0;
	if (str_has_prefix(name, TAP_PREFIX)) {
		all->taps++;
		return 0;
	}
	if (all->n == NICS_MAX) {
		all->extra++;
		return 0;
	}
	struct view *v = all->v[all->n] = arena_new(all->a, struct view);
	if (!v)
		return -ENOMEM;
	all->n++;
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
	struct views *all = arg;
	const struct ifaddrmsg *m = (const void *)((const char *)h + NLMSG_HDRLEN);
	struct view *v = h->nlmsg_type == RTM_NEWADDR && h->nlmsg_len >= NLMSG_LENGTH(sizeof *m) ? of_index(all, m->ifa_index) : NULL;
	if (!v)
		return 0;
	size_t size = address_size(m->ifa_family);
	const void *p = size ? find(ATTRS(h, m), IFA_LOCAL, size, NULL) : NULL;
	if (size && !p)
		p = find(ATTRS(h, m), IFA_ADDRESS, size, NULL);
	if (!p || v->n_addresses == ADDRESSES_MAX || (m->ifa_family == AF_INET6 && m->ifa_scope == RT_SCOPE_LINK))
		return 0;
	v->addresses[v->n_addresses] = text_of(all->a, m->ifa_family, p, m->ifa_prefixlen);
	return v->addresses[v->n_addresses++] ? 0 : -ENOMEM;
}

static int on_route(const struct nlmsghdr *h, void *arg)
{
	struct views *all = arg;
	const struct rtmsg *m = (const void *)((const char *)h + NLMSG_HDRLEN);
	uint32_t oif, table = 0;
	if (h->nlmsg_type != RTM_NEWROUTE || h->nlmsg_len < NLMSG_LENGTH(sizeof *m) || m->rtm_type != RTN_UNICAST || m->rtm_protocol == RTPROT_KERNEL)
		return 0;
	size_t size = address_size(m->rtm_family);
	const void *po = find(ATTRS(h, m), RTA_OIF, 4, NULL), *pt = find(ATTRS(h, m), RTA_TABLE, 4, NULL);
	if (!size || !po)
		return 0;
	memcpy(&oif, po, 4);
	struct view *v = of_index(all, oif);
	if (pt)
		memcpy(&table, pt, 4);
	if (!v || v->n_routes == ROUTES_MAX || (pt ? table : m->rtm_table) != RT_TABLE_MAIN)
		return 0;
	static const uint8_t any[16];
	const void *dst = find(ATTRS(h, m), RTA_DST, size, NULL), *gw = find(ATTRS(h, m), RTA_GATEWAY, size, NULL), *src = find(ATTRS(h, m), RTA_PREFSRC, size, NULL);
	struct agent_route *r = &v->routes[v->n_routes++];
	r->dest = text_of(all->a, m->rtm_family, dst ? dst : any, m->rtm_dst_len);
	r->gateway = gw ? text_of(all->a, m->rtm_family, gw, UINT32_MAX) : NULL;
	r->source = src ? text_of(all->a, m->rtm_family, src, UINT32_MAX) : NULL;
	r->scope = m->rtm_scope;
	r->flags = m->rtm_flags & RTNH_F_ONLINK;
	return 0;
}

static int look(int nl, struct views *v, struct err *e)
{
	struct nl_request q;
	nl_init(&q, RTM_GETLINK, NLM_F_DUMP, &(struct ifinfomsg){ .ifi_family = AF_UNSPEC }, sizeof(struct ifinfomsg));
	int r = nl_call(nl, &q, on_link, v, e);
	if (r < 0 || !v->n)
		return r;
	nl_init(&q, RTM_GETADDR, NLM_F_DUMP, &(struct ifaddrmsg){ .ifa_family = AF_UNSPEC }, sizeof(struct ifaddrmsg));
	r = nl_call(nl, &q, on_address, v, e);
	if (r < 0)
		return r;
	nl_init(&q, RTM_GETROUTE, NLM_F_DUMP, &(struct rtmsg){ .rtm_family = AF_UNSPEC }, sizeof(struct rtmsg));
	return nl_call(nl, &q, on_route, v, e);
}

/* The tap keeps living by its descriptor. */
static int make_tap(char name[IFNAMSIZ], struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, errno, "/dev/net/tun");
	snprintf(ifr.ifr_name, sizeof ifr.ifr_name, TAP_PREFIX "%%d"); /* the kernel finds a free number: one of a machine that just ends may still be there */
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return err_sys(e, errno, "make the machine's tap device");
	snprintf(name, IFNAMSIZ, "%.*s", IFNAMSIZ - 1, ifr.ifr_name);
	return TAKE_FD(fd);
}

/* Frames are for the guest: this namespace's own stack must not answer them. */
static void no_ipv6(const char *name)
{
	char p[96];
	snprintf(p, sizeof p, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	(void)!file_write_at(AT_FDCWD, p, "1"); /* a kernel without IPv6 has no such file */
}

static int tap_up(int nl, int index, uint32_t mtu, struct err *e)
{
	struct nl_request q;
	struct ifinfomsg m = { .ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	nl_init(&q, RTM_NEWLINK, 0, &m, sizeof m);
	nl_attr_u32(&q, IFLA_MTU, mtu);
	return nl_call(nl, &q, NULL, NULL, e);
}

/* ---- redirection: what comes in on one device goes out on the other, before this namespace's stack sees it (tc-mirred(8), tc-u32(8)) ----------------- */

static void ingress_gone(int nl, int index)
{
	struct nl_request q;
	_cleanup_err_ struct err ignored = ERR_INIT;
	struct tcmsg m = { .tcm_family = AF_UNSPEC, .tcm_ifindex = index, .tcm_parent = TC_H_INGRESS };
	nl_init(&q, RTM_DELQDISC, 0, &m, sizeof m);
	(void)!nl_call(nl, &q, NULL, NULL, &ignored); /* there may be none */
}

static int redirect(int nl, int from, int to, struct err *e)
{
	struct nl_request q;
	struct tcmsg m = { .tcm_family = AF_UNSPEC, .tcm_ifindex = from, .tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0), .tcm_parent = TC_H_INGRESS };
	nl_init(&q, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);
	nl_attr_str(&q, TCA_KIND, "ingress");
	int r = nl_call(nl, &q, NULL, NULL, e);
	if (r < 0)
		return err_wrap(e, r, "ingress qdisc");
	/* A selector and one key of zeroes: its keys are a flexible array, which may not lie within another struct (clang). */
	union { unsigned char bytes[sizeof(struct tc_u32_sel) + sizeof(struct tc_u32_key)]; struct tc_u32_sel sel; } all = { { 0 } };
	all.sel.flags = TC_U32_TERMINAL;
	all.sel.nkeys = 1;
	struct tc_mirred mirred = { .action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to };
	m = (struct tcmsg){ .tcm_family = AF_UNSPEC, .tcm_ifindex = from, .tcm_parent = TC_H_MAKE(TC_H_INGRESS, 0), .tcm_info = TC_H_MAKE(1U << 16, htons(ETH_P_ALL)) };
	nl_init(&q, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof m);
	nl_attr_str(&q, TCA_KIND, "u32");
	size_t options = nl_nest(&q, TCA_OPTIONS);
	nl_attr(&q, TCA_U32_SEL, &all, sizeof all);
	size_t actions = nl_nest(&q, TCA_U32_ACT), first = nl_nest(&q, 1);
	nl_attr_str(&q, TCA_ACT_KIND, "mirred");
	size_t act = nl_nest(&q, TCA_ACT_OPTIONS);
	nl_attr(&q, TCA_MIRRED_PARMS, &mirred, sizeof mirred);
	nl_nest_end(&q, act);
	nl_nest_end(&q, first);
	nl_nest_end(&q, actions);
	nl_nest_end(&q, options);
	r = nl_call(nl, &q, NULL, NULL, e);
	return r < 0 ? err_wrap(e, r, "redirect frames") : 0;
}

static int attach(struct arena *a, int nl, struct view *v, struct agent_link *link, int *ret_tap, struct err *e)
{
	char name[IFNAMSIZ];
	_cleanup_close_ int tap = make_tap(name, e);
	if (tap < 0)
		return tap;
	int index = (int)if_nametoindex(name);
	no_ipv6(name);
	ingress_gone(nl, v->index); /* of a machine whose monitor was killed */
	int r = tap_up(nl, index, v->mtu, e);
	if (r >= 0 && (r = redirect(nl, v->index, index, e)) >= 0)
		r = redirect(nl, index, v->index, e);
	if (r < 0)
		return err_wrap(e, r, "lead %s to the machine", v->name);
	const uint8_t *b = v->mac;
	*link = (struct agent_link){ .name = v->name, .mac = arena_printf(a, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5]), .mtu = v->mtu,
		.addresses = { v->addresses, v->n_addresses }, .routes = { v->routes, v->n_routes } };
	*ret_tap = TAKE_FD(tap);
	return link->mac ? 0 : err_set(e, ENOMEM, "network of the container");
}

int hostnet_attach(struct arena *a, struct host_network *ret, struct err *e)
{
	struct views *all = arena_new(a, struct views);
	struct agent_link *links = arena_array(a, NICS_MAX, struct agent_link);
	_cleanup_close_ int nl = netlink_open();
	*ret = HOST_NETWORK_INIT;
	if (!all || !links || nl < 0)
		return err_sys(e, nl < 0 ? nl : ENOMEM, "network of the container");
	all->a = a;
	int r = look(nl, all, e);
	/* A machine whose monitor was killed takes its taps along within moments; one that lives keeps the interfaces. */
	for (unsigned i = 0; r >= 0 && all->n && all->taps && i < TAP_TRIES; i++) {
		nanosleep(&(struct timespec){ 0, TAP_NAP_NS }, NULL);
		*all = (struct views){ .a = a };
		r = look(nl, all, e);
	}
	if (r >= 0 && all->n && all->taps)
		r = err_set(e, EBUSY, "its interfaces lead to another virtual machine; containers of a pod share one machine (dev.tierce.vm.sandbox, or a CRI engine's annotations)");
	if (r >= 0 && all->extra)
		r = err_set(e, E2BIG, "%zu interfaces; a virtual machine gets at most %d", all->n + all->extra, NICS_MAX);
	for (size_t i = 0; r >= 0 && i < all->n; i++) {
		ret->index[ret->n++] = all->v[i]->index; /* also when it fails half-way: what was made is taken back */
		r = attach(a, nl, all->v[i], &links[i], &ret->tap_fd[i], e);
	}
	ret->agent.links = (struct pb_list){ links, ret->n };
	return r < 0 ? err_wrap(e, r, "network of the container") : 0;
}

void hostnet_close(struct host_network *n)
{
	for (size_t i = 0; i < n->n; i++)
		if (n->tap_fd[i] >= 0)
			close(n->tap_fd[i]);
	for (size_t i = 0; i < NICS_MAX; i++)
		n->tap_fd[i] = -EBADF;
}

void hostnet_detach(struct host_network *n)
{
	_cleanup_close_ int nl = n->n ? netlink_open() : -EBADF;
	for (size_t i = 0; nl >= 0 && i < n->n; i++)
		ingress_gone(nl, n->index[i]);
	hostnet_close(n);
}
