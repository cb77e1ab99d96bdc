/* Which cgroup hierarchies this host has, where they are mounted and which controllers each one carries. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "confine/cgroup_internal.h"
#include "sys/fd.h"

struct cgroup_host cgroup_host = { "/sys/fs/cgroup", "/proc/self/cgroup", false, false };

const char *const cgroup_controller_names[CGROUP_CONTROLLERS] = {
	[CGROUP_CPU] = "cpu", [CGROUP_CPUACCT] = "cpuacct", [CGROUP_CPUSET] = "cpuset", [CGROUP_MEMORY] = "memory", [CGROUP_BLKIO] = "blkio",
	[CGROUP_PIDS] = "pids", [CGROUP_HUGETLB] = "hugetlb", [CGROUP_DEVICES] = "devices", [CGROUP_FREEZER] = "freezer",
	[CGROUP_NET_CLS] = "net_cls", [CGROUP_NET_PRIO] = "net_prio", [CGROUP_PERF_EVENT] = "perf_event", [CGROUP_RDMA] = "rdma",
	[CGROUP_MISC] = "misc",
};

enum {
	SELF_CGROUP_MAX = 64 << 10, /* a path is at most 4 KiB, there are at most 24 hierarchies */
	MOUNTINFO_MAX = 64 << 20,   /* read only when a hierarchy is not below /sys/fs/cgroup */
	/* v2 has these without naming them in cgroup.controllers */
	V2_IMPLICIT = 1 << CGROUP_DEVICES | 1 << CGROUP_FREEZER | 1 << CGROUP_CPUACCT | 1 << CGROUP_PERF_EVENT,
};

uint32_t cgroup_controllers_parse(const char *list)
{
	uint32_t bits = 0;

	while (*list) {
		size_t n = strcspn(list, ", \n");
		if (n == 2 && memcmp(list, "io", 2) == 0)
			bits |= 1U << CGROUP_BLKIO;
		for (size_t i = 0; i < CGROUP_CONTROLLERS; i++)
			if (strlen(cgroup_controller_names[i]) == n && memcmp(list, cgroup_controller_names[i], n) == 0)
				bits |= 1U << i;
		list += n;
		list += strspn(list, ", \n");
	}
	return bits;
}

static bool is_fs(const char *path, long magic)
{
	struct statfs s;
	struct stat st;

	if (cgroup_host.fake)
		return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
	return statfs(path, &s) == 0 && (long)s.f_type == magic;
}

static bool top_is_v2(void)
{
	return cgroup_host.fake ? cgroup_host.fake_v2 : is_fs(cgroup_host.top, CGROUP2_SUPER_MAGIC);
}

enum cgroup_mode cgroup_host_mode(void)
{
	CLEANUP(cgroup_layout_free) struct cgroup_layout l = { 0 };

	if (top_is_v2())
		return CGROUP_MODE_V2;
	return cgroup_layout(&l, false, NULL) < 0 ? CGROUP_MODE_NONE : l.mode;
}

bool cgroup_host_systemd(void)
{
	struct stat st;
	return lstat("/run/systemd/system", &st) == 0 && S_ISDIR(st.st_mode);
}

void cgroup_layout_free(struct cgroup_layout *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->h[i].names);
		free(l->h[i].mount);
		free(l->h[i].self);
		free(l->h[i].dir);
	}
	l->n = 0;
}

/* mountinfo(5) writes space, tab, newline and backslash as octal. */
static void unescape(char *s)
{
	char *o = s;
	for (; *s; s++)
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*o++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*o++ = *s;
		}
	*o = 0;
}

/* All words of the comma list a are in the comma list b. */
static bool words_within(const char *a, const char *b)
{
	while (*a) {
		size_t n = strcspn(a, ",");
		const char *p = b;
		for (;;) {
			size_t m = strcspn(p, ",");
			if (m == n && memcmp(a, p, n) == 0)
				break;
			if (!p[m])
				return false;
			p += m + 1;
		}
		a += n;
		a += *a == ',';
	}
	return true;
}

/* Slow way, for a hierarchy that is not at its usual place: the first mount of it in mountinfo. */
static char *find_mount(const char *names)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

	if (cgroup_host.fake || file_read_at(AT_FDCWD, "/proc/self/mountinfo", &b, MOUNTINFO_MAX) < 0)
		return NULL;
	for (char *line = b.s, *next; line && *line; line = next) {
		char point[4096], type[32], super[1024];
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		char *dash = strstr(line, " - ");
		if (!dash || sscanf(line, "%*d %*d %*s %*s %4095s", point) != 1 || sscanf(dash + 3, "%31s %*s %1023s", type, super) != 2)
			continue;
		if (names[0] ? !streq(type, "cgroup") || !words_within(names, super) : !streq(type, "cgroup2"))
			continue;
		unescape(point);
		return strdup(point);
	}
	return NULL;
}

