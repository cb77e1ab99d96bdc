/* Looking things up inside the container: the program in $PATH, the home directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sys/fd.h"
#include "tier/ns/ns.h"

enum { PASSWD_MAX = 16 << 20 }; /* a hostile image's /etc/passwd must not fill our memory */

const char *ns_env(const struct oci_strings *env, const char *name) {
	size_t n = strlen(name);
	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->v[i], name, n) == 0 && env->v[i][n] == '=')
			return env->v[i] + n + 1;
	return NULL;
}

/* 0, -ENOENT or -EACCES: as the kernel decides for root, which is who asks here; what the user may not run fails at execve(2). */
static int executable(const char *path) {
	struct stat st;
	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return S_ISREG(st.st_mode) && (st.st_mode & 0111) ? 0 : -EACCES;
}

int ns_find_program(const char *name, const char *path, const char *cwd, char **ret, struct err *e) {
	_cleanup_free_ char *file = NULL;
	if (!*name)
		return err_set(e, ENOENT, "exec: \"\": executable file not found in $PATH");
	if (strchr(name, '/')) {
		if (name[0] == '/' ? !(file = strdup(name)) : asprintf(&file, "%s/%s", cwd, name) < 0)
			return err_set(e, ENOMEM, "out of memory");
		int r = executable(file);
		if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
			return err_sys(e, r, "exec: \"%s\": stat %s", name, name);
		if (r == -EISDIR)
			return err_sys(e, r, "exec: \"%s\"", name);
		if (r < 0)
			return err_sys(e, r, "exec: \"%s\"", name);
		/* A relative name is resolved by execve(2) after chdir; what is kept is what argv says. */
		if (!(*ret = strdup(name)))
			return err_set(e, ENOMEM, "out of memory");
		return 0;
	}
	bool denied = false;
	for (const char *p = path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; p; p = strchr(p, ':') ? strchr(p, ':') + 1 : NULL) {
		int n = (int)strcspn(p, ":");
		free(TAKE(file));
		/* An empty element is the working directory. */
		if ((n && p[0] == '/' ? asprintf(&file, "%.*s/%s", n, p, name) : asprintf(&file, "%s/%.*s%s%s", cwd, n, p, n ? "/" : "", name)) < 0)
			return err_set(e, ENOMEM, "out of memory");
		int r = executable(file);
		if (r == 0) {
			*ret = TAKE(file);
			return 0;
		}
		denied = denied || r == -EACCES;
	}
	if (denied)
		return err_set(e, EACCES, "exec: \"%s\": permission denied", name);
	return err_set(e, ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
}

char *ns_home(uint32_t uid) {
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* Opened without following what would block: an image may put a fifo there. */
	_cleanup_close_ int fd = root < 0 ? -EBADF : open_in_root(root, "etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || fd_read_rest(fd, &text, PASSWD_MAX) < 0 || !text.s)
		return NULL;
	char *save = NULL;
	for (char *line = strtok_r(text.s, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *field[7] = { NULL };
		for (size_t i = 0; i < 7 && line; i++)
			field[i] = strsep(&line, ":");
		uint32_t n;
		if (field[5] && field[2] && parse_u32(field[2], &n) == 0 && n == uid && field[5][0] == '/')
			return strdup(field[5]);
	}
	return NULL;
}
