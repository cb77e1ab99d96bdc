/* Guest kernel images: bzImage, LZ4, ELF notes, modules. */
#include <stdlib.h>

#include "tier/vm/boot/kernel.h"
#include "tier/vm/boot/lz4.h"
#include "tier/vm/boot/modules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[65536];
	struct err e = ERR_INIT;
	struct kernel_elf k;
	uint8_t *p = NULL;
	size_t n;
	(void)!kernel_elf_parse(data, size, &k, &e);
	(void)!lz4_block(data, size, out, sizeof out);
	(void)!lz4_legacy(data, size, out, sizeof out);
	if (size > 0x264 && size < 65536 && kernel_from_bzimage(data, size, &p, &n, &e) == 0)
		free(p);
	(void)module_info(data, size, "depends");
	err_clear(&e);
	return 0;
}
