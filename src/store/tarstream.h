/* A producer that writes into a pipe, as the source of a layer: for commit, and for archives that we make ourselves. */
#ifndef TIERCE_STORE_TARSTREAM_H
#define TIERCE_STORE_TARSTREAM_H

#include "store/layer.h"

struct tarstream {
	int (*write)(void *ctx, int out, struct err *e); /* runs in a thread of its own */
	void *ctx;
	/* private */
	pthread_t thread;
	int in, out, result;
	struct err err;
	uint8_t *buf;
	bool joined;
};

/* open and close of a struct layer_input; ctx is the struct tarstream. */
int tarstream_open(void *ctx, struct layer_source *src, struct err *e);
void tarstream_close(void *ctx, bool failed);

#endif
