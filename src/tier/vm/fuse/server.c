/* FUSE requests: take apart, dispatch by table, reply (include/uapi/linux/fuse.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tier/vm/fuse/internal.h"

enum { MINOR_MIN = 12, FLAGS = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC | FUSE_PARALLEL_DIROPS | FUSE_AUTO_INVAL_DATA | FUSE_MAX_PAGES };

int reply_add(struct req *r, const void *data, size_t n)
{
	return strbuf_add(r->out, data, n);
}

const void *req_arg(struct req *r, size_t n)
{
	const void *p = r->arg;
	if (r->n < n)
		return NULL;
	r->arg += n;
	r->n -= n;
	return p;
}

const char *req_name(struct req *r)
{
	const uint8_t *z = r->n ? memchr(r->arg, 0, r->n) : NULL;
	if (!z)
		return NULL;
	const char *s = (const char *)r->arg;
	size_t len = (size_t)(z - r->arg);
	r->arg += len + 1;
	r->n -= len + 1;
	if (!len || len > NAME_MAX || memchr(s, '/', len) || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		return NULL;
	return s;
}

void fill_attr(const struct stat *st, struct fuse_attr *a)
{
	*a = (struct fuse_attr){ .ino = st->st_ino, .size = (uint64_t)st->st_size, .blocks = (uint64_t)st->st_blocks, .atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec, .ctime = (uint64_t)st->st_ctim.tv_sec, .atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec, .ctimensec = (uint32_t)st->st_ctim.tv_nsec, .mode = st->st_mode, .nlink = (uint32_t)st->st_nlink,
		.uid = st->st_uid, .gid = st->st_gid, .blksize = (uint32_t)st->st_blksize };
}

int reply_entry(struct req *r, struct node *n, const struct stat *st)
{
	struct fuse_entry_out o = { .nodeid = n->id, .generation = 1, .entry_valid_nsec = ATTR_VALID_NS, .attr_valid_nsec = ATTR_VALID_NS };
	fill_attr(st, &o.attr);
	return reply_add(r, &o, sizeof o);
}

int reply_attr(struct req *r, const struct stat *st)
{
	struct fuse_attr_out o = { .attr_valid_nsec = ATTR_VALID_NS };
	fill_attr(st, &o.attr);
	return reply_add(r, &o, sizeof o);
}

int dir_for_change(struct req *r, uint64_t id, struct node **ret)
{
	if (id == FUSE_ROOT_ID)
		return -EPERM;
	*ret = node_get(r->s, id);
	if (!*ret || (*ret)->type != S_IFDIR)
		return *ret ? -ENOTDIR : -ESTALE;
	return (*ret)->readonly ? -EROFS : 0;
}

int node_open(const struct node *n, int flags)
{
	char path[32];
	if (n->type != S_IFREG && n->type != S_IFDIR)
		return -ENXIO; /* a device or fifo of the host is not for the guest to open; its kernel never asks */
	snprintf(path, sizeof path, "/proc/self/fd/%d", n->fd);
	int fd = open(path, (flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL | O_NOCTTY)) | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* The kernel's own notion is per thread; the C library would change every thread. */
int switch_user(const struct fuse_in_header *h)
{
	setfsgid(h->gid);
	setfsuid(h->uid);
	return 0;
}

void switch_back(void)
{
	setfsuid(0);
	setfsgid(0);
}

/* ---- life ----------------------------------------------------------------------------------------------------------- */

static int op_init(struct req *r)
{
	const struct fuse_init_in *in = req_arg(r, offsetof(struct fuse_init_in, flags2));
	struct fuse_init_out o = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_background = 64, .congestion_threshold = 48,
		.max_write = FUSE_MAX_WRITE, .time_gran = 1, .max_pages = FUSE_MAX_WRITE / 4096 };
	if (!in)
		return -EINVAL;
	if (in->major != FUSE_KERNEL_VERSION || in->minor < MINOR_MIN)
		return in->major > FUSE_KERNEL_VERSION ? reply_add(r, &o, sizeof o) : -EPROTO;
	o.flags = in->flags & FLAGS;
	o.max_readahead = in->max_readahead;
	r->s->minor = in->minor < o.minor ? in->minor : o.minor;
	r->s->initialised = true;
	return reply_add(r, &o, sizeof o);
}

static int op_destroy(struct req *r)
{
	r->s->initialised = false;
	return 0;
}

static int op_forget(struct req *r)
{
	const struct fuse_forget_in *in = req_arg(r, sizeof *in);
	r->reply = false;
	if (in)
		node_forget(r->s, r->h.nodeid, in->nlookup);
	return 0;
}

static int op_batch_forget(struct req *r)
{
	const struct fuse_batch_forget_in *in = req_arg(r, sizeof *in);
	r->reply = false;
	for (uint32_t i = 0; in && i < in->count; i++) {
		struct fuse_forget_one one;
		const void *p = req_arg(r, sizeof one);
		if (!p)
			break;
		memcpy(&one, p, sizeof one);
		node_forget(r->s, one.nodeid, one.nlookup);
	}
	return 0;
}

