/* The engine without containers: records, ids, moves, configuration file, option parser. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/oci/match.h"
#include "cmd/oci/opt.h"
#include "engine/engine.h"
#include "sys/fd.h"
#include "emulated.h"

static struct ctr_record sample(void) {
	static struct oci_map_entry annotations[] = { { "a", "1" }, { "org.example/key", "value with \n newline" }, { "", "" } };
	return (struct ctr_record){ .status = CTR_RUNNING, .paused_from = CTR_CREATED, .id = "web", .bundle = "/b", .rootfs = "/b/rootfs", .oci_version = "1.3.0", .tier = "ns",
		.owner = "root", .created = 1234567890123456789, .init_pid = 4242, .start_time = 99, .exe_dev = 7, .exe_ino = 8,
		.cgroup = { "cgroupfs", "/x", "", "memory:/sys/fs/cgroup/memory/x\n:/sys/fs/cgroup/unified/x\n" }, .annotations = { annotations, 3 }, .own_pidns = true,
		.poststop = true, .cgroup_ours = true };
}

static void record_round_trip(void **state) {
	(void)state;
	struct ctr_record r = sample(), g;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	assert_int_equal(ctr_record_encode(&r, &b), 0);
	assert_int_equal(ctr_record_decode(&a, b.s, b.len, &g, &e), 0);
	assert_int_equal(g.status, CTR_RUNNING);
	assert_int_equal(g.paused_from, CTR_CREATED);
	assert_string_equal(g.id, "web");
	assert_string_equal(g.rootfs, "/b/rootfs");
	assert_string_equal(g.cgroup.dirs, r.cgroup.dirs);
	assert_int_equal(g.created, r.created);
	assert_int_equal(g.init_pid, 4242);
	assert_int_equal(g.start_time, 99);
	assert_int_equal(g.exe_ino, 8);
	assert_int_equal(g.annotations.n, 3);
	assert_string_equal(g.annotations.v[1].value, "value with \n newline");
	assert_true(g.own_pidns && g.poststop && g.cgroup_ours);
	assert_false(g.poststart || g.rdt || g.rdt_created || g.systemd || g.rootless);
}

static void record_every_damage_is_seen(void **state) {
	(void)state;
	struct ctr_record r = sample(), g;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	assert_int_equal(ctr_record_encode(&r, &b), 0);
	for (size_t i = 0; i < b.len; i++) { /* one flipped bit anywhere */
		_cleanup_arena_ struct arena a = ARENA_INIT;
		b.s[i] ^= 0x10;
		assert_int_equal(ctr_record_decode(&a, b.s, b.len, &g, NULL), -EBADMSG);
		b.s[i] ^= 0x10;
	}
	for (size_t n = 0; n < b.len; n++) { /* cut anywhere */
		_cleanup_arena_ struct arena a = ARENA_INIT;
		assert_int_equal(ctr_record_decode(&a, b.s, n, &g, NULL), -EBADMSG);
	}
}

static void record_lies_behind_a_good_checksum(void **state) {
	(void)state;
	struct ctr_record r = sample(), g;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	assert_int_equal(ctr_record_encode(&r, &b), 0);
	for (size_t i = 12; i < b.len; i++)
		for (unsigned v = 0; v < 256; v += 51) {
			_cleanup_arena_ struct arena a = ARENA_INIT;
			char *copy = malloc(b.len);
			assert_non_null(copy);
			memcpy(copy, b.s, b.len);
			copy[i] = (char)v;
			ctr_record_fix_checksum(copy, b.len);
			int rc = ctr_record_decode(&a, copy, b.len, &g, NULL); /* what matters: no read outside, and strings are there */
			if (rc == 0)
				assert_true(g.id && g.bundle && g.cgroup.dirs && g.status < CTR_STATUSES);
			free(copy);
		}
}

static void record_skips_unknown_fields(void **state) {
	(void)state;
	struct ctr_record r = sample(), g;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT, c = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	assert_int_equal(ctr_record_encode(&r, &b), 0);
	strbuf_add(&c, b.s, b.len - 4);
	strbuf_add(&c, "\xf0\x03\0\0\0new", 8);
	strbuf_add(&c, "\0\0\0\0", 4);
	uint32_t body = (uint32_t)(c.len - 16);
	memcpy(c.s + 8, &body, 4);
	ctr_record_fix_checksum(c.s, c.len);
	assert_int_equal(ctr_record_decode(&a, c.s, c.len, &g, NULL), 0);
	assert_string_equal(g.id, "web");
}

