/* Tar reader: see tar.h. Format facts: POSIX.1-2017 pax, "ustar Interchange Format"; GNU tar manual, appendix "Tar Internals". */
#include "wire/tar.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "wire/tar_priv.h"

struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8], typeflag, linkname[100];
	char magic[6], version[2], uname[32], gname[32], devmajor[8], devminor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == TAR_BLOCK, "a tar header is one block");

struct tar_reader *tar_reader_new(tar_fill_fn fill, tar_raw_fn raw, void *ctx) {
	struct tar_reader *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->fill = fill;
	t->raw = raw;
	t->ctx = ctx;
	return t;
}

void tar_reader_free(struct tar_reader *t) {
	if (!t)
		return;
	pax_reset(t);
	strbuf_free(&t->path);
	strbuf_free(&t->link);
	strbuf_free(&t->pax);
	free(t->xattrs);
	free(t->extents);
	free(t);
}

/* Lends up to max bytes; 0 at the end of the stream. */
static ssize_t span(struct tar_reader *t, size_t max, const uint8_t **ret, struct err *e) {
	while (t->have == 0) {
		if (t->eof)
			return 0;
		ssize_t n = t->fill(t->ctx, &t->p, e);
		if (n < 0)
			return n;
		if (n == 0)
			t->eof = true;
		t->have = (size_t)n;
	}
	size_t n = MIN(max, t->have);
	*ret = t->p;
	t->p += n;
	t->have -= n;
	t->offset += n;
	return (ssize_t)n;
}

static int raw_out(struct tar_reader *t, const void *p, size_t n, struct err *e) {
	int r = t->raw ? t->raw(t->ctx, p, n) : 0;
	return r < 0 ? err_sys(e, r, "record tar headers") : 0;
}

/* n bytes of metadata into buf, passed on to raw. Returns n, 0 at a clean end of stream, -EBADMSG when it ends midway. */
ssize_t tar_meta(struct tar_reader *t, void *buf, size_t n, struct err *e) {
	size_t got = 0;
	while (got < n) {
		const uint8_t *p;
		ssize_t k = span(t, n - got, &p, e);
		if (k < 0)
			return k;
		if (k == 0) {
			if (got == 0)
				return 0;
			return err_set(e, EBADMSG, "tar: the archive ends in the middle of a header at byte %llu", (unsigned long long)t->offset);
		}
		memcpy((uint8_t *)buf + got, p, (size_t)k);
		got += (size_t)k;
	}
	int r = raw_out(t, buf, n, e);
	return r < 0 ? r : (ssize_t)n;
}

static int skip(struct tar_reader *t, uint64_t n, struct err *e) {
	while (n) {
		const uint8_t *p;
		ssize_t k = span(t, (size_t)MIN(n, (uint64_t)1 << 20), &p, e);
		if (k < 0)
			return (int)k;
		if (k == 0)
			return err_set(e, EBADMSG, "tar: the archive ends inside an entry at byte %llu", (unsigned long long)t->offset);
		int r = raw_out(t, p, (size_t)k, e);
		if (r < 0)
			return r;
		n -= (uint64_t)k;
	}
	return 0;
}

/* Octal with blanks around it, or GNU base-256 (first bit set). */
static int number(const char *f, size_t n, int64_t *ret) {
	const uint8_t *p = (const uint8_t *)f;
	if (p[0] & 0x80) {
		bool neg = p[0] & 0x40;
		uint64_t v = neg ? UINT64_MAX : 0;
		for (size_t i = 0; i < n; i++) {
			uint8_t b = i == 0 ? (uint8_t)(neg ? p[0] | 0x80 : p[0] & 0x7f) : p[i];
			if (i + 8 < n) {
				if (b != (neg ? 0xff : 0) && !(i == 0 && neg))
					return -ERANGE;
				continue;
			}
			v = v << 8 | b;
		}
		if (!neg && v > INT64_MAX)
			return -ERANGE;
		*ret = (int64_t)v;
		return 0;
	}
	size_t i = 0;
	while (i < n && (p[i] == ' ' || p[i] == '\0'))
		i++;
	uint64_t v = 0;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++) {
		if (v >> 60)
			return -ERANGE;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	while (i < n && (p[i] == ' ' || p[i] == '\0'))
		i++;
	if (i != n)
		return -EINVAL;
	*ret = (int64_t)v;
	return 0;
}

