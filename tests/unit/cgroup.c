/* The cgroup library without cgroups: plans, conversions, device rules and programs, and trees of plain directories that look like other hosts. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "confine/cgroup_internal.h"
#include "confine/cgroup_property.h"
#include "sys/fd.h"

static char top[] = "/tmp/cgroup-unit-XXXXXX";

static void put(const char *path, const char *text)
{
	char p[512];

	snprintf(p, sizeof(p), "%s/%s", top, path);
	for (char *s = strchr(p + strlen(top) + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = 0;
		mkdir(p, 0755);
		*s = '/';
	}
	int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
	cleanup_close(&fd);
}

static const char *get(const char *path)
{
	static char buf[4096];
	char p[512];

	snprintf(p, sizeof(p), "%s/%s", top, path);
	ssize_t n = cgroup_readat(AT_FDCWD, p, buf, sizeof(buf));
	return n < 0 ? "" : buf;
}

static int setup_v2(void **state)
{
	static char self[256];
	(void)state;
	strcpy(top, "/tmp/cgroup-unit-XXXXXX");
	if (!mkdtemp(top))
		return -1;
	put("sys/cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc\n");
	put("sys/cgroup.subtree_control", "memory pids\n");
	put("self", "0::/user.slice/session-1.scope\n");
	snprintf(self, sizeof(self), "%s/self", top);
	static char sys[256];
	snprintf(sys, sizeof(sys), "%s/sys", top);
	cgroup_host = (struct cgroup_host){ sys, self, true, true };
	return 0;
}

static int teardown(void **state)
{
	char cmd[300];
	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf %s", top);
	return system(cmd);
}

static int plan(const char *path, bool rootless, struct cgroup **ret, struct err *e)
{
	struct cgroup_request q = { .manager = CGROUP_MANAGER_CGROUPFS, .id = "c1", .cgroups_path = path, .rootless = rootless };
	return cgroup_plan(&q, ret, e);
}

static void test_paths(void **state)
{
	static const struct { const char *in; const char *out; } rows[] = {
		{ NULL, "/c1" }, { "", "/c1" }, { "/a/b", "/a/b" }, { "a//b/./c/", "/a/b/c" }, { "/..", NULL }, { "a/../b", NULL }, { "/", NULL }, { "a/..b", "/a/..b" }, { "a\nb", NULL },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_err_ struct err e = ERR_INIT;
		_cleanup_cgroup_ struct cgroup *cg = NULL;
		struct cgroup_saved s;
		int r = plan(rows[i].in, false, &cg, &e);
		if (!rows[i].out) {
			assert_int_equal(r, -EINVAL);
			continue;
		}
		assert_int_equal(r, 0);
		cgroup_save(cg, &s);
		assert_string_equal(s.path, rows[i].out);
		assert_string_equal(s.manager, "cgroupfs");
		assert_true(str_has_prefix(s.dirs, ":/"));
	}
}

static void test_rootless_path(void **state)
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_cgroup_ struct cgroup *cg = NULL;
	struct cgroup_saved s;
	(void)state;
	assert_int_equal(plan(NULL, true, &cg, &e), 0);
	cgroup_save(cg, &s);
	assert_string_equal(s.path, "/user.slice/c1");
}

static void test_enable_top_down(void **state)
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_cgroup_ struct cgroup *cg = NULL;
	(void)state;
	put("sys/a/cgroup.subtree_control", "");
	assert_int_equal(plan("/a/b", false, &cg, &e), 0);
	assert_int_equal(cgroup_create(cg, &e), 0);
	/* a plain file keeps the last write: one write a level with exactly what was not there */
	assert_non_null(strstr(get("sys/cgroup.subtree_control"), "+io"));
	assert_null(strstr(get("sys/cgroup.subtree_control"), "memory"));
	assert_non_null(strstr(get("sys/a/cgroup.subtree_control"), "+memory"));
	assert_string_equal(get("sys/a/b/cgroup.subtree_control"), "");
}

