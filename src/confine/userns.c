/* User namespaces: see userns.h. */
#include "confine/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "confine/mount.h"
#include "sys/fd.h"
#include "sys/kernel.h"

enum { USERNS_MAPS_MAX = 340 }; /* the kernel's own bound, user_namespaces(7) */

uint32_t userns_host_id(const struct oci_id_maps *maps, uint32_t id) {
	if (!maps || !maps->n)
		return id;
	for (size_t i = 0; i < maps->n; i++)
		if (id >= maps->v[i].container_id && id - maps->v[i].container_id < maps->v[i].size)
			return maps->v[i].host_id + (id - maps->v[i].container_id);
	return (uint32_t)-1;
}

bool userns_nested(void) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	unsigned inside, outside, count;
	if (file_read_at(AT_FDCWD, "/proc/self/uid_map", &text, 64 * 1024) < 0)
		return false;
	return sscanf(strbuf_str(&text), "%u %u %u", &inside, &outside, &count) != 3 || inside != 0 || outside != 0 || count != (uint32_t)-1;
}

static int map_text(const struct oci_id_maps *maps, struct strbuf *out) {
	if (maps->n > USERNS_MAPS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < maps->n; i++)
		strbuf_printf(out, "%u %u %u\n", maps->v[i].container_id, maps->v[i].host_id, maps->v[i].size);
	return out->failed ? -ENOMEM : 0;
}

static int write_proc(pid_t pid, const char *name, const char *text) {
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return file_write_at(AT_FDCWD, path, text);
}

