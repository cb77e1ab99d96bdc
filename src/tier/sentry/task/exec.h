/* Parts of execve that other files use. */
#ifndef TIERCE_SENTRY_EXEC_H
#define TIERCE_SENTRY_EXEC_H

#include "tier/sentry/task/task.h"
#include "tier/sentry/vfs/vfs.h"

/* Open for execution: regular, executable, not on a noexec mount, not being written. */
int exec_open_path(struct task *t, const struct path *p, struct file **ret);
void sigframe_reset_fp(struct task *t);

#endif
