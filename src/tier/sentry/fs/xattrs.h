/* Extended attributes of in-memory inodes. */
#ifndef TIERCE_SENTRY_XATTRS_H
#define TIERCE_SENTRY_XATTRS_H

#include <stddef.h>
#include <sys/types.h>

struct xattr { struct xattr *next; size_t size; char *name, *value; };
struct xattrs { struct xattr *first; size_t total; };
enum { XATTRS_MAX = 65536 /* bytes per inode: as ext4's block bound, so that a loop cannot fill the sentry */ };
ssize_t xattrs_get(const struct xattrs *x, const char *name, void *buf, size_t size);
int xattrs_set(struct xattrs *x, const char *name, const void *buf, size_t size, int flags);
ssize_t xattrs_list(const struct xattrs *x, char *buf, size_t size);
int xattrs_remove(struct xattrs *x, const char *name);
void xattrs_free(struct xattrs *x);

#endif
