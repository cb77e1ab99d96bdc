/* The mounts of one container, made by file descriptor: a detached tree is built, given its attributes, then attached at a destination
 * that was resolved inside the root. No path string of the container is ever resolved against the host. */
#ifndef TIERCE_CONFINE_MOUNT_H
#define TIERCE_CONFINE_MOUNT_H

#include <stdbool.h>

#include "base/err.h"
#include "spec/oci.h"

struct cgroup; /* confine/cgroup.h */

/* What the mounts of one container have in common. Needs Linux 5.12 (mount_setattr). */
struct mount_ctx {
	int root;             /* O_PATH fd of the container's root, attached in the mount namespace of the caller */
	int bundle_fd;        /* relative bind sources start here */
	int proc;             /* out: root of the first procfs that was mounted (still owned by the ctx), -EBADF before */
	bool in_userns;       /* not the initial user namespace: refused file systems are bound from the host instead */
	bool cgroup_ns;       /* the container has a cgroup namespace of its own */
	struct cgroup *cgroup;
	const char *label, *label_type; /* SELinux mount label and context option name; NULL: none */
	const struct oci_id_maps *uid_maps, *gid_maps; /* the container's: id of devpts' gid, default of idmap; NULL: none */
};
#define MOUNT_CTX_INIT { .root = -EBADF, .bundle_fd = -EBADF, .proc = -EBADF }
void mount_ctx_close(struct mount_ctx *c);

/*
 * A bind source as a detached tree with flags and idmap applied, or -EBADF in *ret_fd when the entry is not a bind. May be called before the
 * container's namespaces exist: idmapped mounts and sources below directories that the container's root may not search need the host's
 * privileges. -EPERM without CAP_SYS_ADMIN.
 */
int mount_open_source(const struct mount_ctx *c, const struct oci_mount *m, int *ret_fd, struct err *e) MUST_CHECK;
/* One entry of the spec. source_fd: from mount_open_source(), -EBADF to open it here; not consumed. */
int mount_entry(struct mount_ctx *c, const struct oci_mount *m, int source_fd, struct err *e) MUST_CHECK;

/* ---- parts for the neighbours ------------------------------------------------------------------------------------- */

/* New superblock as a detached mount. data: comma-joined options. Kernel messages of the fs context end up in e. Returns fd or negative errno. */
int mount_new_fs(const char *type, const char *source, const char *data, unsigned attr, struct err *e) MUST_CHECK;
/* Attach a detached tree on the object that dest is open on (O_PATH). */
int mount_attach(int tree, int dest, struct err *e) MUST_CHECK;
/* Destination inside the root for a tree of the given kind: resolved, created when missing (parents 0755, file 0755), returned O_PATH. */
int mount_destination(int root, const char *path, bool dir, bool nofollow, struct err *e) MUST_CHECK;
/* Refuse mounting over procfs but for what runc allows (CVE-2019-19921, CVE-2025-31133): /proc itself must be a procfs root. */
int mount_check_proc(int root, int dest, const struct oci_mount *m, int tree, struct err *e) MUST_CHECK;
/* Copy what is below a directory into another one: files, links, devices, owners, modes, xattrs (tmpcopyup). */
int copy_tree(int from, int to, struct err *e) MUST_CHECK;
/* The cgroup file systems at dest (confine/cgroup.h says which). */
int mount_cgroups(struct mount_ctx *c, const struct oci_mount *m, struct err *e) MUST_CHECK;
/* User namespace fd for an idmapped mount. */
int mount_idmap_userns(const struct oci_id_maps *uids, const struct oci_id_maps *gids, struct err *e) MUST_CHECK;

#endif
