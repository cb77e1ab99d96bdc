/* Running criu: its command line, put together from what runc's flags ask for. */
#ifndef TIERCE_TIER_NS_CRIU_H
#define TIERCE_TIER_NS_CRIU_H

#include "base/str.h"
#include "tier/ns/ns.h"

struct criu_call {
	char **argv;
	size_t n;
	bool failed;      /* out of memory */
	int image;        /* O_DIRECTORY of the image directory */
	const char *log;  /* file name below the work directory */
};
#define CRIU_CALL_INIT { NULL, 0, false, -EBADF, NULL }
void criu_call_free(struct criu_call *c);
void criu_arg(struct criu_call *c, const char *fmt, ...) PRINTF(2, 3);
/* What dump, pre-dump and restore have in common. verb: "dump", "pre-dump", "restore". Makes the directories (dump only). */
int criu_common(struct criu_call *c, const char *verb, const struct tier_container *t, const struct tier_checkpoint_options *o, struct err *e) MUST_CHECK;
/* Fork, run `inside` in the child (NULL: nothing), execute, wait. An exit status other than 0 is an error that quotes criu's last message. keep: descriptors that
 * criu inherits under their numbers. */
int criu_run(struct criu_call *c, const struct tier_checkpoint_options *o, int (*inside)(const struct tier_container *t, struct err *e),
	const struct tier_container *t, const int *keep, size_t n_keep, struct err *e) MUST_CHECK;

enum { CRIU_STDIO = 3, CRIU_NAME_MAX = 4096 };

int ns_op_checkpoint(struct tier_container *c, const struct tier_checkpoint_options *o, struct err *e);
int ns_op_restore(struct tier_container *c, struct tier_checkpoint_options *o, struct err *e);

#endif
