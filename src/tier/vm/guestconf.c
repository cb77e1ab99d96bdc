/* The guest's config.json. */
#include "tier/vm/guestconf.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>

#include "confine/mount.h"
#include "sys/kernel.h"
#include "tier/vm/agent/proto.h"

/* The machine has one network, that of the pod; namespaces joined by path are the pod's, whose wall the machine is. */
static bool stays_on_host(const struct json *ns)
{
	const char *type = json_str(ns, "type", "");
	return streq(type, "network") || (json_str(ns, "path", NULL) && (streq(type, "user") || streq(type, "time") || streq(type, "mount")));
}

bool guestconf_net_sysctl(const char *key)
{
	return str_has_prefix(key, "net.") || str_has_prefix(key, "net/");
}

/* Settings of the network go to the machine's, with its interfaces. */
static void sysctls(struct json_writer *w, const struct json *o, bool own_network)
{
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		if (own_network && guestconf_net_sysctl(m->key))
			continue;
		jw_key(w, m->key);
		jw_value(w, m);
	}
	jw_object_end(w);
}

static void namespaces(struct json_writer *w, const struct json *list, bool member)
{
	jw_array(w);
	for (struct json *m = json_first(list); m; m = m->next) {
		bool joined = json_str(m, "path", NULL);
		if (stays_on_host(m) || (joined && !member))
			continue;
		if (!joined) {
			jw_value(w, m);
			continue;
		}
		char path[64];
		const char *type = json_str(m, "type", "");
		snprintf(path, sizeof path, AGENT_POD_NS "/%.20s", type);
		jw_object(w);
		jw_key(w, "type");
		jw_string(w, type);
		jw_key(w, "path");
		jw_string(w, path);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void seccomp(struct json_writer *w, const struct json *o)
{
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		if (streq(m->key, "listenerPath") || streq(m->key, "listenerMetadata"))
			continue;
		jw_key(w, m->key);
		jw_value(w, m);
	}
	jw_object_end(w);
}

static void without(struct json_writer *w, const struct json *o, const char *const *keys)
{
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		bool skip = false;
		for (size_t i = 0; keys[i]; i++)
			skip |= streq(m->key, keys[i]);
		if (skip)
			continue;
		jw_key(w, m->key);
		jw_value(w, m);
	}
	jw_object_end(w);
}

/* Limits that name the host's processors, disks or pages hold the machine, in its cgroup on the host; the guest has others. */
static void resources(struct json_writer *w, const struct json *o)
{
	static const char *const cpu[] = { "cpus", "mems", NULL };
	static const char *const whole[] = { "blockIO", "hugepageLimits", "network", "rdma", NULL };
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		bool skip = false;
		for (size_t i = 0; whole[i]; i++)
			skip |= streq(m->key, whole[i]);
		if (skip)
			continue;
		jw_key(w, m->key);
		if (streq(m->key, "cpu"))
			without(w, m, cpu);
		else
			jw_value(w, m);
	}
	jw_object_end(w);
}

static void linux_part(struct json_writer *w, const struct json *o, bool member, bool own_network)
{
	static const char *const host_only[] = { "cgroupsPath", "intelRdt", "netDevices", "rootfsPropagation", "mountLabel" };
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		bool skip = false;
		for (size_t i = 0; i < ARRAY_SIZE(host_only); i++)
			skip |= streq(m->key, host_only[i]);
		if (skip)
			continue;
		jw_key(w, m->key);
		if (streq(m->key, "namespaces"))
			namespaces(w, m, member);
		else if (streq(m->key, "resources"))
			resources(w, m);
		else if (streq(m->key, "sysctl"))
			sysctls(w, m, own_network);
		else if (streq(m->key, "seccomp"))
			seccomp(w, m);
		else
			jw_value(w, m);
	}
	jw_object_end(w);
}

/* Those whose program is the container's own and runs right before the user's. */
static void hooks(struct json_writer *w, const struct json *o)
{
	const struct json *start = json_get(o, "startContainer");
	jw_object(w);
	if (start) {
		jw_key(w, "startContainer");
		jw_value(w, start);
	}
	jw_object_end(w);
}

