/* Values as people type them: sizes, times, ports, users. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "cmd/tierce/people/people.h"
#include "sys/fd.h"

int parse_size(const char *option, const char *s, int64_t *ret, struct err *e) {
	char *end;
	if (streq(s, "-1")) {
		*ret = -1;
		return 0;
	}
	errno = 0;
	double v = strtod(s, &end);
	static const char units[] = "bkmgtp";
	int shift = 0;
	if (end == s || v < 0 || !isfinite(v) || errno || strpbrk(s, "xXnN"))
		return err_set(e, -EINVAL, "%s \"%s\" is no size (expected for instance 512m or 1.5g)", option, s);
	if (*end) {
		const char *u = strchr(units, *end | 32);
		if (!u)
			return err_set(e, -EINVAL, "%s \"%s\" is no size (units are b, k, m, g, t)", option, s);
		shift = (int)(u - units) * 10;
		end++;
		/* "mb", "mib" */
		if (strcasecmp(end, "") && strcasecmp(end, "b") && strcasecmp(end, "ib"))
			return err_set(e, -EINVAL, "%s \"%s\" is no size (units are b, k, m, g, t)", option, s);
	}
	v = ldexp(v, shift);
	if (v >= 0x1p63)
		return err_set(e, -ERANGE, "%s \"%s\" is too large", option, s);
	*ret = (int64_t)v;
	return 0;
}

int parse_duration(const char *option, const char *s, uint64_t *ret_ns, struct err *e) {
	static const struct { const char *unit; double ns; } units[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 }, { "m", 60e9 }, { "h", 3600e9 } };
	double total = 0;
	const char *p = s;
	while (*p) {
		char *end;
		double v = strtod(p, &end);
		size_t n = strcspn(end, "0123456789."), i;
		if (end == p || v < 0 || !isfinite(v))
			break;
		if (!*end && p == s) {
			total = v * 1e9;
			p = end;
			break;
		}
		for (i = 0; i < ARRAY_SIZE(units); i++)
			if (strlen(units[i].unit) == n && strncmp(units[i].unit, end, n) == 0)
				break;
		if (i == ARRAY_SIZE(units))
			break;
		total += v * units[i].ns;
		p = end + n;
	}
	if (*p || p == s || total >= 0x1p63)
		return err_set(e, -EINVAL, "%s \"%s\" is no time (expected for instance 30s or 1m30s)", option, s);
	*ret_ns = (uint64_t)total;
	return 0;
}

int parse_bool(const char *option, const char *s, bool dflt, bool *ret, struct err *e) {
	if (!s) {
		*ret = dflt;
		return 0;
	}
	if (!strcasecmp(s, "true") || streq(s, "1") || !*s)
		*ret = true;
	else if (!strcasecmp(s, "false") || streq(s, "0"))
		*ret = false;
	else
		return err_set(e, -EINVAL, "%s \"%s\" is neither true nor false", option, s);
	return 0;
}

int parse_number(const char *option, const char *s, int64_t min, int64_t max, int64_t *ret, struct err *e) {
	if (parse_i64(s, ret) < 0 || *ret < min || *ret > max)
		return err_set(e, -EINVAL, "%s \"%s\" is out of range or no number (%lld to %lld)", option, s, (long long)min, (long long)max);
	return 0;
}

/* "8000" or "8000-8010" */
static int port_range(const char *s, uint32_t *first, uint32_t *last) {
	char buf[16];
	const char *dash = strchr(s, '-');
	if (strlen(s) >= sizeof(buf))
		return -EINVAL;
	strcpy(buf, s);
	if (dash)
		buf[dash - s] = '\0';
	if (parse_u32(buf, first) < 0 || parse_u32(dash ? dash + 1 : buf, last) < 0)
		return -EINVAL;
	return *last <= 65535 && *first <= *last ? 0 : -ERANGE;
}

