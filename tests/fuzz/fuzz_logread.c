/* Logs of containers as `logs` reads them. First byte: how many lines are wanted. */
#include <string.h>

#include "cmd/tierce/people/logread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct log_record r;
	if (size < 1)
		return 0;
	const char *s = (const char *)data + 1;
	size_t n = size - 1, at = log_tail_offset(s, n, data[0]);
	if (at > n || (at && at < n && s[at - 1] != '\n'))
		__builtin_trap();
	for (const char *nl; (nl = memchr(s, '\n', n)); n -= (size_t)(nl + 1 - s), s = nl + 1)
		if (log_record_parse(s, (size_t)(nl - s), &r) && (r.text < s || r.text + r.len != nl))
			__builtin_trap();
	return 0;
}
