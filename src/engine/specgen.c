/* config.json from a resolved description: see specgen.h. */
#include "engine/specgen.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>

#include "sys/userns.h"
#include "wire/json.h"

enum { TTY_GID = 5 }; /* Debian's and most others' group of terminals */
#define BIT(n) ((uint64_t)1 << (n))

uint64_t specgen_default_caps(void) {
	return BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SETFCAP) |
		BIT(CAP_SETGID) | BIT(CAP_SETPCAP) | BIT(CAP_SETUID) | BIT(CAP_SYS_CHROOT);
}

static void strings(struct json_writer *w, const char *key, const char *const *v) {
	jw_key(w, key);
	jw_array(w);
	for (; v && *v; v++)
		jw_string(w, *v);
	jw_array_end(w);
}

static void cap_set(struct json_writer *w, const char *key, uint64_t set) {
	jw_key(w, key);
	jw_array(w);
	for (unsigned i = 0; oci_capability_name(i); i++)
		if (set >> i & 1)
			jw_string(w, oci_capability_name(i));
	jw_array_end(w);
}

static void map(struct json_writer *w, const char *key, const struct oci_map *m) {
	if (!m->n)
		return;
	jw_key(w, key);
	jw_object(w);
	for (size_t i = 0; i < m->n; i++)
		jw_kv_string(w, m->v[i].key, m->v[i].value);
	jw_object_end(w);
}

static void process(struct json_writer *w, const struct specgen *g) {
	jw_key(w, "process");
	jw_object(w);
	jw_kv_bool(w, "terminal", g->terminal);
	if (g->terminal && g->console_rows && g->console_cols) {
		jw_key(w, "consoleSize");
		jw_object(w);
		jw_kv_u64(w, "height", g->console_rows);
		jw_kv_u64(w, "width", g->console_cols);
		jw_object_end(w);
	}
	jw_key(w, "user");
	jw_object(w);
	jw_kv_u64(w, "uid", g->uid);
	jw_kv_u64(w, "gid", g->gid);
	if (g->umask >= 0)
		jw_kv_i64(w, "umask", g->umask);
	jw_key(w, "additionalGids");
	jw_array(w);
	for (size_t i = 0; i < g->n_groups; i++)
		jw_u64(w, g->groups[i]);
	jw_array_end(w);
	jw_object_end(w);
	strings(w, "args", g->args);
	strings(w, "env", g->env);
	jw_kv_string(w, "cwd", g->cwd);
	jw_key(w, "capabilities");
	jw_object(w);
	/* For an ordinary user only what was asked for by name is raised (ambient); the rest can be gained by file capabilities alone. */
	uint64_t held = g->uid == 0 ? g->caps : g->ambient_caps;
	cap_set(w, "bounding", g->caps);
	cap_set(w, "permitted", held);
	cap_set(w, "effective", held);
	if (g->ambient_caps) {
		cap_set(w, "inheritable", g->ambient_caps);
		cap_set(w, "ambient", g->ambient_caps);
	}
	jw_object_end(w);
	jw_key(w, "rlimits");
	jw_array(w);
	for (size_t i = 0; i < g->n_rlimits; i++) {
		jw_object(w);
		jw_kv_string(w, "type", g->rlimits[i].type);
		jw_kv_u64(w, "soft", g->rlimits[i].soft);
		jw_kv_u64(w, "hard", g->rlimits[i].hard);
		jw_object_end(w);
	}
	jw_array_end(w);
	jw_kv_bool(w, "noNewPrivileges", g->no_new_privileges);
	if (g->apparmor)
		jw_kv_string(w, "apparmorProfile", g->apparmor);
	if (g->selinux_label)
		jw_kv_string(w, "selinuxLabel", g->selinux_label);
	if (g->oom_score_adj_set)
		jw_kv_i64(w, "oomScoreAdj", g->oom_score_adj);
	jw_object_end(w);
}

static void mount(struct json_writer *w, const char *dest, const char *type, const char *source, const char *const *options) {
	jw_object(w);
	jw_kv_string(w, "destination", dest);
	jw_kv_string(w, "type", type);
	jw_kv_string(w, "source", source);
	strings(w, "options", options);
	jw_object_end(w);
}

#define OPTIONS(...) (const char *const[]){ __VA_ARGS__, NULL }

static bool overridden(const struct specgen *g, const char *dest) {
	for (size_t i = 0; i < g->n_mounts; i++)
		if (streq(g->mounts[i].destination, dest))
			return true;
	return false;
}

