/* The device thread: one epoll loop on which all devices work. */
#ifndef TIERCE_TIER_VM_BUILTIN_LOOP_H
#define TIERCE_TIER_VM_BUILTIN_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { LOOP_FDS_MAX = 1024 /* descriptors above are refused: the jail's limit is below */ };

typedef void loop_cb(void *ctx, uint32_t events);
struct loop_watch { loop_cb *cb; void *ctx; };

struct loop {
	int epoll;
	int call_fd;                    /* eventfd: somebody wants a function called */
	pthread_mutex_t lock;           /* covers watch, call, call_arg */
	pthread_cond_t done;
	void (*call)(void *arg);
	void *call_arg;
	struct loop_watch watch[LOOP_FDS_MAX];
};

int loop_init(struct loop *l, struct err *e) MUST_CHECK;
/* Any thread. Level-triggered; replaces an earlier watch of the fd. */
int loop_watch(struct loop *l, int fd, uint32_t events, loop_cb *cb, void *ctx);
void loop_unwatch(struct loop *l, int fd);
/* From another thread: run fn(arg) on the device thread and wait for it. One caller at a time. */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg);
/* The thread's body. */
NORETURN void loop_run(struct loop *l);

#endif
