/* spec: config.json to values, and each kind of mistake to one error with its path. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <cmocka.h>
#include <linux/mount.h>

#include "spec/oci.h"

static int load(struct arena *a, const char *text, struct oci_spec **s, struct err *e) {
	struct json *doc;
	int r = json_parse(a, text, strlen(text), &doc, e);
	return r < 0 ? r : oci_spec_from_json(a, doc, s, e);
}

#define PROCESS "\"process\":{\"args\":[\"true\"],\"cwd\":\"/\"},"
#define MINIMAL "\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"rootfs\"}"

static void test_default_document(void **state UNUSED) {
	for (int rootless = 0; rootless < 2; rootless++) {
		_cleanup_arena_ struct arena a = ARENA_INIT;
		_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
		_cleanup_err_ struct err e = ERR_INIT;
		struct oci_spec *s;
		assert_int_equal(oci_spec_write_default(&out, rootless, 1000, 100), 0);
		if (load(&a, strbuf_str(&out), &s, &e) < 0)
			fail_msg("%s", err_msg(&e));
		assert_true(s->process.terminal);
		assert_true(s->process.no_new_privileges);
		assert_int_equal(s->process.n_rlimits, 1);
		assert_int_equal(s->process.rlimits[0].resource, RLIMIT_NOFILE);
		assert_int_equal(s->process.caps.bounding, 1ULL << 5 | 1ULL << 10 | 1ULL << 29);
		assert_int_equal(s->n_mounts, rootless ? 6 : 7);
		assert_int_equal(s->n_namespaces, 6);
		assert_int_equal(oci_namespace(s, CLONE_NEWUSER) != NULL, rootless);
		assert_int_equal(s->uid_mappings.n, rootless);
		assert_string_equal(s->mounts[1].data, "mode=755,size=65536k");
	}
}

static void test_mistakes(void **state UNUSED) {
	static const struct { const char *text, *message; } cases[] = {
		{ "{}", "config.json: ociVersion: is required" },
		{ "[]", "config.json: expected object, got array" },
		{ "{\"ociVersion\":\"abc\"}", "config.json: ociVersion: \"abc\" is no version" },
		{ "{\"ociVersion\":\"2.0.0\"}", "is not supported" },
		{ "{\"ociVersion\":\"1.0\",\"root\":{}}", "config.json: root.path: is required" },
		{ "{\"ociVersion\":\"1.0\",\"root\":{\"path\":5}}", "config.json: root.path: expected string, got number 5" },
		{ "{" MINIMAL ",\"process\":{\"cwd\":\"/\"}}", "config.json: process: args must not be empty" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"cwd\":\"x\"}}", "must be an absolute path" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\",1],\"cwd\":\"/\"}}", "config.json: process.args[1]: expected string, got number 1" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"cwd\":\"/\",\"user\":{\"uid\":-1}}}", "config.json: process.user.uid: -1 is out of range" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"cwd\":\"/\",\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":2}]}}", "process.rlimits[0]: invalid rlimit type" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"cwd\":\"/\",\"scheduler\":{\"policy\":\"SCHED_X\"}}}", "process.scheduler.policy: \"SCHED_X\" is not one of" },
		{ "{" MINIMAL ",\"process\":{\"args\":[\"a\"],\"cwd\":\"/\",\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":9}}}", "process.ioPriority: priority 9 is out of range" },
		{ "{" MINIMAL ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pidd\"}]}}", "config.json: linux.namespaces[1].type: \"pidd\" is not one of pid, network" },
		{ "{" MINIMAL ",\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]}}", "duplicated ns \"pid\"" },
		{ "{" MINIMAL ",\"hostname\":\"x\"}", "without a private UTS namespace" },
		{ "{" MINIMAL ",\"linux\":{\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":1}]}}", "USER namespace isn't enabled" },
		{ "{" MINIMAL ",\"linux\":{\"resources\":{\"cpu\":{\"quota\":\"x\"}}}}", "config.json: linux.resources.cpu.quota: expected integer, got string \"x\"" },
		{ "{" MINIMAL ",\"linux\":{\"resources\":{\"devices\":[{\"allow\":true,\"access\":\"rx\"}]}}}", "linux.resources.devices[0]: invalid access" },
		{ "{" MINIMAL ",\"linux\":{\"resources\":{\"hugepageLimits\":[{\"pageSize\":\"../x\",\"limit\":1}]}}}", "invalid pageSize" },
		{ "{" MINIMAL ",\"linux\":{\"resources\":{\"unified\":{\"../x\":\"1\"}}}}", "must be a file name" },
		{ "{" MINIMAL ",\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_X\"}}}", "linux.seccomp.defaultAction: \"SCMP_ACT_X\" is not one of" },
		{ "{" MINIMAL ",\"linux\":{\"seccomp\":{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}}}", "cannot be used as default action" },
		{ "{" MINIMAL ",\"linux\":{\"devices\":[{\"path\":\"/dev/x\",\"type\":\"q\"}]}}", "linux.devices[0].type: \"q\" is not one of c, b, u, p" },
		{ "{" MINIMAL ",\"linux\":{\"rootfsPropagation\":\"odd\"}}", "linux.rootfsPropagation: \"odd\" is not one of" },
		{ "{" MINIMAL ",\"linux\":{\"netDevices\":{\"a/b\":{}}}}", "invalid network device name" },
		{ "{" MINIMAL ",\"linux\":{\"timeOffsets\":{\"boottime\":{\"secs\":1}}}}", "TIME namespace isn't enabled" },
		{ "{" MINIMAL ",\"mounts\":[{\"destination\":\"/x\"}]}", "mounts[0]: type is required" },
		{ "{" MINIMAL ",\"hooks\":{\"poststop\":[{\"path\":\"rel\"}]}}", "hooks.poststop[0]: path \"rel\" must be absolute" },
		{ "{" MINIMAL ",\"hooks\":{\"poststop\":[{\"path\":\"/x\",\"timeout\":0}]}}", "timeout 0 must be greater than zero" },
		{ "{" MINIMAL ",\"annotations\":{\"a\":1}}", "config.json: annotations.a: expected string, got number 1" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_arena_ struct arena a = ARENA_INIT;
		_cleanup_err_ struct err e = ERR_INIT;
		struct oci_spec *s;
		assert_int_equal(load(&a, cases[i].text, &s, &e), -EINVAL);
		if (!strstr(err_msg(&e), cases[i].message))
			fail_msg("case %zu: %s\n  lacks: %s", i, err_msg(&e), cases[i].message);
	}
}

static struct oci_mount decode(struct arena *a, const char *const *options) {
	struct oci_mount m = { .type = "bind" };
	size_t n = 0;
	while (options[n])
		n++;
	m.options.v = arena_array(a, n + 1, char *);
	for (size_t i = 0; i < n; i++)
		m.options.v[i] = arena_strdup(a, options[i]);
	m.options.n = n;
	assert_int_equal(oci_mount_decode_options(a, &m, "mounts[0]", NULL), 0);
	return m;
}

static void test_mount_options(void **state UNUSED) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct oci_mount m = decode(&a, (const char *const[]){ "rbind", "ro", "nosuid", "rprivate", "size=1", "rro", "mode=755", NULL });
	assert_true(m.bind && m.recursive_bind);
	assert_int_equal(m.attr_set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID);
	assert_int_equal(m.rec_attr_set, MOUNT_ATTR_RDONLY);
	assert_int_equal(m.propagation, MS_PRIVATE | MS_REC);
	assert_string_equal(m.data, "size=1,mode=755");
	m = decode(&a, (const char *const[]){ "ro", "rw", "noatime", "relatime", NULL });
	assert_int_equal(m.attr_set, 0);
	assert_int_equal(m.attr_clr, MOUNT_ATTR_RDONLY | MOUNT_ATTR__ATIME);
	m = decode(&a, (const char *const[]){ "idmap=uids=0-1-2", "copy-symlink", NULL });
	assert_int_equal(m.ext, OCI_MOUNT_IDMAP | OCI_MOUNT_COPY_SYMLINK);
	assert_string_equal(m.idmap_option, "uids=0-1-2");
	/* Every name in the list that "features" prints is really decoded: none may end up in the data. */
	for (size_t i = 0; oci_mount_option_names[i]; i++) {
		m = decode(&a, (const char *const[]){ oci_mount_option_names[i], NULL });
		assert_string_equal(m.data, "");
		assert_true(i == 0 || strcmp(oci_mount_option_names[i - 1], oci_mount_option_names[i]) < 0);
	}
}

static void test_signals(void **state UNUSED) {
	assert_int_equal(oci_signal_number("TERM"), 15);
	assert_int_equal(oci_signal_number("sigterm"), 15);
	assert_int_equal(oci_signal_number("9"), 9);
	assert_int_equal(oci_signal_number("RTMIN+1"), 35);
	assert_int_equal(oci_signal_number("SIGRTMAX-2"), 62);
	assert_int_equal(oci_signal_number("0"), -EINVAL);
	assert_int_equal(oci_signal_number("65"), -EINVAL);
	assert_int_equal(oci_signal_number("RTMIN-1"), -EINVAL);
	assert_int_equal(oci_signal_number("FOO"), -EINVAL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default_document), cmocka_unit_test(test_mistakes), cmocka_unit_test(test_mount_options), cmocka_unit_test(test_signals),
	};
	return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
