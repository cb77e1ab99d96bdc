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
	const char *bundle;   /* relative bind sources start here (a path: descriptors of another mount namespace cannot be cloned) */
	int proc;             /* out: root of the first procfs that was mounted (still owned by the ctx), -EBADF before */
	bool in_userns;       /* not the initial user namespace: refused file systems are bound from the host instead */
	bool cgroup_ns;       /* the container has a cgroup namespace of its own */
	struct cgroup *cgroup;
	const char *label, *label_type; /* SELinux mount label and context option name; NULL: none */
	const struct oci_id_maps *uid_maps, *gid_maps; /* the container's: id of devpts' gid, default of idmap; NULL: none */
};
#define MOUNT_CTX_INIT { .root = -EBADF, .proc = -EBADF }
void mount_ctx_close(struct mount_ctx *c);

/* What is best made before the container's namespaces exist. */
struct mount_source {
	int tree;   /* bind source as a detached tree with flags and idmap applied, -EBADF: none */
	int userns; /* for idmap, -EBADF: none */
};
#define MOUNT_SOURCE_NONE { -EBADF, -EBADF }
void mount_source_close(struct mount_source *s);
bool mount_is_bind(const struct oci_mount *m);
bool mount_is_idmapped(const struct oci_mount *m);
/* User namespace for the idmap of an entry, if it has one. Needs a /proc of the caller's pid namespace, so it is made before that is left. */
int mount_prepare_idmap(const struct mount_ctx *c, const struct oci_mount *m, struct mount_source *s, struct err *e) MUST_CHECK;
/* The bind source, with s->userns applied: sources below directories that the container's root may not search, and idmapped mounts, need the host's
 * privileges. -EPERM without CAP_SYS_ADMIN. Nothing is done for other entries. */
int mount_prepare_tree(const struct mount_ctx *c, const struct oci_mount *m, struct mount_source *s, struct err *e) MUST_CHECK;
/* One entry of the spec. What is missing in s (may be NULL) is made here; s stays the caller's. */
int mount_entry(struct mount_ctx *c, const struct oci_mount *m, const struct mount_source *s, struct err *e) MUST_CHECK;

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
