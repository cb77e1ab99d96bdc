/* User namespace of the caller: see userns.h. */
#include "sys/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "sys/fd.h"

enum { MAP_FILE_MAX = 64 * 1024 }; /* 340 lines at most (user_namespaces(7)) */

bool in_user_namespace(void) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	unsigned in, out, size;
	if (file_read_at(AT_FDCWD, "/proc/self/uid_map", &b, MAP_FILE_MAX) < 0 || sscanf(strbuf_str(&b), "%u %u %u", &in, &out, &size) != 3)
		return false;
	return !(in == 0 && out == 0 && size == UINT32_MAX);
}

uint32_t outer_id(const char *map, uint32_t id) {
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/%.16s", map);
	if (file_read_at(AT_FDCWD, path, &b, MAP_FILE_MAX) < 0)
		return (uint32_t)-1;
	for (const char *line = strbuf_str(&b); line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		unsigned in, out, size;
		if (sscanf(line, "%u %u %u", &in, &out, &size) != 3)
			break;
		if (id >= in && id - in < size)
			return out + (id - in);
	}
	return (uint32_t)-1;
}

bool is_rootless(void) {
	return geteuid() != 0 || in_user_namespace();
}
