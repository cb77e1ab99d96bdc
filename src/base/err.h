/* Error object: a negative errno plus a message that callers wrap with context ("mount /proc: permission denied"). */
#ifndef TIERCE_BASE_ERR_H
#define TIERCE_BASE_ERR_H

#include "base/macro.h"

/*
 * Fallible functions return 0 or a positive value on success and a negative errno on failure, and fill the error
 * object that they are given. The object is a plain value: zero-initialise it (ERR_INIT), release it with err_clear()
 * or the _cleanup_err_ attribute. Every function here accepts e == NULL (the caller wants the code only).
 */
struct err {
	int code;  /* negative errno, 0 when unset */
	char *msg; /* owned; NULL when unset or when memory ran out (then err_msg() falls back to strerror) */
};

#define ERR_INIT { 0, NULL }
#define _cleanup_err_ CLEANUP(err_clear)

/* Set code and message, dropping what was there. code may be positive or negative errno. Returns the negative code. */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);
/* Like err_set() with ": <strerror(code)>" appended. */
int err_sys(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);
/* Prefix "context: " to the message that is there. Returns the code that is there (or code when nothing was set). */
int err_wrap(struct err *e, int code, const char *fmt, ...) PRINTF(3, 4);
/* Message text, never NULL; valid until e changes. */
const char *err_msg(const struct err *e);
/* Move src into dst, dropping dst's content. */
void err_move(struct err *dst, struct err *src);
void err_clear(struct err *e);

#endif
