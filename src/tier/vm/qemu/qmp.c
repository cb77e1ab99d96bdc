/* QMP client. */
#include "tier/vm/qemu/qmp.h"

#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "sys/fd.h"

void qmp_close(struct qmp *q)
{
	if (q->fd >= 0)
		close(q->fd);
	q->fd = -EBADF;
	strbuf_free(&q->in);
}

static int64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Next line as a document. */
static int next(struct qmp *q, struct arena *a, int64_t until, struct json **ret, struct err *e)
{
	for (;;) {
		char buf[4096], *nl = q->in.len ? memchr(q->in.s, '\n', q->in.len) : NULL;
		if (nl) {
			size_t n = (size_t)(nl - q->in.s);
			int r = json_parse(a, q->in.s, n, ret, e);
			memmove(q->in.s, nl + 1, q->in.len - n - 1);
			q->in.len -= n + 1;
			return r < 0 ? err_wrap(e, r, "qemu's answer") : 0;
		}
		if (q->in.len > QMP_LINE_MAX)
			return err_set(e, EMSGSIZE, "qemu's answer is longer than %d bytes", QMP_LINE_MAX);
		int64_t left = until - now_ms();
		struct pollfd p = { q->fd, POLLIN, 0 };
		int r = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (r < 0 && errno == EINTR)
			continue;
		if (r == 0)
			return err_set(e, ETIMEDOUT, "qemu does not answer");
		ssize_t n = read(q->fd, buf, sizeof buf);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, ECONNRESET, "qemu ended");
		if (strbuf_add(&q->in, buf, (size_t)n) < 0)
			return err_set(e, ENOMEM, "qemu's answer");
	}
}

int qmp_call(struct qmp *q, struct arena *a, const char *command, const char *args, int timeout_ms, struct json **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int64_t until = now_ms() + timeout_ms;
	strbuf_printf(&b, "{\"execute\":\"%s\"%s%s}\n", command, args ? ",\"arguments\":" : "", args ? args : "");
	int r = b.failed ? -ENOMEM : fd_write_all(q->fd, b.s, b.len);
	if (r < 0)
		return err_sys(e, r, "qemu: %s", command);
	for (;;) {
		struct json *doc;
		r = next(q, a, until, &doc, e);
		if (r < 0)
			return err_wrap(e, r, "%s", command);
		struct json *error = json_get(doc, "error"), *value = json_get(doc, "return");
		if (error)
			return err_set(e, EIO, "qemu: %s: %s", command, json_str(error, "desc", "no reason given"));
		if (value) {
			if (ret)
				*ret = value;
			return 0;
		}
	}
}

int qmp_open(struct qmp *q, int fd, int timeout_ms, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *greeting;
	q->fd = fd;
	int r = next(q, &a, now_ms() + timeout_ms, &greeting, e);
	if (r < 0)
		return err_wrap(e, r, "qemu did not greet");
	return qmp_call(q, &a, "qmp_capabilities", NULL, timeout_ms, NULL, e);
}
