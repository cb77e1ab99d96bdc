/* The pattern matcher of --regex: pattern, zero byte, text. It must end, and agree with itself about anchors. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/oci/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	char *s = malloc(size + 2);
	if (!s)
		return 0;
	memcpy(s, data, size);
	s[size] = s[size + 1] = 0;
	const char *text = s + strlen(s) + 1;
	if ((size_t)(text - s) > size)
		text = "";
	if (match_check(s) == 0)
		(void)match(s, text);
	free(s);
	return 0;
}