static void test_v2_values(void **state)
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_cgroup_ struct cgroup *cg = NULL;
	static const char *const files[] = { "cpu.max", "cpu.weight", "memory.max", "memory.swap.max", "memory.low", "pids.max", "io.weight", "io.max", "rdma.max", "hugetlb.2MB.max",
		"hugetlb.2MB.rsvd.max", "cpuset.cpus", "cpu.idle", "memory.high" };
	struct oci_resources r = { .set = true };
	struct oci_throttle_device t = { 8, 0, 1000 };
	struct oci_hugepage page = { "2MB", 4 << 20 };
	struct oci_rdma rdma = { "mlx5_1", { true, 3 }, { true, 10000 } };
	struct oci_map_entry un = { "memory.high", "max" };
	char p[128];
	(void)state;
	assert_int_equal(plan("/v", false, &cg, &e), 0);
	assert_int_equal(cgroup_create(cg, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(p, sizeof(p), "sys/v/%s", files[i]);
		put(p, "");
	}
	r.cpu.shares = (struct opt_u64){ true, 1024 };
	r.cpu.quota = (struct opt_i64){ true, -1 };
	r.cpu.period = (struct opt_u64){ true, 100000 };
	r.cpu.cpus = "0-1";
	r.memory.limit = (struct opt_i64){ true, 1 << 20 };
	r.memory.swap = (struct opt_i64){ true, 3 << 20 };
	r.memory.reservation = (struct opt_i64){ true, -1 };
	r.pids_limit = (struct opt_i64){ true, -1 };
	r.blkio.weight = (struct opt_u64){ true, 500 };
	r.blkio.read_bps = (struct oci_throttle){ &t, 1 };
	r.hugepages = &page, r.n_hugepages = 1;
	r.rdma = &rdma, r.n_rdma = 1;
	r.unified = (struct oci_map){ &un, 1 };
	assert_int_equal(cgroup_apply(cg, &r, CGROUP_APPLY_UPDATE, &e), 0);
	assert_string_equal(get("sys/v/cpu.weight"), "100");
	assert_string_equal(get("sys/v/cpu.max"), "max 100000");
	assert_string_equal(get("sys/v/cpuset.cpus"), "0-1");
	assert_string_equal(get("sys/v/memory.max"), "1048576");
	assert_string_equal(get("sys/v/memory.swap.max"), "2097152");
	assert_string_equal(get("sys/v/memory.low"), "max");
	assert_string_equal(get("sys/v/pids.max"), "max");
	assert_string_equal(get("sys/v/io.weight"), "4950");
	assert_string_equal(get("sys/v/io.max"), "8:0 rbps=1000");
	assert_string_equal(get("sys/v/hugetlb.2MB.rsvd.max"), "4194304");
	assert_string_equal(get("sys/v/rdma.max"), "mlx5_1 hca_handle=3 hca_object=10000");
	assert_string_equal(get("sys/v/memory.high"), "max");
	r.cpu.realtime_period = (struct opt_u64){ true, 1000 };
	assert_int_equal(cgroup_apply(cg, &r, CGROUP_APPLY_UPDATE, &e), -ENOTSUP);
}

static void test_conversions(void **state)
{
	static const struct { uint64_t shares, weight; } w[] = { { 0, 1 }, { 2, 1 }, { 512, 59 }, { 1024, 100 }, { 2048, 174 }, { 262144, 10000 }, { UINT64_MAX, 10000 } };
	int64_t v;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		assert_int_equal(cgroup_shares_to_weight(w[i].shares), w[i].weight);
	assert_int_equal(cgroup_blkio_to_io_weight(10), 1);
	assert_int_equal(cgroup_blkio_to_io_weight(1000), 10000);
	assert_int_equal(cgroup_swap_to_v2(300, 100, &v, NULL), 0);
	assert_int_equal(v, 200);
	assert_int_equal(cgroup_swap_to_v2(-1, 0, &v, NULL), 0);
	assert_int_equal(v, -1);
	assert_int_equal(cgroup_swap_to_v2(50, 100, &v, NULL), -EINVAL);
	assert_int_equal(cgroup_swap_to_v2(50, -1, &v, NULL), -EINVAL);
}

static void test_save_load(void **state)
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_cgroup_ struct cgroup *a = NULL, *b = NULL;
	struct cgroup_saved s, t;
	static const char *const damaged[] = { "cpu\n", "cpu:relative\n", ":/sys/fs/cgroup/elsewhere\n", ":/x/../c1\n" };
	(void)state;
	assert_int_equal(plan(NULL, false, &a, &e), 0);
	cgroup_save(a, &s);
	assert_int_equal(cgroup_load(&s, &b, &e), 0);
	cgroup_save(b, &t);
	assert_string_equal(s.dirs, t.dirs);
	assert_string_equal(s.path, t.path);
	for (size_t i = 0; i < ARRAY_SIZE(damaged); i++) {
		struct cgroup *c = NULL;
		struct cgroup_saved d = { "cgroupfs", "/c1", "", damaged[i] };
		assert_int_equal(cgroup_load(&d, &c, &e), -EINVAL);
	}
	struct cgroup_saved d = { "nobody", "", "", "" };
	struct cgroup *c = NULL;
	assert_int_equal(cgroup_load(&d, &c, &e), -EINVAL);
}

