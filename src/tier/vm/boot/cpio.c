/* cpio newc writer. */
#include "tier/vm/boot/cpio.h"

#include <errno.h>
#include <limits.h>
#include <sys/sysmacros.h>

static int pad(struct strbuf *out)
{
	static const char zero[4];
	return strbuf_add(out, zero, -out->len & 3);
}

int cpio_add(struct strbuf *out, const char *path, mode_t mode, dev_t dev, const void *data, size_t n)
{
	size_t name = strlen(path) + 1;
	if (name > PATH_MAX)
		return -ENAMETOOLONG;
	if (n > UINT32_MAX)
		return -EFBIG;
	/* magic ino mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check */
	strbuf_printf(out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 0u, (unsigned)mode, 0u, 0u, 1u, 0u, (unsigned)n,
		0u, 0u, major(dev), minor(dev), (unsigned)name, 0u);
	strbuf_add(out, path, name);
	pad(out);
	if (n)
		strbuf_add(out, data, n);
	pad(out);
	return out->failed ? -ENOMEM : 0;
}

int cpio_end(struct strbuf *out)
{
	return cpio_add(out, "TRAILER!!!", 0, 0, NULL, 0);
}
