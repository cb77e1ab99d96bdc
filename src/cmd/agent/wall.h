/* What stands around a container inside the machine: the tier that builds it, and its cgroup. */
#ifndef TIERCE_CMD_AGENT_WALL_H
#define TIERCE_CMD_AGENT_WALL_H

#include "cmd/agent/agent.h"

extern const struct tier_ops *const wall;

int wall_cgroup_make(struct guest *g, struct err *e) MUST_CHECK;
int wall_cgroup_update(struct guest *g, const struct oci_resources *r, struct err *e) MUST_CHECK;
int wall_cgroup_freeze(struct guest *g, bool frozen, struct err *e) MUST_CHECK;
int wall_cgroup_stats(struct guest *g, struct strbuf *out, struct err *e) MUST_CHECK;
void wall_cgroup_remove(struct guest *g);

#endif
