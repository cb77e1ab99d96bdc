/* FUSE operations on open files and directories. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tier/vm/fuse/internal.h"

static int reply_open(struct req *r, int fd, bool dir)
{
	struct fuse_open_out o = { 0 };
	int x = handle_new(r->s, fd, dir, &o.fh);
	return x < 0 ? x : reply_add(r, &o, sizeof o);
}

int op_open(struct req *r)
{
	struct fuse_open_in in;
	const void *p = req_arg(r, sizeof in);
	struct node *n = node_get(r->s, r->h.nodeid);
	if (!p || !n)
		return p ? -ESTALE : -EINVAL;
	memcpy(&in, p, sizeof in);
	if (n->type != S_IFREG)
		return n->type == S_IFDIR ? -EISDIR : -ENXIO;
	int flags = (int)in.flags & (O_ACCMODE | O_TRUNC | O_APPEND | O_DSYNC | O_SYNC);
	if (n->readonly && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
		return -EROFS;
	int fd = node_open(n, flags & ~O_APPEND); /* the guest gives offsets; O_APPEND would make pwrite(2) ignore them */
	return fd < 0 ? fd : reply_open(r, fd, false);
}

int op_create(struct req *r)
{
	struct fuse_create_in in;
	const void *p = req_arg(r, sizeof in);
	const char *name = p ? req_name(r) : NULL;
	struct node *dir, *n;
	struct stat st;
	int x = dir_for_change(r, r->h.nodeid, &dir);
	if (x < 0)
		return x;
	if (!name)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	int flags = (int)in.flags & (O_ACCMODE | O_TRUNC | O_EXCL | O_DSYNC | O_SYNC);
	switch_user(&r->h);
	int fd = openat(dir->fd, name, flags | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, in.mode & 07777);
	x = fd < 0 ? -errno : 0;
	switch_back();
	if (x < 0)
		return x;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) { /* somebody put a fifo or device there meanwhile */
		close(fd);
		return -ENXIO;
	}
	int path_fd = openat(dir->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	x = path_fd < 0 ? -errno : node_ref(r->s, path_fd, false, &n, &st);
	if (x >= 0)
		x = reply_entry(r, n, &st);
	if (x < 0) {
		close(fd);
		return x;
	}
	return reply_open(r, fd, false);
}

int op_read(struct req *r)
{
	struct fuse_read_in in;
	const void *p = req_arg(r, sizeof in);
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	struct handle *h = handle_get(r->s, in.fh, false);
	if (!h || in.size > FUSE_MAX_WRITE || in.offset > INT64_MAX)
		return h ? -EINVAL : -EBADF;
	static char buf[FUSE_MAX_WRITE]; /* requests are handled one at a time */
	ssize_t n = pread(h->fd, buf, in.size, (off_t)in.offset);
	return n < 0 ? -errno : reply_add(r, buf, (size_t)n);
}

int op_write(struct req *r)
{
	struct fuse_write_in in;
	const void *p = req_arg(r, sizeof in);
	struct fuse_write_out o = { 0 };
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	struct handle *h = handle_get(r->s, in.fh, false);
	if (!h || in.size > r->n || in.offset > INT64_MAX)
		return h ? -EINVAL : -EBADF;
	ssize_t n = pwrite(h->fd, r->arg, in.size, (off_t)in.offset);
	if (n < 0)
		return -errno;
	o.size = (uint32_t)n;
	return reply_add(r, &o, sizeof o);
}

int op_flush(struct req *r)
{
	struct fuse_flush_in in;
	const void *p = req_arg(r, sizeof in);
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	struct handle *h = handle_get(r->s, in.fh, false);
	int fd = h ? dup(h->fd) : -1; /* what close(2) would report */
	return !h ? -EBADF : fd < 0 || close(fd) < 0 ? -errno : 0;
}

int op_release(struct req *r)
{
	struct fuse_release_in in;
	const void *p = req_arg(r, sizeof in);
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	if (handle_get(r->s, in.fh, false))
		handle_drop(r->s, in.fh);
	return 0;
}

static int sync_handle(struct req *r, bool dir)
{
	struct fuse_fsync_in in;
	const void *p = req_arg(r, sizeof in);
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	struct handle *h = handle_get(r->s, in.fh, dir);
	if (!h || h->fd < 0)
		return h ? 0 : -EBADF;
	return (in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd)) < 0 ? -errno : 0;
}

