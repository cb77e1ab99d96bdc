/* Extended attributes of in-memory inodes: a list. */
#include "tier/sentry/fs/xattrs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

static struct xattr **find(const struct xattrs *x, const char *name)
{
	struct xattr **p = (struct xattr **)(size_t)&x->first;
	while (*p && strcmp((*p)->name, name) != 0)
		p = &(*p)->next;
	return p;
}

ssize_t xattrs_get(const struct xattrs *x, const char *name, void *buf, size_t size)
{
	const struct xattr *a = *find(x, name);
	if (!a)
		return -ENODATA;
	if (size && size < a->size)
		return -ERANGE;
	if (size && a->size)
		memcpy(buf, a->value, a->size);
	return (ssize_t)a->size;
}

int xattrs_remove(struct xattrs *x, const char *name)
{
	struct xattr **p = find(x, name), *a = *p;
	if (!a)
		return -ENODATA;
	*p = a->next;
	x->total -= a->size + strlen(a->name);
	free(a->name);
	free(a->value);
	free(a);
	return 0;
}

int xattrs_set(struct xattrs *x, const char *name, const void *buf, size_t size, int flags)
{
	const struct xattr *old = *find(x, name);
	if (old && (flags & XATTR_CREATE))
		return -EEXIST;
	if (!old && (flags & XATTR_REPLACE))
		return -ENODATA;
	if (x->total + size + strlen(name) > XATTRS_MAX)
		return -ENOSPC;
	struct xattr *a = calloc(1, sizeof(*a));
	if (!a || !(a->name = strdup(name)) || !(a->value = malloc(size ? size : 1))) {
		if (a)
			free(a->name);
		free(a);
		return -ENOMEM;
	}
	if (size)
		memcpy(a->value, buf, size);
	a->size = size;
	if (old)
		xattrs_remove(x, name);
	a->next = x->first;
	x->first = a;
	x->total += size + strlen(name);
	return 0;
}

ssize_t xattrs_list(const struct xattrs *x, char *buf, size_t size)
{
	size_t n = 0;
	for (const struct xattr *a = x->first; a; a = a->next) {
		size_t k = strlen(a->name) + 1;
		if (size) {
			if (n + k > size)
				return -ERANGE;
			memcpy(buf + n, a->name, k);
		}
		n += k;
	}
	return (ssize_t)n;
}

void xattrs_free(struct xattrs *x)
{
	while (x->first)
		xattrs_remove(x, x->first->name);
}
