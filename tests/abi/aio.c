/* Native asynchronous I/O: contexts, requests, events, eventfd, errors. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SHOW(x) do { long r_ = (x); printf("%s = %ld%s%s\n", #x, r_, r_ < 0 ? " " : "", r_ < 0 ? strerrorname_np(errno) : ""); } while (0)
#define SETUP(n, c) syscall(SYS_io_setup, n, c)
#define SUBMIT(c, n, p) syscall(SYS_io_submit, c, n, p)
#define EVENTS(c, min, max, ev, ts) syscall(SYS_io_getevents, c, min, max, ev, ts)

int main(void)
{
	aio_context_t c = 0, other = 1;
	char a[8] = "hello", b[16] = "", d[16] = "";
	struct iovec v[2] = { { b, 2 }, { d, 3 } };
	struct io_event ev[8];
	struct timespec zero = { 0, 0 }, some = { 0, 20000000 };
	int fd = open("/tmp/aio.f", O_CREAT | O_RDWR | O_TRUNC, 0600), ro = open("/tmp/aio.f", O_RDONLY), efd = eventfd(0, 0);
	struct iocb w = { .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = fd, .aio_buf = (long)a, .aio_nbytes = 5, .aio_data = 11 };
	struct iocb r = { .aio_lio_opcode = IOCB_CMD_PREADV, .aio_fildes = fd, .aio_buf = (long)v, .aio_nbytes = 2, .aio_data = 22, .aio_flags = IOCB_FLAG_RESFD, .aio_resfd = efd };
	struct iocb s = { .aio_lio_opcode = IOCB_CMD_FSYNC, .aio_fildes = fd, .aio_data = 33 }, bad = w, rw = w, bad_fd = w;
	struct iocb *list[4] = { &w };
	SHOW(SETUP(0, &c));
	SHOW(SETUP(1 << 30, &c));
	SHOW(SETUP(8, &other));
	SHOW(SETUP(8, (void *)8));
	SHOW(SETUP(8, &c));
	SHOW(SUBMIT(c, 1, list));
	SHOW(EVENTS(c, 1, 8, ev, NULL));
	printf("%lld %lld %d\n", ev[0].data, ev[0].res, ev[0].obj == (long)&w);
	list[0] = &r;
	list[1] = &s;
	SHOW(SUBMIT(c, 2, list));
	SHOW(EVENTS(c, 2, 8, ev, NULL));
	for (int i = 0; i < 2; i++)
		printf("%lld %lld\n", ev[i].data, ev[i].res);
	printf("%s %s\n", b, d);
	unsigned long long n = 0;
	SHOW(read(efd, &n, 8));
	printf("%llu\n", n);
	SHOW(EVENTS(c, 0, 8, ev, &zero));
	SHOW(EVENTS(c, 1, 8, ev, &some));
	SHOW(EVENTS(c, 3, 2, ev, &zero));
	SHOW(EVENTS(c, -1, 2, ev, &zero));
	SHOW(EVENTS(c + 4096, 0, 1, ev, &zero));
	bad.aio_lio_opcode = 77;
	rw.aio_fildes = ro;
	bad_fd.aio_fildes = 99;
	list[0] = &bad;
	SHOW(SUBMIT(c, 1, list));
	list[0] = &rw;
	SHOW(SUBMIT(c, 1, list));
	list[0] = &bad_fd;
	SHOW(SUBMIT(c, 1, list));
	list[0] = &w;
	list[1] = &bad;
	SHOW(SUBMIT(c, 2, list));
	SHOW(EVENTS(c, 1, 8, ev, NULL));
	SHOW(SUBMIT(c, 0, list));
	SHOW(SUBMIT(c, -1, list));
	SHOW(SUBMIT(c, 1, (void *)8));
	SHOW(SUBMIT(0, 1, list));
	w.aio_buf = 8;
	SHOW(SUBMIT(c, 1, list));
	SHOW(EVENTS(c, 1, 8, ev, NULL));
	printf("%lld\n", ev[0].res);
	SHOW(syscall(SYS_io_cancel, c, &w, ev));
	SHOW(syscall(SYS_io_destroy, c));
	SHOW(syscall(SYS_io_destroy, c));
	return 0;
}
