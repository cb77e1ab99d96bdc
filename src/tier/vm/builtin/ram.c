/* Mappings of guest memory. */
#include "tier/vm/builtin/ram.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tier/vm/builtin/layout.h"

enum { FILE_ALIGN = 2 << 20 /* as Linux' driver of persistent memory wants it */ };

int ram_map(uint64_t size, int fd, struct guest_mem *ret, struct err *e)
{
	struct stat st;
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size))
		return err_set(e, EBADMSG, "memory file: not a file of %llu bytes", (unsigned long long)size);
	uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | (fd < 0 ? MAP_ANONYMOUS : 0), fd < 0 ? -1 : fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, errno, "guest memory of %llu MiB", (unsigned long long)(size >> 20));
	/* A crash must not write the guest's secrets into a core file, nor may a child get a copy. */
	madvise(p, size, MADV_DONTDUMP);
	madvise(p, size, MADV_DONTFORK);
	uint64_t low = MIN(size, HOLE);
	*ret = (struct guest_mem){ .region = { { 0, low, p }, { ABOVE_HOLE, size - low, p + low } }, .n = size > low ? 2 : 1 };
	return 0;
}

int ram_map_file(const struct guest_mem *m, int fd, bool writable, uint64_t *ret_gpa, uint64_t *ret_size, uint8_t **ret, struct err *e)
{
	const struct guest_region *last = &m->region[m->n - 1];
	uint64_t end = MAX(last->gpa + last->size, ABOVE_HOLE);
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size % FILE_ALIGN)
		return err_set(e, EINVAL, "not a file of whole 2 MiB");
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, (writable ? MAP_SHARED : MAP_PRIVATE) | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, errno, "map the file");
	madvise(p, (size_t)st.st_size, MADV_DONTDUMP);
	madvise(p, (size_t)st.st_size, MADV_DONTFORK);
	*ret_gpa = (end + FILE_ALIGN - 1) & ~((uint64_t)FILE_ALIGN - 1);
	*ret_size = (uint64_t)st.st_size;
	*ret = p;
	return 0;
}

int ram_load(const struct guest_mem *m, uint64_t gpa, int fd, uint64_t offset, uint64_t len, struct err *e)
{
	if (!len)
		return 0;
	uint8_t *to = guest_ptr(m, gpa, len);
	if (!to)
		return err_set(e, ENOSPC, "%llu bytes at %#llx do not fit into guest memory", (unsigned long long)len, (unsigned long long)gpa);
	uint64_t whole = (gpa | offset) % GUEST_PAGE ? 0 : len & ~(GUEST_PAGE - 1);
	if (whole && mmap(to, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, (off_t)offset) == MAP_FAILED)
		return err_sys(e, errno, "map into guest memory");
	if (whole)
		madvise(to, whole, MADV_DONTFORK);
	while (whole < len) {
		ssize_t n = pread(fd, to + whole, len - whole, (off_t)(offset + whole));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_sys(e, n < 0 ? errno : ENODATA, "read into guest memory");
		whole += (uint64_t)n;
	}
	return 0;
}

static bool is_zero(const uint8_t *p)
{
	const uint64_t *w = (const void *)p;
	uint64_t any = 0;
	for (size_t i = 0; i < GUEST_PAGE / sizeof *w; i += 8) {
		any = w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] | w[i + 7];
		if (any)
			return false;
	}
	return true;
}

int ram_save(const struct guest_mem *m, int fd, struct err *e)
{
	uint64_t size = 0;
	struct stat st;
	for (size_t i = 0; i < m->n; i++)
		size += m->region[i].size;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return err_set(e, EBADMSG, "memory file: not a file of %llu bytes", (unsigned long long)size);
	/* By a mapping: the jail's limit on file sizes forbids write(2). */
	uint8_t *out = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (out == MAP_FAILED)
		return err_sys(e, errno, "map the memory file");
	const uint8_t *in = m->region[0].host;
	for (uint64_t at = 0; at < size; at += GUEST_PAGE)
		if (!is_zero(in + at))
			memcpy(out + at, in + at, GUEST_PAGE);
	return munmap(out, size) < 0 ? err_sys(e, errno, "memory file") : 0;
}
