/* Tar reader internals, shared by tar.c (headers) and tar_pax.c (extended headers and sparse maps). */
#ifndef TIERCE_WIRE_TAR_PRIV_H
#define TIERCE_WIRE_TAR_PRIV_H

#include "wire/tar.h"

struct tar_reader {
	tar_fill_fn fill;
	tar_raw_fn raw;
	void *ctx;
	const uint8_t *p; /* lent span */
	size_t have;
	uint64_t offset; /* bytes consumed, for messages */
	bool eof;
	uint64_t left; /* payload of the current entry */
	size_t pad;    /* padding behind it */
	struct strbuf path, link, pax;
	/* from the pax header of the current entry */
	bool pax_path, pax_link, pax_size_set, pax_uid_set, pax_gid_set, pax_mtime_set;
	uint64_t pax_size;
	uint32_t pax_uid, pax_gid;
	int64_t pax_mtime;
	uint32_t pax_mtime_ns;
	struct tar_xattr *xattrs;
	size_t n_xattrs, cap_xattrs;
	bool sparse_pax;
	unsigned sparse_major;
	uint64_t sparse_realsize, sparse_pending;
	bool sparse_have_pending;
	struct tar_extent *extents;
	size_t n_extents, cap_extents;
};

ssize_t tar_meta(struct tar_reader *t, void *buf, size_t n, struct err *e);
void pax_reset(struct tar_reader *t);
int pax_parse(struct tar_reader *t, struct err *e);
int sparse_push(struct tar_reader *t, uint64_t off, uint64_t len, struct err *e);
/* Format 1.0: the map is text at the start of the payload, padded to a block; *left shrinks by it. */
int sparse_map_1_0(struct tar_reader *t, uint64_t *left, struct err *e);
/* Extents ascend, do not overlap, stay inside the size and add up to the payload. */
int sparse_check(struct tar_reader *t, const struct tar_entry *te, struct err *e);

#endif
