/* Intel RDT through resctrl: one CLOS directory per container (or a shared one), monitoring groups, statistics. Parent side. */
#ifndef TIERCE_CONFINE_INTELRDT_H
#define TIERCE_CONFINE_INTELRDT_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "spec/oci.h"

struct json_writer;

/* root: resctrl mount point, NULL = find it in /proc/self/mountinfo (a test passes a tree of plain files). All calls are no-ops when !rdt->set. */

/* Make the CLOS (closID or the container id), check an existing one against the wanted schemata, write schemata. ret_created: we made it, so
 * delete removes it. -ENODEV with runc's text when the host has no resctrl. */
int intelrdt_create(const char *root, const struct oci_intel_rdt *rdt, const char *id, bool *ret_created, struct err *e) MUST_CHECK;
/* Put a process (and with it the children to come) into the CLOS and its monitoring group. */
int intelrdt_join(const char *root, const struct oci_intel_rdt *rdt, const char *id, pid_t pid, struct err *e) MUST_CHECK;
/* update --l3-cache-schema / --mem-bw-schema: NULL leaves one as it is. */
int intelrdt_update(const char *root, const struct oci_intel_rdt *rdt, const char *id, const char *l3, const char *mb, struct err *e) MUST_CHECK;
/* Remove the monitoring group and, when created, the CLOS. Idempotent. */
int intelrdt_delete(const char *root, const struct oci_intel_rdt *rdt, const char *id, bool created, struct err *e) MUST_CHECK;
/* Member "intel_rdt" of events' data. Nothing is written when resctrl is absent. */
int intelrdt_stats(const char *root, const struct oci_intel_rdt *rdt, const char *id, struct json_writer *w, struct err *e) MUST_CHECK;
/* For features: resctrl is mounted, and schemata/monitoring can be used. */
bool intelrdt_available(const char *root);

#endif
