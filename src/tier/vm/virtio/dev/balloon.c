/* virtio-balloon (virtio 1.2, section 5.5): memory that the guest gives up or reports free goes back to the host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <string.h>
#include <sys/mman.h>

#include "tier/vm/virtio/devices.h"

#define BIT(f) (1ULL << (f))
_Static_assert(sizeof(struct virtio_balloon_stat) == 10 && sizeof(struct virtio_balloon_config) == 16, "virtio 1.2, 5.5.4 and 5.5.6.3");

enum {
	PAGE = 1 << VIRTIO_BALLOON_PFN_SHIFT,
	PFNS_MAX = 256,        /* of one chain at once; Linux sends so many (VIRTIO_BALLOON_ARRAY_PFNS_MAX) */
	STATS_MAX = 32,
};

/* Queues that exist depend on features (5.5.2): what a queue is for. */
enum role { ROLE_INFLATE, ROLE_DEFLATE, ROLE_STATS, ROLE_REPORT };

struct balloon {
	struct virtio_device d;
	struct virtio_balloon_config config;
	struct virtio_balloon_options options;
	enum role role[4];
	bool stats_held;       /* the driver's buffer waits with us until newer values are wanted (5.5.6.3) */
	uint16_t stats_head;
	struct balloon_stats stats;
};

/* The device's own part of a snapshot. */
struct balloon_state { uint32_t num_pages, actual, poison, stats_held, stats_head; };

static struct balloon *balloon_of(struct virtio_device *d) { return (struct balloon *)d; }

/* Whole pages of the host; MADV_REMOVE punches the file that backs shared memory, MADV_DONTNEED drops private pages (madvise(2)). */
static void drop(const struct balloon *b, void *at, size_t n)
{
	madvise(at, n, b->options.shared ? MADV_REMOVE : MADV_DONTNEED);
}

/* An array of page numbers; neighbours are dropped together. Deflated pages come back by themselves when they are touched. */
static bool inflate(struct balloon *b, const struct virtq_chain *c)
{
	const struct guest_mem *m = b->d.host->mem;
	uint32_t pfn[PFNS_MAX];
	if (c->out_len % sizeof *pfn)
		return false;
	for (size_t from = 0; from < c->out_len;) {
		size_t n = iov_read(CHAIN_OUT(c), from, pfn, sizeof pfn) / sizeof *pfn;
		for (size_t i = 0, k; i < n; i += k) {
			for (k = 1; i + k < n && pfn[i + k] == pfn[i] + k;)
				k++;
			void *at = guest_ptr(m, (uint64_t)pfn[i] << VIRTIO_BALLOON_PFN_SHIFT, k << VIRTIO_BALLOON_PFN_SHIFT);
			if (!at)
				return false;
			drop(b, at, k << VIRTIO_BALLOON_PFN_SHIFT);
		}
		from += n * sizeof *pfn;
	}
	return true;
}

