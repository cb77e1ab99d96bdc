/* DNS messages from containers and servers, and the file of names. Input: a message, a byte 0xff 0xff, the file. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const uint8_t sep[2] = { 0xff, 0xff };
	static struct dns_found f;
	uint8_t out[DNS_UDP_MAX], addr[16];
	struct dns_query q;
	const uint8_t *cut = memmem(data, size, sep, sizeof(sep));
	size_t n = cut ? (size_t)(cut - data) : size;
	char *text = cut ? strndup((const char *)cut + 2, size - n - 2) : strdup("i 127.0.0.1 a\nn a 10.0.0.2 web w\n");
	struct sockaddr_storage client = { .ss_family = AF_INET };
	((struct sockaddr_in *)&client)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int r = dns_query_parse(data, n, &q);
	if (text && (r == 0 || r == -22)) {
		if (strlen(q.name) >= DNS_NAME_MAX || q.question_end > n)
			__builtin_trap();
		dns_reverse_name(q.name, addr);
		dns_lookup(text, &client, &q, &f);
		size_t k = dns_reply(data, &q, f.rcode, f.v, f.n, 0, out, sizeof(out));
		if (k > sizeof(out))
			__builtin_trap();
		if (r == 0 && q.question_end <= DNS_UDP_MAX && !dns_is_reply(out, k, data, &q))
			__builtin_trap();
	}
	free(text);
	return 0;
}
