/* EROFS writer internals: tree (erofs_tree.c), inodes and file data (erofs_write.c), directories and superblock (erofs_finish.c). */
#ifndef TIERCE_WIRE_EROFS_WRITE_PRIV_H
#define TIERCE_WIRE_EROFS_WRITE_PRIV_H

#include "base/arena.h"
#include "wire/erofs.h"
#include "wire/erofs_write.h"

/* Attributes that a directory keeps until the end. */
struct erofs_dir {
	struct erofs_node *first; /* children, newest first */
	struct erofs_node *next_dir;
	uint8_t *xattrs; /* encoded, in the arena */
	uint32_t xattr_len, uid, gid, mtime_ns;
	int64_t mtime;
	uint16_t mode;
	bool opaque, implied, hides; /* hides: a whiteout for this name came in the same layer */
	uint32_t n_children, n_subdirs;
	/* set by the layout pass */
	struct erofs_node **sorted;
	uint64_t size;
	uint32_t blkaddr;
	bool tail_inline;
};

struct erofs_node {
	struct erofs_node *parent, *sibling, *hash_next;
	union {
		struct erofs_dir *dir;
		const char *target; /* symbolic links: in the arena */
	};
	uint64_t nid;
	uint32_t hash;
	uint8_t ftype;
	bool dead, whiteout;
	char name[];
};

struct erofs_link {
	uint64_t nid;
	uint32_t count;
};

struct erofs_buf {
	uint8_t *p;
	uint64_t off; /* in the image */
	size_t len, cap;
};

struct erofs_writer {
	erofs_write_fn write;
	void *ctx;
	struct arena arena;
	struct erofs_node *root;
	struct erofs_node **table; /* hash of (parent, name) */
	size_t table_size;
	uint64_t n_nodes, n_inodes, apparent, implied;
	uint32_t next_blk; /* first block that is free */
	bool chunked;
	/* inode area being filled */
	struct erofs_buf meta;
	size_t meta_size; /* room of the area in bytes */
	/* run of file data being collected */
	struct erofs_buf data;
	/* hard links: nid -> count, open addressing */
	struct erofs_link *links;
	size_t links_size, n_links;
	/* file being received */
	struct {
		uint64_t size, stored, got; /* apparent, expected payload, received */
		const struct tar_extent *ext;
		size_t n_ext, ext_i;
		uint64_t pos;     /* logical position */
		uint64_t tail_at; /* logical offset from which bytes go into the inode's tail, or size */
		uint8_t *tail;
		uint32_t blkaddr;
		bool chunked;
		uint32_t *map; /* chunked: block address of each chunk */
		unsigned chunkbits;
		uint64_t map_off; /* where the map belongs */
	} f;
};

/* tree */
int tree_init(struct erofs_writer *w);
/* Finds a path; follows symbolic links in all but the last component. NULL when absent. */
int tree_lookup(struct erofs_writer *w, const char *path, struct erofs_node **ret, struct err *e);
/* Makes the node for path (its parents too), replacing what is there. type directory: an existing directory is returned. */
int tree_insert(struct erofs_writer *w, const char *path, enum erofs_ftype type, struct erofs_node **ret, struct err *e);
struct erofs_node *tree_child(struct erofs_writer *w, struct erofs_node *dir, const char *name, size_t n);
int tree_parent(struct erofs_writer *w, const char *path, struct erofs_node **ret_dir, const char **ret_name, size_t *ret_len, struct err *e);
int tree_insert_at(struct erofs_writer *w, struct erofs_node *dir, const char *name, size_t len, enum erofs_ftype type,
		   struct erofs_node **ret, struct err *e);
void link_add(struct erofs_writer *w, uint64_t nid, int delta, int *ret_err);

/* output */
int out_data(struct erofs_writer *w, uint64_t off, const void *p, size_t n, struct err *e);
int out_flush(struct erofs_writer *w, struct erofs_buf *b, struct err *e);
int blocks_alloc(struct erofs_writer *w, uint64_t n, uint32_t *ret, struct err *e);
/* Encodes attributes into buf; -E2BIG beyond what an inode carries. opaque adds trusted.overlay.opaque. */
int xattrs_encode(const struct tar_xattr *x, size_t n, bool opaque, struct strbuf *out, struct err *e);
/* Room for an inode of `need` bytes of which the last `tail` may not cross a block; *ret points into the inode area. */
int meta_alloc(struct erofs_writer *w, size_t need, size_t tail, uint64_t *ret_nid, uint8_t **ret, struct err *e);
void inode_encode(uint8_t *p, unsigned layout, uint32_t xattr_len, uint32_t mode, uint64_t size, uint32_t u, uint32_t ino, uint32_t uid, uint32_t gid,
		  int64_t mtime, uint32_t mtime_ns, uint32_t nlink);

#endif
