/* SQL helpers, shared by the files of the store that ask the index. Callers hold the store's mutex. */
#ifndef TIERCE_STORE_INDEX_H
#define TIERCE_STORE_INDEX_H

#include <sqlite3.h>

#include "store/store.h"

int index_error(struct store *s, struct err *e);
int index_exec(struct store *s, const char *sql, struct err *e);
/* Prepares sql with arguments by letters: s (const char *, NULL allowed), i (int64_t). */
int index_query(struct store *s, sqlite3_stmt **ret, struct err *e, const char *sql, const char *types, ...);
int index_step(struct store *s, sqlite3_stmt *st, struct err *e); /* 1 row, 0 done */
int index_run(struct store *s, sqlite3_stmt *st, struct err *e);  /* one step, then finalized: 0 */
void index_text(sqlite3_stmt *st, int col, char *to, size_t size);


/* Removes a file or a tree below dirfd. */
int store_remove_tree(int dirfd, const char *name);
int index_lease(struct store *s, const char *what, struct err *e); /* lease of anything by its digest */

#endif
