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
void control_exec_ended(struct monitor *m, struct relay *r);

/* ---- in the runtime's commands ---- */
/* Connect to the monitor of the container whose state directory this is; a blocking socket. -ENOENT, -ECONNREFUSED: it is gone. */
int control_connect(int state_fd, struct err *e) MUST_CHECK;
/* Bind and listen in the state directory. */
int control_listen(int state_fd, struct err *e) MUST_CHECK;
/* One agent method through the monitor. */
int control_call(int state_fd, const char *method, const struct pb_desc *d, const void *msg, const struct pb_desc *reply_desc, void *reply, struct arena *a,
	struct strbuf *keep, struct err *e) MUST_CHECK;
/* Send Exec with its three descriptors on a connected socket. */
int control_send_exec(int fd, const struct agent_exec *q, const int fds[3], struct err *e) MUST_CHECK;
enum { CONTROL_EXEC_STREAM = 1 };

#endif
