/* Container networks by CNI plugins (CNI spec 1.0: plugins are programs, configuration on stdin, parameters in the environment). */
#ifndef TIERCE_NET_CNI_H
#define TIERCE_NET_CNI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/json.h"

struct cni_port { const char *host_ip; /* "" = all */ uint16_t host, container; const char *protocol; /* "tcp", "udp", "sctp" */ };

/* One container on one network. */
struct cni_attachment {
	const char *network;      /* name of the network */
	const char *container_id, *netns, *ifname;
	const struct cni_port *ports; /* published ports (portmap), only for the first network of a container */
	size_t n_ports;
	const char *static_ip, *static_ip6, *static_mac; /* NULL: none */
};
struct cni_address { const char *ip; /* without prefix */ unsigned prefix; const char *gateway; /* NULL: none */ };
struct cni_result { struct cni_address *v; size_t n; const char *mac; };

struct cni_dirs {
	const char *conf[3]; /* searched in this order for NAME.conflist and for files whose "name" is NAME; NULL-terminated */
	const char *cache;   /* results of ADD are kept here for DEL (spec: the runtime caches them) */
};

int cni_name_check(const char *name, struct err *e) MUST_CHECK;
/* The configuration of a network by name: a list document. -ENOENT with what exists. */
int cni_load(struct arena *a, const struct cni_dirs *d, const char *network, struct json **ret, struct err *e) MUST_CHECK;
/* Names of all networks, sorted; strv-owned. */
int cni_list(const struct cni_dirs *d, char ***ret, size_t *n, struct err *e) MUST_CHECK;
/* ADD through every plugin of the list. On failure what was done is undone by DEL. */
int cni_add(struct arena *a, const struct cni_dirs *d, const struct cni_attachment *at, struct cni_result *ret, struct err *e) MUST_CHECK;
/* DEL in reverse order with the cached configuration and result; a network that is not attached is no error. netns may be gone ("" then). */
int cni_del(const struct cni_dirs *d, const struct cni_attachment *at, struct err *e);
struct cni_subnet { const char *subnet, *gateway, *first, *last; }; /* gateway NULL: the first address; first and last NULL: all are given out */
struct cni_bridge {
	const char *name, *bridge;  /* of the network; of the device */
	struct cni_subnet subnets[4];
	size_t n_subnets;
	const char *const *routes;  /* besides the default one */
	size_t n_routes;
	bool internal;              /* no route out */
	bool isolate;               /* nothing between this bridge and others (firewall plugin, ingressPolicy same-bridge) */
	bool no_dns;                /* kept in args.tierce.noDns */
	unsigned mtu, vlan;         /* 0: not given */
	const char *labels_json;    /* NULL: none */
};
/* Write it into d->conf[0]/NAME.conflist. The bridge has the gateway's address also in an internal network: names are served there. */
int cni_write_bridge(const struct cni_dirs *d, const struct cni_bridge *b, struct err *e) MUST_CHECK;
/* The subnet that holds an address, NULL: none. */
struct cni_subnet *cni_subnet_of(struct cni_subnet *v, size_t n, const char *address);
/* "10.0.0.0/28" or "10.0.0.1-10.0.0.9": first and last address to give out. 0 or -EINVAL. */
int cni_range(struct arena *a, const char *text, const char **ret_first, const char **ret_last) MUST_CHECK;

enum { CNI_RESULT_MAX = 1 << 20 }; /* bytes a plugin may print: bounds a broken one */

#endif
