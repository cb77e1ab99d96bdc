/* virtio-blk (virtio 1.2, section 5.2) over a file. Requests are done in place, in order. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "tier/vm/virtio/devices.h"
#include "tier/vm/virtio/throttle.h"

_Static_assert(sizeof(struct virtio_blk_outhdr) == 16 && sizeof(struct virtio_blk_discard_write_zeroes) == 16, "virtio 1.2, 5.2.6");

enum {
	SECTOR = 512,
	SEG_MAX = VIRTQ_CHAIN_MAX - 2,      /* beside header and status */
	RANGES_MAX = 1,                     /* of one discard */
	RANGE_SECTORS_MAX = (1U << 30) / SECTOR, /* of one range: a hole of terabytes would hold the device thread for long */
};

struct blk {
	struct virtio_device d;
	struct virtio_blk_config config;
	int fd;
	bool readonly;
	uint64_t sectors;
	uint8_t serial[VIRTIO_BLK_ID_BYTES];
	struct throttle throttle;
};

/* A request taken apart. */
struct request {
	struct blk *b;
	uint64_t sector;
	const struct iovec *v;  /* data, in the direction of its type */
	size_t n;
	uint64_t len;           /* of the data; what was given to the guest afterwards */
};

static struct blk *blk_of(struct virtio_device *d) { return (struct blk *)d; }

static bool outside(const struct blk *b, uint64_t sector, uint64_t sectors)
{
	return sector > b->sectors || sectors > b->sectors - sector;
}

/* Move all of it; a file that ends early (somebody cut it) is an error of the medium. */
static int transfer(struct request *r, bool in)
{
	struct iovec v[VIRTQ_CHAIN_MAX];
	uint64_t done = 0;
	if (r->len % SECTOR || outside(r->b, r->sector, r->len / SECTOR))
		return -EINVAL;
	while (done < r->len) {
		size_t n = iov_slice(r->v, r->n, done, r->len - done, v);
		off_t at = (off_t)(r->sector * SECTOR + done);
		ssize_t k = in ? preadv(r->b->fd, v, (int)n, at) : pwritev(r->b->fd, v, (int)n, at);
		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : -EIO;
		done += (uint64_t)k;
	}
	return 0;
}

static int do_read(struct request *r) { return transfer(r, true); }
static int do_write(struct request *r) { return r->b->readonly ? -EROFS : transfer(r, false); }

static int do_flush(struct request *r)
{
	return r->b->readonly || fdatasync(r->b->fd) == 0 ? 0 : -errno;
}

static int do_get_id(struct request *r)
{
	r->len = iov_write(r->v, r->n, 0, r->b->serial, sizeof r->b->serial);
	return 0;
}

static int make_hole(struct request *r, bool zeroes)
{
	struct virtio_blk_discard_write_zeroes z;
	if (r->b->readonly)
		return -EROFS;
	if (r->len != sizeof z || iov_read(r->v, r->n, 0, &z, sizeof z) != sizeof z)
		return -EINVAL;
	if (z.flags & ~(zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0U))
		return -EOPNOTSUPP; /* 5.2.6.2: unknown flags, and UNMAP in a discard */
	if (!z.num_sectors || z.num_sectors > RANGE_SECTORS_MAX || outside(r->b, z.sector, z.num_sectors))
		return -EINVAL;
	off_t at = (off_t)(z.sector * SECTOR), len = (off_t)z.num_sectors * SECTOR;
	if (fallocate(r->b->fd, FALLOC_FL_KEEP_SIZE | (zeroes && !z.flags ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE), at, len) == 0)
		return 0;
	/* tmpfs has holes only; both read as zeros */
	return zeroes && errno == EOPNOTSUPP && fallocate(r->b->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, at, len) == 0 ? 0 : -errno;
}

static int do_discard(struct request *r) { return make_hole(r, false); }
static int do_write_zeroes(struct request *r) { return make_hole(r, true); }

static const struct { uint32_t type; bool in; int (*run)(struct request *r); } types[] = {
	{ VIRTIO_BLK_T_IN, true, do_read },
	{ VIRTIO_BLK_T_OUT, false, do_write },
	{ VIRTIO_BLK_T_FLUSH, false, do_flush },
	{ VIRTIO_BLK_T_GET_ID, true, do_get_id },
	{ VIRTIO_BLK_T_DISCARD, false, do_discard },
	{ VIRTIO_BLK_T_WRITE_ZEROES, false, do_write_zeroes },
};

