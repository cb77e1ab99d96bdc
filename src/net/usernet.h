/* Networks of ordinary users: a program beside the container relays between a tap device in its namespace and the host's sockets. */
#ifndef TIERCE_NET_USERNET_H
#define TIERCE_NET_USERNET_H

#include <sys/types.h>

#include "net/cni.h"

enum usernet_kind { USERNET_SLIRP, USERNET_PASTA };

struct usernet {
	enum usernet_kind kind;
	const char *netns;   /* path of the namespace, its loopback is up */
	const char *run_dir; /* the program's working directory: slirp4netns' socket "net", pasta's "pasta.pid" */
	const char *log;     /* what the program says */
	const char *options; /* behind "slirp4netns:" or "pasta:", NULL: none */
	const struct cni_port *ports;
	size_t n_ports;
};

/* Is the program in $PATH? */
bool usernet_there(enum usernet_kind kind);
/* What the options say, without starting anything. */
int usernet_check(struct arena *a, const struct usernet *u, struct err *e) MUST_CHECK;
/* Start and publish the ports; ret: the container's addresses (may be empty), the gateway, a DNS forwarder as first address of *ret_dns (NULL: none). Ends when
 * the pid is killed. On failure nothing runs on. */
int usernet_start(struct arena *a, const struct usernet *u, struct cni_result *ret, const char **ret_dns, pid_t *ret_pid, struct err *e) MUST_CHECK;

#endif