static void test_disabled(void **state)
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_cgroup_ struct cgroup *cg = NULL;
	struct cgroup_request q = { .manager = CGROUP_MANAGER_DISABLED, .id = "x", .cgroups_path = "/../.." };
	struct oci_resources r = { .set = true };
	struct cgroup_join j;
	(void)state;
	r.memory.limit = (struct opt_i64){ true, 1 };
	assert_int_equal(cgroup_plan(&q, &cg, &e), 0);
	assert_false(cgroup_active(cg));
	assert_int_equal(cgroup_create(cg, &e), 0);
	assert_int_equal(cgroup_apply(cg, &r, CGROUP_APPLY_NEW, &e), 0);
	assert_int_equal(cgroup_fd(cg), -EBADF);
	assert_int_equal(cgroup_join_open(cg, &j, &e), 0);
	assert_int_equal(j.n, 0);
	assert_int_equal(cgroup_remove(cg, &e), 0);
}

static void test_mounts(void **state)
{
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_cgroup_ struct cgroup *v2 = NULL, *hybrid = NULL;
	_cleanup_free_ struct cgroup_mount *a = NULL, *b = NULL;
	struct cgroup_saved s = { "cgroupfs", "/c", "", "cpu,cpuacct:/sys/fs/cgroup/cpu,cpuacct/c\nname=systemd:/sys/fs/cgroup/systemd/c\n:/sys/fs/cgroup/unified/c\n" };
	size_t n;
	(void)state;
	assert_int_equal(plan("/c", false, &v2, &e), 0);
	assert_int_equal(cgroup_mounts(v2, true, &a, &n, &e), 0);
	assert_int_equal(n, 1);
	assert_string_equal(a[0].fstype, "cgroup2");
	assert_int_equal(cgroup_load(&s, &hybrid, &e), 0);
	assert_int_equal(cgroup_mounts(hybrid, false, &b, &n, &e), 0);
	assert_int_equal(n, 6); /* tmpfs, three hierarchies, two links */
	assert_string_equal(b[0].fstype, "tmpfs");
	assert_string_equal(b[1].source, "/sys/fs/cgroup/cpu,cpuacct/c");
	assert_string_equal(b[2].name, "systemd");
	assert_string_equal(b[3].name, "unified");
	assert_string_equal(b[4].link, "cpu,cpuacct");
}

/* ---- device rules --------------------------------------------------------------------------------------------------------- */

#define R(a, t, ma, mi, acc) ((struct cgroup_device_rule){ a, t, ma, mi, acc })
enum { RD = CGROUP_ACC_READ, WR = CGROUP_ACC_WRITE, MK = CGROUP_ACC_MKNOD, RWM = CGROUP_ACC_ALL };

static void test_reduce(void **state)
{
	_cleanup_err_ struct err e = ERR_INIT;
	struct cgroup_device_rule *v = NULL;
	bool allow;
	size_t n;
	struct cgroup_device_rule a[] = { R(false, 'a', -1, -1, RWM), R(true, 'c', 1, 3, RD), R(true, 'c', 1, 3, WR), R(true, 'b', 8, -1, RWM), R(false, 'b', 8, -1, MK | WR) };
	(void)state;
	assert_int_equal(cgroup_device_reduce(a, 5, &allow, &v, &n, &e), 0);
	assert_false(allow);
	assert_int_equal(n, 2);
	assert_int_equal(v[0].access, RD | WR);
	assert_int_equal(v[1].access, RD);
	free(v);
	struct cgroup_device_rule hole[] = { R(false, 'a', -1, -1, RWM), R(true, 'b', 8, -1, RWM), R(false, 'b', 8, 1, RWM) };
	assert_int_equal(cgroup_device_reduce(hole, 3, &allow, &v, &n, &e), -ENOTSUP);
	struct cgroup_device_rule star[] = { R(false, 'a', -1, -1, RWM), R(true, 'a', 1, -1, RD), R(true, 'a', -1, -1, RWM), R(false, 'c', 1, 1, RWM) };
	assert_int_equal(cgroup_device_reduce(star, 2, &allow, &v, &n, &e), 0);
	assert_int_equal(n, 2); /* once for block, once for character devices */
	free(v);
	assert_int_equal(cgroup_device_reduce(star, 4, &allow, &v, &n, &e), 0);
	assert_true(allow && n == 1 && !v[0].allow);
	free(v);
}

