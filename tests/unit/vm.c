/* The vm tier without a machine: kernel images, cpio, keys, options, and the FUSE server against a hostile guest. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/fuse.h>

#include "tier/vm/boot/cpio.h"
#include "tier/vm/boot/kernel.h"
#include "tier/vm/boot/key.h"
#include "tier/vm/boot/lz4.h"
#include "tier/vm/fuse/server.h"
#include "tier/vm/options.h"

static void lz4(void **s)
{
	(void)s;
	uint8_t out[64];
	/* token 0x31: three literals, match of 5 at distance 1; then literals alone */
	static const uint8_t good[] = { 0x31, 'a', 'b', 'c', 1, 0, 0x10, 'z' };
	assert_int_equal(lz4_block(good, sizeof good, out, sizeof out), 9);
	assert_memory_equal(out, "abcccccc" "z", 9);
	static const uint8_t far[] = { 0x10, 'a', 2, 0, 0x10, 'z' }, zero[] = { 0x10, 'a', 0, 0, 0x10, 'z' };
	assert_int_equal(lz4_block(far, sizeof far, out, sizeof out), -EBADMSG);
	assert_int_equal(lz4_block(zero, sizeof zero, out, sizeof out), -EBADMSG);
	assert_int_equal(lz4_block(good, sizeof good, out, 8), -EBADMSG); /* no room */
	for (size_t n = 0; n < sizeof good; n++) {
		uint8_t *cut = malloc(n + 1);
		memcpy(cut, good, n);
		(void)!lz4_block(cut, n, out, sizeof out);
		free(cut);
	}
	static const uint8_t frame[] = { 0x02, 0x21, 0x4c, 0x18, 2, 0, 0, 0, 0x10, 'q', 9, 9, 9, 9 };
	assert_int_equal(lz4_legacy(frame, sizeof frame, out, sizeof out), 1);
	assert_int_equal(lz4_legacy(frame + 1, sizeof frame - 1, out, sizeof out), -EBADMSG);
}

static void kernels(void **s)
{
	(void)s;
	_cleanup_err_ struct err e = ERR_INIT;
	struct kernel_elf k;
	uint8_t b[1024] = { 0 }, *out = NULL;
	size_t n;
	assert_int_equal(kernel_elf_parse(b, sizeof b, &k, &e), -EBADMSG);
	memcpy(b + 0x202, "HdrS", 4);
	assert_true(kernel_is_bzimage(b, sizeof b));
	memset(b + 0x248, 0xff, 8); /* payload far outside */
	assert_int_equal(kernel_from_bzimage(b, sizeof b, &out, &n, &e), -EBADMSG);
	assert_non_null(strstr(err_msg(&e), "outside"));
	memset(b + 0x248, 0, 8);
	b[0x1f1] = 1; /* payload at 1024 - 24 */
	uint32_t off = 1024 - 24 - 1024 + 512, len = 24;
	(void)off;
	b[0x248] = 0;
	memcpy(b + 0x24c, &len, 4);
	assert_int_equal(kernel_from_bzimage(b, sizeof b, &out, &n, &e), -EBADMSG);
	assert_null(out);
}

static void archive(void **s)
{
	(void)s;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	assert_int_equal(cpio_add(&b, "init", S_IFREG | 0755, 0, "hello", 5), 0);
	assert_int_equal(cpio_end(&b), 0);
	assert_memory_equal(b.s, "070701", 6);
	assert_int_equal(b.len % 4, 0);
	assert_memory_equal(b.s + 110, "init", 5);
	assert_memory_equal(b.s + 116, "hello", 5); /* 110 + 5 padded to 116 */
	assert_non_null(memmem(b.s, b.len, "TRAILER!!!", 11));
}

static void keys(void **s)
{
	(void)s;
	struct key k;
	char text[KEY_TEXT];
	key_init(&k);
	key_add(&k, "abc", 3);
	key_text(&k, text);
	assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223"); /* FIPS 180-4, first half */
}

