/* Landlock policies: see landlock.h for the syntax. */
#include "confine/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/str.h"
#include "wire/json.h"

/* Of linux/landlock.h, spelt out since the header of the build machine may know fewer. */
#define FS(n) (1ULL << (n))
#define FS_EXECUTE FS(0)
#define FS_WRITE_FILE FS(1)
#define FS_READ_FILE FS(2)
#define FS_READ_DIR FS(3)
#define FS_REMOVE_DIR FS(4)
#define FS_REMOVE_FILE FS(5)
#define FS_MAKE_CHAR FS(6)
#define FS_MAKE_DIR FS(7)
#define FS_MAKE_REG FS(8)
#define FS_MAKE_SOCK FS(9)
#define FS_MAKE_FIFO FS(10)
#define FS_MAKE_BLOCK FS(11)
#define FS_MAKE_SYM FS(12)
#define FS_REFER FS(13)     /* ABI 2 */
#define FS_TRUNCATE FS(14)  /* ABI 3 */
#define FS_IOCTL_DEV FS(15) /* ABI 5 */
#define FS_ALL (FS(16) - 1)
#define FS_OF_FILES (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV) /* the rest is refused on a file */
#define NET_BIND 1ULL       /* ABI 4 */
#define NET_CONNECT 2ULL
#define SCOPE_ABSTRACT 1ULL /* ABI 6 */
#define SCOPE_SIGNAL 2ULL
#define LOG_SAME_EXEC_OFF 1u /* ABI 7 */
#define LOG_NEW_EXEC_ON 2u
#define LOG_SUBDOMAINS_OFF 4u

#ifndef SYS_landlock_create_ruleset /* one number on every architecture but alpha */
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif
enum { RULE_PATH = 1, RULE_PORT = 2, QUERY_VERSION = 1 };

struct ruleset_attr { uint64_t fs, net, scoped; };
struct path_attr { uint64_t access; int32_t fd; } __attribute__((packed));
struct port_attr { uint64_t access, port; };

static const struct { const char *name; uint64_t access; } rights[] = {
	{ "execute_file", FS_EXECUTE }, { "write_file", FS_WRITE_FILE }, { "read_file", FS_READ_FILE }, { "read_dir", FS_READ_DIR },
	{ "remove_dir", FS_REMOVE_DIR }, { "remove_file", FS_REMOVE_FILE }, { "make_char", FS_MAKE_CHAR }, { "make_dir", FS_MAKE_DIR },
	{ "make_reg", FS_MAKE_REG }, { "make_sock", FS_MAKE_SOCK }, { "make_fifo", FS_MAKE_FIFO }, { "make_block", FS_MAKE_BLOCK },
	{ "make_sym", FS_MAKE_SYM }, { "refer", FS_REFER }, { "truncate", FS_TRUNCATE }, { "ioctl_dev", FS_IOCTL_DEV },
	/* groups */
	{ "read", FS_READ_FILE | FS_READ_DIR },
	{ "execute", FS_EXECUTE | FS_READ_FILE | FS_READ_DIR },
	{ "write", FS_WRITE_FILE | FS_TRUNCATE },
	{ "create", FS_MAKE_REG | FS_MAKE_DIR | FS_MAKE_SYM | FS_MAKE_FIFO | FS_MAKE_SOCK | FS_REMOVE_FILE | FS_REMOVE_DIR | FS_REFER },
	{ "device", FS_MAKE_CHAR | FS_MAKE_BLOCK | FS_IOCTL_DEV },
	{ "all", FS_ALL },
};

static uint64_t abi_fs(unsigned int abi) {
	if (abi == 0)
		return 0;
	return abi >= 5 ? FS_ALL : abi >= 3 ? FS(15) - 1 : abi == 2 ? FS(14) - 1 : FS(13) - 1;
}
static uint64_t abi_net(unsigned int abi) { return abi >= 4 ? NET_BIND | NET_CONNECT : 0; }
static uint64_t abi_scope(unsigned int abi) { return abi >= 6 ? SCOPE_ABSTRACT | SCOPE_SIGNAL : 0; }

unsigned int landlock_abi(void) {
	long r = syscall(SYS_landlock_create_ruleset, NULL, 0, QUERY_VERSION);
	return r < 0 ? 0 : (unsigned int)r;
}

/* ---- parsing ------------------------------------------------------------------------------------------------------ */

static int bad(struct err *e, const char *member, const char *allowed) {
	return err_set(e, -EINVAL, "annotation " LANDLOCK_ANNOTATION ": %s: %s", member, allowed);
}

