/* The state root, ids, tiers and the configuration file. */
#include "engine/engine.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sys/fd.h"
#include "sys/userns.h"

PRINTF(3, 0) static void say(void (*to)(void *, const char *), void *arg, const char *fmt, va_list ap) {
	char *msg = NULL;
	if (!to || vasprintf(&msg, fmt, ap) < 0)
		return;
	to(arg, msg);
	free(msg);
}

void engine_debug(const struct engine *eng, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	say(eng->debug, eng->debug_arg, fmt, ap);
	va_end(ap);
}

void engine_warn(const struct engine *eng, const char *fmt, ...) {
	va_list ap;
	va_start(ap, fmt);
	say(eng->warn, eng->debug_arg, fmt, ap);
	va_end(ap);
}

bool engine_is_rootless(void) { return is_rootless(); }

int engine_default_root(char *buf, size_t size, struct err *e) {
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n;
	if (geteuid() == 0 && !(runtime && *runtime && in_user_namespace()))
		n = snprintf(buf, size, "/run/tierce");
	else if (runtime && *runtime == '/')
		n = snprintf(buf, size, "%s/tierce", runtime);
	else
		n = snprintf(buf, size, "/run/user/%u/tierce", geteuid());
	return (size_t)n < size ? 0 : err_set(e, ENAMETOOLONG, "XDG_RUNTIME_DIR is too long");
}

int ctr_id_valid(const char *id, struct err *e) {
	size_t n = strlen(id);
	if (n == 0)
		return err_set(e, EINVAL, "container id cannot be empty");
	for (size_t i = 0; i < n; i++) {
		char c = id[i];
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-' || (c == '.' && i > 0);
		if (!ok)
			return err_set(e, EINVAL, "invalid id format: container id \"%s\" may have letters, digits, '_', '+', '-' and, not first, '.'", id);
	}
	if (n > 255)
		return err_set(e, EINVAL, "invalid id format: container id has %zu bytes, at most 255 are allowed", n);
	return 0;
}

const struct tier_ops *engine_tier(const struct engine *eng, const char *name) {
	for (const struct tier_ops *const *t = eng->tiers; *t; t++)
		if (streq((*t)->name, name))
			return *t;
	return NULL;
}

static char *trim(char *s) {
	while (isspace((unsigned char)*s))
		s++;
	size_t n = strlen(s);
	while (n && isspace((unsigned char)s[n - 1]))
		s[--n] = 0;
	return s;
}

int engine_conf_load(struct arena *a, const char *path, struct engine_conf *ret, struct err *e) {
	static const struct { const char *key; size_t offset; } rows[] = {
		{ "isolation", offsetof(struct engine_conf, isolation) },
		{ "cgroup-manager", offsetof(struct engine_conf, cgroup_manager) },
		{ "criu", offsetof(struct engine_conf, criu) },
	};
	struct engine_conf conf = { 0 };
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r = file_read_at(AT_FDCWD, path, &b, 1 << 20);
	if (r == -ENOENT || r == -ENOTDIR) {
		*ret = conf;
		return 0;
	}
	if (r < 0)
		return err_sys(e, r, "%s", path);
	char *text = arena_strdup(a, strbuf_str(&b)), *line, *rest = text;
	if (!text)
		return err_set(e, ENOMEM, "out of memory");
	for (unsigned number = 1; (line = strsep(&rest, "\n")); number++) {
		line = trim(line);
		if (!*line || *line == '#')
			continue;
		char *eq = strchr(line, '=');
		if (!eq)
			return err_set(e, EINVAL, "%s:%u: expected \"key = value\"", path, number);
		*eq = 0;
		char *key = trim(line), *value = trim(eq + 1);
		size_t i, len = strlen(value);
		if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
			value[len - 1] = 0;
			value++;
		}
		for (i = 0; i < ARRAY_SIZE(rows) && !streq(rows[i].key, key); i++)
			;
		if (i == ARRAY_SIZE(rows))
			return err_set(e, EINVAL, "%s:%u: unknown key \"%s\": known are isolation, cgroup-manager, criu", path, number, key);
		memcpy((char *)&conf + rows[i].offset, &value, sizeof(value));
	}
	*ret = conf;
	return 0;
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

int engine_list(struct engine *eng, char ***ret, size_t *n, struct err *e) {
	char **v = NULL;
	size_t count = 0;
	int fd = open(eng->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR) && eng->root_default) {
		*ret = NULL;
		*n = 0;
		return 0;
	}
	if (fd < 0)
		return err_sys(e, errno, "open %s", eng->root);
	DIR *d = fdopendir(fd);
	if (!d) {
		int r = errno;
		close(fd);
		return err_sys(e, r, "read %s", eng->root);
	}
	int r = 0;
	for (struct dirent *de; r == 0 && (de = readdir(d));)
		if ((de->d_type == DT_DIR || de->d_type == DT_UNKNOWN) && ctr_id_valid(de->d_name, NULL) == 0)
			r = strv_push(&v, &count, de->d_name);
	closedir(d);
	if (r < 0) {
		strv_free(v);
		return err_set(e, r, "out of memory");
	}
	if (count)
		qsort(v, count, sizeof(*v), compare);
	*ret = v;
	*n = count;
	return 0;
}