static bool checksum_ok(const struct header *h) {
	const uint8_t *p = (const uint8_t *)h;
	int64_t want, u = 0, s = 0;
	if (number(h->chksum, sizeof(h->chksum), &want) < 0)
		return false;
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		uint8_t b = i >= 148 && i < 156 ? ' ' : p[i];
		u += b;
		s += (int8_t)b; /* some old writers summed signed chars */
	}
	return want == u || want == s;
}

static int set_name(struct strbuf *b, const char *s, size_t n) {
	strbuf_clear(b);
	return strbuf_add(b, s, strnlen(s, n));
}

static int numeric_fields(const struct header *h, struct tar_entry *te, uint64_t *size, struct err *e) {
	int64_t mode, uid, gid, sz, mtime, maj = 0, min = 0;
	if (number(h->mode, sizeof(h->mode), &mode) < 0 || number(h->uid, sizeof(h->uid), &uid) < 0 || number(h->gid, sizeof(h->gid), &gid) < 0 ||
	    number(h->size, sizeof(h->size), &sz) < 0 || number(h->mtime, sizeof(h->mtime), &mtime) < 0)
		return err_set(e, EBADMSG, "tar: malformed number in a header");
	if (memcmp(h->magic, "ustar", 5) == 0 && (te->type == TAR_CHAR || te->type == TAR_BLOCKDEV))
		if (number(h->devmajor, sizeof(h->devmajor), &maj) < 0 || number(h->devminor, sizeof(h->devminor), &min) < 0)
			return err_set(e, EBADMSG, "tar: malformed device number");
	if (sz < 0 || uid < 0 || gid < 0 || uid > UINT32_MAX || gid > UINT32_MAX || maj < 0 || maj > 0xfff || min < 0 || min > 0xfffff)
		return err_set(e, EBADMSG, "tar: number out of range in a header");
	*size = (uint64_t)sz;
	te->mode = (uint32_t)mode & 07777;
	te->uid = (uint32_t)uid;
	te->gid = (uint32_t)gid;
	te->major = (uint32_t)maj;
	te->minor = (uint32_t)min;
	te->mtime = mtime;
	return 0;
}

/* GNU long name ('L', 'K') and pax payloads into b. */
static int payload_text(struct tar_reader *t, struct strbuf *b, uint64_t size, size_t max, struct err *e) {
	if (size > max)
		return err_set(e, E2BIG, "tar: extended header of %llu bytes is over the limit of %zu", (unsigned long long)size, max);
	size_t pad = tar_padding(size);
	strbuf_clear(b);
	char buf[4096];
	for (uint64_t left = size; left;) {
		size_t n = (size_t)MIN(left, (uint64_t)sizeof(buf));
		ssize_t k = tar_meta(t, buf, n, e);
		if (k <= 0)
			return k < 0 ? (int)k : err_set(e, EBADMSG, "tar: the archive ends inside an extended header");
		if (strbuf_add(b, buf, n) < 0)
			return err_set(e, ENOMEM, "tar: out of memory");
		left -= n;
	}
	return skip(t, pad, e);
}

/* The end: drain what follows, as writers pad to a record of 20 blocks and the digest covers it. */
static int drain(struct tar_reader *t, struct err *e) {
	for (;;) {
		const uint8_t *p;
		ssize_t k = span(t, SIZE_MAX, &p, e);
		if (k <= 0)
			return (int)k;
		int r = raw_out(t, p, (size_t)k, e);
		if (r < 0)
			return r;
	}
}

static bool all_zero(const void *p, size_t n) {
	const uint8_t *b = p;
	return b[0] == 0 && memcmp(b, b + 1, n - 1) == 0;
}

