/* Guest kernel images (Documentation/arch/x86/boot.rst; PVH: xen/include/public/elfnote.h). */
#include "tier/vm/boot/kernel.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "tier/vm/boot/lz4.h"

enum {
	SETUP_SECTS = 0x1f1, HEADER_MAGIC = 0x202, PAYLOAD_OFFSET = 0x248, PAYLOAD_LENGTH = 0x24c, HEADER_END = 0x264,
	NOTE_PHYS32_ENTRY = 18,
};

static const struct { uint8_t magic[6]; uint8_t n; const char *name; } formats[] = {
	{ { 0x1f, 0x8b }, 2, "gzip" }, { { 'B', 'Z', 'h' }, 3, "bzip2" }, { { 0xfd, '7', 'z', 'X', 'Z' }, 5, "xz" },
	{ { 0x28, 0xb5, 0x2f, 0xfd }, 4, "zstd" }, { { 0x5d, 0, 0 }, 3, "lzma" }, { { 0x89, 'L', 'Z', 'O' }, 4, "lzo" },
};

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return le32toh(v);
}

bool kernel_is_bzimage(const uint8_t *p, size_t n)
{
	return n > HEADER_END && memcmp(p + HEADER_MAGIC, "HdrS", 4) == 0;
}

int kernel_from_bzimage(const uint8_t *p, size_t n, uint8_t **ret, size_t *ret_n, struct err *e)
{
	if (!kernel_is_bzimage(p, n))
		return err_set(e, EBADMSG, "not a bzImage");
	size_t sects = p[SETUP_SECTS] ? p[SETUP_SECTS] : 4;
	size_t at = (sects + 1) * 512 + le32(p + PAYLOAD_OFFSET), len = le32(p + PAYLOAD_LENGTH);
	if (at > n || len > n - at || len < 8)
		return err_set(e, EBADMSG, "bzImage: its payload (%zu bytes at %zu) lies outside of the file (%zu bytes)", len, at, n);
	const uint8_t *pay = p + at;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (memcmp(pay, formats[i].magic, formats[i].n) == 0)
			return err_set(e, EOPNOTSUPP, "bzImage: compressed with %s; only LZ4 is read here, give the vmlinux instead", formats[i].name);
	size_t size = le32(pay + len - 4); /* the build appends the length of the ELF */
	if (size < sizeof(Elf64_Ehdr) || size > KERNEL_MAX)
		return err_set(e, EBADMSG, "bzImage: its payload claims to be %zu bytes", size);
	_cleanup_free_ uint8_t *out = malloc(size);
	if (!out)
		return err_set(e, ENOMEM, "no memory for a kernel of %zu bytes", size);
	ptrdiff_t r = lz4_legacy(pay, len - 4, out, size);
	if (r < 0 || (size_t)r != size)
		return err_set(e, EBADMSG, "bzImage: its LZ4 payload is damaged");
	*ret = TAKE(out);
	*ret_n = size;
	return 0;
}

/* Walk the notes of one PT_NOTE segment for the PVH entry point. */
static uint32_t pvh_of_notes(const uint8_t *p, size_t n)
{
	size_t at = 0;
	while (n - at >= 12) {
		size_t name = le32(p + at), desc = le32(p + at + 4), type = le32(p + at + 8);
		size_t name_at = at + 12, left = n - name_at;
		if (name > left || desc > left)
			return 0;
		size_t desc_at = name_at + ((name + 3) & ~(size_t)3);
		if (desc_at > n || desc > n - desc_at)
			return 0;
		if (type == NOTE_PHYS32_ENTRY && name == 4 && memcmp(p + name_at, "Xen", 4) == 0 && desc >= 4)
			return le32(p + desc_at);
		at = desc_at + ((desc + 3) & ~(size_t)3);
		if (at > n)
			return 0;
	}
	return 0;
}

int kernel_elf_parse(const uint8_t *p, size_t n, struct kernel_elf *ret, struct err *e)
{
	Elf64_Ehdr h;
	if (n < sizeof h || memcmp(p, ELFMAG, SELFMAG) != 0)
		return err_set(e, EBADMSG, "not an ELF kernel");
	memcpy(&h, p, sizeof h);
	if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB)
		return err_set(e, EBADMSG, "kernel: not a 64-bit little-endian ELF");
	if (h.e_phentsize != sizeof(Elf64_Phdr) || !h.e_phnum || h.e_phoff > n || (size_t)h.e_phnum * sizeof(Elf64_Phdr) > n - h.e_phoff)
		return err_set(e, EBADMSG, "kernel: program headers lie outside of the file");
	struct kernel_elf k = { .entry = h.e_entry, .is_64 = true };
	for (unsigned i = 0; i < h.e_phnum; i++) {
		Elf64_Phdr ph;
		memcpy(&ph, p + h.e_phoff + i * sizeof ph, sizeof ph);
		if (ph.p_type != PT_LOAD && ph.p_type != PT_NOTE)
			continue;
		if (ph.p_offset > n || ph.p_filesz > n - ph.p_offset || (ph.p_type == PT_LOAD && ph.p_filesz > ph.p_memsz))
			return err_set(e, EBADMSG, "kernel: segment %u lies outside of the file", i);
		if (ph.p_type == PT_NOTE && !k.pvh_entry)
			k.pvh_entry = pvh_of_notes(p + ph.p_offset, ph.p_filesz);
	}
	*ret = k;
	return 0;
}
