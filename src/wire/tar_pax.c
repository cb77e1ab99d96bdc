/* Pax extended headers and the three GNU sparse formats they carry (GNU tar manual, "Storing Sparse Files"). */
#include <errno.h>

#include "wire/tar_priv.h"

void pax_reset(struct tar_reader *t) {
	for (size_t i = 0; i < t->n_xattrs; i++) {
		free(t->xattrs[i].name);
		free(t->xattrs[i].value);
	}
	t->n_xattrs = t->n_extents = 0;
	t->pax_path = t->pax_link = t->pax_size_set = t->pax_uid_set = t->pax_gid_set = t->pax_mtime_set = false;
	t->sparse_pax = t->sparse_have_pending = false;
	t->sparse_major = 0;
	t->sparse_realsize = 0;
}

int sparse_push(struct tar_reader *t, uint64_t off, uint64_t len, struct err *e) {
	if (t->n_extents >= TAR_MAX_SPARSE)
		return err_set(e, E2BIG, "tar: sparse map of more than %d pieces", TAR_MAX_SPARSE);
	if (t->n_extents == t->cap_extents) {
		size_t cap = t->cap_extents ? t->cap_extents * 2 : 16;
		struct tar_extent *x = reallocarray(t->extents, cap, sizeof(*x));
		if (!x)
			return err_set(e, ENOMEM, "tar: out of memory");
		t->extents = x;
		t->cap_extents = cap;
	}
	t->extents[t->n_extents++] = (struct tar_extent){ off, len };
	return 0;
}

int sparse_check(struct tar_reader *t, const struct tar_entry *te, struct err *e) {
	uint64_t at = 0, sum = 0;
	for (size_t i = 0; i < t->n_extents; i++) {
		const struct tar_extent *x = &t->extents[i];
		if (x->off < at || x->len > te->size || x->off > te->size - x->len)
			return err_set(e, EBADMSG, "tar: sparse map leaves the file or overlaps");
		at = x->off + x->len;
		sum += x->len;
	}
	if (sum != te->stored)
		return err_set(e, EBADMSG, "tar: sparse map holds %llu bytes, the archive %llu", (unsigned long long)sum, (unsigned long long)te->stored);
	return 0;
}

static int map_line(struct tar_reader *t, uint64_t *left, char *block, size_t *at, uint64_t *ret, struct err *e) {
	uint64_t v = 0;
	unsigned digits = 0;
	for (;;) {
		if (*at == TAR_BLOCK) {
			if (*left < TAR_BLOCK)
				return err_set(e, EBADMSG, "tar: sparse map ends early");
			ssize_t k = tar_meta(t, block, TAR_BLOCK, e);
			if (k <= 0)
				return k < 0 ? (int)k : err_set(e, EBADMSG, "tar: the archive ends inside a sparse map");
			*left -= TAR_BLOCK;
			*at = 0;
		}
		char c = block[(*at)++];
		if (c == '\n' && digits)
			break;
		if (c < '0' || c > '9' || ++digits > 18)
			return err_set(e, EBADMSG, "tar: malformed sparse map");
		v = v * 10 + (uint64_t)(c - '0');
	}
	*ret = v;
	return 0;
}

int sparse_map_1_0(struct tar_reader *t, uint64_t *left, struct err *e) {
	char block[TAR_BLOCK];
	size_t at = TAR_BLOCK;
	uint64_t n;
	int r = map_line(t, left, block, &at, &n, e);
	for (uint64_t i = 0; r >= 0 && i < n; i++) {
		uint64_t off = 0, len = 0;
		r = map_line(t, left, block, &at, &off, e);
		if (r >= 0)
			r = map_line(t, left, block, &at, &len, e);
		if (r >= 0)
			r = sparse_push(t, off, len, e);
	}
	return r;
}

/* "seconds[.fraction]", possibly negative. */
static int pax_time(const char *s, int64_t *sec, uint32_t *ns) {
	bool neg = *s == '-';
	s += neg;
	int64_t v = 0;
	unsigned digits = 0;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (++digits > 18)
			return -ERANGE;
		v = v * 10 + (*s - '0');
	}
	uint32_t f = 0;
	if (*s == '.') {
		uint32_t scale = 100000000;
		for (s++; *s >= '0' && *s <= '9'; s++) {
			f += (uint32_t)(*s - '0') * scale;
			scale /= 10;
		}
	}
	if (*s || !digits)
		return -EINVAL;
	if (neg) {
		v = -v;
		if (f) {
			v--;
			f = 1000000000 - f;
		}
	}
	*sec = v;
	*ns = f;
	return 0;
}

static int add_xattr(struct tar_reader *t, const char *name, const char *value, size_t len, struct err *e) {
	if (t->n_xattrs >= TAR_MAX_XATTRS || len > TAR_MAX_XATTR_VALUE)
		return err_set(e, E2BIG, "tar: too many or too large extended attributes");
	if (t->n_xattrs == t->cap_xattrs) {
		size_t cap = t->cap_xattrs ? t->cap_xattrs * 2 : 8;
		struct tar_xattr *x = reallocarray(t->xattrs, cap, sizeof(*x));
		if (!x)
			return err_set(e, ENOMEM, "tar: out of memory");
		t->xattrs = x;
		t->cap_xattrs = cap;
	}
	struct tar_xattr *x = NULL;
	for (size_t i = 0; i < t->n_xattrs && !x; i++)
		if (streq(t->xattrs[i].name, name))
			x = &t->xattrs[i];
	_cleanup_free_ char *n = strdup(name), *v = malloc(len + 1);
	if (!n || !v)
		return err_set(e, ENOMEM, "tar: out of memory");
	memcpy(v, value, len);
	v[len] = '\0';
	if (x) {
		free(x->name);
		free(x->value);
	} else
		x = &t->xattrs[t->n_xattrs++];
	*x = (struct tar_xattr){ TAKE(n), TAKE(v), len };
	return 0;
}

