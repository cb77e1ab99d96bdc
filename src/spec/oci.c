/* config.json: the top level, rules across members, and the entry points. */
#include "spec/oci.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>

#include "base/str.h"
#include "spec/oci_internal.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static const struct field root_fields[] = {
	FIELD_REQ("path", FIELD_STRING, struct oci_spec, root_path),
	FIELD("readonly", FIELD_BOOL, struct oci_spec, root_readonly),
	FIELD_END,
};

static int read_root(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	struct oci_spec *s = obj;
	int r = decode_object(d, p, j, root_fields, s);
	if (r == 0 && !*s->root_path)
		return decode_fail(d, p, "path is empty (expected the root filesystem's directory)");
	return r;
}

static int read_process(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	struct oci_spec *s = obj;
	s->has_process = true;
	int r = decode_object(d, p, j, oci_process_fields, &s->process);
	return r < 0 ? r : oci_check_process(d, p, j, &s->process);
}

static int read_linux(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	((struct oci_spec *)obj)->has_linux = true;
	return decode_object(d, p, j, oci_linux_fields, obj);
}

static const struct field hook_fields[] = {
	FIELD_REQ("path", FIELD_STRING, struct oci_hook, path),
	FIELD("args", FIELD_STRINGS, struct oci_hook, args),
	FIELD("env", FIELD_STRINGS, struct oci_hook, env),
	FIELD("timeout", FIELD_OPT_I64, struct oci_hook, timeout),
	FIELD_END,
};

static int check_hook(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj) {
	struct oci_hook *h = obj;
	if (h->path[0] != '/')
		return decode_fail(d, p, "path \"%.200s\" must be absolute", h->path);
	if (h->timeout.set && h->timeout.v <= 0)
		return decode_fail(d, p, "timeout %lld must be greater than zero", (long long)h->timeout.v);
	if (!h->args.v || !h->env.v) {
		/* Without args the hook still gets its own path as argv[0]. */
		char **v = arena_array(d->a, 2, char *), **none = arena_array(d->a, 1, char *);
		if (!v || !none)
			return decode_oom(d);
		v[0] = (char *)(uintptr_t)h->path;
		h->args = h->args.v ? h->args : (struct oci_strings){ v, 1 };
		h->env.v = h->env.v ? h->env.v : none;
	}
	return 0;
}

#define HOOKS(key, point) FIELD_ARRAY_FN(key, struct oci_spec, hooks[point].v, hooks[point].n, struct oci_hook, hook_fields, check_hook)
static const struct field hooks_fields[] = {
	HOOKS("prestart", OCI_HOOK_PRESTART), HOOKS("createRuntime", OCI_HOOK_CREATE_RUNTIME), HOOKS("createContainer", OCI_HOOK_CREATE_CONTAINER),
	HOOKS("startContainer", OCI_HOOK_START_CONTAINER), HOOKS("poststart", OCI_HOOK_POSTSTART), HOOKS("poststop", OCI_HOOK_POSTSTOP), FIELD_END,
};

static int read_hooks(struct decoder *d, const struct decode_path *p, struct json *j, void *obj) {
	return decode_object(d, p, j, hooks_fields, obj);
}

/* Other platforms' parts are unknown members to us, except those that would silently lose what the user asked for. */
static int refuse_platform(struct decoder *d, const struct decode_path *p, struct json *j UNUSED, void *obj UNUSED) {
	return decode_fail(d, p, "this runtime runs Linux containers only");
}

static const struct field spec_fields[] = {
	FIELD_REQ("ociVersion", FIELD_STRING, struct oci_spec, version),
	FIELD("hostname", FIELD_TEXT, struct oci_spec, hostname),
	FIELD("domainname", FIELD_TEXT, struct oci_spec, domainname),
	FIELD_FN("root", read_root),
	FIELD_FN("process", read_process),
	FIELD_ARRAY_FN("mounts", struct oci_spec, mounts, n_mounts, struct oci_mount, oci_mount_fields, oci_check_mount),
	FIELD_FN("hooks", read_hooks),
	FIELD("annotations", FIELD_MAP, struct oci_spec, annotations),
	FIELD_FN("linux", read_linux),
	FIELD_FN("solaris", refuse_platform),
	FIELD_FN("windows", refuse_platform),
	FIELD_FN("zos", refuse_platform),
	FIELD_END,
};

