/* ELF segments by their physical addresses, and PVH's start-of-day structures (xen/include/public/arch-x86/hvm/start_info.h; Documentation/arch/x86/pvh). */
#include "tier/vm/builtin/loader.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tier/vm/boot/kernel.h"
#include "tier/vm/builtin/layout.h"
#include "tier/vm/builtin/ram.h"

#define PVH_MAGIC 0x336ec578u
enum { TYPE_RAM = 1, TYPE_RESERVED = 2, MAP_ENTRIES = 4 };

struct pvh_start_info { uint32_t magic, version, flags, nr_modules; uint64_t modlist, cmdline, rsdp, memmap; uint32_t memmap_entries, reserved; };
struct pvh_module { uint64_t at, size, cmdline, reserved; };
struct pvh_range { uint64_t at, size; uint32_t type, reserved; };
_Static_assert(sizeof(struct pvh_start_info) == 56 && sizeof(struct pvh_module) == 32 && sizeof(struct pvh_range) == 24, "PVH's structures");

struct image { const uint8_t *p; size_t n; };
static void image_unmap(struct image *i)
{
	if (i->p)
		munmap((void *)(uintptr_t)i->p, i->n);
}

static int file_size(int fd, uint64_t max, const char *what, uint64_t *ret, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "%s", what);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > max)
		return err_set(e, EFBIG, "%s: not a file of 1 to %llu bytes", what, (unsigned long long)max);
	*ret = (uint64_t)st.st_size;
	return 0;
}

/* kernel_elf_parse() has checked the headers against the file's size. */
static int load_segments(const struct guest_mem *m, const struct image *k, int fd, uint64_t *ret_end, struct err *e)
{
	Elf64_Ehdr h;
	memcpy(&h, k->p, sizeof h);
	for (unsigned i = 0; i < h.e_phnum; i++) {
		Elf64_Phdr ph;
		memcpy(&ph, k->p + h.e_phoff + i * sizeof ph, sizeof ph);
		if (ph.p_type != PT_LOAD || !ph.p_memsz)
			continue;
		if (ph.p_paddr < HIGH_RAM || !guest_ptr(m, ph.p_paddr, ph.p_memsz))
			return err_set(e, ENOSPC, "kernel: segment %u (%llu bytes at %#llx) does not fit into guest memory", i, (unsigned long long)ph.p_memsz,
				(unsigned long long)ph.p_paddr);
		int r = ram_load(m, ph.p_paddr, fd, ph.p_offset, ph.p_filesz, e);
		if (r < 0)
			return err_wrap(e, r, "kernel: segment %u", i);
		*ret_end = MAX(*ret_end, (uint64_t)(ph.p_paddr + ph.p_memsz));
	}
	return 0;
}

static int load_kernel(const struct guest_mem *m, int fd, uint64_t *ret_entry, uint64_t *ret_end, struct err *e)
{
	__attribute__((cleanup(image_unmap))) struct image k = { NULL, 0 };
	struct kernel_elf elf;
	uint64_t n = 0;
	int r = file_size(fd, KERNEL_MAX, "kernel", &n, e);
	if (r < 0)
		return r;
	void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_sys(e, errno, "map the kernel");
	k = (struct image){ p, n };
	r = kernel_elf_parse(k.p, k.n, &elf, e);
	if (r < 0)
		return r;
	if (!elf.pvh_entry)
		return err_set(e, EOPNOTSUPP, "kernel: no PVH entry point (CONFIG_PVH)");
	r = load_segments(m, &k, fd, ret_end, e);
	if (r >= 0 && !guest_ptr(m, elf.pvh_entry, 1))
		r = err_set(e, EBADMSG, "kernel: its entry point lies outside of guest memory");
	*ret_entry = elf.pvh_entry;
	return r;
}

/* At the end of low memory, out of the kernel's way. */
static int load_initrd(const struct guest_mem *m, int fd, uint64_t kernel_end, struct pvh_module *ret, struct err *e)
{
	uint64_t n = 0;
	int r = file_size(fd, m->region[0].size, "initrd", &n, e);
	if (r < 0)
		return r;
	uint64_t at = (m->region[0].size - n) & ~(GUEST_PAGE - 1);
	if (at < kernel_end)
		return err_set(e, ENOSPC, "initrd: no room for %llu bytes behind the kernel", (unsigned long long)n);
	*ret = (struct pvh_module){ .at = at, .size = n };
	return ram_load(m, at, fd, 0, n, e);
}

static int write_map(const struct guest_mem *m, uint32_t *ret_n)
{
	const struct guest_region *high = m->n > 1 ? &m->region[1] : NULL;
	struct pvh_range v[MAP_ENTRIES] = { { 0, LOW_RAM_END, TYPE_RAM, 0 }, { ACPI_TABLES, ACPI_TABLES_END - ACPI_TABLES, TYPE_RESERVED, 0 },
		{ HIGH_RAM, m->region[0].size - HIGH_RAM, TYPE_RAM, 0 } };
	*ret_n = 3;
	if (high)
		v[(*ret_n)++] = (struct pvh_range){ high->gpa, high->size, TYPE_RAM, 0 };
	return guest_write(m, MEMORY_MAP, v, *ret_n * sizeof *v);
}

int loader_boot(const struct guest_mem *m, int kernel, int initrd, const char *cmdline, uint64_t rsdp, struct boot_entry *ret, struct err *e)
{
	struct pvh_start_info s = { .magic = PVH_MAGIC, .version = 1, .cmdline = COMMAND_LINE, .rsdp = rsdp, .memmap = MEMORY_MAP };
	struct pvh_module module;
	uint64_t entry = 0, end = 0;
	size_t len = strlen(cmdline) + 1;
	if (len > COMMAND_LINE_MAX)
		return err_set(e, E2BIG, "kernel parameters: longer than %u bytes", COMMAND_LINE_MAX - 1);
	int r = load_kernel(m, kernel, &entry, &end, e);
	if (r < 0)
		return r;
	if (initrd >= 0) {
		r = load_initrd(m, initrd, end, &module, e);
		if (r < 0)
			return r;
		s.nr_modules = 1;
		s.modlist = MODULE_LIST;
		r = guest_write(m, MODULE_LIST, &module, sizeof module);
	}
	if (r < 0 || write_map(m, &s.memmap_entries) < 0 || guest_write(m, COMMAND_LINE, cmdline, len) < 0 || guest_write(m, START_INFO, &s, sizeof s) < 0)
		return err_set(e, ENOSPC, "guest memory is too small");
	*ret = (struct boot_entry){ entry, START_INFO };
	return 0;
}
