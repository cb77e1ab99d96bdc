/* The table of commands, help from it, and the store that they share. */
#include <string.h>

#include "cmd/tierce/cli.h"
#include "cmd/tierce/people/commands.h"
#include "store/store.h"

#define AT(m) offsetof(struct global_options, m)
const struct opt global_opts[] = {
	{ "root", 0, OPT_STRING, 0, COMPLETE_DIR, AT(root), "DIR", "where images and containers are kept, defaults to /var/lib/tierce or $XDG_DATA_HOME/tierce", NULL },
	{ "runroot", 0, OPT_STRING, 0, COMPLETE_DIR, AT(runroot), "DIR", "where the state of running containers is kept, defaults to /run/tierce-people", NULL },
	{ "isolation", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(isolation), "ns|sentry|vm", "the wall around containers that do not name one", NULL },
	{ "log-level", 0, OPT_STRING, OPT_ACCEPTED, COMPLETE_WORDS, AT(log_level), "trace|debug|info|warn|warning|error|fatal|panic", "no effect: only errors are reported, always", NULL },
	{ "events-backend", 0, OPT_STRING, 0, COMPLETE_WORDS, AT(events_backend), "file|none", "where events are kept (default file)", NULL },
	{ "noout", 0, OPT_FLAG, 0, 0, AT(noout), NULL, "print nothing of the result", NULL },
	{ "debug", 0, OPT_FLAG, OPT_HIDDEN, 0, AT(debug), NULL, "say more about what is done", NULL },
	{ "version", 'v', OPT_FLAG, 0, 0, AT(version), NULL, "print the version", NULL },
};
const size_t n_global_opts = ARRAY_SIZE(global_opts);

/* One a line: two changes that each add a command do not meet. */
const struct command *const commands[] = {
	&cmd_run,
	&cmd_create,
	&cmd_start,
	&cmd_stop,
	&cmd_restart,
	&cmd_kill,
	&cmd_pause,
	&cmd_unpause,
	&cmd_rm,
	&cmd_wait,
	&cmd_attach,
	&cmd_exec,
	&cmd_ps,
	&cmd_inspect,
	&cmd_port,
	&cmd_top,
	&cmd_rename,
	&cmd_update,
	&cmd_container_exists,
	&cmd_container_prune,
	&cmd_container_cleanup,
	&cmd_check, &cmd_logs,
	&cmd_events,
	&cmd_stats,
	&cmd_cp,
	&cmd_diff,
	&cmd_export,
	&cmd_commit,
	&cmd_volume_create,
	&cmd_volume_ls,
	&cmd_volume_rm,
	&cmd_volume_prune,
	&cmd_volume_inspect,
	&cmd_volume_exists,
	&cmd_volume_export,
	&cmd_volume_import,
	&cmd_volume_mount,
	&cmd_volume_unmount,
	&cmd_network_create,
	&cmd_network_ls,
	&cmd_network_rm,
	&cmd_network_inspect,
	&cmd_network_exists,
	&cmd_network_connect,
	&cmd_network_disconnect,
	&cmd_network_prune,
	&cmd_secret_create,
	&cmd_secret_ls,
	&cmd_secret_rm,
	&cmd_pod_create,
	&cmd_pod_start,
	&cmd_pod_stop,
	&cmd_pod_restart,
	&cmd_pod_kill,
	&cmd_pod_rm,
	&cmd_pod_ps,
	&cmd_pod_inspect,
	&cmd_pod_logs,
	&cmd_pod_exists,
	&cmd_pod_run,
	&cmd_kube_play,
	&cmd_kube_down,
	&cmd_info,
	&cmd_system_info,
	&cmd_version,
	&cmd_generate_systemd,
	&cmd_history,
	&cmd_image_inspect,
	&cmd_image_mount,
	&cmd_image_prune,
	&cmd_image_unmount,
	&cmd_images,
	&cmd_import,
	&cmd_load,
	&cmd_login,
	&cmd_logout,
	&cmd_pull,
	&cmd_push,
	&cmd_rmi,
	&cmd_save,
	&cmd_search,
	&cmd_image_exists,
	&cmd_image_tree,
	&cmd_manifest_inspect,
	&cmd_snapshot,
	&cmd_system_check,
	&cmd_system_df,
	&cmd_system_prune,
	&cmd_tag,
	&cmd_untag,
	NULL,
};

/* podman's and docker's long forms of the image commands. */
static const struct {
	const char *group, *word, *name;
} aliases[] = {
	{ "image", "ls", "images" }, { "image", "list", "images" }, { "image", "pull", "pull" }, { "image", "push", "push" }, { "image", "rm", "rmi" },
	{ "image", "history", "history" }, { "image", "load", "load" }, { "image", "save", "save" }, { "image", "import", "import" },
	{ "play", "kube", "kube play" }, { "volume", "list", "volume ls" }, { "volume", "remove", "volume rm" }, { "network", "list", "network ls" }, { "network", "remove", "network rm" },
	{ "secret", "list", "secret ls" }, { "secret", "remove", "secret rm" }, { "pod", "ls", "pod ps" }, { "pod", "list", "pod ps" },
	{ "image", "tag", "tag" }, { "image", "untag", "untag" }, { "image", "search", "search" },
};

