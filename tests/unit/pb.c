/* Protocol buffers and ttrpc frames: known bytes, round trips, and every way to be malformed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/ttrpc.h"

struct inner { uint64_t a; const char *s; };
struct outer {
	uint64_t u; int64_t i, z; bool b; double d; const char *s; struct pb_bytes raw; struct inner *in; struct pb_list nums, names, ins, map;
};
PB_DESC(inner_desc, inner, PB_F(1, PB_U64, struct inner, a), PB_F(2, PB_STR, struct inner, s));
PB_DESC(outer_desc, outer,
	PB_F(1, PB_U64, struct outer, u), PB_F(2, PB_I64, struct outer, i), PB_F(3, PB_S64, struct outer, z), PB_F(4, PB_BOOL, struct outer, b),
	PB_F(5, PB_F64, struct outer, d), PB_F(6, PB_STR, struct outer, s), PB_F(7, PB_BYTES, struct outer, raw), PB_M(8, struct outer, in, &inner_desc),
	PB_R(9, PB_U64, struct outer, nums), PB_R(10, PB_STR, struct outer, names), PB_RM(11, struct outer, ins, &inner_desc),
	PB_RM(12, struct outer, map, &pb_pair_desc));

static void known_bytes(void **s)
{
	(void)s;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct inner m = { 150, "testing" }; /* the examples of the encoding page */
	assert_int_equal(pb_encode(&inner_desc, &m, &b), 0);
	assert_int_equal(b.len, 12);
	assert_memory_equal(b.s, "\x08\x96\x01\x12\x07testing", 12);
}

static void round_trip(void **s)
{
	(void)s;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	uint64_t nums[] = { 0, 1, UINT64_MAX };
	const char *names[] = { "", "x", "yz" };
	struct inner one = { 0, NULL }, ins[] = { { 1, "a" }, { 0, NULL } };
	struct pb_pair map[] = { { "k", "v" } };
	struct outer in = { 7, -3, -70000, true, 1.5, "str", { "a\0b", 3 }, &one, { nums, 3 }, { names, 3 }, { ins, 2 }, { map, 1 } }, out;
	assert_int_equal(pb_encode(&outer_desc, &in, &b), 0);
	assert_int_equal(pb_decode(&outer_desc, &a, b.s, b.len, &out, &e), 0);
	assert_int_equal(out.u, 7);
	assert_int_equal(out.i, -3);
	assert_int_equal(out.z, -70000);
	assert_true(out.b);
	assert_true(out.d > 1.4 && out.d < 1.6);
	assert_string_equal(out.s, "str");
	assert_int_equal(out.raw.n, 3);
	assert_memory_equal(out.raw.p, "a\0b", 3);
	assert_non_null(out.in);
	assert_int_equal(out.nums.n, 3);
	assert_true(((uint64_t *)out.nums.v)[2] == UINT64_MAX);
	assert_int_equal(out.names.n, 3);
	assert_string_equal(((const char **)out.names.v)[2], "yz");
	assert_int_equal(out.ins.n, 2);
	assert_string_equal(((struct inner *)out.ins.v)[0].s, "a");
	assert_string_equal(((struct pb_pair *)out.map.v)[0].value, "v");
	/* every cut of a valid message is refused or decodes to a prefix, never reads beyond */
	for (size_t n = 0; n < b.len; n++) {
		uint8_t *cut = malloc(n ? n : 1);
		memcpy(cut, b.s, n);
		int r = pb_decode(&outer_desc, &a, cut, n, &out, &e);
		assert_true(r == 0 || r == -EBADMSG);
		free(cut);
	}
}

static void packed_and_unknown(void **s)
{
	(void)s;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct outer out;
	assert_int_equal(pb_decode(&outer_desc, &a, "\x4a\x04\x01\x96\x01\x02\xf8\x07\x01", 9, &out, &e), 0); /* packed 1,150,2; field 127 */
	assert_int_equal(out.nums.n, 3);
	assert_int_equal(((uint64_t *)out.nums.v)[1], 150);
}

static void malformed(void **s)
{
	(void)s;
	static const struct { const char *bytes; size_t n; int code; } rows[] = {
		{ "\x08", 1, -EBADMSG },                                      /* no value */
		{ "\x00\x01", 2, -EBADMSG },                                  /* field 0 */
		{ "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, -EBADMSG }, /* varint of 11 bytes */
		{ "\x32\x05" "ab", 4, -EBADMSG },                             /* longer than the rest */
		{ "\x32\x02" "a\0", 4, -EBADMSG },                            /* NUL in a string */
		{ "\x0b", 1, -EBADMSG },                                      /* group */
		{ "\x0d\x01\x02", 3, -EBADMSG },                              /* wrong wire type, cut */
		{ "\x0a\x01\x01", 3, -EBADMSG },                              /* packed where single */
		{ "\x4a\x02\x01\x80", 4, -EBADMSG },                          /* packed varint cut */
		{ "\x32\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, -EBADMSG }, /* length 2^64-1 */
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_arena_ struct arena a = ARENA_INIT;
		_cleanup_err_ struct err e = ERR_INIT;
		struct outer out;
		assert_int_equal(pb_decode(&outer_desc, &a, rows[i].bytes, rows[i].n, &out, &e), rows[i].code);
		assert_non_null(e.msg);
	}
}

static void frames(void **s)
{
	(void)s;
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	_cleanup_err_ struct err e = ERR_INIT;
	struct ttrpc_frame f;
	size_t used;
	struct inner m = { 1, "x" };
	assert_int_equal(ttrpc_put_request(&b, 3, 0, "svc", "Do", &inner_desc, &m), 0);
	assert_int_equal(ttrpc_put_error(&b, 3, TTRPC_NOT_FOUND, "no"), 0);
	for (size_t n = 0; n < TTRPC_HEADER; n++)
		assert_int_equal(ttrpc_next(b.s, n, &f, &used), 0);
	assert_int_equal(ttrpc_next(b.s, b.len, &f, &used), 1);
	assert_int_equal(f.stream, 3);
	struct ttrpc_request q;
	assert_int_equal(pb_decode(&ttrpc_request_desc, &a, f.data, f.n, &q, &e), 0);
	assert_string_equal(q.method, "Do");
	assert_int_equal(q.payload.n, 5);
	size_t second;
	assert_int_equal(ttrpc_next(b.s + used, b.len - used, &f, &second), 1);
	assert_int_equal(used + second, b.len);
	struct ttrpc_response p;
	assert_int_equal(pb_decode(&ttrpc_response_desc, &a, f.data, f.n, &p, &e), 0);
	assert_int_equal(p.status->code, TTRPC_NOT_FOUND);
	assert_int_equal(ttrpc_next("\xff\0\0\0\0\0\0\1\1\0", 10, &f, &used), -EMSGSIZE);
	assert_int_equal(ttrpc_next("\0\0\0\0\0\0\0\0\1\0", 10, &f, &used), -EBADMSG);
	assert_int_equal(ttrpc_next("\0\0\0\0\0\0\0\1\7\0", 10, &f, &used), -EBADMSG);
	assert_int_equal(ttrpc_errno_of_code(ttrpc_code_of_errno(-ENOENT)), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_bytes), cmocka_unit_test(round_trip), cmocka_unit_test(packed_and_unknown), cmocka_unit_test(malformed),
		cmocka_unit_test(frames),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
