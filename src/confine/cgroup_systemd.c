/* The systemd manager: plans slice and scope, and talks to the helper program (tierce-systemd) that speaks D-Bus, so that nothing else links libsystemd. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "confine/cgroup_internal.h"
#include "confine/cgroup_property.h"
#include "sys/fd.h"

#ifndef TIERCE_LIBEXECDIR
#define TIERCE_LIBEXECDIR "/usr/local/libexec/tierce"
#endif

enum { HELPER_TIMEOUT_MS = 120000 }; /* above the helper's own deadline: its answer says more than ours */
static const char property_prefix[] = "org.systemd.property.";

extern char **environ;

/* ---- names ------------------------------------------------------------------------------------------------------------- */

/* "a-b.slice" lives at /a.slice/a-b.slice; "-.slice" is the root (systemd.slice(5)). */
int cgroup_slice_path(const char *slice, struct strbuf *out, struct err *e)
{
	size_t n = strlen(slice);

	if (streq(slice, "-.slice") || streq(slice, "-"))
		return 0;
	if (n <= 6 || !str_has_suffix(slice, ".slice") || slice[0] == '-' || slice[n - 7] == '-' || strchr(slice, '/') || strstr(slice, "--"))
		return err_set(e, EINVAL, "invalid slice name \"%s\"", slice);
	for (const char *p = slice; p < slice + n - 6; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.:\\@", *p))
			return err_set(e, EINVAL, "invalid slice name \"%s\"", slice);
	for (size_t i = 0; i <= n - 6; i++)
		if (slice[i] == '-' || i == n - 6)
			strbuf_printf(out, "/%.*s.slice", (int)i, slice);
	return out->failed ? err_sys(e, ENOMEM, "slice path") : 0;
}

/* slice:prefix:name */
static int plan_unit(struct cgroup *cg, const struct cgroup_request *req, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	const char *path = req->cgroups_path;

	if (!path || !*path) {
		if (asprintf(&text, ":tierce:%s", req->id) < 0)
			return text = NULL, err_sys(e, ENOMEM, "cgroup path");
	} else if (!(text = strdup(path))) {
		return err_sys(e, ENOMEM, "cgroup path");
	}
	char *prefix = strchr(text, ':'), *name = prefix ? strchr(prefix + 1, ':') : NULL;
	if (!name || strchr(name + 1, ':'))
		return err_set(e, EINVAL, "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"%s\" instead", path);
	*prefix++ = 0;
	*name++ = 0;
	for (const char *p = prefix; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.:\\@", *p) && p != name - 1)
			return err_set(e, EINVAL, "invalid scope prefix in cgroupsPath \"%s\"", req->cgroups_path);
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_.:\\@+", *p))
			return err_set(e, EINVAL, "invalid scope name in cgroupsPath \"%s\"", req->cgroups_path);
	if (!*name || str_has_suffix(name, ".slice"))
		return err_set(e, EINVAL, "cgroupsPath \"%s\" names no scope", path ? path : text);
	int n = asprintf(&cg->unit, "%s%s%s.scope", prefix, *prefix ? "-" : "", name);
	if (n < 0 || !(cg->slice = strdup(!*text ? cg->user ? "user.slice" : "system.slice" : streq(text, "-") ? "-.slice" : text)))
		return err_sys(e, ENOMEM, "cgroup path");
	if (n > 255) /* UNIT_NAME_MAX */
		return err_set(e, EINVAL, "unit name \"%s\" is longer than 255 bytes", cg->unit);
	return 0;
}

static int add_prop(struct cgroup *cg, const char *fmt, ...) PRINTF(2, 3);
static int add_prop(struct cgroup *cg, const char *fmt, ...)
{
	_cleanup_free_ char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0)
		return s = NULL, -ENOMEM;
	return strv_push(&cg->props, &cg->n_props, s);
}

/* Annotations are parsed here already, so that a malformed one is refused before anything is made. */
static int plan_properties(struct cgroup *cg, const struct cgroup_request *req, struct err *e)
{
	_cleanup_arena_ struct arena a = ARENA_INIT;
	int r;

	for (size_t i = 0; req->annotations && i < req->annotations->n; i++) {
		const struct oci_map_entry *m = &req->annotations->v[i];
		const char *name;
		struct cgroup_value *v;
		if (!str_has_prefix(m->key, property_prefix))
			continue;
		r = cgroup_property_parse(&a, m->key + sizeof(property_prefix) - 1, m->value, &name, &v, e);
		if (r < 0)
			return err_wrap(e, r, "annotation %s", m->key);
		if ((r = add_prop(cg, "%s=%s", m->key + sizeof(property_prefix) - 1, m->value)) < 0)
			return err_sys(e, r, "annotation %s", m->key);
	}
	return 0;
}

/* ---- resources as unit properties ---------------------------------------------------------------------------------------- */

/* systemd's cpu and node sets are bit masks in byte arrays. */
static int mask_prop(struct cgroup *cg, const char *name, const char *list)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	uint8_t bits[1024] = { 0 };
	size_t last = 0;
	char *end;

	for (const char *p = list; *p; p = *end == ',' ? end + 1 : end) {
		unsigned long x = strtoul(p, &end, 10), y = x;
		if (end == p)
			return 0; /* malformed: the cgroup write says so, better than systemd could */
		if (*end == '-')
			y = strtoul(end + 1, &end, 10);
		for (; x <= y && y < sizeof(bits) * 8; x++) {
			bits[x / 8] |= (uint8_t)(1U << x % 8);
			last = x / 8;
		}
	}
	strbuf_printf(&b, "%s=@ay [", name);
	for (size_t i = 0; i <= last; i++)
		strbuf_printf(&b, "%s%u", i ? ", " : "", bits[i]);
	strbuf_puts(&b, "]");
	return b.failed ? -ENOMEM : add_prop(cg, "%s", b.s);
}

