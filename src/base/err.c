/* Error object: see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int negative(int code) {
	if (code == 0)
		code = EINVAL;
	return code > 0 ? -code : code;
}

static void replace(struct err *e, int code, char *msg) {
	free(e->msg);
	e->msg = msg;
	e->code = code;
}

int err_set(struct err *e, int code, const char *fmt, ...) {
	code = negative(code);
	if (!e)
		return code;
	va_list ap;
	char *msg = NULL;
	va_start(ap, fmt);
	if (vasprintf(&msg, fmt, ap) < 0)
		msg = NULL;
	va_end(ap);
	replace(e, code, msg);
	return code;
}

int err_sys(struct err *e, int code, const char *fmt, ...) {
	code = negative(code);
	if (!e)
		return code;
	va_list ap;
	char *what = NULL, *msg = NULL;
	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		what = NULL;
	va_end(ap);
	if (what && asprintf(&msg, "%s: %s", what, strerrordesc_np(-code) ?: "unknown error") < 0)
		msg = NULL;
	if (msg && strerrordesc_np(-code)) {
		/* errno texts in the lower-case form that Go's runtimes print and that engines match on. */
		char *s = msg + strlen(what) + 2;
		if (s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'a' && s[1] <= 'z')
			s[0] += 'a' - 'A';
	}
	free(what);
	replace(e, code, msg);
	return code;
}

int err_wrap(struct err *e, int code, const char *fmt, ...) {
	code = negative(code);
	if (!e)
		return code;
	if (e->code == 0)
		e->code = code;
	va_list ap;
	char *what = NULL, *msg = NULL;
	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		what = NULL;
	va_end(ap);
	if (what && asprintf(&msg, "%s: %s", what, err_msg(e)) < 0)
		msg = NULL;
	free(what);
	if (msg)
		replace(e, e->code, msg);
	return e->code;
}

const char *err_msg(const struct err *e) {
	if (!e)
		return "unknown error";
	if (e->msg)
		return e->msg;
	const char *s = strerrordesc_np(e->code < 0 ? -e->code : e->code);
	return s ? s : "unknown error";
}

void err_move(struct err *dst, struct err *src) {
	if (!dst) {
		err_clear(src);
		return;
	}
	free(dst->msg);
	*dst = *src;
	*src = (struct err)ERR_INIT;
}

void err_clear(struct err *e) {
	if (!e)
		return;
	free(e->msg);
	*e = (struct err)ERR_INIT;
}

void cleanup_close(const int *fd) {
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}