static int op_interrupt(struct req *r)
{
	r->reply = false; /* nothing here blocks for long */
	return 0;
}

static op_fn *const ops[] = {
	[FUSE_LOOKUP] = op_lookup, [FUSE_FORGET] = op_forget, [FUSE_GETATTR] = op_getattr, [FUSE_SETATTR] = op_setattr, [FUSE_READLINK] = op_readlink,
	[FUSE_SYMLINK] = op_symlink, [FUSE_MKNOD] = op_mknod, [FUSE_MKDIR] = op_mkdir, [FUSE_UNLINK] = op_unlink, [FUSE_RMDIR] = op_rmdir,
	[FUSE_RENAME] = op_rename, [FUSE_LINK] = op_link, [FUSE_OPEN] = op_open, [FUSE_READ] = op_read, [FUSE_WRITE] = op_write, [FUSE_STATFS] = op_statfs,
	[FUSE_RELEASE] = op_release, [FUSE_FSYNC] = op_fsync, [FUSE_SETXATTR] = op_setxattr, [FUSE_GETXATTR] = op_getxattr, [FUSE_LISTXATTR] = op_listxattr,
	[FUSE_REMOVEXATTR] = op_removexattr, [FUSE_FLUSH] = op_flush, [FUSE_INIT] = op_init, [FUSE_OPENDIR] = op_opendir, [FUSE_READDIR] = op_readdir,
	[FUSE_RELEASEDIR] = op_releasedir, [FUSE_FSYNCDIR] = op_fsyncdir, [FUSE_CREATE] = op_create, [FUSE_INTERRUPT] = op_interrupt, [FUSE_DESTROY] = op_destroy,
	[FUSE_BATCH_FORGET] = op_batch_forget, [FUSE_FALLOCATE] = op_fallocate, [FUSE_RENAME2] = op_rename2, [FUSE_LSEEK] = op_lseek,
};

int fuse_server_handle(struct fuse_server *s, const void *in, size_t n, struct strbuf *out, bool *ret_reply)
{
	struct req r = { .s = s, .out = out, .reply_at = out->len, .reply = true };
	struct fuse_out_header oh = { 0 };
	if (n < sizeof r.h)
		return -EBADMSG;
	memcpy(&r.h, in, sizeof r.h);
	if (r.h.len != n)
		return -EBADMSG;
	r.arg = (const uint8_t *)in + sizeof r.h;
	r.n = n - sizeof r.h;
	if (strbuf_add(out, &oh, sizeof oh) < 0)
		return -ENOMEM;
	int x = -ENOSYS;
	if (r.h.opcode < ARRAY_SIZE(ops) && ops[r.h.opcode])
		x = s->initialised || r.h.opcode == FUSE_INIT ? ops[r.h.opcode](&r) : -EIO;
	if (x < 0)
		out->len = r.reply_at + sizeof oh; /* an error carries nothing else */
	if (!r.reply)
		out->len = r.reply_at;
	oh = (struct fuse_out_header){ (uint32_t)(out->len - r.reply_at), x < 0 ? x : 0, r.h.unique };
	if (r.reply)
		memcpy(out->s + r.reply_at, &oh, sizeof oh);
	*ret_reply = r.reply;
	return out->failed ? -ENOMEM : 0;
}

int fuse_server_add(struct fuse_server *s, const struct fuse_share *share)
{
	struct stat st;
	struct node *n;
	size_t at = 0;
	while (at < s->n_shares && s->share_node[at])
		at++;
	if (at == FUSE_SHARES_MAX)
		return -ENOSPC;
	int fd = fcntl(share->fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -errno;
	int r = node_ref(s, fd, share->readonly, &n, &st);
	if (r < 0)
		return r;
	if (n->pins++)
		n->nlookup--; /* one reference for all pins */
	s->share_node[at] = n->id;
	s->n_shares = MAX(s->n_shares, at + 1);
	return (int)at;
}

void fuse_server_drop(struct fuse_server *s, size_t number)
{
	struct node *n = number < s->n_shares ? node_get(s, s->share_node[number]) : NULL;
	if (!n)
		return;
	s->share_node[number] = 0;
	if (--n->pins == 0)
		node_forget(s, n->id, 1);
}

struct fuse_server *fuse_server_new(const struct fuse_share *shares, size_t n)
{
	struct fuse_server *s = calloc(1, sizeof *s);
	for (size_t i = 0; s && i < n; i++)
		if (fuse_server_add(s, &shares[i]) < 0) {
			fuse_server_free(s);
			return NULL;
		}
	return s;
}

void fuse_server_free(struct fuse_server *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_nodes; i++)
		if (s->nodes[i].nlookup)
			close(s->nodes[i].fd);
	for (size_t i = 0; i < s->n_handles; i++)
		handle_drop(s, i);
	free(s->nodes);
	free(s->handles);
	free(s);
}
