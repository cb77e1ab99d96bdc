/* virtio-pmem. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "virtio_fake.h"

enum { MIB = 1 << 20 };

static void flushes(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	struct virtio_device *d;
	int fd = memfd_create("pmem", MFD_CLOEXEC), ends[2];
	uint64_t place[2];
	assert_int_equal(virtio_pmem_new(&f->host, 0, &(struct virtio_pmem_options){ fd, 8ULL << 30, 4 * MIB }, &d, NULL), 0);
	assert_true(fake_start(f, d, UINT64_MAX));
	virtio_mmio_read(d, 0x100, 8, &place[0]);
	virtio_mmio_read(d, 0x108, 8, &place[1]);
	assert_int_equal(place[0], 8ULL << 30);
	assert_int_equal(place[1], 4 * MIB);
	uint32_t q = 0, ret = 77;
	struct fake_buf b[] = { { fake_put(f, &q, 4), 4, false }, { fake_put(f, &ret, 4), 4, true } };
	assert_int_equal(fake_do(f, 0, b, 2), 4);
	assert_int_equal(*(uint32_t *)fake_at(f, b[1].gpa), 0);
	*(uint32_t *)fake_at(f, b[0].gpa) = 5; /* no such request */
	assert_int_equal(fake_do(f, 0, b, 2), 4);
	assert_int_not_equal(*(uint32_t *)fake_at(f, b[1].gpa), 0);
	b[0].len = 3;
	assert_int_equal(fake_do(f, 0, b, 2), 4);
	assert_int_not_equal(*(uint32_t *)fake_at(f, b[1].gpa), 0);
	fake_free(f);
	/* a flush that fails is said to have failed */
	f = fake_new();
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(virtio_pmem_new(&f->host, 0, &(struct virtio_pmem_options){ ends[0], 8ULL << 30, 4 * MIB }, &d, NULL), 0);
	assert_true(fake_start(f, d, UINT64_MAX));
	b[0] = (struct fake_buf){ fake_put(f, &q, 4), 4, false };
	b[1] = (struct fake_buf){ fake_put(f, &ret, 4), 4, true };
	assert_int_equal(fake_do(f, 0, b, 2), 4);
	assert_int_equal(*(uint32_t *)fake_at(f, b[1].gpa), 1);
	close(ends[1]);
	fake_free(f);
}

static void refused(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	struct virtio_device *d = NULL;
	static const struct virtio_pmem_options bad[] = { { -EBADF, 0, 2 * MIB }, { -EBADF, 8ULL << 30, 0 }, { -EBADF, (8ULL << 30) + 4096, 2 * MIB }, { -EBADF, 8ULL << 30, MIB },
		{ -EBADF, 4ULL << 30, 2 * MIB }, { -EBADF, 0xffffffffffe00000, 4 * MIB } };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(virtio_pmem_new(&f->host, 0, &bad[i], &d, NULL), -EINVAL);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(flushes), cmocka_unit_test(refused) };
	return cmocka_run_group_tests_name("virtio_pmem", tests, NULL, NULL);
}
