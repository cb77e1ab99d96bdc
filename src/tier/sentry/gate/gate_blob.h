/* Entry points of the gate blob, as offsets from the start of its section once copied. */
#ifndef TIERCE_SENTRY_GATE_BLOB_H
#define TIERCE_SENTRY_GATE_BLOB_H

struct mailbox;
struct gate_uc;

extern const char __start_gate_text[], __stop_gate_text[];
void gate_child(struct mailbox *mb) __attribute__((noreturn));
void gate_signal(int sig, void *info, struct gate_uc *uc) __attribute__((noreturn));
void gate_restorer(void);
extern const char gate_fast[]; /* where trampolines of patched call sites lead */

#endif
