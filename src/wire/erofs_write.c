/* EROFS writer, the streaming half: inodes, file data, extended attributes, entries of every type. See erofs_write.h. */
#include <errno.h>
#include <sys/stat.h>

#include "wire/erofs_write_priv.h"

enum {
	/* Inodes are collected into areas between the data: small ones first, so that small layers stay small. All are larger than GAP_FILL, which
	 * must never reach over one. */
	META_AREA_FIRST = 64 * 1024,
	META_AREA_MAX = 256 * 1024,
	DATA_BUF = 512 * 1024,
	GAP_FILL = 32 * 1024,   /* a smaller hole is written as zeros: one large write beats two small ones */
	DIRECT = 128 * 1024,    /* a span this large goes out without a copy */
	/* Tails above this go to a data block of their own: in the inode area they would waste more by not fitting. */
	TAIL_INLINE_MAX = 2800,
	MAX_CHUNKS = 16 * 1024,
};
#define MAX_FILE_SIZE ((uint64_t)1 << 44) /* what 32-bit block numbers reach */

struct erofs_writer *erofs_writer_new(erofs_write_fn write, void *ctx) {
	struct erofs_writer *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->write = write;
	w->ctx = ctx;
	w->next_blk = 1;
	w->data.cap = DATA_BUF;
	w->data.p = malloc(DATA_BUF);
	w->n_inodes = 1; /* the root */
	if (!w->data.p || tree_init(w) < 0) {
		erofs_writer_free(w);
		return NULL;
	}
	return w;
}

void erofs_writer_free(struct erofs_writer *w) {
	if (!w)
		return;
	free(w->f.map);
	free(w->meta.p);
	free(w->data.p);
	free(w->links);
	free(w->table);
	arena_free(&w->arena);
	free(w);
}

int out_flush(struct erofs_writer *w, struct erofs_buf *b, struct err *e) {
	if (!b->len)
		return 0;
	int r = w->write(w->ctx, b->off, b->p, b->len);
	b->off += b->len;
	b->len = 0;
	return r < 0 ? err_sys(e, r, "write layer image") : 0;
}

int out_data(struct erofs_writer *w, uint64_t off, const void *p, size_t n, struct err *e) {
	struct erofs_buf *b = &w->data;
	int r = 0;
	if (b->len) {
		uint64_t end = b->off + b->len, gap = off - end;
		if (off < end || gap > GAP_FILL || gap > b->cap - b->len)
			r = out_flush(w, b, e);
		else {
			memset(b->p + b->len, 0, gap);
			b->len += gap;
		}
	}
	if (r >= 0 && b->len && n > b->cap - b->len)
		r = out_flush(w, b, e);
	if (r < 0)
		return r;
	if (!b->len && n >= DIRECT) {
		r = w->write(w->ctx, off, p, n);
		return r < 0 ? err_sys(e, r, "write layer image") : 0;
	}
	while (n) {
		if (!b->len)
			b->off = off;
		size_t k = MIN(n, b->cap - b->len);
		memcpy(b->p + b->len, p, k);
		b->len += k;
		off += k;
		p = (const uint8_t *)p + k;
		n -= k;
		if (b->len == b->cap && (r = out_flush(w, b, e)) < 0)
			return r;
	}
	return 0;
}

int blocks_alloc(struct erofs_writer *w, uint64_t n, uint32_t *ret, struct err *e) {
	if (n >= EROFS_NULL_ADDR - (uint64_t)w->next_blk)
		return err_set(e, EFBIG, "layer image of more than 16 TiB");
	*ret = w->next_blk;
	w->next_blk += (uint32_t)n;
	return 0;
}

int meta_alloc(struct erofs_writer *w, size_t need, size_t tail, uint64_t *ret_nid, uint8_t **ret, struct err *e) {
	struct erofs_buf *m = &w->meta;
	for (;;) {
		size_t pos = (m->len + EROFS_SLOT - 1) & ~(size_t)(EROFS_SLOT - 1);
		size_t left = EROFS_BLK - pos % EROFS_BLK;
		size_t tail_at = (pos + need - tail) % EROFS_BLK;
		if (left < EROFS_INODE_EXTENDED || (tail && tail_at + tail > EROFS_BLK))
			pos += left;
		if (m->p && pos <= w->meta_size && need <= w->meta_size - pos) {
			memset(m->p + m->len, 0, pos + need - m->len);
			m->len = pos + need;
			*ret = m->p + pos;
			*ret_nid = (m->off + pos) / EROFS_SLOT;
			return 0;
		}
		int r = out_flush(w, m, e);
		size_t area = MIN(w->meta_size ? 2 * w->meta_size : (size_t)META_AREA_FIRST, (size_t)META_AREA_MAX);
		size_t size = (MAX(area, need) + EROFS_BLK - 1) & ~(size_t)(EROFS_BLK - 1);
		uint32_t blk = 0;
		if (r >= 0)
			r = blocks_alloc(w, size / EROFS_BLK, &blk, e);
		if (r < 0)
			return r;
		if (size > m->cap) {
			uint8_t *p = realloc(m->p, size);
			if (!p)
				return err_set(e, ENOMEM, "out of memory");
			m->p = p;
			m->cap = size;
		}
		w->meta_size = size;
		m->off = (uint64_t)blk * EROFS_BLK;
	}
}

