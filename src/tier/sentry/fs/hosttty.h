/* Terminal behaviour of a host terminal that was handed in: job control in the sentry, line discipline in the host. */
#ifndef TIERCE_SENTRY_HOSTTTY_H
#define TIERCE_SENTRY_HOSTTTY_H

#include "tier/sentry/vfs/vfs.h"

bool file_is_hosttty(const struct file *f);
struct waitq *hosttty_waitq(struct file *f);
int hosttty_check(struct task *t, struct file *f, bool write); /* background access: SIGTTIN, SIGTTOU */
long hosttty_job(struct task *t, unsigned cmd, uint64_t arg); /* controlling terminal, groups */
int hosttty_reopen(struct file *host, struct file *f);         /* f becomes another file of this terminal */
long hosttty_ioctl(struct task *t, struct file *f, unsigned cmd, uint64_t arg);

#endif
