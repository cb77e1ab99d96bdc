/* Messages. */
#include "tier/vm/builtin/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void vmm_say(const char *fmt, ...)
{
	char b[512] = "tierce-vmm: ";
	size_t at = strlen(b);
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(b + at, sizeof b - at - 1, fmt, ap);
	va_end(ap);
	at += n < 0 ? 0 : MIN((size_t)n, sizeof b - at - 2);
	b[at++] = '\n';
	(void)!write(STDERR_FILENO, b, at);
}
