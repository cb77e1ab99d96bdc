/* virtio-blk against a real file. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>

#include "virtio_fake.h"

enum { SECTORS = 256 };

static int file(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	for (unsigned i = 0; i < SECTORS; i++) {
		uint8_t b[512];
		memset(b, (int)i, sizeof b);
		assert_int_equal(pwrite(fd, b, sizeof b, 512 * i), 512);
	}
	return fd;
}

static struct fake *start(const struct virtio_blk_options *c)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct fake *f = fake_new();
	struct virtio_device *d;
	if (virtio_blk_new(&f->host, 0, c, &d, &e) < 0)
		fail_msg("%s", err_msg(&e));
	assert_true(fake_start(f, d, UINT64_MAX));
	return f;
}

/* A request with its data in two buffers; returns the status, and the used length in *ret_len. */
static int request(struct fake *f, uint32_t type, uint64_t sector, void *data, uint32_t n, bool in, int64_t *ret_len)
{
	struct virtio_blk_outhdr h = { type, 0, sector };
	uint8_t status = 0xee;
	f->heap = FAKE_HEAP;
	uint64_t head = fake_put(f, &h, sizeof h), at = in ? fake_alloc(f, n) : fake_put(f, data, n), st = fake_put(f, &status, 1);
	uint32_t half = n / 3;
	struct fake_buf b[] = { { head, sizeof h, false }, { at, half, in }, { at + half, n - half, in }, { st, 1, true } };
	int64_t len = fake_do(f, 0, b, 4);
	if (ret_len)
		*ret_len = len;
	if (in)
		memcpy(data, fake_at(f, at), n);
	return *(uint8_t *)fake_at(f, st);
}

static void reads_writes(void **s)
{
	(void)s;
	int fd = file();
	struct fake *f = start(&(struct virtio_blk_options){ .fd = fd, .serial = "root" });
	static uint8_t b[8192], c[8192];
	int64_t len;
	uint64_t capacity;
	virtio_mmio_read(f->d, 0x100, 8, &capacity);
	assert_int_equal(capacity, SECTORS);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 3, b, 1024, true, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 1025);
	assert_int_equal(b[0], 3);
	assert_int_equal(b[1023], 4);
	memset(b, 0xa5, sizeof b);
	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, SECTORS - 16, b, 8192, false, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 1);
	assert_int_equal(pread(fd, c, 8192, 512 * (SECTORS - 16)), 8192);
	assert_memory_equal(b, c, 8192);
	assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, b, 0, false, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(request(f, VIRTIO_BLK_T_GET_ID, 0, c, 20, true, &len), VIRTIO_BLK_S_OK);
	assert_int_equal(len, 21);
	assert_string_equal((char *)c, "root");
	/* outside, beyond, and not in sectors */
	static const struct { uint64_t sector; uint32_t n; } bad[] = {
		{ SECTORS, 512 }, { SECTORS - 1, 1024 }, { UINT64_MAX, 512 }, { UINT64_MAX / 512, 512 }, { 0, 511 }, { 1ULL << 55, 512 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(request(f, VIRTIO_BLK_T_IN, bad[i].sector, c, bad[i].n, true, &len), VIRTIO_BLK_S_IOERR);
		assert_int_equal(len, 1);
		assert_int_equal(request(f, VIRTIO_BLK_T_OUT, bad[i].sector, c, bad[i].n, false, &len), VIRTIO_BLK_S_IOERR);
	}
	struct stat st;
	fstat(fd, &st);
	assert_int_equal(st.st_size, 512 * SECTORS);
	assert_int_equal(request(f, 4711, 0, c, 512, false, &len), VIRTIO_BLK_S_UNSUPP);
	/* the file shrank under us */
	assert_int_equal(ftruncate(fd, 512 * 10), 0);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 9, c, 1024, true, &len), VIRTIO_BLK_S_IOERR);
	assert_int_equal(f->lines, 0);
	fake_free(f);
}