static bool own_namespace(const struct oci_spec *s, int flag) {
	return oci_namespace(s, flag) != NULL;
}

static int check_version(struct decoder *d, const struct oci_spec *s) {
	unsigned major, minor;
	int n = 0;
	if (sscanf(s->version, "%u.%u%n", &major, &minor, &n) != 2 || n == 0)
		return decode_fail(d, NULL, "ociVersion: \"%.40s\" is no version (expected for instance 1.2.0)", s->version);
	if (major > 1)
		return decode_fail(d, NULL, "ociVersion: \"%.40s\" is not supported (expected 1.x)", s->version);
	return 0;
}

enum { UTS_NAME_MAX = 64 }; /* __NEW_UTS_LEN: sethostname(2) says no more than EINVAL */

static int check_names(struct decoder *d, const struct oci_spec *s) {
	const struct { const char *key, *value; } names[] = { { "hostname", s->hostname }, { "domainname", s->domainname } };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].value && strlen(names[i].value) > UTS_NAME_MAX)
			return decode_fail(d, NULL, "%s: \"%.20s...\" has %zu bytes (at most %d)", names[i].key, names[i].value, strlen(names[i].value), UTS_NAME_MAX);
	return 0;
}

static int check_namespaces(struct decoder *d, const struct oci_spec *s) {
	for (size_t i = 0; i < s->n_namespaces; i++)
		for (size_t k = 0; k < i; k++)
			if (s->namespaces[i].flag == s->namespaces[k].flag)
				return decode_fail(d, NULL, "linux.namespaces[%zu]: malformed spec file: duplicated ns \"%s\"", i, oci_namespace_name(s->namespaces[i].flag));
	if (s->hostname && !own_namespace(s, CLONE_NEWUTS))
		return decode_fail(d, NULL, "hostname: unable to set hostname without a private UTS namespace");
	if (s->domainname && !own_namespace(s, CLONE_NEWUTS))
		return decode_fail(d, NULL, "domainname: unable to set domainname without a private UTS namespace");
	if ((s->masked_paths.n || s->readonly_paths.n) && !own_namespace(s, CLONE_NEWNS))
		return decode_fail(d, NULL, "linux.maskedPaths: unable to restrict sys entries without a private MNT namespace");
	const struct oci_namespace *user = oci_namespace(s, CLONE_NEWUSER);
	if ((s->uid_mappings.n || s->gid_mappings.n) && !user)
		return decode_fail(d, NULL, "linux.uidMappings: user namespace mappings specified, but USER namespace isn't enabled in the config");
	if (user && !user->path && (!s->uid_mappings.n || !s->gid_mappings.n))
		return decode_fail(d, NULL, "linux.uidMappings: a new user namespace needs uidMappings and gidMappings");
	const struct oci_namespace *tm = oci_namespace(s, CLONE_NEWTIME);
	if (s->n_time_offsets && !tm)
		return decode_fail(d, NULL, "linux.timeOffsets: time namespace offsets specified, but TIME namespace isn't enabled in the config");
	if (s->n_time_offsets && tm->path)
		return decode_fail(d, NULL, "linux.timeOffsets: time namespace offsets cannot be set in a namespace joined by path");
	if (s->n_net_devices && !own_namespace(s, CLONE_NEWNET))
		return decode_fail(d, NULL, "linux.netDevices: unable to move network devices without a private NET namespace");
	return 0;
}

