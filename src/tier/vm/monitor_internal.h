/* Insides of the monitor, shared by its files. */
#ifndef TIERCE_TIER_VM_MONITOR_INTERNAL_H
#define TIERCE_TIER_VM_MONITOR_INTERNAL_H

#include "tier/vm/guestconf.h"
#include "tier/vm/hostnet.h"
#include "tier/vm/monitor.h"
#include "tier/vm/rootlayers.h"

enum { POLL_MAX = 2048, CONSOLE_KEEP = 16 << 10, CLIENTS_MAX = 512 /* a runaway caller must not use up the monitor's descriptors */ };

struct client;
struct pending;
struct monitor {
	const struct monitor_config *c;
	const struct hypervisor *hv;
	struct machine machine;
	struct chan agent;
	int sigfd;
	uint32_t next_stream;
	struct relay *relays, *init;
	struct client *clients;
	struct pending *pending;
	unsigned n_clients;
	struct strbuf console;
	struct host_network net;
	struct guest_shares shares;
	uint8_t layers[ROOT_LAYERS_MAX + 1]; /* of the root, the uppermost first: numbers of shares or AGENT_DISK */
	size_t n_layers;   /* 0: it is one image */
	size_t root_share; /* number + 1 of the root directory, 0: it is an image on the disk */
	pid_t fsd; /* serves the shares */
	int fsd_control;
};

uint32_t monitor_stream(struct monitor *m);
int monitor_attach(struct monitor *m, struct relay *r, struct err *e) MUST_CHECK;
void monitor_console(struct monitor *m);
/* Share more of the host with the machine; starts the server when there is none yet. */
int monitor_share(struct monitor *m, const struct guest_share *v, size_t n, uint8_t *ret_numbers, struct err *e) MUST_CHECK;

#endif
