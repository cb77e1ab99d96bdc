/* virtio-balloon: memory really goes, and only the guest's own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/virtio_balloon.h>
#include <linux/virtio_mmio.h>

#include "emulated.h"
#include "virtio_fake.h"

enum { INFLATE, DEFLATE, STATS, REPORT, P = 4096 };

/* The fake's memory in pages that can be dropped: anonymous, or a file's. */
static struct fake *start(const struct virtio_balloon_options *c, uint64_t features, int *ret_fd)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct fake *f = fake_new();
	struct virtio_device *d;
	free(f->ram);
	int fd = c->shared ? memfd_create("ram", MFD_CLOEXEC) : -1;
	if (fd >= 0)
		assert_int_equal(ftruncate(fd, FAKE_RAM), 0);
	f->ram = mmap(NULL, FAKE_RAM, PROT_READ | PROT_WRITE, fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
	assert_true(f->ram != MAP_FAILED);
	f->mem.region[0].host = f->ram;
	assert_int_equal(virtio_balloon_new(&f->host, 0, c, &d, &e), 0);
	assert_true(fake_start(f, d, features));
	if (ret_fd)
		*ret_fd = fd;
	return f;
}

static void finish(struct fake *f)
{
	munmap(f->ram, FAKE_RAM);
	f->ram = NULL;
	fake_free(f);
}

static unsigned resident(const struct fake *f, uint64_t gpa, unsigned pages)
{
	unsigned char v[FAKE_RAM / P];
	unsigned n = 0;
	assert_int_equal(mincore(f->ram + gpa, (size_t)pages * P, v), 0);
	for (unsigned i = 0; i < pages; i++)
		n += v[i] & 1;
	return n;
}

static int64_t pfns(struct fake *f, unsigned q, const uint32_t *v, unsigned n)
{
	struct fake_buf b = { fake_put(f, v, 4 * n), 4 * n, false };
	return fake_do(f, q, &b, 1);
}

static void inflates(void **s)
{
	(void)s;
	NOT_EMULATED("the emulator ignores MADV_REMOVE");
	for (unsigned shared = 0; shared < 2; shared++) {
		int fd;
		struct fake *f = start(&(struct virtio_balloon_options){ .shared = shared }, UINT64_MAX, &fd);
		uint64_t at = FAKE_RAM / 2;
		memset(f->ram + at, 0x5a, 64 * P);
		uint32_t first = (uint32_t)(at / P), v[] = { first + 3, first + 4, first + 5, first + 9, first + 8, first + 63 };
		assert_int_equal(pfns(f, INFLATE, v, ARRAY_SIZE(v)), 0);
		if (shared)
			assert_int_equal(resident(f, at, 64), 58);
		for (unsigned i = 0; i < 64; i++) {
			bool gone = i == 3 || i == 4 || i == 5 || i == 8 || i == 9 || i == 63;
			assert_int_equal(f->ram[at + i * P + 100], gone ? 0 : 0x5a);
		}
		assert_int_equal(pfns(f, DEFLATE, v, ARRAY_SIZE(v)), 0);
		assert_int_equal(f->lines, 0);
		finish(f);
		if (fd >= 0)
			close(fd);
	}
}

static void liars(void **s)
{
	(void)s;
	static const uint32_t bad[][2] = { { 0, FAKE_RAM / P }, { UINT32_MAX, 0 }, { FAKE_RAM / P - 1, FAKE_RAM / P }, { 0xfffff, 0x100000 } };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fake *f = start(&(struct virtio_balloon_options){ 0 }, UINT64_MAX, NULL);
		assert_int_equal(pfns(f, INFLATE, bad[i], 2), -1);
		assert_non_null(strstr(f->log, "page outside of memory"));
		finish(f);
	}
	struct fake *f = start(&(struct virtio_balloon_options){ 0 }, UINT64_MAX, NULL);
	struct fake_buf b = { fake_alloc(f, 16), 7, false };
	assert_int_equal(fake_do(f, INFLATE, &b, 1), -1);
	finish(f);
}

