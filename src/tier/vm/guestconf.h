/* The config.json that the agent gets: the bundle's without what belongs to the host. */
#ifndef TIERCE_TIER_VM_GUESTCONF_H
#define TIERCE_TIER_VM_GUESTCONF_H

#include "base/str.h"
#include "spec/oci.h"

/* Host directories and files that the container's bind mounts name. */
struct guest_share { int fd; bool readonly; }; /* fd: a detached copy of the mount (open_tree), close-on-exec */
struct guest_shares {
	struct guest_share *v;
	size_t n;
	uint8_t *numbers; /* of v in the machine, NULL: as they stand */
	bool member;   /* the container joins a pod's machine: namespaces by path are those of its first container */
	int *of_mount; /* per mount of the spec: number of its share, -1: the guest mounts it by itself, -2: a tmpfs of the guest instead */
};
#define _cleanup_shares_ CLEANUP(guest_shares_clear)
void guest_shares_clear(struct guest_shares *s);
/* Open the sources. What cannot be shared (devices, sockets) is an error that names it. */
int guest_shares_open(const struct oci_spec *s, const char *bundle, struct guest_shares *ret, struct err *e) MUST_CHECK;

/* The root directory as one share more; its number in v. */
int guest_shares_root(struct guest_shares *s, const char *rootfs, bool readonly, size_t *ret_number, struct err *e) MUST_CHECK;

/* Is that sysctl one of the network's? */
bool guestconf_net_sysctl(const char *key);
int guestconf_write(const struct oci_spec *s, const struct guest_shares *shares, struct strbuf *out, struct err *e) MUST_CHECK;

#endif
