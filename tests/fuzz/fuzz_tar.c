/* Tar streams into the EROFS writer, and the image that comes out through the reader: whatever is accepted must be readable. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "wire/erofs_read.h"
#include "wire/erofs_write.h"

struct input {
	const uint8_t *p;
	size_t n, at;
};

static ssize_t fill(void *ctx, const uint8_t **ret, struct err *e) {
	struct input *in = ctx;
	(void)e;
	size_t k = in->n - in->at;
	k = k > 700 ? 700 : k; /* spans that cut blocks */
	*ret = in->p + in->at;
	in->at += k;
	return (ssize_t)k;
}

enum { IMAGE_MAX = 8 << 20 };
static uint8_t *image;
static size_t image_len;

static int put(void *ctx, uint64_t off, const void *data, size_t n) {
	(void)ctx;
	if (off > IMAGE_MAX || n > IMAGE_MAX - off)
		return -28;
	memcpy(image + off, data, n);
	image_len = off + n > image_len ? off + n : image_len;
	return 0;
}

static int get(void *ctx, uint64_t off, void *buf, size_t n) {
	(void)ctx;
	if (off > IMAGE_MAX || n > IMAGE_MAX - off)
		return -5;
	memcpy(buf, image + off, n);
	return 0;
}

static void walk(const struct erofs *fs, uint64_t nid, unsigned depth) {
	struct erofs_inode in;
	struct erofs_entry en;
	uint64_t cookie = 0;
	if (erofs_inode_get(fs, nid, &in) < 0)
		abort();
	if ((in.mode & 0170000) != 0040000 || depth > 3000)
		return;
	int r;
	while ((r = erofs_readdir(fs, &in, &cookie, &en)) > 0) {
		struct erofs_entry found;
		if (erofs_lookup(fs, &in, en.name, strlen(en.name), &found) < 0 || found.nid != en.nid)
			abort();
		if (!streq(en.name, ".") && !streq(en.name, ".."))
			walk(fs, en.nid, depth + 1);
	}
	if (r < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct input in = { data, size, 0 };
	struct err e = ERR_INIT;
	struct tar_entry te;
	struct erofs_result res;
	if (!image)
		image = malloc(IMAGE_MAX);
	memset(image, 0, image_len ? image_len : 1);
	image_len = 0;
	struct tar_reader *t = tar_reader_new(fill, NULL, &in);
	struct erofs_writer *w = erofs_writer_new(put, NULL);
	int r;
	while ((r = tar_next(t, &te, &e)) > 0) {
		const struct erofs_attr a = { te.mode, te.uid, te.gid, te.major, te.minor, te.mtime, te.mtime_ns, te.xattrs, te.n_xattrs };
		uint64_t nid;
		const uint8_t *p;
		ssize_t n;
		switch (te.type) {
		case TAR_DIR: r = erofs_add_dir(w, te.path, &a, &e); break;
		case TAR_SYMLINK: r = erofs_add_symlink(w, te.path, &a, te.link, &e); break;
		case TAR_HARDLINK: r = erofs_add_hardlink(w, te.path, te.link, &e); break;
		case TAR_FILE:
			r = erofs_add_file(w, te.path, &a, te.size, te.sparse ? te.extents : NULL, te.n_extents, &nid, &e);
			while (r >= 0 && (n = tar_data(t, &p, &e)) != 0)
				r = n < 0 ? (int)n : erofs_file_data(w, p, (size_t)n, &e);
			break;
		default: r = erofs_add_special(w, te.path, &a, te.type, &e); break;
		}
		if (r < 0)
			break;
	}
	uint8_t uuid[16] = { 0 };
	if (r >= 0 && erofs_writer_finish(w, uuid, &res, &e) >= 0 && res.size <= IMAGE_MAX) {
		struct erofs fs;
		if (erofs_open(&fs, get, NULL, res.size, &e) < 0)
			abort();
		walk(&fs, fs.root_nid, 0);
	}
	tar_reader_free(t);
	erofs_writer_free(w);
	err_clear(&e);
	return 0;
}
