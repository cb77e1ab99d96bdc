/* The transaction that builds a container, shared by create and restore. */
#ifndef TIERCE_ENGINE_CREATE_H
#define TIERCE_ENGINE_CREATE_H

#include "engine/engine.h"

struct transaction {
	const struct create_options *o;
	/* How the processes come to be; NULL: the tier's create(). */
	int (*build)(struct transaction *t, struct err *e);
	void *arg;
	struct ctr *c;
	struct strbuf config;    /* the bytes of config.json */
	struct tier_stdio stdio;
	struct tier_create_options tier;
	int console, pidfd_socket, terminal, root_fd;
	/* what is to be undone */
	bool undo;               /* the directory is ours */
	bool cgroup_made;
	bool poststop;           /* hooks have begun */
};

int transaction_run(struct engine *eng, struct transaction *t, struct created *ret, struct err *e) MUST_CHECK;

#endif
