/* Parts of cgroup_stats(). */
#ifndef TIERCE_CONFINE_CGROUP_STATS_H
#define TIERCE_CONFINE_CGROUP_STATS_H

#include "confine/cgroup_internal.h"

/* Opens "blkio" and writes its arrays; the caller adds pressure and closes the object. */
void cgroup_stats_blkio(struct cgroup *cg, struct json_writer *w);

#endif
