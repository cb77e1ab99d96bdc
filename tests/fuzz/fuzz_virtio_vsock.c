/* virtio-vsock under a hostile guest, with programs of the host that connect, listen, talk and leave: input is a program for fake_fuzz(). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtio_fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PROGRAMS = 4 };
static char dir[64], path[80];
static int port7 = -1, program[PROGRAMS] = { -1, -1, -1, -1 };
static unsigned turn;

static int unix_socket(const char *at, int (*how)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	snprintf(a.sun_path, sizeof a.sun_path, "%s", at);
	if (how(fd, (struct sockaddr *)&a, sizeof a) < 0 || (how == bind && listen(fd, 8) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

static struct virtio_device *make(struct fake *f)
{
	struct virtio_device *d;
	unlink(path);
	int fd = unix_socket(path, bind);
	return fd < 0 || virtio_vsock_new(&f->host, 0, &(struct virtio_vsock_options){ .cid = 3, .listen_fd = fd, .path = path }, &d, NULL) < 0 ? NULL : d;
}

static void feed(struct fake *f, const uint8_t *p, size_t n)
{
	char drop[16384];
	int *fd = &program[n ? p[0] % PROGRAMS : turn++ % PROGRAMS];
	(void)f;
	if (*fd >= 0 && n == 1) {
		close(*fd);
		*fd = -1;
	} else if (*fd >= 0) {
		(void)!read(*fd, drop, sizeof drop);
		(void)!send(*fd, p + (n > 0), n - (n > 0), MSG_NOSIGNAL);
	} else if (n & 1)
		*fd = accept4(port7, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	else if ((*fd = unix_socket(path, connect)) >= 0)
		(void)!send(*fd, p + (n > 0), n - (n > 0), MSG_NOSIGNAL);
}

static void leave(void)
{
	unlink(path);
	char at[96];
	snprintf(at, sizeof at, "%s_7", path);
	unlink(at);
	rmdir(dir);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (port7 < 0) {
		char at[96];
		snprintf(dir, sizeof dir, "/tmp/tierce-fuzz-vsock.XXXXXX");
		if (!mkdtemp(dir))
			abort();
		snprintf(path, sizeof path, "%s/v", dir);
		snprintf(at, sizeof at, "%s_7", path);
		port7 = unix_socket(at, bind);
		atexit(leave);
	}
	turn = 0;
	struct fake *f = fake_new();
	fake_start(f, make(f), size & 1 ? UINT64_MAX : 0);
	fake_fuzz(f, data, size, feed, make);
	fake_free(f);
	for (unsigned i = 0; i < PROGRAMS; i++) {
		if (program[i] >= 0)
			close(program[i]);
		program[i] = -1;
	}
	for (int fd; (fd = accept4(port7, NULL, NULL, SOCK_NONBLOCK)) >= 0;)
		close(fd);
	return 0;
}
