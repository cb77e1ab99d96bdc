/* The sentry's own confinement. Order: early (namespaces), open everything, zygote, late (empty root, capabilities), filter. */
#ifndef TIERCE_SENTRY_CONFINE_H
#define TIERCE_SENTRY_CONFINE_H

#include "base/str.h"
#include "tier/sentry/sentry.h"

int confine_early(const struct sentry_options *o, struct err *e); /* namespaces; forks: the caller goes on as pid 1 */
int confine_proc(const struct sentry_options *o, struct err *e);  /* fd of a procfs of our pid namespace */
int confine_tree(const struct sentry_options *o, const char *path, struct err *e); /* O_PATH fd of a file or mount tree */
int confine_late(const struct sentry_options *o, struct err *e);  /* after everything is open */
int confine_filter(const struct sentry_options *o, struct err *e); /* last, for all threads */
int confine_signals(struct err *e);
/* A signal of the terminal goes to its foreground group: true when it was dealt with (fs/tty.c). */
bool hosttty_signal(int sig, bool from_kernel);
/* Number of a row that is left out: for the test that every row is needed. -1: none. */
extern int sentry_filter_without;
int sentry_filter_print(struct strbuf *out);

#endif