/* Every member must be one of `known` (NULL-terminated). */
static int only_known(const struct json *o, const char *where, const char *const *known, struct err *e) {
	for (const struct json *m = json_first(o); m; m = m->next) {
		size_t i = 0;
		while (known[i] && !streq(known[i], m->key))
			i++;
		if (!known[i])
			return err_set(e, -EINVAL, "annotation " LANDLOCK_ANNOTATION ": %s: unknown member \"%s\"", where, m->key);
	}
	return 0;
}

static int parse_access(const struct json *j, uint64_t *ret, struct err *e) {
	uint64_t access = 0;
	if (!j || j->type != JSON_ARRAY || !json_first(j))
		return bad(e, "paths[].access", "a list of rights is needed, such as [\"read\", \"execute\"]");
	for (const struct json *m = json_first(j); m; m = m->next) {
		size_t i = 0;
		if (m->type == JSON_STRING)
			while (i < ARRAY_SIZE(rights) && !streq(rights[i].name, m->text))
				i++;
		if (m->type != JSON_STRING || i == ARRAY_SIZE(rights))
			return err_set(e, -EINVAL, "annotation " LANDLOCK_ANNOTATION ": paths[].access: \"%s\" is not a right; groups are read, write, execute, "
				"create, device, all", m->type == JSON_STRING ? m->text : json_type_name(m->type));
		access |= rights[i].access;
	}
	*ret = access;
	return 0;
}

static int add_path(struct landlock_policy *p, const struct json *name, uint64_t access, bool optional, struct err *e) {
	if (name->type != JSON_STRING || name->text[0] != '/')
		return bad(e, "paths[].path", "an absolute path or a list of them is needed");
	p->paths[p->n_paths++] = (struct landlock_path){ name->text, access, optional };
	p->named_fs |= access;
	return 0;
}

static int parse_paths(struct arena *a, const struct json *list, struct landlock_policy *p, struct err *e) {
	static const char *const known[] = { "path", "access", "optional", NULL };
	if (list->type != JSON_ARRAY)
		return bad(e, "paths", "a list is needed");
	size_t n = 0;
	for (const struct json *m = json_first(list); m; m = m->next) {
		const struct json *path = json_get(m, "path");
		n += path && path->type == JSON_ARRAY ? path->len : 1;
	}
	if (n > LANDLOCK_MAX_PATHS)
		return bad(e, "paths", "more than 4096 paths");
	p->paths = arena_array(a, n, struct landlock_path);
	if (!p->paths)
		return err_set(e, -ENOMEM, "out of memory");
	for (const struct json *m = json_first(list); m; m = m->next) {
		uint64_t access = 0;
		const struct json *path = json_get(m, "path"), *optional = json_get(m, "optional");
		if (m->type != JSON_OBJECT || !path)
			return bad(e, "paths[]", "an object with \"path\" and \"access\" is needed");
		int r = only_known(m, "paths[]", known, e);
		if (r == 0)
			r = parse_access(json_get(m, "access"), &access, e);
		if (r == 0 && optional && optional->type != JSON_BOOL)
			r = bad(e, "paths[].optional", "true or false is needed");
		if (r < 0)
			return r;
		bool opt = optional && optional->boolean;
		if (path->type != JSON_ARRAY) {
			r = add_path(p, path, access, opt, e);
		} else {
			for (const struct json *one = json_first(path); one && r == 0; one = one->next)
				r = add_path(p, one, access, opt, e);
		}
		if (r < 0)
			return r;
	}
	p->handled_fs = FS_ALL;
	return 0;
}

/* 80, "80" or "8000-8010" */
static int parse_port(const struct json *j, struct landlock_port *ret) {
	uint64_t first = 0, last = 0;
	if (j->type == JSON_NUMBER) {
		if (json_u64(j, &first) < 0)
			return -EINVAL;
		last = first;
	} else if (j->type == JSON_STRING) {
		char text[16];
		if (j->len >= sizeof(text))
			return -EINVAL;
		memcpy(text, j->text, j->len + 1);
		char *dash = strchr(text, '-');
		if (dash)
			*dash = '\0';
		if (parse_u64(text, &first) < 0 || parse_u64(dash ? dash + 1 : text, &last) < 0)
			return -EINVAL;
	} else {
		return -EINVAL;
	}
	if (last > UINT16_MAX || first > last)
		return -ERANGE;
	*ret = (struct landlock_port){ (uint16_t)first, (uint16_t)last, 0 };
	return 0;
}

