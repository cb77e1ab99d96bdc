/* The control socket and what it asks of run.c. */
#ifndef TIERCE_SENTRY_CONTROL_H
#define TIERCE_SENTRY_CONTROL_H

#include "tier/sentry/sentry.h"

int control_serve(int listener, struct err *e);
/* Let the container's program run; its execve's error comes back. Without the lock. */
int container_start(struct err *e);
/* A further process with stdio fds (borrowed): its guest pid. With the lock. */
int container_exec(const struct sentry_options *o, const int stdio[3], void *hostctx, struct err *e);

#endif
