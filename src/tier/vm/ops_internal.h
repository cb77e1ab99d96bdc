/* Insides of the vm tier's operations, shared by their files. */
#ifndef TIERCE_TIER_VM_OPS_INTERNAL_H
#define TIERCE_TIER_VM_OPS_INTERNAL_H

#include "confine/cgroup.h"
#include "tier/tier.h"
#include "wire/pb.h"

/* A pty in raw mode: its master goes to the console socket or into io->terminal, its slave comes back. */
int vm_terminal(struct tier_stdio *io, const struct oci_process *p, int *ret_slave, struct err *e) MUST_CHECK;
/* Fork into the container's cgroups; the child (0) calls cgroup_join_self(join). */
pid_t vm_fork(struct tier_container *c, struct cgroup_join *join, int *ret_pidfd, struct err *e) MUST_CHECK;
/* Make the container's limits on the host hold the machine around it. */
int vm_cgroup_widen(struct tier_container *c, const struct oci_resources *asked, uint64_t guest_memory, struct err *e) MUST_CHECK;
/* The process on the host that stands for one in another container's machine. */
struct vm_proxy {
	struct tier_container *c;
	const char *exec_id;     /* NULL: the container's init */
	int sock;                /* to the machine's monitor */
	int tty, ready_fd, sigfd;
	bool told;
};
/* Ask for the process, report on ready_fd ("CODE\nTEXT") and end as it ends. */
NORETURN void vm_proxy_serve(struct vm_proxy *p, const char *method, const struct pb_desc *d, const void *msg, const int fds[3]);
NORETURN void vm_proxy_fail(struct vm_proxy *p, int code, const struct err *e);

/* Further containers of a pod. The sandbox's state directory is a neighbour of the container's own. */
int vm_member_link(struct tier_container *c, const char *sandbox, struct err *e) MUST_CHECK;
struct guest_shares;
/* Hand shares (and, as the first, an image) to the machine behind a connected socket; s->numbers tells where the guest finds them. They last as long as
 * the connection, or (keep) as the machine. */
int vm_share(int sock, struct guest_shares *s, const char *image, bool keep, uint8_t *ret_image, struct err *e) MUST_CHECK;
int vm_mounts_add(struct tier_container *c, const struct oci_mount *m, size_t n, struct err *e) MUST_CHECK;
int vm_mounts_remove(struct tier_container *c, const struct oci_mount *m, size_t n, struct err *e) MUST_CHECK;
struct vm_member { struct tier_container *c; const char *cache; bool root_shared; int stdio[3]; bool terminal; int ready_fd; };
NORETURN void vm_member_run(const struct vm_member *m);
int vm_exec(struct tier_container *c, struct tier_exec_options *o, pid_t *ret_pid, int *ret_pidfd, struct err *e) MUST_CHECK;

#endif
