/* Host calls of each class of threads after the start, one row each with its reason. Everything else kills the process. */
#ifndef TIERCE_TIER_VM_BUILTIN_FILTER_H
#define TIERCE_TIER_VM_BUILTIN_FILTER_H

#include <stdio.h>

enum filter_class { FILTER_VCPU, FILTER_DEVICE, FILTER_API, FILTER_CLASSES };

/* Irrevocably confine the calling thread. A failure ends the process: nothing of the guest may run unconfined. */
void filter_enter(enum filter_class c);
void filter_print(FILE *out);

#endif
