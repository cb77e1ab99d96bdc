/* EROFS reader: see erofs_read.h. Every offset that an image gives is checked against the image before use. */
#include "wire/erofs_read.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

static int get(const struct erofs *fs, uint64_t off, void *buf, size_t n) {
	if (n > fs->size || off > fs->size - n)
		return -EUCLEAN;
	return fs->pread(fs->ctx, off, buf, n);
}

int erofs_open(struct erofs *fs, erofs_pread_fn pread, void *ctx, uint64_t size, struct err *e) {
	uint8_t sb[EROFS_SUPER_SIZE];
	*fs = (struct erofs){ .pread = pread, .ctx = ctx, .size = size };
	int r = get(fs, EROFS_SUPER_OFFSET, sb, sizeof(sb));
	if (r < 0)
		return err_set(e, -r, "EROFS image is too short");
	if (get32(sb + ESB_MAGIC) != EROFS_MAGIC)
		return err_set(e, EUCLEAN, "no EROFS image");
	fs->blkbits = sb[ESB_BLKBITS];
	if (fs->blkbits < 9 || fs->blkbits > 16)
		return err_set(e, EUCLEAN, "EROFS block size of 2^%u", fs->blkbits);
	uint32_t incompat = get32(sb + ESB_INCOMPAT);
	if (incompat & ~(uint32_t)EROFS_INCOMPAT_CHUNKED)
		return err_set(e, EOPNOTSUPP, "EROFS features 0x%x (compression or devices) are not read", incompat);
	if (get16(sb + ESB_EXTRA_DEVICES))
		return err_set(e, EOPNOTSUPP, "EROFS image with extra devices");
	if ((uint64_t)get32(sb + ESB_BLOCKS) << fs->blkbits > size)
		return err_set(e, EUCLEAN, "EROFS image is cut short");
	fs->meta = (uint64_t)get32(sb + ESB_META_BLK) << fs->blkbits;
	fs->xattr = (uint64_t)get32(sb + ESB_XATTR_BLK) << fs->blkbits;
	fs->root_nid = get16(sb + ESB_ROOT_NID);
	fs->inodes = get64(sb + ESB_INOS);
	memcpy(fs->uuid, sb + ESB_UUID, sizeof(fs->uuid));
	struct erofs_inode root;
	r = erofs_inode_get(fs, fs->root_nid, &root);
	if (r < 0 || !S_ISDIR(root.mode))
		return err_set(e, EUCLEAN, "EROFS image without a root directory");
	return 0;
}

int erofs_inode_get(const struct erofs *fs, uint64_t nid, struct erofs_inode *ret) {
	uint8_t p[EROFS_INODE_EXTENDED];
	if (fs->meta > fs->size || nid > (fs->size - fs->meta) / EROFS_SLOT)
		return -EUCLEAN;
	uint64_t off = fs->meta + nid * EROFS_SLOT;
	int r = get(fs, off, p, EROFS_INODE_COMPACT);
	if (r < 0)
		return r;
	unsigned format = get16(p + EI_FORMAT);
	bool ext = format & 1;
	if (ext && (r = get(fs, off + EROFS_INODE_COMPACT, p + EROFS_INODE_COMPACT, EROFS_INODE_COMPACT)) < 0)
		return r;
	struct erofs_inode in = { .nid = nid, .mode = get16(p + EI_MODE), .layout = (uint8_t)(format >> 1 & 7), .u = get32(p + EI_U) };
	if (format >> 4 || (in.layout != EROFS_LAYOUT_PLAIN && in.layout != EROFS_LAYOUT_INLINE && in.layout != EROFS_LAYOUT_CHUNK))
		return -EOPNOTSUPP;
	if (ext) {
		in.size = get64(p + EIX_SIZE);
		in.uid = get32(p + EIX_UID);
		in.gid = get32(p + EIX_GID);
		in.mtime = (int64_t)get64(p + EIX_MTIME);
		in.mtime_ns = get32(p + EIX_MTIME_NS);
		in.nlink = get32(p + EIX_NLINK);
	} else {
		in.size = get32(p + EIC_SIZE);
		in.uid = get16(p + EIC_UID);
		in.gid = get16(p + EIC_GID);
		in.nlink = get16(p + EIC_NLINK);
	}
	uint16_t icount = get16(p + EI_XATTRS);
	in.xattr_off = off + (ext ? EROFS_INODE_EXTENDED : EROFS_INODE_COMPACT);
	in.xattr_len = icount ? EROFS_XATTR_HEADER + 4 * (uint32_t)(icount - 1) : 0;
	in.body = in.xattr_off + in.xattr_len;
	if (in.body > fs->size || in.size > INT64_MAX)
		return -EUCLEAN;
	switch (in.mode & S_IFMT) {
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		in.rdev = S_ISCHR(in.mode) || S_ISBLK(in.mode) ? in.u : 0;
		in.size = 0;
		break;
	case S_IFREG:
	case S_IFLNK:
		break;
	case S_IFDIR:
		if (in.layout == EROFS_LAYOUT_CHUNK)
			return -EUCLEAN;
		break;
	default:
		return -EUCLEAN;
	}
	*ret = in;
	return 0;
}

