/* The state file: a compact, checksummed record of tagged fields. */
#include "engine/engine.h"

#include <errno.h>
#include <inttypes.h>

const char *const ctr_status_names[CTR_STATUSES] = { "creating", "created", "running", "paused", "stopped" };

/*
 * Layout, little endian: magic "TRCR", u32 version, u32 length of the body, body, u32 crc32 of all before it. The body is a series of
 * fields: u8 tag, u32 length, bytes. Unknown tags are skipped so that an older program reads a newer record; the version only
 * moves when the meaning of a known tag changes.
 */
enum { RECORD_VERSION = 1, HEADER = 12, TRAILER = 4 };
static const char magic[4] = { 'T', 'R', 'C', 'R' };

enum tag {
	TAG_STATUS = 1, TAG_ID, TAG_BUNDLE, TAG_ROOTFS, TAG_OCI_VERSION, TAG_TIER, TAG_OWNER, TAG_CREATED, TAG_INIT_PID, TAG_START_TIME,
	TAG_EXE_DEV, TAG_EXE_INO, TAG_CG_MANAGER, TAG_CG_PATH, TAG_CG_UNIT, TAG_CG_DIRS, TAG_FLAGS,
	TAG_ANNOTATION_KEY, TAG_ANNOTATION_VALUE, /* pairs, key first */
	TAG_PAUSED_FROM,
};
enum record_flags { FLAG_OWN_PIDNS = 1 << 0, FLAG_SYSTEMD = 1 << 1, FLAG_ROOTLESS = 1 << 2, FLAG_POSTSTOP = 1 << 3, FLAG_RDT = 1 << 4,
	FLAG_RDT_CREATED = 1 << 5, FLAG_POSTSTART = 1 << 6, FLAG_CGROUP_OURS = 1 << 7 };

/* Rows: where each string lives. */
static const struct { uint8_t tag; uint16_t offset; } strings[] = {
	{ TAG_ID, offsetof(struct ctr_record, id) },
	{ TAG_BUNDLE, offsetof(struct ctr_record, bundle) },
	{ TAG_ROOTFS, offsetof(struct ctr_record, rootfs) },
	{ TAG_OCI_VERSION, offsetof(struct ctr_record, oci_version) },
	{ TAG_TIER, offsetof(struct ctr_record, tier) },
	{ TAG_OWNER, offsetof(struct ctr_record, owner) },
	{ TAG_CG_MANAGER, offsetof(struct ctr_record, cgroup.manager) },
	{ TAG_CG_PATH, offsetof(struct ctr_record, cgroup.path) },
	{ TAG_CG_UNIT, offsetof(struct ctr_record, cgroup.unit) },
	{ TAG_CG_DIRS, offsetof(struct ctr_record, cgroup.dirs) },
};

static const struct { uint8_t flag; uint16_t offset; } bools[] = {
	{ FLAG_OWN_PIDNS, offsetof(struct ctr_record, own_pidns) },
	{ FLAG_SYSTEMD, offsetof(struct ctr_record, systemd) },
	{ FLAG_ROOTLESS, offsetof(struct ctr_record, rootless) },
	{ FLAG_POSTSTOP, offsetof(struct ctr_record, poststop) },
	{ FLAG_POSTSTART, offsetof(struct ctr_record, poststart) },
	{ FLAG_CGROUP_OURS, offsetof(struct ctr_record, cgroup_ours) },
	{ FLAG_RDT, offsetof(struct ctr_record, rdt) },
	{ FLAG_RDT_CREATED, offsetof(struct ctr_record, rdt_created) },
};

static uint32_t crc32(const uint8_t *p, size_t n) {
	static const uint32_t nibble[16] = { 0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c };
	uint32_t c = ~0U;
	for (size_t i = 0; i < n; i++) {
		c = nibble[(c ^ p[i]) & 15] ^ (c >> 4);
		c = nibble[(c ^ (p[i] >> 4)) & 15] ^ (c >> 4);
	}
	return ~c;
}