static void options(void **s)
{
	(void)s;
	_cleanup_err_ struct err e = ERR_INIT;
	struct vm_options o;
	struct oci_map_entry m[1] = { { "dev.tierce.vm.memory", "1024" } };
	struct oci_spec spec = { .annotations = { m, 1 } };
	assert_int_equal(vm_options(&spec, &o, &e), 0);
	assert_true(o.memory == 1024ULL << 20);
	static const struct { const char *key, *value; } bad[] = { { "dev.tierce.vm.memory", "1g" }, { "dev.tierce.vm.memory", "1" }, { "dev.tierce.vm.cpus", "0" },
		{ "dev.tierce.vm.machine", "isapc" }, { "dev.tierce.vm.kernel", "relative" }, { "dev.tierce.vm.nonsense", "x" }, { "dev.tierce.vm.template", "perhaps" } };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		m[0] = (struct oci_map_entry){ bad[i].key, bad[i].value };
		assert_int_equal(vm_options(&spec, &o, &e), -EINVAL);
		assert_non_null(strstr(err_msg(&e), bad[i].key));
	}
	spec.annotations.n = 0;
	spec.resources.memory.limit = (struct opt_i64){ true, 1LL << 30 };
	assert_int_equal(vm_options(&spec, &o, &e), 0);
	assert_true(o.memory > 1ULL << 30); /* the limit and the guest's own needs */
}

/* ---- FUSE ---------------------------------------------------------------------------------------------------------------- */

struct fixture { struct fuse_server *s; char dir[64]; int fd; uint64_t share; };

/* One request; returns the reply's error, its body in *ret. */
static int ask(struct fuse_server *s, uint32_t op, uint64_t node, const void *arg, size_t n, uint8_t *ret, size_t *ret_n)
{
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	uint8_t in[4096];
	struct fuse_in_header h = { .len = (uint32_t)(sizeof h + n), .opcode = op, .unique = 7, .nodeid = node };
	bool reply;
	memcpy(in, &h, sizeof h);
	memcpy(in + sizeof h, arg, n);
	assert_int_equal(fuse_server_handle(s, in, sizeof h + n, &out, &reply), 0);
	assert_true(reply);
	struct fuse_out_header o;
	memcpy(&o, out.s, sizeof o);
	assert_int_equal(o.len, out.len);
	assert_int_equal(o.unique, 7);
	if (ret && out.len - sizeof o <= 4096) {
		memcpy(ret, out.s + sizeof o, out.len - sizeof o);
		*ret_n = out.len - sizeof o;
	}
	return o.error;
}

static int lookup(struct fuse_server *s, uint64_t dir, const char *name, uint64_t *ret)
{
	uint8_t b[4096];
	size_t n = 0;
	int r = ask(s, FUSE_LOOKUP, dir, name, strlen(name) + 1, b, &n);
	if (r == 0) {
		struct fuse_entry_out o;
		memcpy(&o, b, sizeof o);
		*ret = o.nodeid;
	}
	return r;
}

