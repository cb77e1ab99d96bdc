/* EROFS writer, the end of an image: directories, link counts, superblock. See erofs_write.h for the layout. */
#include <errno.h>
#include <sys/stat.h>

#include "wire/erofs_write_priv.h"

uint32_t erofs_crc32c(uint32_t crc, const void *data, size_t n) {
	const uint8_t *p = data;
	while (n--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (0x82F63B78u & -(crc & 1));
	}
	return crc;
}

static int by_name(const void *a, const void *b) {
	const struct erofs_node *x = *(struct erofs_node *const *)a, *y = *(struct erofs_node *const *)b;
	return strcmp(x->name, y->name);
}

/* "." and ".." are entries like the others, in byte order with them. */
static size_t entry_count(const struct erofs_dir *d) {
	return (size_t)d->n_children + 2;
}

/* The dots have no node; they stand in the array as these two. */
static struct erofs_node *dot_node(struct erofs_writer *w, const char *name) {
	struct erofs_node *n = arena_alloc(&w->arena, sizeof(*n) + 3);
	if (n) {
		memcpy(n->name, name, strlen(name) + 1);
		n->ftype = EROFS_FT_DIR;
	}
	return n;
}

static int sort_children(struct erofs_dir *d, struct erofs_node *dot, struct erofs_node *dotdot) {
	size_t n = entry_count(d), i = 0;
	d->sorted = calloc(n, sizeof(*d->sorted));
	if (!d->sorted)
		return -ENOMEM;
	d->sorted[i++] = dot;
	d->sorted[i++] = dotdot;
	for (struct erofs_node *c = d->first; c; c = c->sibling)
		if (!c->dead)
			d->sorted[i++] = c;
	qsort(d->sorted, n, sizeof(*d->sorted), by_name);
	return 0;
}

/* How many entries from `from` fill one block, and how many bytes they take. */
static size_t pack_block(const struct erofs_dir *d, size_t from, size_t *ret_bytes) {
	size_t n = entry_count(d), used = 0, i = from;
	for (; i < n; i++) {
		size_t k = EROFS_DIRENT + strlen(d->sorted[i]->name);
		if (used + k > EROFS_BLK)
			break;
		used += k;
	}
	*ret_bytes = used;
	return i - from;
}

static uint64_t dir_size(const struct erofs_dir *d) {
	uint64_t size = 0;
	size_t bytes, n = entry_count(d);
	for (size_t i = 0; i < n;) {
		i += pack_block(d, i, &bytes);
		size += i < n ? (uint64_t)EROFS_BLK : bytes;
	}
	return size;
}

static size_t block_encode(const struct erofs_dir *d, const struct erofs_node *self, size_t from, uint8_t block[EROFS_BLK], size_t *ret_bytes) {
	size_t n = pack_block(d, from, ret_bytes), at = n * EROFS_DIRENT;
	memset(block, 0, EROFS_BLK);
	for (size_t i = 0; i < n; i++) {
		const struct erofs_node *c = d->sorted[from + i];
		uint64_t nid = c->nid;
		if (streq(c->name, "."))
			nid = self->nid;
		else if (streq(c->name, ".."))
			nid = (self->parent ? self->parent : self)->nid;
		uint8_t *p = block + i * EROFS_DIRENT;
		size_t len = strlen(c->name);
		put64(p, nid);
		put16(p + 8, (uint16_t)at);
		p[10] = c->ftype;
		memcpy(block + at, c->name, len);
		at += len;
	}
	return n;
}

/* Directories in the order in which their inodes are laid out: parents first. */
static int collect_dirs(struct erofs_writer *w, struct erofs_node ***ret, size_t *ret_n) {
	size_t n = 0, cap = 256;
	struct erofs_node **v = malloc(cap * sizeof(*v));
	if (!v)
		return -ENOMEM;
	v[n++] = w->root;
	for (size_t i = 0; i < n; i++)
		for (struct erofs_node *c = v[i]->dir->first; c; c = c->sibling) {
			if (c->dead || c->ftype != EROFS_FT_DIR)
				continue;
			if (n == cap) {
				struct erofs_node **x = reallocarray(v, cap * 2, sizeof(*v));
				if (!x) {
					free(v);
					return -ENOMEM;
				}
				v = x;
				cap *= 2;
			}
			v[n++] = c;
		}
	*ret = v;
	*ret_n = n;
	return 0;
}