static int parse_ports(struct arena *a, const struct json *doc, struct landlock_policy *p, struct err *e) {
	static const struct { const char *member; uint64_t access; } kinds[] = { { "bind", NET_BIND }, { "connect", NET_CONNECT } };
	size_t n = 0, total = 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct json *list = json_get(doc, kinds[i].member);
		if (list && list->type != JSON_ARRAY)
			return bad(e, kinds[i].member, "a list of ports is needed");
		n += list ? list->len : 0;
	}
	p->ports = arena_array(a, n, struct landlock_port);
	if (!p->ports)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct json *list = json_get(doc, kinds[i].member);
		if (!list)
			continue;
		p->handled_net |= kinds[i].access;
		for (const struct json *m = json_first(list); m; m = m->next) {
			struct landlock_port port;
			if (parse_port(m, &port) < 0)
				return bad(e, kinds[i].member, "ports are numbers from 0 to 65535 or ranges such as \"8000-8010\"");
			port.access = kinds[i].access;
			total += (size_t)(port.last - port.first) + 1;
			if (total > LANDLOCK_MAX_PORTS)
				return bad(e, kinds[i].member, "more than 4096 ports");
			p->ports[p->n_ports++] = port;
		}
	}
	return 0;
}

static int parse_abi(const struct json *j, struct landlock_policy *p, struct err *e) {
	uint64_t n;
	if (!j || (j->type == JSON_STRING && streq(j->text, "best-effort")))
		return 0;
	if (j->type == JSON_STRING && streq(j->text, "require")) {
		p->require = true;
		return 0;
	}
	if (j->type == JSON_NUMBER && json_u64(j, &n) == 0 && n >= 1 && n <= 1000) {
		p->min_abi = (unsigned int)n;
		return 0;
	}
	return bad(e, "abi", "\"best-effort\", \"require\" or a number from 1 is needed");
}

static int parse_scope(const struct json *list, struct landlock_policy *p, struct err *e) {
	if (!list)
		return 0;
	if (list->type != JSON_ARRAY)
		return bad(e, "scope", "a list is needed");
	for (const struct json *m = json_first(list); m; m = m->next) {
		if (m->type == JSON_STRING && streq(m->text, "abstract-unix-socket"))
			p->scoped |= SCOPE_ABSTRACT;
		else if (m->type == JSON_STRING && streq(m->text, "signal"))
			p->scoped |= SCOPE_SIGNAL;
		else
			return bad(e, "scope", "known are abstract-unix-socket and signal");
	}
	return 0;
}

static int parse_log(const struct json *o, struct landlock_policy *p, struct err *e) {
	static const char *const known[] = { "same-exec", "new-exec", "subdomains", NULL };
	/* what the kernel does by itself, and the flag for the opposite */
	static const struct { bool dflt; uint32_t flag; } meaning[] = { { true, LOG_SAME_EXEC_OFF }, { false, LOG_NEW_EXEC_ON }, { true, LOG_SUBDOMAINS_OFF } };
	if (!o)
		return 0;
	if (o->type != JSON_OBJECT)
		return bad(e, "log", "an object is needed");
	int r = only_known(o, "log", known, e);
	for (size_t i = 0; r == 0 && known[i]; i++) {
		const struct json *m = json_get(o, known[i]);
		if (m && m->type != JSON_BOOL)
			r = bad(e, "log", "true or false is needed");
		else if (m && m->boolean != meaning[i].dflt)
			p->restrict_flags |= meaning[i].flag;
	}
	return r;
}

int landlock_parse(struct arena *a, const char *text, struct landlock_policy *ret, struct err *e) {
	static const char *const known[] = { "abi", "paths", "bind", "connect", "scope", "log", NULL };
	struct landlock_policy p = { .present = true };
	struct json *doc;
	int r = json_parse(a, text, strlen(text), &doc, e);
	if (r < 0)
		return err_wrap(e, r, "annotation " LANDLOCK_ANNOTATION);
	if (doc->type != JSON_OBJECT)
		return bad(e, "value", "an object is needed");
	const struct json *paths = json_get(doc, "paths");
	r = only_known(doc, "value", known, e);
	if (r == 0)
		r = parse_abi(json_get(doc, "abi"), &p, e);
	if (r == 0 && paths)
		r = parse_paths(a, paths, &p, e);
	if (r == 0)
		r = parse_ports(a, doc, &p, e);
	if (r == 0)
		r = parse_scope(json_get(doc, "scope"), &p, e);
	if (r == 0)
		r = parse_log(json_get(doc, "log"), &p, e);
	if (r == 0 && !p.handled_fs && !p.handled_net && !p.scoped)
		r = bad(e, "value", "nothing is restricted: one of paths, bind, connect, scope is needed");
	if (r == 0)
		*ret = p;
	return r;
}

