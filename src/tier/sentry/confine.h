/* The sentry's own confinement. */
#ifndef TIERCE_SENTRY_CONFINE_H
#define TIERCE_SENTRY_CONFINE_H

#include "base/str.h"
#include "tier/sentry/sentry.h"

int confine_early(const struct sentry_options *o, struct err *e); /* namespaces; may fork: the caller goes on as pid 1 */
int confine_late(const struct sentry_options *o, struct err *e);  /* empty root, capabilities, filter: after everything is open */
int sentry_filter_print(struct strbuf *out);

#endif
