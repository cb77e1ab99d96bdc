/* confine: Intel RDT against a tree of plain files that looks like resctrl. What the kernel would refuse is set up by file modes and names. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "confine/intelrdt.h"
#include "sys/fd.h"
#include "wire/json.h"

static char root[64];

static void put(const char *path, const char *text) {
	char full[256];
	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *p = strchr(full + 6, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(full, 0755);
		*p = '/';
	}
	FILE *f = fopen(full, "we");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static bool there(const char *path) {
	char full[256];
	snprintf(full, sizeof(full), "%s/%s", root, path);
	return access(full, F_OK) == 0;
}

static void assert_file(const char *path, const char *text) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char full[256];
	snprintf(full, sizeof(full), "%s/%s", root, path);
	assert_int_equal(file_read_at(AT_FDCWD, full, &b, 4096), 0);
	assert_string_equal(strbuf_str(&b), text);
}

static int setup(void **state UNUSED) {
	strcpy(root, "/tmp/confine-rdt.XXXXXX");
	assert_non_null(mkdtemp(root));
	put("schemata", "    MB:0=100\n    L3:0=fff;1=fff\n");
	put("info/L3/cbm_mask", "fff\n");
	put("info/L3/min_cbm_bits", "2\n");
	put("info/L3/num_closids", "16\n");
	put("info/last_cmd_status", "ok\n");
	put("shared/schemata", "    MB:0=100\n    L3:0=0ff;1=00f\n");
	put("shared/tasks", "");
	put("shared/mon_groups/x", "");
	return 0;
}

static int teardown(void **state UNUSED) {
	char cmd[96];
	snprintf(cmd, sizeof(cmd), "rm -rf %s", root);
	return system(cmd);
}

static void test_own_group(void **state UNUSED) {
	char mb[] = "MB:0=50";
	char *schemata[] = { mb, NULL };
	struct oci_intel_rdt rdt = { .set = true, .l3_cache_schema = "L3:0=f", .schemata = { schemata, 1 } };
	_cleanup_err_ struct err e = ERR_INIT;
	bool created;
	/* a folder of resctrl appears with its files; here the write must fail cleanly, with the kernel's explanation, and take the folder away */
	put("info/last_cmd_status", "mask out of range\n");
	assert_int_equal(intelrdt_create(root, &rdt, "c1", &created, &e), -ENOENT);
	assert_non_null(strstr(err_msg(&e), "last_cmd_status: mask out of range"));
	assert_false(there("c1"));
	put("c1/schemata", "");
	put("c1/tasks", "");
	assert_int_equal(intelrdt_create(root, &rdt, "c1", &created, &e), 0);
	assert_false(created);
	assert_file("c1/schemata", "MB:0=50\n"); /* the last line written */
	assert_int_equal(intelrdt_join(root, &rdt, "c1", 4242, &e), 0);
	assert_file("c1/tasks", "4242\n");
	assert_int_equal(intelrdt_update(root, &rdt, "c1", "L3:0=3", NULL, &e), 0);
	assert_file("c1/schemata", "L3:0=3\n\n"); /* a plain file keeps the old tail */
}

static void test_shared_group(void **state UNUSED) {
	struct oci_intel_rdt rdt = { .set = true, .clos_id = "shared", .l3_cache_schema = "L3:0=ff;1=f" };
	_cleanup_err_ struct err e = ERR_INIT;
	bool created = true;
	assert_int_equal(intelrdt_create(root, &rdt, "c2", &created, &e), 0);
	assert_false(created);
	rdt.l3_cache_schema = "L3:1=ff";
	assert_int_equal(intelrdt_create(root, &rdt, "c2", &created, &e), -EEXIST);
	assert_non_null(strstr(err_msg(&e), "exists with other schemata"));
	rdt.l3_cache_schema = "L3:7=f";
	assert_int_equal(intelrdt_create(root, &rdt, "c2", &created, &e), -EEXIST);
	rdt.l3_cache_schema = NULL;
	rdt.enable_monitoring = true;
	assert_int_equal(intelrdt_create(root, &rdt, "c2", &created, &e), 0);
	assert_true(there("shared/mon_groups/c2"));
	assert_int_equal(intelrdt_delete(root, &rdt, "c2", false, &e), 0);
	assert_false(there("shared/mon_groups/c2"));
	assert_true(there("shared"));
	assert_int_equal(intelrdt_delete(root, &rdt, "c2", false, &e), 0);
	rdt.clos_id = "absent";
	assert_int_equal(intelrdt_create(root, &rdt, "c2", &created, &e), -ENOENT);
	assert_non_null(strstr(err_msg(&e), "clos dir not accessible (must be pre-created"));
}

