/* The process that serves a machine's shared directories: a FUSE server in a jail that holds nothing but them. */
#ifndef TIERCE_TIER_VM_FSD_H
#define TIERCE_TIER_VM_FSD_H

#include <sys/types.h>

#include "tier/vm/guestconf.h"

/* Serves on `channel` (a stream of FUSE requests) until it ends or the caller dies. */
int fsd_start(const struct guest_shares *shares, int channel, pid_t *ret_pid, struct err *e) MUST_CHECK;

#endif
