/*
 * EROFS writer: one pass, no temporary copy. Files come in any order as a tar stream brings them; their data and inodes go out at once,
 * directories are held in memory and written at the end. Hard links, replaced entries and parents that come late are handled.
 *
 * Layout: block 0 holds the superblock and the root inode (its number must fit 16 bits); then data runs and inode areas interleave
 * in the order of arrival; directories come last. Inode numbers count from the start of the image.
 */
#ifndef TIERCE_WIRE_EROFS_WRITE_H
#define TIERCE_WIRE_EROFS_WRITE_H

#include "base/err.h"
#include "wire/tar.h"

enum {
	/* About 100 bytes of memory an entry: an archive of empty files must not take the machine down. */
	EROFS_MAX_ENTRIES = 2 * 1000 * 1000,
	/* Follows of symbolic links inside one path, as in the kernel (MAXSYMLINKS). */
	EROFS_MAX_SYMLINKS = 40,
	/* Nesting of directories; a path of 4095 bytes cannot name more. */
	EROFS_MAX_DEPTH = 2048,
};

/* Sink: writes at an offset; ranges that are never written read as zeros (a sparse file). */
typedef int (*erofs_write_fn)(void *ctx, uint64_t off, const void *data, size_t n);

struct erofs_attr {
	uint32_t mode; /* permission bits */
	uint32_t uid, gid, major, minor;
	int64_t mtime;
	uint32_t mtime_ns;
	const struct tar_xattr *xattrs;
	size_t n_xattrs;
};

struct erofs_writer;
struct erofs_node;

struct erofs_writer *erofs_writer_new(erofs_write_fn write, void *ctx);
void erofs_writer_free(struct erofs_writer *w);

/*
 * Paths are relative to the root, cleaned or not; "." and empty components are skipped, ".." that leaves the root is refused with
 * -EXDEV, parents that are missing are made (mode 0755, or what the well-known ones have). A parent that is a symbolic
 * link of this same tree is followed inside the tree. An entry that is there is replaced; a directory over a directory takes the new attributes.
 */
int erofs_add_dir(struct erofs_writer *w, const char *path, const struct erofs_attr *a, struct err *e);
int erofs_add_symlink(struct erofs_writer *w, const char *path, const struct erofs_attr *a, const char *target, struct err *e);
int erofs_add_special(struct erofs_writer *w, const char *path, const struct erofs_attr *a, enum tar_type type, struct err *e);
int erofs_add_hardlink(struct erofs_writer *w, const char *path, const char *target, struct err *e);
/* A regular file: begin, then exactly its stored bytes by erofs_file_data() calls. extents: NULL for a plain file. ret_nid is its inode. */
int erofs_add_file(struct erofs_writer *w, const char *path, const struct erofs_attr *a, uint64_t size, const struct tar_extent *extents,
		   size_t n_extents, uint64_t *ret_nid, struct err *e);
int erofs_file_data(struct erofs_writer *w, const void *data, size_t n, struct err *e);
/* Overlay whiteouts: hide a name of the layers below; hide all of a directory of the layers below. */
int erofs_add_whiteout(struct erofs_writer *w, const char *dir, const char *name, struct err *e);
int erofs_set_opaque(struct erofs_writer *w, const char *dir, struct err *e);

struct erofs_result {
	uint64_t size;    /* of the image in bytes; the sink must be extended to it */
	uint64_t inodes;
	uint64_t apparent; /* sum of file sizes (hard links once) */
	uint64_t implied_dirs; /* parents that the archive did not name */
};
int erofs_writer_finish(struct erofs_writer *w, const uint8_t uuid[16], struct erofs_result *ret, struct err *e);

#endif