/* For the state that hooks see. Those of runtimes were acted on already. */
static void annotations(struct json_writer *w, const struct json *o)
{
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		if (str_has_prefix(m->key, "run.oci.") || str_has_prefix(m->key, "dev.tierce."))
			continue;
		jw_key(w, m->key);
		jw_value(w, m);
	}
	jw_object_end(w);
}

static void process_part(struct json_writer *w, const struct json *o)
{
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		if (streq(m->key, "apparmorProfile") || streq(m->key, "selinuxLabel") || streq(m->key, "oomScoreAdj"))
			continue; /* labels of the host's policy; the score is the monitor's and QEMU's on the host */
		jw_key(w, m->key);
		jw_value(w, m);
	}
	jw_object_end(w);
}

static void share_options(struct json_writer *w, const struct json *list)
{
	jw_array(w);
	for (struct json *m = json_first(list); m; m = m->next)
		if (m->type != JSON_STRING || (!streq(m->text, "idmap") && !streq(m->text, "ridmap")))
			jw_value(w, m);
	jw_array_end(w);
}

static void shared_mount(struct json_writer *w, const struct json *o, int share)
{
	char path[64];
	snprintf(path, sizeof path, AGENT_SHARES "/%d", share);
	jw_object(w);
	for (struct json *m = json_first(o); m; m = m->next) {
		if (streq(m->key, "source") || streq(m->key, "uidMappings") || streq(m->key, "gidMappings"))
			continue; /* ids are mapped on the host */
		jw_key(w, m->key);
		if (streq(m->key, "options"))
			share_options(w, m);
		else
			jw_value(w, m);
	}
	jw_key(w, "source");
	jw_string(w, path);
	jw_object_end(w);
}

static void guest_tmpfs(struct json_writer *w, const struct oci_mount *m)
{
	static const char *const options[] = { "nosuid", "nodev", "noexec", "mode=1777", "size=65536k" };
	jw_object(w);
	jw_key(w, "destination");
	jw_string(w, m->destination);
	jw_key(w, "type");
	jw_string(w, "tmpfs");
	jw_key(w, "source");
	jw_string(w, "shm");
	jw_key(w, "options");
	jw_array(w);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		jw_string(w, options[i]);
	jw_array_end(w);
	jw_object_end(w);
}

static void mounts(struct json_writer *w, const struct oci_spec *s, const struct guest_shares *shares)
{
	jw_array(w);
	for (size_t i = 0; i < s->n_mounts; i++) {
		int share = shares->of_mount[i];
		if (share >= 0)
			shared_mount(w, s->mounts[i].json, shares->numbers ? shares->numbers[share] : share);
		else if (share == -2)
			guest_tmpfs(w, &s->mounts[i]);
		else
			jw_value(w, s->mounts[i].json);
	}
	jw_array_end(w);
}

/* ---- shares ---------------------------------------------------------------------------------------------------------- */

void guest_shares_clear(struct guest_shares *s)
{
	for (size_t i = 0; i < s->n; i++)
		close(s->v[i].fd);
	free(s->v);
	free(s->numbers);
	free(s->of_mount);
	*s = (struct guest_shares){ 0 };
}

static bool is_guests_own(const char *source)
{
	static const char *const trees[] = { "/proc", "/sys", "/dev" }; /* the machine has its own */
	for (size_t i = 0; i < ARRAY_SIZE(trees); i++)
		if (str_has_prefix(source, trees[i]) && (source[strlen(trees[i])] == 0 || source[strlen(trees[i])] == '/'))
			return true;
	return false;
}

