/*
 * Names of containers by DNS. Every monitor serves the bridges that its containers are on: UDP and TCP port 53 of each bridge's own address, shared among the monitors
 * (SO_REUSEPORT), so that no daemon is needed and a network is served as long as one of its containers runs. All answer from one file:
 *
 *   <run>/names, replaced as a whole whenever a container comes or goes; lines of words:
 *     i ADDRESS NETWORK...          a container at ADDRESS is on these networks: it may ask, and sees their names
 *     u ADDRESS SERVER...           where its other questions go (an address without this line gets no answer from outside)
 *     n NETWORK ADDRESS NAME...     names on a network; the first one is what a reverse question gets
 *
 * A question for anything else goes to the servers one after the other; who is not in the file gets no answer at all.
 */
#ifndef TIERCE_MONITOR_DNS_H
#define TIERCE_MONITOR_DNS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"
#include "wire/dns.h"

enum {
	DNS_LISTEN_MAX = 8,    /* addresses of one monitor */
	DNS_PENDING_MAX = 64,  /* questions on their way: bounds descriptors against a container that only asks */
	DNS_CHILDREN_MAX = 8,  /* TCP connections at a time, a process each */
	DNS_SERVERS_MAX = 3,   /* resolv.conf(5), MAXNS */
	DNS_RECORDS_MAX = 32,
	DNS_NAMES_MAX = 4 << 20, /* bytes of the file */
	DNS_TTL = 0,           /* seconds: names come and go */
};

/* What the file says to a question of a client. */
enum dns_verdict { DNS_DROP, DNS_LOCAL, DNS_FORWARD };
struct dns_found {
	enum dns_verdict verdict;
	enum dns_rcode rcode;                   /* of DNS_LOCAL */
	struct dns_record v[DNS_RECORDS_MAX];
	size_t n;
	struct sockaddr_storage servers[DNS_SERVERS_MAX];
	size_t n_servers;
};
/* text is modified; names in ret point into it. */
void dns_lookup(char *text, const struct sockaddr_storage *client, const struct dns_query *q, struct dns_found *ret);

struct dns;
/* Serve address too (idempotent). Failing to is no reason not to start a container: its name server is then found dead, and the next one is asked. */
void dns_serve(struct dns **d, const char *names, const char *address);
/* Descriptors to poll; returns how many were added to p. */
size_t dns_gather(struct dns *d, struct pollfd *p);
void dns_dispatch(struct dns *d, const struct pollfd *p, size_t n);
/* CLOCK_MONOTONIC ns of the next timer, UINT64_MAX: none; and what is due. */
uint64_t dns_next(const struct dns *d);
void dns_tick(struct dns *d);
/* True when the pid was a child of ours. */
bool dns_reaped(struct dns *d, pid_t pid);
void dns_close(struct dns *d);

enum { DNS_FDS_MAX = 2 * DNS_LISTEN_MAX + DNS_PENDING_MAX };

#endif
