/* Tar headers out: ustar where it suffices, pax records before it where not (long names, large numbers, xattrs, fractions of a second). */
#include <errno.h>
#include <stdio.h>

#include "wire/tar.h"

/* "LEN KEY=VALUE\n" where LEN counts its own digits. */
static int pax_add(struct strbuf *b, const char *key, const void *value, size_t len) {
	size_t body = strlen(key) + len + 3, total = body + 1;
	char digits[24];
	while ((size_t)snprintf(digits, sizeof(digits), "%zu", total) + body != total)
		total = (size_t)snprintf(digits, sizeof(digits), "%zu", total) + body;
	strbuf_printf(b, "%zu %s=", total, key);
	strbuf_add(b, value, len);
	return strbuf_putc(b, '\n');
}

static void pax_number(struct strbuf *b, const char *key, uint64_t v) {
	char s[24];
	pax_add(b, key, s, (size_t)snprintf(s, sizeof(s), "%llu", (unsigned long long)v));
}

static void octal(char *f, size_t n, uint64_t v) {
	f[n - 1] = '\0';
	for (size_t i = n - 1; i-- > 0; v >>= 3)
		f[i] = (char)('0' + (v & 7));
}

static int put_block(struct strbuf *out, const struct tar_entry *te, char type, const char *name, const char *link, uint64_t size) {
	char h[TAR_BLOCK] = { 0 };
	size_t n = strlen(name);
	memcpy(h, name, MIN(n, (size_t)100));
	octal(h + 100, 8, te->mode & 07777);
	octal(h + 108, 8, te->uid > 07777777 ? 0 : te->uid);
	octal(h + 116, 8, te->gid > 07777777 ? 0 : te->gid);
	octal(h + 124, 12, size > 077777777777 ? 0 : size);
	octal(h + 136, 12, te->mtime < 0 ? 0 : (uint64_t)te->mtime & 077777777777);
	memset(h + 148, ' ', 8);
	h[156] = type;
	memcpy(h + 157, link, MIN(strlen(link), (size_t)100));
	memcpy(h + 257, "ustar\00000", 8);
	octal(h + 329, 8, te->major);
	octal(h + 337, 8, te->minor);
	unsigned sum = 0;
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (uint8_t)h[i];
	octal(h + 148, 7, sum);
	h[155] = ' ';
	return strbuf_add(out, h, sizeof(h));
}

int tar_put_header(struct strbuf *out, const struct tar_entry *te) {
	_cleanup_strbuf_ struct strbuf pax = STRBUF_INIT;
	uint64_t size = te->type == TAR_FILE ? te->size : 0;
	if (strlen(te->path) > 100)
		pax_add(&pax, "path", te->path, strlen(te->path));
	if (strlen(te->link) > 100)
		pax_add(&pax, "linkpath", te->link, strlen(te->link));
	if (te->uid > 07777777)
		pax_number(&pax, "uid", te->uid);
	if (te->gid > 07777777)
		pax_number(&pax, "gid", te->gid);
	if (size > 077777777777)
		pax_number(&pax, "size", size);
	if (te->mtime_ns || te->mtime < 0 || te->mtime > 077777777777) {
		char s[48];
		int64_t sec = te->mtime;
		uint32_t ns = te->mtime_ns;
		bool neg = sec < 0;
		if (neg && ns) { /* -1.5 is second -2 and half a second */
			sec++;
			ns = 1000000000 - ns;
		}
		int n = snprintf(s, sizeof(s), "%s%lld.%09u", neg ? "-" : "", (long long)(neg ? -sec : sec), ns);
		pax_add(&pax, "mtime", s, (size_t)n);
	}
	for (size_t i = 0; i < te->n_xattrs; i++) {
		_cleanup_strbuf_ struct strbuf key = STRBUF_INIT;
		strbuf_printf(&key, "SCHILY.xattr.%s", te->xattrs[i].name);
		pax_add(&pax, strbuf_str(&key), te->xattrs[i].value, te->xattrs[i].len);
	}
	if (pax.failed)
		return -ENOMEM;
	if (pax.len) {
		struct tar_entry x = { .mode = 0644 };
		put_block(out, &x, 'x', "PaxHeaders/x", "", pax.len);
		strbuf_add(out, pax.s, pax.len);
		char zero[TAR_BLOCK] = { 0 };
		strbuf_add(out, zero, tar_padding(pax.len));
	}
	put_block(out, te, (char)te->type, te->path, te->link, size);
	return out->failed ? -ENOMEM : 0;
}
