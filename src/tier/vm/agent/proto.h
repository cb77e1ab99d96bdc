/* What the host and the agent in the guest say to each other: ttrpc requests of the service tierce.agent.v1 (agent/proto.c has the field numbers).
 * Numbers are never reused; an older agent cannot meet a newer host since the initramfs is keyed by the agent. */
#ifndef TIERCE_TIER_VM_AGENT_PROTO_H
#define TIERCE_TIER_VM_AGENT_PROTO_H

#include "wire/pb.h"

#define AGENT_SERVICE "tierce.agent.v1"
#define AGENT_PORT "tierce.ctl"   /* name of the virtio-serial port */
#define AGENT_FUSE_PORT "tierce.fuse"
#define AGENT_FS_TAG "tierce" /* the same by virtio-fs, where the machine has that */
#define AGENT_SHARES "/run/tierce.shares" /* where the guest mounts the host's directories */
#define AGENT_POD_NS "/run/tierce.pod" /* has links to the namespaces of the first container: pid, ipc, uts ... */
enum {
	AGENT_DISK = 255,
	AGENT_VERSION = 1,
	AGENT_VSOCK_PORT = 1024,
	AGENT_WINDOW = 256 << 10, /* bytes of one stream that may be under way unacknowledged: bounds what a stalled reader makes either side hold */
	AGENT_CHUNK = 32 << 10,   /* most bytes in one Io message; virtio-serial moves 32 KiB at a time */
};

/* Hello: who are you. Empty request. */
struct agent_hello { uint64_t version; const char *release, *boot_id; uint64_t memory, cpus; };

/* Wake: after a boot or a clone of a template. */
struct agent_wake {
	struct pb_bytes seed;       /* goes into the random pool, which is then reseeded */
	uint64_t realtime_ns;       /* the host's clock */
	const char *machine_id;     /* /etc/machine-id of the guest */
	const char *hostname;       /* of the guest's own UTS namespace */
	uint64_t vmgen;             /* number of the clone, for logs */
};
struct agent_woken { uint64_t uptime_ns; };

/* Create: one container from a config.json whose host-only parts the host has taken out. */
struct agent_root {
	const char *type;     /* "erofs", "ext4" ...; "share": a shared directory */
	const char *device;   /* "vda" */
	bool readonly;        /* no overlay upper */
	uint64_t upper_bytes; /* size bound of the upper, 0: half of the guest's memory */
	struct pb_bytes layers; /* not empty: several images, the uppermost first: numbers of shared files, AGENT_DISK is the device */
	uint64_t share;       /* not 0: the image is the shared file of this number + 1, not a device */
};
struct agent_create {
	const char *id;
	struct pb_bytes config;
	struct agent_root *root;
	bool terminal, stdin_open;
	uint64_t width, height;
	uint64_t shares; /* host directories and files to be found below AGENT_SHARES by their number */
};
/* Remove: a container of a pod that has ended; the init's own lives as long as the machine. */
struct agent_pid { uint64_t pid; };

struct agent_exec { const char *id, *exec_id; struct pb_bytes process; bool terminal, stdin_open; uint64_t width, height; bool two_phase; const char *cgroup_sub; };
/* Names a process: exec_id NULL is the container's init. Start, Attach, and others use it alone. */
struct agent_ref { const char *id, *exec_id; };
struct agent_signal { const char *id, *exec_id; uint64_t signal; bool all; };
struct agent_resize { const char *id, *exec_id; uint64_t width, height; };
struct agent_update { const char *id; struct pb_bytes resources; };
/* Mounts: of a running container; a document with "mounts". */
struct agent_mounts { const char *id; struct pb_bytes config; bool remove; uint64_t shares; };
struct agent_text { struct pb_bytes text; }; /* a JSON document */

/* One interface of the pod as the host saw it. Addresses as text with prefix length; routes in the order of insertion. */
struct agent_route { const char *dest, *gateway, *source; uint64_t scope, flags; };
struct agent_link { const char *name, *mac; uint64_t mtu; struct pb_list addresses; /* const char * */ struct pb_list routes; /* struct agent_route */ };
struct agent_network { struct pb_list links; struct pb_list sysctls; /* const char *, "net.KEY=VALUE" */ };

/* Attach opens a stream; both sides then send Io messages as ttrpc data frames. */
enum agent_io_kind {
	IO_STDIN = 1, IO_STDOUT = 2, IO_STDERR = 3, /* data; empty: end of file */
	IO_ACK_IN, IO_ACK_OUT, IO_ACK_ERR,  /* n bytes are through */
	IO_EXIT,                            /* n: wait status; nothing follows */
	IO_HANGUP,                          /* the host's terminal is gone */
	IO_OOM,                             /* on an init's stream: n processes of the container were killed for want of memory so far */
};
struct agent_io { uint64_t kind; struct pb_bytes data; uint64_t n; };

extern const struct pb_desc agent_hello_desc, agent_wake_desc, agent_woken_desc, agent_create_desc, agent_pid_desc, agent_exec_desc, agent_ref_desc,
	agent_signal_desc, agent_resize_desc, agent_update_desc, agent_mounts_desc, agent_text_desc, agent_network_desc, agent_io_desc;

#endif