/* Mount point of a v1 hierarchy: /sys/fs/cgroup/<names>, its first name alone, or wherever mountinfo says. */
static char *v1_mount(const char *names)
{
	_cleanup_free_ char *p = NULL;
	const char *dir = str_has_prefix(names, "name=") ? names + 5 : names;

	if (asprintf(&p, "%s/%s", cgroup_host.top, dir) < 0)
		return p = NULL, NULL;
	if (is_fs(p, CGROUP_SUPER_MAGIC))
		return TAKE(p);
	char *comma = strchr(p + strlen(cgroup_host.top), ',');
	if (comma) {
		*comma = 0;
		if (is_fs(p, CGROUP_SUPER_MAGIC))
			return TAKE(p);
	}
	return find_mount(names);
}

static char *v2_mount(void)
{
	_cleanup_free_ char *p = NULL;

	if (top_is_v2())
		return strdup(cgroup_host.top);
	if (asprintf(&p, "%s/unified", cgroup_host.top) < 0)
		return p = NULL, NULL;
	return is_fs(p, CGROUP2_SUPER_MAGIC) ? TAKE(p) : find_mount("");
}

static int add_line(struct cgroup_layout *l, char *names, char *path, uint32_t *v1)
{
	if (l->n == CGROUP_HIERARCHIES_MAX)
		return -E2BIG;
	bool v2 = !*names;
	_cleanup_free_ char *mount = v2 ? v2_mount() : v1_mount(names);
	if (!mount)
		return 0; /* known to the kernel, mounted nowhere that we can see */
	struct cgroup_hier *h = &l->h[l->n++];
	*h = (struct cgroup_hier){ .names = strdup(names), .mount = TAKE(mount), .self = strdup(path), .v2 = v2, .fd = -EBADF };
	if (!h->names || !h->self)
		return -ENOMEM;
	if (!v2)
		*v1 |= h->controllers = str_has_prefix(names, "name=") ? 0 : cgroup_controllers_parse(names);
	return 0;
}

/* What v2 offers below its mount point. */
static uint32_t v2_controllers(const char *mount)
{
	_cleanup_free_ char *p = NULL;
	char buf[512];

	if (asprintf(&p, "%s/cgroup.controllers", mount) < 0)
		return p = NULL, 0;
	return cgroup_readat(AT_FDCWD, p, buf, sizeof(buf)) < 0 ? 0 : cgroup_controllers_parse(buf);
}

static int layout_v2_alone(struct cgroup_layout *l)
{
	l->mode = CGROUP_MODE_V2;
	l->n = 1;
	l->h[0] = (struct cgroup_hier){ .names = strdup(""), .mount = strdup(cgroup_host.top), .v2 = true, .fd = -EBADF };
	if (!l->h[0].names || !l->h[0].mount)
		return -ENOMEM;
	l->h[0].controllers = V2_IMPLICIT | v2_controllers(cgroup_host.top);
	return 0;
}

int cgroup_layout(struct cgroup_layout *l, bool self, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	uint32_t v1 = 0;
	int r;

	*l = (struct cgroup_layout){ 0 };
	if (top_is_v2() && !self) {
		r = layout_v2_alone(l);
		return r < 0 ? err_sys(e, r, "cgroup layout") : 0;
	}
	r = file_read_at(AT_FDCWD, cgroup_host.self_cgroup, &b, SELF_CGROUP_MAX);
	if (r < 0)
		return err_sys(e, r, "read %s", cgroup_host.self_cgroup);
	bool only_v2 = top_is_v2();
	for (char *line = b.s, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		char *names = strchr(line, ':');
		char *path = names ? strchr(names + 1, ':') : NULL;
		if (!path)
			continue;
		*names++ = 0;
		*path++ = 0;
		if (only_v2 && *names)
			continue;
		if ((r = add_line(l, names, path, &v1)) < 0)
			return err_sys(e, r, "cgroup layout");
	}
	bool have_v1 = false, have_v2 = false;
	for (size_t i = 0; i < l->n; i++) {
		struct cgroup_hier *h = &l->h[i];
		if (h->v2)
			h->controllers = (V2_IMPLICIT | v2_controllers(h->mount)) & ~v1;
		have_v2 |= h->v2;
		have_v1 |= !h->v2;
	}
	l->mode = only_v2 ? CGROUP_MODE_V2 : have_v1 && have_v2 ? CGROUP_MODE_HYBRID : have_v1 ? CGROUP_MODE_V1 : have_v2 ? CGROUP_MODE_V2 : CGROUP_MODE_NONE;
	return 0;
}

int cgroup_host_controllers(uint32_t *ret_v1, uint32_t *ret_v2, struct err *e)
{
	CLEANUP(cgroup_layout_free) struct cgroup_layout l = { 0 };
	uint32_t v1 = 0, v2 = 0;
	int r = cgroup_layout(&l, false, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < l.n; i++)
		*(l.h[i].v2 ? &v2 : &v1) |= l.h[i].controllers;
	*ret_v1 = v1;
	*ret_v2 = v2;
	return 0;
}