/* Attributes of a directory with the opaque mark added. */
static int dir_xattrs(struct erofs_writer *w, struct erofs_dir *d, struct err *e) {
	if (!d->opaque)
		return 0;
	_cleanup_strbuf_ struct strbuf x = STRBUF_INIT;
	if (d->xattr_len)
		strbuf_add(&x, d->xattrs, d->xattr_len);
	int r = xattrs_encode(NULL, 0, true, &x, e);
	if (r < 0)
		return r;
	d->xattrs = (uint8_t *)arena_strndup(&w->arena, x.s, x.len);
	d->xattr_len = (uint32_t)x.len;
	return d->xattrs ? 0 : err_set(e, ENOMEM, "out of memory");
}

/* Gives a directory its inode number and blocks, with the inode encoded but for inline entries. Returns the inode's place for them. */
static int dir_layout(struct erofs_writer *w, struct erofs_node *n, uint8_t **ret_tail, struct err *e) {
	struct erofs_dir *d = n->dir;
	int r = dir_xattrs(w, d, e);
	if (r < 0)
		return r;
	size_t head = EROFS_INODE_EXTENDED + d->xattr_len, tail = d->size % EROFS_BLK;
	if (n == w->root || head % EROFS_BLK + tail > EROFS_BLK)
		tail = 0;
	d->tail_inline = tail > 0;
	uint64_t blocks = (d->size - tail + EROFS_BLK - 1) >> EROFS_BLKBITS;
	if (blocks && (r = blocks_alloc(w, blocks, &d->blkaddr, e)) < 0)
		return r;
	if (n == w->root)
		return 0;
	uint8_t *p;
	r = meta_alloc(w, head + tail, tail, &n->nid, &p, e);
	if (r < 0)
		return r;
	inode_encode(p, tail ? EROFS_LAYOUT_INLINE : EROFS_LAYOUT_PLAIN, d->xattr_len, S_IFDIR | d->mode, d->size, d->blkaddr, (uint32_t)++w->n_inodes,
		     d->uid, d->gid, d->mtime, d->mtime_ns, d->n_subdirs + 2);
	if (d->xattr_len)
		memcpy(p + EROFS_INODE_EXTENDED, d->xattrs, d->xattr_len);
	*ret_tail = p + head;
	return 0;
}

static int dir_write(struct erofs_writer *w, struct erofs_node *n, uint64_t tail_off, struct err *e) {
	struct erofs_dir *d = n->dir;
	uint8_t block[EROFS_BLK];
	uint64_t at = (uint64_t)d->blkaddr * EROFS_BLK;
	size_t count = entry_count(d), bytes;
	for (size_t i = 0; i < count;) {
		i += block_encode(d, n, i, block, &bytes);
		bool last = i == count;
		/* The tail goes into an inode area that is out already: past the collecting buffer, which fills gaps with zeros. */
		int r = last && d->tail_inline ? w->write(w->ctx, tail_off, block, bytes) : out_data(w, at, block, last ? bytes : EROFS_BLK, e);
		if (r < 0)
			return e && e->code ? r : err_sys(e, r, "write layer image");
		at += EROFS_BLK;
	}
	return 0;
}

