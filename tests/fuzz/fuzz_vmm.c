/* What tierce-vmm reads of files: a kernel, a template's state. No KVM is behind it: every request fails, what is checked before is what is fuzzed. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined __x86_64__
#include "tier/vm/builtin/loader.h"
#include "tier/vm/builtin/ram.h"
#include "tier/vm/builtin/snapshot.h"

enum { MEMORY = 32 << 20 };

static int file_of(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vmm m;
	static const struct vmm_config c = { .memory = MEMORY, .cpus = 1 };
	_cleanup_err_ struct err e = ERR_INIT;
	struct guest_mem mem;
	struct boot_entry entry;
	_cleanup_close_ int fd = file_of(data, size);
	if (fd < 0 || ram_map(MEMORY, -1, &mem, &e) < 0)
		return 0;
	if (loader_boot(&mem, fd, fd, "quiet", 0, &entry, &e) == 0 && !guest_ptr(&mem, entry.rip, 1))
		__builtin_trap();
	munmap(mem.region[0].host, MEMORY);
	m.c = &c;
	m.kvm = (struct kvm)KVM_INIT;
	m.cpu[0].fd = -1;
	err_clear(&e);
	if (lseek(fd, 0, SEEK_SET) == 0 && snapshot_load(&m, fd, &e) == 0)
		__builtin_trap();
	return 0;
}
#else
#include <stddef.h>
#include <stdint.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)data;
	(void)size;
	return 0;
}
#endif
