/* Device rules: the spec's list in order behind "deny all", the devices every container gets, and the v1 devices controller. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "confine/cgroup_internal.h"
#include "sys/fd.h"

/* runc's and crun's default list: nodes may be made, and the spec's default devices (config-linux.md, "Default Devices") used. */
static const struct cgroup_device_rule defaults[] = {
	{ true, 'c', -1, -1, CGROUP_ACC_MKNOD }, { true, 'b', -1, -1, CGROUP_ACC_MKNOD },
	{ true, 'c', 1, 3, CGROUP_ACC_ALL },  /* null */
	{ true, 'c', 1, 5, CGROUP_ACC_ALL },  /* zero */
	{ true, 'c', 1, 7, CGROUP_ACC_ALL },  /* full */
	{ true, 'c', 1, 8, CGROUP_ACC_ALL },  /* random */
	{ true, 'c', 1, 9, CGROUP_ACC_ALL },  /* urandom */
	{ true, 'c', 5, 0, CGROUP_ACC_ALL },  /* tty */
	{ true, 'c', 5, 1, CGROUP_ACC_ALL },  /* console */
	{ true, 'c', 5, 2, CGROUP_ACC_ALL },  /* ptmx */
	{ true, 'c', 136, -1, CGROUP_ACC_ALL }, /* pts */
};

static uint8_t access_bits(const char *s)
{
	uint8_t a = 0;
	for (; s && *s; s++)
		a |= *s == 'r' ? CGROUP_ACC_READ : *s == 'w' ? CGROUP_ACC_WRITE : *s == 'm' ? CGROUP_ACC_MKNOD : 0;
	return a;
}

int cgroup_device_rules(const struct oci_resources *r, struct cgroup_device_rule **ret, size_t *ret_n, struct err *e)
{
	size_t n = 0, max = r->n_devices + ARRAY_SIZE(defaults) + 1;
	struct cgroup_device_rule *v = calloc(max, sizeof(*v));

	if (!v)
		return err_sys(e, ENOMEM, "device rules");
	v[n++] = (struct cgroup_device_rule){ false, 'a', -1, -1, CGROUP_ACC_ALL };
	for (size_t i = 0; i < r->n_devices; i++) {
		const struct oci_device_rule *d = &r->devices[i];
		v[n] = (struct cgroup_device_rule){ d->allow, d->type, d->major.set ? d->major.v : -1, d->minor.set ? d->minor.v : -1, access_bits(d->access) };
		if (v[n].access) /* "" asks for nothing */
			n++;
	}
	memcpy(v + n, defaults, sizeof(defaults));
	*ret = v;
	*ret_n = n + ARRAY_SIZE(defaults);
	return 0;
}

/* ---- v1: a default and exceptions to it -------------------------------------------------------------------------------- */

/* b names no device that a does not name. */
static bool covers(const struct cgroup_device_rule *a, const struct cgroup_device_rule *b)
{
	return a->type == b->type && (a->major < 0 || a->major == b->major) && (a->minor < 0 || a->minor == b->minor);
}

static bool overlap(const struct cgroup_device_rule *a, const struct cgroup_device_rule *b)
{
	return a->type == b->type && (a->major < 0 || b->major < 0 || a->major == b->major) && (a->minor < 0 || b->minor < 0 || a->minor == b->minor);
}

struct reduced { bool allow; struct cgroup_device_rule *v; size_t n; };

static int reduce_one(struct reduced *s, const struct cgroup_device_rule *r, struct err *e)
{
	if (r->allow != s->allow) { /* an exception: widen an equal one or append */
		for (size_t i = 0; i < s->n; i++)
			if (covers(&s->v[i], r) && covers(r, &s->v[i])) {
				s->v[i].access |= r->access;
				return 0;
			}
		s->v[s->n++] = *r;
		return 0;
	}
	/* Back to the default: takes exceptions away. A narrower rule than the exception would need a hole, which v1 cannot have. */
	for (size_t i = 0; i < s->n; i++) {
		struct cgroup_device_rule *x = &s->v[i];
		if (!overlap(r, x) || !(x->access & r->access))
			continue;
		if (!covers(r, x))
			return err_set(e, ENOTSUP, "linux.resources.devices: %s %c %lld:%lld cuts a hole into a wider rule, which cgroup v1 cannot express",
				r->allow ? "allow" : "deny", r->type, (long long)r->major, (long long)r->minor);
		x->access &= (uint8_t)~r->access;
		if (!x->access)
			s->v[i--] = s->v[--s->n];
	}
	return 0;
}

int cgroup_device_reduce(const struct cgroup_device_rule *rules, size_t n, bool *ret_default, struct cgroup_device_rule **ret, size_t *ret_n, struct err *e)
{
	struct reduced s = { .v = calloc(2 * n + 1, sizeof(*s.v)) };
	int q = 0;

	if (!s.v)
		return err_sys(e, ENOMEM, "device rules");
	for (size_t i = 0; i < n && q == 0; i++) {
		if (rules[i].type != 'a') {
			q = reduce_one(&s, &rules[i], e);
		} else if (rules[i].major < 0 && rules[i].minor < 0 && rules[i].access == CGROUP_ACC_ALL) {
			s.allow = rules[i].allow;
			s.n = 0;
		} else { /* the kernel would read any "a" as "everything": say it for both kinds instead */
			struct cgroup_device_rule one = rules[i];
			one.type = 'b';
			q = reduce_one(&s, &one, e);
			one.type = 'c';
			q = q < 0 ? q : reduce_one(&s, &one, e);
		}
	}
	if (q < 0) {
		free(s.v);
		return q;
	}
	*ret_default = s.allow;
	*ret = s.v;
	*ret_n = s.n;
	return 0;
}