void inode_encode(uint8_t *p, unsigned layout, uint32_t xattr_len, uint32_t mode, uint64_t size, uint32_t u, uint32_t ino, uint32_t uid, uint32_t gid,
		  int64_t mtime, uint32_t mtime_ns, uint32_t nlink) {
	put16(p + EI_FORMAT, (uint16_t)(1 | layout << 1));
	put16(p + EI_XATTRS, xattr_len ? (uint16_t)((xattr_len - EROFS_XATTR_HEADER) / 4 + 1) : 0);
	put16(p + EI_MODE, (uint16_t)mode);
	put64(p + EIX_SIZE, size);
	put32(p + EI_U, u);
	put32(p + EI_INO, ino);
	put32(p + EIX_UID, uid);
	put32(p + EIX_GID, gid);
	put64(p + EIX_MTIME, (uint64_t)mtime);
	put32(p + EIX_MTIME_NS, mtime_ns);
	put32(p + EIX_NLINK, nlink);
}

/* ---- extended attributes ---- */

static const struct {
	const char *prefix;
	uint8_t index;
	bool whole; /* the prefix is the whole name */
} xattr_names[] = {
	{ "user.", EROFS_XATTR_USER, false },
	{ "trusted.", EROFS_XATTR_TRUSTED, false },
	{ "security.", EROFS_XATTR_SECURITY, false },
	{ "system.posix_acl_access", EROFS_XATTR_ACL_ACCESS, true },
	{ "system.posix_acl_default", EROFS_XATTR_ACL_DEFAULT, true },
};

static int xattr_put(struct strbuf *out, uint8_t index, const char *name, const void *value, size_t len) {
	uint8_t h[4] = { (uint8_t)strlen(name), index };
	put16(h + 2, (uint16_t)len);
	if (!out->len)
		strbuf_add(out, "\0\0\0\0\0\0\0\0\0\0\0", EROFS_XATTR_HEADER);
	strbuf_add(out, h, sizeof(h));
	strbuf_puts(out, name);
	strbuf_add(out, value, len);
	strbuf_add(out, "\0\0\0", (4 - out->len % 4) % 4);
	return out->failed ? -ENOMEM : 0;
}

int xattrs_encode(const struct tar_xattr *x, size_t n, bool opaque, struct strbuf *out, struct err *e) {
	int r = 0;
	for (size_t i = 0; r >= 0 && i < n; i++) {
		/* An image that speaks overlayfs itself could redirect a name to any file of another layer. */
		if (str_has_prefix(x[i].name, "trusted.overlay.") || str_has_prefix(x[i].name, "user.overlay."))
			return err_set(e, EPERM, "extended attribute %s is not allowed in an image", x[i].name);
		for (size_t k = 0; k < ARRAY_SIZE(xattr_names); k++) {
			if (!str_has_prefix(x[i].name, xattr_names[k].prefix))
				continue;
			const char *rest = x[i].name + strlen(xattr_names[k].prefix);
			if (xattr_names[k].whole != (*rest == '\0'))
				continue;
			if (strlen(rest) > 255 || x[i].len > UINT16_MAX)
				return err_set(e, E2BIG, "extended attribute %.60s is too large", x[i].name);
			r = xattr_put(out, xattr_names[k].index, rest, x[i].value, x[i].len);
		}
	}
	if (r >= 0 && opaque)
		r = xattr_put(out, EROFS_XATTR_TRUSTED, "overlay.opaque", "y", 1);
	if (r < 0)
		return err_set(e, ENOMEM, "out of memory");
	if (out->len > EROFS_XATTR_HEADER + 4 * (UINT16_MAX - 1))
		return err_set(e, E2BIG, "extended attributes of more than 256 kB on one file");
	return 0;
}

/* ---- entries other than files ---- */

