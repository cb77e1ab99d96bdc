/* The monitor's socket: ttrpc from the runtime's commands. Requests of the agent's service are passed on as they are; Exec brings descriptors along. */
#ifndef TIERCE_TIER_VM_CONTROL_H
#define TIERCE_TIER_VM_CONTROL_H

#include <poll.h>

#include "tier/vm/agent/chan.h"

struct monitor;
struct relay;

/* ---- in the monitor ---- */
void control_open(struct monitor *m);
void control_close(struct monitor *m);
unsigned control_poll(struct monitor *m, struct pollfd *ret, unsigned max);
void vm_control_serve(struct monitor *m, const struct pollfd *rows, unsigned n);
void control_response(struct monitor *m, const struct ttrpc_frame *f);
void control_ended(struct monitor *m, struct relay *r);
void control_oom(struct monitor *m, struct relay *r);

/* Keep the number of OOM kills in the container's state directory, where "events" and the engine look for it. */
void vm_oom_write(int state_fd, uint64_t n);

/* ---- in the runtime's commands ---- */
/* Connect to the monitor of the container whose state directory this is; a blocking socket. -ENOENT, -ECONNREFUSED: it is gone. */
int control_connect(int state_fd, struct err *e) MUST_CHECK;
/* Bind and listen in the state directory. */
int control_listen(int state_fd, struct err *e) MUST_CHECK;
/* One agent method through the monitor. */
int control_call(int state_fd, const char *method, const struct pb_desc *d, const void *msg, const struct pb_desc *reply_desc, void *reply, struct arena *a,
	struct strbuf *keep, struct err *e) MUST_CHECK;
/* Send a request of the monitor's own with its descriptors on a connected socket. */
int control_send(int fd, uint32_t stream, const char *method, const struct pb_desc *d, const void *msg, const int *fds, size_t n, struct err *e) MUST_CHECK;
/* The monitor's methods: Exec (agent_exec) and Join (agent_create of a further container of the pod) bring the three standard descriptors; a data frame says that
 * the process is there, the response tells its end. Share (control_shares) brings what shall be shared and is answered with the numbers; it lasts as long as the connection. */
struct control_shares { struct pb_bytes readonly; /* a byte for each descriptor */ bool keep; /* until the machine ends */ };
struct control_numbers { struct pb_bytes numbers; /* likewise */ };
extern const struct pb_desc control_shares_desc, control_numbers_desc;
enum { CONTROL_STREAM = 1, CONTROL_SHARE_STREAM = 3 };

#endif
