/* virtio-console as Linux' driver uses it, and as it should not be used. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/virtio_console.h>
#include <linux/virtio_mmio.h>

#include "virtio_fake.h"

enum { PORTS = 3, CRX = 2, CTX = 3 };

struct rig { struct fake *f; int host[PORTS]; uint64_t control_buf; };
static const char *const names[PORTS] = { "dev.tierce.agent", "dev.tierce.fuse", "third" };

static struct virtio_device *device(struct rig *r)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct virtio_console_port p[PORTS];
	struct virtio_device *d;
	for (unsigned i = 0; i < PORTS; i++) {
		int pair[2];
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
		r->host[i] = pair[0];
		fcntl(pair[0], F_SETFL, O_NONBLOCK);
		p[i] = (struct virtio_console_port){ names[i], pair[1] };
	}
	assert_int_equal(virtio_console_new(&r->f->host, 0, p, PORTS, &d, &e), 0);
	return d;
}

static void say(struct rig *r, uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control m = { id, event, value };
	struct fake_buf b = { fake_put(r->f, &m, sizeof m), sizeof m, false };
	assert_int_equal(fake_do(r->f, CTX, &b, 1), 0);
}

/* Next message of the device: event << 16 | id << 8 | value, -1 when there is none. Its buffer goes back. */
static int hear(struct rig *r, char name[64])
{
	uint32_t len;
	struct virtio_console_control m;
	int head = fake_used(r->f, CRX, &len);
	if (head < 0)
		return -1;
	const uint8_t *p = fake_at(r->f, r->control_buf + 64 * (uint64_t)head);
	memcpy(&m, p, sizeof m);
	if (name) {
		memcpy(name, p + sizeof m, len - sizeof m);
		name[len - sizeof m] = 0;
	}
	fake_avail(r->f, CRX, (uint16_t)head);
	return m.event << 16 | (int)m.id << 8 | m.value;
}

static struct rig start(void)
{
	struct rig r = { .f = fake_new() };
	assert_true(fake_start(r.f, device(&r), 1ULL << VIRTIO_CONSOLE_F_MULTIPORT));
	r.control_buf = fake_alloc(r.f, 64 * 8);
	for (uint16_t i = 0; i < 8; i++) {
		fake_desc(r.f, CRX, i, r.control_buf + 64 * i, 64, 2, 0);
		fake_avail(r.f, CRX, i);
	}
	return r;
}