int op_fsync(struct req *r) { return sync_handle(r, false); }
int op_fsyncdir(struct req *r) { return sync_handle(r, true); }

int op_lseek(struct req *r)
{
	struct fuse_lseek_in in;
	const void *p = req_arg(r, sizeof in);
	struct fuse_lseek_out o;
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	struct handle *h = handle_get(r->s, in.fh, false);
	if (!h || (in.whence != SEEK_DATA && in.whence != SEEK_HOLE))
		return h ? -EINVAL : -EBADF;
	off_t at = lseek(h->fd, (off_t)in.offset, (int)in.whence);
	if (at < 0)
		return -errno;
	o.offset = (uint64_t)at;
	return reply_add(r, &o, sizeof o);
}

int op_fallocate(struct req *r)
{
	struct fuse_fallocate_in in;
	const void *p = req_arg(r, sizeof in);
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	struct handle *h = handle_get(r->s, in.fh, false);
	if (!h || in.offset > INT64_MAX || in.length > INT64_MAX)
		return h ? -EINVAL : -EBADF;
	return fallocate(h->fd, (int)in.mode & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE), (off_t)in.offset, (off_t)in.length) < 0 ? -errno : 0;
}

/* ---- directories ------------------------------------------------------------------------------------------------------- */

int op_opendir(struct req *r)
{
	if (r->h.nodeid == FUSE_ROOT_ID)
		return reply_open(r, -EBADF, true); /* listed from the table of shares */
	struct node *n = node_get(r->s, r->h.nodeid);
	if (!n || n->type != S_IFDIR)
		return n ? -ENOTDIR : -ESTALE;
	int fd = node_open(n, O_RDONLY | O_DIRECTORY);
	return fd < 0 ? fd : reply_open(r, fd, true);
}

static int add_entry(struct req *r, size_t limit, uint64_t ino, uint64_t next, unsigned type, const char *name)
{
	size_t len = strlen(name), size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + len);
	struct fuse_dirent d = { .ino = ino, .off = next, .namelen = (uint32_t)len, .type = type };
	static const char zero[8];
	if (r->out->len - r->reply_at - sizeof(struct fuse_out_header) + size > limit)
		return -ENOSPC;
	reply_add(r, &d, FUSE_NAME_OFFSET);
	reply_add(r, name, len);
	return reply_add(r, zero, size - FUSE_NAME_OFFSET - len);
}

static int list_shares(struct req *r, uint64_t from, size_t limit)
{
	for (uint64_t i = from; i < r->s->n_shares; i++) {
		char name[8];
		snprintf(name, sizeof name, "%u", (unsigned)i);
		struct node *n = node_get(r->s, r->s->share_node[i]);
		if (n && add_entry(r, limit, n->ino, i + 1, n->type >> 12, name) < 0)
			break;
	}
	return 0;
}

struct kernel_dirent { uint64_t ino; int64_t off; uint16_t reclen; uint8_t type; char name[]; };

int op_readdir(struct req *r)
{
	struct fuse_read_in in;
	const void *p = req_arg(r, sizeof in);
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	struct handle *h = handle_get(r->s, in.fh, true);
	size_t limit = MIN(in.size, (uint32_t)FUSE_MAX_WRITE);
	if (!h)
		return -EBADF;
	if (h->fd < 0)
		return list_shares(r, in.offset, limit);
	/* The guest gives back a position that we gave it; the kernel checks it like any other. */
	if (lseek(h->fd, (off_t)in.offset, SEEK_SET) < 0)
		return -errno;
	static char buf[FUSE_MAX_WRITE] __attribute__((aligned(8)));
	long n = syscall(SYS_getdents64, h->fd, buf, limit);
	if (n < 0)
		return -errno;
	for (long at = 0; at < n;) {
		const struct kernel_dirent *d = (const void *)(buf + at);
		if (add_entry(r, limit, d->ino, (uint64_t)d->off, d->type, d->name) < 0)
			break;
		at += d->reclen;
	}
	return 0;
}

int op_releasedir(struct req *r)
{
	struct fuse_release_in in;
	const void *p = req_arg(r, sizeof in);
	if (!p)
		return -EINVAL;
	memcpy(&in, p, sizeof in);
	if (handle_get(r->s, in.fh, true))
		handle_drop(r->s, in.fh);
	return 0;
}
