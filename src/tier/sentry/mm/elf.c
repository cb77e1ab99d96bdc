/* ELF64 loader: validate the headers as a whole, then map. */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "tier/sentry/gate/host.h"
#include "tier/sentry/mm/mm.h"
#include "tier/sentry/vfs/vfs.h"

enum { PHDRS_MAX = 65536 / sizeof(Elf64_Phdr) /* as Linux: headers of at most 64 KiB */ };
struct headers { Elf64_Ehdr eh; Elf64_Phdr *ph; };

static void headers_free(struct headers *h) { free(h->ph); }

static int read_headers(struct task *t, struct file *f, struct headers *h)
{
	Elf64_Ehdr *eh = &h->eh;
	h->ph = NULL;
	ssize_t n = file_pread_kernel(t, f, eh, sizeof(*eh), 0);
	if (n < 0)
		return (int)n;
	if (n < EI_NIDENT || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	if (eh->e_ident[EI_CLASS] == ELFCLASS32) {
		klog("refused: 32-bit program (the sentry runs x86-64 only)");
		return -ENOEXEC;
	}
	if (n != sizeof(*eh) || eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB || eh->e_machine != EM_X86_64)
		return -ENOEXEC;
	if ((eh->e_type != ET_EXEC && eh->e_type != ET_DYN) || eh->e_phentsize != sizeof(Elf64_Phdr) || !eh->e_phnum || eh->e_phnum > PHDRS_MAX)
		return -ENOEXEC;
	size_t size = eh->e_phnum * sizeof(Elf64_Phdr);
	if (!(h->ph = malloc(size)))
		return -ENOMEM;
	if (file_pread_kernel(t, f, h->ph, size, (int64_t)eh->e_phoff) != (ssize_t)size)
		return -ENOEXEC;
	for (unsigned i = 0; i < eh->e_phnum; i++) {
		const Elf64_Phdr *p = &h->ph[i];
		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_filesz > p->p_memsz || p->p_vaddr + p->p_memsz < p->p_vaddr || p->p_vaddr + p->p_memsz > gate_layout.task_size ||
		    (p->p_offset ^ p->p_vaddr) % PAGE_SIZE_ || p->p_offset + p->p_filesz < p->p_offset)
			return -ENOEXEC;
	}
	return 0;
}

int elf_check(struct task *t, struct file *f, char **ret_interp)
{
	CLEANUP(headers_free) struct headers h = { 0 };
	int rc = read_headers(t, f, &h);
	*ret_interp = NULL;
	if (rc)
		return rc;
	for (unsigned i = 0; i < h.eh.e_phnum; i++) {
		const Elf64_Phdr *p = &h.ph[i];
		if (p->p_type != PT_INTERP)
			continue;
		if (p->p_filesz < 2 || p->p_filesz > PATH_MAX_)
			return -ENOEXEC;
		char *s = malloc(p->p_filesz);
		if (!s)
			return -ENOMEM;
		if (file_pread_kernel(t, f, s, p->p_filesz, (int64_t)p->p_offset) != (ssize_t)p->p_filesz || s[p->p_filesz - 1]) {
			free(s);
			return -ENOEXEC;
		}
		*ret_interp = s;
		return 0;
	}
	return 0;
}

static int map_segment(struct task *t, struct file *f, const Elf64_Phdr *p, uint64_t bias)
{
	int prot = (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) | (p->p_flags & PF_X ? PROT_EXEC : 0);
	uint64_t start = PAGE_DOWN(p->p_vaddr) + bias, file_end = p->p_vaddr + p->p_filesz + bias, mem_end = p->p_vaddr + p->p_memsz + bias;
	uint64_t map_end = PAGE_UP(file_end), off = PAGE_DOWN(p->p_offset);
	if (mm_range_reserved(start, PAGE_UP(mem_end) - start))
		return -ENOMEM;
	if (p->p_filesz) {
		long r = mm_map(t, start, map_end - start, prot, MAP_PRIVATE | MAP_FIXED, f, off);
		if (r == -ENODEV || r == -EPERM) { /* no host fd to map, or a noexec host mount: a private copy does */
			r = mm_map(t, start, map_end - start, prot | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, NULL, 0);
			char *buf = task_buf(t);
			for (uint64_t done = 0; r > 0 && buf && done < file_end - start;) {
				ssize_t n = file_pread_kernel(t, f, buf, MIN(file_end - start - done, (uint64_t)TASK_BUF), (int64_t)(off + done));
				if (n <= 0 || copyout(t, start + done, buf, (size_t)n) < 0)
					return -EIO;
				done += (uint64_t)n;
			}
		}
		if (r < 0)
			return (int)r;
	}
	if (mem_end > file_end && p->p_filesz && file_end % PAGE_SIZE_ && (prot & PROT_WRITE)) {
		int rc = zero_user(t, file_end, map_end - file_end);
		if (rc)
			return rc;
	}
	if (PAGE_UP(mem_end) > map_end || !p->p_filesz) {
		uint64_t from = p->p_filesz ? map_end : start;
		if (PAGE_UP(mem_end) > from) {
			long r = mm_map(t, from, PAGE_UP(mem_end) - from, prot, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, NULL, 0);
			if (r < 0)
				return (int)r;
		}
	}
	return 0;
}

