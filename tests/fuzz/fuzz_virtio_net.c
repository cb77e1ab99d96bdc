/* virtio-net under a hostile guest: input is a program for fake_fuzz(). */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int host = -1;

static struct virtio_device *make(struct fake *f)
{
	struct virtio_device *d;
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	close(host);
	host = pair[0];
	return virtio_net_new(&f->host, 0, &(struct virtio_net_options){ .fd = pair[1] }, &d, NULL) < 0 ? NULL : d;
}

static void feed(struct fake *f, const uint8_t *p, size_t n)
{
	uint8_t frame[16384] = { 0 };
	(void)f;
	for (size_t i = 0; i < n; i++)
		frame[i] = p[i];
	(void)!send(host, frame, n > 128 ? n * 50 : n, MSG_NOSIGNAL);
	while (recv(host, frame, sizeof frame, MSG_DONTWAIT) >= 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake *f = fake_new();
	fake_start(f, make(f), size & 1 ? UINT64_MAX : 0);
	fake_fuzz(f, data, size, feed, make);
	fake_free(f);
	return 0;
}