/* Where byte off of the inode lies: *ret_len bytes from *ret_at on are contiguous; *ret_at UINT64_MAX for a hole. */
static int map(const struct erofs *fs, const struct erofs_inode *in, uint64_t off, uint64_t *ret_at, uint64_t *ret_len) {
	uint64_t blk = (uint64_t)1 << fs->blkbits, left = in->size - off;
	if (in->layout == EROFS_LAYOUT_CHUNK) {
		unsigned format = in->u & 0xffff, bits = (format & EROFS_CHUNK_BITS_MASK) + fs->blkbits;
		unsigned unit = format & EROFS_CHUNK_INDEXES ? 8 : 4;
		if (format & ~(unsigned)(EROFS_CHUNK_BITS_MASK | EROFS_CHUNK_INDEXES) || bits > 62)
			return -EOPNOTSUPP;
		uint64_t chunk = off >> bits, at = (in->body + unit - 1) / unit * unit;
		uint8_t p[8] = { 0 };
		if (chunk > fs->size / unit)
			return -EUCLEAN;
		int r = get(fs, at + chunk * unit, p, unit);
		if (r < 0)
			return r;
		if (unit == 8 && get16(p + 2))
			return -EOPNOTSUPP; /* another device */
		uint32_t addr = get32(unit == 8 ? p + 4 : p);
		uint64_t in_chunk = off & (((uint64_t)1 << bits) - 1);
		*ret_len = MIN(left, ((uint64_t)1 << bits) - in_chunk);
		*ret_at = addr == EROFS_NULL_ADDR ? UINT64_MAX : ((uint64_t)addr << fs->blkbits) + in_chunk;
		return 0;
	}
	uint64_t tail = in->layout == EROFS_LAYOUT_INLINE ? in->size & (blk - 1) : 0;
	if (in->layout == EROFS_LAYOUT_INLINE && !tail && in->size)
		tail = blk;
	uint64_t flat = in->size - tail;
	if (off < flat) {
		*ret_at = ((uint64_t)in->u << fs->blkbits) + off;
		*ret_len = flat - off;
	} else {
		*ret_at = in->body + (off - flat);
		*ret_len = left;
		/* An inline tail never crosses a block: the kernel refuses it. */
		if (tail && (in->body & (blk - 1)) + tail > blk)
			return -EUCLEAN;
	}
	return 0;
}

ssize_t erofs_read(const struct erofs *fs, const struct erofs_inode *in, uint64_t off, void *buf, size_t n) {
	size_t got = 0;
	if (off >= in->size)
		return 0;
	n = MIN(n, (size_t)SSIZE_MAX);
	n = (size_t)MIN((uint64_t)n, in->size - off);
	while (got < n) {
		uint64_t at, len;
		int r = map(fs, in, off + got, &at, &len);
		if (r < 0)
			return r;
		size_t k = (size_t)MIN((uint64_t)(n - got), len);
		if (at == UINT64_MAX)
			memset((uint8_t *)buf + got, 0, k);
		else if ((r = get(fs, at, (uint8_t *)buf + got, k)) < 0)
			return r;
		got += k;
	}
	return (ssize_t)got;
}

