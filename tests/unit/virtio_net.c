/* virtio-net over a datagram socket, and over a real tap where one can be made. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/virtio_mmio.h>
#include <linux/virtio_net.h>

#include "virtio_fake.h"

enum { RX, TX, H = 12 };
#define MERGE (1ULL << VIRTIO_NET_F_MRG_RXBUF)

static struct virtio_device *device(struct fake *f, int *host, const struct limiter_config *rx)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct virtio_device *d;
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	*host = pair[0];
	struct virtio_net_options c = { .fd = pair[1], .mac = { 2, 0, 0, 0, 0, 9 }, .mtu = 1400 };
	if (rx)
		c.rx = *rx;
	if (virtio_net_new(&f->host, 0, &c, &d, &e) < 0)
		fail_msg("%s", err_msg(&e));
	return d;
}

static void pattern(uint8_t *b, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		b[i] = (uint8_t)(i * 31 + seed + i / 256);
}

static void sends(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	int host;
	static uint8_t frame[70000], got[70000];
	uint8_t mac[6];
	uint16_t mtu;
	assert_true(fake_start(f, device(f, &host, NULL), UINT64_MAX));
	virtio_mmio_read(f->d, 0x100, 4, mac);
	assert_memory_equal(mac, "\2\0\0\0", 4);
	virtio_mmio_read(f->d, 0x100 + 10, 2, &mtu);
	assert_int_equal(mtu, 1400);
	pattern(frame, 1514, 1);
	uint8_t h[H] = { 0 };
	struct fake_buf b[] = { { fake_put(f, h, H), H, false }, { fake_put(f, frame, 14), 14, false }, { fake_put(f, frame + 14, 1500), 1500, false } };
	assert_int_equal(fake_do(f, TX, b, 3), 0);
	assert_int_equal(read(host, got, sizeof got), 1514);
	assert_memory_equal(frame, got, 1514);
	/* header and frame in one buffer; less than a header; nothing but a header; more than any frame */
	struct fake_buf one = { fake_alloc(f, 70000), H + 60, false };
	assert_int_equal(fake_do(f, TX, &one, 1), 0);
	assert_int_equal(read(host, got, sizeof got), 60);
	static const uint32_t lost[] = { 1, H - 1, H, 70000 };
	for (size_t i = 0; i < ARRAY_SIZE(lost); i++) {
		one.len = lost[i];
		assert_int_equal(fake_do(f, TX, &one, 1), 0);
		assert_int_equal(read(host, got, sizeof got), -1);
	}
	/* nobody reads: frames are lost, the queue goes on */
	one.len = H + 1000;
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(fake_do(f, TX, &one, 1), 0);
	assert_int_equal(f->lines, 0);
	close(host);
	assert_int_equal(fake_do(f, TX, &one, 1), 0);
	fake_free(f);
}

static void receives(void **s)
{
	(void)s;
	for (unsigned merge = 0; merge < 2; merge++) {
		struct fake *f = fake_new();
		int host;
		static uint8_t frame[9000], got[9100];
		uint32_t len;
		assert_true(fake_start(f, device(f, &host, NULL), merge ? MERGE : 0));
		pattern(frame, sizeof frame, 2);
		/* waits in the socket until there are buffers, and does not spin */
		assert_int_equal(send(host, frame, 1000, 0), 1000);
		fake_poll(f, 8);
		assert_int_equal(fake_poll(f, 8), 0);
		struct fake_buf b = { fake_alloc(f, 1600), 1600, true };
		fake_chain(f, RX, &b, 1);
		fake_kick(f, RX);
		assert_int_equal(fake_used(f, RX, &len), 0);
		assert_int_equal(len, 1000 + H);
		assert_memory_equal((uint8_t *)fake_at(f, b.gpa) + H, frame, 1000);
		assert_int_equal(*((uint8_t *)fake_at(f, b.gpa) + 10), 1); /* num_buffers */
		if (merge) {
			/* over six buffers, which appear all at once; while one is missing none is taken */
			struct fake_buf v[6];
			for (unsigned i = 0; i < 6; i++)
				v[i] = (struct fake_buf){ fake_alloc(f, 1600), 1600, true };
			for (unsigned i = 0; i < 5; i++)
				fake_chain(f, RX, &v[i], 1);
			assert_int_equal(send(host, frame, 9000, 0), 9000);
			fake_poll(f, 8);
			assert_int_equal(fake_used(f, RX, &len), -1);
			/* over a snapshot, too */
			_cleanup_strbuf_ struct strbuf st = STRBUF_INIT;
			_cleanup_err_ struct err e = ERR_INIT;
			virtio_device_quiesce(f->d);
			assert_int_equal(virtio_device_save(f->d, &st), 0);
			virtio_device_free(f->d);
			close(host);
			f->d = device(f, &host, NULL);
			assert_int_equal(virtio_device_restore(f->d, st.s, st.len, &e), 0);
			virtio_device_resume(f->d);
			fake_chain(f, RX, &v[5], 1);
			fake_kick(f, RX);
			size_t n = 0;
			for (unsigned i = 0; i < 6; i++) {
				assert_int_equal(fake_used(f, RX, &len), (int)i + 1);
				memcpy(got + n, fake_at(f, v[i].gpa), len);
				n += len;
			}
			assert_int_equal(n, 9000 + H);
			assert_int_equal(got[10], 6);
			assert_memory_equal(got + H, frame, 9000);
		}
		/* a buffer without room for the header */
		b.len = H - 1;
		fake_chain(f, RX, &b, 1);
		send(host, frame, 100, 0);
		fake_kick(f, RX);
		fake_poll(f, 8);
		assert_non_null(strstr(f->log, "receive buffer of 11 bytes"));
		close(host);
		fake_free(f);
	}
}

