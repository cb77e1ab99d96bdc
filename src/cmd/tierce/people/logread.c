/* Records of a log: see logread.h. */
#include "cmd/tierce/people/logread.h"

#include <stdio.h>
#include <string.h>

#include "base/macro.h"
#include "cmd/tierce/people/commands.h"

bool log_record_parse(const char *line, size_t n, struct log_record *ret) {
	const char *sp1 = memchr(line, ' ', n), *end = line + n;
	const char *sp2 = sp1 ? memchr(sp1 + 1, ' ', (size_t)(end - sp1 - 1)) : NULL;
	if (!sp2 || end - sp2 < 3 || sp2[2] != ' ')
		return false;
	*ret = (struct log_record){ .err = sp2 - sp1 == 7 && memcmp(sp1 + 1, "stderr", 6) == 0, .partial = sp2[1] == 'P', .text = sp2 + 3, .len = (size_t)(end - sp2 - 3) };
	snprintf(ret->stamp, sizeof(ret->stamp), "%.*s", (int)MIN((size_t)(sp1 - line), sizeof(ret->stamp) - 1), line);
	ret->when = rfc3339_seconds(ret->stamp);
	return true;
}

size_t log_tail_offset(const char *s, size_t n, int64_t want) {
	size_t at = n;
	int64_t lines = 0;
	while (at > 0) {
		size_t begin = at - 1;
		while (begin > 0 && s[begin - 1] != '\n')
			begin--;
		const char *sp = memchr(s + begin, ' ', at - begin);
		sp = sp ? memchr(sp + 1, ' ', (size_t)(s + at - sp - 1)) : NULL;
		if (sp && sp + 1 < s + at && sp[1] == 'F' && ++lines > want)
			return at;
		at = begin;
	}
	return 0;
}
