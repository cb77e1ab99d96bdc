/* virtio-fs over the FUSE server in this process, and over a channel with a server at the other end that answers when the test says so. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/fuse.h>
#include <linux/virtio_mmio.h>

#include "tier/vm/fuse/server.h"
#include "virtio_fake.h"

enum { HIPRIO, REQUESTS };

static struct fake *start(const struct virtio_fs_options *c)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct fake *f = fake_new();
	struct virtio_device *d;
	if (virtio_fs_new(&f->host, 0, c, &d, &e) < 0)
		fail_msg("%s", err_msg(&e));
	assert_true(fake_start(f, d, UINT64_MAX));
	return f;
}

/* Queue a request with room for `room` bytes behind the reply's header; the reply's place. */
static uint64_t ask(struct fake *f, unsigned queue, uint32_t opcode, uint64_t node, uint64_t unique, const void *arg, uint32_t n, uint32_t room)
{
	struct fuse_in_header h = { .len = (uint32_t)sizeof h + n, .opcode = opcode, .unique = unique, .nodeid = node };
	uint64_t head = fake_put(f, &h, sizeof h), at = fake_put(f, arg, n), out = fake_alloc(f, sizeof(struct fuse_out_header) + room);
	struct fake_buf b[] = { { head, sizeof h, false }, { at, n, false }, { out, (uint32_t)(sizeof(struct fuse_out_header) + room), true } };
	fake_chain(f, queue, b, 3);
	fake_kick(f, queue);
	return out;
}

static struct fuse_out_header reply(struct fake *f, uint64_t at)
{
	struct fuse_out_header h;
	memcpy(&h, fake_at(f, at), sizeof h);
	return h;
}

static void init(struct fake *f)
{
	struct fuse_init_in in = { .major = 7, .minor = 31 };
	uint64_t at = ask(f, REQUESTS, FUSE_INIT, 0, 1, &in, sizeof in, sizeof(struct fuse_init_out));
	assert_true(fake_used(f, REQUESTS, NULL) >= 0);
	assert_int_equal(reply(f, at).error, 0);
}

