/* wire: JSON parser and writer. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "wire/json.h"

static int parse(struct arena *a, const char *s, struct json **j, struct err *e) {
	return json_parse(a, s, strlen(s), j, e);
}

static void test_round_trip(void **state UNUSED) {
	static const char doc[] = "{\"a\":[1,-2.5,true,null,\"x\\n\\u00e9\\ud83d\\ude00\"],\"b\":{\"c\":{}},\"d\":[]}";
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct json *j;
	assert_int_equal(parse(&a, doc, &j, &e), 0);
	struct json_writer w;
	jw_init(&w, &out, 0);
	jw_value(&w, j);
	assert_int_equal(jw_finish(&w), 0);
	assert_string_equal(strbuf_str(&out), "{\"a\":[1,-2.5,true,null,\"x\\n\xc3\xa9\xf0\x9f\x98\x80\"],\"b\":{\"c\":{}},\"d\":[]}");
}

static void test_refused(void **state UNUSED) {
	static const char *const bad[] = {
		"", " ", "{", "[", "[1,]", "{\"a\":1,}", "{a:1}", "01", "1.", "-", "\"", "\"\\x\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\u0000\"",
		"\"\x01\"", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "tru", "nul", "1 2", "[1 2]", "{\"a\" 1}", "\"\\", "\"\\u12", "\xef\xbb\xbf{}",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_arena_ struct arena a = ARENA_INIT;
		_cleanup_err_ struct err e = ERR_INIT;
		struct json *j;
		assert_int_equal(parse(&a, bad[i], &j, &e), -EINVAL);
		assert_non_null(strstr(err_msg(&e), "line 1, column "));
	}
}

static void test_depth(void **state UNUSED) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j;
	char doc[100000];
	memset(doc, '[', sizeof(doc) - 1);
	doc[sizeof(doc) - 1] = '\0';
	assert_int_equal(parse(&a, doc, &j, NULL), -E2BIG);
}

static void test_last_key_wins(void **state UNUSED) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j;
	int64_t v;
	assert_int_equal(parse(&a, "{\"x\":1,\"y\":2,\"x\":3}", &j, NULL), 0);
	assert_int_equal(j->len, 2);
	assert_int_equal(json_i64(json_get(j, "x"), &v), 0);
	assert_int_equal(v, 3);
}

static void test_numbers(void **state UNUSED) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *j;
	int64_t i;
	uint64_t u;
	assert_int_equal(parse(&a, "[1e3, 1.5, 18446744073709551615, 9223372036854775808, -1, 1e400]", &j, NULL), 0);
	struct json *m = json_first(j);
	assert_int_equal(json_i64(m, &i), 0);
	assert_int_equal(i, 1000);
	m = m->next;
	assert_int_equal(json_i64(m, &i), -EINVAL);
	m = m->next;
	assert_int_equal(json_u64(m, &u), 0);
	assert_true(u == UINT64_MAX);
	m = m->next;
	assert_int_equal(json_i64(m, &i), -ERANGE);
	m = m->next;
	assert_int_equal(json_u64(m, &u), -ERANGE);
	m = m->next;
	assert_int_equal(json_i64(m, &i), -ERANGE);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_refused), cmocka_unit_test(test_depth),
		cmocka_unit_test(test_last_key_wins), cmocka_unit_test(test_numbers),
	};
	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