static void put_u32(uint8_t *p, uint32_t v) {
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p) {
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get_u64(const uint8_t *p) { return (uint64_t)get_u32(p) | (uint64_t)get_u32(p + 4) << 32; }

static void field(struct strbuf *b, uint8_t tag, const void *data, size_t n) {
	uint8_t head[5] = { tag };
	put_u32(head + 1, (uint32_t)n);
	strbuf_add(b, head, sizeof(head));
	strbuf_add(b, data, n);
}

static void field_u64(struct strbuf *b, uint8_t tag, uint64_t v) {
	uint8_t p[8];
	put_u32(p, (uint32_t)v);
	put_u32(p + 4, (uint32_t)(v >> 32));
	field(b, tag, p, sizeof(p));
}

static const char *string_at(const struct ctr_record *r, size_t offset) {
	const char *s;
	memcpy(&s, (const char *)r + offset, sizeof(s));
	return s ? s : "";
}

int ctr_record_encode(const struct ctr_record *r, struct strbuf *out) {
	size_t start = out->len;
	uint8_t head[HEADER];
	memcpy(head, magic, 4);
	put_u32(head + 4, RECORD_VERSION);
	put_u32(head + 8, 0);
	strbuf_add(out, head, sizeof(head));
	field_u64(out, TAG_STATUS, r->status);
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		const char *s = string_at(r, strings[i].offset);
		field(out, strings[i].tag, s, strlen(s));
	}
	field_u64(out, TAG_PAUSED_FROM, r->paused_from);
	field_u64(out, TAG_CREATED, r->created);
	field_u64(out, TAG_INIT_PID, (uint64_t)r->init_pid);
	field_u64(out, TAG_START_TIME, r->start_time);
	field_u64(out, TAG_EXE_DEV, r->exe_dev);
	field_u64(out, TAG_EXE_INO, r->exe_ino);
	uint64_t flags = 0;
	for (size_t i = 0; i < ARRAY_SIZE(bools); i++)
		if (*(const bool *)((const char *)r + bools[i].offset))
			flags |= bools[i].flag;
	field_u64(out, TAG_FLAGS, flags);
	for (size_t i = 0; i < r->annotations.n; i++) {
		field(out, TAG_ANNOTATION_KEY, r->annotations.v[i].key, strlen(r->annotations.v[i].key));
		field(out, TAG_ANNOTATION_VALUE, r->annotations.v[i].value, strlen(r->annotations.v[i].value));
	}
	if (out->failed)
		return -ENOMEM;
	size_t n = out->len - start;
	if (n + TRAILER > CTR_RECORD_MAX)
		return -EFBIG;
	uint8_t *p = (uint8_t *)out->s + start, crc[TRAILER];
	put_u32(p + 8, (uint32_t)(n - HEADER));
	put_u32(crc, crc32(p, n));
	return strbuf_add(out, crc, sizeof(crc));
}

static int decode_number(struct ctr_record *r, uint8_t tag, uint64_t v, struct err *e) {
	switch (tag) {
	case TAG_STATUS:
		if (v >= CTR_STATUSES)
			return err_set(e, EBADMSG, "status %" PRIu64 " is unknown", v);
		r->status = (enum ctr_status)v;
		return 0;
	case TAG_INIT_PID:
		if (v > INT32_MAX)
			return err_set(e, EBADMSG, "init pid %" PRIu64 " is out of range", v);
		r->init_pid = (pid_t)v;
		return 0;
	case TAG_PAUSED_FROM:
		r->paused_from = v == CTR_CREATED ? CTR_CREATED : CTR_RUNNING;
		return 0;
	case TAG_CREATED: r->created = v; return 0;
	case TAG_START_TIME: r->start_time = v; return 0;
	case TAG_EXE_DEV: r->exe_dev = v; return 0;
	case TAG_EXE_INO: r->exe_ino = v; return 0;
	case TAG_FLAGS:
		for (size_t i = 0; i < ARRAY_SIZE(bools); i++)
			*(bool *)((char *)r + bools[i].offset) = v & bools[i].flag;
		return 0;
	default: return 0;
	}
}

