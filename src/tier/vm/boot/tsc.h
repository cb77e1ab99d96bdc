/* Rate of the time stamp counter, which an emulated guest cannot measure by itself. */
#ifndef TIERCE_TIER_VM_BOOT_TSC_H
#define TIERCE_TIER_VM_BOOT_TSC_H

/* kHz, rounded to whole MHz so that two measurements give the same template key; 0 on machines without one. Takes 20 ms once. */
unsigned long tsc_khz(void);

#endif
