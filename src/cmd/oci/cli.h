/* What every command of tierce-oci shares: the engine, the log, the table of commands. */
#ifndef TIERCE_CMD_OCI_CLI_H
#define TIERCE_CMD_OCI_CLI_H

#include "engine/engine.h"
#include "cmd/oci/opt.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct global_options {
	bool debug, systemd_cgroup, version;
	const char *log, *log_format, *log_level, *root, *cgroup_manager, *rootless, *criu, *isolation;
};

struct cli {
	char **argv;              /* main()'s */
	const char *prog;         /* base name of argv[0]: in usage and messages */
	struct global_options global;
	struct engine eng;
	struct arena arena;
	enum log_level level;
	bool json;
	int exit_code;            /* what a command that succeeds exits with (the process's status for run and exec) */
};

extern const struct opt global_opts[];
extern const size_t n_global_opts;
extern const struct command *const commands[]; /* NULL-terminated, in the order of help */

const struct command *command_find(const char *name);

/* Help pages from the tables, to out. */
void help_program(const char *prog, FILE *out);
void help_command(const char *prog, const struct command *c, FILE *out);

/* One line to the log (and, for errors, to stderr as well when the log is a file). */
void cli_log(struct cli *cli, enum log_level level, const char *msg);
/* Check --log, --log-format and --log-level. */
int cli_log_setup(struct cli *cli, struct err *e) MUST_CHECK;

/* Foreground: relay the terminal and signals until pid has ended; its exit status (128+n for a signal) or negative errno. */
struct foreground {
	pid_t pid;
	int pidfd;
	int terminal;           /* pty master or -EBADF */
	int notify_fd;          /* sd_notify proxy or -EBADF */
	unsigned width, height; /* size when stdin is no terminal; 0: leave it */
	bool forward_signals;
};
/* Block the signals that foreground_wait() forwards, so that none is lost in between. */
void foreground_prepare(bool subreaper);
int foreground_wait(struct foreground *f, struct err *e) MUST_CHECK;

/* {"ociVersion", "id", "pid", "status", ...} as state and list print it. */
void write_state_json(struct json_writer *w, struct ctr *c);

extern const struct command cmd_checkpoint, cmd_create, cmd_delete, cmd_events, cmd_exec, cmd_exec_start, cmd_features, cmd_kill, cmd_list,
	cmd_mounts, cmd_pause, cmd_ps, cmd_restore, cmd_resume, cmd_run, cmd_spec, cmd_start, cmd_state, cmd_update;

#define OPTION_FITS(type) _Static_assert(sizeof(type) <= COMMAND_MAX_OPTIONS_SIZE, "COMMAND_MAX_OPTIONS_SIZE is too small")

#endif