/* Run what the header asks for; *ret_in tells how many bytes of data were given to the guest. */
static uint8_t run(struct blk *b, const struct virtio_blk_outhdr *h, const struct virtq_chain *c, uint32_t *ret_in)
{
	struct iovec v[VIRTQ_CHAIN_MAX];
	*ret_in = 0;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].type != h->type)
			continue;
		struct request r = { b, h->sector, v, 0, types[i].in ? c->in_len - 1 : c->out_len - sizeof *h };
		r.n = types[i].in ? iov_slice(CHAIN_IN(c), 0, c->in_len - 1, v) : iov_slice(CHAIN_OUT(c), sizeof *h, c->out_len - sizeof *h, v);
		int x = types[i].run(&r);
		if (x == 0 && types[i].in)
			*ret_in = (uint32_t)r.len;
		return x == 0 ? VIRTIO_BLK_S_OK : x == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
	}
	return VIRTIO_BLK_S_UNSUPP;
}

static void kick(struct virtio_device *d, unsigned queue)
{
	struct blk *b = blk_of(d);
	struct virtq_chain c;
	while (virtio_pop(d, queue, &c)) {
		struct virtio_blk_outhdr h;
		uint32_t in;
		if (!throttle_pass(&b->throttle, (uint64_t)c.in_len + c.out_len)) {
			virtq_unpop(&d->queue[queue]);
			break;
		}
		if (iov_read(CHAIN_OUT(&c), 0, &h, sizeof h) != sizeof h || !c.in_len) {
			virtio_fault(d, "queue %u: request without %s", queue, c.in_len ? "a header" : "a place for its status");
			break;
		}
		uint8_t status = run(b, &h, &c, &in);
		iov_write(CHAIN_IN(&c), c.in_len - 1, &status, 1);
		virtio_push(d, queue, c.head, in + 1);
	}
	virtio_signal(d, queue);
}

static void stop(struct virtio_device *d)
{
	throttle_stop(&blk_of(d)->throttle);
}

static void blk_free(struct virtio_device *d)
{
	struct blk *b = blk_of(d);
	throttle_free(&b->throttle);
	close(b->fd);
	free(b);
}

static const struct virtio_ops ops = { .name = "blk", .id = VIRTIO_ID_BLOCK, .reset = stop, .kick = kick, .quiesce = stop, .free = blk_free };

static int size_of(int fd, uint64_t *ret, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "disk");
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, ret) < 0 ? err_sys(e, errno, "size of the disk") : 0;
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "a disk is a regular file or a block device");
	*ret = (uint64_t)st.st_size;
	return 0;
}

int virtio_blk_new(const struct virtio_host *h, unsigned slot, const struct virtio_blk_options *c, struct virtio_device **ret, struct err *e)
{
	uint64_t bytes, features = 1ULL << VIRTIO_BLK_F_SEG_MAX | 1ULL << VIRTIO_BLK_F_FLUSH | 1ULL << VIRTIO_BLK_F_BLK_SIZE;
	int r = size_of(c->fd, &bytes, e);
	if (r < 0)
		return r;
	int mode = fcntl(c->fd, F_GETFL);
	if (mode < 0 || (mode & O_ACCMODE) == O_WRONLY || (!c->readonly && (mode & O_ACCMODE) != O_RDWR))
		return err_set(e, EBADF, "the disk's file is not open for %s", c->readonly ? "reading" : "reading and writing");
	if (c->serial && strlen(c->serial) > VIRTIO_BLK_ID_BYTES)
		return err_set(e, EINVAL, "a disk's serial has at most %d bytes", VIRTIO_BLK_ID_BYTES);
	struct blk *b = calloc(1, sizeof *b);
	if (!b)
		return err_set(e, ENOMEM, "blk");
	features |= c->readonly ? 1ULL << VIRTIO_BLK_F_RO : 1ULL << VIRTIO_BLK_F_DISCARD | 1ULL << VIRTIO_BLK_F_WRITE_ZEROES;
	virtio_device_init(&b->d, &ops, h, slot, 1, features);
	r = throttle_init(&b->throttle, &b->d, 0, &c->limit, e);
	if (r < 0) {
		free(b);
		return r;
	}
	b->fd = c->fd;
	b->readonly = c->readonly;
	b->sectors = bytes / SECTOR;
	if (c->serial)
		memcpy(b->serial, c->serial, strlen(c->serial));
	b->config = (struct virtio_blk_config){ .capacity = b->sectors, .seg_max = SEG_MAX, .blk_size = SECTOR, .max_discard_sectors = RANGE_SECTORS_MAX, .max_discard_seg = RANGES_MAX,
		.discard_sector_alignment = 8, .max_write_zeroes_sectors = RANGE_SECTORS_MAX, .max_write_zeroes_seg = RANGES_MAX, .write_zeroes_may_unmap = 1 };
	b->d.config = (uint8_t *)&b->config;
	b->d.config_len = sizeof b->config;
	*ret = &b->d;
	return 0;
}