static void in_process(void **s)
{
	(void)s;
	char dir[] = "/tmp/tierce-unit-fs.XXXXXX", tag[36];
	assert_non_null(mkdtemp(dir));
	int root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = openat(root, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_int_equal(write(fd, "contents", 8), 8);
	close(fd);
	struct fuse_server *server = fuse_server_new(&(struct fuse_share){ root, false }, 1);
	struct fake *f = start(&(struct virtio_fs_options){ .tag = "shares", .server = server });
	uint32_t len;
	for (unsigned i = 0; i < 36; i += 4)
		virtio_mmio_read(f->d, 0x100 + i, 4, tag + i);
	assert_string_equal(tag, "shares");
	assert_int_equal(fake_get(f, 0x100 + 36), 1);
	init(f);
	/* walk to the file and read it */
	uint64_t at = ask(f, REQUESTS, FUSE_LOOKUP, FUSE_ROOT_ID, 2, "0", 2, sizeof(struct fuse_entry_out));
	assert_true(fake_used(f, REQUESTS, &len) >= 0);
	assert_int_equal(len, sizeof(struct fuse_out_header) + sizeof(struct fuse_entry_out));
	struct fuse_entry_out entry;
	memcpy(&entry, (uint8_t *)fake_at(f, at) + 16, sizeof entry);
	at = ask(f, REQUESTS, FUSE_LOOKUP, entry.nodeid, 3, "file", 5, sizeof entry);
	memcpy(&entry, (uint8_t *)fake_at(f, at) + 16, sizeof entry);
	assert_int_equal(entry.attr.size, 8);
	at = ask(f, REQUESTS, FUSE_OPEN, entry.nodeid, 4, &(struct fuse_open_in){ .flags = O_RDONLY }, sizeof(struct fuse_open_in), sizeof(struct fuse_open_out));
	struct fuse_open_out o;
	memcpy(&o, (uint8_t *)fake_at(f, at) + 16, sizeof o);
	at = ask(f, REQUESTS, FUSE_READ, entry.nodeid, 5, &(struct fuse_read_in){ .fh = o.fh, .size = 4096 }, sizeof(struct fuse_read_in), 4096);
	assert_int_equal(reply(f, at).len, 16 + 8);
	assert_memory_equal((uint8_t *)fake_at(f, at) + 16, "contents", 8);
	assert_int_equal(reply(f, at).unique, 5);
	while (fake_used(f, REQUESTS, NULL) >= 0)
		;
	/* forget by the priority queue has no reply */
	ask(f, HIPRIO, FUSE_FORGET, entry.nodeid, 6, &(struct fuse_forget_in){ 1 }, sizeof(struct fuse_forget_in), 0);
	assert_true(fake_used(f, HIPRIO, &len) >= 0);
	assert_int_equal(len, 0);
	/* less room than the reply has: cut, and the guest's kernel sees by the length that it was */
	at = ask(f, REQUESTS, FUSE_GETATTR, FUSE_ROOT_ID, 7, &(struct fuse_getattr_in){ 0 }, sizeof(struct fuse_getattr_in), 8);
	assert_true(fake_used(f, REQUESTS, &len) >= 0);
	assert_int_equal(len, 24);
	/* lengths that lie */
	struct fuse_in_header h = { .len = 4000, .opcode = FUSE_GETATTR };
	struct fake_buf b = { fake_put(f, &h, sizeof h), sizeof h, false };
	assert_int_equal(fake_do(f, REQUESTS, &b, 1), -1);
	assert_non_null(strstr(f->log, "request of 40 bytes says that it has 4000"));
	assert_true(fake_start(f, f->d, 0));
	b.len = 12;
	assert_int_equal(fake_do(f, REQUESTS, &b, 1), -1);
	assert_non_null(strstr(f->log, "request of 12 bytes"));
	fake_free(f);
	fuse_server_free(server);
	unlinkat(root, "file", 0);
	close(root);
	rmdir(dir);
}

/* The far end: read one request whole; answer one. */
static struct fuse_in_header far_read(int fd, uint8_t *rest)
{
	struct fuse_in_header h;
	assert_int_equal(recv(fd, &h, sizeof h, MSG_WAITALL), sizeof h);
	if (h.len > sizeof h)
		assert_int_equal(recv(fd, rest, h.len - sizeof h, MSG_WAITALL), h.len - sizeof h);
	return h;
}

static void far_answer(int fd, uint64_t unique, int error, const char *text)
{
	struct fuse_out_header h = { (uint32_t)(sizeof h + strlen(text)), error, unique };
	assert_int_equal(send(fd, &h, sizeof h, MSG_NOSIGNAL), sizeof h);
	if (*text)
		assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static struct fake *start_far(int *far)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	*far = pair[0];
	return start(&(struct virtio_fs_options){ .tag = "x", .channel_fd = pair[1] });
}

/* Two requests with the same number, answered the other way round; a reply in pieces; one that is never answered. */
static void far(void **s)
{
	(void)s;
	int fd;
	uint8_t rest[256];
	struct fake *f = start_far(&fd);
	uint64_t a = ask(f, REQUESTS, FUSE_GETATTR, 1, 77, "aaaa", 4, 64), b = ask(f, REQUESTS, FUSE_GETATTR, 1, 77, "bbbb", 4, 64);
	ask(f, HIPRIO, FUSE_FORGET, 1, 5, "", 0, 0);
	assert_true(fake_used(f, HIPRIO, NULL) >= 0);
	struct fuse_in_header ha = far_read(fd, rest);
	assert_memory_equal(rest, "aaaa", 4);
	struct fuse_in_header hb = far_read(fd, rest), hf = far_read(fd, rest);
	assert_int_equal(hf.opcode, FUSE_FORGET);
	assert_true(ha.unique != hb.unique);
	far_answer(fd, hb.unique, 0, "for b");
	fake_wait(f, 2000);
	assert_int_equal(fake_used(f, REQUESTS, NULL), 1);
	assert_int_equal(reply(f, b).unique, 77);
	assert_memory_equal((uint8_t *)fake_at(f, b) + 16, "for b", 5);
	struct fuse_out_header h = { sizeof h + 5, 0, ha.unique };
	send(fd, &h, 7, 0);
	fake_wait(f, 2000);
	send(fd, (uint8_t *)&h + 7, sizeof h - 7, 0);
	fake_wait(f, 2000);
	assert_int_equal(fake_used(f, REQUESTS, NULL), -1);
	send(fd, "for a", 5, 0);
	fake_wait(f, 2000);
	assert_int_equal(fake_used(f, REQUESTS, NULL), 0);
	assert_int_equal(reply(f, a).unique, 77);
	/* the driver is reset while one is away: its late reply reaches nobody, the next one's the right one */
	uint64_t lost = ask(f, REQUESTS, FUSE_GETATTR, 1, 8, "", 0, 64);
	struct fuse_in_header hl = far_read(fd, rest);
	assert_true(fake_start(f, f->d, 0));
	uint64_t c = ask(f, REQUESTS, FUSE_GETATTR, 1, 9, "", 0, 64);
	struct fuse_in_header hc = far_read(fd, rest);
	memset(fake_at(f, lost), 0, 16);
	far_answer(fd, hl.unique, 0, "late");
	far_answer(fd, hc.unique, -EPERM, "");
	fake_wait(f, 2000);
	assert_int_equal(fake_used(f, REQUESTS, NULL), 0);
	assert_int_equal(fake_used(f, REQUESTS, NULL), -1);
	assert_int_equal(reply(f, c).error, -EPERM);
	assert_int_equal(reply(f, lost).len, 0);
	/* the server ends: what is away and what follows fails */
	uint64_t last = ask(f, REQUESTS, FUSE_GETATTR, 1, 10, "", 0, 64);
	close(fd);
	fake_wait(f, 2000);
	assert_int_equal(reply(f, last).error, -ENOTCONN);
	uint64_t after = ask(f, REQUESTS, FUSE_GETATTR, 1, 11, "", 0, 64);
	assert_int_equal(reply(f, after).error, -ENOTCONN);
	assert_int_equal(f->lines, 0);
	fake_free(f);
}

/* More requests than the server may have at once, and a snapshot that waits for them. */
static void many(void **s)
{
	(void)s;
	int fd;
	uint8_t rest[256];
	struct fake *f = start_far(&fd);
	f->indirect = true;
	assert_true(fake_start(f, f->d, UINT64_MAX));
	uint64_t unique[300];
	unsigned got = 0, done = 0;
	for (unsigned i = 0; i < FAKE_QUEUE; i++)
		ask(f, i == 3 ? HIPRIO : REQUESTS, FUSE_GETATTR, 1, i, "", 0, 64);
	for (unsigned turns = 0; got < FAKE_QUEUE && turns < 1000; turns++) {
		struct fuse_in_header h;
		while (recv(fd, &h, sizeof h, MSG_DONTWAIT) == sizeof h)
			unique[got++] = h.unique;
		while (done + 10 < got)
			far_answer(fd, unique[done++], 0, "");
		fake_poll(f, 8);
	}
	assert_int_equal(got, FAKE_QUEUE);
	while (done < got)
		far_answer(fd, unique[done++], 0, "");
	virtio_device_quiesce(f->d); /* takes what is there */
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	assert_int_equal(virtio_device_save(f->d, &b), 0);
	unsigned n = 0;
	while (fake_used(f, REQUESTS, NULL) >= 0 || fake_used(f, HIPRIO, NULL) >= 0)
		n++;
	assert_int_equal(n, FAKE_QUEUE);
	virtio_device_resume(f->d);
	/* a server that talks nonsense is left */
	uint64_t at = ask(f, REQUESTS, FUSE_GETATTR, 1, 12, "", 0, 64);
	far_read(fd, rest);
	far_answer(fd, 0xdeadbeef, 0, "");
	fake_wait(f, 2000);
	assert_int_equal(reply(f, at).error, -ENOTCONN);
	close(fd);
	fake_free(f);
}

static void refused(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	struct virtio_device *d = NULL;
	_cleanup_err_ struct err e = ERR_INIT;
	assert_int_equal(virtio_fs_new(&f->host, 0, &(struct virtio_fs_options){ .tag = "", .channel_fd = 0 }, &d, &e), -EINVAL);
	assert_int_equal(virtio_fs_new(&f->host, 0, &(struct virtio_fs_options){ .tag = "a tag of more than thirty-six bytes..", .channel_fd = 0 }, &d, &e), -EINVAL);
	assert_int_equal(virtio_fs_new(&f->host, 0, &(struct virtio_fs_options){ .tag = "x", .channel_fd = -EBADF }, &d, &e), -EINVAL);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(in_process), cmocka_unit_test(far), cmocka_unit_test(many), cmocka_unit_test(refused) };
	return cmocka_run_group_tests_name("virtio_fs", tests, NULL, NULL);
}