int landlock_from_spec(struct arena *a, const struct oci_spec *s, struct landlock_policy *ret, struct err *e) {
	const char *text = oci_annotation(s, LANDLOCK_ANNOTATION);
	if (text)
		return landlock_parse(a, text, ret, e);
	*ret = (struct landlock_policy){ .present = false };
	return 0;
}

/* ---- applying ----------------------------------------------------------------------------------------------------- */

int landlock_check(const struct landlock_policy *p, struct err *e) {
	if (!p->present)
		return 0;
	unsigned int abi = landlock_abi();
	if (abi < p->min_abi)
		return err_set(e, -EOPNOTSUPP, "landlock: kernel ABI %u is older than %u, which the annotation demands", abi, p->min_abi);
	if (!p->require)
		return 0;
	if (abi == 0)
		return err_set(e, -EOPNOTSUPP, "landlock: the kernel has no Landlock or it is not enabled (boot parameter lsm=)");
	if (p->named_fs & ~abi_fs(abi))
		return err_set(e, -EOPNOTSUPP, "landlock: kernel ABI %u does not know all file rights that are named", abi);
	if (p->handled_net & ~abi_net(abi))
		return err_set(e, -EOPNOTSUPP, "landlock: kernel ABI %u has no port rules (ABI 4, Linux 6.7)", abi);
	if (p->scoped & ~abi_scope(abi))
		return err_set(e, -EOPNOTSUPP, "landlock: kernel ABI %u has no scopes (ABI 6, Linux 6.12)", abi);
	if (p->restrict_flags && abi < 7)
		return err_set(e, -EOPNOTSUPP, "landlock: kernel ABI %u has no log settings (ABI 7, Linux 6.15)", abi);
	return 0;
}

static int apply_paths(int ruleset, const struct landlock_policy *p, uint64_t handled, struct err *e) {
	for (size_t i = 0; i < p->n_paths; i++) {
		const struct landlock_path *l = &p->paths[i];
		struct stat st;
		_cleanup_close_ int fd = open(l->path, O_PATH | O_CLOEXEC);
		if (fd < 0 && (errno == ENOENT || errno == ENOTDIR) && l->optional)
			continue;
		if (fd < 0 || fstat(fd, &st) < 0)
			return err_sys(e, errno, "landlock: %s", l->path);
		struct path_attr attr = { .access = l->access & handled, .fd = fd };
		if (!S_ISDIR(st.st_mode))
			attr.access &= FS_OF_FILES;
		if (attr.access && syscall(SYS_landlock_add_rule, ruleset, RULE_PATH, &attr, 0) < 0)
			return err_sys(e, errno, "landlock: rule for %s", l->path);
	}
	return 0;
}

static int apply_ports(int ruleset, const struct landlock_policy *p, uint64_t handled, struct err *e) {
	for (size_t i = 0; i < p->n_ports; i++) {
		if (!(p->ports[i].access & handled))
			continue;
		for (unsigned int port = p->ports[i].first; port <= p->ports[i].last; port++) {
			struct port_attr attr = { p->ports[i].access, port };
			if (syscall(SYS_landlock_add_rule, ruleset, RULE_PORT, &attr, 0) < 0)
				return err_sys(e, errno, "landlock: rule for port %u", port);
		}
	}
	return 0;
}

int landlock_apply(const struct landlock_policy *p, struct err *e) {
	int r = landlock_check(p, e);
	if (r < 0 || !p->present)
		return r;
	unsigned int abi = landlock_abi();
	struct ruleset_attr attr = { p->handled_fs & abi_fs(abi), p->handled_net & abi_net(abi), p->scoped & abi_scope(abi) };
	if (!attr.fs && !attr.net && !attr.scoped)
		return 0; /* best effort on a kernel that knows none of it */
	size_t size = abi >= 6 ? sizeof(attr) : abi >= 4 ? offsetof(struct ruleset_attr, scoped) : offsetof(struct ruleset_attr, net);
	_cleanup_close_ int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (ruleset < 0)
		return err_sys(e, errno, "landlock: create ruleset");
	if ((r = apply_paths(ruleset, p, attr.fs, e)) < 0 || (r = apply_ports(ruleset, p, attr.net, e)) < 0)
		return r;
	if (syscall(SYS_landlock_restrict_self, ruleset, abi >= 7 ? p->restrict_flags : 0) < 0)
		return err_sys(e, errno, "landlock: restrict self%s",
			errno == EPERM ? " (needs process.noNewPrivileges or CAP_SYS_ADMIN)" : "");
	return 0;
}
