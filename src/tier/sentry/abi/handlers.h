/* Prototypes of every handler, generated from the list. */
#ifndef TIERCE_SENTRY_HANDLERS_H
#define TIERCE_SENTRY_HANDLERS_H

#include <stdint.h>

struct task;
#define SYSCALL(nr, name, sig, level, note) long sys_##name(struct task *t, const uint64_t *a);
#define NOSYS(nr, name, sig, error, note)
#include "tier/sentry/abi/syscalls.def"
#undef SYSCALL
#undef NOSYS

#endif