static int cpu_props(struct cgroup *cg, const struct oci_resources *r, bool v2)
{
	int q = 0;

	if (r->cpu.shares.set && r->cpu.shares.v)
		q = v2 ? add_prop(cg, "CPUWeight=uint64 %llu", (unsigned long long)cgroup_shares_to_weight(r->cpu.shares.v)) :
			add_prop(cg, "CPUShares=uint64 %llu", (unsigned long long)MIN(r->cpu.shares.v, (uint64_t)262144));
	if (q == 0 && r->cpu.quota.set && r->cpu.quota.v) {
		uint64_t period = r->cpu.period.set && r->cpu.period.v ? r->cpu.period.v : 100000, per_sec = UINT64_MAX;
		if (r->cpu.quota.v > 0 && period) {
			per_sec = (uint64_t)((__uint128_t)(uint64_t)r->cpu.quota.v * 1000000 / period);
			per_sec = (per_sec + 9999) / 10000 * 10000; /* systemd thinks in whole percents; the exact value is written to the cgroup afterwards */
		}
		q = add_prop(cg, "CPUQuotaPerSecUSec=uint64 %llu", (unsigned long long)per_sec);
	}
	if (q == 0 && v2 && r->cpu.cpus && *r->cpu.cpus)
		q = mask_prop(cg, "AllowedCPUs", r->cpu.cpus);
	if (q == 0 && v2 && r->cpu.mems && *r->cpu.mems)
		q = mask_prop(cg, "AllowedMemoryNodes", r->cpu.mems);
	return q;
}

static unsigned long long limit(int64_t v) { return v < 0 ? ULLONG_MAX : (unsigned long long)v; }