static bool is_number(uint8_t tag) {
	return tag == TAG_STATUS || (tag >= TAG_CREATED && tag <= TAG_EXE_INO) || tag == TAG_FLAGS || tag == TAG_PAUSED_FROM;
}

static int decode_string(struct arena *a, struct ctr_record *r, uint8_t tag, const uint8_t *p, size_t n, struct err *e) {
	if (memchr(p, 0, n))
		return err_set(e, EBADMSG, "field %u has a zero byte", tag);
	char *s = arena_strndup(a, (const char *)p, n);
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	if (tag == TAG_ANNOTATION_KEY) {
		r->annotations.v[r->annotations.n] = (struct oci_map_entry){ s, "" };
		r->annotations.n++;
	} else if (tag == TAG_ANNOTATION_VALUE) {
		if (r->annotations.n == 0)
			return err_set(e, EBADMSG, "an annotation's value comes before its key");
		r->annotations.v[r->annotations.n - 1].value = s;
	}
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		if (strings[i].tag == tag)
			memcpy((char *)r + strings[i].offset, &s, sizeof(char *));
	return 0;
}

static int decode_body(struct arena *a, const uint8_t *p, size_t n, struct ctr_record *r, struct err *e) {
	size_t keys = 0;
	for (int pass = 0; pass < 2; pass++) {
		for (size_t at = 0; at < n;) {
			if (n - at < 5 || get_u32(p + at + 1) > n - at - 5)
				return err_set(e, EBADMSG, "a field goes beyond the end");
			uint8_t tag = p[at];
			size_t len = get_u32(p + at + 1);
			const uint8_t *data = p + at + 5;
			at += 5 + len;
			if (pass == 0) {
				keys += tag == TAG_ANNOTATION_KEY;
				continue;
			}
			if (is_number(tag) && len != 8)
				return err_set(e, EBADMSG, "field %u has %zu bytes instead of 8", tag, len);
			int rc = is_number(tag) ? decode_number(r, tag, get_u64(data), e) : decode_string(a, r, tag, data, len, e);
			if (rc < 0)
				return rc;
		}
		if (pass == 0 && !(r->annotations.v = arena_array(a, keys + 1, struct oci_map_entry)))
			return err_set(e, ENOMEM, "out of memory");
	}
	return 0;
}

int ctr_record_decode(struct arena *a, const void *data, size_t n, struct ctr_record *ret, struct err *e) {
	const uint8_t *p = data;
	struct ctr_record r = { 0 };
	if (n < HEADER + TRAILER || memcmp(p, magic, 4) != 0)
		return err_set(e, EBADMSG, "state file is damaged: no header");
	if (get_u32(p + 4) != RECORD_VERSION)
		return err_set(e, EBADMSG, "state file has version %u, this program reads version %d", get_u32(p + 4), RECORD_VERSION);
	if (get_u32(p + 8) != n - HEADER - TRAILER)
		return err_set(e, EBADMSG, "state file is damaged: %zu bytes instead of %" PRIu64, n, (uint64_t)get_u32(p + 8) + HEADER + TRAILER);
	if (crc32(p, n - TRAILER) != get_u32(p + n - TRAILER))
		return err_set(e, EBADMSG, "state file is damaged: wrong checksum");
	int rc = decode_body(a, p + HEADER, n - HEADER - TRAILER, &r, e);
	if (rc < 0)
		return err_wrap(e, rc, "state file is damaged");
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		const char *s;
		memcpy(&s, (char *)&r + strings[i].offset, sizeof(s));
		if (!s)
			return err_set(e, EBADMSG, "state file is damaged: field %u is missing", strings[i].tag);
	}
	*ret = r;
	return 0;
}

void ctr_record_fix_checksum(void *data, size_t n) {
	uint8_t *p = data;
	if (n >= HEADER + TRAILER)
		put_u32(p + n - TRAILER, crc32(p, n - TRAILER));
}
