/* Insides of the FUSE server. */
#ifndef TIERCE_TIER_VM_FUSE_INTERNAL_H
#define TIERCE_TIER_VM_FUSE_INTERNAL_H

#include <limits.h>
#include <linux/fuse.h>
#include <sys/stat.h>

#include "tier/vm/fuse/server.h"

struct node {
	uint64_t id;          /* index + 2: 0 is no node, 1 the root */
	uint64_t nlookup;     /* references that the guest holds; 0: free slot */
	int fd;               /* O_PATH */
	dev_t dev;
	ino_t ino;
	mode_t type;          /* S_IFMT bits */
	bool readonly;
	uint32_t pins;        /* shares whose root it is; together they hold one reference */
	uint32_t hash_next;   /* index + 1 */
};

struct handle { int fd; bool used, dir; };

enum { HASH = 1 << 12 };
struct fuse_server {
	struct node *nodes;
	size_t n_nodes, cap_nodes, live;
	uint32_t hash[HASH];
	uint32_t free_node;   /* index + 1, chained by hash_next */
	struct handle *handles;
	size_t n_handles;
	uint64_t share_node[FUSE_SHARES_MAX]; /* 0: number not in use */
	size_t n_shares;
	bool initialised;
	uint32_t minor;
};

/* A request taken apart. */
struct req {
	struct fuse_server *s;
	struct fuse_in_header h;
	const uint8_t *arg;   /* what follows the header */
	size_t n;
	struct strbuf *out;
	size_t reply_at;      /* where our reply's header will be */
	bool reply;           /* a reply is expected */
};

/* node.c */
struct node *node_get(struct fuse_server *s, uint64_t id);
/* Node for an O_PATH fd (taken over, also on failure), with one reference more; *ret_st is its status. 0 or negative errno. */
int node_ref(struct fuse_server *s, int fd, bool readonly, struct node **ret, struct stat *ret_st);
void node_forget(struct fuse_server *s, uint64_t id, uint64_t n);
int handle_new(struct fuse_server *s, int fd, bool dir, uint64_t *ret); /* takes the fd */
struct handle *handle_get(struct fuse_server *s, uint64_t fh, bool dir);
void handle_drop(struct fuse_server *s, uint64_t fh);

/* server.c */
int reply_add(struct req *r, const void *data, size_t n);
/* Next NUL-terminated name of the arguments, valid as one path component; NULL when there is none. */
const char *req_name(struct req *r);
/* Fixed-size argument; NULL when the request is too short. */
const void *req_arg(struct req *r, size_t n);
void fill_attr(const struct stat *st, struct fuse_attr *a);
int reply_entry(struct req *r, struct node *n, const struct stat *st);
int reply_attr(struct req *r, const struct stat *st);
/* Directory node for changes below it: -EROFS on read-only shares, -EPERM in the root. */
int dir_for_change(struct req *r, uint64_t id, struct node **ret);
/* Open a node's file anew through /proc/self/fd; only regular files and directories. */
int node_open(const struct node *n, int flags);
int switch_user(const struct fuse_in_header *h);
void switch_back(void);
enum { ATTR_VALID_NS = 100 * 1000 * 1000 /* others write to the host's files, too: what the guest remembers is soon asked again */ };

/* ops: 0 with what the reply carries already added, or negative errno */
typedef int op_fn(struct req *r);
op_fn op_lookup, op_getattr, op_setattr, op_readlink, op_symlink, op_mknod, op_mkdir, op_unlink, op_rmdir, op_rename, op_rename2, op_link, op_statfs, op_setxattr,
	op_getxattr, op_listxattr, op_removexattr; /* tree.c */
op_fn op_open, op_create, op_read, op_write, op_flush, op_release, op_fsync, op_opendir, op_readdir, op_releasedir, op_fsyncdir, op_lseek, op_fallocate; /* file.c */

#endif
