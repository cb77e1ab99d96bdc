/* The process that serves a machine's shared directories: a FUSE server in a jail that holds nothing but them. */
#ifndef TIERCE_TIER_VM_FSD_H
#define TIERCE_TIER_VM_FSD_H

#include <sys/types.h>

#include "tier/vm/guestconf.h"

/* Serves on `channel` (a stream of FUSE requests) until it ends or the caller dies. *ret_control is for the two functions below. */
int fsd_start(const struct guest_shares *shares, int channel, pid_t *ret_pid, int *ret_control, struct err *e) MUST_CHECK;
/* Share n (at most FSD_BATCH) more; ret_numbers tells under which numbers the guest finds them. */
int fsd_add(int control, const struct guest_share *v, size_t n, uint8_t *ret_numbers, struct err *e) MUST_CHECK;
void fsd_drop(int control, const uint8_t *numbers, size_t n);
enum { FSD_BATCH = 250 /* SCM_MAX_FD is 253 */ };

#endif
