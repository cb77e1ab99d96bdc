/* Build-time generator: man pages and completions for bash, zsh and fish from the tables of a program's commands. */
#ifndef TIERCE_CMD_OCI_DOCGEN_H
#define TIERCE_CMD_OCI_DOCGEN_H

#include <stdio.h>

#include "cmd/oci/opt.h"

/* Where completion finds names for a command's first operand. A row fits when group (NULL: any) is the first word of the command's name and operand
 * (NULL: any) begins its operands; the first that fits is taken. list is a command line that prints names one a line; NULL: files are offered. */
struct docgen_names { const char *group, *operand, *list; char kind; };

struct docgen {
	const char *prog;
	const char *also;         /* further names of the program, space-separated; "" */
	const char *one_line;     /* for NAME of the man page */
	const char *description;
	const char *files;        /* roff */
	const char *exit_status;
	const struct command *const *commands; /* NULL-terminated; a name of two words is a command of a group */
	const struct opt *global_opts;
	size_t n_global_opts;
	const struct docgen_names *names;
	size_t n_names;
	const char *version;
};

/* usage: man DIR PAGE... | bash FILE | zsh FILE | fish FILE. PAGE... must be the pages of all commands that are not hidden, no more and no fewer: the
 * build's list and the table cannot drift apart. Returns the exit status of the generator. */
int docgen_main(const struct docgen *d, int argc, char **argv);

/* Insides. */
int docgen_man(const struct docgen *d, const char *dir, int n, char **pages);
void docgen_bash(const struct docgen *d, FILE *f);
void docgen_zsh(const struct docgen *d, FILE *f);
void docgen_fish(const struct docgen *d, FILE *f);

#endif
