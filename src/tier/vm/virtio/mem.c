/* The door to guest memory. */
#include "tier/vm/virtio/mem.h"

#include <errno.h>
#include <string.h>

void *guest_ptr(const struct guest_mem *m, uint64_t gpa, uint64_t len)
{
	if (!len)
		return NULL;
	for (size_t i = 0; i < m->n; i++) {
		const struct guest_region *r = &m->region[i];
		/* Subtractions only: gpa + len may wrap. */
		if (gpa >= r->gpa && gpa - r->gpa < r->size && len <= r->size - (gpa - r->gpa))
			return r->host + (gpa - r->gpa);
	}
	return NULL;
}

int guest_read(const struct guest_mem *m, uint64_t gpa, void *dst, size_t len)
{
	const void *p = guest_ptr(m, gpa, len);
	if (!p)
		return len ? -EFAULT : 0;
	memcpy(dst, p, len);
	return 0;
}

int guest_write(const struct guest_mem *m, uint64_t gpa, const void *src, size_t len)
{
	void *p = guest_ptr(m, gpa, len);
	if (!p)
		return len ? -EFAULT : 0;
	memcpy(p, src, len);
	return 0;
}
