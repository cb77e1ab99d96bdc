/* auth.json and config.json: credentials of registries. No helper is found: PATH is empty. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static int fd = -1;
	char path[40];
	_cleanup_err_ struct err e = ERR_INIT;
	struct creds c = { 0 };
	if (fd < 0) {
		setenv("PATH", "/nonexistent", 1);
		fd = memfd_create("auth", MFD_CLOEXEC);
	}
	if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	(void)!creds_find(path, "registry.example:5000", "team/app", &c, &e);
	creds_free(&c);
	return 0;
}
