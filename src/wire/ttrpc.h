/* ttrpc frames and envelopes (containerd/ttrpc PROTOCOL.md): bytes in, bytes out. */
#ifndef TIERCE_WIRE_TTRPC_H
#define TIERCE_WIRE_TTRPC_H

#include <stddef.h>
#include <stdint.h>

#include "wire/pb.h"

enum ttrpc_type { TTRPC_REQUEST = 1, TTRPC_RESPONSE = 2, TTRPC_DATA = 3 };
enum ttrpc_flag { TTRPC_REMOTE_CLOSED = 1, TTRPC_REMOTE_OPEN = 2, TTRPC_NO_DATA = 4 };
/* google.rpc.Code, those that we send */
enum ttrpc_code { TTRPC_OK = 0, TTRPC_UNKNOWN = 2, TTRPC_INVALID = 3, TTRPC_NOT_FOUND = 5, TTRPC_EXISTS = 6, TTRPC_DENIED = 7,
	TTRPC_EXHAUSTED = 8, TTRPC_FAILED_PRECONDITION = 9, TTRPC_UNIMPLEMENTED = 12, TTRPC_INTERNAL = 13, TTRPC_UNAVAILABLE = 14 };

enum {
	TTRPC_HEADER = 10,
	TTRPC_MAX = 4 << 20, /* message bound of the protocol: a lying length must not make us buffer without end */
};

struct ttrpc_frame {
	uint32_t stream;
	uint8_t type, flags;
	const uint8_t *data; /* into the buffer that was given */
	size_t n;
};

/* Cut one frame off the front. 1: *ret and *ret_used are set; 0: more bytes are needed; -EMSGSIZE: longer than TTRPC_MAX,
 * -EBADMSG: stream 0 or an unknown type. */
int ttrpc_next(const void *buf, size_t n, struct ttrpc_frame *ret, size_t *ret_used) MUST_CHECK;
/* Append a frame. 0, -ENOMEM or -EMSGSIZE. */
int ttrpc_put(struct strbuf *out, uint32_t stream, enum ttrpc_type type, uint8_t flags, const void *data, size_t n) MUST_CHECK;

struct ttrpc_request {
	const char *service, *method;
	struct pb_bytes payload;
	int64_t timeout_ns;
	struct pb_list metadata; /* struct pb_pair */
};
struct ttrpc_status { int64_t code; const char *message; };
struct ttrpc_response { struct ttrpc_status *status; struct pb_bytes payload; };
extern const struct pb_desc ttrpc_request_desc, ttrpc_response_desc;

/* Whole frames: request and response with an encoded payload. status NULL or code 0 is success. */
int ttrpc_put_request(struct strbuf *out, uint32_t stream, uint8_t flags, const char *service, const char *method, const struct pb_desc *d, const void *msg) MUST_CHECK;
int ttrpc_put_response(struct strbuf *out, uint32_t stream, const struct pb_desc *d, const void *msg) MUST_CHECK;
int ttrpc_put_error(struct strbuf *out, uint32_t stream, enum ttrpc_code code, const char *message) MUST_CHECK;

/* errno <-> google.rpc.Code, both directions lossy. */
enum ttrpc_code ttrpc_code_of_errno(int code);
int ttrpc_errno_of_code(int64_t code);

#endif
