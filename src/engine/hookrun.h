/* Running one hook. Needs nothing else of the engine: the agent in a virtual machine runs hooks as well. */
#ifndef TIERCE_ENGINE_HOOKRUN_H
#define TIERCE_ENGINE_HOOKRUN_H

#include "base/err.h"
#include "base/str.h"
#include "spec/oci.h"

/* In the calling process's namespaces, with state on stdin; bundle is the working directory but for startContainer. Waits; -ETIMEDOUT, or -ECANCELED and what it said. */
int hook_run(const struct oci_spec *spec, const char *bundle, enum oci_hook_point point, const struct oci_hook *h, const struct strbuf *state, struct err *e) MUST_CHECK;

#endif
