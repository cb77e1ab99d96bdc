/* features: what this runtime and this host can do, in the shape of runtime-spec's features.md. Nothing is written to stderr. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "cmd/oci/cli.h"
#include "confine/intelrdt.h"
#include "version.h"
#include "wire/json.h"

static void list(struct json_writer *w, const char *key, const char *const *v) {
	jw_key(w, key);
	jw_array(w);
	for (; *v; v++)
		jw_string(w, *v);
	jw_array_end(w);
}

static void enabled(struct json_writer *w, const char *key, bool on) {
	jw_key(w, key);
	jw_object(w);
	jw_kv_bool(w, "enabled", on);
	jw_object_end(w);
}

static void capabilities(struct json_writer *w) {
	const char *name;
	jw_key(w, "capabilities");
	jw_array(w);
	for (unsigned i = 0; (name = oci_capability_name(i)); i++)
		jw_string(w, name);
	jw_array_end(w);
}

static void cgroup(struct json_writer *w) {
	uint32_t v1 = 0, v2 = 0;
	_cleanup_err_ struct err e = ERR_INIT;
	(void)!cgroup_host_controllers(&v1, &v2, &e);
	jw_key(w, "cgroup");
	jw_object(w);
	jw_kv_bool(w, "v1", true);
	jw_kv_bool(w, "v2", true);
	jw_kv_bool(w, "systemd", true);
	jw_kv_bool(w, "systemdUser", true);
	jw_kv_bool(w, "rdma", true);
	jw_object_end(w);
}

/* Flags that the kernel takes: a NULL program is EFAULT for known flags and EINVAL for unknown ones (seccomp(2)). */
static bool kernel_takes(const char *name) {
	static const struct { const char *name; unsigned flag; } flags[] = {
		{ "SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC }, { "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
		{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
		{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_NEW_LISTENER | 1UL << 5 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (streq(flags[i].name, name))
			return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags[i].flag, NULL) < 0 && errno == EFAULT;
	return false;
}

static void seccomp(struct json_writer *w) {
	jw_key(w, "seccomp");
	jw_object(w);
	jw_kv_bool(w, "enabled", true);
	list(w, "actions", oci_seccomp_action_names);
	list(w, "operators", oci_seccomp_operator_names);
	list(w, "archs", oci_seccomp_arch_names);
	list(w, "knownFlags", oci_seccomp_flag_names);
	jw_key(w, "supportedFlags");
	jw_array(w);
	for (const char *const *f = oci_seccomp_flag_names; *f; f++)
		if (kernel_takes(*f))
			jw_string(w, *f);
	jw_array_end(w);
	jw_object_end(w);
}

static void intel_rdt(struct json_writer *w) {
	jw_key(w, "intelRdt");
	jw_object(w);
	jw_kv_bool(w, "enabled", true);
	jw_kv_bool(w, "schemata", true);
	jw_kv_bool(w, "monitoring", true);
	jw_object_end(w);
}

static void memory_policy(struct json_writer *w) {
	static const char *const modes[] = { "MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY",
		"MPOL_WEIGHTED_INTERLEAVE", NULL };
	static const char *const flags[] = { "MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES", NULL };
	jw_key(w, "memoryPolicy");
	jw_object(w);
	list(w, "modes", modes);
	list(w, "flags", flags);
	jw_object_end(w);
}

static void linux_part(struct json_writer *w) {
	static const char *const namespaces[] = { "cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts", NULL };
	jw_key(w, "linux");
	jw_object(w);
	list(w, "namespaces", namespaces);
	capabilities(w);
	cgroup(w);
	seccomp(w);
	enabled(w, "apparmor", true);
	enabled(w, "selinux", true);
	intel_rdt(w);
	memory_policy(w);
	jw_key(w, "mountExtensions");
	jw_object(w);
	enabled(w, "idmap", true);
	jw_object_end(w);
	enabled(w, "netDevices", true);
	jw_object_end(w);
}

static void annotations(struct json_writer *w, const struct cli *cli) {
	_cleanup_strbuf_ struct strbuf names = STRBUF_INIT;
	for (const struct tier_ops *const *t = cli->eng.tiers; *t; t++)
		strbuf_printf(&names, "%s%s", names.len ? "," : "", (*t)->name);
	bool checkpoint = false;
	for (const struct tier_ops *const *t = cli->eng.tiers; *t; t++)
		checkpoint |= (*t)->checkpoint != NULL;
	jw_key(w, "annotations");
	jw_object(w);
	jw_kv_string(w, "dev.tierce.version", TIERCE_VERSION);
	jw_kv_string(w, "dev.tierce.commit", TIERCE_COMMIT);
	jw_kv_string(w, "dev.tierce.isolation", strbuf_str(&names));
	jw_kv_string(w, "org.opencontainers.runc.checkpoint.enabled", checkpoint ? "true" : "false"); /* engines ask under their runtime's name */
	jw_kv_string(w, "run.oci.crun.commit", TIERCE_COMMIT);
	jw_kv_string(w, "run.oci.crun.version", TIERCE_VERSION);
	jw_kv_string(w, "run.oci.crun.checkpoint.enabled", checkpoint ? "true" : "false");
	jw_object_end(w);
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct err *e) {
	(void)opts;
	(void)argc;
	(void)argv;
	static const char *const hooks[] = { "createContainer", "createRuntime", "poststart", "poststop", "prestart", "startContainer", NULL };
	static const char *const unsafe[] = { "dev.tierce.", "org.criu.config", "org.systemd.property.", "run.oci.", NULL };
	_cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
	struct json_writer w;
	jw_init(&w, &b, 4);
	jw_object(&w);
	jw_kv_string(&w, "ociVersionMin", "1.0.0");
	jw_kv_string(&w, "ociVersionMax", "1.3.0");
	list(&w, "hooks", hooks);
	list(&w, "mountOptions", oci_mount_option_names);
	linux_part(&w);
	annotations(&w, cli);
	list(&w, "potentiallyUnsafeConfigAnnotations", unsafe);
	jw_object_end(&w);
	int r = jw_finish(&w);
	if (r < 0)
		return err_sys(e, r, "write features");
	fputs(b.s, stdout); /* ends with a newline */
	return 0;
}

const struct command cmd_features = { "features", "", "show the enabled features",
	"Prints JSON as in the runtime specification's features document: versions, hooks, mount options, namespaces, capabilities, cgroups, seccomp, LSMs. "
	"Values say what this runtime implements; supportedFlags of seccomp what the running kernel takes as well.", NULL, 0, 0, 0, 0, 0, run };