static uint32_t encode_rdev(uint32_t major, uint32_t minor) {
	return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

static int add_node(struct erofs_writer *w, struct erofs_node *c, const struct erofs_attr *a, uint32_t type_bits, uint32_t u, const char *target, struct err *e) {
	_cleanup_strbuf_ struct strbuf x = STRBUF_INIT;
	int r = xattrs_encode(a->xattrs, a->n_xattrs, false, &x, e);
	if (r < 0)
		return r;
	size_t tlen = target ? strlen(target) : 0, tail = tlen;
	unsigned layout = target ? EROFS_LAYOUT_INLINE : EROFS_LAYOUT_PLAIN;
	if (target && (EROFS_INODE_EXTENDED + x.len) % EROFS_BLK + tlen > EROFS_BLK) {
		layout = EROFS_LAYOUT_PLAIN;
		tail = 0;
		r = blocks_alloc(w, 1, &u, e);
		if (r >= 0)
			r = out_data(w, (uint64_t)u * EROFS_BLK, target, tlen, e);
		if (r < 0)
			return r;
	}
	uint8_t *p;
	r = meta_alloc(w, EROFS_INODE_EXTENDED + x.len + tail, tail, &c->nid, &p, e);
	if (r < 0)
		return r;
	inode_encode(p, layout, (uint32_t)x.len, type_bits | a->mode, tlen, u, (uint32_t)++w->n_inodes, a->uid, a->gid, a->mtime, a->mtime_ns, 1);
	if (x.len)
		memcpy(p + EROFS_INODE_EXTENDED, x.s, x.len);
	if (tail)
		memcpy(p + EROFS_INODE_EXTENDED + x.len, target, tail);
	return 0;
}

int erofs_add_dir(struct erofs_writer *w, const char *path, const struct erofs_attr *a, struct err *e) {
	struct erofs_node *c;
	int r = tree_insert(w, path, EROFS_FT_DIR, &c, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf x = STRBUF_INIT;
	r = xattrs_encode(a->xattrs, a->n_xattrs, false, &x, e);
	if (r < 0)
		return r;
	struct erofs_dir *d = c->dir;
	d->xattrs = NULL;
	if (x.len && !(d->xattrs = (uint8_t *)arena_strndup(&w->arena, x.s, x.len)))
		return err_set(e, ENOMEM, "out of memory");
	d->xattr_len = (uint32_t)x.len;
	d->mode = (uint16_t)a->mode;
	d->uid = a->uid;
	d->gid = a->gid;
	d->mtime = a->mtime;
	d->mtime_ns = a->mtime_ns;
	d->implied = false;
	return 0;
}

int erofs_add_symlink(struct erofs_writer *w, const char *path, const struct erofs_attr *a, const char *target, struct err *e) {
	struct erofs_node *c;
	if (!*target || strlen(target) >= TAR_MAX_PATH)
		return err_set(e, EBADMSG, "%s: symbolic link with an empty or overlong target", path);
	int r = tree_insert(w, path, EROFS_FT_LNK, &c, e);
	if (r < 0)
		return r;
	if (!(c->target = arena_strdup(&w->arena, target)))
		return err_set(e, ENOMEM, "out of memory");
	struct erofs_attr l = *a;
	l.mode = 0777;
	return add_node(w, c, &l, S_IFLNK, 0, target, e);
}

int erofs_add_special(struct erofs_writer *w, const char *path, const struct erofs_attr *a, enum tar_type type, struct err *e) {
	static const struct {
		enum tar_type tar;
		enum erofs_ftype ft;
		uint32_t bits;
	} kinds[] = { { TAR_CHAR, EROFS_FT_CHR, S_IFCHR }, { TAR_BLOCKDEV, EROFS_FT_BLK, S_IFBLK }, { TAR_FIFO, EROFS_FT_FIFO, S_IFIFO } };
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i].tar != type)
			continue;
		struct erofs_node *c;
		int r = tree_insert(w, path, kinds[i].ft, &c, e);
		if (r < 0)
			return r;
		return add_node(w, c, a, kinds[i].bits, type == TAR_FIFO ? 0 : encode_rdev(a->major, a->minor), NULL, e);
	}
	return err_set(e, EINVAL, "%s: unknown file type", path);
}

int erofs_add_hardlink(struct erofs_writer *w, const char *path, const char *target, struct err *e) {
	struct erofs_node *t, *c;
	int r = tree_lookup(w, target, &t, e);
	if (r < 0)
		return r;
	if (!t || t->whiteout)
		return err_set(e, EBADMSG, "hard link %s to %s, which is not in the layer", path, target);
	if (t->ftype == EROFS_FT_DIR)
		return err_set(e, EBADMSG, "hard link %s to the directory %s", path, target);
	uint64_t nid = t->nid;
	link_add(w, nid, 1, &r);
	if (r < 0)
		return err_set(e, ENOMEM, "out of memory");
	r = tree_insert(w, path, t->ftype, &c, e);
	if (r < 0)
		return r;
	c->nid = nid;
	if (t->ftype == EROFS_FT_LNK)
		c->target = t->target;
	return 0;
}

