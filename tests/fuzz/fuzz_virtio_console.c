/* virtio-console under a hostile guest: input is a program for fake_fuzz(). */
#include <sys/socket.h>
#include <unistd.h>

#include "virtio_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PORTS = 2 };
static int host[PORTS] = { -1, -1 };

static struct virtio_device *make(struct fake *f)
{
	struct virtio_console_port p[PORTS] = { { "a", -1 }, { "b", -1 } };
	struct virtio_device *d;
	for (unsigned i = 0; i < PORTS; i++) {
		int pair[2];
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
			abort();
		close(host[i]);
		host[i] = pair[0];
		p[i].fd = pair[1];
	}
	return virtio_console_new(&f->host, 0, p, PORTS, &d, NULL) < 0 ? NULL : d;
}

static void feed(struct fake *f, const uint8_t *p, size_t n)
{
	char drop[4096];
	(void)f;
	(void)!read(host[n & 1], drop, sizeof drop);
	if (n > 200)
		shutdown(host[n & 1], SHUT_RDWR);
	else
		(void)!send(host[n & 1], p, n, MSG_NOSIGNAL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake *f = fake_new();
	fake_start(f, make(f), size & 1 ? UINT64_MAX : 0);
	fake_fuzz(f, data, size, feed, make);
	fake_free(f);
	return 0;
}
