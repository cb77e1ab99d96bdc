/*
 * EROFS reader: images as bytes behind a callback, checked at every step (an image may come from anybody). Uncompressed images only;
 * any other feature is refused at open. For the sentry's file system and wherever the kernel cannot mount.
 */
#ifndef TIERCE_WIRE_EROFS_READ_H
#define TIERCE_WIRE_EROFS_READ_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "wire/erofs.h"

/* Reads exactly n bytes at off: 0, or negative errno (-EIO beyond the end). Must be safe to call from several threads if the reader is. */
typedef int (*erofs_pread_fn)(void *ctx, uint64_t off, void *buf, size_t n);

struct erofs {
	erofs_pread_fn pread;
	void *ctx;
	uint64_t size; /* of the image */
	uint64_t meta, xattr; /* byte offsets */
	uint64_t root_nid, inodes;
	uint32_t blkbits;
	uint8_t uuid[16];
};

struct erofs_inode {
	uint64_t nid, size;
	uint32_t mode; /* with the type bits */
	uint32_t uid, gid, nlink, rdev; /* rdev as makedev() would build it is up to the caller: kernel "new" encoding */
	int64_t mtime;
	uint32_t mtime_ns;
	uint32_t xattr_len;
	/* private */
	uint8_t layout;
	uint32_t u;
	uint64_t body; /* byte offset behind inode and xattrs */
	uint64_t xattr_off;
};

/* All return 0 or negative errno; -EUCLEAN for a damaged image, -EOPNOTSUPP for a feature that is not read here. */
int erofs_open(struct erofs *fs, erofs_pread_fn pread, void *ctx, uint64_t size, struct err *e) MUST_CHECK;
int erofs_inode_get(const struct erofs *fs, uint64_t nid, struct erofs_inode *ret) MUST_CHECK;
/* Reads file or link or directory bytes at off; returns the count (0 at the end). */
ssize_t erofs_read(const struct erofs *fs, const struct erofs_inode *in, uint64_t off, void *buf, size_t n) MUST_CHECK;
/* Next run of data at or after off (SEEK_DATA and SEEK_HOLE of a sparse file in one); *ret_len 0 when there is none. */
int erofs_next_data(const struct erofs *fs, const struct erofs_inode *in, uint64_t off, uint64_t *ret_off, uint64_t *ret_len);

struct erofs_entry {
	uint64_t nid;
	uint8_t ftype; /* enum erofs_ftype */
	char name[EROFS_NAME_LEN + 1];
};
/* Iterates a directory from *cookie (0 at first), dots included: 1 and an entry, 0 at the end. */
int erofs_readdir(const struct erofs *fs, const struct erofs_inode *dir, uint64_t *cookie, struct erofs_entry *ret) MUST_CHECK;
/* Finds one name by bisection: 0, -ENOENT. */
int erofs_lookup(const struct erofs *fs, const struct erofs_inode *dir, const char *name, size_t len, struct erofs_entry *ret) MUST_CHECK;

/* Iterates xattrs from *cookie (0 at first): 1, 0 at the end. name holds 256+24 bytes. value may be NULL; -ERANGE when cap is too small;
 * *ret_len is the value's length in every case. */
enum { EROFS_XATTR_NAME_MAX = 256 + 24 };
int erofs_next_xattr(const struct erofs *fs, const struct erofs_inode *in, uint32_t *cookie, char name[EROFS_XATTR_NAME_MAX], void *value, size_t cap,
		     size_t *ret_len) MUST_CHECK;

#endif