static void default_mounts(struct json_writer *w, const struct specgen *g) {
	bool own_net = (g->new_ns & CLONE_NEWNET) || g->net_path, userns = g->n_uid_map || g->user_path || g->rootless;
	bool rw = g->privileged;
	char shm[48];
	if (!overridden(g, "/proc"))
		mount(w, "/proc", "proc", "proc", OPTIONS("nosuid", "noexec", "nodev"));
	if (!overridden(g, "/dev"))
		mount(w, "/dev", "tmpfs", "tmpfs", OPTIONS("nosuid", "strictatime", "mode=755", "size=65536k"));
	if (!overridden(g, "/dev/pts")) {
		if (g->rootless && outer_id("gid_map", TTY_GID) == (uint32_t)-1)
			mount(w, "/dev/pts", "devpts", "devpts", OPTIONS("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"));
		else
			mount(w, "/dev/pts", "devpts", "devpts", OPTIONS("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"));
	}
	if (!overridden(g, "/sys")) {
		/* sysfs shows the network namespace that it was mounted in: without one of our own the host's is bound. */
		if (own_net || !userns)
			mount(w, "/sys", "sysfs", "sysfs", OPTIONS("nosuid", "noexec", "nodev", rw ? "rw" : "ro"));
		else
			mount(w, "/sys", "none", "/sys", OPTIONS("rbind", "nosuid", "noexec", "nodev", "rro"));
	}
	if (!overridden(g, "/sys/fs/cgroup"))
		mount(w, "/sys/fs/cgroup", "cgroup", "cgroup", OPTIONS("nosuid", "noexec", "nodev", "relatime", rw ? "rw" : "ro"));
	if (!overridden(g, "/dev/mqueue")) {
		/* the host's queues, mounted there or not (mq_overview(7): the mount shows the mounter's IPC namespace) */
		if (g->ipc_host && access("/dev/mqueue", F_OK) == 0)
			mount(w, "/dev/mqueue", "bind", "/dev/mqueue", OPTIONS("rbind", "nosuid", "noexec", "nodev"));
		else
			mount(w, "/dev/mqueue", "mqueue", "mqueue", OPTIONS("nosuid", "noexec", "nodev"));
	}
	if (!overridden(g, "/dev/shm")) {
		snprintf(shm, sizeof(shm), "size=%llu", (unsigned long long)(g->shm_size ? g->shm_size : 64 << 20));
		if (g->ipc_host || g->shm_path)
			mount(w, "/dev/shm", "bind", g->shm_path ? g->shm_path : "/dev/shm", OPTIONS("rbind", "nosuid", "noexec", "nodev"));
		else
			mount(w, "/dev/shm", "tmpfs", "shm", OPTIONS("nosuid", "noexec", "nodev", "mode=1777", shm));
	}
}

