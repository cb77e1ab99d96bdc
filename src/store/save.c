/* Archives out: docker's (manifest.json beside layers) and OCI layouts, as a tar stream or a folder. See push.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store/edit.h"
#include "store/push.h"
#include "store/snapshot.h"
#include "sys/fd.h"
#include "wire/json.h"

enum { BUF = 256 * 1024 };

struct save {
	struct store *s;
	const struct save_opts *o;
	int fd, dir; /* stream, or folder */
	struct strbuf header;
	uint8_t *buf;
	char **written; /* names that are out */
	size_t n_written;
};

static bool seen(struct save *sv, const char *name) {
	for (size_t i = 0; i < sv->n_written; i++)
		if (streq(sv->written[i], name))
			return true;
	return strv_push(&sv->written, &sv->n_written, name) < 0;
}

/* Begins a member of size bytes; *ret_fd is where its bytes go. */
static int member_begin(struct save *sv, const char *name, uint64_t size, int *ret_fd, struct err *e) {
	if (sv->dir >= 0) {
		int fd = openat(sv->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
		if (fd < 0)
			return err_sys(e, errno, "%s", name);
		*ret_fd = fd;
		return 0;
	}
	struct tar_entry te = { .type = TAR_FILE, .path = name, .link = "", .mode = 0444, .size = size };
	strbuf_clear(&sv->header);
	int r = tar_put_header(&sv->header, &te);
	if (r >= 0)
		r = fd_write_all(sv->fd, sv->header.s, sv->header.len);
	*ret_fd = sv->fd;
	return r < 0 ? err_sys(e, r, "write archive") : 0;
}

static int member_end(struct save *sv, int fd, uint64_t size, struct err *e) {
	static const uint8_t zero[TAR_BLOCK];
	if (sv->dir >= 0)
		return close(fd) < 0 ? err_sys(e, errno, "write archive") : 0;
	int r = fd_write_all(sv->fd, zero, tar_padding(size));
	return r < 0 ? err_sys(e, r, "write archive") : 0;
}

static int put_bytes(struct save *sv, const char *name, const void *data, size_t n, struct err *e) {
	int fd;
	if (seen(sv, name))
		return 0;
	int r = member_begin(sv, name, n, &fd, e);
	if (r >= 0 && (r = fd_write_all(fd, data, n)) < 0)
		err_sys(e, r, "write archive");
	return r < 0 ? r : member_end(sv, fd, n, e);
}

static int put_plain_layer(struct save *sv, const struct layer_row *l, const char *name, struct err *e) {
	_cleanup_close_ int image = store_open_layer(sv->s, l->diffid, ".erofs", e), split = -EBADF;
	struct layer_tar *t = NULL;
	int fd = -EBADF;
	if (image < 0 || (split = store_open_layer(sv->s, l->diffid, ".split", e)) < 0)
		return MIN(image, split);
	int r = layer_tar_open(image, split, &t, e);
	if (r >= 0)
		r = member_begin(sv, name, l->tar_size, &fd, e);
	uint64_t sum = 0;
	while (r >= 0) {
		ssize_t n = layer_tar_read(t, sv->buf, BUF, e);
		if (n <= 0) {
			r = (int)n;
			break;
		}
		sum += (uint64_t)n;
		r = fd_write_all(fd, sv->buf, (size_t)n);
		if (r < 0)
			err_sys(e, r, "write archive");
	}
	layer_tar_close(t);
	if (r >= 0 && sum != l->tar_size)
		r = err_set(e, EUCLEAN, "layer %s has %llu bytes instead of %llu", l->diffid, (unsigned long long)sum, (unsigned long long)l->tar_size);
	return r < 0 ? r : member_end(sv, fd, l->tar_size, e);
}

/* A member's name is its digest, which is known at the end only: through a temporary file. */
static int put_packed_layer(struct save *sv, struct layer_row *l, struct err *e) {
	struct gzip_layer *g = NULL;
	char tmp[64], name[128];
	_cleanup_close_ int fd = store_tmpfile(sv->s, tmp, e);
	if (fd < 0)
		return fd;
	int out = -EBADF, r = gzip_layer_open(sv->s, l->diffid, 1, &g, e);
	ssize_t n = 0;
	while (r >= 0 && (n = gzip_layer_read(g, sv->buf, BUF, e)) > 0)
		if ((r = fd_write_all(fd, sv->buf, (size_t)n)) < 0)
			err_sys(e, r, "write archive");
	r = n < 0 ? (int)n : r;
	if (r >= 0) {
		snprintf(l->digest, sizeof(l->digest), "%s", gzip_layer_digest(g));
		snprintf(l->media_type, sizeof(l->media_type), "application/vnd.oci.image.layer.v1.tar+gzip");
		l->blob_size = gzip_layer_size(g);
		snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(l->digest));
		if (!seen(sv, name)) {
			r = member_begin(sv, name, l->blob_size, &out, e);
			if (r >= 0 && lseek(fd, 0, SEEK_SET) < 0)
				r = err_sys(e, errno, "write archive");
			while (r >= 0 && (n = fd_read_full(fd, sv->buf, BUF)) > 0)
				if ((r = fd_write_all(out, sv->buf, (size_t)n)) < 0)
					err_sys(e, r, "write archive");
			if (r >= 0)
				r = member_end(sv, out, l->blob_size, e);
		}
	}
	gzip_layer_close(g);
	unlinkat(sv->s->session_fd, tmp, 0);
	return r;
}

