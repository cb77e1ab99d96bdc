/* Every device at work under a filter of the rows in hostcalls.h: another system call ends the process. What the pretended host does itself uses the same calls. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fuse.h>
#include <linux/seccomp.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_console.h>
#include <linux/virtio_vsock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tier/vm/virtio/hostcalls.h"
#include "virtio_fake.h"

#define NAME_(x) __NR_##x
#define NUMBER(call, who, why) NAME_(call),
static const unsigned device_calls[] = { VIRTIO_CALLS_DEVICE(NUMBER) };
static const unsigned cpu_calls[] = { VIRTIO_CALLS_CPU(NUMBER) };

/* Rows, and the end of the process with its status; anything else kills. */
static void confine(const unsigned *calls, size_t n)
{
	struct sock_filter f[128];
	size_t k = 0;
	f[k++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i <= n; i++) {
		f[k++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, i < n ? calls[i] : __NR_exit_group, 0, 1);
		f[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	f[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	struct sock_fprog p = { (unsigned short)k, f };
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p) < 0)
		_exit(77);
}

#define CHECK(x) do { if (!(x)) _exit(__LINE__ % 200 + 10); } while (0)

static void do_blk(void)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	int fd = memfd_create("disk", 0);
	CHECK(ftruncate(fd, 1 << 20) == 0);
	CHECK(virtio_blk_new(&f->host, 0, &(struct virtio_blk_options){ .fd = fd, .limit.ops = { 3, 0, 20 } }, &d, NULL) == 0 && fake_start(f, d, UINT64_MAX));
	confine(device_calls, ARRAY_SIZE(device_calls));
	static const uint32_t types[] = { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_GET_ID };
	struct virtio_blk_discard_write_zeroes z[32] = { { 8, 8, 0 } };
	uint64_t status = fake_alloc(f, 513);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct virtio_blk_outhdr h = { types[i], 0, 0 };
		uint32_t n = types[i] == VIRTIO_BLK_T_OUT ? 512 : types[i] == VIRTIO_BLK_T_DISCARD || types[i] == VIRTIO_BLK_T_WRITE_ZEROES ? 16 : 0;
		struct fake_buf b[] = { { fake_put(f, &h, sizeof h), sizeof h, false }, { fake_put(f, z, n), n, false }, { status, types[i] == VIRTIO_BLK_T_IN ? 513 : 21, true } };
		fake_chain(f, 0, b, 3);
	}
	fake_kick(f, 0);
	for (unsigned i = 0; i < 1000 && f->q[0].seen < ARRAY_SIZE(types); i++)
		if (fake_used(f, 0, NULL) < 0)
			fake_wait(f, 10);
	CHECK(f->q[0].seen == ARRAY_SIZE(types));
}

static void do_net(void)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	int pair[2];
	CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair) == 0);
	CHECK(virtio_net_new(&f->host, 0, &(struct virtio_net_options){ .fd = pair[1] }, &d, NULL) == 0);
	confine(device_calls, ARRAY_SIZE(device_calls));
	CHECK(fake_start(f, d, UINT64_MAX));
	uint8_t frame[72] = { 0 };
	struct fake_buf b = { fake_put(f, frame, sizeof frame), sizeof frame, false }, in = { fake_alloc(f, 2000), 2000, true };
	CHECK(fake_do(f, 1, &b, 1) == 0);
	fake_chain(f, 0, &in, 1);
	CHECK(send(pair[0], frame, 60, 0) == 60);
	fake_kick(f, 0);
	CHECK(fake_used(f, 0, NULL) == 0);
}

static void do_console(void)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	int pair[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(virtio_console_new(&f->host, 0, &(struct virtio_console_port){ "p", pair[1] }, 1, &d, NULL) == 0);
	confine(device_calls, ARRAY_SIZE(device_calls));
	CHECK(fake_start(f, d, UINT64_MAX));
	struct virtio_console_control m = { 0, VIRTIO_CONSOLE_PORT_OPEN, 1 };
	struct fake_buf b = { fake_put(f, &m, sizeof m), sizeof m, false }, in = { fake_alloc(f, 64), 64, true };
	CHECK(fake_do(f, 3, &b, 1) == 0 && fake_do(f, 1, &b, 1) == 0);
	CHECK(send(pair[0], "hello", 5, 0) == 5);
	fake_chain(f, 0, &in, 1);
	fake_kick(f, 0);
	CHECK(fake_used(f, 0, NULL) == 0);
}

