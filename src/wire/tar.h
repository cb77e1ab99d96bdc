/* Tar streams (POSIX pax, ustar, GNU, v7): bytes to entries in one pass. No I/O: the source is a callback that lends spans. */
#ifndef TIERCE_WIRE_TAR_H
#define TIERCE_WIRE_TAR_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

enum {
	TAR_BLOCK = 512,
	/* A pax header that claims gigabytes must not be buffered. Linux itself allows 64 kB a value and 64 kB of names. */
	TAR_MAX_PAX = 1024 * 1024,
	/* PATH_MAX: no longer name can be opened. */
	TAR_MAX_PATH = 4096,
	/* XATTR_SIZE_MAX and a bound on the sum that an EROFS inode can carry (2^16 words). */
	TAR_MAX_XATTR_VALUE = 64 * 1024,
	TAR_MAX_XATTRS = 1024,
	/* A sparse map of 12 bytes a piece in the archive costs 16 in memory: stops memory exhaustion by "sparse" files. */
	TAR_MAX_SPARSE = 256 * 1024,
};

struct tar_xattr {
	char *name; /* owned by the reader, valid until the next entry */
	char *value;
	size_t len;
};

struct tar_extent {
	uint64_t off, len;
};

enum tar_type { TAR_FILE = '0', TAR_HARDLINK = '1', TAR_SYMLINK = '2', TAR_CHAR = '3', TAR_BLOCKDEV = '4', TAR_DIR = '5', TAR_FIFO = '6' };

struct tar_entry {
	enum tar_type type;
	const char *path; /* as in the archive: may be absolute, hold "..", end in '/' */
	const char *link; /* target of hard and symbolic links, else "" */
	uint64_t size;    /* apparent size of a regular file */
	uint64_t stored;  /* bytes of payload in the archive */
	uint32_t mode, uid, gid; /* permission bits only in mode */
	uint32_t major, minor;
	int64_t mtime;
	uint32_t mtime_ns;
	const struct tar_xattr *xattrs;
	size_t n_xattrs;
	bool sparse; /* extents say where the payload goes */
	const struct tar_extent *extents;
	size_t n_extents;
};

/* Source: lends the next span of bytes, valid until the next call. Returns its length, 0 at the end, or negative errno. */
typedef ssize_t (*tar_fill_fn)(void *ctx, const uint8_t **ret, struct err *e);
/* Receives every byte that is not file payload, in order (for byte-exact reproduction). */
typedef int (*tar_raw_fn)(void *ctx, const void *data, size_t n);

struct tar_reader;

/* raw may be NULL. NULL is returned when memory runs out. */
struct tar_reader *tar_reader_new(tar_fill_fn fill, tar_raw_fn raw, void *ctx);
void tar_reader_free(struct tar_reader *t);
/* Next entry: 1, 0 at the end of the archive (the rest of the stream was drained), or negative errno. Unread payload of the
 * entry before is skipped. */
int tar_next(struct tar_reader *t, struct tar_entry *ret, struct err *e) MUST_CHECK;
/* Next span of the entry's payload, valid until the next call: its length, 0 at the end. */
ssize_t tar_data(struct tar_reader *t, const uint8_t **ret, struct err *e) MUST_CHECK;

/* Writing: appends header blocks (pax where ustar cannot say it) for an entry to out. Payload and padding are the caller's. */
int tar_put_header(struct strbuf *out, const struct tar_entry *te);
static inline size_t tar_padding(uint64_t size) { return (size_t)((TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK); }

#endif