int erofs_next_data(const struct erofs *fs, const struct erofs_inode *in, uint64_t off, uint64_t *ret_off, uint64_t *ret_len) {
	*ret_len = 0;
	*ret_off = in->size;
	while (off < in->size) {
		uint64_t at, len;
		int r = map(fs, in, off, &at, &len);
		if (r < 0)
			return r;
		if (at != UINT64_MAX) {
			if (!*ret_len)
				*ret_off = off;
			*ret_len += len;
		} else if (*ret_len)
			return 0;
		off += len;
	}
	return 0;
}

/* One block of a directory, checked: number of entries in *ret_n. */
static int dir_block(const struct erofs *fs, const struct erofs_inode *dir, uint64_t blk, uint8_t *buf, size_t *ret_len, size_t *ret_n) {
	uint64_t off = blk << fs->blkbits;
	ssize_t len = erofs_read(fs, dir, off, buf, (size_t)1 << fs->blkbits);
	if (len < 0)
		return (int)len;
	if (len < EROFS_DIRENT)
		return -EUCLEAN;
	unsigned first = get16(buf + 8);
	if (first < EROFS_DIRENT || first % EROFS_DIRENT || first >= (size_t)len)
		return -EUCLEAN;
	*ret_len = (size_t)len;
	*ret_n = first / EROFS_DIRENT;
	return 0;
}

static int dir_entry(const uint8_t *buf, size_t len, size_t n, size_t i, const char **ret_name, size_t *ret_len) {
	size_t begin = get16(buf + i * EROFS_DIRENT + 8), end;
	if (begin < n * EROFS_DIRENT || begin >= len)
		return -EUCLEAN;
	if (i + 1 < n)
		end = get16(buf + (i + 1) * EROFS_DIRENT + 8);
	else
		end = begin + strnlen((const char *)buf + begin, len - begin);
	if (end <= begin || end > len || end - begin > EROFS_NAME_LEN)
		return -EUCLEAN;
	if (memchr(buf + begin, '/', end - begin) || memchr(buf + begin, 0, end - begin))
		return -EUCLEAN;
	*ret_name = (const char *)buf + begin;
	*ret_len = end - begin;
	return 0;
}

static void entry_fill(const uint8_t *buf, size_t i, const char *name, size_t len, struct erofs_entry *ret) {
	ret->nid = get64(buf + i * EROFS_DIRENT);
	ret->ftype = buf[i * EROFS_DIRENT + 10];
	memcpy(ret->name, name, len);
	ret->name[len] = '\0';
}

int erofs_readdir(const struct erofs *fs, const struct erofs_inode *dir, uint64_t *cookie, struct erofs_entry *ret) {
	uint8_t buf[1 << 16];
	/* cookie: block number above, index below */
	uint64_t blk = *cookie >> 16;
	size_t i = *cookie & 0xffff, len = 0, n = 0;
	for (;;) {
		if (blk << fs->blkbits >= dir->size)
			return 0;
		int r = dir_block(fs, dir, blk, buf, &len, &n);
		if (r < 0)
			return r;
		if (i < n)
			break;
		blk++;
		i = 0;
	}
	const char *name;
	size_t name_len;
	int r = dir_entry(buf, len, n, i, &name, &name_len);
	if (r < 0)
		return r;
	entry_fill(buf, i, name, name_len, ret);
	*cookie = blk << 16 | (i + 1);
	return 1;
}

static int compare(const char *a, size_t an, const char *b, size_t bn) {
	int c = memcmp(a, b, MIN(an, bn));
	return c ? c : (an > bn) - (an < bn);
}

