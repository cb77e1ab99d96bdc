/* virtio-vsock: connections in both directions, credit, ends, and guests that lie. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/virtio_vsock.h>

#include "virtio_fake.h"

enum { RX, TX, EVENT, CID = 5, BUFS = 16, BUF = 4096, WIN = 64 << 10 };

struct rig { struct fake *f; char dir[64], path[80]; int listener; struct fake_buf in[BUFS]; };

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static struct virtio_device *device(struct rig *r)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct virtio_device *d;
	r->listener = listen_at(r->path);
	if (virtio_vsock_new(&r->f->host, 0, &(struct virtio_vsock_options){ .cid = CID, .listen_fd = r->listener, .path = r->path }, &d, &e) < 0)
		fail_msg("%s", err_msg(&e));
	return d;
}

static void buffers(struct rig *r)
{
	for (unsigned i = 0; i < BUFS; i++) {
		r->in[i] = (struct fake_buf){ fake_alloc(r->f, BUF), BUF, true };
		fake_desc(r->f, RX, i, r->in[i].gpa, BUF, 2, 0);
		fake_avail(r->f, RX, (uint16_t)i);
	}
	fake_kick(r->f, RX);
}

static struct rig start(void)
{
	struct rig r = { .f = fake_new(), .dir = "/tmp/tierce-unit-vsock.XXXXXX" };
	assert_non_null(mkdtemp(r.dir));
	snprintf(r.path, sizeof r.path, "%s/v", r.dir);
	assert_true(fake_start(r.f, device(&r), 0));
	buffers(&r);
	return r;
}

static void finish(struct rig *r)
{
	char path[128];
	assert_int_equal(r->f->lines, 0);
	fake_free(r->f);
	unlink(r->path);
	snprintf(path, sizeof path, "%s_7", r->path);
	unlink(path);
	rmdir(r->dir);
}

static struct virtio_vsock_hdr header(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	return (struct virtio_vsock_hdr){ .src_cid = CID, .dst_cid = 2, .src_port = guest_port, .dst_port = host_port, .type = VIRTIO_VSOCK_TYPE_STREAM, .op = op, .buf_alloc = WIN };
}

static void put(struct rig *r, struct virtio_vsock_hdr h, const void *data, uint32_t n)
{
	h.len = n;
	struct fake_buf b[2] = { { fake_put(r->f, &h, sizeof h), sizeof h, false }, { fake_put(r->f, data, n), n, false } };
	assert_int_equal(fake_do(r->f, TX, b, n ? 2 : 1), 0);
	if (r->f->heap > FAKE_RAM / 2)
		r->f->heap = FAKE_HEAP + BUFS * BUF;
}

/* Next packet of the device; its buffer goes back. op 0: there is none. */
static struct virtio_vsock_hdr get(struct rig *r, void *data)
{
	struct virtio_vsock_hdr h = { 0 };
	uint32_t len;
	int i = fake_used(r->f, RX, &len);
	if (i < 0)
		return h;
	memcpy(&h, fake_at(r->f, r->in[i].gpa), sizeof h);
	assert_int_equal(len, sizeof h + h.len);
	if (data)
		memcpy(data, (uint8_t *)fake_at(r->f, r->in[i].gpa) + sizeof h, h.len);
	fake_avail(r->f, RX, (uint16_t)i);
	fake_kick(r->f, RX);
	assert_int_equal(h.src_cid, 2);
	assert_int_equal(h.dst_cid, CID);
	return h;
}