/* Formats 0.0 (pairs of offset and numbytes) and 0.1 (one map); both leave the payload plain. */
static int sparse_key(struct tar_reader *t, const char *key, char *value, struct err *e) {
	uint64_t v = 0;
	if (streq(key, "map")) {
		char *save = NULL;
		t->sparse_pax = true;
		for (char *a = strtok_r(value, ",", &save); a; a = strtok_r(NULL, ",", &save)) {
			uint64_t off, len;
			char *b = strtok_r(NULL, ",", &save);
			if (!b || parse_u64(a, &off) < 0 || parse_u64(b, &len) < 0)
				return err_set(e, EBADMSG, "tar: malformed sparse map");
			int r = sparse_push(t, off, len, e);
			if (r < 0)
				return r;
		}
		return 0;
	}
	if (streq(key, "name"))
		return 0; /* the caller handles it as a path */
	if (parse_u64(value, &v) < 0)
		return err_set(e, EBADMSG, "tar: malformed GNU.sparse.%s", key);
	if (streq(key, "major")) {
		if (v > 1)
			return err_set(e, EOPNOTSUPP, "tar: unknown sparse format %llu", (unsigned long long)v);
		t->sparse_major = (unsigned)v;
		t->sparse_pax = true;
	} else if (streq(key, "size") || streq(key, "realsize")) {
		t->sparse_realsize = v;
		t->sparse_pax = true;
	} else if (streq(key, "offset")) {
		t->sparse_pending = v;
		t->sparse_have_pending = true;
	} else if (streq(key, "numbytes")) {
		if (!t->sparse_have_pending)
			return err_set(e, EBADMSG, "tar: malformed sparse map");
		t->sparse_have_pending = false;
		return sparse_push(t, t->sparse_pending, v, e);
	}
	return 0;
}

static int pax_record(struct tar_reader *t, const char *key, char *value, size_t len, struct err *e) {
	bool text_ok = strlen(value) == len;
	if (str_has_prefix(key, "SCHILY.xattr."))
		return add_xattr(t, key + strlen("SCHILY.xattr."), value, len, e);
	bool path = streq(key, "path") || streq(key, "GNU.sparse.name"), link = streq(key, "linkpath");
	if (path || link) {
		struct strbuf *b = path ? &t->path : &t->link;
		if (!text_ok)
			return err_set(e, EBADMSG, "tar: NUL byte in a name");
		if (streq(key, "path") && t->sparse_pax && t->pax_path)
			return 0; /* GNU.sparse.name came first and is the true one */
		strbuf_clear(b);
		if (strbuf_add(b, value, len) < 0)
			return err_set(e, ENOMEM, "tar: out of memory");
		*(path ? &t->pax_path : &t->pax_link) = true;
		return 0;
	}
	if (!text_ok)
		return 0;
	uint64_t v;
	if (streq(key, "size")) {
		if (parse_u64(value, &t->pax_size) < 0)
			return err_set(e, EBADMSG, "tar: malformed pax size");
		t->pax_size_set = true;
	} else if (streq(key, "uid") || streq(key, "gid")) {
		if (parse_u64(value, &v) < 0 || v > UINT32_MAX)
			return err_set(e, EBADMSG, "tar: malformed pax %s", key);
		*(key[0] == 'u' ? &t->pax_uid : &t->pax_gid) = (uint32_t)v;
		*(key[0] == 'u' ? &t->pax_uid_set : &t->pax_gid_set) = true;
	} else if (streq(key, "mtime")) {
		if (pax_time(value, &t->pax_mtime, &t->pax_mtime_ns) < 0)
			return err_set(e, EBADMSG, "tar: malformed pax mtime");
		t->pax_mtime_set = true;
	} else if (str_has_prefix(key, "GNU.sparse."))
		return sparse_key(t, key + strlen("GNU.sparse."), value, e);
	return 0;
}

/* Records "LENGTH KEY=VALUE\n", LENGTH counting the whole record. */
int pax_parse(struct tar_reader *t, struct err *e) {
	char *p = t->pax.s, *end = p + t->pax.len;
	while (p < end) {
		size_t len = 0;
		char *q = p;
		while (q < end && *q >= '0' && *q <= '9' && len <= TAR_MAX_PAX)
			len = len * 10 + (size_t)(*q++ - '0');
		if (q == p || q >= end || *q != ' ' || len > (size_t)(end - p) || len < (size_t)(q - p) + 3 || p[len - 1] != '\n')
			return err_set(e, EBADMSG, "tar: malformed pax header");
		char *key = q + 1, *stop = p + len - 1;
		char *eq = memchr(key, '=', (size_t)(stop - key));
		if (!eq || eq == key || memchr(key, '\0', (size_t)(eq - key)))
			return err_set(e, EBADMSG, "tar: malformed pax header");
		*eq = '\0';
		*stop = '\0';
		int r = pax_record(t, key, eq + 1, (size_t)(stop - eq - 1), e);
		if (r < 0)
			return r;
		p += len;
	}
	return 0;
}
