/* virtio-rng. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "virtio_fake.h"

static struct fake *start(const struct limiter_config *limit)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	assert_int_equal(virtio_rng_new(&f->host, 0, limit, &d, NULL), 0);
	assert_true(fake_start(f, d, UINT64_MAX));
	return f;
}

static void random_bytes(void **s)
{
	(void)s;
	struct fake *f = start(NULL);
	struct fake_buf b[] = { { fake_alloc(f, 64), 64, true }, { fake_alloc(f, 64), 64, true } };
	uint8_t first[64], zero[64] = { 0 };
	assert_int_equal(fake_do(f, 0, b, 2), 128);
	memcpy(first, fake_at(f, b[0].gpa), 64);
	assert_memory_not_equal(first, zero, 64);
	assert_memory_not_equal(fake_at(f, b[1].gpa), zero, 64);
	assert_int_equal(fake_do(f, 0, b, 1), 64);
	assert_memory_not_equal(first, fake_at(f, b[0].gpa), 64);
	/* much: some; nothing to write to: nothing; a readable buffer is not touched */
	struct fake_buf big = { FAKE_HIGH_GPA, FAKE_HIGH, true };
	assert_int_equal(fake_do(f, 0, &big, 1), 4096);
	struct fake_buf out = { fake_put(f, "keep", 4), 4, false };
	assert_int_equal(fake_do(f, 0, &out, 1), 0);
	assert_memory_equal(fake_at(f, out.gpa), "keep", 4);
	fake_free(f);
}

static void limited(void **s)
{
	(void)s;
	struct fake *f = start(&(struct limiter_config){ .bytes = { 64, 0, 100 } });
	struct fake_buf b = { fake_alloc(f, 64), 64, true };
	assert_int_equal(fake_do(f, 0, &b, 1), 64);
	fake_chain(f, 0, &b, 1);
	fake_kick(f, 0);
	assert_int_equal(fake_used(f, 0, NULL), -1);
	for (unsigned i = 0; i < 100 && fake_used(f, 0, NULL) < 0; i++)
		fake_wait(f, 1000);
	assert_int_equal(f->q[0].seen, 2);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(random_bytes), cmocka_unit_test(limited) };
	return cmocka_run_group_tests_name("virtio_rng", tests, NULL, NULL);
}
