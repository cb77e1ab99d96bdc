/* Loaded into QEMU for clones of a template. memory-backend-file opens its file for writing even when it maps it privately (the options "readonly=on,rom=off"
 * came with QEMU 9.0, which retires this): that would let one QEMU that fell to its guest write into what every later clone starts from. The file named by
 * TIERCE_READONLY is opened read-only instead; a private mapping can be written all the same (mmap(2)). */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
EXPORT int open(const char *path, int flags, ...);
EXPORT int open64(const char *path, int flags, ...);

static int open_it(const char *path, int flags, unsigned mode)
{
	const char *only = getenv("TIERCE_READONLY");
	if (path && only && strcmp(path, only) == 0)
		flags = (flags & ~(O_ACCMODE | O_CREAT | O_TRUNC)) | O_RDONLY;
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		va_list ap; \
		va_start(ap, flags); \
		unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, unsigned) : 0; \
		va_end(ap); \
		return open_it(path, flags, mode); \
	}
OPEN(open)
OPEN(open64)

/* What the two become under -D_FORTIFY_SOURCE when no mode is given. */
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open64_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
	return open_it(path, flags, 0);
}
int __open64_2(const char *path, int flags)
{
	return open_it(path, flags, 0);
}
