/* The devices. Each constructor checks its configuration, takes over the descriptors it is given on success, and offers one kind of device. */
#ifndef TIERCE_TIER_VM_VIRTIO_DEVICES_H
#define TIERCE_TIER_VM_VIRTIO_DEVICES_H

#include "tier/vm/virtio/device.h"
#include "tier/vm/virtio/limiter.h"

/* dev/console.c: named byte streams (multiport), each on a connected stream socket. In the guest: /dev/vportNpM with the name in /sys/class/virtio-ports.
 * Bytes flow to a port while the guest has it open. */
enum { CONSOLE_PORTS_MAX = (VIRTIO_QUEUES_MAX - 2) / 2, CONSOLE_NAME_MAX = 32 };
struct virtio_console_port { const char *name; int fd; };
int virtio_console_new(const struct virtio_host *h, unsigned slot, const struct virtio_console_port *ports, size_t n, struct virtio_device **ret, struct err *e) MUST_CHECK;

/* dev/blk.c: a disk over a regular file or a block device. */
struct virtio_blk_options {
	int fd;
	bool readonly;
	const char *serial;            /* up to 20 bytes, NULL: none */
	struct limiter_config limit;
};
int virtio_blk_new(const struct virtio_host *h, unsigned slot, const struct virtio_blk_options *c, struct virtio_device **ret, struct err *e) MUST_CHECK;

/* dev/net.c: an Ethernet interface over a tap in IFF_NO_PI mode (offloads are offered when it has IFF_VNET_HDR, too), or over a datagram socket, one frame each. */
struct virtio_net_options {
	int fd;
	uint8_t mac[6];
	uint16_t mtu;                  /* 0: not told */
	struct limiter_config rx, tx;  /* seen from the guest */
};
int virtio_net_new(const struct virtio_host *h, unsigned slot, const struct virtio_net_options *c, struct virtio_device **ret, struct err *e) MUST_CHECK;

/* dev/vsock.c: sockets between guest and host. A connection of the guest to port P of the host goes to the unix socket PATH_P; programs of the host connect to
 * PATH (listen_fd), write "CONNECT P\n" and read "OK p\n" when the guest's port P accepted. Connections do not outlive a snapshot: the guest is told. */
enum { VSOCK_CONNECTIONS_MAX = 256 /* descriptors that a guest may make us hold */, VSOCK_BUFFER = 64 << 10 /* bytes that wait for a slow program of the host */ };
struct virtio_vsock_options {
	uint64_t cid;                  /* the guest's, at least 3 */
	int listen_fd;                 /* listening, non-blocking unix socket; -EBADF: none */
	const char *path;              /* NULL: the guest's connections are refused */
};
int virtio_vsock_new(const struct virtio_host *h, unsigned slot, const struct virtio_vsock_options *c, struct virtio_device **ret, struct err *e) MUST_CHECK;

/* dev/fs.c: a host's directories. Requests go to a FUSE server in this process or, over a stream socket, to one in a process that may open files when we may not. */
struct fuse_server;
struct virtio_fs_options {
	const char *tag;
	struct fuse_server *server;    /* either this, which stays the caller's, */
	int channel_fd;                /* or, when there is none, this; requests and replies each begin with their length */
};
int virtio_fs_new(const struct virtio_host *h, unsigned slot, const struct virtio_fs_options *c, struct virtio_device **ret, struct err *e) MUST_CHECK;

/* dev/balloon.c: takes memory back. Pages that the guest gives up or reports free are dropped from the host (`shared`: from the file that backs memory, too). */
struct virtio_balloon_options { bool shared, deflate_on_oom, reporting, stats; };
int virtio_balloon_new(const struct virtio_host *h, unsigned slot, const struct virtio_balloon_options *c, struct virtio_device **ret, struct err *e) MUST_CHECK;
/* Ask the guest to have `bytes` less. Device thread. */
void virtio_balloon_set(struct virtio_device *d, uint64_t bytes);
struct balloon_stats { uint64_t target, actual, swap_in, swap_out, major_faults, minor_faults, free, total, available, caches; bool valid; }; /* bytes; faults are counts */
/* What the guest told last; asks it for newer values. */
void virtio_balloon_stats(struct virtio_device *d, struct balloon_stats *ret);

/* dev/rng.c: random bytes of the host's kernel. */
int virtio_rng_new(const struct virtio_host *h, unsigned slot, const struct limiter_config *limit, struct virtio_device **ret, struct err *e) MUST_CHECK;

/* dev/pmem.c: a file that the monitor mapped into guest-physical memory at [gpa, gpa + size), outside of guest_mem; flushes reach the file. */
struct virtio_pmem_options { int fd; uint64_t gpa, size; };
int virtio_pmem_new(const struct virtio_host *h, unsigned slot, const struct virtio_pmem_options *c, struct virtio_device **ret, struct err *e) MUST_CHECK;

#endif
