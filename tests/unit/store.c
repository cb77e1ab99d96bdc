/* The store's parsers: references, challenges, platforms, manifests, configs, dates, hosts.toml. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "store/auth.h"
#include "store/edit.h"
#include "store/hosts.h"
#include "store/pull.h"
#include "store/snapshot.h"
#include "wire/json.h"

static void references(void **state) {
	static const struct { const char *in, *host, *path, *tag; } good[] = {
		{ "busybox", "docker.io", "library/busybox", "latest" }, { "a/b", "docker.io", "a/b", "latest" }, { "a/b:1", "docker.io", "a/b", "1" },
		{ "localhost/b", "localhost", "b", "latest" }, { "localhost:5000/x", "localhost:5000", "x", "latest" }, { "q.io/a/b__c.d-e:T_1.0-x", "q.io", "a/b__c.d-e", "T_1.0-x" },
		{ "[::1]:5000/x:y", "[::1]:5000", "x", "y" }, { "index.docker.io/busybox", "docker.io", "library/busybox", "latest" }, { "127.0.0.1/x", "127.0.0.1", "x", "latest" },
	};
	static const char *const bad[] = { "", "A", "a//b", "/a", "a/", "a:", "a:-x", "a@sha256:12", "a@md5:00", "a..b", "a.", "-a", "a___b", "h:0/x", "h:99999/x", "h:x/y", "a b", "a\n",
		".x/y", "x-.y/z", "[zz]/x", "https://x/y" };
	struct ref r;
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(ref_parse(good[i].in, &r, NULL), 0);
		assert_string_equal(r.host, good[i].host);
		assert_string_equal(r.path, good[i].path);
		assert_string_equal(r.tag, good[i].tag);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (ref_parse(bad[i], &r, NULL) >= 0)
			fail_msg("'%s' was accepted", bad[i]);
	char text[200] = "x@sha256:", name[REF_MAX];
	memset(text + 9, 'a', 64);
	assert_int_equal(ref_parse(text, &r, NULL), 0);
	assert_string_equal(r.tag, "");
	assert_true(str_has_prefix(ref_name(&r, true, name), "docker.io/library/x@sha256:aa"));
}

static void challenges(void **state) {
	struct challenge c[CHALLENGES_MAX];
	(void)state;
	assert_int_equal(challenge_parse("Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull,push\"", c, CHALLENGES_MAX, NULL), 1);
	assert_int_equal(c[0].scheme, CHALLENGE_BEARER);
	assert_string_equal(c[0].realm, "https://a/t");
	assert_string_equal(c[0].scope, "repository:x:pull,push");
	assert_int_equal(challenge_parse("Negotiate, Basic realm=\"a \\\"b\\\"\" , bearer realm=x", c, CHALLENGES_MAX, NULL), 3);
	assert_int_equal(c[0].scheme, CHALLENGE_OTHER);
	assert_int_equal(c[1].scheme, CHALLENGE_BASIC);
	assert_string_equal(c[1].realm, "a \"b\"");
	assert_string_equal(c[2].realm, "x");
	assert_true(challenge_parse("Bearer realm=\"open", c, CHALLENGES_MAX, NULL) < 0);
	assert_true(challenge_parse("a b c d e f g h i j", c, CHALLENGES_MAX, NULL) < 0);
	assert_int_equal(challenge_parse("", c, CHALLENGES_MAX, NULL), 0);
}

static void platforms(void **state) {
	struct platform p;
	struct descriptor d;
	static const char index[] = "{\"manifests\":[{\"digest\":\"sha256:1111111111111111111111111111111111111111111111111111111111111111\",\"size\":1,\"platform\":{\"os\":\"linux\","
		"\"architecture\":\"arm\",\"variant\":\"v6\"}},{\"digest\":\"sha256:2222222222222222222222222222222222222222222222222222222222222222\",\"size\":1,\"platform\":{\"os\":\"linux\","
		"\"architecture\":\"arm\",\"variant\":\"v7\"}},{\"digest\":\"sha256:3333333333333333333333333333333333333333333333333333333333333333\",\"size\":1,\"platform\":{\"os\":\"unknown\","
		"\"architecture\":\"unknown\"}}]}";
	(void)state;
	assert_int_equal(platform_parse("linux/aarch64", &p, NULL), 0);
	assert_string_equal(p.arch, "arm64");
	assert_string_equal(p.variant, "v8");
	assert_true(platform_parse("a b", &p, NULL) < 0);
	assert_int_equal(platform_parse("linux/arm/v7", &p, NULL), 0);
	assert_int_equal(index_pick(index, strlen(index), &p, &d, NULL), 0);
	assert_int_equal(d.digest[7], '2');
	assert_int_equal(platform_parse("linux/arm/v6", &p, NULL), 0);
	assert_int_equal(index_pick(index, strlen(index), &p, &d, NULL), 0);
	assert_int_equal(d.digest[7], '1');
	assert_int_equal(platform_parse("linux/amd64", &p, NULL), 0);
	struct err e = ERR_INIT;
	assert_true(index_pick(index, strlen(index), &p, &d, &e) < 0);
	assert_non_null(strstr(err_msg(&e), "linux/arm/v7"));
	err_clear(&e);
}

static void dates(void **state) {
	(void)state;
	assert_int_equal(parse_rfc3339("1970-01-01T00:00:00Z"), 0);
	assert_int_equal(parse_rfc3339("2000-02-29T12:34:56.789Z"), 951827696);
	assert_int_equal(parse_rfc3339("2000-02-29T12:34:56+02:00"), 951820496);
	assert_int_equal(parse_rfc3339("1969-12-31T23:59:59Z"), -1);
	assert_int_equal(parse_rfc3339("yesterday"), 0);
}

static void edits(void **state) {
	static const char base[] = "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"A=1\",\"B=2\"],\"Cmd\":[\"old\"],\"Labels\":{\"x\":\"y\"},\"Extra\":1},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:1111111111111111111111111111111111111111111111111111111111111111\"]},\"history\":[{\"created_by\":\"first\"}]}";
	static char words[][32] = { "ENV A=3", "env C=\"x y\"", "ENTRYPOINT [\"/e\"]", "LABEL k=v", "EXPOSE 80 53/udp", "USER me", "RUN x" };
	char *changes[] = { words[0], words[1], words[2], words[3], words[4], words[5], NULL }, *nonsense[] = { words[6], NULL };
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT, none = STRBUF_INIT;
	struct json *j;
	(void)state;
	assert_int_equal(json_parse(&a, base, strlen(base), &j, NULL), 0);
	struct config_edit ed = { .base = j, .changes = changes, .diffid = "sha256:2222222222222222222222222222222222222222222222222222222222222222" };
	assert_int_equal(config_edit(&ed, &out, NULL), 0);
	struct image_config c = { .arena = ARENA_INIT };
	assert_int_equal(image_config_parse(out.s, out.len, &c, NULL), 0);
	assert_int_equal(c.n_layers, 2);
	assert_int_equal(strv_len(c.env), 3);
	assert_string_equal(c.env[0], "B=2");
	assert_string_equal(c.env[1], "A=3");
	assert_string_equal(c.env[2], "C=x y");
	assert_string_equal(c.entrypoint[0], "/e");
	assert_null(c.cmd); /* a new entrypoint takes the old command away, as docker does it */
	assert_string_equal(c.exposed_ports[0], "80/tcp");
	assert_string_equal(c.exposed_ports[1], "53/udp");
	assert_string_equal(c.user, "me");
	assert_non_null(json_get(json_get(c.raw, "config"), "Extra"));
	image_config_free(&c);
	ed.changes = nonsense;
	assert_true(config_edit(&ed, &none, NULL) < 0);
}