static void holes(void **s)
{
	(void)s;
	int fd = file();
	struct fake *f = start(&(struct virtio_blk_options){ .fd = fd });
	uint8_t b[512];
	struct virtio_blk_discard_write_zeroes z = { 8, 8, 0 };
	assert_int_equal(request(f, VIRTIO_BLK_T_DISCARD, 0, &z, sizeof z, false, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(fd, b, 512, 512 * 9), 512);
	assert_int_equal(b[7], 0);
	z.sector = 17;
	z.num_sectors = 1;
	assert_int_equal(request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, &z, sizeof z, false, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(fd, b, 512, 512 * 17), 512);
	assert_int_equal(b[7], 0);
	assert_int_equal(pread(fd, b, 512, 512 * 18), 512);
	assert_int_equal(b[7], 18);
	z.flags = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	assert_int_equal(request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, &z, sizeof z, false, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(request(f, VIRTIO_BLK_T_DISCARD, 0, &z, sizeof z, false, NULL), VIRTIO_BLK_S_UNSUPP);
	z = (struct virtio_blk_discard_write_zeroes){ SECTORS - 1, 2, 0 };
	assert_int_equal(request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, &z, sizeof z, false, NULL), VIRTIO_BLK_S_IOERR);
	z = (struct virtio_blk_discard_write_zeroes){ UINT64_MAX, 1, 0 };
	assert_int_equal(request(f, VIRTIO_BLK_T_DISCARD, 0, &z, sizeof z, false, NULL), VIRTIO_BLK_S_IOERR);
	z = (struct virtio_blk_discard_write_zeroes){ 0, UINT32_MAX, 0 };
	assert_int_equal(request(f, VIRTIO_BLK_T_DISCARD, 0, &z, sizeof z, false, NULL), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(f, VIRTIO_BLK_T_DISCARD, 0, &z, 8, false, NULL), VIRTIO_BLK_S_IOERR);
	fake_free(f);
}

static void read_only(void **s)
{
	(void)s;
	int fd = file();
	struct fake *f = start(&(struct virtio_blk_options){ .fd = fd, .readonly = true });
	uint8_t b[512] = { 9 };
	struct virtio_blk_discard_write_zeroes z = { 8, 8, 0 };
	fake_set(f, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	uint32_t features = fake_get(f, VIRTIO_MMIO_DEVICE_FEATURES);
	assert_true(features & 1U << VIRTIO_BLK_F_RO);
	assert_false(features & 1U << VIRTIO_BLK_F_DISCARD);
	assert_int_equal(request(f, VIRTIO_BLK_T_OUT, 0, b, 512, false, NULL), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(f, VIRTIO_BLK_T_WRITE_ZEROES, 0, &z, sizeof z, false, NULL), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, b, 0, false, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(request(f, VIRTIO_BLK_T_IN, 5, b, 512, true, NULL), VIRTIO_BLK_S_OK);
	assert_int_equal(b[0], 5);
	fake_free(f);
}

/* Requests without a header or a place for the status. */
static void malformed(void **s)
{
	(void)s;
	struct fake *f = start(&(struct virtio_blk_options){ .fd = file() });
	struct fake_buf one = { fake_alloc(f, 16), 15, false };
	assert_int_equal(fake_do(f, 0, &one, 1), -1);
	assert_non_null(strstr(f->log, "without a place for its status"));
	assert_true(fake_start(f, f->d, UINT64_MAX));
	struct fake_buf two[] = { { fake_alloc(f, 16), 15, false }, { fake_alloc(f, 16), 16, true } };
	assert_int_equal(fake_do(f, 0, two, 2), -1);
	assert_non_null(strstr(f->log, "without a header"));
	fake_free(f);
}

/* Two operations a second at most: the third waits for its timer, over a snapshot as well. */
static void limited(void **s)
{
	(void)s;
	int fd = file();
	struct virtio_blk_options c = { .fd = fd, .limit.ops = { 2, 0, 200 } };
	struct fake *f = start(&c);
	struct virtio_blk_outhdr h = { VIRTIO_BLK_T_IN, 0, 0 };
	struct fake_buf b[] = { { fake_put(f, &h, sizeof h), sizeof h, false }, { fake_alloc(f, 513), 513, true } };
	for (unsigned i = 0; i < 4; i++)
		fake_chain(f, 0, b, 2);
	fake_kick(f, 0);
	assert_int_equal(fake_used(f, 0, NULL), 0);
	assert_int_equal(fake_used(f, 0, NULL), 1);
	assert_int_equal(fake_used(f, 0, NULL), -1);
	for (unsigned i = 0; i < 100 && fake_used(f, 0, NULL) < 0; i++)
		fake_wait(f, 1000);
	_cleanup_strbuf_ struct strbuf state = STRBUF_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	virtio_device_quiesce(f->d);
	assert_int_equal(virtio_device_save(f->d, &state), 0);
	c.fd = dup(fd);
	virtio_device_free(f->d);
	assert_int_equal(virtio_blk_new(&f->host, 0, &c, &f->d, &e), 0);
	assert_int_equal(virtio_device_restore(f->d, state.s, state.len, &e), 0);
	virtio_device_resume(f->d);
	for (unsigned i = 0; i < 100 && fake_used(f, 0, NULL) < 0; i++)
		fake_wait(f, 1000);
	assert_int_equal(f->q[0].seen, 4);
	fake_free(f);
}

static void refused(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	struct virtio_device *d = NULL;
	_cleanup_err_ struct err e = ERR_INIT;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC), ro = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_int_equal(virtio_blk_new(&f->host, 0, &(struct virtio_blk_options){ .fd = fd }, &d, &e), -EINVAL);
	assert_int_equal(virtio_blk_new(&f->host, 0, &(struct virtio_blk_options){ .fd = ro }, &d, &e), -EBADF);
	assert_int_equal(virtio_blk_new(&f->host, 0, &(struct virtio_blk_options){ .fd = ro, .readonly = true, .serial = "more than twenty bytes" }, &d, &e), -EINVAL);
	assert_int_equal(virtio_blk_new(&f->host, 0, &(struct virtio_blk_options){ .fd = ro, .readonly = true, .limit.bytes.size = 1 }, &d, &e), -EINVAL);
	assert_null(d);
	close(fd);
	close(ro);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(reads_writes), cmocka_unit_test(holes), cmocka_unit_test(read_only), cmocka_unit_test(malformed), cmocka_unit_test(limited),
		cmocka_unit_test(refused) };
	return cmocka_run_group_tests_name("virtio_blk", tests, NULL, NULL);
}