/* What the kernel's interpreter does with the instructions that the builder uses. */
static int run(const struct bpf_insn *p, int n, uint32_t type, uint32_t access, uint32_t major, uint32_t minor)
{
	uint64_t r[11] = { 0 };
	const uint32_t ctx[3] = { access << 16 | type, major, minor };

	for (int pc = 0, steps = 0; pc < n; pc++) {
		const struct bpf_insn *i = &p[pc];
		uint64_t imm = (uint64_t)(int64_t)i->imm;
		assert_true(++steps <= n); /* forward jumps only */
		switch (i->code) {
		case BPF_LDX | BPF_MEM | BPF_W: r[i->dst_reg] = ctx[i->off / 4]; break;
		case BPF_ALU64 | BPF_MOV | BPF_X: r[i->dst_reg] = r[i->src_reg]; break;
		case BPF_ALU64 | BPF_MOV | BPF_K: r[i->dst_reg] = imm; break;
		case BPF_ALU64 | BPF_AND | BPF_K: r[i->dst_reg] &= imm; break;
		case BPF_ALU64 | BPF_RSH | BPF_K: r[i->dst_reg] >>= imm; break;
		case BPF_JMP | BPF_JNE | BPF_K: pc += r[i->dst_reg] != imm ? i->off : 0; break;
		case BPF_JMP | BPF_JSET | BPF_K: pc += r[i->dst_reg] & imm ? i->off : 0; break;
		case BPF_JMP | BPF_JA: pc += i->off; break;
		case BPF_JMP | BPF_EXIT: return (int)r[0];
		default: fail_msg("instruction %#x", i->code);
		}
	}
	fail_msg("ran off the end");
	return -1;
}

/* The meaning of the list, said plainly: for each access the last matching rule decides, nothing matching is a denial. */
static int model(const struct cgroup_device_rule *v, size_t n, char type, uint32_t access, int64_t major, int64_t minor)
{
	for (uint32_t bit = 1; bit <= 4; bit <<= 1) {
		bool allow = false;
		if (!(access & bit))
			continue;
		for (size_t i = 0; i < n; i++)
			if ((v[i].type == 'a' || v[i].type == type) && (v[i].major < 0 || v[i].major == major) && (v[i].minor < 0 || v[i].minor == minor) && v[i].access & bit)
				allow = v[i].allow;
		if (!allow)
			return 0;
	}
	return 1;
}

static void test_program(void **state)
{
	struct bpf_insn p[512];
	unsigned seed = 1;
	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct cgroup_device_rule v[8];
		size_t n = (size_t)(rand_r(&seed) % 9);
		for (size_t i = 0; i < n; i++)
			v[i] = R(rand_r(&seed) & 1, "abc"[rand_r(&seed) % 3], rand_r(&seed) % 4 - 1, rand_r(&seed) % 4 - 1, (uint8_t)(1 + rand_r(&seed) % 7));
		int k = cgroup_bpf_build(v, n, p, ARRAY_SIZE(p));
		assert_true(k > 0);
		for (int c = 0; c < 2; c++)
			for (uint32_t acc = 1; acc < 8; acc++)
				for (uint32_t ma = 0; ma < 4; ma++)
					for (uint32_t mi = 0; mi < 4; mi++)
						assert_int_equal(run(p, k, c ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK, acc, ma, mi), model(v, n, c ? 'c' : 'b', acc, ma, mi));
	}
	assert_int_equal(cgroup_bpf_build(NULL, 1000, p, ARRAY_SIZE(p)), -E2BIG);
}