struct saved_image {
	struct image_row row;
	struct strbuf config, manifest;
	struct layer_row *layers;
	size_t n;
	char name[REF_MAX];
};

static void saved_free(struct saved_image *im) {
	image_row_clear(&im->row);
	strbuf_free(&im->config);
	strbuf_free(&im->manifest);
	free(im->layers);
}

static int put_layers(struct save *sv, struct saved_image *im, struct err *e) {
	char name[128];
	int r = 0;
	for (size_t i = 0; r >= 0 && i < im->n; i++) {
		struct layer_row *l = &im->layers[i];
		if (sv->o->format != ARCHIVE_DOCKER && sv->o->compress) {
			r = put_packed_layer(sv, l, e);
			continue;
		}
		snprintf(name, sizeof(name), sv->o->format == ARCHIVE_DOCKER ? "%s.tar" : "blobs/sha256/%s", digest_hex(l->diffid));
		l->digest[0] = '\0'; /* the manifest is to name the plain tar */
		if (!seen(sv, name))
			r = put_plain_layer(sv, l, name, e);
	}
	return r;
}

static int load_image(struct save *sv, const char *what, struct saved_image *im, struct err *e) {
	int r = index_find(sv->s, what, &im->row, im->name, e);
	if (r >= 0)
		r = store_get_blob(sv->s, im->row.id, &im->config, e);
	if (r >= 0)
		r = index_image_layers(sv->s, im->row.id, &im->layers, &im->n, e);
	return r;
}

static int put_docker(struct save *sv, struct saved_image *im, struct json_writer *w, struct err *e) {
	char name[128];
	int r = put_layers(sv, im, e);
	snprintf(name, sizeof(name), "%s.json", digest_hex(im->row.id));
	if (r >= 0)
		r = put_bytes(sv, name, im->config.s, im->config.len, e);
	if (r < 0)
		return r;
	jw_object(w);
	jw_kv_string(w, "Config", name);
	jw_key(w, "RepoTags");
	jw_array(w);
	if (im->name[0] && !strchr(im->name, '@'))
		jw_string(w, im->name);
	jw_array_end(w);
	jw_key(w, "Layers");
	jw_array(w);
	for (size_t i = 0; i < im->n; i++) {
		snprintf(name, sizeof(name), "%s.tar", digest_hex(im->layers[i].diffid));
		jw_string(w, name);
	}
	jw_array_end(w);
	jw_object_end(w);
	return 0;
}