int parse_port(struct arena *a, const char *text, struct cni_port **v, size_t *n, struct err *e) {
	char *s = arena_strdup(a, text);
	const char *proto = "tcp", *ip = "", *host = "", *container;
	if (!s)
		return err_sys(e, -ENOMEM, "read ports");
	char *slash = strchr(s, '/');
	if (slash) {
		*slash = '\0';
		proto = slash + 1;
	}
	if (!streq(proto, "tcp") && !streq(proto, "udp") && !streq(proto, "sctp"))
		return err_set(e, -EINVAL, "--publish \"%s\": protocol \"%s\" is not one of tcp, udp, sctp", text, proto);
	char *rest = s;
	if (*rest == '[') {
		char *close = strchr(rest, ']');
		if (!close || close[1] != ':')
			return err_set(e, -EINVAL, "--publish \"%s\": expected [IPv6]:HOST:CONTAINER", text);
		*close = '\0';
		ip = rest + 1;
		rest = close + 2;
	}
	char *last = strrchr(rest, ':');
	if (last) {
		*last = '\0';
		container = last + 1;
		host = rest;
		char *first = strrchr(rest, ':');
		if (first) {
			*first = '\0';
			ip = rest;
			host = first + 1;
		}
	} else {
		container = rest;
	}
	uint32_t c0, c1, h0 = 0, h1 = 0;
	if (port_range(container, &c0, &c1) < 0 || c0 == 0 || (*host && (port_range(host, &h0, &h1) < 0 || h0 == 0)))
		return err_set(e, -EINVAL, "--publish \"%s\" is no port mapping (expected [[IP:]HOST:]CONTAINER[/PROTO], ports 1 to 65535)", text);
	if (*host && h1 - h0 != c1 - c0)
		return err_set(e, -EINVAL, "--publish \"%s\": the two ranges differ in length", text);
	struct cni_port *w = arena_array(a, *n + (c1 - c0) + 2, struct cni_port);
	if (!w)
		return err_sys(e, -ENOMEM, "read ports");
	if (*n)
		memcpy(w, *v, *n * sizeof(*w));
	for (uint32_t i = 0; i <= c1 - c0; i++)
		w[(*n)++] = (struct cni_port){ ip, (uint16_t)(*host ? h0 + i : 0), (uint16_t)(c0 + i), proto };
	*v = w;
	return 0;
}

/* ---- users ------------------------------------------------------------------------------------------------------------------ */

enum { PASSWD_MAX = 4 << 20 }; /* bytes of the container's passwd and group files: they are the image's, so they may be hostile */

/* Lines of a colon-separated file: fn gets the fields; stops when it returns true. */
static void each_line(char *text, bool (*fn)(char **fields, size_t n, void *arg), void *arg) {
	for (char *line = text; line && *line;) {
		char *next = strchr(line, '\n'), *fields[8];
		size_t n = 0;
		if (next)
			*next++ = '\0';
		for (char *f = line; f && n < ARRAY_SIZE(fields); n++) {
			fields[n] = f;
			f = strchr(f, ':');
			if (f)
				*f++ = '\0';
		}
		if (fn(fields, n, arg))
			return;
		line = next;
	}
}

static char *read_below(const char *rootfs, const char *path) {
	_cleanup_close_ int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct strbuf b = STRBUF_INIT;
	if (root < 0)
		return NULL;
	_cleanup_close_ int fd = open_in_root(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0 || fd_read_rest(fd, &b, PASSWD_MAX) < 0) {
		strbuf_free(&b);
		return NULL;
	}
	return strbuf_take(&b);
}

struct passwd_search { const char *name; bool numeric; uint32_t id; bool found; uint32_t uid, gid; char user[64], home[256]; };

static bool passwd_line(char **f, size_t n, void *arg) {
	struct passwd_search *s = arg;
	uint32_t uid, gid;
	if (n < 6 || parse_u32(f[2], &uid) < 0 || parse_u32(f[3], &gid) < 0)
		return false;
	if (s->numeric ? uid != s->id : !streq(f[0], s->name))
		return false;
	s->found = true;
	s->uid = uid;
	s->gid = gid;
	snprintf(s->user, sizeof(s->user), "%s", f[0]);
	snprintf(s->home, sizeof(s->home), "%s", f[5]);
	return true;
}

