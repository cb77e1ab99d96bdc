/* Insides of virtio-vsock: packets (vsock.c) and connections (vsock_conn.c). With the device's lock held. */
#ifndef TIERCE_TIER_VM_VIRTIO_DEV_VSOCK_PRIV_H
#define TIERCE_TIER_VM_VIRTIO_DEV_VSOCK_PRIV_H

#include <linux/virtio_vsock.h>
#include <sys/un.h>

#include "tier/vm/virtio/devices.h"

enum {
	VSOCK_LINE_MAX = 32,           /* "CONNECT 4294967295\n" and some spaces */
	VSOCK_RESETS_MAX = 64,         /* answers to packets of connections that we do not know; more are left out */
	VSOCK_PACKET_MAX = 64 << 10,   /* payload */
	VSOCK_PORT_FIRST = 1 << 30,    /* our ports for connections that start here */
};

enum conn_state {
	CONN_FREE,
	CONN_LINE,       /* accepted; "CONNECT P" is awaited */
	CONN_ASKED,      /* REQUEST goes, or went, to the guest */
	CONN_OPEN,
};

/* What is to be told to the guest, one packet each, in this order. */
enum { TELL_REQUEST = 1, TELL_RESPONSE = 2, TELL_SHUTDOWN = 4, TELL_CREDIT = 8, TELL_ASK_CREDIT = 16, TELL_RESET = 32 };

struct vsock;
struct conn {
	struct vsock *v;
	enum conn_state state;
	int fd;
	uint32_t watched;
	char line[VSOCK_LINE_MAX];     /* CONN_LINE: what came of it */
	unsigned n_line;
	uint32_t host_port, guest_port;
	uint32_t tell, shutdown;       /* flags of the next SHUTDOWN */
	bool readable;                 /* the socket may have bytes for the guest */
	bool host_done;                /* it will have none any more */
	bool guest_done;               /* the guest sends none any more: pass that on when all is written */
	bool guest_deaf;               /* it takes none any more */
	/* credit (5.10.6.3): free-running byte counts */
	uint32_t sent, guest_alloc, guest_taken; /* to the guest; its buffer, what it took out */
	uint32_t received, passed, announced;    /* from the guest; into the socket; the last `passed` that the guest knows */
	uint8_t *buf;                  /* ring of VSOCK_BUFFER bytes that the socket did not take yet; made when needed */
	uint32_t at, n;
};

struct vsock {
	struct virtio_device d;
	struct virtio_vsock_config config;
	int listen_fd;
	bool listening;                /* watched */
	bool reset_event;              /* the guest has to be told that all connections are gone */
	uint32_t next_port;
	unsigned turn;                 /* whose packets are sent first: a loud connection does not starve the others */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct { uint32_t host_port, guest_port; } resets[VSOCK_RESETS_MAX];
	unsigned n_resets;
	struct conn conn[VSOCK_CONNECTIONS_MAX];
};

/* vsock.c */
void vsock_send(struct vsock *v);                        /* as many packets to the guest as there are buffers */
void vsock_listen(struct vsock *v, bool on);
/* vsock_conn.c */
struct conn *conn_find(struct vsock *v, uint32_t host_port, uint32_t guest_port);
void conn_accept(struct vsock *v);                       /* programs of the host that wait at the listening socket */
/* The guest's REQUEST; false: refused. */
bool conn_from_guest(struct vsock *v, const struct virtio_vsock_hdr *h);
void conn_close(struct conn *c);
/* A packet of the guest for this connection; payload in out behind the header. */
void conn_packet(struct conn *c, const struct virtio_vsock_hdr *h, const struct virtq_chain *chain);
/* Has it something for the guest? Fill one packet into a chain: its length; 0 when there was nothing after all. */
bool conn_wants(const struct conn *c);
size_t conn_fill(struct conn *c, struct virtio_vsock_hdr *h, const struct virtq_chain *chain);
void conn_settle(struct conn *c);                        /* watch what can be acted upon */

#endif
