/* Pods. */
#include <errno.h>

#include "cmd/tierce/people/commands.h"

int pod_resolve(struct people *p UNUSED, struct run_opts *o, struct err *e) {
	return err_set(e, -ENOTSUP, "--pod %s: pods are not there yet", o->pod);
}