struct group_search { struct arena *a; const char *want; bool numeric, found; uint32_t id, gid; const char *member; struct user_pick *pick; };

static void add_group(struct arena *a, struct user_pick *pick, uint32_t gid) {
	for (size_t i = 0; i < pick->n_groups; i++)
		if (pick->groups[i] == gid)
			return;
	uint32_t *v = arena_array(a, pick->n_groups + 1, uint32_t);
	if (!v)
		return;
	if (pick->n_groups)
		memcpy(v, pick->groups, pick->n_groups * sizeof(*v));
	v[pick->n_groups++] = gid;
	pick->groups = v;
}

static bool group_line(char **f, size_t n, void *arg) {
	struct group_search *s = arg;
	uint32_t gid;
	if (n < 3 || parse_u32(f[2], &gid) < 0)
		return false;
	if (s->want && (s->numeric ? gid == s->id : streq(f[0], s->want))) {
		s->found = true;
		s->gid = gid;
		return true;
	}
	if (!s->member || n < 4)
		return false;
	for (char *save = NULL, *m = strtok_r(f[3], ",", &save); m; m = strtok_r(NULL, ",", &save))
		if (streq(m, s->member))
			add_group(s->a, s->pick, gid);
	return false;
}

static int find_group(struct arena *a, const char *rootfs, const char *name, uint32_t *ret, struct err *e) {
	struct group_search s = { .a = a, .want = name };
	if (parse_u32(name, ret) == 0)
		return 0;
	_cleanup_free_ char *text = read_below(rootfs, "/etc/group");
	if (text)
		each_line(text, group_line, &s);
	if (!s.found)
		return err_set(e, -ENOENT, "unable to find group %s: no matching entries in group file", name);
	*ret = s.gid;
	return 0;
}

int user_lookup(struct arena *a, const char *rootfs, const char *user, const struct opt_list *group_add, struct user_pick *ret, struct err *e) {
	char *name = arena_strdup(a, user && *user ? user : "0");
	struct passwd_search s = { 0 };
	if (!name)
		return err_sys(e, -ENOMEM, "look up user");
	char *group = strchr(name, ':');
	if (group)
		*group++ = '\0';
	if (!*name)
		name = arena_strdup(a, "0");
	*ret = (struct user_pick){ .home = "/" };
	s.name = name;
	s.numeric = parse_u32(name, &s.id) == 0;
	_cleanup_free_ char *passwd = read_below(rootfs, "/etc/passwd");
	if (passwd)
		each_line(passwd, passwd_line, &s);
	if (!s.found && !s.numeric)
		return err_set(e, -ENOENT, "unable to find user %s: no matching entries in passwd file", name);
	ret->uid = s.found ? s.uid : s.id;
	ret->gid = s.found ? s.gid : 0;
	if (s.found) {
		ret->home = *s.home ? arena_strdup(a, s.home) : "/";
		ret->name = arena_strdup(a, s.user);
	} else if (ret->uid == 0) {
		ret->home = "/root";
	}
	if (group && *group) {
		int r = find_group(a, rootfs, group, &ret->gid, e);
		if (r < 0)
			return r;
	} else if (ret->name) {
		struct group_search g = { .a = a, .member = ret->name, .pick = ret };
		_cleanup_free_ char *text = read_below(rootfs, "/etc/group");
		if (text)
			each_line(text, group_line, &g);
	}
	/* The primary group is a supplementary one too: else a setgid program could leave it and pass a rule that denies the group (CVE-2022-36109). */
	add_group(a, ret, ret->gid);
	for (size_t i = 0; group_add && i < group_add->n; i++) {
		uint32_t gid;
		if (streq(group_add->v[i], "keep-groups"))
			continue;
		int r = find_group(a, rootfs, group_add->v[i], &gid, e);
		if (r < 0)
			return r;
		add_group(a, ret, gid);
	}
	return 0;
}