/* Reads headers until a real entry: 1, 0 at the end, or negative errno. The L, K, x headers before it are collected. */
static int read_header(struct tar_reader *t, struct header *h, bool *long_name, bool *long_link, struct err *e) {
	for (;;) {
		ssize_t n = tar_meta(t, h, sizeof(*h), e);
		if (n < 0)
			return (int)n;
		if (n == 0 || all_zero(h, sizeof(*h))) {
			/* One zero block ends it too: GNU tar warns about "a lone zero block" and stops. */
			return drain(t, e);
		}
		if (!checksum_ok(h))
			return err_set(e, EBADMSG, "tar: bad header checksum at byte %llu (not a tar archive, or damaged)", (unsigned long long)(t->offset - TAR_BLOCK));
		int64_t size;
		if (number(h->size, sizeof(h->size), &size) < 0 || size < 0)
			return err_set(e, EBADMSG, "tar: malformed size in a header");
		int r = 0;
		switch (h->typeflag) {
		case 'L':
		case 'K': {
			struct strbuf *b = h->typeflag == 'L' ? &t->path : &t->link;
			r = payload_text(t, b, (uint64_t)size, TAR_MAX_PATH + 1, e);
			if (r >= 0) {
				b->len = strlen(strbuf_str(b));
				*(h->typeflag == 'L' ? long_name : long_link) = true;
			}
			break;
		}
		case 'x':
			r = payload_text(t, &t->pax, (uint64_t)size, TAR_MAX_PAX, e);
			if (r >= 0)
				r = pax_parse(t, e);
			break;
		case 'g': /* global defaults: only comments in practice (git archive); engines ignore them */
			r = payload_text(t, &t->pax, (uint64_t)size, TAR_MAX_PAX, e);
			break;
		default:
			return 1;
		}
		if (r < 0)
			return r;
	}
}

static int entry_names(struct tar_reader *t, const struct header *h, bool long_name, bool long_link, struct err *e) {
	bool posix = memcmp(h->magic, "ustar\0", 6) == 0; /* GNU's "ustar  " uses the prefix field for other things */
	int r = 0;
	if (!t->pax_path && !long_name) {
		strbuf_clear(&t->path);
		if (posix && h->prefix[0]) {
			r = strbuf_add(&t->path, h->prefix, strnlen(h->prefix, sizeof(h->prefix)));
			if (r >= 0)
				r = strbuf_putc(&t->path, '/');
		}
		if (r >= 0)
			r = strbuf_add(&t->path, h->name, strnlen(h->name, sizeof(h->name)));
	}
	if (r >= 0 && !t->pax_link && !long_link)
		r = set_name(&t->link, h->linkname, sizeof(h->linkname));
	if (r < 0)
		return err_set(e, ENOMEM, "tar: out of memory");
	if (t->path.len >= TAR_MAX_PATH || t->link.len >= TAR_MAX_PATH)
		return err_set(e, ENAMETOOLONG, "tar: name of more than %d bytes", TAR_MAX_PATH - 1);
	return 0;
}

static int entry_type(struct tar_reader *t, const struct header *h, struct tar_entry *te, struct err *e) {
	switch (h->typeflag) {
	case '\0':
	case '0':
	case '7': /* contiguous file */
	case 'S': /* GNU sparse */
		/* v7: a regular file whose name ends in '/' is a directory. */
		te->type = t->path.len && t->path.s[t->path.len - 1] == '/' && !t->sparse_pax ? TAR_DIR : TAR_FILE;
		return 0;
	case '1': case '2': case '3': case '4': case '5': case '6':
		te->type = (enum tar_type)h->typeflag;
		return 0;
	default:
		return err_set(e, EBADMSG, "tar: %s: unknown entry type '%c' (0x%02x)", strbuf_str(&t->path),
			       h->typeflag >= ' ' && h->typeflag < 127 ? h->typeflag : '?', (unsigned char)h->typeflag);
	}
}