static const struct command *by_name(const char *name) {
	for (const struct command *const *c = commands; *c; c++)
		if (streq((*c)->name, name))
			return *c;
	return NULL;
}

const struct command *command_find(int argc, char **argv, int *ret_words) {
	char two[64];
	if (argc > 1 && snprintf(two, sizeof(two), "%s %s", argv[0], argv[1]) < (int)sizeof(two)) {
		*ret_words = 2;
		const struct command *c = by_name(two);
		for (size_t i = 0; !c && i < ARRAY_SIZE(aliases); i++)
			if (streq(argv[0], aliases[i].group) && streq(argv[1], aliases[i].word))
				c = by_name(aliases[i].name);
		/* "container run" is "run", as everywhere. */
		if (!c && streq(argv[0], "container"))
			c = by_name(streq(argv[1], "ls") || streq(argv[1], "list") ? "ps" : streq(argv[1], "remove") ? "rm" : argv[1]);
		if (c)
			return c;
	}
	*ret_words = 1;
	return strchr(argv[0], ' ') ? NULL : by_name(argv[0]);
}

bool command_is_group(const char *word) {
	size_t n = strlen(word);
	for (const struct command *const *c = commands; *c; c++)
		if (strncmp((*c)->name, word, n) == 0 && (*c)->name[n] == ' ')
			return true;
	return false;
}

const char *command_instead(const char *word) {
	static const struct { const char *word, *instead; } rows[] = {
		{ "build", "build with buildah (apt-get install buildah; buildah bud -t NAME ., buildah push NAME oci-archive:FILE) and `tierce load -i FILE`" },
		{ "buildx", "build with buildah and `tierce load -i FILE`" },
		{ "compose", "`tierce kube play FILE.yaml` runs Kubernetes Pods" },
		{ "machine", "containers run on this host; --isolation vm gives one a machine of its own" },
		{ "auto-update", "`tierce pull` and `tierce restart` from a systemd timer" },
		{ "swarm", "larger installations run Tierce under Kubernetes" },
		{ "stack", "`tierce kube play FILE.yaml` runs Kubernetes Pods" },
		{ "service", "there is no daemon" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (streq(rows[i].word, word))
			return rows[i].instead;
	return NULL;
}

enum { HELP_COLUMN = 34 };

static void print_opts(const char *title, const struct opt *opts, size_t n, FILE *out) {
	fprintf(out, "\n%s:\n", title);
	for (size_t i = 0; i < n; i++) {
		const struct opt *o = &opts[i];
		char left[160];
		if (o->flags & OPT_HIDDEN)
			continue;
		snprintf(left, sizeof(left), "%s%c%s --%s%s%s", o->short_name ? "-" : "  ", o->short_name ? o->short_name : ' ', o->short_name ? "," : " ", o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		if (strlen(left) > HELP_COLUMN - 2)
			fprintf(out, "  %s\n  %-*s%s\n", left, HELP_COLUMN, "", o->help);
		else
			fprintf(out, "  %-*s%s\n", HELP_COLUMN, left, o->help);
	}
	fprintf(out, "  %-*s%s\n", HELP_COLUMN, "-h, --help", "show help");
}

void help_program(const char *prog, FILE *out) {
	fprintf(out, "Run containers and manage images, without a daemon.\n\nUsage:\n  %s [options] COMMAND [options] [arguments]\n\nCommands:\n", prog);
	for (const struct command *const *c = commands; *c; c++)
		if (!((*c)->flags & CMD_HIDDEN))
			fprintf(out, "  %-18s%s\n", (*c)->name, (*c)->summary);
	print_opts("Global options", global_opts, n_global_opts, out);
}

void help_group(const char *prog, const char *group, FILE *out) {
	size_t n = strlen(group);
	fprintf(out, "Usage:\n  %s %s COMMAND [options] [arguments]\n\nCommands:\n", prog, group);
	for (const struct command *const *c = commands; *c; c++)
		if (strncmp((*c)->name, group, n) == 0 && (*c)->name[n] == ' ')
			fprintf(out, "  %-18s%s\n", (*c)->name + n + 1, (*c)->summary);
}

void help_command(const char *prog, const struct command *c, FILE *out) {
	fprintf(out, "%s\n\nUsage:\n  %s %s [options] %s\n", c->summary, prog, c->name, c->operands ? c->operands : "");
	if (c->description && *c->description)
		fprintf(out, "\n%s\n", c->description);
	print_opts("Options", c->opts, c->n_opts, out);
}

int cli_store(struct cli *cli, struct store **ret, struct err *e) {
	if (!cli->store) {
		int r = store_open(cli->global.root, &cli->store, e);
		if (r < 0)
			return r;
	}
	*ret = cli->store;
	return 0;
}