/* Free pages are told as the chain's buffers themselves (5.5.6.7). */
static void report(const struct balloon *b, const struct virtq_chain *c)
{
	for (unsigned i = 0; i < c->n_in; i++) {
		uintptr_t at = (uintptr_t)c->iov[c->n_out + i].iov_base, end = at + c->iov[c->n_out + i].iov_len;
		at = (at + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
		end &= ~(uintptr_t)(PAGE - 1);
		if (at < end)
			drop(b, (uint8_t *)c->iov[c->n_out + i].iov_base + (at - (uintptr_t)c->iov[c->n_out + i].iov_base), end - at);
	}
}

static const uint16_t stat_tag[] = { VIRTIO_BALLOON_S_SWAP_IN, VIRTIO_BALLOON_S_SWAP_OUT, VIRTIO_BALLOON_S_MAJFLT, VIRTIO_BALLOON_S_MINFLT, VIRTIO_BALLOON_S_MEMFREE,
	VIRTIO_BALLOON_S_MEMTOT, VIRTIO_BALLOON_S_AVAIL, VIRTIO_BALLOON_S_CACHES };

static uint64_t *stat_place(struct balloon_stats *s, uint16_t tag)
{
	uint64_t *const place[] = { &s->swap_in, &s->swap_out, &s->major_faults, &s->minor_faults, &s->free, &s->total, &s->available, &s->caches };
	for (size_t i = 0; i < ARRAY_SIZE(stat_tag); i++)
		if (stat_tag[i] == tag)
			return place[i];
	return NULL; /* newer than we are */
}

static void take_stats(struct balloon *b, const struct virtq_chain *c)
{
	for (size_t i = 0; i < STATS_MAX; i++) {
		struct virtio_balloon_stat v;
		if (iov_read(CHAIN_OUT(c), i * sizeof v, &v, sizeof v) != sizeof v)
			break;
		uint64_t *place = stat_place(&b->stats, v.tag);
		if (place)
			*place = v.val;
		b->stats.valid = true;
	}
}

static void kick(struct virtio_device *d, unsigned queue)
{
	struct balloon *b = balloon_of(d);
	struct virtq_chain c;
	while (virtio_pop(d, queue, &c)) {
		switch (b->role[queue]) {
		case ROLE_INFLATE:
			if (!inflate(b, &c)) {
				virtio_fault(d, "queue %u: page outside of memory", queue);
				return;
			}
			break;
		case ROLE_DEFLATE: break;
		case ROLE_STATS:
			if (b->stats_held) /* one buffer is enough; Linux has one */
				virtio_push(d, queue, b->stats_head, 0);
			b->stats_held = true;
			b->stats_head = c.head;
			take_stats(b, &c);
			continue;
		case ROLE_REPORT: report(b, &c); break;
		}
		virtio_push(d, queue, c.head, 0);
	}
	virtio_signal(d, queue);
}

static void config_write(struct virtio_device *d, uint32_t offset, uint32_t len, const void *data)
{
	struct balloon *b = balloon_of(d);
	/* `actual` and the poison value are the driver's (5.5.4). */
	if (len == 4 && offset == offsetof(struct virtio_balloon_config, actual))
		memcpy(&b->config.actual, data, 4);
	else if (len == 4 && offset == offsetof(struct virtio_balloon_config, poison_val))
		memcpy(&b->config.poison_val, data, 4);
}

void virtio_balloon_set(struct virtio_device *d, uint64_t bytes)
{
	struct balloon *b = balloon_of(d);
	virtio_lock(d);
	uint32_t pages = (uint32_t)MIN(bytes / PAGE, (uint64_t)UINT32_MAX);
	if (b->config.num_pages != pages) {
		b->config.num_pages = pages;
		virtio_config_changed(d);
	}
	virtio_unlock(d);
}

void virtio_balloon_stats(struct virtio_device *d, struct balloon_stats *ret)
{
	struct balloon *b = balloon_of(d);
	virtio_lock(d);
	*ret = b->stats;
	ret->target = (uint64_t)b->config.num_pages * PAGE;
	ret->actual = (uint64_t)b->config.actual * PAGE;
	if (b->stats_held && virtio_working(d))
		for (unsigned q = 0; q < d->n_queues; q++)
			if (b->role[q] == ROLE_STATS) {
				virtio_push(d, q, b->stats_head, 0);
				b->stats_held = false;
				virtio_signal(d, q);
			}
	virtio_unlock(d);
}

/* Which queue is which is only known when features are accepted: queues of features that were declined do not exist. */
static int activate(struct virtio_device *d, struct err *e)
{
	struct balloon *b = balloon_of(d);
	unsigned n = 2;
	(void)e;
	b->role[0] = ROLE_INFLATE;
	b->role[1] = ROLE_DEFLATE;
	if (virtio_acked(d, VIRTIO_BALLOON_F_STATS_VQ))
		b->role[n++] = ROLE_STATS;
	if (virtio_acked(d, VIRTIO_BALLOON_F_REPORTING))
		b->role[n++] = ROLE_REPORT;
	while (n < ARRAY_SIZE(b->role))
		b->role[n++] = ROLE_DEFLATE; /* given back untouched */
	return 0;
}

static void reset(struct virtio_device *d)
{
	balloon_of(d)->stats_held = false;
	balloon_of(d)->stats.valid = false;
}

static void reset_config(struct virtio_device *d)
{
	balloon_of(d)->config.actual = balloon_of(d)->config.poison_val = 0;
}

static int save(struct virtio_device *d, struct strbuf *out)
{
	const struct balloon *b = balloon_of(d);
	struct balloon_state s = { b->config.num_pages, b->config.actual, b->config.poison_val, b->stats_held, b->stats_head };
	return strbuf_add(out, &s, sizeof s);
}

static int restore(struct virtio_device *d, const uint8_t *p, size_t n, struct err *e)
{
	struct balloon *b = balloon_of(d);
	struct balloon_state s;
	if (n != sizeof s)
		return err_set(e, EBADMSG, "%zu bytes of state", n);
	memcpy(&s, p, sizeof s);
	if (s.stats_held > 1 || s.stats_head > UINT16_MAX)
		return err_set(e, EBADMSG, "impossible state");
	b->config.num_pages = s.num_pages;
	b->config.actual = s.actual;
	b->config.poison_val = s.poison;
	b->stats_held = s.stats_held;
	b->stats_head = (uint16_t)s.stats_head;
	return 0;
}

static void balloon_free(struct virtio_device *d)
{
	free(d);
}

static const struct virtio_ops ops = { .name = "balloon", .id = VIRTIO_ID_BALLOON, .activate = activate, .reset = reset, .reset_config = reset_config, .kick = kick, .config_write = config_write,
	.save = save, .restore = restore, .free = balloon_free };

int virtio_balloon_new(const struct virtio_host *h, unsigned slot, const struct virtio_balloon_options *c, struct virtio_device **ret, struct err *e)
{
	struct balloon *b = calloc(1, sizeof *b);
	if (!b)
		return err_set(e, ENOMEM, "balloon");
	if (sysconf(_SC_PAGESIZE) != PAGE) {
		free(b);
		return err_set(e, ENOTSUP, "balloon: its pages have 4096 bytes, the host's %ld", sysconf(_SC_PAGESIZE));
	}
	b->options = *c;
	virtio_device_init(&b->d, &ops, h, slot, 2U + c->stats + c->reporting, (c->stats ? BIT(VIRTIO_BALLOON_F_STATS_VQ) : 0) |
		(c->deflate_on_oom ? BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) : 0) | (c->reporting ? BIT(VIRTIO_BALLOON_F_REPORTING) : 0));
	b->d.config = (uint8_t *)&b->config;
	b->d.config_len = sizeof b->config;
	*ret = &b->d;
	return 0;
}
