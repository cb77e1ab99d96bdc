/* What every command of `tierce` shares: global options, the store, the table of commands. One file per command: cmd_NAME.c. */
#ifndef TIERCE_CMD_TIERCE_CLI_H
#define TIERCE_CMD_TIERCE_CLI_H

#include <stdio.h>

#include "base/arena.h"
#include "cmd/oci/opt.h"

struct store;

struct global_options {
	bool version, debug, noout;
	const char *root, *runroot, *isolation, *log_level, *events_backend;
};

struct cli {
	const char *prog;
	char **argv;
	struct global_options global;
	struct arena arena;   /* lives as long as the program */
	struct store *store;  /* opened by cli_store() */
	int exit_code;        /* what a command that succeeds exits with */
};

/* Errors of the program itself exit with this, as podman's and docker's do. */
enum { EXIT_TIERCE = 125, TIERCE_MAX_OPTIONS_SIZE = 8192 };

/*
 * Commands in the order of help, NULL-terminated; a name of two words ("system df") is a command of a group. To add one: write cmd_NAME.c with a
 * `const struct command cmd_NAME`, name it here, in commands.c and in meson.build.
 */
extern const struct command *const commands[];
extern const struct opt global_opts[];
extern const size_t n_global_opts;
/* *ret_words: how many words of argv the name took. */
const struct command *command_find(int argc, char **argv, int *ret_words);
/* argv[0] is the first word of commands with two. */
bool command_is_group(const char *word);

/* What to do instead of a command of docker or podman that is not there; NULL: nobody knows that word. */
const char *command_instead(const char *word);

void help_program(const char *prog, FILE *out);
void help_group(const char *prog, const char *group, FILE *out);
void help_command(const char *prog, const struct command *c, FILE *out);

/* The store, opened at the first call. */
int cli_store(struct cli *cli, struct store **ret, struct err *e) MUST_CHECK;

extern const struct command cmd_history, cmd_images, cmd_image_inspect, cmd_import, cmd_load, cmd_login, cmd_logout, cmd_pull, cmd_push, cmd_rmi, cmd_save,
	cmd_search, cmd_image_mount, cmd_image_unmount, cmd_snapshot, cmd_system_check, cmd_system_df, cmd_system_prune, cmd_image_prune, cmd_image_exists, cmd_image_tree, cmd_manifest_inspect, cmd_tag, cmd_untag;

#define OPTS(t) .opts = (t), .n_opts = ARRAY_SIZE(t)
#define OPTION_FITS(type) _Static_assert(sizeof(type) <= TIERCE_MAX_OPTIONS_SIZE, "TIERCE_MAX_OPTIONS_SIZE is too small")

#endif
