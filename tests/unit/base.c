/* base: errors, arena, buffers, numbers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

static void test_err_wrap(void **state UNUSED) {
	_cleanup_err_ struct err e = ERR_INIT;
	assert_int_equal(err_sys(&e, EACCES, "open %s", "x"), -EACCES);
	assert_string_equal(err_msg(&e), "open x: permission denied");
	assert_int_equal(err_wrap(&e, EIO, "start"), -EACCES);
	assert_string_equal(err_msg(&e), "start: open x: permission denied");
	assert_int_equal(err_set(NULL, -ENOENT, "nobody asks"), -ENOENT);
}

static void test_numbers(void **state UNUSED) {
	uint64_t u;
	int64_t i;
	uint32_t w;
	assert_int_equal(parse_u64("18446744073709551615", &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(parse_u64("18446744073709551616", &u), -ERANGE);
	assert_int_equal(parse_u64("", &u), -EINVAL);
	assert_int_equal(parse_u64("+1", &u), -EINVAL);
	assert_int_equal(parse_u64("1 ", &u), -EINVAL);
	assert_int_equal(parse_i64("-9223372036854775808", &i), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(parse_i64("9223372036854775808", &i), -ERANGE);
	assert_int_equal(parse_i64("-", &i), -EINVAL);
	assert_int_equal(parse_u32("4294967296", &w), -ERANGE);
	assert_int_equal(parse_u64_base("0755", 8, &u), 0);
	assert_int_equal((int)u, 0755);
	assert_int_equal(parse_u64_base("8", 8, &u), -EINVAL);
}

static void test_arena(void **state UNUSED) {
	_cleanup_arena_ struct arena a = ARENA_INIT;
	for (size_t n = 0; n < 20000; n += 97) {
		unsigned char *p = arena_alloc(&a, n);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, n);
	}
	assert_null(arena_calloc(&a, SIZE_MAX, 2));
	assert_string_equal(arena_printf(&a, "%d-%s", 7, "x"), "7-x");
}

static void test_strbuf(void **state UNUSED) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	assert_string_equal(strbuf_str(&b), "");
	for (int i = 0; i < 1000; i++)
		strbuf_printf(&b, "%d,", i);
	assert_int_equal(b.len, 10 * 2 + 90 * 3 + 900 * 4);
	char *s = strbuf_take(&b);
	assert_non_null(strstr(s, ",999,"));
	free(s);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err_wrap), cmocka_unit_test(test_numbers), cmocka_unit_test(test_arena), cmocka_unit_test(test_strbuf),
	};
	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