static int open_share(const struct oci_spec *s, const struct oci_mount *m, const char *bundle, struct guest_share *ret, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	struct stat st;
	if (asprintf(&path, "%s%s%s", m->source[0] == '/' ? "" : bundle, m->source[0] == '/' ? "" : "/", m->source) < 0)
		return err_set(e, ENOMEM, "mounts");
	bool readonly = (m->attr_set | m->rec_attr_set) & MOUNT_ATTR_RDONLY;
	_cleanup_close_ int fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (m->recursive_bind ? AT_RECURSIVE : 0));
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "mount %s: source %s", m->destination, path);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return err_set(e, EOPNOTSUPP, "mount %s: %s is neither a directory nor a regular file; sockets and devices of the host do not work in a virtual machine",
			m->destination, path);
	struct mount_attr a = { .attr_set = MOUNT_ATTR_NODEV | (readonly ? MOUNT_ATTR_RDONLY : 0), .propagation = MS_PRIVATE };
	if (mount_is_idmapped(m)) {
		struct mount_ctx c = MOUNT_CTX_INIT;
		struct mount_source src = MOUNT_SOURCE_NONE;
		c.uid_maps = &s->uid_mappings;
		c.gid_maps = &s->gid_mappings;
		int r = mount_prepare_idmap(&c, m, &src, e);
		if (r >= 0 && sys_mount_setattr(fd, "", AT_EMPTY_PATH, &(struct mount_attr){ .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)src.userns }) < 0)
			r = err_sys(e, errno, "mount %s: map the ids of %s", m->destination, path);
		mount_source_close(&src);
		if (r < 0)
			return r;
	}
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &a) < 0)
		return err_sys(e, errno, "mount %s: attributes of %s", m->destination, path);
	*ret = (struct guest_share){ TAKE_FD(fd), readonly };
	return 0;
}

int guest_shares_open(const struct oci_spec *s, const char *bundle, struct guest_shares *ret, struct err *e)
{
	_cleanup_shares_ struct guest_shares g = { .v = calloc(s->n_mounts + 1, sizeof *g.v), .of_mount = calloc(s->n_mounts + 1, sizeof *g.of_mount) };
	if (!g.v || !g.of_mount)
		return err_set(e, ENOMEM, "mounts");
	for (size_t i = 0; i < s->n_mounts; i++) {
		const struct oci_mount *m = &s->mounts[i];
		g.of_mount[i] = -1;
		if (!m->bind || m->remount || !m->source || is_guests_own(m->source))
			continue;
		if (streq(m->destination, "/dev/shm")) { /* an engine's shared memory file system: a machine's shared memory is its own */
			g.of_mount[i] = -2;
			continue;
		}
		int r = open_share(s, m, bundle, &g.v[g.n], e);
		if (r < 0)
			return r;
		g.of_mount[i] = (int)g.n++;
	}
	*ret = g;
	g = (struct guest_shares){ 0 };
	return 0;
}

int guest_shares_root(struct guest_shares *s, const char *rootfs, bool readonly, size_t *ret_number, struct err *e)
{
	int fd = sys_open_tree(AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (fd < 0)
		return err_sys(e, errno, "root filesystem %s", rootfs);
	*ret_number = s->n;
	s->v[s->n++] = (struct guest_share){ fd, readonly }; /* guest_shares_open() left room for it */
	return 0;
}

int guestconf_write(const struct oci_spec *s, const struct guest_shares *shares, struct strbuf *out, struct err *e)
{
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_object(&w);
	for (struct json *m = json_first(s->json); m; m = m->next) {
		if (streq(m->key, "root"))
			continue;
		jw_key(&w, m->key);
		if (streq(m->key, "linux"))
			linux_part(&w, m, shares->member, oci_namespace(s, CLONE_NEWNET) != NULL);
		else if (streq(m->key, "process"))
			process_part(&w, m);
		else if (streq(m->key, "hooks"))
			hooks(&w, m);
		else if (streq(m->key, "annotations"))
			annotations(&w, m);
		else if (streq(m->key, "mounts"))
			mounts(&w, s, shares);
		else
			jw_value(&w, m);
	}
	jw_key(&w, "root");
	jw_object(&w);
	jw_key(&w, "path");
	jw_string(&w, "rootfs");
	jw_key(&w, "readonly");
	jw_bool(&w, s->root_readonly);
	jw_object_end(&w);
	jw_object_end(&w);
	return w.failed || out->failed ? err_set(e, ENOMEM, "config for the guest") : 0;
}
