/* Pipes, inside the room. */
#ifndef TIERCE_SENTRY_PIPE_H
#define TIERCE_SENTRY_PIPE_H

#include "tier/sentry/vfs/vfs.h"

enum { PIPE_MAX = 1 << 20 /* fs.pipe-max-size: what an unprivileged F_SETPIPE_SZ may ask for */ };
struct packet_len { struct list node; size_t len; };
struct pipe {
	char *buf;              /* ring, allocated at the first write */
	size_t size, head, used;
	unsigned readers, writers, opening;
	uint64_t r_opens, w_opens;
	bool wait_writer;
	struct inode *fifo;     /* NULL: anonymous */
	struct list packets;    /* O_DIRECT packet lengths */
	struct waitq rd, wr;
};
int pipe_create(struct task *t, struct file *ret[2], unsigned flags);
struct pipe *file_pipe(struct file *f); /* NULL: no pipe */
long pipe_set_size(struct file *f, uint64_t size, bool privileged);

#endif
