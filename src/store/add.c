/* Layers and images into the store; shared by pull, load, import and commit. See pull.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "store/index.h"
#include "store/pull.h"
#include "store/snapshot.h"

/* Howard Hinnant's days_from_civil (public domain algorithm): valid for all years. */
int64_t parse_rfc3339(const char *s) {
	int y, m, d, hh, mm, ss, n = 0;
	if (sscanf(s, "%4d-%2d-%2dT%2d:%2d:%2d%n", &y, &m, &d, &hh, &mm, &ss, &n) != 6 || m < 1 || m > 12 || d < 1 || d > 31)
		return 0;
	int yy = m <= 2 ? y - 1 : y;
	int era = (yy >= 0 ? yy : yy - 399) / 400, yoe = yy - era * 400;
	int doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1, doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	int64_t t = ((int64_t)era * 146097 + doe - 719468) * 86400 + hh * 3600 + mm * 60 + ss;
	const char *z = s + n;
	if (*z == '.')
		z += 1 + strspn(z + 1, "0123456789");
	int oh, om;
	if ((*z == '+' || *z == '-') && sscanf(z + 1, "%2d:%2d", &oh, &om) == 2)
		t -= (*z == '-' ? -1 : 1) * (oh * 3600 + om * 60);
	return t;
}

static int unpack(struct store *s, const struct layer_input *in, struct layer_info *info, char image_name[64], char split_name[64], int *ret_image,
		  int *ret_split, struct err *e) {
	struct layer_source src = { 0 };
	_cleanup_close_ int image = store_tmpfile(s, image_name, e), split = -EBADF;
	if (image < 0)
		return image;
	split = store_tmpfile(s, split_name, e);
	if (split < 0)
		return split;
	int r = in->open(in->ctx, &src, e);
	if (r < 0)
		return r;
	src.digest = in->digest;
	src.diffid = in->diffid;
	r = layer_unpack(&src, image, split, info, e);
	in->close(in->ctx, r < 0);
	if (r < 0) {
		unlinkat(s->session_fd, image_name, 0);
		unlinkat(s->session_fd, split_name, 0);
		return r;
	}
	*ret_image = TAKE_FD(image);
	*ret_split = TAKE_FD(split);
	return 0;
}

static int commit_layer(struct store *s, const struct layer_info *info, int image, int split, const char *image_name, const char *split_name, struct err *e) {
	char name[DIGEST_HEX + 16];
	snprintf(name, sizeof(name), "%s.split", digest_hex(info->diffid));
	if (fsync(split) < 0 || fsync(image) < 0)
		return err_sys(e, errno, "sync layer");
	if (renameat(s->session_fd, split_name, s->layers, name) < 0)
		return err_sys(e, errno, "rename to %s", name);
	snprintf(name, sizeof(name), "%s.erofs", digest_hex(info->diffid));
	if (renameat(s->session_fd, image_name, s->layers, name) < 0)
		return err_sys(e, errno, "rename to %s", name);
	return fsync(s->layers) < 0 ? err_sys(e, errno, "sync %s/layers", s->root) : 0;
}

static void fill_row(struct layer_row *ret, const struct layer_input *in, const struct layer_info *info) {
	static const char *const by_kind[] = {
		[COMPRESSION_NONE] = "application/vnd.oci.image.layer.v1.tar", [COMPRESSION_GZIP] = "application/vnd.oci.image.layer.v1.tar+gzip",
		[COMPRESSION_ZSTD] = "application/vnd.oci.image.layer.v1.tar+zstd",
	};
	snprintf(ret->diffid, sizeof(ret->diffid), "%s", info->diffid);
	snprintf(ret->digest, sizeof(ret->digest), "%s", in->digest ? in->digest : in->repo ? info->digest : "");
	snprintf(ret->media_type, sizeof(ret->media_type), "%s", in->media_type ? in->media_type : by_kind[info->kind]);
	ret->blob_size = info->blob_size;
	ret->tar_size = info->tar_size;
	ret->image_size = info->image_size;
}

int store_add_layer(struct store *s, const struct layer_input *in, struct layer_row *ret, struct err *e) {
	_cleanup_close_ int lock = -EBADF, image = -EBADF, split = -EBADF;
	struct layer_info info;
	char image_name[64], split_name[64];
	int r;
	memset(ret, 0, sizeof(*ret));
	if (in->diffid) {
		r = index_lease_layer(s, in->diffid, ret, e); /* before the lock: the common case needs none */
		if (r == 0) {
			lock = store_lock(s, in->diffid, true, e);
			if (lock < 0)
				return lock;
			r = index_lease_layer(s, in->diffid, ret, e); /* another process may have brought it meanwhile */
		}
		if (r != 0)
			return r;
	}
	r = unpack(s, in, &info, image_name, split_name, &image, &split, e);
	if (r < 0)
		return r;
	if (!in->diffid) {
		lock = store_lock(s, info.diffid, true, e);
		if (lock < 0)
			return lock;
		r = index_lease_layer(s, info.diffid, ret, e);
		if (r != 0) {
			unlinkat(s->session_fd, image_name, 0);
			unlinkat(s->session_fd, split_name, 0);
			if (r > 0)
				fill_row(ret, in, &info);
			return r;
		}
	}
	r = commit_layer(s, &info, image, split, image_name, split_name, e);
	if (r < 0)
		return r;
	fill_row(ret, in, &info);
	return index_add_layer(s, ret, in->repo, e);
}

int store_add_image(struct store *s, const char *config, size_t config_len, const char *manifest, size_t manifest_len, const struct layer_row *layers,
		    size_t n_layers, const char *name, const char *digest_name, char ret_id[DIGEST_MAX], struct err *e) {
	struct image_config cfg = { .arena = ARENA_INIT };
	struct image_row row = { .n_layers = n_layers };
	digest_of(config, config_len, row.id);
	digest_of(manifest, manifest_len, row.manifest);
	int r = image_config_parse(config, config_len, &cfg, e);
	if (r < 0) {
		image_config_free(&cfg);
		return r;
	}
	snprintf(row.os, sizeof(row.os), "%s", cfg.os);
	snprintf(row.arch, sizeof(row.arch), "%s", cfg.arch);
	snprintf(row.variant, sizeof(row.variant), "%s", cfg.variant);
	row.created = parse_rfc3339(cfg.created);
	image_config_free(&cfg);
	for (size_t i = 0; i < n_layers; i++)
		row.size += layers[i].tar_size;
	/* Leases first: a garbage collection by somebody else must not take the blobs before the image row names them. */
	r = index_lease(s, row.id, e);
	if (r >= 0)
		r = index_lease(s, row.manifest, e);
	if (r >= 0)
		r = store_put_blob(s, row.id, config, config_len, e);
	if (r >= 0)
		r = store_put_blob(s, row.manifest, manifest, manifest_len, e);
	struct image_add add = { &row, layers, name, digest_name };
	if (r >= 0)
		r = index_add_image(s, &add, e);
	if (r >= 0)
		memcpy(ret_id, row.id, DIGEST_MAX);
	return r;
}
