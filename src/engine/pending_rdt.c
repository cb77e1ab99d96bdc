/* Stands in until the confine room has resctrl: every request is refused. Not built once confine/intelrdt.c exists. */
#include <errno.h>

#include "confine/intelrdt.h"

static int refuse(struct err *e) { return err_set(e, ENOTSUP, "intelRdt is not supported by this build"); }

int intelrdt_create(const char *root, const struct oci_intel_rdt *rdt, const char *id, bool *ret_created, struct err *e) {
	(void)root, (void)id, (void)ret_created;
	return rdt->set ? refuse(e) : 0;
}
int intelrdt_join(const char *root, const struct oci_intel_rdt *rdt, const char *id, pid_t pid, struct err *e) {
	(void)root, (void)id, (void)pid;
	return rdt->set ? refuse(e) : 0;
}
int intelrdt_update(const char *root, const struct oci_intel_rdt *rdt, const char *id, const char *l3, const char *mb, struct err *e) {
	(void)root, (void)id, (void)l3, (void)mb;
	return rdt->set ? refuse(e) : 0;
}
int intelrdt_delete(const char *root, const struct oci_intel_rdt *rdt, const char *id, bool created, struct err *e) {
	(void)root, (void)id, (void)created, (void)rdt, (void)e;
	return 0;
}
int intelrdt_stats(const char *root, const struct oci_intel_rdt *rdt, const char *id, struct json_writer *w, struct err *e) {
	(void)root, (void)id, (void)w, (void)rdt, (void)e;
	return 0;
}
