/* Validated values back to JSON, for the guest: a process (exec) and resources (update). */
#ifndef TIERCE_TIER_VM_SPECJSON_H
#define TIERCE_TIER_VM_SPECJSON_H

#include "base/str.h"
#include "spec/oci.h"

int specjson_process(const struct oci_process *p, struct strbuf *out) MUST_CHECK;
/* What a cgroup of the guest can hold: memory, cpu time, pids, unified. Processors, device rules and block devices are numbered differently there. */
int specjson_resources(const struct oci_resources *r, struct strbuf *out) MUST_CHECK;

#endif