struct span { uint64_t lo, hi, align; };

static struct span span_of(const struct headers *h)
{
	struct span s = { ~0ull, 0, PAGE_SIZE_ };
	for (unsigned i = 0; i < h->eh.e_phnum; i++) {
		const Elf64_Phdr *p = &h->ph[i];
		if (p->p_type != PT_LOAD)
			continue;
		s.lo = MIN(s.lo, PAGE_DOWN(p->p_vaddr));
		s.hi = MAX(s.hi, PAGE_UP(p->p_vaddr + p->p_memsz));
		if (p->p_align > s.align && !(p->p_align & (p->p_align - 1)))
			s.align = p->p_align;
	}
	return s;
}

static int load(struct task *t, struct file *f, const struct headers *h, uint64_t hint, uint64_t *ret_bias, struct span *ret_span)
{
	struct span s = span_of(h);
	uint64_t bias = 0;
	if (s.hi <= s.lo)
		return -ENOEXEC;
	if (h->eh.e_type == ET_DYN) { /* one reservation keeps the segments together */
		uint64_t len = s.hi - s.lo + (s.align > PAGE_SIZE_ ? s.align : 0);
		long r = mm_map(t, hint, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (hint ? MAP_FIXED_NOREPLACE : 0), NULL, 0);
		if (r < 0 && hint)
			r = mm_map(t, 0, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, NULL, 0);
		if (r < 0)
			return (int)r;
		uint64_t base = ((uint64_t)r + s.align - 1) & ~(s.align - 1);
		bias = base - s.lo;
		if (base > (uint64_t)r)
			mm_unmap(t, (uint64_t)r, base - (uint64_t)r);
		if (base + (s.hi - s.lo) < (uint64_t)r + len)
			mm_unmap(t, base + (s.hi - s.lo), (uint64_t)r + len - base - (s.hi - s.lo));
	}
	for (unsigned i = 0; i < h->eh.e_phnum; i++) {
		if (h->ph[i].p_type != PT_LOAD || !h->ph[i].p_memsz)
			continue;
		int rc = map_segment(t, f, &h->ph[i], bias);
		if (rc)
			return rc;
	}
	*ret_bias = bias;
	s.lo += bias;
	s.hi += bias;
	*ret_span = s;
	return 0;
}

int elf_load(struct task *t, struct file *f, struct file *interp, struct elf_image *ret)
{
	CLEANUP(headers_free) struct headers h = { 0 }, ih = { 0 };
	struct span s;
	uint64_t bias, ibias, hint = 0;
	uint32_t rnd = 0;
	int rc = read_headers(t, f, &h);
	if (!rc && interp)
		rc = read_headers(t, interp, &ih);
	if (rc)
		return rc == -ENOEXEC && interp ? -ELIBBAD : rc;
	if (h.eh.e_type == ET_DYN && (interp || span_of(&h).lo == 0)) {
		if (getrandom(&rnd, sizeof(rnd), 0) != sizeof(rnd))
			return -EIO;
		if (!(t->personality & 0x40000 /* ADDR_NO_RANDOMIZE */))
			hint = (uint64_t)(rnd & 0x3fffff) * PAGE_SIZE_;
		hint += 0x555555554000ull;
	}
	if ((rc = load(t, f, &h, hint, &bias, &s)) < 0)
		return rc;
	*ret = (struct elf_image){ .entry = h.eh.e_entry + bias, .phnum = h.eh.e_phnum, .brk = s.hi, .start_code = s.lo, .end_code = s.hi };
	ret->phdr = h.eh.e_phoff + s.lo;
	for (unsigned i = 0; i < h.eh.e_phnum; i++) {
		const Elf64_Phdr *p = &h.ph[i];
		if (p->p_type == PT_PHDR)
			ret->phdr = p->p_vaddr + bias;
		else if (p->p_type == PT_LOAD && h.eh.e_phoff >= p->p_offset && h.eh.e_phoff < p->p_offset + p->p_filesz)
			ret->phdr = h.eh.e_phoff - p->p_offset + p->p_vaddr + bias;
	}
	ret->base = ret->entry;
	if (interp) {
		if ((rc = load(t, interp, &ih, 0, &ibias, &s)) < 0)
			return rc;
		ret->interp_base = ibias;
		ret->base = ih.eh.e_entry + ibias;
	}
	return 0;
}