int erofs_lookup(const struct erofs *fs, const struct erofs_inode *dir, const char *name, size_t len, struct erofs_entry *ret) {
	uint8_t buf[1 << 16];
	uint64_t blocks = (dir->size + ((uint64_t)1 << fs->blkbits) - 1) >> fs->blkbits, lo = 0, hi = blocks;
	if (!S_ISDIR(dir->mode))
		return -ENOTDIR;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		size_t blen = 0, n = 0, k = 0, at = 0, end;
		const char *s = "";
		int r = dir_block(fs, dir, mid, buf, &blen, &n);
		if (r >= 0)
			r = dir_entry(buf, blen, n, 0, &s, &k);
		if (r < 0)
			return r;
		if (compare(name, len, s, k) < 0) {
			hi = mid;
			continue;
		}
		for (end = n; at < end;) {
			size_t m = at + (end - at) / 2;
			r = dir_entry(buf, blen, n, m, &s, &k);
			if (r < 0)
				return r;
			int c = compare(name, len, s, k);
			if (c == 0) {
				entry_fill(buf, m, s, k, ret);
				return 0;
			}
			if (c < 0)
				end = m;
			else
				at = m + 1;
		}
		if (at < n)
			return -ENOENT;
		lo = mid + 1;
	}
	return -ENOENT;
}

static const char *const xattr_prefix[] = {
	[EROFS_XATTR_USER] = "user.", [EROFS_XATTR_ACL_ACCESS] = "system.posix_acl_access", [EROFS_XATTR_ACL_DEFAULT] = "system.posix_acl_default",
	[EROFS_XATTR_TRUSTED] = "trusted.", [EROFS_XATTR_SECURITY] = "security.",
};

static int xattr_entry(const struct erofs *fs, uint64_t at, uint64_t end, char *name, void *value, size_t cap, size_t *ret_len, uint64_t *ret_size) {
	uint8_t h[4];
	if (end - at < sizeof(h))
		return -EUCLEAN;
	int r = get(fs, at, h, sizeof(h));
	if (r < 0)
		return r;
	size_t nlen = h[0], vlen = get16(h + 2);
	uint64_t size = (sizeof(h) + nlen + vlen + 3) & ~(uint64_t)3;
	if (size > end - at)
		return -EUCLEAN;
	*ret_size = size;
	*ret_len = vlen;
	if (h[1] >= ARRAY_SIZE(xattr_prefix) || !xattr_prefix[h[1]])
		return -ENODATA; /* an index of a newer kernel: skipped by the caller */
	size_t p = strlen(xattr_prefix[h[1]]);
	memcpy(name, xattr_prefix[h[1]], p);
	r = get(fs, at + sizeof(h), name + p, nlen);
	if (r < 0)
		return r;
	name[p + nlen] = '\0';
	if (value) {
		if (vlen > cap)
			return -ERANGE;
		r = get(fs, at + sizeof(h) + nlen, value, vlen);
	}
	return r < 0 ? r : 0;
}

int erofs_next_xattr(const struct erofs *fs, const struct erofs_inode *in, uint32_t *cookie, char name[EROFS_XATTR_NAME_MAX], void *value, size_t cap,
		     size_t *ret_len) {
	uint8_t h[EROFS_XATTR_HEADER];
	if (in->xattr_len < EROFS_XATTR_HEADER)
		return 0;
	int r = get(fs, in->xattr_off, h, sizeof(h));
	if (r < 0)
		return r;
	uint32_t shared = h[4], first = EROFS_XATTR_HEADER + 4 * shared;
	if (first > in->xattr_len)
		return -EUCLEAN;
	uint64_t size = 0;
	/* cookie below `shared` walks the shared ones, then it is an offset into the inode's own. */
	while (*cookie < shared) {
		uint8_t id[4];
		r = get(fs, in->xattr_off + EROFS_XATTR_HEADER + 4 * (uint64_t)*cookie, id, 4);
		if (r < 0)
			return r;
		uint64_t at = fs->xattr + 4 * (uint64_t)get32(id);
		if (at > fs->size)
			return -EUCLEAN;
		r = xattr_entry(fs, at, fs->size, name, value, cap, ret_len, &size);
		if (r == -ERANGE)
			return r;
		++*cookie;
		if (r != -ENODATA)
			return r < 0 ? r : 1;
	}
	uint32_t at = *cookie <= shared ? first : *cookie;
	while (at < in->xattr_len) {
		r = xattr_entry(fs, in->xattr_off + at, in->xattr_off + in->xattr_len, name, value, cap, ret_len, &size);
		if (r == -ERANGE || (r < 0 && r != -ENODATA))
			return r;
		at += (uint32_t)size;
		*cookie = at;
		if (r == 0)
			return 1;
	}
	*cookie = at;
	return 0;
}