/* newuidmap PID inside outside count ... */
static int run_helper(const char *tool, pid_t pid, const struct oci_id_maps *maps, struct err *e) {
	_cleanup_free_ char **argv = calloc(2 + 3 * maps->n + 1, sizeof(*argv));
	_cleanup_free_ char(*num)[12] = calloc(3 * maps->n + 1, sizeof(*num));
	if (!argv || !num)
		return err_set(e, ENOMEM, "out of memory");
	char name[32];
	snprintf(name, sizeof(name), "%s", tool);
	argv[0] = name;
	snprintf(num[0], sizeof(num[0]), "%d", (int)pid);
	argv[1] = num[0];
	for (size_t i = 0; i < maps->n; i++) {
		const uint32_t v[3] = { maps->v[i].container_id, maps->v[i].host_id, maps->v[i].size };
		for (size_t j = 0; j < 3; j++) {
			snprintf(num[1 + 3 * i + j], sizeof(num[0]), "%u", v[j]);
			argv[2 + 3 * i + j] = num[1 + 3 * i + j];
		}
	}
	int out[2];
	if (pipe2(out, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	pid_t child = fork();
	if (child == 0) {
		dup2(out[1], 2);
		execvp(tool, argv);
		dprintf(2, "%s", strerrordesc_np(errno));
		_exit(127);
	}
	int saved = errno;
	close(out[1]);
	if (child < 0) {
		close(out[0]);
		return err_sys(e, saved, "fork");
	}
	char text[256];
	ssize_t n = fd_read_full(out[0], text, sizeof(text) - 1);
	close(out[0]);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	int status = 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(e, EPERM, "%s: %s", tool, text[0] ? text : "failed");
	return 0;
}

static bool only_self(const struct oci_id_maps *maps, uint32_t id) {
	return maps->n == 1 && maps->v[0].size == 1 && maps->v[0].host_id == id;
}

static int write_map(pid_t pid, const char *file, const char *tool, const struct oci_id_maps *maps, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	int r = map_text(maps, &text);
	if (r < 0)
		return err_sys(e, r, "%s", file);
	r = write_proc(pid, file, strbuf_str(&text));
	if (r == -EPERM && geteuid() != 0)
		return run_helper(tool, pid, maps, e);
	return r < 0 ? err_sys(e, r, "write %s", file) : 0;
}

int userns_write_maps(pid_t pid, const struct oci_id_maps *uids, const struct oci_id_maps *gids, bool *ret_setgroups_denied, struct err *e) {
	*ret_setgroups_denied = false;
	if (!uids->n || !gids->n)
		return err_set(e, EINVAL, "user namespaces enabled, but no %s mappings provided", uids->n ? "gid" : "uid");
	/* Without privileges the kernel takes a map of the own gid only once setgroups is denied. */
	if (geteuid() != 0 && only_self(gids, getegid())) {
		int r = write_proc(pid, "setgroups", "deny");
		if (r < 0 && r != -ENOENT)
			return err_sys(e, r, "write setgroups");
		*ret_setgroups_denied = true;
	}
	int r = write_map(pid, "gid_map", "newgidmap", gids, e);
	return r < 0 ? r : write_map(pid, "uid_map", "newuidmap", uids, e);
}

int mount_idmap_userns(const struct oci_id_maps *uids, const struct oci_id_maps *gids, struct err *e) {
	int p[2];
	char path[64], c;
	bool denied;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	struct clone_args a = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	pid_t pid = sys_clone3(&a);
	if (pid == 0) {
		/* Only there so that the namespace exists; ends when the pipe closes, also when our parent dies. */
		close(p[1]);
		while (read(p[0], &c, 1) < 0 && errno == EINTR)
			;
		_exit(0);
	}
	int r = pid < 0 ? -errno : 0;
	close(p[0]);
	if (r < 0)
		err_sys(e, r, "clone");
	else
		r = userns_write_maps(pid, uids, gids, &denied, e);
	int fd = -EBADF;
	if (r == 0) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		r = fd < 0 ? err_sys(e, errno, "open %s", path) : 0;
	}
	close(p[1]);
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	return r < 0 ? r : fd;
}

static int parse_triple(const char *p, size_t n, const struct oci_id_maps *container, struct oci_id_map *ret) {
	char buf[64];
	bool relative = n && *p == '@';
	if (n - relative >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, p + relative, n - relative);
	buf[n - relative] = '\0';
	char *at = buf;
	uint32_t *const out[3] = { &ret->container_id, &ret->host_id, &ret->size };
	for (size_t i = 0; i < 3; i++) {
		char *field = strsep(&at, "-");
		if (!field || parse_u32(field, out[i]) < 0)
			return -EINVAL;
	}
	if (at || !ret->size)
		return -EINVAL;
	if (relative) {
		ret->host_id = userns_host_id(container, ret->host_id);
		if (ret->host_id == (uint32_t)-1)
			return -EINVAL;
	}
	return 0;
}

static int parse_triples(struct arena *a, const char *p, size_t n, const struct oci_id_maps *container, struct oci_id_maps *ret) {
	size_t count = 1;
	for (size_t i = 0; i < n; i++)
		count += p[i] == '#';
	struct oci_id_map *v = count > USERNS_MAPS_MAX ? NULL : arena_array(a, count, struct oci_id_map);
	if (!v)
		return count > USERNS_MAPS_MAX ? -E2BIG : -ENOMEM;
	count = 0;
	for (const char *end = p + n; p < end;) {
		size_t len = strcspn(p, "#");
		len = MIN(len, (size_t)(end - p));
		int r = len ? parse_triple(p, len, container, &v[count]) : 0;
		if (r < 0)
			return r;
		count += len > 0;
		p += len + 1;
	}
	*ret = (struct oci_id_maps){ v, count };
	return 0;
}

int idmap_option_parse(struct arena *a, const char *text, const struct oci_id_maps *container_uids, const struct oci_id_maps *container_gids,
	struct oci_id_maps *uids, struct oci_id_maps *gids, struct err *e) {
	for (const char *p = text; *p;) {
		size_t n = strcspn(p, ";");
		int r = -EINVAL;
		if (n > 5 && memcmp(p, "uids=", 5) == 0)
			r = parse_triples(a, p + 5, n - 5, container_uids, uids);
		else if (n > 5 && memcmp(p, "gids=", 5) == 0)
			r = parse_triples(a, p + 5, n - 5, container_gids, gids);
		else if (n == 0)
			r = 0;
		if (r < 0)
			return err_set(e, r, "invalid mapping specified \"%.*s\": expected uids= or gids= and triples ID-ID-COUNT joined by #", (int)n, p);
		p += n + (p[n] == ';');
	}
	return 0;
}
