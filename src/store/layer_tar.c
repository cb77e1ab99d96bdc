/* The tar of a layer again, byte for byte: the recipe's raw bytes between the contents of files read from the image. */
#include <errno.h>
#include <sys/stat.h>

#include "store/layer.h"
#include "store/split.h"

struct layer_tar {
	struct split_reader *split;
	struct erofs fs;
	struct erofs_inode in;
	int fd, kind;
	uint64_t nid, off, left;
};

int layer_pread(void *ctx, uint64_t off, void *buf, size_t n) {
	uint8_t *p = buf;
	while (n) {
		ssize_t k = pread(*(int *)ctx, p, n, (off_t)off);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : -EUCLEAN;
		p += k;
		off += (uint64_t)k;
		n -= (size_t)k;
	}
	return 0;
}

int layer_tar_open(int image_fd, int split_fd, struct layer_tar **ret, struct err *e) {
	struct stat st;
	struct layer_tar *t = calloc(1, sizeof(*t));
	if (!t || !(t->split = split_reader_new(split_fd))) {
		free(t);
		return err_set(e, ENOMEM, "out of memory");
	}
	t->fd = image_fd;
	t->kind = SPLIT_RAW;
	int r = fstat(image_fd, &st) < 0 ? err_sys(e, errno, "stat layer image") : erofs_open(&t->fs, layer_pread, &t->fd, (uint64_t)st.st_size, e);
	if (r < 0) {
		layer_tar_close(t);
		return r;
	}
	*ret = t;
	return 0;
}

ssize_t layer_tar_read(struct layer_tar *t, void *buf, size_t n, struct err *e) {
	while (!t->left) {
		if (t->kind == SPLIT_END)
			return 0;
		uint64_t nid;
		t->kind = split_next(t->split, &nid, &t->off, &t->left, e);
		if (t->kind < 0)
			return t->kind;
		if (t->kind == SPLIT_END)
			return 0;
		if (t->kind == SPLIT_FILE) {
			int r = erofs_inode_get(&t->fs, nid, &t->in);
			if (r < 0)
				return err_sys(e, r, "layer image");
		}
	}
	n = (size_t)MIN((uint64_t)n, t->left);
	ssize_t k = t->kind == SPLIT_RAW ? split_read(t->split, buf, n, e) : erofs_read(&t->fs, &t->in, t->off, buf, n);
	if (k < 0)
		return e && e->code ? k : err_sys(e, (int)k, "layer image");
	if (k == 0)
		return err_set(e, EUCLEAN, "layer image does not fit its recipe");
	t->off += (uint64_t)k;
	t->left -= (uint64_t)k;
	return k;
}

void layer_tar_close(struct layer_tar *t) {
	if (!t)
		return;
	split_reader_free(t->split);
	free(t);
}
