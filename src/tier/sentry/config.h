/* What the tier tells tierce-sentry, as NUL-terminated records "key=value" in a memfd. Both ends are ours; the reader still validates. */
#ifndef TIERCE_SENTRY_CONFIG_H
#define TIERCE_SENTRY_CONFIG_H

#include "base/arena.h"
#include "base/str.h"
#include "tier/sentry/sentry.h"

enum { SENTRY_CONFIG_MAX = 16 << 20 /* environment and arguments of a container: bounds what is mapped */ };
/* Parse records into *o; strings live in a. */
int sentry_config_parse(struct arena *a, const char *data, size_t len, struct sentry_options *o, struct err *e);

/* Control socket (SOCK_SEQPACKET): one request per connection. */
enum sentry_request { SENTRY_START = 'S', SENTRY_SIGNAL = 'K', SENTRY_EXEC = 'E', SENTRY_PIDS = 'P' /* value: new limit of tasks, 0: none */ };
struct sentry_message { uint32_t type; int32_t value, value2; char text[500]; };

#endif