static int put_directories(struct erofs_writer *w, struct err *e) {
	struct erofs_node **v;
	size_t n;
	struct erofs_node *dot = dot_node(w, "."), *dotdot = dot_node(w, "..");
	int r = dot && dotdot ? collect_dirs(w, &v, &n) : -ENOMEM;
	if (r < 0)
		return err_set(e, ENOMEM, "out of memory");
	w->root->nid = (EROFS_SUPER_OFFSET + EROFS_SUPER_SIZE) / EROFS_SLOT;
	_cleanup_free_ uint64_t *tails = calloc(n, sizeof(*tails));
	if (!tails)
		r = err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; r >= 0 && i < n; i++) {
		struct erofs_dir *d = v[i]->dir;
		uint8_t *tail = NULL;
		if (sort_children(d, dot, dotdot) < 0)
			r = err_set(e, ENOMEM, "out of memory");
		else {
			d->size = dir_size(d);
			r = dir_layout(w, v[i], &tail, e);
		}
		if (r >= 0 && tail)
			tails[i] = w->meta.off + (uint64_t)(tail - w->meta.p);
		w->implied += d->implied;
	}
	if (r >= 0)
		r = out_flush(w, &w->meta, e);
	for (size_t i = 0; r >= 0 && i < n; i++)
		r = dir_write(w, v[i], tails[i], e);
	for (size_t i = 0; i < n; i++) {
		free(v[i]->dir->sorted);
		v[i]->dir->sorted = NULL;
	}
	free(v);
	return r >= 0 ? out_flush(w, &w->data, e) : r;
}

static int put_link_counts(struct erofs_writer *w, struct err *e) {
	for (size_t i = 0; i < w->links_size; i++) {
		if (!w->links[i].nid || w->links[i].count < 2)
			continue;
		uint8_t b[4];
		put32(b, w->links[i].count);
		int r = w->write(w->ctx, w->links[i].nid * EROFS_SLOT + EIX_NLINK, b, sizeof(b));
		if (r < 0)
			return err_sys(e, r, "write layer image");
	}
	return 0;
}

static int put_super(struct erofs_writer *w, const uint8_t uuid[16], struct err *e) {
	uint8_t block[EROFS_BLK] = { 0 }, *sb = block + EROFS_SUPER_OFFSET, *ri = sb + EROFS_SUPER_SIZE;
	struct erofs_dir *d = w->root->dir;
	if (d->xattr_len > EROFS_BLK - EROFS_SUPER_OFFSET - EROFS_SUPER_SIZE - EROFS_INODE_EXTENDED)
		return err_set(e, E2BIG, "extended attributes of more than 2.8 kB on the root directory");
	inode_encode(ri, EROFS_LAYOUT_PLAIN, d->xattr_len, S_IFDIR | d->mode, d->size, d->blkaddr, 1, d->uid, d->gid, d->mtime, d->mtime_ns, d->n_subdirs + 2);
	if (d->xattr_len)
		memcpy(ri + EROFS_INODE_EXTENDED, d->xattrs, d->xattr_len);
	put32(sb + ESB_MAGIC, EROFS_MAGIC);
	put32(sb + ESB_COMPAT, EROFS_COMPAT_SB_CHKSUM | EROFS_COMPAT_MTIME);
	sb[ESB_BLKBITS] = EROFS_BLKBITS;
	put16(sb + ESB_ROOT_NID, (uint16_t)w->root->nid);
	put64(sb + ESB_INOS, w->n_inodes);
	put32(sb + ESB_BLOCKS, w->next_blk);
	memcpy(sb + ESB_UUID, uuid, 16);
	put32(sb + ESB_INCOMPAT, w->chunked ? EROFS_INCOMPAT_CHUNKED : 0);
	put32(sb + ESB_CHECKSUM, erofs_crc32c(~0u, sb, EROFS_BLK - EROFS_SUPER_OFFSET));
	int r = w->write(w->ctx, 0, block, sizeof(block));
	return r < 0 ? err_sys(e, r, "write layer image") : 0;
}

int erofs_writer_finish(struct erofs_writer *w, const uint8_t uuid[16], struct erofs_result *ret, struct err *e) {
	int r = out_flush(w, &w->data, e);
	if (r >= 0)
		r = put_directories(w, e);
	if (r >= 0)
		r = put_link_counts(w, e);
	if (r >= 0)
		r = put_super(w, uuid, e);
	if (r < 0)
		return r;
	*ret = (struct erofs_result){ (uint64_t)w->next_blk * EROFS_BLK, w->n_inodes, w->apparent, w->implied };
	return 0;
}
