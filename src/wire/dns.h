/* DNS messages (RFC 1035), as much as a resolver for containers' names needs: read a query, write an answer of addresses or of one name. */
#ifndef TIERCE_WIRE_DNS_H
#define TIERCE_WIRE_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

enum { DNS_NAME_MAX = 256 /* text with its NUL; RFC 1035, 2.3.4 */, DNS_HEADER = 12, DNS_UDP_MAX = 512, DNS_MESSAGE_MAX = 65535 };
enum dns_type { DNS_A = 1, DNS_PTR = 12, DNS_AAAA = 28, DNS_ANY = 255 };
enum dns_rcode { DNS_NOERROR = 0, DNS_FORMERR = 1, DNS_SERVFAIL = 2, DNS_NXDOMAIN = 3, DNS_NOTIMP = 4, DNS_REFUSED = 5 };

struct dns_query {
	uint16_t id, type, class;
	char name[DNS_NAME_MAX]; /* lower case, labels joined by dots, no dot at the end; "" is the root */
	size_t question_end;     /* offset behind the one question */
};

/* One question, opcode QUERY, no compression. 0; -EBADMSG: no answer is due (too short, or a response); -EINVAL: answer with FORMERR (*ret is filled as far as
 * dns_reply() needs it, question_end is DNS_HEADER then). */
int dns_query_parse(const uint8_t *p, size_t n, struct dns_query *ret);

struct dns_record {
	uint16_t type;   /* DNS_A, DNS_AAAA or DNS_PTR */
	uint8_t addr[16];
	const char *name; /* for DNS_PTR */
};
/* An answer to the query that packet holds. Records that do not fit are left out and the truncation bit is set. Returns the length, at most size. size is at least
 * DNS_UDP_MAX. */
size_t dns_reply(const uint8_t *packet, const struct dns_query *q, enum dns_rcode rcode, const struct dns_record *v, size_t n, uint32_t ttl, uint8_t *out, size_t size);
/* Is p a response to the query with this id and question? */
bool dns_is_reply(const uint8_t *p, size_t n, const uint8_t *packet, const struct dns_query *q);
/* "4.3.2.1.in-addr.arpa" or "…ip6.arpa": 4 or 16 (bytes in addr), 0: something else. */
size_t dns_reverse_name(const char *name, uint8_t addr[16]);

#endif
