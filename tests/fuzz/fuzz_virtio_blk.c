/* virtio-blk under a hostile guest: input is a program for fake_fuzz(). */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtio_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int disk = -1;

static struct virtio_device *make(struct fake *f)
{
	struct virtio_device *d;
	int fd = dup(disk);
	return virtio_blk_new(&f->host, 0, &(struct virtio_blk_options){ .fd = fd, .serial = "fuzz" }, &d, NULL) < 0 ? NULL : d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (disk < 0)
		disk = memfd_create("disk", MFD_CLOEXEC);
	if (ftruncate(disk, 0) < 0 || ftruncate(disk, 64 << 10) < 0) /* zeros again */
		abort();
	struct fake *f = fake_new();
	fake_start(f, make(f), size & 1 ? UINT64_MAX : 0);
	fake_fuzz(f, data, size, NULL, make);
	fake_free(f);
	return 0;
}