static void limited(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	int host;
	uint8_t frame[100] = { 0 };
	struct fake_buf b = { fake_alloc(f, 1600), 1600, true };
	assert_true(fake_start(f, device(f, &host, &(struct limiter_config){ .ops = { 1, 0, 100 } }), MERGE));
	for (unsigned i = 0; i < 3; i++) {
		fake_chain(f, RX, &b, 1);
		send(host, frame, sizeof frame, 0);
	}
	fake_poll(f, 8);
	assert_int_equal(fake_used(f, RX, NULL), 0);
	assert_int_equal(fake_used(f, RX, NULL), -1);
	for (unsigned i = 0, n = 1; n < 3 && i < 100; i++, n += fake_used(f, RX, NULL) >= 0)
		fake_wait(f, 1000);
	assert_int_equal(f->q[RX].seen, 3);
	close(host);
	fake_free(f);
}

/* With a tap the header travels along: what a packet socket on the interface sees is the frame. */
static void tap(void **s)
{
	(void)s;
	_cleanup_err_ struct err e = ERR_INIT;
	struct fake *f = fake_new();
	struct virtio_device *d;
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, .ifr_name = "t0" };
	if (unshare(CLONE_NEWNET) < 0) {
		fake_free(f);
		skip();
	}
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), ctl = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0) {
		fake_free(f);
		skip();
	}
	ifr.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(ctl, SIOCSIFFLAGS, &ifr), 0);
	assert_int_equal(ioctl(ctl, SIOCGIFINDEX, &ifr), 0);
	int sniff = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = 0xb588 /* 0x88b5, for experiments */, .sll_ifindex = ifr.ifr_ifindex };
	assert_int_equal(bind(sniff, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(virtio_net_new(&f->host, 0, &(struct virtio_net_options){ .fd = fd }, &d, &e), 0);
	assert_true(fake_start(f, d, UINT64_MAX));
	assert_int_equal(f->lines, 0); /* the offloads were taken */
	fake_set(f, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_true(fake_get(f, VIRTIO_MMIO_DEVICE_FEATURES) & 1U << VIRTIO_NET_F_HOST_TSO4);
	uint8_t frame[H + 60] = { 0 }, got[100];
	memset(frame + H, 0xff, 6);
	frame[H + 12] = 0x88;
	frame[H + 13] = 0xb5;
	frame[H + 20] = 'x';
	struct fake_buf b = { fake_put(f, frame, sizeof frame), sizeof frame, false };
	assert_int_equal(fake_do(f, TX, &b, 1), 0);
	assert_int_equal(recv(sniff, got, sizeof got, 0), 60);
	assert_memory_equal(got, frame + H, 60);
	struct fake_buf in[16];
	for (unsigned i = 0; i < 16; i++) {
		in[i] = (struct fake_buf){ fake_alloc(f, 1600), 1600, true };
		fake_chain(f, RX, &in[i], 1);
	}
	fake_kick(f, RX);
	assert_int_equal(sendto(sniff, frame + H, 60, 0, (struct sockaddr *)&a, sizeof a), 60);
	bool seen = false; /* the host's kernel says things of its own, too */
	for (unsigned turns = 0; !seen && turns < 50; turns++) {
		uint32_t len;
		fake_wait(f, 100);
		for (int i; (i = fake_used(f, RX, &len)) >= 0;)
			seen |= len == H + 60 && memcmp((uint8_t *)fake_at(f, in[i % 16].gpa) + H, frame + H, 60) == 0;
	}
	assert_true(seen);
	close(sniff);
	close(ctl);
	fake_free(f);
}

static void refused(void **s)
{
	(void)s;
	struct fake *f = fake_new();
	struct virtio_device *d = NULL;
	_cleanup_err_ struct err e = ERR_INIT;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(virtio_net_new(&f->host, 0, &(struct virtio_net_options){ .fd = fd }, &d, &e), -EINVAL);
	close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(virtio_net_new(&f->host, 0, &(struct virtio_net_options){ .fd = fd }, &d, &e), -EINVAL);
	close(fd);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sends), cmocka_unit_test(receives), cmocka_unit_test(limited), cmocka_unit_test(refused), cmocka_unit_test(tap) };
	return cmocka_run_group_tests_name("virtio_net", tests, NULL, NULL);
}