static int put_oci(struct save *sv, struct saved_image *im, struct json_writer *w, struct err *e) {
	char name[128], digest[DIGEST_MAX];
	int r = put_layers(sv, im, e);
	if (r >= 0)
		r = manifest_build(im->config.s, im->config.len, im->layers, im->n, &im->manifest, e);
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(im->row.id));
	r = put_bytes(sv, name, im->config.s, im->config.len, e);
	digest_of(im->manifest.s, im->manifest.len, digest);
	snprintf(name, sizeof(name), "blobs/sha256/%s", digest_hex(digest));
	if (r >= 0)
		r = put_bytes(sv, name, im->manifest.s, im->manifest.len, e);
	jw_object(w);
	jw_kv_string(w, "mediaType", "application/vnd.oci.image.manifest.v1+json");
	jw_kv_string(w, "digest", digest);
	jw_kv_u64(w, "size", im->manifest.len);
	if (im->name[0] && !strchr(im->name, '@')) {
		jw_key(w, "annotations");
		jw_object(w);
		jw_kv_string(w, "io.containerd.image.name", im->name);
		jw_kv_string(w, "org.opencontainers.image.ref.name", im->name);
		jw_object_end(w);
	}
	jw_object_end(w);
	return r;
}

static int open_dir(struct save *sv, struct err *e) {
	if (mkdir(sv->o->dir, 0755) < 0 && errno != EEXIST)
		return err_sys(e, errno, "%s", sv->o->dir);
	sv->dir = open(sv->o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sv->dir < 0 || (mkdirat(sv->dir, "blobs", 0755) < 0 && errno != EEXIST) || (mkdirat(sv->dir, "blobs/sha256", 0755) < 0 && errno != EEXIST))
		return err_sys(e, errno, "%s", sv->o->dir);
	return 0;
}

int store_save(struct store *s, char *const *images, size_t n, int fd, const struct save_opts *o, struct err *e) {
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	static const uint8_t end[2 * TAR_BLOCK];
	struct save sv = { .s = s, .o = o, .fd = fd, .dir = -EBADF };
	_cleanup_strbuf_ struct strbuf list = STRBUF_INIT;
	struct json_writer w;
	bool docker = o->format == ARCHIVE_DOCKER;
	sv.buf = malloc(BUF);
	int r = sv.buf ? 0 : err_set(e, ENOMEM, "out of memory");
	if (r >= 0 && o->format == ARCHIVE_OCI_DIR)
		r = open_dir(&sv, e);
	jw_init(&w, &list, 0);
	if (!docker) {
		if (r >= 0)
			r = put_bytes(&sv, "oci-layout", layout, strlen(layout), e);
		jw_object(&w);
		jw_kv_u64(&w, "schemaVersion", 2);
		jw_kv_string(&w, "mediaType", "application/vnd.oci.image.index.v1+json");
		jw_key(&w, "manifests");
	}
	jw_array(&w);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		struct saved_image im = { .n = 0 };
		r = load_image(&sv, images[i], &im, e);
		if (r >= 0)
			r = docker ? put_docker(&sv, &im, &w, e) : put_oci(&sv, &im, &w, e);
		saved_free(&im);
	}
	jw_array_end(&w);
	if (!docker)
		jw_object_end(&w);
	if (r >= 0 && jw_finish(&w) < 0)
		r = err_set(e, ENOMEM, "out of memory");
	if (r >= 0)
		r = put_bytes(&sv, docker ? "manifest.json" : "index.json", list.s, list.len, e);
	if (r >= 0 && sv.dir < 0 && (r = fd_write_all(fd, end, sizeof(end))) < 0)
		err_sys(e, r, "write archive");
	cleanup_close(&sv.dir);
	strv_free(sv.written);
	strbuf_free(&sv.header);
	free(sv.buf);
	return r;
}
