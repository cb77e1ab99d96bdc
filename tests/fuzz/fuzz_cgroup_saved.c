/* Saved cgroup strings, as a damaged state file would hand them back: manager, path, unit and directories, separated by NULs. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "confine/cgroup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const managers[] = { "cgroupfs", "systemd", "systemd-user", "disabled" };
	_cleanup_cgroup_ struct cgroup *cg = NULL;
	_cleanup_err_ struct err e = ERR_INIT;
	char *text = malloc(size + 3);

	if (!text || size < 1) {
		free(text);
		return 0;
	}
	memcpy(text, data, size);
	memset(text + size, 0, 3);
	char *path = text + 1, *unit = memchr(path, 0, size + 1);
	unit = unit && unit < text + size ? unit + 1 : text + size;
	char *dirs = memchr(unit, 0, (size_t)(text + size + 2 - unit));
	dirs = dirs && dirs < text + size ? dirs + 1 : text + size;
	struct cgroup_saved s = { managers[(unsigned char)text[0] % 4], path, unit, dirs }, t;
	if (cgroup_load(&s, &cg, &e) == 0) {
		cgroup_save(cg, &t);
		for (enum cgroup_controller c = 0; c < CGROUP_CONTROLLERS; c++) {
			const char *d = cgroup_dir(cg, c);
			if (d && (d[0] != '/' || strstr(d, "/../")))
				abort();
		}
	}
	free(text);
	return 0;
}
