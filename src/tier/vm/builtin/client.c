/* Requests to tierce-vmm. What it answers is checked: it may have fallen to its guest. */
#include "tier/vm/builtin/client.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { TEXT_MAX = 512, BYTES_MAX = 8 << 20 };

static int send_request(int sock, const struct vmm_request *q, int pass)
{
	union { struct cmsghdr h; char space[CMSG_SPACE(sizeof(int))]; } cm;
	struct iovec v = { (void *)(uintptr_t)q, sizeof *q };
	struct msghdr mh = { .msg_iov = &v, .msg_iovlen = 1 };
	memset(&cm, 0, sizeof cm);
	if (pass >= 0) {
		cm.h = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&cm.h), &pass, sizeof pass);
		mh.msg_control = &cm;
		mh.msg_controllen = sizeof cm;
	}
	return sendmsg(sock, &mh, MSG_NOSIGNAL) == sizeof *q ? 0 : -ECONNRESET;
}

static ssize_t next(int sock, void *buf, size_t n, int timeout_ms)
{
	struct pollfd p = { sock, POLLIN, 0 };
	int r;
	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	ssize_t k = recv(sock, buf, n, 0);
	return k > 0 ? k : -ECONNRESET;
}

int vmm_call(int sock, enum vmm_op op, uint64_t value, int pass, struct strbuf *out, int timeout_ms, struct err *e)
{
	struct vmm_request q = { op, 0, value };
	struct { struct vmm_answer a; char text[TEXT_MAX]; } head;
	static char part[VMM_PART];
	int r = send_request(sock, &q, pass);
	if (r < 0)
		return err_sys(e, r, "tierce-vmm");
	ssize_t n = next(sock, &head, sizeof head, timeout_ms);
	if (n < (ssize_t)sizeof head.a)
		return err_sys(e, n < 0 ? (int)n : EBADMSG, "tierce-vmm");
	if (head.a.status < 0)
		return err_set(e, head.a.status, "tierce-vmm: %.*s", (int)(n - (ssize_t)sizeof head.a), head.text);
	if (head.a.value > BYTES_MAX)
		return err_set(e, EMSGSIZE, "tierce-vmm: an answer of %llu bytes", (unsigned long long)head.a.value);
	for (uint64_t at = 0; op == VMM_SNAPSHOT && at < head.a.value; at += (uint64_t)n) {
		n = next(sock, part, sizeof part, timeout_ms);
		if (n < 0 || (uint64_t)n > head.a.value - at || (out && strbuf_add(out, part, (size_t)n) < 0))
			return err_sys(e, n < 0 ? (int)n : EBADMSG, "tierce-vmm");
	}
	return 0;
}
