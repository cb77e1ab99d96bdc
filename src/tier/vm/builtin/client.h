/* The parent's end of tierce-vmm's control socket. */
#ifndef TIERCE_TIER_VM_BUILTIN_CLIENT_H
#define TIERCE_TIER_VM_BUILTIN_CLIENT_H

#include "base/err.h"
#include "base/str.h"
#include "tier/vm/builtin/control.h"

/* One request. pass: descriptor that goes along (-EBADF: none). out (may be NULL) gets the answer's bytes. */
int vmm_call(int sock, enum vmm_op op, uint64_t value, int pass, struct strbuf *out, int timeout_ms, struct err *e) MUST_CHECK;

#endif
