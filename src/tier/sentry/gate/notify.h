/* The seccomp listener of the sandbox. */
#ifndef TIERCE_SENTRY_NOTIFY_H
#define TIERCE_SENTRY_NOTIFY_H

void notifier_set(int fd);

#endif