static void test_property(void **state)
{
	static const struct { const char *name, *text, *sig; } good[] = {
		{ "RemainAfterExit", "true", "b" }, { "MemoryMax", "uint64 42", "t" }, { "MemoryMax", "@t 42", "t" }, { "CPUWeight", "7", "i" }, { "Foo", "-7", "i" },
		{ "Foo", "1.5", "d" }, { "Foo", "'a\\'b'", "s" }, { "Foo", "\"x\"", "s" }, { "Foo", "['a', 'b']", "as" }, { "Foo", "@as []", "as" }, { "Foo", "[1, 2]", "ai" },
		{ "Foo", "[uint64 1, 2]", "at" }, { "Foo", "[byte 1, 0xff]", "ay" }, { "Foo", "('a', 1)", "(si)" }, { "Foo", "[('a', true), ('b', false)]", "a(sb)" },
		{ "Foo", "objectpath '/a'", "o" }, { "Foo", "  int64   -5 ", "x" }, { "TimeoutStopSec", "7", "t" }, { "TimeoutStopSec", "uint32 7", "t" }, { "RestartSec", "0.5", "t" },
		{ "Foo", "@ay [1, 2]", "ay" }, { "Foo", "[['a'], ['b']]", "aas" }, { "TimeoutStopUSec", "uint64 9", "t" }, { "Foo", "18446744073709551615", NULL },
	};
	static const struct { const char *name, *text; } wrong[] = {
		{ "ab", "true" }, { "a.b", "true" }, { "", "1" }, { "Foo", "" }, { "Foo", "tru" }, { "Foo", "true x" }, { "Foo", "'a" }, { "Foo", "uint64 -1" }, { "Foo", "byte 256" },
		{ "Foo", "[1, 'a']" }, { "Foo", "[" }, { "Foo", "(" }, { "Foo", "[]" }, { "Foo", "@zz 1" }, { "Foo", "uint64 'a'" }, { "Foo", "12x" }, { "Foo", "1e999" }, { "FooSec", "'x'" },
		{ "FooSec", "-1" }, { "Foo", "[[[[[[[[[[[1]]]]]]]]]]]" }, { "Foo", "'\\u0041'" }, { "Foo", "4294967296000000000000" }, { "Foo", "()" },
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_err_ struct err e = ERR_INIT;
		_cleanup_arena_ struct arena a = ARENA_INIT;
		struct cgroup_value *v;
		const char *name;
		int r = cgroup_property_parse(&a, good[i].name, good[i].text, &name, &v, &e);
		if (!good[i].sig) {
			assert_int_equal(r, -EINVAL); /* no int32 */
			continue;
		}
		if (r < 0)
			fail_msg("%s=%s: %s", good[i].name, good[i].text, err_msg(&e));
		assert_string_equal(v->sig, good[i].sig);
		if (streq(good[i].name, "RestartSec")) {
			assert_string_equal(name, "RestartUSec");
			assert_int_equal(v->u, 500000);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		_cleanup_arena_ struct arena a = ARENA_INIT;
		struct cgroup_value *v;
		const char *name;
		if (cgroup_property_parse(&a, wrong[i].name, wrong[i].text, &name, &v, NULL) != -EINVAL)
			fail_msg("%s=%s was accepted", wrong[i].name, wrong[i].text);
	}
}

static void test_slices(void **state)
{
	static const struct { const char *in, *out; } rows[] = { { "a.slice", "/a.slice" }, { "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice" }, { "-.slice", "" }, { "-", "" },
		{ "a", NULL }, { ".slice", NULL }, { "-a.slice", NULL }, { "a-.slice", NULL }, { "a--b.slice", NULL }, { "a/b.slice", NULL }, { "../a.slice", NULL } };
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		int r = cgroup_slice_path(rows[i].in, &b, NULL);
		if (rows[i].out) {
			assert_int_equal(r, 0);
			assert_string_equal(strbuf_str(&b), rows[i].out);
		} else {
			assert_int_equal(r, -EINVAL);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_paths, setup_v2, teardown),
		cmocka_unit_test_setup_teardown(test_rootless_path, setup_v2, teardown),
		cmocka_unit_test_setup_teardown(test_enable_top_down, setup_v2, teardown),
		cmocka_unit_test_setup_teardown(test_v2_values, setup_v2, teardown),
		cmocka_unit_test(test_conversions),
		cmocka_unit_test_setup_teardown(test_save_load, setup_v2, teardown),
		cmocka_unit_test_setup_teardown(test_disabled, setup_v2, teardown),
		cmocka_unit_test_setup_teardown(test_mounts, setup_v2, teardown),
		cmocka_unit_test(test_reduce),
		cmocka_unit_test(test_program),
		cmocka_unit_test(test_property),
		cmocka_unit_test(test_slices),
	};
	return cmocka_run_group_tests_name("cgroup", tests, NULL, NULL);
}
