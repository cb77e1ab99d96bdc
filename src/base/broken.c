/* See broken.h. */
#include "base/broken.h"

#ifdef TIERCE_BROKEN
#include <stdlib.h>
#include <string.h>

bool broken(const char *what) {
	const char *p = getenv("TIERCE_BREAK");
	size_t n = strlen(what);
	for (; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		if (strcspn(p, ",") == n && memcmp(p, what, n) == 0)
			return true;
	return false;
}
#endif