/* Old GNU sparse: four pieces in the header at byte 386, then blocks of 21 while "isextended" says so. */
static int gnu_sparse(struct tar_reader *t, const struct header *h, uint64_t *apparent, struct err *e) {
	const char *raw = (const char *)h;
	char block[TAR_BLOCK];
	const char *p = raw + 386;
	size_t n = 4;
	char more = raw[482];
	int64_t real;
	if (number(raw + 483, 12, &real) < 0 || real < 0)
		return err_set(e, EBADMSG, "tar: malformed size of a sparse file");
	for (;;) {
		for (size_t i = 0; i < n; i++, p += 24) {
			int64_t off, len;
			if (p[0] == '\0')
				break;
			if (number(p, 12, &off) < 0 || number(p + 12, 12, &len) < 0 || off < 0 || len < 0)
				return err_set(e, EBADMSG, "tar: malformed sparse map");
			int r = sparse_push(t, (uint64_t)off, (uint64_t)len, e);
			if (r < 0)
				return r;
		}
		if (!more)
			break;
		ssize_t k = tar_meta(t, block, sizeof(block), e);
		if (k <= 0)
			return k < 0 ? (int)k : err_set(e, EBADMSG, "tar: the archive ends inside a sparse map");
		p = block;
		n = 21;
		more = block[504];
	}
	*apparent = (uint64_t)real;
	return 0;
}

static int sparse_entry(struct tar_reader *t, const struct header *h, struct tar_entry *te, struct err *e) {
	int r = 0;
	if (h->typeflag == 'S')
		r = gnu_sparse(t, h, &te->size, e);
	else if (t->sparse_pax) {
		te->size = t->sparse_realsize;
		if (t->sparse_major == 1)
			r = sparse_map_1_0(t, &t->left, e);
	} else
		return 0;
	if (r < 0)
		return r;
	te->stored = t->left;
	te->sparse = true;
	return sparse_check(t, te, e);
}

int tar_next(struct tar_reader *t, struct tar_entry *ret, struct err *e) {
	int r = skip(t, t->left, e); /* payload that nobody took belongs to the raw bytes */
	if (r >= 0)
		r = skip(t, t->pad, e);
	if (r < 0)
		return r;
	t->left = t->pad = 0;
	pax_reset(t);
	struct header h;
	struct tar_entry te = { 0 };
	bool long_name = false, long_link = false;
	r = read_header(t, &h, &long_name, &long_link, e);
	if (r <= 0)
		return r;
	uint64_t size = 0;
	r = entry_names(t, &h, long_name, long_link, e);
	if (r >= 0)
		r = entry_type(t, &h, &te, e);
	if (r >= 0)
		r = numeric_fields(&h, &te, &size, e);
	if (r < 0)
		return r;
	if (t->pax_size_set)
		size = t->pax_size;
	if (t->pax_uid_set)
		te.uid = t->pax_uid;
	if (t->pax_gid_set)
		te.gid = t->pax_gid;
	if (t->pax_mtime_set) {
		te.mtime = t->pax_mtime;
		te.mtime_ns = t->pax_mtime_ns;
	}
	if (size > INT64_MAX - TAR_BLOCK)
		return err_set(e, EBADMSG, "tar: impossible size of an entry");
	/* Links may carry a size without payload (old GNU, star); pax allows payload on hard links, which no image writer makes. */
	if (te.type != TAR_FILE)
		size = te.type == TAR_HARDLINK || te.type == TAR_SYMLINK || te.type == TAR_DIR ? 0 : size;
	t->left = size;
	t->pad = tar_padding(size);
	te.size = te.stored = size;
	if (te.type == TAR_FILE)
		r = sparse_entry(t, &h, &te, e);
	if (r < 0)
		return err_wrap(e, r, "%s", strbuf_str(&t->path));
	te.path = strbuf_str(&t->path);
	te.link = strbuf_str(&t->link);
	te.xattrs = t->xattrs;
	te.n_xattrs = t->n_xattrs;
	te.extents = t->extents;
	te.n_extents = t->n_extents;
	*ret = te;
	return 1;
}

ssize_t tar_data(struct tar_reader *t, const uint8_t **ret, struct err *e) {
	if (t->left == 0)
		return 0;
	ssize_t n = span(t, (size_t)MIN(t->left, (uint64_t)SSIZE_MAX), ret, e);
	if (n == 0)
		return err_set(e, EBADMSG, "tar: the archive ends inside an entry at byte %llu", (unsigned long long)t->offset);
	if (n > 0)
		t->left -= (uint64_t)n;
	return n;
}
