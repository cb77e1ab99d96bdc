/* Hypervisors as rows behind one interface, and the machine that one of them runs. */
#ifndef TIERCE_TIER_VM_MACHINE_H
#define TIERCE_TIER_VM_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "tier/vm/boot/assets.h"

enum { NICS_MAX = 4 /* a template has one; more cost a cold boot */ };

/* What a machine is made of. Strings are the caller's. */
struct machine_config {
	const struct assets *assets;
	const char *cache;
	const char *machine;      /* "microvm" or "q35" */
	const char *kernel_args;  /* appended to ours, NULL: none */
	uint64_t memory;          /* bytes, a multiple of 1 MiB */
	unsigned cpus;
	const char *root_image;   /* read-only disk "vda" */
	int tap_fd;               /* -EBADF: no network interface */
	const char *mac;          /* of the one interface */
	const int *more_taps;     /* further interfaces, each with its hardware address in more_macs */
	const char *const *more_macs;
	size_t n_more_taps;
	const char *accel;        /* "auto", "kvm", "tcg" */
	bool kvm;                 /* what accel came down to; set by the hypervisor */
	bool use_template;
	bool confine;             /* drop user, namespaces, system calls */
	uint32_t uid, gid;        /* of the confined hypervisor */
	const char *preload;      /* library that keeps templates read-only (qemu/preload.c), NULL: none */
};

struct machine {
	pid_t pid;
	int pidfd;
	int ctl_fd;      /* control channel to the agent, non-blocking */
	int fuse_fd;     /* channel of shared directories, non-blocking */
	int console_fd;  /* the guest's serial line */
	int qmp_fd;      /* the hypervisor's own control socket */
	bool cloned;     /* from a template */
};
#define MACHINE_INIT { 0, -EBADF, -EBADF, -EBADF, -EBADF, -EBADF, false }

struct hypervisor {
	const char *name; /* "qemu", "builtin" */
	/* Can it run here; the reason when not. */
	int (*probe)(struct err *e);
	/* From nothing to a running kernel, or from a template when there is one. */
	int (*start)(const struct machine_config *c, struct machine *ret, struct err *e);
	void (*stop)(struct machine *m); /* kill and reap; closes every fd; idempotent */
	/* Make the template for such machines unless it is there. -EBUSY: another process is at it and !wait. */
	int (*prepare)(const struct machine_config *c, bool wait, struct err *e);
	bool (*prepared)(const struct machine_config *c); /* there is one */
	/* Drop the template: a clone of it did not come to life. */
	void (*discard)(const struct machine_config *c);
	/* Have the guest give up `bytes` of its memory; NULL: it has no balloon. The guest does so as it can, and takes it back rather than kill. */
	int (*balloon)(struct machine *m, uint64_t bytes, struct err *e);
};
extern const struct hypervisor hypervisor_builtin, hypervisor_qemu;

#endif
