/* From mountinfo (proc_pid_mountinfo(5)) back to the image files. */
#include "tier/vm/rootlayers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/str.h"
#include "sys/fd.h"

enum { MOUNTINFO_MAX = 16 << 20 };

struct entry { const char *root, *point, *type, *source, *options; };

/* "\040" and its like, in place. */
static char *unescape(char *s)
{
	char *o = s;
	for (char *p = s; *p; p++)
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
			*o++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 3;
		} else {
			*o++ = *p;
		}
	*o = 0;
	return s;
}

/* ID PARENT DEV ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPEROPTIONS */
static bool parse_line(char *line, struct entry *ret)
{
	char *field[64], *save = NULL;
	size_t n = 0, dash = 0;
	for (char *t = strtok_r(line, " ", &save); t && n < ARRAY_SIZE(field); t = strtok_r(NULL, " ", &save)) {
		if (n >= 6 && !dash && streq(t, "-"))
			dash = n;
		field[n++] = t;
	}
	if (!dash || n < dash + 4)
		return false;
	*ret = (struct entry){ unescape(field[3]), unescape(field[4]), field[dash + 1], unescape(field[dash + 2]), field[dash + 3] };
	return true;
}

/* The last mount on a path is the one that is seen. */
static bool mount_on(struct arena *a, const char *info, const char *point, struct entry *ret)
{
	bool found = false;
	for (const char *p = info; *p;) {
		const char *eol = strchrnul(p, '\n');
		struct entry e;
		if (memmem(p, (size_t)(eol - p), " - ", 3)) {
			char *line = arena_strndup(a, p, (size_t)(eol - p));
			if (line && parse_line(line, &e) && streq(e.point, point)) {
				*ret = e;
				found = true;
			}
		}
		p = *eol ? eol + 1 : eol;
	}
	return found;
}

/* The file behind an EROFS mount: its source, or what its loop device stands on. */
static const char *image_of(struct arena *a, const char *info, const char *point)
{
	struct entry e;
	struct stat st;
	if (!mount_on(a, info, point, &e) || !streq(e.type, "erofs") || !streq(e.root, "/"))
		return NULL;
	const char *file = e.source;
	if (str_has_prefix(file, "/dev/loop")) {
		_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
		char path[128];
		if ((size_t)snprintf(path, sizeof path, "/sys/block/%.60s/loop/backing_file", file + 5) >= sizeof path || file_read_at(AT_FDCWD, path, &b, PATH_MAX) < 0)
			return NULL;
		file = arena_strndup(a, strbuf_str(&b), strcspn(strbuf_str(&b), "\n"));
	}
	return file && file[0] == '/' && stat(file, &st) == 0 && S_ISREG(st.st_mode) ? file : NULL;
}

static bool add_lowers(struct arena *a, const char *info, const char *list, struct root_layers *ret)
{
	char *copy = arena_strdup(a, list), *save = NULL;
	for (char *t = copy ? strtok_r(copy, ":", &save) : NULL; t; t = strtok_r(NULL, ":", &save)) {
		const char *image = ret->n < ROOT_LAYERS_MAX ? image_of(a, info, unescape(t)) : NULL;
		if (!image)
			return false;
		ret->image[ret->n++] = image;
	}
	return copy;
}

bool rootlayers_find(struct arena *a, const char *rootfs, struct root_layers *ret)
{
	_cleanup_strbuf_ struct strbuf info = STRBUF_INIT;
	_cleanup_free_ char *real = realpath(rootfs, NULL);
	struct entry e;
	*ret = (struct root_layers){ .n = 0 };
	if (!real || file_read_at(AT_FDCWD, "/proc/self/mountinfo", &info, MOUNTINFO_MAX) < 0)
		return false;
	if (!mount_on(a, strbuf_str(&info), real, &e) || !streq(e.type, "overlay") || !streq(e.root, "/") || strstr(e.options, "\\\\") || strstr(e.options, "\\134"))
		return false; /* overlay quotes commas and colons of names with backslashes: rare enough to be packed */
	char *options = arena_strdup(a, e.options), *save = NULL;
	for (char *t = options ? strtok_r(options, ",", &save) : NULL; t; t = strtok_r(NULL, ",", &save)) {
		char *value = strchr(t, '=');
		if (!value)
			continue;
		*value++ = 0;
		if ((streq(t, "lowerdir") || streq(t, "lowerdir+")) && !add_lowers(a, strbuf_str(&info), value, ret))
			return false;
		if (streq(t, "datadir+"))
			return false;
		if (streq(t, "upperdir"))
			ret->upper = unescape(value);
	}
	return ret->n > 0;
}
