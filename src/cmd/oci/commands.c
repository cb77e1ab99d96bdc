/* The table of commands and the global options. */
#include "cmd/oci/cli.h"

#define AT(m) offsetof(struct global_options, m)
const struct opt global_opts[] = {
	{ "debug", 0, OPT_FLAG, 0, 0, AT(debug), NULL, "enable debug logging", NULL },
	{ "log", 0, OPT_STRING, 0, COMPLETE_FILE, AT(log), "[file:]FILE|journald:[IDENT]|syslog:[IDENT]", "where the log goes, defaults to standard error", NULL },
	{ "log-format", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(log_format), "text|json", "format of the log, defaults to text", NULL },
	{ "log-level", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(log_level), "error|warning|info|debug", "least important level to log", NULL },
	{ "root", 0, OPT_STRING, 0, COMPLETE_DIR, AT(root), "DIR", "root directory for storage of container state, defaults to /run/tierce or $XDG_RUNTIME_DIR/tierce", NULL },
	{ "criu", 0, OPT_STRING, OPT_HIDDEN, COMPLETE_FILE, AT(criu), "FILE", "path to the criu binary", NULL },
	{ "systemd-cgroup", 0, OPT_FLAG, 0, 0, AT(systemd_cgroup), NULL, "let systemd manage cgroups: cgroupsPath is then slice:prefix:name", NULL },
	{ "cgroup-manager", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(cgroup_manager), "cgroupfs|systemd|disabled", "who manages cgroups, defaults to cgroupfs", NULL },
	{ "rootless", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(rootless), "true|false|auto", "ignore cgroup permission errors, defaults to auto", NULL },
	{ "isolation", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(isolation), "ns|sentry|vm", "the wall around the container, defaults to the annotation dev.tierce.isolation, then ns", NULL },
	{ "version", 'v', OPT_FLAG, 0, 0, AT(version), NULL, "print the version", NULL },
};
const size_t n_global_opts = ARRAY_SIZE(global_opts);

const struct command *const commands[] = { &cmd_checkpoint, &cmd_create, &cmd_delete, &cmd_events, &cmd_exec, &cmd_exec_start, &cmd_features, &cmd_kill,
	&cmd_list, &cmd_mounts, &cmd_pause, &cmd_ps, &cmd_restore, &cmd_resume, &cmd_run, &cmd_spec, &cmd_start, &cmd_state, &cmd_update, NULL };

const struct command *command_find(const char *name) {
	for (const struct command *const *c = commands; *c; c++)
		if (streq((*c)->name, name))
			return *c;
	return NULL;
}
