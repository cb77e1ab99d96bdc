/* virtio-pmem under a hostile guest: input is a program for fake_fuzz(). */
#include <sys/mman.h>

#include "virtio_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_device *make(struct fake *f)
{
	struct virtio_device *d;
	return virtio_pmem_new(&f->host, 0, &(struct virtio_pmem_options){ memfd_create("pmem", MFD_CLOEXEC), 8ULL << 30, 2 << 20 }, &d, NULL) < 0 ? NULL : d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake *f = fake_new();
	fake_start(f, make(f), size & 1 ? UINT64_MAX : 1ULL << 32);
	fake_fuzz(f, data, size, NULL, make);
	fake_free(f);
	return 0;
}