static void ids(void **state) {
	(void)state;
	static const char *const good[] = { "a", "0", "_x", "+a", "-b", "a.b", "A-b_c+d.e" };
	static const char *const bad[] = { "", ".", "..", ".a", "a/b", "a b", "a\nb", "\xc3\xa9", "a*" };
	_cleanup_err_ struct err e = ERR_INIT;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(ctr_id_valid(good[i], &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ctr_id_valid(bad[i], &e), -EINVAL);
	char long_id[300];
	memset(long_id, 'a', sizeof(long_id));
	long_id[255] = 0;
	assert_int_equal(ctr_id_valid(long_id, &e), 0);
	long_id[255] = 'a';
	long_id[256] = 0;
	assert_int_equal(ctr_id_valid(long_id, &e), -EINVAL);
}

static void moves(void **state) {
	(void)state;
	static const bool legal[CTR_STATUSES][CTR_STATUSES] = {
		[CTR_CREATING] = { [CTR_CREATED] = true, [CTR_RUNNING] = true, [CTR_STOPPED] = true },
		[CTR_CREATED] = { [CTR_RUNNING] = true, [CTR_PAUSED] = true, [CTR_STOPPED] = true },
		[CTR_RUNNING] = { [CTR_PAUSED] = true, [CTR_STOPPED] = true },
		[CTR_PAUSED] = { [CTR_RUNNING] = true, [CTR_CREATED] = true, [CTR_STOPPED] = true },
	};
	char dir[] = "/tmp/tierce-engine-unit.XXXXXX";
	assert_non_null(mkdtemp(dir));
	struct ctr c = { .rec = sample(), .dir = dir, .dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	for (int from = 0; from < CTR_STATUSES; from++)
		for (int to = 0; to < CTR_STATUSES; to++) {
			c.rec.status = (enum ctr_status)from;
			int r = ctr_set_status(&c, (enum ctr_status)to, NULL);
			assert_int_equal(r, legal[from][to] ? 0 : -EPROTO);
			assert_int_equal(c.rec.status, r == 0 ? to : from);
		}
	unlinkat(c.dir_fd, "state", 0);
	close(c.dir_fd);
	rmdir(dir);
}

static void configuration(void **state) {
	(void)state;
	static const struct { const char *text; int rc; const char *isolation; } rows[] = {
		{ "", 0, NULL }, { "# only a comment\n\n", 0, NULL }, { "isolation = vm\n", 0, "vm" }, { "  isolation=\"sentry\"  ", 0, "sentry" },
		{ "isolation\n", -EINVAL, NULL }, { "colour = blue\n", -EINVAL, NULL }, { "= x\n", -EINVAL, NULL },
	};
	char path[] = "/tmp/tierce-engine-conf.XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_arena_ struct arena a = ARENA_INIT;
		_cleanup_err_ struct err e = ERR_INIT;
		struct engine_conf conf = { 0 };
		assert_int_equal(ftruncate(fd, 0), 0);
		assert_int_equal(pwrite(fd, rows[i].text, strlen(rows[i].text), 0), (long)strlen(rows[i].text));
		assert_int_equal(engine_conf_load(&a, path, &conf, &e), rows[i].rc);
		if (rows[i].isolation)
			assert_string_equal(conf.isolation, rows[i].isolation);
		else
			assert_null(conf.isolation);
	}
	close(fd);
	unlink(path);
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct engine_conf conf;
	assert_int_equal(engine_conf_load(&a, "/no/such/file", &conf, NULL), 0);
}

static void start_times(void **state) {
	(void)state;
	NOT_EMULATED("the emulator makes /proc/self/stat up");
	uint64_t mine, again;
	char letter;
	pid_t ppid;
	assert_int_equal(proc_start_time(getpid(), &mine, &letter, &ppid), 0);
	assert_int_equal(proc_start_time(getpid(), &again, NULL, NULL), 0);
	assert_true(mine > 0 && mine == again);
	assert_int_equal(ppid, getppid());
	assert_int_equal(letter, 'R');
	assert_int_equal(proc_start_time(0x7ffffffe, &mine, NULL, NULL), -ESRCH);
}

/* ---- options ------------------------------------------------------------------------------------------------------ */

struct values { const char *bundle; struct opt_list env; uint32_t n; bool keep, detach; };
static const struct opt opts[] = {
	{ "bundle", 'b', OPT_STRING, 0, 0, offsetof(struct values, bundle), "DIR", "", NULL },
	{ "env", 'e', OPT_LIST, 0, 0, offsetof(struct values, env), "E", "", NULL },
	{ "preserve-fds", 0, OPT_U32, 0, 0, offsetof(struct values, n), "N", "", NULL },
	{ "keep", 0, OPT_FLAG, 0, 0, offsetof(struct values, keep), NULL, "", NULL },
	{ "detach", 'd', OPT_FLAG, 0, 0, offsetof(struct values, detach), NULL, "", NULL },
};

static int parse(struct values *v, struct opt_parse *p, bool stop, char **argv) {
	int argc = 0;
	while (argv[argc])
		argc++;
	memset(v, 0, sizeof(*v));
	return opt_parse(opts, ARRAY_SIZE(opts), v, stop, argc, argv, p, NULL);
}
#define WORDS(...) ((char *[]){ __VA_ARGS__, NULL })
static char w_id[] = "id", w_bundle[] = "--bundle", w_eq[] = "--bundle=/x", w_one[] = "-bundle", w_short[] = "-b", w_glued[] = "-b/x", w_path[] = "/x", w_dash[] = "--",
	w_keep[] = "-keep", w_no[] = "--keep=false", w_d[] = "-d", w_env[] = "-eA=b", w_env2[] = "--env", w_v[] = "C=", w_n[] = "--preserve-fds=7", w_big[] = "--preserve-fds=4294967296",
	w_nine[] = "-9", w_bad[] = "--nope", w_help[] = "-h", w_maybe[] = "--keep=maybe";

static void option_spellings(void **state) {
	(void)state;
	struct values v;
	struct opt_parse p;
	char **const bundles[] = { WORDS(w_bundle, w_path, w_id), WORDS(w_eq, w_id), WORDS(w_one, w_path, w_id), WORDS(w_short, w_path, w_id), WORDS(w_glued, w_id),
		WORDS(w_id, w_bundle, w_path) };
	for (size_t i = 0; i < ARRAY_SIZE(bundles); i++) {
		assert_int_equal(parse(&v, &p, false, bundles[i]), 0);
		assert_string_equal(v.bundle, "/x");
		assert_int_equal(p.argc, 1);
		assert_string_equal(p.argv[0], "id");
		assert_null(p.argv[1]);
	}
	assert_int_equal(parse(&v, &p, false, WORDS(w_keep, w_d, w_env, w_env2, w_v, w_n, w_id)), 0);
	assert_true(v.keep && v.detach && v.n == 7);
	assert_int_equal(v.env.n, 2);
	assert_string_equal(v.env.v[0], "A=b");
	assert_string_equal(v.env.v[1], "C=");
	opt_release(opts, ARRAY_SIZE(opts), &v);
	assert_int_equal(parse(&v, &p, false, WORDS(w_keep, w_no)), 0);
	assert_false(v.keep);
}

static void option_operands(void **state) {
	(void)state;
	struct values v;
	struct opt_parse p;
	assert_int_equal(parse(&v, &p, true, WORDS(w_d, w_id, w_bad, w_short)), 0); /* the command's own options */
	assert_int_equal(p.argc, 3);
	assert_string_equal(p.argv[1], "--nope");
	assert_null(p.argv[3]);
	assert_int_equal(parse(&v, &p, false, WORDS(w_dash, w_bad)), 0);
	assert_int_equal(p.argc, 1);
	assert_int_equal(parse(&v, &p, false, WORDS(w_id, w_nine)), 0);
	assert_int_equal(p.argc, 2);
	assert_int_equal(parse(&v, &p, false, WORDS(w_help)), 0);
	assert_true(p.help);
}

static void option_errors(void **state) {
	(void)state;
	struct values v;
	struct opt_parse p;
	assert_int_equal(parse(&v, &p, false, WORDS(w_bad)), -EINVAL);
	assert_int_equal(parse(&v, &p, false, WORDS(w_id, w_bundle)), -EINVAL);
	assert_int_equal(parse(&v, &p, false, WORDS(w_id, w_short)), -EINVAL);
	assert_int_equal(parse(&v, &p, false, WORDS(w_big)), -EINVAL);
	assert_int_equal(parse(&v, &p, false, WORDS(w_maybe)), -EINVAL);
}

static void patterns(void **state) {
	(void)state;
	static const struct { const char *pattern, *text; bool hit; } rows[] = {
		{ "", "x", true }, { "b", "abc", true }, { "^b", "abc", false }, { "^a", "abc", true }, { "c$", "abc", true }, { "b$", "abc", false }, { "^abc$", "abc", true },
		{ "a.c", "abc", true }, { "a.*c$", "axxxc", true }, { "^a*$", "aaaa", true }, { "^a*$", "aab", false }, { "^a+$", "", false }, { "^ab?c$", "ac", true },
		{ "^ab?c$", "abbc", false }, { "^web-[0-9]+$", "web-12", true }, { "^web-[0-9]+$", "web-", false }, { "^[^a-c]$", "d", true }, { "^[^a-c]$", "b", false },
		{ "^(a|b)c$", "bc", true }, { "^(a|b)c$", "cc", false }, { "foo|bar", "xbary", true }, { "^(ab)+$", "ababab", true }, { "^(ab)+$", "ababa", false },
		{ "^(a|bc)*d$", "abcabcd", true }, { "^x(y(z|w))?$", "xyw", true }, { "^a\\.b$", "a.b", true }, { "^a\\.b$", "axb", false }, { "[]x]", "]", true },
		{ "^(a*)*b$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false },
	};
	static const char *const bad[] = { "*a", "a**b|*", "(", "(a", "a)", "[a", "+", "a\\", "^*" };
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(match_check(rows[i].pattern), 0);
		if (match(rows[i].pattern, rows[i].text) != rows[i].hit)
			fail_msg("\"%s\" on \"%s\"", rows[i].pattern, rows[i].text);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (match_check(bad[i]) == 0)
			fail_msg("accepted: %s", bad[i]);
}

/* A record is overwritten in place: whoever reads without the lock sees one of the two, whole. */
static void record_read_while_it_is_written(void **state) {
	(void)state;
	char dir[] = "/tmp/tierce-record.XXXXXX";
	_cleanup_strbuf_ struct strbuf one = STRBUF_INIT, two = STRBUF_INIT;
	struct ctr_record r = sample();
	struct stat before, after;
	assert_non_null(mkdtemp(dir));
	_cleanup_close_ int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(top, "web", 0700), 0);
	_cleanup_close_ int fd = openat(top, "web", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(ctr_record_encode(&r, &one), 0);
	r.created = 1;
	r.bundle = "/B", r.rootfs = "/B/ROOTFS", r.owner = "toor";
	assert_int_equal(ctr_record_encode(&r, &two), 0);
	assert_int_equal(one.len, two.len);
	assert_int_equal(file_overwrite_at(fd, "state", one.s, one.len, 0600), 0);
	assert_int_equal(fstatat(fd, "state", &before, 0), 0);
	pid_t writer = fork();
	if (writer == 0) {
		for (int i = 0;; i++)
			if (file_overwrite_at(fd, "state", i & 1 ? one.s : two.s, one.len, 0600) < 0)
				_exit(1);
	}
	struct engine eng = { .root = dir };
	for (int i = 0; i < 3000; i++) {
		struct ctr *c = NULL;
		_cleanup_err_ struct err e = ERR_INIT;
		if (ctr_open(&eng, "web", 0, &c, &e) < 0)
			fail_msg("%s", err_msg(&e));
		assert_true(c->rec.created == 1 ? streq(c->rec.bundle, "/B") && streq(c->rec.owner, "toor") : streq(c->rec.bundle, "/b") && streq(c->rec.owner, "root"));
		ctr_free(c);
	}
	kill(writer, SIGKILL);
	waitpid(writer, NULL, 0);
	assert_int_equal(fstatat(fd, "state", &after, 0), 0);
	assert_true(before.st_ino == after.st_ino); /* never renamed */
	/* Another length: replaced. */
	assert_int_equal(file_overwrite_at(fd, "state", one.s, one.len - 1, 0600), 0);
	assert_int_equal(fstatat(fd, "state", &after, 0), 0);
	assert_int_equal(after.st_size, one.len - 1);
	assert_int_equal(unlinkat(fd, "state", 0), 0);
	assert_int_equal(unlinkat(top, "web", AT_REMOVEDIR), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_round_trip),
		cmocka_unit_test(record_every_damage_is_seen),
		cmocka_unit_test(record_lies_behind_a_good_checksum),
		cmocka_unit_test(record_skips_unknown_fields),
		cmocka_unit_test(record_read_while_it_is_written),
		cmocka_unit_test(ids),
		cmocka_unit_test(moves),
		cmocka_unit_test(configuration),
		cmocka_unit_test(start_times),
		cmocka_unit_test(option_spellings),
		cmocka_unit_test(option_operands),
		cmocka_unit_test(option_errors),
		cmocka_unit_test(patterns),
	};
	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
