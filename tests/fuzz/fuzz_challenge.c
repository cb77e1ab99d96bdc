/* WWW-Authenticate headers. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "store/auth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static struct challenge c[CHALLENGES_MAX];
	char *s = strndup((const char *)data, size);
	if (s && challenge_parse(s, c, CHALLENGES_MAX, NULL) > CHALLENGES_MAX)
		__builtin_trap();
	free(s);
	return 0;
}
