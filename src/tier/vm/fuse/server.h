/* A FUSE server over host directories: request bytes in, reply bytes out. No transport: used behind a virtio-serial port and behind virtio-fs.
 *
 * The guest is the enemy: every length, name and node id of a request is checked before use. A node is an O_PATH descriptor that was reached by single
 * openat(O_NOFOLLOW) steps from a share, so no request can name anything outside of the shares; symbolic links are read, never followed; only regular
 * files and directories are ever opened. */
#ifndef TIERCE_TIER_VM_FUSE_SERVER_H
#define TIERCE_TIER_VM_FUSE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum {
	FUSE_MAX_WRITE = 128 << 10,
	FUSE_REQUEST_MAX = FUSE_MAX_WRITE + 8192, /* a request's length field decides how much is buffered */
	FUSE_NODES_MAX = 1 << 16,    /* descriptors a guest may make us hold; beyond it lookups fail with ENFILE until it forgets some */
	FUSE_HANDLES_MAX = 1 << 14,
	FUSE_SHARES_MAX = 255, /* a number fits a byte, and one value is left */
};

struct fuse_server;

/* The root directory of the file system has one entry per share, named by its number in decimal. */
struct fuse_share { int fd; bool readonly; }; /* O_PATH descriptor of a directory or a regular file; stays the caller's */
struct fuse_server *fuse_server_new(const struct fuse_share *shares, size_t n);
void fuse_server_free(struct fuse_server *s);
/* Add a share to a running server; returns its number or negative errno. Numbers of dropped shares are given out again. */
int fuse_server_add(struct fuse_server *s, const struct fuse_share *share);
/* Take a share out of the root; what the guest still holds open of it stays open until the guest lets go. */
void fuse_server_drop(struct fuse_server *s, size_t number);

/* One whole request (its header's length equals n). The reply, if the operation has one, is appended to out; *ret_reply tells.
 * 0, -EBADMSG when the bytes are no FUSE request (the transport should stop), -ENOMEM. */
int fuse_server_handle(struct fuse_server *s, const void *in, size_t n, struct strbuf *out, bool *ret_reply) MUST_CHECK;

#endif
