/* virtio-balloon under a hostile guest: input is a program for fake_fuzz(). Nothing outside of memory may be dropped: pages of the allocator would be missed. */
#include "virtio_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_device *make(struct fake *f)
{
	struct virtio_device *d;
	return virtio_balloon_new(&f->host, 0, &(struct virtio_balloon_options){ .deflate_on_oom = true, .reporting = true, .stats = true }, &d, NULL) < 0 ? NULL : d;
}

static void feed(struct fake *f, const uint8_t *p, size_t n)
{
	struct balloon_stats s;
	if (n)
		virtio_balloon_set(f->d, (uint64_t)p[0] << 14);
	else
		virtio_balloon_stats(f->d, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake *f = fake_new();
	fake_start(f, make(f), size & 1 ? UINT64_MAX : 1ULL << 32);
	fake_fuzz(f, data, size, feed, make);
	fake_free(f);
	return 0;
}
