/* Bump allocator: everything that a parsed document owns is released in one call. */
#ifndef TIERCE_BASE_ARENA_H
#define TIERCE_BASE_ARENA_H

#include "base/macro.h"

struct arena_block;
struct arena {
	struct arena_block *head;
};

#define ARENA_INIT { NULL }
#define _cleanup_arena_ CLEANUP(arena_free)

/* Zeroed memory aligned for any type, or NULL when memory runs out. size 0 yields a valid pointer. */
void *arena_alloc(struct arena *a, size_t size);
/* Zeroed array; NULL on overflow or lack of memory. */
void *arena_calloc(struct arena *a, size_t n, size_t size);
/* Copy of n bytes of s with a NUL behind them; NULL when memory runs out. */
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_strdup(struct arena *a, const char *s);
/* printf into the arena; NULL when memory runs out. */
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
void arena_free(struct arena *a);

#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, n, type) ((type *)arena_calloc((a), (n), sizeof(type)))

#endif