static void do_fs(void)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	int pair[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK(virtio_fs_new(&f->host, 0, &(struct virtio_fs_options){ .tag = "t", .channel_fd = pair[1] }, &d, NULL) == 0);
	confine(device_calls, ARRAY_SIZE(device_calls));
	CHECK(fake_start(f, d, UINT64_MAX));
	for (unsigned i = 0; i < 2; i++) {
		struct fuse_in_header h = { .len = sizeof h, .opcode = FUSE_GETATTR, .unique = 9 };
		struct fake_buf b[] = { { fake_put(f, &h, sizeof h), sizeof h, false }, { fake_alloc(f, 16), 16, true } };
		fake_chain(f, 1, b, 2);
		fake_kick(f, 1);
		CHECK(recv(pair[0], &h, sizeof h, 0) == sizeof h);
		struct fuse_out_header o = { sizeof o, 0, h.unique };
		CHECK(send(pair[0], &o, sizeof o, 0) == sizeof o);
		if (i)
			virtio_device_quiesce(d);
		else
			fake_wait(f, 1000);
		CHECK(fake_used(f, 1, NULL) >= 0);
	}
}

static void do_vsock(void)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	char dir[] = "/tmp/tierce-unit-calls.XXXXXX";
	struct sockaddr_un at = { .sun_family = AF_UNIX }, seven = { .sun_family = AF_UNIX };
	CHECK(mkdtemp(dir) != NULL);
	snprintf(at.sun_path, sizeof at.sun_path, "%s/v", dir);
	snprintf(seven.sun_path, sizeof seven.sun_path, "%s/v_7", dir);
	int l = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), l7 = socket(AF_UNIX, SOCK_STREAM, 0), out = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(bind(l, (struct sockaddr *)&at, sizeof at) == 0 && listen(l, 1) == 0 && bind(l7, (struct sockaddr *)&seven, sizeof seven) == 0 && listen(l7, 1) == 0);
	CHECK(connect(out, (struct sockaddr *)&at, sizeof at) == 0 && unlink(at.sun_path) == 0);
	CHECK(virtio_vsock_new(&f->host, 0, &(struct virtio_vsock_options){ .cid = 3, .listen_fd = l, .path = at.sun_path }, &d, NULL) == 0);
	pid_t cleaner = fork(); /* afterwards nobody may unlink */
	if (cleaner == 0) {
		char b;
		(void)!read(accept(l7, NULL, NULL), &b, 1);
		unlink(seven.sun_path);
		rmdir(dir);
		_exit(0);
	}
	confine(device_calls, ARRAY_SIZE(device_calls));
	CHECK(fake_start(f, d, 0));
	for (unsigned i = 0; i < 8; i++) {
		struct fake_buf in = { fake_alloc(f, 4096), 4096, true };
		fake_chain(f, 0, &in, 1);
	}
	fake_kick(f, 0);
	static const struct { uint16_t op; uint32_t n; } says[] = { { VIRTIO_VSOCK_OP_REQUEST, 0 }, { VIRTIO_VSOCK_OP_RW, 5 }, { VIRTIO_VSOCK_OP_SHUTDOWN, 0 } };
	for (size_t i = 0; i < ARRAY_SIZE(says); i++) {
		struct virtio_vsock_hdr h = { .src_cid = 3, .dst_cid = 2, .src_port = 1, .dst_port = 7, .type = 1, .op = says[i].op, .len = says[i].n, .flags = 2, .buf_alloc = 65536 };
		struct fake_buf b[] = { { fake_put(f, &h, sizeof h), sizeof h, false }, { fake_put(f, "hello", says[i].n), says[i].n, false } };
		CHECK(fake_do(f, 1, b, 2) == 0);
	}
	for (unsigned i = 0; i < 200 && f->q[0].seen < 2; i++) { /* RESPONSE, and the end when the program has left */
		fake_wait(f, 100);
		while (fake_used(f, 0, NULL) >= 0)
			;
	}
	CHECK(f->q[0].seen >= 2);
	CHECK(send(out, "CONNECT 52\n", 11, 0) == 11);
	unsigned before = f->q[0].seen;
	fake_wait(f, 1000);
	CHECK(fake_used(f, 0, NULL) >= 0 && f->q[0].seen > before);
}

