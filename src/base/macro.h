/* Compiler attributes and ownership macros used by every room. */
#ifndef TIERCE_BASE_MACRO_H
#define TIERCE_BASE_MACRO_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define UNUSED __attribute__((unused))
#define MUST_CHECK __attribute__((warn_unused_result))
#define NORETURN __attribute__((noreturn))

#define MIN(a, b) ({ __typeof__(a) _a = (a); __typeof__(b) _b = (b); _a < _b ? _a : _b; })
#define MAX(a, b) ({ __typeof__(a) _a = (a); __typeof__(b) _b = (b); _a > _b ? _a : _b; })

/* Hand an owned pointer over: evaluates to the value and clears the variable, so that its cleanup does nothing. */
#define TAKE(p) ({ __typeof__(p) _t = (p); (p) = NULL; _t; })
/* The same for a file descriptor. */
#define TAKE_FD(fd) ({ int _f = (fd); (fd) = -EBADF; _f; })

#define CLEANUP(f) __attribute__((cleanup(f)))

static inline void cleanup_free(void *p) { free(*(void **)p); }
/* close() is never retried on EINTR: Linux releases the descriptor in every case (close(2), NOTES). Keeps errno. */
void cleanup_close(const int *fd);

#define _cleanup_free_ CLEANUP(cleanup_free)
#define _cleanup_close_ CLEANUP(cleanup_close)

#endif
