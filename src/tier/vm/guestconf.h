/* The config.json that the agent gets: the bundle's without what belongs to the host. */
#ifndef TIERCE_TIER_VM_GUESTCONF_H
#define TIERCE_TIER_VM_GUESTCONF_H

#include "base/str.h"
#include "spec/oci.h"

int guestconf_write(const struct oci_spec *s, struct strbuf *out, struct err *e) MUST_CHECK;

#endif
