/* Hostile EROFS images through every call of the reader. */
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "wire/erofs_read.h"

struct bytes {
	const uint8_t *p;
	size_t n;
};

static int get(void *ctx, uint64_t off, void *buf, size_t n) {
	struct bytes *b = ctx;
	if (off > b->n || n > b->n - off)
		return -5;
	memcpy(buf, b->p + off, n);
	return 0;
}

static unsigned budget;

static void visit(const struct erofs *fs, uint64_t nid, unsigned depth) {
	struct erofs_inode in;
	struct erofs_entry en;
	char name[EROFS_XATTR_NAME_MAX];
	uint8_t buf[5000];
	uint32_t x = 0;
	uint64_t cookie = 0, off, len;
	size_t vlen;
	if (!budget || erofs_inode_get(fs, nid, &in) < 0)
		return;
	budget--;
	for (unsigned i = 0; i < 50 && erofs_next_xattr(fs, &in, &x, name, buf, sizeof(buf), &vlen) > 0; i++)
		;
	if (erofs_read(fs, &in, 0, buf, sizeof(buf)) < 0 || erofs_read(fs, &in, in.size / 2, buf, 100) < 0)
		budget -= budget > 0;
	if (in.size < 1 << 24 && erofs_next_data(fs, &in, 0, &off, &len) < 0)
		return;
	if ((in.mode & 0170000) != 0040000 || depth > 20)
		return;
	for (unsigned i = 0; i < 200 && budget && erofs_readdir(fs, &in, &cookie, &en) > 0; i++) {
		struct erofs_entry f;
		if (erofs_lookup(fs, &in, en.name, strlen(en.name), &f) < 0)
			f.nid = 0;
		if (!streq(en.name, ".") && !streq(en.name, ".."))
			visit(fs, en.nid, depth + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct bytes b = { data, size };
	struct erofs fs;
	budget = 300;
	if (erofs_open(&fs, get, &b, size, NULL) >= 0)
		visit(&fs, fs.root_nid, 0);
	return 0;
}