static int resource_props(struct cgroup *cg, const struct oci_resources *r)
{
	bool v2 = cg->mode == CGROUP_MODE_V2;
	int64_t swap;
	int q = cpu_props(cg, r, v2);

	if (q == 0 && r->memory.limit.set && r->memory.limit.v)
		q = add_prop(cg, "%s=uint64 %llu", v2 ? "MemoryMax" : "MemoryLimit", limit(r->memory.limit.v));
	if (q == 0 && v2 && r->memory.reservation.set && r->memory.reservation.v)
		q = add_prop(cg, "MemoryLow=uint64 %llu", limit(r->memory.reservation.v));
	if (q == 0 && v2 && r->memory.swap.set && r->memory.swap.v && cgroup_swap_to_v2(r->memory.swap.v, r->memory.limit.set ? r->memory.limit.v : 0, &swap, NULL) == 0)
		q = add_prop(cg, "MemorySwapMax=uint64 %llu", limit(swap));
	if (q == 0 && r->pids_limit.set)
		q = add_prop(cg, "TasksMax=uint64 %llu", r->pids_limit.v == 0 ? 1 : limit(r->pids_limit.v));
	if (q == 0 && v2 && r->blkio.weight.set && r->blkio.weight.v)
		q = add_prop(cg, "IOWeight=uint64 %llu", (unsigned long long)cgroup_blkio_to_io_weight(r->blkio.weight.v));
	return q;
}

/* ---- plan ------------------------------------------------------------------------------------------------------------------ */

/* The user manager's own cgroup, a guess until the helper has asked it. */
static int user_root(struct cgroup *cg, struct strbuf *b)
{
	char name[64];
	struct cgroup_hier *v2 = cgroup_v2(cg);
	int n = snprintf(name, sizeof(name), "/user@%u.service", (unsigned)geteuid());
	const char *self = v2 && v2->self ? v2->self : "", *at = strstr(self, name);

	if (at)
		return strbuf_add(b, self, (size_t)(at - self) + (size_t)n);
	return strbuf_printf(b, "/user.slice/user-%u.slice%s", (unsigned)geteuid(), name);
}

static int find_helper(struct cgroup *cg, const struct cgroup_request *req, struct err *e)
{
	static const char *const beside[] = { "tierce-systemd", "../libexec/tierce/tierce-systemd" };
	char self[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (req->helper) {
		cg->helper = strdup(req->helper);
	} else if (n > 0) {
		self[n] = 0;
		slash = strrchr(self, '/');
		for (size_t i = 0; slash && i < ARRAY_SIZE(beside) && !cg->helper; i++) {
			if (asprintf(&cg->helper, "%.*s/%s", (int)(slash - self), self, beside[i]) < 0)
				return cg->helper = NULL, err_sys(e, ENOMEM, "helper");
			if (access(cg->helper, X_OK) < 0) {
				free(cg->helper);
				cg->helper = NULL;
			}
		}
	}
	if (!cg->helper)
		cg->helper = strdup(TIERCE_LIBEXECDIR "/tierce-systemd");
	return cg->helper ? 0 : err_sys(e, ENOMEM, "helper");
}

int cgroup_systemd_plan(struct cgroup *cg, const struct cgroup_request *req, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	int r;

	if ((r = plan_unit(cg, req, e)) < 0 || (cg->user && (r = user_root(cg, &b)) < 0) || (r = cgroup_slice_path(cg->slice, &b, e)) < 0 ||
	    (r = plan_properties(cg, req, e)) < 0)
		return r;
	if (!cgroup_host_systemd() && !cgroup_host.fake)
		return err_set(e, ENOTSUP, "systemd not running on this host, cannot use systemd cgroups manager");
	if (req->resources && (r = resource_props(cg, req->resources)) < 0)
		return err_sys(e, r, "unit properties");
	if ((r = find_helper(cg, req, e)) < 0)
		return r;
	strbuf_printf(&b, "/%s%s", cg->unit, cg->sub ? cg->sub : "");
	cg->path = strbuf_take(&b);
	return cg->path ? 0 : err_sys(e, ENOMEM, "cgroup path");
}

/* ---- the helper -------------------------------------------------------------------------------------------------------------- */

void cgroup_systemd_release(struct cgroup *cg)
{
	/* End of file is its sign to leave. The container's process holds a copy of the socket until it execs: closing ours would not end it. */
	if (cg->helper_fd >= 0)
		(void)shutdown(cg->helper_fd, SHUT_RDWR);
	cleanup_close(&cg->helper_fd);
	cg->helper_fd = -EBADF;
	if (cg->helper_pid > 0) {
		while (waitpid(cg->helper_pid, NULL, 0) < 0 && errno == EINTR)
			;
		cg->helper_pid = 0;
	}
}

static int spawn_helper(struct cgroup *cg, char *const argv[], struct err *e)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	pid_t pid;
	int sv[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		return err_sys(e, errno, "socketpair");
	sigemptyset(&none);
	sigemptyset(&all);
	sigaddset(&all, SIGPIPE);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	posix_spawn_file_actions_adddup2(&fa, sv[1], 0);
	posix_spawn_file_actions_adddup2(&fa, sv[1], 1);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &all);
	/* A group of its own: the terminal's ^C is for the container, not for the one that holds its scope. */
	posix_spawnattr_setpgroup(&at, 0);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	r = posix_spawn(&pid, argv[0], &fa, &at, argv, environ);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	close(sv[1]);
	if (r) {
		close(sv[0]);
		return err_sys(e, r, "start %s (is it installed?)", argv[0]);
	}
	cg->helper_pid = pid;
	cg->helper_fd = sv[0];
	return 0;
}

