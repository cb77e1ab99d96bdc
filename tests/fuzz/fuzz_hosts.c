/* hosts.toml files. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "store/hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct endpoints eps = { .n = 0 };
	char *s = strndup((const char *)data, size);
	if (s && hosts_toml_parse(s, "/etc/x", "example.org", &eps, NULL) < -100000)
		__builtin_trap();
	endpoints_free(&eps);
	free(s);
	return 0;
}
