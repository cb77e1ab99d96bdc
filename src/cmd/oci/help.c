/* Help pages, printed from the tables. */
#include "cmd/oci/cli.h"

enum { HELP_COLUMN = 34 };

static void print_opt(const struct opt *o, FILE *out) {
	char left[160];
	int n = snprintf(left, sizeof(left), "--%s", o->name);
	if (o->short_name)
		n += snprintf(left + n, sizeof(left) - (size_t)n, ", -%c", o->short_name);
	if (o->arg)
		snprintf(left + n, sizeof(left) - (size_t)n, " %s", o->arg);
	if (strlen(left) > HELP_COLUMN - 2)
		fprintf(out, "   %s\n   %-*s%s\n", left, HELP_COLUMN, "", o->help);
	else
		fprintf(out, "   %-*s%s\n", HELP_COLUMN, left, o->help);
}

static void print_opts(const char *title, const struct opt *opts, size_t n, FILE *out) {
	fprintf(out, "\n%s:\n", title);
	for (size_t i = 0; i < n; i++)
		if (!(opts[i].flags & OPT_HIDDEN))
			print_opt(&opts[i], out);
	fprintf(out, "   %-*s%s\n", HELP_COLUMN, "--help, -h", "show help");
}

void help_program(const char *prog, FILE *out) {
	fprintf(out, "NAME:\n   %s - Open Container Initiative runtime\n\n"
		"%s is a command line client for running applications packaged according to\nthe Open Container Initiative (OCI) format. "
		"The wall around each container is\nchosen by --isolation.\n\n"
		"USAGE:\n   %s [global options] command [command options] [arguments...]\n\nCOMMANDS:\n", prog, prog, prog);
	for (const struct command *const *c = commands; *c; c++)
		if (!((*c)->flags & CMD_HIDDEN))
			fprintf(out, "   %-12s%s\n", (*c)->name, (*c)->summary);
	fprintf(out, "   %-12s%s\n", "help, h", "Shows a list of commands or help for one command");
	print_opts("GLOBAL OPTIONS", global_opts, n_global_opts, out);
}

void help_command(const char *prog, const struct command *c, FILE *out) {
	fprintf(out, "NAME:\n   %s %s - %s\n\nUSAGE:\n   %s %s [command options] %s\n\nDESCRIPTION:\n", prog, c->name, c->summary, prog, c->name, c->operands);
	for (const char *p = c->description; *p;) {
		size_t n = strcspn(p, "\n");
		fprintf(out, n ? "   %.*s\n" : "%.*s\n", (int)n, p);
		p += n + (p[n] == '\n');
	}
	print_opts("OPTIONS", c->opts, c->n_opts, out);
}
