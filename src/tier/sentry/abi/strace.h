/* --strace: calls as text or JSON lines, decoded by the signatures of the list. */
#ifndef TIERCE_SENTRY_STRACE_H
#define TIERCE_SENTRY_STRACE_H

struct task;
struct syscall_row;
void strace_enter(struct task *t, const struct syscall_row *row);
void strace_leave(struct task *t, const struct syscall_row *row, long result);
void strace_note(struct task *t, const char *what);

#endif
