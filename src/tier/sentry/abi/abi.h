/* The call table's type and what is generated from it. */
#ifndef TIERCE_SENTRY_ABI_H
#define TIERCE_SENTRY_ABI_H

#include <stdint.h>

#include "base/str.h"
#include "tier/sentry/task/task.h"

enum { SYSCALL_MAX = 512 };
enum { LEVEL_NONE, LEVEL_PARTIAL, LEVEL_FULL };
struct syscall_row {
	const char *name, *sig;
	long (*fn)(struct task *t, const uint64_t *a);
	int level, error;
	const char *note;
};
extern const struct syscall_row syscall_table[SYSCALL_MAX];
int syscalls_markdown(struct strbuf *out);
int syscalls_stats(struct strbuf *out);

#endif