/* Reported pages are the chain's buffers; parts of pages stay. */
static void reports(void **s)
{
	(void)s;
	for (unsigned stats = 0; stats < 2; stats++) {
		/* without the statistics queue reporting is the third one */
		struct fake *f = start(&(struct virtio_balloon_options){ .reporting = true, .stats = true }, stats ? UINT64_MAX : ~(1ULL << VIRTIO_BALLOON_F_STATS_VQ), NULL);
		uint64_t at = FAKE_RAM / 2;
		memset(f->ram + at, 0x5a, 16 * P);
		struct fake_buf b[] = { { at + P, 2 * P, true }, { at + 4 * P + 100, 2 * P, true } };
		assert_int_equal(fake_do(f, stats ? REPORT : STATS, b, 2), 0);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(f->ram[at + i * P + 50], i == 1 || i == 2 || i == 5 ? 0 : 0x5a);
		assert_int_equal(f->ram[at + 6 * P + 99], 0x5a);
		finish(f);
	}
}

static void target(void **s)
{
	(void)s;
	struct fake *f = start(&(struct virtio_balloon_options){ .deflate_on_oom = true, .stats = true }, UINT64_MAX, NULL);
	struct balloon_stats st;
	uint32_t generation = fake_get(f, VIRTIO_MMIO_CONFIG_GENERATION);
	virtio_balloon_set(f->d, 3 * P + 5);
	assert_int_equal(fake_get(f, 0x100), 3);
	assert_int_not_equal(fake_get(f, VIRTIO_MMIO_CONFIG_GENERATION), generation);
	assert_int_equal(fake_get(f, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	fake_set(f, 0x100, 99); /* not the driver's */
	fake_set(f, 0x104, 2);
	assert_int_equal(fake_get(f, 0x100), 3);
	virtio_balloon_stats(f->d, &st);
	assert_int_equal(st.target, 3 * P);
	assert_int_equal(st.actual, 2 * P);
	assert_false(st.valid);
	/* the driver leaves a buffer with values; asking for them gives it back */
	struct virtio_balloon_stat v[] = { { VIRTIO_BALLOON_S_MEMFREE, 12345 }, { VIRTIO_BALLOON_S_MAJFLT, 6 }, { 77, 8 } };
	struct fake_buf b = { fake_put(f, v, sizeof v), sizeof v, false };
	assert_int_equal(fake_do(f, STATS, &b, 1), -1);
	virtio_balloon_stats(f->d, &st);
	assert_true(st.valid);
	assert_int_equal(st.free, 12345);
	assert_int_equal(st.major_faults, 6);
	assert_int_equal(fake_used(f, STATS, NULL), 0);
	virtio_balloon_stats(f->d, &st);
	assert_int_equal(fake_used(f, STATS, NULL), -1);
	/* target and held buffer are in a snapshot */
	fake_chain(f, STATS, &b, 1);
	fake_kick(f, STATS);
	_cleanup_strbuf_ struct strbuf state = STRBUF_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	virtio_device_quiesce(f->d);
	assert_int_equal(virtio_device_save(f->d, &state), 0);
	virtio_device_free(f->d);
	assert_int_equal(virtio_balloon_new(&f->host, 0, &(struct virtio_balloon_options){ .deflate_on_oom = true, .stats = true }, &f->d, NULL), 0);
	assert_int_equal(virtio_device_restore(f->d, state.s, state.len, &e), 0);
	virtio_device_resume(f->d);
	virtio_balloon_stats(f->d, &st);
	assert_int_equal(st.target, 3 * P);
	assert_int_equal(fake_used(f, STATS, NULL), 1);
	finish(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(inflates), cmocka_unit_test(liars), cmocka_unit_test(reports), cmocka_unit_test(target) };
	return cmocka_run_group_tests_name("virtio_balloon", tests, NULL, NULL);
}