int erofs_add_whiteout(struct erofs_writer *w, const char *dir, const char *name, struct err *e) {
	struct erofs_node *d, *c;
	_cleanup_strbuf_ struct strbuf path = STRBUF_INIT;
	if (!*name || streq(name, ".") || streq(name, ".."))
		return err_set(e, EBADMSG, "whiteout without a name in %s", dir);
	if (strbuf_printf(&path, "%s/%s", dir, name) < 0)
		return err_set(e, ENOMEM, "out of memory");
	const char *last;
	size_t n;
	int r = tree_parent(w, strbuf_str(&path), &d, &last, &n, e);
	if (r < 0)
		return r;
	c = tree_child(w, d, last, n);
	if (c) { /* whiteouts speak of the layers below: what this layer brings stays */
		if (c->ftype == EROFS_FT_DIR)
			c->dir->opaque = true;
		return 0;
	}
	r = tree_insert_at(w, d, last, n, EROFS_FT_CHR, &c, e);
	if (r < 0)
		return r;
	c->whiteout = true;
	struct erofs_attr a = { 0 };
	return add_node(w, c, &a, S_IFCHR, 0, NULL, e);
}

int erofs_set_opaque(struct erofs_writer *w, const char *dir, struct err *e) {
	struct erofs_node *c;
	_cleanup_strbuf_ struct strbuf inside = STRBUF_INIT;
	const char *last;
	size_t n;
	if (strbuf_printf(&inside, "%s/x", dir) < 0)
		return err_set(e, ENOMEM, "out of memory");
	int r = tree_parent(w, strbuf_str(&inside), &c, &last, &n, e);
	if (r < 0)
		return r;
	c->dir->opaque = true;
	return 0;
}

/* ---- files ---- */

