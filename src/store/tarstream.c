/* See tarstream.h. */
#include "store/tarstream.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

enum { BUF = 256 * 1024 };

static void *producer(void *ctx) {
	struct tarstream *t = ctx;
	t->result = t->write(t->ctx, t->out, &t->err);
	close(t->out);
	return NULL;
}

static ssize_t fill(void *ctx, const uint8_t **ret, struct err *e) {
	struct tarstream *t = ctx;
	ssize_t n;
	do
		n = read(t->in, t->buf, BUF);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, errno, "read archive");
	*ret = t->buf;
	if (n == 0 && !t->joined) {
		pthread_join(t->thread, NULL);
		t->joined = true;
		if (t->result < 0)
			return err_set(e, t->result, "%s", err_msg(&t->err));
	}
	return n;
}

int tarstream_open(void *ctx, struct layer_source *src, struct err *e) {
	struct tarstream *t = ctx;
	int p[2];
	/* The reader may go away early: the writer then gets EPIPE instead of a signal. */
	signal(SIGPIPE, SIG_IGN);
	t->buf = malloc(BUF);
	if (!t->buf)
		return err_set(e, ENOMEM, "out of memory");
	if (pipe2(p, O_CLOEXEC) < 0) {
		free(t->buf);
		return err_sys(e, errno, "pipe");
	}
	fcntl(p[0], F_SETPIPE_SZ, 1024 * 1024);
	t->in = p[0];
	t->out = p[1];
	t->joined = false;
	if (pthread_create(&t->thread, NULL, producer, t) != 0) {
		close(p[0]);
		close(p[1]);
		free(t->buf);
		return err_set(e, EAGAIN, "no thread");
	}
	*src = (struct layer_source){ .fill = fill, .ctx = t };
	return 0;
}

void tarstream_close(void *ctx, bool failed) {
	struct tarstream *t = ctx;
	(void)failed;
	close(t->in);
	if (!t->joined)
		pthread_join(t->thread, NULL);
	err_clear(&t->err);
	free(t->buf);
}