static void namespaces(struct json_writer *w, const struct specgen *g) {
	const struct { int flag; const char *path; } rows[] = {
		{ CLONE_NEWUSER, g->user_path }, { CLONE_NEWPID, g->pid_path }, { CLONE_NEWNET, g->net_path }, { CLONE_NEWIPC, g->ipc_path },
		{ CLONE_NEWUTS, g->uts_path }, { CLONE_NEWNS, NULL }, { CLONE_NEWCGROUP, g->cgroup_path },
	};
	jw_key(w, "namespaces");
	jw_array(w);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!rows[i].path && !(g->new_ns & rows[i].flag) && rows[i].flag != CLONE_NEWNS)
			continue;
		jw_object(w);
		jw_kv_string(w, "type", oci_namespace_name(rows[i].flag));
		if (rows[i].path)
			jw_kv_string(w, "path", rows[i].path);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void id_maps(struct json_writer *w, const char *key, const struct oci_id_map *m, size_t n) {
	if (!n)
		return;
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < n; i++) {
		jw_object(w);
		jw_kv_u64(w, "containerID", m[i].container_id);
		jw_kv_u64(w, "hostID", m[i].host_id);
		jw_kv_u64(w, "size", m[i].size);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void device_rule(struct json_writer *w, bool allow, char type, int64_t major, int64_t minor, const char *access) {
	char t[2] = { type, 0 };
	jw_object(w);
	jw_kv_bool(w, "allow", allow);
	if (type)
		jw_kv_string(w, "type", t);
	if (major >= 0)
		jw_kv_i64(w, "major", major);
	if (minor >= 0)
		jw_kv_i64(w, "minor", minor);
	jw_kv_string(w, "access", access);
	jw_object_end(w);
}

/* "c 1:3 rwm", "b *:* r", "a" */
static int device_rule_text(struct json_writer *w, const char *text, struct err *e) {
	char type = 0, numbers[32] = "", access[8] = "";
	if (sscanf(text, "%c %31s %7s", &type, numbers, access) != 3 || !strchr("abc", type) || access[strspn(access, "rwm")])
		return err_set(e, -EINVAL, "--device-cgroup-rule \"%s\" is no rule (expected for instance \"c 1:3 rwm\" or \"b 8:* r\")", text);
	char *colon = strchr(numbers, ':');
	int64_t number[2] = { -1, -1 };
	if (!colon)
		return err_set(e, -EINVAL, "--device-cgroup-rule \"%s\" lacks MAJOR:MINOR", text);
	*colon = '\0';
	const char *part[2] = { numbers, colon + 1 };
	for (int i = 0; i < 2; i++)
		if (!streq(part[i], "*") && parse_i64(part[i], &number[i]) < 0)
			return err_set(e, -EINVAL, "--device-cgroup-rule \"%s\": \"%s\" is no device number", text, part[i]);
	device_rule(w, true, type, number[0], number[1], access);
	return 0;
}

static int devices(struct json_writer *w, const struct specgen *g, struct err *e) {
	jw_key(w, "devices");
	jw_array(w);
	if (g->all_devices) {
		device_rule(w, true, 'a', -1, -1, "rwm");
	} else {
		device_rule(w, false, 0, -1, -1, "rwm");
		for (size_t i = 0; i < g->n_devices; i++)
			device_rule(w, true, g->devices[i].type, g->devices[i].major, g->devices[i].minor, g->devices[i].access);
		for (const char *const *r = g->device_cgroup_rules; r && *r; r++) {
			int k = device_rule_text(w, *r, e);
			if (k < 0)
				return k;
		}
	}
	jw_array_end(w);
	return 0;
}

static void block_io(struct json_writer *w, const struct specgen *g) {
	if (!g->blkio_weight && !g->n_block)
		return;
	jw_key(w, "blockIO");
	jw_object(w);
	if (g->blkio_weight)
		jw_kv_u64(w, "weight", g->blkio_weight);
	for (size_t i = 0; i < g->n_block; i++) {
		const struct specgen_block *b = &g->block[i];
		if (i == 0 || !streq(b->key, g->block[i - 1].key)) {
			jw_key(w, b->key);
			jw_array(w);
		}
		jw_object(w);
		jw_kv_i64(w, "major", b->major);
		jw_kv_i64(w, "minor", b->minor);
		jw_kv_u64(w, streq(b->key, "weightDevice") ? "weight" : "rate", b->value);
		jw_object_end(w);
		if (i + 1 == g->n_block || !streq(b->key, b[1].key))
			jw_array_end(w);
	}
	jw_object_end(w);
}

static int resources(struct json_writer *w, const struct specgen *g, struct err *e) {
	jw_key(w, "resources");
	jw_object(w);
	int r = devices(w, g, e);
	if (r < 0)
		return r;
	if (g->memory || g->memory_swap || g->memory_reservation || g->memory_swappiness >= 0 || g->oom_kill_disable) {
		jw_key(w, "memory");
		jw_object(w);
		if (g->memory)
			jw_kv_i64(w, "limit", g->memory);
		if (g->memory_swap)
			jw_kv_i64(w, "swap", g->memory_swap);
		if (g->memory_reservation)
			jw_kv_i64(w, "reservation", g->memory_reservation);
		if (g->memory_swappiness >= 0)
			jw_kv_i64(w, "swappiness", g->memory_swappiness);
		if (g->oom_kill_disable)
			jw_kv_bool(w, "disableOOMKiller", true);
		jw_object_end(w);
	}
	if (g->cpu_shares || g->cpu_quota || g->cpu_period || g->cpuset_cpus || g->cpuset_mems) {
		jw_key(w, "cpu");
		jw_object(w);
		if (g->cpu_shares)
			jw_kv_u64(w, "shares", g->cpu_shares);
		if (g->cpu_quota)
			jw_kv_i64(w, "quota", g->cpu_quota);
		if (g->cpu_period)
			jw_kv_u64(w, "period", g->cpu_period);
		if (g->cpuset_cpus)
			jw_kv_string(w, "cpus", g->cpuset_cpus);
		if (g->cpuset_mems)
			jw_kv_string(w, "mems", g->cpuset_mems);
		jw_object_end(w);
	}
	if (g->pids_limit) {
		jw_key(w, "pids");
		jw_object(w);
		jw_kv_i64(w, "limit", g->pids_limit);
		jw_object_end(w);
	}
	block_io(w, g);
	map(w, "unified", &g->unified);
	jw_object_end(w);
	return 0;
}

static const char *const default_masked[] = {
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
	"/proc/scsi", "/sys/firmware", "/sys/fs/selinux", "/sys/devices/virtual/powercap", "/sys/dev/block",
};
static const char *const default_read_only[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

static void paths(struct json_writer *w, const struct specgen *g, const char *key, const char *const *v, size_t n, const char *const *extra) {
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < n && !g->no_default_masks; i++) {
		bool open = false;
		for (const char *const *u = g->unmask; u && *u; u++)
			open |= streq(*u, v[i]);
		if (!open)
			jw_string(w, v[i]);
	}
	for (; extra && *extra; extra++)
		jw_string(w, *extra);
	jw_array_end(w);
}

static int linux_part(struct json_writer *w, const struct specgen *g, struct err *e) {
	jw_key(w, "linux");
	jw_object(w);
	id_maps(w, "uidMappings", g->uid_map, g->n_uid_map);
	id_maps(w, "gidMappings", g->gid_map, g->n_gid_map);
	map(w, "sysctl", &g->sysctl);
	int r = resources(w, g, e);
	if (r < 0)
		return r;
	if (g->cgroups_path)
		jw_kv_string(w, "cgroupsPath", g->cgroups_path);
	namespaces(w, g);
	jw_key(w, "devices");
	jw_array(w);
	for (size_t i = 0; i < g->n_devices; i++) {
		const struct specgen_device *d = &g->devices[i];
		char type[2] = { d->type, 0 };
		jw_object(w);
		jw_kv_string(w, "path", d->path);
		jw_kv_string(w, "type", type);
		jw_kv_i64(w, "major", d->major);
		jw_kv_i64(w, "minor", d->minor);
		jw_kv_u64(w, "fileMode", d->mode);
		jw_kv_u64(w, "uid", d->uid);
		jw_kv_u64(w, "gid", d->gid);
		jw_object_end(w);
	}
	jw_array_end(w);
	if (g->seccomp == SPECGEN_SECCOMP_DEFAULT && !g->privileged) {
		jw_key(w, "seccomp");
		specgen_default_seccomp(w, g->caps);
	} else if (g->seccomp == SPECGEN_SECCOMP_FILE) {
		_cleanup_arena_ struct arena a = ARENA_INIT;
		struct json *doc;
		r = json_parse(&a, g->seccomp_json, strlen(g->seccomp_json), &doc, e);
		if (r < 0)
			return err_wrap(e, r, "seccomp profile");
		jw_key(w, "seccomp");
		jw_value(w, doc);
	}
	if (!g->privileged) {
		paths(w, g, "maskedPaths", default_masked, ARRAY_SIZE(default_masked), g->extra_masked);
		paths(w, g, "readonlyPaths", default_read_only, ARRAY_SIZE(default_read_only), NULL);
	}
	if (g->mount_label)
		jw_kv_string(w, "mountLabel", g->mount_label);
	jw_object_end(w);
	return 0;
}

int specgen_write(const struct specgen *g, struct strbuf *out, struct err *e) {
	struct json_writer w;
	jw_init(&w, out, 0);
	jw_object(&w);
	jw_kv_string(&w, "ociVersion", "1.2.0");
	process(&w, g);
	jw_key(&w, "root");
	jw_object(&w);
	jw_kv_string(&w, "path", g->rootfs);
	jw_kv_bool(&w, "readonly", g->read_only_root);
	jw_object_end(&w);
	if (g->hostname)
		jw_kv_string(&w, "hostname", g->hostname);
	if (g->domainname)
		jw_kv_string(&w, "domainname", g->domainname);
	jw_key(&w, "mounts");
	jw_array(&w);
	default_mounts(&w, g);
	for (size_t i = 0; i < g->n_mounts; i++)
		mount(&w, g->mounts[i].destination, g->mounts[i].type, g->mounts[i].source, g->mounts[i].options);
	jw_array_end(&w);
	map(&w, "annotations", &g->annotations);
	int r = linux_part(&w, g, e);
	if (r < 0)
		return r;
	jw_object_end(&w);
	r = jw_finish(&w);
	if (r < 0)
		return err_sys(e, r, "write config.json");
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *doc;
	struct oci_spec *spec;
	r = json_parse(&a, strbuf_str(out), out->len, &doc, e);
	return r < 0 ? r : oci_spec_from_json(&a, doc, &spec, e);
}

int specgen_write_resources(const struct specgen *g, struct strbuf *out, struct err *e) {
	struct json_writer w;
	_cleanup_strbuf_ struct strbuf inner = STRBUF_INIT;
	_cleanup_arena_ struct arena a = ARENA_INIT;
	struct json *doc;
	jw_init(&w, &inner, 0);
	jw_object(&w);
	int r = resources(&w, g, e);
	if (r < 0)
		return r;
	jw_object_end(&w);
	r = jw_finish(&w);
	if (r == 0)
		r = json_parse(&a, inner.s, inner.len, &doc, e);
	if (r < 0)
		return err_sys(e, r, "write resources");
	jw_init(&w, out, 0);
	jw_object(&w);
	/* Device rules stay as they are: an update that lists some would replace them. */
	for (const struct json *m = json_first(json_get(doc, "resources")); m; m = m->next) {
		if (streq(m->key, "devices"))
			continue;
		jw_key(&w, m->key);
		jw_value(&w, m);
	}
	jw_object_end(&w);
	r = jw_finish(&w);
	return r < 0 ? err_sys(e, r, "write resources") : 0;
}
