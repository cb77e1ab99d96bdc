/* Image references: what is accepted must come out the same when it is parsed again. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"
#include "store/ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct ref a, b;
	char name[REF_MAX], again[REF_MAX];
	char *s = strndup((const char *)data, size);
	if (s && ref_parse(s, &a, NULL) >= 0) {
		bool digest = a.digest[0];
		ref_name(&a, digest, name);
		if (ref_parse(name, &b, NULL) < 0 || !streq(ref_name(&b, digest, again), name) || strstr(a.path, "..") || strchr(a.path, ':'))
			__builtin_trap();
	}
	free(s);
	return 0;
}
