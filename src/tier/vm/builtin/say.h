/* Lines for whoever reads the monitor's standard error. Usable behind every filter: one write(2), no stream. */
#ifndef TIERCE_TIER_VM_BUILTIN_SAY_H
#define TIERCE_TIER_VM_BUILTIN_SAY_H

#include "base/macro.h"

void vmm_say(const char *fmt, ...) PRINTF(1, 2);

#endif