static void test_refused(void **state UNUSED) {
	static const char *const bad[] = { "", ".", "..", "a/b", "../x", "info", "mon_groups" };
	_cleanup_err_ struct err e = ERR_INIT;
	bool created;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct oci_intel_rdt rdt = { .set = true, .clos_id = bad[i], .l3_cache_schema = "L3:0=f" };
		assert_int_equal(intelrdt_create(root, &rdt, "c3", &created, &e), -EINVAL);
		assert_non_null(strstr(err_msg(&e), "invalid intelRdt.ClosID"));
		assert_int_equal(intelrdt_delete(root, &rdt, "c3", true, &e), -EINVAL);
	}
	struct oci_intel_rdt rdt = { .set = true };
	assert_int_equal(intelrdt_create("/no/such", &rdt, "c3", &created, &e), -ENODEV);
	assert_non_null(strstr(err_msg(&e), "intelRdt is specified in config, but Intel RDT is not supported or enabled"));
	/* a link in place of a CLOS is not followed */
	char link[96];
	snprintf(link, sizeof(link), "%s/trap", root);
	assert_int_equal(symlink("/tmp", link), 0);
	rdt.clos_id = "trap";
	assert_true(intelrdt_create(root, &rdt, "c3", &created, &e) < 0);
	rdt.set = false;
	assert_int_equal(intelrdt_create("/no/such", &rdt, "c3", &created, &e), 0);
	rdt = (struct oci_intel_rdt){ .set = true, .clos_id = "/" };
	assert_int_equal(intelrdt_delete(root, &rdt, "c3", true, &e), 0);
	assert_true(there("schemata"));
}

static void test_stats(void **state UNUSED) {
	struct oci_intel_rdt rdt = { .set = true, .clos_id = "shared" };
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	struct json_writer w;
	put("shared/mon_data/mon_L3_00/llc_occupancy", "4096\n");
	put("shared/mon_data/mon_L3_00/mbm_total_bytes", "Unavailable\n");
	jw_init(&w, &out, 0);
	jw_object(&w);
	assert_int_equal(intelrdt_stats(root, &rdt, "c4", &w, NULL), 0);
	jw_object_end(&w);
	assert_int_equal(jw_finish(&w), 0);
	assert_string_equal(strbuf_str(&out), "{\"intel_rdt\":{\"l3_cache_info\":{\"cbm_mask\":\"fff\",\"min_cbm_bits\":2,\"num_closids\":16},"
		"\"l3_cache_schema_root\":\"L3:0=fff;1=fff\",\"l3_cache_schema\":\"L3:0=0ff;1=00f\",\"mem_bw_schema_root\":\"MB:0=100\",\"mem_bw_schema\":\"MB:0=100\","
		"\"mbm_stats\":[{}],\"cmt_stats\":[{\"llc_occupancy\":4096}]}}");
	assert_true(intelrdt_available(root));
	assert_false(intelrdt_available("/no/such"));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_group), cmocka_unit_test(test_shared_group), cmocka_unit_test(test_refused), cmocka_unit_test(test_stats),
	};
	return cmocka_run_group_tests_name("intelrdt", tests, setup, teardown);
}
