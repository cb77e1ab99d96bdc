/* The systemd manager: plans slice and scope, and talks to the helper program that speaks D-Bus. */
#include <errno.h>
#include <stdio.h>

#include "confine/cgroup_internal.h"

int cgroup_systemd_plan(struct cgroup *cg, const struct cgroup_request *req, struct err *e) { (void)cg; (void)req; return err_set(e, ENOTSUP, "systemd"); }
int cgroup_systemd_start(struct cgroup *cg, struct err *e) { (void)cg; (void)e; return 0; }
int cgroup_systemd_apply(struct cgroup *cg, const struct oci_resources *r, struct err *e) { (void)cg; (void)e; (void)r; return 0; }
int cgroup_systemd_stop(struct cgroup *cg, struct err *e) { (void)cg; (void)e; return 0; }
void cgroup_systemd_release(struct cgroup *cg) { (void)cg; }
