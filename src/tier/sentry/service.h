/* Threads of the sentry itself. */
#ifndef TIERCE_SENTRY_SERVICE_H
#define TIERCE_SENTRY_SERVICE_H

#include <pthread.h>

/* Twins and services run on stacks of this size: no large locals in handlers (a path buffer or two is the limit). */
enum { SENTRY_STACK = 160 * 1024 };
int thread_make(pthread_t *ret, void *(*fn)(void *), void *arg);
int service_thread(void *(*fn)(void *), void *arg); /* detached */
void kernel_init(void);

#endif
