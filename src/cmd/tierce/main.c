/* tierce: the command for people. Finds the command, parses its options by its table, runs it. */
#include "cmd/tierce/cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#include "cmd/tierce/people/people.h"
#include "store/store.h"

static int fail(const struct err *e) {
	fflush(stdout);
	fprintf(stderr, "Error: %s\n", err_msg(e));
	return EXIT_TIERCE;
}

static int check_operands(const struct cli *cli, const struct command *c, int argc, struct err *e) {
	if (argc < c->min_args)
		return err_set(e, EINVAL, "\"%s %s\" requires at least %d argument%s: %s %s %s", cli->prog, c->name, c->min_args, c->min_args == 1 ? "" : "s",
			       cli->prog, c->name, c->operands);
	if (c->max_args >= 0 && argc > c->max_args)
		return err_set(e, EINVAL, "\"%s %s\" takes at most %d argument%s, not %d", cli->prog, c->name, c->max_args, c->max_args == 1 ? "" : "s", argc);
	return 0;
}

static int run_command(struct cli *cli, const struct command *c, int argc, char **argv) {
	_cleanup_err_ struct err e = ERR_INIT;
	_cleanup_free_ void *opts = calloc(1, TIERCE_MAX_OPTIONS_SIZE);
	struct opt_parse p = { 0 };
	int r = opts ? opt_parse(c->opts, c->n_opts, opts, c->flags & CMD_STOP_AT_OPERAND, argc, argv, &p, &e) : err_set(&e, ENOMEM, "out of memory");
	if (r == 0 && p.help) {
		help_command(cli->prog, c, stdout);
		opt_release(c->opts, c->n_opts, opts);
		return 0;
	}
	if (r == 0)
		r = check_operands(cli, c, p.argc, &e);
	if (r == 0 && geteuid() != 0)
		r = people_enter(cli->global.root, cli->global.runroot, &e);
	if (r == 0)
		r = c->run(cli, opts, p.argc, p.argv, &e);
	if (opts)
		opt_release(c->opts, c->n_opts, opts);
	if (r < 0 && r != -ECANCELED) {
		int code = fail(&e);
		return cli->exit_code ? cli->exit_code : code;
	}
	return cli->exit_code;
}

static bool known_level(const char *s) {
	static const char *const levels[] = { "trace", "debug", "info", "warn", "warning", "error", "fatal", "panic" };
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcasecmp(levels[i], s) == 0)
			return true;
	return false;
}

static int dispatch(struct cli *cli, int argc, char **argv) {
	_cleanup_err_ struct err e = ERR_INIT;
	struct opt_parse p;
	int r = opt_parse(global_opts, n_global_opts, &cli->global, true, argc, argv, &p, &e), words;
	if (r < 0)
		return fail(&e);
	if (cli->global.version) {
		printf("tierce version %s\n", TIERCE_VERSION_TEXT);
		return 0;
	}
	if (cli->global.log_level && !known_level(cli->global.log_level)) {
		err_set(&e, EINVAL, "log level \"%s\" is not supported, choose from: trace, debug, info, warn, warning, error, fatal, panic", cli->global.log_level);
		fail(&e);
		return 1;
	}
	if (cli->global.events_backend && !streq(cli->global.events_backend, "file") && !streq(cli->global.events_backend, "none")) {
		err_set(&e, EINVAL, "--events-backend \"%s\" is not supported: file, none", cli->global.events_backend);
		return fail(&e);
	}
	bool help = p.help;
	if (p.argc && streq(p.argv[0], "help")) {
		help = true;
		p.argc--;
		p.argv++;
	}
	if (p.argc == 0) {
		help_program(cli->prog, stdout);
		return 0;
	}
	const struct command *c = command_find(p.argc, p.argv, &words);
	if (!c && command_is_group(p.argv[0])) {
		if (p.argc > 1 && p.argv[1][0] != '-') {
			err_set(&e, EINVAL, "unknown command \"%s %s\": see %s %s --help", p.argv[0], p.argv[1], cli->prog, p.argv[0]);
			return fail(&e);
		}
		help_group(cli->prog, p.argv[0], stdout);
		return 0;
	}
	if (!c) {
		const char *instead = command_instead(p.argv[0]);
		err_set(&e, EINVAL, instead ? "\"%s\" is not there: %s" : "unknown command \"%s\": see %s --help", p.argv[0], instead ? instead : cli->prog);
		return fail(&e);
	}
	if (help) {
		help_command(cli->prog, c, stdout);
		return 0;
	}
	if (cli->global.noout && !freopen("/dev/null", "w", stdout))
		return fail(&e);
	return run_command(cli, c, p.argc - words, p.argv + words);
}

int main(int argc, char **argv) {
	struct cli cli = { .prog = "tierce", .argv = argv };
	signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is an error of the transfer; a closed stdout shows at the flush below */
	int code = dispatch(&cli, argc > 0 ? argc - 1 : 0, argv + (argc > 0));
	store_close(cli.store);
	arena_free(&cli.arena);
	if (fflush(stdout) != 0 && code == 0)
		code = errno == EPIPE ? 0 : EXIT_TIERCE;
	return code;
}
