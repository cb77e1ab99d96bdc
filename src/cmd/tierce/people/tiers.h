/* The tiers that the programs for people link, NULL-terminated. */
#ifndef TIERCE_CMD_TIERCE_TIERS_H
#define TIERCE_CMD_TIERCE_TIERS_H

#include "tier/tier.h"

extern const struct tier_ops *const tierce_tiers[];

#endif
