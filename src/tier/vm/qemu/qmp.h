/* QEMU's machine protocol: one command at a time, answered before the next (docs/interop/qmp-spec.rst of QEMU). */
#ifndef TIERCE_TIER_VM_QEMU_QMP_H
#define TIERCE_TIER_VM_QEMU_QMP_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/json.h"

enum { QMP_LINE_MAX = 1 << 20 /* an answer is one line; QEMU is outside of our trust once the guest runs */ };

struct qmp {
	int fd;
	struct strbuf in;
};
#define QMP_INIT { -EBADF, STRBUF_INIT }
#define _cleanup_qmp_ CLEANUP(qmp_close)

void qmp_close(struct qmp *q);
/* Read the greeting, leave negotiation mode. */
int qmp_open(struct qmp *q, int fd, int timeout_ms, struct err *e) MUST_CHECK; /* takes the fd */
/* Run a command; args is the text of a JSON object or NULL. *ret (may be NULL) is the "return" value in the arena. Events in between are dropped. */
int qmp_call(struct qmp *q, struct arena *a, const char *command, const char *args, int timeout_ms, struct json **ret, struct err *e) MUST_CHECK;

#endif