static void rule_text(const struct cgroup_device_rule *r, char buf[80])
{
	char major[24] = "*", minor[24] = "*";

	if (r->major >= 0)
		snprintf(major, sizeof(major), "%lld", (long long)r->major);
	if (r->minor >= 0)
		snprintf(minor, sizeof(minor), "%lld", (long long)r->minor);
	snprintf(buf, 80, "%c %s:%s %s%s%s", r->type, major, minor, r->access & CGROUP_ACC_READ ? "r" : "", r->access & CGROUP_ACC_WRITE ? "w" : "",
		r->access & CGROUP_ACC_MKNOD ? "m" : "");
}

static int write_rule(int fd, const char *text, const struct cgroup_hier *h, bool allow, struct err *e)
{
	if (write(fd, text, strlen(text)) < 0)
		return err_sys(e, errno, "write \"%s\" to %s/devices.%s", text, h->dir, allow ? "allow" : "deny");
	return 0;
}

/* One line of devices.list; false when it is none. */
static bool parse_line(const char *line, struct cgroup_device_rule *ret)
{
	char type, major[24], minor[24], acc[8];

	if (sscanf(line, "%c %23[^:]:%23s %7s", &type, major, minor, acc) != 4)
		return false;
	*ret = (struct cgroup_device_rule){ true, type, streq(major, "*") ? -1 : atoll(major), streq(minor, "*") ? -1 : atoll(minor), access_bits(acc) };
	return true;
}

struct v1_dev { struct cgroup_hier *h; int allow_fd, deny_fd; };

static int v1_reset(struct v1_dev *d, bool allow, const struct cgroup_device_rule *v, size_t n, struct err *e)
{
	char text[80];
	int q = write_rule(allow ? d->allow_fd : d->deny_fd, "a", d->h, allow, e);

	for (size_t i = 0; i < n && q == 0; i++) {
		rule_text(&v[i], text);
		q = write_rule(allow ? d->deny_fd : d->allow_fd, text, d->h, !allow, e);
	}
	return q;
}

/* From an allow list to an allow list: first what is new, then what has to go, so that nothing allowed by both is ever refused. */
static int v1_diff(struct v1_dev *d, const char *list, const struct cgroup_device_rule *v, size_t n, struct err *e)
{
	struct cgroup_device_rule old;
	char text[80];
	int q;

	for (size_t i = 0; i < n; i++) {
		rule_text(&v[i], text);
		if ((q = write_rule(d->allow_fd, text, d->h, true, e)) < 0)
			return q;
	}
	for (const char *p = list; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		if (!parse_line(p, &old))
			continue;
		for (size_t i = 0; i < n; i++)
			if (covers(&v[i], &old) && covers(&old, &v[i]))
				old.access &= (uint8_t)~v[i].access;
		if (!old.access)
			continue;
		rule_text(&old, text);
		if ((q = write_rule(d->deny_fd, text, d->h, false, e)) < 0)
			return q;
	}
	return 0;
}

static int v1_apply(struct cgroup *cg, struct cgroup_hier *h, const struct cgroup_device_rule *rules, size_t n, bool fresh, struct err *e)
{
	_cleanup_free_ struct cgroup_device_rule *v = NULL;
	_cleanup_strbuf_ struct strbuf list = STRBUF_INIT;
	bool allow;
	size_t m;
	int q = cgroup_device_reduce(rules, n, &allow, &v, &m, e), dir;

	if (q < 0)
		return q;
	if ((dir = cgroup_hier_fd(h)) < 0)
		return err_sys(e, dir, "open %s", h->dir);
	_cleanup_close_ int a = openat(dir, "devices.allow", O_WRONLY | O_CLOEXEC);
	_cleanup_close_ int b = openat(dir, "devices.deny", O_WRONLY | O_CLOEXEC);
	if (a < 0 || b < 0)
		return err_sys(e, errno, "open %s/devices.allow", h->dir);
	struct v1_dev d = { h, a, b };
	if (fresh)
		return v1_reset(&d, allow, v, m, e);
	if ((q = file_read_at(dir, "devices.list", &list, 1 << 20)) < 0)
		return err_sys(e, q, "read %s/devices.list", h->dir);
	bool was_allow = str_has_prefix(strbuf_str(&list), "a ");
	if (!was_allow && !allow)
		return v1_diff(&d, strbuf_str(&list), v, m, e);
	/* The kernel does not show exceptions to "allow all", and changing the default goes through a moment with the wrong rules: nobody
	 * runs meanwhile. */
	bool was = cgroup_frozen(cg) > 0, froze = !was && cgroup_freeze(cg, true, NULL) == 0;
	q = v1_reset(&d, allow, v, m, e);
	if (froze)
		(void)cgroup_freeze(cg, false, NULL);
	return q;
}

int cgroup_devices(struct cgroup *cg, const struct oci_resources *r, bool fresh, struct err *e)
{
	_cleanup_free_ struct cgroup_device_rule *rules = NULL;
	struct cgroup_hier *h = cgroup_hier(cg, CGROUP_DEVICES);
	size_t n;
	int q, fd;

	if (!h) /* without root the mounts decide: no device node of the host is reachable by mknod */
		return cg->rootless ? 0 : cgroup_no_controller(CGROUP_DEVICES, "linux.resources.devices", e);
	if ((q = cgroup_device_rules(r, &rules, &n, e)) < 0)
		return q;
	if (!h->v2) {
		q = v1_apply(cg, h, rules, n, fresh, e);
	} else {
		fd = cgroup_hier_fd(h);
		q = fd < 0 ? err_sys(e, fd, "open %s", h->dir) : cgroup_bpf_attach(fd, rules, n, e);
	}
	if ((q == -EPERM || q == -EACCES) && cg->rootless) {
		err_clear(e);
		return 0;
	}
	return q;
}