static void hosts(void **state) {
	char text[] = "server = \"https://upstream.example\"\n[host.\"http://mirror:5000\"]\n capabilities = [\"pull\"]\n skip_verify = true\n"
		      "[host.\"https://second/prefix\"]\n override_path = true\n ca = \"ca.pem\"\n client = [[\"c.pem\", \"k.pem\"]]\n[host.\"https://second/prefix\".header]\n x-a = \"b\"\n";
	struct endpoints eps = { .n = 0 };
	(void)state;
	assert_int_equal(hosts_toml_parse(text, "/d", "example.org", &eps, NULL), 0);
	assert_int_equal(eps.n, 3);
	assert_string_equal(eps.v[0].base, "http://mirror:5000/v2");
	assert_int_equal(eps.v[0].caps, HOST_PULL);
	assert_true(eps.v[0].tls.skip_verify);
	assert_string_equal(eps.v[1].base, "https://second/prefix");
	assert_string_equal(eps.v[1].tls.ca, "/d/ca.pem");
	assert_string_equal(eps.v[1].tls.key, "/d/k.pem");
	assert_string_equal(eps.v[1].headers[0], "x-a: b");
	assert_string_equal(eps.v[2].base, "https://upstream.example/v2");
	endpoints_free(&eps);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references), cmocka_unit_test(challenges), cmocka_unit_test(platforms), cmocka_unit_test(dates), cmocka_unit_test(edits), cmocka_unit_test(hosts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
