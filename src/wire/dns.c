/* DNS messages: see dns.h. */
#include "wire/dns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

enum { FLAG_QR = 0x8000, FLAG_AA = 0x0400, FLAG_TC = 0x0200, FLAG_RD = 0x0100, FLAG_RA = 0x0080, OPCODE = 0x7800, LABEL_MAX = 63, POINTER = 0xc000 };

static uint16_t get16(const uint8_t *p) {
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned v) {
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* Offset behind the name, 0: malformed. A pointer makes no sense in the first question of a message. */
static size_t parse_name(const uint8_t *p, size_t n, size_t at, char *name) {
	size_t len = 0;
	for (;;) {
		if (at >= n)
			return 0;
		size_t label = p[at++];
		if (label == 0)
			break;
		if (label > LABEL_MAX || label > n - at || len + label + 2 > DNS_NAME_MAX)
			return 0;
		if (len)
			name[len++] = '.';
		for (size_t i = 0; i < label; i++, at++) {
			uint8_t c = p[at];
			if (c == '.' || c <= ' ' || c == 127)
				c = '?'; /* no name of ours, and nothing that could be taken for another one */
			name[len++] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
		}
	}
	name[len] = '\0';
	return at;
}

int dns_query_parse(const uint8_t *p, size_t n, struct dns_query *ret) {
	*ret = (struct dns_query){ .question_end = DNS_HEADER };
	if (n < DNS_HEADER || (get16(p + 2) & FLAG_QR))
		return -EBADMSG;
	ret->id = get16(p);
	if ((get16(p + 2) & OPCODE) || get16(p + 4) != 1 || get16(p + 6) || get16(p + 8))
		return -EINVAL;
	size_t at = parse_name(p, n, DNS_HEADER, ret->name);
	if (!at || n - at < 4)
		return -EINVAL;
	ret->type = get16(p + at);
	ret->class = get16(p + at + 2);
	ret->question_end = at + 4;
	return 0;
}

/* Text to labels; 0: it does not fit. */
static size_t put_name(uint8_t *out, size_t size, const char *name) {
	size_t at = 0;
	for (const char *s = name; *s;) {
		size_t n = strcspn(s, ".");
		if (!n || n > LABEL_MAX || at + n + 2 > size)
			return 0;
		out[at++] = (uint8_t)n;
		memcpy(out + at, s, n);
		at += n;
		s += n + (s[n] == '.');
	}
	if (at + 1 > size)
		return 0;
	out[at++] = 0;
	return at;
}

/* Bytes written, 0: no room. */
static size_t put_record(uint8_t *out, size_t size, const struct dns_record *r, uint32_t ttl) {
	enum { FIXED = 12 }; /* pointer to the question's name, type, class, ttl, length */
	size_t n = r->type == DNS_A ? 4 : r->type == DNS_AAAA ? 16 : 0;
	if (size < FIXED + n)
		return 0;
	if (r->type == DNS_PTR && !(n = put_name(out + FIXED, size - FIXED, r->name)))
		return 0;
	if (r->type != DNS_PTR)
		memcpy(out + FIXED, r->addr, n);
	put16(out, POINTER | DNS_HEADER);
	put16(out + 2, r->type);
	put16(out + 4, 1);
	put16(out + 6, ttl >> 16);
	put16(out + 8, ttl & 0xffff);
	put16(out + 10, (unsigned)n);
	return FIXED + n;
}

size_t dns_reply(const uint8_t *packet, const struct dns_query *q, enum dns_rcode rcode, const struct dns_record *v, size_t n, uint32_t ttl, uint8_t *out, size_t size) {
	size_t at = MIN(q->question_end, size), count = 0;
	unsigned flags = FLAG_QR | FLAG_RA | (get16(packet + 2) & (OPCODE | FLAG_RD)) | (unsigned)rcode;
	memcpy(out, packet, at);
	for (; count < n; count++) {
		size_t k = put_record(out + at, size - at, &v[count], ttl);
		if (!k) {
			flags |= FLAG_TC;
			break;
		}
		at += k;
	}
	if (rcode == DNS_NOERROR || rcode == DNS_NXDOMAIN)
		flags |= FLAG_AA;
	put16(out + 2, flags);
	put16(out + 4, q->question_end > DNS_HEADER);
	put16(out + 6, (unsigned)count);
	put16(out + 8, 0);
	put16(out + 10, 0);
	return at;
}

bool dns_is_reply(const uint8_t *p, size_t n, const uint8_t *packet, const struct dns_query *q) {
	/* Servers may answer in another case (and some clients mix it on purpose): compared without. */
	if (n < q->question_end || get16(p) != q->id || !(get16(p + 2) & FLAG_QR) || get16(p + 4) != 1)
		return false;
	for (size_t i = DNS_HEADER; i < q->question_end; i++) {
		uint8_t a = p[i], b = packet[i];
		a = a >= 'A' && a <= 'Z' ? (uint8_t)(a + 32) : a;
		b = b >= 'A' && b <= 'Z' ? (uint8_t)(b + 32) : b;
		if (a != b)
			return false;
	}
	return true;
}

size_t dns_reverse_name(const char *name, uint8_t addr[16]) {
	static const char four[] = ".in-addr.arpa", six[] = ".ip6.arpa";
	size_t n = strlen(name);
	if (n > sizeof(four) && streq(name + n - (sizeof(four) - 1), four)) {
		const char *s = name;
		for (int i = 3; i >= 0; i--) {
			char *end;
			unsigned long v = *s >= '0' && *s <= '9' ? strtoul(s, &end, 10) : 256;
			if (v > 255 || *end != '.')
				return 0;
			addr[i] = (uint8_t)v;
			s = end + 1;
		}
		return s == name + n - (sizeof(four) - 2) ? 4 : 0;
	}
	if (n == 64 + sizeof(six) - 2 && streq(name + n - (sizeof(six) - 1), six)) {
		for (int i = 0; i < 32; i++) {
			char c = name[2 * i];
			int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
			if (v < 0 || name[2 * i + 1] != '.')
				return 0;
			uint8_t *b = &addr[15 - i / 2];
			*b = i % 2 ? (uint8_t)(*b | v << 4) : (uint8_t)v;
		}
		return 16;
	}
	return 0;
}
