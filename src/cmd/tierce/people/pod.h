/* Pods: containers that share network, IPC and host name. No pause container: the namespaces are bound to files, the monitor is the parent. */
#ifndef TIERCE_CMD_TIERCE_PEOPLE_POD_H
#define TIERCE_CMD_TIERCE_PEOPLE_POD_H

#include "cmd/tierce/people/commands.h"

struct pod {
	struct people *p;
	struct pctr net;       /* id, name, dir and network options of the pod: what net_up() and net_down() take */
	const char *id, *name, *dir, *created, *hostname, *restart;
	struct json *doc;
	bool up;               /* its monitor runs */
};

/* By name, id or unique prefix. -ENOENT: "no such pod". */
int pod_find(struct people *p, const char *who, struct pod **ret, struct err *e) MUST_CHECK;
int pod_list(struct people *p, struct pod ***ret, size_t *n, struct err *e) MUST_CHECK;
struct pod_opts { const char *name, *hostname, *infra, *share, *restart, *pod_id_file, *ip, *mac_address; bool replace; struct opt_list network, publish, label, add_host, dns, dns_search, dns_option; };
int pod_create(struct people *p, const struct pod_opts *o, struct pod **ret, struct err *e) MUST_CHECK;
/* Containers of a pod, oldest first. */
int pod_members(struct pod *pod, struct pctr ***ret, size_t *n, struct err *e) MUST_CHECK;
/* Namespaces and network, if they are not there. */
int pod_up(struct pod *pod, struct err *e) MUST_CHECK;
/* Stop the containers, end the monitor, take the network down. */
int pod_down(struct pod *pod, int64_t timeout_s, struct err *e) MUST_CHECK;
int pod_remove(struct pod *pod, bool force, struct err *e) MUST_CHECK;

#endif