/* One line: "ok TEXT" or "error ERRNO TEXT". */
static int answer(struct cgroup *cg, char *buf, size_t size, struct err *e)
{
	size_t n = 0;

	while (n < size - 1 && !memchr(buf, '\n', n)) {
		struct pollfd p = { .fd = cg->helper_fd, .events = POLLIN };
		int q = poll(&p, 1, HELPER_TIMEOUT_MS);
		if (q < 0 && errno == EINTR)
			continue;
		if (q <= 0)
			return err_sys(e, q ? errno : ETIMEDOUT, "answer of tierce-systemd");
		ssize_t m = read(cg->helper_fd, buf + n, size - 1 - n);
		if (m <= 0)
			return err_set(e, m < 0 ? errno : EPIPE, "tierce-systemd ended without an answer");
		n += (size_t)m;
	}
	buf[n] = 0;
	buf[strcspn(buf, "\n")] = 0;
	if (str_has_prefix(buf, "ok"))
		return 0;
	char *text;
	long code = str_has_prefix(buf, "error ") ? strtol(buf + 6, &text, 10) : 0;
	return err_set(e, code > 0 && code < 4096 ? (int)code : EIO, "systemd: %s", code > 0 ? text + (*text == ' ') : buf);
}

static int run(struct cgroup *cg, const char *verb, bool props, char *buf, size_t size, struct err *e)
{
	size_t n = 0, max = cg->n_props + 8;
	_cleanup_free_ const char **argv = calloc(max, sizeof(*argv));
	struct cgroup_request none = { 0 };
	int r;

	if (!argv)
		return err_sys(e, ENOMEM, "helper");
	if (!cg->helper && (r = find_helper(cg, &none, e)) < 0)
		return r;
	argv[n++] = cg->helper;
	argv[n++] = cg->user ? "--user" : "--system";
	argv[n++] = verb;
	argv[n++] = cg->unit;
	if (cg->slice)
		argv[n++] = cg->slice;
	for (size_t i = 0; props && i < cg->n_props; i++)
		argv[n++] = cg->props[i];
	union { const char **c; char *const *v; } u = { argv };
	if ((r = spawn_helper(cg, u.v, e)) < 0)
		return r;
	r = answer(cg, buf, size, e);
	if (r < 0)
		cgroup_systemd_release(cg);
	return r;
}

