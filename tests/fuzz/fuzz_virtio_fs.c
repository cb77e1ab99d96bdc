/* virtio-fs under a hostile guest, and a file server that answers what the input says: input is a program for fake_fuzz(). Inputs of even length go to a
 * server in this process (over an empty read-only directory), others to the channel. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tier/vm/fuse/server.h"
#include "virtio_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int far = -1, root = -1;
static struct fuse_server *server;

static struct virtio_device *make(struct fake *f)
{
	struct virtio_device *d;
	int pair[2] = { -1, -1 };
	if (!server) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
			abort();
		close(far);
		far = pair[0];
	}
	return virtio_fs_new(&f->host, 0, &(struct virtio_fs_options){ .tag = "x", .server = server, .channel_fd = pair[1] }, &d, NULL) < 0 ? NULL : d;
}

static void feed(struct fake *f, const uint8_t *p, size_t n)
{
	char drop[65536];
	(void)f;
	if (far < 0)
		return;
	(void)!read(far, drop, sizeof drop);
	(void)!send(far, p, n, MSG_NOSIGNAL);
	if (n == 255)
		shutdown(far, SHUT_RDWR);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (root < 0) {
		char dir[] = "/tmp/tierce-fuzz-fs.XXXXXX";
		if (!mkdtemp(dir))
			abort();
		root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		rmdir(dir);
	}
	server = size & 1 ? NULL : fuse_server_new(&(struct fuse_share){ root, true }, 1);
	struct fake *f = fake_new();
	fake_start(f, make(f), size & 2 ? UINT64_MAX : 0);
	fake_fuzz(f, data, size, feed, server ? make : NULL); /* over the channel a snapshot would wait for replies that nobody writes */
	fake_free(f);
	fuse_server_free(server);
	server = NULL;
	return 0;
}