static int setup(void **state)
{
	static struct fixture f;
	char p[128];
	snprintf(f.dir, sizeof f.dir, "/tmp/tierce-fuse.XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	snprintf(p, sizeof p, "%s/fifo", f.dir);
	assert_int_equal(mkfifo(p, 0600), 0);
	snprintf(p, sizeof p, "%s/link", f.dir);
	assert_int_equal(symlink("/etc", p), 0);
	snprintf(p, sizeof p, "%s/file", f.dir);
	close(open(p, O_WRONLY | O_CREAT, 0644));
	f.fd = open(f.dir, O_PATH | O_DIRECTORY);
	f.s = fuse_server_new(&(struct fuse_share){ f.fd, false }, 1);
	assert_non_null(f.s);
	struct fuse_init_in in = { .major = 7, .minor = 31 };
	assert_int_equal(ask(f.s, FUSE_INIT, 0, &in, sizeof in, NULL, NULL), 0);
	assert_int_equal(lookup(f.s, FUSE_ROOT_ID, "0", &f.share), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = { "fifo", "link", "file", "made" };
	fuse_server_free(f->s);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlinkat(open(f->dir, O_PATH | O_DIRECTORY), names[i], 0);
	rmdir(f->dir);
	return 0;
}

static void fuse_names(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = { "..", ".", "a/b", "/etc", "" };
	uint64_t n;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(lookup(f->s, f->share, bad[i], &n), -EINVAL);
	assert_int_equal(ask(f->s, FUSE_LOOKUP, f->share, "unterminated", 12, NULL, NULL), -EINVAL);
	assert_int_equal(lookup(f->s, f->share, "nothing", &n), -ENOENT);
	assert_int_equal(lookup(f->s, FUSE_ROOT_ID, "1", &n), -ENOENT);
	assert_int_equal(lookup(f->s, FUSE_ROOT_ID, "00", &n), -ENOENT);
	assert_int_equal(lookup(f->s, 4711, "file", &n), -ESTALE);
	assert_int_equal(lookup(f->s, f->share, "link", &n), 0);
	uint64_t inside;
	assert_int_equal(lookup(f->s, n, "passwd", &inside), -ENOTDIR); /* a link is never walked */
}

static void fuse_opens(void **state)
{
	struct fixture *f = *state;
	struct fuse_open_in in = { .flags = O_RDWR };
	uint64_t n;
	assert_int_equal(lookup(f->s, f->share, "fifo", &n), 0);
	assert_int_equal(ask(f->s, FUSE_OPEN, n, &in, sizeof in, NULL, NULL), -ENXIO);
	assert_int_equal(lookup(f->s, f->share, "link", &n), 0);
	assert_int_equal(ask(f->s, FUSE_OPEN, n, &in, sizeof in, NULL, NULL), -ENXIO);
	assert_int_equal(ask(f->s, FUSE_OPENDIR, n, &in, sizeof in, NULL, NULL), -ENOTDIR);
	assert_int_equal(ask(f->s, FUSE_OPEN, f->share, &in, sizeof in, NULL, NULL), -EISDIR);
	assert_int_equal(lookup(f->s, f->share, "file", &n), 0);
	assert_int_equal(ask(f->s, FUSE_OPEN, n, &in, sizeof in - 1, NULL, NULL), -EINVAL); /* cut */
	assert_int_equal(ask(f->s, FUSE_OPEN, n, &in, sizeof in, NULL, NULL), 0);
	struct fuse_read_in rd = { .fh = 99, .size = 10 };
	assert_int_equal(ask(f->s, FUSE_READ, n, &rd, sizeof rd, NULL, NULL), -EBADF);
	rd = (struct fuse_read_in){ .fh = 0, .size = UINT32_MAX };
	assert_int_equal(ask(f->s, FUSE_READ, n, &rd, sizeof rd, NULL, NULL), -EINVAL);
	struct fuse_write_in wr = { .fh = 0, .size = 1 << 20 };
	assert_int_equal(ask(f->s, FUSE_WRITE, n, &wr, sizeof wr, NULL, NULL), -EINVAL); /* claims more than it brings */
}

static void fuse_devices(void **state)
{
	struct fixture *f = *state;
	struct { struct fuse_mknod_in in; char name[8]; } m = { { .mode = S_IFCHR | 0666, .rdev = 0x103 }, "made" };
	assert_int_equal(ask(f->s, FUSE_MKNOD, f->share, &m, sizeof m.in + 5, NULL, NULL), -EPERM);
	m.in.mode = S_IFREG | 0600;
	assert_int_equal(ask(f->s, FUSE_MKNOD, FUSE_ROOT_ID, &m, sizeof m.in + 5, NULL, NULL), -EPERM);
	struct { struct fuse_rename2_in in; char names[12]; } r = { { .newdir = f->share, .flags = 4 /* RENAME_WHITEOUT */ }, "file\0made" };
	assert_int_equal(ask(f->s, FUSE_RENAME2, f->share, &r, sizeof r.in + 10, NULL, NULL), -EINVAL);
}

static void fuse_readonly(void **state)
{
	struct fixture *f = *state;
	struct fuse_server *s = fuse_server_new(&(struct fuse_share){ f->fd, true }, 1);
	struct fuse_init_in in = { .major = 7, .minor = 31 };
	struct fuse_open_in op = { .flags = O_WRONLY };
	uint64_t share, n;
	assert_int_equal(ask(s, FUSE_GETATTR, 1, "", 0, NULL, NULL), -EIO); /* before INIT */
	assert_int_equal(ask(s, FUSE_INIT, 0, &in, sizeof in, NULL, NULL), 0);
	assert_int_equal(lookup(s, FUSE_ROOT_ID, "0", &share), 0);
	assert_int_equal(lookup(s, share, "file", &n), 0);
	assert_int_equal(ask(s, FUSE_OPEN, n, &op, sizeof op, NULL, NULL), -EROFS);
	assert_int_equal(ask(s, FUSE_UNLINK, share, "file", 5, NULL, NULL), -EROFS);
	fuse_server_free(s);
}

static void fuse_frames(void **state)
{
	struct fixture *f = *state;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct fuse_in_header h = { .len = 12345, .opcode = FUSE_GETATTR, .nodeid = 1 };
	bool reply;
	assert_int_equal(fuse_server_handle(f->s, &h, sizeof h, &out, &reply), -EBADMSG); /* lying length */
	assert_int_equal(fuse_server_handle(f->s, &h, 10, &out, &reply), -EBADMSG);
	assert_int_equal(ask(f->s, 4096, 1, "", 0, NULL, NULL), -ENOSYS);
	assert_int_equal(ask(f->s, FUSE_IOCTL, 1, "", 0, NULL, NULL), -ENOSYS);
}

/* Somebody swaps a directory with a link to the world outside while the guest walks: it gets the one or the other, never what is behind the link. */
static void fuse_races(void **state)
{
	struct fixture *f = *state;
	char p[128], q[128], secret[128];
	snprintf(p, sizeof p, "%s/made", f->dir);
	snprintf(q, sizeof q, "%s/link", f->dir);
	assert_int_equal(mkdir(p, 0755), 0);
	snprintf(secret, sizeof secret, "%s/made/passwd", f->dir);
	assert_int_equal(symlink("inner", secret), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		for (;;)
			if (getppid() == 1 || renameat2(AT_FDCWD, p, AT_FDCWD, q, RENAME_EXCHANGE) < 0)
				_exit(1);
	unsigned dirs = 0, links = 0;
	for (unsigned i = 0; i < 200000 && (dirs < 200 || links < 200); i++) {
		uint64_t n, inside;
		assert_int_equal(lookup(f->s, f->share, "made", &n), 0);
		int r = lookup(f->s, n, "passwd", &inside);
		if (r == 0) { /* the directory's own entry: a link, which cannot be opened; the world's passwd could */
			struct fuse_open_in in = { .flags = O_RDONLY };
			assert_int_equal(ask(f->s, FUSE_OPEN, inside, &in, sizeof in, NULL, NULL), -ENXIO);
			dirs++;
		} else {
			assert_int_equal(r, -ENOTDIR);
			links++;
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_true(dirs && links);
	/* Either name may be the link now: what is behind it is the host's /etc. */
	const char *const both[] = { p, q };
	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		int d = open(both[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (d < 0)
			continue;
		unlinkat(d, "passwd", 0);
		close(d);
		rmdir(both[i]);
	}
}

/* Shares come and go while the guest holds on to them. */
static void fuse_shares(void **state)
{
	struct fixture *f = *state;
	struct fuse_share share = { f->fd, true };
	uint64_t n, file;
	assert_int_equal(fuse_server_add(f->s, &share), 1);
	assert_int_equal(fuse_server_add(f->s, &share), 2);
	assert_int_equal(lookup(f->s, FUSE_ROOT_ID, "1", &n), 0);
	assert_int_equal(lookup(f->s, n, "file", &file), 0);
	fuse_server_drop(f->s, 1);
	assert_int_equal(lookup(f->s, FUSE_ROOT_ID, "1", &n), -ENOENT);
	assert_int_equal(lookup(f->s, FUSE_ROOT_ID, "2", &n), 0);
	fuse_server_drop(f->s, 1); /* twice, and what never was */
	fuse_server_drop(f->s, 99);
	assert_int_equal(fuse_server_add(f->s, &share), 1); /* the number is free again */
	struct fuse_forget_in all = { .nlookup = UINT64_MAX };
	struct fuse_in_header h = { .len = sizeof h + sizeof all, .opcode = FUSE_FORGET, .nodeid = n };
	uint8_t in[sizeof h + sizeof all];
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	bool reply;
	memcpy(in, &h, sizeof h);
	memcpy(in + sizeof h, &all, sizeof all);
	assert_int_equal(fuse_server_handle(f->s, in, sizeof in, &out, &reply), 0); /* the guest forgets more than it has: a share's root stays */
	assert_int_equal(lookup(f->s, FUSE_ROOT_ID, "2", &n), 0);
	for (unsigned i = 3; i < FUSE_SHARES_MAX; i++)
		assert_int_equal(fuse_server_add(f->s, &share), (int)i);
	assert_int_equal(fuse_server_add(f->s, &share), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lz4), cmocka_unit_test(kernels), cmocka_unit_test(archive), cmocka_unit_test(keys), cmocka_unit_test(options),
		cmocka_unit_test_setup_teardown(fuse_names, setup, teardown), cmocka_unit_test_setup_teardown(fuse_opens, setup, teardown),
		cmocka_unit_test_setup_teardown(fuse_devices, setup, teardown), cmocka_unit_test_setup_teardown(fuse_readonly, setup, teardown),
		cmocka_unit_test_setup_teardown(fuse_frames, setup, teardown), cmocka_unit_test_setup_teardown(fuse_races, setup, teardown),
		cmocka_unit_test_setup_teardown(fuse_shares, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
