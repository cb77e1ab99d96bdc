/* ttrpc frames: u32 length, u32 stream, u8 type, u8 flags, all big-endian, then the message. */
#include "wire/ttrpc.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

static const struct pb_field status_fields[] = {
	PB_F(1, PB_I64, struct ttrpc_status, code),
	PB_F(2, PB_STR, struct ttrpc_status, message),
};
static const struct pb_desc status_desc = { "ttrpc_status", sizeof(struct ttrpc_status), status_fields, ARRAY_SIZE(status_fields) };

PB_DESC(ttrpc_request_desc, ttrpc_request,
	PB_F(1, PB_STR, struct ttrpc_request, service),
	PB_F(2, PB_STR, struct ttrpc_request, method),
	PB_F(3, PB_BYTES, struct ttrpc_request, payload),
	PB_F(4, PB_I64, struct ttrpc_request, timeout_ns),
	PB_RM(5, struct ttrpc_request, metadata, &pb_pair_desc));

PB_DESC(ttrpc_response_desc, ttrpc_response,
	PB_M(1, struct ttrpc_response, status, &status_desc),
	PB_F(2, PB_BYTES, struct ttrpc_response, payload));

int ttrpc_next(const void *buf, size_t n, struct ttrpc_frame *ret, size_t *ret_used)
{
	const uint8_t *p = buf;
	uint32_t len, stream;
	if (n < TTRPC_HEADER)
		return 0;
	memcpy(&len, p, 4);
	memcpy(&stream, p + 4, 4);
	len = be32toh(len);
	if (len > TTRPC_MAX)
		return -EMSGSIZE;
	if (!stream || p[8] < TTRPC_REQUEST || p[8] > TTRPC_DATA)
		return -EBADMSG;
	if (n - TTRPC_HEADER < len)
		return 0;
	*ret = (struct ttrpc_frame){ be32toh(stream), p[8], p[9], p + TTRPC_HEADER, len };
	*ret_used = TTRPC_HEADER + len;
	return 1;
}

int ttrpc_put(struct strbuf *out, uint32_t stream, enum ttrpc_type type, uint8_t flags, const void *data, size_t n)
{
	uint8_t h[TTRPC_HEADER];
	uint32_t len = htobe32((uint32_t)n), id = htobe32(stream);
	if (n > TTRPC_MAX)
		return -EMSGSIZE;
	memcpy(h, &len, 4);
	memcpy(h + 4, &id, 4);
	h[8] = (uint8_t)type;
	h[9] = flags;
	size_t before = out->len;
	if (strbuf_add(out, h, sizeof h) < 0)
		return -ENOMEM;
	if (n && strbuf_add(out, data, n) < 0) {
		out->len = before;
		return -ENOMEM;
	}
	return 0;
}

static int put_message(struct strbuf *out, uint32_t stream, enum ttrpc_type type, uint8_t flags, const struct pb_desc *d, const void *msg)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = pb_encode(d, msg, &b);
	return r < 0 ? r : ttrpc_put(out, stream, type, flags, b.s, b.len);
}

int ttrpc_put_request(struct strbuf *out, uint32_t stream, uint8_t flags, const char *service, const char *method, const struct pb_desc *d, const void *msg)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = d ? pb_encode(d, msg, &b) : 0;
	struct ttrpc_request q = { .service = service, .method = method, .payload = { b.s, b.len } };
	return r < 0 ? r : put_message(out, stream, TTRPC_REQUEST, flags, &ttrpc_request_desc, &q);
}

int ttrpc_put_response(struct strbuf *out, uint32_t stream, const struct pb_desc *d, const void *msg)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = d ? pb_encode(d, msg, &b) : 0;
	struct ttrpc_response p = { NULL, { b.s, b.len } };
	return r < 0 ? r : put_message(out, stream, TTRPC_RESPONSE, 0, &ttrpc_response_desc, &p);
}

int ttrpc_put_error(struct strbuf *out, uint32_t stream, enum ttrpc_code code, const char *message)
{
	struct ttrpc_status s = { code, message };
	struct ttrpc_response p = { &s, { NULL, 0 } };
	return put_message(out, stream, TTRPC_RESPONSE, 0, &ttrpc_response_desc, &p);
}

static const struct { int code; enum ttrpc_code rpc; } codes[] = {
	{ EINVAL, TTRPC_INVALID }, { ENOENT, TTRPC_NOT_FOUND }, { EEXIST, TTRPC_EXISTS }, { EACCES, TTRPC_DENIED }, { ENOMEM, TTRPC_EXHAUSTED },
	{ EBUSY, TTRPC_FAILED_PRECONDITION }, { EOPNOTSUPP, TTRPC_UNIMPLEMENTED }, { EIO, TTRPC_INTERNAL }, { ECONNRESET, TTRPC_UNAVAILABLE },
	{ EPERM, TTRPC_DENIED }, { ESRCH, TTRPC_NOT_FOUND }, { EPIPE, TTRPC_UNAVAILABLE }, { ENOSYS, TTRPC_UNIMPLEMENTED },
};

enum ttrpc_code ttrpc_code_of_errno(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].code == (code < 0 ? -code : code))
			return codes[i].rpc;
	return TTRPC_UNKNOWN;
}

int ttrpc_errno_of_code(int64_t code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if ((int64_t)codes[i].rpc == code)
			return -codes[i].code;
	return -EIO;
}
