/* The container's root file system: entering it, /dev, masks, kernel settings, the terminal. All paths resolve inside the root, by fd. */
#ifndef TIERCE_CONFINE_ROOTFS_H
#define TIERCE_CONFINE_ROOTFS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "spec/oci.h"

/* Cut the mount namespace of the caller off from its origin: propagation as the spec says (default rslave), so that nothing made here shows up
 * on the host. propagation: MS_* with MS_REC, 0 = default. */
int rootfs_isolate(unsigned long propagation, struct err *e) MUST_CHECK;
/*
 * Bind a directory over itself, which makes it a mount of its own; returns the O_PATH fd of the new mount's root. path is resolved in the caller's mount
 * namespace (descriptors of another one cannot be cloned) and must lead to what `same` is open on (-EBADF: not checked). Where it may not be
 * searched by the caller (user namespaces), `tree`, a detached tree of the same directory from outside, is attached at / in its place (-EBADF: none). shared: rootfs_isolate() left mounts shared; the one
 * below is then made private first.
 */
int rootfs_bind(const char *path, int same, int tree, bool shared, struct err *e) MUST_CHECK;
/* Make root the root of the mount namespace and let the old one go (pivot_root(2) on ".", no put_old directory). */
int rootfs_pivot(int root, struct err *e) MUST_CHECK;
/* For a root that cannot be pivoted from (initramfs): MS_MOVE and chroot(2), the host's procfs and sysfs unmounted first. */
int rootfs_move(int root, struct err *e) MUST_CHECK;
/* Propagation of / once inside; 0 leaves it. */
int rootfs_propagation(unsigned long propagation, struct err *e) MUST_CHECK;
/* Remount the root read-only. */
int rootfs_readonly(struct err *e) MUST_CHECK;

/* readonlyPaths: each existing path is bound over itself and made read-only, recursively. root: fd of / as seen by the caller. */
int mask_readonly(int root, const struct oci_strings *paths, struct err *e) MUST_CHECK;
/* maskedPaths: /dev/null over files (checked to be char 1:3), one shared read-only empty tmpfs over directories. null_fd: O_PATH of the
 * checked null device, -EBADF to look it up in the root. */
int mask_paths(int root, const struct oci_strings *paths, const char *label, struct err *e) MUST_CHECK;

/* Device nodes of the default set and of the spec; below /dev of the root. bind: bind the host's nodes (user namespaces cannot mknod). trees: from
 * devices_outside(), bound in the place of the host's; NULL: none. */
int devices_create(int root, const struct oci_device *devs, size_t n, bool bind, const int *trees, struct err *e) MUST_CHECK;
/* In the host's user namespace, before a container's own exists: a node for each device, owned by what its owner is on the host. ret[n]: detached mounts of
 * them, all or none. at: any directory (a tmpfs is mounted there for a moment, in a mount namespace of its own). */
int devices_outside(const char *at, const struct oci_device *devs, size_t n, const struct oci_id_maps *uids, const struct oci_id_maps *gids, int *ret,
	struct err *e) MUST_CHECK;
/* /dev/fd, stdin, stdout, stderr, core, ptmx. Existing names stay. */
int devices_links(int root, struct err *e) MUST_CHECK;
/* Does the spec put a file system of its own on /dev (then nodes and links are made), or the host's (then not)? */
bool devices_wanted(const struct oci_spec *s);

/* linux.sysctl through a private procfs. flags: CLONE_NEW* that the container does not share with the host; a name that belongs to no namespace of its own is refused. */
int sysctl_check(const struct oci_map *sysctl, unsigned long own_namespaces, bool has_domainname, struct err *e) MUST_CHECK;
int sysctl_apply(int proc_fd, const struct oci_map *sysctl, struct err *e) MUST_CHECK;

/* Pty from the devpts of the root: both ends checked by device number and file system. *ret_name: "/dev/pts/N". */
int console_open(int root, int *ret_master, int *ret_slave, char ret_name[32], struct err *e) MUST_CHECK;
/* The slave over /dev/console of the root. */
int console_bind(int root, int slave, struct err *e) MUST_CHECK;
/* Window size, owner, controlling terminal, fds 0-2. The caller leads a session without terminal. */
int console_use(int slave, const struct oci_process *p, struct err *e) MUST_CHECK;
/* Send the master over a connected AF_UNIX socket, as runc: name as payload, fd as SCM_RIGHTS. */
int console_send(int socket, int master, const char *name, struct err *e) MUST_CHECK;

#endif