static void from_host(void **s)
{
	(void)s;
	struct rig r = start();
	char b[256] = { 0 };
	int fd = connect_to(r.path);
	/* in pieces, and with bytes behind the line that are the guest's */
	assert_int_equal(write(fd, "CONN", 4), 4);
	fake_poll(r.f, 16);
	assert_int_equal(fake_poll(r.f, 16), 0);
	assert_int_equal(write(fd, "ECT 52\nearly", 12), 12);
	fake_poll(r.f, 16);
	struct virtio_vsock_hdr h = get(&r, NULL);
	assert_int_equal(h.op, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(h.dst_port, 52);
	assert_int_equal(h.buf_alloc, VSOCK_BUFFER);
	uint32_t port = h.src_port;
	assert_int_equal(read(fd, b, sizeof b), -1);
	put(&r, header(VIRTIO_VSOCK_OP_RESPONSE, 52, port), NULL, 0);
	assert_true(read(fd, b, sizeof b) > 0);
	char ok[32];
	snprintf(ok, sizeof ok, "OK %u\n", port);
	assert_string_equal(b, ok);
	fake_poll(r.f, 16);
	h = get(&r, b);
	assert_int_equal(h.op, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(h.len, 5);
	assert_memory_equal(b, "early", 5);
	put(&r, header(VIRTIO_VSOCK_OP_RW, 52, port), "hello host", 10);
	assert_int_equal(read(fd, b, sizeof b), 10);
	assert_memory_equal(b, "hello host", 10);
	/* the host shuts its half down; the guest may still write; then closes */
	shutdown(fd, SHUT_WR);
	fake_poll(r.f, 16);
	h = get(&r, NULL);
	assert_int_equal(h.op, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	assert_int_equal(fake_poll(r.f, 16), 0); /* nothing spins */
	put(&r, header(VIRTIO_VSOCK_OP_RW, 52, port), "more", 4);
	assert_int_equal(read(fd, b, sizeof b), 4);
	struct virtio_vsock_hdr e = header(VIRTIO_VSOCK_OP_SHUTDOWN, 52, port);
	e.flags = 3;
	put(&r, e, NULL, 0);
	assert_int_equal(get(&r, NULL).op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(read(fd, b, sizeof b), 0);
	close(fd);
	/* nobody listens in the guest */
	fd = connect_to(r.path);
	assert_int_equal(write(fd, "CONNECT 9\n", 10), 10);
	fake_poll(r.f, 16);
	h = get(&r, NULL);
	assert_true(h.src_port != port);
	put(&r, header(VIRTIO_VSOCK_OP_RST, 9, h.src_port), NULL, 0);
	assert_int_equal(read(fd, b, sizeof b), 0);
	close(fd);
	/* no line, a wrong one, one without end: closed, the guest hears nothing; a program that leaves before the answer: RST */
	static const char *const wrong[] = { "", "GET / HTTP/1.0\n", "CONNECT x\n", "CONNECT 4294967296\n", "CONNECT 1111111111111111111111111111111111111111111" };
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		fd = connect_to(r.path);
		assert_int_equal(write(fd, wrong[i], strlen(wrong[i])), strlen(wrong[i]));
		if (!*wrong[i])
			shutdown(fd, SHUT_WR);
		fake_poll(r.f, 16);
		ssize_t n = read(fd, b, sizeof b);
		assert_true(n == 0 || errno == ECONNRESET);
		assert_int_equal(get(&r, NULL).op, 0);
		close(fd);
	}
	fd = connect_to(r.path);
	assert_int_equal(write(fd, "CONNECT 9\n", 10), 10);
	fake_poll(r.f, 16);
	assert_int_equal(get(&r, NULL).op, VIRTIO_VSOCK_OP_REQUEST);
	close(fd);
	fake_poll(r.f, 16);
	assert_int_equal(get(&r, NULL).op, VIRTIO_VSOCK_OP_RST);
	finish(&r);
}

static int guest_connects(struct rig *r, uint32_t guest_port, uint32_t window)
{
	char path[128];
	snprintf(path, sizeof path, "%s_7", r->path);
	int l = listen_at(path);
	struct virtio_vsock_hdr h = header(VIRTIO_VSOCK_OP_REQUEST, guest_port, 7);
	h.buf_alloc = window;
	put(r, h, NULL, 0);
	assert_int_equal(get(r, NULL).op, VIRTIO_VSOCK_OP_RESPONSE);
	int fd = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd >= 0);
	close(l);
	return fd;
}

/* The guest's window bounds what it is sent; it is asked for credit when it has none left. */
static void credit_of_guest(void **s)
{
	(void)s;
	struct rig r = start();
	static uint8_t data[30000], got[30000];
	size_t n = 0;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	int fd = guest_connects(&r, 99, 10000);
	assert_int_equal(write(fd, data, sizeof data), sizeof data);
	fake_poll(r.f, 16);
	bool asked = false;
	for (struct virtio_vsock_hdr h; (h = get(&r, got + n)).op;) {
		asked |= h.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST;
		n += h.len;
	}
	assert_int_equal(n, 10000);
	assert_true(asked);
	assert_int_equal(fake_poll(r.f, 16), 0);
	/* it says it took more than it got: nothing comes of that */
	struct virtio_vsock_hdr u = header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 99, 7);
	u.buf_alloc = 10000;
	u.fwd_cnt = 20000;
	put(&r, u, NULL, 0);
	fake_poll(r.f, 16);
	assert_int_equal(get(&r, NULL).op, 0);
	for (unsigned turns = 0; n < sizeof data && turns < 100; turns++) {
		u.fwd_cnt = (uint32_t)n;
		put(&r, u, NULL, 0);
		fake_poll(r.f, 16);
		for (struct virtio_vsock_hdr h; (h = get(&r, got + n)).op;)
			n += h.len;
	}
	assert_int_equal(n, sizeof data);
	assert_memory_equal(data, got, n);
	close(fd);
	fake_poll(r.f, 16);
	u.fwd_cnt = (uint32_t)n;
	put(&r, u, NULL, 0);
	fake_poll(r.f, 16);
	struct virtio_vsock_hdr h = get(&r, NULL);
	while (h.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST)
		h = get(&r, NULL);
	assert_int_equal(h.op, VIRTIO_VSOCK_OP_SHUTDOWN);
	assert_int_equal(h.flags, 3); /* closed, not only shut down */
	finish(&r);
}

/* A program of the host that does not read: bytes wait up to our window, which the guest sees shrink; more than that ends the connection. */
static void credit_of_host(void **s)
{
	(void)s;
	struct rig r = start();
	enum { PIECE = 8192, TOTAL = 2 << 20 };
	static uint8_t piece[PIECE];
	uint8_t *got = malloc(TOTAL), buf[BUF];
	uint32_t sent = 0, fwd = 0;
	size_t n = 0;
	int fd = guest_connects(&r, 99, WIN);
	for (unsigned turns = 0; n < TOTAL && turns < 100000; turns++) {
		while (sent < TOTAL && sent - fwd + PIECE <= VSOCK_BUFFER) {
			for (uint32_t i = 0; i < PIECE; i++)
				piece[i] = (uint8_t)((sent + i) * 13 + (sent + i) / 251);
			put(&r, header(VIRTIO_VSOCK_OP_RW, 99, 7), piece, PIECE);
			sent += PIECE;
			for (struct virtio_vsock_hdr h; (h = get(&r, buf)).op;)
				fwd = h.fwd_cnt;
		}
		if (turns % 3 == 0 || sent - fwd + PIECE > VSOCK_BUFFER) { /* slowly */
			ssize_t k = read(fd, got + n, 5000);
			n += k > 0 ? (size_t)k : 0;
		}
		fake_poll(r.f, 16);
		for (struct virtio_vsock_hdr h; (h = get(&r, buf)).op;) {
			assert_int_equal(h.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
			fwd = h.fwd_cnt;
		}
	}
	assert_int_equal(n, TOTAL);
	for (size_t i = 0; i < TOTAL; i++)
		if (got[i] != (uint8_t)(i * 13 + i / 251))
			fail_msg("byte %zu", i);
	free(got);
	/* done in both directions while bytes wait: all of them arrive, then RST */
	struct virtio_vsock_hdr e = header(VIRTIO_VSOCK_OP_SHUTDOWN, 99, 7);
	e.flags = 3;
	put(&r, header(VIRTIO_VSOCK_OP_RW, 99, 7), piece, 100);
	put(&r, e, NULL, 0);
	assert_int_equal(get(&r, NULL).op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(read(fd, buf, sizeof buf), 100);
	assert_int_equal(read(fd, buf, sizeof buf), 0);
	close(fd);
	/* beyond the window */
	fd = guest_connects(&r, 98, WIN);
	struct virtio_vsock_hdr h = { 0 };
	for (unsigned i = 0; i < 1000 && h.op != VIRTIO_VSOCK_OP_RST; i++) {
		put(&r, header(VIRTIO_VSOCK_OP_RW, 98, 7), piece, PIECE);
		h = get(&r, NULL);
	}
	assert_int_equal(h.op, VIRTIO_VSOCK_OP_RST);
	close(fd);
	finish(&r);
}

static void liars(void **s)
{
	(void)s;
	struct rig r = start();
	/* no such program, unknown connections, other types, other addresses */
	put(&r, header(VIRTIO_VSOCK_OP_REQUEST, 1, 1234), NULL, 0);
	assert_int_equal(get(&r, NULL).op, VIRTIO_VSOCK_OP_RST);
	put(&r, header(VIRTIO_VSOCK_OP_RW, 1, 1234), "x", 1);
	struct virtio_vsock_hdr h = get(&r, NULL);
	assert_int_equal(h.op, VIRTIO_VSOCK_OP_RST);
	assert_int_equal(h.src_port, 1234);
	put(&r, header(VIRTIO_VSOCK_OP_RST, 1, 1234), NULL, 0);
	assert_int_equal(get(&r, NULL).op, 0);
	h = header(VIRTIO_VSOCK_OP_REQUEST, 1, 7);
	h.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	put(&r, h, NULL, 0);
	assert_int_equal(get(&r, NULL).op, VIRTIO_VSOCK_OP_RST);
	h = header(VIRTIO_VSOCK_OP_REQUEST, 1, 7);
	h.src_cid = 6;
	put(&r, h, NULL, 0);
	h.src_cid = CID;
	h.dst_cid = 1;
	put(&r, h, NULL, 0);
	assert_int_equal(get(&r, NULL).op, 0);
	/* a connection that is there: asked for again, answered without a question, an operation that does not exist */
	static const uint16_t wrong[] = { VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE, 0, 99 };
	for (uint32_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		int fd = guest_connects(&r, 200 + i, WIN);
		put(&r, header(wrong[i], 200 + i, 7), NULL, 0);
		assert_int_equal(get(&r, NULL).op, VIRTIO_VSOCK_OP_RST);
		char b;
		assert_int_equal(read(fd, &b, 1), 0);
		close(fd);
	}
	/* as many as there may be, and one more */
	int fds[VSOCK_CONNECTIONS_MAX];
	for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		fds[i] = guest_connects(&r, 1000 + i, WIN);
	char path[128];
	snprintf(path, sizeof path, "%s_7", r.path);
	int l = listen_at(path);
	put(&r, header(VIRTIO_VSOCK_OP_REQUEST, 5000, 7), NULL, 0);
	assert_int_equal(get(&r, NULL).op, VIRTIO_VSOCK_OP_RST);
	int late = connect_to(r.path);
	fake_poll(r.f, 16);
	put(&r, header(VIRTIO_VSOCK_OP_RST, 1000, 7), NULL, 0);
	put(&r, header(VIRTIO_VSOCK_OP_REQUEST, 5000, 7), NULL, 0);
	assert_int_equal(get(&r, NULL).op, VIRTIO_VSOCK_OP_RESPONSE);
	for (unsigned i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
		close(fds[i]);
	close(l);
	close(late);
	finish(&r);
	/* lengths */
	r = start();
	h = header(VIRTIO_VSOCK_OP_RW, 1, 7);
	h.len = 100;
	struct fake_buf b = { fake_put(r.f, &h, sizeof h), sizeof h, false };
	assert_int_equal(fake_do(r.f, TX, &b, 1), -1);
	assert_non_null(strstr(r.f->log, "packet of 44 bytes that says otherwise"));
	fake_start(r.f, r.f->d, 0);
	b.len = 43;
	assert_int_equal(fake_do(r.f, TX, &b, 1), -1);
	fake_start(r.f, r.f->d, 0);
	b = (struct fake_buf){ fake_alloc(r.f, 64), 44, true };
	fake_chain(r.f, RX, &b, 1);
	put(&r, header(VIRTIO_VSOCK_OP_RW, 1, 7), "x", 1);
	assert_non_null(strstr(r.f->log, "receive buffer of 44 bytes"));
	r.f->lines = 0;
	finish(&r);
}

static void snapshot(void **s)
{
	(void)s;
	struct rig r = start();
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	uint32_t len, event = 77;
	int fd = guest_connects(&r, 99, WIN);
	virtio_device_quiesce(r.f->d);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_int_equal(fake_poll(r.f, 16), 0);
	assert_int_equal(virtio_device_save(r.f->d, &b), 0);
	virtio_device_free(r.f->d);
	char c;
	assert_true(read(fd, &c, 1) <= 0);
	r.f->d = device(&r);
	assert_int_equal(virtio_device_restore(r.f->d, b.s, b.len, &e), 0);
	virtio_device_resume(r.f->d);
	struct fake_buf ev = { fake_put(r.f, &event, 4), 4, true };
	assert_int_equal(fake_do(r.f, EVENT, &ev, 1), 4);
	assert_int_equal(*(uint32_t *)fake_at(r.f, ev.gpa), VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	fake_chain(r.f, EVENT, &ev, 1);
	fake_kick(r.f, EVENT);
	assert_int_equal(fake_used(r.f, EVENT, &len), -1); /* told once */
	close(fd);
	fd = guest_connects(&r, 99, WIN);
	close(fd);
	finish(&r);
}

static void refused(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	struct virtio_device *d = NULL;
	char path[128];
	memset(path, 'x', sizeof path);
	path[100] = 0;
	assert_int_equal(virtio_vsock_new(&f->host, 0, &(struct virtio_vsock_options){ .cid = 2, .listen_fd = -EBADF }, &d, NULL), -EINVAL);
	assert_int_equal(virtio_vsock_new(&f->host, 0, &(struct virtio_vsock_options){ .cid = 1ULL << 32, .listen_fd = -EBADF }, &d, NULL), -EINVAL);
	assert_int_equal(virtio_vsock_new(&f->host, 0, &(struct virtio_vsock_options){ .cid = 3, .listen_fd = -EBADF, .path = path }, &d, NULL), -ENAMETOOLONG);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(from_host), cmocka_unit_test(credit_of_guest), cmocka_unit_test(credit_of_host), cmocka_unit_test(liars),
		cmocka_unit_test(snapshot), cmocka_unit_test(refused) };
	return cmocka_run_group_tests_name("virtio_vsock", tests, NULL, NULL);
}
