/* Option tables: one table per command drives the parser, --help, the man pages and the shell completions. */
#ifndef TIERCE_CMD_OCI_OPT_H
#define TIERCE_CMD_OCI_OPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"

enum opt_kind {
	OPT_FLAG,    /* bool */
	OPT_STRING,  /* const char * */
	OPT_LIST,    /* struct opt_list, repeatable */
	OPT_U32,     /* uint32_t */
	OPT_OPTSTR,  /* const char *; the value may be left out ("--rootless"), then "true" is stored */
};

enum opt_flags {
	OPT_HIDDEN = 1 << 0,   /* parsed, not shown */
	OPT_ACCEPTED = 1 << 1, /* taken for compatibility; the help says that it has no effect */
	OPT_CLUSTER = 1 << 2,  /* a list whose value may be several numbers joined by commas (-g 1,2) */
};

enum opt_complete { COMPLETE_NONE, COMPLETE_FILE, COMPLETE_DIR, COMPLETE_WORDS };

struct opt {
	const char *name;  /* long name */
	char short_name;   /* 0: none */
	uint8_t kind;      /* enum opt_kind */
	uint8_t flags;     /* enum opt_flags */
	uint8_t complete;  /* enum opt_complete */
	uint16_t offset;   /* of the value in the command's option struct */
	const char *arg;   /* name of the value in help; for COMPLETE_WORDS the words joined by | */
	const char *help;  /* one line */
	const char *alias; /* second long name, NULL: none */
};

struct opt_list {
	const char **v; /* owned array of borrowed strings */
	size_t n;
};

struct cli; /* cli.h */
struct opt_parse;

enum command_flags {
	CMD_STOP_AT_OPERAND = 1 << 0, /* options end at the first operand (exec, ps) or at the second (see stop_after) */
	CMD_HIDDEN = 1 << 1,
	CMD_ENTERS = 1 << 3,          /* starts processes in a container: the program file must be out of their reach */
	CMD_EXIT_255 = 1 << 2,        /* a failure of the runtime itself exits with 255 */
};

enum { COMMAND_MAX_OPTIONS_SIZE = 1024 }; /* bytes of the largest option struct; static assertions hold it */

struct command {
	const char *name;
	const char *operands;     /* "<container-id> [signal]" */
	const char *summary;      /* one line for the list of commands */
	const char *description;  /* paragraphs for help and the man page */
	const struct opt *opts;
	size_t n_opts;
	uint32_t flags;           /* enum command_flags */
	int min_args, max_args;   /* operands; max_args -1: any number */
	char operand_kind;        /* what completion offers for the first operand: 'c' container, 'f' file, 's' sub-command, 0 nothing */
	int (*run)(struct cli *cli, const void *opts, int argc, char **argv, struct err *e);
};

/* Result of parsing one level of options. */
struct opt_parse {
	int argc;     /* operands left in argv[0..argc-1], reordered in place */
	char **argv;
	bool help;    /* --help or -h was given */
};

/*
 * Parse argv (without the program and command name) against a table, writing into base. Accepts --name=value, --name value, -name (Go's flag
 * packages write long options with one dash), -x value, -xvalue, -x=value, clusters of short flags, and "--". stop: options end at the first
 * operand. Operands like "-9" (a dash and digits) are operands. 0 or -EINVAL.
 */
int opt_parse(const struct opt *opts, size_t n, void *base, bool stop, int argc, char **argv, struct opt_parse *ret, struct err *e) MUST_CHECK;
/* Release the lists in base. */
void opt_release(const struct opt *opts, size_t n, void *base);

#endif
