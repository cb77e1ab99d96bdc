/* The resolver's messages and its file of names. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "monitor/dns.h"

static const char names[] = "i 10.0.0.2 a b\nu 10.0.0.2 9.9.9.9 2620:fe::fe\ni 10.0.0.3 c\nn a 10.0.0.2 web 0123 www\nn b 10.1.0.9 db\nn b fd00::9 db\nn c 10.2.0.1 secret\n";

static struct sockaddr_storage client(const char *ip) {
	struct sockaddr_storage sa = { .ss_family = AF_INET };
	assert_int_equal(inet_pton(AF_INET, ip, &((struct sockaddr_in *)&sa)->sin_addr), 1);
	return sa;
}

static struct dns_found ask(const char *from, const char *name, uint16_t type) {
	struct dns_query q = { .type = type, .class = 1 };
	struct dns_found f;
	struct sockaddr_storage sa = client(from);
	char *text = test_malloc(sizeof(names));
	memcpy(text, names, sizeof(names));
	strcpy(q.name, name);
	dns_lookup(text, &sa, &q, &f);
	test_free(text);
	return f;
}

static void test_lookup(void **state) {
	(void)state;
	struct dns_found f = ask("10.0.0.2", "www", DNS_A);
	assert_int_equal(f.verdict, DNS_LOCAL);
	assert_int_equal(f.n, 1);
	assert_memory_equal(f.v[0].addr, "\x0a\0\0\x02", 4);
	assert_int_equal(ask("10.0.0.2", "db", DNS_AAAA).n, 1);
	f = ask("10.0.0.2", "web", DNS_AAAA); /* known, but has none: no error, no answer, and nobody outside is asked */
	assert_int_equal(f.verdict, DNS_LOCAL);
	assert_int_equal(f.rcode, DNS_NOERROR);
	assert_int_equal(f.n, 0);
	f = ask("10.0.0.2", "secret", DNS_A); /* on a network that it is not on */
	assert_int_equal(f.verdict, DNS_FORWARD);
	assert_int_equal(f.n_servers, 2);
	f = ask("10.0.0.3", "example.org", DNS_A); /* internal */
	assert_int_equal(f.verdict, DNS_LOCAL);
	assert_int_equal(f.rcode, DNS_NXDOMAIN);
	assert_int_equal(ask("10.0.0.77", "web", DNS_A).verdict, DNS_DROP); /* nobody of ours */
	assert_int_equal(ask("10.0.0.2", "9.0.1.10.in-addr.arpa", DNS_PTR).n, 1);
	assert_int_equal(ask("10.0.0.3", "9.0.1.10.in-addr.arpa", DNS_PTR).n, 0);
}

static size_t query(uint8_t *p, const char *name, uint16_t type) {
	static const uint8_t head[DNS_HEADER] = { 0xab, 0xcd, 1, 0, 0, 1 };
	size_t at = DNS_HEADER;
	memcpy(p, head, DNS_HEADER);
	for (const char *s = name; *s;) {
		size_t n = strcspn(s, ".");
		p[at++] = (uint8_t)n;
		memcpy(p + at, s, n);
		at += n;
		s += n + (s[n] == '.');
	}
	memcpy(p + at, (uint8_t[]){ 0, 0, (uint8_t)type, 0, 1 }, 5);
	return at + 5;
}

static void test_message(void **state) {
	(void)state;
	uint8_t p[512], out[DNS_UDP_MAX];
	struct dns_query q;
	size_t n = query(p, "WeB.Example", DNS_A);
	assert_int_equal(dns_query_parse(p, n, &q), 0);
	assert_string_equal(q.name, "web.example");
	assert_int_equal(q.question_end, n);
	assert_int_equal(dns_query_parse(p, n - 1, &q), -22);
	assert_int_equal(dns_query_parse(p, 11, &q), -74);
	struct dns_record v[40] = { { .type = DNS_A, .addr = { 10, 0, 0, 2 } } };
	assert_int_equal(dns_query_parse(p, n, &q), 0);
	size_t k = dns_reply(p, &q, DNS_NOERROR, v, 1, 0, out, sizeof(out));
	assert_int_equal(k, n + 16);
	assert_true(dns_is_reply(out, k, p, &q));
	assert_memory_equal(out + k - 4, "\x0a\0\0\x02", 4);
	assert_int_equal(out[7], 1);
	p[0] ^= 1;
	assert_true(dns_query_parse(p, n, &q) == 0 && !dns_is_reply(out, k, p, &q)); /* another id */
	for (size_t i = 0; i < 40; i++)
		v[i].type = DNS_A;
	k = dns_reply(p, &q, DNS_NOERROR, v, 40, 0, out, sizeof(out));
	assert_true(k <= sizeof(out) && (out[2] & 2)); /* truncated, and says so */
	p[DNS_HEADER] = 0xc0; /* a pointer in a question */
	assert_int_equal(dns_query_parse(p, n, &q), -22);
	p[2] |= 0x80;
	assert_int_equal(dns_query_parse(p, n, &q), -74); /* a response is never answered */
}

int main(void) {
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lookup), cmocka_unit_test(test_message) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
