/* Minimal rtnetlink: see netlink.h. */
#include "sys/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

enum { NL_RECV_MAX = 32 * 1024 }; /* the kernel's dump buffers are at most this (NLMSG_GOODSIZE and 32 KiB skbs) */

int netlink_open(void) {
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	/* Since Linux 4.12; without them errors are numbers alone and dumps are not filtered. */
	int on = 1;
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return fd;
}

int netlink_open_in(int netns_fd) {
	_cleanup_close_ int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home < 0)
		return -errno;
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	int fd = netlink_open();
	if (setns(home, CLONE_NEWNET) < 0) {
		/* A runtime that is left in a container's namespace would act on the wrong host: nothing sensible can follow. */
		if (fd >= 0)
			close(fd);
		return -ENOTRECOVERABLE;
	}
	return fd;
}

static void add(struct nl_request *r, const void *data, size_t n) {
	if (r->failed)
		return;
	if (n > sizeof(r->buf) - NLMSG_ALIGNTO || r->len > sizeof(r->buf) - NLMSG_ALIGNTO - n) {
		r->failed = -E2BIG;
		return;
	}
	if (n)
		memcpy(r->buf + r->len, data, n);
	uint32_t end = NLMSG_ALIGN(r->len + (uint32_t)n);
	memset(r->buf + r->len + n, 0, end - r->len - n);
	r->len = end;
}

void nl_init(struct nl_request *r, uint16_t type, uint16_t flags, const void *family_header, size_t n) {
	struct nlmsghdr h = { .nlmsg_type = type, .nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST | NLM_F_ACK), .nlmsg_seq = 1 };
	r->len = 0;
	r->failed = 0;
	add(r, &h, sizeof(h));
	add(r, family_header, n);
}

void nl_attr(struct nl_request *r, uint16_t type, const void *data, size_t n) {
	/* nla_len is 16 bits: a longer value would wrap and let its rest be read as further attributes (CVE-2021-43784). */
	if (n > UINT16_MAX - NLA_HDRLEN) {
		r->failed = -E2BIG;
		return;
	}
	struct nlattr a = { .nla_len = (uint16_t)(NLA_HDRLEN + n), .nla_type = type };
	add(r, &a, sizeof(a));
	add(r, data, n);
}

void nl_attr_u32(struct nl_request *r, uint16_t type, uint32_t v) { nl_attr(r, type, &v, sizeof(v)); }
void nl_attr_str(struct nl_request *r, uint16_t type, const char *s) { nl_attr(r, type, s, strlen(s) + 1); }

size_t nl_nest(struct nl_request *r, uint16_t type) {
	size_t mark = r->len;
	nl_attr(r, type | NLA_F_NESTED, NULL, 0);
	return mark;
}

void nl_nest_end(struct nl_request *r, size_t mark) {
	if (r->failed)
		return;
	/* buf is far below 64 KiB, so the length fits. */
	((struct nlattr *)(void *)(r->buf + mark))->nla_len = (uint16_t)(r->len - mark);
}

const struct nlattr *nl_next(const void *data, size_t n, const struct nlattr *a) {
	const char *end = (const char *)data + n, *p = data;
	if (a) {
		size_t step = NLA_ALIGN(a->nla_len);
		if (step > (size_t)(end - (const char *)a))
			return NULL;
		p = (const char *)a + step;
	}
	if ((size_t)(end - p) < sizeof(struct nlattr))
		return NULL;
	const struct nlattr *next = (const void *)p;
	if (next->nla_len < NLA_HDRLEN || next->nla_len > (size_t)(end - p))
		return NULL;
	return next;
}

/* NLMSG_ERROR: 0 is the acknowledgement; the kernel's explanation follows the request's header (NETLINK_CAP_ACK cuts the rest). */
static int ack(const struct nlmsghdr *h, struct err *e) {
	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return err_set(e, -EBADMSG, "netlink: short answer");
	const struct nlmsgerr *m = (const void *)((const char *)h + NLMSG_HDRLEN);
	if (m->error == 0)
		return 0;
	if (m->error > 0 || m->error < -4095)
		return err_set(e, -EBADMSG, "netlink: answer with error %d", m->error);
	const char *text = NULL;
	if (h->nlmsg_flags & NLM_F_ACK_TLVS) {
		size_t skip = NLMSG_LENGTH(sizeof(*m));
		if (!(h->nlmsg_flags & NLM_F_CAPPED) && m->msg.nlmsg_len > sizeof(struct nlmsghdr))
			skip += NLMSG_ALIGN(m->msg.nlmsg_len - sizeof(struct nlmsghdr));
		const char *tlv = (const char *)h + skip;
		size_t left = h->nlmsg_len > skip ? h->nlmsg_len - skip : 0;
		for (const struct nlattr *a = nl_next(tlv, left, NULL); a; a = nl_next(tlv, left, a))
			if (nl_type(a) == NLMSGERR_ATTR_MSG && nl_len(a) && ((const char *)nl_data(a))[nl_len(a) - 1] == '\0')
				text = nl_data(a);
	}
	return text ? err_sys(e, m->error, "%s", text) : err_sys(e, m->error, "netlink");
}

/* One datagram from the kernel (and from nobody else). */
static ssize_t receive(int fd, void *buf, size_t n) {
	for (;;) {
		struct sockaddr_nl from;
		struct iovec iov = { buf, n };
		struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t got = recvmsg(fd, &m, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (m.msg_flags & MSG_TRUNC)
			return -EMSGSIZE;
		if (m.msg_namelen == sizeof(from) && from.nl_pid == 0)
			return got;
	}
}

int nl_call(int fd, struct nl_request *r, nl_handler handler, void *arg, struct err *e) {
	if (r->failed)
		return err_sys(e, r->failed, "netlink: request");
	struct nlmsghdr *out = (void *)r->buf;
	static uint32_t sequence;
	out->nlmsg_len = r->len;
	out->nlmsg_seq = ++sequence;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t sent;
	do
		sent = sendto(fd, r->buf, r->len, 0, (const struct sockaddr *)&kernel, sizeof(kernel));
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return err_sys(e, errno, "netlink: send");
	_cleanup_free_ char *buf = malloc(NL_RECV_MAX);
	if (!buf)
		return err_set(e, -ENOMEM, "out of memory");
	for (;;) {
		ssize_t got = receive(fd, buf, NL_RECV_MAX);
		if (got < 0)
			return err_sys(e, (int)got, "netlink: receive");
		size_t left = (size_t)got;
		for (const struct nlmsghdr *h = (const void *)buf; left >= sizeof(*h); ) {
			if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > left)
				return err_set(e, -EBADMSG, "netlink: answer with a wrong length");
			if (h->nlmsg_seq == sequence) {
				if (h->nlmsg_type == NLMSG_ERROR)
					return ack(h, e);
				if (h->nlmsg_type == NLMSG_DONE)
					return 0;
				int stop = handler && h->nlmsg_type >= NLMSG_MIN_TYPE ? handler(h, arg) : 0;
				if (stop)
					return stop < 0 ? err_sys(e, stop, "netlink: answer") : stop;
			}
			size_t step = NLMSG_ALIGN(h->nlmsg_len);
			if (step >= left)
				break;
			left -= step;
			h = (const void *)((const char *)h + step);
		}
	}
}
