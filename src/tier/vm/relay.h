/* Streams of one process of the guest on the host's side: three descriptors of the caller, windows towards the agent. */
#ifndef TIERCE_TIER_VM_RELAY_H
#define TIERCE_TIER_VM_RELAY_H

#include <poll.h>
#include <stdbool.h>

#include "tier/vm/agent/chan.h"

struct relay {
	struct relay *next;
	char *id;              /* container */
	char *exec_id;         /* NULL: the container's init */
	uint32_t stream;       /* Attach's */
	int fds[3];            /* owned; blocking ones of the caller are only touched when poll says so */
	bool terminal;         /* fds are a pty's slave in raw mode */
	struct strbuf buf[3];  /* [1], [2]: output on its way to the caller */
	size_t at[3];
	bool agent_eof[3];     /* [1], [2]: no more will come */
	uint64_t unacked_in;
	bool exited;
	int status;
	uint64_t oom_kills, oom_told;
	int64_t exit_ms;       /* when the end was told, for the bound on flushing */
	struct client *client; /* who waits for the end of an exec */
	uint32_t client_stream;
};

enum { RELAY_ROWS = 3, RELAY_STUCK_MS = 2000 /* output that nobody takes is dropped this long after the end */ };

struct relay *relay_new(const char *id, const char *exec_id, const int fds[3], bool terminal); /* takes the fds */
void relay_free(struct relay *r);
unsigned relay_poll(struct relay *r, const struct chan *agent, struct pollfd *ret);
void relay_pump(struct relay *r, struct chan *agent, const struct pollfd *rows, unsigned n);
void relay_io(struct relay *r, const struct agent_io *io);
/* Like write(2) on a descriptor that does not block, whatever it is: at most PIPE_BUF bytes. */
ssize_t relay_write(int fd, const void *p, size_t n);
/* Exited and everything delivered, or too long ago. */
bool relay_done(const struct relay *r);
int64_t relay_now_ms(void);

#endif
