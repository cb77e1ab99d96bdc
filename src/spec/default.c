/* The document that "spec" writes: what runc's users start from. */
#include <errno.h>

#include "base/str.h"
#include "spec/oci.h"
#include "wire/json.h"

static const char *const default_caps[] = { "CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE" };

struct default_mount { const char *destination, *type, *source, *options[8]; };

static const struct default_mount mounts[] = {
	{ "/proc", "proc", "proc", { NULL } },
	{ "/dev", "tmpfs", "tmpfs", { "nosuid", "strictatime", "mode=755", "size=65536k" } },
	{ "/dev/pts", "devpts", "devpts", { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" } },
	{ "/dev/shm", "tmpfs", "shm", { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
	{ "/dev/mqueue", "mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
	{ "/sys", "sysfs", "sysfs", { "nosuid", "noexec", "nodev", "ro" } },
	{ "/sys/fs/cgroup", "cgroup", "cgroup", { "nosuid", "noexec", "nodev", "relatime", "ro" } },
};

static const char *const masked[] = {
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
	"/sys/firmware", "/sys/devices/virtual/powercap", "/proc/scsi",
};
static const char *const read_only[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

static void write_strings(struct json_writer *w, const char *key, const char *const *v, size_t n) {
	jw_key(w, key);
	jw_array(w);
	for (size_t i = 0; i < n && v[i]; i++)
		jw_string(w, v[i]);
	jw_array_end(w);
}

static void write_process(struct json_writer *w) {
	static const char *const args[] = { "sh" };
	static const char *const env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm" };
	static const char *const sets[] = { "bounding", "effective", "permitted" };
	jw_key(w, "process");
	jw_object(w);
	jw_kv_bool(w, "terminal", true);
	jw_key(w, "user");
	jw_object(w);
	jw_kv_u64(w, "uid", 0);
	jw_kv_u64(w, "gid", 0);
	jw_object_end(w);
	write_strings(w, "args", args, ARRAY_SIZE(args));
	write_strings(w, "env", env, ARRAY_SIZE(env));
	jw_kv_string(w, "cwd", "/");
	jw_key(w, "capabilities");
	jw_object(w);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		write_strings(w, sets[i], default_caps, ARRAY_SIZE(default_caps));
	jw_object_end(w);
	jw_key(w, "rlimits");
	jw_array(w);
	jw_object(w);
	jw_kv_string(w, "type", "RLIMIT_NOFILE");
	jw_kv_u64(w, "hard", 1024);
	jw_kv_u64(w, "soft", 1024);
	jw_object_end(w);
	jw_array_end(w);
	jw_kv_bool(w, "noNewPrivileges", true);
	jw_object_end(w);
}

/* Rootless (as runc's specconv.ToRootless): no sysfs of our own without a network namespace, gid=5 is not mapped, cgroups read-only by bind. */
static void write_mounts(struct json_writer *w, bool rootless) {
	static const char *const sys_options[] = { "rbind", "nosuid", "noexec", "nodev", "ro" };
	jw_key(w, "mounts");
	jw_array(w);
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		const struct default_mount *m = &mounts[i];
		bool bind_sys = rootless && streq(m->destination, "/sys");
		if (rootless && streq(m->destination, "/sys/fs/cgroup"))
			continue;
		jw_object(w);
		jw_kv_string(w, "destination", m->destination);
		jw_kv_string(w, "type", bind_sys ? "none" : m->type);
		jw_kv_string(w, "source", bind_sys ? "/sys" : m->source);
		if (bind_sys) {
			write_strings(w, "options", sys_options, ARRAY_SIZE(sys_options));
		} else if (m->options[0]) {
			size_t n = 0;
			const char *kept[ARRAY_SIZE(m->options)];
			for (size_t k = 0; k < ARRAY_SIZE(m->options) && m->options[k]; k++)
				if (!rootless || (!str_has_prefix(m->options[k], "gid=") && !str_has_prefix(m->options[k], "uid=")))
					kept[n++] = m->options[k];
			write_strings(w, "options", kept, n);
		}
		jw_object_end(w);
	}
	jw_array_end(w);
}

static void write_id_map(struct json_writer *w, const char *key, uint32_t host_id) {
	jw_key(w, key);
	jw_array(w);
	jw_object(w);
	jw_kv_u64(w, "containerID", 0);
	jw_kv_u64(w, "hostID", host_id);
	jw_kv_u64(w, "size", 1);
	jw_object_end(w);
	jw_array_end(w);
}

static void write_linux(struct json_writer *w, bool rootless, uint32_t uid, uint32_t gid) {
	static const char *const all[] = { "pid", "network", "ipc", "uts", "mount", "cgroup" };
	static const char *const unprivileged[] = { "pid", "ipc", "uts", "mount", "cgroup", "user" };
	const char *const *ns = rootless ? unprivileged : all;
	jw_key(w, "linux");
	jw_object(w);
	if (rootless) {
		write_id_map(w, "uidMappings", uid);
		write_id_map(w, "gidMappings", gid);
	} else {
		jw_key(w, "resources");
		jw_object(w);
		jw_key(w, "devices");
		jw_array(w);
		jw_object(w);
		jw_kv_bool(w, "allow", false);
		jw_kv_string(w, "access", "rwm");
		jw_object_end(w);
		jw_array_end(w);
		jw_object_end(w);
	}
	jw_key(w, "namespaces");
	jw_array(w);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		jw_object(w);
		jw_kv_string(w, "type", ns[i]);
		jw_object_end(w);
	}
	jw_array_end(w);
	write_strings(w, "maskedPaths", masked, ARRAY_SIZE(masked));
	write_strings(w, "readonlyPaths", read_only, ARRAY_SIZE(read_only));
	jw_object_end(w);
}

int oci_spec_write_default(struct strbuf *out, bool rootless, uint32_t host_uid, uint32_t host_gid) {
	struct json_writer w;
	jw_init(&w, out, 8);
	jw_object(&w);
	jw_kv_string(&w, "ociVersion", "1.3.0");
	write_process(&w);
	jw_key(&w, "root");
	jw_object(&w);
	jw_kv_string(&w, "path", "rootfs");
	jw_kv_bool(&w, "readonly", true);
	jw_object_end(&w);
	jw_kv_string(&w, "hostname", "tierce");
	write_mounts(&w, rootless);
	write_linux(&w, rootless, host_uid, host_gid);
	jw_object_end(&w);
	return jw_finish(&w);
}
