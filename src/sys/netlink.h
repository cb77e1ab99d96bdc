/* Minimal rtnetlink: requests with checked lengths, answers with checked bounds. */
#ifndef TIERCE_SYS_NETLINK_H
#define TIERCE_SYS_NETLINK_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* NETLINK_ROUTE socket (CLOEXEC) in the current network namespace. Returns fd or negative errno. */
int netlink_open(void);
/* The same in another namespace: the calling thread enters netns_fd and comes back; the process must be single-threaded or tolerate it. */
int netlink_open_in(int netns_fd);

/* A request under construction. An attribute that would not fit, or is longer than 16 bits can say (CVE-2021-43784), sets failed. */
struct nl_request {
	_Alignas(NLMSG_ALIGNTO) uint8_t buf[8192];
	uint32_t len;
	int failed; /* negative errno, sticky */
};
void nl_init(struct nl_request *r, uint16_t type, uint16_t flags, const void *family_header, size_t n);
void nl_attr(struct nl_request *r, uint16_t type, const void *data, size_t n);
void nl_attr_u32(struct nl_request *r, uint16_t type, uint32_t v);
void nl_attr_str(struct nl_request *r, uint16_t type, const char *s); /* with its NUL */
size_t nl_nest(struct nl_request *r, uint16_t type);                   /* returns a mark for nl_nest_end */
void nl_nest_end(struct nl_request *r, size_t mark);

/* Called for every answer message but NLMSG_DONE/ERROR; h is complete and lies in bounds. Non-zero stops and is returned. */
typedef int (*nl_handler)(const struct nlmsghdr *h, void *arg);
/* Send with NLM_F_ACK and wait for the acknowledgement (or the end of a dump); kernel errors come back as negative errno, with the extended
 * ack text in e where the kernel gave one. */
int nl_call(int fd, struct nl_request *r, nl_handler handler, void *arg, struct err *e) MUST_CHECK;

/* Walk attributes of [data, data+n): the next valid one, or NULL. Start with a == NULL. */
const struct nlattr *nl_next(const void *data, size_t n, const struct nlattr *a);
static inline const void *nl_data(const struct nlattr *a) { return (const char *)a + NLA_HDRLEN; }
static inline size_t nl_len(const struct nlattr *a) { return a->nla_len - NLA_HDRLEN; }
static inline uint16_t nl_type(const struct nlattr *a) { return a->nla_type & NLA_TYPE_MASK; }

#endif