static void do_balloon(void)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	CHECK(virtio_balloon_new(&f->host, 0, &(struct virtio_balloon_options){ .reporting = true, .stats = true }, &d, NULL) == 0);
	confine(device_calls, ARRAY_SIZE(device_calls));
	CHECK(fake_start(f, d, UINT64_MAX));
	uint32_t pfn = 200;
	struct fake_buf b = { fake_put(f, &pfn, 4), 4, false };
	CHECK(fake_do(f, 0, &b, 1) == 0);
}

static void do_rng(void)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	CHECK(virtio_rng_new(&f->host, 0, NULL, &d, NULL) == 0);
	confine(device_calls, ARRAY_SIZE(device_calls));
	CHECK(fake_start(f, d, UINT64_MAX));
	struct fake_buf b = { fake_alloc(f, 64), 64, true };
	CHECK(fake_do(f, 0, &b, 1) == 64);
}

static void do_pmem(void)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	CHECK(virtio_pmem_new(&f->host, 0, &(struct virtio_pmem_options){ memfd_create("p", 0), 8ULL << 30, 2 << 20 }, &d, NULL) == 0);
	confine(device_calls, ARRAY_SIZE(device_calls));
	CHECK(fake_start(f, d, UINT64_MAX));
	uint32_t q = 0;
	struct fake_buf b[] = { { fake_put(f, &q, 4), 4, false }, { fake_alloc(f, 4), 4, true } };
	CHECK(fake_do(f, 0, b, 2) == 4);
}

/* A liar's line is made, too; and a processor thread needs next to nothing. */
static void do_fault(void)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	CHECK(virtio_rng_new(&f->host, 0, NULL, &d, NULL) == 0);
	confine(device_calls, ARRAY_SIZE(device_calls));
	CHECK(fake_start(f, d, UINT64_MAX));
	fake_avail(f, 0, 4000);
	fake_kick(f, 0);
	CHECK(f->lines == 1);
}

static void do_cpu(void)
{
	struct fake *f = fake_new();
	struct virtio_device *d;
	CHECK(virtio_rng_new(&f->host, 0, NULL, &d, NULL) == 0);
	confine(cpu_calls, ARRAY_SIZE(cpu_calls));
	CHECK(fake_prepare(f, d, UINT64_MAX));
	fake_set(f, 0x70, 15);
	fake_set(f, 0x50, 0);
	CHECK(f->pokes == 3);
	fake_set(f, 0x70, 0);
}

static void do_other(void)
{
	confine(device_calls, ARRAY_SIZE(device_calls));
	syscall(__NR_getppid);
}

static int run(void (*what)(void))
{
	pid_t pid = fork();
	if (pid == 0) {
		what();
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void calls(void **s)
{
	(void)s;
	static const struct { const char *name; void (*what)(void); } all[] = { { "blk", do_blk }, { "net", do_net }, { "console", do_console }, { "fs", do_fs }, { "vsock", do_vsock },
		{ "balloon", do_balloon }, { "rng", do_rng }, { "pmem", do_pmem }, { "fault", do_fault }, { "cpu", do_cpu } };
#ifdef __SANITIZE_ADDRESS__
	skip(); /* a sanitizer makes calls of its own */
#endif
	int status = run(do_other);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); /* no seccomp here */
	assert_true(WIFSIGNALED(status)); /* the filter does stop others */
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		status = run(all[i].what);
		if (status)
			fail_msg("%s: status %#x", all[i].name, status);
	}
	print_message("%zu calls on the device thread, %zu on a processor's\n", ARRAY_SIZE(device_calls), ARRAY_SIZE(cpu_calls));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(calls) };
	return cmocka_run_group_tests_name("virtio_calls", tests, NULL, NULL);
}