/* Which chunks hold data, and where: a hole costs four bytes. */
static int chunk_map(struct erofs_writer *w, struct err *e) {
	uint64_t size = w->f.size;
	unsigned bits = EROFS_BLKBITS;
	while (size >> bits > MAX_CHUNKS)
		bits++;
	uint64_t n = (size + ((uint64_t)1 << bits) - 1) >> bits;
	w->f.chunkbits = bits;
	free(w->f.map);
	w->f.map = malloc(MAX(n, (uint64_t)1) * sizeof(*w->f.map));
	if (!w->f.map)
		return err_set(e, ENOMEM, "out of memory");
	memset(w->f.map, 0xff, n * sizeof(*w->f.map));
	for (size_t i = 0; i < w->f.n_ext; i++) {
		const struct tar_extent *x = &w->f.ext[i];
		if (!x->len)
			continue;
		for (uint64_t c = x->off >> bits; c <= (x->off + x->len - 1) >> bits; c++) {
			if (w->f.map[c] != EROFS_NULL_ADDR)
				continue;
			uint64_t bytes = MIN((uint64_t)1 << bits, size - (c << bits));
			int r = blocks_alloc(w, (bytes + EROFS_BLK - 1) >> EROFS_BLKBITS, &w->f.map[c], e);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int file_inode(struct erofs_writer *w, struct erofs_node *c, const struct erofs_attr *a, const struct strbuf *x, struct err *e) {
	uint64_t size = w->f.size;
	size_t head = EROFS_INODE_EXTENDED + x->len, extra = 0, tail = 0;
	unsigned layout = EROFS_LAYOUT_PLAIN;
	uint32_t u = 0;
	int r = 0;
	if (w->f.chunked) {
		r = chunk_map(w, e);
		extra = (size_t)((size + ((uint64_t)1 << w->f.chunkbits) - 1) >> w->f.chunkbits) * 4;
		u = w->f.chunkbits - EROFS_BLKBITS;
		layout = EROFS_LAYOUT_CHUNK;
		w->chunked = true;
	} else {
		tail = size % EROFS_BLK;
		if (tail > TAIL_INLINE_MAX || head % EROFS_BLK + tail > EROFS_BLK)
			tail = 0;
		layout = tail ? EROFS_LAYOUT_INLINE : EROFS_LAYOUT_PLAIN;
		extra = tail;
		if (size - tail)
			r = blocks_alloc(w, (size - tail + EROFS_BLK - 1) >> EROFS_BLKBITS, &u, e);
		w->f.blkaddr = u;
	}
	w->f.tail_at = size - tail;
	uint8_t *p;
	if (r >= 0)
		r = meta_alloc(w, head + extra, tail, &c->nid, &p, e);
	if (r < 0)
		return r;
	inode_encode(p, layout, (uint32_t)x->len, S_IFREG | a->mode, size, u, (uint32_t)++w->n_inodes, a->uid, a->gid, a->mtime, a->mtime_ns, 1);
	if (x->len)
		memcpy(p + EROFS_INODE_EXTENDED, x->s, x->len);
	if (w->f.chunked)
		for (size_t i = 0; i < extra / 4; i++)
			put32(p + head + 4 * i, w->f.map[i]);
	w->f.tail = p + head;
	return 0;
}

int erofs_add_file(struct erofs_writer *w, const char *path, const struct erofs_attr *a, uint64_t size, const struct tar_extent *extents,
		   size_t n_extents, uint64_t *ret_nid, struct err *e) {
	struct erofs_node *c;
	if (size > MAX_FILE_SIZE)
		return err_set(e, EFBIG, "%s: file of more than 16 TiB", path);
	int r = tree_insert(w, path, EROFS_FT_REG, &c, e);
	if (r < 0)
		return r;
	_cleanup_strbuf_ struct strbuf x = STRBUF_INIT;
	r = xattrs_encode(a->xattrs, a->n_xattrs, false, &x, e);
	if (r < 0)
		return r;
	uint64_t stored = size;
	if (extents) {
		stored = 0;
		for (size_t i = 0; i < n_extents; i++)
			stored += extents[i].len;
	}
	uint32_t *map = w->f.map;
	memset(&w->f, 0, sizeof(w->f));
	w->f.map = map;
	w->f.size = size;
	w->f.stored = stored;
	w->f.ext = extents;
	w->f.n_ext = n_extents;
	w->f.chunked = extents && size;
	r = file_inode(w, c, a, &x, e);
	if (r < 0)
		return r;
	w->apparent += size;
	*ret_nid = c->nid;
	return 0;
}

static bool block_is_zero(const uint8_t *p) {
	uint64_t first;
	memcpy(&first, p, sizeof(first));
	return first == 0 && memcmp(p, p + 8, EROFS_BLK - 8) == 0;
}

/* A run of bytes that is contiguous in the file and the image; whole blocks of zeros stay holes. */
static int put_run(struct erofs_writer *w, uint64_t img, const uint8_t *p, size_t n, struct err *e) {
	size_t begin = 0, at = 0;
	int r = 0;
	while (at < n) {
		size_t k = MIN(n - at, (size_t)(EROFS_BLK - (img + at) % EROFS_BLK));
		if (k == EROFS_BLK && block_is_zero(p + at)) {
			if (at > begin)
				r = out_data(w, img + begin, p + begin, at - begin, e);
			if (r < 0)
				return r;
			begin = at + k;
		}
		at += k;
	}
	return n > begin ? out_data(w, img + begin, p + begin, n - begin, e) : 0;
}

int erofs_file_data(struct erofs_writer *w, const void *data, size_t n, struct err *e) {
	const uint8_t *p = data;
	if (n > w->f.stored - w->f.got)
		return err_set(e, EINVAL, "more data than the file holds");
	w->f.got += n;
	while (n) {
		size_t k = n;
		uint64_t img;
		if (w->f.chunked) {
			const struct tar_extent *x = &w->f.ext[w->f.ext_i];
			if (w->f.pos >= x->len) {
				w->f.ext_i++;
				w->f.pos = 0;
				continue;
			}
			uint64_t at = x->off + w->f.pos, mask = ((uint64_t)1 << w->f.chunkbits) - 1;
			uint64_t room = MIN(x->len - w->f.pos, mask + 1 - (at & mask));
			k = (size_t)MIN((uint64_t)k, room);
			img = ((uint64_t)w->f.map[at >> w->f.chunkbits] << EROFS_BLKBITS) + (at & mask);
		} else if (w->f.pos >= w->f.tail_at) {
			memcpy(w->f.tail + (w->f.pos - w->f.tail_at), p, k);
			w->f.pos += k;
			return 0;
		} else {
			k = (size_t)MIN((uint64_t)k, w->f.tail_at - w->f.pos);
			img = ((uint64_t)w->f.blkaddr << EROFS_BLKBITS) + w->f.pos;
		}
		int r = put_run(w, img, p, k, e);
		if (r < 0)
			return r;
		w->f.pos += k;
		p += k;
		n -= k;
	}
	return 0;
}