static int check_mounts(struct decoder *d, const struct oci_spec *s) {
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct oci_mount *m = &s->mounts[i];
		bool idmap = (m->ext & OCI_MOUNT_IDMAP) != 0;
		if (m->uid_mappings.n && !m->bind && !idmap)
			return decode_fail(d, NULL, "mounts[%zu]: id-mapped mounts are only supported for bind mounts, or with the idmap option", i);
		if (idmap && !m->idmap_option && !m->uid_mappings.n && !own_namespace(s, CLONE_NEWUSER))
			return decode_fail(d, NULL, "mounts[%zu]: option idmap needs uidMappings and gidMappings, or a user namespace to take them from", i);
	}
	return 0;
}

int oci_check_spec(struct decoder *d, struct oci_spec *s) {
	int r = check_version(d, s);
	if (r == 0)
		r = check_names(d, s);
	if (r == 0)
		r = check_namespaces(d, s);
	if (r == 0)
		r = check_mounts(d, s);
	if (r < 0)
		return r;
	char **none = arena_array(d->a, 1, char *);
	if (!none)
		return decode_oom(d);
	struct oci_strings *const lists[] = { &s->masked_paths, &s->readonly_paths, &s->process.args, &s->process.env, &s->seccomp.architectures, &s->intel_rdt.schemata };
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (!lists[i]->v)
			lists[i]->v = none;
	return 0;
}

int oci_spec_from_json(struct arena *a, struct json *doc, struct oci_spec **ret, struct err *e) {
	struct decoder d = { a, e, "config.json" };
	struct oci_spec *s = arena_new(a, struct oci_spec);
	if (!s)
		return decode_oom(&d);
	s->json = doc;
	int r = decode_object(&d, NULL, doc, spec_fields, s);
	if (r == 0)
		r = oci_check_spec(&d, s);
	if (r == 0)
		*ret = s;
	return r;
}

int oci_spec_load(struct arena *a, int dirfd, const char *path, struct oci_spec **ret, struct err *e) {
	_cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
	/* O_NONBLOCK: a fifo put in place of the file must not hang us. */
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0) {
		if (errno == ENOENT)
			return err_set(e, -ENOENT, "JSON specification file %s not found: no such file or directory", path);
		return err_sys(e, errno, "open %s", path);
	}
	char buf[16 * 1024];
	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "read %s", path);
		if (n == 0)
			break;
		if (text.len + (size_t)n > OCI_CONFIG_MAX)
			return err_set(e, -EFBIG, "%s: larger than %d MiB", path, OCI_CONFIG_MAX >> 20);
		if (strbuf_add(&text, buf, (size_t)n) < 0)
			return err_sys(e, -ENOMEM, "read %s", path);
	}
	struct json *doc;
	int r = json_parse(a, strbuf_str(&text), text.len, &doc, e);
	if (r < 0)
		return err_wrap(e, r, "%s", path);
	return oci_spec_from_json(a, doc, ret, e);
}

int oci_process_from_json(struct arena *a, struct json *doc, struct oci_process *ret, struct err *e) {
	struct decoder d = { a, e, "process.json" };
	*ret = (struct oci_process){ 0 };
	int r = decode_object(&d, NULL, doc, oci_process_fields, ret);
	return r < 0 ? r : oci_check_process(&d, NULL, doc, ret);
}

int oci_resources_from_json(struct arena *a, struct json *doc, struct oci_resources *ret, struct err *e) {
	struct decoder d = { a, e, "resources" };
	*ret = (struct oci_resources){ 0 };
	int r = decode_object(&d, NULL, doc, oci_resources_fields, ret);
	return r < 0 ? r : oci_check_resources(&d, NULL, doc, ret);
}

const char *oci_annotation(const struct oci_spec *s, const char *key) {
	for (size_t i = 0; i < s->annotations.n; i++)
		if (streq(s->annotations.v[i].key, key))
			return s->annotations.v[i].value;
	return NULL;
}

const struct oci_namespace *oci_namespace(const struct oci_spec *s, int flag) {
	for (size_t i = 0; i < s->n_namespaces; i++)
		if (s->namespaces[i].flag == flag)
			return &s->namespaces[i];
	return NULL;
}