static void greet(struct rig *r)
{
	char name[64];
	say(r, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	for (unsigned i = 0; i < PORTS; i++)
		assert_int_equal(hear(r, NULL), VIRTIO_CONSOLE_PORT_ADD << 16 | (int)i << 8 | 1);
	for (unsigned i = 0; i < PORTS; i++) {
		say(r, i, VIRTIO_CONSOLE_PORT_READY, 1);
		assert_int_equal(hear(r, name), VIRTIO_CONSOLE_PORT_NAME << 16 | (int)i << 8 | 1);
		assert_string_equal(name, names[i]);
		assert_int_equal(hear(r, NULL), VIRTIO_CONSOLE_PORT_OPEN << 16 | (int)i << 8 | 1);
	}
	assert_int_equal(hear(r, NULL), -1);
}

static void finish(struct rig *r)
{
	for (unsigned i = 0; i < PORTS; i++)
		close(r->host[i]);
	fake_free(r->f);
}

static void handshake(void **s)
{
	(void)s;
	struct rig r = start();
	uint32_t n = 0;
	virtio_mmio_read(r.f->d, 0x104, 4, &n);
	assert_int_equal(n, PORTS);
	greet(&r);
	greet(&r); /* the driver was bound anew */
	say(&r, 77, VIRTIO_CONSOLE_PORT_OPEN, 1);
	say(&r, UINT32_MAX, VIRTIO_CONSOLE_PORT_READY, 1);
	say(&r, 0, 999, 1);
	assert_int_equal(hear(&r, NULL), -1);
	struct fake_buf b = { fake_put(r.f, "ab", 2), 2, false };
	assert_int_equal(fake_do(r.f, CTX, &b, 1), 0); /* too short for a message */
	assert_int_equal(r.f->lines, 0);
	finish(&r);
}

/* Port 1: queues 4 and 5. Bytes wait outside until the port is open and has buffers. */
static void bytes(void **s)
{
	(void)s;
	struct rig r = start();
	struct fake_buf in = { fake_alloc(r.f, 16), 16, true };
	char b[64];
	uint32_t len;
	greet(&r);
	assert_int_equal(write(r.host[1], "0123456789abcdefXYZ", 19), 19);
	fake_poll(r.f, 8);
	fake_chain(r.f, 4, &in, 1);
	fake_kick(r.f, 4);
	assert_int_equal(fake_used(r.f, 4, NULL), -1); /* nobody in the guest has it open */
	say(&r, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	fake_poll(r.f, 8);
	assert_int_equal(fake_used(r.f, 4, &len), 0);
	assert_int_equal(len, 16);
	assert_memory_equal(fake_at(r.f, in.gpa), "0123456789abcdef", 16);
	assert_false(fake_watched(r.f, r.host[1]));
	assert_int_equal(fake_poll(r.f, 8), 0); /* no buffer: nothing spins */
	fake_chain(r.f, 4, &in, 1);
	fake_kick(r.f, 4);
	assert_int_equal(fake_used(r.f, 4, &len), 1);
	assert_int_equal(len, 3);
	struct fake_buf out[] = { { fake_put(r.f, "hello ", 6), 6, false }, { fake_put(r.f, "host", 4), 4, false } };
	assert_int_equal(fake_do(r.f, 5, out, 2), 0);
	assert_int_equal(read(r.host[1], b, sizeof b), 10);
	assert_memory_equal(b, "hello host", 10);
	/* the host goes: the guest is told, later bytes vanish */
	fake_chain(r.f, 4, &in, 1);
	fake_kick(r.f, 4);
	close(r.host[1]);
	fake_poll(r.f, 8);
	assert_int_equal(hear(&r, NULL), VIRTIO_CONSOLE_PORT_OPEN << 16 | 1 << 8 | 0);
	assert_int_equal(fake_do(r.f, 5, out, 2), 0);
	assert_int_equal(fake_poll(r.f, 8), 0);
	r.host[1] = dup(r.host[0]);
	finish(&r);
}

/* A host that does not read holds the chain, not the device; a snapshot taken then loses and doubles nothing. */
static void full(void **s)
{
	(void)s;
	struct rig r = start();
	enum { BLOCK = 64 << 10, BLOCKS = 8 };
	uint8_t *all = malloc(BLOCK * BLOCKS), *got = malloc(BLOCK * BLOCKS);
	size_t n = 0, used = 0;
	greet(&r);
	for (size_t i = 0; i < BLOCK * BLOCKS; i++)
		all[i] = (uint8_t)(i * 7 + i / BLOCK);
	for (unsigned i = 0; i < BLOCKS; i++) {
		struct fake_buf b[2] = { { fake_put(r.f, all + i * BLOCK, BLOCK / 2), BLOCK / 2, false }, { fake_put(r.f, all + i * BLOCK + BLOCK / 2, BLOCK / 2), BLOCK / 2, false } };
		fake_chain(r.f, 1, b, 2);
	}
	fake_kick(r.f, 1);
	while (fake_used(r.f, 1, NULL) >= 0)
		used++;
	assert_true(used < BLOCKS);
	assert_int_equal(fake_poll(r.f, 8), 0);
	/* what the first socket took */
	for (ssize_t k; (k = read(r.host[0], got + n, BLOCK * BLOCKS - n)) > 0;)
		n += (size_t)k;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	virtio_device_quiesce(r.f->d);
	assert_int_equal(virtio_device_save(r.f->d, &b), 0);
	virtio_device_free(r.f->d);
	for (unsigned i = 0; i < PORTS; i++)
		close(r.host[i]);
	r.f->d = device(&r);
	assert_int_equal(virtio_device_restore(r.f->d, b.s, b.len, &e), 0);
	virtio_device_resume(r.f->d);
	for (unsigned i = 0; i < PORTS; i++)
		assert_int_equal(hear(&r, NULL), VIRTIO_CONSOLE_PORT_OPEN << 16 | (int)i << 8 | 1);
	for (unsigned turns = 0; n < BLOCK * BLOCKS && turns < 1000; turns++) {
		ssize_t k = read(r.host[0], got + n, BLOCK * BLOCKS - n);
		n += k > 0 ? (size_t)k : 0;
		fake_poll(r.f, 8);
	}
	assert_int_equal(n, BLOCK * BLOCKS);
	assert_memory_equal(all, got, n);
	while (fake_used(r.f, 1, NULL) >= 0)
		used++;
	assert_int_equal(used, BLOCKS);
	free(all);
	free(got);
	finish(&r);
}

static void refused(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	_cleanup_err_ struct err e = ERR_INIT;
	struct virtio_device *d = NULL;
	struct virtio_console_port p[CONSOLE_PORTS_MAX + 1];
	for (unsigned i = 0; i <= CONSOLE_PORTS_MAX; i++)
		p[i] = (struct virtio_console_port){ "x", -EBADF };
	assert_int_equal(virtio_console_new(&f->host, 0, p, CONSOLE_PORTS_MAX + 1, &d, &e), -EINVAL);
	assert_int_equal(virtio_console_new(&f->host, 0, p, 0, &d, &e), -EINVAL);
	p[0].name = "a name that is longer than thirty-one bytes";
	assert_int_equal(virtio_console_new(&f->host, 0, p, 1, &d, &e), -EINVAL);
	assert_null(d);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(handshake), cmocka_unit_test(bytes), cmocka_unit_test(full), cmocka_unit_test(refused) };
	return cmocka_run_group_tests_name("virtio_console", tests, NULL, NULL);
}