int cgroup_systemd_start(struct cgroup *cg, struct err *e)
{
	char buf[PATH_MAX + 16];
	_cleanup_free_ char *path = NULL;
	int r = run(cg, "start", true, buf, sizeof(buf), e);

	if (r < 0)
		return r;
	if (str_has_prefix(buf, "ok /")) { /* where the unit really is */
		if (asprintf(&path, "%s%s", buf + 3, cg->sub ? cg->sub : "") < 0)
			return path = NULL, err_sys(e, ENOMEM, "cgroup path");
		if ((r = cgroup_replan(cg, path, e)) < 0)
			return r;
	}
	/* The helper must not sit in the scope itself when its controllers are handed to the subgroup (no internal processes). */
	struct cgroup_hier *v2 = cgroup_v2(cg);
	if (cg->sub && v2) {
		char pid[24];
		snprintf(pid, sizeof(pid), "%d", (int)cg->helper_pid);
		for (char *p = v2->dir + strlen(v2->dir) - strlen(cg->sub); p; p = strchr(p + 1, '/')) {
			char *next = strchr(p + 1, '/');
			if (next)
				*next = 0;
			r = mkdir(v2->dir, 0755) < 0 && errno != EEXIST ? -errno : 0;
			if (next)
				*next = '/';
			if (r < 0)
				return err_sys(e, r, "mkdir %s", v2->dir);
		}
		if ((r = cgroup_write_err(v2, "cgroup.procs", pid, e)) < 0)
			return r;
	}
	return 0;
}

int cgroup_systemd_attach(struct cgroup *cg, const char *sub, pid_t pid, struct err *e)
{
	struct cgroup_hier *v2 = cgroup_v2(cg);
	const char *dir = v2 && cg->join ? cg->join : v2 ? v2->dir : "", *below = strstr(dir, cg->unit);
	char buf[512], text[24];
	_cleanup_free_ char *where = NULL;

	/* the holder of a new scope is another helper, which has to stay */
	pid_t holder = cg->helper_pid;
	int holder_fd = cg->helper_fd;
	below = below ? below + strlen(cg->unit) : "";
	if (asprintf(&where, "%s%s%s", *below ? below : "", sub ? "/" : "", sub ? sub : "") < 0)
		return where = NULL, err_sys(e, ENOMEM, "cgroup path");
	snprintf(text, sizeof(text), "%d", (int)pid);
	cg->helper_pid = 0;
	cg->helper_fd = -EBADF;
	char *slice = cg->slice, **props = cg->props, *words[] = { text, NULL };
	size_t n_props = cg->n_props;
	cg->slice = *where ? where : NULL;
	static char root[] = "/";
	cg->slice = cg->slice ? cg->slice : root;
	cg->props = words;
	cg->n_props = 1;
	int r = run(cg, "attach", true, buf, sizeof(buf), e);
	cgroup_systemd_release(cg);
	cg->slice = slice;
	cg->props = props;
	cg->n_props = n_props;
	cg->helper_pid = holder;
	cg->helper_fd = holder_fd;
	return r;
}

int cgroup_systemd_apply(struct cgroup *cg, const struct oci_resources *r, struct err *e)
{
	char buf[512];
	int q;

	strv_free(cg->props);
	cg->props = NULL;
	cg->n_props = 0;
	free(cg->slice);
	cg->slice = NULL;
	if ((q = resource_props(cg, r)) < 0)
		return err_sys(e, q, "unit properties");
	if (!cg->n_props)
		return 0;
	q = run(cg, "set", true, buf, sizeof(buf), e);
	cgroup_systemd_release(cg);
	return q;
}

int cgroup_systemd_stop(struct cgroup *cg, struct err *e)
{
	char buf[512];

	free(cg->slice);
	cg->slice = NULL;
	int q = run(cg, "stop", false, buf, sizeof(buf), e);
	cgroup_systemd_release(cg);
	return q;
}
